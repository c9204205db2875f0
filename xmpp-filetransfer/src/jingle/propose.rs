//! Which of its devices an account takes a session on (XEP-0353): asked by messages, before the session is asked for.
//!
//! [`Proposals`] is what one device knows of all proposals, as a pure machine. Who takes a call on another device is told by
//! the copies that the own server makes (XEP-0280).

use super::{Reason, Winner, tie_break};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use xmpp_core::{
    jid::{BareJid, FullJid, Jid},
    payload::Payload,
    stanza::{Message, MessageBuilder},
    xml::Stanza,
};

/// `urn:xmpp:jingle-message:0`.
pub const NS: &str = "urn:xmpp:jingle-message:0";

/// What stands in a message about a session to come. Each has the id that the session will have.
#[derive(Clone, Debug, Payload)]
#[xml(ns = NS)]
#[non_exhaustive]
pub enum JingleMessage {
    /// Somebody wants a session (§3.1).
    #[xml(name = "propose")]
    Propose {
        /// The id of the session.
        #[xml(attr)]
        id: String,
        /// What for: one `description` for each medium.
        #[xml(unknown)]
        descriptions: Vec<Stanza>,
    },
    /// A device rings (§3.2).
    #[xml(name = "ringing")]
    Ringing {
        /// The id of the session.
        #[xml(attr)]
        id: String,
    },
    /// Who has proposed does not want it any more (§3.3).
    #[xml(name = "retract")]
    Retract {
        /// The id of the session.
        #[xml(attr)]
        id: String,
        /// Why.
        #[xml(child)]
        reason: Option<Reason>,
        /// Because both have proposed at the same time (§4.1).
        #[xml(flag = "tie-break")]
        tie_break: bool,
    },
    /// A device takes it (§3.4): the session can be asked for there.
    #[xml(name = "proceed")]
    Proceed {
        /// The id of the session.
        #[xml(attr)]
        id: String,
    },
    /// A device takes it, as earlier versions tell the other devices of the account.
    #[xml(name = "accept")]
    Accept {
        /// The id of the session.
        #[xml(attr)]
        id: String,
    },
    /// It is not wanted (§3.5).
    #[xml(name = "reject")]
    Reject {
        /// The id of the session.
        #[xml(attr)]
        id: String,
        /// Why.
        #[xml(child)]
        reason: Option<Reason>,
        /// Because both have proposed at the same time (§4.1).
        #[xml(flag = "tie-break")]
        tie_break: bool,
    },
    /// It is over (§3.7).
    #[xml(name = "finish")]
    Finish {
        /// The id of the session.
        #[xml(attr)]
        id: String,
        /// Why.
        #[xml(child)]
        reason: Option<Reason>,
        /// Another session goes on with it (§4.2).
        #[xml(child)]
        migrated: Option<Migrated>,
    },
}

/// Which session goes on with one that is over (§4.2).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "migrated", ns = NS)]
pub struct Migrated {
    /// Its id.
    #[xml(attr)]
    pub to: String,
}

impl JingleMessage {
    /// The id of the session that it is about.
    pub fn id(&self) -> &str {
        match self {
            JingleMessage::Propose { id, .. }
            | JingleMessage::Ringing { id }
            | JingleMessage::Retract { id, .. }
            | JingleMessage::Proceed { id }
            | JingleMessage::Accept { id }
            | JingleMessage::Reject { id, .. }
            | JingleMessage::Finish { id, .. } => id,
        }
    }

    /// The message that carries it: a chat message that is to be archived (§3), so that it reaches all devices.
    pub fn to_message(&self, to: impl Into<Jid>) -> MessageBuilder {
        Message::chat(to).payload(self).payload(&xmpp_core::payload::hints::Hint::Store)
    }
}

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
    /// The contact does not want it any more.
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
struct Proposal {
    /// The contact, by the address that messages go to.
    contact: Jid,
    stage: Stage,
    since: Instant,
}

/// Proposals known at a time; of others nothing is known.
const PROPOSALS: usize = 64;
/// After so long nothing is known of a proposal that nobody has finished (§5).
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);

/// What a device knows of proposals to and from its account.
#[derive(Clone, Debug)]
pub struct Proposals {
    me: FullJid,
    known: HashMap<String, Proposal>,
}

impl Proposals {
    /// None yet.
    pub fn new(me: FullJid) -> Proposals {
        Proposals { me, known: HashMap::new() }
    }

    /// Whether there is room for another.
    fn make_room(&mut self, now: Instant) -> bool {
        self.known.retain(|_, proposal| now.saturating_duration_since(proposal.since) < FORGOTTEN);
        self.known.len() < PROPOSALS
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
        if !self.make_room(now) || self.known.contains_key(&id) {
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
    /// our own account may send, or from our own address.
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
        let equal = self.known.get(id).is_some_and(|it| it.stage != Stage::Outgoing || !is_contact(it, from));
        if equal || !self.make_room(now) {
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
