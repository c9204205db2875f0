//! Cryptographic hashes (XEP-0300).

use super::{Base64, Payload};

/// `urn:xmpp:hashes:2`.
pub const NS: &str = "urn:xmpp:hashes:2";

/// A hash and the function that made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Payload)]
#[xml(name = "hash", ns = NS)]
pub struct Hash {
    /// The function by its IANA name, such as `sha-256`.
    #[xml(attr)]
    pub algo: String,
    /// The hash.
    #[xml(text)]
    pub value: Base64,
}

/// The function of a hash that will follow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Payload)]
#[xml(name = "hash-used", ns = NS)]
pub struct HashUsed {
    /// The function by its IANA name.
    #[xml(attr)]
    pub algo: String,
}
