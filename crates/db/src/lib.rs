//! Every row and every line of SQL, for SQLite and PostgreSQL.
//!
//! [`Db`] runs closures over a [`Tx`]; a function on `Tx` is a step, what is true together is
//! written in one closure. A closure may run several times: it has no effect outside its `Tx`, and
//! ids, times and random bytes are made before it.
//!
//! **Invariant:** what [`Db::write`] has returned is durable, and no result leaves before that.

mod access;
mod account;
mod blob;
mod check;
mod clock;
mod error;
pub mod fault;
mod garbage;
mod image;
mod job;
mod key;
mod lease;
mod metrics;
mod migrate;
mod note;
mod postgres;
mod referrer;
mod removal;
mod repository;
mod sqlite;
mod tag;
mod tx;
mod upload;
mod value;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use access::{
    AccessKeyRow, AccessRow, IdentityRow, KeyDomainRow, PrincipalPolicyRow, RegistryRow,
    RepositoryAccessRow, RepositoryBy, ResourcePolicyRow,
};
pub use account::{NewAccount, NewKeyDomain};
pub use blob::{AvailableLayer, BlobRow, LayerRow, NewBlob, SegmentRow};
pub use check::{CheckedBlob, CheckedImage, SegmentObject, Totals};
pub use error::Error;
pub use fault::Faults;
pub use garbage::UnusedMembership;
pub use image::{ChildRow, ImageBy, ImageFilter, ImageRow, ImageToPull, NewImage};
pub use job::JobRow;
pub use key::{RootKeyRow, TokenKeyRow, WrappedIn};
pub use metrics::{BATCH_SIZES, Metrics};
pub use note::{AuditBlockRow, AuditRecordRow, EventRow, Note};
pub use referrer::ReferrerRow;
pub use removal::RemovalRow;
pub use repository::{AccountSetting, NewRepository, RepositoryRow};
pub use tag::{ImageTagPlace, ImageTagRow, TagChange, TagRow};
pub use tx::Tx;
pub use upload::{Append, NewSegment, UploadRow};
pub use value::{FromColumn, Param, Row, Value};

use crate::postgres::{Mode, Postgres};
use crate::sqlite::{Job, Sqlite};

/// Where the rows are.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file, made if it is not there.
    Sqlite(PathBuf),
    /// A `postgres://` URL.
    Postgres(String),
}

/// Which engine holds the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Which database, and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub location: Location,
    /// Refuse to open beside another exclusive one. SQLite only: any number of processes may
    /// share a PostgreSQL.
    pub exclusive: bool,
}

impl Options {
    /// Beside whoever else uses it.
    pub fn new(location: Location) -> Options {
        Options { location, exclusive: false }
    }
}

/// What few callers say.
#[derive(Clone)]
pub struct Extras {
    /// Told of a failed sync, after which nothing can be promised. It should not return.
    pub on_fatal: Arc<dyn Fn(&str) + Send + Sync>,
    pub faults: Option<Arc<Faults>>,
}

impl Default for Extras {
    /// The process is aborted: what was acknowledged before is on the disk.
    fn default() -> Extras {
        let abort = |error: &str| {
            tracing::error!(error, "the database cannot be synced, stopping");
            std::process::abort();
        };
        Extras { on_fatal: Arc::new(abort), faults: None }
    }
}

/// Closures that wait for the database or run on it; more wait in their callers.
pub(crate) const MAX_WAITING: usize = 4_096;

/// The database. Clones are the same one.
#[derive(Clone)]
pub struct Db {
    on: On,
    metrics: Arc<Metrics>,
}

#[derive(Clone)]
enum On {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

impl Db {
    /// Opens a database and brings its schema up to date.
    ///
    /// # Errors
    /// `Newer` for a schema of a later release, `Locked` beside another exclusive process,
    /// `Unavailable` when PostgreSQL cannot be reached.
    pub async fn open(options: Options) -> Result<Db, Error> {
        Db::open_with(options, Extras::default()).await
    }

    /// As [`Db::open`].
    pub async fn open_with(options: Options, extras: Extras) -> Result<Db, Error> {
        blocking(move || {
            let metrics = Arc::new(Metrics::default());
            let own = Arc::clone(&metrics);
            let on = match &options.location {
                Location::Sqlite(path) => {
                    On::Sqlite(Arc::new(Sqlite::open(path, options.exclusive, &extras, own)?))
                }
                Location::Postgres(url) => {
                    On::Postgres(Arc::new(Postgres::open(url, &extras, own)?))
                }
            };
            Ok(Db { on, metrics })
        })
        .await
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn engine(&self) -> Engine {
        match self.on {
            On::Sqlite(_) => Engine::Sqlite,
            On::Postgres(_) => Engine::Postgres,
        }
    }

    /// One transaction that promises: durable when it returns.
    ///
    /// # Errors
    /// The closure's, or `Unavailable` when nobody can say what became of the commit.
    pub async fn write<T, E>(
        &self,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        match &self.on {
            On::Sqlite(sqlite) => submit(sqlite, true, f).await,
            On::Postgres(postgres) => postgres.run(Mode::Write, f).await,
        }
    }

    /// One transaction that promises nothing: a crash may undo it, whole.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub async fn write_unsynced<T, E>(
        &self,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        match &self.on {
            On::Sqlite(sqlite) => submit(sqlite, false, f).await,
            On::Postgres(postgres) => postgres.run(Mode::WriteUnsynced, f).await,
        }
    }

