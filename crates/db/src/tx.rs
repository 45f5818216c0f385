//! A transaction, or a snapshot: where statements run.
//!
//! **Invariant:** when a statement has failed in a way that ended the transaction, no later one
//! of it runs, and what the closure makes of the error changes nothing.

use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::fault::Faults;
use crate::postgres::Session;
use crate::value::Source;
use crate::{Error, Param, Row};

/// A transaction, or a snapshot: where statements run.
pub struct Tx<'a> {
    engine: On<'a>,
    faults: Option<Watched<'a>>,
    state: State,
    /// What ended it.
    error: Option<Error>,
    /// No transaction was begun: there is room for one statement.
    single: bool,
    statements: u64,
}

/// What counts the statements and may fail one: reads are counted apart.
#[derive(Clone, Copy)]
pub(crate) enum Watched<'a> {
    Write(&'a Faults),
    Read(&'a Faults),
}

impl Watched<'_> {
    fn statement(self) -> Result<(), Error> {
        match self {
            Watched::Write(faults) => faults.statement(),
            Watched::Read(faults) => faults.read_statement(),
        }
    }
}

enum On<'a> {
    Sqlite(&'a rusqlite::Connection),
    Postgres(&'a mut Session),
}

/// What has become of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// Another transaction was in the way: all of it may be tried again.
    Conflict,
    /// The connection is gone.
    Lost,
    /// A statement failed, and the engine has ended the transaction with it.
    Ended,
    /// A sync failed: nobody knows what the disk holds.
    Unsynced,
    /// A second statement without a transaction: both are to run in one snapshot.
    NeedsSnapshot,
}

/// The most keys of one `IN` list.
const MAX_IN: usize = 512;

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Param::Null => ValueRef::Null,
            Param::Int(value) => ValueRef::Integer(*value),
            Param::Text(text) => ValueRef::Text(text.as_bytes()),
            Param::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl<'a> Tx<'a> {
    pub(crate) fn sqlite(
        connection: &'a rusqlite::Connection,
        faults: Option<Watched<'a>>,
    ) -> Tx<'a> {
        Tx::new(On::Sqlite(connection), faults)
    }

    pub(crate) fn postgres(session: &'a mut Session, faults: Option<Watched<'a>>) -> Tx<'a> {
        Tx::new(On::Postgres(session), faults)
    }

    fn new(engine: On<'a>, faults: Option<Watched<'a>>) -> Tx<'a> {
        Tx { engine, faults, state: State::Open, error: None, single: false, statements: 0 }
    }

    /// Without a transaction: one statement is its own snapshot. A second one is refused, and
    /// `state` tells that all must run again in a snapshot, so that no decision is made on rows
    /// of two moments.
    pub(crate) fn single(mut self) -> Tx<'a> {
        self.single = true;
        self
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Why the transaction was ended before its closure was.
    pub(crate) fn into_error(self) -> Error {
        self.error.unwrap_or_else(|| Error::internal("a closure ended the transaction"))
    }
}

