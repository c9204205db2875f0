//! Stream management of a session (XEP-0198): what it has been sent, who drives it, and what it says.

use super::{Limits, seconds};
use crate::{
    payload::Payload,
    stream::management::{Enable, Enabled, HandledCountTooHigh, Seconds, Unacked, UnackedLimits},
    xml::{Writer, ns},
};
use std::{task::Waker, time::SystemTime};

pub(crate) const REQUEST: &[u8] = b"<r xmlns='urn:xmpp:sm:3'/>";

/// A stanza that was sent and is not acknowledged.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) bytes: Box<[u8]>,
    /// When it was to be delivered first (XEP-0203).
    pub(crate) at: SystemTime,
}

/// The management of one session, from `<enable/>` on. It lies behind the lock of the outbox.
#[derive(Debug)]
pub(crate) struct Managed {
    unacked: Unacked<Sent>,
    /// The tick of the last `<r/>` that is not answered.
    asked: Option<u32>,
    announced: Announced,
    resumption: Option<Resumption>,
    link: Link,
    /// Those who want to resume and wait for the driver to leave.
    waiting: Vec<Waker>,
}

#[derive(Debug)]
struct Resumption {
    id: Box<str>,
    /// Seconds that it hibernates.
    time: u32,
}

/// How far `<enabled/>` has come. Stanzas queued before it do not count, and a client that never saw it cannot resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announced {
    Queued,
    Taken,
    Written,
}

/// Who drives the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// A connection, or a negotiation that is about to become one.
    Held,
    /// The same, but it is to leave without ending the session.
    Leaving(Loss),
    /// Nobody, until this tick.
    Hibernating { until: u32 },
}

/// Why a connection is given up while its session stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing is heard from it.
    Silent,
    /// Another connection resumes the session.
    Resumed,
}

impl Managed {
    /// As the client wishes within the limits, with what it is to be told. `announced` if it is told before anything
    /// else is written.
    pub(crate) fn new(wish: &Enable, limits: &Limits, announced: bool) -> (Managed, Enabled) {
        let most = seconds(limits.resume_time);
        let time = wish.max.filter(|max| max.0 > 0).map_or(most, |Seconds(max)| max.min(most));
        let resumption = (wish.resume && time > 0).then(|| Resumption { id: crate::random::token().into(), time });
        let mut enabled = Enabled::default();
        if let Some(Resumption { id, time }) = &resumption {
            enabled.resume = true;
            enabled.id = Some(id.to_string());
            enabled.max = Some(Seconds(*time));
        }
        let bounds = UnackedLimits { stanzas: limits.unacked_stanzas, bytes: limits.unacked_bytes };
        let managed = Managed {
            unacked: Unacked::new(bounds),
            asked: None,
            announced: if announced { Announced::Written } else { Announced::Queued },
            resumption,
            link: Link::Held,
            waiting: Vec::new(),
        };
        (managed, enabled)
    }

    /// A stanza goes into the outbox; whether there is room to remember it.
    pub(crate) fn sent(&mut self, bytes: &[u8]) -> bool {
        self.unacked.push(Sent { bytes: bytes.into(), at: SystemTime::now() }, bytes.len()).is_ok()
    }

    /// The outbox is taken to be written: if something is not acknowledged and nobody has asked, its end asks.
    pub(crate) fn taken(&mut self, tick: u32, bytes: &mut Vec<u8>) {
        if self.announced == Announced::Queued {
            self.announced = Announced::Taken;
        }
        if !self.unacked.is_empty() && self.asked.is_none() {
            bytes.extend_from_slice(REQUEST);
            self.asked = Some(tick);
        }
    }

    /// All that was taken is written.
    pub(crate) fn written(&mut self) {
        if self.announced == Announced::Taken {
            self.announced = Announced::Written;
        }
    }

    /// The client has handled `h` stanzas; whether to ask at once for more. Only one that gets on is asked at once: one
    /// that answers without having handled anything would be asked without end.
    pub(crate) fn acked(&mut self, h: u32, tick: u32) -> Result<bool, HandledCountTooHigh> {
        let newly = self.unacked.ack(h)?.count();
        let again = newly > 0 && !self.unacked.is_empty();
        self.asked = again.then_some(tick);
        Ok(again)
    }

