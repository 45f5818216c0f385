//! Bodies that are held whole: manifests, and what the APIs are told.

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;

use crate::limits::{BodyBudget, BodyMemory};

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

/// A body, and the memory that it was given until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    _memory: BodyMemory,
}

/// Reads a body of at most `limit` bytes, when there is memory for it. Each frame is shown to
/// `on_frame` as it comes.
pub(crate) async fn hold<B>(
    budget: &BodyBudget,
    body: B,
    limit: usize,
    on_frame: impl FnMut(&[u8]),
) -> Result<Held, ReadError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let limit_bytes = u64::try_from(limit).unwrap_or(u64::MAX);
    // One that does not tell its length may be as long as it is allowed to be.
    let most = length(&body).unwrap_or(limit_bytes);
    if most > limit_bytes {
        return Err(ReadError::TooLarge);
    }
    let memory = budget.reserve(most).await;
    let bytes = read(body, limit, on_frame).await?;
    Ok(Held { bytes, _memory: memory })
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
    use std::sync::Arc;

    use futures::FutureExt as _;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;
    use crate::metrics::Metrics;

    fn streamed(frames: &[&'static [u8]]) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let frames: Vec<_> =
            frames.iter().map(|data| Ok(Frame::data(Bytes::from_static(data)))).collect();
        StreamBody::new(stream::iter(frames))
    }

    fn budget() -> BodyBudget {
        BodyBudget::new(200 * 1024, Arc::new(Metrics::new()))
    }

    #[tokio::test]
    async fn bodies_are_read_to_their_limit() {
        let budget = budget();
        let held = hold(&budget, streamed(&[b"abc", b"de"]), 5, |_| {}).await;
        assert_eq!(held.unwrap().bytes, b"abcde");
        let held = hold(&budget, streamed(&[b"abc", b"de"]), 4, |_| {}).await;
        assert_eq!(held.unwrap_err(), ReadError::TooLarge);
        let full = Full::new(Bytes::from_static(b"abcde"));
        let held = hold(&budget, full, 4, |_| {}).await;
        assert_eq!(held.unwrap_err(), ReadError::TooLarge);
    }

    #[tokio::test]
    async fn frames_are_shown() {
        let mut seen = Vec::new();
        let show = |frame: &[u8]| seen.push(frame.to_vec());
        hold(&budget(), streamed(&[b"abc", b"de"]), 9, show).await.unwrap();
        assert_eq!(seen, [b"abc".to_vec(), b"de".to_vec()]);
    }

    #[tokio::test]
    async fn large_bodies_wait_for_memory() {
        let budget = budget();
        let large = || Full::new(Bytes::from(vec![7; 150 * 1024]));
        let limit = 1024 * 1024;
        let held = hold(&budget, large(), limit, |_| {}).await.unwrap();
        assert!(hold(&budget, large(), limit, |_| {}).now_or_never().is_none());
        drop(held);
        assert!(hold(&budget, large(), limit, |_| {}).now_or_never().is_some());
    }
}
