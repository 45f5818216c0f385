//! What the engine counts. The server renders it; nothing here decides anything.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the buckets of [`Metrics::batch_sizes`]; one more takes what is larger.
pub const BATCH_SIZE_BOUNDS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Counters since the start, and one gauge. They are read one by one, so two of them may be
/// from moments that lie a little apart.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Writes that were committed.
    pub commits: AtomicU64,
    /// Transactions that carried them: on SQLite many writes share one.
    pub batches: AtomicU64,
    /// How many writes a batch had, in the buckets of [`BATCH_SIZE_BOUNDS`]. The sum of all is
    /// `commits`.
    pub batch_sizes: [AtomicU64; BATCH_SIZE_BOUNDS.len() + 1],
    /// Commits that waited until they were durable.
    pub syncs: AtomicU64,
    /// Transactions that ran again: serialisation failures, deadlocks, lost connections.
    pub retries: AtomicU64,
    /// Statements of closures, of reads and writes.
    pub statements: AtomicU64,
    /// Closures that wait for a thread, now.
    pub queue_depth: AtomicU64,
    /// Connections that were made.
    pub connections: AtomicU64,
}

impl Metrics {
    /// Notes one committed transaction that carried `writes` closures.
    pub(crate) fn committed(&self, writes: usize, synced: bool) {
        let writes = u64::try_from(writes).unwrap_or(u64::MAX);
        let bucket = BATCH_SIZE_BOUNDS.partition_point(|&bound| bound < writes);
        self.commits.fetch_add(writes, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        if let Some(count) = self.batch_sizes.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if synced {
            self.syncs.fetch_add(1, Ordering::Relaxed);
        }
    }
}
