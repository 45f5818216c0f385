//! What a run is told as.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

/// What one client has seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Of each item of the run, a blob or a request.
    pub(crate) waits: Vec<Duration>,
    /// Bytes of content, both ways.
    pub(crate) bytes: u64,
}

/// The report of a run that took `time` and `cpu` of this program.
pub(crate) fn report(seen: Vec<Seen>, time: Duration, cpu: Duration) -> Value {
    let bytes: u64 = seen.iter().map(|seen| seen.bytes).sum();
    let mut waits: Vec<Duration> = seen.into_iter().flat_map(|seen| seen.waits).collect();
    waits.sort_unstable();
    let at = |part: usize| {
        let place = (waits.len() * part / 1_000).min(waits.len().saturating_sub(1));
        waits.get(place).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    json!({
        "items": waits.len(),
        "bytes": bytes,
        "seconds": time.as_secs_f64(),
        "p50_ms": at(500),
        "p99_ms": at(990),
        "max_ms": at(1_000),
        "generator_cpu_ms": cpu.as_secs_f64() * 1e3,
    })
}

/// The processor time that this thread, which is the only one that works, has had.
pub(crate) fn cpu() -> anyhow::Result<Duration> {
    let text =
        std::fs::read_to_string("/proc/self/schedstat").context("read /proc/self/schedstat")?;
    let first = text.split_whitespace().next().unwrap_or_default();
    Ok(Duration::from_nanos(first.parse().context("the first number of schedstat")?))
}
