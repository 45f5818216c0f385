//! Faults for tests: the n-th statement, commit or sync from now on fails.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::Error;

/// Counts statements, commits and syncs, and fails one of them when a test asks for it.
#[derive(Debug, Default)]
pub struct Faults {
    statements: AtomicU64,
    commits: AtomicU64,
    syncs: AtomicU64,
    /// 0: none.
    failing_statement: AtomicI64,
    failing_commit: AtomicI64,
    failing_sync: AtomicI64,
}

impl Faults {
    /// Statements of transactions so far.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::SeqCst)
    }

    /// Commits so far.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Syncs of commits so far. SQLite only: PostgreSQL's are its own.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    /// The `nth` statement from now on fails, once; the first is 1.
    pub fn fail_statement(&self, nth: i64) {
        self.failing_statement.store(nth, Ordering::SeqCst);
    }

    /// The `nth` commit from now on fails, once; the first is 1.
    pub fn fail_commit(&self, nth: i64) {
        self.failing_commit.store(nth, Ordering::SeqCst);
    }

    /// The `nth` sync from now on fails, once, when what it should make durable is written; the
    /// first is 1. The process is ended then: `Extras::on_fatal`.
    pub fn fail_sync(&self, nth: i64) {
        self.failing_sync.store(nth, Ordering::SeqCst);
    }

    pub(crate) fn statement(&self) -> Result<(), Error> {
        self.statements.fetch_add(1, Ordering::SeqCst);
        count_down(&self.failing_statement, "statement")
    }

    pub(crate) fn commit(&self) -> Result<(), Error> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        count_down(&self.failing_commit, "commit")
    }

    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        count_down(&self.failing_sync, "sync")
    }
}

fn count_down(left: &AtomicI64, what: &str) -> Result<(), Error> {
    if left.load(Ordering::SeqCst) > 0 && left.fetch_sub(1, Ordering::SeqCst) == 1 {
        return Err(Error::internal(format!("injected failure of a {what}")));
    }
    Ok(())
}
