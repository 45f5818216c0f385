//! Faults for tests: the n-th statement, commit or sync from now on fails.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::Error;

/// Counts what is asked of the engine, and fails one of it when a test asks for it.
#[derive(Debug, Default)]
pub struct Faults {
    statements: AtomicU64,
    read_statements: AtomicU64,
    commits: AtomicU64,
    syncs: AtomicU64,
    injected: AtomicU64,
    /// 0: none.
    failing_statement: AtomicI64,
    failing_read: AtomicI64,
    failing_commit: AtomicI64,
    losing_commit: AtomicI64,
    failing_commits_from: AtomicI64,
    failing_sync: AtomicI64,
}

impl Faults {
    /// Statements of transactions that write, so far.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::SeqCst)
    }

    /// Statements of reads so far.
    pub fn read_statements(&self) -> u64 {
        self.read_statements.load(Ordering::SeqCst)
    }

    /// Commits so far.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Syncs of commits so far. SQLite only: PostgreSQL's are its own.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    /// Failures that were injected so far.
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::SeqCst)
    }

    /// The `nth` statement of a transaction that writes fails, from now on, once; the first is 1.
    pub fn fail_statement(&self, nth: i64) {
        self.failing_statement.store(nth, Ordering::SeqCst);
    }

    /// The `nth` statement of a read from now on fails, once; the first is 1.
    pub fn fail_read(&self, nth: i64) {
        self.failing_read.store(nth, Ordering::SeqCst);
    }

    /// The `nth` commit from now on fails, once; the first is 1. Nothing of it is kept.
    pub fn fail_commit(&self, nth: i64) {
        self.failing_commit.store(nth, Ordering::SeqCst);
    }

    /// The `nth` commit from now on and all after it fail, until [`heal`](Faults::heal).
    pub fn fail_commits_from(&self, nth: i64) {
        self.failing_commits_from.store(nth, Ordering::SeqCst);
    }

    /// The answer of the `nth` commit from now on is lost, once: it was made, and nobody knows.
    /// PostgreSQL only: there is no connection to SQLite that could be lost.
    pub fn lose_commit(&self, nth: i64) {
        self.losing_commit.store(nth, Ordering::SeqCst);
    }

    /// The `nth` sync from now on fails, once, when what it should make durable is written; the
    /// first is 1. The process is ended then: `Extras::on_fatal`.
    pub fn fail_sync(&self, nth: i64) {
        self.failing_sync.store(nth, Ordering::SeqCst);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        for left in [
            &self.failing_statement,
            &self.failing_read,
            &self.failing_commit,
            &self.losing_commit,
            &self.failing_commits_from,
            &self.failing_sync,
        ] {
            left.store(0, Ordering::SeqCst);
        }
    }

    pub(crate) fn statement(&self) -> Result<(), Error> {
        self.statements.fetch_add(1, Ordering::SeqCst);
        self.fail_if(count_down(&self.failing_statement), "statement")
    }

    pub(crate) fn read_statement(&self) -> Result<(), Error> {
        self.read_statements.fetch_add(1, Ordering::SeqCst);
        self.fail_if(count_down(&self.failing_read), "statement of a read")
    }

    pub(crate) fn commit(&self) -> Result<(), Error> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let one = count_down(&self.failing_commit);
        let from = &self.failing_commits_from;
        let broken = from.load(Ordering::SeqCst) == 1;
        if !broken {
            // It is left at 1: from there on every commit fails.
            count_down(from);
        }
        self.fail_if(one || broken, "commit")
    }

    /// Whether the answer of a commit that was just made is lost.
    pub(crate) fn is_commit_lost(&self) -> bool {
        let lost = count_down(&self.losing_commit);
        self.injected.fetch_add(lost.into(), Ordering::SeqCst);
        lost
    }

    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.fail_if(count_down(&self.failing_sync), "sync")
    }

    fn fail_if(&self, failing: bool, what: &str) -> Result<(), Error> {
        if failing {
            self.injected.fetch_add(1, Ordering::SeqCst);
            return Err(Error::internal(format!("injected failure of a {what}")));
        }
        Ok(())
    }
}

/// Counts one; true for the one that was asked for.
fn count_down(left: &AtomicI64) -> bool {
    left.load(Ordering::SeqCst) > 0 && left.fetch_sub(1, Ordering::SeqCst) == 1
}

/// For tests: makes a new database on a PostgreSQL server, next to the one of the URL, and gives
/// its URL. Blocks.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub fn make_postgres_database(server: &str, name: &str) -> Result<String, Error> {
    administer(server, format!("CREATE DATABASE {name}"))?;
    let (base, database) =
        server.rsplit_once('/').ok_or_else(|| Error::internal("the URL names no database"))?;
    let parameters = database.split_once('?').map(|(_, parameters)| format!("?{parameters}"));
    Ok(format!("{base}/{name}{}", parameters.unwrap_or_default()))
}

/// For tests: removes a database that [`make_postgres_database`] has made. Blocks.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub fn drop_postgres_database(server: &str, name: &str) -> Result<(), Error> {
    administer(server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
}

/// PostgreSQL's client must not be called inside a runtime, so it has a thread of its own.
fn administer(server: &str, sql: String) -> Result<(), Error> {
    let server = server.to_owned();
    let run = move || {
        postgres::Client::connect(&server, postgres::NoTls)?.batch_execute(&sql)?;
        Ok(())
    };
    std::thread::spawn(run).join().unwrap_or_else(|_| Err(Error::internal("the thread panicked")))
}
