//! What holds for any request: it verifies as it was signed, and not when it was changed.

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::sigv4::{RequestHead, SigError, Signer, parse, parse_bytes, sha256};

const KEY: &str = "AKIAEXAMPLE";
const SECRET: &str = "an/example+secret/of/forty/characters/xx";

/// A request, and what the server that gets it expects.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    service: String,
    region: String,
    token: Option<String>,
    time: Timestamp,
}

impl Sent {
    fn headers(&self) -> Vec<(&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }

    fn head<'a>(&'a self, headers: &'a [(&'a str, &'a [u8])]) -> RequestHead<'a> {
        let Sent { method, path, query, .. } = self;
        RequestHead { method, path, query, headers, tls: true }
    }

    fn signer(&self) -> Signer<'_> {
        Signer {
            access_key_id: KEY,
            secret_access_key: SECRET,
            session_token: self.token.as_deref(),
            region: &self.region,
            service: &self.service,
            time: self.time,
        }
    }

    fn signed(mut self) -> Sent {
        let headers = self.headers();
        let added = self.signer().sign(&self.head(&headers), &sha256(&self.body)).unwrap();
        self.headers.extend(added.into_iter().map(|(name, value)| (name.to_owned(), value)));
        self
    }

    fn presigned(mut self) -> Sent {
        let headers = self.headers();
        self.query = self.signer().presign(&self.head(&headers), &sha256(&self.body), 60).unwrap();
        self
    }

    /// Does what a server does.
    fn judge(&self) -> Result<(), SigError> {
        let headers = self.headers();
        let parsed = parse(&self.head(&headers))?.ok_or(SigError::MissingAuthentication)?;
        parsed.check_time(self.time, 5)?;
        parsed.check_scope(&self.service, &[&self.region])?;
        if parsed.access_key_id != KEY {
            return Err(parsed.verify_unknown());
        }
        let key = parsed.derive_key(SECRET);
        let early = parsed.verify_head(&key);
        let verdict = parsed.verify(&key, &sha256(&self.body));
        // Without the body less can be known, but never something else.
        assert!(early.is_ok() || verdict.is_err());
        verdict
    }

    fn value(&mut self, name: &str) -> &mut String {
        &mut self.headers.iter_mut().find(|(it, _)| it == name).unwrap().1
    }

    fn replace(&mut self, name: &str, from: &str, to: &str) {
        let value = self.value(name);
        assert!(value.contains(from), "{value}");
        *value = value.replacen(from, to, 1);
    }
}

prop_compose! {
    fn request()(
        method in select(vec!["GET", "POST", "PUT", "DELETE"]),
        segments in prop::collection::vec("[a-z:@%é ]{1,8}", 0..4),
        query in prop::collection::vec(("[a-zA-Z0-9]{0,3}", "[a-z+/ =&é]{0,4}"), 0..4),
        headers in prop::collection::btree_map("my-[a-z]{1,6}", "[ -~é]{0,20}", 0..4),
        target in prop::option::of("[A-Za-z]{1,12}"),
        body in prop::collection::vec(any::<u8>(), 0..64),
        service in select(vec!["ecr", "iam", "sts", "signer", "s3"]),
        region in select(vec!["us-east-1", "eu-central-1"]),
        token in prop::option::of("[A-Za-z0-9/+=]{1,40}"),
        second in 0_i64..4_000_000_000,
    ) -> Sent {
        let encode = |text: &str| crate::sigv4::canonical::encode(text.as_bytes());
        let path: Vec<String> = segments.iter().map(|it| encode(it)).collect();
        let pairs: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let mut all = vec![("Host".to_owned(), "localhost:5000".to_owned())];
        all.extend(headers);
        all.extend(target.map(|target| ("X-Amz-Target".to_owned(), target)));
        Sent {
            method: method.to_owned(),
            path: format!("/{}", path.join("/")),
            query: pairs.join("&"),
            headers: all,
            body,
            service: service.to_owned(),
            region: region.to_owned(),
            token,
            time: Timestamp::from_second(second).unwrap(),
        }
    }
}

