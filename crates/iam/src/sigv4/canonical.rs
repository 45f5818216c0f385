//! The canonical request: the one spelling of a request that both sides hash.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::sigv4::error::SigError;
use crate::sigv4::{MAX_QUERY_PARAMETERS, RequestHead};

/// All bytes but `A-Za-z0-9-_.~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// [`RESERVED`] without the slash, which parts a path.
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// What is still to be encoded in a path whose escapes stay as they are.
const RESERVED_IN_ESCAPED_PATH: &AsciiSet = &RESERVED_IN_PATH.remove(b'%');

/// What the services do differently with a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Remove dot segments and double slashes.
    pub(super) normalize_path: bool,
    /// Encode the path once more, as it was sent: `%3A` becomes `%253A`.
    pub(super) double_encode: bool,
}

impl Rules {
    /// S3's object keys may hold `//` and `..`, so S3 takes a path as it is.
    pub(super) fn for_service(service: &str) -> Rules {
        let ordinary = service != "s3";
        Rules { normalize_path: ordinary, double_encode: ordinary }
    }
}

/// Refuses what no HTTP server should have let through, and paths with broken escapes.
pub(super) fn check_target(head: &RequestHead<'_>) -> Result<(), SigError> {
    let absolute = head.path.is_empty() || head.path.starts_with('/');
    if !is_token(head.method) || !absolute || !is_well_escaped(head.path) {
        return Err(SigError::MalformedRequest);
    }
    Ok(())
}

/// All lines of the canonical request but the last, which is the hash of the payload.
pub(super) fn canonical_head(
    head: &RequestHead<'_>,
    query: &str,
    headers: &Headers<'_>,
    signed_headers: &[String],
    rules: Rules,
) -> Result<Vec<u8>, SigError> {
    let mut out = Vec::new();
    for line in [head.method, &canonical_path(head.path, rules)?, query] {
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    for name in signed_headers {
        headers.append_canonical(name, &mut out)?;
    }
    out.push(b'\n');
    out.extend_from_slice(signed_headers.join(";").as_bytes());
    out.push(b'\n');
    Ok(out)
}

fn canonical_path(path: &str, rules: Rules) -> Result<String, SigError> {
    let normalized;
    let path = if rules.normalize_path {
        normalized = without_dot_segments(path)?;
        normalized.as_str()
    } else if path.is_empty() {
        "/"
    } else {
        path
    };
    let set = if rules.double_encode { RESERVED_IN_PATH } else { RESERVED_IN_ESCAPED_PATH };
    Ok(percent_encode(path.as_bytes(), set).to_string())
}

/// Removes `.`, `..` and empty segments as RFC 3986, section 5.2.4 does, but does not let a path
/// lead above the root.
fn without_dot_segments(path: &str) -> Result<String, SigError> {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = true;
    for segment in path.split('/') {
        ends_open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop().ok_or(SigError::MalformedRequest)?;
            }
            _ => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len() + 1);
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if ends_open || kept.is_empty() {
        out.push('/');
    }
    Ok(out)
}

/// The parameters of a query, decoded, in the order of their arrival.
pub(super) struct Query(Vec<(Vec<u8>, Vec<u8>)>);

impl Query {
    pub(super) fn parse(query: &str) -> Result<Query, SigError> {
        if !is_well_escaped(query) {
            return Err(SigError::MalformedQueryString);
        }
        let mut pairs = Vec::new();
        for piece in query.split('&').filter(|piece| !piece.is_empty()) {
            if pairs.len() == MAX_QUERY_PARAMETERS {
                return Err(SigError::HeadTooLarge);
            }
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            pairs.push((percent_decode_str(name).collect(), percent_decode_str(value).collect()));
        }
        Ok(Query(pairs))
    }

    /// The value of the first parameter of a name. Bytes that are not UTF-8 are replaced, by a
    /// character that is right in no parameter that is asked for.
    pub(super) fn first(&self, name: &str) -> Option<String> {
        let (_, value) = self.0.iter().find(|(it, _)| it == name.as_bytes())?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// The canonical query, without the first parameter of the name `without`: a second signature
    /// is a parameter like any other, and nobody can add one.
    pub(super) fn canonical(&self, without: Option<&str>) -> String {
        let left_out =
            without.and_then(|name| self.0.iter().position(|(it, _)| it == name.as_bytes()));
        let pairs = self.0.iter().enumerate().filter(|(index, _)| Some(*index) != left_out);
        let mut encoded: Vec<(String, String)> =
            pairs.map(|(_, (name, value))| (encode(name), encode(value))).collect();
        encoded.sort_unstable();
        let pairs: Vec<String> =
            encoded.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }
}

/// Headers by their names in lower case.
pub(super) struct Headers<'a>(BTreeMap<String, Vec<&'a [u8]>>);

