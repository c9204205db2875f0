//! Who is in a room, as far as this client is told.

use crate::{
    Affiliation, Role,
    payload::{Hat, Item, OccupantId},
};
use std::{collections::BTreeMap, sync::Arc};
use xmpp_core::{
    jid::Jid,
    stanza::{Presence, Show},
};

/// The most bytes of a status that are kept.
const STATUS: usize = 1_024;
/// The longest id of an occupant, in characters (XEP-0421 §4.1).
const ID: usize = 128;

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Occupant {
    /// The nickname.
    pub nick: String,
    /// What they may do during this visit.
    pub role: Role,
    /// How they are associated with the room.
    pub affiliation: Affiliation,
    /// Who it is, if we may see that.
    pub jid: Option<Jid>,
    /// The same for a user each time (XEP-0421), where the room vouches for it.
    pub id: Option<String>,
    /// How available; `None` is plainly available.
    pub show: Option<Show>,
    /// In words, at most 1,024 bytes of it.
    pub status: Option<String>,
    /// What else they are in the room (XEP-0317), where the room vouches for it.
    pub hats: Vec<Hat>,
}

impl Occupant {
    pub(super) fn read(nick: &str, presence: &Presence, item: &Item) -> Occupant {
        Occupant {
            nick: nick.to_owned(),
            role: item.role.unwrap_or_default(),
            affiliation: item.affiliation.unwrap_or_default(),
            jid: item.jid.clone(),
            id: None,
            show: presence.show(),
            status: presence.status().map(|text| within(&text, STATUS).to_owned()),
            hats: Vec::new(),
        }
    }
}

/// The beginning of a text, of at most so many bytes.
pub(super) fn within(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}

/// The id that a room gives an occupant, if it is one.
pub(super) fn occupant_id(id: Option<Result<OccupantId, xmpp_core::payload::PayloadError>>) -> Option<String> {
    let id = id?.ok()?.id;
    (!id.is_empty() && id.chars().nth(ID).is_none()).then_some(id)
}

/// The occupants of a room by nickname, and no more than so many.
#[derive(Debug)]
pub(super) struct Table {
    by_nick: BTreeMap<String, Arc<Occupant>>,
    most: usize,
}

impl Table {
    pub(super) fn new(most: usize) -> Table {
        Table { by_nick: BTreeMap::new(), most }
    }
    pub(super) fn clear(&mut self) {
        self.by_nick.clear();
    }
    pub(super) fn len(&self) -> usize {
        self.by_nick.len()
    }
    pub(super) fn get(&self, nick: &str) -> Option<&Arc<Occupant>> {
        self.by_nick.get(nick)
    }
    pub(super) fn all(&self) -> Vec<Arc<Occupant>> {
        self.by_nick.values().cloned().collect()
    }
    /// The room does not vouch for ids.
    pub(super) fn forget_ids(&mut self) {
        for occupant in self.by_nick.values_mut().filter(|occupant| occupant.id.is_some()) {
            *occupant = Arc::new(Occupant { id: None, ..Occupant::clone(occupant) });
        }
    }
    pub(super) fn remove(&mut self, nick: &str) -> Option<Arc<Occupant>> {
        self.by_nick.remove(nick)
    }
    /// Notes an occupant; `must` finds a place in a full table. What was known, and whether it is known now.
    pub(super) fn set(&mut self, occupant: &Arc<Occupant>, must: bool) -> (Option<Arc<Occupant>>, bool) {
        if let Some(known) = self.by_nick.get_mut(&occupant.nick) {
            return (Some(std::mem::replace(known, Arc::clone(occupant))), true);
        }
        if self.by_nick.len() >= self.most && !must {
            return (None, false);
        }
        self.by_nick.insert(occupant.nick.clone(), Arc::clone(occupant));
        (None, true)
    }
}
