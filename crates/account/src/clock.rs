//! The clock and randomness, as values: rules never ask the machine themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use uuid::Uuid;

/// Tells the time in microseconds since 1970.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's.
    System,
    /// Stands where a test put it.
    Stopped(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at a time until [`Clock::advance`] moves it.
    pub fn stopped(at: i64) -> Clock {
        Clock::Stopped(Arc::new(AtomicI64::new(at)))
    }

    /// Microseconds since 1970.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> i64 {
        match self {
            Clock::System => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .ok()
                .and_then(|since| i64::try_from(since.as_micros()).ok())
                .unwrap_or(0),
            Clock::Stopped(at) => at.load(Ordering::SeqCst),
        }
    }

    /// Moves a stopped clock on; the machine's is left alone.
    pub fn advance(&self, by_micros: i64) {
        if let Clock::Stopped(at) = self {
            at.fetch_add(by_micros, Ordering::SeqCst);
        }
    }
}

/// Random bytes from the operating system. (AWS-LC's own generator measures the jitter of the
/// processor when it is first used, which was half of the time of a start.)
///
/// # Panics
/// If the operating system has none to give: nothing may go on then.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A UUIDv7: ids of rows, in the order they were made.
pub fn new_id(now: i64) -> Uuid {
    let seconds = u64::try_from(now.div_euclid(1_000_000)).unwrap_or(0);
    let nanos = u32::try_from(now.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    let millis = seconds * 1_000 + u64::from(nanos / 1_000_000);
    let mut random = random::<10>();
    // The microseconds within the millisecond, then randomness: rows made in one millisecond
    // keep their order within a process.
    let micros = u16::try_from(nanos / 1_000 % 1_000).unwrap_or(0);
    let ordered = (micros << 2) | u16::from(random[0] & 3);
    let [high, low] = ordered.to_be_bytes();
    random[0] = high;
    random[1] = low;
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_later_microseconds_are_greater() {
        let start = 1_772_612_130_250_000;
        let ids: Vec<_> = (0..3_000).map(|micros| new_id(start + micros)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_stopped_clock_moves_when_told() {
        let clock = Clock::stopped(5);
        clock.advance(7);
        assert_eq!(clock.now(), 12);
    }
}
