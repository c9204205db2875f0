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

    /// What it takes, in bytes, about.
    pub(super) fn weight(&self) -> usize {
        let texts = [&self.id, &self.status].into_iter().flatten().map(String::len);
        let jid = self.jid.as_ref().map_or(0, |jid| jid.as_str().len());
        let hat =
            |hat: &Hat| size_of::<Hat>() + hat.uri.len() + hat.title.len() + hat.hue.as_ref().map_or(0, String::len);
        let hats = self.hats.iter().map(hat).sum::<usize>();
        // The nickname is twice in the table.
        size_of::<Occupant>() + 2 * self.nick.len() + jid + hats + texts.sum::<usize>()
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

/// The occupants of a room by nickname: so many at most, and so many bytes.
#[derive(Debug)]
pub(super) struct Table {
    by_nick: BTreeMap<String, Arc<Occupant>>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Table {
    pub(super) fn new(most: usize, most_bytes: usize) -> Table {
        Table { by_nick: BTreeMap::new(), bytes: 0, most, most_bytes }
    }
    pub(super) fn clear(&mut self) {
        self.by_nick.clear();
        self.bytes = 0;
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
            self.bytes = self.bytes.saturating_sub(occupant.weight());
            *occupant = Arc::new(Occupant { id: None, ..Occupant::clone(occupant) });
            self.bytes = self.bytes.saturating_add(occupant.weight());
        }
    }
    pub(super) fn remove(&mut self, nick: &str) -> Option<Arc<Occupant>> {
        let was = self.by_nick.remove(nick)?;
        self.bytes = self.bytes.saturating_sub(was.weight());
        Some(was)
    }
    /// Notes an occupant; `must` finds a place in a full table. What was known, and what is known now: of whom there is
    /// no more room to know everything, the least.
    pub(super) fn set(&mut self, occupant: Occupant, must: bool) -> (Option<Arc<Occupant>>, Option<Arc<Occupant>>) {
        let was = self.remove(&occupant.nick);
        let fits = |occupant: &Occupant| self.bytes.saturating_add(occupant.weight()) <= self.most_bytes;
        if was.is_none() && !must && (self.by_nick.len() >= self.most || !fits(&occupant)) {
            return (None, None);
        }
        let occupant = match fits(&occupant) {
            true => occupant,
            false => Occupant { jid: None, id: None, status: None, hats: Vec::new(), ..occupant },
        };
        let (nick, occupant) = (occupant.nick.clone(), Arc::new(occupant));
        self.bytes = self.bytes.saturating_add(occupant.weight());
        self.by_nick.insert(nick, Arc::clone(&occupant));
        (was, Some(occupant))
    }
    /// What the occupants take, in bytes.
    #[cfg(any(test, fuzzing))]
    pub(super) fn bytes(&self) -> usize {
        debug_assert_eq!(self.bytes, self.by_nick.values().map(|occupant| occupant.weight()).sum::<usize>());
        self.bytes
    }
}
