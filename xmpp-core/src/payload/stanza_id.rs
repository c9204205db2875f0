//! Unique and stable stanza identifiers (XEP-0359).

use super::Payload;
use crate::jid::Jid;

/// `urn:xmpp:sid:0`.
pub const NS: &str = "urn:xmpp:sid:0";

/// The identifier that a service on the way gave the stanza. It counts only if `by` supports XEP-0359 and removes
/// those that others forged in its name (§6).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Payload)]
#[xml(name = "stanza-id", ns = NS)]
pub struct StanzaId {
    /// The identifier, unique for `by`.
    #[xml(attr)]
    pub id: String,
    /// Who gave it: an account, a room.
    #[xml(attr)]
    pub by: Jid,
}

/// The identifier that the sender gave it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Payload)]
#[xml(name = "origin-id", ns = NS)]
pub struct OriginId {
    /// The identifier.
    #[xml(attr)]
    pub id: String,
}
