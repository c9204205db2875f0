//! A pipe inside the process that holds no memory while nothing is in it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a pipe in memory; made by [`Transport::pair`](super::Transport::pair).
#[derive(Debug)]
pub struct Pipe {
    incoming: Arc<Flow>,
    outgoing: Arc<Flow>,
}

/// One direction.
#[derive(Debug)]
struct Flow(Mutex<State>);

#[derive(Debug)]
struct State {
    data: Vec<u8>,
    /// How much of `data` has been read.
    start: usize,
    room: usize,
    /// Nothing more will be written.
    ended: bool,
    /// Nobody will read any more.
    deserted: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Flow {
    fn new(room: usize) -> Arc<Flow> {
        Arc::new(Flow(Mutex::new(State {
            data: Vec::new(),
            start: 0,
            room: room.max(1),
            ended: false,
            deserted: false,
            reader: None,
            writer: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves a waker where one may lie already.
fn wait(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

impl Pipe {
    /// Two connected ends, with `room` octets in each direction.
    pub(super) fn pair(room: usize) -> (Pipe, Pipe) {
        let (a, b) = (Flow::new(room), Flow::new(room));
        (Pipe { incoming: Arc::clone(&a), outgoing: Arc::clone(&b) }, Pipe { incoming: b, outgoing: a })
    }
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.incoming.state();
        let unread = state.data.get(state.start..).unwrap_or_default();
        if unread.is_empty() {
            if state.ended || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            wait(&mut state.reader, cx);
            return Poll::Pending;
        }
        let count = unread.len().min(buf.remaining());
        buf.put_slice(unread.get(..count).unwrap_or_default());
        state.start += count;
        if state.start == state.data.len() {
            state.data = Vec::new();
            state.start = 0;
        }
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.outgoing.state();
        if state.deserted || state.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let free = state.room.saturating_sub(state.data.len() - state.start);
        if free == 0 && !bytes.is_empty() {
            wait(&mut state.writer, cx);
            return Poll::Pending;
        }
        if state.start > 0 {
            // What was read makes room, so that a reader in steps doesn't let the buffer grow.
            let start = std::mem::take(&mut state.start);
            state.data.drain(..start);
        }
        let count = bytes.len().min(free);
        state.data.extend_from_slice(bytes.get(..count).unwrap_or_default());
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.outgoing.state();
        state.ended = true;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut outgoing = self.outgoing.state();
        outgoing.ended = true;
        let reader = outgoing.reader.take();
        drop(outgoing);
        let mut incoming = self.incoming.state();
        incoming.deserted = true;
        incoming.data = Vec::new();
        incoming.start = 0;
        let writer = incoming.writer.take();
        drop(incoming);
        for waker in [reader, writer].into_iter().flatten() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_goes_in_comes_out_and_leaves_nothing_behind() {
        let (mut a, mut b) = Pipe::pair(8);
        let sent: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        let copy = sent.clone();
        let writer = tokio::spawn(async move {
            a.write_all(&copy).await.unwrap();
            a.shutdown().await.unwrap();
            a
        });
        let mut received = Vec::new();
        b.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, sent);
        let a = writer.await.unwrap();
        assert_eq!((a.outgoing.state().data.capacity(), b.outgoing.state().data.capacity()), (0, 0));
    }

    #[tokio::test]
    async fn room_is_what_is_held_at_most() {
        let (mut a, mut b) = Pipe::pair(8);
        assert_eq!(a.write(&[1; 100]).await.unwrap(), 8);
        let mut buffer = [0; 3];
        b.read_exact(&mut buffer).await.unwrap();
        assert_eq!(a.write(&[2; 100]).await.unwrap(), 3);
        drop(a);
        let mut rest = Vec::new();
        b.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [1, 1, 1, 1, 1, 2, 2, 2]);
    }

    #[tokio::test]
    async fn an_end_that_is_gone_is_noticed_by_the_other() {
        let (mut a, b) = Pipe::pair(1);
        assert_eq!(a.write(b"x").await.unwrap(), 1);
        let waiting = tokio::spawn(async move { (a.write(b"y").await, a) });
        tokio::task::yield_now().await;
        drop(b);
        let (written, mut a) = waiting.await.unwrap();
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(a.read(&mut [0; 4]).await.unwrap(), 0);
    }
}
