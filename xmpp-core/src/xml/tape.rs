//! The index over a stanza's text: records of 32-bit words, in document order.
//!
//! | record | words |
//! |---|---|
//! | element | kind, flags, offset of `<` · prefix and name lengths · namespace · next sibling's record · end offset |
//! | attribute | kind, flags, offset of the name · name length and offset of the value · length of the value |
//! | qualified attribute | the same and: prefix and name lengths · namespace |
//! | namespace declaration | kind, flags, offset of the value · length of the value · offset of the name |
//! | text | kind, flags, offset · length |
use std::sync::Arc;

/// A stanza's text ends before this offset: offsets have 24 bits.
pub(super) const MAX_BYTES: usize = (1 << 24) - 1;
/// Lengths of prefixes and local names have 10 bits.
pub(super) const MAX_NAME: usize = 1023;
/// Attribute names up to here need no second length.
pub(super) const MAX_SHORT: usize = 255;

pub(super) const KIND: u32 = 3 << 30;
pub(super) const ELEMENT: u32 = 0 << 30;
pub(super) const ATTR: u32 = 1 << 30;
pub(super) const DECL: u32 = 2 << 30;
pub(super) const TEXT: u32 = 3 << 30;

/// The raw value holds references or blanks that XML normalises.
pub(super) const DECODE: u32 = 1 << 29;
/// Text: from a CDATA section. Attribute: of the qualified form. Declaration: of a prefix.
pub(super) const SPECIAL: u32 = 1 << 28;

pub(super) const OFFSET: u32 = (1 << 24) - 1;

pub(super) const ELEMENT_WORDS: usize = 5;
pub(super) const ATTR_WORDS: usize = 3;
pub(super) const QUALIFIED_WORDS: usize = 5;
pub(super) const DECL_WORDS: usize = 3;
pub(super) const TEXT_WORDS: usize = 2;

pub(super) fn names(prefix: usize, local: usize) -> u32 {
    ((prefix & MAX_NAME) << 10 | (local & MAX_NAME)) as u32
}

/// Where a namespace name is: two bits of place, then an index.
pub(super) const NS_PLACE: u32 = 3 << 30;
/// A declaration's record on the tape.
pub(super) const NS_DECL: u32 = 0 << 30;
/// [`NONE`] or [`XML`].
pub(super) const NS_STATIC: u32 = 1 << 30;
/// What surrounds the stanza: 0 is the default namespace, the rest prefixes.
pub(super) const NS_OUTER: u32 = 2 << 30;
/// Declared with references in it: the decoded name.
pub(super) const NS_EXTRA: u32 = 3 << 30;

pub(super) const NS_NONE: u32 = NS_STATIC;
pub(super) const NS_XML: u32 = NS_STATIC | 1;
pub(super) const NS_OUTER_DEFAULT: u32 = NS_OUTER;

/// What a stream header (or a caller) declares around stanzas.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outer {
    /// The root's qualified name, which the end tag must repeat.
    pub(super) root: Box<str>,
    pub(super) content_ns: Box<str>,
    /// Prefix and namespace.
    pub(super) prefixes: Box<[(Box<str>, Box<str>)]>,
    pub(super) lang: Option<Box<str>>,
}

/// What a [`Stanza`](super::Stanza) shares.
#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) text: String,
    pub(super) tape: Vec<u32>,
    pub(super) outer: Option<Arc<Outer>>,
    /// Namespace names that had to be decoded.
    pub(super) extra: Box<[Box<str>]>,
    /// Offset just after the root's start tag.
    pub(super) content: u32,
    pub(super) plain: bool,
}

impl Inner {
    #[inline]
    pub(super) fn word(&self, at: usize) -> u32 {
        self.tape.get(at).copied().unwrap_or_default()
    }

    #[inline]
    pub(super) fn slice(&self, offset: u32, len: u32) -> &str {
        let at = (offset & OFFSET) as usize;
        self.text.get(at..at + len as usize).unwrap_or_default()
    }

    pub(super) fn ns(&self, r: u32) -> &str {
        let index = (r & !NS_PLACE) as usize;
        match r & NS_PLACE {
            NS_DECL => self.slice(self.word(index), self.word(index + 1)),
            NS_STATIC if r == NS_XML => super::ns::XML,
            NS_STATIC => "",
            NS_OUTER => outer_ns(self.outer.as_deref(), index),
            _ => self.extra.get(index).map_or("", |s| s),
        }
    }
}

pub(super) fn outer_ns(outer: Option<&Outer>, index: usize) -> &str {
    let Some(outer) = outer else { return "" };
    match index.checked_sub(1) {
        None => &outer.content_ns,
        Some(i) => outer.prefixes.get(i).map_or("", |(_, ns)| ns),
    }
}
