//! The wrapper, `<body/>` (XEP-0124 §6).

use super::{HTTPBIND, XBOSH};
use crate::{
    stream::header::escape,
    xml::{ElementRef, Node, Stanza, Writer, XmlError, XmlLimits, ns},
};
use bytes::Bytes;
use std::borrow::Cow;

/// One request or response: a `<body/>` and what it holds.
#[derive(Clone, Debug)]
pub struct Body {
    element: Stanza,
}

/// No request is larger than its largest stanza and this many bytes of wrapper.
const WRAPPER: u32 = 4096;

impl Body {
    /// Reads the content of an HTTP message. `limits` are those of one stanza; the wrapper may hold several, of twice
    /// the size together.
    ///
    /// # Errors
    /// Besides those of XML: another root, and text between the payloads.
    pub fn parse(bytes: &[u8], limits: &XmlLimits) -> Result<Body, XmlError> {
        let mut limits = *limits;
        limits.stanza_bytes = Body::room(&limits);
        limits.elements = limits.elements.saturating_mul(2).saturating_add(1);
        limits.depth = limits.depth.saturating_add(1);
        let text = std::str::from_utf8(bytes).map_err(|_| XmlError::UnsupportedEncoding)?;
        let element = Stanza::document(text.trim_ascii_start(), &limits)?;
        if !element.root().is("body", HTTPBIND) {
            return Err(XmlError::NotWellFormed("not a <body/>"));
        }
        let is_text = |node| matches!(node, Node::Text(text) if !text.trim_ascii().is_empty());
        if element.root().nodes().any(is_text) {
            return Err(XmlError::NotWellFormed("text between payloads"));
        }
        Ok(Body { element })
    }

    /// How many bytes [`parse`](Self::parse) accepts.
    pub fn room(limits: &XmlLimits) -> u32 {
        limits.stanza_bytes.saturating_mul(2).saturating_add(WRAPPER)
    }

    /// The `sid` of a request that may not be there as a whole: for deciding how much of it is worth waiting for.
    pub fn peek_sid(beginning: &[u8]) -> Option<String> {
        let tag = Stanza::first_tag(beginning, &XmlLimits::unauthenticated())?;
        tag.root().attr("sid").map(Cow::into_owned)
    }

    fn root(&self) -> ElementRef<'_> {
        self.element.root()
    }

    /// An attribute of the wrapper.
    pub fn attr(&self, name: &str) -> Option<Cow<'_, str>> {
        self.root().attr(name)
    }

    /// An attribute that XEP-0206 defines.
    pub fn xbosh(&self, name: &str) -> Option<Cow<'_, str>> {
        self.root().attr_ns(name, XBOSH)
    }

    /// The session that it belongs to; none on a session creation request.
    pub fn sid(&self) -> Option<Cow<'_, str>> {
        self.attr("sid")
    }

    /// The request's number (XEP-0124 §14.1), if there is a valid one.
    pub fn rid(&self) -> Option<u64> {
        number(&self.attr("rid")?).filter(|rid| (1..=super::MAX_RID).contains(rid))
    }

    /// Whether it ends the session.
    pub fn is_terminate(&self) -> bool {
        self.attr("type").as_deref() == Some("terminate")
    }

    /// Whether it asks for a new stream (XEP-0206 §5).
    pub fn is_restart(&self) -> bool {
        matches!(self.xbosh("restart").as_deref(), Some("true" | "1"))
    }

    /// The language of what it holds.
    pub fn lang(&self) -> Option<Cow<'_, str>> {
        self.root().lang()
    }

    /// What it holds.
    pub fn payloads(&self) -> impl Iterator<Item = ElementRef<'_>> {
        self.root().children()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.root().children().next().is_none()
    }

    /// Appends what it holds as a stream of content namespace `jabber:client` has it.
    ///
    /// What is in no namespace but the wrapper's is meant to be in `jabber:client` (XEP-0206 §2), and the language of
    /// the wrapper becomes that of each stanza.
    pub fn unwrap_into(&self, out: &mut Vec<u8>) {
        let lang = self.lang();
        let mut writer = Writer::with_buffer(ns::CLIENT, std::mem::take(out));
        for payload in self.payloads() {
            match &lang {
                Some(lang) if payload.lang().is_none() => with_lang(&mut writer, payload, lang),
                _ => writer.moved(payload, HTTPBIND, ns::CLIENT),
            }
        }
        *out = writer.finish();
    }
}

