//! What a server remembers of its users' logins, and tells them then: when they were last there to log in, the message
//! of the day, and the welcome to who is new (XEP-0133 §4.7, §4.23 to §4.27).
//!
//! A user has logged in when a session is available for the first time. Each message of the day reaches a user once; who
//! is online when it is set gets it then, others with their next login.
//!
//! ```no_run
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! use std::sync::Arc;
//! use xmpp_im::login::{self, MemoryLogins};
//!
//! builder.with(login::server(Arc::new(MemoryLogins::new())))
//! # }
//! ```

mod server;
mod store;

pub use server::server;
pub(crate) use server::tell_everybody;
pub use store::{Kept, LoginStore, MemoryLogins, Notice, conformance};
