//! Reading a blob: the plaintext of a range, out of the sealed objects that hold it.
//!
//! **Invariant:** no byte is served whose chunk was not authentic, and memory does not grow
//! with the blob: a frame of 256 KiB, and what the store holds for one frame.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{mem, vec};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt};
use http_body::{Body, Frame, SizeHint};
use zeroize::Zeroizing;

use crate::cobblestone::{self, CHUNKS_AT_ONCE, HEADER, Opener, TAG};
use crate::{BlobStore, ByteStream, Error, ObjectName};

/// A part of a blob: one object, which is one sealed stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub object: ObjectName,
    /// Where its plaintext begins in the blob's.
    pub offset: u64,
    /// Bytes of plaintext.
    pub size: u64,
    /// What the object would hold. `None` if it is in the store.
    pub bytes: Option<Bytes>,
}

/// The plaintext of a range of a blob, as a body and as a stream.
///
/// An error ends it. [`Error::Damaged`] says that the stored bytes are not those that were
/// written; what came before it was authentic.
pub struct BlobReader {
    /// The frame that was read when the reader was opened.
    first: Option<Bytes>,
    frames: ByteStream,
    left: u64,
}

impl BlobReader {
    /// Opens a range of a blob, given its segments in order, and reads the first frame: what
    /// is missing or damaged from the start is known before an answer is begun.
    ///
    /// The range must lie within the segments, else the reader ends in [`Error::Io`].
    pub async fn open(
        store: Arc<dyn BlobStore>,
        key: &[u8; 32],
        segments: Vec<Segment>,
        range: Range<u64>,
    ) -> Result<BlobReader, Error> {
        let left = range.end.saturating_sub(range.start);
        let walk = Walk {
            store,
            key: Zeroizing::new(*key),
            segments: segments.into_iter(),
            range,
            current: None,
        };
        let frames = futures::stream::try_unfold(walk, |mut walk| async move {
            // A reader of bytes that are all in memory must let others of its thread work.
            tokio::task::consume_budget().await;
            Ok(walk.next().await?.map(|frame| (frame, walk)))
        });
        let mut frames: ByteStream = Box::pin(frames);
        let first = frames.try_next().await?;
        Ok(BlobReader { first, frames, left })
    }

    /// Bytes of plaintext still to come.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl Stream for BlobReader {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = match self.first.take() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => self.frames.poll_next_unpin(context),
        };
        if let Poll::Ready(Some(Ok(frame))) = &next {
            self.left -= length(frame.len());
        }
        next
    }
}

