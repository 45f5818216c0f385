//! Known answers, and the sentence that belongs to each mistake.

use jiff::Timestamp;

use crate::sigv4::{
    MAX_HEAD_BYTES, Parsed, Payload, RequestHead, SigError, Signer, parse, parse_bytes, sha256,
    skew_minutes,
};

const SECRET: &str = "an/example+secret/of/forty/characters/xx";
const NOW: &str = "2026-01-02T03:04:05Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn signer(service: &str) -> Signer<'_> {
    Signer {
        access_key_id: "AKIAEXAMPLE",
        secret_access_key: SECRET,
        session_token: None,
        region: "eu-central-1",
        service,
        time: time(NOW),
    }
}

fn get<'a>(target: &'a str, headers: &'a [(&'a str, &'a [u8])]) -> RequestHead<'a> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    RequestHead { method: "GET", path, query, headers, tls: false }
}

const HOST: (&str, &[u8]) = ("Host", b"localhost:5000");

/// The signatures were computed with another implementation.
#[test]
fn known_signatures() {
    let headers = [
        HOST,
        ("Content-Type", b"application/x-amz-json-1.1".as_slice()),
        ("X-Amz-Target", b"AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"),
    ];
    let post = RequestHead { method: "POST", ..get("/", &headers) };
    let with_token = Signer { session_token: Some("a token"), ..signer("ecr") };
    let added = with_token.sign(&post, &sha256(br#"{"registryIds":[]}"#)).unwrap();
    assert_eq!(
        added,
        [
            ("X-Amz-Date", "20260102T030405Z".to_owned()),
            ("X-Amz-Security-Token", "a token".to_owned()),
            (
                "Authorization",
                "AWS4-HMAC-SHA256 \
                 Credential=AKIAEXAMPLE/20260102/eu-central-1/ecr/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, \
                 Signature=42e4c9fea985843939d44935478b3279777f98ea7799a150f831f6d70866a4ce"
                    .to_owned()
            ),
        ]
    );

    let check = |service: &str, target: &str, signature: &str| {
        let added = signer(service).sign(&get(target, &[HOST]), &sha256(b"")).unwrap();
        let (_, authorization) = added.last().unwrap();
        assert!(authorization.ends_with(signature), "{authorization}");
    };
    let arn_in_path = "896be72c520db7897d90395265793fb4e19d39112ab854a139fee588b89882b9";
    check("signer", "/x/..//tags/./arn%3Aaws%3Asigner/p%40?b=z/&b=x%20y&a", arn_in_path);
    let as_it_is = "8ebc7e9780ce6b538a0fe56573dbef639330755c691bc33db1211ca73ad9e1ac";
    check("s3", "/bucket//a%20b/../@", as_it_is);

    let headers = [HOST, ("x-k8s-aws-id", b" a  cluster".as_slice())];
    let head = get("/?Action=GetCallerIdentity&Version=2011-06-15", &headers);
    let query = signer("sts").presign(&head, &sha256(b""), 60).unwrap();
    let presigned = "c22fc9dc64272d9580d98d90eaef4241b5d8a8f75661b7550270c7185f9e0920";
    assert!(query.ends_with(&format!("&X-Amz-Signature={presigned}")), "{query}");
}

#[test]
fn what_cannot_be_signed() {
    let sign = |head: &RequestHead<'_>| signer("ecr").sign(head, &sha256(b"")).unwrap_err();
    for name in ["x-amz-date", "authorization"] {
        let error = sign(&get("/", &[HOST, (name, b"x")]));
        assert_eq!(error, SigError::DuplicateHeader(name));
    }
    assert_eq!(sign(&get("/%zz", &[HOST])), SigError::MalformedRequest);
    assert_eq!(sign(&get("/?a=%", &[HOST])), SigError::MalformedQueryString);
    for seconds in [0, 604_801] {
        let error = signer("s3").presign(&get("/", &[HOST]), &sha256(b""), seconds);
        assert_eq!(error, Err(SigError::InvalidExpires));
    }
}

/// A signed request as text.
const SIGNED: &str = "\
POST / HTTP/1.1
Host: localhost
X-Amz-Date: 20260102T030405Z
X-Amz-Target: T.Op
Authorization: AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260102/us-east-1/ecr/aws4_request, \
SignedHeaders=host;x-amz-date;x-amz-target, Signature=00
";

/// A presigned request as text.
const PRESIGNED: &str = "\
GET /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAEXAMPLE%2F20260102%2Fus-east-1%2Fsts\
%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-SignedHeaders=host&X-Amz-Expires=60\
&X-Amz-Security-Token=t%2Fk&X-Amz-Signature=00 HTTP/1.1
Host: localhost
";

fn read(text: &str) -> Parsed {
    parse_bytes(text.as_bytes()).unwrap().unwrap()
}

/// Replaces a part of a request and checks the sentence and the code of the query protocol.
fn check(request: &str, (from, to): (&str, &str), code: &str, sentence: &str) {
    assert!(request.contains(from), "{from}");
    let error = parse_bytes(request.replacen(from, to, 1).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), sentence);
    assert_eq!(error.query_code(), code, "{sentence}");
}

#[test]
fn what_is_read() {
    let parsed = read(SIGNED);
    assert_eq!(parsed.access_key_id, "AKIAEXAMPLE");
    assert_eq!(parsed.scope.service, "ecr");
    assert_eq!(parsed.signed_headers, ["host", "x-amz-date", "x-amz-target"]);
    assert_eq!(parsed.time, time(NOW));
    assert_eq!(parsed.payload, Payload::Body);
    assert!(!parsed.presigned);

    let parsed = read(PRESIGNED);
    assert!(parsed.presigned);
    assert_eq!(parsed.session_token.as_deref(), Some("t/k"));
    assert_eq!(parsed.expires_seconds, Some(60));
    assert_eq!(parsed.signature, "00");

    assert!(parse_bytes(b"GET /?a=b HTTP/1.1\nHost: localhost\n\n").unwrap().is_none());
}

#[test]
fn parameters_in_any_order_with_any_blanks() {
    // Of a parameter that comes twice the last is meant in a header, the first in a query.
    let header = SIGNED
        .replace("Credential", " Signature=11,Credential")
        .replace(", Sig", "\tVersion=1 Sig")
        .replace("host;x-amz-date;x-amz-target", "x-amz-target;Host;x-amz-date;host");
    let parsed = read(&header);
    assert_eq!(parsed.signature, "00");
    assert_eq!(parsed.signed_headers, ["host", "x-amz-date", "x-amz-target"]);

    let query =
        PRESIGNED.replace("&X-Amz-Signature", "&X-Amz-Date=x&X-Amz-Expires=x&X-Amz-Signature");
    assert_eq!(read(&query).time, time(NOW));
}

#[test]
fn a_date_may_be_the_one_of_http() {
    let request = SIGNED
        .replace("X-Amz-Date: 20260102T030405Z", "Date: Fri, 02 Jan 2026 03:04:05 GMT")
        .replace("x-amz-date", "date");
    assert_eq!(read(&request).time, time(NOW));
}

#[test]
fn sentences_about_what_is_malformed() {
    let bad_line = "The request line could not be read";
    for line in ["POST x", "POST /%4", "POST /%é1", "POST /a/../..", "PO(ST /", "POST *"] {
        check(SIGNED, ("POST /", line), "BadRequest", bad_line);
    }
    check(SIGNED, ("Host:", "Ho st:"), "BadRequest", bad_line);
    let bad_query = "The query string contains a syntax error.";
    check(SIGNED, ("/ HTTP", "/?a=%4 HTTP"), "MalformedQueryString", bad_query);
    let both = "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP \
                header.";
    check(SIGNED, ("/ HTTP", "/?X-Amz-Algorithm=x HTTP"), "SignatureDoesNotMatch", both);

    let incomplete = "IncompleteSignature";
    let algorithm = "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512'.";
    check(SIGNED, ("SHA256", "SHA512"), incomplete, algorithm);
    check(PRESIGNED, ("SHA256", "SHA512"), incomplete, algorithm);
    let secret = ("AWS4-HMAC-SHA256", "QVdTOmEgdG9rZW4gdGhhdCBpcyBzZWNyZXQ=");
    check(SIGNED, secret, incomplete, "Unsupported AWS 'algorithm': ''.");
    let word = "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with \
                SHA-256 and encoded with Base64): 's50ZTdUm3fqJ2t3BlDtgmqH/EBcjQqwelZyK36DaGus='.";
    let (_, parameters) = SIGNED.trim_end().split_once("SHA256 ").unwrap();
    check(SIGNED, (parameters, "word"), incomplete, word);
    let twice = "The request has more than one 'x-amz-date' header.";
    check(SIGNED, ("Host:", "x-amz-date: x\nHost:"), incomplete, twice);
    let date = "Date must be in ISO-8601 'basic format'. Got '201'. \
                See http://en.wikipedia.org/wiki/ISO_8601";
    check(SIGNED, ("20260102T030405Z", "201"), incomplete, date);
    check(PRESIGNED, ("20260102T030405Z", "201"), incomplete, date);
    let expires = "X-Amz-Expires must be a number of seconds from 1 to 604800";
    for seconds in ["=0&", "=604801&", "=-1&", "=&", "=x&", "=99999999999&"] {
        check(PRESIGNED, ("=60&", seconds), incomplete, expires);
    }
    let parts = "Credential must have exactly 5 slash-delimited elements, \
                 e.g. keyid/date/region/service/term, got ";
    check(
        SIGNED,
        ("AKIAEXAMPLE/20260102/us-east-1/ecr/aws4_request", "a/b"),
        incomplete,
        &format!("{parts}'a/b'"),
    );
    let line_break = format!("{parts}'AKIAEXAMPLE/20260102/us-east-1/st?s/aws4_request'");
    check(PRESIGNED, ("2Fsts", "2Fst%0As"), incomplete, &line_break);
}

#[test]
fn sentences_about_what_is_missing() {
    let incomplete = "IncompleteSignature";
    let (_, parameters) = SIGNED.trim_end().split_once("SHA256 ").unwrap();
    let request = SIGNED.replace("X-Amz-Date: 20260102T030405Z\n", "");
    let all = "Authorization header requires 'Credential' parameter. \
               Authorization header requires 'Signature' parameter. \
               Authorization header requires 'SignedHeaders' parameter. \
               Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' \
               header. (Hashed with SHA-256 and encoded with Base64) \
               Authorization=YI2YWea8FSxnksZL2ETHbs5elHm9HQufxTLK0W0ffV0=";
    check(&request, (parameters, ""), incomplete, all);
    let some = "Authorization header requires 'Signature' parameter. \
                Authorization header requires 'SignedHeaders' parameter. \
                (Hashed with SHA-256 and encoded with Base64) \
                Authorization=520Nq5bS80gLhTcgcZzjkP74XCXMcdxItgMCiiN4K6U=";
    check(SIGNED, (parameters, "Credential=a"), incomplete, some);

    let query = "AWS query-string parameters must include 'X-Amz-Credential'. \
                 AWS query-string parameters must include 'X-Amz-Signature'. \
                 AWS query-string parameters must include 'X-Amz-SignedHeaders'. \
                 AWS query-string parameters must include 'X-Amz-Date'. \
                 Re-examine the query-string parameters.";
    let (_, parameters) = PRESIGNED.split_once("SHA256").unwrap();
    let (parameters, _) = parameters.split_once(" HTTP").unwrap();
    check(PRESIGNED, (parameters, ""), incomplete, query);

    let mismatch = "SignatureDoesNotMatch";
    let host = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
    check(SIGNED, ("=host;", "="), mismatch, host);
    check(PRESIGNED, ("=host", "=x"), mismatch, host);
    let target = "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.";
    check(SIGNED, (";x-amz-target", ""), mismatch, target);
    check(PRESIGNED, ("Host:", "x-amz-target: T.Op\nHost:"), mismatch, target);
    let not_sent = SigError::SignatureDoesNotMatch.to_string();
    check(SIGNED, ("X-Amz-Target: T.Op\n", ""), mismatch, &not_sent);

    let missing = SigError::MissingAuthentication;
    assert_eq!(missing.to_string(), "Missing Authentication Token");
    assert_eq!(missing.query_message(), "Request is missing Authentication Token");
    assert_eq!(missing.json_code(), "MissingAuthenticationTokenException");
}

#[test]
fn what_may_stand_for_a_body() {
    let with = |request: &str, hash: &str| {
        let request = request
            .replace("Host:", &format!("x-amz-content-sha256: {hash}\nHost:"))
            .replace("=host", "=host;x-amz-content-sha256");
        parse_bytes(request.as_bytes()).map(|parsed| parsed.unwrap().payload)
    };
    let hash = "E3B0C44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(with(SIGNED, hash), Ok(Payload::Claimed(hash.to_owned())));
    assert_eq!(with(PRESIGNED, hash), Ok(Payload::Claimed(hash.to_owned())));
    assert_eq!(with(SIGNED, "x"), Err(SigError::InvalidContentHash));
    let streaming = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    assert_eq!(with(SIGNED, streaming), Err(SigError::StreamingPayload));
    for request in [SIGNED, PRESIGNED, &SIGNED.replace("/ecr/", "/s3/")] {
        assert_eq!(with(request, "UNSIGNED-PAYLOAD"), Err(SigError::UnsignedPayload));
    }
    assert_eq!(read(&PRESIGNED.replace("sts", "s3")).payload, Payload::Unsigned);

    // Over TLS the service decides, and only S3 leaves it to the client.
    let over_tls = |service: &str| {
        let scope = format!("AKIAEXAMPLE/20260102/us-east-1/{service}/aws4_request");
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={scope}, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=00"
        );
        let headers = [
            HOST,
            ("x-amz-date", b"20260102T030405Z".as_slice()),
            ("x-amz-content-sha256", b"UNSIGNED-PAYLOAD"),
            ("authorization", authorization.as_bytes()),
        ];
        let head = RequestHead { tls: true, ..get("/", &headers) };
        parse(&head).map(|parsed| parsed.unwrap().payload)
    };
    assert_eq!(over_tls("s3"), Ok(Payload::Unsigned));
    assert_eq!(over_tls("ecr"), Err(SigError::UnsignedPayload));
}

