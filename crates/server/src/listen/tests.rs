//! Listeners over real sockets of the loopback address.
//!
//! Nothing here waits for a time: a test that is about a limit makes it short and waits until the
//! server has acted on it.

mod harness;
mod limits;
mod stop;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::json;

use crate::body::{Body, BoxError};
use crate::exchange::{Handler, Plane};
use crate::http_client::{self, Trust};
use harness::{Raw, Server, echo, held, http2};

#[tokio::test]
async fn a_request_is_answered_and_told() {
    let server = Server::start("", echo()).await;
    let request = Request::put(server.url("/v2/app/blobs/uploads/x?digest=sha256:ab&token=t"))
        .header("user-agent", "test/1")
        .header("x-request-id", "mine")
        .body(Bytes::from_static(b"some bytes"))
        .unwrap();
    let answer = http_client::send(request, &Trust::system().unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.body(), "some bytes");
    let id = answer.headers()["x-amzn-requestid"].to_str().unwrap().to_owned();
    assert_eq!(answer.headers()["x-request-id"], id);

    let mut line = server.access_line().await;
    assert!(line["duration_us"].take().is_u64());
    assert!(line["timestamp"].take().is_string());
    let expected = json!({
        "timestamp": null,
        "level": "INFO",
        "target": "bonded_server::access",
        "method": "PUT",
        "path": "/v2/app/blobs/uploads/x?digest=sha256:ab",
        "status": 200,
        "plane": "v2",
        "operation": "Echo",
        "client": "127.0.0.1",
        "bytes_in": 10,
        "bytes_out": 10,
        "duration_us": null,
        "complete": true,
        "request_id": id,
        "client_request_id": "mine",
        "user_agent": "test/1",
    });
    assert_eq!(line, expected);
    server.until_counted("requests_total{plane=\"v2\",operation=\"Echo\",code=\"200\"} 1").await;
}

#[tokio::test]
async fn over_http2_without_being_asked() {
    let server = Server::start("", echo()).await;
    let mut client = http2(&server).await;
    for _ in 0..3 {
        let request = Request::post(server.url("/")).body(Full::from("two")).unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "two");
    }
    assert_eq!(server.access_line().await["bytes_in"], 3);
}

#[tokio::test]
async fn over_tls_with_the_own_authority() {
    let handler = Handler::new(|_, exchange| async move {
        let tls = exchange.connection.tls.expect("there is TLS");
        let text = format!("{} {} {}", tls.version, tls.cipher_suite, exchange.secure);
        Response::new(Body::from(text))
    });
    let server = Server::start("tls = \"self-signed\"", handler).await;
    let trust = Trust::system_and(&crate::ca::certificate_path(server.data())).unwrap();
    let url = format!("https://localhost:{}/", server.address.port());
    let request = Request::get(&url).body(Bytes::new()).unwrap();
    let answer = http_client::send(request, &trust).await.unwrap();
    let text = String::from_utf8(answer.body().to_vec()).unwrap();
    assert!(text.starts_with("TLSv1.3 TLS_AES_") && text.ends_with(" true"), "{text}");

    // Whoever does not trust the authority does not speak to it.
    let request = Request::get(&url).body(Bytes::new()).unwrap();
    assert!(http_client::send(request, &Trust::system().unwrap()).await.is_err());
    server.until_counted("connections_refused_total{reason=\"tls\"} 1").await;
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_its_clients() {
    let handler = Handler::new(|_, exchange| async move {
        Response::new(Body::from(format!("{} {}", exchange.client, exchange.secure)))
    });
    let server = Server::start("trusted_proxies = [\"127.0.0.0/8\"]", handler).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(
        "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1.1.1.1, 198.51.100.7\r\n\
         x-forwarded-proto: https\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(raw.rest().await.ends_with("\r\n\r\n198.51.100.7 true"));
}

#[tokio::test]
async fn a_bug_ends_its_request_alone() {
    let handler = Handler::new(|request: Request<_>, exchange| async move {
        exchange.note(|log| log.plane = Plane::Json);
        assert!(request.uri().path() == "/fine", "a bug");
        Response::new(Body::from("fine"))
    });
    let server = Server::start("", handler).await;
    let get = async |path: &str| {
        let request = Request::get(server.url(path)).body(Bytes::new()).unwrap();
        http_client::send(request, &Trust::system().unwrap()).await.unwrap()
    };
    let answer = get("/v2/x").await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(body["errors"][0]["message"], format!("internal error, request {id}"));
    assert_eq!(get("/fine").await.status(), StatusCode::OK);
    server.until_counted("handler_panics_total 1").await;
    assert_eq!(server.access_line().await["status"], 500);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_told() {
    let handler = Handler::new(|request: Request<_>, _| async move {
        let broken = request.uri().path() == "/broken";
        let frames = futures::stream::iter([
            Ok(http_body::Frame::data(Bytes::from_static(b"first"))),
            if broken {
                Err(BoxError::from("gone"))
            } else {
                Ok(http_body::Frame::data("x".into()))
            },
        ]);
        Response::new(Body::stream(StreamBody::new(frames)))
    });
    let server = Server::start("", handler).await;
    for (path, is_whole) in [("/broken", false), ("/", true)] {
        let request = Request::get(server.url(path)).body(Bytes::new()).unwrap();
        let answer = http_client::send(request, &Trust::system().unwrap()).await;
        assert_eq!(answer.is_ok(), is_whole, "{path}");
        assert_eq!(server.access_line().await["complete"], is_whole, "{path}");
    }
    let head = Request::head(server.url("/")).body(Bytes::new()).unwrap();
    http_client::send(head, &Trust::system().unwrap()).await.unwrap();
    assert_eq!(server.access_line().await["complete"], true);
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = Server::start("", echo()).await;
    let mut raw = Raw::connect(&server).await;
    // All at once, and the client has said that it sends no more.
    raw.send(&"GET /x HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3)).await;
    raw.shut_down().await;
    assert_eq!(raw.rest().await.matches("HTTP/1.1 200 OK\r\n").count(), 3);
}

#[tokio::test]
async fn many_streams_at_once() {
    let server = Server::start("", echo()).await;
    let client = http2(&server).await;
    let requests = (0..200).map(|number| {
        let mut client = client.clone();
        let body = Full::from(vec![b'x'; number * 100]);
        let request = Request::post(server.url("/")).body(body).unwrap();
        async move {
            let answer = client.send_request(request).await.unwrap();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body.len(), number * 100);
        }
    });
    futures::future::join_all(requests).await;
}

#[tokio::test]
async fn a_client_that_sends_no_more_is_answered() {
    let (handler, asked, go_on) = held();
    let server = Server::start("", handler).await;
    let mut raw = Raw::connect(&server).await;
    raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    asked.notified().await;
    raw.shut_down().await;
    // Another client's whole exchange: the server has seen the end of the first one's by then.
    let mut other = Raw::connect(&server).await;
    other.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    asked.notified().await;
    go_on.notify_waiters();
    assert!(raw.rest().await.ends_with("\r\n\r\ndone"));
}
