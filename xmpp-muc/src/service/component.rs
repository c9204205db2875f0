//! Rooms as an external component (XEP-0114) of somebody else's server.

use super::{Muc, disco, iq, outlet::Outlet, rooms::Rooms, search};
use crate::room::Delivery;
use std::{
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::time::timeout;
use xmpp_core::{
    client::{Component, ComponentEvent, ComponentEvents, ComponentRegistrar, ComponentRequest, SendError},
    extension::{Reply, Target},
    jid::Jid,
    payload::disco::Identity,
    stanza::{AnyStanza, Iq, StanzaError, StanzaKind},
    xml::{Stanza, Writer, ns},
};

/// How long the component waits for one room before it goes on with the others.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a farewell may take, and then the end of the stream.
const FAREWELL: Duration = Duration::from_secs(10);

/// Rooms that a component serves.
///
/// ```no_run
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use xmpp_core::client::Component;
/// use xmpp_muc::{MemoryRooms, service::Muc};
///
/// let rooms = Muc::new("rooms.example.org", Arc::new(MemoryRooms::new())).into_component();
/// let builder = Component::builder("rooms.example.org".parse()?, "secret").server("127.0.0.1", 5347);
/// let (component, events) = builder.with(rooms.extension()).connect()?;
/// rooms.serve(component, events).await;
/// # Ok(()) }
/// ```
///
/// What it does is what the service inside a server does. While the server is away, rooms and their occupants stay as they are,
/// and what is said to them waits until it is back; who has gone meanwhile is noticed by what then comes back.
pub struct RoomsComponent {
    rooms: Arc<Rooms>,
    component: Arc<OnceLock<Component>>,
    name: String,
}

impl std::fmt::Debug for RoomsComponent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomsComponent").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Muc {
    /// For a component.
    pub fn into_component(self) -> RoomsComponent {
        let (component, name) = (Arc::new(OnceLock::new()), self.settings.name.clone());
        RoomsComponent { rooms: Rooms::new(self, Outlet::Component(Arc::clone(&component))), component, name }
    }
}

impl RoomsComponent {
    /// What is asked by iq, and service discovery.
    pub fn extension(&self) -> impl FnOnce(&mut ComponentRegistrar) + use<> {
        let (rooms, name) = (Arc::clone(&self.rooms), self.name.clone());
        move |r: &mut ComponentRegistrar| {
            r.identity(Target::Server, Identity::new("conference", "text", Some(name)));
            iq::register(r, &rooms);
            disco::register(r, &rooms);
            search::register(r, &rooms);
            // What occupants ask each other, and the answers of those whom a room has asked.
            r.iq_events(Target::Client);
        }
    }

    /// Lets in what comes, one thing after another, until the component ends.
    pub async fn serve(self, component: Component, events: ComponentEvents) {
        self.serve_until(component, events, std::future::pending()).await;
    }

