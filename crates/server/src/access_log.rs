//! One line for each request, written when the body of its answer has ended.
//!
//! **Invariant:** a line holds no secret. Of a path it shows no sealed part; of a query only
//! parameters of the distribution API, which are names and digests; of headers only the user
//! agent and the caller's request id, both quoted, so that no caller can forge a line.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use http::Uri;
use percent_encoding::percent_decode_str;
use serde::Serialize;

use crate::config::LogFormat;
use crate::exchange::{Exchange, LogFields};
use crate::log::Lines;

/// Parameters of `/v2/` that name things and give no access.
const SHOWN_PARAMETERS: [&str; 9] =
    ["artifactType", "digest", "digest-algorithm", "from", "last", "mount", "n", "ns", "tag"];

/// A longer user agent is cut: it is the caller's to choose.
const LONGEST_AGENT: usize = 256;

/// Where the lines go, if they are wanted.
#[derive(Clone)]
pub struct AccessLog {
    lines: Option<Lines>,
    format: LogFormat,
}

/// What a line tells, in its order.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    target: &'static str,
    method: &'a str,
    path: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    plane: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    bytes_in: u64,
    bytes_out: u64,
    duration_us: u64,
    /// Whether the whole answer was handed to the connection.
    complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'static str>,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub status: u16,
    pub duration: Duration,
    /// Whether the whole answer was handed to the connection.
    pub complete: bool,
}

impl AccessLog {
    pub fn new(lines: Lines, format: LogFormat) -> AccessLog {
        AccessLog { lines: Some(lines), format }
    }

    /// Writes nothing.
    pub fn none() -> AccessLog {
        AccessLog { lines: None, format: LogFormat::Text }
    }

    /// Writes the line of an exchange that has ended.
    pub fn write(&self, exchange: &Exchange, fields: &LogFields, end: End) {
        let Some(lines) = &self.lines else { return };
        let path = shown_path(&exchange.uri);
        let line = Line {
            timestamp: format!("{:.6}", jiff::Timestamp::now()),
            level: "INFO",
            target: "bonded_server::access",
            method: exchange.method.as_str(),
            path: &path,
            status: end.status,
            error: fields.error,
            plane: fields.plane.name(),
            operation: fields.operation,
            client: exchange.client.to_string(),
            principal: fields.principal.as_deref(),
            access_key_id: fields.access_key_id.as_deref(),
            account: fields.account.as_deref(),
            repository: fields.repository.as_deref(),
            digest: fields.digest.as_deref(),
            bytes_in: exchange.received(),
            bytes_out: exchange.sent(),
            duration_us: u64::try_from(end.duration.as_micros()).unwrap_or(u64::MAX),
            complete: end.complete,
            tls: exchange.connection.tls.map(|it| it.version),
            request_id: exchange.id.to_string(),
            client_request_id: exchange.foreign_id.as_deref(),
            user_agent: exchange.user_agent.as_ref().map(|it| agent(it.as_bytes())),
        };
        let mut text = match self.format {
            LogFormat::Json => serde_json::to_vec(&line).unwrap_or_default(),
            LogFormat::Text => line.text().into_bytes(),
        };
        text.push(b'\n');
        lines.push(&text);
    }
}

impl Line<'_> {
    fn text(&self) -> String {
        let mut out = String::with_capacity(512);
        let Line { timestamp, level, target, method, path, status, .. } = self;
        let result =
            write!(out, "{timestamp}  {level} {target}: {method} {} {status}", quoted(path));
        result.expect("a String takes all that is written");
        let optional = |out: &mut String, name: &str, value: Option<&str>| {
            if let Some(value) = value {
                out.push(' ');
                out.push_str(name);
                out.push('=');
                out.push_str(&quoted(value));
            }
        };
        optional(&mut out, "error", self.error);
        optional(&mut out, "plane", Some(self.plane));
        optional(&mut out, "operation", self.operation);
        optional(&mut out, "client", Some(&self.client));
        optional(&mut out, "principal", self.principal);
        optional(&mut out, "access_key_id", self.access_key_id);
        optional(&mut out, "account", self.account);
        optional(&mut out, "repository", self.repository);
        optional(&mut out, "digest", self.digest);
        let result = write!(
            out,
            " bytes_in={} bytes_out={} duration_us={} complete={}",
            self.bytes_in, self.bytes_out, self.duration_us, self.complete
        );
        result.expect("a String takes all that is written");
        optional(&mut out, "tls", self.tls);
        optional(&mut out, "request_id", Some(&self.request_id));
        optional(&mut out, "client_request_id", self.client_request_id);
        optional(&mut out, "user_agent", self.user_agent.as_deref());
        out
    }
}

/// Plain if it cannot be taken for more than one word, else in quotes with escapes.
fn quoted(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if !text.is_empty() && text.bytes().all(is_plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("{text:?}"))
    }
}

fn agent(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes.get(..LONGEST_AGENT).unwrap_or(bytes))
}

/// A path and what may be shown of its query.
pub fn shown_path(uri: &Uri) -> Cow<'_, str> {
    let path = uri.path();
    if let Some(link) = after_dash(path) {
        return Cow::Owned(format!("{}…", path.get(..path.len() - link).unwrap_or_default()));
    }
    match uri.query() {
        // Queries outside /v2/ may hold signatures, passwords and session tokens.
        Some(query) if path.starts_with("/v2/") => with_shown_query(path, query),
        _ => Cow::Borrowed(path),
    }
}

/// How long the part of `/v2/-/…` is that may be sealed, however the hyphen is written.
fn after_dash(path: &str) -> Option<usize> {
    let rest = path.trim_start_matches('/').strip_prefix("v2/")?.trim_start_matches('/');
    let (segment, rest) = rest.split_once('/')?;
    let is_dash = percent_decode_str(segment).eq([b'-']);
    let sealed = rest.strip_prefix("layer/").unwrap_or(rest);
    is_dash.then_some(sealed.len())
}

fn with_shown_query<'a>(path: &'a str, query: &str) -> Cow<'a, str> {
    let shown = query.split('&').filter(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        SHOWN_PARAMETERS.contains(&name)
    });
    let shown = shown.collect::<Vec<_>>().join("&");
    if shown.is_empty() { Cow::Borrowed(path) } else { Cow::Owned(format!("{path}?{shown}")) }
}

#[cfg(test)]
mod tests;
