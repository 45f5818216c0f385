//! What runs later or on a schedule, on any node.
//!
//! Two kinds. *Collecting* looks at rows that say by themselves that they are due, so any number
//! of nodes may do it at once. *Scheduled* jobs are rows of `job` with a lease: one node at a
//! time does each.

mod collect_garbage;
mod delete_repositories;
mod expire_records;
mod refresh_figures;
mod remove_objects;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use bonded_account::clock::new_id;
use tokio::sync::watch;

use crate::{Registry, Result};

const MICROS: i64 = 1_000_000;
const HOUR: i64 = 3_600 * MICROS;
/// How long a node may take for one scheduled job before another takes it over.
const LEASE: i64 = HOUR;

/// A scheduled job, by the name of its file.
struct Scheduled {
    kind: &'static str,
    every: i64,
}

const SCHEDULED: &[Scheduled] = &[
    Scheduled { kind: "refresh_figures", every: HOUR },
    Scheduled { kind: "expire_records", every: HOUR },
    Scheduled { kind: "sweep", every: 7 * 24 * HOUR },
];

/// How jobs run in this process.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// How often rows are looked at that are due.
    pub interval: Duration,
    /// Audit records, events and ended jobs are kept this long, microseconds.
    pub retention_micros: i64,
    /// Changes of tags are kept this long, microseconds; `None`: for ever.
    pub tag_history_micros: Option<i64>,
    /// An object is removed this long after its last row went, microseconds.
    pub removal_delay_micros: i64,
    /// Instead of an hour or a week between scheduled jobs: for tests.
    pub every_micros: Option<i64>,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule {
            interval: Duration::from_secs(10),
            retention_micros: 90 * 24 * HOUR,
            tag_history_micros: None,
            removal_delay_micros: HOUR,
            every_micros: None,
        }
    }
}

/// Works until `stop` is true. `may_work` is false while this node's clock cannot be trusted.
pub async fn run(
    registry: Arc<Registry>,
    schedule: Schedule,
    may_work: impl Fn() -> bool + Send,
    mut stop: watch::Receiver<bool>,
) {
    let mut ticks = tokio::time::interval(schedule.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = stop.changed() => if changed.is_err() || *stop.borrow() { return },
        }
        if *stop.borrow() {
            return;
        }
        if !may_work() {
            continue;
        }
        if let Err(error) = step(&registry, &schedule).await {
            tell(&error);
        }
    }
}

fn tell(error: &(dyn std::error::Error + 'static)) {
    tracing::error!(error, "job failed");
}

/// Does all that is due now, in small transactions.
pub async fn step(registry: &Registry, schedule: &Schedule) -> Result<()> {
    collect(registry, schedule).await?;
    for scheduled in SCHEDULED {
        run_scheduled(registry, schedule, scheduled).await?;
    }
    Ok(())
}

/// Does what rows say by themselves is due.
pub(crate) async fn collect(registry: &Registry, schedule: &Schedule) -> Result<()> {
    delete_repositories::run(registry).await?;
    collect_garbage::run(registry, schedule).await?;
    remove_objects::run(registry).await
}

async fn run_scheduled(
    registry: &Registry,
    schedule: &Schedule,
    scheduled: &Scheduled,
) -> Result<()> {
    let now = registry.now();
    let id = new_id(now);
    let kind = scheduled.kind;
    let taken = registry
        .db()
        .claim(move |tx| {
            tx.insert_job(&id, (kind, ""), "{}", now, now)?;
            tx.take_job(kind, now, now + LEASE)
        })
        .await?;
    let Some(job) = taken else { return Ok(()) };
    match kind {
        "refresh_figures" => refresh_figures::run(registry).await?,
        "expire_records" => expire_records::run(registry, schedule).await?,
        _ => sweep::run(registry).await?,
    }
    let due = registry.now() + schedule.every_micros.unwrap_or(scheduled.every);
    registry.db().write_unsynced(move |tx| tx.repeat_job(&job.id, due)).await?;
    Ok(())
}

/// A store's time as microseconds since 1970.
pub(crate) fn micros(time: std::time::SystemTime) -> i64 {
    let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
