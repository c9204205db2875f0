//! The SOCKS5 transport of Jingle (XEP-0260).

use super::{JINGLE_NS, StreamHash};
use xmpp_core::{
    jid::Jid,
    payload::{Payload, TextValue},
};

/// What a bytestream is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TextValue)]
pub enum Mode {
    /// A connection.
    #[default]
    #[xml(value = "tcp")]
    Tcp,
    /// Datagrams (XEP-0065 §8), which are not supported.
    #[xml(value = "udp")]
    Udp,
}

/// What kind of place a candidate is (§2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TextValue)]
pub enum CandidateKind {
    /// An address of the client itself.
    #[default]
    #[xml(value = "direct")]
    Direct,
    /// An address that leads to the client with the help of a router.
    #[xml(value = "assisted")]
    Assisted,
    /// The end of a tunnel.
    #[xml(value = "tunnel")]
    Tunnel,
    /// A relay.
    #[xml(value = "proxy")]
    Proxy,
}

impl CandidateKind {
    /// The preference that is suggested for it (§2.2).
    pub fn preference(self) -> u32 {
        match self {
            CandidateKind::Direct => 126,
            CandidateKind::Assisted => 120,
            CandidateKind::Tunnel => 110,
            CandidateKind::Proxy => 10,
        }
    }
}

/// The priority of a candidate (§2.2), by its kind and a preference among those of its kind.
pub fn priority(kind: CandidateKind, local: u16) -> u32 {
    (kind.preference() << 16) + u32::from(local)
}

/// A place where the stream can be had.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Payload)]
#[xml(name = "candidate", ns = JINGLE_NS)]
pub struct Candidate {
    /// Its id, among those of the same side.
    #[xml(attr)]
    pub cid: String,
    /// An IP address, or the name of a host.
    #[xml(attr)]
    pub host: String,
    /// Whose it is.
    #[xml(attr)]
    pub jid: Jid,
    /// The TCP port.
    #[xml(attr, default = 1080)]
    pub port: u16,
    /// The higher the better.
    #[xml(attr)]
    pub priority: u32,
    /// What kind of place it is.
    #[xml(attr = "type", default)]
    pub kind: CandidateKind,
}

/// The candidate of the other side that was connected to (§2.3).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "candidate-used", ns = JINGLE_NS)]
pub struct CandidateUsed {
    /// Its id.
    #[xml(attr)]
    pub cid: String,
}

/// The relay that was nominated relays now (§2.4).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "activated", ns = JINGLE_NS)]
pub struct Activated {
    /// The candidate's id.
    #[xml(attr)]
    pub cid: String,
}

/// The transport: candidates, or what has become of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "transport", ns = JINGLE_NS)]
pub struct Transport {
    /// The stream's id.
    #[xml(attr)]
    pub sid: String,
    /// The hash for the sender's relays.
    #[xml(attr)]
    pub dstaddr: Option<StreamHash>,
    /// What the stream is made of, as the initiator says.
    #[xml(attr, default)]
    pub mode: Mode,
    /// Candidates of the sender.
    #[xml(children)]
    pub candidates: Vec<Candidate>,
    /// The candidate of the recipient that the sender has connected to.
    #[xml(child)]
    pub used: Option<CandidateUsed>,
    /// The sender could connect to none.
    #[xml(flag = "candidate-error")]
    pub candidate_error: bool,
    /// The nominated relay relays.
    #[xml(child)]
    pub activated: Option<Activated>,
    /// The nominated relay cannot be used.
    #[xml(flag = "proxy-error")]
    pub proxy_error: bool,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use xmpp_core::xml::{Stanza, Writer, XmlLimits};

    fn read(xml: &str) -> Transport {
        Transport::read(Stanza::parse(xml, "", &XmlLimits::default()).unwrap().root()).unwrap()
    }

    #[test]
    fn xep0260_2_2_a_transport_with_candidates_and_one_with_each_notice() {
        let offer = read(
            "<transport xmlns='urn:xmpp:jingle:transports:s5b:1' dstaddr='972b7bf47291ca609517f67f86b5081086052dad'
                        mode='tcp' sid='vj3hs98y'>
               <candidate cid='hft54dqy' host='192.168.4.1' jid='romeo@montague.lit/orchard' port='5086' priority='8257636'/>
               <candidate cid='xmdh4b7i' host='streamer.lit' jid='streamer.lit' priority='7878787' type='proxy'/>
             </transport>",
        );
        let [direct, proxy] = offer.candidates.as_slice() else { panic!("two") };
        assert_eq!((direct.kind, direct.port, direct.priority), (CandidateKind::Direct, 5086, 8_257_636));
        assert_eq!((proxy.kind, proxy.port, proxy.host.as_str()), (CandidateKind::Proxy, 1080, "streamer.lit"));
        for notice in ["<candidate-used cid='a'/>", "<candidate-error/>", "<activated cid='a'/>", "<proxy-error/>"] {
            let read_one = read(&format!("<transport xmlns='{JINGLE_NS}' sid='a'>{notice}</transport>"));
            let mut out = Writer::new("");
            read_one.write(&mut out);
            let written = String::from_utf8(out.finish()).unwrap();
            assert!(written.contains(notice) && read(&written) == read_one, "{written}");
        }
    }

    #[test]
    fn xep0260_2_2_priorities() {
        assert_eq!(priority(CandidateKind::Direct, 0), 8_257_536);
        assert_eq!(priority(CandidateKind::Assisted, 65_535), 120 * 65_536 + 65_535);
        assert!(priority(CandidateKind::Tunnel, 65_535) > priority(CandidateKind::Proxy, 65_535));
    }
}
