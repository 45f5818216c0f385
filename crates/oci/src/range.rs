//! `Range` of a blob's GET, as RFC 9110 has it (section 14).

use std::ops::Range;

/// Which bytes of a blob a range selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    /// It is no range, or several: those may be ignored.
    Whole,
    /// A part that is not empty and within the blob.
    Part(Range<u64>),
    /// It has no byte of the blob.
    Beyond,
}

/// Reads the value of `Range` for a blob of `size` bytes. Numbers of any length are read.
///
/// An empty blob has no range to give and is always whole: some clients send one with everything.
pub fn select(range: &str, size: u64) -> Selected {
    if size == 0 {
        return Selected::Whole;
    }
    parse(range, size).unwrap_or(Selected::Whole)
}

fn parse(range: &str, size: u64) -> Option<Selected> {
    let (unit, range) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    if first.is_empty() {
        let length = number(last)?.min(size);
        let part = Selected::Part(size - length..size);
        return Some(if length == 0 { Selected::Beyond } else { part });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    // One that ends before it begins is satisfied by nothing either: clients that send it by
    // mistake learn that, and do not take the whole for their part.
    if first >= size || last < first {
        return Some(Selected::Beyond);
    }
    Some(Selected::Part(first..last.min(size - 1) + 1))
}

/// Digits only; more than fits is as good as the most.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(range: &str, size: u64, expected: &Selected) {
        assert_eq!(select(range, size), *expected, "{range} of {size}");
    }

    #[test]
    fn one_range_is_a_part() {
        check("bytes=0-0", 10, &Selected::Part(0..1));
        check("bytes=3-", 10, &Selected::Part(3..10));
        check("bytes=3-99", 10, &Selected::Part(3..10));
        check("Bytes = 3-4", 10, &Selected::Part(3..5));
        check("bytes=9-18446744073709551616", 10, &Selected::Part(9..10));
        check("bytes=-3", 10, &Selected::Part(7..10));
        check("bytes=-30", 10, &Selected::Part(0..10));
        check("bytes=0-", u64::MAX, &Selected::Part(0..u64::MAX));
        check("bytes=-99999999999999999999", u64::MAX, &Selected::Part(0..u64::MAX));
    }

    #[test]
    fn what_has_no_byte_is_beyond() {
        for range in ["bytes=10-", "bytes=10-11", "bytes=99999999999999999999-", "bytes=-0"] {
            check(range, 10, &Selected::Beyond);
        }
        check("bytes=5-3", 10, &Selected::Beyond);
    }

    #[test]
    fn what_is_no_range_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=1-2,4-5",
            "lines=1-2",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=0x1-2",
            "bytes=1 - 2",
            "1-2",
        ] {
            check(range, 10, &Selected::Whole);
        }
        check("bytes=0-", 0, &Selected::Whole);
        check("bytes=-5", 0, &Selected::Whole);
    }

    proptest! {
        #[test]
        fn a_part_is_within_the_blob(
            range in "\\PC*|bytes=[0-9]{0,21}-[0-9]{0,21}|bytes=[0-9]?-[0-9]?",
            size: u64,
            small in 0u64..12,
        ) {
            for size in [size, small] {
                if let Selected::Part(part) = select(&range, size) {
                    prop_assert!(part.start < part.end && part.end <= size);
                }
            }
        }

        #[test]
        fn it_selects_what_it_says(first in 0u64..100, last in 0u64..100, size in 1u64..100) {
            let bytes: Vec<u64> = (0..size).filter(|at| (first..=last).contains(at)).collect();
            match select(&format!("bytes={first}-{last}"), size) {
                Selected::Part(part) => prop_assert_eq!(part.collect::<Vec<_>>(), bytes),
                Selected::Beyond => prop_assert!(bytes.is_empty()),
                Selected::Whole => prop_assert!(false, "it is a range"),
            }
        }
    }
}
