//! Instant messaging and presence (RFC 6121) over [`xmpp_core`].
//!
//! A server composes what it wants to do for its users:
//!
//! ```no_run
//! # #[cfg(feature = "server")]
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! builder.with(xmpp_im::roster::server(xmpp_im::roster::MemoryRosters::new())).with(xmpp_im::delivery::server)
//! # }
//! ```

#[cfg(feature = "server")]
pub mod account_xml;
#[cfg(feature = "server")]
pub mod administration;
pub mod archive;
pub mod avatar;
pub mod blocking;
pub mod caps;
pub mod carbons;
#[cfg(feature = "client")]
pub mod chat;
pub mod command;
pub mod contact;
pub mod delivery;
#[cfg(feature = "client")]
mod ext;
pub mod external_services;
pub mod invitation;
#[cfg(feature = "server")]
pub mod last_activity;
#[cfg(feature = "server")]
pub mod login;
#[cfg(feature = "server")]
pub mod looks;
pub mod message;
pub mod offline;
pub mod presence;
pub mod private;
pub mod registration;
pub mod roster;
pub mod search;
mod storage;
#[cfg(feature = "server")]
mod turns;
pub mod vcard;

#[cfg(feature = "client")]
pub use ext::ClientExt;
pub use storage::{StorageError, Stored};
