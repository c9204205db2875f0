//! What one device knows of proposals.

use super::{JingleMessage, Migrated};
use crate::jingle::{Reason, Winner, tie_break};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use xmpp_core::{
    jid::{BareJid, FullJid, Jid},
    xml::Stanza,
};

/// What has become of a proposal.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ProposalEvent {
    /// A contact wants a session, and this device may ring.
    Proposed {
        /// The session's id.
        id: String,
        /// Who.
        from: Jid,
        /// What for.
        descriptions: Vec<Stanza>,
        /// A session with the same contact that this one goes on with: it is to be ended, and this one taken without asking
        /// (§4.2). Both messages are among the [replies](Reaction::replies).
        resumes: Option<String>,
    },
    /// A device of the contact rings.
    Ringing {
        /// The session's id.
        id: String,
        /// Which.
        device: Jid,
    },
    /// A device of the contact takes it: the session is to be asked for there, under this id.
    Proceed {
        /// The session's id.
        id: String,
        /// Which.
        device: FullJid,
    },
    /// The contact does not want it; or both have proposed, and theirs counts.
    Rejected {
        /// The session's id.
        id: String,
        /// Why.
        reason: Option<Reason>,
        /// Both have proposed at the same time.
        tie_break: bool,
    },
    /// The contact does not want it any more; or it has rung for so long, with so many others, that this device gives it up.
    Retracted {
        /// The session's id.
        id: String,
        /// Why.
        reason: Option<Reason>,
    },
    /// Another device of our account has taken it: this one stops ringing.
    TakenElsewhere {
        /// The session's id.
        id: String,
    },
    /// Another device of our account has rejected it: this one stops ringing.
    RejectedElsewhere {
        /// The session's id.
        id: String,
    },
    /// The contact says that it is over.
    Finished {
        /// The session's id.
        id: String,
        /// Why.
        reason: Option<Reason>,
        /// Which session goes on with it.
        migrated: Option<String>,
    },
}

/// What follows from a message.
#[derive(Clone, Debug, Default)]
pub struct Reaction {
    /// What the application is to know.
    pub events: Vec<ProposalEvent>,
    /// What is to be sent, and to whom.
    pub replies: Vec<(Jid, JingleMessage)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// We have proposed it.
    Outgoing,
    /// It was proposed to us.
    Incoming,
    /// It goes on, here.
    Taken,
    /// It goes on, on another device of ours.
    Elsewhere,
}

#[derive(Clone, Debug)]
pub(super) struct Proposal {
    /// The contact, by the address that messages go to.
    contact: Jid,
    stage: Stage,
    since: Instant,
}

/// Proposals known at a time; of others nothing is known.
pub(super) const PROPOSALS: usize = 64;
/// Of these, proposals to us that nobody has answered; with more, who has rung for longest gives way.
pub(super) const INCOMING: usize = 48;
/// Of these, proposals of one contact; more are ignored.
pub(super) const OF_CONTACT: usize = 8;
/// The longest id, in bytes.
const ID_BYTES: usize = 1_023;
/// After so long nothing is known of a proposal that nobody has finished (§5).
pub(super) const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);

/// What a device knows of proposals to and from its account.
#[derive(Clone, Debug)]
pub struct Proposals {
    me: FullJid,
    pub(super) known: HashMap<String, Proposal>,
}

impl Proposals {
    /// None yet.
    pub fn new(me: FullJid) -> Proposals {
        Proposals { me, known: HashMap::new() }
    }

    fn forget(&mut self, now: Instant) {
        self.known.retain(|_, proposal| now.saturating_duration_since(proposal.since) < FORGOTTEN);
    }

    /// Whether there is room for another of `from`; with what gives way to it.
    fn make_room(&mut self, from: &Jid) -> (bool, Option<String>) {
        let ring = || self.known.iter().filter(|(_, it)| it.stage == Stage::Incoming);
        let theirs = ring().filter(|(_, it)| is_contact(it, from)).count();
        if theirs >= OF_CONTACT {
            return (false, None);
        }
        let oldest = ring().min_by_key(|(_, it)| it.since).map(|(id, _)| id.clone());
        let gives_way = oldest.filter(|_| ring().count() >= INCOMING || self.known.len() >= PROPOSALS);
        if let Some(id) = &gives_way {
            self.known.remove(id);
        }
        (self.known.len() < PROPOSALS, gives_way)
    }

