//! Private storage (XEP-0049): elements that a client keeps at its server for itself and its user's other clients.
//!
//! ```no_run
//! # #[cfg(feature = "server")]
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! use xmpp_im::{account_xml::MemoryAccountXml, private};
//!
//! builder.with(private::server(MemoryAccountXml::new(), private::QUOTA))
//! # }
//! ```

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "client")]
pub use client::{get, set};
#[cfg(feature = "server")]
pub use server::{QUOTA, server};

use xmpp_core::{payload::Payload, xml::Stanza};

/// `jabber:iq:private`.
pub const NS: &str = "jabber:iq:private";

/// What is stored, or asked for by an empty element of its name.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "query", ns = NS)]
pub struct PrivateXml {
    /// The element; one in all valid requests.
    #[xml(unknown)]
    pub elements: Vec<Stanza>,
}
