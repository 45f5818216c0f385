//! Times as SigV4 writes and reads them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

/// The longest text that is looked at as a date.
const MAX_DATE_BYTES: usize = 64;

/// `YYYYMMDDTHHMMSSZ`, as it stands in the string to sign.
pub(super) fn basic(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A number of seconds, as AWS's sentences have it.
pub(super) fn allowance(seconds: i64) -> String {
    if seconds % 60 == 0 { format!("{} min", seconds / 60) } else { format!("{seconds} sec") }
}

/// `time` moved by seconds, or as far as times go.
pub(super) fn shift(time: Timestamp, seconds: i64) -> Timestamp {
    let end = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(time.as_second().saturating_add(seconds)).unwrap_or(end)
}

/// Reads `YYYYMMDDTHHMMSSZ`, the form that a presigned request must have.
pub(super) fn parse_basic(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    if date.len() != 8 || time.len() != 6 {
        return None;
    }
    let date = DateTime::new(
        number(date.get(0..4)?)?,
        number(date.get(4..6)?)?.try_into().ok()?,
        number(date.get(6..8)?)?.try_into().ok()?,
        number(time.get(0..2)?)?.try_into().ok()?,
        number(time.get(2..4)?)?.try_into().ok()?,
        number(time.get(4..6)?)?.try_into().ok()?,
        0,
    );
    TimeZone::UTC.to_timestamp(date.ok()?).ok()
}

/// Reads what a header may hold: the basic form, extended ISO 8601, or the form of `Date`.
///
/// A fraction of a second is dropped, since the string to sign has none.
pub(super) fn parse_header(text: &str) -> Option<Timestamp> {
    if text.len() > MAX_DATE_BYTES {
        return None;
    }
    let time = parse_basic(text)
        .or_else(|| text.parse().ok().filter(|_| text.get(4..5) == Some("-")))
        .or_else(|| rfc2822::DateTimeParser::new().parse_timestamp(text).ok())?;
    Timestamp::from_second(time.as_second()).ok()
}

/// A number of digits and nothing else: `str::parse` would take a sign.
fn number(digits: &str) -> Option<i16> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_a_date() {
        for text in [
            "20150830T123600Z",
            "2015-08-30T12:36:00Z",
            "2015-08-30T12:36:00.999Z",
            "Sun, 30 Aug 2015 12:36:00 GMT",
        ] {
            let time = parse_header(text).unwrap();
            assert_eq!(basic(time), "20150830T123600Z", "{text}");
        }
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "T",
            "TZ",
            "201",
            "20150830",
            "20150830T123600",
            "20150830T1236Z",
            "20151330T123600Z",
            "20150830T123660Z",
            "+0150830T123600Z",
            "2015083éT12360Z",
            "20150830T12360\u{a0}Z",
        ] {
            assert_eq!(parse_basic(text), None, "{text}");
            assert_eq!(parse_header(text), None, "{text}");
        }
        assert_eq!(parse_header(&"0".repeat(100_000)), None);
    }

    #[test]
    fn shifts_end_where_times_end() {
        assert_eq!(shift(Timestamp::MIN, -1), Timestamp::MIN);
        assert_eq!(shift(Timestamp::MAX, i64::MAX), Timestamp::MAX);
        assert_eq!(basic(shift(parse_basic("20150830T235959Z").unwrap(), 1)), "20150831T000000Z");
    }
}
