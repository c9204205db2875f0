//! Message processing hints (XEP-0334).

use super::Payload;

/// A wish of the sender about storing and copying a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Payload)]
#[xml(ns = "urn:xmpp:hints")]
pub enum Hint {
    /// Not in archives; offline storage is fine.
    #[xml(name = "no-permanent-store")]
    NoPermanentStore,
    /// Nowhere.
    #[xml(name = "no-store")]
    NoStore,
    /// Only to the resource addressed: no carbons.
    #[xml(name = "no-copy")]
    NoCopy,
    /// In archive and offline storage, even without a body.
    #[xml(name = "store")]
    Store,
}
