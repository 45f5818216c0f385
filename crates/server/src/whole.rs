//! Bodies that are held whole: manifests, and what the APIs are told.

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use crate::limits::{BodyBudget, BodyMemory, Owner, Pace, UNCOUNTED_BODY};

/// What comes of a body before there is memory for the rest, about: who only says that there will
/// be a long body takes nothing.
const FIRST: usize = 16 << 10;
/// Why a body is not held.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// It is longer than it may be.
    #[error("the body is too long")]
    TooLarge,
    /// The client is gone, or sent nothing for too long.
    #[error("the body broke off")]
    BrokenOff,
    /// It took up memory that others wait for.
    #[error("the body comes too slowly while others wait")]
    TooSlow,
}

/// How many bytes a body says it has.
pub(crate) fn length(body: &impl Body) -> Option<u64> {
    body.size_hint().exact()
}

/// A body, and the memory that it was given until this is dropped.
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    _memory: BodyMemory,
}

/// Reads a body of at most `limit` bytes, when there is memory for it. Each frame is shown to
/// `on_frame` as it comes.
pub(crate) async fn hold<B>(
    budget: &BodyBudget,
    owner: &Owner,
    body: B,
    limit: usize,
    on_frame: impl FnMut(&[u8]),
) -> Result<Held, ReadError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let limit_bytes = u64::try_from(limit).unwrap_or(u64::MAX);
    // One that does not tell its length may be as long as it is allowed to be.
    let stated = length(&body);
    let most = stated.unwrap_or(limit_bytes);
    if most > limit_bytes {
        return Err(ReadError::TooLarge);
    }
    let is_counted = most > UNCOUNTED_BODY;
    let mut reader = Reader { body, limit, on_frame, bytes: Vec::new() };
    while is_counted && reader.bytes.len() < FIRST && reader.read().await? {}
    let memory = budget.reserve(owner, most).await;
    let stated = stated.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    reader.bytes.reserve_exact(stated.saturating_sub(reader.bytes.len()));
    if is_counted {
        reader.read_at_a_pace(budget).await?;
    } else {
        while reader.read().await? {}
    }
    Ok(Held { bytes: reader.bytes, _memory: memory })
}

struct Reader<B, F> {
    body: B,
    limit: usize,
    on_frame: F,
    bytes: Vec<u8>,
}

impl<B, F> Reader<B, F>
where
    B: Body<Data = Bytes> + Unpin,
    F: FnMut(&[u8]),
{
    /// Reads a frame; false if that was the last. Whoever stops waiting for it loses none.
    async fn read(&mut self) -> Result<bool, ReadError> {
        let Some(frame) = self.body.frame().await else { return Ok(false) };
        let Ok(frame) = frame.map_err(|_| ReadError::BrokenOff)?.into_data() else {
            return Ok(true);
        };
        if self.bytes.len() + frame.len() > self.limit {
            return Err(ReadError::TooLarge);
        }
        (self.on_frame)(&frame);
        self.bytes.extend_from_slice(&frame);
        Ok(true)
    }

    /// Reads the rest, as long as nobody waits in vain for the memory of a slow body.
    async fn read_at_a_pace(&mut self, budget: &BodyBudget) -> Result<(), ReadError> {
        let mut pace = Pace::default();
        loop {
            let (began, before) = (Instant::now(), self.bytes.len());
            match tokio::time::timeout(Pace::LONGEST_WAIT, self.read()).await {
                Ok(Ok(true)) | Err(_) => {}
                Ok(Ok(false)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
            }
            pace.count(began.elapsed(), self.bytes.len() - before);
            if pace.is_too_slow() && budget.is_wanted() {
                return Err(ReadError::TooSlow);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::Ipv4Addr;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use futures::FutureExt as _;
    use futures::stream;
    use http_body::{Frame, SizeHint};
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

    fn owner() -> Owner {
        Owner::new(Ipv4Addr::LOCALHOST.into(), "one")
    }

    #[tokio::test]
    async fn bodies_are_read_to_their_limit() {
        let (budget, owner) = (budget(), owner());
        let held = hold(&budget, &owner, streamed(&[b"abc", b"de"]), 5, |_| {}).await;
        assert_eq!(held.unwrap().bytes, b"abcde");
        let held = hold(&budget, &owner, streamed(&[b"abc", b"de"]), 4, |_| {}).await;
        assert_eq!(held.err().unwrap(), ReadError::TooLarge);
        let full = Full::new(Bytes::from_static(b"abcde"));
        let held = hold(&budget, &owner, full, 4, |_| {}).await;
        assert_eq!(held.err().unwrap(), ReadError::TooLarge);
    }

    #[tokio::test]
    async fn frames_are_shown() {
        let mut seen = Vec::new();
        let show = |frame: &[u8]| seen.push(frame.to_vec());
        hold(&budget(), &owner(), streamed(&[b"abc", b"de"]), 9, show).await.unwrap();
        assert_eq!(seen, [b"abc".to_vec(), b"de".to_vec()]);
    }

    #[tokio::test]
    async fn large_bodies_wait_for_memory() {
        let (budget, owner) = (budget(), owner());
        let large = || Full::new(Bytes::from(vec![7; 150 * 1024]));
        let limit = 1024 * 1024;
        let held = hold(&budget, &owner, large(), limit, |_| {}).await.unwrap();
        assert!(hold(&budget, &owner, large(), limit, |_| {}).now_or_never().is_none());
        drop(held);
        assert!(hold(&budget, &owner, large(), limit, |_| {}).now_or_never().is_some());
    }

    /// A body of a stated length, which sends some bytes and then nothing.
    struct Stuck(Option<Bytes>);

    impl Body for Stuck {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Poll::Pending,
            }
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(200 * 1024)
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_begin_takes_no_memory() {
        let (budget, owner) = (budget(), owner());
        let limit = 1024 * 1024;
        let mut stuck = Box::pin(hold(&budget, &owner, Stuck(None), limit, |_| {}));
        assert!(stuck.as_mut().now_or_never().is_none());
        let large = Full::new(Bytes::from(vec![7; 200 * 1024]));
        assert!(hold(&budget, &owner, large, limit, |_| {}).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_body_that_stops_gives_way_to_those_who_wait() {
        let (budget, owner) = (budget(), owner());
        let limit = 1024 * 1024;
        let begun = Stuck(Some(Bytes::from(vec![7; FIRST])));
        let mut stuck = Box::pin(hold(&budget, &owner, begun, limit, |_| {}));
        assert!(stuck.as_mut().now_or_never().is_none());
        let large = Full::new(Bytes::from(vec![7; 200 * 1024]));
        let waiting = hold(&budget, &owner, large, limit, |_| {});
        let (stuck, waiting) = futures::join!(stuck, waiting);
        assert_eq!(stuck.err().unwrap(), ReadError::TooSlow);
        assert!(waiting.is_ok());
    }
}
