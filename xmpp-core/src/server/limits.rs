//! Bounds on what clients may make a server spend.

use crate::xml::XmlLimits;
use std::time::Duration;

/// A server's bounds. The defaults are safe for the open Internet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// What the scanner accepts before authentication.
    pub unauthenticated: XmlLimits,
    /// What the scanner accepts after authentication.
    pub authenticated: XmlLimits,
    /// Time for each phase of the negotiation: stream header, TLS, authentication, binding.
    pub phase: Duration,
    /// Connections that have not authenticated yet, from one address.
    pub unauthenticated_per_ip: usize,
    /// Connections in all.
    pub connections: usize,
    /// Failed authentications on one stream before it is closed (RFC 6120 §6.4.5 recommends 2 to 5).
    pub auth_attempts: u32,
    /// Failed resource bindings on one stream before it is closed (RFC 6120 §7.7.2.3 recommends 5 to 10).
    pub bind_attempts: u32,
    /// Sessions of one account.
    pub sessions_per_account: usize,
    /// Bytes waiting to be written to one session before it is closed with `policy-violation`.
    pub outbox_bytes: usize,
    /// Sustained bytes a second read from one session; above it reading pauses.
    pub bytes_per_second: u32,
    /// Bytes that may come at once above the sustained rate.
    pub burst_bytes: u32,
    /// Silence from a client after which the server finds out whether it is there: with an acknowledgement asked for
    /// (XEP-0198), or white space (RFC 6120 §4.6.1) and, after as long again, a ping (XEP-0199).
    pub keepalive: Duration,
    /// Time to answer that question. A connection on which nothing at all comes in this time is dead: a session that
    /// can be resumed hibernates, any other ends with `connection-timeout`.
    pub keepalive_answer: Duration,
    /// Stanzas sent to one session and not acknowledged (XEP-0198); beyond them it ends with `policy-violation`, and
    /// what it held is handed on.
    pub unacked_stanzas: usize,
    /// The bytes of these stanzas.
    pub unacked_bytes: usize,
    /// How long a session whose connection is lost can be resumed (XEP-0198 §5), if the client does not ask for
    /// less; zero allows no resumption.
    pub resume_time: Duration,
    /// Sessions without a connection, waiting to be resumed; one more ends instead.
    pub hibernated: usize,
    /// The same of one account; for one more, the one that has waited longest ends.
    pub hibernated_per_account: usize,
    /// Stanzas held back from an inactive client (XEP-0352); with one more it gets them all.
    pub held_stanzas: usize,
    /// The bytes of these stanzas.
    pub held_bytes: usize,
    /// Time a closing stream waits for the peer's end tag (RFC 6120 §4.4).
    pub closing: Duration,
    /// How long a token of a client is good (XEP-0484). When half of it is over, a client that logs in gets another.
    pub token_life: Duration,
    /// Time one stage of the route, or one iq handler, may take.
    pub handler: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            unauthenticated: XmlLimits::unauthenticated(),
            authenticated: XmlLimits::authenticated(),
            phase: Duration::from_secs(30),
            unauthenticated_per_ip: 100,
            connections: 100_000,
            auth_attempts: 4,
            bind_attempts: 8,
            sessions_per_account: 32,
            outbox_bytes: 4 << 20,
            bytes_per_second: 1 << 20,
            burst_bytes: 4 << 20,
            keepalive: Duration::from_secs(300),
            keepalive_answer: Duration::from_secs(60),
            unacked_stanzas: 5_000,
            unacked_bytes: 4 << 20,
            resume_time: Duration::from_secs(300),
            hibernated: 10_000,
            hibernated_per_account: 8,
            held_stanzas: 500,
            held_bytes: 256 << 10,
            closing: Duration::from_secs(5),
            token_life: Duration::from_secs(28 * 24 * 3600),
            handler: Duration::from_secs(30),
        }
    }
}
