//! Bodies that are held whole: manifests, and what the APIs are told.

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bodies up to this many bytes are read at once.
const SMALL: usize = 64 * 1024;

/// Why a body is not held.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// It is longer than it may be.
    #[error("the body is too long")]
    TooLarge,
    /// The client is gone, or was too slow.
    #[error("the body broke off")]
    BrokenOff,
}

/// How many bytes a body says it has.
pub(crate) fn length(body: &impl Body) -> Option<u64> {
    body.size_hint().exact()
}

/// Memory for bodies that are held whole: those that find none wait, unread, for their turn.
pub(crate) struct BodyMemory {
    kilobytes: Semaphore,
    all: u32,
}

/// A body, and the memory that it was given until this is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    pub(crate) bytes: Vec<u8>,
    _memory: Option<SemaphorePermit<'a>>,
}

impl BodyMemory {
    /// `size` in bytes.
    pub(crate) fn new(size: u64) -> BodyMemory {
        let all = u32::try_from(size / 1024).unwrap_or(u32::MAX).max(1);
        let permits = usize::try_from(all).unwrap_or(Semaphore::MAX_PERMITS);
        BodyMemory { kilobytes: Semaphore::new(permits), all }
    }

    /// Reads a body of at most `limit` bytes. Each frame is shown to `on_frame` as it comes.
    pub(crate) async fn read<B>(
        &self,
        body: B,
        limit: usize,
        on_frame: impl FnMut(&[u8]),
    ) -> Result<Held<'_>, ReadError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let most = match length(&body) {
            None => limit,
            Some(length) => usize::try_from(length).unwrap_or(usize::MAX),
        };
        if most > limit {
            return Err(ReadError::TooLarge);
        }
        let memory = if most > SMALL { Some(self.take(most).await) } else { None };
        let bytes = read(body, limit, on_frame).await?;
        Ok(Held { bytes, _memory: memory })
    }

    /// More than there is at all is as much as there is: it is never waited for in vain.
    async fn take(&self, size: usize) -> SemaphorePermit<'_> {
        let kilobytes = u32::try_from(size.div_ceil(1024)).unwrap_or(u32::MAX).min(self.all);
        let taken = self.kilobytes.acquire_many(kilobytes).await;
        taken.expect("nobody closes this semaphore")
    }
}

async fn read<B>(
    mut body: B,
    limit: usize,
    mut on_frame: impl FnMut(&[u8]),
) -> Result<Vec<u8>, ReadError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let stated = length(&body).and_then(|length| usize::try_from(length).ok());
    let mut bytes = Vec::with_capacity(stated.unwrap_or(0).min(limit));
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame.map_err(|_| ReadError::BrokenOff)?.into_data() else { continue };
        if bytes.len() + frame.len() > limit {
            return Err(ReadError::TooLarge);
        }
        on_frame(&frame);
        bytes.extend_from_slice(&frame);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::FutureExt as _;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn streamed(frames: &[&'static [u8]]) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let frames: Vec<_> =
            frames.iter().map(|data| Ok(Frame::data(Bytes::from_static(data)))).collect();
        StreamBody::new(stream::iter(frames))
    }

    #[tokio::test]
    async fn bodies_are_read_to_their_limit() {
        let memory = BodyMemory::new(1024);
        let held = memory.read(streamed(&[b"abc", b"de"]), 5, |_| {}).await;
        assert_eq!(held.unwrap().bytes, b"abcde");
        let held = memory.read(streamed(&[b"abc", b"de"]), 4, |_| {}).await;
        assert_eq!(held.unwrap_err(), ReadError::TooLarge);
        let full = Full::new(Bytes::from_static(b"abcde"));
        let held = memory.read(full, 4, |_| {}).await;
        assert_eq!(held.unwrap_err(), ReadError::TooLarge);
    }

    #[tokio::test]
    async fn frames_are_shown() {
        let mut seen = Vec::new();
        let show = |frame: &[u8]| seen.push(frame.to_vec());
        read(streamed(&[b"abc", b"de"]), 9, show).await.unwrap();
        assert_eq!(seen, [b"abc".to_vec(), b"de".to_vec()]);
    }

    #[tokio::test]
    async fn large_bodies_wait_for_memory() {
        let memory = BodyMemory::new(200 * 1024);
        let large = || Full::new(Bytes::from(vec![7; 150 * 1024]));
        let limit = 1024 * 1024;
        let held = memory.read(large(), limit, |_| {}).await.unwrap();
        assert!(memory.read(large(), limit, |_| {}).now_or_never().is_none());
        drop(held);
        assert!(memory.read(large(), limit, |_| {}).now_or_never().is_some());
        // One that is larger than all memory gets all of it.
        let huge = Full::new(Bytes::from(vec![7; 300 * 1024]));
        assert!(memory.read(huge, limit, |_| {}).now_or_never().is_some());
    }
}
