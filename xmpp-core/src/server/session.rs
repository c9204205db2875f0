//! A bound session as the rest of the server sees it: an address and an outbox.

use super::{
    Limits, buffers,
    client_state::{Held, Idle},
    clients::Origin,
    management::{self, Loss, Managed},
};
use crate::{
    jid::Jid,
    stanza::Condition,
    stream::{
        ResumeError, STREAM_END, StreamCondition, StreamError,
        management::{Ack, Enable, Enabled, HandledCountTooHigh},
    },
    xml::{Stanza, Writer, ns},
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard,
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
    /// How its client has logged in.
    origin: Mutex<Option<Arc<Origin>>>,
    /// The server's tick when something was last read.
    heard: AtomicU32,
    /// Stanzas of the client that were handled (XEP-0198 §4); only its driver counts.
    handled: AtomicU32,
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
    /// Stream management, once the client has enabled it (XEP-0198).
    managed: Option<Box<Managed>>,
    /// What is held back, while the client is inactive (XEP-0352).
    held: Option<Box<Held>>,
}

/// What a session leaves behind: all that its client may not have got.
pub(crate) struct Left {
    /// Never taken.
    pub(crate) queued: Vec<u8>,
    /// What was not acknowledged, if acknowledgements there were.
    pub(crate) managed: Option<Box<Managed>>,
    /// Held back.
    pub(crate) held: Option<Box<Held>>,
}

/// What the keeper has to do about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vigil {
    /// Nothing.
    Fine,
    /// It is silent, and there is no better way to ask than white space or a ping.
    Silent,
    /// It has not answered in time, and cannot be resumed.
    Dead,
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
    /// Leave at once; the session may stay (XEP-0198 §5).
    Lost(Loss),
    /// Leave at once.
    Killed,
}

/// What the driver has to know while its socket takes nothing.
pub(crate) enum Blocked {
    /// Nothing.
    Open,
    /// The stream is to end once the socket takes something; it has only so much time left.
    Closing { error: bool },
    /// Leave at once; the session may stay (XEP-0198 §5).
    Lost,
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
        Session {
            jid,
            role,
            outbox: Mutex::default(),
            availability: Mutex::default(),
            origin: Mutex::default(),
            heard: AtomicU32::new(tick),
            handled: AtomicU32::new(0),
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
        self.push_idle(limits, || None, write)
    }

