//! A request head as text: what fuzzing and the signing test suite start from.

use crate::sigv4::error::SigError;
use crate::sigv4::{Parsed, RequestHead, parse};

/// A head that was taken apart; [`RawHead::head`] is what [`parse`] takes.
pub(super) struct RawHead<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    headers: Vec<(&'a str, &'a [u8])>,
}

impl RawHead<'_> {
    pub(super) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: self.method,
            path: self.path,
            query: self.query,
            headers: &self.headers,
            tls: false,
        }
    }
}

/// Reads the authentication of an HTTP/1.1 request, of which there may be only the head.
///
/// This is [`parse`] for any bytes, and no HTTP server: it takes a line feed alone for a line
/// break, blanks in the target and folded header values, as the signing test suite has them.
///
/// # Errors
///
/// As [`parse`], and [`SigError::MalformedRequest`] for what is no request at all.
pub fn parse_bytes(request: &[u8]) -> Result<Option<Parsed>, SigError> {
    let (raw, _) = read(request).ok_or(SigError::MalformedRequest)?;
    parse(&raw.head())
}

/// The head of a request, and all that comes after the empty line.
pub(super) fn read(request: &[u8]) -> Option<(RawHead<'_>, &[u8])> {
    let (line, mut rest) = split_line(request);
    let line = std::str::from_utf8(line).ok()?;
    let (method, target) = line.split_once(' ')?;
    let (target, _) = target.rsplit_once(" HTTP/")?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = Vec::new();
    while !rest.is_empty() {
        let (line, after) = split_header(rest);
        rest = after;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        headers.push((std::str::from_utf8(name).ok()?, value.get(1..)?));
    }
    Some((RawHead { method, path, query, headers }, rest))
}

/// A line without its end, and what comes after it.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (line, rest) = text.split_at_checked(end).unwrap_or((text, b""));
    (line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..).unwrap_or_default())
}

/// A header line with the folded lines that continue it.
fn split_header(text: &[u8]) -> (&[u8], &[u8]) {
    let (first, mut rest) = split_line(text);
    if first.is_empty() {
        return (first, rest);
    }
    while let [b' ' | b'\t', ..] = rest {
        (_, rest) = split_line(rest);
    }
    let length = text.len() - rest.len();
    (text.get(..length).unwrap_or(text).trim_ascii_end(), rest)
}