impl Tx<'_> {
    /// Runs a statement; gives how many rows it changed.
    pub fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, Error> {
        self.begin_statement()?;
        let result = match &mut self.engine {
            On::Sqlite(connection) => sqlite_execute(connection, sql, params),
            On::Postgres(session) => session.execute(sql, params),
        };
        self.note_failure(result)
    }

    /// Runs a statement and maps its rows.
    pub fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        self.query_text(sql, params, map)
    }

    /// The only row of an answer, if there is one.
    pub fn query_opt<T>(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut rows = self.query_text(sql, params, map)?;
        match rows.len() {
            0 | 1 => Ok(rows.pop()),
            more => Err(Error::internal(format!("{more} rows instead of one: {sql}"))),
        }
    }

    /// A statement with `($in)` in it, for a set of keys: run with as many statements as need be,
    /// each list padded to a power of two, so that there are few different texts.
    pub fn query_in<T>(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
        keys: &[Param<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        for some in keys.chunks(MAX_IN) {
            let width = some.len().next_power_of_two();
            let places: Vec<_> =
                (0..width).map(|place| format!("${}", params.len() + place + 1)).collect();
            let sql = sql.replace("($in)", &format!("({})", places.join(", ")));
            let last = some.last().copied().unwrap_or(Param::Null);
            let padded = some.iter().copied().chain(std::iter::repeat(last)).take(width);
            let params: Vec<_> = params.iter().copied().chain(padded).collect();
            all.extend(self.query_text(&sql, &params, &mut map)?);
        }
        Ok(all)
    }

    fn query_text<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        self.begin_statement()?;
        let result = match &mut self.engine {
            On::Sqlite(connection) => sqlite_query(connection, sql, params, &mut map),
            On::Postgres(session) => session.query(sql, params).and_then(|rows| {
                let map = |row| map(&Row { source: Source::Postgres(row) }).map_err(Failure::from);
                rows.iter().map(map).collect()
            }),
        };
        self.note_failure(result)
    }

    fn begin_statement(&mut self) -> Result<(), Error> {
        if self.state != State::Open {
            return Err(Error::unavailable("the transaction has ended"));
        }
        if self.single && self.statements > 0 {
            self.state = State::NeedsSnapshot;
            return Err(Error::internal("a second statement needs a snapshot"));
        }
        self.statements += 1;
        let injected = self.faults.map_or(Ok(()), Watched::statement);
        injected.inspect_err(|error| {
            self.state = State::Ended;
            self.error = Some(error.clone());
        })
    }

    fn note_failure<T>(&mut self, result: Result<T, Failure>) -> Result<T, Error> {
        result.map_err(|failure| {
            self.state = match (&self.engine, failure.state) {
                // SQLite says itself whether its transaction goes on. Were it not asked, what
                // follows would be committed statement by statement.
                (On::Sqlite(connection), State::Open)
                    if !self.single && connection.is_autocommit() =>
                {
                    State::Ended
                }
                (_, state) => state,
            };
            self.error = Some(failure.error.clone());
            failure.error
        })
    }
}

/// Why a statement failed, and what that means for its transaction.
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) state: State,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, state: State::Open }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        // A large transaction may sync its log before COMMIT does.
        let state = if is_failed_sync(&error) { State::Unsynced } else { State::Open };
        Failure { error: error.into(), state }
    }
}

fn is_failed_sync(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC};
    matches!(error.sqlite_extended_error_code(), Some(SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC))
}

fn sqlite_execute(
    connection: &rusqlite::Connection,
    sql: &str,
    params: &[Param<'_>],
) -> Result<u64, Failure> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, sql, params)?;
    // A statement that returns rows is run to its end too.
    if statement.column_count() > 0 {
        let mut rows = statement.raw_query();
        let mut count = 0;
        while rows.next()?.is_some() {
            count += 1;
        }
        return Ok(count);
    }
    let changed = statement.raw_execute()?;
    Ok(u64::try_from(changed).unwrap_or(0))
}

fn sqlite_query<T>(
    connection: &rusqlite::Connection,
    sql: &str,
    params: &[Param<'_>],
    map: &mut impl FnMut(&Row<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Failure> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, sql, params)?;
    let mut rows = statement.raw_query();
    let mut mapped = Vec::new();
    while let Some(row) = rows.next()? {
        mapped.push(map(&Row { source: Source::Sqlite(row) })?);
    }
    Ok(mapped)
}

/// `$1` is a name to SQLite, numbered by first appearance: so parameters are bound by name.
fn bind(
    statement: &mut rusqlite::CachedStatement<'_>,
    sql: &str,
    params: &[Param<'_>],
) -> Result<(), Failure> {
    const NAMES: [&str; 16] = [
        "$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9", "$10", "$11", "$12", "$13", "$14",
        "$15", "$16",
    ];
    for (index, param) in params.iter().enumerate() {
        let place = match NAMES.get(index) {
            Some(name) => statement.parameter_index(name)?,
            None => statement.parameter_index(&format!("${}", index + 1))?,
        };
        let place = place
            .ok_or_else(|| Error::internal(format!("${} does not stand in: {sql}", index + 1)))?;
        statement.raw_bind_parameter(place, param)?;
    }
    Ok(())
}
