//! The end of the process: what is under way is finished, the rest is not begun.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::net::TcpStream;

use super::harness::{Raw, Server, echo, held, http2, until};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

async fn is_closed(server: &Server) {
    until(async || TcpStream::connect(server.address).await.is_err().then_some(())).await;
}

#[tokio::test]
async fn requests_under_way_are_finished() {
    let (handler, asked, go_on) = held();
    let mut server = Server::start("", handler).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(GET).await;
    asked.notified().await;
    server.stop.take();
    is_closed(&server).await;
    go_on.notify_one();
    let answer = raw.rest().await;
    assert!(answer.ends_with("\r\n\r\ndone"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    server.ended.await.unwrap();
}

#[tokio::test]
async fn requests_of_http2_are_finished() {
    let (handler, asked, go_on) = held();
    let mut server = Server::start("", handler).await;
    let mut client = http2(&server).await;
    let request = Request::get(server.url("/")).body(Full::<Bytes>::default()).unwrap();
    let answer = tokio::spawn(client.send_request(request));
    asked.notified().await;
    server.stop.take();
    is_closed(&server).await;
    go_on.notify_one();
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "done");
    server.ended.await.unwrap();
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let mut server =
        Server::start("[limits]\ndrain_time = \"24h\"\nheader_time = \"24h\"", echo()).await;
    let mut used = Raw::connect(&server).await;
    used.send(GET).await;
    used.read_until("\r\n\r\n").await.unwrap();
    let mut client = http2(&server).await;
    let request = Request::get(server.url("/")).body(Full::<Bytes>::default()).unwrap();
    client.send_request(request).await.unwrap();
    let mut half = Raw::connect(&server).await;
    half.send("GE").await;
    let silent = Raw::connect(&server).await;
    until(async || (server.metrics.connections.get() == 4).then_some(())).await;
    server.stop.take();
    assert_eq!(used.rest().await, "");
    assert_eq!(half.rest().await, "");
    server.ended.await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn what_takes_too_long_is_cut_off() {
    let (handler, asked, _go_on) = held();
    let mut server = Server::start("[limits]\ndrain_time = \"50ms\"", handler).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(GET).await;
    asked.notified().await;
    server.stop.take();
    server.ended.await.unwrap();
    assert_eq!(raw.rest().await, "");
    // Told as what it is: nobody was answered.
    assert_eq!(server.metrics.connections.get(), 0);
}
