//! A bound session as the rest of the server sees it: an address and an outbox.

use super::buffers;
use crate::{
    jid::Jid,
    stream::{STREAM_END, StreamCondition, StreamError},
    xml::{Stanza, Writer, ns},
};
use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// What happened to a stanza put into an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is queued; the session's end will deliver it or bounce it.
    Queued,
    /// The outbox is full; the session is being closed and the stanza was not queued.
    Full,
    /// The session has ended.
    Gone,
}

/// What is at the other end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A client: one resource of one account.
    Client,
    /// A component, which speaks for all of its domain (XEP-0114).
    Component,
    /// Another server (RFC 6120 §1.4).
    #[expect(dead_code)]
    Server,
}

/// A bound session.
#[derive(Debug)]
pub(crate) struct Session {
    jid: Jid,
    role: Role,
    outbox: Mutex<Outbox>,
    availability: Mutex<Availability>,
    /// The server's tick when something was last read.
    heard: AtomicU32,
}

#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    waker: Option<Waker>,
    state: State,
    /// The time to close in good order is over.
    killed: bool,
    /// The driver waits for its socket: what is queued does not concern it yet, only the end does.
    blocked: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// Nothing more may be queued; the end tag is in the queue.
    Closing { error: bool },
    /// The driver has taken the end tag, or has left.
    Ended,
}

/// What the driver is to do next.
pub(crate) enum Outgoing {
    /// Write this.
    Bytes(Vec<u8>),
    /// Write this, which ends the stream, with an error or without.
    Close { bytes: Vec<u8>, error: bool },
    /// Our side of the stream has ended.
    Ended,
    /// Leave at once.
    Killed,
}

/// What the driver has to know while its socket takes nothing.
pub(crate) enum Blocked {
    /// Nothing.
    Open,
    /// The stream is to end once the socket takes something; it has only so much time left.
    Closing { error: bool },
    /// Leave at once.
    Killed,
}

/// What a session last said of its presence (RFC 6121 §4): soft state of the directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Availability {
    /// The priority of an available resource; `None` for one that is merely connected.
    pub(crate) priority: Option<i8>,
    /// The last broadcast presence, stamped.
    pub(crate) presence: Option<Stanza>,
}

impl Session {
    pub(crate) fn new(jid: Jid, role: Role, tick: u32) -> Session {
        Session { jid, role, outbox: Mutex::default(), availability: Mutex::default(), heard: AtomicU32::new(tick) }
    }

    /// The full address.
    pub(crate) fn jid(&self) -> &Jid {
        &self.jid
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// The content namespace of its stream (RFC 6120 §4.8.2): what it is sent is written for this one.
    pub(crate) fn content_ns(&self) -> &'static str {
        match self.role {
            Role::Client => ns::CLIENT,
            Role::Component => ns::COMPONENT,
            Role::Server => ns::SERVER,
        }
    }

    /// Queues what `write` appends, as long as the outbox stays within `limit` bytes.
    pub(crate) fn push(&self, limit: usize, write: impl FnOnce(&mut Vec<u8>)) -> Pushed {
        let mut outbox = self.outbox();
        if outbox.state != State::Open {
            return Pushed::Gone;
        }
        if outbox.bytes.capacity() == 0 {
            outbox.bytes = buffers::take_write();
        }
        let before = outbox.bytes.len();
        write(&mut outbox.bytes);
        let full = outbox.bytes.len() > limit;
        if full {
            outbox.bytes.truncate(before);
            let error = StreamError::new(StreamCondition::PolicyViolation)
                .with_text("too much is waiting for a reader this slow");
            close(&mut outbox, Some(&error));
        }
        if full || !outbox.blocked {
            wake(outbox);
        }
        if full { Pushed::Full } else { Pushed::Queued }
    }

    /// Queues a stream error, if any, and the end tag; nothing can be queued after.
    pub(crate) fn close(&self, error: Option<&StreamError>) {
        let mut outbox = self.outbox();
        if outbox.state == State::Open {
            close(&mut outbox, error);
            wake(outbox);
        }
    }

    /// Makes the driver leave at once.
    pub(crate) fn kill(&self) {
        let mut outbox = self.outbox();
        outbox.killed = true;
        wake(outbox);
    }

