//! The hash of an upload between its appends.
//!
//! A saved state contains plaintext (the last bytes that did not fill a block), so it is sealed
//! in its row. What is sealed begins with the number of bytes hashed, as eight bytes, highest
//! first, so that a state of another place is noticed.

use anyhow::{Context as _, anyhow};
use bonded_account::keys::{Purpose, SealingKey, column};
use bonded_blob::{BlobReader, ObjectName, Segment};
use bonded_db::SegmentRow;
use bonded_oci::{Algorithm, Hasher};
use bytes::Bytes;
use futures::TryStreamExt;
use uuid::Uuid;

use super::{Open, unsigned};
use crate::{Call, Error, Permit, Result};

/// Bytes that are hashed before other tasks of the thread may go on.
const AT_ONCE: usize = 256 * 1024;

/// Which column a sealed state is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// Behind all acknowledged bytes.
    Now,
    /// Before the last part.
    BeforeLast,
}

impl Column {
    fn context(self, upload_id: &Uuid) -> Vec<u8> {
        let name = match self {
            Column::Now => "upload.hash_state",
            Column::BeforeLast => "upload.last_hash_state",
        };
        column(name, upload_id.as_bytes())
    }
}

/// A state as its row keeps it.
pub(super) fn seal(
    domain_key: &SealingKey,
    column: Column,
    upload_id: &Uuid,
    size: u64,
    hasher: &Hasher,
) -> Vec<u8> {
    let plain = save(size, hasher);
    domain_key.seal(Purpose::Column, &column.context(upload_id), &plain)
}

/// A state as it is compared.
pub(super) fn save(size: u64, hasher: &Hasher) -> Vec<u8> {
    let mut plain = size.to_be_bytes().to_vec();
    plain.extend_from_slice(&hasher.save());
    plain
}

impl Open {
    pub(super) fn algorithm(&self) -> Result<Algorithm> {
        let name = &self.row.algorithm;
        name.parse().map_err(|_| Error::Internal(anyhow!("no algorithm is called `{name}`")))
    }

    /// The state behind all acknowledged bytes.
    pub(super) fn hasher(&self) -> Result<Hasher> {
        let plain = self.state_now()?;
        self.restore(&plain, self.size())
    }

    /// The state before the last part.
    pub(super) fn hasher_before_last(&self) -> Result<Hasher> {
        let sealed = self.row.last_hash_state.as_deref();
        let sealed = sealed.context("an upload with a part has the state before it")?;
        let plain = self.open_state(Column::BeforeLast, sealed)?;
        self.restore(&plain, unsigned(self.row.last_start))
    }

    /// What [`save`] gave behind all acknowledged bytes.
    pub(super) fn state_now(&self) -> Result<Vec<u8>> {
        self.open_state(Column::Now, &self.row.hash_state)
    }

    fn open_state(&self, column: Column, sealed: &[u8]) -> Result<Vec<u8>> {
        let id = &self.row.id;
        let opened = self.domain_key.open(Purpose::Column, &column.context(id), sealed);
        opened.map_err(|error| {
            let context = format!("open the hash state of upload {id}");
            Error::Internal(anyhow::Error::from(error).context(context))
        })
    }

    fn restore(&self, plain: &[u8], size: u64) -> Result<Hasher> {
        let (saved_size, state) = plain.split_first_chunk().context("read a saved hash state")?;
        if u64::from_be_bytes(*saved_size) != size {
            return Err(Error::Internal(anyhow!(
                "upload {} has the hash state of another size",
                self.row.id
            )));
        }
        let hasher = Hasher::restore(self.algorithm()?, state);
        Ok(hasher.context("read a saved hash state")?)
    }

    /// The state behind all acknowledged bytes, by whatever algorithm. By another one than the
    /// upload's the sealed bytes are read once more.
    pub(super) async fn hasher_by(
        &self,
        call: &Call,
        permit: &Permit,
        algorithm: Algorithm,
    ) -> Result<Hasher> {
        if algorithm == self.algorithm()? {
            return self.hasher();
        }
        let id = self.row.id;
        let segments = call.db().read(move |tx| tx.segments(&id)).await?;
        let store = std::sync::Arc::clone(call.store(permit)?);
        let segments = segments.into_iter().map(segment).collect();
        let unreadable =
            |error| anyhow::Error::from(error).context(format!("read the bytes of upload {id}"));
        let mut bytes = BlobReader::open(store, self.key.bytes(), segments, 0..self.size())
            .await
            .map_err(unreadable)?;
        let mut hasher = Hasher::new(algorithm);
        while let Some(frame) = bytes.try_next().await.map_err(unreadable)? {
            hasher.update(&frame);
        }
        Ok(hasher)
    }
}

/// Hashes a frame of any size without keeping the thread for long.
pub(super) async fn update(hasher: &mut Hasher, frame: &Bytes) {
    for piece in frame.chunks(AT_ONCE) {
        hasher.update(piece);
        tokio::task::consume_budget().await;
    }
}

/// A segment as a row keeps it, for a reader.
pub(crate) fn segment(row: SegmentRow) -> Segment {
    Segment {
        object: ObjectName(row.object),
        offset: unsigned(row.offset),
        size: unsigned(row.size),
        bytes: row.bytes.map(Bytes::from),
    }
}
