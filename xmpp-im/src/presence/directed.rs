//! Directed presence (RFC 6121 §4.6): whom a resource has told that it is there.

use super::server::OF_THE_PAST;
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard},
};
use xmpp_core::{
    jid::Jid,
    server::{Envelope, Server, Verdict},
    stanza::StanzaError,
};

/// How many addresses one resource can direct presence to; with one more, `resource-constraint`, for who cannot be
/// remembered would not be told when it goes.
pub const MAX_DIRECTED: usize = 500;

/// Whom each resource has directed available presence to (§4.6.3).
#[derive(Default)]
pub(crate) struct Directed(Mutex<HashMap<Jid, HashSet<Jid>>>);

impl Directed {
    fn table(&self) -> MutexGuard<'_, HashMap<Jid, HashSet<Jid>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether there was room.
    fn add(&self, from: &Jid, to: &Jid) -> bool {
        let mut table = self.table();
        let told = table.entry(from.clone()).or_default();
        let room = told.len() < MAX_DIRECTED || told.contains(to);
        if room {
            told.insert(to.clone());
        }
        room
    }

    fn remove(&self, from: &Jid, to: &Jid) {
        let mut table = self.table();
        if let Some(told) = table.get_mut(from) {
            told.remove(to);
            if told.is_empty() {
                table.remove(from);
            }
        }
    }

    /// All whom a resource has told, which are forgotten.
    pub(super) fn take(&self, from: &Jid) -> HashSet<Jid> {
        self.table().remove(from).unwrap_or_default()
    }

    /// Whether a resource has told this very address.
    pub(super) fn has_told(&self, from: &Jid, to: &Jid) -> bool {
        self.table().get(from).is_some_and(|told| told.contains(to))
    }

    /// Directed presence goes where it is directed; that it was, is remembered.
    pub(super) fn remember(&self, envelope: &Envelope, server: &Server) -> Verdict {
        let (from, Some(to)) = (envelope.from(), envelope.to()) else { return Verdict::Continue };
        let kind = envelope.type_str();
        if !envelope.is_from_client() || !matches!(kind.as_ref(), "" | "unavailable") {
            return Verdict::Continue;
        }
        // Whoever it has told has been told that it ended; what it says now would stay.
        if !server.is_current(envelope) {
            return Verdict::Drop(OF_THE_PAST);
        }
        if kind == "unavailable" {
            self.remove(from, to);
        } else if to.bare_str() != from.bare_str() {
            if !self.add(from, to) {
                return Verdict::Reject(
                    StanzaError::resource_constraint().with_text("presence is directed to too many"),
                );
            }
            // Whoever takes the session out of the directory takes what it has told after that.
            if !server.is_current(envelope) {
                self.remove(from, to);
                return Verdict::Drop(OF_THE_PAST);
            }
        }
        Verdict::Continue
    }

    /// Who has gone need not be told any more (§4.6.1).
    pub(super) fn gone(&self, server: &Server, gone: &Jid, user: &Jid) {
        if user.resource().is_some() {
            return self.remove(user, gone);
        }
        for resource in server.resources(user.as_str()) {
            self.remove(&resource.jid, gone);
        }
    }
}