    /// Proposes a session to a contact (§3.1), under an id that nobody has used: random, best a UUID. `None` where the id is in
    /// use or there are too many.
    pub fn propose(
        &mut self,
        id: impl Into<String>,
        to: &BareJid,
        descriptions: Vec<Stanza>,
        now: Instant,
    ) -> Option<(Jid, JingleMessage)> {
        let id = id.into();
        self.forget(now);
        if self.known.len() >= PROPOSALS || self.known.contains_key(&id) {
            return None;
        }
        let contact: Jid = to.clone().into();
        self.known.insert(id.clone(), Proposal { contact: contact.clone(), stage: Stage::Outgoing, since: now });
        Some((contact, JingleMessage::Propose { id, descriptions }))
    }

    /// Says that this device rings (§3.2). It tells the contact that it is there.
    pub fn ring(&self, id: &str) -> Option<(Jid, JingleMessage)> {
        let proposal = self.known.get(id).filter(|it| it.stage == Stage::Incoming)?;
        Some((proposal.contact.clone(), JingleMessage::Ringing { id: id.to_owned() }))
    }

    /// Takes a proposal on this device (§3.4), which the user has to have wished (§6).
    pub fn proceed(&mut self, id: &str) -> Option<(Jid, JingleMessage)> {
        let proposal = self.known.get_mut(id).filter(|it| it.stage == Stage::Incoming)?;
        proposal.stage = Stage::Taken;
        Some((proposal.contact.clone(), JingleMessage::Proceed { id: id.to_owned() }))
    }

    /// Rejects a proposal (§3.5), on all devices.
    pub fn reject(&mut self, id: &str, reason: Reason) -> Option<(Jid, JingleMessage)> {
        self.known.get(id).filter(|it| it.stage == Stage::Incoming)?;
        let proposal = self.known.remove(id)?;
        let message = JingleMessage::Reject { id: id.to_owned(), reason: Some(reason), tie_break: false };
        Some((proposal.contact, message))
    }

    /// Takes a proposal of ours back (§3.3).
    pub fn retract(&mut self, id: &str, reason: Reason) -> Option<(Jid, JingleMessage)> {
        self.known.get(id).filter(|it| it.stage == Stage::Outgoing)?;
        let proposal = self.known.remove(id)?;
        let message = JingleMessage::Retract { id: id.to_owned(), reason: Some(reason), tie_break: false };
        Some((proposal.contact, message))
    }

    /// Says that a session is over (§3.7), which both ends do.
    pub fn finish(&mut self, id: &str, reason: Reason) -> Option<(Jid, JingleMessage)> {
        self.known.get(id).filter(|it| it.stage == Stage::Taken)?;
        let proposal = self.known.remove(id)?;
        Some((proposal.contact, JingleMessage::Finish { id: id.to_owned(), reason: Some(reason), migrated: None }))
    }

    /// Takes what stands in a message, ours or a contact's. What our own devices send comes as a copy (XEP-0280), which only
    /// our own account may send, or from our own address. Messages of people in a room are not for this: all of them have its
    /// bare address, by which contacts are told apart here, and one would speak for another.
    pub fn receive(&mut self, from: &Jid, message: &JingleMessage, now: Instant) -> Reaction {
        if from.bare_str() == self.me.bare_str() {
            return self.own_device(from, message);
        }
        match message {
            JingleMessage::Propose { id, descriptions } => self.proposed(from, id, descriptions, now),
            _ => self.answered(from, message),
        }
    }

    /// What another device of ours has said.
    fn own_device(&mut self, from: &Jid, message: &JingleMessage) -> Reaction {
        let id = message.id().to_owned();
        let mut reaction = Reaction::default();
        let Some(proposal) = self.known.get_mut(&id).filter(|_| *from != *self.me) else { return reaction };
        match (message, proposal.stage) {
            (JingleMessage::Proceed { .. } | JingleMessage::Accept { .. }, Stage::Incoming) => {
                proposal.stage = Stage::Elsewhere;
                reaction.events.push(ProposalEvent::TakenElsewhere { id });
            }
            (JingleMessage::Reject { .. }, Stage::Incoming) => {
                self.known.remove(&id);
                reaction.events.push(ProposalEvent::RejectedElsewhere { id });
            }
            (JingleMessage::Finish { .. }, Stage::Elsewhere) => {
                self.known.remove(&id);
            }
            _ => {}
        }
        reaction
    }

