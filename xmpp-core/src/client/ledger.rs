//! The books of a session: what was written and is not acknowledged, and by what the session can be resumed
//! (XEP-0198). They outlive the connection. No I/O.

use super::{
    handled::Handled,
    receipt::{Handover, ReceiptSender},
    unacknowledged::{self, SavedSession, SavedStanza, Unacknowledged},
};
use crate::{
    jid::FullJid,
    stream::{
        OtherHost, Resumption,
        management::{Enabled, Full, HandledCountTooHigh, Seconds, Unacked, UnackedLimits, newly_acked},
    },
};
use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Who wants a stanza sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The application, with `send`.
    Application,
    /// The application, with a request of this id.
    Request(String),
    /// The client itself: answers, pings.
    Own,
}

/// A stanza to be written.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) bytes: Vec<u8>,
    pub(super) origin: Origin,
    pub(super) since: SystemTime,
    receipt: Option<ReceiptSender>,
}

impl Outgoing {
    pub(super) fn new(bytes: Vec<u8>, origin: Origin) -> Outgoing {
        Outgoing { bytes, origin, since: SystemTime::now(), receipt: None }
    }

    /// What becomes of it is to be told.
    pub(super) fn followed(mut self, receipt: Option<ReceiptSender>) -> Outgoing {
        self.receipt = receipt;
        self
    }

    fn tell(&mut self, handover: Handover) {
        if let Some(receipt) = self.receipt.take() {
            receipt.tell(handover);
        }
    }

    /// For the application to know of, if it was the one who sent it.
    pub(super) fn report(mut self, doubtful: bool) -> Option<Unacknowledged> {
        self.tell(if doubtful { Handover::Doubtful } else { Handover::Unsent });
        let stanza = unacknowledged::parse(&self.bytes).filter(|_| self.origin == Origin::Application)?;
        Some(Unacknowledged { stanza, since: self.since, doubtful })
    }
}

/// Whether the server counts stanzas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Off,
    /// `<enable/>` has been sent: we count, the answer is to come.
    Enabling,
    On,
}

/// By what a session is resumed.
#[derive(Debug)]
struct Ticket {
    id: String,
    location: Option<String>,
    max: Option<u32>,
}

/// What becomes of the stanzas of a session that is lost for good.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// These have not arrived: they can be sent in the next session.
    pub(super) again: VecDeque<Outgoing>,
    /// Of these it is not known.
    pub(super) doubtful: Vec<Outgoing>,
}

/// The books. Without stream management a stanza leaves them when it is written.
#[derive(Debug)]
pub(super) struct Ledger {
    stage: Stage,
    ticket: Option<Ticket>,
    jid: Option<FullJid>,
    limits: UnackedLimits,
    out: Unacked<Outgoing>,
    /// How many at the front of `out` have been put into the output of this connection, and how many of those the
    /// connection has taken as a whole.
    put: usize,
    taken: usize,
    /// How many of those that are put were acknowledged before the connection was known to have taken them.
    ahead: usize,
    /// Bytes of those that have not been put.
    waiting: usize,
    /// How many at the front of `out` some connection has taken as a whole, since the server last told its count.
    doubtful: usize,
    /// The server has been asked and has not answered.
    asked: bool,
    /// It is to be asked in any case.
    ask: bool,
    /// What the server is told at a resumption.
    told: u32,
    /// Its counts may be ahead of ours: those are of a session that was saved, and then used.
    stale: bool,
    lost: Option<Instant>,
    pub(super) handled: Handled,
}

impl Ledger {
    pub(super) fn new(limits: UnackedLimits) -> Ledger {
        Ledger {
            stage: Stage::Off,
            ticket: None,
            jid: None,
            limits,
            out: Unacked::new(limits),
            put: 0,
            taken: 0,
            ahead: 0,
            waiting: 0,
            doubtful: 0,
            asked: false,
            ask: false,
            told: 0,
            stale: false,
            lost: None,
            handled: Handled::default(),
        }
    }

