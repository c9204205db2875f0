//! Ad-hoc commands (XEP-0050): what an entity can do that has no protocol of its own, found by service discovery and
//! carried out with forms.
//!
//! ```
//! use xmpp_core::{extension::Target, server::{MemoryAccounts, Server}};
//! use xmpp_im::command::{Command, Commands, Step, ping};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), xmpp_core::server::ServerError> {
//! let greet = Command::new("greet", "Greet", |call| async move { Ok(Step::done().info(format!("Hello {}", call.from))) });
//! let commands = Commands::new().with(ping()).with(greet.only_for(|asker| asker.domain() == "example.org"));
//! let server = Server::builder("example.org").accounts(MemoryAccounts::new()).with(commands.at(Target::Server)).build()?;
//! # drop(server); Ok(()) }
//! ```

#[cfg(feature = "client")]
mod client;
mod element;
#[cfg(any(feature = "client", feature = "server"))]
mod registry;
#[cfg(any(feature = "client", feature = "server"))]
mod session;

#[cfg(feature = "client")]
pub use client::{Execution, execute, list};
pub use element::{Action, Actions, CommandElement, Note, NoteKind, Status};
#[cfg(any(feature = "client", feature = "server"))]
pub use registry::{Call, Command, CommandLimits, Commands, Step, bad_payload, ping};

/// `http://jabber.org/protocol/commands`, which is also the node of the list of commands.
pub const NS: &str = "http://jabber.org/protocol/commands";
