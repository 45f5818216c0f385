//! Failures on request: tests make the n-th statement, commit or sync fail and look at what is
//! left. A server that was not given any has none.

use std::sync::atomic::{AtomicU64, Ordering};

/// What shall fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A statement of a closure: the transaction is rolled back and the error is answered.
    Statement,
    /// The commit of a write: it is rolled back, and the answer is [`crate::Error::Unavailable`].
    Commit,
    /// The sync of a commit, when the commit is already written. SQLite only: it must end the
    /// process (`on_fatal`); PostgreSQL ends itself.
    Sync,
}

/// Counts statements, commits and syncs of one [`crate::Db`], and fails one of them when a test
/// has asked for it. A fault acts once.
#[derive(Debug, Default)]
pub struct Faults {
    statements: Point,
    commits: Point,
    syncs: Point,
}

/// How often a place was passed, and at which count it fails (0: never).
#[derive(Debug, Default)]
struct Point {
    passed: AtomicU64,
    fails_at: AtomicU64,
}

impl Faults {
    /// Makes the `n`-th from now fail (1 is the next one). 0 takes the request back.
    pub fn fail(&self, fault: Fault, n: u64) {
        let point = self.point(fault);
        let at = if n == 0 { 0 } else { point.passed.load(Ordering::SeqCst) + n };
        point.fails_at.store(at, Ordering::SeqCst);
    }

    /// How many there have been: run an operation once, and its numbers are 1 to the difference.
    pub fn count(&self, fault: Fault) -> u64 {
        self.point(fault).passed.load(Ordering::SeqCst)
    }

    /// Counts one more, and tells whether it is to fail.
    pub(crate) fn pass(&self, fault: Fault) -> bool {
        let point = self.point(fault);
        let now = point.passed.fetch_add(1, Ordering::SeqCst) + 1;
        point.fails_at.load(Ordering::SeqCst) == now
    }

    fn point(&self, fault: Fault) -> &Point {
        match fault {
            Fault::Statement => &self.statements,
            Fault::Commit => &self.commits,
            Fault::Sync => &self.syncs,
        }
    }
}
