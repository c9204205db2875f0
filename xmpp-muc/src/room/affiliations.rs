//! Who is affiliated with a room.

use super::occupants::looks_of;
use crate::Affiliation;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use xmpp_core::jid::{BareJid, Jid, nickname};

/// What a room knows of somebody who is affiliated with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affiliated {
    /// How; never `None`.
    pub affiliation: Affiliation,
    /// The nickname that is reserved.
    pub nick: Option<String>,
    /// Why it is so.
    pub reason: Option<String>,
}

/// The lists of a room. Users are known by their bare addresses; a ban can also be of a domain.
#[derive(Clone, Debug, Default)]
pub struct Affiliations {
    all: BTreeMap<BareJid, Affiliated>,
    nicks: HashMap<Arc<str>, BareJid>,
    /// By what those look like.
    looks: HashMap<Arc<str>, Vec<BareJid>>,
}

impl Affiliations {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }
    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
    /// All of them, by address.
    pub fn iter(&self) -> impl Iterator<Item = (&BareJid, &Affiliated)> {
        self.all.iter()
    }
    /// What is known of a user.
    pub fn entry(&self, user: &BareJid) -> Option<&Affiliated> {
        self.all.get(user)
    }
    /// All who have an affiliation.
    pub fn with(&self, affiliation: Affiliation) -> impl Iterator<Item = &BareJid> {
        self.all.iter().filter(move |(_, entry)| entry.affiliation == affiliation).map(|(user, _)| user)
    }
    /// How a user is affiliated: as itself, or banned with its domain (§9.2).
    pub fn of(&self, user: &BareJid) -> Affiliation {
        if let Some(entry) = self.all.get(user) {
            return entry.affiliation;
        }
        let domain = BareJid::from_parts(None, user.domain()).ok();
        match domain.and_then(|domain| self.all.get(&domain)) {
            Some(entry) if entry.affiliation == Affiliation::Outcast => Affiliation::Outcast,
            _ => Affiliation::None,
        }
    }
    /// For whom a nickname is reserved.
    pub fn reserved(&self, key: &str) -> Option<&BareJid> {
        self.nicks.get(key)
    }
    /// For whom nicknames are reserved that look like this.
    pub fn reserved_alike(&self, looks: &str) -> &[BareJid] {
        self.looks.get(looks).map(Vec::as_slice).unwrap_or_default()
    }
    /// The nickname that is reserved for a user.
    pub fn nick(&self, user: &BareJid) -> Option<&str> {
        self.all.get(user)?.nick.as_deref()
    }

    /// Enters a user, or strikes it out.
    pub fn set(&mut self, user: BareJid, entry: Affiliated) {
        let mut entry = entry;
        if let Some(key) = self.nick(&user).and_then(nickname::comparison_key) {
            self.nicks.remove(key.as_str());
            let looks = looks_of(&key.into());
            if let Some(alike) = self.looks.get_mut(&looks) {
                alike.retain(|other| *other != user);
                if alike.is_empty() {
                    self.looks.remove(&looks);
                }
            }
        }
        if entry.affiliation <= Affiliation::None {
            entry.nick = None;
        }
        if let Some(key) = entry.nick.as_deref().and_then(nickname::comparison_key) {
            let key: Arc<str> = key.into();
            self.looks.entry(looks_of(&key)).or_default().push(user.clone());
            self.nicks.insert(key, user.clone());
        }
        if entry.affiliation == Affiliation::None {
            self.all.remove(&user);
        } else {
            self.all.insert(user, entry);
        }
    }

    /// Whether a ban of this address is one of this user.
    pub(super) fn covers(banned: &BareJid, user: &Jid) -> bool {
        banned.as_str() == user.bare_str() || (banned.local().is_none() && banned.domain() == user.domain())
    }
}
