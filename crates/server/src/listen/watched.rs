//! A socket that leaves marks of what happens on it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;

/// The beginning of HTTP/2's preface, which is no method of HTTP/1 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI";

/// What is read of a refused body, bytes, and how much of it at a time.
const MOST_DISCARDED: usize = 64 << 20;
const SCRATCH: usize = 16 << 10;

/// A TCP stream with its [`Activity`].
pub(super) struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// Read already, to see which protocol it is, and not handed out yet.
    first: Vec<u8>,
    /// Bytes that came after our last word.
    discarded: usize,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Watched {
        Watched { stream, activity, first: Vec::new(), discarded: 0 }
    }

    /// Whether the peer begins with HTTP/2 without being asked.
    pub(super) async fn begins_http2(&mut self) -> io::Result<bool> {
        while PREFACE.starts_with(&self.first) && self.first.len() < PREFACE.len() {
            let mut bytes = [0; PREFACE.len()];
            let wanted = bytes.get_mut(self.first.len()..).unwrap_or_default();
            let count = self.stream.read(wanted).await?;
            if count == 0 {
                break;
            }
            self.first.extend_from_slice(wanted.get(..count).unwrap_or_default());
        }
        Ok(self.first == PREFACE)
    }

    fn note_write<T>(&self, result: Poll<T>) -> Poll<T> {
        self.activity.has_written(result.is_pending());
        result
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            self.activity.has_read();
            let count = self.first.len().min(buffer.remaining());
            buffer.put_slice(self.first.get(..count).unwrap_or_default());
            self.first.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.has_read();
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_write(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.note_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Says that we are done. If the peer may still be sending a body that we refused, reads on
    /// until it is done too: to close at once would reset the connection, and the peer would see
    /// the reset in place of our answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        if !self.activity.lingers() {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; SCRATCH];
        while self.discarded < MOST_DISCARDED {
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            match buffer.filled().len() {
                0 => break,
                count => self.discarded += count,
            }
        }
        Poll::Ready(Ok(()))
    }
}
