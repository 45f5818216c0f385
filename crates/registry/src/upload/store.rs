//! The bytes of one append: hashed, sealed and stored as one new object while they stream, or, if
//! they are the first and few, for a row.

use std::future::ready;
use std::pin::{Pin, pin};
use std::sync::Arc;

use anyhow::Context as _;
use bonded_account::clock::random;
use bonded_blob::cobblestone::segment_context;
use bonded_blob::{ByteStream, ObjectName, SealWriter};
use bonded_db::NewSegment;
use bonded_oci::Hasher;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};

use super::undo::Undo;
use super::{
    LONGEST_APPEND, MAX_BLOB, MAX_SEGMENTS, OBJECT_DUE, Open, Part, signed, too_long, used_twice,
};
use crate::{Call, Error, Permit, Result};

/// Bytes that are hashed and sealed in one go.
const PIECE: usize = 256 * 1024;
/// After so many bytes it is looked again whether there is room.
const LOOK_EVERY: u64 = 64 * 1_048_576;

/// Bytes that are durable, or will be with their row, and not yet acknowledged. They go unless
/// the undo is settled.
pub(super) struct Stored {
    pub(super) segment: NewSegment,
    pub(super) undo: Undo,
}

/// Refuses bytes while the store has less room than is to be kept free.
///
/// # Errors
/// `NoSpace`.
pub(super) fn check_room(call: &Call, permit: &Permit) -> Result<()> {
    let free = call.store(permit)?.free_bytes().context("ask the store for its free bytes")?;
    match free {
        Some(free) if free < call.registry.settings.min_free => Err(Error::NoSpace),
        _ => Ok(()),
    }
}

/// Stores the bytes of an append as the upload's next segment, and hashes them. `None` for a
/// body without bytes.
///
/// # Errors
/// `InvalidLayerPart` when there are more or fewer bytes than `part` says; `LimitExceeded`;
/// `NoSpace`; the body's own.
pub(super) async fn store<E, S>(
    call: &Call,
    permit: &Permit,
    open: &Open,
    hasher: &mut Hasher,
    part: &Part,
    body: S,
) -> Result<Option<Stored>, E>
where
    E: From<Error>,
    S: Stream<Item = Result<Bytes, E>>,
{
    let mut meter = Meter::new(call, permit, open, part);
    // Which may be asked once more behind its end.
    let mut body = pin!(body.fuse());
    let Some(first) = next_frame(&mut body, &mut meter).await? else {
        meter.end()?;
        return Ok(None);
    };
    check_segments(open)?;
    let object = reserve(call, permit, open).await?;
    let undo = Undo::object(&call.registry, object);
    // Only of a first one: its bytes are in memory whenever the blob is read.
    let limit = if open.row.segments == 0 { call.registry.settings.in_row } else { 0 };
    let start = start(first, &mut body, &mut meter, limit).await?;
    let in_row = body.is_done() && meter.counted <= limit;
    let context = segment_context(object, open.size());
    let (writer, sealed) = bonded_blob::seal(open.key.bytes(), random(), &context);
    let fed = feed(writer, start, body, hasher, &mut meter);
    let store = call.store(permit)?;
    let kept = async {
        match in_row {
            true => joined(sealed).await.map(Some),
            false => store.put(object, sealed).await.map(|_| None),
        }
    };
    let (fed, stored) = tokio::join!(fed, kept);
    // A body that broke off broke the object too; a store that failed stopped the feeding.
    match fed {
        Err(Fed::Body(error)) => return Err(error),
        Err(Fed::Store(error)) => {
            stored.map_err(store_error)?;
            return Err(store_error(error).into());
        }
        Ok(()) => {}
    }
    let segment = NewSegment {
        object: object.0,
        number: open.row.segments,
        offset: open.row.size,
        size: signed(meter.counted),
        bytes: stored.map_err(store_error)?,
    };
    Ok(Some(Stored { segment, undo }))
}

enum Fed<E> {
    Body(E),
    Store(bonded_blob::Error),
}

async fn joined(sealed: ByteStream) -> Result<Vec<u8>, bonded_blob::Error> {
    let join = |mut all: Vec<u8>, piece: Bytes| {
        all.extend_from_slice(&piece);
        ready(Ok(all))
    };
    sealed.try_fold(Vec::new(), join).await
}

/// The frames that come until the body has ended, or has more bytes than `limit`.
async fn start<E, S>(
    first: Bytes,
    body: &mut Pin<&mut S>,
    meter: &mut Meter<'_>,
    limit: u64,
) -> Result<Vec<Bytes>, E>
where
    E: From<Error>,
    S: Stream<Item = Result<Bytes, E>>,
{
    let mut frames = vec![first];
    while meter.counted <= limit {
        let Some(frame) = next_frame(body, meter).await? else { break };
        frames.push(frame);
    }
    Ok(frames)
}

