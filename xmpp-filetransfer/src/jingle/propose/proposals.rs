//! What one device knows of proposals.

use super::{JingleMessage, Migrated, ProposalEvent, Reaction};
use crate::jingle::{Reason, ReasonCondition, Winner, tie_break};
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};
use xmpp_core::{
    jid::{BareJid, FullJid, Jid},
    xml::Stanza,
};

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
    /// We have made it.
    ours: bool,
    since: Instant,
    /// Of what there is one at a time with a contact, if it is for that.
    purpose: Option<String>,
    /// Of somebody who may know that we are there.
    trusted: bool,
    /// The session has begun.
    begun: bool,
    /// Another device of ours has taken it as well.
    contested: bool,
}

/// Proposals known at a time; of others nothing is known.
pub(super) const PROPOSALS: usize = 64;
/// Of these, proposals to us that nobody has answered; with more, who has rung for longest gives way.
pub(super) const INCOMING: usize = 48;
/// Of these, proposals of those who may not know that we are there; they do not take the place of others.
pub(super) const OF_STRANGERS: usize = 16;
/// Of these, proposals of one contact; more are ignored.
pub(super) const OF_CONTACT: usize = 8;
/// The longest id, in bytes.
const ID_BYTES: usize = 1_023;
/// Descriptions of a proposal, and their bytes; one with more is ignored.
pub(in crate::jingle) const DESCRIPTIONS: usize = 16;
const DESCRIPTION_BYTES: usize = 16 * 1024;
/// After so long nothing is known of a proposal that nobody has finished (§5).
pub(super) const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);

/// What a device knows of proposals to and from its account.
#[derive(Clone, Debug)]
pub struct Proposals {
    me: FullJid,
    exclusive: HashSet<String>,
    pub(super) known: HashMap<String, Proposal>,
}

impl Proposals {
    /// None yet.
    pub fn new(me: FullJid) -> Proposals {
        Proposals { me, exclusive: HashSet::new(), known: HashMap::new() }
    }

    /// Any two sessions with a contact that have a description of this namespace are to the same purpose, as calls are: of two
    /// that are proposed at a time one counts (§4.1), and a further one goes on with what there is (§4.2). All others stand
    /// beside each other, as files do.
    pub fn exclusive(&mut self, namespace: impl Into<String>) {
        self.exclusive.insert(namespace.into());
    }

    /// Our address from now on, in another session with the server.
    pub fn set_me(&mut self, me: FullJid) {
        self.me = me;
    }

    fn purpose(&self, descriptions: &[Stanza]) -> Option<String> {
        let namespaces = descriptions.iter().map(|description| description.root().ns());
        namespaces.into_iter().find(|ns| self.exclusive.contains(*ns)).map(str::to_owned)
    }

    fn forget(&mut self, now: Instant) {
        self.known.retain(|_, proposal| now.saturating_duration_since(proposal.since) < FORGOTTEN);
    }

    /// Of those that `which` says yes to, the one that is there for longest.
    fn oldest(&self, which: impl Fn(&Proposal) -> bool) -> Option<String> {
        let some = self.known.iter().filter(|(_, it)| which(it));
        some.min_by_key(|(_, it)| it.since).map(|(id, _)| id.clone())
    }

    /// Whether there is room for another of `from`; with what has rung and gives way to it.
    fn make_room(&mut self, from: &Jid, trusted: bool) -> (bool, Option<String>) {
        let rings = |it: &Proposal| it.stage == Stage::Incoming;
        let of_stranger = Proposal::is_of_stranger;
        let count = |which: &dyn Fn(&Proposal) -> bool| self.known.values().filter(|it| which(it)).count();
        if count(&|it| rings(it) && is_contact(it, from)) >= OF_CONTACT {
            return (false, None);
        }
        let is_full = self.known.len() >= PROPOSALS;
        // What another device of ours has taken is not ours to finish.
        if is_full && let Some(id) = self.oldest(|it| it.stage == Stage::Elsewhere) {
            self.known.remove(&id);
            return (true, None);
        }
        let crowd = count(&rings) >= INCOMING;
        let gives_way = match trusted {
            false if crowd || is_full || count(&of_stranger) >= OF_STRANGERS => self.oldest(of_stranger),
            true if crowd || is_full => self.oldest(of_stranger).or_else(|| self.oldest(rings)),
            _ => None,
        };
        if let Some(id) = &gives_way {
            self.known.remove(id);
        }
        let ringing = self.known.values().filter(|it| rings(it)).count();
        (self.known.len() < PROPOSALS && ringing < INCOMING, gives_way)
    }

