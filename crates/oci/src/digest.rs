//! Digests: `sha256:` or `sha512:` and lower-case hexadecimal digits, nothing else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// A hash algorithm of the image specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Algorithm, InvalidDigest> {
        match text {
            "sha256" => Ok(Algorithm::Sha256),
            "sha512" => Ok(Algorithm::Sha512),
            _ => Err(InvalidDigest::Unsupported),
        }
    }
}

/// The digest of a blob or manifest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

/// Why a text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDigest {
    /// It has another form: case, length, characters.
    #[error("a digest is an algorithm, a colon and lower-case hexadecimal digits")]
    Malformed,
    /// It has the form of a digest of an algorithm that is not served.
    #[error("the digest's algorithm is not sha256 or sha512")]
    Unsupported,
}

impl Digest {
    /// The digest of bytes.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        match algorithm {
            Algorithm::Sha256 => Digest::Sha256(Sha256::digest(bytes).into()),
            Algorithm::Sha512 => Digest::Sha512(Sha512::digest(bytes).into()),
        }
    }

    pub fn algorithm(&self) -> Algorithm {
        match self {
            Digest::Sha256(_) => Algorithm::Sha256,
            Digest::Sha512(_) => Algorithm::Sha512,
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = match self {
            Digest::Sha256(bytes) => const_hex::encode(bytes),
            Digest::Sha512(bytes) => const_hex::encode(bytes),
        };
        write!(f, "{}:{hex}", self.algorithm())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    /// Strict: upper case, a wrong length and trailing bytes are refused, so that one digest has
    /// one text and no path can be made of it.
    fn from_str(text: &str) -> Result<Digest, InvalidDigest> {
        let (algorithm, hex) = text.split_once(':').ok_or(InvalidDigest::Malformed)?;
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match algorithm {
            "sha256" | "sha512" => {}
            _ if is_algorithm(algorithm) && is_encoded(hex) => {
                return Err(InvalidDigest::Unsupported);
            }
            _ => return Err(InvalidDigest::Malformed),
        }
        if !hex.bytes().all(lower_hex) {
            return Err(InvalidDigest::Malformed);
        }
        let malformed = |_| InvalidDigest::Malformed;
        match algorithm {
            "sha256" => const_hex::decode_to_array(hex).map(Digest::Sha256).map_err(malformed),
            _ => const_hex::decode_to_array(hex).map(Digest::Sha512).map_err(malformed),
        }
    }
}

/// `[a-z0-9]+([+._-][a-z0-9]+)*`
fn is_algorithm(text: &str) -> bool {
    let component = |part: &str| {
        !part.is_empty() && part.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
    };
    text.split(['+', '.', '_', '-']).all(component)
}

fn is_encoded(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"=_-".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_one_text_for_each_digest() {
        let empty = Digest::of(Algorithm::Sha256, b"").to_string();
        assert_eq!(
            empty,
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(empty.parse(), Ok(Digest::of(Algorithm::Sha256, b"")));
        let long = Digest::of(Algorithm::Sha512, b"").to_string();
        assert_eq!(long.parse(), Ok(Digest::of(Algorithm::Sha512, b"")));
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:../../x",
            &empty.to_uppercase(),
            &empty.replace("e3", "E3"),
            &empty[..empty.len() - 1],
            &format!("{empty}0"),
            &format!(" {empty}"),
            &empty.replace("sha256", "sha512"),
            &long.replace("sha512", "sha256"),
            "sha256:0x00000000000000000000000000000000000000000000000000000000000000",
            ":abc",
            "SHA256:abc",
        ] {
            assert_eq!(text.parse::<Digest>(), Err(InvalidDigest::Malformed), "{text}");
        }
        for text in ["md5:../x", "md5:", "-md5:ab", "md5+:ab", "sha256::ab", "sha256:%2e%2e", ":"] {
            assert_eq!(text.parse::<Digest>(), Err(InvalidDigest::Malformed), "{text}");
        }
        for text in ["md5:d41d8cd98f00b204e9800998ecf8427e", "multihash+base58:QmRZ", "blake3:0"] {
            assert_eq!(text.parse::<Digest>(), Err(InvalidDigest::Unsupported), "{text}");
        }
    }

    #[test]
    fn json_is_the_text_and_is_checked() {
        let digest = Digest::of(Algorithm::Sha512, b"x");
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{digest}\""));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"sha256:ab\"").is_err());
    }

    fn any_digest() -> impl Strategy<Value = Digest> {
        prop_oneof![
            any::<[u8; 32]>().prop_map(Digest::Sha256),
            proptest::array::uniform(any::<u8>()).prop_map(Digest::Sha512),
        ]
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same(digest in any_digest()) {
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        }

        /// Rows are sorted by the text, lists in memory by the value.
        #[test]
        fn order_is_that_of_the_text(a in any_digest(), b in any_digest()) {
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn what_parses_is_shown_the_same(text in "\\PC*|sha(256|512):[0-9a-fA-F]{63,65}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
