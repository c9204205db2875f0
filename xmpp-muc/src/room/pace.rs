//! How often a user may be shown anew or heard in a room (§13.6): each presence, nickname and message is told to everybody.

use super::Room;
use std::collections::{BTreeSet, HashMap};
use xmpp_core::{jid::BareJid, payload::DateTime, stanza::StanzaError};

/// What a change of nickname, or hearing everything again, counts, in changes of presence.
pub(super) const DEAR: u32 = 3;
/// What entering counts, with the leaving that nobody can be refused.
pub(super) const VISIT: u32 = 2;

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    Presence,
    Message,
}

/// Until when somebody has used up what there was at once, in microseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
struct Paced {
    presence: i64,
    message: i64,
}

impl Paced {
    fn of(&mut self, what: Pace) -> &mut i64 {
        match what {
            Pace::Presence => &mut self.presence,
            Pace::Message => &mut self.message,
        }
    }
    /// When there is nothing left to be remembered.
    fn end(&self) -> i64 {
        self.presence.max(self.message)
    }
}

/// Who has changed or said something lately, whether still in the room or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Paces {
    all: HashMap<BareJid, Paced>,
    ends: BTreeSet<(i64, BareJid)>,
}

impl Paces {
    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    fn until(&self, user: &BareJid, what: Pace) -> i64 {
        self.all.get(user).map_or(0, |paced| *{ *paced }.of(what))
    }

    /// Notes until when something of a user's is used up. Of too many those are forgotten who would be first anyway.
    fn set(&mut self, user: &BareJid, what: Pace, until: i64, now: i64, most: usize) {
        let mut paced = self.all.remove(user).unwrap_or_default();
        self.ends.remove(&(paced.end(), user.clone()));
        *paced.of(what) = until;
        while self.ends.first().is_some_and(|(end, _)| *end <= now || self.ends.len() >= most) {
            if let Some((_, user)) = self.ends.pop_first() {
                self.all.remove(&user);
            }
        }
        self.ends.insert((paced.end(), user.clone()));
        self.all.insert(user.clone(), paced);
    }
}

impl Room {
    /// Whether a user may change or say something now.
    ///
    /// # Errors
    /// `resource-constraint`, to be tried again later, where that was too much lately.
    pub(super) fn check_pace(&self, user: &BareJid, what: Pace, cost: u32, now: DateTime) -> Result<(), StanzaError> {
        let (every, burst) = self.pace(what);
        let owed = self.paces.until(user, what).saturating_sub(now.unix_micros()).max(0);
        let ahead = owed.saturating_add(every.saturating_mul(cost.into()));
        let text = match what {
            Pace::Presence => "your presence changes too often",
            Pace::Message => "you say too much at once",
        };
        match every > 0 && ahead > every.saturating_mul(burst) {
            true => Err(StanzaError::resource_constraint().with_text(text)),
            false => Ok(()),
        }
    }

    /// Counts a change, or a message.
    pub(super) fn pace_on(&mut self, user: &BareJid, what: Pace, cost: u32, now: DateTime) {
        let (every, _) = self.pace(what);
        if every > 0 {
            let now = now.unix_micros();
            let until = self.paces.until(user, what).max(now).saturating_add(every.saturating_mul(cost.into()));
            self.paces.set(user, what, until, now, self.limits.paced);
        }
    }

    /// Microseconds for one, and how many there may be at once.
    fn pace(&self, what: Pace) -> (i64, i64) {
        let (every, burst) = match what {
            Pace::Presence => (self.limits.presence_every, self.limits.presence_burst),
            Pace::Message => (self.limits.message_every, self.limits.message_burst),
        };
        (i64::try_from(every.as_micros()).unwrap_or(i64::MAX), burst.into())
    }
}
