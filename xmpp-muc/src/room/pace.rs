//! How often an occupant may be shown anew (§13.6): presence and nicknames, which each are told to everybody.

use super::{Occupant, Room};
use xmpp_core::{jid::Jid, payload::DateTime, stanza::StanzaError};

/// What a change of nickname, or hearing everything again, counts, in changes of presence.
pub(super) const DEAR: u32 = 3;

impl Room {
    /// Whether an occupant may change something now.
    ///
    /// # Errors
    /// `resource-constraint` where it has changed too much lately.
    pub(super) fn check_pace(&self, occupant: &Occupant, cost: u32, now: DateTime) -> Result<(), StanzaError> {
        let (every, burst) = self.pace();
        let owed = occupant.paced.saturating_sub(now.unix_micros()).max(0);
        let ahead = owed.saturating_add(every.saturating_mul(cost.into()));
        match every > 0 && ahead > every.saturating_mul(burst) {
            true => Err(StanzaError::resource_constraint().with_text("your presence changes too often")),
            false => Ok(()),
        }
    }

    /// Counts a change.
    pub(super) fn pace_on(&mut self, number: super::Number, cost: u32, now: DateTime) {
        let (every, _) = self.pace();
        if let Some(occupant) = self.occupants.get_mut(number) {
            let from = occupant.paced.max(now.unix_micros());
            occupant.paced = from.saturating_add(every.saturating_mul(cost.into()));
        }
    }

    /// Counts a change of a client's occupant.
    pub(super) fn pace_of(&mut self, client: &Jid, cost: u32, now: DateTime) {
        if let Some((number, _)) = self.occupants.of_client(client) {
            self.pace_on(number, cost, now);
        }
    }

    /// Microseconds for one change, and how many there may be at once.
    fn pace(&self) -> (i64, i64) {
        let every = i64::try_from(self.limits.presence_every.as_micros()).unwrap_or(i64::MAX);
        (every, self.limits.presence_burst.into())
    }
}
