//! Walking a stanza without allocating.
use super::tape::*;
use super::{Stanza, Writer, chars, ns};
use std::borrow::Cow;

/// An element inside a stanza: a `Copy` cursor.
#[derive(Clone, Copy)]
pub struct ElementRef<'a> {
    pub(super) inner: &'a Inner,
    pub(super) record: u32,
}

impl std::fmt::Debug for ElementRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.raw())
    }
}

/// An attribute other than a namespace declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Namespace, "" for none.
    pub ns: &'a str,
    /// Prefix, "" for none.
    pub prefix: &'a str,
    /// Local name.
    pub name: &'a str,
    /// Value, references resolved and white space normalised (XML 1.0 §3.3.3).
    pub value: Cow<'a, str>,
}

/// A child node.
#[derive(Clone, Debug)]
pub enum Node<'a> {
    /// An element.
    Element(ElementRef<'a>),
    /// Text, references resolved and line ends normalised (XML 1.0 §2.11). Neighbouring CDATA sections and text
    /// are one node.
    Text(Cow<'a, str>),
}

/// An attribute as it stands in the text.
#[derive(Clone, Copy)]
pub(super) struct RawAttribute<'a> {
    pub(super) ns: &'a str,
    pub(super) prefix: &'a str,
    pub(super) name: &'a str,
    pub(super) raw: &'a str,
    pub(super) decode: bool,
}

impl<'a> RawAttribute<'a> {
    pub(super) fn value(&self) -> Cow<'a, str> {
        if self.decode { chars::decode(self.raw, true) } else { Cow::Borrowed(self.raw) }
    }
}

impl<'a> ElementRef<'a> {
    pub(super) fn new(inner: &'a Inner, record: u32) -> Self {
        ElementRef { inner, record }
    }

    #[inline]
    fn word(&self, n: usize) -> u32 {
        self.inner.word(self.record as usize + n)
    }

    #[inline]
    fn names(&self) -> (u32, u32) {
        let names = self.word(1);
        (names >> 10 & MAX_NAME as u32, names & MAX_NAME as u32)
    }

    /// The record after this element.
    pub(super) fn next_record(&self) -> u32 {
        self.word(3)
    }

    /// Local name.
    pub fn name(&self) -> &'a str {
        let (prefix, local) = self.names();
        let skip = if prefix == 0 { 1 } else { prefix + 2 };
        self.inner.slice((self.word(0) & OFFSET) + skip, local)
    }

    /// Prefix, "" for none.
    pub fn prefix(&self) -> &'a str {
        self.inner.slice((self.word(0) & OFFSET) + 1, self.names().0)
    }

    /// Namespace name, "" for none.
    pub fn ns(&self) -> &'a str {
        self.inner.ns(self.word(2))
    }

    /// Whether it has this name in this namespace.
    #[inline]
    pub fn is(&self, name: &str, ns: &str) -> bool {
        self.names().1 as usize == name.len() && self.name() == name && self.ns() == ns
    }

    /// The value of an attribute in no namespace.
    pub fn attr(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut at = self.record as usize + ELEMENT_WORDS;
        loop {
            let head = self.inner.tape.get(at).copied()?;
            match head & KIND {
                ATTR if head & SPECIAL == 0 => {
                    let value = self.inner.word(at + 1);
                    if (value >> 24) as usize == name.len() && self.inner.slice(head, name.len() as u32) == name {
                        let raw = self.inner.slice(value, self.inner.word(at + 2));
                        return Some(if head & DECODE != 0 { chars::decode(raw, true) } else { Cow::Borrowed(raw) });
                    }
                    at += ATTR_WORDS;
                }
                // Only names too long for the short form are here without a namespace.
                ATTR if name.len() > MAX_SHORT => return self.attr_ns(name, ""),
                ATTR => at += QUALIFIED_WORDS,
                DECL => at += DECL_WORDS,
                _ => return None,
            }
        }
    }

    /// The value of an attribute in a namespace.
    pub fn attr_ns(&self, name: &str, ns: &str) -> Option<Cow<'a, str>> {
        self.raw_attrs().find(|a| a.name == name && a.ns == ns).map(|a| a.value())
    }

    /// Its own `xml:lang`.
    pub fn lang(&self) -> Option<Cow<'a, str>> {
        self.attr_ns("lang", ns::XML)
    }

    /// All attributes except namespace declarations.
    pub fn attrs(&self) -> Attributes<'a> {
        Attributes(self.raw_attrs())
    }

    pub(super) fn raw_attrs(&self) -> RawAttributes<'a> {
        RawAttributes { inner: self.inner, at: self.record as usize + ELEMENT_WORDS }
    }

    /// Child elements.
    pub fn children(&self) -> Children<'a> {
        Children(self.nodes())
    }

    /// First child element of that name and namespace.
    pub fn child(&self, name: &str, ns: &str) -> Option<ElementRef<'a>> {
        self.children().find(|c| c.is(name, ns))
    }

    /// The record of the first node inside.
    pub(super) fn nodes_from(&self) -> u32 {
        self.first_node() as u32
    }

    /// The first record that is no attribute and no declaration.
    fn first_node(&self) -> usize {
        let mut at = self.record as usize + ELEMENT_WORDS;
        loop {
            let head = self.inner.tape.get(at).copied().unwrap_or(TEXT);
            at += match head & KIND {
                ATTR if head & SPECIAL != 0 => QUALIFIED_WORDS,
                ATTR => ATTR_WORDS,
                DECL => DECL_WORDS,
                _ => return at,
            };
        }
    }

    /// Child elements and text, in order.
    pub fn nodes(&self) -> Nodes<'a> {
        Nodes { inner: self.inner, at: self.first_node(), end: self.next_record() as usize }
    }

    /// The text directly inside, joined.
    pub fn text(&self) -> Cow<'a, str> {
        let mut all = Cow::Borrowed("");
        let mut nodes = self.nodes();
        while let Some(at) = nodes.next_text() {
            join(&mut all, text_at(self.inner, at));
        }
        all
    }

    /// The element's own bytes as received.
    pub fn raw(&self) -> &'a str {
        let start = self.word(0) & OFFSET;
        self.inner.slice(start, self.word(4).saturating_sub(start))
    }

    /// Offsets of the element's first byte and after its last.
    pub(super) fn span(&self) -> (usize, usize) {
        ((self.word(0) & OFFSET) as usize, self.word(4) as usize)
    }

    /// A copy that stands alone: canonical, with the namespaces it needs.
    pub fn to_stanza(&self) -> Stanza {
        let mut writer = Writer::new("");
        writer.element(*self);
        writer.into_stanza()
    }
}

