//! Attention (XEP-0224).

use xmpp_core::payload::Payload;

/// `urn:xmpp:attention:0`.
pub const NS: &str = "urn:xmpp:attention:0";

/// Asks the reader to look at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "attention", ns = NS)]
pub struct Attention;
