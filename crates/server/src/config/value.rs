//! Sizes and times as they are written.

use std::fmt;
use std::time::Duration;

use anyhow::anyhow;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A size or a time before it is understood: text with a unit, or a bare number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Text(String),
    Number(i64),
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Written::Text(text) => write!(f, "{text:?}"),
            Written::Number(number) => write!(f, "{number}"),
        }
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Written, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl Visitor<'_> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text such as \"96MiB\" or \"24h\", or a whole number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Written, E> {
        Ok(Written::Text(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Written, E> {
        Ok(Written::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Written, E> {
        i64::try_from(number).map(Written::Number).map_err(E::custom)
    }
}

/// Units of sizes, the largest first so that printing finds the shortest form.
pub(super) const SIZES: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Units of times in milliseconds, the largest first.
pub(super) const TIMES: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a size in bytes: `"96MiB"`, or a bare number of bytes.
pub(super) fn size(key: &str, written: &Written, example: &str) -> anyhow::Result<u64> {
    let bytes = match written {
        Written::Number(number) => u64::try_from(*number).ok(),
        Written::Text(text) => with_unit(text, SIZES),
    };
    bytes.ok_or_else(|| anyhow!("{key}: {written} is not a size; write for example \"{example}\""))
}

/// Reads a time: `"24h"`, `"90d"`, `"10min"`, `"15s"`, `"200ms"`.
pub(super) fn duration(key: &str, written: &Written, example: &str) -> anyhow::Result<Duration> {
    let millis = match written {
        Written::Number(_) => None,
        Written::Text(text) => with_unit(text, TIMES),
    };
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| anyhow!("{key}: {written} is not a time; write for example \"{example}\""))
}

/// A whole number followed directly by one of the units.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|it: char| !it.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    // 64 bits of milliseconds or bytes are more than enough; beyond them it is a mistake.
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The shortest text that [`with_unit`] reads as this number.
pub(super) fn text_with_unit(number: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor))
        .or(units.last())
        .map_or_else(String::new, |(unit, factor)| format!("{}{unit}", number / factor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        let check = |text: &str, expected| {
            assert_eq!(size("k", &Written::Text(text.to_owned()), "1MiB").ok(), expected, "{text}");
        };
        check("96MiB", Some(96 << 20));
        check("1KiB", Some(1024));
        check("0B", Some(0));
        check("2TiB", Some(2 << 40));
        check("96 MiB", None);
        check("96MB", None);
        check("96", None);
        check("MiB", None);
        check("-1MiB", None);
        check("1.5GiB", None);
        check("99999999999TiB", None);
        check("", None);
    }

    #[test]
    fn times() {
        let check = |text: &str, expected: Option<u64>| {
            let found = duration("k", &Written::Text(text.to_owned()), "1s").ok();
            assert_eq!(found, expected.map(Duration::from_millis), "{text}");
        };
        check("200ms", Some(200));
        check("15s", Some(15_000));
        check("10min", Some(600_000));
        check("24h", Some(86_400_000));
        check("90d", Some(7_776_000_000));
        check("10m", None);
        check("1h30min", None);
        check("s", None);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(number: u64) {
            for units in [SIZES, TIMES] {
                prop_assert_eq!(with_unit(&text_with_unit(number, units), units), Some(number));
            }
        }
    }
}
