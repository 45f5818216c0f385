//! What the database has done, for the metrics.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What the database has done since it was opened.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Commits, each of one or more closures.
    pub batches: AtomicU64,
    /// Closures that were committed or rolled back.
    pub closures: AtomicU64,
    /// Commits that were synced.
    pub syncs: AtomicU64,
    /// Transactions that were run again because another one was in the way.
    pub retries: AtomicU64,
    /// Closures that wait.
    pub waiting: AtomicI64,
}

impl Metrics {
    pub(crate) fn count_batch(&self, closures: usize, synced: bool) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.closures.fetch_add(u64::try_from(closures).unwrap_or(0), Ordering::Relaxed);
        if synced {
            self.syncs.fetch_add(1, Ordering::Relaxed);
        }
    }
}
