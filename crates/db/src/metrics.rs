//! What the database has done, for the metrics.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Upper bounds of the classes of [`Metrics::batch_sizes`]; one more class has what is larger.
pub const BATCH_SIZES: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// What the database has done since it was opened.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Commits, each of one or more closures.
    pub batches: AtomicU64,
    /// Closures of these commits, with those that failed in the same batch.
    pub closures: AtomicU64,
    /// How many closures a commit had, in the classes of [`BATCH_SIZES`].
    pub batch_sizes: [AtomicU64; BATCH_SIZES.len() + 1],
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
        let closures = u64::try_from(closures).unwrap_or(u64::MAX);
        self.closures.fetch_add(closures, Ordering::Relaxed);
        let class = BATCH_SIZES.partition_point(|bound| *bound < closures);
        if let Some(count) = self.batch_sizes.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if synced {
            self.syncs.fetch_add(1, Ordering::Relaxed);
        }
    }
}
