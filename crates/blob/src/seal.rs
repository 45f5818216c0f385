//! Sealing on the way into a store.
//!
//! The caller pushes plaintext and the store pulls sealed bytes, so the caller can hash each
//! frame while it is in the processor's cache, and no task or thread stands between the two.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, Stream, StreamExt};

use crate::cobblestone::{SALT, Sealer};
use crate::{ByteStream, Error};

/// Joins a writer of plaintext to a stream of sealed bytes for [`BlobStore::put`].
///
/// Poll both in one task. At most one piece of 256 KiB waits between them.
///
/// ```
/// # use bonded_blob::{BlobStore, Error, ObjectName, cobblestone};
/// # async fn append(
/// #     store: &dyn BlobStore, name: ObjectName, key: &[u8; 32], salt: [u8; 24],
/// #     mut frames: impl Iterator<Item = &[u8]>, mut hash: impl FnMut(&[u8]),
/// # ) -> Result<u64, Error> {
/// let context = cobblestone::segment_context(name, 0);
/// let (mut writer, body) = bonded_blob::seal(key, salt, &context);
/// let feed = async move {
///     for frame in frames {
///         hash(frame);
///         writer.write(frame).await?;
///     }
///     writer.finish().await
/// };
/// // Not `try_join!`: when the store fails, its error is the one worth telling.
/// let (fed, stored) = tokio::join!(feed, store.put(name, body));
/// stored?;
/// fed
/// # }
/// ```
///
/// [`BlobStore::put`]: crate::BlobStore::put
pub fn seal(key: &[u8; 32], salt: [u8; SALT], context: &[u8]) -> (SealWriter, ByteStream) {
    // Each sender has a slot of its own beside the capacity, and there is one sender.
    let (sender, receiver) = mpsc::channel(0);
    let writer = SealWriter { sealer: Sealer::new(key, salt, context), sender };
    (writer, Box::pin(Sealed { receiver, ended: false }))
}

/// The end of [`seal`] that takes plaintext.
///
/// Dropping it without [`finish`](SealWriter::finish) ends the body in an error, so the store
/// keeps nothing.
pub struct SealWriter {
    sealer: Sealer,
    sender: mpsc::Sender<Item>,
}

enum Item {
    Piece(Bytes),
    Last(Bytes),
}

impl SealWriter {
    /// Seals more plaintext. Waits while the store is behind.
    ///
    /// Fails when the store has given up; what it says about that is the better error.
    pub async fn write(&mut self, mut plain: &[u8]) -> Result<(), Error> {
        while !plain.is_empty() {
            if let Some(piece) = self.sealer.push(&mut plain) {
                self.sender.feed(Item::Piece(piece)).await.map_err(|_| gone())?;
            }
        }
        Ok(())
    }

    /// Seals the end and returns how many bytes of plaintext there were.
    ///
    /// The object is durable when `put` has returned, not before.
    pub async fn finish(mut self) -> Result<u64, Error> {
        let size = self.sealer.size();
        let last = self.sealer.finish();
        self.sender.feed(Item::Last(last)).await.map_err(|_| gone())?;
        Ok(size)
    }
}

/// The end of [`seal`] that gives sealed bytes.
struct Sealed {
    receiver: mpsc::Receiver<Item>,
    ended: bool,
}

impl Stream for Sealed {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.receiver.poll_next_unpin(context).map(|item| match item {
            Some(Item::Piece(piece)) => Some(Ok(piece)),
            Some(Item::Last(last)) => {
                self.ended = true;
                Some(Ok(last))
            }
            None => {
                self.ended = true;
                Some(Err(Error::Io(io::Error::from(io::ErrorKind::UnexpectedEof))))
            }
        })
    }
}

fn gone() -> Error {
    Error::Io(io::Error::from(io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;
    use crate::cobblestone::{HEADER, TAG, sealed_size};

    #[tokio::test]
    async fn what_is_written_comes_out_sealed() {
        for size in [0, 1, 16_384, 262_144, 1_000_000] {
            let (mut writer, body) = seal(&[1; 32], [2; SALT], b"");
            let plain = vec![3; size];
            let feed = async move {
                for frame in plain.chunks(70_001) {
                    writer.write(frame).await?;
                }
                writer.finish().await
            };
            let (fed, pieces) = tokio::join!(feed, body.try_collect::<Vec<Bytes>>());
            let size = u64::try_from(size).unwrap();
            assert_eq!(fed.unwrap(), size);
            let stored: usize = pieces.unwrap().iter().map(Bytes::len).sum();
            assert_eq!(u64::try_from(stored).unwrap(), sealed_size(size));
        }
    }

    #[tokio::test]
    async fn a_writer_that_is_dropped_breaks_the_body() {
        let (mut writer, mut body) = seal(&[1; 32], [2; SALT], b"");
        writer.write(b"half").await.unwrap();
        drop(writer);
        let error = body.next().await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Io(it) if it.kind() == io::ErrorKind::UnexpectedEof));
        assert!(body.next().await.is_none());
    }

    #[tokio::test]
    async fn a_store_that_gave_up_stops_the_writer() {
        let (mut writer, body) = seal(&[1; 32], [2; SALT], b"");
        drop(body);
        writer.write(&[0; 300_000]).await.unwrap_err();
    }

    #[tokio::test]
    async fn an_empty_stream_has_a_header_and_an_end_mark() {
        let (writer, mut body) = seal(&[1; 32], [2; SALT], b"");
        assert_eq!(writer.finish().await.unwrap(), 0);
        assert_eq!(body.next().await.unwrap().unwrap().len(), HEADER + TAG);
    }
}
