//! Stream errors (RFC 6120 §4.9): always the end of the stream.

use crate::{
    printable::Printable,
    xml::{ElementRef, Stanza, Writer, XmlError, ns},
};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The enum and its names.
macro_rules! conditions {
    ($($variant:ident $name:literal $doc:literal)*) => {
        /// Why a stream ends (RFC 6120 §4.9.3).
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum StreamCondition {
            $(#[doc = $doc] $variant,)*
            /// Go elsewhere, to this address and port (§4.9.3.19).
            SeeOtherHost(String),
        }

        impl StreamCondition {
            /// The element's name.
            pub fn as_str(&self) -> &'static str {
                match self {
                    $(StreamCondition::$variant => $name,)*
                    StreamCondition::SeeOtherHost(_) => "see-other-host",
                }
            }

            /// The condition of that name, `see-other-host` without an address; `None` if unknown, which then counts
            /// as `undefined-condition`.
            pub fn from_name(name: &str) -> Option<Self> {
                Some(match name {
                    $($name => StreamCondition::$variant,)*
                    // RFC 3920's name for it.
                    "xml-not-well-formed" => StreamCondition::NotWellFormed,
                    "see-other-host" => StreamCondition::SeeOtherHost(String::new()),
                    _ => return None,
                })
            }
        }

        #[cfg(test)]
        fn all() -> Vec<StreamCondition> {
            vec![$(StreamCondition::$variant,)* StreamCondition::SeeOtherHost("example.org".to_owned())]
        }
    };
}

conditions! {
    BadFormat "bad-format" "XML that cannot be processed."
    BadNamespacePrefix "bad-namespace-prefix" "A prefix that is not supported, or missing where one is needed."
    Conflict "conflict" "A new stream took this one's place, or this one collides with another."
    ConnectionTimeout "connection-timeout" "The peer did not react to what was sent."
    HostGone "host-gone" "The domain is no longer served here."
    HostUnknown "host-unknown" "The domain is not served here."
    ImproperAddressing "improper-addressing" "A stanza between servers without valid `to` and `from`."
    InternalServerError "internal-server-error" "A fault or misconfiguration."
    InvalidFrom "invalid-from" "`from` is not whom the stream was authenticated for."
    InvalidNamespace "invalid-namespace" "The stream's or the content's namespace is wrong."
    InvalidXml "invalid-xml" "Against a schema, for servers that validate."
    NotAuthorized "not-authorized" "Sent before authentication, or before negotiation was done."
    NotWellFormed "not-well-formed" "Not well-formed XML."
    PolicyViolation "policy-violation" "Against a local policy."
    RemoteConnectionFailed "remote-connection-failed" "Another server, needed to authenticate, cannot be reached."
    Reset "reset" "The stream has to be negotiated anew, for new features or keys."
    ResourceConstraint "resource-constraint" "Out of resources."
    RestrictedXml "restricted-xml" "XML features that XMPP forbids."
    SystemShutdown "system-shutdown" "The server is going down."
    UndefinedCondition "undefined-condition" "None of the others; the application element says more."
    UnsupportedEncoding "unsupported-encoding" "Not UTF-8."
    UnsupportedFeature "unsupported-feature" "Only features offered as mandatory that the initiator lacks."
    UnsupportedStanzaType "unsupported-stanza-type" "A first-level element that is not understood."
    UnsupportedVersion "unsupported-version" "A version of XMPP that is not supported."
}

/// Why a stream ends: the wire element and the Rust error in one.
#[derive(Clone, Debug)]
pub struct StreamError {
    /// What went wrong.
    pub condition: StreamCondition,
    /// An explanation for people.
    pub text: Option<Box<str>>,
    /// The language of the text (BCP 47).
    pub lang: Option<Box<str>>,
    /// The application-specific condition.
    pub application: Option<Box<Stanza>>,
}

