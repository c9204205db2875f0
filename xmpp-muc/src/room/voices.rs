//! Who has been given voice, or has lost it, and comes back (§5.1).

use super::{Occupant, Room};
use crate::{Affiliation, Role, initial_role};
use std::collections::VecDeque;
use xmpp_core::jid::BareJid;

/// Roles that are kept for those who have left a moderated room, in memory: so many, and the last ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Voices(VecDeque<(BareJid, Role)>);

impl Voices {
    /// The role with which somebody left, if it was another than that with which one comes.
    pub(super) fn of(&self, user: &BareJid) -> Option<Role> {
        self.0.iter().find(|(other, _)| other == user).map(|(_, role)| *role)
    }
    pub(super) fn forget(&mut self, user: &BareJid) {
        self.0.retain(|(other, _)| other != user);
    }
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
    fn remember(&mut self, user: BareJid, role: Role, most: usize) {
        self.0.push_back((user, role));
        while self.0.len() > most {
            self.0.pop_front();
        }
    }
}

impl Room {
    /// Notes with which role somebody has left a moderated room, if it is voice or the lack of it.
    pub(super) fn remember_voice(&mut self, was: &Occupant) {
        self.voices.forget(&was.user);
        let initial = initial_role(was.affiliation, self.config.moderated, self.config.members_only);
        let is_voice = matches!(was.role, Role::Visitor | Role::Participant) && was.affiliation < Affiliation::Admin;
        if self.config.moderated && is_voice && initial.is_some_and(|initial| initial != was.role) {
            self.voices.remember(was.user.clone(), was.role, self.limits.voices);
        }
    }
}
