//! What a stream between servers needs to know, at either end.

use super::{DialbackSecret, Policies};
use std::{fmt, sync::Arc};

/// Says whether a domain, in canonical form, is served here.
pub type Hosts = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Bounds on what a peer may make a stream remember.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct S2sLimits {
    /// Pairs of domains in each direction. 256.
    pub pairs: usize,
    /// Keys being verified at once, and likewise requests of ours without an answer. 64.
    pub pending: usize,
    /// Keys being verified at once for a peer of which no key has been found valid yet. 4.
    pub unauthenticated_pending: usize,
    /// Pairs that the peer asked for and did not get, in all; with more the stream ends. 256.
    pub failures: usize,
    /// Bytes of elements before the first pair is authorised: a stream that is only there to verify keys has no more
    /// than this. 64 KiB.
    pub unauthenticated_bytes: usize,
}

impl Default for S2sLimits {
    fn default() -> Self {
        S2sLimits {
            pairs: 256,
            pending: 64,
            unauthenticated_pending: 4,
            failures: 256,
            unauthenticated_bytes: 64 << 10,
        }
    }
}

/// What a stream between servers needs to know, at either end.
#[derive(Clone)]
#[non_exhaustive]
pub struct S2sConfig {
    /// What our dialback keys are made of.
    pub secret: DialbackSecret,
    /// Which domains are served here.
    pub hosts: Hosts,
    /// What is asked of the others.
    pub policies: Arc<Policies>,
    /// Whether there is a certificate of ours, so that TLS is possible on incoming streams.
    pub tls: bool,
    /// Whether streams may carry stanzas both ways (XEP-0288). True.
    pub bidi: bool,
    /// The bounds.
    pub limits: S2sLimits,
}

impl fmt::Debug for S2sConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S2sConfig").field("policies", &self.policies).field("bidi", &self.bidi).finish_non_exhaustive()
    }
}

impl S2sConfig {
    /// With TLS and streams that go both ways, and the default policy for everybody.
    pub fn new(secret: DialbackSecret, hosts: Hosts) -> S2sConfig {
        S2sConfig { secret, hosts, policies: Arc::default(), tls: true, bidi: true, limits: S2sLimits::default() }
    }
}
