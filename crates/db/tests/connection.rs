//! What a lost connection to PostgreSQL leaves, seen through a proxy that cuts it on request.

#![expect(clippy::unwrap_used, reason = "a test ends when something fails")]
#![expect(clippy::print_stderr, reason = "tests say what they left out")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use bonded_db::{Db, Error, Location, Options, Tx};

const PASS: u8 = 0;
/// The next answer within a transaction still arrives, and the end of the connection behind it.
const CUT_BEHIND: u8 = 1;
/// The next answer is lost with the connection.
const CUT_BEFORE: u8 = 2;

/// ReadyForQuery, in a transaction: the last message of an answer.
const READY: &[u8] = b"Z\0\0\0\x05T";

/// Passes bytes on to a server and cuts one connection when it is told to.
fn proxy(server: String) -> (u16, Arc<AtomicU8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let order = Arc::new(AtomicU8::new(PASS));
    let orders = Arc::clone(&order);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let (from_client, to_server) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || pass(from_client, to_server, &AtomicU8::new(PASS)));
            let order = Arc::clone(&orders);
            std::thread::spawn(move || pass(server, client, &order));
        }
    });
    (port, order)
}

/// Until one side has ended or the order is to cut. Errors are the other side's end.
fn pass(mut from: TcpStream, mut to: TcpStream, order: &AtomicU8) {
    let mut buffer = [0; 65_536];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        let behind = order.load(Ordering::SeqCst) == CUT_BEHIND && buffer[..read].ends_with(READY);
        let lost = order.load(Ordering::SeqCst) == CUT_BEFORE || read == 0;
        if lost || behind {
            order.store(PASS, Ordering::SeqCst);
        }
        if lost || to.write_all(&buffer[..read]).is_err() || behind {
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            return;
        }
    }
}

/// A fresh database behind a proxy, or nothing without a server.
async fn behind_proxy() -> Option<(Db, Db, Arc<AtomicU8>)> {
    let Some(url) = support::postgres_url().await else {
        eprintln!("not run: BONDED_TEST_POSTGRES is not set");
        return None;
    };
    let (head, name) = url.rsplit_once('/').unwrap();
    let (head, server) = head.rsplit_once(['@', '/']).unwrap();
    let user = head.trim_start_matches("postgres://").trim_start_matches("postgresql://");
    let (port, order) = proxy(server.to_owned());
    let proxied = format!("postgres://{user}@127.0.0.1:{port}/{name}");
    let direct = Db::open(Options::new(Location::Postgres(url))).await.unwrap();
    let db = Db::open(Options::new(Location::Postgres(proxied))).await.unwrap();
    Some((db, direct, order))
}

fn put(tx: &mut Tx<'_>, name: &str) -> Result<bool, Error> {
    tx.take_lease(name, "test", 1, 1)
}

async fn count(db: &Db) -> i64 {
    let count =
        |tx: &mut Tx<'_>| tx.query_opt("SELECT COUNT(*) FROM lease", &[], |row| row.get::<i64>(0));
    db.read_point(count).await.unwrap().unwrap()
}

/// An answer so large that the end behind it has come before it is read: the driver then knows
/// that the connection is closed when it gives the rows.
fn large(tx: &mut Tx<'_>, before: impl Fn()) -> Result<(), Error> {
    before();
    let sql = "SELECT repeat('x', 1000) FROM generate_series(1, 2000)";
    tx.query(sql, &[], |_| Ok(())).map(|_| ())
}

/// The statements after a cut must not run by themselves on a new connection, and a COMMIT there
/// must not be taken for the lost transaction's: the rows are those that were answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_lives_and_dies_with_its_connection() {
    let Some((db, direct, order)) = behind_proxy().await else { return };
    let mut expected = 0;
    for round in 0..100_i64 {
        let last = round % 2 == 0;
        let runs = Arc::new(AtomicU64::new(0));
        let (order, ran) = (Arc::clone(&order), Arc::clone(&runs));
        let cut = move |now: bool| {
            if now {
                order.store(CUT_BEHIND, Ordering::SeqCst);
            }
        };
        let outcome = db
            .write(move |tx| {
                let first = ran.fetch_add(1, Ordering::SeqCst) == 0;
                put(tx, &format!("{round}-a"))?;
                if !last {
                    large(tx, || cut(first))?;
                }
                put(tx, &format!("{round}-b"))?;
                put(tx, &format!("{round}-c"))?;
                if last {
                    large(tx, || cut(first))?;
                }
                Ok::<_, Error>(())
            })
            .await;
        match outcome {
            Ok(_) => expected += 3,
            // COMMIT may have overtaken the cut: the outcome is unknown here, but it is one.
            Err(Error::Unavailable { .. }) if last => {
                expected += if count(&direct).await == expected { 0 } else { 3 };
            }
            Err(error) => panic!("round {round}: {error}"),
        }
        assert_eq!(count(&direct).await, expected, "round {round}");
    }
    assert!(expected >= 150, "only {expected} rows");
}

/// Nobody knows whether it was committed, so it is neither tried again nor called done.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_while_committing_is_not_tried_again() {
    let Some((db, direct, order)) = behind_proxy().await else { return };
    let runs = Arc::new(AtomicU64::new(0));
    let ran = Arc::clone(&runs);
    let outcome = db
        .write(move |tx| {
            ran.fetch_add(1, Ordering::SeqCst);
            put(tx, "a")?;
            order.store(CUT_BEFORE, Ordering::SeqCst);
            Ok::<_, Error>(())
        })
        .await;
    assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    db.write(|tx| put(tx, "b")).await.unwrap();
    assert!(count(&direct).await <= 2);
}