    /// Proposes a session to a contact (§3.1), under an id that nobody has used: random, best a UUID. `None` where the id is in
    /// use or there are too many, of proposals or of descriptions.
    pub fn propose(
        &mut self,
        id: impl Into<String>,
        to: &BareJid,
        descriptions: Vec<Stanza>,
        now: Instant,
    ) -> Option<(Jid, JingleMessage)> {
        let id = id.into();
        self.forget(now);
        if self.known.len() >= PROPOSALS || self.known.contains_key(&id) || descriptions.len() > DESCRIPTIONS {
            return None;
        }
        let contact: Jid = to.clone().into();
        let purpose = self.purpose(&descriptions);
        let proposal =
            Proposal { stage: Stage::Outgoing, ours: true, ..Proposal::new(contact.clone(), purpose, true, now) };
        self.known.insert(id.clone(), proposal);
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

    /// The session of a proposal has begun: it cannot be taken back any more.
    pub fn begun(&mut self, id: &str) {
        if let Some(proposal) = self.known.get_mut(id).filter(|it| it.stage == Stage::Taken) {
            proposal.begun = true;
        }
    }

    /// Says that a session is over (§3.7), which both ends do. Of one that has not begun here, and may have on another of our
    /// devices, nothing is said.
    pub fn finish(&mut self, id: &str, reason: Reason) -> Option<(Jid, JingleMessage)> {
        self.known.get(id).filter(|it| it.stage == Stage::Taken)?;
        let proposal = self.known.remove(id).filter(|it| it.begun || !it.contested)?;
        Some((proposal.contact, JingleMessage::Finish { id: id.to_owned(), reason: Some(reason), migrated: None }))
    }

    /// Whether this session was proposed, and is with this device.
    pub fn is_of(&self, id: &str, peer: &FullJid) -> bool {
        let is_it = |it: &Proposal| match it.contact.resource() {
            Some(_) => it.contact.as_str() == peer.as_str(),
            None => it.contact.as_str() == peer.bare_str(),
        };
        self.known.get(id).is_some_and(|it| it.stage == Stage::Taken && is_it(it))
    }

    /// Whether this is proposed to the account, and nobody has taken it.
    pub fn is_proposed_to(&self, id: &str, account: &Jid) -> bool {
        self.known.get(id).is_some_and(|it| it.stage == Stage::Outgoing && it.contact == *account)
    }

    /// Drops what is known of a proposal, without a word to anybody.
    pub fn ignore(&mut self, id: &str) {
        self.known.remove(id);
    }

    /// Takes what stands in a message, ours or a contact's. What our own devices send comes as a copy (XEP-0280), which only
    /// our own account may send, or from our own address. Messages of people in a room are not for this: all of them have its
    /// bare address, by which contacts are told apart here, and one would speak for another. `trusted` says whether the sender may
    /// know that we are there: the proposals of others have few places of their own.
    pub fn receive(&mut self, from: &Jid, message: &JingleMessage, trusted: bool, now: Instant) -> Reaction {
        if from.bare_str() == self.me.bare_str() {
            return self.own_device(from, message);
        }
        match message {
            JingleMessage::Propose { id, descriptions } => self.proposed(from, (id, descriptions), trusted, now),
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
            // Both have taken it at a time, and the contact knows with whom it goes on.
            (JingleMessage::Proceed { .. } | JingleMessage::Accept { .. }, Stage::Taken) => proposal.contested = true,
            (JingleMessage::Reject { .. }, Stage::Incoming) => {
                self.known.remove(&id);
                reaction.events.push(ProposalEvent::RejectedElsewhere { id });
            }
            (JingleMessage::Finish { .. }, Stage::Incoming) => {
                self.known.remove(&id);
                reaction.events.push(ProposalEvent::TakenElsewhere { id });
            }
            (JingleMessage::Finish { .. }, Stage::Elsewhere) => {
                self.known.remove(&id);
            }
            _ => {}
        }
        reaction
    }

    /// A proposal to or from the contact that is to the same purpose.
    fn alike(&self, contact: &Jid, purpose: Option<&str>, stage: Stage) -> Option<String> {
        let is_it = |it: &Proposal| it.stage == stage && is_contact(it, contact) && it.purpose.as_deref() == purpose;
        let some = self.known.iter().filter(|(_, it)| purpose.is_some() && is_it(it));
        some.map(|(id, _)| id).min().cloned()
    }

    fn proposed(&mut self, from: &Jid, (id, descriptions): (&str, &[Stanza]), trusted: bool, now: Instant) -> Reaction {
        let mut reaction = Reaction::default();
        self.forget(now);
        let bytes: usize = descriptions.iter().map(|it| it.as_str().len()).sum();
        let is_bounded = descriptions.len() <= DESCRIPTIONS && bytes <= DESCRIPTION_BYTES && id.len() <= ID_BYTES;
        if descriptions.is_empty() || !is_bounded {
            return reaction;
        }
        let purpose = self.purpose(descriptions);
        let ours = self.alike(from, purpose.as_deref(), Stage::Outgoing);
        if self.known.contains_key(id) && ours.as_deref() != Some(id) {
            return reaction;
        }
        let expired = |text: &str| Some(Reason::expired().with_text(text));
        if let Some(ours) = ours {
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
        let resumes = self.alike(from, purpose.as_deref(), Stage::Taken);
        let mut proposal = Proposal::new(from.clone(), purpose, trusted, now);
        if let Some(old) = &resumes {
            proposal.stage = Stage::Taken;
            if let Some(old_proposal) = self.known.remove(old) {
                let migrated = Some(Migrated { to: id.to_owned() });
                let finish = JingleMessage::Finish { id: old.clone(), reason: expired("Session migrated"), migrated };
                reaction.replies.push((old_proposal.contact.to_bare().into(), finish));
                reaction.replies.push((from.clone(), JingleMessage::Proceed { id: id.to_owned() }));
            }
        } else {
            let (has_room, gives_way) = self.make_room(from, trusted);
            let timeout = |id| ProposalEvent::Retracted { id, reason: Some(Reason::timeout()) };
            reaction.events.extend(gives_way.map(timeout));
            if !has_room {
                return reaction;
            }
        }
        self.known.insert(id.to_owned(), proposal);
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
            (JingleMessage::Retract { reason, .. }, stage) => {
                let in_time = stage == Stage::Taken && !proposal.ours && !proposal.begun && proposal.contact == *from;
                if stage != Stage::Incoming && !in_time {
                    return reaction;
                }
                self.known.remove(&id);
                ProposalEvent::Retracted { id, reason: reason.clone() }
            }
            // The device that has the session says that it is over, and so do we.
            (JingleMessage::Finish { .. }, Stage::Taken) if proposal.contact != *from => return reaction,
            (JingleMessage::Finish { reason, migrated, .. }, stage) => {
                self.known.remove(&id);
                if stage == Stage::Taken {
                    let ours = Some(usual(reason.as_ref()));
                    let finish = JingleMessage::Finish { id: id.clone(), reason: ours, migrated: None };
                    reaction.replies.push((from.clone(), finish));
                }
                let migrated = migrated.as_ref().map(|it| it.to.clone());
                ProposalEvent::Finished { id, reason: reason.clone(), migrated }
            }
            _ => return reaction,
        };
        reaction.events.push(event);
        reaction
    }
}

impl Proposal {
    pub(super) fn is_of_stranger(&self) -> bool {
        self.stage == Stage::Incoming && !self.trusted
    }

    /// One of a contact's.
    fn new(contact: Jid, purpose: Option<String>, trusted: bool, since: Instant) -> Proposal {
        let (stage, ours) = (Stage::Incoming, false);
        Proposal { contact, stage, ours, since, purpose, trusted, begun: false, contested: false }
    }
}

fn is_contact(proposal: &Proposal, from: &Jid) -> bool {
    proposal.contact.bare_str() == from.bare_str()
}

/// One of the reasons that tell nothing about us (§6), nearest to another one.
pub(in crate::jingle) fn usual(reason: Option<&Reason>) -> Reason {
    match reason.map(|reason| &reason.condition) {
        Some(ReasonCondition::Expired | ReasonCondition::Timeout) => Reason::expired(),
        Some(ReasonCondition::ConnectivityError | ReasonCondition::FailedTransport | ReasonCondition::Gone) => {
            Reason::connectivity_error()
        }
        _ => Reason::success(),
    }
}
