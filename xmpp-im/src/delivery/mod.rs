//! Delivery of messages to accounts (RFC 6121 §8.5): which of the connected resources gets what was sent to a bare
//! address, or to a resource that is not there.

mod rules;
#[cfg(feature = "server")]
mod server;

pub use rules::{Address, Choice, choose};
#[cfg(feature = "server")]
pub(crate) use server::recipients;
#[cfg(feature = "server")]
pub use server::server;
