//! The id of a request: a random UUID that the answer, every log line and every error carry.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// As AWS names it.
pub const X_AMZN_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// As everyone else names it.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ids of callers are not kept: they would fill the log.
const LONGEST_FOREIGN: usize = 128;

/// Names a request in answers and logs. It is ours alone: a caller cannot choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(Uuid);

impl RequestId {
    pub fn new() -> RequestId {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        RequestId(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    pub fn uuid(&self) -> Uuid {
        self.0
    }

    /// Puts the id on an answer, over whatever is there under the same names.
    pub fn set(&self, headers: &mut HeaderMap) {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = self.0.hyphenated().encode_lower(&mut text);
        let value = HeaderValue::from_str(text).expect("a UUID is visible ASCII");
        headers.insert(X_AMZN_REQUEST_ID, value.clone());
        headers.insert(X_REQUEST_ID, value);
    }
}

impl Default for RequestId {
    fn default() -> RequestId {
        RequestId::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The id that the caller gave its request, if it is well formed: only the log shows it.
pub fn foreign(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    (visible && (1..=LONGEST_FOREIGN).contains(&text.len())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_set_under_both_names() {
        let (id, mut headers) = (RequestId::new(), HeaderMap::new());
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("from elsewhere"));
        id.set(&mut headers);
        assert_eq!(headers["x-request-id"], id.to_string());
        assert_eq!(headers["x-amzn-requestid"], id.to_string());
        assert_ne!(id, RequestId::new());
        assert_eq!(id.uuid().get_version_num(), 4);
    }

    #[test]
    fn a_foreign_id_is_kept_if_it_is_well_formed() {
        let check = |value: &str, is_kept: bool| {
            let value_header = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(X_REQUEST_ID, value_header)]);
            assert_eq!(foreign(&headers), is_kept.then_some(value), "{value}");
        };
        check("build-17/step.4", true);
        check(&"x".repeat(128), true);
        check(&"x".repeat(129), false);
        check("two words", false);
        check("ünicode", false);
        check("", false);
        assert_eq!(foreign(&HeaderMap::new()), None);
    }
}
