//! The names of objects.

use std::fmt;
use std::str::FromStr;

/// Names an object: 128 random bits, and not a string, because it becomes part of a path.
///
/// Its text is 32 lower-case hexadecimal digits, and both orders are the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(pub [u8; 16]);

impl ObjectName {
    /// The folder of the object: one of 256, by the first byte of its name.
    pub(crate) fn folder(self) -> u8 {
        let [first, ..] = self.0;
        first
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an object's name is 32 lower-case hexadecimal digits")]
pub struct InvalidName;

impl FromStr for ObjectName {
    type Err = InvalidName;

    /// Upper case is refused: one object has one name, also on a file system that would
    /// take both spellings for the same file.
    fn from_str(text: &str) -> Result<ObjectName, InvalidName> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(InvalidName);
        }
        const_hex::decode_to_array(text).map(ObjectName).map_err(|_| InvalidName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let name = ObjectName([0xab, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 255]);
        assert_eq!(name.to_string(), "ab000102030405060708090a0b0c0dff");
        assert_eq!(name.to_string().parse(), Ok(name));
        assert_eq!(name.folder(), 0xab);
    }

    #[test]
    fn other_texts_are_refused() {
        let all = "ab000102030405060708090a0b0c0dff";
        for text in [
            "",
            &all[1..],
            &all.to_uppercase(),
            "0xab000102030405060708090a0b0c0d",
            &format!("{all}0"),
        ] {
            assert_eq!(text.parse::<ObjectName>(), Err(InvalidName), "{text}");
        }
    }
}
