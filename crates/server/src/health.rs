//! The admin listener: `/metrics`, `/healthz` and `/readyz`, over plain HTTP for operators.
//!
//! It has no login and tells no names, keys or images. Its sockets are its own, so it answers
//! also when all places for clients are taken.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::metrics::{self, Metrics};

/// How long a check may take before it counts as failed: less than a prober waits.
const CHECK_TIME: Duration = Duration::from_secs(5);
/// How long a whole connection may take.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
const MOST_CONNECTIONS: usize = 32;

type Check = Box<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// What must work for the process to be ready, each under its name.
#[derive(Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Arc<Check>)>,
}

impl Readiness {
    pub fn new() -> Readiness {
        Readiness::default()
    }

    /// Adds a check that really tries what it is about. Its error is logged; the caller of
    /// `/readyz` learns the name alone.
    pub fn check<C>(&mut self, name: &'static str, check: C)
    where
        C: Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync + 'static,
    {
        self.checks.push((name, Arc::new(Box::new(check))));
    }

    /// Runs all checks at once, and gives the names of those that failed.
    pub async fn failures(&self) -> Vec<&'static str> {
        let checks = self.checks.iter().map(|(name, check)| async move {
            let error = match tokio::time::timeout(CHECK_TIME, check()).await {
                Ok(Ok(())) => return None,
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => format!("no answer in {} s", CHECK_TIME.as_secs()),
            };
            tracing::warn!(check = name, error, "not ready");
            Some(*name)
        });
        futures::future::join_all(checks).await.into_iter().flatten().collect()
    }
}

/// The admin listener, open.
pub struct Admin {
    listener: TcpListener,
    state: Arc<State>,
}

struct State {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    /// Not ready any more once the process begins to end, so that a balancer looks elsewhere.
    stop: watch::Receiver<bool>,
}

impl Admin {
    /// Opens the socket; nobody is answered yet. `stop` becomes true when the process begins to
    /// end.
    pub async fn open(
        address: SocketAddr,
        metrics: Arc<Metrics>,
        readiness: Readiness,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Admin> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("admin.listen: listen on {address}"))?;
        Ok(Admin { listener, state: Arc::new(State { metrics, readiness, stop }) })
    }

    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        self.listener.local_addr().context("ask for the address of the admin listener")
    }

    /// Answers until the task is aborted: it goes on while the process ends.
    pub async fn serve(self) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let place = places.clone().acquire_owned().await.expect("places are never closed");
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, self.state.clone(), place));
                }
                Err(error) => {
                    tracing::error!(%error, "no admin connection can be accepted");
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, state: Arc<State>, place: OwnedSemaphorePermit) {
    let service = service_fn(|request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(answer(&request, &state).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(CONNECTION_TIME);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    // Scrapers come every few seconds with a new connection or an old one: both are right.
    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
    drop(place);
}

async fn answer<B>(request: &Request<B>, state: &State) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => ready(state).await,
        "/metrics" => match state.metrics.encode().await {
            Ok(figures) => {
                let mut response = text(StatusCode::OK, figures);
                let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "cannot be written\n".to_owned()),
        },
        _ => text(StatusCode::NOT_FOUND, "/metrics /healthz /readyz\n".to_owned()),
    }
}

async fn ready(state: &State) -> Response<Full<Bytes>> {
    if *state.stop.borrow() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    let failures = state.readiness.failures().await;
    if failures.is_empty() {
        return text(StatusCode::OK, "ok\n".to_owned());
    }
    text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", failures.join(", ")))
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use anyhow::anyhow;

    use super::*;
    use crate::http_client::{self, Trust};

    async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
        let request = Request::get(format!("http://{address}{path}")).body(Bytes::new()).unwrap();
        let answer = http_client::send(request, &Trust::system().unwrap()).await.unwrap();
        let kind = answer.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let body = String::from_utf8(answer.body().to_vec()).unwrap();
        (answer.status().as_u16(), kind, body)
    }

    #[tokio::test]
    async fn operators_are_told_what_works() {
        let metrics = Arc::new(Metrics::new());
        let works = Arc::new(AtomicBool::new(true));
        let mut readiness = Readiness::new();
        readiness.check("store", || Box::pin(async { Ok(()) }));
        let database = works.clone();
        readiness.check("database", move || {
            let works = database.load(Ordering::SeqCst);
            Box::pin(async move { if works { Ok(()) } else { Err(anyhow!("it is gone")) } })
        });
        let (stop, stopped) = watch::channel(false);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let admin = Admin::open(address, metrics.clone(), readiness, stopped).await.unwrap();
        let address = admin.address().unwrap();
        let serving = tokio::spawn(admin.serve());

        let plain = "text/plain; charset=utf-8".to_owned();
        let ok = (200, plain.clone(), "ok\n".to_owned());
        assert_eq!(get(address, "/healthz").await, ok);
        assert_eq!(get(address, "/readyz").await, ok);
        works.store(false, Ordering::SeqCst);
        let not_ready = (503, plain.clone(), "not ready: database\n".to_owned());
        assert_eq!(get(address, "/readyz").await, not_ready);
        assert_eq!(get(address, "/healthz").await, ok);
        works.store(true, Ordering::SeqCst);
        stop.send(true).unwrap();
        assert_eq!(get(address, "/readyz").await, (503, plain, "stopping\n".to_owned()));

        metrics.connections.set(3);
        let (status, kind, figures) = get(address, "/metrics").await;
        assert_eq!((status, kind.as_str()), (200, metrics::CONTENT_TYPE));
        assert!(figures.contains("\nbonded_connections_open 3\n"), "{figures}");
        assert_eq!(get(address, "/").await.0, 404);
        serving.abort();
    }
}
