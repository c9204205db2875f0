//! Messages: to all, in private, subjects, retractions by moderators (§7.4, §7.5, §8.1, XEP-0425).

use super::{
    Change, Delivery, Effects, Incoming, Kept, Number, Occupant, Past, Plan, Room, Subject,
    announce::{self, clients},
    pace::Pace,
    tombstone::{retracted_id, tombstone},
};
use crate::{
    Role,
    payload::{Moderate, Moderated, RetractedBy, StatusCode, UserInfo},
};
use xmpp_core::{
    jid::Jid,
    payload::{DateTime, Payload, delay::Delay, stanza_id, stanza_id::StanzaId},
    stanza::{MessageType, StanzaError, generate_id},
    xml::{ElementRef, Stanza, Writer, ns},
};

/// No id of a message is longer than this, in bytes.
const MAX_ID: usize = 1_023;

/// Something that is said to all occupants.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The occupant, or the room.
    pub from: Jid,
    /// Whose message it is: the client that sent it.
    pub sender: Jid,
    /// The message: from the occupant, with all that the room adds but the id that an archive gives.
    pub stanza: Stanza,
    /// When it was said.
    pub at: DateTime,
    /// The id that the archive has given it, filled in by whoever archives; or one that the room makes.
    pub id: Option<String>,
    /// Whether it is worth archiving, and history: it says something.
    pub lasting: bool,
    /// The message that it retracts, by the room's id.
    pub retracts: Option<String>,
    is_subject: bool,
}

impl Room {
    /// Judges a message to the room or to an occupant.
    ///
    /// # Errors
    /// Those of §7.4, §7.5, §7.8, §8.1.
    pub fn message(&self, input: Incoming<'_>) -> Result<Plan, StanzaError> {
        let kind = MessageType::read(input.stanza.root().attr("type").as_deref());
        if kind == MessageType::Error {
            return Ok(self.bounced(input));
        }
        self.check_open_to(input.from)?;
        if input.stanza.as_str().len() > self.limits.message_bytes {
            return Err(StanzaError::not_acceptable().with_text("the message is too large for a room"));
        }
        match (input.to.resource(), kind) {
            (Some(_), MessageType::Groupchat) => {
                Err(StanzaError::bad_request().with_text("what is said to one is not of type groupchat"))
            }
            (Some(_), _) => self.private(input),
            (None, MessageType::Groupchat) => self.said(input),
            (None, _) => self.asked(input),
        }
    }

    /// The occupant that speaks. §16.2: of a room that is not open nobody else is to know.
    pub(super) fn speaker(&self, from: &Jid) -> Result<&Occupant, StanzaError> {
        if let Some((_, occupant)) = self.sender(from) {
            return Ok(occupant);
        }
        self.check_open_to(from)?;
        Err(StanzaError::not_acceptable().with_text("you are not in the room"))
    }

    fn said(&self, input: Incoming<'_>) -> Result<Plan, StanzaError> {
        let occupant = self.speaker(input.from)?;
        let root = input.stanza.root();
        let has = |name| root.child(name, ns::CLIENT).is_some();
        let is_subject = has("subject") && !has("body") && !has("thread");
        if is_subject {
            let may =
                occupant.role == Role::Moderator || (self.config.change_subject && occupant.role >= Role::Participant);
            if !may {
                return Err(StanzaError::forbidden().with_text("you may not change the subject"));
            }
            let subjects = root.children().filter(|child| child.is("subject", ns::CLIENT));
            if subjects.map(|subject| subject.text().len()).sum::<usize>() > self.limits.subject_bytes {
                return Err(StanzaError::not_acceptable().with_text("the subject is too long"));
            }
        } else if occupant.role < Role::Participant {
            return Err(StanzaError::forbidden().with_text("you have no voice in this room"));
        }
        self.check_pace(&occupant.user, Pace::Message, 1, input.now)?;
        let is_owner = occupant.affiliation == crate::Affiliation::Owner && !is_subject;
        let publication = Publication {
            from: occupant.nick.jid.clone(),
            sender: input.from.clone(),
            stanza: self.reflected(input.stanza, occupant, is_owner),
            at: input.now,
            id: None,
            lasting: !is_subject && is_lasting(root),
            retracts: None,
            is_subject,
        };
        let mut plan = Plan::default();
        if is_subject {
            plan.kept.push(Kept::Subject(Subject { stanza: publication.stanza.clone(), at: input.now }));
        }
        plan.changes.push(Change::Publish(publication));
        Ok(plan)
    }

