//! User nickname (XEP-0172).

use xmpp_core::payload::Payload;

/// `http://jabber.org/protocol/nick`.
pub const NS: &str = "http://jabber.org/protocol/nick";

/// What the sender wants to be called. Anybody may claim any name: show it beside the address.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "nick", ns = NS)]
pub struct Nick(#[xml(text)] pub String);
