//! Where rooms are kept that outlive their occupants.

use crate::room::{Kept, RoomRecord};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};
use xmpp_core::jid::BareJid;
use xmpp_im::Stored;

/// A room as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its address.
    pub jid: BareJid,
    /// Its name for people.
    pub name: String,
}

/// Keeps persistent rooms. [`conformance`] says what a store must do.
pub trait RoomStore: Send + Sync + 'static {
    /// A room; `None` if there is none.
    fn load<'a>(&'a self, room: &'a BareJid) -> Stored<'a, Option<RoomRecord>>;

    /// Stores a room as a whole, in the place of what there was.
    fn save<'a>(&'a self, room: &'a BareJid, record: &'a RoomRecord) -> Stored<'a, ()>;

    /// Changes parts of a room that is stored: all of them, or none.
    fn change<'a>(&'a self, room: &'a BareJid, kept: &'a [Kept]) -> Stored<'a, ()>;

    /// Drops a room.
    fn remove<'a>(&'a self, room: &'a BareJid) -> Stored<'a, ()>;

    /// The rooms of a domain that are to be listed, by address.
    fn listed<'a>(&'a self, domain: &'a str) -> Stored<'a, Vec<Listed>>;
}

/// Rooms in memory, for tests and for services whose rooms end with the process.
#[derive(Debug, Default)]
pub struct MemoryRooms(Mutex<BTreeMap<BareJid, RoomRecord>>);

impl MemoryRooms {
    /// None at first.
    pub fn new() -> MemoryRooms {
        MemoryRooms::default()
    }
    fn rooms(&self) -> MutexGuard<'_, BTreeMap<BareJid, RoomRecord>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl RoomStore for MemoryRooms {
    fn load<'a>(&'a self, room: &'a BareJid) -> Stored<'a, Option<RoomRecord>> {
        Box::pin(async move { Ok(self.rooms().get(room).cloned()) })
    }
    fn save<'a>(&'a self, room: &'a BareJid, record: &'a RoomRecord) -> Stored<'a, ()> {
        Box::pin(async move {
            self.rooms().insert(room.clone(), record.clone());
            Ok(())
        })
    }
    fn change<'a>(&'a self, room: &'a BareJid, kept: &'a [Kept]) -> Stored<'a, ()> {
        Box::pin(async move {
            if let Some(record) = self.rooms().get_mut(room) {
                kept.iter().for_each(|kept| record.change(kept));
            }
            Ok(())
        })
    }
    fn remove<'a>(&'a self, room: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(async move {
            self.rooms().remove(room);
            Ok(())
        })
    }
    fn listed<'a>(&'a self, domain: &'a str) -> Stored<'a, Vec<Listed>> {
        Box::pin(async move {
            let rooms = self.rooms();
            let public = rooms.iter().filter(|(jid, room)| jid.domain() == domain && room.is_listed());
            Ok(public.map(|(jid, room)| Listed { jid: jid.clone(), name: room.config.name.clone() }).collect())
        })
    }
}
