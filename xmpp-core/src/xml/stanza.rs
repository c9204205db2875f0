//! One first-level element: its text and the index over it.
use super::build::Stop;
use super::tape::{Inner, MAX_BYTES, Outer};
use super::{ElementRef, Event, Rewrite, Scanner, XmlError, XmlLimits, header, ns, pool, scanner};
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// A first-level element as it came, with an index of its parts. Cheap to clone, `Send + Sync`.
#[derive(Clone)]
pub struct Stanza(pub(super) Arc<Inner>);

impl std::fmt::Debug for Stanza {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AsRef<[u8]> for Stanza {
    fn as_ref(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

impl Stanza {
    /// Parses one whole element; `content_ns` is the default namespace around it ("" for none).
    /// The prefix `stream` is bound to the streams namespace unless declared otherwise.
    pub fn parse(text: &str, content_ns: &str, limits: &XmlLimits) -> Result<Stanza, XmlError> {
        let room = (limits.stanza_bytes as usize).min(MAX_BYTES);
        let bytes = text.as_bytes();
        if bytes.first() != Some(&b'<') {
            return Err(XmlError::NotWellFormed("no element"));
        }
        let buf = bytes.get(..room).unwrap_or(bytes);
        let outer = surroundings(content_ns);
        let mut build = pool::build();
        build.reset(*limits);
        let result = match build.element(buf, Some(&outer)) {
            Ok(len) if len == bytes.len() => scanner::stanza(&mut build, bytes, Some(&outer)),
            Ok(_) => Err(XmlError::NotWellFormed("more than one element")),
            Err(Stop::Bad(e)) => Err(e),
            Err(Stop::More) if bytes.len() > room => Err(XmlError::Limit("stanza-too-big")),
            Err(Stop::More) => Err(XmlError::NotWellFormed("the element is not complete")),
        };
        pool::put_build(build);
        result
    }

    /// Parses a document of its own: an element that declares all its namespaces, after an XML declaration maybe. A
    /// frame of RFC 7395 §3.3.3 is one; comments, processing instructions and document types are refused.
    pub fn document(text: &str, limits: &XmlLimits) -> Result<Stanza, XmlError> {
        let mut rest = text.trim_ascii_end().as_bytes();
        if rest.starts_with(b"<?") {
            let end = memchr::memmem::find(rest, b"?>").ok_or(XmlError::NotWellFormed("XML declaration"))?;
            let (declaration, after) = rest.split_at_checked(end + 2).unwrap_or((rest, &[]));
            header::declaration(declaration)?;
            rest = after.trim_ascii_start();
        }
        if rest.first() != Some(&b'<') {
            return Err(XmlError::NotWellFormed("no element"));
        }
        let mut scanner = Scanner::framed(*limits);
        match scanner.scan(&mut rest)? {
            Some(Event::Stanza(stanza)) if rest.is_empty() => Ok(stanza),
            Some(_) => Err(XmlError::NotWellFormed("more than one element")),
            None => Err(XmlError::NotWellFormed("the element is not complete")),
        }
    }

    /// The start tag of a document's element as an element of its own, if it is all there.
    pub(crate) fn first_tag(beginning: &[u8], limits: &XmlLimits) -> Option<Stanza> {
        let declared = if beginning.starts_with(b"<?") { memchr::memmem::find(beginning, b"?>")? + 2 } else { 0 };
        let from = beginning.get(declared..)?;
        let from = from.get(memchr::memchr(b'<', from)?..)?;
        let tag = from.get(..super::seek::tag_end(from)?)?;
        let mut alone = tag.strip_suffix(b">")?.to_vec();
        if alone.last() != Some(&b'/') {
            alone.push(b'/');
        }
        alone.push(b'>');
        Stanza::document(std::str::from_utf8(&alone).ok()?, limits).ok()
    }

    /// What a writer wrote: bounded by what it was made from.
    pub(super) fn from_own(bytes: &[u8], content_ns: &str) -> Stanza {
        const OWN: XmlLimits = XmlLimits::unbounded();
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let parsed = Stanza::parse(text, content_ns, &OWN);
        debug_assert!(parsed.is_ok(), "{parsed:?} in {text}");
        // Only code that wrote no element, or names that are none, gets the empty one.
        parsed.or_else(|_| Stanza::parse("<invalid/>", content_ns, &OWN)).unwrap_or_else(|_| Stanza(Arc::default()))
    }

    /// The element.
    pub fn root(&self) -> ElementRef<'_> {
        ElementRef::new(&self.0, 0)
    }

    /// The text, exactly as received. Not self-contained unless [`is_plain`](Self::is_plain).
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The text as `Bytes`, sharing this stanza's memory.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    /// Whether the text after the start tag may be copied verbatim into another stream: no CDATA, no numeric
    /// character reference, no prefix declared outside, no content namespace declared again where it is in force.
    pub fn is_plain(&self) -> bool {
        self.0.plain
    }

    /// The `xml:lang` of the stream header it came under.
    pub fn inherited_lang(&self) -> Option<&str> {
        self.0.outer.as_ref()?.lang.as_deref()
    }

    /// Whether both are the same stanza in memory.
    #[cfg(feature = "server")]
    pub(crate) fn is_same(&self, other: &Stanza) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Forwards this stanza with another start tag, into a stream with content namespace `content_ns`.
    pub fn rewrite<'a>(&'a self, content_ns: &'a str) -> Rewrite<'a> {
        Rewrite::new(self, content_ns)
    }

    /// Bytes of memory that text and index take.
    pub fn memory(&self) -> usize {
        size_of::<Inner>() + 2 * size_of::<usize>() + self.0.text.capacity() + 4 * self.0.tape.capacity()
    }
}

/// The surroundings of a stanza that comes from no stream; shared for the usual content namespaces.
fn surroundings(content_ns: &str) -> Arc<Outer> {
    static KNOWN: OnceLock<[Arc<Outer>; 4]> = OnceLock::new();
    let known = KNOWN.get_or_init(|| ["", ns::CLIENT, ns::SERVER, ns::COMPONENT].map(|n| header::outer_of(n).into()));
    match known.iter().find(|o| &*o.content_ns == content_ns) {
        Some(outer) => outer.clone(),
        None => Arc::new(header::outer_of(content_ns)),
    }
}
