//! What a server's end of a client stream is told beforehand.

use crate::{
    sasl::{Hash, Mechanism},
    stream::limits::StreamLimits,
    xml::Stanza,
};
use std::sync::Arc;

/// What the acceptor needs to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AcceptorConfig {
    /// The domains served, with the mechanisms of each in the server's order.
    pub domains: Vec<(String, Vec<Mechanism>)>,
    /// Whether STARTTLS can be offered.
    pub tls: bool,
    /// Whether authentication without TLS is permitted.
    pub plaintext: bool,
    /// From which the salts of users who do not exist are made ([`ServerPolicy::secret`](crate::sasl::ServerPolicy::secret)).
    pub secret: Arc<[u8]>,
    /// Iterations of new accounts ([`ServerPolicy::iterations`](crate::sasl::ServerPolicy::iterations)).
    pub iterations: u32,
    /// Failed authentications before the stream is closed.
    pub auth_attempts: u32,
    /// Failed bindings before the stream is closed.
    pub bind_attempts: u32,
    /// `xml:lang` of the stream where the client has no wish of its own.
    pub lang: String,
    /// Whether SASL2 is offered beside the profile of RFC 6120 (XEP-0388), and Bind 2 with it (XEP-0386).
    pub sasl2: bool,
    /// The features that Bind 2 enables (XEP-0386 §3.1).
    pub bind_features: Vec<String>,
    /// How long a token is good, in seconds; `None` gives no tokens and takes none (XEP-0484).
    pub tokens: Option<u64>,
    /// Whether the names of clients are stored with their tokens, and those of clients without tokens (XEP-0494 §6).
    pub remember: bool,
    /// The hashes for which credentials can be stored when a client has them (XEP-0480).
    pub upgrades: Vec<Hash>,
    /// What is announced before authentication, and after it (XEP-0478).
    pub limits: (StreamLimits, StreamLimits),
    /// Whether stream management (XEP-0198) and client state indication (XEP-0352) are offered.
    pub management: bool,
    /// Other features: those offered to who may authenticate, and those of an authenticated stream.
    pub features: (Arc<[Stanza]>, Arc<[Stanza]>),
    /// What clients may ask before they log in.
    pub newcomers: NewcomerOffer,
}

/// Requests that clients may make before they log in, such as registrations (XEP-0077 §3.1.1): only under TLS, and not
/// in domains whose users need no account. The default is none.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NewcomerOffer {
    /// The namespaces of the payloads.
    pub payloads: Arc<[String]>,
    /// The features that tell of it.
    pub features: Arc<[Stanza]>,
    /// Requests in one stream; with one more it is closed.
    pub requests: u32,
    /// Whether nobody listens though there is no TLS: a pipe inside the process.
    pub private: bool,
}

impl AcceptorConfig {
    /// A server of these domains, without TLS unless it is switched on.
    pub fn new(domains: Vec<(String, Vec<Mechanism>)>, secret: Arc<[u8]>) -> AcceptorConfig {
        AcceptorConfig {
            domains,
            tls: false,
            plaintext: false,
            secret,
            iterations: 10_000,
            auth_attempts: 4,
            bind_attempts: 8,
            lang: "en".into(),
            sasl2: true,
            bind_features: Vec::new(),
            tokens: None,
            remember: true,
            upgrades: Vec::new(),
            limits: (StreamLimits::default(), StreamLimits::default()),
            management: false,
            features: (Arc::default(), Arc::default()),
            newcomers: NewcomerOffer::default(),
        }
    }
}
