//! HTTP/1.1 from the client's side, with as little work as there can be.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What an answer is read by. More than a socket holds, and small enough for a core's cache.
const BUFFER: usize = 256 << 10;

/// A registry, and who asks.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The value of the header.
    pub(crate) authorization: Option<String>,
}

impl Target {
    /// A request's head. `length` is that of the body, if it has one.
    pub(crate) fn head(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: Option<u64>,
    ) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        // Writing to a string cannot fail.
        if let Some(value) = &self.authorization {
            let _ = write!(head, "Authorization: {value}\r\n");
        }
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(length) = length {
            let _ = write!(head, "Content-Length: {length}\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// What is kept of an answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Bytes of the body.
    pub(crate) length: u64,
    /// The path and query of `Location`.
    pub(crate) location: Option<String>,
    /// Of the body, if that was asked for.
    pub(crate) sha256: Option<String>,
}

/// A connection that is kept for many requests, one at a time.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of the buffer was read and not used yet.
    filled: usize,
}

/// What the head of an answer says.
struct Head {
    status: u16,
    body: BodyLength,
    location: Option<String>,
    /// Where the body begins in the buffer.
    end: usize,
}

enum BodyLength {
    Known(u64),
    Chunked,
}

impl Connection {
    pub(crate) async fn open(target: &Target) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(target.address).await.context("connect")?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        Ok(Connection { stream, buffer: vec![0; BUFFER], filled: 0 })
    }

    /// Sends bytes of a request.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await.context("send")
    }

    /// Reads an answer and its body, which is dropped. `bodiless` for the answer to HEAD.
    pub(crate) async fn answer(&mut self, bodiless: bool, hash: bool) -> anyhow::Result<Answer> {
        let head = self.read_head().await?;
        let mut answer =
            Answer { status: head.status, length: 0, location: head.location, sha256: None };
        if answer.status >= 400 {
            let shown = &self.buffer[head.end..self.filled];
            bail!("status {}: {}", answer.status, String::from_utf8_lossy(shown));
        }
        if bodiless {
            self.consume(head.end);
            return Ok(answer);
        }
        match head.body {
            BodyLength::Known(length) => {
                let mut hasher = hash.then(Sha256::new);
                self.skip(head.end, length, hasher.as_mut()).await?;
                answer.length = length;
                answer.sha256 = hasher.map(|hasher| const_hex::encode(hasher.finalize()));
            }
            BodyLength::Chunked => answer.length = self.skip_chunks(head.end).await?,
        }
        Ok(answer)
    }

    async fn read_head(&mut self) -> anyhow::Result<Head> {
        let mut searched = 0;
        loop {
            let found =
                self.buffer[searched..self.filled].windows(4).position(|it| it == b"\r\n\r\n");
            if let Some(found) = found {
                let end = searched + found + 4;
                return parse(&self.buffer[..end - 2], end);
            }
            searched = self.filled.saturating_sub(3);
            self.read_more().await.context("read the head of an answer")?;
        }
    }

    async fn read_more(&mut self) -> anyhow::Result<()> {
        ensure!(self.filled < self.buffer.len(), "an answer is longer than is expected");
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        ensure!(read > 0, "the connection was closed");
        self.filled += read;
        Ok(())
    }

    /// Drops the first bytes of the buffer.
    fn consume(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }

    /// Drops a body of a known length that begins in the buffer at `start`.
    async fn skip(
        &mut self,
        start: usize,
        length: u64,
        mut hasher: Option<&mut Sha256>,
    ) -> anyhow::Result<()> {
        let here = self.filled - start;
        let mut left = usize::try_from(length).context("a body is larger than memory")?;
        let used = here.min(left);
        if let Some(hasher) = &mut hasher {
            hasher.update(&self.buffer[start..start + used]);
        }
        self.consume(start + used);
        left -= used;
        while left > 0 {
            let most = left.min(self.buffer.len());
            let read = self.stream.read(&mut self.buffer[..most]).await.context("read a body")?;
            ensure!(read > 0, "the connection was closed within a body");
            if let Some(hasher) = &mut hasher {
                hasher.update(&self.buffer[..read]);
            }
            left -= read;
        }
        Ok(())
    }

    /// Drops a chunked body and says how many bytes it had. It must fit into the buffer: lists do.
    async fn skip_chunks(&mut self, start: usize) -> anyhow::Result<u64> {
        let mut place = start;
        let mut length = 0;
        loop {
            let line = self.buffer[place..self.filled].windows(2).position(|it| it == b"\r\n");
            let Some(line) = line else {
                self.read_more().await.context("read a chunk's head")?;
                continue;
            };
            let text = std::str::from_utf8(&self.buffer[place..place + line])?;
            let size = usize::from_str_radix(text.split(';').next().unwrap_or_default(), 16)
                .with_context(|| format!("`{text}` is no length of a chunk"))?;
            let next = place + line + 2 + size + 2;
            while self.filled < next {
                self.read_more().await.context("read a chunk")?;
            }
            place = next;
            if size == 0 {
                self.consume(place);
                return Ok(length);
            }
            length += u64::try_from(size)?;
        }
    }
}

/// Reads a head without its last, empty line.
fn parse(head: &[u8], end: usize) -> anyhow::Result<Head> {
    let mut lines = head.split(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let status = std::str::from_utf8(first.get(9..12).unwrap_or_default())?;
    let status = status.parse().with_context(|| format!("`{status}` is no status"))?;
    let mut found = Head { status, body: BodyLength::Known(0), location: None, end };
    for line in lines {
        if let Some(value) = value_of(line, b"content-length:") {
            found.body = BodyLength::Known(value.parse().context("Content-Length")?);
        } else if let Some(value) = value_of(line, b"transfer-encoding:") {
            ensure!(value == "chunked", "Transfer-Encoding `{value}` is not expected");
            found.body = BodyLength::Chunked;
        } else if let Some(value) = value_of(line, b"location:") {
            found.location = Some(path_of(value).to_owned());
        }
    }
    Ok(found)
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let (start, value) = line.split_at_checked(name.len())?;
    if !start.eq_ignore_ascii_case(name) {
        return None;
    }
    std::str::from_utf8(value).ok().map(str::trim)
}

/// A location without scheme and host.
fn path_of(location: &str) -> &str {
    let Some((_, rest)) = location.split_once("://") else { return location };
    rest.find('/').map_or("/", |place| &rest[place..])
}
