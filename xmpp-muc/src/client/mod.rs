//! Rooms in a client (XEP-0045): entered once, and kept entered.
//!
//! ```no_run
//! use xmpp_core::client::Client;
//! use xmpp_muc::client::{MucClient, RoomEvent};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Client::builder("hag66@shakespeare.lit".parse()?, "secret").with(xmpp_muc::client);
//! let (client, mut events) = builder.connect()?;
//! // The events of the connection are of little interest now, but have to be taken.
//! tokio::spawn(async move { while events.next().await.is_some() {} });
//!
//! let (room, mut events) = client.muc()?.join("coven@chat.shakespeare.lit".parse()?, "thirdwitch").await?;
//! room.send("Harpier cries: 'tis time, 'tis time.").await?;
//! while let Some(event) = events.next().await {
//!     if let RoomEvent::Message(message) = event {
//!         println!("{}: {}", message.nick.as_deref().unwrap_or("the room"), message.body().unwrap_or_default());
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! With a server in the same process, as in tests:
//!
//! ```
//! # #[cfg(not(feature = "server"))]
//! # fn main() {}
//! # #[cfg(feature = "server")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use xmpp_core::{client::Client, server::{MemoryAccounts, Server}};
//! use xmpp_muc::{MemoryRooms, client::MucClient, payload::Hat, service::Muc};
//!
//! let accounts = MemoryAccounts::new();
//! accounts.set_password("hag66@localhost".parse()?, "secret");
//! let rooms = Muc::new("rooms.localhost", Arc::new(MemoryRooms::new()));
//! let server = Server::builder("localhost").accounts(accounts).with(rooms).build()?;
//! let builder = Client::builder("hag66@localhost".parse()?, "secret").with(xmpp_muc::client);
//! let (client, _connection) = builder.pipe(move || server.connect_memory()).connect()?;
//!
//! let (room, _events) = client.muc()?.join("coven@rooms.localhost".parse()?, "thirdwitch").await?;
//! let said = room.send("Harpier cries.").await?;
//! assert!(said.is_mine && said.body().as_deref() == Some("Harpier cries."));
//! assert_eq!(room.occupants().len(), 1);
//!
//! room.set_avatar(Some(b"GIF89a, and so on".to_vec())).await?;
//! assert_eq!(room.avatar().await?.and_then(|photo| photo.media_type()), Some("image/gif"));
//! let hat = Hat { uri: "https://localhost/hats#scribe".into(), title: "Scribe".into(), hue: None };
//! room.create_hat(&hat).await?;
//! room.assign_hat(&"hag66@localhost".parse()?, &hat.uri).await?;
//! assert_eq!(room.hats().await?, [hat]);
//! # Ok(()) }
//! ```
//!
//! A room that is lost with the session is entered again in the next one; so is one that, when asked after a time of
//! silence, does not know us (XEP-0410), and one whose service stops or fails. Kicks and bans are told, and what follows from
//! them is the application's.
//!
//! What counts: what a room says from its own address and those of its occupants, while we are in it. Presence of rooms that
//! were not entered changes nothing. Ids of messages (XEP-0359) count in rooms that announce that they give them, ids of
//! occupants (XEP-0421) where the room has given us one. All that is remembered of a room has bounds
//! ([`MucClientSettings`]).

mod administer;
mod catch_up;
mod configure;
mod discover;
mod error;
mod event;
mod face;
mod feed;
mod hats;
mod invite;
mod join;
mod keep;
mod message;
mod occupant;
mod presence;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod probe;
mod room;
mod search;
mod state;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

pub use administer::RoomRegistration;
pub use catch_up::RoomHistory;
pub use configure::RoomForm;
pub use discover::{ListedRoom, RoomInfo, RoomList};
pub use error::{ConfigureError, JoinError, SayError, WithoutRooms};
pub use event::{Departure, Entry, Loss, Removal, RoomEvent, RoomEvents, RoomMessage};
pub use invite::{Invitation, Invitations, VoiceRequest};
pub use join::{History, Joining};
pub use occupant::Occupant;
pub use room::{Room, Saying};
pub use search::{FoundRoom, RoomSearch, SearchError, SearchOrder};

