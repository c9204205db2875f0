//! Writing XML that is well-formed by construction.
use super::element::RawAttribute;
use super::tape::*;
use super::{ElementRef, Stanza, chars, element, escape, ns, pool};
use std::fmt::Write as _;

/// Writes elements into a buffer; declares a namespace only where it changes. Names come from code and are
/// checked in debug builds; values and text are escaped, and characters that XML 1.0 cannot carry are replaced by
/// U+FFFD.
///
/// What would not be well-formed (an attribute after content, a `close` too many) is left out, and a bug: debug
/// builds panic.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    stack: Stack,
    /// Where in `out` this writer began.
    start: usize,
    content_len: usize,
    /// The innermost start tag still lacks its `>`.
    in_tag: bool,
    /// Prefixes made up in the start tag at hand.
    prefixes: u32,
}

/// The open elements, and the default namespaces in force.
#[derive(Debug, Default)]
pub(super) struct Stack {
    frames: Vec<Frame>,
    spaces: String,
}

impl Stack {
    pub(super) fn held(&self) -> usize {
        self.frames.capacity() * size_of::<Frame>() + self.spaces.capacity()
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.spaces.clear();
    }
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Where in `out` its qualified name is.
    name: usize,
    name_len: u32,
    /// Where in `spaces` the default namespace inside it is.
    ns: u32,
    ns_len: u32,
    /// What `spaces` goes back to.
    spaces: u32,
    /// When copying: the record that closes it.
    until: u32,
    /// When copying: still in the content namespace, as all around it.
    content: bool,
}

/// A content namespace that becomes another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved<'a> {
    pub(super) from: &'a str,
    pub(super) to: &'a str,
}

impl Writer {
    /// A writer whose surroundings have this default namespace: the content namespace of the stream.
    pub fn new(content_ns: &str) -> Self {
        Writer::with_buffer(content_ns, Vec::new())
    }

    /// A writer that appends to `out`.
    pub fn with_buffer(content_ns: &str, out: Vec<u8>) -> Self {
        let mut stack = pool::stack();
        stack.spaces.push_str(content_ns);
        let start = out.len();
        Writer { out, stack, start, content_len: content_ns.len(), in_tag: false, prefixes: 0 }
    }

    /// A writer inside an element whose start tag is already in `out`.
    pub(super) fn inside(default_ns: &str, out: Vec<u8>) -> Self {
        let mut writer = Writer::with_buffer(default_ns, out);
        let ns_len = default_ns.len() as u32;
        let name = writer.out.len();
        writer.push(Frame { name, name_len: 0, ns: 0, ns_len, spaces: ns_len, until: 0, content: false });
        writer
    }

    /// The buffer of a writer made by [`inside`](Self::inside).
    pub(super) fn leave(mut self) -> Vec<u8> {
        while self.stack.frames.len() > 1 {
            self.close();
        }
        self.stack.frames.clear();
        self.finish()
    }

    fn push(&mut self, frame: Frame) {
        self.stack.frames.push(frame);
    }

    /// The content namespace that it was made with.
    pub fn content_ns(&self) -> &str {
        self.stack.spaces.get(..self.content_len).unwrap_or_default()
    }

    /// Opens an element.
    pub fn open(&mut self, name: &str, ns: &str) {
        debug_assert!(chars::is_ncname(name), "{name:?} is no element name");
        self.seal();
        let spaces = self.stack.spaces.len() as u32;
        let (mut at, mut len) = match self.stack.frames.last() {
            Some(f) => (f.ns, f.ns_len),
            None => (0, self.content_len as u32),
        };
        let default_ns = self.stack.spaces.as_bytes().get(at as usize..(at + len) as usize);
        let same = default_ns == Some(ns.as_bytes());
        self.out.push(b'<');
        let start = self.out.len();
        // RFC 6120 §4.8.5: the streams namespace goes by its prefix, which the stream header declares.
        let prefix = match ns {
            ns::STREAMS => "stream:",
            ns::XML => "xml:",
            _ => "",
        };
        self.out.extend_from_slice(prefix.as_bytes());
        self.out.extend_from_slice(name.as_bytes());
        let name_len = (self.out.len() - start) as u32;
        if !prefix.is_empty() {
            if ns == ns::STREAMS && self.content_len == 0 {
                self.declare(" xmlns:stream='", ns);
            }
        } else if !same {
            self.declare(" xmlns='", ns);
            at = spaces;
            len = ns.len() as u32;
            self.stack.spaces.push_str(ns);
        }
        self.in_tag = true;
        self.prefixes = 0;
        self.push(Frame { name: start, name_len, ns: at, ns_len: len, spaces, until: 0, content: false });
    }