/// Copies an element and says its language.
fn with_lang(writer: &mut Writer, element: ElementRef<'_>, lang: &str) {
    let moves = element.ns() == HTTPBIND;
    writer.open(element.name(), if moves { ns::CLIENT } else { element.ns() });
    for attr in element.attrs() {
        writer.attr_ns(attr.name, attr.ns, &attr.value);
    }
    writer.attr_ns("lang", ns::XML, lang);
    for node in element.nodes() {
        match node {
            Node::Element(child) if moves => writer.moved(child, HTTPBIND, ns::CLIENT),
            Node::Element(child) => writer.element(child),
            Node::Text(text) => writer.text(&text),
        }
    }
    writer.close();
}

/// A number without sign; what no `u64` holds is as large as one can be.
pub(super) fn number(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Writes a wrapper: first its attributes, then what it holds.
#[derive(Debug)]
pub(super) struct Wrapper {
    tag: Vec<u8>,
    content: Vec<u8>,
    xbosh: bool,
}

impl Wrapper {
    pub(super) fn new() -> Wrapper {
        Wrapper {
            tag: b"<body xmlns='http://jabber.org/protocol/httpbind'".to_vec(),
            content: Vec::new(),
            xbosh: false,
        }
    }

    /// A wrapper that ends the session.
    pub(super) fn terminate(condition: Option<super::BoshCondition>) -> Wrapper {
        let mut wrapper = Wrapper::new();
        wrapper.attr("type", "terminate");
        if let Some(condition) = condition {
            wrapper.attr("condition", condition.as_str());
        }
        wrapper
    }

    pub(super) fn attr(&mut self, name: &str, value: &str) {
        self.tag.push(b' ');
        self.tag.extend_from_slice(name.as_bytes());
        self.tag.extend_from_slice(b"='");
        escape(value, &mut self.tag);
        self.tag.push(b'\'');
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.attr(name, &value.to_string());
    }

    pub(super) fn lang(&mut self, lang: &str) {
        self.attr("xml:lang", lang);
    }

    /// An attribute of XEP-0206. Its prefix is the one that old clients look for by name.
    pub(super) fn xbosh(&mut self, name: &str, value: &str) {
        if !std::mem::replace(&mut self.xbosh, true) {
            self.attr("xmlns:xmpp", XBOSH);
        }
        self.attr(&format!("xmpp:{name}"), value);
    }

    pub(super) fn payload(&mut self, element: ElementRef<'_>) {
        let mut writer = Writer::with_buffer(HTTPBIND, std::mem::take(&mut self.content));
        writer.element(element);
        self.content = writer.finish();
    }

    /// Adds what [`content`](Self::content) of another returned.
    pub(super) fn written(&mut self, content: &[u8]) {
        self.content.extend_from_slice(content);
    }

    /// What it holds, without the wrapper.
    pub(super) fn content(self) -> Vec<u8> {
        self.content
    }

    /// The bytes.
    pub(super) fn finish(mut self) -> Bytes {
        if self.content.is_empty() {
            self.tag.extend_from_slice(b"/>");
            return self.tag.into();
        }
        // XEP-0206 §2: the wrapper has to declare it. No text can have a bare `<` in it.
        if memchr::memmem::find(&self.content, b"<stream:").is_some() {
            self.attr("xmlns:stream", ns::STREAMS);
        }
        self.tag.push(b'>');
        self.tag.append(&mut self.content);
        self.tag.extend_from_slice(b"</body>");
        self.tag.into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn unwrapped(text: &str) -> String {
        let mut out = Vec::new();
        Body::parse(text.as_bytes(), &XmlLimits::authenticated()).unwrap().unwrap_into(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn xep0206_2_what_is_in_the_wrappers_namespace_is_meant_for_the_stream() {
        let old = "<body xmlns='http://jabber.org/protocol/httpbind'><message to='a@b'><body>hi</body>\
                   <x xmlns='urn:x'><y xmlns='http://jabber.org/protocol/httpbind'/></x></message></body>";
        let expected = "<message to='a@b'><body>hi</body>\
                        <x xmlns='urn:x'><y xmlns='http://jabber.org/protocol/httpbind'/></x></message>";
        assert_eq!(unwrapped(old), expected);
        let right = "<body xmlns='http://jabber.org/protocol/httpbind'><message xmlns='jabber:client' to='a@b'>\
                     <body>hi</body></message></body>";
        assert_eq!(unwrapped(right), "<message to='a@b'><body>hi</body></message>");
    }

    #[test]
    fn xep0124_6_the_wrappers_language_is_its_payloads() {
        let text = "<body xml:lang='de' xmlns='http://jabber.org/protocol/httpbind'><message to='a@b'><body>hi</body>\
                    </message><presence xml:lang='en' xmlns='jabber:client'/></body>";
        let expected = "<message to='a@b' xml:lang='de'><body>hi</body></message><presence xml:lang='en'/>";
        assert_eq!(unwrapped(text), expected);
    }

    #[test]
    fn xep0206_2_prefixes_of_the_wrapper_are_declared_where_they_are_used() {
        let text = "<body xmlns='http://jabber.org/protocol/httpbind' xmlns:j='http://json.org/' \
                    xmlns:c='jabber:client'><c:iq type='get'><j:json>{}</j:json></c:iq></body>";
        assert_eq!(unwrapped(text), "<iq type='get'><json xmlns='http://json.org/'>{}</json></iq>");
    }

    #[test]
    fn xep0124_6_no_text_no_markup_that_xmpp_forbids_no_other_root() {
        let parse = |text: &str| Body::parse(text.as_bytes(), &XmlLimits::unauthenticated()).map(|_| ());
        let wrap = |text: &str| format!("<body xmlns='http://jabber.org/protocol/httpbind'>{text}</body>");
        assert_eq!(parse(&wrap(" \n<a/> ")), Ok(()));
        assert_eq!(parse(&format!("<?xml version='1.0'?>\n{}\n", wrap(""))), Ok(()));
        for wrong in ["text", "<!-- x -->", "<?php?>", "&#x41;", "<a>", "</body>", "<![CDATA[x]]>"] {
            assert!(parse(&wrap(wrong)).is_err(), "{wrong}");
        }
        assert!(parse("<body/>").is_err());
        assert!(parse("<html xmlns='http://jabber.org/protocol/httpbind'/>").is_err());
        assert!(parse(&format!("{}{}", wrap(""), wrap(""))).is_err());
        assert!(parse("").is_err());
        assert!(parse(&format!("<!DOCTYPE body [<!ENTITY a 'b'>]>{}", wrap(""))).is_err());
        assert!(Body::parse(b"\xFF\xFE<\0", &XmlLimits::unauthenticated()).is_err());
    }

    #[test]
    fn a_sid_is_seen_before_the_request_is_whole() {
        let begun = b"<body rid='1' xmlns='http://jabber.org/protocol/httpbind' sid='a&lt;>b'><message><bo";
        assert_eq!(Body::peek_sid(begun).as_deref(), Some("a<>b"));
        assert_eq!(Body::peek_sid(&begun[..40]), None);
        assert_eq!(Body::peek_sid(b"<?xml version='1.0'?> <body sid='x'/>").as_deref(), Some("x"));
        assert_eq!(Body::peek_sid(b"sid='x'"), None);
        assert_eq!(Body::peek_sid(b""), None);
    }
}
