//! Which protocol a request speaks.

use http::request::Parts;
use http::{HeaderMap, Method, header};

use crate::exchange::Plane;

/// One of the protocols that a listener serves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Protocol<'a> {
    /// The registry API of the OCI.
    V2,
    /// AWS JSON, with what `X-Amz-Target` says.
    Json { target: &'a str },
    /// AWS query: an action in a form or in the query.
    Query,
    /// AWS REST-JSON, and whatever else there is.
    Rest,
}

impl Protocol<'_> {
    pub(crate) fn of(head: &Parts) -> Protocol<'_> {
        let path = head.uri.path();
        if path == "/v2" || path.starts_with("/v2/") {
            return Protocol::V2;
        }
        let query = head.uri.query().unwrap_or_default();
        if head.method == Method::POST {
            if let Some(target) = target(&head.headers) {
                return Protocol::Json { target };
            }
            if is_form(&head.headers) {
                return Protocol::Query;
            }
        }
        if query.split('&').any(|pair| pair.starts_with("Action=")) {
            return Protocol::Query;
        }
        Protocol::Rest
    }

    /// What it is called in logs and metrics.
    pub(crate) fn plane(&self) -> Plane {
        match self {
            Protocol::V2 => Plane::V2,
            Protocol::Json { .. } => Plane::Json,
            Protocol::Query => Plane::Query,
            Protocol::Rest => Plane::Rest,
        }
    }
}

/// The one `X-Amz-Target`.
fn target(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("x-amz-target").iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        method: &str,
        target: &str,
        headers: &[(&'static str, &str)],
        expected: &Protocol<'_>,
    ) {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(Protocol::of(&head), *expected, "{method} {target} {headers:?}");
    }

    #[test]
    fn a_request_speaks_one_protocol() {
        let form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        check("GET", "/v2", &[], &Protocol::V2);
        check("POST", "/v2/a/blobs/uploads/", &[("x-amz-target", "A.B")], &Protocol::V2);
        check("GET", "/v20", &[], &Protocol::Rest);
        check("GET", "//v2/", &[], &Protocol::Rest);
        check("POST", "/", &[("x-amz-target", "A.B")], &Protocol::Json { target: "A.B" });
        check("GET", "/", &[("x-amz-target", "A.B")], &Protocol::Rest);
        check("POST", "/", &[form], &Protocol::Query);
        check("GET", "/?Version=1&Action=A", &[], &Protocol::Query);
        check("GET", "/?InAction=A", &[], &Protocol::Rest);
    }
}
