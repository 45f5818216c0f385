//! Lines of the access log, by their exact text.

use std::io::Write;
use std::sync::{Arc, Mutex};

use http::Request;
use serde_json::{Value, json};

use super::*;
use crate::exchange::{ConnectionInfo, Plane, TlsInfo};

#[test]
fn a_path_shows_no_secret() {
    let check = |uri: &str, expected: &str| {
        assert_eq!(shown_path(&uri.parse().unwrap()), expected, "{uri}");
    };
    check("/v2/team/app/manifests/latest", "/v2/team/app/manifests/latest");
    check(
        "/v2/app/blobs/uploads/?mount=sha256:ab&from=b",
        "/v2/app/blobs/uploads/?mount=sha256:ab&from=b",
    );
    check("/v2/app/tags/list?n=10&token=secret&last=a", "/v2/app/tags/list?n=10&last=a");
    check("/v2/app/tags/list?X-Amz-Signature=secret", "/v2/app/tags/list");
    check("/v2/-/layer/c2VhbGVk", "/v2/-/layer/…");
    check("/v2/-/layer/c2VhbGVk/more?x=secret", "/v2/-/layer/…");
    check("/v2/%2D/layer/c2VhbGVk", "/v2/%2D/layer/…");
    check("/v2/%2d/LAYER/c2VhbGVk", "/v2/%2d/…");
    check("//v2//-/layer/c2VhbGVk", "//v2//-/layer/…");
    check("/v2/-x/layer/tags/list", "/v2/-x/layer/tags/list");
    check("/?Action=GetUser&X-Amz-Signature=secret&X-Amz-Security-Token=t", "/");
    check("https://host/v2/?n=1", "/v2/?n=1");
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

/// The line of an exchange, with its time and id taken out.
fn line(format: LogFormat, exchange: &Exchange) -> String {
    let out = Out::default();
    let (lines, writer) = Lines::to(Box::new(out.clone())).unwrap();
    let end = End { status: 200, duration: Duration::from_micros(1_234), complete: true };
    AccessLog::new(lines, format).write(exchange, &exchange.noted(), end);
    drop(writer);
    let line = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    line.replace(&exchange.id.to_string(), "ID")
}

fn exchange() -> Exchange {
    let request = Request::get("/v2/app/manifests/latest")
        .header("user-agent", "docker/27 \"quoted\"\tand more")
        .header("x-request-id", "build-17")
        .body(())
        .unwrap();
    let connection = ConnectionInfo {
        peer: "10.0.0.1:4711".parse().unwrap(),
        listener: "0.0.0.0:5000".parse().unwrap(),
        tls: Some(TlsInfo { version: "TLSv1.3", cipher_suite: "TLS_AES_128_GCM_SHA256" }),
    };
    let client = "198.51.100.7".parse().unwrap();
    let exchange = Exchange::new(&request, client, true, Arc::new(connection));
    exchange.count_sent(1_500);
    exchange.note(|it| {
        it.plane = Plane::V2;
        it.operation = Some("GetManifest");
        it.principal = Some("arn:aws:iam::123456789012:root".to_owned());
        it.repository = Some("app".to_owned());
    });
    exchange
}

#[test]
fn as_text() {
    let line = line(LogFormat::Text, &exchange());
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!(time.len(), "2026-11-24T08:49:57.123456Z".len(), "{time}");
    assert_eq!(
        rest,
        " INFO bonded_server::access: GET /v2/app/manifests/latest 200 plane=v2 \
         operation=GetManifest client=198.51.100.7 principal=arn:aws:iam::123456789012:root \
         repository=app bytes_in=0 bytes_out=1500 duration_us=1234 complete=true tls=TLSv1.3 \
         request_id=ID client_request_id=build-17 \
         user_agent=\"docker/27 \\\"quoted\\\"\\tand more\"\n"
    );
}

#[test]
fn as_json() {
    let line = line(LogFormat::Json, &exchange());
    let mut value: Value = serde_json::from_str(&line).unwrap();
    assert!(value["timestamp"].take().as_str().unwrap().ends_with('Z'));
    let expected = json!({
        "timestamp": null,
        "level": "INFO",
        "target": "bonded_server::access",
        "method": "GET",
        "path": "/v2/app/manifests/latest",
        "status": 200,
        "plane": "v2",
        "operation": "GetManifest",
        "client": "198.51.100.7",
        "principal": "arn:aws:iam::123456789012:root",
        "repository": "app",
        "bytes_in": 0,
        "bytes_out": 1500,
        "duration_us": 1234,
        "complete": true,
        "tls": "TLSv1.3",
        "request_id": "ID",
        "client_request_id": "build-17",
        "user_agent": "docker/27 \"quoted\"\tand more",
    });
    assert_eq!(value, expected);
}
