//! SQLite: one thread that commits many waiting closures at once, and readers of each thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use rusqlite::{Connection, OpenFlags};

use crate::{Error, Metrics, Tx};

const STATEMENTS: usize = 256;
const MAX_BATCH: usize = 256;

/// One closure, ready to run in a savepoint. It gives what to do once the outcome is known.
pub(crate) type Work = Box<dyn FnMut(&mut Tx<'_>) -> bool + Send>;
pub(crate) type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

pub(crate) struct Job {
    pub(crate) synced: bool,
    pub(crate) work: Work,
    pub(crate) done: Done,
}

pub(crate) struct Sqlite {
    id: u64,
    path: PathBuf,
    pub(crate) jobs: mpsc::Sender<Job>,
    _lock: Option<std::fs::File>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Sqlite {
    pub(crate) fn open(
        path: &Path,
        exclusive: bool,
        metrics: std::sync::Arc<Metrics>,
    ) -> Result<Sqlite, Error> {
        let lock = if exclusive { Some(lock(path)?) } else { None };
        let writer = connect(path, false)?;
        let (jobs, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name("db-writer".to_owned())
            .spawn(move || write_all(&writer, &receiver, &metrics))
            .map_err(Error::internal)?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Ok(Sqlite { id, path: path.to_owned(), jobs, _lock: lock })
    }

    /// Runs a closure on this thread's read-only connection.
    pub(crate) fn read<T, E: From<Error>>(
        &self,
        snapshot: bool,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        thread_local! {
            static READERS: RefCell<HashMap<u64, Connection>> = RefCell::new(HashMap::new());
        }
        READERS.with_borrow_mut(|readers| {
            let connection = match readers.entry(self.id) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(connect(&self.path, true)?)
                }
            };
            if !snapshot {
                return f(&mut Tx { connection, ended: false });
            }
            connection.execute_batch("BEGIN").map_err(Error::from)?;
            let result = f(&mut Tx { connection, ended: false });
            connection.execute_batch("COMMIT").map_err(Error::from)?;
            result
        })
    }
}

fn lock(path: &Path) -> Result<std::fs::File, Error> {
    let lock_path = path.with_extension("lock");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(Error::internal)?;
    file.try_lock().map_err(|_| {
        Error::Locked(format!(
            "another bonded process uses the database {}: stop it first",
            path.display()
        ))
    })?;
    Ok(file)
}

pub(crate) fn connect(path: &Path, read_only: bool) -> Result<Connection, Error> {
    let flags = if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
    };
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(std::time::Duration::from_secs(30))?;
    if !read_only {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
    }
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    Ok(connection)
}

fn write_all(connection: &Connection, jobs: &mpsc::Receiver<Job>, metrics: &Metrics) {
    let mut waiting: Option<Job> = None;
    loop {
        let first = match waiting.take() {
            Some(job) => job,
            None => match jobs.recv() {
                Ok(job) => job,
                Err(_) => return,
            },
        };
        let synced = first.synced;
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH {
            match jobs.try_recv() {
                Ok(job) if job.synced == synced => batch.push(job),
                Ok(job) => {
                    waiting = Some(job);
                    break;
                }
                Err(_) => break,
            }
        }
        metrics.count_batch(batch.len(), synced);
        let outcome = commit(connection, synced, &mut batch);
        for job in batch {
            (job.done)(match &outcome {
                Ok(()) => Ok(()),
                Err(error) => Err(Error::Unavailable { reason: error.to_string() }),
            });
        }
    }
}

fn commit(connection: &Connection, synced: bool, batch: &mut [Job]) -> Result<(), Error> {
    let mode = if synced { "FULL" } else { "OFF" };
    connection.pragma_update(None, "synchronous", mode)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for job in batch.iter_mut() {
        connection.execute_batch("SAVEPOINT closure")?;
        let kept = (job.work)(&mut Tx { connection, ended: false });
        if !kept {
            connection.execute_batch("ROLLBACK TO closure")?;
        }
        connection.execute_batch("RELEASE closure")?;
    }
    connection.execute_batch("COMMIT").inspect_err(|_| {
        // Nothing of the batch is kept; every closure is told so.
        let _ = connection.execute_batch("ROLLBACK");
    })?;
    Ok(())
}
