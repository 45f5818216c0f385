//! One request on its way through, and the body of its answer on the way out.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tracing::{Instrument as _, Span};

use super::activity::{Taken, UnderWay};
use super::connection::Context;
use crate::access_log::{End, shown_path};
use crate::body::{Body, BoxError, RequestBody};
use crate::client_address;
use crate::exchange::Exchange;
use crate::limits::{Place, Refused};
use crate::metrics::Finished;

/// Hands a request to the handler and prepares its answer.
pub(super) async fn answer(
    context: Context,
    under_way: UnderWay,
    place: Result<Option<Place>, Refused>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let info = context.info.clone();
    let headers = request.headers();
    let (client, secure) =
        client_address::client(&context.listener, info.peer, info.tls.is_some(), headers);
    let exchange = Arc::new(Exchange::new(&request, client, secure, info));
    // The level of an error, because the lines of errors need it whatever the filter is.
    let span = tracing::error_span!(
        "request",
        id = %exchange.id,
        method = %exchange.method,
        path = %shown_path(&exchange.uri),
        status = tracing::field::Empty,
    );
    // Ends the exchange also when the peer goes away before there is an answer.
    let mut finish = Finish {
        exchange: exchange.clone(),
        status: CLIENT_GONE,
        is_complete: false,
        taken: None,
        span: span.clone(),
        context,
        place: None,
        _under_way: under_way,
    };
    let stall = finish.context.shared.limits.body_stall;
    let request = request.map(|body| RequestBody::incoming(body, stall, exchange.clone()));
    finish.place = match place {
        Ok(place) => place,
        Err(_) => {
            finish.context.shared.metrics.connection_refused("streams");
            return Ok(finish.answer(too_many(&exchange)));
        }
    };
    let answered = finish.context.shared.handler.answer(request, exchange.clone());
    let answered = AssertUnwindSafe(answered).catch_unwind().instrument(span).await;
    let response = answered.unwrap_or_else(|_| {
        // The panic hook has logged it.
        finish.context.shared.metrics.handler_panics.inc();
        bug(&exchange)
    });
    Ok(finish.answer(response))
}

/// For the log, when nobody was there to be answered: nginx made this number known.
const CLIENT_GONE: u16 = 499;

/// The answer to a request that met a bug, in the form of its protocol.
fn bug(exchange: &Exchange) -> Response<Body> {
    let message = format!("internal error, request {}", exchange.id);
    error(exchange, StatusCode::INTERNAL_SERVER_ERROR, ("UNKNOWN", "ServerException"), &message)
}

/// The answer to one request more than a client may have under way.
fn too_many(exchange: &Exchange) -> Response<Body> {
    let codes = ("TOOMANYREQUESTS", "ServiceUnavailableException");
    let message = "there are too many requests under way";
    let mut response = error(exchange, StatusCode::SERVICE_UNAVAILABLE, codes, message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// An error with the code of the registry's plane or of the API's.
fn error(
    exchange: &Exchange,
    status: StatusCode,
    (code, exception): (&'static str, &'static str),
    message: &str,
) -> Response<Body> {
    let body = if exchange.uri.path().starts_with("/v2") {
        format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#)
    } else {
        format!(r#"{{"__type":"{exception}","message":"{message}"}}"#)
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The body of an answer, which tells the end of its exchange.
pub(super) struct Answer {
    body: Body,
    /// What the whole body has, if it is known.
    size: Option<u64>,
    finish: Finish,
}

impl Answer {
    fn new(body: Body, mut finish: Finish) -> Answer {
        // Of these the connection sends no body, so it never asks for one.
        finish.is_complete = finish.exchange.method == Method::HEAD
            || matches!(finish.status, 204 | 304)
            || body.is_end_stream();
        if !finish.is_complete {
            let is_stream = matches!(body, Body::Stream(_));
            finish.taken = finish.context.activity.answer_begins(is_stream);
        }
        Answer { size: body.size_hint().exact(), body, finish }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Answer { body, size, finish } = &mut *self;
        let polled = match body {
            // What a stream logs belongs to its request.
            Body::Stream(_) => finish.span.in_scope(|| Pin::new(body).poll_frame(cx)),
            _ => Pin::new(body).poll_frame(cx),
        };
        if let Some(taken) = &finish.taken {
            finish.context.activity.answer_goes_on(taken, polled.is_ready());
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                finish.exchange.count_sent(frame.data_ref().map_or(0, Bytes::len));
                finish.is_complete |= *size == Some(finish.exchange.sent());
            }
            Poll::Ready(Some(Err(error))) => {
                let chain = chain(error.as_ref());
                finish.span.in_scope(|| tracing::error!(error = chain, "an answer broke off"));
            }
            Poll::Ready(None) => finish.is_complete = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Ends the exchange when it is dropped, whatever became of it.
struct Finish {
    exchange: Arc<Exchange>,
    status: u16,
    is_complete: bool,
    taken: Option<Arc<Taken>>,
    span: Span,
    context: Context,
    /// Of a request of HTTP/2, which counts like a connection.
    place: Option<Place>,
    _under_way: UnderWay,
}

impl Finish {
    fn answer(mut self, mut response: Response<Body>) -> Response<Answer> {
        self.exchange.id.set(response.headers_mut());
        self.status = response.status().as_u16();
        response.map(|body| Answer::new(body, self))
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let Finish { exchange, status, is_complete, taken, span, context, .. } = self;
        if let Some(taken) = taken {
            context.activity.answer_ends(taken);
        }
        if exchange.has_unread() {
            context.activity.body_is_unread();
        }
        span.record("status", *status);
        let fields = exchange.take_noted();
        let duration = exchange.began.elapsed();
        context.shared.metrics.finished(&Finished {
            plane: fields.plane,
            operation: fields.operation,
            code: *status,
            duration,
            received: exchange.received(),
            sent: exchange.sent(),
        });
        let end = End { status: *status, duration, complete: *is_complete };
        context.shared.access_log.write(exchange, &fields, end);
    }
}
