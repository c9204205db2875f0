//! The socket of a stream between servers: reads and writes at once, each as far as it gets.

use super::super::{buffers, throttle::Bucket};
use crate::net::Transport;
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// What a step brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Read,
    Wrote,
    /// The peer has closed its side.
    End,
}

pub(super) struct Io {
    transport: Option<Transport>,
    /// To be written, as far as `written`.
    pub(super) output: Vec<u8>,
    pub(super) written: usize,
    flushed: bool,
    /// Read, and not yet scanned from `start` to `end`.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    bucket: Bucket,
    /// Nothing is read while more than this waits to be written.
    limit: usize,
}

impl Io {
    pub(super) fn new(transport: Transport, bucket: Bucket, limit: usize) -> Io {
        Io {
            transport: Some(transport),
            output: Vec::new(),
            written: 0,
            flushed: true,
            buffer: buffers::take_read(),
            start: 0,
            end: 0,
            bucket,
            limit,
        }
    }

    pub(super) fn transport(&self) -> Option<&Transport> {
        self.transport.as_ref()
    }

    /// What was read and is not scanned.
    pub(super) fn input(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// All but the last `left` bytes of the input are scanned.
    pub(super) fn consume(&mut self, left: usize) {
        self.start = self.end.saturating_sub(left);
    }

    /// Whether all is written.
    pub(super) fn is_clear(&self) -> bool {
        self.output.is_empty() && self.flushed
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.output.is_empty()
    }

    /// Reads, if `read`, or writes something. Cancel-safe.
    pub(super) async fn step(&mut self, read: bool) -> io::Result<Progress> {
        poll_fn(|cx| self.poll(cx, read)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<io::Result<Progress>> {
        let Some(transport) = &mut self.transport else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let rest = self.output.get(self.written..).unwrap_or_default();
        if !rest.is_empty() {
            if let Poll::Ready(count) = Pin::new(&mut *transport).poll_write(cx, rest)? {
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.written += count;
                self.flushed = false;
                if self.written >= self.output.len() {
                    buffers::give_write(std::mem::take(&mut self.output));
                    self.written = 0;
                }
                return Poll::Ready(Ok(Progress::Wrote));
            }
        } else if !self.flushed && Pin::new(&mut *transport).poll_flush(cx)?.is_ready() {
            self.flushed = true;
            return Poll::Ready(Ok(Progress::Wrote));
        }
        // A peer that asks and asks, and takes no answers, is not heard (ABUSE A101).
        if !read || self.start < self.end || self.output.len().saturating_sub(self.written) > self.limit {
            return Poll::Pending;
        }
        ready!(self.bucket.poll_allowed(cx));
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(transport).poll_read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        if count == 0 {
            return Poll::Ready(Ok(Progress::End));
        }
        self.bucket.spend(count);
        (self.start, self.end) = (0, count);
        Poll::Ready(Ok(Progress::Read))
    }

    /// Writes all, and gives the transport up to a TLS handshake. Nothing that came before it may be left (RFC 6120
    /// §5.4.3.3, ABUSE A026).
    pub(super) async fn surrender(&mut self) -> io::Result<Transport> {
        let Some(mut transport) = self.transport.take() else { return Err(io::ErrorKind::NotConnected.into()) };
        transport.write_all(self.output.get(self.written..).unwrap_or_default()).await?;
        transport.flush().await?;
        self.output.clear();
        self.written = 0;
        self.flushed = true;
        if !self.input().iter().all(u8::is_ascii_whitespace) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "data before the TLS handshake"));
        }
        (self.start, self.end) = (0, 0);
        Ok(transport)
    }

    /// Goes on with another transport.
    pub(super) fn resume(&mut self, transport: Transport) {
        self.transport = Some(transport);
    }

    /// Closes our side and reads until the peer closes its own: closing on unread data would reset the connection, and
    /// the peer would never see why.
    pub(super) async fn linger(&mut self) -> io::Result<()> {
        let Some(transport) = &mut self.transport else { return Ok(()) };
        transport.shutdown().await?;
        while tokio::io::AsyncReadExt::read(transport, &mut self.buffer).await? > 0 {}
        Ok(())
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        buffers::give_read(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn abuse_a101_who_takes_no_answers_is_not_heard() {
        let (ours, mut theirs) = Transport::pair(64);
        let mut io = Io::new(ours, Bucket::new(1 << 20, 1 << 20), 100);
        io.output = vec![b'x'; 300];
        theirs.write_all(b"more").await.unwrap();
        assert_eq!(io.step(true).await.unwrap(), Progress::Wrote);
        let heard = poll_fn(|cx| Poll::Ready(io.poll(cx, true).is_ready())).await;
        assert!(!heard, "there is too much for it to take");
        io.output.truncate(io.written + 50);
        assert_eq!(io.step(true).await.unwrap(), Progress::Read);
    }
}