/// Passes a body on, frame by frame. The writer is dropped with it, whole or not.
async fn feed<E, S>(
    mut writer: SealWriter,
    start: Vec<Bytes>,
    mut body: Pin<&mut S>,
    hasher: &mut Hasher,
    meter: &mut Meter<'_>,
) -> Result<(), Fed<E>>
where
    E: From<Error>,
    S: Stream<Item = Result<Bytes, E>>,
{
    let mut start = start.into_iter();
    loop {
        let next = match start.next() {
            Some(frame) => Some(frame),
            None => next_frame(&mut body, meter).await.map_err(Fed::Body)?,
        };
        let Some(frame) = next else { break };
        for piece in frame.chunks(PIECE) {
            // Hashed and sealed while it is in the processor's cache.
            hasher.update(piece);
            writer.write(piece).await.map_err(Fed::Store)?;
        }
    }
    meter.end().map_err(|error| Fed::Body(error.into()))?;
    writer.finish().await.map_err(Fed::Store)?;
    Ok(())
}

/// The next frame that has bytes, counted.
async fn next_frame<E, S>(body: &mut Pin<&mut S>, meter: &mut Meter<'_>) -> Result<Option<Bytes>, E>
where
    E: From<Error>,
    S: Stream<Item = Result<Bytes, E>>,
{
    while let Some(frame) = body.next().await {
        let frame = frame?;
        if !frame.is_empty() {
            meter.count(frame.len())?;
            return Ok(Some(frame));
        }
    }
    Ok(None)
}

/// A name for the next object, known to `object_removal` before its first byte.
async fn reserve(call: &Call, permit: &Permit, open: &Open) -> Result<ObjectName> {
    let now = call.now();
    let id = open.row.id;
    if let Some(name) = call.registry.appends.take_first(&id, now) {
        return Ok(name);
    }
    let name = call.store(permit)?.name(random());
    let region = permit.region.clone();
    call.db()
        .write_unsynced(move |tx| {
            if !tx.register_object(&name.0, &region, now + OBJECT_DUE)? {
                return Err(used_twice());
            }
            tx.touch_upload(&id, now)?;
            Ok(())
        })
        .await?;
    Ok(name)
}

fn check_segments(open: &Open) -> Result<()> {
    if open.row.segments >= MAX_SEGMENTS {
        return Err(Error::LimitExceeded(format!(
            "An upload can be made of at most {MAX_SEGMENTS} appends"
        )));
    }
    Ok(())
}

/// Refuses a part that would make the blob too large, if it says how long it is.
///
/// # Errors
/// `LimitExceeded`.
pub(super) fn check_size(open: &Open, length: u64) -> Result<()> {
    if open.size().saturating_add(length) > MAX_BLOB {
        return Err(Error::LimitExceeded(format!(
            "A layer can have at most {} MiB",
            MAX_BLOB / 1_048_576
        )));
    }
    Ok(())
}

/// Counts the bytes of an append and knows what they must not exceed.
struct Meter<'a> {
    call: &'a Call,
    permit: &'a Permit,
    open: &'a Open,
    part: &'a Part,
    counted: u64,
    look_at: u64,
    until: i64,
}

impl<'a> Meter<'a> {
    fn new(call: &'a Call, permit: &'a Permit, open: &'a Open, part: &'a Part) -> Meter<'a> {
        let until = call.now().saturating_add(LONGEST_APPEND);
        Meter { call, permit, open, part, counted: 0, look_at: LOOK_EVERY, until }
    }

    fn count(&mut self, more: usize) -> Result<()> {
        self.counted = self.counted.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        if self.part.length.is_some_and(|length| self.counted > length) {
            return Err(self.wrong_length());
        }
        check_size(self.open, self.counted)?;
        if self.call.now() > self.until {
            return Err(too_long());
        }
        if self.counted >= self.look_at {
            self.look_at = self.counted.saturating_add(LOOK_EVERY);
            check_room(self.call, self.permit)?;
        }
        Ok(())
    }

    fn end(&self) -> Result<()> {
        match self.part.length {
            Some(length) if length != self.counted => Err(self.wrong_length()),
            _ => Ok(()),
        }
    }

    fn wrong_length(&self) -> Error {
        let first = self.part.start.unwrap_or_else(|| self.open.size());
        self.open.invalid_part(self.permit, first)
    }
}

/// A store that failed, as the client is told.
pub(crate) fn store_error(error: bonded_blob::Error) -> Error {
    match error {
        bonded_blob::Error::Full => Error::NoSpace,
        other => Error::Internal(anyhow::Error::from(other).context("use the object store")),
    }
}

/// A store, shared: what reads from it may outlive the call.
pub(crate) fn shared_store(
    call: &Call,
    permit: &Permit,
) -> Result<Arc<dyn bonded_blob::BlobStore>> {
    call.store(permit).map(Arc::clone)
}
