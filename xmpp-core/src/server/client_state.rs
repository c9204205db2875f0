//! Client state indication (XEP-0352): what may wait while nobody looks at the client.

use super::Envelope;
use crate::{
    stanza::StanzaKind,
    xml::{ElementRef, ns},
};
use std::collections::{BTreeMap, HashMap};

pub(crate) const NS: &str = "urn:xmpp:csi:0";
const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
const MUC_USER: &str = "http://jabber.org/protocol/muc#user";

/// Of what kind a stanza is that may wait; the latest of a kind from a sender takes the place of those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Idle {
    /// Who is there, and how.
    Presence,
    /// A message that says nothing but what its sender does.
    ChatState,
}

/// Asks an extension whether a stanza may wait while its recipient is inactive; the outer `None` leaves it to others.
pub(super) type IdleRule = Box<dyn Fn(&Envelope) -> Option<Option<Idle>> + Send + Sync>;

/// The rule where no extension has another: presence may wait, except for what is said of the recipient itself in a
/// room; and messages may that carry a chat state (XEP-0085) and nothing to read.
pub(crate) fn idle(envelope: &Envelope) -> Option<Idle> {
    let root = envelope.stanza().root();
    match (envelope.kind(), envelope.type_str().as_ref()) {
        (StanzaKind::Presence, "" | "unavailable") if !is_own_in_room(root) => Some(Idle::Presence),
        (StanzaKind::Message, "" | "normal" | "chat" | "groupchat") if is_chat_state(root) => Some(Idle::ChatState),
        _ => None,
    }
}

/// XEP-0045 §7.2.2, §8.2: joined, renamed, left, kicked, banned: status 110.
fn is_own_in_room(root: ElementRef<'_>) -> bool {
    let Some(user) = root.child("x", MUC_USER) else { return false };
    user.children().any(|child| child.is("status", MUC_USER) && child.attr("code").as_deref() == Some("110"))
}

fn is_chat_state(root: ElementRef<'_>) -> bool {
    let mut found = false;
    root.children().all(|child| match child.ns() {
        CHAT_STATES => {
            found = true;
            true
        }
        "urn:xmpp:hints" | "urn:xmpp:sid:0" => true,
        ns::CLIENT => child.name() == "thread",
        _ => false,
    }) && found
}

/// What one of a kind takes the place of: an earlier one of the same sender.
type Sender = (Idle, Box<str>);

/// What is held back for one session: the latest of each kind from each sender, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Held {
    places: HashMap<Sender, u64>,
    stanzas: BTreeMap<u64, (Sender, Box<[u8]>)>,
    next: u64,
    bytes: usize,
}

impl Held {
    /// Holds a stanza back, in place of an earlier one.
    pub(crate) fn hold(&mut self, kind: Idle, from: &str, bytes: &[u8]) {
        let place = self.next;
        self.next += 1;
        self.bytes += bytes.len();
        if let Some(earlier) = self.places.insert((kind, from.into()), place)
            && let Some((_, bytes)) = self.stanzas.remove(&earlier)
        {
            self.bytes -= bytes.len();
        }
        self.stanzas.insert(place, ((kind, from.into()), bytes.into()));
    }

    pub(crate) fn is_full(&self, stanzas: usize, bytes: usize) -> bool {
        self.stanzas.len() > stanzas || self.bytes > bytes
    }

    /// The first of them.
    pub(crate) fn first(&self) -> Option<&[u8]> {
        self.stanzas.first_key_value().map(|(_, (_, bytes))| &**bytes)
    }

    /// Lets the first of them go.
    pub(crate) fn remove_first(&mut self) {
        if let Some((_, (sender, bytes))) = self.stanzas.pop_first() {
            self.places.remove(&sender);
            self.bytes -= bytes.len();
        }
    }

    /// All of them, in order.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Box<[u8]>> + use<> {
        self.places.clear();
        self.bytes = 0;
        std::mem::take(&mut self.stanzas).into_values().map(|(_, bytes)| bytes)
    }
}