    fn declare(&mut self, start: &str, ns: &str) {
        self.out.extend_from_slice(start.as_bytes());
        escape::attribute(&mut self.out, ns);
        self.out.push(b'\'');
    }

    /// Adds an attribute to the element just opened.
    pub fn attr(&mut self, name: &str, value: &str) {
        if self.attr_start(name) {
            escape::attribute(&mut self.out, value);
            self.out.push(b'\'');
        }
    }

    /// Writes up to the value's opening quote; false if no start tag is open.
    fn attr_start(&mut self, name: &str) -> bool {
        debug_assert!(chars::is_ncname(name) && name != "xmlns", "{name:?} is no attribute name");
        debug_assert!(self.in_tag, "attribute {name} after content");
        if self.in_tag {
            self.out.push(b' ');
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"='");
        }
        self.in_tag
    }

    /// Adds an attribute whose value displays without need of escaping for numbers and booleans, escaped else.
    pub fn attr_display(&mut self, name: &str, value: &dyn std::fmt::Display) {
        if self.attr_start(name) {
            // A `Display` that fails leaves a shorter value, still well-formed.
            let _ = write!(escape::Escaped { out: &mut self.out, attribute: true }, "{value}");
            self.out.push(b'\'');
        }
    }

    /// Adds an attribute if there is a value.
    pub fn attr_opt(&mut self, name: &str, value: Option<&str>) {
        if let Some(v) = value {
            self.attr(name, v);
        }
    }

    /// Adds an attribute in a namespace (`xml` namespace as `xml:`; others get a declared prefix).
    pub fn attr_ns(&mut self, name: &str, ns: &str, value: &str) {
        if ns.is_empty() {
            return self.attr(name, value);
        }
        debug_assert!(chars::is_ncname(name), "{name:?} is no attribute name");
        debug_assert!(self.in_tag, "attribute {name} after content");
        if !self.in_tag {
            return;
        }
        self.qualified_name(name, ns);
        escape::attribute(&mut self.out, value);
        self.out.push(b'\'');
    }

    /// Up to the value's opening quote.
    fn qualified_name(&mut self, name: &str, ns: &str) {
        if ns == ns::XML {
            self.out.extend_from_slice(b" xml:");
        } else {
            let n = self.prefixes;
            self.prefixes += 1;
            let mut out = escape::Escaped { out: &mut self.out, attribute: false };
            let _ = write!(out, " xmlns:n{n}=");
            self.out.push(b'\'');
            escape::attribute(&mut self.out, ns);
            let mut out = escape::Escaped { out: &mut self.out, attribute: false };
            let _ = write!(out, "' n{n}:");
        }
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"='");
    }

    /// Adds text to the open element.
    pub fn text(&mut self, text: &str) {
        if !text.is_empty() && self.enter() {
            escape::text(&mut self.out, text);
        }
    }

    /// Adds text that displays.
    pub fn text_display(&mut self, text: &dyn std::fmt::Display) {
        if self.enter() {
            let _ = write!(escape::Escaped { out: &mut self.out, attribute: false }, "{text}");
        }
    }

    /// Ends the start tag; whether there is an element to put text into.
    fn enter(&mut self) -> bool {
        debug_assert!(!self.stack.frames.is_empty(), "text outside an element");
        self.seal();
        !self.stack.frames.is_empty()
    }

    #[inline]
    fn seal(&mut self) {
        if self.in_tag {
            self.out.push(b'>');
            self.in_tag = false;
        }
    }

    /// Closes the innermost open element (`<x/>` when empty).
    pub fn close(&mut self) {
        let frame = self.stack.frames.pop();
        debug_assert!(frame.is_some(), "close without open");
        let Some(frame) = frame else { return };
        if self.in_tag {
            self.out.extend_from_slice(b"/>");
            self.in_tag = false;
        } else {
            self.out.extend_from_slice(b"</");
            let name = frame.name..frame.name + frame.name_len as usize;
            debug_assert!(name.end <= self.out.len());
            self.out.extend_from_within(name);
            self.out.push(b'>');
        }
        self.stack.spaces.truncate(frame.spaces as usize);
    }

    /// `open`, `text`, `close`.
    pub fn text_element(&mut self, name: &str, ns: &str, text: &str) {
        self.open(name, ns);
        self.text(text);
        self.close();
    }

    /// Copies an element, canonically, with the namespaces it needs here.
    pub fn element(&mut self, el: ElementRef<'_>) {
        self.copy(el.inner, el.record, el.next_record(), None);
    }

    /// Copies an element that is in the content namespace `from` over to the content namespace `to`.
    pub(crate) fn moved(&mut self, el: ElementRef<'_>, from: &str, to: &str) {
        self.copy(el.inner, el.record, el.next_record(), Some(Moved { from, to }));
    }

    /// Appends content that a writer with a content namespace has made, inside the open element or at the top. As the
    /// content namespace is never declared, it holds in any.
    pub(crate) fn raw(&mut self, xml: &[u8]) {
        if !xml.is_empty() {
            self.seal();
            self.out.extend_from_slice(xml);
        }
    }

    /// Copies the nodes from one record up to another. With `moved`, elements in the content namespace change it,
    /// as long as all elements around them do.
    pub(super) fn copy(&mut self, inner: &Inner, from: u32, to: u32, moved: Option<Moved<'_>>) {
        let base = self.stack.frames.len();
        let mut at = from;
        while at < to {
            while self.stack.frames.len() > base && self.stack.frames.last().is_some_and(|f| f.until <= at) {
                self.close();
            }
            let head = inner.word(at as usize);
            if head & KIND != ELEMENT {
                if head & DECODE == 0 && head & SPECIAL == 0 {
                    self.raw_text(inner.slice(head, inner.word(at as usize + 1)));
                } else {
                    self.text(&element::text_at(inner, at as usize));
                }
                at += TEXT_WORDS as u32;
                continue;
            }
            let el = ElementRef::new(inner, at);
            let around = self.stack.frames.len() == base || self.stack.frames.last().is_some_and(|f| f.content);
            let own = el.ns();
            let (name_ns, content) = match moved {
                Some(m) if around && own == m.from => (m.to, true),
                _ => (own, false),
            };
            self.open(el.name(), name_ns);
            if let Some(frame) = self.stack.frames.last_mut() {
                frame.until = el.next_record();
                frame.content = content;
            }
            for attr in el.raw_attrs() {
                self.copy_attr(&attr);
            }
            at = el.nodes_from();
        }
        while self.stack.frames.len() > base {
            self.close();
        }
    }

    /// Text that needs no escaping: it was scanned so. Only behind what was a CDATA section it might end a `]]>`.
    fn raw_text(&mut self, raw: &str) {
        if !raw.is_empty() && self.enter() {
            if self.out.last() == Some(&b']') && raw.starts_with([']', '>']) {
                escape::text(&mut self.out, raw);
            } else {
                self.out.extend_from_slice(raw.as_bytes());
            }
        }
    }

    /// Copies an attribute; what needs no decoding needs no escaping, but for the quote that we use.
    pub(super) fn copy_attr(&mut self, attr: &RawAttribute<'_>) {
        if attr.decode || memchr::memchr(b'\'', attr.raw.as_bytes()).is_some() {
            return self.attr_ns(attr.name, attr.ns, &attr.value());
        }
        if attr.ns.is_empty() {
            self.attr_start(attr.name);
        } else {
            self.qualified_name(attr.name, attr.ns);
        }
        self.out.extend_from_slice(attr.raw.as_bytes());
        self.out.push(b'\'');
    }

    /// The bytes; every element must be closed.
    pub fn finish(mut self) -> Vec<u8> {
        debug_assert!(self.stack.frames.is_empty(), "an element is still open");
        while !self.stack.frames.is_empty() {
            self.close();
        }
        std::mem::take(&mut self.out)
    }

    /// The bytes scanned into a stanza.
    pub fn into_stanza(self) -> Stanza {
        let content_ns = self.content_ns().to_owned();
        let start = self.start;
        let out = self.finish();
        Stanza::from_own(out.get(start..).unwrap_or_default(), &content_ns)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        pool::put_stack(std::mem::take(&mut self.stack));
    }
}