#[test]
fn a_stated_hash_proves_the_signature_before_the_body() {
    let hash = const_hex::encode_upper(sha256(b"body"));
    let mut headers = vec![HOST, ("x-amz-content-sha256", hash.as_bytes())];
    let added = signer("ecr").sign(&get("/", &headers), &sha256(b"body")).unwrap();
    headers.extend(added.iter().map(|(name, value)| (*name, value.as_bytes())));
    let parsed = parse(&get("/", &headers)).unwrap().unwrap();
    let key = parsed.derive_key(SECRET);
    assert_eq!(parsed.verify_head(&key), Ok(true));
    assert_eq!(parsed.verify(&key, &sha256(b"body")), Ok(()));
    assert_eq!(parsed.verify(&key, &sha256(b"other")), Err(SigError::ContentHashMismatch));
    let other = parsed.derive_key("x");
    assert_eq!(parsed.verify_head(&other), Err(SigError::SignatureDoesNotMatch));
    assert_eq!(parsed.verify(&other, &sha256(b"other")), Err(SigError::SignatureDoesNotMatch));
    assert_eq!(read(SIGNED).verify_head(&key), Ok(false));
}

#[test]
fn the_clock() {
    let check = |parsed: &Parsed, now: &str, skew: u32, expected: Option<&str>| {
        let told = parsed.check_time(time(now), skew).err().map(|error| error.to_string());
        assert_eq!(told.as_deref(), expected, "{now}");
    };
    let signed = read(SIGNED);
    check(&signed, "2026-01-02T03:09:05Z", 5, None);
    check(&signed, "2026-01-02T02:59:05Z", 5, None);
    check(
        &signed,
        "2026-01-02T03:09:06Z",
        5,
        Some(
            "Signature expired: 20260102T030405Z is now earlier than 20260102T030406Z \
             (20260102T030906Z - 5 min.)",
        ),
    );
    check(
        &signed,
        "2026-01-02T02:49:04Z",
        15,
        Some(
            "Signature not yet current: 20260102T030405Z is still later than 20260102T030404Z \
             (20260102T024904Z + 15 min.)",
        ),
    );

    let presigned = read(PRESIGNED);
    check(&presigned, "2026-01-02T03:05:05Z", 15, None);
    check(&presigned, "2026-01-02T02:49:05Z", 15, None);
    let over = "Signature expired: 20260102T030405Z is now earlier than 20260102T030406Z \
                (20260102T030506Z - 1 min.)";
    check(&presigned, "2026-01-02T03:05:06Z", 15, Some(over));
    let odd = read(&PRESIGNED.replace("=60&", "=90&"));
    let over = "Signature expired: 20260102T030405Z is now earlier than 20260102T030406Z \
                (20260102T030536Z - 90 sec.)";
    check(&odd, "2026-01-02T03:05:36Z", 15, Some(over));
    check(
        &signed,
        "9999-12-30T22:00:00Z",
        5,
        Some(
            "Signature expired: 20260102T030405Z is now earlier than 99991230T215500Z \
         (99991230T220000Z - 5 min.)",
        ),
    );
    assert_eq!([skew_minutes("ecr"), skew_minutes("iam"), skew_minutes("sts")], [5, 15, 15]);
}

