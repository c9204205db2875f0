//! What passes between two occupants who do not know each other: requests, answers, and errors (§16.4).

use super::{Change, Delivery, Incoming, Number, Occupant, Plan, Room};
use crate::config::Whois;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt::Write as _;
use xmpp_core::{
    jid::Jid,
    stanza::{Condition, StanzaError},
    xml::{ElementRef, Stanza, Writer, ns},
};

/// Private messages whose errors are still passed on, of a room.
const WHISPERS: usize = 100;

/// A private message that was passed on, of which an error may come back.
#[derive(Clone, Debug)]
pub struct Whisper {
    /// Its id.
    id: String,
    /// The client that has sent it.
    from: Jid,
    /// The occupant that got it.
    to: Number,
}

impl Room {
    /// Passes an iq on between occupants, who learn nothing of each other's addresses (§16.4.3). A request goes to the
    /// occupant's client, or to its account if it is for vCards; an answer back to the client that had asked, which its id
    /// tells, from the occupant that was asked.
    ///
    /// # Errors
    /// `not-acceptable` for who is not in the room, but `bad-request` if it asks what the occupant can do (§6.6);
    /// `item-not-found` if the other is not in the room.
    pub fn forward(&self, input: Incoming<'_>) -> Result<Plan, StanzaError> {
        let root = input.stanza.root();
        match root.attr("type").as_deref() {
            Some("get" | "set") => self.forward_request(input),
            _ => self.forward_answer(input),
        }
    }

    fn forward_request(&self, input: Incoming<'_>) -> Result<Plan, StanzaError> {
        self.check_open_to(input.from)?;
        let root = input.stanza.root();
        let Some((_, occupant)) = self.sender(input.from) else {
            let is_disco = root.children().any(|child| child.ns().starts_with("http://jabber.org/protocol/disco#"));
            let error = if is_disco { StanzaError::bad_request() } else { StanzaError::not_acceptable() };
            return Err(error.with_text("you are not in the room"));
        };
        let (number, other) = self.addressee_number(input.to)?;
        let for_account = root.children().any(|child| child.ns() == "vcard-temp");
        let visit = other.visits.last().ok_or_else(StanzaError::item_not_found)?;
        let to = if for_account { other.user.clone().into() } else { visit.jid.clone() };
        let id = root.attr("id").unwrap_or_default();
        let id = format!("{}-{id}", self.tag("iq", input.from, number));
        Ok(self.pass_on(input, occupant, to, &id))
    }

    fn forward_answer(&self, input: Incoming<'_>) -> Result<Plan, StanzaError> {
        let id = input.stanza.root().attr("id").unwrap_or_default();
        let (tag, id) = id.split_once('-').unwrap_or_default();
        let other = self.addressee(input.to)?;
        let asked = |number| other.visits.iter().find(|visit| self.tag("iq", &visit.jid, number) == tag);
        // An account answers for its vCard, and may be in the room by several nicknames.
        let user = input.from.to_bare();
        let answers = |occupant: &Occupant| input.from.resource().is_none() || occupant.visit(input.from).is_some();
        let mut those = self.occupants.of_user(&user).filter(|(_, occupant)| answers(occupant));
        match those.find_map(|(number, occupant)| Some((occupant, asked(number)?))) {
            Some((occupant, visit)) => Ok(self.pass_on(input, occupant, visit.jid.clone(), id)),
            None => Ok(Plan::default()),
        }
    }

    /// By which a client is known again in an answer of an occupant, and by nobody else.
    pub(super) fn tag(&self, what: &str, client: &Jid, asked: Number) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return String::new() };
        mac.update(what.as_bytes());
        mac.update(b"\0");
        mac.update(&asked.to_be_bytes());
        mac.update(client.as_str().as_bytes());
        let mut tag = String::with_capacity(16);
        for byte in mac.finalize().into_bytes().iter().take(8) {
            let _ = write!(tag, "{byte:02x}");
        }
        tag
    }

    fn pass_on(&self, input: Incoming<'_>, occupant: &Occupant, to: Jid, id: &str) -> Plan {
        let from = occupant.nick.jid.clone();
        let error = input.stanza.root().child("error", ns::CLIENT);
        let is_error = input.stanza.root().attr("type").as_deref() == Some("error");
        let stanza = match error.filter(|_| is_error && self.config.whois == Whois::Moderators) {
            Some(error) => veiled("iq", &from, id, error),
            None => input.stanza.rewrite(ns::CLIENT).from(Some(from.as_str())).to(None).id(Some(id)).to_stanza(),
        };
        Plan::of(Change::Send(Delivery { from, to: to.into(), stanza }))
    }

    /// A private message, of which an error may come back; without an id none does.
    pub(super) fn whisper_of(&self, input: Incoming<'_>, to: Number) -> Option<Whisper> {
        let id = input.stanza.root().attr("id").filter(|id| !id.is_empty() && id.len() <= 256)?;
        Some(Whisper { id: id.into_owned(), from: input.from.clone(), to })
    }

    pub(super) fn whispered(&mut self, whisper: Option<Whisper>) {
        self.whispers.extend(whisper);
        while self.whispers.len() > WHISPERS {
            self.whispers.pop_front();
        }
    }

    /// The error that a private message has met with goes to whoever sent it, once; nothing else that comes back does.
    pub(super) fn undelivered(&self, input: Incoming<'_>) -> Option<Change> {
        let root = input.stanza.root();
        let (id, error) = (root.attr("id")?, root.child("error", ns::CLIENT)?);
        let (number, occupant) = self.sender(input.from)?;
        let (_, other) = self.addressee_number(input.to).ok()?;
        let is_meant =
            |whisper: &&Whisper| whisper.to == number && whisper.id == id && other.visit(&whisper.from).is_some();
        let whisper = self.whispers.iter().find(is_meant)?;
        let from = occupant.nick.jid.clone();
        let stanza = veiled("message", &from, &id, error);
        let delivery = Delivery { from, to: whisper.from.clone().into(), stanza };
        Some(Change::Undelivered { whisper: whisper.clone(), delivery })
    }

    pub(super) fn forget_whisper(&mut self, whisper: &Whisper) {
        self.whispers.retain(|other| (&other.id, &other.from, other.to) != (&whisper.id, &whisper.from, whisper.to));
    }
}

/// An error that an occupant meets with, without what could tell who the other is: servers write addresses into errors.
fn veiled(name: &str, from: &Jid, id: &str, error: ElementRef<'_>) -> Stanza {
    let mut error = StanzaError { by: None, text: None, lang: None, ..StanzaError::read(error) };
    error.condition = match error.condition {
        Condition::Gone(_) => Condition::Gone(None),
        Condition::Redirect(_) => Condition::Redirect(None),
        other => other,
    };
    let mut out = Writer::new(ns::CLIENT);
    out.open(name, ns::CLIENT);
    out.attr("from", from.as_str());
    out.attr("type", "error");
    out.attr("id", id);
    error.write(&mut out);
    out.close();
    out.into_stanza()
}
