//! Message archives (XEP-0313) with stanza ids (XEP-0359), preferences (XEP-0441) and hints (XEP-0334).
//!
//! ```no_run
//! # #[cfg(feature = "server")]
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! use std::sync::Arc;
//! use xmpp_im::archive::{self, ArchiveSettings, MemoryArchive};
//!
//! builder.with(archive::server(Arc::new(MemoryArchive::default()), ArchiveSettings::default()))
//! # }
//! ```
//!
//! What an account sends and what it receives is kept in its archive, in the order in which it passed the server, by
//! the rules of [`is_worth_archiving`] and of the account's [`Preferences`]. A message has passed an archive only when
//! the store has taken it: until then it waits, and if the store fails, its sender is told.
//!
//! In a client an [`Archive`] is read forwards, to catch up ([`Archive::sync`]), or backwards, for people who scroll
//! ([`Archive::history`]); it tells its extent, and takes the account's preferences.
//!
//! Messages of rooms (type `groupchat`) are not in accounts' archives: a room has its own, which an [`ArchiveStore`]
//! can keep as well. Its owner is the room's address.

#[cfg(feature = "server")]
mod answer;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
mod conformance;
#[cfg(feature = "server")]
mod filter;
#[cfg(feature = "client")]
mod history;
#[cfg(feature = "server")]
mod id;
#[cfg(feature = "server")]
mod keeping;
#[cfg(feature = "server")]
mod memory;
mod preferences;
#[cfg(feature = "server")]
mod rules;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod store;

pub use self::preferences::Preferences;
#[cfg(feature = "server")]
pub use self::{
    answer::{fin, form, result},
    conformance::conformance,
    filter::{FIELDS, select},
    id::ArchiveId,
    keeping::Keeping,
    memory::MemoryArchive,
    rules::{is_worth_archiving, strip_ids},
    server::{ArchiveSettings, Contacts, in_roster, server},
    store::{ArchiveStore, Archived, NewEntry, Page, Selection},
};
#[cfg(feature = "client")]
pub use self::{
    client::{Archive, ArchiveSync, ArchivedMessage, Since, SyncError, client},
    history::{ArchiveHistory, HistoryPage},
};