    /// For the keeper: asks, unless that is done already.
    pub(crate) fn ask(&mut self, tick: u32) -> bool {
        let first = self.asked.is_none() && self.link == Link::Held;
        if first {
            self.asked = Some(tick);
        }
        first
    }

    /// Since when an answer is due.
    pub(crate) fn asked_at(&self) -> Option<u32> {
        self.asked.filter(|_| self.link == Link::Held)
    }

    /// Whether it resumes by this id.
    pub(crate) fn is(&self, id: &str) -> bool {
        self.resumption.as_ref().is_some_and(|resumption| *resumption.id == *id)
    }

    pub(crate) fn is_resumable(&self) -> bool {
        self.resumption.is_some() && self.announced == Announced::Written
    }

    /// Whether stanzas from before `<enabled/>` may be in the outbox.
    pub(crate) fn is_announced(&self) -> bool {
        self.announced == Announced::Written
    }

    /// Whether `<enabled/>` stands in the outbox still.
    pub(crate) fn is_queued(&self) -> bool {
        self.announced == Announced::Queued
    }

    pub(crate) fn is_hibernating(&self) -> bool {
        matches!(self.link, Link::Hibernating { .. })
    }

    /// When it has hibernated long enough.
    pub(crate) fn wakes_at(&self) -> Option<u32> {
        match self.link {
            Link::Hibernating { until } => Some(until),
            _ => None,
        }
    }

    /// The driver is to leave; whether that is news.
    pub(crate) fn lose(&mut self, loss: Loss) -> bool {
        let news = self.link == Link::Held;
        if news {
            self.link = Link::Leaving(loss);
        }
        news
    }

    pub(crate) fn loss(&self) -> Option<Loss> {
        match self.link {
            Link::Leaving(loss) => Some(loss),
            _ => None,
        }
    }

    /// The driver has left; whether the session stays. Seconds are counted in ticks, of which the first may be short.
    pub(crate) fn hibernate(&mut self, tick: u32) -> bool {
        let Some(resumption) = self.resumption.as_ref().filter(|_| self.is_resumable()) else { return false };
        self.link = Link::Hibernating { until: tick.saturating_add(resumption.time).saturating_add(1) };
        self.asked = None;
        true
    }

    /// Somebody waits for the driver to leave.
    pub(crate) fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|one| one.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }

    /// Those who have waited.
    pub(crate) fn waited(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.waiting)
    }

    /// Whether the client can have handled `h` stanzas. By the id it shows that it has seen `<enabled/>`, even where
    /// that is not known to be through.
    pub(crate) fn can_resume(&mut self, h: u32) -> Result<(), HandledCountTooHigh> {
        if self.announced == Announced::Taken {
            self.announced = Announced::Written;
        }
        self.unacked.check(h).map(drop)
    }

    /// Another connection takes over and the client has handled `h` stanzas: what is to be sent again goes into `out`,
    /// and what it `missed` after it. There has been [room](Self::has_room) for all of that.
    pub(crate) fn resume(
        &mut self,
        h: u32,
        missed: impl Iterator<Item = Sent>,
        out: &mut Vec<u8>,
    ) -> Result<(), HandledCountTooHigh> {
        drop(self.unacked.ack(h)?);
        self.link = Link::Held;
        for sent in missed {
            let bytes = sent.bytes.len();
            let full = self.unacked.push(sent, bytes).is_err();
            debug_assert!(!full, "a stanza was taken for which there is no room");
        }
        self.unacked.iter().for_each(|sent| out.extend_from_slice(&sent.bytes));
        Ok(())
    }

    /// Whether so many more stanzas of so many bytes could be remembered.
    pub(crate) fn has_room(&self, stanzas: usize, bytes: usize) -> bool {
        self.unacked.has_room(stanzas, bytes)
    }

    /// How many stanzas are remembered, and how many bytes.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.unacked.len(), self.unacked.bytes())
    }

    /// What was never acknowledged, oldest first.
    pub(crate) fn into_unacked(mut self) -> impl Iterator<Item = Sent> {
        self.unacked.take()
    }
}

/// Appends one element of stream management.
pub(crate) fn write<P: Payload>(payload: &P, out: &mut Vec<u8>) {
    let mut writer = Writer::with_buffer(ns::CLIENT, std::mem::take(out));
    payload.write(&mut writer);
    *out = writer.finish();
}