    fn with_contact(&self, contact: &Jid, stage: Stage) -> Option<String> {
        let is_it = |proposal: &Proposal| proposal.stage == stage && proposal.contact.bare_str() == contact.bare_str();
        self.known.iter().filter(|(_, it)| is_it(it)).map(|(id, _)| id).min().cloned()
    }

    fn proposed(&mut self, from: &Jid, id: &str, descriptions: &[Stanza], now: Instant) -> Reaction {
        let mut reaction = Reaction::default();
        self.forget(now);
        let is_taken = self.known.get(id).is_some_and(|it| it.stage != Stage::Outgoing || !is_contact(it, from));
        if is_taken || id.len() > ID_BYTES {
            return reaction;
        }
        let (has_room, gives_way) = self.make_room(from);
        reaction.events.extend(gives_way.map(|id| ProposalEvent::Retracted { id, reason: Some(Reason::timeout()) }));
        if !has_room {
            return reaction;
        }
        let expired = |text: &str| Some(Reason::expired().with_text(text));
        if let Some(ours) = self.with_contact(from, Stage::Outgoing) {
            let me = (ours.as_str(), &self.me);
            let theirs = from.clone().into_full();
            if theirs.is_ok_and(|peer| tie_break(me, (id, &peer)) == Winner::Ours) {
                let reject = JingleMessage::Reject { id: id.to_owned(), reason: expired("Tie-Break"), tie_break: true };
                reaction.replies.push((from.clone(), reject));
                return reaction;
            }
            self.known.remove(&ours);
            let to = from.to_bare().into();
            let retract = JingleMessage::Retract { id: ours.clone(), reason: expired("Tie-Break"), tie_break: true };
            reaction.replies.push((to, retract));
            reaction.events.push(ProposalEvent::Rejected { id: ours, reason: None, tie_break: true });
        }
        let resumes = self.with_contact(from, Stage::Taken);
        let mut stage = Stage::Incoming;
        if let Some(old) = &resumes {
            stage = Stage::Taken;
            if let Some(old_proposal) = self.known.remove(old) {
                let migrated = Some(Migrated { to: id.to_owned() });
                let finish = JingleMessage::Finish { id: old.clone(), reason: expired("Session migrated"), migrated };
                reaction.replies.push((old_proposal.contact.to_bare().into(), finish));
                reaction.replies.push((from.clone(), JingleMessage::Proceed { id: id.to_owned() }));
            }
        }
        self.known.insert(id.to_owned(), Proposal { contact: from.clone(), stage, since: now });
        let (id, descriptions) = (id.to_owned(), descriptions.to_vec());
        reaction.events.push(ProposalEvent::Proposed { id, from: from.clone(), descriptions, resumes });
        reaction
    }

    /// What a contact says of a proposal: it counts only from who has made it, or to whom it was made.
    fn answered(&mut self, from: &Jid, message: &JingleMessage) -> Reaction {
        let id = message.id().to_owned();
        let mut reaction = Reaction::default();
        let Some(proposal) = self.known.get_mut(&id).filter(|it| is_contact(it, from)) else { return reaction };
        let event = match (message, proposal.stage) {
            (JingleMessage::Ringing { .. }, Stage::Outgoing) => ProposalEvent::Ringing { id, device: from.clone() },
            (JingleMessage::Proceed { .. }, Stage::Outgoing) => {
                // The first device that takes it has it.
                let Ok(device) = from.clone().into_full() else { return reaction };
                proposal.stage = Stage::Taken;
                proposal.contact = from.clone();
                ProposalEvent::Proceed { id, device }
            }
            (JingleMessage::Reject { reason, tie_break, .. }, Stage::Outgoing) => {
                self.known.remove(&id);
                ProposalEvent::Rejected { id, reason: reason.clone(), tie_break: *tie_break }
            }
            (JingleMessage::Retract { reason, .. }, Stage::Incoming) => {
                self.known.remove(&id);
                ProposalEvent::Retracted { id, reason: reason.clone() }
            }
            (JingleMessage::Finish { reason, migrated, .. }, _) => {
                self.known.remove(&id);
                let migrated = migrated.as_ref().map(|it| it.to.clone());
                ProposalEvent::Finished { id, reason: reason.clone(), migrated }
            }
            _ => return reaction,
        };
        reaction.events.push(event);
        reaction
    }
}

fn is_contact(proposal: &Proposal, from: &Jid) -> bool {
    proposal.contact.bare_str() == from.bare_str()
}
