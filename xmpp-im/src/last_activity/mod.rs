//! Last activity of accounts (XEP-0012 §3): how long ago a user was there, told to whom the user shows presence.
//!
//! What a resource is asked under its full address is delivered to it (RFC 6121 §8.5.3.1), and the server's uptime is
//! answered by [`xmpp_core`].
//!
//! ```no_run
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! use xmpp_im::last_activity::{self, MemoryLastActivity};
//!
//! // Whoever asks is told, for there are no rosters here to look at.
//! builder.with(last_activity::server(MemoryLastActivity::new(), |_user, _asker| Box::pin(async { Ok(true) })))
//! # }
//! ```

mod server;
mod store;

pub use server::server;
pub use store::{LastActivityStore, LastSeen, MemoryLastActivity, conformance};
