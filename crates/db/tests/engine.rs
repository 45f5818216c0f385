//! What transactions promise, on both engines.

#![expect(clippy::unwrap_used, reason = "a test ends when something fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bonded_db::{Db, Engine, Error, Location, Options, Tx};
use support::Fresh;

const NOW: i64 = 1;

fn put(tx: &mut Tx<'_>, name: &str) -> Result<bool, Error> {
    tx.take_lease(name, "test", NOW, NOW)
}

fn has(tx: &mut Tx<'_>, name: &str) -> Result<bool, Error> {
    let found = tx.query_opt("SELECT 1 FROM lease WHERE name = $1", &[name.into()], |row| {
        row.get::<i64>(0)
    })?;
    Ok(found.is_some())
}

async fn is_there(db: &Db, name: &'static str) -> bool {
    let point = db.read_point(move |tx| has(tx, name)).await.unwrap();
    assert_eq!(db.read(move |tx| has(tx, name)).await.unwrap(), point);
    point
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_that_fails_leaves_nothing_and_others_stay() {
    for Fresh { db, .. } in support::fresh().await {
        let bad = db.write(|tx| {
            put(tx, "bad")?;
            Err::<(), _>(Error::Exists)
        });
        let good = db.write(|tx| put(tx, "good"));
        let (bad, good) = tokio::join!(bad, good);
        assert!(matches!(bad, Err(Error::Exists)));
        assert!(good.unwrap());
        assert!(is_there(&db, "good").await && !is_there(&db, "bad").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_that_panics_harms_nobody() {
    for Fresh { db, .. } in support::fresh().await {
        let panics = db.write(|tx| {
            assert!(!put(tx, "bad")?, "on purpose");
            Ok::<_, Error>(())
        });
        let good = db.write(|tx| put(tx, "good"));
        let (panics, good) = tokio::join!(panics, good);
        assert!(matches!(panics, Err(Error::Internal { .. })));
        assert!(good.unwrap());
        assert!(is_there(&db, "good").await && !is_there(&db, "bad").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_statement_or_commit_rolls_back_and_is_told() {
    for Fresh { db, faults, .. } in support::fresh().await {
        for nth in 1..=2 {
            faults.fail_statement(nth);
            let failed = db
                .write(|tx| {
                    put(tx, "a")?;
                    put(tx, "b")
                })
                .await;
            assert!(failed.is_err(), "{nth}");
            assert!(!is_there(&db, "a").await && !is_there(&db, "b").await);
        }
        faults.fail_commit(1);
        assert!(db.write(|tx| put(tx, "a")).await.is_err());
        assert!(!is_there(&db, "a").await);
        assert!(db.write(|tx| put(tx, "a")).await.is_ok());
        assert!(is_there(&db, "a").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_that_swallows_an_error_commits_nothing_half() {
    for Fresh { db, .. } in support::fresh().await {
        let result = db
            .write(|tx| {
                put(tx, "first")?;
                let wrong = tx.execute("SELECT no_such_function($1)", &[1_i64.into()]);
                assert!(wrong.is_err());
                Ok::<_, Error>(put(tx, "second").is_ok())
            })
            .await;
        // SQLite's transaction goes on after a wrong statement; PostgreSQL's has ended.
        match db.engine() {
            Engine::Sqlite => assert!(result.unwrap()),
            Engine::Postgres => {
                assert!(result.is_err());
                assert!(!is_there(&db, "first").await);
            }
        }
        let both = is_there(&db, "first").await == is_there(&db, "second").await;
        assert!(both);
    }
}

/// Two counters whose sum each transaction reads before it adds to one: what a weaker isolation
/// would let through.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_are_serializable() {
    for Fresh { db, .. } in support::fresh().await {
        db.write(|tx| {
            put(tx, "left")?;
            put(tx, "right")
        })
        .await
        .unwrap();
        let runs = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for number in 0..60 {
            let (db, runs) = (db.clone(), Arc::clone(&runs));
            let name = if number % 2 == 0 { "left" } else { "right" };
            tasks.push(tokio::spawn(async move {
                db.write(move |tx| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    let sum: Option<i64> = tx.query_opt(
                        "SELECT CAST(SUM(lease_until) AS BIGINT) FROM lease \
                         WHERE name IN ('left', 'right')",
                        &[],
                        |row| row.get(0),
                    )?;
                    let sum = sum.unwrap_or(0);
                    if sum < 22 {
                        tx.execute(
                            "UPDATE lease SET lease_until = lease_until + 1 WHERE name = $1",
                            &[name.into()],
                        )?;
                    }
                    Ok::<_, Error>(())
                })
                .await
                .unwrap();
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let sum: Option<i64> = db
            .read_point(|tx| {
                tx.query_opt("SELECT CAST(SUM(lease_until) AS BIGINT) FROM lease", &[], |row| {
                    row.get(0)
                })
            })
            .await
            .unwrap();
        assert_eq!(sum, Some(22));
        assert!(runs.load(Ordering::SeqCst) >= 60);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writes_share_commits_on_sqlite() {
    for Fresh { db, .. } in support::fresh().await {
        let tasks: Vec<_> = (0..500)
            .map(|number| {
                let db = db.clone();
                let name = format!("n{number}");
                tokio::spawn(async move { db.write(move |tx| put(tx, &name)).await.unwrap() })
            })
            .collect();
        for task in tasks {
            assert!(task.await.unwrap());
        }
        let syncs = db.metrics().syncs.load(Ordering::Relaxed);
        if db.engine() == Engine::Sqlite {
            assert!(syncs < 400, "{syncs} syncs for 500 writes");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_of_keys_of_any_size() {
    for Fresh { db, .. } in support::fresh().await {
        for count in [0_usize, 1, 2, 3, 511, 512, 513, 1_100] {
            let found = db
                .write(move |tx| {
                    let names: Vec<_> = (0..count).map(|number| format!("k{number}")).collect();
                    for name in &names {
                        put(tx, name)?;
                    }
                    let keys: Vec<_> = names.iter().map(bonded_db::Param::from).collect();
                    let holder = "test";
                    let sql = "SELECT name FROM lease WHERE holder = $1 AND name IN ($in)";
                    tx.query_in(sql, &[holder.into()], &keys, |row| row.get::<String>(0))
                })
                .await
                .unwrap();
            assert_eq!(found.len(), count);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_exclusive_process_is_refused_and_others_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(directory.path().join("test.db"));
    let exclusive = Options { location: location.clone(), exclusive: true };
    let first = Db::open(exclusive.clone()).await.unwrap();
    let second = Db::open(exclusive.clone()).await;
    assert!(matches!(second, Err(Error::Locked(text)) if text.contains("stop it first")));
    let beside = Db::open(Options::new(location)).await.unwrap();
    beside.write(|tx| put(tx, "beside")).await.unwrap();
    assert!(is_there(&first, "beside").await);
    drop(first);
    assert!(Db::open(exclusive).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused() {
    for Fresh { db, location, .. } in support::fresh().await {
        db.write(|tx| tx.execute("INSERT INTO schema_version VALUES ($1)", &[99_i64.into()]))
            .await
            .unwrap();
        let again = Db::open(Options::new(location)).await;
        assert!(matches!(again, Err(Error::Newer { found: 99, .. })));
    }
}

/// From each engine to each: what is restored is what was backed up.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_moves_between_engines() {
    let directory = tempfile::tempdir().unwrap();
    for (number, Fresh { db, .. }) in support::fresh().await.into_iter().enumerate() {
        db.write(|tx| {
            tx.insert_registry("123456789012", "us-east-1")?;
            tx.insert_root_key(3, &[0, 255, 7], NOW)?;
            tx.insert_removal(&[9; 16], "us-east-1", NOW)
        })
        .await
        .unwrap();
        let file = directory.path().join(format!("copy{number}.db"));
        db.backup_to(&file).await.unwrap();
        for Fresh { db: target, .. } in support::fresh().await {
            target.write(|tx| tx.insert_registry("999999999999", "x")).await.unwrap();
            target.restore_from(&file).await.unwrap();
            target
                .read(|tx| {
                    assert_eq!(tx.registries()?.len(), 1);
                    assert_eq!(tx.root_keys()?[0].check_value, [0, 255, 7]);
                    assert!(tx.is_object_named(&[9; 16])?);
                    Ok::<_, Error>(())
                })
                .await
                .unwrap();
        }
        let copy = Db::open(Options::new(Location::Sqlite(file))).await.unwrap();
        assert_eq!(copy.read(|tx| tx.registries()).await.unwrap().len(), 1);
    }
}

/// Half of the writes of a push promise nothing: they must not cut the others' batches short.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_that_promise_nothing_do_not_split_batches() {
    for Fresh { db, .. } in support::fresh().await {
        let tasks: Vec<_> = (0..600)
            .map(|number| {
                let db = db.clone();
                let name = format!("n{number}");
                tokio::spawn(async move {
                    match number % 2 {
                        0 => db.write(move |tx| put(tx, &name)).await.unwrap(),
                        _ => db.write_unsynced(move |tx| put(tx, &name)).await.unwrap(),
                    }
                })
            })
            .collect();
        for task in tasks {
            assert!(task.await.unwrap());
        }
        let syncs = db.metrics().syncs.load(Ordering::Relaxed);
        if db.engine() == Engine::Sqlite {
            assert!(syncs < 100, "{syncs} syncs for 300 writes that promise");
        }
    }
}
