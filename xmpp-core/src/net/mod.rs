//! The thin tokio drivers that both ends share: name resolution, TCP and TLS (RFC 6120 §3 and §5, XEP-0368).
//!
//! What decides is pure and lives apart from what does: [`Plan`] orders the targets and the race between
//! connection attempts is a state machine, while [`Connector`] only performs what they say.

pub mod connect;
#[cfg(feature = "https")]
pub mod https;
pub mod resolve;
pub mod tls;
pub mod transport;

#[cfg(feature = "bosh")]
pub(crate) mod bosh;
mod pipe;
mod race;
#[cfg(feature = "dns")]
mod system;
mod tlsa;
#[cfg(feature = "websocket")]
pub(crate) mod websocket;

pub use connect::{AttemptFailure, Attempted, ConnectError, ConnectOptions, Connected, Connector};
pub use pipe::Pipe;
pub use resolve::{Plan, ResolveError, ResolveFuture, Resolver, SrvRecord, StaticResolver, Target};
#[cfg(feature = "dns")]
pub use system::SystemResolver;
pub use tls::{CertificateProblem, ClientTls, ServerTls, TlsError};
pub use tlsa::{TlsaRecord, Validated};
pub use transport::Transport;
#[cfg(feature = "websocket")]
pub use websocket::WebSocket;
#[cfg(all(feature = "client", feature = "websocket"))]
pub use websocket::WebSocketError;

/// Which of the two XMPP services a connection is for: it names the SRV records, the ALPN identifier and the port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Service {
    /// A client that connects to its server (`xmpp-client`, port 5222).
    #[default]
    Client,
    /// A server that connects to another (`xmpp-server`, port 5269).
    Server,
}

impl Service {
    /// The service label of SRV records and SRV-IDs, and the ALPN identifier (RFC 6120 §3.2.1, XEP-0368 §3).
    pub fn name(self) -> &'static str {
        match self {
            Service::Client => "xmpp-client",
            Service::Server => "xmpp-server",
        }
    }

    /// The service label of SRV records for direct TLS (XEP-0368 §3).
    pub fn direct_tls_name(self) -> &'static str {
        match self {
            Service::Client => "xmpps-client",
            Service::Server => "xmpps-server",
        }
    }

    /// The registered port, used where a domain publishes no SRV records (RFC 6120 §14.7).
    pub fn default_port(self) -> u16 {
        match self {
            Service::Client => 5222,
            Service::Server => 5269,
        }
    }
}

/// The A-label form of a domain (RFC 6120 §13.7.1.2.1), lower case and without a final dot; `None` when it has none.
/// IP addresses come back as they are, without brackets.
pub(crate) fn ascii_domain(domain: &str) -> Option<String> {
    let bare = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')).unwrap_or(domain);
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Some(bare.to_owned());
    }
    let ascii = idna::domain_to_ascii(domain.strip_suffix('.').unwrap_or(domain)).ok()?;
    let sound = !ascii.is_empty() && ascii.len() <= 253 && ascii.split('.').all(|l| !l.is_empty() && l.len() <= 63);
    sound.then_some(ascii)
}