impl StreamError {
    /// The bare condition.
    pub fn new(condition: StreamCondition) -> Self {
        StreamError { condition, text: None, lang: None, application: None }
    }
    /// With an explanation.
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into().into_boxed_str());
        self
    }
    /// With an application-specific condition: an empty element.
    pub fn with_application(mut self, name: &str, ns: &str) -> Self {
        let mut w = Writer::new("");
        w.open(name, ns);
        w.close();
        self.application = Some(Box::new(w.into_stanza()));
        self
    }
    /// Whether `el` is a stream error.
    pub fn matches(el: ElementRef<'_>) -> bool {
        el.is("error", ns::STREAMS)
    }
    /// Reads a `<stream:error/>`. Nothing in it is refused: an unknown condition or none is `undefined-condition`.
    pub fn read(el: ElementRef<'_>) -> Self {
        let mut condition = None;
        let mut out = StreamError::new(StreamCondition::UndefinedCondition);
        for child in el.children() {
            match (child.ns(), child.name()) {
                (ns::STREAM_ERRORS, "text") if out.text.is_none() => {
                    out.text = Some(child.text().into());
                    out.lang = child.lang().map(Into::into);
                }
                (ns::STREAM_ERRORS, "text") => {}
                (ns::STREAM_ERRORS, name) if condition.is_none() => {
                    condition = Some(match StreamCondition::from_name(name) {
                        Some(StreamCondition::SeeOtherHost(_)) => {
                            StreamCondition::SeeOtherHost(child.text().trim_ascii().to_owned())
                        }
                        other => other.unwrap_or(StreamCondition::UndefinedCondition),
                    });
                }
                (ns::STREAM_ERRORS, _) => {}
                _ if out.application.is_none() => out.application = Some(Box::new(child.to_stanza())),
                _ => {}
            }
        }
        out.condition = condition.unwrap_or(StreamCondition::UndefinedCondition);
        out
    }
    /// Writes `<stream:error/>`.
    pub fn write(&self, w: &mut Writer) {
        w.open("error", ns::STREAMS);
        w.open(self.condition.as_str(), ns::STREAM_ERRORS);
        if let StreamCondition::SeeOtherHost(address) = &self.condition {
            w.text(address);
        }
        w.close();
        if let Some(text) = &self.text {
            w.open("text", ns::STREAM_ERRORS);
            if let Some(lang) = &self.lang {
                w.attr_ns("lang", ns::XML, lang);
            }
            w.text(text);
            w.close();
        }
        if let Some(application) = &self.application {
            w.element(application.root());
        }
        w.close();
    }
    /// Whether connecting again in the same way would only meet, or cause, the same end: the session was replaced,
    /// the domain is not served, we are not admitted.
    pub fn is_final(&self) -> bool {
        use StreamCondition as C;
        matches!(
            self.condition,
            C::Conflict | C::HostGone | C::HostUnknown | C::InvalidFrom | C::NotAuthorized | C::UnsupportedVersion
        )
    }

    /// Where `see-other-host` points, if it does and the address is one.
    pub fn other_host(&self) -> Option<OtherHost> {
        match &self.condition {
            StreamCondition::SeeOtherHost(address) => OtherHost::parse(address),
            _ => None,
        }
    }
}

impl From<StreamCondition> for StreamError {
    fn from(condition: StreamCondition) -> Self {
        StreamError::new(condition)
    }
}

/// The scanner's verdict as it goes over the wire; a passed limit is named by an application element (XEP-0205 style).
impl From<XmlError> for StreamError {
    fn from(e: XmlError) -> Self {
        let condition = StreamCondition::from_name(e.condition()).unwrap_or(StreamCondition::BadFormat);
        let out = StreamError::new(condition).with_text(e.to_string());
        match e {
            XmlError::Limit("stanza-too-big") => out.with_application("stanza-too-big", "urn:xmpp:errors"),
            _ => out,
        }
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.condition.as_str())?;
        if let StreamCondition::SeeOtherHost(address) = &self.condition {
            write!(f, " ({})", Printable(address))?;
        }
        match &self.text {
            Some(text) => write!(f, ": {}", Printable(text)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StreamError {}

impl From<StreamError> for std::io::Error {
    /// How a transport with a framing of its own says that the peer broke the rules of the stream.
    fn from(error: StreamError) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

impl StreamError {
    /// The stream error that a transport found, if that is what it says.
    pub(crate) fn found_by_transport(error: &std::io::Error) -> Option<&StreamError> {
        error.get_ref()?.downcast_ref()
    }
}

/// An address that `see-other-host` gives (RFC 6120 §4.9.3.19).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherHost {
    /// A domain name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port, if given; without one the domain is resolved as usual.
    pub port: Option<u16>,
}

impl fmt::Display for OtherHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.contains(':'), self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
            (true, None) => write!(f, "[{}]", self.host),
            (false, Some(port)) => write!(f, "{}:{port}", self.host),
            (false, None) => f.write_str(&self.host),
        }
    }
}

impl OtherHost {
    /// `domain`, `domain:port`, `192.0.2.1`, `[2001:db8::1]`, each with or without a port.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            let port = match port.strip_prefix(':') {
                Some(port) => Some(read_port(port)?),
                None if port.is_empty() => None,
                None => return None,
            };
            return Some(OtherHost { host: address.to_owned(), port });
        }
        // RFC 6120 wants brackets; some leave them out, and then there is no port.
        if text.parse::<Ipv6Addr>().is_ok() {
            return Some(OtherHost { host: text.to_owned(), port: None });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(read_port(port)?)),
            None => (text, None),
        };
        let name_like = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        let domain = !host.is_empty() && host.len() <= 1023 && host.chars().all(name_like);
        (domain || host.parse::<Ipv4Addr>().is_ok()).then(|| OtherHost { host: host.to_owned(), port })
    }
}

