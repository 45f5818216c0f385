//! The name of a region, such as `eu-central-1`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name of a region, in characters. It is part of host names and ARNs.
const LONGEST: usize = 32;

/// A region's name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(Arc<str>);

/// The text cannot be the name of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a region is 2 to 32 lower-case letters, digits and single hyphens, beginning with a letter"
)]
pub struct InvalidRegion;

impl Region {
    /// The name, as it is written in ARNs and credential scopes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = InvalidRegion;

    fn from_str(text: &str) -> Result<Region, InvalidRegion> {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = (2..=LONGEST).contains(&text.len())
            && text.bytes().all(letters)
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && !text.contains("--");
        if good { Ok(Region(text.into())) } else { Err(InvalidRegion) }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Region {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Region {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Region, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for text in ["us-east-1", "us-gov-west-1", "mars"] {
            assert_eq!(text.parse::<Region>().unwrap().as_str(), text);
        }
        for text in ["", "u", "US-east-1", "-east", "east-", "us--east", "a.b", "1-a", "a/b"] {
            assert_eq!(text.parse::<Region>(), Err(InvalidRegion), "{text}");
        }
    }
}
