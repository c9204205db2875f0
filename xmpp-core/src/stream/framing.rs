//! The framed stream of RFC 7395 §3.3, and its translation from and to the byte stream of RFC 6120.
//!
//! A [`Framing`] stands between a transport of whole messages, such as WebSocket, and an end of a stream that speaks
//! bytes. Each message that comes is one element, which becomes bytes; the bytes that the end sends are cut into
//! elements, each a message. It owns no socket and no clock.

use super::{STREAM_END, StreamCondition, StreamError, header};
use crate::xml::{ElementRef, Event, Scanner, Stanza, StreamHeader, Writer, XmlLimits, ns};

/// What our own end may send: whatever it makes of what it took.
const OWN: XmlLimits = XmlLimits {
    stanza_bytes: u32::MAX >> 8,
    depth: u16::MAX,
    attributes: u16::MAX,
    elements: u32::MAX,
    name_bytes: u16::MAX,
    blank_bytes: u32::MAX,
};

/// The end of the connection at which a [`Framing`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Client,
    /// The server's.
    Server,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// One message.
    Text(String),
    /// `<close/>`: the last message (RFC 7395 §3.6).
    Close(String),
    /// White space between stanzas, which has no place in a framed stream: a ping of the transport's own is to take
    /// its place (RFC 7395 §3.8).
    KeepAlive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incoming {
    /// Nothing has come.
    Fresh,
    Open,
    /// `<close/>` has come, or what is no framed stream. What follows is nobody's.
    Over,
}

/// The translation at one end of a connection.
///
/// ```
/// use xmpp_core::stream::framing::{Frame, Framing, Side};
/// use xmpp_core::xml::XmlLimits;
///
/// let mut server = Framing::new(Side::Server, XmlLimits::unauthenticated());
/// let mut bytes = Vec::new();
/// server.incoming("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org' version='1.0'/>", &mut bytes)?;
/// assert!(bytes.starts_with(b"<stream:stream xmlns='jabber:client'"));
///
/// let mut sent: &[u8] = b"<stream:stream xmlns='jabber:client' id='x' version='1.0' \
///     xmlns:stream='http://etherx.jabber.org/streams'><iq id='1' type='result'/>";
/// assert!(matches!(server.outgoing(&mut sent)?, Some(Frame::Text(open)) if open.starts_with("<open ")));
/// let iq = "<iq xmlns='jabber:client' id='1' type='result'/>";
/// assert_eq!(server.outgoing(&mut sent)?, Some(Frame::Text(iq.to_owned())));
/// # Ok::<(), xmpp_core::stream::StreamError>(())
/// ```
#[derive(Debug)]
pub struct Framing {
    side: Side,
    /// Of what comes.
    limits: XmlLimits,
    incoming: Incoming,
    /// Of what our end sends.
    scanner: Scanner,
    see_other_uri: Option<Box<str>>,
}

impl Framing {
    /// A translation at this side, with bounds on what the peer may send.
    pub fn new(side: Side, limits: XmlLimits) -> Framing {
        Framing { side, limits, incoming: Incoming::Fresh, scanner: Scanner::new(OWN), see_other_uri: None }
    }

    /// New bounds, from the next message on.
    pub fn set_limits(&mut self, limits: XmlLimits) {
        self.limits = limits;
    }

    /// Where the server's `<close/>` said that the client is to go (RFC 7395 §3.6.1).
    pub fn see_other_uri(&self) -> Option<&str> {
        self.see_other_uri.as_deref()
    }

    /// Translates a message from the peer, appending its bytes to `out`. Nothing comes of those behind `<close/>`.
    ///
    /// # Errors
    /// The stream error with which the stream has to end.
    pub fn incoming(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), StreamError> {
        if self.incoming == Incoming::Over {
            return Ok(());
        }
        let translated = self.translate(text, out);
        if translated.is_err() {
            self.incoming = Incoming::Over;
        }
        translated
    }

