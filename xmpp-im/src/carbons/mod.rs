//! Message carbons (XEP-0280): all devices of a user see both sides of a conversation.
//!
//! ```
//! use xmpp_core::server::{MemoryAccounts, Server};
//! use xmpp_im::{carbons, delivery, presence};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), xmpp_core::server::ServerError> {
//! let server = Server::builder("example.org")
//!     .accounts(MemoryAccounts::new())
//!     .with(presence::server)
//!     .with(delivery::server)
//!     .with(carbons::server)
//!     .build()?;
//! # Ok(()) }
//! ```

#[cfg(feature = "server")]
mod answered;
mod rules;
#[cfg(feature = "server")]
mod server;

pub use rules::{Direction, Eligibility, eligibility};
#[cfg(feature = "server")]
pub use server::server;

use xmpp_core::payload::{Payload, forward::Forwarded};

/// `urn:xmpp:carbons:2`.
pub const NS: &str = "urn:xmpp:carbons:2";

/// What a server says that follows the rules of XEP-0280 §6.1 to the letter.
pub const RULES: &str = "urn:xmpp:carbons:rules:0";

/// Asks for copies (§4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "enable", ns = NS)]
pub struct Enable;

/// Asks for no more copies (§5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "disable", ns = NS)]
pub struct Disable;

/// In a message: no copies of this one (§9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "private", ns = NS)]
pub struct Private;

/// A copy. It counts only if it comes from the own account's bare address (§11).
#[derive(Clone, Debug, Payload)]
#[xml(ns = NS)]
pub enum Carbon {
    /// Of a message that another resource was sent (§7).
    #[xml(name = "received")]
    Received(#[xml(child)] Forwarded),
    /// Of a message that another resource sent (§8).
    #[xml(name = "sent")]
    Sent(#[xml(child)] Forwarded),
}
