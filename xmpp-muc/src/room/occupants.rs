//! Who is in a room.

use super::audience::{Row, Rows};
use crate::{Affiliation, Role, payload::Hats};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use xmpp_core::{
    jid::{BareJid, Jid, nickname},
    payload::DateTime,
    xml::Stanza,
};
use xmpp_im::looks::looks;

/// A nickname as it is shown, as it is compared (RFC 8266), and as an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nick {
    /// The occupant's address: the room's, with the nickname.
    pub jid: Jid,
    /// By which two nicknames are the same.
    pub key: Arc<str>,
    /// What it looks like: two of which this is the same are hard to tell apart.
    pub looks: Arc<str>,
}

impl Nick {
    /// The nickname that an address means; and whether it had to be changed to be one (§7.2.2). `None` if it cannot be.
    pub fn of(address: &Jid) -> Option<(Nick, bool)> {
        let given = address.resource()?;
        let shown = nickname::enforce(given)?;
        if shown.chars().all(is_blank) {
            return None;
        }
        let key = nickname::comparison_key(given)?.into();
        let looks = looks_of(&key);
        if shown == given {
            return Some((Nick { jid: address.clone(), key, looks }, false));
        }
        let jid = address.to_bare().with_resource(&shown).ok()?.into();
        Some((Nick { jid, key, looks }, true))
    }

    /// As it is shown.
    pub fn as_str(&self) -> &str {
        self.jid.resource().unwrap_or_default()
    }
}

/// What a nickname looks like, by the key by which it is compared. Most look like themselves.
pub(super) fn looks_of(key: &Arc<str>) -> Arc<str> {
    let looks = looks(key);
    if looks == **key { Arc::clone(key) } else { looks.into() }
}

/// §16.1: what nobody sees is no nickname. The profile knows spaces; a letter of Braille without dots is none, and blank.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{2800}'
}

/// A client that is in the room.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Its address.
    pub jid: Jid,
    /// Its presence, without addresses and without what only the room may say.
    pub presence: Stanza,
    /// When it was asked whether it is there, and has not answered.
    pub(super) asked: Option<DateTime>,
}

impl Visit {
    pub(super) fn new(jid: Jid, presence: Stanza) -> Visit {
        Visit { jid, presence, asked: None }
    }
}

/// Somebody in the room, by one or more clients.
#[derive(Clone, Debug)]
pub struct Occupant {
    /// The nickname.
    pub nick: Nick,
    /// The user.
    pub user: BareJid,
    /// The role.
    pub role: Role,
    /// The affiliation, as it is in the room's list.
    pub affiliation: Affiliation,
    /// XEP-0421.
    pub id: Arc<str>,
    /// The hats (XEP-0317), if it wears any.
    pub hats: Option<Arc<Hats>>,
    /// The clients; the one whose presence is shown is last. Never empty.
    pub visits: Vec<Visit>,
}

impl Occupant {
    /// The presence that is shown.
    pub fn presence(&self) -> Option<&Stanza> {
        self.visits.last().map(|visit| &visit.presence)
    }
    /// One of its clients.
    pub fn visit(&self, jid: &Jid) -> Option<&Visit> {
        self.visits.iter().find(|visit| visit.jid == *jid)
    }
}

/// By which an occupant is known while it is in the room; grows in the order of entering.
pub type Number = u64;

/// All who are in a room.
#[derive(Clone, Debug, Default)]
pub struct Occupants {
    all: BTreeMap<Number, Occupant>,
    by_nick: HashMap<Arc<str>, Number>,
    by_looks: BTreeSet<(Arc<str>, Number)>,
    by_client: HashMap<Jid, Number>,
    next: Number,
    rows: Rows,
}

