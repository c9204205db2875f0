//! Blocking (XEP-0191): whom a user wants to hear nothing from, and reports of spam and abuse (XEP-0377).
//!
//! ```
//! use xmpp_core::server::{MemoryAccounts, Server};
//! use xmpp_im::blocking::{Blocking, MemoryBlocking};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), xmpp_core::server::ServerError> {
//! let blocking = Blocking::new(MemoryBlocking::new())
//!     .on_report(|report| println!("{} reports {}: {}", report.reporter, report.reported, report.report.reason));
//! let server = Server::builder("example.org").accounts(MemoryAccounts::new()).with(blocking.server()).build()?;
//! # Ok(()) }
//! ```

#[cfg(feature = "server")]
mod cache;
#[cfg(feature = "client")]
mod client;
mod list;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod stations;
mod store;

#[cfg(feature = "client")]
pub use client::{BlockChange, block, client, list, report, unblock, unblock_all};
pub use list::BlockList;
#[cfg(feature = "server")]
pub use server::{Blocking, Reported, Subscribers};
pub use store::{BlockingStore, MemoryBlocking, conformance};

use xmpp_core::{
    payload::{Payload, stanza_id::StanzaId},
    xml::Stanza,
};

/// `urn:xmpp:blocking`.
pub const NS: &str = "urn:xmpp:blocking";
/// Of the application-specific condition `<blocked/>`.
pub const ERRORS: &str = "urn:xmpp:blocking:errors";
/// `urn:xmpp:reporting:1`.
pub const REPORTING: &str = "urn:xmpp:reporting:1";
/// The reason of a report: unwanted messages.
pub const SPAM: &str = "urn:xmpp:reporting:spam";
/// The reason of a report: abuse of any kind.
pub const ABUSE: &str = "urn:xmpp:reporting:abuse";

/// An address in a list. What is not an address can be read too: who uses it says so with `jid-malformed`.
#[derive(Clone, Debug, Payload)]
#[xml(name = "item", ns = NS)]
pub struct Item {
    /// Which: with a resource, without, or a domain (XEP-0191 §5).
    #[xml(attr)]
    pub jid: String,
    /// What else it holds: a [`Report`] maybe.
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

impl Item {
    /// Without a report.
    pub fn new(jid: impl Into<String>) -> Item {
        Item { jid: jid.into(), others: Vec::new() }
    }

    /// The report, if there is one that can be read.
    pub fn report(&self) -> Option<Report> {
        self.others.iter().find_map(|other| Report::read(other.root()).ok())
    }
}

/// Asks for the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "blocklist", ns = NS)]
pub struct BlockListQuery;

/// The list.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "blocklist", ns = NS)]
pub struct BlockListAnswer {
    /// Who is blocked.
    #[xml(children)]
    pub items: Vec<Item>,
}

/// Blocks these; the server tells with the same element what another resource has blocked.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "block", ns = NS)]
pub struct Block {
    /// Who, at least one.
    #[xml(children)]
    pub items: Vec<Item>,
}

/// Blocks these no more.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "unblock", ns = NS)]
pub struct Unblock {
    /// Who; if there is nobody here, all.
    #[xml(children)]
    pub items: Vec<Item>,
}

/// Why somebody is blocked, for those who run the server (XEP-0377 §4).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "report", ns = REPORTING)]
pub struct Report {
    /// [`SPAM`], [`ABUSE`], or another.
    #[xml(attr)]
    pub reason: String,
    /// In the user's words.
    #[xml(child_text = "text")]
    pub texts: Vec<String>,
    /// The messages it is about.
    #[xml(children)]
    pub messages: Vec<StanzaId>,
    /// Whether the report may be told to the server that the messages came from.
    #[xml(flag = "report-origin")]
    pub to_origin: bool,
    /// Whether it may be told to others.
    #[xml(flag = "third-party")]
    pub to_third_parties: bool,
}
