//! Displayed markers (XEP-0333).

use xmpp_core::payload::Payload;

/// `urn:xmpp:chat-markers:0`.
pub const NS: &str = "urn:xmpp:chat-markers:0";

/// Asks to be told when the message has been displayed (§4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "markable", ns = NS)]
pub struct Markable;

/// Says how far the reader has come. It holds for all messages up to the one named.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(ns = NS)]
pub enum Marker {
    /// Received. Gone from the document since version 1.0, and still sent by others.
    #[xml(name = "received")]
    Received {
        /// The message.
        #[xml(attr)]
        id: String,
    },
    /// Displayed.
    #[xml(name = "displayed")]
    Displayed {
        /// The message.
        #[xml(attr)]
        id: String,
    },
    /// Acknowledged by the reader. Gone from the document since version 1.0.
    #[xml(name = "acknowledged")]
    Acknowledged {
        /// The message.
        #[xml(attr)]
        id: String,
    },
}