    /// That of a session that was saved.
    pub(super) fn restored(limits: UnackedLimits, saved: SavedSession) -> Ledger {
        let mut out = Unacked::resumed(limits, saved.acknowledged);
        let mut waiting = 0;
        for stanza in saved.stanzas {
            let origin = if stanza.sent { Origin::Application } else { Origin::Own };
            let outgoing = Outgoing { since: stanza.since, ..Outgoing::new(stanza.xml.into_bytes(), origin) };
            let bytes = outgoing.bytes.len();
            waiting += bytes;
            if out.push(outgoing, bytes).is_err() {
                tracing::error!("a saved session is larger than the client's limits");
                break;
            }
        }
        Ledger {
            stage: Stage::On,
            ticket: Some(Ticket { id: saved.id, location: saved.location, max: saved.max }),
            jid: Some(saved.jid),
            waiting,
            doubtful: saved.doubtful.min(out.len()),
            out,
            stale: true,
            handled: Handled::at(saved.handled),
            ..Ledger::new(limits)
        }
    }

    /// For another process, or a later time; `None` if the session cannot be resumed. `unsent` waits behind.
    pub(super) fn save<'a>(&'a self, unsent: impl Iterator<Item = &'a Outgoing>) -> Option<SavedSession> {
        let (Some(ticket), Some(jid)) = (&self.ticket, &self.jid) else { return None };
        // A request has nobody any more who waits for it.
        let unsent = unsent.filter(|outgoing| !matches!(outgoing.origin, Origin::Request(_)));
        let saved = |outgoing: &Outgoing| SavedStanza {
            xml: String::from_utf8_lossy(&outgoing.bytes).into_owned(),
            since: outgoing.since,
            sent: outgoing.origin == Origin::Application,
        };
        Some(SavedSession {
            id: ticket.id.clone(),
            jid: jid.clone(),
            handled: self.handled.count(),
            acknowledged: self.out.sent().wrapping_sub(count(self.out.len())),
            stanzas: self.out.iter().chain(unsent).map(saved).collect(),
            doubtful: self.doubtful.max(self.taken),
            location: ticket.location.clone(),
            max: ticket.max,
            keys: None,
            token: None,
            floor: None,
        })
    }

    /// A new session begins. What was in the books has been settled.
    pub(super) fn begin(&mut self, jid: FullJid, enabling: bool) {
        *self = Ledger::new(self.limits);
        self.jid = Some(jid);
        if enabling {
            self.stage = Stage::Enabling;
        }
    }

    /// What a resumption needs, if one is possible; `told` is remembered.
    pub(super) fn resumption(&mut self) -> Option<Resumption> {
        let (Some(ticket), Some(jid)) = (&self.ticket, &self.jid) else { return None };
        self.told = self.handled.count();
        Some(Resumption { id: ticket.id.clone(), handled: self.told, jid: jid.clone() })
    }

    pub(super) fn is_resumable(&self) -> bool {
        self.ticket.is_some()
    }

    /// Whether the server's time for a resumption has passed.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        let max = self.ticket.as_ref().and_then(|ticket| ticket.max);
        let until = max.zip(self.lost).and_then(|(max, lost)| lost.checked_add(Duration::from_secs(max.into())));
        until.is_some_and(|until| until < now)
    }

    /// Where the server would like us to resume.
    pub(super) fn location(&self) -> Option<OtherHost> {
        OtherHost::parse(self.ticket.as_ref()?.location.as_deref()?)
    }

    /// This session is not to be resumed: its state is not to be trusted.
    pub(super) fn forfeit(&mut self) {
        self.ticket = None;
    }

    /// The stream goes on in another connection; the server has handled `h`. What it has not is to be put anew.
    pub(super) fn resumed(&mut self, h: u32) -> Result<(), HandledCountTooHigh> {
        let all = self.out.sent();
        let ahead = h.wrapping_sub(all);
        if self.stale && ahead > 0 && ahead < u32::MAX / 2 {
            // All that was saved has arrived, and more, which was sent after.
            let acked = arrived(self.out.ack(all)?);
            tracing::debug!(acked, ahead, "the saved session was not the latest");
            self.out = Unacked::resumed(self.limits, h);
        } else {
            arrived(self.out.ack(h)?);
        }
        self.stale = false;
        self.restart();
        self.doubtful = 0;
        self.handled.resumed(self.told);
        Ok(())
    }

    /// The connection is lost.
    pub(super) fn lost(&mut self, now: Instant) {
        self.doubtful = self.doubtful.max(self.taken);
        self.restart();
        self.lost = Some(now);
    }

    fn restart(&mut self) {
        (self.put, self.taken, self.ahead) = (0, 0, 0);
        (self.asked, self.ask) = (false, false);
        self.waiting = self.out.bytes();
    }

    /// The session is lost for good. The server may have said how many stanzas it handled.
    pub(super) fn settle(&mut self, h: Option<u32>) -> Settled {
        let counted = h.is_some_and(|h| self.out.ack(h).map(arrived).is_ok());
        let doubtful = if counted { 0 } else { self.doubtful.max(self.taken) };
        let mut settled = Settled::default();
        for (index, outgoing) in self.out.take().enumerate() {
            if index < doubtful {
                settled.doubtful.push(outgoing);
            } else if outgoing.origin != Origin::Own {
                settled.again.push_back(outgoing);
            }
        }
        let jid = self.jid.take();
        *self = Ledger::new(self.limits);
        self.jid = jid;
        settled
    }

    /// Whether all that was put has arrived, as far as the server says.
    pub(super) fn is_clear(&self) -> bool {
        self.out.is_empty()
    }

    /// Whether acknowledgements are to be expected.
    pub(super) fn is_managed(&self) -> bool {
        self.stage != Stage::Off
    }

    /// Whether the server answers `<r/>`.
    pub(super) fn is_on(&self) -> bool {
        self.stage == Stage::On
    }

    /// How many stanzas are in the books, and how many bytes.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.out.len(), self.out.bytes())
    }

    /// How many stanzas wait to be put, and how many bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.out.len() - self.put, self.waiting)
    }

    /// One more stanza, to be put after those before it.
    pub(super) fn push(&mut self, outgoing: Outgoing) -> Result<(), Full<Outgoing>> {
        let bytes = outgoing.bytes.len();
        self.out.push(outgoing, bytes)?;
        self.waiting += bytes;
        Ok(())
    }

    /// Puts stanzas into `output`, until that is `most` long; `ends` gets where each ends.
    pub(super) fn put(&mut self, output: &mut Vec<u8>, ends: &mut VecDeque<usize>, most: usize) {
        for outgoing in self.out.iter().skip(self.put) {
            if output.len() >= most {
                break;
            }
            output.extend_from_slice(&outgoing.bytes);
            ends.push_back(output.len());
            self.put += 1;
            self.waiting = self.waiting.saturating_sub(outgoing.bytes.len());
        }
    }

    /// The connection has taken so many more of them.
    pub(super) fn taken(&mut self, stanzas: usize) {
        let early = self.ahead.min(stanzas);
        self.ahead -= early;
        self.taken += stanzas - early;
        if self.stage == Stage::Off {
            self.forget_taken();
        }
    }

    fn forget_taken(&mut self) {
        let kept = count(self.out.len().saturating_sub(self.taken));
        // Never more than there are.
        let written = |gone: &mut dyn Iterator<Item = Outgoing>| gone.for_each(|mut one| one.tell(Handover::Written));
        let _ = self.out.ack(self.out.sent().wrapping_sub(kept)).map(|mut gone| written(&mut gone));
        self.put = self.put.saturating_sub(self.taken);
        (self.taken, self.doubtful) = (0, 0);
    }

    /// Whether the server should be asked now: something was put, and it does not owe an answer already.
    pub(super) fn wants_ack(&mut self) -> bool {
        let wants = self.stage == Stage::On && (self.ask || (self.put > 0 && !self.asked));
        self.asked |= wants;
        self.ask = false;
        wants
    }

    /// The server is to be asked, whatever has been put.
    pub(super) fn asks(&mut self) {
        self.ask = true;
    }

    /// The server's count.
    pub(super) fn acked(&mut self, h: u32) -> Result<(), HandledCountTooHigh> {
        let put = self.out.sent().wrapping_sub(count(self.out.len() - self.put));
        newly_acked(put, count(self.put), h)?;
        let acked = arrived(self.out.ack(h)?);
        self.put = self.put.saturating_sub(acked);
        self.ahead += acked.saturating_sub(self.taken);
        self.taken = self.taken.saturating_sub(acked);
        self.doubtful = self.doubtful.saturating_sub(acked);
        self.asked = false;
        Ok(())
    }

    /// Stream management is on, from here on for what comes in.
    pub(super) fn enabled(&mut self, enabled: Enabled) {
        if self.stage != Stage::Enabling {
            return;
        }
        self.stage = Stage::On;
        self.handled = Handled::default();
        self.ticket = enabled.resumption().map(str::to_owned).map(|id| Ticket {
            id,
            location: enabled.location,
            max: enabled.max.map(|Seconds(max)| max),
        });
    }

    /// There is no stream management after all.
    pub(super) fn refused(&mut self) {
        if self.stage == Stage::Enabling {
            self.stage = Stage::Off;
            self.forget_taken();
        }
    }
}

