//! Every row and every line of SQL, for SQLite and PostgreSQL.

mod access;
mod account;
mod blob;
mod check;
mod error;
mod garbage;
mod image;
mod job;
mod key;
mod lease;
mod migrate;
mod note;
mod referrer;
mod removal;
mod repository;
mod sqlite;
mod tag;
mod tx;
mod upload;
mod value;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use access::{
    AccessKeyRow, AccessRow, IdentityRow, KeyDomainRow, PrincipalPolicyRow, RegistryRow,
    RepositoryAccessRow, RepositoryBy, ResourcePolicyRow,
};
pub use account::{NewAccount, NewKeyDomain};
pub use blob::{AvailableLayer, BlobRow, LayerRow, NewBlob, SegmentRow};
pub use check::{CheckedBlob, CheckedImage, SegmentObject, Totals};
pub use error::Error;
pub use garbage::UnusedMembership;
pub use image::{ImageFilter, ImageRow, NewImage};
pub use job::JobRow;
pub use key::{RootKeyRow, TokenKeyRow, WrappedIn};
pub use note::{AuditBlockRow, AuditRecordRow, EventRow, Note};
pub use referrer::ReferrerRow;
pub use removal::RemovalRow;
pub use repository::{AccountSetting, NewRepository, RepositoryRow};
pub use tag::{ImageTagPlace, ImageTagRow, TagChange, TagRow};
pub use tx::Tx;
pub use upload::{Append, NewSegment, UploadRow};
pub use value::{FromColumn, Param, Row, Value};

use crate::sqlite::{Job, Sqlite};

/// Where the rows are.
#[derive(Clone, Debug)]
pub enum Location {
    Sqlite(PathBuf),
    Postgres(String),
}

/// Which database, and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub location: Location,
    /// Refuse to open beside another exclusive one.
    pub exclusive: bool,
}

/// What the database has done, for the metrics.
#[derive(Debug, Default)]
pub struct Metrics {
    pub batches: AtomicU64,
    pub closures: AtomicU64,
    pub syncs: AtomicU64,
}

impl Metrics {
    pub(crate) fn count_batch(&self, closures: usize, synced: bool) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.closures.fetch_add(u64::try_from(closures).unwrap_or(0), Ordering::Relaxed);
        if synced {
            self.syncs.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The database. Clones are the same one.
#[derive(Clone)]
pub struct Db {
    sqlite: Arc<Sqlite>,
    metrics: Arc<Metrics>,
}

impl Db {
    /// Opens a database and brings its schema up to date.
    pub async fn open(options: Options) -> Result<Db, Error> {
        let Location::Sqlite(path) = options.location else {
            return Err(Error::internal("PostgreSQL is not there yet"));
        };
        let metrics = Arc::new(Metrics::default());
        let sqlite = Sqlite::open(&path, options.exclusive, Arc::clone(&metrics))?;
        migrate::sqlite(&sqlite::connect(&path, false)?)?;
        Ok(Db { sqlite: Arc::new(sqlite), metrics })
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// One transaction that promises: durable when it returns.
    pub async fn write<T, E>(
        &self,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        self.submit(true, f).await
    }

    /// One transaction that promises nothing: a crash may undo it.
    pub async fn write_unsynced<T, E>(
        &self,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        self.submit(false, f).await
    }

    /// As [`Db::write`], for claims of rows.
    pub async fn claim<T, E>(
        &self,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        self.submit(true, f).await
    }

    async fn submit<T, E>(
        &self,
        synced: bool,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let slot = Arc::new(std::sync::Mutex::new(None));
        let result = Arc::clone(&slot);
        let put = move |value| {
            *result.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(value);
        };
        let job = Job {
            synced,
            work: Box::new(move |tx| {
                let result = f(tx);
                let kept = result.is_ok();
                put(result);
                kept
            }),
            done: Box::new(move |outcome| {
                let _ = sender.send(outcome);
            }),
        };
        let gone = || Error::Unavailable { reason: "the writer has ended".to_owned() };
        self.sqlite.jobs.send(job).map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())??;
        let result = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        result.unwrap_or_else(|| Err(gone().into()))
    }

    /// One snapshot, in the pool for blocking work: lists and reports.
    pub async fn read<T, E>(
        &self,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        let sqlite = Arc::clone(&self.sqlite);
        let joined = tokio::task::spawn_blocking(move || sqlite.read(true, f)).await;
        joined.unwrap_or_else(|error| Err(Error::internal(error).into()))
    }

    /// Point reads, inline.
    pub async fn read_point<T, E>(
        &self,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        self.sqlite.read(false, f)
    }
}