impl Occupants {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }
    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.by_client.len()
    }
    /// In the order in which they entered.
    pub fn iter(&self) -> impl Iterator<Item = (Number, &Occupant)> {
        self.all.iter().map(|(number, occupant)| (*number, occupant))
    }
    /// By number.
    pub fn get(&self, number: Number) -> Option<&Occupant> {
        self.all.get(&number)
    }
    /// Whose client this is.
    pub fn of_client(&self, jid: &Jid) -> Option<(Number, &Occupant)> {
        let number = *self.by_client.get(jid)?;
        Some((number, self.all.get(&number)?))
    }
    /// Who has the nickname, however it is written.
    pub fn of_nick(&self, key: &str) -> Option<(Number, &Occupant)> {
        let number = *self.by_nick.get(key)?;
        Some((number, self.all.get(&number)?))
    }
    /// Whose nicknames look like this.
    pub fn of_looks<'a>(&'a self, looks: &Arc<str>) -> impl Iterator<Item = &'a Occupant> {
        let range = (Arc::clone(looks), Number::MIN)..=(Arc::clone(looks), Number::MAX);
        self.by_looks.range(range).filter_map(|(_, number)| self.all.get(number))
    }
    /// The occupants that are this user.
    pub fn of_user<'a>(&'a self, user: &'a BareJid) -> impl Iterator<Item = (Number, &'a Occupant)> {
        self.iter().filter(move |(_, occupant)| occupant.user == *user)
    }

    /// The clients of all.
    pub(super) fn everybody(&self) -> &Row {
        self.rows.everybody.get_or_init(|| Row::of(self.iter()))
    }
    /// Those of moderators.
    pub(super) fn moderators(&self) -> &Row {
        self.rows.moderators.get_or_init(|| Row::of(self.iter().filter(|(_, one)| one.role == Role::Moderator)))
    }
    /// Those of all others.
    pub(super) fn rest(&self) -> &Row {
        self.rows.rest.get_or_init(|| Row::of(self.iter().filter(|(_, one)| one.role != Role::Moderator)))
    }

    /// Changes a role, and says which it was.
    pub(super) fn set_role(&mut self, number: Number, role: Role) -> Option<Role> {
        let was = std::mem::replace(&mut self.all.get_mut(&number)?.role, role);
        if (was == Role::Moderator) != (role == Role::Moderator) {
            (self.rows.moderators, self.rows.rest) = Default::default();
        }
        Some(was)
    }

    /// Makes the presence of one of an occupant's clients the one that is shown.
    pub(super) fn show(&mut self, number: Number, visit: Visit) {
        let Some(occupant) = self.all.get_mut(&number) else { return };
        if occupant.visits.len() > 1 {
            self.rows = Rows::default();
        }
        occupant.visits.retain(|other| other.jid != visit.jid);
        occupant.visits.push(visit);
    }

    /// Not for its role or its clients.
    pub(super) fn get_mut(&mut self, number: Number) -> Option<&mut Occupant> {
        self.all.get_mut(&number)
    }

    /// Lets a client in: beside others of the same user under the nickname, or as a new occupant.
    pub(super) fn enter(&mut self, occupant: Occupant) -> Number {
        self.rows = Rows::default();
        let number = match self.by_nick.get(&occupant.nick.key) {
            Some(number) => *number,
            None => {
                self.next += 1;
                self.by_nick.insert(Arc::clone(&occupant.nick.key), self.next);
                self.by_looks.insert((Arc::clone(&occupant.nick.looks), self.next));
                self.next
            }
        };
        for visit in &occupant.visits {
            self.by_client.insert(visit.jid.clone(), number);
        }
        match self.all.get_mut(&number) {
            Some(there) => there.visits.extend(occupant.visits),
            None => {
                self.all.insert(number, occupant);
            }
        }
        number
    }

    /// Takes one client out, and the occupant if that was the last; whether it was.
    pub(super) fn leave(&mut self, jid: &Jid) -> Option<(Number, Occupant, bool)> {
        let number = self.by_client.remove(jid)?;
        self.rows = Rows::default();
        let occupant = self.all.get_mut(&number)?;
        let was = occupant.clone();
        occupant.visits.retain(|visit| visit.jid != *jid);
        let last = occupant.visits.is_empty();
        if last {
            self.by_nick.remove(&was.nick.key);
            self.by_looks.remove(&(Arc::clone(&was.nick.looks), number));
            self.all.remove(&number);
        }
        Some((number, was, last))
    }

    /// Takes an occupant out, with all of its clients.
    pub(super) fn remove(&mut self, number: Number) -> Option<Occupant> {
        let occupant = self.all.remove(&number)?;
        self.rows = Rows::default();
        self.by_nick.remove(&occupant.nick.key);
        self.by_looks.remove(&(Arc::clone(&occupant.nick.looks), number));
        for visit in &occupant.visits {
            self.by_client.remove(&visit.jid);
        }
        Some(occupant)
    }

    pub(super) fn rename(&mut self, number: Number, nick: Nick) {
        if let Some(occupant) = self.all.get_mut(&number) {
            self.by_nick.remove(&occupant.nick.key);
            self.by_looks.remove(&(Arc::clone(&occupant.nick.looks), number));
            self.by_nick.insert(Arc::clone(&nick.key), number);
            self.by_looks.insert((Arc::clone(&nick.looks), number));
            occupant.nick = nick;
        }
    }
}
