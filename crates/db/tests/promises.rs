//! What the engines promise when something goes wrong, or two things happen at once.

#![expect(clippy::unwrap_used, reason = "a test ends when something fails")]
#![expect(clippy::print_stderr, reason = "tests say what they left out")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use bonded_db::{Db, Engine, Error, Extras, Faults, Location, Options, Param, Tx};
use support::Fresh;
use tokio::runtime::Handle;

fn put(tx: &mut Tx<'_>, name: &str) -> Result<bool, Error> {
    tx.take_lease(name, "test", 1, 1)
}

fn count(tx: &mut Tx<'_>) -> Result<i64, Error> {
    let count = tx.query_opt("SELECT COUNT(*) FROM lease", &[], |row| row.get(0))?;
    Ok(count.unwrap_or(0))
}

fn setting(tx: &mut Tx<'_>, name: &str) -> Result<String, Error> {
    let sql = "SELECT current_setting($1)";
    Ok(tx.query_opt(sql, &[name.into()], |row| row.get(0))?.unwrap_or_default())
}

/// An SQLite database that fails on request, and what it said before it would have ended.
async fn sqlite(path: PathBuf) -> (Db, Arc<Faults>, Arc<Mutex<Vec<String>>>) {
    let (faults, said) = (Arc::new(Faults::default()), Arc::new(Mutex::new(Vec::new())));
    let saying = Arc::clone(&said);
    let on_fatal = move |text: &str| saying.lock().unwrap().push(text.to_owned());
    let extras = Extras { on_fatal: Arc::new(on_fatal), faults: Some(Arc::clone(&faults)) };
    let options = Options { location: Location::Sqlite(path), exclusive: true };
    (Db::open_with(options, extras).await.unwrap(), faults, said)
}

