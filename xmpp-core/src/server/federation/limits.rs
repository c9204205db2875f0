//! Bounds of federation.

use crate::{stream::s2s::S2sLimits, xml::XmlLimits};
use std::time::Duration;

/// What other servers may make this one spend, and what is spent on them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FederationLimits {
    /// What the scanner accepts before a domain is authenticated.
    pub unauthenticated: XmlLimits,
    /// What the scanner accepts after that: 512 KiB, as what a server relays grows by its addresses.
    pub authenticated: XmlLimits,
    /// Pairs of domains, pending verifications and unauthenticated bytes of one stream.
    pub streams: S2sLimits,
    /// Time for each phase of the negotiation: header, TLS, features. 30 seconds; four times as long may a connection
    /// stay on which no domain is authenticated.
    pub phase: Duration,
    /// Time for the verification of a dialback key, with all that it takes to reach the authoritative server. 30 seconds.
    pub verification: Duration,
    /// Connections from other servers. 10,000.
    pub incoming: usize,
    /// Connections from one address on which no domain is authenticated yet. 50.
    pub unauthenticated_per_ip: usize,
    /// Streams that one domain opened and is authenticated on; one more ends with `policy-violation`. Some servers open
    /// a stream for each pair of domains. 100.
    pub incoming_per_domain: usize,
    /// Streams from one address (of its /64, for IPv6) on which a domain is authenticated; one more ends with
    /// `policy-violation`. 500.
    pub incoming_per_ip: usize,
    /// Streams to other servers, but for those that only verify keys. 10,000.
    pub outgoing: usize,
    /// Look-ups and connections under way at once for what is to be sent, and as many again for keys to be verified. 200.
    pub connecting: usize,
    /// Pairs for which streams are being looked for on behalf of one account; its stanzas to further ones come back with
    /// `resource-constraint`. 64.
    pub opening_per_sender: usize,
    /// Dialback keys being verified and streams opened for that, at once; more are answered with `resource-constraint`.
    /// 1,000.
    pub verifying: usize,
    /// The same on behalf of peers at one address. 64.
    pub verifying_per_ip: usize,
    /// Pairs of domains known at once, whether they work or not. 50,000.
    pub pairs: usize,
    /// Stanzas that wait for one pair's stream. 1,000.
    pub queue_stanzas: usize,
    /// Bytes that wait for one pair's stream. 1 MiB.
    pub queue_bytes: usize,
    /// Bytes that wait for streams in all. 64 MiB.
    pub total_queue_bytes: usize,
    /// Time that a stanza waits for a stream before it is returned with `remote-server-timeout`. 60 seconds.
    pub queue_time: Duration,
    /// Bytes that wait to be written to one stream; more are returned with `remote-server-timeout`. 8 MiB.
    pub outbox_bytes: usize,
    /// Bytes that wait to be written to all streams; beyond them each may still have 64 KiB. 256 MiB.
    pub total_outbox_bytes: usize,
    /// Sustained bytes a second read from one stream. 8 MiB.
    pub bytes_per_second: u32,
    /// Bytes that may come at once above that. 32 MiB.
    pub burst_bytes: u32,
    /// Handlers of iqs at work for one stream; more hold the stream up. 64.
    pub handlers: usize,
    /// Silence of ours after which white space is sent, so that a dead connection is found (RFC 6120 §4.6.1). 4 minutes.
    pub keepalive: Duration,
    /// Time in which a peer must take something of what is being written to it. 60 seconds.
    pub stall: Duration,
    /// Time without a stanza after which a stream is closed; twice as long for those that others opened. 10 minutes. One
    /// of ours on which nothing is authorised, and nothing is waited for, is closed after `verification` if that is less.
    pub idle: Duration,
    /// How long a domain that could not be reached, or refused us, is left alone: at first 5 seconds, doubled with each
    /// failure up to `retry_max`.
    pub retry_min: Duration,
    /// See `retry_min`. 10 minutes.
    pub retry_max: Duration,
    /// Time a closing stream waits for the peer. 5 seconds.
    pub closing: Duration,
    /// Documents of POSH.
    #[cfg(feature = "posh")]
    pub posh: PoshLimits,
}

/// What fetching documents of POSH may cost (RFC 7711), which any server that connects can bring about.
#[cfg(feature = "posh")]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoshLimits {
    /// Time for a domain's document, with all that it refers to, during which the stream that needs it waits. 10 seconds.
    pub deadline: Duration,
    /// Documents that are being fetched at once for streams that others open, and as many for those opened here. 16.
    pub fetches: usize,
    /// Bytes of one. 16 KiB.
    pub document_bytes: usize,
    /// Redirections on the way to one. 3.
    pub redirects: usize,
    /// For how long one counts at most, whatever it says itself. One day.
    pub lifetime: Duration,
    /// For how long a domain that has none is not asked again. One minute.
    pub failure: Duration,
    /// Domains of which it is remembered what they have, or that they have none. 1,000.
    pub domains: usize,
    /// The port of the web servers that domains have: 443, unless a closed network has them elsewhere.
    pub port: u16,
}

#[cfg(feature = "posh")]
impl Default for PoshLimits {
    fn default() -> Self {
        PoshLimits {
            deadline: Duration::from_secs(10),
            fetches: 16,
            document_bytes: 16 << 10,
            redirects: 3,
            lifetime: Duration::from_secs(86_400),
            failure: Duration::from_secs(60),
            domains: 1000,
            port: 443,
        }
    }
}

impl Default for FederationLimits {
    fn default() -> Self {
        let mut authenticated = XmlLimits::authenticated().passed_on();
        authenticated.stanza_bytes = 512 << 10;
        // What a server adds to what its client may send must not end a stream that many share.
        authenticated.attributes = authenticated.attributes.saturating_add(8);
        FederationLimits {
            unauthenticated: XmlLimits::unauthenticated(),
            authenticated,
            streams: S2sLimits::default(),
            phase: Duration::from_secs(30),
            verification: Duration::from_secs(30),
            incoming: 10_000,
            unauthenticated_per_ip: 50,
            incoming_per_domain: 100,
            incoming_per_ip: 500,
            outgoing: 10_000,
            connecting: 200,
            opening_per_sender: 64,
            verifying: 1_000,
            verifying_per_ip: 64,
            pairs: 50_000,
            queue_stanzas: 1000,
            queue_bytes: 1 << 20,
            total_queue_bytes: 64 << 20,
            queue_time: Duration::from_secs(60),
            outbox_bytes: 8 << 20,
            total_outbox_bytes: 256 << 20,
            bytes_per_second: 8 << 20,
            burst_bytes: 32 << 20,
            handlers: 64,
            keepalive: Duration::from_secs(240),
            stall: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            retry_min: Duration::from_secs(5),
            retry_max: Duration::from_secs(600),
            closing: Duration::from_secs(5),
            #[cfg(feature = "posh")]
            posh: PoshLimits::default(),
        }
    }
}