fn read_port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok().filter(|p| *p != 0)).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::xml::XmlLimits;

    fn parse(xml: &str) -> Stanza {
        Stanza::parse(xml, ns::CLIENT, &XmlLimits::default()).unwrap()
    }

    fn back(error: &StreamError) -> StreamError {
        let mut w = Writer::new(ns::CLIENT);
        error.write(&mut w);
        let stanza = w.into_stanza();
        assert!(StreamError::matches(stanza.root()));
        assert!(stanza.as_str().starts_with("<stream:error>"), "{stanza:?}");
        StreamError::read(stanza.root())
    }

    #[test]
    fn rfc6120_4_9_3_all_25_conditions_come_back() {
        let all = all();
        assert_eq!(all.len(), 25);
        for condition in all {
            let error = StreamError::new(condition.clone()).with_text("why & how");
            let back = back(&error);
            assert_eq!(back.condition, condition);
            assert_eq!(back.text.as_deref(), Some("why & how"));
            assert!(back.application.is_none());
            let name = condition.as_str();
            assert_eq!(StreamCondition::from_name(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn rfc6120_4_9_2_unknown_conditions_are_undefined() {
        for (xml, condition) in [
            ("<stream:error/>", StreamCondition::UndefinedCondition),
            (
                "<stream:error><tired xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
                StreamCondition::UndefinedCondition,
            ),
            (
                "<stream:error><xml-not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
                StreamCondition::NotWellFormed,
            ),
        ] {
            assert_eq!(StreamError::read(parse(xml).root()).condition, condition, "{xml}");
        }
    }

    #[test]
    fn rfc6120_4_9_4_application_conditions_are_kept() {
        let error = StreamError::new(StreamCondition::PolicyViolation).with_application("tired", "urn:example:e");
        assert!(back(&error).application.unwrap().root().is("tired", "urn:example:e"));
        let text = "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text \
                    xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='de'>Ersetzt</text></stream:error>";
        let error = StreamError::read(parse(text).root());
        assert_eq!((error.text.as_deref(), error.lang.as_deref()), (Some("Ersetzt"), Some("de")));
        assert_eq!(error.to_string(), "conflict: Ersetzt");
    }

    #[test]
    fn rfc6120_4_9_3_the_scanners_errors_have_conditions() {
        for (e, condition) in [
            (XmlError::NotWellFormed("x"), StreamCondition::NotWellFormed),
            (XmlError::Restricted("x"), StreamCondition::RestrictedXml),
            (XmlError::BadPrefix("x"), StreamCondition::BadNamespacePrefix),
            (XmlError::UnsupportedEncoding, StreamCondition::UnsupportedEncoding),
            (XmlError::Limit("depth"), StreamCondition::PolicyViolation),
        ] {
            assert_eq!(StreamError::from(e).condition, condition);
        }
    }

    #[test]
    fn abuse_a010_too_big_says_so() {
        let error = StreamError::from(XmlError::Limit("stanza-too-big"));
        assert!(back(&error).application.unwrap().root().is("stanza-too-big", "urn:xmpp:errors"));
        assert!(StreamError::from(XmlError::Limit("depth")).application.is_none());
    }

    #[test]
    fn rfc6120_4_9_3_19_addresses_of_other_hosts() {
        let host = |host: &str, port| Some(OtherHost { host: host.to_owned(), port });
        for (text, expected) in [
            ("b.example", host("b.example", None)),
            (" b.example:9222\n", host("b.example", Some(9222))),
            ("192.0.2.1", host("192.0.2.1", None)),
            ("192.0.2.1:5222", host("192.0.2.1", Some(5222))),
            ("[2001:41D0:1:A49b::1]:9222", host("2001:41D0:1:A49b::1", Some(9222))),
            ("[2001:db8::1]", host("2001:db8::1", None)),
            ("2001:db8::1", host("2001:db8::1", None)),
            ("bücher.example", host("bücher.example", None)),
            ("", None),
            (":5222", None),
            ("b.example:", None),
            ("b.example:0", None),
            ("b.example:65536", None),
            ("b.example:+1", None),
            ("b.example:1:2", None),
            ("[b.example]", None),
            ("[2001:db8::1]5222", None),
            ("[2001:db8::1", None),
            ("b.example/../x", None),
            ("b example", None),
            ("https://b.example", None),
        ] {
            let error = back(&StreamError::new(StreamCondition::SeeOtherHost(text.to_owned())));
            assert_eq!(error.other_host(), expected, "{text:?}");
            assert_eq!(expected.as_ref().and_then(|host| OtherHost::parse(&host.to_string())), expected, "{text:?}");
        }
    }
}
