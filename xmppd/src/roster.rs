//! `[roster]`: what users may keep in their lists of contacts.

use crate::Outcome;
use serde::Deserialize;
use xmpp_im::roster::RosterLimits;

/// RFC 6121 §2 and §3.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Roster {
    contacts: usize,
    requests: usize,
}

impl Default for Roster {
    fn default() -> Roster {
        let limits = RosterLimits::default();
        Roster { contacts: limits.items, requests: limits.requests }
    }
}

impl Roster {
    pub(crate) fn to_limits(&self) -> RosterLimits {
        let mut limits = RosterLimits::default();
        (limits.items, limits.requests) = (self.contacts, self.requests);
        limits
    }

    pub(crate) fn check(&self) -> Outcome<()> {
        if self.requests == 0 {
            return Err("roster.requests must be more than 0: nobody could ask who is not there at the time".into());
        }
        Ok(())
    }
}
