//! Directed presence (RFC 6121 §4.6): whom a resource has told that it is there.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard},
};
use xmpp_core::{
    jid::Jid,
    server::{Envelope, Server, Verdict},
};

/// How many addresses one resource can direct presence to; further ones are delivered and not remembered.
pub const MAX_DIRECTED: usize = 500;

/// Whom each resource has directed available presence to (§4.6.3).
#[derive(Default)]
pub(crate) struct Directed(Mutex<HashMap<Jid, HashSet<Jid>>>);

impl Directed {
    fn table(&self) -> MutexGuard<'_, HashMap<Jid, HashSet<Jid>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn add(&self, from: &Jid, to: &Jid) {
        let mut table = self.table();
        let told = table.entry(from.clone()).or_default();
        if told.len() < MAX_DIRECTED {
            told.insert(to.clone());
        }
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
        if envelope.is_from_client()
            && server.is_current(envelope)
            && let Some(to) = envelope.to()
        {
            match envelope.type_str().as_ref() {
                "" if to.bare_str() != envelope.from().bare_str() => self.add(envelope.from(), to),
                "unavailable" => self.remove(envelope.from(), to),
                _ => {}
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
