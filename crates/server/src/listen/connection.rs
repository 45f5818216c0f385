//! One connection, from its handshake to its end.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::activity::{Activity, Verdict};
use super::watched::Watched;
use super::{Shared, Stop, answer};
use crate::config::Listener;
use crate::exchange::ConnectionInfo;
use crate::limits::{Connections, Place, Refused};
use crate::metrics::Metrics;
use crate::tls;

/// The longest head of a request, bytes: ECR's tokens are some 3 KB, cookies of proxies more.
const LONGEST_HEAD: u16 = 32 << 10;
const MOST_HEADERS: usize = 100;
/// What a connection may read ahead of a body, or buffer of an answer, bytes.
const BUFFER: usize = 256 << 10;
/// Requests at once on one HTTP/2 connection.
const MOST_STREAMS: u32 = 100;
/// What a peer may send of a body that nobody reads yet, bytes: for one request, and for all of
/// a connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 512 << 10;

/// A connection that has its place.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) listener: Arc<Listener>,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) shared: Arc<Shared>,
    /// The requests of all connections of HTTP/2.
    pub(super) streams: Arc<Connections>,
    pub(super) stop: watch::Receiver<Stop>,
}

/// Everything of a connection that its requests need.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    pub(super) streams: Arc<Connections>,
    pub(super) listener: Arc<Listener>,
    pub(super) info: Arc<ConnectionInfo>,
    pub(super) activity: Arc<Activity>,
}

impl Context {
    /// A request of HTTP/2 takes a place like a connection: each may hold a head and a body.
    fn admit(&self) -> Result<Place, Refused> {
        let peer = self.info.peer.ip();
        self.streams.admit(peer, self.listener.trusts(peer))
    }
}

impl Accepted {
    pub(super) async fn serve(self) {
        let _open = Open::begin(self.shared.metrics.clone());
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop == Stop::End) => {}
            () = self.begin() => {}
        }
    }

    async fn begin(self) {
        // Small answers must not wait for the peer's acknowledgement of the one before.
        if self.stream.set_nodelay(true).is_err() {
            return;
        }
        let activity = Arc::new(Activity::new());
        let info = ConnectionInfo { peer: self.peer, listener: self.listener.address, tls: None };
        let mut context = Context {
            shared: self.shared,
            streams: self.streams,
            listener: self.listener,
            info: Arc::new(info.clone()),
            activity: activity.clone(),
        };
        let mut stream = Watched::new(self.stream, activity);
        let Some(tls) = self.tls else {
            let begins = in_time(&context, &self.stop, "slow_head", stream.begins_http2());
            if let Some(Ok(is_http2)) = begins.await {
                serve(stream, is_http2, context, self.stop).await;
            }
            return;
        };
        let handshake = TlsAcceptor::from(tls).accept(stream);
        match in_time(&context, &self.stop, "slow_tls", handshake).await {
            Some(Ok(stream)) => {
                let (_, connection) = stream.get_ref();
                let is_http2 = connection.alpn_protocol() == Some(b"h2");
                context.info = Arc::new(ConnectionInfo { tls: tls::info(connection), ..info });
                serve(stream, is_http2, context, self.stop).await;
            }
            Some(Err(error)) => {
                context.shared.metrics.connection_refused("tls");
                tracing::debug!(peer = %self.peer, %error, "a TLS handshake failed");
            }
            None => {}
        }
    }
}

/// Counts a connection while it is open, however it ends.
struct Open(Arc<Metrics>);

impl Open {
    fn begin(metrics: Arc<Metrics>) -> Open {
        metrics.connections.inc();
        Open(metrics)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// What comes before the first request: `None` if it takes too long, or the process ends, because
/// nobody waits for an answer yet.
async fn in_time<T>(
    context: &Context,
    stop: &watch::Receiver<Stop>,
    reason: &'static str,
    step: impl Future<Output = T>,
) -> Option<T> {
    let mut stop = stop.clone();
    tokio::select! {
        done = tokio::time::timeout(context.shared.limits.header_time, step) => {
            if done.is_err() {
                context.shared.metrics.connection_refused(reason);
            }
            done.ok()
        }
        _ = stop.wait_for(|stop| *stop != Stop::Serve) => None,
    }
}

async fn serve<S>(stream: S, is_http2: bool, context: Context, stop: watch::Receiver<Stop>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    let of_requests = context.clone();
    let service = service_fn(move |request| {
        let under_way = of_requests.activity.request_begins();
        let place = if is_http2 { of_requests.admit().map(Some) } else { Ok(None) };
        answer::answer(of_requests.clone(), under_way, place, request)
    });
    if is_http2 {
        context.activity.set_http2();
        let connection = http2().serve_connection(stream, service);
        drive(connection, http2::Connection::graceful_shutdown, &context, stop).await;
    } else {
        let connection = http1().serve_connection(stream, service);
        drive(connection, http1::Connection::graceful_shutdown, &context, stop).await;
    }
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // Ours are in `activity`: this one would also count the time between requests.
        .header_read_timeout(None)
        .timer(TokioTimer::new())
        .half_close(true)
        .max_headers(MOST_HEADERS)
        .max_header_size(usize::from(LONGEST_HEAD))
        .max_buf_size(BUFFER);
    builder
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::from(LONGEST_HEAD))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(BUFFER);
    builder
}

/// Runs a connection until it ends by itself, the process ends, or the peer's time is up.
async fn drive<C, E>(
    connection: C,
    shut_down: impl Fn(std::pin::Pin<&mut C>),
    context: &Context,
    mut stop: watch::Receiver<Stop>,
) where
    C: Future<Output = Result<(), E>>,
    E: std::error::Error,
{
    let limits = &context.shared.limits;
    let mut connection = std::pin::pin!(connection);
    let mut timer = std::pin::pin!(tokio::time::sleep_until(Instant::now()));
    let mut closes_at = None;
    let mut drains = false;
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(peer = %context.info.peer, %error, "a connection broke");
                }
                return;
            }
            () = timer.as_mut() => {
                // It was asked to close and has sent a part of a head, which is no request yet.
                if drains && context.activity.is_owed_nothing() {
                    return;
                }
                match (context.activity.judge(limits), closes_at) {
                    (Verdict::Wait(next), _) => timer.as_mut().reset(next),
                    (Verdict::CloseIdle, None) => {
                        shut_down(connection.as_mut());
                        let end = Instant::now() + limits.header_time;
                        closes_at = Some(end);
                        timer.as_mut().reset(end);
                    }
                    // It was asked to close and did not.
                    (Verdict::CloseIdle, Some(end)) if end > Instant::now() => {
                        timer.as_mut().reset(end);
                    }
                    (Verdict::CloseIdle, Some(_)) => return end(context, "idle"),
                    (Verdict::End(reason), _) => return end(context, reason),
                }
            }
            _ = stop.wait_for(|stop| *stop != Stop::Serve), if !drains => {
                drains = true;
                shut_down(connection.as_mut());
                // Looks at it as soon as the connection had its turn.
                timer.as_mut().reset(Instant::now());
            }
        }
    }
}

fn end(context: &Context, reason: &'static str) {
    context.shared.metrics.connection_ended(reason);
    tracing::debug!(peer = %context.info.peer, reason, "a connection is ended");
}
