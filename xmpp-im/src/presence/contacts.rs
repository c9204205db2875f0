//! What a client has heard of others' availability (RFC 6121 §4), bounded, without I/O.

use std::collections::HashMap;
use xmpp_core::{
    jid::{BareJid, FullJid},
    stanza::{Presence, PresenceType, Show},
};

/// The most contacts, and the most strangers, who sent us directed presence.
const CONTACTS: usize = 20_000;
const STRANGERS: usize = 512;
/// The most resources of one address.
const RESOURCES: usize = 32;
/// The most bytes that are kept of a status.
const STATUS: usize = 1_024;

/// A resource that has said that it is available.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Available {
    /// Its address.
    pub jid: FullJid,
    /// How available; `None` is plainly available.
    pub show: Option<Show>,
    /// What it says of itself, at most 1,024 bytes of it.
    pub status: Option<String>,
    /// Its priority (RFC 6121 §4.7.2.3).
    pub priority: i8,
}

impl Available {
    fn read(jid: FullJid, presence: &Presence) -> Available {
        let status = presence.status().map(|status| {
            let mut end = status.len().min(STATUS);
            while !status.is_char_boundary(end) {
                end -= 1;
            }
            status.get(..end).unwrap_or_default().to_owned()
        });
        Available { jid, show: presence.show(), status, priority: presence.priority() }
    }

    /// The greater, the better to talk to.
    fn rank(&self) -> (i8, u8) {
        let show = match self.show {
            Some(Show::Chat) => 4,
            None => 3,
            Some(Show::Away) => 2,
            Some(Show::Xa) => 1,
            Some(Show::Dnd) => 0,
        };
        (self.priority, show)
    }
}

/// Everybody's resources; of each address the one that spoke last comes last.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    known: HashMap<BareJid, Vec<Available>>,
    /// Anybody may send us presence: those who are in no roster must not drive out those who are.
    strangers: HashMap<BareJid, (u64, Vec<Available>)>,
    clock: u64,
}

impl Contacts {
    /// Takes presence of type available or unavailable. Whether anything is different.
    pub(super) fn hear(&mut self, from: FullJid, presence: &Presence, known: bool) -> bool {
        let bare = from.to_bare();
        if presence.type_() == PresenceType::Unavailable {
            return self.leave(&bare, &from);
        }
        let heard = Available::read(from, presence);
        self.clock += 1;
        if known {
            let before = self.strangers.remove(&bare).map(|(_, resources)| resources);
            if self.known.len() >= CONTACTS && !self.known.contains_key(&bare) {
                return false;
            }
            put(self.known.entry(bare).or_insert_with(|| before.unwrap_or_default()), heard);
            return true;
        }
        // Who has been in the roster is a stranger now.
        let before = self.known.remove(&bare);
        if self.strangers.len() >= STRANGERS && !self.strangers.contains_key(&bare) {
            let oldest = self.strangers.iter().min_by_key(|(_, (clock, _))| *clock).map(|(jid, _)| jid.clone());
            oldest.map(|oldest| self.strangers.remove(&oldest));
        }
        let (clock, resources) = self.strangers.entry(bare).or_insert_with(|| (0, before.unwrap_or_default()));
        *clock = self.clock;
        put(resources, heard);
        true
    }

    fn leave(&mut self, bare: &BareJid, from: &FullJid) -> bool {
        let Some(resources) = self.known.get_mut(bare).or(self.strangers.get_mut(bare).map(|(_, all)| all)) else {
            return false;
        };
        let before = resources.len();
        resources.retain(|one| one.jid != *from);
        let gone = before != resources.len();
        if resources.is_empty() {
            self.known.remove(bare);
            self.strangers.remove(bare);
        }
        gone
    }

    /// Nobody can be reached there (RFC 6121 §4.3: an error answers presence that was sent to it).
    pub(super) fn forget(&mut self, bare: &BareJid) -> bool {
        self.known.remove(bare).is_some() | self.strangers.remove(bare).is_some()
    }

    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.strangers.clear();
    }

    pub(super) fn of(&self, bare: &BareJid) -> &[Available] {
        let stranger = || self.strangers.get(bare).map(|(_, all)| all);
        self.known.get(bare).or_else(stranger).map(Vec::as_slice).unwrap_or_default()
    }

    /// The resource to talk to: that of the highest priority, the most available, the last that spoke.
    pub(super) fn best(&self, bare: &BareJid) -> Option<&Available> {
        self.of(bare).iter().max_by_key(|one| one.rank())
    }
}

fn put(resources: &mut Vec<Available>, heard: Available) {
    resources.retain(|one| one.jid != heard.jid);
    if resources.len() >= RESOURCES {
        resources.remove(0);
    }
    resources.push(heard);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn full(text: &str) -> FullJid {
        FullJid::new(text).unwrap()
    }

    fn bare(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    fn hear(contacts: &mut Contacts, from: &str, show: Option<Show>, priority: i8, known: bool) -> bool {
        let presence = Presence::available().priority(priority);
        let presence = show.into_iter().fold(presence, |presence, show| presence.show(show));
        contacts.hear(full(from), &presence.build(), known)
    }

    #[test]
    fn rfc6121_4_7_2_3_the_best_resource_has_the_highest_priority() {
        let mut contacts = Contacts::default();
        hear(&mut contacts, "romeo@example.net/phone", None, 0, true);
        hear(&mut contacts, "romeo@example.net/orchard", Some(Show::Away), 5, true);
        let romeo = bare("romeo@example.net");
        assert_eq!(contacts.best(&romeo).unwrap().jid, full("romeo@example.net/orchard"));
        hear(&mut contacts, "romeo@example.net/phone", None, 5, true);
        assert_eq!(contacts.best(&romeo).unwrap().jid, full("romeo@example.net/phone"), "more available");
        hear(&mut contacts, "romeo@example.net/home", None, 5, true);
        assert_eq!(contacts.best(&romeo).unwrap().jid, full("romeo@example.net/home"), "the last that spoke");
        let gone = Presence::unavailable().build();
        assert!(contacts.hear(full("romeo@example.net/home"), &gone, true));
        assert!(!contacts.hear(full("romeo@example.net/home"), &gone, true), "it is gone already");
        assert_eq!(contacts.of(&romeo).len(), 2);
    }

    #[test]
    fn abuse_a102_strangers_and_resources_are_bounded_and_drive_no_contact_out() {
        let mut contacts = Contacts::default();
        hear(&mut contacts, "romeo@example.net/orchard", None, 0, true);
        for n in 0..STRANGERS + 50 {
            hear(&mut contacts, &format!("bot{n}@spam.example/x"), None, 0, false);
        }
        assert_eq!((contacts.strangers.len(), contacts.known.len()), (STRANGERS, 1));
        assert!(contacts.best(&bare("bot0@spam.example")).is_none(), "the oldest went");
        assert!(contacts.best(&bare(&format!("bot{}@spam.example", STRANGERS + 49))).is_some());
        for n in 0..RESOURCES + 5 {
            hear(&mut contacts, &format!("romeo@example.net/{n}"), None, 0, true);
        }
        assert_eq!(contacts.of(&bare("romeo@example.net")).len(), RESOURCES);
        let long = "ä".repeat(STATUS);
        let presence = Presence::available().status(&long).build();
        contacts.hear(full("romeo@example.net/x"), &presence, true);
        let kept = contacts.best(&bare("romeo@example.net")).unwrap().status.clone().unwrap();
        assert_eq!(kept.len(), STATUS);
    }
}
