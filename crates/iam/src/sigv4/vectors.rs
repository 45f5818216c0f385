//! The shared test vectors: AWS's signing test suite, whole requests with a verdict, and requests
//! as botocore signs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::Deserialize;

use crate::sigv4::canonical::Rules;
use crate::sigv4::{Parsed, RequestHead, SigError, Signer, parse, parse_by, raw, sha256};

/// The folder of the vectors, or `None` and a line that says so.
fn folder() -> Option<PathBuf> {
    let given = std::env::var_os("BONDED_SHARED").map(PathBuf::from);
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|it| it.join("shared"));
    let found =
        given.into_iter().chain(above).map(|it| it.join("data/sigv4")).find(|it| it.is_dir());
    if found.is_none() {
        say("not run: shared vectors are missing");
    }
    found
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests must see what was not run")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The folders below one that hold a file whose name has this ending.
fn cases(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries: Vec<PathBuf> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        if entries.iter().any(|it| it.to_string_lossy().ends_with(ending)) {
            found.push(folder);
        }
        open.extend(entries.into_iter().filter(|it| it.is_dir()));
    }
    found.sort();
    found
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    body_b64: Option<String>,
    credentials: BTreeMap<String, Credential>,
    region: String,
    service: String,
    now: String,
    normalize_path: bool,
    double_encode: bool,
    expect: Expect,
}

#[derive(Deserialize)]
struct Credential {
    secret: String,
    token: Option<String>,
}

#[derive(Deserialize)]
struct Expect {
    ok: bool,
    json_code: Option<String>,
    query_code: Option<String>,
}

impl Vector {
    /// Does with the request what a server does, in its order.
    fn judge(&self) -> Result<(), SigError> {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let head = RequestHead { method: &self.method, path, query, headers: &headers, tls: true };
        let parsed = self.parse(&head)?.ok_or(SigError::MissingAuthentication)?;
        parsed.check_time(self.now.parse::<Timestamp>().unwrap(), 15)?;
        parsed.check_scope(&self.service, &[&self.region])?;
        let Some(credential) = self.credentials.get(&parsed.access_key_id) else {
            return Err(parsed.verify_unknown());
        };
        if parsed.session_token != credential.token {
            return Err(SigError::InvalidClientToken);
        }
        parsed.verify(&parsed.derive_key(&credential.secret), &sha256(&self.body()))
    }

    fn parse(&self, head: &RequestHead<'_>) -> Result<Option<Parsed>, SigError> {
        let Vector { normalize_path, double_encode, .. } = *self;
        let usual = Rules::for_service(&self.service);
        if (normalize_path, double_encode) == (usual.normalize_path, usual.double_encode) {
            parse(head)
        } else {
            parse_by(head, Some(Rules { normalize_path, double_encode }))
        }
    }

    fn body(&self) -> Vec<u8> {
        match (&self.body, &self.body_b64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => BASE64_STANDARD.decode(text).unwrap(),
            _ => panic!("{}: a vector has one body", self.id),
        }
    }
}

/// Judges all vectors of a file, and tells how many there were.
fn check_file(name: &str) -> usize {
    let Some(folder) = folder() else { return 0 };
    let text = read(&folder.join(name));
    for line in text.lines() {
        let vector: Vector = serde_json::from_str(line).unwrap();
        let verdict = vector.judge();
        let id = &vector.id;
        match (&verdict, vector.expect.ok) {
            (Ok(()), true) => {}
            (Err(error), false) => {
                assert_eq!(Some(error.json_code()), vector.expect.json_code.as_deref(), "{id}");
                assert_eq!(Some(error.query_code()), vector.expect.query_code.as_deref(), "{id}");
            }
            _ => panic!("{id}: {verdict:?}"),
        }
    }
    let count = text.lines().count();
    say(&format!("{name}: {count} vectors"));
    count
}