    fn translate(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), StreamError> {
        let stanza = Stanza::document(text, &self.limits)?;
        let root = stanza.root();
        match (root.name(), root.ns()) {
            ("open", ns::FRAMING) => {
                self.incoming = Incoming::Open;
                open(root, out);
            }
            ("close", ns::FRAMING) => {
                if self.side == Side::Client {
                    self.see_other_uri = root.attr("see-other-uri").map(|uri| uri.as_ref().into());
                }
                if self.incoming == Incoming::Fresh {
                    // Instead of an <open/> (§3.4): a stream that ends where it begins.
                    header::Header { content_ns: ns::CLIENT, ..header::Header::default() }.write(out);
                }
                self.incoming = Incoming::Over;
                out.extend_from_slice(STREAM_END.as_bytes());
            }
            // The latter would become this stream's content on the way (RFC 6120 §4.8.2).
            ("open" | "close", _) | (_, ns::SERVER | ns::COMPONENT) => {
                return Err(StreamCondition::InvalidNamespace.into());
            }
            _ if self.incoming == Incoming::Fresh => {
                let error = StreamError::new(StreamCondition::BadFormat);
                return Err(error.with_text("the first message has to be <open/>"));
            }
            _ => {
                if self.side == Side::Client && succeeded(root) {
                    self.scanner.restart();
                }
                stanza.rewrite(ns::CLIENT).write(out);
            }
        }
        Ok(())
    }

