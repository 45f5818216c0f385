//! All rows at once, from one SQLite file to another.

use std::path::Path;

use rusqlite::Connection;

use super::connect;
use crate::Error;

/// Copies a database, as one snapshot shows it, to a new file.
pub(super) fn backup(from: &Path, to: &Path) -> Result<(), Error> {
    let connection = connect(from, false)?;
    let target = to.to_str().ok_or_else(|| Error::internal("the path is not UTF-8"))?;
    connection.execute("VACUUM INTO ?1", [target])?;
    drop(connection);
    let file = std::fs::File::open(to).map_err(Error::internal)?;
    file.sync_all().map_err(Error::internal)
}

/// Replaces all rows of a database by those of another file, in one transaction.
pub(super) fn restore(into: &Path, from: &Path) -> Result<(), Error> {
    crate::migrate::check_copy(&connect(from, true)?)?;
    let connection = connect(into, false)?;
    let source = from.to_str().ok_or_else(|| Error::internal("the path is not UTF-8"))?;
    connection.execute("ATTACH ?1 AS copy", [source])?;
    let names = tables(&connection)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for table in &names {
        let columns = columns(&connection, table)?.join(", ");
        connection.execute_batch(&format!(
            "DELETE FROM main.{table}; \
             INSERT INTO main.{table} ({columns}) SELECT {columns} FROM copy.{table};"
        ))?;
    }
    connection.execute_batch("DELETE FROM main.lease; COMMIT; DETACH copy;")?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

/// Tables with rows of ours, in the order they were made.
pub(crate) fn tables(connection: &Connection) -> Result<Vec<String>, Error> {
    let mut statement = connection.prepare(
        "SELECT name FROM main.sqlite_master WHERE type = 'table' \
         AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'schema_%' ORDER BY rowid",
    )?;
    let names = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(names)
}

/// A table's columns, in order.
pub(crate) fn columns(connection: &Connection, table: &str) -> Result<Vec<String>, Error> {
    let mut statement = connection.prepare(&format!("PRAGMA main.table_info({table})"))?;
    let names = statement.query_map([], |row| row.get(1))?.collect::<Result<_, _>>()?;
    Ok(names)
}
