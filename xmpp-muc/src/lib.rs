//! Rooms (XEP-0045) over [`xmpp_core`]: the service that they are in, and what a client does in them.
//!
//! [`room::Room`] is a room as a pure state machine; [`service`](mod@service) puts rooms into a server;
//! [`client`](mod@client) keeps a client in them.

#[cfg(feature = "client")]
pub mod client;
pub mod config;
#[cfg(feature = "server")]
mod listing;
pub mod payload;
mod privilege;
#[cfg(feature = "server")]
pub mod room;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
mod store;

#[cfg(feature = "client")]
pub use client::client;
pub use config::{Broadcast, RoomConfig};
#[cfg(feature = "server")]
pub use listing::{Fields, Listed, Stretch, Terms};
pub use privilege::{Affiliation, Role, initial_role, may_change_affiliation, may_change_role};
#[cfg(feature = "server")]
pub use store::{MemoryRooms, RoomStore, conformance};

/// `http://jabber.org/protocol/muc`.
pub const NS: &str = "http://jabber.org/protocol/muc";
/// `http://jabber.org/protocol/muc#user`.
pub const USER: &str = "http://jabber.org/protocol/muc#user";
/// `http://jabber.org/protocol/muc#admin`.
pub const ADMIN: &str = "http://jabber.org/protocol/muc#admin";
/// `http://jabber.org/protocol/muc#owner`.
pub const OWNER: &str = "http://jabber.org/protocol/muc#owner";
