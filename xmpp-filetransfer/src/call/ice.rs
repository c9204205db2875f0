//! ICE over UDP as a transport (XEP-0176), with the fingerprint of who is at its end (XEP-0320).

use super::{DTLS, ICE_UDP};
use xmpp_core::{
    payload::{Payload, TextValue},
    xml::Stanza,
};

/// What an end knows of its transport: all of it, or what it has found since.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "transport", ns = ICE_UDP)]
pub struct IceTransport {
    /// The user's part of the connectivity checks' credentials.
    #[xml(attr)]
    pub ufrag: Option<String>,
    /// The secret part.
    #[xml(attr)]
    pub pwd: Option<String>,
    /// Whose keys DTLS will show.
    #[xml(children)]
    pub fingerprints: Vec<Fingerprint>,
    /// Where it could be reached.
    #[xml(children)]
    pub candidates: Vec<Candidate>,
    /// Where the controlling end reaches us (§5.8).
    #[xml(children)]
    pub remote_candidates: Vec<RemoteCandidate>,
    /// What else is said.
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

/// Where an end could be reached (§5.3).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "candidate", ns = ICE_UDP)]
pub struct Candidate {
    /// 1 for RTP, 2 for RTCP.
    #[xml(attr)]
    pub component: u8,
    /// Equal for candidates of the same kind and base.
    #[xml(attr)]
    pub foundation: String,
    /// How many times the candidates were gathered anew, from 0.
    #[xml(attr, default)]
    pub generation: u8,
    /// What it goes by here.
    #[xml(attr, default)]
    pub id: String,
    /// The address; names stand for addresses that are to stay hidden (mDNS), and are passed on as they are.
    #[xml(attr)]
    pub ip: String,
    /// The port.
    #[xml(attr)]
    pub port: u16,
    /// The higher, the better.
    #[xml(attr)]
    pub priority: u32,
    /// `udp`, mostly.
    #[xml(attr)]
    pub protocol: String,
    /// What it was derived from.
    #[xml(attr = "rel-addr")]
    pub rel_addr: Option<String>,
    /// The port of that.
    #[xml(attr = "rel-port")]
    pub rel_port: Option<u16>,
    /// Which of the local networks, from 0.
    #[xml(attr)]
    pub network: Option<u8>,
    /// How it was found.
    #[xml(attr = "type")]
    pub type_: CandidateType,
}

/// How a candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, TextValue)]
pub enum CandidateType {
    /// It is an address of the host.
    #[xml(value = "host")]
    Host,
    /// The peer has seen it.
    #[xml(value = "prflx")]
    PeerReflexive,
    /// A relay lends it.
    #[xml(value = "relay")]
    Relay,
    /// A server has seen it.
    #[xml(value = "srflx")]
    ServerReflexive,
}

/// Where the controlling end reaches us (§5.8).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "remote-candidate", ns = ICE_UDP)]
pub struct RemoteCandidate {
    /// 1 for RTP, 2 for RTCP.
    #[xml(attr)]
    pub component: u8,
    /// The address.
    #[xml(attr)]
    pub ip: String,
    /// The port.
    #[xml(attr)]
    pub port: u16,
}

/// Whose keys DTLS will show (XEP-0320 §2).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "fingerprint", ns = DTLS)]
pub struct Fingerprint {
    /// The hash function.
    #[xml(attr)]
    pub hash: String,
    /// Who begins.
    #[xml(attr)]
    pub setup: Option<Setup>,
    /// The certificate's hash, as pairs of hexadecimal digits between colons.
    #[xml(text)]
    pub value: String,
}

/// Who begins DTLS (RFC 4145).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, TextValue)]
pub enum Setup {
    /// Who says this.
    #[xml(value = "active")]
    Active,
    /// Whoever the other end says.
    #[xml(value = "actpass")]
    ActPass,
    /// The other end.
    #[xml(value = "passive")]
    Passive,
}
