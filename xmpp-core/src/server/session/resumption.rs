//! Stream management of a session (XEP-0198): who drives it, what is acknowledged, and how it is resumed.

use super::{
    Limits, Session,
    asleep::Burden,
    management::{self, Loss, Managed},
    outbox::{Aside, Left, State, wake},
    seconds,
};
use crate::{
    stanza::Condition,
    stream::{
        ResumeError,
        management::{Ack, Enable, Enabled, HandledCountTooHigh},
    },
};
use std::{
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
};

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

impl Session {
    /// For the driver: it leaves. With the tick when its connection was lost, the session hibernates if it can; else no
    /// more can be queued, and what the client may not have got comes back.
    pub(crate) fn leave(&self, lost: Option<(u32, Burden)>) -> Option<Left> {
        let mut outbox = self.outbox();
        let waiting = outbox.managed.as_mut().map(|managed| managed.waited()).unwrap_or_default();
        let hibernates = lost.is_some_and(|(tick, burden)| outbox.hibernate(tick, burden));
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

    /// How much it holds while it hibernates, in bytes; `None` if it does not.
    pub(crate) fn burden(&self) -> Option<usize> {
        match self.outbox().aside.as_deref() {
            Some(Aside::Asleep(asleep)) => Some(asleep.burden()),
            _ => None,
        }
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
        if let Err(error) = managed.can_resume(handled) {
            // Who counts what was never sent does not displace a connection that is there.
            return Poll::Ready(Err(ResumeError::TooHigh(error)));
        }
        if !managed.is_hibernating() {
            managed.wait(cx.waker());
            if managed.lose(Loss::Resumed) {
                wake(guard);
            }
            return Poll::Pending;
        }
        let missed = match outbox.aside.take().map(|aside| *aside) {
            Some(Aside::Asleep(asleep)) => Some(asleep.into_stanzas()),
            _ => None,
        };
        if let Err(error) = managed.resume(handled, missed.into_iter().flatten(), &mut outbox.bytes) {
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

    /// For the keeper: asks a managed session that is silent, and gives a connection up that does not answer.
    pub(crate) fn keep_vigil(&self, tick: u32, limits: &Limits) -> Vigil {
        let (silence, patience) = (seconds(limits.keepalive), seconds(limits.keepalive_answer));
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
}
