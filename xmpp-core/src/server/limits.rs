//! Bounds on what clients may make a server spend.

use super::session::Role;
use crate::xml::XmlLimits;
use std::time::Duration;

/// Bounds of the HTTP listener.
#[cfg(feature = "http")]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpLimits {
    /// HTTP connections from one address; a trusted proxy may have more.
    pub connections_per_ip: usize,
    /// Header lines of a request.
    pub headers: usize,
    /// Bytes of a request's headers; at least 8,192.
    pub headers_bytes: usize,
    /// Time for the headers of a request, and until the next request on a connection that is kept.
    pub headers_time: Duration,
    /// Time in which some of a request's body must come, and some of an answer must be taken.
    pub stall: Duration,
    /// Of each BOSH session.
    pub bosh: crate::stream::bosh::BoshLimits,
    /// BOSH sessions in all; each is one of [`Limits::connections`] too.
    pub bosh_sessions: usize,
    /// BOSH sessions from one address.
    pub bosh_sessions_per_ip: usize,
}

#[cfg(feature = "http")]
impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            connections_per_ip: 256,
            headers: 64,
            headers_bytes: 16 * 1024,
            headers_time: Duration::from_secs(15),
            stall: Duration::from_secs(20),
            bosh: crate::stream::bosh::BoshLimits::default(),
            bosh_sessions: 20_000,
            bosh_sessions_per_ip: 256,
        }
    }
}

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
    /// Time for a client that asks something before its login, such as to register (XEP-0077): from the first request
    /// until authentication begins. People fill in forms meanwhile.
    pub registration: Duration,
    /// Requests before the login on one stream; with one more it is closed.
    pub newcomer_requests: u32,
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
    /// As [`outbox_bytes`](Self::outbox_bytes), of a component.
    pub component_outbox_bytes: usize,
    /// As [`bytes_per_second`](Self::bytes_per_second), of a component: it speaks for many users.
    pub component_bytes_per_second: u32,
    /// As [`burst_bytes`](Self::burst_bytes), of a component.
    pub component_burst_bytes: u32,
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
    /// What all these sessions hold together, in bytes, with what it takes to hold it. When they come near it, those
    /// that hold the most end early, and what they hold is handed on.
    pub hibernated_bytes: usize,
    /// Stanzas held back from an inactive client (XEP-0352); with one more it gets them all.
    pub held_stanzas: usize,
    /// The bytes of these stanzas.
    pub held_bytes: usize,
    /// Time a closing stream waits for the peer's end tag (RFC 6120 §4.4).
    pub closing: Duration,
    /// How long a token of a client is good (XEP-0484). When half of it is over, a client that logs in gets another.
    pub token_life: Duration,
    /// How long a client is remembered that has presented the password and has no token, after its last login (XEP-0494
    /// §6). Zero keeps no names of clients either, only what belongs to tokens.
    pub client_memory: Duration,
    /// Time one stage of the route, or one iq handler, may take.
    pub handler: Duration,
    /// Of the HTTP listener.
    #[cfg(feature = "http")]
    pub http: HttpLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            unauthenticated: XmlLimits::unauthenticated(),
            authenticated: XmlLimits::authenticated(),
            phase: Duration::from_secs(30),
            registration: Duration::from_secs(300),
            newcomer_requests: 10,
            unauthenticated_per_ip: 100,
            connections: 100_000,
            auth_attempts: 4,
            bind_attempts: 8,
            sessions_per_account: 32,
            outbox_bytes: 4 << 20,
            bytes_per_second: 1 << 20,
            burst_bytes: 4 << 20,
            component_outbox_bytes: 64 << 20,
            component_bytes_per_second: 32 << 20,
            component_burst_bytes: 64 << 20,
            keepalive: Duration::from_secs(300),
            keepalive_answer: Duration::from_secs(60),
            unacked_stanzas: 5_000,
            unacked_bytes: 4 << 20,
            resume_time: Duration::from_secs(300),
            hibernated: 10_000,
            hibernated_per_account: 8,
            hibernated_bytes: 256 << 20,
            held_stanzas: 500,
            held_bytes: 256 << 10,
            closing: Duration::from_secs(5),
            token_life: Duration::from_secs(28 * 24 * 3600),
            client_memory: Duration::from_secs(365 * 24 * 3600),
            handler: Duration::from_secs(30),
            #[cfg(feature = "http")]
            http: HttpLimits::default(),
        }
    }
}

impl Limits {
    /// Bytes that may wait to be written to a session.
    pub(crate) fn outbox(&self, role: Role) -> usize {
        if role == Role::Component { self.component_outbox_bytes } else { self.outbox_bytes }
    }

    /// Sustained bytes a second read from a session, and what may come at once above them.
    pub(crate) fn rate(&self, role: Role) -> (u32, u32) {
        match role {
            Role::Component => (self.component_bytes_per_second, self.component_burst_bytes),
            Role::Client | Role::Server => (self.bytes_per_second, self.burst_bytes),
        }
    }
}