    /// As [`Db::write`], for claims: one UPDATE … RETURNING that repeats its condition.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub async fn claim<T, E>(
        &self,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        match &self.on {
            On::Sqlite(sqlite) => submit(sqlite, true, f).await,
            On::Postgres(postgres) => postgres.run(Mode::Claim, f).await,
        }
    }

    /// One snapshot, in the pool for blocking work: lists and reports.
    ///
    /// # Errors
    /// The closure's.
    pub async fn read<T, E>(
        &self,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        match &self.on {
            On::Sqlite(sqlite) => {
                // As many as wait would otherwise have a thread and a connection each.
                let turn = permit(&sqlite.lists).await?;
                let sqlite = Arc::clone(sqlite);
                let read = move || {
                    let result = sqlite.read(true, f);
                    drop(turn);
                    result
                };
                let joined = tokio::task::spawn_blocking(read).await;
                joined.unwrap_or_else(|error| Err(Error::internal(error).into()))
            }
            On::Postgres(postgres) => postgres.run(Mode::Read, f).await,
        }
    }

    /// Point reads, inline on SQLite, because a hop to another thread costs more than they do. One
    /// statement needs no transaction; a closure with a second one runs again in a snapshot, so
    /// that what it sees is always of one moment.
    ///
    /// # Errors
    /// The closure's.
    pub async fn read_point<T, E>(
        &self,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        match &self.on {
            On::Sqlite(sqlite) => sqlite.read(false, f),
            On::Postgres(postgres) => postgres.run(Mode::Point, f).await,
        }
    }

    /// The database's clock, microseconds since 1970; `None` on SQLite, which has the machine's.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn clock(&self) -> Result<Option<i64>, Error> {
        match &self.on {
            On::Sqlite(_) => Ok(None),
            On::Postgres(postgres) => {
                let sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
                postgres.run(Mode::Point, move |tx| tx.query_opt(sql, &[], |row| row.get(0))).await
            }
        }
    }

    /// Waits until what was submitted is done and the writer has ended, if this is the last clone.
    pub async fn close(self) {
        let on = self.on;
        let closed = blocking(move || {
            if let On::Sqlite(sqlite) = on
                && let Some(sqlite) = Arc::into_inner(sqlite)
            {
                sqlite.close();
            }
            Ok(())
        });
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the database was not closed in order");
        }
    }

    /// Copies every table, as one snapshot shows them, to a new SQLite file.
    ///
    /// # Errors
    /// When either cannot be read or written; there may be a part of the file then.
    pub async fn backup_to(&self, path: &Path) -> Result<(), Error> {
        let (on, path) = (self.on.clone(), path.to_owned());
        blocking(move || match on {
            On::Sqlite(sqlite) => sqlite.backup_to(&path),
            On::Postgres(postgres) => postgres.backup_to(&path),
        })
        .await
    }

    /// Replaces every row by those of such a file. Nobody else may use the database meanwhile.
    ///
    /// # Errors
    /// When either cannot be read or written, or the file is of another schema. Nothing is
    /// replaced then.
    pub async fn restore_from(&self, path: &Path) -> Result<(), Error> {
        let (on, path) = (self.on.clone(), path.to_owned());
        blocking(move || match on {
            On::Sqlite(sqlite) => sqlite.restore_from(&path),
            On::Postgres(postgres) => postgres.restore_from(&path),
        })
        .await
    }
}

/// Random bytes, for waits and names of holders.
///
/// # Panics
/// If the operating system has none to give.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// On a thread of its own: PostgreSQL's client must not be called inside a runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("db-open".to_owned())
        .spawn(move || {
            // A caller that has gone away does not want to know.
            let _ = sender.send(work());
        })
        .map_err(Error::internal)?;
    receiver.await.unwrap_or_else(|_| Err(Error::internal("the work panicked")))
}

/// Waits for one's turn: what waits in a queue is bounded, the rest waits in its callers.
pub(crate) async fn permit(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    Arc::clone(places).acquire_owned().await.map_err(Error::unavailable)
}

async fn submit<T, E>(
    sqlite: &Sqlite,
    synced: bool,
    f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    E: From<Error> + Send + 'static,
    T: Send + 'static,
{
    let room = permit(&sqlite.room).await?;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let slot = Arc::new(Mutex::new(None));
    let result = Arc::clone(&slot);
    let job = Job {
        synced,
        work: Box::new(move |tx| {
            let value = f(tx);
            let kept = value.is_ok();
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            kept
        }),
        done: Box::new(move |outcome| {
            drop(room);
            // A caller that has gone away does not want to know.
            let _ = sender.send(outcome);
        }),
    };
    let gone = || Error::unavailable("the writer has ended");
    sqlite.submit(job)?;
    receiver.await.map_err(|_| gone())??;
    let result = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    result.unwrap_or_else(|| Err(Error::internal("a closure panicked").into()))
}
