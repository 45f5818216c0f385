//! What a server does by itself, beside answering: jobs, pull times, token keys, the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bonded_registry::Registry;
use bonded_registry::jobs::{self, Schedule};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::first_start::rotate_token_key;

const PULLS_EVERY: Duration = Duration::from_secs(1);
const CLOCK_EVERY: Duration = Duration::from_secs(60);
/// Often enough that every node seals under the newest token key while its tokens still open
/// everywhere.
const TOKEN_KEYS_EVERY: Duration = Duration::from_secs(3_600);

/// A clock that is off by more than this many microseconds is not ready to serve …
const MOST_OFF: i64 = 2_000_000;
/// … and by more than this, does no jobs.
const MOST_OFF_FOR_JOBS: i64 = 30_000_000;

const HALF_SECOND: i64 = 500_000;

/// The running tasks.
pub(crate) struct Tasks {
    running: JoinSet<()>,
    /// How far the clock of this machine is from the database's.
    pub(crate) clock: Arc<ClockOffset>,
}

/// How far this machine's clock is from the database's, microseconds.
#[derive(Debug, Default)]
pub(crate) struct ClockOffset(AtomicI64);

impl ClockOffset {
    pub(crate) fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed) <= MOST_OFF
    }

    pub(crate) fn may_work(&self) -> bool {
        self.0.load(Ordering::Relaxed) <= MOST_OFF_FOR_JOBS
    }

    /// Seconds, for the metrics.
    pub(crate) fn micros(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    async fn look(&self, registry: &Registry) -> anyhow::Result<()> {
        let before = registry.now();
        let text = registry.db().read(|tx| tx.clock()).await.context("ask for the time")?;
        let theirs = parse_clock(&text).with_context(|| format!("read the time `{text}`"))?;
        // The answer was made somewhere between the two.
        let ours = before + (registry.now() - before) / 2;
        let offset = (ours - theirs).abs();
        self.0.store(offset, Ordering::Relaxed);
        if offset > MOST_OFF {
            tracing::warn!(offset_micros = offset, "the clock is not the database's");
        }
        Ok(())
    }
}

/// Microseconds since 1970 of a time as a database writes it. One without a fraction is taken to
/// be half a second on: it was cut.
fn parse_clock(text: &str) -> anyhow::Result<i64> {
    let (date, time) = text.split_once(' ').context("there is no date and time")?;
    let zone = if time.contains(['+', '-', 'Z']) { "" } else { "Z" };
    let time: Timestamp = format!("{date}T{time}{zone}").parse()?;
    let cut = if text.contains('.') { 0 } else { HALF_SECOND };
    Ok(time.as_microsecond() + cut)
}

impl Tasks {
    /// Waits until all have seen that the server ends.
    pub(crate) async fn ended(mut self) {
        while self.running.join_next().await.is_some() {}
    }
}

/// Starts them. They end when `stop` is true.
///
/// # Errors
/// When the database's clock cannot be read.
pub(crate) async fn start(
    registry: &Arc<Registry>,
    schedule: Schedule,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<Tasks> {
    let clock = Arc::new(ClockOffset::default());
    clock.look(registry).await?;
    let mut running = JoinSet::new();
    let trusted = Arc::clone(&clock);
    let may_work = move || trusted.may_work();
    running.spawn(jobs::run(Arc::clone(registry), schedule, may_work, stop.clone()));

    let pulled = Arc::clone(registry);
    running.spawn(every(PULLS_EVERY, stop.clone(), move || {
        let registry = Arc::clone(&pulled);
        async move { Ok(registry.pulls.write(registry.db()).await?) }
    }));
    let keyed = Arc::clone(registry);
    running.spawn(every(TOKEN_KEYS_EVERY, stop.clone(), move || {
        let registry = Arc::clone(&keyed);
        async move { renew_token_keys(&registry).await }
    }));
    let (timed, offset) = (Arc::clone(registry), Arc::clone(&clock));
    running.spawn(every(CLOCK_EVERY, stop.clone(), move || {
        let (registry, offset) = (Arc::clone(&timed), Arc::clone(&offset));
        async move { offset.look(&registry).await }
    }));
    Ok(Tasks { running, clock })
}

/// Makes a new token key when it is time, and takes over what other nodes have made.
async fn renew_token_keys(registry: &Registry) -> anyhow::Result<()> {
    let services = &registry.services;
    rotate_token_key(&services.db, &services.keys, registry.now()).await?;
    services.load_token_keys().await?;
    Ok(())
}

/// Does something again and again until `stop` is true.
async fn every<F, A>(period: Duration, mut stop: watch::Receiver<bool>, task: F)
where
    F: Fn() -> A,
    A: Future<Output = anyhow::Result<()>>,
{
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if let Err(error) = task().await {
            tracing::error!(error = format!("{error:#}"), "a periodic task failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_both_engines_is_read() {
        let check = |text, expected| assert_eq!(parse_clock(text).unwrap(), expected, "{text}");
        check("2026-03-04 08:15:30", 1_772_612_130_500_000);
        check("2026-03-04 08:15:30.25+00", 1_772_612_130_250_000);
        check("2026-03-04 09:15:30.25+01", 1_772_612_130_250_000);
        check("2026-03-04 02:45:30.123456-05:30", 1_772_612_130_123_456);
        assert!(parse_clock("now").is_err());
    }
}
