//! Chat state notifications (XEP-0085).

use super::Payload;

/// What the other person is doing in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Payload)]
#[xml(ns = "http://jabber.org/protocol/chatstates")]
pub enum ChatState {
    /// Attending to it.
    #[xml(name = "active")]
    Active,
    /// Writing.
    #[xml(name = "composing")]
    Composing,
    /// Was writing, and stopped.
    #[xml(name = "paused")]
    Paused,
    /// Not attending for a while.
    #[xml(name = "inactive")]
    Inactive,
    /// Left it.
    #[xml(name = "gone")]
    Gone,
}
