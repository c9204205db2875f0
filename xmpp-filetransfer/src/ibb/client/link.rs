//! What the ends of an in-band stream share: the application's, the one that sends, and the one that receives.

use super::super::{Acknowledge, Blocks, Data, IbbError, Reading};
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};
use xmpp_core::{
    jid::Jid,
    stanza::{StanzaError, generate_id},
};

#[derive(Debug)]
struct State {
    blocks: Blocks,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// A stream, behind a lock.
#[derive(Debug)]
pub(super) struct Link {
    state: Mutex<State>,
    /// Something has changed, for who sends.
    work: Notify,
    /// The same, for answers that wait.
    changed: Notify,
    /// What ids of our messages begin with.
    token: String,
}

impl Link {
    pub(super) fn new(blocks: Blocks) -> Link {
        let state = State { blocks, reader: None, writer: None };
        Link { state: Mutex::new(state), work: Notify::new(), changed: Notify::new(), token: generate_id() }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the stream, and wakes all who may wait for it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Blocks) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state.blocks);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        self.work.notify_one();
        self.changed.notify_waiters();
        result
    }

    /// Looks at the stream as who sends does; wakes nobody.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Blocks) -> T) -> T {
        look(&mut self.state().blocks)
    }

    /// Resolves when there may be something to send.
    pub(super) async fn work(&self) {
        self.work.notified().await;
    }

    pub(super) async fn wait_until(&self, condition: impl Fn(&Blocks) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if condition(&self.state().blocks) {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn receive(&self, block: &Data) -> Result<Acknowledge, StanzaError> {
        let bytes = block.bytes();
        self.change(|blocks| match bytes {
            Some(bytes) => blocks.receive(block.seq, &bytes),
            None => Err(blocks.receive_garbage()),
        })
    }
}

/// An in-band stream (XEP-0047): what is written comes out at the peer, in order.
///
/// Writing waits when the peer is slow, and so does the peer when nothing is read. Less than a block goes when nothing else
/// is on its way, or when flushed; a flush ends when the peer has answered everything. Shutting it down closes it for both
/// (§2.3): what the peer has still to say can be read until the end. A stream that is dropped is closed.
#[derive(Debug)]
pub struct IbbStream {
    link: Arc<Link>,
    peer: Jid,
    sid: String,
    block_size: u16,
}

impl IbbStream {
    pub(super) fn new(link: Arc<Link>, peer: Jid, sid: String, block_size: u16) -> IbbStream {
        IbbStream { link, peer, sid, block_size }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Jid {
        &self.peer
    }

    /// The stream's id.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// The most bytes of a block, as agreed.
    pub fn block_size(&self) -> u16 {
        self.block_size
    }
}

impl Drop for IbbStream {
    fn drop(&mut self) {
        self.link.change(|blocks| {
            blocks.stop_reading();
            blocks.close();
        });
    }
}

impl AsyncRead for IbbStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.link.state();
        let had_room = state.blocks.has_room();
        match state.blocks.read(out.initialize_unfilled()) {
            Reading::Bytes(count) => {
                out.advance(count);
                if !had_room && state.blocks.has_room() {
                    drop(state);
                    self.link.changed.notify_waiters();
                }
                Poll::Ready(Ok(()))
            }
            Reading::End => Poll::Ready(Ok(())),
            Reading::Failed(error) => Poll::Ready(Err(error.into())),
            Reading::Wait => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl IbbStream {
    /// Waits as a writer until `done` says so.
    fn poll_until(
        &self,
        cx: &mut Context<'_>,
        done: impl FnOnce(&mut Blocks) -> Result<bool, IbbError>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.link.state();
        let result = match done(&mut state.blocks) {
            Ok(true) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error.into())),
            Ok(false) => {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        };
        drop(state);
        self.link.work.notify_one();
        result
    }
}

impl AsyncWrite for IbbStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut taken = 0;
        let written = self.poll_until(cx, |blocks| {
            taken = blocks.write(bytes)?;
            Ok(taken > 0)
        });
        written.map_ok(|()| taken)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_until(cx, |blocks| {
            blocks.hurry();
            blocks.is_flushed()
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_until(cx, |blocks| {
            blocks.close();
            blocks.is_closed()
        })
    }
}
