//! What a server offers on one stream.

use std::fmt;
use std::sync::Arc;

use super::super::{BindingType, ChannelBindings, Mechanism, token::is_possible};

/// What a server offers on one stream.
#[derive(Clone)]
#[non_exhaustive]
pub struct ServerPolicy {
    /// The mechanisms, in the server's order of preference. Of these, only those are offered that the stream allows:
    /// PLAIN under TLS, PLUS with a binding, EXTERNAL with a certificate. By default all but ANONYMOUS, the strongest
    /// first.
    pub mechanisms: Vec<Mechanism>,
    /// The mechanisms of tokens (XEP-0484), of which those are offered, under TLS alone, that the channel allows.
    /// None by default.
    pub tokens: Vec<Mechanism>,
    /// Whether the stream is under TLS.
    pub secured: bool,
    /// What is known of the TLS connection.
    pub bindings: ChannelBindings,
    /// The identities that the client's validated certificate stands for: bare addresses of accounts (XEP-0178 §2), or
    /// domains of a server (XEP-0178 §3). EXTERNAL is offered if there are any.
    pub external: Vec<String>,
    /// The domain that is logged into, for telling one's own address in an authorization identity.
    pub domain: String,
    /// Whether to let users ask to act as somebody else. Off by default.
    pub proxies: bool,
    /// PBKDF2 iterations of new accounts, and so of accounts that don't exist. 4,096 by default.
    pub iterations: u32,
    /// From which the salts of accounts that don't exist come: random, the same for all streams, kept across restarts.
    pub secret: Arc<[u8]>,
    /// Whether to sign what was announced (XEP-0474), and the version of TLS (XEP-0515). On by default.
    pub announcement_hash: bool,
    /// How many handshakes may fail before the stream is closed, 2 to 5 (RFC 6120 §6.4.5). 3 by default.
    pub max_failures: u32,
}

impl ServerPolicy {
    /// The defaults, for a stream without TLS.
    pub fn new(domain: impl Into<String>, secret: impl Into<Arc<[u8]>>) -> ServerPolicy {
        ServerPolicy {
            mechanisms: Mechanism::ALL.into_iter().filter(|mechanism| *mechanism != Mechanism::Anonymous).collect(),
            tokens: Vec::new(),
            secured: false,
            bindings: ChannelBindings::default(),
            external: Vec::new(),
            domain: domain.into(),
            proxies: false,
            iterations: 4096,
            secret: secret.into(),
            announcement_hash: true,
            max_failures: 3,
        }
    }

    pub(super) fn offered(&self) -> impl Iterator<Item = Mechanism> + '_ {
        self.mechanisms.iter().copied().filter(|mechanism| match mechanism {
            Mechanism::Plain => self.secured,
            Mechanism::External => self.secured && !self.external.is_empty(),
            _ if mechanism.is_plus() => self.secured && !self.bindings.is_empty(),
            _ => mechanism.token_hash().is_none(),
        })
    }

    pub(super) fn offered_tokens(&self) -> impl Iterator<Item = Mechanism> + '_ {
        let possible = |mechanism: &Mechanism| self.secured && is_possible(*mechanism, &self.bindings);
        self.tokens.iter().copied().filter(possible)
    }

    pub(super) fn offers_plus(&self) -> bool {
        self.offered().any(Mechanism::is_plus)
    }

    /// The data of a binding type that was announced.
    pub(super) fn binding(&self, name: &str) -> Option<&[u8]> {
        BindingType::from_name(name).and_then(|binding| self.bindings.get(binding))
    }
}

impl fmt::Debug for ServerPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerPolicy")
            .field("mechanisms", &self.mechanisms)
            .field("secured", &self.secured)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}
