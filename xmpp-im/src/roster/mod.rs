//! The roster (RFC 6121 §2, with the versions of XEP-0237) and the subscriptions that it records (§3).
//!
//! A server keeps rosters in a [`RosterStore`]:
//!
//! ```
//! # #[cfg(feature = "server")]
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! use xmpp_im::roster::{self, MemoryRosters};
//!
//! builder.with(roster::server(MemoryRosters::new()))
//! # }
//! ```
//!
//! With it come subscriptions, presence to those who are subscribed, and the answers to probes: none of them is whole
//! without the others, so they are one extension. [`chart`](chart::step) is the table of Appendix A, without I/O, for
//! either end.
//!
//! A client keeps its roster with [`client`](client()), and has a [`ClientRoster`] as handle.
//!
//! The payload types serve both ends too:
//!
//! ```
//! use xmpp_core::{payload::Payload, xml::{Stanza, XmlLimits, ns}};
//! use xmpp_im::roster::{RosterQuery, Subscription};
//!
//! let push = "<query xmlns='jabber:iq:roster' ver='7'><item jid='romeo@example.net' subscription='both' \
//!             name='Romeo'><group>Friends</group></item></query>";
//! let push = Stanza::parse(push, ns::CLIENT, &XmlLimits::default()).unwrap();
//! let push = RosterQuery::read(push.root()).unwrap();
//! assert_eq!(push.items[0].subscription, Subscription::Both);
//! assert_eq!(push.items[0].groups, ["Friends"]);
//! ```

#[cfg(feature = "client")]
mod cache;
pub mod chart;
#[cfg(feature = "client")]
pub(crate) mod client;
mod item;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
mod memory;
#[cfg(feature = "server")]
pub(crate) mod server;
#[cfg(feature = "server")]
mod store;
#[cfg(feature = "server")]
mod subscriptions;

#[cfg(feature = "client")]
pub use cache::{RosterChange, SavedRoster};
#[cfg(feature = "client")]
pub use client::{ClientRoster, RosterChanges, RosterError, client, restored};
pub use item::{Item, Subscription};
#[cfg(feature = "server")]
pub use limits::RosterLimits;
#[cfg(feature = "server")]
pub use memory::MemoryRosters;
#[cfg(feature = "server")]
pub(crate) use server::Rosters;
#[cfg(feature = "server")]
pub use server::{server, server_inviting, server_with};
#[cfg(feature = "server")]
pub use store::{Before, Decide, Record, Relation, Request, Roster, RosterStore, Versioned, conformance, next_version};

use xmpp_core::payload::Payload;

/// `jabber:iq:roster`.
pub const NS: &str = "jabber:iq:roster";
/// The stream feature that says that the server knows versions of rosters (§2.6.1).
pub const VERSIONS: &str = "urn:xmpp:features:rosterver";
/// The stream feature that says that requests can be approved before they are made (§3.4).
pub const PRE_APPROVAL: &str = "urn:xmpp:features:pre-approval";

/// The roster, a part of it, or the question for it: in an iq get without items, in its result with all of them, in an
/// iq set, either way, with the one that changes (§2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "query", ns = NS)]
pub struct RosterQuery {
    /// The version: of what the client has, in a get; of what the server says, otherwise. Opaque to clients (§2.1.1).
    #[xml(attr)]
    pub ver: Option<String>,
    /// The contacts.
    #[xml(children)]
    pub items: Vec<Item>,
}