    /// The message as occupants see it: from the occupant, with an id and the occupant's own, without what only the room
    /// may say (§7.4, XEP-0421, XEP-0359 §6).
    fn reflected(&self, message: &Stanza, occupant: &Occupant, is_owner: bool) -> Stanza {
        let (mark, made);
        mark = self.mark(occupant);
        let id = match message.root().attr("id") {
            Some(id) if !id.is_empty() => id.into_owned(),
            _ => {
                made = generate_id();
                made
            }
        };
        let forged = |child: ElementRef<'_>| self.is_forged(child, is_owner);
        let rewrite = message.rewrite(ns::CLIENT).from(Some(occupant.nick.jid.as_str())).to(None).id(Some(&id));
        rewrite.without(&forged).append(&|out| mark.write(out)).to_stanza()
    }

    /// What an occupant may not claim. An owner may say when and by whom something was said elsewhere (§7.9).
    fn is_forged(&self, child: ElementRef<'_>, is_owner: bool) -> bool {
        if announce::is_for_rooms(child) {
            return true;
        }
        let of_room = |name: &str| {
            child.attr(name).is_none_or(|claimed| {
                let claimed = Jid::new(claimed.trim()).or_else(|_| Jid::lenient(claimed.trim()));
                claimed.map_or(true, |jid| jid.domain() == self.jid.domain())
            })
        };
        match (child.name(), child.ns()) {
            ("stanza-id", stanza_id::NS) => of_room("by"),
            ("delay", "urn:xmpp:delay") | ("x", "jabber:x:delay") => !is_owner || of_room("from"),
            _ => RetractedBy::matches(child) && child.children().any(Moderated::matches),
        }
    }

    /// §7.5: to all clients of the other occupant.
    fn private(&self, input: Incoming<'_>) -> Result<Plan, StanzaError> {
        let occupant = self.speaker(input.from)?;
        if !self.config.private_messages.admits(occupant.role) {
            return Err(StanzaError::forbidden().with_text("you may not send private messages in this room"));
        }
        let (number, other) = self.addressee_number(input.to)?;
        let mark = self.mark(occupant);
        let forged = |child: ElementRef<'_>| self.is_forged(child, false);
        let rewrite = input.stanza.rewrite(ns::CLIENT).from(Some(occupant.nick.jid.as_str())).to(None);
        let stanza = rewrite
            .without(&forged)
            .append(&|out| {
                mark.write(out);
                UserInfo::default().write(out);
            })
            .to_stanza();
        let delivery = Delivery { from: occupant.nick.jid.clone(), to: clients(other), stanza };
        Ok(Plan::of(Change::Whisper { whisper: self.whisper_of(input, number), delivery }))
    }

    /// Who is meant by an occupant's address.
    pub(super) fn addressee(&self, to: &Jid) -> Result<&Occupant, StanzaError> {
        Ok(self.addressee_number(to)?.1)
    }

    /// The same, and by which number.
    pub(super) fn addressee_number(&self, to: &Jid) -> Result<(Number, &Occupant), StanzaError> {
        let nobody = || StanzaError::item_not_found().with_text("nobody here has this nickname");
        let (nick, _) = super::Nick::of(to).ok_or_else(nobody)?;
        self.occupants.of_nick(&nick.key).ok_or_else(nobody)
    }

    /// Judges a moderator's wish to retract a message of somebody (XEP-0425 §5).
    ///
    /// # Errors
    /// `forbidden` for who is no moderator, `bad-request` if it is not said what is to be done.
    pub fn moderate(&self, input: Incoming<'_>, request: &Moderate) -> Result<Plan, StanzaError> {
        let occupant = self.speaker(input.from)?;
        if occupant.role < Role::Moderator {
            return Err(StanzaError::forbidden().with_text("only moderators moderate messages"));
        }
        if !request.retract || request.id.is_empty() {
            return Err(StanzaError::bad_request().with_text("a message can be retracted and nothing else"));
        }
        self.check_reason(request.reason.as_deref())?;
        if request.id.len() > MAX_ID {
            return Err(StanzaError::item_not_found().with_text("there is no such message"));
        }
        self.check_pace(&occupant.user, Pace::Message, 1, input.now)?;
        let by = Moderated { by: Some(occupant.nick.jid.clone()), occupant: Some(self.mark(occupant)) };
        let retraction = RetractedBy { id: request.id.clone(), moderated: by, reason: request.reason.clone() };
        let mut out = Writer::new(ns::CLIENT);
        out.open("message", ns::CLIENT);
        out.attr("from", self.jid.as_str());
        out.attr("type", "groupchat");
        out.attr("id", &generate_id());
        retraction.write(&mut out);
        out.close();
        Ok(Plan::of(Change::Publish(Publication {
            from: self.jid.clone().into(),
            sender: input.from.clone(),
            stanza: out.into_stanza(),
            at: input.now,
            id: None,
            lasting: true,
            retracts: Some(request.id.clone()),
            is_subject: false,
        })))
    }

