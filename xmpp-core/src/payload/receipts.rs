//! Message delivery receipts (XEP-0184).

use super::Payload;

/// `urn:xmpp:receipts`.
pub const NS: &str = "urn:xmpp:receipts";

/// Asks the recipient's client to confirm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "request", ns = NS)]
pub struct ReceiptRequest;

/// Confirms.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "received", ns = NS)]
pub struct Received {
    /// The id of the message received.
    #[xml(attr)]
    pub id: String,
}