/// The server has these; how many they are.
fn arrived(stanzas: impl Iterator<Item = Outgoing>) -> usize {
    stanzas.map(|mut outgoing| outgoing.tell(Handover::Acknowledged)).count()
}

fn count(stanzas: usize) -> u32 {
    u32::try_from(stanzas).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn xep0198_4_an_ack_that_overtakes_the_note_of_the_write_leaves_no_doubt() {
        let mut ledger = Ledger::new(UnackedLimits { stanzas: 10, bytes: 1000 });
        ledger.begin("juliet@localhost/x".parse().unwrap(), true);
        ledger.enabled(Enabled::default());
        let message = || Outgoing::new(b"<message/>".to_vec(), Origin::Application);
        (0..3).for_each(|_| ledger.push(message()).unwrap());
        ledger.put(&mut Vec::new(), &mut VecDeque::new(), 1000);
        // The write goes on when the server has the first two.
        ledger.acked(2).unwrap();
        ledger.taken(3);
        ledger.push(message()).unwrap();
        ledger.lost(Instant::now());
        let settled = ledger.settle(None);
        assert_eq!((settled.doubtful.len(), settled.again.len()), (1, 1), "the last was never written");
    }

    #[test]
    fn xep0198_4_each_is_told_of_its_own_acknowledgement() {
        let limits = UnackedLimits { stanzas: 10, bytes: 1000 };
        let followed = |ledger: &mut Ledger| {
            let (sender, receipt) = super::super::receipt::receipt();
            let outgoing = Outgoing::new(b"<message/>".to_vec(), Origin::Application);
            ledger.push(outgoing.followed(Some(sender))).unwrap();
            receipt
        };
        let mut ledger = Ledger::new(limits);
        ledger.begin("juliet@localhost/x".parse().unwrap(), true);
        ledger.enabled(Enabled::default());
        let receipts: Vec<_> = (0..3).map(|_| followed(&mut ledger)).collect();
        ledger.put(&mut Vec::new(), &mut VecDeque::new(), 1000);
        ledger.taken(3);
        ledger.acked(1).unwrap();
        let now = |receipts: &[super::super::Receipt]| receipts.iter().map(|one| one.now()).collect::<Vec<_>>();
        assert_eq!(now(&receipts), [Handover::Acknowledged, Handover::Waiting, Handover::Waiting]);
        ledger.lost(Instant::now());
        ledger.resumed(2).unwrap();
        assert_eq!(now(&receipts[1..]), [Handover::Acknowledged, Handover::Waiting], "sent again, it is the same");
        // Without stream management.
        let mut ledger = Ledger::new(limits);
        let receipt = followed(&mut ledger);
        ledger.put(&mut Vec::new(), &mut VecDeque::new(), 1000);
        assert_eq!(receipt.now(), Handover::Waiting);
        ledger.taken(1);
        assert_eq!(receipt.now(), Handover::Written);
    }
}