/// Changes a request that is signed in its headers, in the `number`th way.
fn change(sent: &mut Sent, number: usize, index: Index) {
    let signed = sent.headers.len() - 1; // all but Authorization, which is the last
    let (date, region, service) = (
        sent.time.strftime("/%Y%m%d/").to_string(),
        format!("/{}/", sent.region),
        format!("/{}/", sent.service),
    );
    match number {
        0 => sent.method = if sent.method == "GET" { "HEAD" } else { "GET" }.to_owned(),
        1 => sent.path.push('x'),
        2 => sent.path.insert_str(1, "%2F"),
        3 => sent.query.push_str("&z9=1"),
        4 => sent.query.push('q'),
        5 => sent.headers[index.index(signed)].1.push('x'),
        6 => drop(sent.headers.remove(index.index(signed))),
        7 => {
            let twice = sent.headers[index.index(signed)].clone();
            sent.headers.push(twice);
        }
        8 => sent.headers.push(("x-amz-meta-z".to_owned(), "1".to_owned())),
        9 => sent.body.push(0),
        10 => {
            let later = sent.time.as_second() + 1;
            let later = crate::sigv4::time::basic(Timestamp::from_second(later).unwrap());
            *sent.value("X-Amz-Date") = later;
        }
        11 => sent.replace("Authorization", &region, "/xx-east-1/"),
        12 => {
            sent.replace("Authorization", &region, "/xx-east-1/");
            sent.region = "xx-east-1".to_owned();
        }
        13 => sent.replace("Authorization", &service, "/kms/"),
        14 => {
            sent.replace("Authorization", &service, "/kms/");
            sent.service = "kms".to_owned();
        }
        15 => sent.replace("Authorization", &date, "/19691231/"),
        16 => sent.replace("Authorization", "aws4_request", "aws5_request"),
        17 => sent.replace("Authorization", KEY, "AKIAOTHER"),
        18 => sent.replace("Authorization", "x-amz-date", "host"),
        19 => {
            let value = sent.value("Authorization");
            let at = value.len() - 1 - index.index(64);
            let digit = if &value[at..=at] == "0" { "1" } else { "0" };
            value.replace_range(at..=at, digit);
        }
        _ => {
            let value = sent.value("Authorization");
            value.truncate(value.len() - 1);
        }
    }
}

const CHANGES: usize = 21;

/// The request as it would be on the wire.
fn raw(sent: &Sent) -> Vec<u8> {
    let mut text = format!("{} {}?{} HTTP/1.1\r\n", sent.method, sent.path, sent.query);
    for (name, value) in &sent.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

proptest! {
    #[test]
    fn what_was_signed_verifies(sent in request()) {
        prop_assert_eq!(sent.clone().signed().judge(), Ok(()));
        prop_assert_eq!(sent.presigned().judge(), Ok(()));
    }

    #[test]
    fn what_means_the_same_verifies(sent in request()) {
        let mut sent = sent.signed();
        sent.headers.reverse();
        for (name, value) in &mut sent.headers {
            *name = name.to_ascii_uppercase();
            *value = format!(" \t{} ", value.replace(' ', "  "));
        }
        let mut pairs: Vec<&str> = sent.query.split('&').collect();
        pairs.reverse();
        sent.query = pairs.join("&");
        prop_assert_eq!(sent.judge(), Ok(()));
    }

    #[test]
    fn what_was_changed_does_not_verify(
        sent in request(), number in 0..CHANGES, index in any::<Index>(),
    ) {
        let signed = sent.signed();
        let mut changed = signed.clone();
        change(&mut changed, number, index);
        prop_assert_ne!(&signed, &changed);
        prop_assert!(changed.judge().is_err(), "change {} is not noticed: {:?}", number, changed);
    }

    #[test]
    fn no_parameter_of_a_presigned_request_can_be_changed(
        sent in request(), index in any::<Index>(), header in any::<Index>(),
    ) {
        let signed = sent.presigned();
        prop_assert_eq!(signed.judge(), Ok(()));

        let mut changed = signed.clone();
        let mut pairs: Vec<String> = signed.query.split('&').map(str::to_owned).collect();
        let at = index.index(pairs.len());
        pairs[at].push('1');
        changed.query = pairs.join("&");
        prop_assert!(changed.judge().is_err(), "{}", changed.query);

        let mut changed = signed.clone();
        let count = changed.headers.len();
        changed.headers[header.index(count)].1.push('x');
        prop_assert!(changed.judge().is_err());

        let mut changed = signed.clone();
        changed.body.push(0);
        // S3 leaves the body of a presigned request unsigned.
        prop_assert_eq!(changed.judge().is_err(), changed.service != "s3");

        let mut changed = signed;
        changed.query.push_str("&X-Amz-Signature=0");
        prop_assert_eq!(changed.judge(), Err(SigError::SignatureDoesNotMatch));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = parse_bytes(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let headers = [("host", &*bytes), ("authorization", &*bytes), (&*text, &*bytes)];
        for path in ["/", &*text] {
            let head = RequestHead { method: "GET", path, query: &text, headers: &headers, tls: true };
            let _ = parse(&head);
        }
    }

    #[test]
    fn a_request_with_noise_is_refused_or_means_the_same(
        sent in request(),
        presigned in any::<bool>(),
        noise in prop::collection::vec((any::<Index>(), 0..3, any::<u8>()), 1..4),
    ) {
        let sent = if presigned { sent.presigned() } else { sent.signed() };
        let mut bytes = raw(&sent);
        let Ok(Some(before)) = parse_bytes(&bytes) else { return Err(TestCaseError::fail("raw")) };
        for (index, kind, byte) in noise {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let Ok(Some(after)) = parse_bytes(&bytes) else { return Ok(()) };
        if after.verify(&before.derive_key(SECRET), &sha256(&sent.body)).is_ok() {
            prop_assert_eq!(before.canonical_request(""), after.canonical_request(""));
            prop_assert_eq!(before.time, after.time);
            prop_assert_eq!(before.scope, after.scope);
        }
    }
}
