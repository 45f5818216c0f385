//! Peers that are slow, large or many.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::harness::{Raw, Server, echo, held, http2, until};
use crate::body::{Body, BoxError};
use crate::exchange::Handler;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const SHORT: &str = "[limits]\nheader_time = \"100ms\"\nbody_stall = \"100ms\"\n";
const ENDED: &str = "connections_ended_total{reason";

#[tokio::test]
async fn a_slow_head() {
    let server = Server::start(SHORT, echo()).await;
    let mut raw = Raw::connect(&server).await;
    raw.send("GET / HTTP/1.1\r\nhost").await;
    assert_eq!(raw.rest().await, "");
    server.until_counted(&format!("{ENDED}=\"slow_head\"}} 1")).await;

    // A second request on the same connection has the same time, and no more.
    let mut raw = Raw::connect(&server).await;
    raw.send(GET).await;
    raw.read_until("\r\n\r\n").await.unwrap();
    raw.send("GET / HTTP/1.1\r\nhost").await;
    assert_eq!(raw.rest().await, "");
    server.until_counted(&format!("{ENDED}=\"slow_head\"}} 2")).await;
}

#[tokio::test]
async fn a_peer_that_says_nothing() {
    let plain = Server::start(SHORT, echo()).await;
    assert_eq!(Raw::connect(&plain).await.rest().await, "");
    plain.until_counted("connections_refused_total{reason=\"slow_head\"} 1").await;
    let secured = Server::start(&format!("tls = \"self-signed\"\n{SHORT}"), echo()).await;
    assert_eq!(Raw::connect(&secured).await.rest().await, "");
    secured.until_counted("connections_refused_total{reason=\"slow_tls\"} 1").await;
    let http2 = Server::start(SHORT, echo()).await;
    let mut raw = Raw::connect(&http2).await;
    raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // The server's own frames come before its end.
    until(async || (http2.metrics.connections.get() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_slow_body() {
    let server = Server::start(SHORT, echo()).await;
    let mut raw = Raw::connect(&server).await;
    raw.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await;
    let answer = raw.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let line = server.access_line().await;
    assert_eq!((&line["status"], &line["bytes_in"]), (&408.into(), &4.into()));
}

#[tokio::test]
async fn a_body_that_nobody_reads_has_time() {
    let go_on = Arc::new(Notify::new());
    let waits = go_on.clone();
    let handler = Handler::new(move |_, _| {
        let waits = waits.clone();
        async move {
            waits.notified().await;
            Response::new(Body::from("done"))
        }
    });
    let server = Server::start(SHORT, handler).await;
    let mut raw = Raw::connect(&server).await;
    raw.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n").await;
    // Another peer is ended in the meantime, so all times of the first one are up as well.
    let mut other = Raw::connect(&server).await;
    other.send("GET").await;
    assert_eq!(other.rest().await, "");
    go_on.notify_one();
    assert!(raw.rest().await.ends_with("\r\n\r\ndone"));
}

/// A body without an end.
fn endless() -> Handler {
    Handler::new(|_, _| async {
        let part = Bytes::from(vec![b'x'; 64 << 10]);
        let parts =
            futures::stream::repeat_with(move || Ok::<_, BoxError>(Frame::data(part.clone())));
        Response::new(Body::stream(StreamBody::new(parts)))
    })
}

#[tokio::test]
async fn a_reader_that_does_not_read() {
    let server = Server::start(SHORT, endless()).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(GET).await;
    server.until_counted(&format!("{ENDED}=\"slow_reader\"}} 1")).await;
    let line = server.access_line().await;
    assert_eq!((&line["status"], &line["complete"]), (&200.into(), &false.into()));
}

#[tokio::test]
async fn a_reader_that_does_not_read_an_answer_in_memory() {
    let handler = Handler::new(|_, _| async { Response::new(Body::from(vec![b'x'; 64 << 20])) });
    let server = Server::start(SHORT, handler).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(GET).await;
    server.until_counted(&format!("{ENDED}=\"slow_reader\"}} 1")).await;
    // All of it was handed to the connection, but not by the connection to the peer.
    until(async || (server.metrics.connections.get() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_stream_of_http2_that_nobody_reads() {
    let server = Server::start(SHORT, endless()).await;
    let mut client = http2(&server).await;
    let request = Request::get(server.url("/")).body(Full::default()).unwrap();
    let _unread = client.send_request(request).await.unwrap();
    server.until_counted(&format!("{ENDED}=\"slow_reader\"}} 1")).await;
    assert_eq!(server.access_line().await["complete"], false);
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let server = Server::start("[limits]\nidle_time = \"100ms\"", echo()).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(GET).await;
    let answer = raw.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let mut client = http2(&server).await;
    let request = || Request::get(server.url("/")).body(Full::default()).unwrap();
    client.send_request(request()).await.unwrap();
    until(async || client.is_closed().then_some(())).await;
}

#[tokio::test]
async fn a_head_that_is_too_large() {
    let server = Server::start("", echo()).await;
    for header in [format!("x: {}\r\n", "y".repeat(40 << 10)), "x: y\r\n".repeat(101)] {
        let mut raw = Raw::connect(&server).await;
        raw.send(&format!("GET / HTTP/1.1\r\nhost: a\r\n{header}\r\n")).await;
        let answer = raw.rest().await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    let mut client = http2(&server).await;
    let large = Request::get(server.url("/")).header("x", "y".repeat(40 << 10));
    let answer = client.send_request(large.body(Full::default()).unwrap()).await;
    assert!(answer.map_or(true, |answer| answer.status() == 431));
    let request = Request::get(server.url("/")).body(Full::default()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn so_many_connections_and_no_more() {
    for limit in ["connections", "connections_per_address"] {
        let server = Server::start(&format!("[limits]\n{limit} = 2"), echo()).await;
        let mut places = Vec::new();
        for _ in 0..2 {
            let mut raw = Raw::connect(&server).await;
            raw.send(GET).await;
            raw.read_until("\r\n\r\n").await.unwrap();
            places.push(raw);
        }
        assert_eq!(Raw::connect(&server).await.rest().await, "");
        server.until_counted(&format!("connections_refused_total{{reason=\"{limit}\"}} 1")).await;
        places.pop();
        // A place is free as soon as the server has seen the end.
        until(async || {
            let mut raw = Raw::connect(&server).await;
            raw.send(GET).await;
            raw.read_until("\r\n\r\n").await
        })
        .await;
    }
}

#[tokio::test]
async fn so_many_streams_and_no_more() {
    let (handler, arrived, go_on) = held();
    let server = Server::start("[limits]\nconnections_per_address = 2", handler).await;
    let mut client = http2(&server).await;
    let mut ask = || {
        let request = Request::get(server.url("/")).body(Full::default()).unwrap();
        client.send_request(request)
    };
    let one = tokio::spawn(ask());
    arrived.notified().await;
    let other = tokio::spawn(ask());
    arrived.notified().await;
    assert_eq!(ask().await.unwrap().status(), 503);
    server.until_counted("connections_refused_total{reason=\"streams\"} 1").await;
    go_on.notify_waiters();
    for answer in [one, other] {
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_refused_body_does_not_hide_the_answer() {
    let handler = Handler::new(|_, _| async {
        let mut response = Response::new(Body::from("who are you?"));
        *response.status_mut() = http::StatusCode::UNAUTHORIZED;
        response
    });
    let server = Server::start("", handler).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (reader, mut writer) = stream.into_split();
    // As clients do that send first and listen later.
    writer
        .write_all(b"PATCH / HTTP/1.1\r\nhost: a\r\ncontent-length: 33554432\r\n\r\n")
        .await
        .unwrap();
    writer.write_all(&vec![0; 32 << 20]).await.unwrap();
    let mut raw = Raw::from(reader.reunite(writer).unwrap());
    let answer = raw.read_until("who are you?").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}
