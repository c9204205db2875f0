//! The stations for presence.

use crate::roster::{self, MemoryRosters, Relation, server::Rosters};
use std::{collections::HashSet, sync::Arc, time::Duration};
use xmpp_core::{
    jid::{BareJid, Jid},
    server::{Decision, Envelope, Kinds, Resource, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::{Presence, PresenceBuilder, PresenceType, StanzaError, generate_id},
    xml::{Stanza, ns},
};

/// Why presence goes nowhere whose session is gone: whoever was told of it has been told that it ended.
pub(super) const OF_THE_PAST: &str = "presence of a session that has ended";

/// How long a session that has told somebody of its presence is not heard again, for each of them: who has many contacts
/// and much to say takes no more than a part of the machine. 500 contacts are told a hundred times a second.
const PACE: Duration = Duration::from_micros(20);

/// What the store could not answer is asked again after these pauses.
const RETRIES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];

/// Presence with rosters that are kept in memory: [`roster::server`] over [`MemoryRosters`], for servers that are to
/// forget.
pub fn server(r: &mut ServerRegistrar) {
    roster::server(MemoryRosters::new())(r);
}

/// Handles presence of local users.
pub(crate) fn register(r: &mut ServerRegistrar, rosters: &Arc<Rosters>) {
    let [telling, remembering, delivering, ending] = std::array::from_fn(|_| Arc::clone(rosters));
    let tell = move |envelope: &mut Envelope, server: &Server| broadcast(envelope, server, &telling);
    r.station(Station::new("im:presence", Stage::Services, Kinds::PRESENCE, tell));
    let remember = move |envelope: &mut Envelope, server: &Server| remembering.directed.remember(envelope, server);
    let station = Station::new("im:directed", Stage::Outgoing, Kinds::PRESENCE, remember).after("im:blocking-out");
    r.station(station.passing(|envelope, _| !envelope.is_from_client()));
    let deliver = move |envelope: &mut Envelope, server: &Server| deliver(envelope, server, &delivering);
    r.station(Station::new("im:presence-delivery", Stage::Deliver, Kinds::PRESENCE, deliver).before("core:deliver"));
    r.on_session_end(move |server, resource| gone(server, resource, &ending));
}

/// Presence without an address: to all who are entitled to it (§4.2.2, §4.4.2, §4.5.2).
fn broadcast(envelope: &mut Envelope, server: &Server, rosters: &Arc<Rosters>) -> Decision {
    if envelope.to().is_some() {
        return Verdict::Continue.into();
    }
    let from = envelope.from().clone();
    let Ok(presence) = Presence::from_stanza(envelope.stanza().clone()) else {
        return Verdict::Reject(StanzaError::bad_request()).into();
    };
    let stamped = envelope.stanza().rewrite(ns::CLIENT).from(Some(from.as_str())).to_stanza();
    let was_available = is_available(server, &from);
    match presence.type_() {
        PresenceType::Available => {
            if !server.set_availability(envelope, Some(presence.priority()), Some(stamped.clone())) {
                return Verdict::Drop(OF_THE_PAST).into();
            }
            to_own_resources(server, &from, &stamped);
            if !was_available {
                of_own_resources(server, &from);
            }
            let (server, rosters, envelope) = (server.clone(), Arc::clone(rosters), envelope.clone());
            Decision::Wait(Box::pin(async move {
                match rosters.available(&server, &envelope, &stamped, !was_available).await {
                    Ok(told) => {
                        // What is less than timers can tell apart is not worth waiting for.
                        let pause = PACE * u32::try_from(told).unwrap_or(u32::MAX);
                        if pause >= Duration::from_millis(1) {
                            tokio::time::sleep(pause.min(server.limits().handler / 2)).await;
                        }
                        Verdict::Handled
                    }
                    Err(error) if was_available => Verdict::Reject(error),
                    Err(error) => {
                        begin_later(&server, &rosters, envelope, &error);
                        Verdict::Handled
                    }
                }
            }))
        }
        PresenceType::Unavailable => {
            if !server.is_current(envelope) {
                return Verdict::Drop(OF_THE_PAST).into();
            }
            to_own_resources(server, &from, &stamped);
            server.set_availability(envelope, None, None);
            let mut told = rosters.directed.take(&from);
            if !was_available && told.is_empty() {
                return Verdict::Handled.into();
            }
            let (server, rosters) = (server.clone(), Arc::clone(rosters));
            Decision::Wait(Box::pin(async move {
                if let Err(error) = rosters.unavailable(&server, &from, &stamped, &mut told, was_available).await {
                    server.clone().spawn(unavailable_later(server, rosters, from, stamped, error));
                }
                Verdict::Handled
            }))
        }
        PresenceType::Error => Verdict::Drop("a presence error to nobody").into(),
        // §4.7.1: an unknown type; subscriptions and probes need an address.
        _ => Verdict::Reject(StanzaError::bad_request()).into(),
    }
}

