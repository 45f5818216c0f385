//! Names of repositories, in ECR's grammar, which is within the distribution specification's.

use std::fmt;
use std::str::FromStr;

/// ECR's pattern.
pub const PATTERN: &str =
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*";

const SHORTEST: usize = 2;
const LONGEST: usize = 256;

/// The name of a repository: 2 to 256 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

/// The text is no repository's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a repository's name has 2 to 256 of a-z, 0-9 and single separators between them")]
pub struct InvalidName;

impl RepositoryName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<RepositoryName, InvalidName> {
        let fits = (SHORTEST..=LONGEST).contains(&text.len());
        if fits && text.split('/').all(is_component) {
            Ok(RepositoryName(text.to_owned()))
        } else {
            Err(InvalidName)
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, in one pass.
fn is_component(text: &str) -> bool {
    let mut separator: Option<(u8, usize)> = None;
    let mut began = false;
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => {
                let allowed = match separator.take() {
                    None => true,
                    Some((b'.', count)) => count == 1,
                    Some((b'_', count)) => count <= 2,
                    Some(_) => true,
                };
                if !allowed {
                    return false;
                }
                began = true;
            }
            b'.' | b'_' | b'-' if began => match &mut separator {
                None => separator = Some((byte, 1)),
                Some((known, count)) if *known == byte => *count += 1,
                Some(_) => return false,
            },
            _ => return false,
        }
    }
    began && separator.is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names() {
        for name in ["app", "a1", "a/b", "team/app-1", "a__b", "a---b", "a.b_c", "0/0", "manifests"]
        {
            assert_eq!(name.parse::<RepositoryName>().unwrap().as_str(), name);
        }
        let long = "x".repeat(257);
        for name in [
            "", "a", "A", "Upper", "a//b", "/a", "a/", "-a", "a-", "a___b", "a..b", "a._b", "..",
            "../x", "a b", "a%2Fb", "ä", "_catalog", "a\n", &long,
        ] {
            assert!(name.parse::<RepositoryName>().is_err(), "{name}");
        }
    }

    proptest! {
        /// proptest reads the pattern as a regular expression: a second opinion on it.
        #[test]
        fn what_the_pattern_makes_is_a_name(
            text in r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,3}(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,3}){0,3}"
        ) {
            let fits = (SHORTEST..=LONGEST).contains(&text.len());
            prop_assert_eq!(text.parse::<RepositoryName>().is_ok(), fits);
        }

        /// A part that the pattern does not have spoils any name.
        #[test]
        fn what_it_does_not_make_is_none(
            before in "[a-z0-9/]{0,5}",
            part in r"[._-]\.|\.[_-]|___|_[.-]|-[._]|//|[A-Z %:@\\*é]|\PC{0,9}[^a-z0-9._/-]",
            after in "[a-z0-9/]{0,5}",
        ) {
            let text = [before, part, after].concat();
            prop_assert!(text.parse::<RepositoryName>().is_err());
        }

        #[test]
        fn what_parses_is_shown_the_same(text in "[a-c._/-]{0,12}|\\PC*") {
            if let Ok(name) = text.parse::<RepositoryName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
