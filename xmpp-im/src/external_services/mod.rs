//! External services (XEP-0215): which STUN and TURN servers clients may use, with credentials for a limited time.
//!
//! ```no_run
//! # #[cfg(feature = "server")]
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! use xmpp_im::external_services::{self, ExternalService};
//!
//! let stun = ExternalService::new("stun", "stun.example.org").port(3478).transport("udp");
//! let turn = ExternalService::new("turn", "turn.example.org").port(3478).transport("udp").secret("of the TURN server");
//! builder.with(external_services::server(vec![stun, turn]))
//! # }
//! ```

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "client")]
pub use client::list;
#[cfg(feature = "server")]
pub use server::{ExternalService, server};

use xmpp_core::payload::{DateTime, Payload};

/// `urn:xmpp:extdisco:2`.
pub const NS: &str = "urn:xmpp:extdisco:2";

/// Asks for services, or lists them (§3.1, §3.2).
#[derive(Clone, Debug, Default, PartialEq, Payload)]
#[xml(name = "services", ns = NS)]
pub struct Services {
    /// Only those of this type.
    #[xml(attr = "type")]
    pub type_: Option<String>,
    /// The services.
    #[xml(children)]
    pub services: Vec<Service>,
}

/// Asks for credentials at a service, or holds them (§3.3).
#[derive(Clone, Debug, Default, PartialEq, Payload)]
#[xml(name = "credentials", ns = NS)]
pub struct Credentials {
    /// The service, by host and type in the question; each that it means in the answer.
    #[xml(children)]
    pub services: Vec<Service>,
}

/// A service (§2).
#[derive(Clone, Default, PartialEq, Payload)]
#[xml(name = "service", ns = NS)]
pub struct Service {
    /// `stun`, `turn`, `turns`, …
    #[xml(attr = "type")]
    pub type_: String,
    /// A name or an IP address.
    #[xml(attr)]
    pub host: String,
    /// The port there.
    #[xml(attr)]
    pub port: Option<u16>,
    /// `udp` or `tcp`.
    #[xml(attr)]
    pub transport: Option<String>,
    /// A name for people.
    #[xml(attr)]
    pub name: Option<String>,
    /// Whether credentials are needed.
    #[xml(attr)]
    pub restricted: Option<bool>,
    /// The name to use there.
    #[xml(attr)]
    pub username: Option<String>,
    /// The password to use there.
    #[xml(attr)]
    pub password: Option<String>,
    /// When that ends.
    #[xml(attr)]
    pub expires: Option<DateTime>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Service");
        out.field("type_", &self.type_).field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}