fn is_available(server: &Server, resource: &Jid) -> bool {
    server.resources(resource.bare_str()).iter().any(|one| &one.jid == resource && one.priority.is_some())
}

/// To every available resource of the account, the sender itself included (§4.2.2).
fn to_own_resources(server: &Server, from: &Jid, presence: &Stanza) {
    for resource in server.resources(from.bare_str()) {
        if resource.priority.is_some() {
            server.send(from.clone(), resource.jid, presence.clone());
        }
    }
}

/// A new resource learns of the others (§4.2.2).
fn of_own_resources(server: &Server, new: &Jid) {
    for other in server.resources(new.bare_str()) {
        if let (true, Some(presence)) = (&other.jid != new, other.presence) {
            server.send(other.jid, new.clone(), presence);
        }
    }
}

/// A presence with its recipient's address.
pub(super) fn addressed(presence: &Stanza, to: &Jid) -> Stanza {
    presence.rewrite(ns::CLIENT).to(Some(to.as_str())).to_stanza()
}

/// To a contact, elsewhere or here; who is here and has nobody to show it to is passed over. Whether anything was sent.
fn tell(server: &Server, from: &Jid, contact: &BareJid, presence: &Stanza) -> bool {
    let here = server.hosts(contact.domain());
    let shown = !here || server.resources(contact.as_str()).iter().any(|resource| resource.priority.is_some());
    if shown {
        server.send(from.clone(), contact.into(), addressed(presence, contact));
    }
    shown
}

/// The presence of each of the user's available resources, to a contact who may see it now (§3.1.5).
pub(crate) fn send_current(server: &Server, user: &BareJid, contact: &BareJid) {
    for resource in server.resources(user.as_str()) {
        if let Some(presence) = resource.presence.filter(|_| resource.priority.is_some()) {
            server.send(resource.jid, contact.into(), addressed(&presence, contact));
        }
    }
}

/// That each of them has gone, to a contact who may not see them any more (§3.2.2, §3.3.3).
pub(crate) fn send_unavailable(server: &Server, user: &BareJid, contact: &BareJid) {
    for resource in server.resources(user.as_str()) {
        if resource.priority.is_some() {
            let gone = Presence::unavailable().from(resource.jid.clone()).to(contact.clone()).build().into_stanza();
            server.send(resource.jid, contact.into(), gone);
        }
    }
}

/// Whom a resource has told that it is there is told that it has gone.
fn take_leave(server: &Server, from: &Jid, unavailable: &Stanza, told: impl IntoIterator<Item = Jid>) {
    for to in told {
        server.send(from.clone(), to.clone(), addressed(unavailable, &to));
    }
}

/// What could not be begun with a session's first presence is begun later, with the presence that it has then.
fn begin_later(server: &Server, rosters: &Arc<Rosters>, envelope: Envelope, error: &StanzaError) {
    tracing::error!(from = %envelope.from(), "contacts are to be told later that a session is there: {error}");
    let (server, rosters) = (server.clone(), Arc::clone(rosters));
    server.clone().spawn(async move {
        for pause in RETRIES {
            tokio::time::sleep(pause).await;
            let now = server.resources(envelope.from().bare_str()).into_iter().find(|one| one.jid == *envelope.from());
            let presence = now.filter(|now| now.priority.is_some()).and_then(|now| now.presence);
            let Some(presence) = presence.filter(|_| server.is_current(&envelope)) else { return };
            if rosters.available(&server, &envelope, &presence, true).await.is_ok() {
                return;
            }
        }
        tracing::error!(from = %envelope.from(), "contacts were not told that a session is there");
    });
}

