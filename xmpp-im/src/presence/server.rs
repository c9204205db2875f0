//! The stations for presence.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};
use xmpp_core::{
    jid::Jid,
    server::{Envelope, Kinds, Resource, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::{Presence, PresenceType, StanzaError},
    xml::{Stanza, ns},
};

/// How many addresses one resource can direct presence to; further ones are delivered and not remembered.
pub const MAX_DIRECTED: usize = 500;

/// Why presence goes nowhere whose session is gone: whoever was told of it has been told that it ended.
const OF_THE_PAST: &str = "presence of a session that has ended";

/// Whom each resource has directed available presence to (RFC 6121 §4.6.3).
#[derive(Default)]
struct Directed(Mutex<HashMap<Jid, HashSet<Jid>>>);

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

    fn take(&self, from: &Jid) -> HashSet<Jid> {
        self.table().remove(from).unwrap_or_default()
    }
}

/// Handles presence of local users.
pub fn server(r: &mut ServerRegistrar) {
    let directed = Arc::new(Directed::default());
    let (told, remembered, forgotten) = (Arc::clone(&directed), Arc::clone(&directed), directed);
    r.station(Station::new(
        "im:presence",
        Stage::Services,
        Kinds::PRESENCE,
        move |envelope: &mut Envelope, server: &Server| broadcast(envelope, server, &told),
    ));
    r.station(Station::new(
        "im:directed",
        Stage::Outgoing,
        Kinds::PRESENCE,
        move |envelope: &mut Envelope, server: &Server| remember(envelope, server, &remembered),
    ));
    r.station(Station::new("im:presence-delivery", Stage::Deliver, Kinds::PRESENCE, deliver).before("core:deliver"));
    r.on_session_end(move |server, resource| gone(server, resource, &forgotten));
}

/// Presence without an address: to all who are entitled to it (§4.2.2, §4.4.2, §4.5.2).
fn broadcast(envelope: &mut Envelope, server: &Server, directed: &Directed) -> Verdict {
    if envelope.to().is_some() {
        return Verdict::Continue;
    }
    let from = envelope.from().clone();
    let Ok(presence) = Presence::from_stanza(envelope.stanza().clone()) else {
        return Verdict::Reject(StanzaError::bad_request());
    };
    match presence.type_() {
        PresenceType::Available => {
            let stamped = envelope.stanza().rewrite(ns::CLIENT).from(Some(from.as_str())).to_stanza();
            let was_available =
                server.resources(from.bare_str()).iter().any(|one| one.jid == from && one.priority.is_some());
            if !server.set_availability(envelope, Some(presence.priority()), Some(stamped.clone())) {
                return Verdict::Drop(OF_THE_PAST);
            }
            to_own_resources(server, &from, &stamped);
            if !was_available {
                // §4.2.2: a new resource learns of the others.
                for other in server.resources(from.bare_str()) {
                    if let (true, Some(presence)) = (other.jid != from, other.presence) {
                        server.send(other.jid, from.clone(), presence);
                    }
                }
            }
            Verdict::Handled
        }
        PresenceType::Unavailable => {
            if !server.is_current(envelope) {
                return Verdict::Drop(OF_THE_PAST);
            }
            let stamped = envelope.stanza().rewrite(ns::CLIENT).from(Some(from.as_str())).to_stanza();
            to_own_resources(server, &from, &stamped);
            server.set_availability(envelope, None, None);
            for to in directed.take(&from) {
                server.send(from.clone(), to, stamped.clone());
            }
            Verdict::Handled
        }
        PresenceType::Error => Verdict::Drop("a presence error to nobody"),
        // §4.7.1: an unknown type; subscriptions and probes need an address.
        _ => Verdict::Reject(StanzaError::bad_request()),
    }
}

/// To every available resource of the account, the sender itself included (§4.2.2).
fn to_own_resources(server: &Server, from: &Jid, presence: &Stanza) {
    for resource in server.resources(from.bare_str()) {
        if resource.priority.is_some() {
            server.send(from.clone(), resource.jid, presence.clone());
        }
    }
}

/// Directed presence goes where it is directed; that it was, is remembered (§4.6.3).
fn remember(envelope: &mut Envelope, server: &Server, directed: &Directed) -> Verdict {
    if envelope.is_from_client()
        && server.is_current(envelope)
        && let Some(to) = envelope.to()
    {
        match envelope.type_str().as_ref() {
            "" if to.bare_str() != envelope.from().bare_str() => directed.add(envelope.from(), to),
            "unavailable" => directed.remove(envelope.from(), to),
            _ => {}
        }
    }
    Verdict::Continue
}

/// Presence to an account: to all its available resources (§8.5.2.1.2). Subscriptions are not kept here yet: a
/// request is shown to whoever is there, and a probe is not answered, so that nobody's presence leaks.
fn deliver(envelope: &mut Envelope, server: &Server) -> Verdict {
    let Some(to) = envelope.to().filter(|to| to.local().is_some()).cloned() else {
        return Verdict::Drop("presence to the server itself");
    };
    match envelope.type_str().as_ref() {
        // §8.5.3.1: to one resource, by core.
        "" | "unavailable" | "error" if to.resource().is_some() => return Verdict::Continue,
        "" | "unavailable" => {}
        // §3.1.2: subscriptions are the account's business, whichever resource is named.
        "subscribe" | "subscribed" | "unsubscribe" | "unsubscribed" => {}
        // §4.3: a probe is for the server to answer, never for a client to see.
        "probe" => return Verdict::Drop("a probe"),
        "error" => return Verdict::Drop("a presence error to nobody"),
        _ => return Verdict::Reject(StanzaError::bad_request()),
    }
    for resource in server.resources(to.bare_str()) {
        if resource.priority.is_some() {
            server.deliver(envelope, &resource.jid);
        }
    }
    Verdict::Handled
}

/// A session has ended without saying so (§4.5.2): the server says it for the client.
fn gone(server: &Server, resource: &Resource, directed: &Directed) {
    let told = directed.take(&resource.jid);
    if resource.priority.is_none() && told.is_empty() {
        return;
    }
    let unavailable = Presence::unavailable().from(resource.jid.clone()).build().into_stanza();
    if resource.priority.is_some() {
        to_own_resources(server, &resource.jid, &unavailable);
    }
    for to in told {
        server.send(resource.jid.clone(), to, unavailable.clone());
    }
}
