//! What a client or a server is extended with, in one shape for both ends.
//!
//! An extension is given a [`Registrar`] and says what it handles. What the entity advertises (service discovery,
//! XEP-0030) is computed from what was registered, so that it cannot lie.
//!
//! One that answers an iq is the same function on a client and on a server:
//!
//! ```
//! use xmpp_core::{extension::{Registrar, Target}, payload::Payload};
//!
//! #[derive(Payload)]
//! #[xml(name = "motto", ns = "urn:example:motto")]
//! struct MottoQuery;
//!
//! #[derive(Payload)]
//! #[xml(name = "motto", ns = "urn:example:motto")]
//! struct Motto(#[xml(text)] String);
//!
//! fn motto(r: &mut Registrar) {
//!     r.iq_get::<MottoQuery, _>(Target::Server | Target::Client, |_, _| Ok(Motto("festina lente".into())));
//! }
//!
//! # #[cfg(feature = "client")]
//! # fn on_a_client(builder: xmpp_core::client::ClientBuilder) -> xmpp_core::client::ClientBuilder {
//! builder.with(motto)
//! # }
//! # #[cfg(feature = "server")]
//! # fn on_a_server(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! #   builder.with(motto)
//! # }
//! ```
//!
//! What only one end has, hooks on what a client receives and stations on a server's route, is registered with the
//! `ClientRegistrar` and the `ServerRegistrar`, which are registrars too.

mod builtin;
mod disco;
mod iq;
mod registrar;

pub(crate) use builtin::core_services;
pub use builtin::{Software, entity_time, last_activity, ping, version};
pub use disco::DiscoCell;
pub use iq::{Answer, IqContext, IqOutcome, Reply, Target};
pub use registrar::{DiscoNode, Registrar};

pub(crate) use disco::register as register_disco;
#[cfg(feature = "client")]
pub(crate) use iq::{IqTable, Then};
pub(crate) use iq::{Names, answer_error, answer_result};
