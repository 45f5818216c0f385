//! A fresh database on each engine that is there.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests are told where servers are, say what they left out, and end on failure"
)]
#![expect(dead_code, reason = "each test binary uses a part")]

use std::sync::Arc;

use bonded_db::{Db, Extras, Faults, Location, Options};

/// Databases with the faults that they obey.
pub(crate) struct Fresh {
    pub(crate) db: Db,
    pub(crate) faults: Arc<Faults>,
    pub(crate) location: Location,
}

/// SQLite always; PostgreSQL where `BONDED_TEST_POSTGRES` names a server on which databases may
/// be made.
pub(crate) async fn fresh() -> Vec<Fresh> {
    let directory = tempfile::tempdir().unwrap().keep();
    let mut locations = vec![Location::Sqlite(directory.join("test.db"))];
    match postgres_url().await {
        Some(url) => locations.push(Location::Postgres(url)),
        None => eprintln!("not run on PostgreSQL: BONDED_TEST_POSTGRES is not set"),
    }
    let mut all = Vec::new();
    for location in locations {
        let faults = Arc::new(Faults::default());
        let extras = Extras { faults: Some(Arc::clone(&faults)), ..Extras::default() };
        let options = Options { location: location.clone(), exclusive: true };
        let db = Db::open_with(options, extras).await.unwrap();
        all.push(Fresh { db, faults, location });
    }
    all
}

pub(crate) async fn databases() -> Vec<Db> {
    fresh().await.into_iter().map(|fresh| fresh.db).collect()
}

/// A new database of the server, by its URL.
pub(crate) async fn postgres_url() -> Option<String> {
    let server = std::env::var("BONDED_TEST_POSTGRES").ok()?;
    let name = format!("bonded_test_{}", uuid::Uuid::new_v4().simple());
    let make = format!("CREATE DATABASE {name}");
    let at = server.clone();
    std::thread::spawn(move || {
        postgres::Client::connect(&at, postgres::NoTls).unwrap().batch_execute(&make).unwrap();
    })
    .join()
    .unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    Some(format!("{base}/{name}"))
}
