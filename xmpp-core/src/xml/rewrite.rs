//! Forwarding a stanza with a changed start tag.
use super::element::RawAttribute;
use super::tape::*;
use super::writer::Moved;
use super::{ElementRef, Stanza, Writer, escape, ns};

/// A stanza about to be written with a changed start tag. What is not set stays as it was.
///
/// The `xml:lang` that the stanza inherits from its stream header becomes its own (RFC 6120 §8.1.5), and what is in
/// the content namespace of its stream moves to the target's (§4.8.3).
pub struct Rewrite<'a> {
    stanza: &'a Stanza,
    content_ns: &'a str,
    set: [Option<Option<&'a str>>; 4],
    without: Option<&'a dyn Fn(ElementRef<'_>) -> bool>,
    append: Option<&'a dyn Fn(&mut Writer)>,
}

/// The attributes that can be set, in the order of `Rewrite::set`.
const NAMES: [&str; 4] = ["from", "to", "type", "id"];

impl std::fmt::Debug for Rewrite<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rewrite").field("stanza", self.stanza).field("set", &self.set).finish_non_exhaustive()
    }
}

impl<'a> Rewrite<'a> {
    pub(super) fn new(stanza: &'a Stanza, content_ns: &'a str) -> Self {
        Rewrite { stanza, content_ns, set: [None; 4], without: None, append: None }
    }

    /// Sets (or with `None` removes) `from`.
    pub fn from(mut self, from: Option<&'a str>) -> Self {
        self.set[0] = Some(from);
        self
    }

    /// Sets (or with `None` removes) `to`.
    pub fn to(mut self, to: Option<&'a str>) -> Self {
        self.set[1] = Some(to);
        self
    }

    /// Sets (or with `None` removes) `type`.
    pub fn type_(mut self, type_: Option<&'a str>) -> Self {
        self.set[2] = Some(type_);
        self
    }

    /// Sets (or with `None` removes) `id`.
    pub fn id(mut self, id: Option<&'a str>) -> Self {
        self.set[3] = Some(id);
        self
    }