impl Body for BlobReader {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.poll_next(context).map(|next| next.map(|frame| frame.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The way through the segments.
struct Walk {
    store: Arc<dyn BlobStore>,
    key: Zeroizing<[u8; 32]>,
    segments: vec::IntoIter<Segment>,
    /// What is still to be given.
    range: Range<u64>,
    current: Option<OpenSegment>,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.range.start < self.range.end {
            let mut current = match self.current.take() {
                Some(current) => current,
                None => self.open_next().await?,
            };
            if let Some(frame) = current.next().await? {
                self.range.start += length(frame.len());
                self.current = Some(current);
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Opens the segment in which the rest of the range begins.
    async fn open_next(&mut self) -> Result<OpenSegment, Error> {
        let Range { start, end } = self.range;
        let segment = self.segments.find(|it| it.offset.saturating_add(it.size) > start);
        match segment {
            Some(segment) if segment.offset <= start => {
                let range = start - segment.offset..(end - segment.offset).min(segment.size);
                OpenSegment::open(&self.store, &self.key, segment, range).await
            }
            _ => Err(Error::Io(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the segments do not cover the range",
            ))),
        }
    }
}

/// A segment that is being read.
struct OpenSegment {
    opener: Opener,
    sealed: Sealed,
    size: u64,
    chunks: Range<u64>,
    /// Bytes of the first chunk that come before the range.
    skip: usize,
    /// Bytes of the range still to be given.
    left: u64,
    /// The last frame: when its reader has dropped it, its memory is used again.
    kept: Bytes,
}

impl OpenSegment {
    async fn open(
        store: &Arc<dyn BlobStore>,
        key: &[u8; 32],
        segment: Segment,
        range: Range<u64>,
    ) -> Result<OpenSegment, Error> {
        let Segment { object, offset, size, .. } = segment;
        let span = cobblestone::span(size, &range);
        let header = 0..length(HEADER);
        let near = span.chunks.start == 0;
        let first = if near { 0..span.sealed.end } else { header };
        let mut sealed = Sealed::open(store, &segment, first).await?;
        let header = sealed.take(HEADER).await?;
        let header = header.as_ref().try_into().expect("it has a header's length");
        let context = cobblestone::segment_context(object, offset);
        let opener = Opener::new(key, header, &context)
            .map_err(|_| damaged(object, "its header is not authentic"))?;
        if !near {
            sealed = Sealed::open(store, &segment, span.sealed).await?;
        }
        let left = range.end - range.start;
        let (chunks, skip) = (span.chunks, span.skip);
        Ok(OpenSegment { opener, sealed, size, chunks, skip, left, kept: Bytes::new() })
    }

    /// The next frame, or `None` at the end of the range.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.chunks.is_empty() {
            return Ok(None);
        }
        let end = self.chunks.end.min(self.chunks.start + length(CHUNKS_AT_ONCE));
        let sizes = self.chunks.start..end;
        let wanted = sizes.map(|it| cobblestone::chunk_size(self.size, it)).sum();
        let mut plain = self.buffer(wanted);
        let mut rest = plain.as_mut();
        while self.chunks.start < end {
            let index = self.chunks.start;
            let size = cobblestone::chunk_size(self.size, index);
            let sealed = self.sealed.take(size + TAG).await?;
            let (chunk, later) = rest.split_at_mut(size);
            self.opener
                .open(index, &sealed, chunk)
                .map_err(|_| damaged(self.sealed.object, "a chunk is not authentic"))?;
            rest = later;
            self.chunks.start += 1;
        }
        Ok(self.frame(plain.freeze()))
    }

    fn buffer(&mut self, wanted: usize) -> BytesMut {
        match mem::take(&mut self.kept).try_into_mut() {
            Ok(mut buffer) if buffer.len() >= wanted => {
                buffer.truncate(wanted);
                buffer
            }
            _ => BytesMut::zeroed(wanted),
        }
    }

    /// What of the opened chunks is in the range. The last frame may be only the end mark.
    fn frame(&mut self, plain: Bytes) -> Option<Bytes> {
        let mut frame = plain.clone();
        if !self.chunks.is_empty() {
            self.kept = plain;
        }
        drop(frame.split_to(mem::take(&mut self.skip)));
        frame.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= length(frame.len());
        (!frame.is_empty()).then_some(frame)
    }
}

/// Sealed bytes from a store, taken in the lengths that are needed.
struct Sealed {
    object: ObjectName,
    stream: ByteStream,
    frame: Bytes,
}

impl Sealed {
    async fn open(
        store: &Arc<dyn BlobStore>,
        segment: &Segment,
        range: Range<u64>,
    ) -> Result<Sealed, Error> {
        let object = segment.object;
        if let Some(bytes) = &segment.bytes {
            let place = |at| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            let frame = bytes.slice(place(range.start)..place(range.end));
            return Ok(Sealed { object, stream: Box::pin(futures::stream::empty()), frame });
        }
        let stream = store.get(object, range).await?;
        let stream = stream.ok_or_else(|| damaged(object, "it is missing"))?;
        Ok(Sealed { object, stream, frame: Bytes::new() })
    }

    /// The next `count` bytes. Copied only when they lie in two frames of the store.
    async fn take(&mut self, count: usize) -> Result<Bytes, Error> {
        if self.frame.len() >= count {
            return Ok(self.frame.split_to(count));
        }
        let mut joined = BytesMut::with_capacity(count);
        loop {
            let part = self.frame.split_to(self.frame.len().min(count - joined.len()));
            joined.extend_from_slice(&part);
            if joined.len() == count {
                return Ok(joined.freeze());
            }
            // The store may use the memory of the last frame again once it is dropped.
            drop(part);
            self.frame = Bytes::new();
            let next = self.stream.try_next().await?;
            self.frame = next.ok_or_else(|| damaged(self.object, "it is too short"))?;
        }
    }
}

fn damaged(object: ObjectName, reason: &'static str) -> Error {
    Error::Damaged { object, reason }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).expect("a size in memory fits u64")
}

#[cfg(test)]
mod tests;