    /// The same for a stanza that may have to wait while the client is inactive, if `idle` says so.
    pub(crate) fn push_idle<'a>(
        &self,
        limits: &Limits,
        idle: impl FnOnce() -> Option<(Idle, &'a str)>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Pushed {
        let mut outbox = self.outbox();
        if outbox.state != State::Open {
            return Pushed::Gone;
        }
        if outbox.held.is_some() {
            return hold(outbox, limits, limits.outbox(self.role), idle(), write);
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

    /// For the driver: it leaves. With the tick when its connection was lost, the session hibernates if it can; else no
    /// more can be queued, and what the client may not have got comes back.
    pub(crate) fn leave(&self, lost: Option<u32>) -> Option<Left> {
        let mut outbox = self.outbox();
        let waiting = outbox.managed.as_mut().map(|managed| managed.waited()).unwrap_or_default();
        let hibernates = lost.is_some_and(|tick| outbox.hibernate(tick));
        let left = (!hibernates).then(|| outbox.end());
        outbox.waker = None;
        drop(outbox);
        waiting.into_iter().for_each(Waker::wake);
        left
    }

    /// Ends a session that hibernates, if it does.
    pub(crate) fn end_hibernation(&self) -> Option<Left> {
        let mut outbox = self.outbox();
        outbox.is_hibernating().then(|| outbox.end())
    }

    /// The tick until which it hibernates, if it does.
    pub(crate) fn wakes_at(&self) -> Option<u32> {
        self.outbox().managed.as_ref().and_then(|managed| managed.wakes_at())
    }

    /// Whether a lost connection may be followed by another.
    pub(crate) fn is_resumable(&self) -> bool {
        let outbox = self.outbox();
        outbox.state == State::Open && outbox.managed.as_ref().is_some_and(|managed| managed.is_resumable())
    }

    /// Whether it could be resumed by this id.
    pub(crate) fn resumes_as(&self, id: &str) -> bool {
        let outbox = self.outbox();
        outbox.state == State::Open && outbox.managed.as_ref().is_some_and(|managed| managed.is(id))
    }

    /// Takes the session over for a new connection, with the number of stanzas that the client has handled; ready with
    /// the number of those that were handled here. A driver that still has it is asked to leave first.
    pub(crate) fn poll_resume(&self, cx: &mut Context<'_>, handled: u32, tick: u32) -> Poll<Result<u32, ResumeError>> {
        let mut guard = self.outbox();
        let outbox = &mut *guard;
        let Some(managed) = outbox.managed.as_mut().filter(|_| outbox.state == State::Open) else {
            return Poll::Ready(Err(ResumeError::NotFound(None)));
        };
        if !managed.is_hibernating() {
            managed.wait(cx.waker());
            if managed.lose(Loss::Resumed) {
                wake(guard);
            }
            return Poll::Pending;
        }
        if let Err(error) = managed.resume(handled, &mut outbox.bytes) {
            return Poll::Ready(Err(ResumeError::TooHigh(error)));
        }
        self.heard_at(tick);
        Poll::Ready(Ok(self.handled.load(Ordering::Relaxed)))
    }

    /// Stream management begins (XEP-0198 §3). `in_stream`: `<enabled/>` is queued; else it is sent with the answer to
    /// the binding (XEP-0386), and this must come before anybody can reach the session.
    pub(crate) fn enable(&self, wish: &Enable, limits: &Limits, in_stream: bool) -> Result<Enabled, Condition> {
        let mut outbox = self.outbox();
        if outbox.managed.is_some() || outbox.state != State::Open {
            return Err(Condition::UnexpectedRequest);
        }
        let (managed, enabled) = Managed::new(wish, limits, !in_stream);
        outbox.managed = Some(Box::new(managed));
        self.handled.store(0, Ordering::Relaxed);
        if in_stream {
            management::write(&enabled, &mut outbox.bytes);
            wake(outbox);
        }
        Ok(enabled)
    }

    /// Whether stream management has begun.
    pub(crate) fn is_managed(&self) -> bool {
        self.outbox().managed.is_some()
    }

    /// A stanza of the client has been handled.
    pub(crate) fn count_handled(&self) {
        // Without a locked instruction: nobody else counts.
        self.handled.store(self.handled.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Answers `<r/>`; whether there is management.
    pub(crate) fn acknowledge(&self, limits: &Limits) -> bool {
        let mut answer = Vec::with_capacity(48);
        management::write(&Ack { h: self.handled.load(Ordering::Relaxed) }, &mut answer);
        let managed = self.outbox().managed.is_some();
        if managed {
            self.push_raw(limits, &answer);
        }
        managed
    }

    /// The client has handled `h` stanzas; `None` if there is no management.
    pub(crate) fn acknowledged(&self, h: u32, limits: &Limits, tick: u32) -> Option<Result<(), HandledCountTooHigh>> {
        let again = self.outbox().managed.as_mut()?.acked(h, tick);
        Some(again.map(|again| {
            if again {
                self.push_raw(limits, management::REQUEST);
            }
        }))
    }

    /// The client is inactive, or active again (XEP-0352 §4.2): then it gets what was held back.
    pub(crate) fn set_inactive(&self, inactive: bool, limits: &Limits) {
        let mut outbox = self.outbox();
        if inactive {
            outbox.held.get_or_insert_default();
        } else if outbox.held.is_some() && outbox.state == State::Open {
            let full = !outbox.release(limits.outbox(self.role));
            if !full {
                outbox.held = None;
            }
            finish_push(outbox, full);
        }
    }

    /// For the keeper: asks a managed session that is silent, and gives a connection up that does not answer.
    pub(crate) fn keep_vigil(&self, tick: u32, limits: &Limits) -> Vigil {
        let (silence, patience) = (super::seconds(limits.keepalive), super::seconds(limits.keepalive_answer));
        let heard = self.silent_since();
        let silent = tick.saturating_sub(heard);
        let mut guard = self.outbox();
        let outbox = &mut *guard;
        let Some(managed) = outbox.managed.as_mut().filter(|_| outbox.state == State::Open) else {
            return if silent >= silence { Vigil::Silent } else { Vigil::Fine };
        };
        if managed.asked_at().is_some_and(|asked| tick.saturating_sub(asked.max(heard)) >= patience) {
            if !managed.is_resumable() {
                return Vigil::Dead;
            }
            managed.lose(Loss::Silent);
            wake(guard);
        } else if silent >= silence && managed.ask(tick) {
            outbox.bytes.extend_from_slice(management::REQUEST);
            wake(guard);
        }
        Vigil::Fine
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

impl Outbox {
    fn is_hibernating(&self) -> bool {
        self.managed.as_ref().is_some_and(|managed| managed.is_hibernating())
    }

    /// Appends a stanza and remembers it, if there is room for both: `most` bytes in all here.
    fn append(&mut self, most: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.bytes.capacity() == 0 {
            self.bytes = buffers::take_write();
        }
        let before = self.bytes.len();
        write(&mut self.bytes);
        let mut room = self.bytes.len() <= most;
        if let Some(managed) = &mut self.managed {
            room = room && managed.sent(self.bytes.get(before..).unwrap_or_default());
            if managed.is_hibernating() {
                // Nobody is there to write it; it is remembered.
                buffers::give_write(std::mem::take(&mut self.bytes));
            }
        }
        if !room {
            self.bytes.truncate(before);
        }
        room
    }

    /// Appends what was held back; whether there was room.
    fn release(&mut self, most: usize) -> bool {
        let Some(mut held) = self.held.take() else { return true };
        let mut room = true;
        while let Some(first) = held.first() {
            room = self.append(most, |out| out.extend_from_slice(first));
            if !room {
                break;
            }
            held.remove_first();
        }
        self.held = Some(held);
        room
    }

    /// The driver has written all that it took; whether it is to leave, and why.
    fn written(&mut self) -> Option<Loss> {
        let managed = self.managed.as_mut()?;
        managed.written();
        managed.loss().filter(|_| self.state == State::Open)
    }

    /// The connection is lost; whether the session stays. What was held back counts as sent, and the client that comes
    /// back is active (XEP-0352 §5.2).
    fn hibernate(&mut self, tick: u32) -> bool {
        if self.state != State::Open || self.killed {
            return false;
        }
        let Some(managed) = &mut self.managed else { return false };
        if !managed.is_resumable() {
            return false;
        }
        if let Some(mut held) = self.held.take() {
            while let Some(first) = held.first() {
                if !managed.sent(first) {
                    self.held = Some(held);
                    return false;
                }
                held.remove_first();
            }
        }
        self.bytes = Vec::new();
        self.blocked = false;
        managed.hibernate(tick)
    }

    /// Nothing can be queued any more.
    fn end(&mut self) -> Left {
        self.state = State::Ended;
        Left { queued: std::mem::take(&mut self.bytes), managed: self.managed.take(), held: self.held.take() }
    }
}

/// Queues a stanza while the client is inactive, or holds it back. What must not wait comes behind what was held.
fn hold(
    mut outbox: MutexGuard<'_, Outbox>,
    limits: &Limits,
    most: usize,
    idle: Option<(Idle, &str)>,
    write: impl FnOnce(&mut Vec<u8>),
) -> Pushed {
    let Some((kind, from)) = idle else {
        let full = !(outbox.release(most) && outbox.append(most, write));
        return finish_push(outbox, full);
    };
    let mut bytes = buffers::take_write();
    write(&mut bytes);
    let mut crowded = false;
    if let Some(held) = &mut outbox.held {
        held.hold(kind, from, &bytes);
        crowded = held.is_full(limits.held_stanzas, limits.held_bytes);
    }
    buffers::give_write(bytes);
    if crowded && !outbox.release(most) {
        // It is among what is held, and handed on with it.
        finish_push(outbox, true);
    } else if crowded {
        finish_push(outbox, false);
    }
    Pushed::Queued
}

/// After something was queued, or found no room.
fn finish_push(mut outbox: MutexGuard<'_, Outbox>, full: bool) -> Pushed {
    if full {
        let error =
            StreamError::new(StreamCondition::PolicyViolation).with_text("too much is waiting for a reader this slow");
        close(&mut outbox, Some(&error));
    }
    if full || !outbox.blocked {
        wake(outbox);
    }
    if full { Pushed::Full } else { Pushed::Queued }
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
