//! Tags, and what a manifest is asked for by.

use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// The specification's pattern.
pub const PATTERN: &str = "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}";

const LONGEST: usize = 128;

/// A tag of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// The text is no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tag has 1 to 128 of a-z, A-Z, 0-9, '_', '.' and '-', and begins with none of the last two"
)]
pub struct InvalidTag;

impl Tag {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Tag, InvalidTag> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let allowed = |byte: u8| word(byte) || byte == b'.' || byte == b'-';
        let first = text.bytes().next().is_some_and(word);
        if first && text.len() <= LONGEST && text.bytes().all(allowed) {
            Ok(Tag(text.to_owned()))
        } else {
            Err(InvalidTag)
        }
    }
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    Digest(Digest),
    Tag(Tag),
}

/// Why a text is no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// It has a colon, and so is a digest or nothing.
    #[error(transparent)]
    Digest(crate::InvalidDigest),
    #[error(transparent)]
    Tag(InvalidTag),
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Reference, InvalidReference> {
        if text.contains(':') {
            return text.parse().map(Reference::Digest).map_err(InvalidReference::Digest);
        }
        text.parse().map(Reference::Tag).map_err(InvalidReference::Tag)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Digest(digest) => digest.fmt(f),
            Reference::Tag(tag) => tag.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_and_digests() {
        assert!(matches!("v1.2_3-x".parse(), Ok(Reference::Tag(_))));
        let digest = format!("sha256:{}", "a".repeat(64));
        assert!(matches!(digest.parse(), Ok(Reference::Digest(_))));
        assert!(matches!("_".parse(), Ok(Reference::Tag(_))));
        let long = "t".repeat(129);
        for text in ["", ".a", "-a", "a/b", "a b", "sha256:abc", "ä", &long] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_the_patterns_make_is_shown_the_same(
            text in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"
        ) {
            prop_assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }

        #[test]
        fn what_parses_is_shown_the_same(text in "\\PC*|[._a:/%-]{0,4}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
