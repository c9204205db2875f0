//! The service that rooms are in: a domain of a server.
//!
//! ```no_run
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! use std::sync::Arc;
//! use xmpp_im::archive::MemoryArchive;
//! use xmpp_muc::{MemoryRooms, service::Muc};
//!
//! let rooms = Muc::new("rooms.example.org", Arc::new(MemoryRooms::new())).archive(Arc::new(MemoryArchive::default()));
//! builder.with(rooms)
//! # }
//! ```
//!
//! What comes to a room is judged and carried out while nothing else happens in that room; a message is archived, and a
//! change stored, before anybody hears of it. Until then its sender waits, and if the store fails, the sender is told.

#[cfg(feature = "client")]
mod component;
mod disco;
mod hats;
mod iq;
mod list;
mod outlet;
mod rooms;
mod search;
mod shown;
#[cfg(test)]
mod tests;

use crate::{room::RoomLimits, store::RoomStore};
#[cfg(feature = "client")]
pub use component::RoomsComponent;
use outlet::Outlet;
use rooms::Rooms;
pub use rooms::Said;
use std::{fmt, sync::Arc, time::Duration};
use xmpp_core::{
    extension::Target,
    jid::Jid,
    payload::disco::Identity,
    server::{Decision, Envelope, Extension, Kinds, Server, ServerRegistrar, Verdict},
    stanza::StanzaKind,
};
use xmpp_im::archive::{ArchiveSettings, ArchiveStore};

/// Who may make rooms.
pub type MayCreate = Arc<dyn Fn(&Jid) -> bool + Send + Sync>;

/// Takes what is said.
type Log = Arc<dyn Fn(&Said) + Send + Sync>;

/// What a service of rooms is set to.
#[derive(Clone)]
#[non_exhaustive]
pub struct MucSettings {
    /// Its name for people.
    pub name: String,
    /// The bounds of a room.
    pub limits: RoomLimits,
    /// What a new room is like until its owner says otherwise.
    pub config: crate::RoomConfig,
    /// Rooms that there may be at a time, with somebody in them.
    pub rooms: usize,
    /// Rooms that one user may have made, of those.
    pub rooms_of_user: usize,
    /// Persistent rooms that one user may have made, whether somebody is in them or not.
    pub persistent_rooms_of_user: u64,
    /// How long a new room waits to be configured; then it ends (§10.1.1). Nobody but its owner can enter before.
    pub unconfigured: Duration,
    /// Searches among the rooms (XEP-0433) at a time; with 0 the rooms cannot be searched.
    pub searches: usize,
    /// The longest name of a room, in bytes.
    pub room_name_bytes: usize,
    /// Who may make rooms; everybody if absent.
    pub may_create: Option<MayCreate>,
    /// Pages and ages of archives.
    pub archive: ArchiveSettings,
}

impl Default for MucSettings {
    /// 10,000 rooms, 100 of a user and 100 persistent ones, with names of 255 bytes; made by anybody, who has 10 minutes to
    /// configure them; 4 searches.
    fn default() -> MucSettings {
        MucSettings {
            name: "Rooms".to_owned(),
            limits: RoomLimits::default(),
            config: crate::RoomConfig::default(),
            rooms: 10_000,
            rooms_of_user: 100,
            persistent_rooms_of_user: 100,
            unconfigured: Duration::from_secs(600),
            searches: 4,
            room_name_bytes: 255,
            may_create: None,
            archive: ArchiveSettings::default(),
        }
    }
}

impl fmt::Debug for MucSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("MucSettings");
        out.field("limits", &self.limits).field("config", &self.config).field("rooms", &self.rooms);
        out.finish_non_exhaustive()
    }
}

/// A service of rooms, to be composed into a server.
pub struct Muc {
    domain: String,
    store: Arc<dyn RoomStore>,
    archive: Option<Arc<dyn ArchiveStore>>,
    settings: MucSettings,
    log: Option<Log>,
}

impl fmt::Debug for Muc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Muc").field("domain", &self.domain).field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Muc {
    /// Rooms at a domain that is not the accounts'.
    pub fn new(domain: impl Into<String>, store: Arc<dyn RoomStore>) -> Muc {
        Muc { domain: domain.into(), store, archive: None, settings: MucSettings::default(), log: None }
    }

    /// Keeps what is said in rooms (XEP-0313).
    #[must_use]
    pub fn archive(mut self, store: Arc<dyn ArchiveStore>) -> Muc {
        self.archive = Some(store);
        self
    }

    /// Other settings.
    #[must_use]
    pub fn settings(mut self, settings: MucSettings) -> Muc {
        self.settings = settings;
        self
    }

    /// Hands each message that is said to all to `log`, when it is stored and on its way: into a file, a database, to
    /// another machine. `log` must not block; what takes time belongs behind a queue of its own.
    #[must_use]
    pub fn log(mut self, log: impl Fn(&Said) + Send + Sync + 'static) -> Muc {
        self.log = Some(Arc::new(log));
        self
    }
}

/// Marks services of rooms among extensions.
#[derive(Debug)]
pub struct ForRooms;

impl Extension<ForRooms> for Muc {
    fn register(self, r: &mut ServerRegistrar) {
        let domain = self.domain.clone();
        let mut closing = None;
        r.service(&domain, |service| {
            let name = self.settings.name.clone();
            let rooms = Rooms::new(self, Outlet::Server(service.server()));
            closing = Some(Arc::clone(&rooms));
            service.identity(Target::Server, Identity::new("conference", "text", Some(name)));
            iq::register(service, &rooms);
            disco::register(service, &rooms);
            search::register(service, &rooms);
            service.stanzas(Kinds::ALL, move |envelope: &mut Envelope, _: &Server| receive(&rooms, envelope));
        });
        if let Some(rooms) = closing {
            r.on_shutdown(move |_| {
                let rooms = Arc::clone(&rooms);
                Box::pin(async move { rooms.close().await })
            });
        }
    }
}

/// Everything but the requests that have handlers.
fn receive(rooms: &Arc<Rooms>, envelope: &mut Envelope) -> Decision {
    let Some(to) = envelope.to().cloned() else { return Verdict::Continue.into() };
    if to.local().is_none() {
        return Verdict::Continue.into();
    }
    if envelope.kind() == StanzaKind::Iq && to.resource().is_none() {
        let is_answer = matches!(envelope.stanza().root().attr("type").as_deref(), Some("result" | "error"));
        if !is_answer {
            // A request that nobody knows.
            return Verdict::Continue.into();
        }
    }
    let (rooms, from) = (Arc::clone(rooms), envelope.from().clone());
    let (stanza, kind) = (envelope.stanza().clone(), envelope.kind());
    outlet::at_once(Box::pin(async move {
        match rooms.receive(kind, from, to, stanza).await {
            Ok(verdict) => verdict,
            Err(error) => Verdict::Reject(error),
        }
    }))
}