/// The subscribers who could not be asked for are told later that a resource is gone.
async fn unavailable_later(server: Server, rosters: Arc<Rosters>, from: Jid, presence: Stanza, error: StanzaError) {
    tracing::error!(%from, "contacts are to be told later that a session has ended: {error}");
    for pause in RETRIES {
        tokio::time::sleep(pause).await;
        if rosters.unavailable(&server, &from, &presence, &mut HashSet::new(), true).await.is_ok() {
            return;
        }
    }
    tracing::error!(%from, "contacts were not told that a session has ended");
}

impl Rosters {
    /// A resource is available, to begin with or still. How many contacts were told.
    async fn available(
        &self,
        server: &Server,
        envelope: &Envelope,
        presence: &Stanza,
        new: bool,
    ) -> Result<usize, StanzaError> {
        let from = envelope.from();
        let user = from.to_bare();
        let _turn = self.turn(&user).await;
        let relations = self.store.relations(&user).await?;
        if !server.is_current(envelope) {
            // It has ended meanwhile: whoever waits for the turn says so.
            return Ok(0);
        }
        let subscribers = relations.iter().filter(|relation| relation.subscription.is_from());
        let told = subscribers.filter(|relation| tell(server, from, &relation.contact, presence)).count();
        if new {
            self.begin(server, &user, from, &relations).await?;
        }
        Ok(told)
    }

    /// What a new resource has to learn: who is there (§4.3.1), and who asks (§3.1.3).
    async fn begin(
        &self,
        server: &Server,
        user: &BareJid,
        new: &Jid,
        relations: &[Relation],
    ) -> Result<(), StanzaError> {
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            relations.iter().partition(|relation| server.hosts(relation.contact.domain()));
        for relation in elsewhere {
            if relation.subscription.is_to() {
                request(server, user, &relation.contact, PresenceType::Probe);
            } else if relation.ask {
                // §3.1.2: the first one may not have arrived.
                request(server, user, &relation.contact, PresenceType::Subscribe);
            }
        }
        let here = here.into_iter().filter(|relation| relation.subscription.is_to()).map(|relation| &relation.contact);
        let available = |contact: &BareJid| {
            server.resources(contact.as_str()).into_iter().filter(|resource| resource.priority.is_some())
        };
        let present: Vec<&BareJid> = here.filter(|contact| available(contact).next().is_some()).collect();
        if !present.is_empty() {
            let grants: HashSet<BareJid> = self.store.grants(user).await?.into_iter().collect();
            // As they are now: who has gone meanwhile has said so already.
            for resource in present.into_iter().filter(|contact| grants.contains(*contact)).flat_map(available) {
                if let Some(presence) = resource.presence {
                    server.send(resource.jid, new.clone(), addressed(&presence, new));
                }
            }
        }
        for request in self.store.requests(user).await? {
            let contact = request.contact.into();
            if !server.is_unwanted(user, &contact).await? {
                server.hand(contact, new, request.stanza);
            }
        }
        Ok(())
    }

    /// A resource is no longer available: to the subscribers, if it was, and to whom it has `told` otherwise, who are taken
    /// out, also where the store fails.
    async fn unavailable(
        &self,
        server: &Server,
        from: &Jid,
        presence: &Stanza,
        told: &mut HashSet<Jid>,
        was_available: bool,
    ) -> Result<(), StanzaError> {
        let user = from.to_bare();
        let _turn = self.turn(&user).await;
        // One that has taken its address meanwhile has told the subscribers of itself.
        let relations = match was_available && !is_available(server, from) {
            true => self.store.relations(&user).await,
            false => Ok(Vec::new()),
        };
        let related = relations.iter().flatten().filter(|relation| relation.subscription.is_from());
        let subscribers: HashSet<&BareJid> = related.map(|relation| &relation.contact).collect();
        for contact in &subscribers {
            tell(server, from, contact, presence);
        }
        take_leave(server, from, presence, told.drain().filter(|to| !subscribers.contains(&to.to_bare())));
        drop(subscribers);
        relations.map(|_| ()).map_err(StanzaError::from)
    }
}