    /// As [`serve`](Self::serve), and when `stop` resolves says farewell: everybody in a room is told that the service stops
    /// (§11.2, status 332), nobody comes in any more, and the component is closed in good order.
    ///
    /// ```no_run
    /// # async fn serve(rooms: xmpp_muc::service::RoomsComponent, stop: tokio::sync::oneshot::Receiver<()>,
    /// #     component: xmpp_core::client::Component, events: xmpp_core::client::ComponentEvents) {
    /// rooms.serve_until(component, events, async { drop(stop.await) }).await;
    /// # }
    /// ```
    pub async fn serve_until(self, component: Component, mut events: ComponentEvents, stop: impl Future<Output = ()>) {
        let _ = self.component.set(component.clone());
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.hear(&component, event).await,
                    None => return,
                },
                () = &mut stop => break,
            }
        }
        if timeout(FAREWELL, self.rooms.close()).await.is_err() {
            tracing::warn!("not everybody was told that the rooms close");
        }
        // What waits has come too late: requests are answered so.
        drop(events);
        if !timeout(FAREWELL, component.close()).await.unwrap_or(false) {
            tracing::warn!("the server may not have all that the rooms have said");
        }
    }

    async fn hear(&self, component: &Component, event: ComponentEvent) {
        let stanza = match event {
            ComponentEvent::Message(message) => AnyStanza::Message(message),
            ComponentEvent::Presence(presence) => AnyStanza::Presence(presence),
            ComponentEvent::Request(request) => return self.asked(component, request).await,
            ComponentEvent::Answer(answer) => return self.answered(component, answer).await,
            ComponentEvent::Offline { error, retry, .. } => {
                return tracing::warn!(?retry, "the rooms are cut off: {error}");
            }
            _ => return,
        };
        let kind = stanza.kind();
        let (Some(from), Some(to)) = (stanza.from().cloned(), stanza.to().cloned()) else { return };
        if let Err(error) = self.take(kind, from, to, stanza.stanza().clone()).await
            && let Some(answer) = stanza.error_reply(&error)
            && let Err(error) = component.send(answer).await
        {
            tracing::warn!("an error of a room was not sent: {error}");
        }
    }

    /// A request to an occupant. It is answered by the room, or passed on, and then by whoever is asked.
    async fn asked(&self, component: &Component, request: ComponentRequest) {
        let (Some(from), Some(to)) = (request.iq().from(), request.iq().to()) else { return };
        let judged = timeout(PATIENCE, self.rooms.between(from, to, request.iq().stanza())).await;
        match judged.unwrap_or_else(|_| Err(too_slow())) {
            Err(error) => request.answer(Err(error)),
            Ok(None) => request.answer(Ok(Reply::empty())),
            Ok(Some(deliveries)) => match send(component, &deliveries).await {
                Ok(()) => drop(request.leave()),
                Err(error) => request.answer(Err(unsent(&error))),
            },
        }
    }

    /// An answer: of an occupant to another, or of a client to its room.
    async fn answered(&self, component: &Component, answer: Iq) {
        let (Some(from), Some(to)) = (answer.from(), answer.to()) else { return };
        if to.resource().is_none() {
            // An answer has no answer.
            let _ = self.take(StanzaKind::Iq, from.clone(), to.clone(), answer.stanza().clone()).await;
            return;
        }
        let Ok(Ok(Some(deliveries))) = timeout(PATIENCE, self.rooms.between(from, to, answer.stanza())).await else {
            return;
        };
        if let Err(error) = send(component, &deliveries).await {
            // Who has asked hears something all the same.
            let failures: Vec<Delivery> = deliveries.into_iter().map(|one| failed(one, &unsent(&error))).collect();
            if let Err(error) = send(component, &failures).await {
                tracing::warn!("an answer was not passed on: {error}");
            }
        }
    }

    async fn take(&self, kind: StanzaKind, from: Jid, to: Jid, stanza: Stanza) -> Result<(), StanzaError> {
        if to.local().is_none() {
            return match kind {
                StanzaKind::Presence => Ok(()),
                _ => Err(StanzaError::service_unavailable()),
            };
        }
        // One thing comes after another: a store that hangs must not hold up all rooms for ever.
        match timeout(PATIENCE, self.rooms.receive(kind, from, to, stanza)).await {
            Ok(taken) => taken.map(drop),
            Err(_) => Err(too_slow()),
        }
    }
}

async fn send(component: &Component, deliveries: &[Delivery]) -> Result<(), SendError> {
    for delivery in deliveries {
        for to in &delivery.to {
            component.send(delivery.stanza.rewrite(ns::CLIENT).to(Some(to.as_str())).to_stanza()).await?;
        }
    }
    Ok(())
}

fn too_slow() -> StanzaError {
    StanzaError::remote_server_timeout().with_text("the room took too long")
}

/// Why something is not passed on.
fn unsent(error: &SendError) -> StanzaError {
    match error {
        SendError::TooBig(_) => StanzaError::policy_violation().with_text("it is too large to be passed on"),
        _ => StanzaError::service_unavailable(),
    }
}

/// An error in the place of an answer.
fn failed(delivery: Delivery, error: &StanzaError) -> Delivery {
    let mut out = Writer::new(ns::CLIENT);
    out.open("iq", ns::CLIENT);
    out.attr("from", delivery.from.as_str());
    out.attr("type", "error");
    out.attr_opt("id", delivery.stanza.root().attr("id").as_deref());
    error.write(&mut out);
    out.close();
    Delivery { stanza: out.into_stanza(), ..delivery }
}