    /// Sends a message to all, and remembers it.
    pub(super) fn publish(&mut self, publication: Publication, effects: &mut Effects) {
        let Publication { from, stanza, at, id, lasting, is_subject, .. } = publication;
        let stanza = match &id {
            None => stanza,
            Some(id) => {
                let id = StanzaId { id: id.clone(), by: self.jid.clone().into() };
                stanza.rewrite(ns::CLIENT).append(&|out| id.write(out)).to_stanza()
            }
        };
        if is_subject {
            self.subject = Some(Subject { stanza: stanza.clone(), at });
        }
        if let Some(retracted) = retracted_id(&stanza) {
            let past = self.history.iter().find(|past| past.id.as_deref() == Some(&*retracted));
            if let Some(stone) = past.and_then(|past| tombstone(&past.stanza, &stanza, at)) {
                self.history.replace(&retracted, Some(stone));
            }
        }
        if lasting {
            self.remember_said(&stanza, at, id);
        }
        effects.then.push(Delivery { from, to: self.all(), stanza });
    }

    fn remember_said(&mut self, stanza: &Stanza, at: DateTime, id: Option<String>) {
        let delay = Delay { from: Some(self.jid.clone().into()), stamp: at, reason: None };
        // §7.9: what an owner has said of when and by whom it was said elsewhere stays.
        let stanza = match stanza.root().children().any(Delay::matches) {
            true => stanza.clone(),
            false => stanza.rewrite(ns::CLIENT).append(&|out| delay.write(out)).to_stanza(),
        };
        let past = Past { stanza, at, id };
        self.history.push(past, self.limits.history, self.limits.history_bytes);
    }

    /// Fills the history in with a message of an archive, for a room that comes back.
    pub fn recall(&mut self, stanza: &Stanza, at: DateTime, id: String) {
        let by = StanzaId { id: id.clone(), by: self.jid.clone().into() };
        let stanza = stanza.rewrite(ns::CLIENT).append(&|out| by.write(out)).to_stanza();
        self.remember_said(&stanza, at, Some(id));
    }

    /// A message of the room itself about its state (§10.2.1).
    pub(super) fn notice(&self, codes: &[StatusCode]) -> Stanza {
        let info = UserInfo { statuses: codes.iter().copied().map(Into::into).collect(), ..UserInfo::default() };
        let mut out = Writer::new(ns::CLIENT);
        out.open("message", ns::CLIENT);
        out.attr("from", self.jid.as_str());
        out.attr("type", "groupchat");
        out.attr("id", &generate_id());
        info.write(&mut out);
        out.close();
        out.into_stanza()
    }
}

/// Whether a message says something that people will want to see later (XEP-0313 §6.1.2, XEP-0334).
fn is_lasting(message: ElementRef<'_>) -> bool {
    const LASTING: [&str; 8] = [
        "urn:xmpp:reactions:0",
        "urn:xmpp:message-retract:1",
        "urn:xmpp:eme:0",
        "urn:xmpp:omemo:2",
        "eu.siacs.conversations.axolotl",
        "urn:xmpp:openpgp:0",
        "urn:xmpp:message-attaching:1",
        "urn:xmpp:fasten:0",
    ];
    let mut lasting = false;
    for child in message.children() {
        match (child.name(), child.ns()) {
            ("no-store" | "no-permanent-store", "urn:xmpp:hints") => return false,
            ("store", "urn:xmpp:hints") | ("body", ns::CLIENT) => lasting = true,
            (_, other) => lasting |= LASTING.contains(&other),
        }
    }
    lasting
}