/// A probe, or a request once more, in the name of the user.
fn request(server: &Server, user: &BareJid, contact: &BareJid, type_: PresenceType) {
    let presence = PresenceBuilder::new(Some(contact.clone().into()), type_).from(user.clone()).id(generate_id());
    server.send(user.into(), contact.into(), presence.build().into_stanza());
}

/// Presence to an account: to all its available resources (§8.5.2.1.2). Subscriptions and probes never come here.
fn deliver(envelope: &mut Envelope, server: &Server, rosters: &Arc<Rosters>) -> Decision {
    let Some(to) = envelope.to().filter(|to| to.local().is_some()).cloned() else {
        return Verdict::Drop("presence to the server itself").into();
    };
    let kind = envelope.type_str();
    if kind == "unavailable" {
        rosters.directed.gone(server, envelope.from(), &to);
    }
    match kind.as_ref() {
        // §8.5.3.1: to one resource, by core.
        "" | "unavailable" | "error" if to.resource().is_some() => return Verdict::Continue.into(),
        "" | "unavailable" => {}
        "error" => return refused(envelope, server, rosters),
        _ => return Verdict::Reject(StanzaError::bad_request()).into(),
    }
    to_available(envelope, server, &to);
    Verdict::Handled.into()
}

fn to_available(envelope: &Envelope, server: &Server, to: &Jid) {
    for resource in server.resources(to.bare_str()) {
        if resource.priority.is_some() {
            server.deliver(envelope, &resource.jid);
        }
    }
}

/// A request or a probe that came back: shown, if the user's roster knows of it (§3.1.2).
fn refused(envelope: &Envelope, server: &Server, rosters: &Arc<Rosters>) -> Decision {
    let (envelope, server, rosters) = (envelope.clone(), server.clone(), Arc::clone(rosters));
    Decision::Wait(Box::pin(async move {
        let Some(to) = envelope.to() else { return Verdict::Drop("a presence error to nobody") };
        match rosters.store.record(&to.to_bare(), &envelope.from().to_bare()).await {
            Ok(record) if record.item.is_some() => {
                to_available(&envelope, &server, to);
                Verdict::Handled
            }
            Ok(_) => Verdict::Drop("a presence error to nobody"),
            Err(error) => Verdict::Reject(error.into()),
        }
    }))
}

/// A session has ended without saying so (§4.5.2): the server says it for the client.
fn gone(server: &Server, resource: &Resource, rosters: &Arc<Rosters>) {
    let from = resource.jid.clone();
    let unavailable = Presence::unavailable().from(from.clone()).build().into_stanza();
    let mut told = rosters.directed.take(&from);
    let was_available = resource.priority.is_some();
    if server.resources(from.bare_str()).iter().any(|one| one.jid == from) {
        // Another has taken its address: what that one says must not be overtaken.
        take_leave(server, &from, &unavailable, told.drain());
    }
    // The account of an anonymous user ends with the session.
    let forgotten = server.admits_anonymous(from.domain()) && server.resources(from.bare_str()).is_empty();
    if !was_available && told.is_empty() && !forgotten {
        return;
    }
    if was_available {
        to_own_resources(server, &from, &unavailable);
    }
    let (rosters, beside) = (Arc::clone(rosters), server.clone());
    server.spawn(async move {
        let user = from.to_bare();
        if let Err(error) = rosters.unavailable(&beside, &from, &unavailable, &mut told, was_available).await {
            unavailable_later(beside.clone(), Arc::clone(&rosters), from, unavailable, error).await;
        }
        if forgotten {
            rosters.forget(&beside, &user).await;
        }
    });
}
