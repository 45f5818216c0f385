//! Which bytes of a blob a request wants, and whether it has them already.

use std::ops::Range;

use bonded_oci::range::{Selected, select};
use http::{HeaderMap, header};

/// What a request wants of a blob.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The client has it: 304.
    Nothing,
    Whole,
    Part(Range<u64>),
    /// The range has no byte of the blob: 416.
    Beyond,
}

/// Reads `If-None-Match`, `Range` and `If-Range`. Several ranges and what is no range are
/// ignored, as RFC 9110 allows (sections 14.2 and 13.1.5).
pub(crate) fn wanted(headers: &HeaderMap, etag: &str, size: u64) -> Wanted {
    if matches_etag(headers, etag) {
        return Wanted::Nothing;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(header::RANGE) else { return Wanted::Whole };
    if text(header::IF_RANGE).is_some_and(|known| known != etag) {
        return Wanted::Whole;
    }
    match select(range, size) {
        Selected::Whole => Wanted::Whole,
        Selected::Part(part) => Wanted::Part(part),
        Selected::Beyond => Wanted::Beyond,
    }
}

/// Whether `If-None-Match` names what the server has. Weak comparison.
pub(crate) fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(range: &str, size: u64, expected: &Wanted) {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(range).unwrap());
        assert_eq!(wanted(&headers, "\"e\"", size), *expected, "{range} of {size}");
    }

    #[test]
    fn ranges() {
        check("bytes=0-0", 10, &Wanted::Part(0..1));
        check("bytes=3-", 10, &Wanted::Part(3..10));
        check("bytes=3-99", 10, &Wanted::Part(3..10));
        check("bytes=9-18446744073709551616", 10, &Wanted::Part(9..10));
        check("bytes=-3", 10, &Wanted::Part(7..10));
        check("bytes=-30", 10, &Wanted::Part(0..10));
        check("bytes=10-", 10, &Wanted::Beyond);
        check("bytes=-0", 10, &Wanted::Beyond);
        check("bytes=5-3", 10, &Wanted::Beyond);
        check("bytes=0-", 0, &Wanted::Whole);
    }

    #[test]
    fn what_is_no_range_is_ignored() {
        for range in ["bytes=a-b", "lines=1-2", "bytes=1-2,4-5", "bytes", "bytes=-"] {
            check(range, 10, &Wanted::Whole);
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent() {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"a\", W/\"e\""));
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(wanted(&headers, "\"e\"", 10), Wanted::Nothing);
        assert_eq!(wanted(&headers, "\"f\"", 10), Wanted::Part(0..2));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"other\""));
        assert_eq!(wanted(&headers, "\"f\"", 10), Wanted::Whole);
    }
}