/// Does something on another thread and waits for it, from within a closure.
fn elsewhere<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let handle = Handle::try_current();
    let run = move || {
        let result = match handle {
            Ok(handle) => handle.block_on(work),
            Err(_) => tokio::runtime::Runtime::new().unwrap().block_on(work),
        };
        sender.send(result).unwrap();
    };
    std::thread::spawn(run);
    receiver.recv().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_read_of_two_statements_sees_one_moment() {
    for Fresh { db, .. } in support::fresh().await {
        let (writer, runs) = (db.clone(), Arc::new(AtomicU64::new(0)));
        let seen = db
            .read_point(move |tx| {
                let before = count(tx)?;
                let (writer, run) = (writer.clone(), runs.fetch_add(1, Ordering::SeqCst));
                let name = format!("between {run}");
                elsewhere(async move { writer.write(move |tx| put(tx, &name)).await.unwrap() });
                Ok::<_, Error>((before, count(tx)?, run))
            })
            .await
            .unwrap();
        assert_eq!(seen, (1, 1, 1));
        assert_eq!(db.read_point(count).await.unwrap(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_key_that_is_taken_exists() {
    for Fresh { db, .. } in support::fresh().await {
        let insert = "INSERT INTO lease (name, holder, lease_until) VALUES ($1, $2, $3)";
        let add = move |until: Param<'static>| {
            let db = db.clone();
            async move {
                let row =
                    move |tx: &mut Tx<'_>| tx.execute(insert, &["a".into(), "b".into(), until]);
                db.write(row).await
            }
        };
        assert!(matches!(add(Param::Null).await, Err(Error::Internal { .. })));
        assert_eq!(add(1_i64.into()).await.unwrap(), 1);
        assert!(matches!(add(1_i64.into()).await, Err(Error::Exists)));
    }
}

/// All of one batch: a closure that fills the disk ends the transaction of the others, who run
/// again without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_closure_that_fills_the_disk_fails_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (db, _, said) = sqlite(directory.path().join("test.db")).await;
    let limit = |tx: &mut Tx<'_>| {
        let pages = tx.query_opt("PRAGMA page_count", &[], |row| row.get::<i64>(0))?.unwrap();
        assert!(pages < 1_000);
        tx.execute("PRAGMA max_page_count = 1000", &[])
    };
    db.write(limit).await.unwrap();

    // The writer is held until all wait.
    let (hold, held) = mpsc::channel::<()>();
    let (held, went_on) = (Mutex::new(held), Arc::new(AtomicBool::new(false)));
    let (began, begins) = mpsc::channel();
    let holder = db.clone();
    let holding = tokio::spawn(async move {
        let hold = move |_: &mut Tx<'_>| {
            began.send(()).unwrap();
            held.lock().unwrap().recv().unwrap();
            Ok::<_, Error>(())
        };
        holder.write(hold).await
    });
    begins.recv().unwrap();
    let mut tasks = Vec::new();
    for number in 0..9_u64 {
        let (db, went_on) = (db.clone(), Arc::clone(&went_on));
        tasks.push(tokio::spawn(async move {
            db.write(move |tx| {
                put(tx, &format!("n{number}"))?;
                if number == 4 {
                    let full = put(tx, &"x".repeat(8_000_000));
                    assert!(matches!(full, Err(Error::Full {})), "{full:?}");
                    went_on.store(put(tx, "after").is_ok(), Ordering::SeqCst);
                    return Ok(true);
                }
                put(tx, &format!("m{number}"))
            })
            .await
        }));
    }
    while db.metrics().waiting.load(Ordering::SeqCst) < 9 {
        tokio::task::yield_now().await;
    }
    hold.send(()).unwrap();
    holding.await.unwrap().unwrap();
    for (number, task) in tasks.into_iter().enumerate() {
        match (number, task.await.unwrap()) {
            (4, result) => assert!(matches!(result, Err(Error::Full {})), "{result:?}"),
            (_, result) => assert!(result.unwrap()),
        }
    }
    assert!(!went_on.load(Ordering::SeqCst), "a statement ran outside of the transaction");
    assert_eq!(db.read_point(count).await.unwrap(), 16);
    assert!(said.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_ends_the_process_before_anyone_is_told_yes() {
    let directory = tempfile::tempdir().unwrap();
    let (db, faults, said) = sqlite(directory.path().join("test.db")).await;
    db.write_unsynced(|tx| put(tx, "needs none")).await.unwrap();
    let before = faults.syncs();
    faults.fail_sync(1);
    db.write_unsynced(|tx| put(tx, "needs none either")).await.unwrap();
    assert!(said.lock().unwrap().is_empty());
    let told = db.write(|tx| put(tx, "a")).await;
    assert!(matches!(told, Err(Error::Unavailable { .. })), "{told:?}");
    assert_eq!(said.lock().unwrap().len(), 1);
    assert_eq!(faults.syncs(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_nothing_syncs_nothing() {
    for Fresh { db, .. } in support::fresh().await {
        let before = db.metrics().syncs.load(Ordering::SeqCst);
        let refused = db
            .write(|tx| {
                put(tx, "a")?;
                Err::<(), _>(Error::Exists)
            })
            .await;
        assert!(matches!(refused, Err(Error::Exists)));
        assert_eq!(db.metrics().syncs.load(Ordering::SeqCst), before);
        db.write(|tx| put(tx, "a")).await.unwrap();
        assert_eq!(db.metrics().syncs.load(Ordering::SeqCst), before + 1);
        let sizes = &db.metrics().batch_sizes;
        let batches: u64 = sizes.iter().map(|size| size.load(Ordering::SeqCst)).sum();
        assert_eq!(batches, db.metrics().batches.load(Ordering::SeqCst));
    }
}

/// `backup` and `check` write a row beside a server; the server waits for them.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_that_writes_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let (db, _, _) = sqlite(path.clone()).await;
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; DELETE FROM lease").unwrap();
    let writes = tokio::spawn({
        let db = db.clone();
        async move { db.write(|tx| put(tx, "a")).await }
    });
    while db.metrics().waiting.load(Ordering::SeqCst) > 0 || writes.is_finished() {
        assert!(!writes.is_finished(), "it did not wait");
        tokio::task::yield_now().await;
    }
    assert_eq!(db.read_point(count).await.unwrap(), 0);
    other.execute_batch("COMMIT").unwrap();
    assert!(writes.await.unwrap().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_does_not_grow_with_what_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let (db, _, _) = sqlite(directory.path().join("test.db")).await;
    let log = directory.path().join("test.db-wal");
    let mut largest = 0;
    for number in 0..200 {
        let text = format!("{number}{}", "x".repeat(400_000));
        match number % 2 {
            0 => db.write(move |tx| put(tx, &text)).await.unwrap(),
            _ => db.write_unsynced(move |tx| put(tx, &text)).await.unwrap(),
        };
        assert_eq!(db.read_point(count).await.unwrap(), number + 1);
        largest = largest.max(std::fs::metadata(&log).unwrap().len());
    }
    // 80 MB were written, twice as much with the index.
    assert!(largest < 16 * 1024 * 1024, "{largest} bytes");
}

async fn on_postgres() -> Option<(String, Db)> {
    let Some(url) = support::postgres_url().await else {
        eprintln!("not run: BONDED_TEST_POSTGRES is not set");
        return None;
    };
    let db = Db::open(Options::new(Location::Postgres(url.clone()))).await.unwrap();
    Some((url, db))
}

/// Runs a statement of the administrator's.
async fn administer(url: &str, sql: String) {
    let url = url.to_owned();
    let run = move || {
        postgres::Client::connect(&url, postgres::NoTls).unwrap().batch_execute(&sql).unwrap();
    };
    tokio::task::spawn_blocking(|| std::thread::spawn(run).join().unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_transaction_promises_is_not_the_servers_default() {
    let Some((url, db)) = on_postgres().await else { return };
    drop(db);
    let (_, name) = url.rsplit_once('/').unwrap();
    let defaults =
        ["synchronous_commit TO off", "default_transaction_isolation TO 'read uncommitted'"];
    for default in defaults {
        administer(&url, format!("ALTER DATABASE {name} SET {default}")).await;
    }
    let db = Db::open(Options::new(Location::Postgres(url))).await.unwrap();
    let all = |tx: &mut Tx<'_>| {
        let names = ["synchronous_commit", "transaction_isolation", "transaction_read_only"];
        let all: Result<Vec<_>, Error> = names.iter().map(|name| setting(tx, name)).collect();
        Ok::<_, Error>(all?.join(", "))
    };
    assert_eq!(db.write(all).await.unwrap(), "on, serializable, off");
    assert_eq!(db.write_unsynced(all).await.unwrap(), "off, serializable, off");
    assert_eq!(db.write(all).await.unwrap(), "on, serializable, off");
    assert_eq!(db.claim(all).await.unwrap(), "on, read committed, off");
    assert_eq!(db.read(all).await.unwrap(), "on, repeatable read, on");
    assert_eq!(db.read_point(all).await.unwrap(), "on, repeatable read, on");
}

/// `write` looks at the transaction and not at what the closure makes of its errors.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_tried_again_even_if_the_closure_hides_it() {
    let Some((_, db)) = on_postgres().await else { return };
    db.write(|tx| put(tx, "a")).await.unwrap();
    let (other, runs) = (db.clone(), Arc::new(AtomicU64::new(0)));
    let ran = Arc::clone(&runs);
    let change = "UPDATE lease SET lease_until = lease_until + 1 WHERE name = 'a'";
    let hidden = db
        .write(move |tx| {
            let first = ran.fetch_add(1, Ordering::SeqCst) == 0;
            count(tx)?;
            if first {
                let other = other.clone();
                elsewhere(async move { other.write(move |tx| tx.execute(change, &[])).await })?;
            }
            let changed = tx.execute(change, &[]).is_ok();
            assert_eq!(changed, !first);
            // Nothing runs after the failure: it would be in no transaction.
            assert_eq!(put(tx, "b").is_ok(), !first);
            Ok::<_, Error>(changed)
        })
        .await;
    assert!(hidden.unwrap());
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert!(db.metrics().retries.load(Ordering::SeqCst) >= 1);
    let sum = "SELECT lease_until FROM lease WHERE name = 'a'";
    let sum = db.read_point(move |tx| tx.query_opt(sum, &[], |row| row.get::<i64>(0))).await;
    assert_eq!(sum.unwrap(), Some(3));
}

/// The schema's number in a copy becomes another one.
fn renumber(copy: &Path, number: i64) {
    let copy = rusqlite::Connection::open(copy).unwrap();
    copy.execute("DELETE FROM schema_version", []).unwrap();
    copy.execute("INSERT INTO schema_version VALUES (?1)", [number]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_another_schema_is_refused_and_harms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for (number, Fresh { db, .. }) in support::fresh().await.into_iter().enumerate() {
        db.write(|tx| tx.insert_registry("123456789012", "us-east-1")).await.unwrap();
        let copy = directory.path().join(format!("copy{number}.db"));
        db.backup_to(&copy).await.unwrap();
        renumber(&copy, 99);
        let newer = db.restore_from(&copy).await;
        assert!(matches!(newer, Err(Error::Newer { found: 99, .. })), "{newer:?}");
        renumber(&copy, 0);
        assert!(matches!(db.restore_from(&copy).await, Err(Error::Internal { .. })));
        let missing = directory.path().join("missing.db");
        assert!(db.restore_from(&missing).await.is_err());
        assert!(!missing.exists());
        assert_eq!(db.read(|tx| tx.registries()).await.unwrap().len(), 1);
    }
}

/// U+0000 is a text to SQLite and not to PostgreSQL, so the restore fails half way.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_fails_leaves_the_rows_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    for (number, Fresh { db, .. }) in support::fresh().await.into_iter().enumerate() {
        let copy = directory.path().join(format!("copy{number}.db"));
        for region in ["us-east-1", "us-west-2"] {
            db.write(move |tx| tx.insert_registry("123456789012", region)).await.unwrap();
        }
        db.backup_to(&copy).await.unwrap();
        let spoiled = rusqlite::Connection::open(&copy).unwrap();
        let spoil = "UPDATE registry SET region = char(0) WHERE region = 'us-west-2'";
        assert_eq!(spoiled.execute(spoil, []).unwrap(), 1);
        drop(spoiled);
        db.write(|tx| tx.insert_registry("123456789012", "eu-west-1")).await.unwrap();
        let restored = db.restore_from(&copy).await;
        assert_eq!(restored.is_ok(), db.engine() == Engine::Sqlite);
        let expected = if db.engine() == Engine::Sqlite { 2 } else { 3 };
        assert_eq!(db.read(|tx| tx.registries()).await.unwrap().len(), expected);
    }
}