fn join<'a>(all: &mut Cow<'a, str>, more: Cow<'a, str>) {
    if all.is_empty() {
        *all = more;
    } else {
        all.to_mut().push_str(&more);
    }
}

/// The text of a record.
pub(super) fn text_at(inner: &Inner, at: usize) -> Cow<'_, str> {
    let head = inner.word(at);
    let raw = inner.slice(head, inner.word(at + 1));
    match (head & DECODE != 0, head & SPECIAL != 0) {
        (false, _) => Cow::Borrowed(raw),
        (true, false) => chars::decode(raw, false),
        (true, true) => chars::decode_cdata(raw),
    }
}

#[derive(Clone)]
pub(super) struct RawAttributes<'a> {
    inner: &'a Inner,
    at: usize,
}

impl<'a> Iterator for RawAttributes<'a> {
    type Item = RawAttribute<'a>;

    fn next(&mut self) -> Option<RawAttribute<'a>> {
        loop {
            let head = self.inner.tape.get(self.at).copied()?;
            match head & KIND {
                DECL => self.at += DECL_WORDS,
                ATTR => {
                    let inner = self.inner;
                    let (value, len) = (inner.word(self.at + 1), inner.word(self.at + 2));
                    let raw = inner.slice(value, len);
                    let start = head & OFFSET;
                    let (ns, prefix, name) = if head & SPECIAL == 0 {
                        self.at += ATTR_WORDS;
                        ("", "", inner.slice(start, value >> 24))
                    } else {
                        let names = inner.word(self.at + 3);
                        let (prefix, local) = (names >> 10 & MAX_NAME as u32, names & MAX_NAME as u32);
                        let ns = inner.ns(inner.word(self.at + 4));
                        self.at += QUALIFIED_WORDS;
                        let skip = if prefix == 0 { 0 } else { prefix + 1 };
                        (ns, inner.slice(start, prefix), inner.slice(start + skip, local))
                    };
                    return Some(RawAttribute { ns, prefix, name, raw, decode: head & DECODE != 0 });
                }
                _ => return None,
            }
        }
    }
}

/// Iterator over attributes.
#[derive(Clone)]
pub struct Attributes<'a>(RawAttributes<'a>);

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        self.0.next().map(|a| Attribute { ns: a.ns, prefix: a.prefix, name: a.name, value: a.value() })
    }
}

/// Iterator over child elements.
#[derive(Clone)]
pub struct Children<'a>(Nodes<'a>);

impl<'a> Iterator for Children<'a> {
    type Item = ElementRef<'a>;

    fn next(&mut self) -> Option<ElementRef<'a>> {
        let Nodes { inner, at, end } = &mut self.0;
        while *at < *end {
            let record = *at;
            if inner.word(record) & KIND == ELEMENT {
                let element = ElementRef::new(inner, record as u32);
                *at = element.next_record() as usize;
                return Some(element);
            }
            *at += TEXT_WORDS;
        }
        None
    }
}

/// Iterator over child nodes.
#[derive(Clone)]
pub struct Nodes<'a> {
    inner: &'a Inner,
    at: usize,
    end: usize,
}

impl Nodes<'_> {
    /// The record of the next text, skipping elements.
    fn next_text(&mut self) -> Option<usize> {
        while self.at < self.end {
            let at = self.at;
            if self.inner.word(at) & KIND != ELEMENT {
                self.at += TEXT_WORDS;
                return Some(at);
            }
            self.at = self.inner.word(at + 3) as usize;
        }
        None
    }
}

impl<'a> Iterator for Nodes<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        if self.at >= self.end {
            return None;
        }
        if self.inner.word(self.at) & KIND == ELEMENT {
            let element = ElementRef::new(self.inner, self.at as u32);
            self.at = element.next_record() as usize;
            return Some(Node::Element(element));
        }
        let mut text = Cow::Borrowed("");
        while self.at < self.end && self.inner.word(self.at) & KIND != ELEMENT {
            join(&mut text, text_at(self.inner, self.at));
            self.at += TEXT_WORDS;
        }
        Some(Node::Text(text))
    }
}
