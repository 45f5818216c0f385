//! How many writes and point reads a second the database does: `throughput [postgres URL]`.
//!
//! Writes are one row each, from 1, 8 and 64 clients, durable and not; half of each, as a push
//! mixes them; and reads by key. The database is a new SQLite file in the folder for temporary
//! files, or the given, empty one on PostgreSQL.

#![expect(clippy::print_stdout, reason = "its result is for a terminal")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bonded_db::{Db, Error, Location, Options, Tx};

/// How long each figure is measured.
const TIME: Duration = Duration::from_secs(5);
const CLIENTS: [u64; 3] = [1, 8, 64];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Durable,
    Unsynced,
    Mixed,
    Read,
}

/// What the clients have done.
#[derive(Default)]
struct Done {
    ended: AtomicBool,
    count: AtomicU64,
    /// Microseconds of each call.
    waits: Mutex<Vec<u128>>,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let folder = std::env::temp_dir().join(format!("bonded-throughput-{}", std::process::id()));
    let location = match std::env::args().nth(1) {
        Some(url) => Location::Postgres(url),
        None => Location::Sqlite(file_in(&folder)?),
    };
    let db = Db::open(Options::new(location)).await?;
    println!("{:?}, {} s each", db.engine(), TIME.as_secs());
    println!("kind       clients    tx/s   tx/sync   retries   p50 µs   p99 µs   max µs");
    for (name, kind) in [
        ("durable", Kind::Durable),
        ("unsynced", Kind::Unsynced),
        ("mixed", Kind::Mixed),
        ("read", Kind::Read),
    ] {
        for clients in CLIENTS {
            measure(&db, name, kind, clients).await?;
        }
    }
    db.close().await;
    // A folder that cannot be removed lies among temporary files.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

fn file_in(folder: &PathBuf) -> Result<PathBuf, Error> {
    std::fs::create_dir_all(folder)
        .map_err(|error| Error::Internal { context: error.to_string() })?;
    Ok(folder.join("throughput.db"))
}

async fn measure(db: &Db, name: &str, kind: Kind, clients: u64) -> Result<(), Error> {
    let before = (count(&db.metrics().syncs), count(&db.metrics().retries));
    let done = Arc::new(Done::default());
    let began = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|number| tokio::spawn(client(db.clone(), kind, number, Arc::clone(&done))))
        .collect();
    tokio::time::interval_at((began + TIME).into(), TIME).tick().await;
    done.ended.store(true, Ordering::SeqCst);
    for task in tasks {
        let ended = task.await;
        ended.map_err(|error| Error::Internal { context: error.to_string() })??;
    }
    let seconds = began.elapsed().as_secs_f64();
    let all = count(&done.count);
    let syncs = count(&db.metrics().syncs) - before.0;
    let shared = all.checked_div(syncs).unwrap_or(0);
    let mut waits = done.waits.lock().unwrap_or_else(PoisonError::into_inner);
    waits.sort_unstable();
    let at = |part: usize| waits.get(waits.len() * part / 1_000).copied().unwrap_or(0);
    println!(
        "{name:<10} {clients:>7} {:>7} {shared:>9} {:>9} {:>8} {:>8} {:>8}",
        per_second(all, seconds),
        count(&db.metrics().retries) - before.1,
        at(500),
        at(990),
        waits.last().copied().unwrap_or(0),
    );
    Ok(())
}

fn per_second(all: u64, seconds: f64) -> String {
    let all = u32::try_from(all).map_or(f64::INFINITY, f64::from);
    format!("{:.0}", all / seconds)
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// One client: it waits for each answer, and its rows are its own.
async fn client(db: Db, kind: Kind, number: u64, done: Arc<Done>) -> Result<(), Error> {
    let mut waits = Vec::new();
    for turn in 0_u64.. {
        if done.ended.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("client {number} row {}", turn % 1_000);
        let began = Instant::now();
        match kind {
            Kind::Read => {
                db.read_point(move |tx| find(tx, &name)).await?;
            }
            Kind::Mixed if (number + turn).is_multiple_of(2) => put(&db, name, false).await?,
            Kind::Unsynced => put(&db, name, false).await?,
            Kind::Mixed | Kind::Durable => put(&db, name, true).await?,
        }
        waits.push(began.elapsed().as_micros());
        done.count.fetch_add(1, Ordering::Relaxed);
        if kind == Kind::Read && turn % 64 == 0 {
            // A read on SQLite never waits, and others want this thread too.
            tokio::task::yield_now().await;
        }
    }
    done.waits.lock().unwrap_or_else(PoisonError::into_inner).append(&mut waits);
    Ok(())
}

async fn put(db: &Db, name: String, durable: bool) -> Result<(), Error> {
    let write = move |tx: &mut Tx<'_>| {
        let sql = "INSERT INTO lease (name, holder, lease_until) VALUES ($1, 'client', 1) \
             ON CONFLICT (name) DO UPDATE SET lease_until = lease.lease_until + 1";
        tx.execute(sql, &[(&name).into()])
    };
    let changed = if durable { db.write(write).await? } else { db.write_unsynced(write).await? };
    assert_eq!(changed, 1, "a write writes its row");
    Ok(())
}

fn find(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>, Error> {
    let sql = "SELECT lease_until FROM lease WHERE name = $1";
    tx.query_opt(sql, &[name.into()], |row| row.get(0))
}
