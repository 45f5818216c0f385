//! A transaction, or a snapshot: where statements run.

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::value::Source;
use crate::{Error, Param, Row};

/// A transaction, or a snapshot: where statements run.
pub struct Tx<'a> {
    pub(crate) connection: &'a Connection,
    /// The engine ended the transaction: later statements fail at once.
    pub(crate) ended: bool,
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

impl Tx<'_> {
    /// Runs a statement; gives how many rows it changed.
    pub fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, Error> {
        let mut changed = 0;
        self.run(sql, params, |statement| {
            let rows = statement.raw_execute()?;
            changed = u64::try_from(rows).unwrap_or(0);
            Ok(())
        })?;
        Ok(changed)
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

    /// A statement with `($in)` in it, for a set of keys: run with as many statements as need be.
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
        let mut mapped = Vec::new();
        self.run(sql, params, |statement| {
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                mapped.push(map(&Row { source: Source::Sqlite(row) })?);
            }
            Ok(())
        })?;
        Ok(mapped)
    }

    fn run(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        run: impl FnOnce(&mut rusqlite::CachedStatement<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.ended {
            return Err(Error::internal("the transaction has ended"));
        }
        let mut statement = self.connection.prepare_cached(sql)?;
        for (index, param) in params.iter().enumerate() {
            // `$1` is a name to SQLite, numbered by first appearance.
            let name = format!("${}", index + 1);
            let place = statement.parameter_index(&name)?.ok_or_else(|| {
                Error::internal(format!("{name} does not stand in: {sql}"))
            })?;
            statement.raw_bind_parameter(place, param)?;
        }
        run(&mut statement)
    }
}
