//! Offline messages (XEP-0160): what is sent to an account while none of its resources can take it is kept, and
//! delivered when one becomes available.
//!
//! Kept are messages of type normal and chat (§3), unless they say nothing but a chat state (XEP-0085) or their sender
//! asks for it not to be (`<no-store/>`, XEP-0334). They come with the time when they came to the server (XEP-0203), in
//! order, to the first resource that becomes available with a priority that is not negative. A message leaves the store
//! when a session has it; what that session never gets comes back. Flexible retrieval (XEP-0013) is not there.
//!
//! Where there is an archive too, a client that has read it gets these messages a second time, as XEP-0313 allows; by
//! the archive's `stanza-id`, which they carry, it can tell.
//!
//! ```
//! use xmpp_core::server::{MemoryAccounts, Server};
//! use xmpp_im::{delivery, offline::{self, MemoryOffline, OfflineLimits}, presence};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), xmpp_core::server::ServerError> {
//! let server = Server::builder("example.org")
//!     .accounts(MemoryAccounts::new())
//!     .with(presence::server)
//!     .with(delivery::server)
//!     .with(offline::server(MemoryOffline::new(), OfflineLimits::default()))
//!     .build()?;
//! # Ok(()) }
//! ```

mod rules;
#[cfg(feature = "server")]
mod server;
mod store;

pub use rules::{Keeping, keeping};
#[cfg(feature = "server")]
pub use server::server;
pub use store::{MemoryOffline, OfflineLimits, OfflineMessage, OfflineStore, conformance};

/// What a server says of itself in service discovery (XEP-0160 §4).
pub const FEATURE: &str = "msgoffline";
