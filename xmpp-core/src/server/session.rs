//! A bound session as the rest of the server sees it: an address and an outbox.

mod asleep;
mod outbox;
mod resumption;

pub(crate) use asleep::Burden;
pub(crate) use outbox::{Aside, Blocked, Left, Outgoing};
pub(crate) use resumption::Vigil;

use super::{
    Limits, SessionFlag, buffers,
    client_state::{self, Held, Idle},
    clients::Origin,
    management, seconds,
};
use crate::{
    jid::Jid,
    stream::StreamError,
    xml::{Stanza, ns},
};
use outbox::{Outbox, State, close, finish_push, set_aside, wake};
use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

/// What happened to a stanza put into an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is queued; the session's end will deliver it or bounce it.
    Queued,
    /// The same, and the session hibernates: what sleepers hold together has grown.
    Asleep,
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
    /// How its client has logged in.
    origin: Mutex<Option<Arc<Origin>>>,
    /// The server's tick when something was last read.
    heard: AtomicU32,
    /// Stanzas of the client that were handled (XEP-0198 §4); only its driver counts.
    handled: AtomicU32,
    /// What extensions have noted ([`SessionFlag`](super::SessionFlag)).
    flags: AtomicU32,
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
        Session {
            jid,
            role,
            outbox: Mutex::default(),
            availability: Mutex::default(),
            origin: Mutex::default(),
            heard: AtomicU32::new(tick),
            handled: AtomicU32::new(0),
            flags: AtomicU32::new(0),
        }
    }

    pub(crate) fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    pub(crate) fn set_flag(&self, flag: SessionFlag, on: bool) {
        if on {
            self.flags.fetch_or(flag.0, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!flag.0, Ordering::Relaxed);
        }
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

    /// How its client has logged in, if that is known.
    pub(crate) fn origin(&self) -> Option<Arc<Origin>> {
        self.origin.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Notes how its client has logged in.
    pub(super) fn came_by(&self, origin: Origin) {
        *self.origin.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Arc::new(origin));
    }

    /// Queues the stanza that `write` appends, as long as the outbox stays within its limits.
    pub(crate) fn push(&self, limits: &Limits, write: impl FnOnce(&mut Vec<u8>)) -> Pushed {
        self.push_idle(limits, "", || None, write)
    }

    /// The same for a stanza of `from` that may have to wait while the client is inactive, or give way to a later one
    /// while it is away, if `idle` says so.
    pub(crate) fn push_idle(
        &self,
        limits: &Limits,
        from: &str,
        idle: impl FnOnce() -> Option<Idle>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Pushed {
        let mut outbox = self.outbox();
        if outbox.state != State::Open {
            return Pushed::Gone;
        }
        if outbox.aside.is_some() {
            return set_aside(outbox, limits, limits.outbox(self.role), (from, idle()), write);
        }
        let full = !outbox.append(limits.outbox(self.role), write);
        finish_push(outbox, full)
    }

    /// Queues what is no stanza: it is not counted, and lost with the connection.
    pub(crate) fn push_raw(&self, limits: &Limits, bytes: &[u8]) {
        let mut outbox = self.outbox();
        if outbox.state == State::Open && !outbox.is_hibernating() {
            let full = outbox.bytes.len() + bytes.len() > limits.outbox(self.role);
            if !full {
                outbox.bytes.extend_from_slice(bytes);
            }
            finish_push(outbox, full);
        }
    }

    /// Queues a stream error, if any, and the end tag; nothing can be queued after.
    pub(crate) fn close(&self, error: Option<&StreamError>) {
        let mut outbox = self.outbox();
        if outbox.state == State::Open {
            close(&mut outbox, error);
            wake(outbox);
        }
    }

    /// Whether stanzas can be queued.
    pub(crate) fn is_open(&self) -> bool {
        self.outbox().state == State::Open
    }

    /// Makes the driver leave at once.
    pub(crate) fn kill(&self) {
        let mut outbox = self.outbox();
        outbox.killed = true;
        wake(outbox);
    }

    /// For the driver: what to do next.
    pub(crate) fn poll_outgoing(&self, cx: &mut Context<'_>, tick: u32) -> Poll<Outgoing> {
        let mut outbox = self.outbox();
        outbox.blocked = false;
        if outbox.killed {
            return Poll::Ready(Outgoing::Killed);
        }
        if let Some(loss) = outbox.written() {
            return Poll::Ready(Outgoing::Lost(loss));
        }
        match outbox.state {
            State::Closing { error } => {
                outbox.state = State::Ended;
                return Poll::Ready(Outgoing::Close { bytes: std::mem::take(&mut outbox.bytes), error });
            }
            State::Open if !outbox.bytes.is_empty() => {
                let mut bytes = std::mem::take(&mut outbox.bytes);
                if let Some(managed) = &mut outbox.managed {
                    managed.taken(tick, &mut bytes);
                }
                return Poll::Ready(Outgoing::Bytes(bytes));
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
        if outbox.state == State::Open && outbox.managed.as_ref().is_some_and(|managed| managed.loss().is_some()) {
            return Blocked::Lost;
        }
        outbox.blocked = true;
        outbox.wake_by(cx);
        match outbox.state {
            State::Closing { error } => Blocked::Closing { error },
            State::Open | State::Ended => Blocked::Open,
        }
    }

    /// The client is inactive, or active again (XEP-0352 §4.2): then it gets what was held back.
    pub(crate) fn set_inactive(&self, inactive: bool, limits: &Limits) {
        let mut outbox = self.outbox();
        if inactive {
            outbox.aside.get_or_insert_with(|| Box::new(Aside::Inactive(Held::default())));
        } else if outbox.state == State::Open && matches!(outbox.aside.as_deref(), Some(Aside::Inactive(_))) {
            let full = !outbox.release(limits.outbox(self.role));
            if !full {
                outbox.aside = None;
            }
            finish_push(outbox, full);
        }
    }

    /// Whether what is sent to it waits: its client is inactive, or away.
    pub(crate) fn is_aside(&self) -> bool {
        self.outbox().aside.is_some()
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        stanza::Condition,
        stream::{STREAM_END, management::Enable},
    };
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
        let limits = Limits { outbox_bytes: 100, ..Limits::default() };
        session.push(&limits, |out| out.extend(std::iter::repeat_n(b' ', bytes)))
    }

    #[test]
    fn abuse_a064_the_outbox_has_its_limit_to_the_byte() {
        let one = session();
        assert_eq!(push(&one, 60), Pushed::Queued);
        assert_eq!(push(&one, 40), Pushed::Queued);
        assert_eq!(push(&one, 1), Pushed::Full);
        assert_eq!(push(&one, 1), Pushed::Gone);
        let left = String::from_utf8(one.leave(None).unwrap().queued).unwrap();
        assert!(left.trim_start().starts_with("<stream:error><policy-violation"), "{left}");
        assert_eq!(push(&session(), 101), Pushed::Full);
    }

    #[test]
    fn a_blocked_driver_is_woken_by_the_end_alone() {
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        let mut cx = Context::from_waker(&waker);
        let session = session();
        assert!(session.poll_outgoing(&mut cx, 0).is_pending());
        push(&session, 1);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(matches!(session.poll_outgoing(&mut cx, 0), Poll::Ready(Outgoing::Bytes(_))));
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

    #[test]
    fn rfc6120_4_4_nothing_is_enabled_behind_the_end_tag() {
        let session = session();
        session.close(None);
        let enabled = session.enable(&Enable::default(), &Limits::default(), true);
        assert_eq!(enabled, Err(Condition::UnexpectedRequest));
        assert_eq!(session.leave(None).unwrap().queued, STREAM_END.as_bytes());
    }
}
