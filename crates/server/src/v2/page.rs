//! Pages of lists: `n` and `last` in, `Link` out.

use http::HeaderValue;

use super::Error;
use crate::form::{Form, encode};

/// A page has as many entries by default, and at most.
pub(crate) const MAX_PAGE: i64 = 1_000;

/// Which page of a list of names is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// 0 to [`MAX_PAGE`].
    pub(crate) n: i64,
    /// The list goes on after this name, which need not exist.
    pub(crate) last: String,
}

impl Page {
    /// Reads `n` and `last`. More than a page can have is as good as the most.
    ///
    /// # Errors
    /// `PageInvalid` when `n` is no number.
    pub(crate) fn parse(query: &Form) -> Result<Page, Error> {
        let n = match query.first("n") {
            None => MAX_PAGE,
            Some("") => return Err(Error::PageInvalid),
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().unwrap_or(MAX_PAGE).min(MAX_PAGE)
            }
            Some(_) => return Err(Error::PageInvalid),
        };
        let last = last(query).to_owned();
        Ok(Page { n, last })
    }
}

/// `last`, cut at its first NUL: names have none, so what follows it changes nothing in their
/// order, and PostgreSQL would not take it.
pub(crate) fn last(query: &Form) -> &str {
    let last = query.first("last").unwrap_or_default();
    last.split('\0').next().unwrap_or_default()
}

/// `Link` to the next page. The place is a path: no host is ever guessed.
pub(crate) fn link(path: &str, query: &[(&str, &str)]) -> HeaderValue {
    let query: Vec<_> =
        query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let link = format!("<{path}?{}>; rel=\"next\"", query.join("&"));
    HeaderValue::from_str(&link).expect("names and encoded values are a header's value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_clamped() {
        for (query, n) in [
            ("", MAX_PAGE),
            ("n=0", 0),
            ("n=1000", 1_000),
            ("n=1001", MAX_PAGE),
            ("n=99999999999999999999999999", MAX_PAGE),
        ] {
            assert_eq!(Page::parse(&Form::parse(query)).unwrap().n, n, "{query}");
        }
        for query in ["n=", "n=-1", "n=x", "n=1e3", "n=1.5", "n=+1"] {
            assert!(Page::parse(&Form::parse(query)).is_err(), "{query}");
        }
    }

    #[test]
    fn the_last_name_is_cut_at_nul() {
        assert_eq!(last(&Form::parse("last=a%00b")), "a");
        assert_eq!(last(&Form::parse("last=%00")), "");
        assert_eq!(last(&Form::parse("last=a%2Fb")), "a/b");
    }

    #[test]
    fn a_link_is_a_path() {
        let link = link("/v2/a/tags/list", &[("n", "2"), ("last", "x/y")]);
        assert_eq!(link, "</v2/a/tags/list?n=2&last=x%2Fy>; rel=\"next\"");
    }
}