    /// For the driver: what to do next.
    pub(crate) fn poll_outgoing(&self, cx: &mut Context<'_>) -> Poll<Outgoing> {
        let mut outbox = self.outbox();
        outbox.blocked = false;
        if outbox.killed {
            return Poll::Ready(Outgoing::Killed);
        }
        match outbox.state {
            State::Closing { error } => {
                outbox.state = State::Ended;
                return Poll::Ready(Outgoing::Close { bytes: std::mem::take(&mut outbox.bytes), error });
            }
            State::Open if !outbox.bytes.is_empty() => {
                return Poll::Ready(Outgoing::Bytes(std::mem::take(&mut outbox.bytes)));
            }
            State::Open | State::Ended => {}
        }
        // Ended too has to hear of a kill.
        outbox.wake_by(cx);
        if outbox.state == State::Ended { Poll::Ready(Outgoing::Ended) } else { Poll::Pending }
    }

    /// For the driver, when its socket takes nothing. It is woken when the stream is to end, so that a peer that never
    /// reads cannot stay.
    pub(crate) fn poll_blocked(&self, cx: &mut Context<'_>) -> Blocked {
        let mut outbox = self.outbox();
        if outbox.killed {
            return Blocked::Killed;
        }
        outbox.blocked = true;
        outbox.wake_by(cx);
        match outbox.state {
            State::Closing { error } => Blocked::Closing { error },
            State::Open | State::Ended => Blocked::Open,
        }
    }

    /// For the driver: no more can be queued; returns what was never taken.
    pub(crate) fn retire(&self) -> Vec<u8> {
        let mut outbox = self.outbox();
        outbox.state = State::Ended;
        outbox.waker = None;
        std::mem::take(&mut outbox.bytes)
    }

    /// Whether something has been queued that the driver has not taken: it is still busy with what came before.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.outbox().bytes.is_empty()
    }

    pub(crate) fn heard_at(&self, tick: u32) {
        self.heard.store(tick, Ordering::Relaxed);
    }

    pub(crate) fn silent_since(&self) -> u32 {
        self.heard.load(Ordering::Relaxed)
    }

    pub(crate) fn availability(&self) -> MutexGuard<'_, Availability> {
        self.availability.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Outbox {
    fn wake_by(&mut self, cx: &mut Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }
}

fn close(outbox: &mut Outbox, error: Option<&StreamError>) {
    if let Some(error) = error {
        let mut out = Writer::with_buffer(ns::CLIENT, std::mem::take(&mut outbox.bytes));
        error.write(&mut out);
        outbox.bytes = out.finish();
    }
    outbox.bytes.extend_from_slice(STREAM_END.as_bytes());
    outbox.state = State::Closing { error: error.is_some() };
}

/// Wakes the driver after the lock is released, so that it does not run into it.
fn wake(mut outbox: MutexGuard<'_, Outbox>) {
    let waker = outbox.waker.take();
    drop(outbox);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::{sync::Arc, sync::atomic::AtomicUsize, task::Wake};

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn session() -> Session {
        Session::new(Jid::new("a@localhost/x").unwrap(), Role::Client, 0)
    }

    fn push(session: &Session, bytes: usize) -> Pushed {
        session.push(100, |out| out.extend(std::iter::repeat_n(b' ', bytes)))
    }

    #[test]
    fn abuse_a064_the_outbox_has_its_limit_to_the_byte() {
        let one = session();
        assert_eq!(push(&one, 60), Pushed::Queued);
        assert_eq!(push(&one, 40), Pushed::Queued);
        assert_eq!(push(&one, 1), Pushed::Full);
        assert_eq!(push(&one, 1), Pushed::Gone);
        let left = String::from_utf8(one.retire()).unwrap();
        assert!(left.trim_start().starts_with("<stream:error><policy-violation"), "{left}");
        assert_eq!(push(&session(), 101), Pushed::Full);
    }

    #[test]
    fn a_blocked_driver_is_woken_by_the_end_alone() {
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        let mut cx = Context::from_waker(&waker);
        let session = session();
        assert!(session.poll_outgoing(&mut cx).is_pending());
        push(&session, 1);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(matches!(session.poll_outgoing(&mut cx), Poll::Ready(Outgoing::Bytes(_))));
        assert!(matches!(session.poll_blocked(&mut cx), Blocked::Open));
        push(&session, 1);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        session.close(None);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert!(matches!(session.poll_blocked(&mut cx), Blocked::Closing { error: false }));
        session.kill();
        assert_eq!(woken.0.load(Ordering::Relaxed), 3);
        assert!(matches!(session.poll_blocked(&mut cx), Blocked::Killed));
    }
}
