//! Bodies: what a request brings and what an answer carries.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::exchange::Exchange;

/// Why a response body breaks off: logged where the response ends, never shown.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer. Only a stream is boxed, so a small answer costs no allocation here.
pub enum Body {
    Empty,
    Full(Bytes),
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError> + Send>>),
}

impl Body {
    /// A body that is made while it is sent.
    pub fn stream<B>(body: B) -> Body
    where
        B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        Body::Stream(Box::pin(body))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        if bytes.is_empty() { Body::Empty } else { Body::Full(bytes) }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Body::Empty => Poll::Ready(None),
            Body::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Body::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Body::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(_) => false,
            Body::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(0)),
            Body::Stream(stream) => stream.size_hint(),
        }
    }
}

/// Why the body of a request could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// Nothing came for `limits.body_stall`.
    #[error("the request body made no progress for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The connection broke, or its framing was wrong.
    #[error("the request body broke off")]
    Broken(#[source] hyper::Error),
}

/// The body of a request. It counts its bytes for the log and fails when it stalls; while nobody
/// reads it, nothing is asked of the client and no time runs.
pub struct RequestBody {
    content: Content,
    stall: Duration,
    /// Made at the first wait: most bodies come with their head and never wait.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the timer runs for the wait that is going on.
    waiting: bool,
    has_ended: bool,
    exchange: Option<Arc<Exchange>>,
}

enum Content {
    Incoming(Incoming),
    Full(Body),
}

impl RequestBody {
    pub(crate) fn incoming(body: Incoming, stall: Duration, exchange: Arc<Exchange>) -> Self {
        RequestBody {
            content: Content::Incoming(body),
            stall,
            timer: None,
            waiting: false,
            has_ended: false,
            exchange: Some(exchange),
        }
    }
}

/// A body that is in memory already: for requests that a test makes.
impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> RequestBody {
        RequestBody {
            content: Content::Full(bytes.into()),
            stall: Duration::MAX,
            timer: None,
            waiting: false,
            has_ended: false,
            exchange: None,
        }
    }
}

impl RequestBody {
    fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match &mut self.content {
            Content::Incoming(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(RequestBodyError::Broken))),
            Content::Full(body) => Pin::new(body).poll_frame(cx).map(|frame| match frame {
                Some(Ok(frame)) => Some(Ok(frame)),
                // Bytes in memory do not fail.
                Some(Err(_)) | None => None,
            }),
        }
    }

    /// Ready when the wait that is going on has lasted too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stall = self.stall;
        let timer = self.timer.get_or_insert_with(|| {
            self.waiting = true;
            Box::pin(tokio::time::sleep_until(Instant::now() + stall))
        });
        if !self.waiting {
            self.waiting = true;
            timer.as_mut().reset(Instant::now() + stall);
        }
        timer.as_mut().poll(cx)
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = this.poll_content(cx) {
            this.waiting = false;
            this.has_ended |= frame.is_none();
            if let (Some(Ok(frame)), Some(exchange)) = (&frame, &this.exchange) {
                exchange.count_received(frame.data_ref().map_or(0, Bytes::len));
            }
            return Poll::Ready(frame);
        }
        ready!(this.poll_stalled(cx));
        Poll::Ready(Some(Err(RequestBodyError::Stalled(this.stall))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Incoming(body) => body.is_end_stream(),
            Content::Full(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Incoming(body) => body.size_hint(),
            Content::Full(body) => body.size_hint(),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        use http_body::Body as _;
        if let Some(exchange) = &self.exchange
            && !self.has_ended
            && !self.is_end_stream()
        {
            exchange.leave_unread();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    type Frames = mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>;

    fn body(stall: Duration) -> (RequestBody, Frames) {
        let (sender, receiver) = mpsc::unbounded();
        let content = Content::Full(Body::stream(StreamBody::new(receiver)));
        let body = RequestBody {
            content,
            stall,
            timer: None,
            waiting: false,
            has_ended: false,
            exchange: None,
        };
        (body, sender)
    }

    #[tokio::test]
    async fn every_wait_has_its_own_time() {
        let (mut body, frames) = body(Duration::from_secs(60));
        let poll = |body: &mut RequestBody| {
            let mut context = Context::from_waker(std::task::Waker::noop());
            Pin::new(body).poll_frame(&mut context).map(|frame| frame.unwrap().unwrap())
        };
        assert!(poll(&mut body).is_pending());
        let first = body.timer.as_ref().unwrap().deadline();
        // To look again is the same wait.
        assert!(poll(&mut body).is_pending());
        assert_eq!(body.timer.as_ref().unwrap().deadline(), first);
        frames.unbounded_send(Ok(Frame::data(Bytes::from_static(b"x")))).unwrap();
        assert!(poll(&mut body).is_ready());
        assert!(poll(&mut body).is_pending());
        assert!(body.timer.as_ref().unwrap().deadline() > first);
    }

    #[tokio::test]
    async fn a_wait_that_is_too_long_is_an_error() {
        let (mut body, frames) = body(Duration::from_millis(1));
        frames.unbounded_send(Ok(Frame::data(Bytes::from_static(b"x")))).unwrap();
        assert!(body.frame().await.unwrap().is_ok());
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(matches!(error, RequestBodyError::Stalled(_)), "{error}");
    }
}
