//! What waits to be written to one session, and what its driver is told of it.

use super::{
    Limits, Pushed,
    asleep::{Asleep, Burden},
    buffers,
    client_state::{Held, Idle},
    management::{Loss, Managed},
};
use crate::{
    stream::{STREAM_END, StreamCondition, StreamError},
    xml::{Writer, ns},
};
use std::{
    sync::MutexGuard,
    task::{Context, Waker},
};

#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) bytes: Vec<u8>,
    pub(super) waker: Option<Waker>,
    pub(super) state: State,
    /// The time to close in good order is over.
    pub(super) killed: bool,
    /// The driver waits for its socket: what is queued does not concern it yet, only the end does.
    pub(super) blocked: bool,
    /// Stream management, once the client has enabled it (XEP-0198).
    pub(super) managed: Option<Box<Managed>>,
    /// Where stanzas go that do not go straight to the driver.
    pub(super) aside: Option<Box<Aside>>,
}

/// What does not go straight to the driver, and why.
#[derive(Debug)]
pub(crate) enum Aside {
    /// The client is inactive (XEP-0352): what is held back.
    Inactive(Held),
    /// The session hibernates (XEP-0198 §5): what came since.
    Asleep(Box<Asleep>),
}

/// What a session leaves behind: all that its client may not have got.
pub(crate) struct Left {
    /// Never taken.
    pub(crate) queued: Vec<u8>,
    /// What was not acknowledged, if acknowledgements there were.
    pub(crate) managed: Option<Box<Managed>>,
    /// Held back, or never to be written.
    pub(crate) aside: Option<Box<Aside>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
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

impl Outbox {
    pub(super) fn wake_by(&mut self, cx: &mut Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    pub(super) fn is_hibernating(&self) -> bool {
        self.managed.as_ref().is_some_and(|managed| managed.is_hibernating())
    }

    /// Appends a stanza and remembers it, if there is room for both: `most` bytes in all here.
    pub(super) fn append(&mut self, most: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.bytes.capacity() == 0 {
            self.bytes = buffers::take_write();
        }
        let before = self.bytes.len();
        write(&mut self.bytes);
        let mut room = self.bytes.len() <= most;
        if let Some(managed) = &mut self.managed {
            room = room && managed.sent(self.bytes.get(before..).unwrap_or_default());
        }
        if !room {
            self.bytes.truncate(before);
        }
        room
    }

    /// Appends what was held back; whether there was room.
    pub(super) fn release(&mut self, most: usize) -> bool {
        let Some(mut aside) = self.aside.take() else { return true };
        let mut room = true;
        if let Aside::Inactive(held) = &mut *aside {
            while let Some(first) = held.first() {
                room = self.append(most, |out| out.extend_from_slice(first));
                if !room {
                    break;
                }
                held.remove_first();
            }
            if room {
                // The memory that it took goes with it.
                *held = Held::default();
            }
        }
        self.aside = Some(aside);
        room
    }

    /// The driver has written all that it took; whether it is to leave, and why.
    pub(super) fn written(&mut self) -> Option<Loss> {
        let managed = self.managed.as_mut()?;
        managed.written();
        managed.loss().filter(|_| self.state == State::Open)
    }

    /// The connection is lost; whether the session stays. What was held back counts as sent, and the client that comes
    /// back is active (XEP-0352 §5.2).
    pub(super) fn hibernate(&mut self, tick: u32, burden: Burden) -> bool {
        if self.state != State::Open || self.killed {
            return false;
        }
        let Some(managed) = &mut self.managed else { return false };
        if !managed.is_resumable() {
            return false;
        }
        if let Some(Aside::Inactive(held)) = self.aside.as_deref_mut() {
            while let Some(first) = held.first() {
                if !managed.sent(first) {
                    return false;
                }
                held.remove_first();
            }
        }
        let hibernates = managed.hibernate(tick);
        if hibernates {
            self.bytes = Vec::new();
            self.blocked = false;
            let (stanzas, bytes) = managed.load();
            let asleep = Asleep::new(burden, stanzas, bytes);
            self.aside = Some(Box::new(Aside::Asleep(Box::new(asleep))));
        }
        hibernates
    }

    /// Nothing can be queued any more.
    pub(super) fn end(&mut self) -> Left {
        self.state = State::Ended;
        Left { queued: std::mem::take(&mut self.bytes), managed: self.managed.take(), aside: self.aside.take() }
    }
}

/// Queues a stanza of `from` that does not go straight to the driver.
#[cold]
pub(super) fn set_aside(
    mut outbox: MutexGuard<'_, Outbox>,
    limits: &Limits,
    most: usize,
    (from, idle): (&str, Option<Idle>),
    write: impl FnOnce(&mut Vec<u8>),
) -> Pushed {
    let Outbox { aside, managed, .. } = &mut *outbox;
    match (aside.as_deref_mut(), managed, idle) {
        (Some(Aside::Asleep(asleep)), Some(managed), _) => {
            let mut bytes = buffers::take_write();
            write(&mut bytes);
            // A rule of an extension's may give other stanzas out for these.
            let passing = idle.filter(|kind| match kind {
                Idle::Presence => bytes.starts_with(b"<presence"),
                Idle::ChatState => bytes.starts_with(b"<message"),
            });
            let has_room = |stanzas, bytes| managed.has_room(stanzas, bytes);
            let room = asleep.add(from, passing, &bytes, limits.hibernated_bytes, has_room);
            buffers::give_write(bytes);
            if room { Pushed::Asleep } else { finish_push(outbox, true) }
        }
        (Some(Aside::Inactive(held)), _, Some(kind)) => {
            let mut bytes = buffers::take_write();
            write(&mut bytes);
            held.hold(kind, from, &bytes);
            let crowded = held.is_full(limits.held_stanzas, limits.held_bytes);
            buffers::give_write(bytes);
            if crowded {
                // Without room it is among what is held, and handed on with it.
                let full = !outbox.release(most);
                finish_push(outbox, full);
            }
            Pushed::Queued
        }
        // What must not wait comes behind what was held.
        _ => {
            let full = !(outbox.release(most) && outbox.append(most, write));
            finish_push(outbox, full)
        }
    }
}

/// After something was queued, or found no room.
pub(super) fn finish_push(mut outbox: MutexGuard<'_, Outbox>, full: bool) -> Pushed {
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

pub(super) fn close(outbox: &mut Outbox, error: Option<&StreamError>) {
    if let Some(error) = error {
        let mut out = Writer::with_buffer(ns::CLIENT, std::mem::take(&mut outbox.bytes));
        error.write(&mut out);
        outbox.bytes = out.finish();
    }
    outbox.bytes.extend_from_slice(STREAM_END.as_bytes());
    outbox.state = State::Closing { error: error.is_some() };
}

/// Wakes the driver after the lock is released, so that it does not run into it.
pub(super) fn wake(mut outbox: MutexGuard<'_, Outbox>) {
    let waker = outbox.waker.take();
    drop(outbox);
    if let Some(waker) = waker {
        waker.wake();
    }
}
