//! Names and values as a URL's query and a form write them.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// What a value may keep as it is: the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// More parameters than this are not looked at.
const MAX_PARAMETERS: usize = 2_048;

/// A parsed query or form: each name with its values in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `a=b&c=d`. What is no UTF-8 becomes the replacement character.
    pub(crate) fn parse(text: &str) -> Form {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(MAX_PARAMETERS);
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        };
        Form(pairs.map(pair).collect())
    }

    /// The first value of a name.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// All values of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A value so that it can stand in a query.
pub(crate) fn encode(value: &str) -> impl std::fmt::Display {
    utf8_percent_encode(value, RESERVED)
}

fn decode(text: &str) -> String {
    let spaced: Cow<'_, str> =
        if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
    percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let form = Form::parse("tag=a&tag=b%2Fc&from=x+y%2B&flag&=v&&n=");
        assert_eq!(form.all("tag").collect::<Vec<_>>(), ["a", "b/c"]);
        assert_eq!(form.first("from"), Some("x y+"));
        assert_eq!(form.first("flag"), Some(""));
        assert_eq!(form.first("n"), Some(""));
        assert_eq!(form.first("none"), None);
        assert_eq!(Form::parse("a=%ff%zz").first("a"), Some("\u{fffd}%zz"));
    }

    #[test]
    fn what_is_encoded_reads_the_same() {
        let text = "sha256:ab/+ &=ü~";
        let query = format!("last={}", encode(text));
        assert_eq!(Form::parse(&query).first("last"), Some(text));
    }
}