#[test]
fn whole_requests_with_a_verdict() {
    let count = check_file("verify-vectors.jsonl");
    assert!(count == 0 || count >= 81);
}

#[test]
fn requests_as_botocore_signs_them() {
    let count = check_file("botocore-vectors.jsonl");
    assert!(count == 0 || count >= 53);
}

#[derive(Deserialize)]
struct Context {
    credentials: ContextCredentials,
    expiration_in_seconds: u32,
    normalize: bool,
    region: String,
    service: String,
    sign_body: bool,
    timestamp: String,
    #[serde(default)]
    omit_session_token: bool,
}

#[derive(Deserialize)]
struct ContextCredentials {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

impl Context {
    /// These cases have bytes in the request line that HTTP does not allow, and are encoded once.
    fn rules(&self, case: &Path) -> Rules {
        Rules { normalize_path: self.normalize, double_encode: !is_raw(case) }
    }

    fn signer(&self) -> Signer<'_> {
        Signer {
            access_key_id: &self.credentials.access_key_id,
            secret_access_key: &self.credentials.secret_access_key,
            session_token: self.credentials.token.as_deref().filter(|_| !self.omit_session_token),
            region: &self.region,
            service: &self.service,
            time: self.timestamp.parse::<Timestamp>().unwrap(),
        }
    }
}

fn is_raw(case: &Path) -> bool {
    let name = case.file_name().unwrap().to_string_lossy();
    name.starts_with("get-space") || name == "get-utf8"
}

/// Verifies a signed request in all its steps.
fn check_signed(
    request: &str,
    rules: Rules,
    canonical_request: &str,
    string_to_sign: &str,
    id: &str,
) -> Parsed {
    let (raw, body) = raw::read(request.as_bytes()).unwrap();
    let parsed = parse_by(&raw.head(), Some(rules)).unwrap().unwrap();
    let body = sha256(body);
    let hash = const_hex::encode(body);
    assert_eq!(
        String::from_utf8(parsed.canonical_request(&hash)).unwrap(),
        canonical_request,
        "{id}"
    );
    assert_eq!(parsed.string_to_sign(&hash), string_to_sign, "{id}");
    let key = parsed.derive_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    assert_eq!(parsed.verify(&key, &body), Ok(()), "{id}");
    let other = parsed.derive_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEZ");
    assert_eq!(parsed.verify(&other, &body), Err(SigError::SignatureDoesNotMatch), "{id}");
    parsed
}

#[test]
fn the_signing_test_suite_in_headers() {
    let Some(folder) = folder() else { return };
    let cases = cases(&folder.join("test-suite/v4"), "context.json");
    assert!(cases.len() >= 38);
    for case in &cases {
        let context: Context = serde_json::from_str(&read(&case.join("context.json"))).unwrap();
        let file = |name: &str| read(&case.join(format!("header-{name}.txt")));
        let id = case.to_string_lossy();
        let rules = context.rules(case);
        let signed = file("signed-request");
        let canonical = file("canonical-request");
        let parsed = check_signed(&signed, rules, &canonical, &file("string-to-sign"), &id);
        assert_eq!(parsed.signature, file("signature"), "{id}");

        let request = read(&case.join("request.txt"));
        let (raw, body) = raw::read(request.as_bytes()).unwrap();
        let body = sha256(body);
        let hash = const_hex::encode(body);
        let mut head = raw.head();
        let mut headers = head.headers.to_vec();
        if context.sign_body {
            headers.push(("x-amz-content-sha256", hash.as_bytes()));
        }
        head.headers = &headers;
        let added = context.signer().sign_by(&head, &body, rules).unwrap();
        let (name, authorization) = added.last().unwrap();
        assert_eq!(*name, "Authorization");
        assert!(signed.contains(&format!("\nAuthorization:{authorization}\n")), "{id}");
    }
    say(&format!("signing test suite, headers: {} cases", cases.len()));
}