    /// Takes bytes of our own end from the front of `input` until a frame is complete; `None` when all were taken.
    ///
    /// # Errors
    /// What our end sends is no stream.
    pub fn outgoing(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, StreamError> {
        if self.scanner.is_idle() && input.first().is_some_and(u8::is_ascii_whitespace) {
            *input = input.trim_ascii_start();
            if input.is_empty() {
                return Ok(Some(Frame::KeepAlive));
            }
        }
        Ok(match self.scanner.scan(input)? {
            None => None,
            Some(Event::Open(header)) => Some(Frame::Text(framed_header("open", &header))),
            Some(Event::Close) => Some(Frame::Close(framed_header("close", &StreamHeader::default()))),
            Some(Event::Stanza(stanza)) => {
                // §3.7: both streams are over without a word, and new ones begin.
                if self.side == Side::Server && succeeded(stanza.root()) {
                    self.scanner.restart();
                }
                let mut out = Vec::new();
                stanza.rewrite("").write(&mut out);
                self.scanner.recycle(stanza);
                Some(Frame::Text(text(out)))
            }
        })
    }
}

/// Whether this is the end of SASL, which restarts the stream (RFC 6120 §6.4.6).
fn succeeded(root: ElementRef<'_>) -> bool {
    root.is("success", ns::SASL)
}

/// What was scanned and written here is UTF-8.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}

/// The stream header of an `<open/>`, with just what that says.
fn open(root: ElementRef<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'");
    for name in ["to", "from", "id", "version"] {
        if let Some(value) = root.attr(name) {
            attribute(name, &value, out);
        }
    }
    if let Some(lang) = root.attr_ns("lang", ns::XML) {
        attribute("xml:lang", &lang, out);
    }
    out.push(b'>');
}

fn attribute(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    header::escape(value, out);
    out.push(b'\'');
}

/// `<open/>` or `<close/>`.
fn framed_header(name: &str, header: &StreamHeader) -> String {
    let mut out = Writer::new("");
    out.open(name, ns::FRAMING);
    let attributes = [("from", &header.from), ("to", &header.to), ("id", &header.id), ("version", &header.version)];
    for (name, value) in attributes {
        out.attr_opt(name, value.as_deref());
    }
    if let Some(lang) = &header.lang {
        out.attr_ns("lang", ns::XML, lang);
    }
    out.close();
    text(out.finish())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    const OPEN: &str = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org' version='1.0'/>";

    fn server() -> Framing {
        Framing::new(Side::Server, XmlLimits::unauthenticated())
    }

    fn opened() -> Framing {
        let mut framing = server();
        framing.incoming(OPEN, &mut Vec::new()).unwrap();
        framing
    }

    fn bytes(framing: &mut Framing, message: &str) -> String {
        let mut out = Vec::new();
        framing.incoming(message, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn refused(framing: &mut Framing, message: &str) -> StreamCondition {
        framing.incoming(message, &mut Vec::new()).unwrap_err().condition
    }

    fn frames(framing: &mut Framing, mut bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = framing.outgoing(&mut bytes).unwrap() {
            frames.push(frame);
        }
        assert!(bytes.is_empty());
        frames
    }

    const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                          xmlns:stream='http://etherx.jabber.org/streams' version='1.0' from='example.org' id='abc' \
                          xml:lang='en'>";

    #[test]
    fn rfc7395_3_4_open_becomes_a_stream_header_and_back() {
        assert_eq!(
            bytes(
                &mut server(),
                "<?xml version='1.0'?>\n<open to=\"a&amp;b\" xml:lang='de' version='1.0' \
                xmlns='urn:ietf:params:xml:ns:xmpp-framing'></open>"
            ),
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='a&amp;b' \
             version='1.0' xml:lang='de'>"
        );
        let open = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='example.org' id='abc' version='1.0' \
                    xml:lang='en'/>";
        assert_eq!(frames(&mut server(), HEADER.as_bytes()), [Frame::Text(open.to_owned())]);
    }

    #[test]
    fn rfc7395_3_3_3_every_message_stands_alone() {
        let sent = format!(
            "{HEADER}<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>\
             <message from='a@b'><body>x</body></message><stream:error><host-unknown \
             xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
        );
        let frames = frames(&mut server(), sent.as_bytes());
        let texts = [
            "<stream:features xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en'>\
             <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>",
            "<message xmlns='jabber:client' from='a@b' xml:lang='en'><body>x</body></message>",
            "<stream:error xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en'>\
             <host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
        ];
        assert_eq!(frames.get(1..4).unwrap(), texts.map(|text| Frame::Text(text.to_owned())));
        let close = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>";
        assert_eq!(frames.get(4..).unwrap(), [Frame::Close(close.to_owned())]);
        for frame in &frames {
            let (Frame::Text(text) | Frame::Close(text)) = frame else { panic!("{frame:?}") };
            roxmltree::Document::parse(text).unwrap();
        }
    }

    #[test]
    fn rfc7395_3_3_2_headers_of_another_namespace_are_an_invalid_namespace() {
        for wrong in ["<open to='a' version='1.0'/>", "<open xmlns='jabber:client'/>", "<close/>"] {
            assert_eq!(refused(&mut server(), wrong), StreamCondition::InvalidNamespace, "{wrong}");
            assert_eq!(refused(&mut opened(), wrong), StreamCondition::InvalidNamespace, "{wrong}");
        }
    }

    #[test]
    fn abuse_a022_messages_that_are_not_one_element_end_the_stream() {
        let cases = [
            ("", StreamCondition::NotWellFormed),
            (" ", StreamCondition::NotWellFormed),
            (" <iq xmlns='jabber:client'/>", StreamCondition::NotWellFormed),
            ("text", StreamCondition::NotWellFormed),
            ("<message xmlns='jabber:client'>", StreamCondition::NotWellFormed),
            ("<message xmlns='jabber:client'/><message xmlns='jabber:client'/>", StreamCondition::NotWellFormed),
            ("<message xmlns='jabber:client'/>text", StreamCondition::NotWellFormed),
            ("</stream:stream>", StreamCondition::NotWellFormed),
            ("<stream:stream>", StreamCondition::BadNamespacePrefix),
            ("<stream:features/>", StreamCondition::BadNamespacePrefix),
            ("<!-- x --><iq xmlns='jabber:client'/>", StreamCondition::RestrictedXml),
            ("<!DOCTYPE x><iq xmlns='jabber:client'/>", StreamCondition::RestrictedXml),
            ("<?php x?><iq xmlns='jabber:client'/>", StreamCondition::RestrictedXml),
            ("<?xml version='1.0'?>", StreamCondition::NotWellFormed),
            (
                "<?xml version='1.0' encoding='latin1'?><iq xmlns='jabber:client'/>",
                StreamCondition::UnsupportedEncoding,
            ),
        ];
        for (message, condition) in cases {
            let mut framing = opened();
            assert_eq!(refused(&mut framing, message), condition, "{message}");
            assert_eq!(bytes(&mut framing, "<iq xmlns='jabber:client'/>"), "", "what follows is nobody's");
        }
    }

    #[test]
    fn abuse_a022_the_first_message_must_be_open() {
        assert_eq!(refused(&mut server(), "<iq xmlns='jabber:client'/>"), StreamCondition::BadFormat);
    }

    #[test]
    fn abuse_a011_messages_have_the_limits_of_stanzas() {
        let message = |size: usize| {
            let (head, tail) = ("<message xmlns='jabber:client'><body>", "</body></message>");
            format!("{head}{}{tail}", "x".repeat(size - head.len() - tail.len()))
        };
        assert!(!bytes(&mut opened(), &message(10_000)).is_empty());
        assert_eq!(refused(&mut opened(), &message(10_001)), StreamCondition::PolicyViolation);
        let mut framing = opened();
        framing.set_limits(XmlLimits::authenticated());
        assert!(!bytes(&mut framing, &message(10_001)).is_empty());
    }

    #[test]
    fn a_namespace_is_not_lost_on_the_way_into_the_stream() {
        let mut framing = opened();
        assert_eq!(bytes(&mut framing, "<message xmlns='jabber:client' to='a'/>"), "<message to='a'/>");
        assert_eq!(bytes(&mut framing, "<x:iq xmlns:x='jabber:client' id='1'/>"), "<iq id='1'/>");
        assert_eq!(bytes(&mut framing, "<message/>"), "<message xmlns=''/>");
        let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AA==</auth>";
        assert_eq!(bytes(&mut framing, auth), auth);
    }

    #[test]
    fn abuse_a019_stanzas_of_another_kind_of_stream_are_an_invalid_namespace() {
        for wrong in ["<message xmlns='jabber:server'/>", "<x:iq xmlns:x='jabber:component:accept'/>"] {
            assert_eq!(refused(&mut opened(), wrong), StreamCondition::InvalidNamespace, "{wrong}");
        }
    }

    #[test]
    fn rfc7395_3_6_close_ends_the_stream() {
        let mut framing = opened();
        assert_eq!(bytes(&mut framing, "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"), STREAM_END);
        assert_eq!(bytes(&mut framing, OPEN), "");
        let mut client = Framing::new(Side::Client, XmlLimits::authenticated());
        let elsewhere = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing' see-other-uri='wss://b.example/x'/>";
        let stream = bytes(&mut client, elsewhere);
        assert!(stream.starts_with("<?xml") && stream.ends_with("></stream:stream>"), "{stream}");
        assert_eq!(client.see_other_uri(), Some("wss://b.example/x"));
    }

    #[test]
    fn rfc7395_3_7_success_restarts_both_directions() {
        const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
        let sent = format!("{HEADER}{SUCCESS}{HEADER}<iq id='1'/>");
        let of_server = frames(&mut server(), sent.as_bytes());
        assert_eq!(of_server.len(), 4);
        assert!(matches!(of_server.get(2), Some(Frame::Text(open)) if open.starts_with("<open ")));

        let mut client = Framing::new(Side::Client, XmlLimits::authenticated());
        assert_eq!(frames(&mut client, HEADER.as_bytes()).len(), 1);
        assert!(client.incoming(OPEN, &mut Vec::new()).is_ok());
        assert_eq!(bytes(&mut client, SUCCESS), SUCCESS);
        assert_eq!(frames(&mut client, HEADER.as_bytes()).len(), 1);
        assert!(client.outgoing(&mut HEADER.as_bytes()).is_err(), "a second header without a restart");
    }

    #[test]
    fn rfc7395_3_8_white_space_becomes_a_ping_of_the_transport() {
        let mut framing = server();
        assert_eq!(frames(&mut framing, HEADER.as_bytes()).len(), 1);
        assert_eq!(frames(&mut framing, b" "), [Frame::KeepAlive]);
        assert_eq!(frames(&mut framing, b" <iq/>").len(), 1);
        assert_eq!(frames(&mut framing, b"<iq>"), []);
        assert_eq!(frames(&mut framing, b" "), [], "inside a stanza it is the stanza's");
        assert_eq!(frames(&mut framing, b"</iq>").len(), 1);
    }

    /// Stanzas as our own end writes them.
    fn element() -> impl Strategy<Value = String> {
        let text = "[a-z<&>'\" é\u{1F600}\t\n]{0,12}";
        (prop_oneof![Just("message"), Just("iq"), Just("presence")], text, text, any::<bool>()).prop_map(
            |(name, attr, body, foreign)| {
                let mut out = Writer::new(ns::CLIENT);
                out.open(name, ns::CLIENT);
                out.attr("id", &attr);
                out.open("body", if foreign { "urn:x" } else { ns::CLIENT });
                out.text(&body);
                out.close();
                out.close();
                String::from_utf8(out.finish()).unwrap()
            },
        )
    }

    proptest! {
        #[test]
        fn any_chunks_of_a_stream_give_the_same_frames(
            elements in prop::collection::vec(element(), 0..6),
            cuts in prop::collection::vec(1_usize..40, 1..40),
        ) {
            let sent = format!("{HEADER}{}</stream:stream>", elements.concat());
            let whole = frames(&mut server(), sent.as_bytes());
            prop_assert_eq!(whole.len(), elements.len() + 2);
            let (mut framing, mut pieces, mut rest) = (server(), Vec::new(), sent.as_bytes());
            for cut in cuts.into_iter().cycle() {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.extend(frames(&mut framing, piece));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(pieces, whole);
        }

        #[test]
        fn what_one_side_sends_the_other_reads(elements in prop::collection::vec(element(), 0..6)) {
            let header = HEADER.replace(" xml:lang='en'", "");
            let sent = format!("{header}{}</stream:stream>", elements.concat());
            let mut client = Framing::new(Side::Client, XmlLimits::authenticated());
            let (mut received, mut own) = (Vec::new(), Vec::new());
            for frame in frames(&mut server(), sent.as_bytes()) {
                let (Frame::Text(text) | Frame::Close(text)) = frame else { panic!("{frame:?}") };
                client.incoming(&text, &mut received).unwrap();
            }
            let mut scanner = Scanner::new(XmlLimits::authenticated());
            let mut rest = received.as_slice();
            while let Some(event) = scanner.scan(&mut rest).unwrap() {
                if let Event::Stanza(stanza) = event {
                    own.push(canonical(&stanza));
                }
            }
            let expected: Vec<_> = elements
                .iter()
                .map(|text| canonical(&Stanza::parse(text, ns::CLIENT, &OWN).unwrap()))
                .collect();
            prop_assert_eq!(own, expected);
        }

        #[test]
        fn no_message_makes_it_panic(messages in prop::collection::vec("[<>/a-z='\": ?!x]{0,40}", 0..8)) {
            let mut framing = server();
            let mut out = Vec::new();
            for message in messages {
                let _ = framing.incoming(&message, &mut out);
            }
        }
    }

    fn canonical(stanza: &Stanza) -> String {
        let mut out = Writer::new(ns::CLIENT);
        out.element(stanza.root());
        String::from_utf8(out.finish()).unwrap()
    }
}
