//! Migrations: numbered files, each one transaction, one node at a time.
//!
//! They only add; what removes comes a release later, so that the release before still runs on
//! the schema.

use std::cmp::Ordering;
use std::time::Duration;

use rusqlite::Connection;

use crate::Error;
use crate::postgres::Session;

/// In order; a file's number is its schema's version.
const MIGRATIONS: &[&str] = &[include_str!("../migrations/0001_foundation.sql")];

const MICROS_PER_SECOND: i64 = 1_000_000;
/// A node that dies while it migrates is waited for this long.
const LEASE_MICROS: i64 = 60 * MICROS_PER_SECOND;

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY)";
const FOUND: &str = "SELECT COALESCE(MAX(version), 0) FROM schema_version";

fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(0)
}

/// The texts after a version, with their numbers.
fn after(found: i64) -> Result<impl Iterator<Item = (i64, &'static str)>, Error> {
    let known = known();
    if found > known {
        return Err(Error::Newer { found, known });
    }
    Ok((1_i64..).zip(MIGRATIONS.iter().copied()).filter(move |(version, _)| *version > found))
}

pub(crate) fn sqlite(connection: &Connection) -> Result<(), Error> {
    connection.execute_batch(VERSIONS)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let migrated = (|| {
        let found: i64 = connection.query_row(FOUND, [], |row| row.get(0))?;
        for (version, text) in after(found)? {
            let text = text.replace("{{blob}}", "BLOB").replace("{{text}}", "TEXT");
            connection.execute_batch(&text)?;
            connection.execute("INSERT INTO schema_version VALUES (?1)", [version])?;
        }
        Ok(())
    })();
    connection.execute_batch(if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    migrated
}

pub(crate) fn postgres(session: &mut Session) -> Result<(), Error> {
    // Two nodes that make the same table at once: one fails, and finds it the second time.
    if session.batch(VERSIONS).is_err() {
        session.batch(VERSIONS)?;
    }
    let lease = "CREATE TABLE IF NOT EXISTS schema_lease \
         (name TEXT PRIMARY KEY, holder TEXT NOT NULL, lease_until BIGINT NOT NULL)";
    if session.batch(lease).is_err() {
        session.batch(lease)?;
    }
    if found(session)? == known() {
        return Ok(());
    }
    let holder = take_lease(session)?;
    let mut migrated = migrate(session);
    if migrated.is_err() {
        session.roll_back();
        // A node whose lease had ended was not dead and has done it meanwhile: then all is well.
        if found(session)? == known() {
            migrated = Ok(());
        }
    }
    session.batch(&format!("DELETE FROM schema_lease WHERE holder = '{holder}'"))?;
    migrated
}

/// Refuses a copy that is not of the schema of this program: its rows would lose columns, or lack
/// what migrations give them.
pub(crate) fn check_copy(copy: &Connection) -> Result<(), Error> {
    let (found, known): (i64, _) = (copy.query_row(FOUND, [], |row| row.get(0))?, known());
    match found.cmp(&known) {
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(Error::Newer { found, known }),
        Ordering::Less => Err(Error::internal(format!(
            "the copy has schema {found}, this program {known}: restore it with the release that \
             made it, then start this one"
        ))),
    }
}

fn migrate(session: &mut Session) -> Result<(), Error> {
    for (version, text) in after(found(session)?)? {
        // Names are in byte order whatever the database's own collation is.
        let text = text.replace("{{blob}}", "BYTEA").replace("{{text}}", "TEXT COLLATE \"C\"");
        session.batch(&format!(
            "BEGIN; {text}; INSERT INTO schema_version VALUES ({version}); COMMIT;"
        ))?;
    }
    Ok(())
}

fn found(session: &mut Session) -> Result<i64, Error> {
    let found = session.number(FOUND)?;
    after(found).map(|_| found)
}

/// Waits for the lease by the database's own clock, and takes it.
fn take_lease(session: &mut Session) -> Result<String, Error> {
    let holder = const_hex::encode(crate::random::<16>());
    let now = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
    let take = format!(
        "INSERT INTO schema_lease VALUES ('migrate', '{holder}', {now} + {LEASE_MICROS}) \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, \
         lease_until = excluded.lease_until WHERE schema_lease.lease_until < {now}"
    );
    let mine = format!("SELECT COUNT(*) FROM schema_lease WHERE holder = '{holder}'");
    loop {
        session.batch(&take)?;
        if session.number(&mine)? == 1 {
            return Ok(holder);
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
}