#[test]
fn only_s3_has_presigned_requests_that_live_longer_than_a_quarter_of_an_hour() {
    let request = PRESIGNED.replace("=60&", "=604800&");
    let lives = |request: &str, now: &str| read(request).check_time(time(now), 15).is_ok();
    assert!(lives(&request, "2026-01-02T03:19:05Z"));
    assert!(!lives(&request, "2026-01-02T03:19:06Z"));
    let s3 = request.replace("sts", "s3");
    assert!(lives(&s3, "2026-01-09T03:04:05Z"));
    assert!(!lives(&s3, "2026-01-09T03:04:06Z"));
    let silent = PRESIGNED.replace("&X-Amz-Expires=60", "");
    assert!(lives(&silent, "2026-01-02T03:19:05Z"));
    assert!(!lives(&silent, "2026-01-02T03:19:06Z"));
}

#[test]
fn the_scope() {
    let parsed = read(SIGNED);
    assert_eq!(parsed.check_scope("ecr", &["eu-central-1", "us-east-1"]), Ok(()));
    assert!(parsed.check_scope("ecr", &[""; 0]).is_err());

    let request = SIGNED.replace("20260102/us-east-1/ecr/aws4_request", "b/c/d/e");
    let error = read(&request).check_scope("ecr", &["us-east-1"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Credential should be scoped to a valid region, not 'c'. \
         Credential should be scoped to correct service: 'ecr'. \
         Credential should be scoped with a valid terminator: 'aws4_request', not 'e'. \
         Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
         HTTP: 'b' != '20260102', from '20260102T030405Z'."
    );
    assert_eq!(error.json_code(), "InvalidSignatureException");
}

#[test]
fn an_unknown_key_is_told_nothing_else() {
    let error = read(SIGNED).verify_unknown();
    assert_eq!(error, SigError::InvalidClientToken);
    assert_eq!(error.json_code(), "UnrecognizedClientException");
    assert_eq!(error.to_string(), "The security token included in the request is invalid.");
    let over = SigError::ExpiredToken;
    assert_eq!((over.json_code(), over.query_code()), ("ExpiredTokenException", "ExpiredToken"));
}

#[test]
fn heads_over_the_limits() {
    let text = "a&".repeat(MAX_HEAD_BYTES / 2);
    let large = Err(SigError::HeadTooLarge);
    let refused = |head: RequestHead<'_>| parse(&head).map(|_| ());
    assert_eq!(refused(RequestHead { query: &text, ..get("/", &[]) }), large);
    let few = "a&".repeat(3000);
    assert_eq!(refused(RequestHead { query: &few, ..get("/", &[]) }), large);
    assert_eq!(refused(get("/", &[HOST; 257])), large);
    assert_eq!(refused(get("/", &[HOST; 256])), Ok(()));
    let header = [HOST, ("authorization", text.as_bytes())];
    assert_eq!(refused(get("/", &header)), large);
}

#[test]
fn debug_output_holds_no_secret() {
    let parsed = read(PRESIGNED);
    let text = format!("{parsed:?} {:?} {:?}", parsed.derive_key(SECRET), signer("ecr"));
    for secret in ["t/k", SECRET, "signature", "canonical"] {
        assert!(!text.contains(secret), "{text}");
    }
}