impl<'a> Headers<'a> {
    pub(super) fn new(list: &[(&str, &'a [u8])]) -> Result<Headers<'a>, SigError> {
        let mut headers = BTreeMap::<String, Vec<&[u8]>>::new();
        for (name, value) in list {
            // A name with a line break in it would let one header stand for two.
            if !is_token(name) {
                return Err(SigError::MalformedRequest);
            }
            headers.entry(name.to_ascii_lowercase()).or_default().push(value);
        }
        Ok(Headers(headers))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The value of a header that may come only once, if it is there. Bytes that are not UTF-8
    /// are replaced, as in [`Query::first`].
    pub(super) fn single(&self, name: &'static str) -> Result<Option<String>, SigError> {
        match self.0.get(name).map(Vec::as_slice) {
            None => Ok(None),
            Some([value]) => Ok(Some(String::from_utf8_lossy(value.trim_ascii()).into_owned())),
            Some(_) => Err(SigError::DuplicateHeader(name)),
        }
    }

    /// `name:value,value\n`. A header that is signed and was not sent is no match.
    fn append_canonical(&self, name: &str, out: &mut Vec<u8>) -> Result<(), SigError> {
        let values = self.0.get(name).ok_or(SigError::SignatureDoesNotMatch)?;
        out.extend_from_slice(name.as_bytes());
        for (index, value) in values.iter().enumerate() {
            out.push(if index == 0 { b':' } else { b',' });
            append_collapsed(value, out);
        }
        out.push(b'\n');
        Ok(())
    }
}

/// A value, trimmed, and each run of white space in it made one space.
fn append_collapsed(value: &[u8], out: &mut Vec<u8>) {
    let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

/// Percent-encodes a parameter's name or value.
pub(super) fn encode(text: &[u8]) -> String {
    percent_encode(text, RESERVED).to_string()
}

/// Whether each `%` is followed by two hexadecimal digits.
fn is_well_escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Whether a text is a `token` of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str, service: &str) -> String {
        canonical_path(path, Rules::for_service(service)).unwrap()
    }

    #[test]
    fn paths() {
        for (sent, ordinary, s3) in [
            ("", "/", "/"),
            ("/", "/", "/"),
            ("/a/b", "/a/b", "/a/b"),
            ("//a//b//", "/a/b/", "//a//b//"),
            ("/a/./b/../c", "/a/c", "/a/./b/../c"),
            ("/a/b/..", "/a/", "/a/b/.."),
            ("/a/.", "/a/", "/a/."),
            ("/a/..", "/", "/a/.."),
            ("/a:b@c", "/a%3Ab%40c", "/a%3Ab%40c"),
            ("/a%3Ab%3a", "/a%253Ab%253a", "/a%3Ab%3a"),
            ("/%2e%2e/a", "/%252e%252e/a", "/%2e%2e/a"),
        ] {
            assert_eq!(path(sent, "ecr"), ordinary);
            assert_eq!(path(sent, "s3"), s3);
        }
        for above in ["/..", "/a/../..", "/../a"] {
            let refused = canonical_path(above, Rules::for_service("ecr"));
            assert_eq!(refused, Err(SigError::MalformedRequest), "{above}");
        }
    }

    #[test]
    fn queries() {
        for (sent, canonical) in [
            ("", ""),
            ("a", "a="),
            ("=", "="),
            ("&&a=1&", "a=1"),
            ("b=1&a=2&a=1", "a=1&a=2&b=1"),
            ("a=b=c", "a=b%3Dc"),
            ("a=%7e%2f+", "a=~%2F%2B"),
            ("a-b=1&a=2&A=3", "A=3&a=2&a-b=1"),
        ] {
            assert_eq!(Query::parse(sent).unwrap().canonical(None), canonical, "{sent}");
        }
        let query = Query::parse("x=1&a=2&x=3").unwrap();
        assert_eq!(query.canonical(Some("x")), "a=2&x=3");
        for broken in ["%", "a=%1", "a=%1g", "%-1=", "%+1="] {
            assert!(Query::parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn header_values() {
        let list: &[(&str, &[u8])] =
            &[("A", b" x  y\t\tz "), ("b", b""), ("a", b"\"1   2\""), ("a", b"\xff")];
        let headers = Headers::new(list).unwrap();
        let mut out = Vec::new();
        headers.append_canonical("a", &mut out).unwrap();
        headers.append_canonical("b", &mut out).unwrap();
        assert_eq!(out, b"a:x y z,\"1 2\",\xff\nb:\n");
        assert_eq!(headers.single("a"), Err(SigError::DuplicateHeader("a")));
        assert_eq!(headers.single("b"), Ok(Some(String::new())));
        assert_eq!(headers.single("c"), Ok(None));
    }
}
