//! Where the bytes are kept: write-once objects under random names.
//!
//! An object has no meaning here. Which blob it is a part of, whose it is and which key
//! seals it is known to the rows; this crate knows no digest, upload, account or key's owner.
//!
//! **Invariant:** a name is written once. When [`BlobStore::put`] has returned, the object is
//! whole and survives a power cut; when it has not, there is no object, or one that only
//! `object_removal` names; [`BlobStore::list`] finds what a crash of the database lost.
//! `contract.rs` holds every store to it.
//!
//! There are two stores, [`DirectoryStore`] and [`S3Store`]. A test that needs one takes a
//! `DirectoryStore` in a temporary directory; there is no in-memory one to keep honest.
//! [`cobblestone`] is the chunked encryption; [`seal()`] and [`BlobReader`] join it to a store.

pub mod cobblestone;
#[cfg(test)]
mod contract;
mod directory;
pub mod faulty;
mod name;
mod reader;
mod s3;
mod seal;
mod sync;

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

pub use crate::directory::{DirectoryStore, OnFatal};
pub use crate::name::{InvalidName, ObjectName};
pub use crate::reader::{BlobReader, Segment};
pub use crate::s3::{S3Credentials, S3Settings, S3Store};
pub use crate::seal::{SealWriter, seal};
pub use crate::sync::Syncs;

/// Bytes in order, in frames of any size. An error is the last item.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// How many objects [`BlobStore::list`] shows at once.
pub const LIST_LIMIT: usize = 1_000;

/// A store of objects. Calls may run at once; no two name one object for writing.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Writes a new object and returns its size in bytes once it is durable.
    ///
    /// A body that ends in an error, or a caller that drops the future, leaves nothing to
    /// read, or what only [`list`](BlobStore::list) shows when the process dies meanwhile.
    async fn put(&self, name: ObjectName, body: ByteStream) -> Result<u64, Error>;

    /// Opens a range of an object, or `None` if there is no such object.
    ///
    /// The range is cut where the object ends: a stream may be shorter than was asked.
    async fn get(&self, name: ObjectName, range: Range<u64>) -> Result<Option<ByteStream>, Error>;

    /// Removes an object. Removing one that is not stored succeeds.
    ///
    /// A power cut may undo it: the object is then one that no row names, for the sweep.
    async fn delete(&self, name: ObjectName) -> Result<(), Error>;

    /// Up to [`LIST_LIMIT`] objects after `after`, in order of their names: for the sweep.
    /// An empty answer is the end. Objects that are still being written are shown too.
    async fn list(&self, after: Option<ObjectName>) -> Result<Vec<Listed>, Error>;

    /// Makes the name of an object to be written soon from 16 random bytes.
    ///
    /// The name is registered in a transaction before the object's first byte, so a store
    /// that wants objects of the same minute near each other must say it here.
    fn name(&self, random: [u8; 16]) -> ObjectName {
        ObjectName(random)
    }

    /// How many bytes may still be written, where the store can know it. S3 cannot.
    fn free_bytes(&self) -> Result<Option<u64>, Error> {
        Ok(None)
    }
}

/// An object as [`BlobStore::list`] shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: ObjectName,
    /// Bytes stored, which are sealed bytes.
    pub size: u64,
    /// When it was last written, by the store's clock.
    pub modified: SystemTime,
}

/// Why a store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is taken. Names are random, so a caller that sees this used one twice.
    #[error("object {0} exists already")]
    Exists(ObjectName),

    /// There is no room left. The caller may go on when something was removed.
    #[error("the store is full")]
    Full,

    /// The bytes of a blob are not those that were written: they are missing, too few, or
    /// do not open under the blob's key. Reading again will not help.
    #[error("object {object} is damaged: {reason}")]
    Damaged { object: ObjectName, reason: &'static str },

    /// Anything else, a body that broke off included. It may work another time.
    #[error("the store failed")]
    Io(#[source] io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full,
            _ => Error::Io(error),
        }
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(error: rustix::io::Errno) -> Error {
        Error::from(io::Error::from(error))
    }
}
