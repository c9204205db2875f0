//! What is known of a room in memory without waiting for its turn.

use crate::{Listed, room::Room};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What lists say of a room that is in memory.
#[derive(Debug)]
pub(super) struct Shown {
    /// What may be told.
    pub(super) listed: Listed,
    /// Whether it may be told.
    pub(super) visible: bool,
    /// Whether the room is stored too.
    pub(super) lasting: bool,
    users: AtomicUsize,
}

impl Shown {
    pub(super) fn of(room: &Room) -> Shown {
        Shown {
            listed: Listed::of(room.jid().clone(), room.config()),
            visible: is_visible(room),
            lasting: is_lasting(room),
            users: AtomicUsize::new(room.occupants().len()),
        }
    }

    /// Whether this is still true of a room, but for the number of its occupants, which is noted.
    pub(super) fn still(&self, room: &Room) -> bool {
        self.users.store(room.occupants().len(), Ordering::Relaxed);
        self.visible == is_visible(room) && self.lasting == is_lasting(room) && self.listed.tells(room.config())
    }

    /// How many are in it, if strangers may know that (§13.4).
    pub(super) fn users(&self) -> Option<usize> {
        (self.listed.is_open == Some(true)).then(|| self.users.load(Ordering::Relaxed))
    }
}

fn is_visible(room: &Room) -> bool {
    room.config().public && !room.is_locked()
}

fn is_lasting(room: &Room) -> bool {
    room.config().persistent && !room.is_locked()
}
