//! The elements of SOCKS5 bytestreams (XEP-0065 §12).

use super::{Mode, NS, StreamHash};
use xmpp_core::{jid::Jid, payload::Payload};

/// Where a bytestream can be had.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Payload)]
#[xml(name = "streamhost", ns = NS)]
pub struct Streamhost {
    /// Whose it is.
    #[xml(attr)]
    pub jid: Jid,
    /// An IP address or the name of a host.
    #[xml(attr)]
    pub host: String,
    /// The TCP port.
    #[xml(attr, default = 1080)]
    pub port: u16,
}

impl Streamhost {
    /// Of this entity, at this place.
    pub fn new(jid: impl Into<Jid>, host: impl Into<String>, port: u16) -> Streamhost {
        Streamhost { jid: jid.into(), host: host.into(), port }
    }
}

/// Which host is used.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "streamhost-used", ns = NS)]
pub struct StreamhostUsed {
    /// Whose it is.
    #[xml(attr)]
    pub jid: Jid,
}

/// What requester, target and proxy tell each other: one of the forms that the constructors make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "query", ns = NS)]
pub struct Query {
    /// The stream's id. A proxy is asked for its address without one.
    #[xml(attr)]
    pub sid: Option<String>,
    /// What is to be relayed; TCP unless it is said.
    #[xml(attr, default)]
    pub mode: Mode,
    /// The hash that the requester has calculated (§7).
    #[xml(attr)]
    pub dstaddr: Option<StreamHash>,
    /// Where the stream can be had, best first.
    #[xml(children)]
    pub hosts: Vec<Streamhost>,
    /// Which of the hosts the target uses.
    #[xml(child)]
    pub used: Option<StreamhostUsed>,
    /// The target to which a proxy is to relay.
    #[xml(child_text = "activate")]
    pub activate: Option<Jid>,
}

impl Query {
    /// A requester offers hosts (§5.3.1).
    pub fn offer(sid: impl Into<String>, hosts: Vec<Streamhost>) -> Query {
        Query { sid: Some(sid.into()), hosts, ..Query::default() }
    }

    /// A target says which host it uses (§5.3.3).
    pub fn used(sid: impl Into<String>, jid: impl Into<Jid>) -> Query {
        Query { sid: Some(sid.into()), used: Some(StreamhostUsed { jid: jid.into() }), ..Query::default() }
    }

    /// A requester asks its proxy to relay (§6.3.5).
    pub fn activate(sid: impl Into<String>, target: impl Into<Jid>) -> Query {
        Query { sid: Some(sid.into()), activate: Some(target.into()), ..Query::default() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use xmpp_core::xml::{Stanza, Writer, XmlLimits};

    fn read(xml: &str) -> Result<Query, xmpp_core::payload::PayloadError> {
        Query::read(Stanza::parse(xml, "", &XmlLimits::default()).unwrap().root())
    }

    fn again(query: &Query) -> Query {
        let mut out = Writer::new("");
        query.write(&mut out);
        read(&String::from_utf8(out.finish()).unwrap()).unwrap()
    }

    #[test]
    fn xep0065_12_the_forms_of_a_query() {
        let offer = read(
            "<query xmlns='http://jabber.org/protocol/bytestreams' sid='vxf9n471bn46' mode='tcp'>
               <streamhost host='192.168.4.1' jid='requester@example.com/foo' port='5086'/>
               <streamhost host='24.24.24.1' jid='streamer.example.com'/>
             </query>",
        )
        .unwrap();
        assert_eq!(offer.hosts.iter().map(|host| host.port).collect::<Vec<_>>(), [5086, 1080]);
        assert_eq!((offer.sid.as_deref(), offer.mode), (Some("vxf9n471bn46"), Mode::Tcp));
        let jid = Jid::new("target@example.org/bar").unwrap();
        for query in [offer, Query::used("a", jid.clone()), Query::activate("a", jid.clone()), Query::default()] {
            assert_eq!(again(&query), query);
        }
        let activate = format!("<query xmlns='{NS}' sid='a'><activate>\n  {jid}\n</activate></query>");
        assert_eq!(read(&activate).unwrap().activate, Some(jid));
        for wrong in [
            "<streamhost host='a' jid='a' port='65536'/>",
            "<streamhost jid='a' port='1'/>",
            "<streamhost host='a' port='1'/>",
            "<activate>@@</activate>",
            "<streamhost-used/>",
        ] {
            assert!(read(&format!("<query xmlns='{NS}' sid='a'>{wrong}</query>")).is_err(), "{wrong}");
        }
        assert!(read(&format!("<query xmlns='{NS}' sid='a' dstaddr='example.org'/>")).is_err());
        assert!(read(&format!("<query xmlns='{NS}' sid='a' mode='sctp'/>")).is_err());
    }
}