use crate::payload::DirectInvitation;
use feed::Feed;
use state::State;
use std::{
    collections::{HashMap, hash_map::Entry as Place},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use xmpp_core::{
    client::{Client, ClientRegistrar, Flow},
    extension::Target,
    jid::{BareJid, Jid},
    stanza::{AnyStanza, MessageType},
};

/// Invitations that wait for the application, and their bytes.
const INVITATIONS: (usize, usize) = (64, 512 * 1024);

/// How rooms are kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MucClientSettings {
    /// Events of a room that wait for the application; what is older is lost to it ([`RoomEvent::Missed`]).
    pub events: usize,
    /// Bytes of these events.
    pub event_bytes: usize,
    /// Occupants of a room that are known; others are passed over.
    pub occupants: usize,
    /// Bytes of these occupants.
    pub occupant_bytes: usize,
    /// Messages of a room that are remembered, to tell what comes twice.
    pub remembered: usize,
    /// Messages on their way to a room.
    pub sending: usize,
    /// How long an answer of a room, and the return of a message, is waited for.
    pub patience: Duration,
    /// After how long a silence a room is asked whether we are still in it (XEP-0410 §3), a tenth more or less.
    pub ping_after: Duration,
    /// How long to wait before a room is entered again for the first time; it doubles each time, up to 5 minutes.
    pub retry: Duration,
    /// The least time that is given to a service that has stopped.
    pub shutdown_wait: Duration,
    /// How often entering again is tried before it is [given up](RoomEvent::GaveUp).
    pub attempts: u32,
}

impl Default for MucClientSettings {
    /// 1,024 events of 4 MiB, 10,000 occupants of 8 MiB, 4,096 messages remembered and 256 on their way; 30 seconds, 15
    /// minutes, 1 second, 5 seconds; 64 times.
    fn default() -> MucClientSettings {
        MucClientSettings {
            events: 1_024,
            event_bytes: 4 << 20,
            occupants: 10_000,
            occupant_bytes: 8 << 20,
            remembered: 4_096,
            sending: 256,
            patience: Duration::from_secs(30),
            ping_after: Duration::from_secs(15 * 60),
            retry: Duration::from_secs(1),
            shutdown_wait: Duration::from_secs(5),
            attempts: 64,
        }
    }
}

/// Rooms for a client, with the [usual settings](MucClientSettings::default).
pub fn client(r: &mut ClientRegistrar) {
    client_with(MucClientSettings::default())(r);
}

/// Rooms for a client.
pub fn client_with(settings: MucClientSettings) -> impl FnOnce(&mut ClientRegistrar) {
    move |r| {
        r.feature(Target::Client, crate::NS);
        r.feature(Target::Client, DirectInvitation::NAMESPACE);
        xmpp_im::archive::client(r);
        let invitations = Mutex::new(Some(Feed::new(INVITATIONS.0, INVITATIONS.1)));
        let part = Arc::new(Part {
            settings,
            rooms: Mutex::default(),
            invitations,
            searched: Mutex::default(),
            random: RandomState::new(),
        });
        r.provide(Arc::clone(&part));
        let starts = Arc::clone(&part);
        r.on_session(move |start, _| {
            let now = Instant::now();
            for seat in starts.rooms().values() {
                match start.resumed {
                    true => seat.state().session_resumes(now),
                    false => seat.state().session_begins(now),
                }
                seat.wake.notify_one();
            }
        });
        let incoming = Incoming(part);
        r.incoming(move |stanza, _| incoming.0.take(stanza));
    }
}

/// The end of a client is the end of this.
struct Incoming(Arc<Part>);

impl Drop for Incoming {
    fn drop(&mut self) {
        *self.0.invitations.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for seat in self.0.rooms().values() {
            seat.state().end();
            seat.wake.notify_one();
        }
    }
}

/// What the handles share.
#[derive(Debug)]
struct Part {
    settings: MucClientSettings,
    rooms: Mutex<HashMap<BareJid, Arc<Seat>>>,
    invitations: Mutex<Option<Feed<Invitation>>>,
    /// Until when services do not want to be asked for rooms.
    searched: Mutex<HashMap<Jid, Instant>>,
    random: RandomState,
}