    /// Leaves out direct children for which `f` says true.
    pub fn without(mut self, f: &'a dyn Fn(ElementRef<'_>) -> bool) -> Self {
        self.without = Some(f);
        self
    }

    /// Adds children at the end; the writer stands inside the root.
    pub fn append(mut self, f: &'a dyn Fn(&mut Writer)) -> Self {
        self.append = Some(f);
        self
    }

    /// Appends the bytes to `out`.
    pub fn write(self, out: &mut Vec<u8>) {
        let root = self.stanza.root();
        let from = root.ns();
        let moves = [ns::CLIENT, ns::SERVER, ns::COMPONENT].contains(&from)
            && [ns::CLIENT, ns::SERVER, ns::COMPONENT].contains(&self.content_ns);
        let to = if moves { self.content_ns } else { from };
        if self.stanza.is_plain() {
            self.verbatim(root, to, out);
        } else {
            self.canonical(root, Moved { from, to }, out);
        }
    }

    /// Which of the settable attributes this is.
    fn settable(attr: &RawAttribute<'_>) -> Option<usize> {
        if !attr.ns.is_empty() {
            return None;
        }
        NAMES.iter().position(|n| *n == attr.name)
    }

    fn lang_to_add(&self, root: ElementRef<'_>) -> Option<&'a str> {
        let lang = self.stanza.inherited_lang()?;
        if root.raw_attrs().any(|a| a.name == "lang" && a.ns == ns::XML) { None } else { Some(lang) }
    }

    fn verbatim(&self, root: ElementRef<'_>, to: &str, out: &mut Vec<u8>) {
        let inner = root.inner;
        let text = inner.text.as_bytes();
        let slice = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        let content = inner.content as usize;
        out.reserve(text.len() + 128);
        out.push(b'<');
        out.extend_from_slice(root.name().as_bytes());
        self.verbatim_attributes(root, to, out);

        let empty = slice(0, content).ends_with(b"/>");
        if empty && self.append.is_none() {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        let (_, end) = root.span();
        // The end tag may have blanks in it: its start is where the last `<` is.
        let close = if empty { end } else { memchr::memrchr(b'<', text).unwrap_or(end) };
        let mut copied = content;
        if let Some(without) = self.without {
            for child in root.children().filter(|c| without(*c)) {
                let (start, end) = child.span();
                out.extend_from_slice(slice(copied, start));
                copied = end;
            }
        }
        if self.append.is_none() {
            out.extend_from_slice(slice(copied, end));
            return;
        }
        out.extend_from_slice(slice(copied, close));
        if let Some(append) = self.append {
            let mut writer = Writer::inside(to, std::mem::take(out));
            append(&mut writer);
            *out = writer.leave();
        }
        if empty {
            out.extend_from_slice(b"</");
            out.extend_from_slice(root.name().as_bytes());
            out.push(b'>');
        } else {
            out.extend_from_slice(slice(close, end));
        }
    }

    /// The root's attributes and prefix declarations as they stand, but for those that change.
    fn verbatim_attributes(&self, root: ElementRef<'_>, to: &str, out: &mut Vec<u8>) {
        let inner = root.inner;
        let text = inner.text.as_bytes();
        let mut done = [false; 4];
        let mut lang = self.stanza.inherited_lang();
        if to != self.content_ns {
            quoted(out, "xmlns", to);
        }
        let mut at = root.record as usize + ELEMENT_WORDS;
        while let Some(&head) = inner.tape.get(at) {
            let value = inner.word(at + 1);
            let (start, end) = match head & KIND {
                DECL => {
                    at += DECL_WORDS;
                    if head & SPECIAL == 0 {
                        continue;
                    }
                    (inner.word(at - 1), (head & OFFSET) + value)
                }
                ATTR if head & SPECIAL == 0 => {
                    at += ATTR_WORDS;
                    let len = value >> 24;
                    // All names that can be set are this short.
                    if matches!(len, 2 | 4) {
                        let name = inner.slice(head, len);
                        if let Some(i) = NAMES.iter().position(|n| *n == name)
                            && let Some(set) = self.set[i]
                        {
                            done[i] = true;
                            if let Some(v) = set {
                                quoted(out, name, v);
                            }
                            continue;
                        }
                    }
                    (head & OFFSET, (value & OFFSET) + inner.word(at - 1))
                }
                ATTR => {
                    if inner.word(at + 4) == NS_XML && inner.slice((head & OFFSET) + 4, 5) == "lang=" {
                        lang = None;
                    }
                    at += QUALIFIED_WORDS;
                    (head & OFFSET, (value & OFFSET) + inner.word(at - 3))
                }
                _ => break,
            };
            out.push(b' ');
            out.extend_from_slice(text.get(start as usize..end as usize + 1).unwrap_or_default());
        }
        for (i, name) in NAMES.iter().enumerate() {
            if let (false, Some(Some(v))) = (done[i], self.set[i]) {
                quoted(out, name, v);
            }
        }
        if let Some(lang) = lang {
            quoted(out, "xml:lang", lang);
        }
    }

    fn canonical(&self, root: ElementRef<'_>, moved: Moved<'_>, out: &mut Vec<u8>) {
        let mut writer = Writer::with_buffer(self.content_ns, std::mem::take(out));
        writer.open(root.name(), moved.to);
        let mut done = [false; 4];
        for attr in root.raw_attrs() {
            match Self::settable(&attr).and_then(|i| self.set[i].map(|set| (i, set))) {
                Some((i, set)) => {
                    done[i] = true;
                    writer.attr_opt(NAMES[i], set);
                }
                None => writer.copy_attr(&attr),
            }
        }
        for (i, name) in NAMES.iter().enumerate() {
            if let (false, Some(set)) = (done[i], self.set[i]) {
                writer.attr_opt(name, set);
            }
        }
        if let Some(lang) = self.lang_to_add(root) {
            writer.attr_ns("lang", ns::XML, lang);
        }
        let mut from = root.nodes_from();
        if let Some(without) = self.without {
            for child in root.children().filter(|c| without(*c)) {
                writer.copy(root.inner, from, child.record, Some(moved));
                from = child.next_record();
            }
        }
        writer.copy(root.inner, from, root.next_record(), Some(moved));
        if let Some(append) = self.append {
            append(&mut writer);
        }
        writer.close();
        *out = writer.finish();
    }

    /// As a stanza of its own, re-scanned and indexed.
    pub fn to_stanza(self) -> Stanza {
        let content_ns = self.content_ns;
        let mut out = Vec::new();
        self.write(&mut out);
        Stanza::from_own(&out, content_ns)
    }
}

/// Appends an attribute.
pub(crate) fn quoted(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    escape::attribute(out, value);
    out.push(b'\'');
}
