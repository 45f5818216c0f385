//! One request and its answer, as the rest of the server sees them.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, Uri};

use crate::body::{Body, RequestBody};
use crate::request_id::{self, RequestId};

/// What answers requests: one for the whole process.
#[derive(Clone)]
pub struct Handler(Arc<Answer>);

type Answer =
    dyn Fn(Request<RequestBody>, Arc<Exchange>) -> BoxFuture<'static, Response<Body>> + Send + Sync;

impl Handler {
    /// Wraps a function. It must not fail: an error is an answer too.
    pub fn new<F, A>(answer: F) -> Handler
    where
        F: Fn(Request<RequestBody>, Arc<Exchange>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        Handler(Arc::new(move |request, exchange| Box::pin(answer(request, exchange))))
    }

    pub fn answer(
        &self,
        request: Request<RequestBody>,
        exchange: Arc<Exchange>,
    ) -> BoxFuture<'static, Response<Body>> {
        self.0(request, exchange)
    }
}

/// What is known of a connection before its first request.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The other end of the socket: a proxy, perhaps.
    pub peer: SocketAddr,
    /// The listener's address as it is configured, which `[[names]]` may map.
    pub listener: SocketAddr,
    /// `None` for plain HTTP.
    pub tls: Option<TlsInfo>,
}

/// How a connection is protected, in the words of CloudTrail's `tlsDetails`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// `TLS_AES_128_GCM_SHA256` and the like.
    pub cipher_suite: &'static str,
}

/// A request in its surroundings. It lives until the body of the answer has ended.
#[derive(Debug)]
pub struct Exchange {
    pub id: RequestId,
    /// The client's own address, also behind a trusted proxy.
    pub client: IpAddr,
    /// Whether the client speaks TLS, to us or to a trusted proxy.
    pub secure: bool,
    pub connection: Arc<ConnectionInfo>,
    pub method: Method,
    /// As it came, with whatever secrets it holds.
    pub uri: Uri,
    pub user_agent: Option<HeaderValue>,
    /// The id that the caller gave, for the log alone.
    pub foreign_id: Option<String>,
    pub began: Instant,
    log: Mutex<LogFields>,
    received: AtomicU64,
    sent: AtomicU64,
    has_unread: AtomicBool,
}

/// What is learned of a request while it is answered, for the access log and the metrics.
#[derive(Clone, Debug, Default)]
pub struct LogFields {
    pub plane: Plane,
    /// From a fixed list of ours, because it becomes a label of metrics.
    pub operation: Option<&'static str>,
    /// The principal's ARN.
    pub principal: Option<String>,
    pub access_key_id: Option<String>,
    /// The account that is asked of.
    pub account: Option<String>,
    pub repository: Option<String>,
    pub digest: Option<String>,
    /// The exception's or registry error's code.
    pub error: Option<&'static str>,
}

/// The protocol of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Plane {
    /// The OCI distribution API under `/v2/`.
    V2,
    /// AWS JSON 1.1.
    Json,
    /// AWS query, with XML out.
    Query,
    /// AWS REST with JSON.
    Rest,
    /// Nothing that we know.
    #[default]
    Unknown,
}

impl Plane {
    /// The label in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Plane::V2 => "v2",
            Plane::Json => "json",
            Plane::Query => "query",
            Plane::Rest => "rest",
            Plane::Unknown => "unknown",
        }
    }
}

impl Exchange {
    /// Takes from a request what outlives it.
    pub fn new<B>(
        request: &Request<B>,
        client: IpAddr,
        secure: bool,
        connection: Arc<ConnectionInfo>,
    ) -> Exchange {
        Exchange {
            id: RequestId::new(),
            client,
            secure,
            connection,
            method: request.method().clone(),
            uri: request.uri().clone(),
            user_agent: request.headers().get(http::header::USER_AGENT).cloned(),
            foreign_id: request_id::foreign(request.headers()).map(str::to_owned),
            began: Instant::now(),
            log: Mutex::default(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            has_unread: AtomicBool::new(false),
        }
    }

    /// Notes what was learned. The closure runs at once and must not wait.
    pub fn note(&self, change: impl FnOnce(&mut LogFields)) {
        change(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What was noted so far.
    pub fn noted(&self) -> LogFields {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was noted, taken away: for the end of the exchange.
    pub(crate) fn take_noted(&self) -> LogFields {
        std::mem::take(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes of the request's body that were read.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes of the answer's body that were handed to the connection.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    /// The rest of the request's body will not be read.
    pub(crate) fn leave_unread(&self) {
        self.has_unread.store(true, Ordering::Relaxed);
    }

    /// Whether the client may still be sending what nobody reads.
    pub(crate) fn has_unread(&self) -> bool {
        self.has_unread.load(Ordering::Relaxed)
    }
}
