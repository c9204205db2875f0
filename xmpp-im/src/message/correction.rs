//! Last message correction (XEP-0308).

use xmpp_core::payload::Payload;

/// `urn:xmpp:message-correct:0`.
pub const NS: &str = "urn:xmpp:message-correct:0";

/// The message takes the place of an earlier one. It counts only from the same sender (§4).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "replace", ns = NS)]
pub struct Replace {
    /// The first version, also when it was corrected before.
    #[xml(attr)]
    pub id: String,
}