/// Our place in a room.
#[derive(Debug)]
struct Seat {
    state: Mutex<State>,
    /// There may be something to do.
    wake: Notify,
    /// One enters or leaves at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn rooms(&self) -> MutexGuard<'_, HashMap<BareJid, Arc<Seat>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new place; `None` if there is one.
    fn sit(&self, room: &BareJid) -> Option<Arc<Seat>> {
        let mut settings = self.settings.clone();
        settings.ping_after = settings.ping_after.mul_f64(0.9 + self.chance() / 5.0);
        let state = State::new(room.clone(), settings, Instant::now());
        match self.rooms().entry(room.clone()) {
            Place::Occupied(_) => None,
            Place::Vacant(place) => {
                let seat = Seat { state: Mutex::new(state), wake: Notify::new(), turn: tokio::sync::Mutex::default() };
                Some(Arc::clone(place.insert(Arc::new(seat))))
            }
        }
    }

    /// A place is free again.
    fn rise(&self, room: &BareJid, seat: &Arc<Seat>) {
        let mut rooms = self.rooms();
        if rooms.get(room).is_some_and(|there| Arc::ptr_eq(there, seat)) {
            rooms.remove(room);
        }
    }

    /// From 0 to 1, so that not all do the same at the same time.
    fn chance(&self) -> f64 {
        // The hash of a time by secret keys: good enough to scatter waiting.
        let hash = self.random.hash_one(Instant::now());
        f64::from(u32::try_from(hash >> 32).unwrap_or_default()) / f64::from(u32::MAX)
    }

    fn take(&self, stanza: &AnyStanza) -> Flow {
        let from = match stanza {
            AnyStanza::Presence(presence) => presence.from(),
            AnyStanza::Message(message) => message.from(),
            AnyStanza::Iq(_) => None,
        };
        let Some(from) = from else { return Flow::Continue };
        if let AnyStanza::Message(message) = stanza
            && message.type_() != MessageType::Groupchat
            && let Some(invitation) = Invitation::read(message)
        {
            if let Some(waiting) = &*self.invitations.lock().unwrap_or_else(PoisonError::into_inner) {
                waiting.send(invitation);
            }
            return Flow::Continue;
        }
        let seat = self.rooms().get(from.bare_str()).cloned();
        let Some(seat) = seat else { return Flow::Continue };
        let now = Instant::now();
        let mut state = seat.state();
        let flow = match stanza {
            AnyStanza::Presence(presence) => state.presence(presence, now, self.chance()),
            AnyStanza::Message(message) => {
                state.message(message, now);
                Flow::Continue
            }
            AnyStanza::Iq(_) => Flow::Continue,
        };
        drop(state);
        seat.wake.notify_one();
        flow
    }
}

/// What a client with rooms can do.
pub trait MucClient {
    /// Its rooms.
    ///
    /// # Errors
    /// [`WithoutRooms`] if the client was not built with them.
    fn muc(&self) -> Result<Muc, WithoutRooms>;
}

impl MucClient for Client {
    fn muc(&self) -> Result<Muc, WithoutRooms> {
        Ok(Muc { client: self.clone(), part: self.part().ok_or(WithoutRooms)? })
    }
}

/// A client's rooms. Cheap to make and to clone.
#[derive(Clone, Debug)]
pub struct Muc {
    client: Client,
    part: Arc<Part>,
}

impl Muc {
    /// Enters a room under a nickname, when awaited. If it is made by that, it gets the service's usual configuration
    /// (§10.1.2), unless said otherwise.
    pub fn join(&self, room: BareJid, nick: impl Into<String>) -> Joining {
        Joining::new(self.clone(), room, nick.into())
    }

    /// The invitations from now on.
    pub fn invitations(&self) -> Invitations {
        let waiting = self.part.invitations.lock().unwrap_or_else(PoisonError::into_inner);
        // Without the client they have an end.
        let reader = waiting.as_ref().map_or_else(|| Feed::new(0, 0).subscribe(), Feed::subscribe);
        Invitations { reader }
    }
}
