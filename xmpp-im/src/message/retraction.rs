//! Message retraction (XEP-0424).

use xmpp_core::payload::{DateTime, Payload};

/// `urn:xmpp:message-retract:1`.
pub const NS: &str = "urn:xmpp:message-retract:1";

/// What those read who don't know of retractions.
pub const FALLBACK: &str = "/me retracted a previous message, but it's unsupported by your client.";

/// Takes an earlier message back. It counts only from the same sender (§5).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "retract", ns = NS)]
pub struct Retract {
    /// The message.
    #[xml(attr)]
    pub id: String,
}

/// Stands in an archive for a message that was taken back (§4).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "retracted", ns = NS)]
pub struct Retracted {
    /// The message that took it back.
    #[xml(attr)]
    pub id: String,
    /// When that was.
    #[xml(attr)]
    pub stamp: Option<DateTime>,
}
