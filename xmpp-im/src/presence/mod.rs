//! Presence (RFC 6121 §4): what a client says of its availability, and who hears it.
//!
//! Rosters and subscriptions are not here yet: broadcast presence reaches the account's own resources, and directed
//! presence whoever it names. Who was told that a resource is there is told when it goes.

#[cfg(feature = "server")]
mod server;

#[cfg(feature = "server")]
pub use server::{MAX_DIRECTED, server};
