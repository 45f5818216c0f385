//! All rows at once, between PostgreSQL and an SQLite file: a backup is the same on both engines.

use std::path::Path;

use postgres::fallible_iterator::FallibleIterator as _;

use super::Session;
use crate::sqlite::connect;
use crate::sqlite::copy::{columns, tables};
use crate::{Error, Param, Value};

/// Copies every table, as one snapshot shows them, to a new file.
pub(super) fn backup(session: &mut Session, to: &Path) -> Result<(), Error> {
    let target = connect(to, false)?;
    crate::migrate::sqlite(&target)?;
    session.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    target.execute_batch("BEGIN IMMEDIATE")?;
    for table in tables(&target)? {
        let names = columns(&target, &table)?;
        let places: Vec<_> = (1..=names.len()).map(|place| format!("?{place}")).collect();
        let (list, places) = (names.join(", "), places.join(", "));
        let insert = format!("INSERT INTO {table} ({list}) VALUES ({places})");
        let mut insert = target.prepare(&insert)?;
        let client = session.client().map_err(|failure| failure.error)?;
        let none: [&str; 0] = [];
        let mut rows = client.query_raw(&format!("SELECT {list} FROM {table}"), none)?;
        while let Some(row) = rows.next()? {
            for index in 0..names.len() {
                let value: Value = row.try_get(index)?;
                insert.raw_bind_parameter(index + 1, param(&value))?;
            }
            insert.raw_execute()?;
        }
    }
    target.execute_batch("DELETE FROM lease; COMMIT")?;
    session.batch("COMMIT")?;
    target.pragma_update(None, "journal_mode", "DELETE")?;
    drop(target);
    let file = std::fs::File::open(to).map_err(Error::internal)?;
    file.sync_all().map_err(Error::internal)
}

/// Replaces all rows by those of a file, in one transaction: a server that starts on half of the
/// rows would take the other half's objects for garbage.
pub(super) fn restore(session: &mut Session, from: &Path) -> Result<(), Error> {
    let source = connect(from, true)?;
    crate::migrate::check_copy(&source)?;
    let names = tables(&source)?;
    let emptied: Vec<_> = names.iter().map(|table| format!("TRUNCATE {table};")).collect();
    session.batch(&format!("BEGIN; {}", emptied.join(" ")))?;
    for table in names.iter().filter(|table| *table != "lease") {
        let columns = columns(&source, table)?;
        let places: Vec<_> = (1..=columns.len()).map(|place| format!("${place}")).collect();
        let (list, places) = (columns.join(", "), places.join(", "));
        let insert = format!("INSERT INTO {table} ({list}) VALUES ({places})");
        let mut statement = source.prepare(&format!("SELECT {list} FROM {table}"))?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            let mut values = Vec::with_capacity(columns.len());
            for index in 0..columns.len() {
                values.push(crate::value::sqlite_value(row.get_ref(index)?)?);
            }
            let params: Vec<_> = values.iter().map(param).collect();
            session.execute(&insert, &params).map_err(|failure| failure.error)?;
        }
    }
    session.batch("COMMIT")
}

fn param(value: &Value) -> Param<'_> {
    match value {
        Value::Null => Param::Null,
        Value::Int(value) => Param::Int(*value),
        Value::Text(text) => Param::Text(text),
        Value::Blob(bytes) => Param::Blob(bytes),
    }
}
