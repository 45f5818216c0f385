//! A fresh database on each engine that is there.

use bonded_db::{Db, Location, Options};

/// SQLite always; PostgreSQL where `BONDED_TEST_POSTGRES` names a server.
pub async fn databases() -> Vec<Db> {
    let directory = tempfile::tempdir().unwrap().keep();
    let location = Location::Sqlite(directory.join("test.db"));
    vec![Db::open(Options { location, exclusive: true }).await.unwrap()]
}
