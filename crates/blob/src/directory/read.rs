//! Reading an object: from the page cache inline, from the disk in the pool.
//!
//! Most reads of a registry find their bytes in memory. `preadv2` with `RWF_NOWAIT` copies them
//! without ever waiting for a disk, so no other request of the thread has to; only when they
//! are not there the pool reads them. That is ten times cheaper than a hop for each small piece.

use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use crate::Error;
use crate::cobblestone::{CHUNKS_AT_ONCE, SEALED_CHUNK};

/// Bytes that are read at once.
const FRAME: u64 = 262_400;
const _: () = assert!(CHUNKS_AT_ONCE * SEALED_CHUNK == 262_400);

/// Ranges longer than this are read ahead in larger steps.
const LONG: u64 = 1024 * 1024;

/// A range of a file as a stream. It ends where the file ends.
pub(super) struct FileBody {
    file: Arc<OwnedFd>,
    offset: u64,
    end: u64,
    /// The last frame: when its reader has dropped it, its memory is used again.
    kept: Option<Bytes>,
    /// A read in the pool.
    missed: Option<JoinHandle<Result<Filled, Errno>>>,
}

/// A buffer, and how much of it was read.
struct Filled {
    buffer: BytesMut,
    count: usize,
}

impl FileBody {
    pub(super) fn new(file: OwnedFd, range: Range<u64>) -> FileBody {
        let length = range.end.saturating_sub(range.start);
        if length > LONG {
            // Only a hint: where it is refused, reading is slower and as right.
            let _ = rustix::fs::fadvise(
                &file,
                range.start,
                NonZeroU64::new(length),
                Advice::Sequential,
            );
        }
        let file = Arc::new(file);
        FileBody { file, offset: range.start, end: range.end, kept: None, missed: None }
    }

    /// A buffer for the next frame.
    fn buffer(&mut self) -> BytesMut {
        let wanted = usize::try_from((self.end - self.offset).min(FRAME))
            .expect("a frame's size fits every usize");
        let kept = self.kept.take().and_then(|frame| frame.try_into_mut().ok());
        match kept {
            Some(mut buffer) if buffer.len() >= wanted => {
                buffer.truncate(wanted);
                buffer
            }
            _ => BytesMut::zeroed(wanted),
        }
    }

    /// Reads what is in memory, and has the pool read the rest. A frame is always full, so
    /// that chunks stay where they are in it.
    fn read(&mut self) -> Option<Filled> {
        let mut filled = Filled { buffer: self.buffer(), count: 0 };
        match read_at(&self.file, &mut filled, self.offset, ReadWriteFlags::NOWAIT) {
            Ok(()) if filled.count == filled.buffer.len() => Some(filled),
            // Not in memory, at the end of the file, or a file system that cannot tell: the
            // pool's read finds out which, and its errors are the ones to tell.
            Ok(()) | Err(_) => {
                let (file, offset) = (Arc::clone(&self.file), self.offset);
                self.missed = Some(tokio::task::spawn_blocking(move || {
                    read_all(&file, &mut filled, offset).map(|()| filled)
                }));
                None
            }
        }
    }

    fn frame(&mut self, filled: Filled) -> Option<Bytes> {
        let Filled { mut buffer, count } = filled;
        self.offset += u64::try_from(count).expect("a frame's size fits u64");
        if count < buffer.len() {
            buffer.truncate(count);
            self.end = self.offset;
        }
        let frame = buffer.freeze();
        if self.offset < self.end {
            self.kept = Some(frame.clone());
        }
        (!frame.is_empty()).then_some(frame)
    }
}

impl Stream for FileBody {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.offset >= self.end {
            return Poll::Ready(None);
        }
        if self.missed.is_none()
            && let Some(filled) = self.read()
        {
            return Poll::Ready(self.frame(filled).map(Ok));
        }
        let Some(missed) = self.missed.as_mut() else { return Poll::Ready(None) };
        let read = ready!(Pin::new(missed).poll(context));
        self.missed = None;
        let error = match read {
            Ok(Ok(filled)) => return Poll::Ready(self.frame(filled).map(Ok)),
            Ok(Err(error)) => error.into(),
            Err(error) => Error::Io(io::Error::other(error)),
        };
        self.end = self.offset;
        Poll::Ready(Some(Err(error)))
    }
}

/// One read into the rest of the buffer.
fn read_at(
    file: &OwnedFd,
    filled: &mut Filled,
    offset: u64,
    flags: ReadWriteFlags,
) -> Result<(), Errno> {
    let at = offset + u64::try_from(filled.count).expect("a frame's size fits u64");
    let rest = filled.buffer.get_mut(filled.count..).expect("no more was read than fits");
    let count = rustix::io::preadv2(file, &mut [IoSliceMut::new(rest)], at, flags)?;
    filled.count += count;
    Ok(())
}

/// Reads until the buffer is full or the file ends, however long it takes.
fn read_all(file: &OwnedFd, filled: &mut Filled, offset: u64) -> Result<(), Errno> {
    while filled.count < filled.buffer.len() {
        let before = filled.count;
        match read_at(file, filled, offset, ReadWriteFlags::empty()) {
            Ok(()) if filled.count == before => break,
            Ok(()) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
