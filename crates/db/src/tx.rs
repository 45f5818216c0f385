//! A transaction, as the functions on rows see it: statements, and nothing of the engine.
//!
//! **Invariant:** after a statement has failed, nothing of the transaction is kept, whatever the
//! closure makes of the error. `Tx` remembers the failure itself; the engines look here, and
//! never at what the closure returned. PostgreSQL ends a transaction at any failed statement
//! and would then answer COMMIT with a silent rollback, so SQLite is held to the same.

use std::sync::Arc;

use crate::fault::{Fault, Faults};
use crate::in_list;
use crate::metrics::Metrics;
use crate::{Error, Param, Row, postgres, sqlite};

/// A transaction, or a read of one snapshot.
///
/// Row functions are methods on it in this crate: `impl Tx<'_> { pub fn … }`. SQL is a constant,
/// numbers its parameters `$1`, `$2`, …, and uses each of them.
pub struct Tx<'a> {
    session: Session<'a>,
    shared: &'a Shared,
    single: bool,
    statements: u64,
    failure: Option<Failure>,
}

/// The connection that a transaction runs on.
pub(crate) enum Session<'a> {
    Sqlite(&'a rusqlite::Connection),
    Postgres(&'a mut postgres::Connection),
}

/// What all transactions of a [`crate::Db`] share.
pub(crate) struct Shared {
    pub(crate) metrics: Metrics,
    pub(crate) faults: Option<Arc<Faults>>,
    pub(crate) on_fatal: crate::OnFatal,
}

impl Shared {
    /// Counts a statement, commit or sync; true if a test wants this one to fail.
    pub(crate) fn fault(&self, fault: Fault) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults.pass(fault))
    }
}

/// The first statement that failed, and what that means for the transaction.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    pub(crate) error: Error,
}

/// What the engine does about a failed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The transaction is rolled back and the closure's answer stands, if it is an error.
    Statement,
    /// A serialisation failure or a deadlock: the same closure may succeed when it runs again.
    Conflict,
    /// The connection is gone, and nothing was committed on it.
    Lost,
    /// A sync failed: what the disk holds is unknown, and the process must end.
    Sync,
    /// A read without BEGIN wants a second statement: it starts again, in one snapshot.
    Snapshot,
}

impl Failure {
    /// A failure that only rolls back.
    pub(crate) fn statement(error: Error) -> Failure {
        Failure { cause: Cause::Statement, error }
    }
}

impl<'a> Tx<'a> {
    /// A transaction on a connection that has begun one.
    pub(crate) fn new(session: Session<'a>, shared: &'a Shared) -> Tx<'a> {
        Tx { session, shared, single: false, statements: 0, failure: None }
    }

    /// A read of one statement, on a connection that has begun nothing.
    pub(crate) fn single(session: Session<'a>, shared: &'a Shared) -> Tx<'a> {
        Tx { session, shared, single: true, statements: 0, failure: None }
    }

    /// The failure that was met, if any.
    pub(crate) fn into_failure(self) -> Option<Failure> {
        self.failure
    }

    /// Runs a statement and returns how many rows it changed.
    pub fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, Error> {
        self.run(|session| match session {
            Session::Sqlite(connection) => sqlite::execute(connection, sql, params),
            Session::Postgres(connection) => postgres::execute(connection, sql, params),
        })
    }

    /// Runs a statement and returns its rows, each made by `map`.
    pub fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        self.run(|session| match session {
            Session::Sqlite(connection) => sqlite::query(connection, sql, params, &mut map),
            Session::Postgres(connection) => postgres::query(connection, sql, params, &mut map),
        })?
    }

    /// Runs a statement that gives at most one row. More than one is an error of ours.
    pub fn query_opt<T>(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut rows = self.query(sql, params, map)?;
        match rows.len() {
            0 | 1 => Ok(rows.pop()),
            n => Err(Error::internal(format!("{n} rows where at most one can be: {sql}"))),
        }
    }

    /// Runs a statement over a set of keys: `{keys}` in it, as in `digest IN ({keys})`, becomes
    /// parameters that follow `params`. Keys may be any number and repeat themselves; more than
    /// [`in_list::LIMIT`] of them are asked for in several statements, so an order or a limit in
    /// the statement holds for each of these only.
    pub fn query_in<T>(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
        keys: &[Param<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut rows = Vec::new();
        for list in in_list::lists(sql, params, keys) {
            rows.append(&mut self.query(list.sql, &list.params, &mut map)?);
        }
        Ok(rows)
    }

    /// [`Tx::query_in`] for a statement that changes rows: returns how many.
    pub fn execute_in(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
        keys: &[Param<'_>],
    ) -> Result<u64, Error> {
        let mut changed = 0;
        for list in in_list::lists(sql, params, keys) {
            changed += self.execute(list.sql, &list.params)?;
        }
        Ok(changed)
    }

    /// Runs statements that are not constants and have no parameters: migrations.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), Error> {
        self.run(|session| match session {
            Session::Sqlite(connection) => sqlite::batch(connection, sql),
            Session::Postgres(connection) => postgres::batch(connection, sql),
        })
    }

    /// Runs something on the connection with all that holds for every statement.
    pub(crate) fn run<T>(
        &mut self,
        statement: impl FnOnce(&mut Session<'a>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.error.again());
        }
        let outcome = if self.single && self.statements > 0 {
            let error = Error::internal("a read without a snapshot has one statement");
            Err(Failure { cause: Cause::Snapshot, error })
        } else {
            self.statements += 1;
            self.shared.metrics.statements.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            match self.shared.fault(Fault::Statement) {
                true => Err(Failure::statement(Error::internal("a test made the statement fail"))),
                false => statement(&mut self.session),
            }
        };
        outcome.map_err(|failure| {
            let error = failure.error.again();
            self.failure = Some(failure);
            error
        })
    }
}
