//! Delayed delivery (XEP-0203).

use super::{DateTime, Payload};
use crate::jid::Jid;

/// When and by whom a stanza was first held back.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "delay", ns = "urn:xmpp:delay")]
pub struct Delay {
    /// Who delayed it, or who first sent it. Anyone may claim anything here: only the stamps of one's own server count.
    #[xml(attr)]
    pub from: Option<Jid>,
    /// When it was first sent.
    #[xml(attr)]
    pub stamp: DateTime,
    /// Why, for people.
    #[xml(text)]
    pub reason: Option<String>,
}
