//! SQLite: one thread that commits many waiting closures at once, and readers of each thread.
//!
//! A batch is one transaction, each closure in a savepoint of it. A result leaves only after
//! COMMIT has returned. Whether a batch is synced is fixed before it begins, so a closure that
//! promises never shares a commit with those that promise nothing.
//!
//! A synced commit is `synchronous = FULL`: the log is synced, and with it what was committed
//! before. An unsynced one is NORMAL and not OFF, because a log that starts anew must have its
//! header on the disk before its frames: without that, a power cut could leave old frames that
//! look valid, and SQLite would write old pages over newer ones.
//!
//! Checkpoints are ours, between batches, so that no commit has to wait for one of SQLite's own.

pub(crate) mod copy;

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use crate::tx::{State, Watched};
use crate::{Error, Extras, Faults, Metrics, Tx};

const STATEMENTS: usize = 256;
/// Closures that one commit takes at most.
const MAX_BATCH: usize = 256;
/// Lists and reports that run at once.
const MAX_LISTS: usize = 16;
/// The log is written back when it is larger than this.
const CHECKPOINT_BYTES: u64 = 8 * 1024 * 1024;
/// Another process that reads or writes the same file is waited for this long.
const BUSY: Duration = Duration::from_secs(30);

/// One closure, run in a savepoint: `true` to keep what it did.
pub(crate) type Work = Box<dyn FnMut(&mut Tx<'_>) -> bool + Send>;
/// Told what became of the commit.
pub(crate) type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

pub(crate) struct Job {
    pub(crate) synced: bool,
    pub(crate) work: Work,
    pub(crate) done: Done,
}

pub(crate) struct Sqlite {
    /// Places in the writer's queue.
    pub(crate) room: Arc<Semaphore>,
    /// Places for lists and reports.
    pub(crate) lists: Arc<Semaphore>,
    id: u64,
    /// Gone when the database is closed: readers of other threads see it and close theirs.
    alive: Arc<()>,
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
    metrics: Arc<Metrics>,
    faults: Option<Arc<Faults>>,
    writer: JoinHandle<()>,
    /// Held as long as the database is open.
    _lock: Option<File>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static READERS: RefCell<HashMap<u64, (Weak<()>, Connection)>> = RefCell::default();
}

impl Sqlite {
    pub(crate) fn open(
        path: &Path,
        exclusive: bool,
        extras: &Extras,
        metrics: Arc<Metrics>,
    ) -> Result<Sqlite, Error> {
        let lock = if exclusive { Some(lock(path)?) } else { None };
        let connection = connect(path, false)?;
        crate::migrate::sqlite(&connection)?;
        let (jobs, receiver) = mpsc::channel();
        let writer = Writer {
            log: log_path(path),
            connection,
            metrics: Arc::clone(&metrics),
            extras: extras.clone(),
        };
        let writer = std::thread::Builder::new()
            .name("db-writer".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(Error::internal)?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Ok(Sqlite {
            room: Arc::new(Semaphore::new(crate::MAX_WAITING)),
            lists: Arc::new(Semaphore::new(MAX_LISTS)),
            id,
            alive: Arc::default(),
            path: path.to_owned(),
            jobs,
            metrics,
            faults: extras.faults.clone(),
            writer,
            _lock: lock,
        })
    }

    /// Ends the writer when it has done what it has.
    pub(crate) fn close(self) {
        drop(self.jobs);
        // It ends in no other way: panics of closures are caught.
        let _ = self.writer.join();
    }

    pub(crate) fn submit(&self, job: Job) -> Result<(), Error> {
        self.metrics.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.send(job).map_err(|_| Error::unavailable("the writer has ended"))
    }

    /// Runs a closure on this thread's read-only connection, in one snapshot. Without
    /// `snapshot` it is first tried as one statement, which needs no BEGIN.
    pub(crate) fn read<T, E: From<Error>>(
        &self,
        snapshot: bool,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let watched = self.faults.as_deref().map(Watched::Read);
        READERS.with_borrow_mut(|readers| {
            if !readers.contains_key(&self.id) {
                readers.retain(|_, (alive, _)| alive.strong_count() > 0);
            }
            let (_, connection) = match readers.entry(self.id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    new.insert((Arc::downgrade(&self.alive), connect(&self.path, true)?))
                }
            };
            if !snapshot {
                let mut tx = Tx::sqlite(connection, watched).single();
                let result = f(&mut tx);
                if tx.state() != State::NeedsSnapshot {
                    return result;
                }
            }
            connection.execute_batch("BEGIN").map_err(Error::from)?;
            let result = catch_unwind(AssertUnwindSafe(|| f(&mut Tx::sqlite(connection, watched))));
            let ended = connection.execute_batch("COMMIT").map_err(Error::from);
            match result {
                Ok(result) => {
                    ended?;
                    result
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Copies all tables, as one snapshot shows them, to a new file.
    pub(crate) fn backup_to(&self, path: &Path) -> Result<(), Error> {
        copy::backup(&self.path, path)
    }

    /// Replaces all rows by those of another file.
    pub(crate) fn restore_from(&self, path: &Path) -> Result<(), Error> {
        copy::restore(&self.path, path)
    }
}

fn log_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// One serving process for each database: the lock goes with the process.
fn lock(path: &Path) -> Result<File, Error> {
    let lock_path = path.with_extension("lock");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(|error| Error::internal(format!("open {}: {error}", lock_path.display())))?;
    file.try_lock().map_err(|_| {
        Error::Locked(format!(
            "another bonded process uses the database {}: stop it first",
            path.display()
        ))
    })?;
    Ok(file)
}

pub(crate) fn connect(path: &Path, read_only: bool) -> Result<Connection, Error> {
    let mode = if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    };
    let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| Error::internal(format!("open {}: {error}", path.display())))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(BUSY)?;
    // A plan depends on nothing that is bound: else a statement is prepared anew for each binding.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    // What is sorted or rolled back is in memory, not in files beside the database.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    if read_only {
        // There is one on every thread that reads: little of its own, and the pages shared.
        connection.pragma_update(None, "cache_size", -1_024)?;
        // Each maps the file by itself, and what it has touched of it counts as this process'.
        connection.pragma_update(None, "mmap_size", 33_554_432)?;
    } else {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        // A log that starts anew is cut to this, so that its size tells when it has grown.
        connection.pragma_update(None, "journal_size_limit", 1_048_576)?;
        connection.pragma_update(None, "cache_size", -8_192)?;
    }
    Ok(connection)
}

struct Writer {
    connection: Connection,
    log: PathBuf,
    metrics: Arc<Metrics>,
    extras: Extras,
}

/// Why a batch is begun again or given up.
enum Broken {
    /// This closure ended the transaction of all: the others run again without it.
    By { job: usize, error: Error },
    /// All of the batch fails.
    All(Error),
}

impl Writer {
    fn run(self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut all = vec![first];
            all.extend(jobs.try_iter().take(MAX_BATCH - 1));
            let count = i64::try_from(all.len()).unwrap_or(0);
            self.metrics.waiting.fetch_sub(count, Ordering::Relaxed);
            // Two batches, and not one for each change of kind: the kinds come mixed. Those that
            // need no sync do not wait for one.
            let (synced, unsynced) = all.into_iter().partition(|job| job.synced);
            self.commit_all(false, unsynced);
            self.commit_all(true, synced);
            self.checkpoint();
        }
    }

    fn commit_all(&self, synced: bool, mut batch: Vec<Job>) {
        while !batch.is_empty() {
            match self.commit(synced, &mut batch) {
                Ok(committed) => {
                    if committed {
                        self.metrics.count_batch(batch.len(), synced);
                    }
                    for job in batch.drain(..) {
                        (job.done)(Ok(()));
                    }
                }
                Err(Broken::By { job, error }) => (batch.remove(job).done)(Err(error)),
                Err(Broken::All(error)) => {
                    for job in batch.drain(..) {
                        (job.done)(Err(error.again()));
                    }
                }
            }
        }
    }

    /// Runs a batch: true if there was something to commit.
    fn commit(&self, synced: bool, batch: &mut [Job]) -> Result<bool, Broken> {
        self.plain(if synced {
            "PRAGMA synchronous = FULL"
        } else {
            "PRAGMA synchronous = NORMAL"
        })?;
        self.plain("BEGIN IMMEDIATE")?;
        let mut kept_any = false;
        for (number, job) in batch.iter_mut().enumerate() {
            self.plain("SAVEPOINT closure")?;
            let kept = self.run_closure(number, job)?;
            if !kept {
                self.plain("ROLLBACK TO closure")?;
            }
            self.plain("RELEASE closure")?;
            kept_any |= kept;
        }
        if !kept_any {
            // Nothing to keep, so nothing to sync.
            self.roll_back();
            return Ok(false);
        }
        if let Some(Err(error)) = self.extras.faults.as_deref().map(Faults::commit) {
            self.roll_back();
            return Err(Broken::All(error));
        }
        self.connection.execute_batch("COMMIT").map_err(|error| {
            self.roll_back();
            if is_io(&error) {
                return self.fatal(error.into());
            }
            Broken::All(error.into())
        })?;
        match self.extras.faults.as_deref().filter(|_| synced).map(Faults::sync) {
            Some(Err(error)) => Err(self.fatal(error)),
            _ => Ok(true),
        }
    }

    /// Runs one closure of a batch: true to keep what it did.
    fn run_closure(&self, number: usize, job: &mut Job) -> Result<bool, Broken> {
        let watched = self.extras.faults.as_deref().map(Watched::Write);
        let mut tx = Tx::sqlite(&self.connection, watched);
        let kept = catch_unwind(AssertUnwindSafe(|| (job.work)(&mut tx)));
        if tx.state() == State::Unsynced {
            return Err(self.fatal(tx.into_error()));
        }
        if self.connection.is_autocommit() {
            // The engine has ended the transaction: no room, or the disk failed.
            return Err(Broken::By { job: number, error: tx.into_error() });
        }
        if tx.state() == State::Ended && matches!(kept, Ok(true)) {
            // A closure that goes on after the end must not be told that it was done.
            self.roll_back();
            return Err(Broken::By { job: number, error: tx.into_error() });
        }
        Ok(matches!(kept, Ok(true)))
    }

    /// A sync failed. It is never asked for again: the second answer would be a false yes.
    fn fatal(&self, error: Error) -> Broken {
        (self.extras.on_fatal)(&error.to_string());
        Broken::All(Error::unavailable(error))
    }

    fn plain(&self, sql: &str) -> Result<(), Broken> {
        self.connection.execute_batch(sql).map_err(|error| {
            self.roll_back();
            Broken::All(error.into())
        })
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            // If even this fails, the next BEGIN does, and its closures are told.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// Writes the log back when it has grown.
    fn checkpoint(&self) {
        let size = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        if size < CHECKPOINT_BYTES {
            return;
        }
        let written = self.connection.execute_batch("PRAGMA synchronous = FULL").and_then(|()| {
            // Passive: it never waits for a reader. What it leaves, the next one takes.
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        });
        match written {
            Err(error) if is_io(&error) => (self.extras.on_fatal)(&error.to_string()),
            _ => {}
        }
    }
}

fn is_io(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::connect;

    /// What the data plane asks for with every request, much shortened.
    const ASKED: [&str; 2] = [
        "SELECT r.id FROM account c LEFT JOIN repository r ON r.account = $2 AND r.region = $3 \
           AND r.name = $4 AND r.deleted_at IS NULL WHERE c.id = $1",
        "SELECT i.id, i.digest, t.image_id, t.moved_at FROM tag t JOIN image i ON i.id = t.image_id \
         WHERE t.repository_id = $1 AND t.name = $2",
    ];

    /// A plan that was made once is used again, whatever is bound to it.
    #[test]
    fn statements_are_prepared_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.db");
        let connection = connect(&path, false).unwrap();
        crate::migrate::sqlite(&connection).unwrap();
        let connection = connect(&path, true).unwrap();
        for sql in ASKED {
            let mut statement = connection.prepare(sql).unwrap();
            for turn in 0..3 {
                for number in 1..=statement.parameter_count() {
                    statement.raw_bind_parameter(number, format!("{turn} {number}")).unwrap();
                }
                statement.raw_query().next().unwrap();
                statement.clear_bindings();
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}");
        }
    }
}