#[test]
fn the_signing_test_suite_in_the_query() {
    let Some(folder) = folder() else { return };
    let cases = cases(&folder.join("test-suite/v4"), "context.json");
    for case in &cases {
        let context: Context = serde_json::from_str(&read(&case.join("context.json"))).unwrap();
        let file = |name: &str| read(&case.join(format!("query-{name}.txt")));
        let id = case.to_string_lossy();
        let rules = context.rules(case);
        let mut signed = file("signed-request");
        if context.omit_session_token {
            // A token that was added to the query after signing is not accepted, as AWS proper
            // does not: only what was signed is.
            assert_eq!(verify(&signed, rules), Err(SigError::SignatureDoesNotMatch));
            let (before, token) = signed.split_once("&X-Amz-Security-Token=").unwrap();
            let (_, after) = token.split_once('&').unwrap();
            signed = format!("{before}&{after}");
        }
        let canonical = file("canonical-request");
        let parsed = check_signed(&signed, rules, &canonical, &file("string-to-sign"), &id);
        assert_eq!(parsed.signature, file("signature"), "{id}");
        assert_eq!(parsed.expires_seconds, Some(context.expiration_in_seconds), "{id}");
        assert!(parsed.presigned);

        let request = read(&case.join("request.txt"));
        let (raw, body) = raw::read(request.as_bytes()).unwrap();
        let expires = context.expiration_in_seconds;
        let query =
            context.signer().presign_by(&raw.head(), &sha256(body), expires, rules).unwrap();
        assert!(signed.contains(&format!("?{query} HTTP/1.1\n")), "{id}: {query}");
    }
    say(&format!("signing test suite, query: {} cases", cases.len()));
}

fn verify(request: &str, rules: Rules) -> Result<(), SigError> {
    let (raw, body) = raw::read(request.as_bytes()).unwrap();
    let parsed = parse_by(&raw.head(), Some(rules))?.ok_or(SigError::MissingAuthentication)?;
    let key = parsed.derive_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    parsed.verify(&key, &sha256(body))
}

const FORM: &str = "Content-Type:application/x-www-form-urlencoded; charset=utf-8\n";

#[test]
fn the_older_signing_test_suite() {
    let Some(folder) = folder() else { return };
    let cases = cases(&folder.join("test-suite/legacy"), ".sreq");
    assert!(cases.len() >= 31);
    for case in &cases {
        let name = case.file_name().unwrap().to_string_lossy();
        let file = |ending: &str| read(&case.join(format!("{name}.{ending}")));
        let rules = Rules { normalize_path: true, double_encode: !is_raw(case) };
        let mut signed = file("sreq");
        if name == "get-header-value-multiline" {
            // This suite takes a folded line for another header of the name; HTTP has since
            // decided for a blank, and for refusing it.
            signed = signed.replace("\n  ", "\nMy-Header1:").replace("   value3", "value3");
        }
        let mut canonical = file("creq");
        if name == "post-x-www-form-urlencoded" {
            // The signed request lost a header that it signs, and the canonical request its name;
            // the signature is the one of what was meant.
            signed = signed.replacen("\nHost:", &format!("\n{FORM}Host:"), 1);
            canonical = canonical.replacen("\nhost;", "\ncontent-type;host;", 1);
        }
        if name == "post-x-www-form-urlencoded-parameters" {
            // This suite has the parameters of a form in the canonical query, and no body. We hash
            // the body as it is, as the newer suite and all SDKs do.
            assert_eq!(verify(&signed, rules), Err(SigError::SignatureDoesNotMatch), "{name}");
            let (head, body) = signed.split_once("\n\n").unwrap();
            signed = head.replacen("POST / ", &format!("POST /?{body} "), 1);
        }
        let parsed = check_signed(&signed, rules, &canonical, &file("sts"), &name);
        let authorization = file("authz");
        assert!(authorization.ends_with(&format!("Signature={}", parsed.signature)), "{name}");
    }
    say(&format!("older signing test suite: {} cases", cases.len()));
}
