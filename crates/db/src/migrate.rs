//! Migrations: numbered files, each one transaction.

use rusqlite::Connection;

use crate::Error;

const MIGRATIONS: &[&str] = &[include_str!("../migrations/0001_foundation.sql")];

pub(crate) fn sqlite(connection: &Connection) -> Result<(), Error> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY, applied_at BIGINT)",
    )?;
    let found: i64 = connection.query_row(
        "SELECT COALESCE(MAX(version), 0) FROM schema_version",
        [],
        |row| row.get(0),
    )?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(0);
    if found > known {
        return Err(Error::Newer { found, known });
    }
    for (version, text) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let text = text.replace("{{blob}}", "BLOB").replace("{{text}}", "TEXT");
        connection.execute_batch(&format!(
            "BEGIN; {text} INSERT INTO schema_version VALUES ({version}, 0); COMMIT;"
        ))?;
    }
    Ok(())
}
