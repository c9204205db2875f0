//! Presence (RFC 6121 §4): what a client says of its availability, and who hears it.
//!
//! Broadcast presence goes to the account's own resources and to the contacts whom the roster names as subscribed, each
//! broadcast for one question to the [`RosterStore`](crate::roster::RosterStore). With the first one of a session the
//! contacts are asked for theirs. Directed presence goes to whoever it names; who was told that a resource is there is
//! told when it goes. Nobody else learns anything: probes of strangers get the answer that an account gives which does
//! not exist.
//!
//! At a server this is a part of [`roster::server`](crate::roster::server). A client keeps its own presence, and what it
//! hears of others', with [`client`](client()).

#[cfg(feature = "client")]
pub(crate) mod client;
#[cfg(feature = "client")]
mod contacts;
#[cfg(feature = "server")]
mod directed;
#[cfg(feature = "server")]
mod probe;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "client")]
pub use client::{ClientPresence, OwnPresence, PresenceEvent, PresenceEvents, SubscriptionRequest, client};
#[cfg(feature = "client")]
pub use contacts::Available;
#[cfg(feature = "server")]
pub use directed::MAX_DIRECTED;
#[cfg(feature = "server")]
pub use server::server;

#[cfg(feature = "server")]
pub(crate) use {
    directed::Directed,
    probe::answer_probe,
    server::{register, send_current, send_unavailable},
};
