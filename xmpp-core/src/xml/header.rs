//! The XML declaration and the stream header.
use super::build::{Build, skip};
use super::chars::{self, BLANK};
use super::scanner::StreamHeader;
use super::tape::*;
use super::{XmlError, ns};
use std::sync::{Arc, OnceLock};

/// Checks an XML declaration, given from `<?` to `?>` (XML 1.0 §2.8, RFC 6120 §11.5).
pub(super) fn declaration(bytes: &[u8]) -> Result<(), XmlError> {
    const WRONG: XmlError = XmlError::NotWellFormed("XML declaration");
    let inside = bytes.strip_prefix(b"<?xml").and_then(|b| b.strip_suffix(b"?>"));
    let Some(mut rest) = inside.filter(|b| b.first().is_some_and(|&b| chars::is(b, BLANK))) else {
        return Err(XmlError::Restricted("processing instruction"));
    };
    if pseudo_attribute(&mut rest, b"version").ok_or(WRONG)? != b"1.0" {
        return Err(XmlError::NotWellFormed("XML version"));
    }
    if let Some(encoding) = pseudo_attribute(&mut rest, b"encoding")
        && !encoding.eq_ignore_ascii_case(b"UTF-8")
    {
        return Err(XmlError::UnsupportedEncoding);
    }
    // Ignored, as RFC 6120 §11.5 allows.
    if let Some(standalone) = pseudo_attribute(&mut rest, b"standalone")
        && !matches!(standalone, b"yes" | b"no")
    {
        return Err(WRONG);
    }
    if skip(rest, 0, BLANK) == rest.len() { Ok(()) } else { Err(WRONG) }
}

/// Takes ` name = "value"` from the front.
fn pseudo_attribute<'a>(rest: &mut &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let blank = skip(rest, 0, BLANK);
    let after = rest.get(blank..)?.strip_prefix(name)?;
    let after = after.get(skip(after, 0, BLANK)..)?.strip_prefix(b"=")?;
    let after = after.get(skip(after, 0, BLANK)..)?;
    let (&quote, after) = after.split_first()?;
    if blank == 0 || !matches!(quote, b'\'' | b'"') {
        return None;
    }
    let end = memchr::memchr(quote, after)?;
    *rest = after.get(end + 1..)?;
    after.get(..end)
}

/// Reads a start tag that stands at the front of `bytes` and is all of them.
pub(super) fn header(build: &Build, bytes: &[u8]) -> Result<(StreamHeader, Outer), XmlError> {
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::UnsupportedEncoding)?;
    let inner = Inner {
        text: text.to_owned(),
        tape: build.tape.clone(),
        extra: build.extra.as_slice().into(),
        ..Inner::default()
    };
    let names = inner.word(1);
    let (prefix_len, local) = (names >> 10 & MAX_NAME as u32, names & MAX_NAME as u32);
    let after = if prefix_len == 0 { 1 } else { prefix_len + 2 };
    let mut header = StreamHeader {
        name: inner.slice(after, local).to_owned(),
        prefix: inner.slice(1, prefix_len).to_owned(),
        ns: inner.ns(inner.word(2)).to_owned(),
        ..StreamHeader::default()
    };
    let mut prefixes = Vec::new();
    for (name, value) in attributes(&inner) {
        match name.strip_prefix("xmlns:") {
            Some("xml") => {}
            Some(prefix) => prefixes.push((Box::from(prefix), value.into_boxed_str())),
            None => match name {
                "xmlns" => header.content_ns = value,
                "to" => header.to = Some(value),
                "from" => header.from = Some(value),
                "id" => header.id = Some(value),
                "version" => header.version = Some(value),
                "xml:lang" => header.lang = Some(value),
                _ => {}
            },
        }
    }
    let outer = Outer {
        root: inner.slice(1, after - 1 + local).into(),
        content_ns: header.content_ns.as_str().into(),
        prefixes: prefixes.into(),
        lang: header.lang.as_deref().map(Into::into),
    };
    Ok((header, outer))
}

/// Qualified names and values of the tag's attributes and declarations.
fn attributes(inner: &Inner) -> Vec<(&str, String)> {
    let mut out = Vec::new();
    let mut at = ELEMENT_WORDS;
    while at < inner.tape.len() {
        let head = inner.word(at);
        let (name, value, words) = match head & KIND {
            DECL => {
                let rest = inner.text.get((inner.word(at + 2) & OFFSET) as usize..).unwrap_or_default();
                let name = rest.split(['=', ' ', '\t', '\r', '\n']).next().unwrap_or_default();
                (name, inner.slice(head, inner.word(at + 1)), DECL_WORDS)
            }
            _ if head & SPECIAL != 0 => {
                let names = inner.word(at + 3);
                let (prefix, local) = (names >> 10 & MAX_NAME as u32, names & MAX_NAME as u32);
                let len = if prefix == 0 { local } else { prefix + 1 + local };
                (inner.slice(head, len), inner.slice(inner.word(at + 1), inner.word(at + 2)), QUALIFIED_WORDS)
            }
            _ => {
                let name = inner.slice(head, inner.word(at + 1) >> 24);
                (name, inner.slice(inner.word(at + 1), inner.word(at + 2)), ATTR_WORDS)
            }
        };
        let value = if head & DECODE != 0 { chars::decode(value, true).into_owned() } else { value.to_owned() };
        out.push((name, value));
        at += words;
    }
    out
}

/// The usual headers' declarations are in memory once, not once a stream.
pub(super) fn shared(outer: Outer) -> Arc<Outer> {
    static USUAL: OnceLock<[Arc<Outer>; 3]> = OnceLock::new();
    let usual = USUAL.get_or_init(|| {
        [ns::CLIENT, ns::SERVER, ns::COMPONENT]
            .map(|content_ns| Outer { root: "stream:stream".into(), ..outer_of(content_ns) }.into())
    });
    match usual.iter().find(|known| ***known == outer) {
        Some(known) => known.clone(),
        None => Arc::new(outer),
    }
}

/// What surrounds a stanza that was not read from a stream.
pub(super) fn outer_of(content_ns: &str) -> Outer {
    Outer {
        root: Box::default(),
        content_ns: content_ns.into(),
        prefixes: Box::new([("stream".into(), ns::STREAMS.into())]),
        lang: None,
    }
}
