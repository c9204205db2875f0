//! Rooms as an external component (XEP-0114) of somebody else's server.

use super::{
    Muc, disco, iq,
    outlet::Outlet,
    rooms::{Rooms, now, self_ping},
    search,
};
use crate::room::Incoming;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::time::timeout;
use xmpp_core::{
    client::{Component, ComponentEvent, ComponentEvents, ComponentRegistrar},
    extension::{IqContext, Target},
    jid::Jid,
    payload::{disco::Identity, ping::Ping},
    stanza::{AnyStanza, StanzaError, StanzaKind},
    xml::Stanza,
};

/// How long the component waits for one room before it goes on with the others.
const PATIENCE: Duration = Duration::from_secs(30);

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
/// What it does is what the service inside a server does, but for requests between occupants: of these it answers those by
/// which a client asks whether it is still in a room. What a component sends and what it answers are not in one order: the
/// last message of a page of an archive can come behind the answer that ends the page.
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
            r.iq_get_async::<Ping, _, _>(Target::Client, move |cx, _| {
                let rooms = Arc::clone(&rooms);
                async move { still_there(&rooms, &cx).await }
            });
        }
    }

    /// Lets in what comes, one thing after another, until the component ends.
    pub async fn serve(self, component: Component, mut events: ComponentEvents) {
        let _ = self.component.set(component.clone());
        while let Some(event) = events.next().await {
            let stanza = match event {
                ComponentEvent::Message(message) => AnyStanza::Message(message),
                ComponentEvent::Presence(presence) => AnyStanza::Presence(presence),
                ComponentEvent::Offline { error, retry, .. } => {
                    tracing::warn!(?retry, "the rooms are cut off: {error}");
                    continue;
                }
                _ => continue,
            };
            let kind = stanza.kind();
            let (Some(from), Some(to)) = (stanza.from().cloned(), stanza.to().cloned()) else { continue };
            if let Err(error) = self.take(kind, from, to, stanza.stanza().clone()).await
                && let Some(answer) = stanza.error_reply(&error)
                && let Err(error) = component.send(answer).await
            {
                tracing::warn!("an error of a room was not sent: {error}");
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
            Err(_) => Err(StanzaError::remote_server_timeout().with_text("the room took too long")),
        }
    }
}

/// XEP-0410 §3.
async fn still_there(rooms: &Arc<Rooms>, cx: &IqContext) -> Result<(), StanzaError> {
    let (from, jid, to) = iq::parties(cx)?;
    let mut visit = rooms.visit(&jid).await?;
    let input = Incoming { from, to, stanza: &cx.stanza, now: now() };
    self_ping(visit.room()?, input).unwrap_or_else(|| Err(StanzaError::service_unavailable()))
}
