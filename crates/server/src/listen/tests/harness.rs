//! A server for a test, and clients that may misbehave.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::access_log::AccessLog;
use crate::body::{Body, RequestBody, RequestBodyError};
use crate::config::{Config, LogFormat, Sources};
use crate::exchange::{Handler, Plane};
use crate::listen::{Listening, Shared};
use crate::log::{Lines, Writer};
use crate::metrics::Metrics;

/// A server with one listener on a port of its own.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) metrics: Arc<Metrics>,
    /// Tells the server to end.
    pub(super) stop: Option<oneshot::Sender<()>>,
    /// Ends when the server has.
    pub(super) ended: JoinHandle<()>,
    lines: Out,
    directory: TempDir,
    _writer: Writer,
}

#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Server {
    /// Starts it with more keys of its listener, perhaps followed by sections.
    pub(super) async fn start(more: &str, handler: Handler) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("[[listeners]]\naddress = \"127.0.0.1:0\"\n{more}\n");
        let sources = Sources { data: Some(directory.path().into()), ..Sources::default() };
        let config = Config::parse(&[(Path::new("test"), &text)], &sources).unwrap();
        let metrics = Arc::new(Metrics::new());
        let lines = Out::default();
        let (sink, writer) = Lines::to(Box::new(lines.clone())).unwrap();
        let shared = Arc::new(Shared {
            handler,
            limits: config.limits.clone(),
            metrics: metrics.clone(),
            access_log: AccessLog::new(sink, LogFormat::Json),
        });
        let listening = Listening::open(&config).await.unwrap();
        let address = listening.addresses().unwrap()[0];
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(async move {
            listening.serve(shared, async move { drop(stopped.await) }).await;
        });
        Server { address, metrics, stop: Some(stop), ended, lines, directory, _writer: writer }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn data(&self) -> &Path {
        self.directory.path()
    }

    /// The next line of the access log.
    pub(super) async fn access_line(&self) -> Value {
        let next = || {
            let mut lines = self.lines.0.lock().unwrap();
            let end = lines.iter().position(|byte| *byte == b'\n')?;
            let line: Vec<u8> = lines.drain(..=end).collect();
            Some(serde_json::from_slice(&line).unwrap())
        };
        until(async || next()).await
    }

    /// Waits until a figure stands in the metrics.
    pub(super) async fn until_counted(&self, line: &str) {
        let line = format!("bonded_{line}");
        let counted = async || {
            let figures = self.metrics.encode().await.unwrap();
            figures.lines().any(|it| it == line).then_some(())
        };
        until(counted).await;
    }
}

/// Waits for a condition; the test runner's own limit ends it if that never comes.
pub(super) async fn until<T>(condition: impl AsyncFn() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        ticks.tick().await;
    }
}

/// Answers with the body of the request, or says how that broke off.
pub(super) fn echo() -> Handler {
    Handler::new(|request: Request<RequestBody>, exchange| async move {
        exchange.note(|log| {
            log.plane = Plane::V2;
            log.operation = Some("Echo");
        });
        match request.into_body().collect().await {
            Ok(body) => Response::new(body.to_bytes().into()),
            Err(error) => {
                let status = match error {
                    RequestBodyError::Stalled(_) => StatusCode::REQUEST_TIMEOUT,
                    RequestBodyError::Broken(_) => StatusCode::BAD_REQUEST,
                };
                let mut response = Response::new(Body::from(error.to_string()));
                *response.status_mut() = status;
                response
            }
        }
    })
}

/// A handler that says when it is asked, and answers when it is told.
pub(super) fn held() -> (Handler, Arc<Notify>, Arc<Notify>) {
    let (asked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (says, waits) = (asked.clone(), go_on.clone());
    let handler = Handler::new(move |_, _| {
        let (says, waits) = (says.clone(), waits.clone());
        async move {
            let mut told = std::pin::pin!(waits.notified());
            // It waits before it says so, or it could miss what it waits for.
            told.as_mut().enable();
            says.notify_one();
            told.await;
            Response::new(Body::from("done"))
        }
    });
    (handler, asked, go_on)
}

/// A client that writes what it likes.
pub(super) struct Raw(TcpStream);

impl From<TcpStream> for Raw {
    fn from(stream: TcpStream) -> Raw {
        Raw(stream)
    }
}

impl Raw {
    pub(super) async fn connect(server: &Server) -> Raw {
        Raw(TcpStream::connect(server.address).await.unwrap())
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    pub(super) async fn shut_down(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    /// Everything until the server ends the connection.
    pub(super) async fn rest(&mut self) -> String {
        let mut text = Vec::new();
        // A reset is an end too; what came before it counts.
        let _ = self.0.read_to_end(&mut text).await;
        String::from_utf8(text).unwrap()
    }

    /// What comes until it ends in a text; `None` if the connection ends before.
    pub(super) async fn read_until(&mut self, end: &str) -> Option<String> {
        let mut text = String::new();
        while !text.ends_with(end) {
            let byte = self.0.read_u8().await.ok()?;
            text.push(char::from(byte));
        }
        Some(text)
    }
}

/// A client that speaks HTTP/2 at once, as one with prior knowledge does.
pub(super) async fn http2(server: &Server) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}
