//! The elements of in-band bytestreams (XEP-0047 §2), and the transport of Jingle that names one (XEP-0261).

use super::{JINGLE_NS, NS};
use xmpp_core::payload::{Base64, Payload, TextValue};

/// The longest id of a stream, in bytes.
const SID_BYTES: usize = 255;

/// What carries the blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TextValue)]
pub enum Carrier {
    /// Requests, each of which is answered (§2.2): the usual way.
    #[default]
    #[xml(value = "iq")]
    Iq,
    /// Messages, which are not (§4).
    #[xml(value = "message")]
    Message,
}

/// Opens a stream (§2.1).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "open", ns = NS)]
pub struct Open {
    /// The most bytes of a block, before they are encoded.
    #[xml(attr = "block-size")]
    pub block_size: u16,
    /// The stream's id.
    #[xml(attr)]
    pub sid: String,
    /// What carries the blocks.
    #[xml(attr = "stanza", default)]
    pub carrier: Carrier,
}

/// A block (§2.2).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "data", ns = NS)]
pub struct Data {
    /// Its number among those of the same sender, modulo 65,536.
    #[xml(attr)]
    pub seq: u16,
    /// The stream's id.
    #[xml(attr)]
    pub sid: String,
    /// The bytes, in base64.
    #[xml(text)]
    pub text: String,
}

impl Data {
    /// A block of these bytes.
    pub fn new(sid: impl Into<String>, seq: u16, bytes: Vec<u8>) -> Data {
        Data { seq, sid: sid.into(), text: Base64(bytes).to_text().into_owned() }
    }

    /// The bytes; `None` if they are not encoded as RFC 4648 §4 has it. Line ends, which XEP-0047 itself shows, are no fault.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        Base64::from_text(&self.text).ok().map(|bytes| bytes.0)
    }
}

/// Closes a stream (§2.3).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "close", ns = NS)]
pub struct Close {
    /// The stream's id.
    #[xml(attr)]
    pub sid: String,
}

/// A transport of Jingle (XEP-0261 §2): the stream that will be opened. Who accepts may ask for smaller blocks.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "transport", ns = JINGLE_NS)]
pub struct Transport {
    /// The most bytes of a block.
    #[xml(attr = "block-size")]
    pub block_size: u16,
    /// The stream's id.
    #[xml(attr)]
    pub sid: String,
    /// What carries the blocks.
    #[xml(attr = "stanza", default)]
    pub carrier: Carrier,
}

/// Whether this can be the id of a stream: an NMTOKEN (§2.1) of at most 255 bytes.
pub fn is_sid(sid: &str) -> bool {
    let name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '\u{b7}'..);
    !sid.is_empty() && sid.len() <= SID_BYTES && sid.chars().all(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use xmpp_core::xml::{Stanza, Writer, XmlLimits};

    fn parse<P: Payload>(xml: &str) -> Result<P, xmpp_core::payload::PayloadError> {
        P::read(Stanza::parse(xml, "", &XmlLimits::default()).unwrap().root())
    }

    fn written<P: Payload>(payload: &P) -> String {
        let mut out = Writer::new("");
        payload.write(&mut out);
        String::from_utf8(out.finish()).unwrap()
    }

    #[test]
    fn xep0047_2_1_a_stream_is_opened_with_a_size_and_an_id() {
        let open: Open =
            parse("<open xmlns='http://jabber.org/protocol/ibb' block-size='4096' sid='i781hf64'/>").unwrap();
        assert_eq!((open.block_size, open.sid.as_str(), open.carrier), (4096, "i781hf64", Carrier::Iq));
        let message = Open { carrier: Carrier::Message, ..open };
        assert_eq!(parse::<Open>(&written(&message)).unwrap(), message);
        for wrong in [
            "block-size='65536' sid='a'",
            "block-size='-1' sid='a'",
            "sid='a'",
            "block-size='4096'",
            "block-size='1' sid='a' stanza='presence'",
        ] {
            assert!(parse::<Open>(&format!("<open xmlns='{NS}' {wrong}/>")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn xep0047_2_1_an_id_is_a_name() {
        for good in ["i781hf64", "a.b:c-d_e", "é", &"x".repeat(255)] {
            assert!(is_sid(good), "{good}");
        }
        for bad in ["", "a b", "a/b", "a\n", "\u{7f}", &"x".repeat(256)] {
            assert!(!is_sid(bad), "{bad:?}");
        }
    }

    #[test]
    fn xep0047_7_base64_is_read_strictly() {
        let data = |text: &str| Data { seq: 0, sid: "a".to_owned(), text: text.to_owned() }.bytes();
        assert_eq!(data("aGk=").unwrap(), b"hi");
        assert_eq!(data("\n  aG\n  k=\n").unwrap(), b"hi", "as in the examples of the document");
        assert_eq!(data("").unwrap(), b"");
        for bad in ["=AAA", "BBBB=CCC", "aGk", "aGk*", "aGl=", "aGk=aGk=", "a\u{a0}Gk="] {
            assert!(data(bad).is_none(), "{bad}");
        }
        let sent = Data::new("a", 65_535, vec![0, 255]);
        assert_eq!(parse::<Data>(&written(&sent)).unwrap(), sent);
        assert!(parse::<Data>(&format!("<data xmlns='{NS}' sid='a' seq='65536'/>")).is_err());
    }

    #[test]
    fn xep0261_2_the_transport_names_the_stream() {
        let transport = "<transport xmlns='urn:xmpp:jingle:transports:ibb:1' block-size='4096' sid='ch3d9s71'/>";
        let read: Transport = parse(transport).unwrap();
        assert_eq!((read.block_size, read.sid.as_str(), read.carrier), (4096, "ch3d9s71", Carrier::Iq));
        assert_eq!(parse::<Transport>(&written(&read)).unwrap(), read);
        assert_eq!(parse::<Close>(&written(&Close { sid: "a".into() })).unwrap().sid, "a");
    }
}
