//! Addresses out of band (XEP-0066): where something is, beside what is said of it.

use xmpp_core::payload::Payload;

/// `jabber:x:oob`.
pub const NS: &str = "jabber:x:oob";
/// `jabber:iq:oob`.
pub const IQ: &str = "jabber:iq:oob";

/// An address in a message (§3). Where it is also the body, clients show what is there in place of it.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "x", ns = NS)]
pub struct Oob {
    /// The address.
    #[xml(child_text = "url")]
    pub url: String,
    /// What is there.
    #[xml(child_text = "desc")]
    pub desc: Option<String>,
}

impl Oob {
    /// An address alone.
    pub fn new(url: impl Into<String>) -> Oob {
        Oob { url: url.into(), desc: None }
    }
}

/// Asks somebody to fetch what is at an address, in an iq set (§2). The answer is empty when that is done,
/// `item-not-found` when there is nothing, and `not-acceptable` when it is not wanted.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "query", ns = IQ)]
pub struct OobQuery {
    /// The stream initiation that it belongs to.
    #[xml(attr)]
    pub sid: Option<String>,
    /// The address.
    #[xml(child_text = "url")]
    pub url: String,
    /// What is there.
    #[xml(child_text = "desc")]
    pub desc: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use xmpp_core::xml::{Stanza, Writer, XmlLimits, ns};

    fn round_trip<T: Payload>(xml: &str) -> T {
        let element = Stanza::parse(xml, ns::CLIENT, &XmlLimits::authenticated()).unwrap();
        let value = T::read(element.root()).unwrap();
        let mut out = Writer::new(ns::CLIENT);
        value.write(&mut out);
        assert_eq!(String::from_utf8(out.finish()).unwrap(), xml);
        value
    }

    #[test]
    fn xep0066_3_addresses_in_messages_round_trip() {
        let oob: Oob = round_trip(
            "<x xmlns='jabber:x:oob'><url>http://www.jabber.org/images/psa-license.jpg</url><desc>A license!</desc></x>",
        );
        assert_eq!(oob.desc.as_deref(), Some("A license!"));
        assert_eq!(
            round_trip::<Oob>("<x xmlns='jabber:x:oob'><url>https://a.example/b</url></x>"),
            Oob::new("https://a.example/b")
        );
    }

    #[test]
    fn xep0066_2_requests_round_trip() {
        let query: OobQuery = round_trip(
            "<query xmlns='jabber:iq:oob' sid='a0'><url>http://www.jabber.org/users/x.jpg</url><desc>me</desc></query>",
        );
        assert_eq!(query.sid.as_deref(), Some("a0"));
    }
}
