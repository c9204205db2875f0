//! Declarations, and what prefixes stand for (Namespaces in XML 1.0).
use super::super::tape::*;
use super::super::{XmlError, chars, ns};
use super::{Bind, Build, Step, Stop, Tag, bad};

/// Bindings in scope at once; look-ups are linear in it.
const MAX_BINDINGS: usize = 128;

fn prefix_error<T>(why: &'static str) -> Step<T> {
    Err(Stop::Bad(XmlError::BadPrefix(why)))
}

impl Build {
    pub(super) fn declaration(
        &mut self,
        buf: &[u8],
        name: std::ops::Range<usize>,
        value: std::ops::Range<usize>,
        decode: u32,
        tag: &mut Tag,
    ) -> Step<()> {
        let record = self.tape.len();
        // After `xmlns:`.
        let prefix = (name.start + 6).min(name.end)..name.end;
        let special = if prefix.is_empty() { 0 } else { SPECIAL };
        let head = DECL | decode | special | value.start as u32;
        self.tape.extend_from_slice(&[head, value.len() as u32, name.start as u32]);
        let raw = buf.get(value).unwrap_or_default();
        let decoded;
        let (name, mut r) = if decode == 0 {
            (raw, NS_DECL | record as u32)
        } else {
            let text = std::str::from_utf8(raw).map_err(|_| XmlError::UnsupportedEncoding)?;
            decoded = chars::decode(text, true).into_owned();
            self.extra.push(decoded.as_str().into());
            (decoded.as_bytes(), NS_EXTRA | (self.extra.len() - 1) as u32)
        };
        let is_xml = name == ns::XML.as_bytes();
        if name == ns::XMLNS.as_bytes() {
            return prefix_error("the namespace of declarations was bound");
        }
        let content = name.starts_with(b"jabber:")
            && [ns::CLIENT, ns::SERVER, ns::COMPONENT].iter().any(|c| c.as_bytes() == name);
        if prefix.is_empty() {
            if is_xml {
                return prefix_error("the xml namespace as default");
            }
            if name.is_empty() {
                r = NS_NONE;
            }
            // Inside a foreign element the content namespace stays what it is wherever the text is copied.
            if content && self.open.last().is_some_and(|p| is_content(self.ns_bytes(buf, p.record))) {
                self.plain = false;
            }
            tag.default_ns = r;
            return Ok(());
        }
        match buf.get(prefix.clone()) {
            Some(b"xml") if is_xml => return Ok(()),
            Some(b"xml") => return prefix_error("the prefix xml was bound to another namespace"),
            Some(b"xmlns") => return prefix_error("the prefix xmlns was declared"),
            _ if is_xml => return prefix_error("the xml namespace was bound to another prefix"),
            _ if name.is_empty() => return prefix_error("a prefix was bound to nothing"),
            _ => {}
        }
        if content {
            self.plain = false;
        }
        if self.binds.len() >= MAX_BINDINGS.max(usize::from(self.limits.attributes)) {
            return Err(XmlError::Limit("namespaces").into());
        }
        self.binds.push(Bind { prefix: prefix.start as u32, len: prefix.len() as u32, ns: r });
        Ok(())
    }

    /// The namespace name of an element's record, or `None` when it is declared outside.
    fn ns_bytes<'b>(&'b self, buf: &'b [u8], record: u32) -> Option<&'b [u8]> {
        let word = |at: usize| self.tape.get(at).copied().unwrap_or_default();
        let r = word(record as usize + 2);
        let index = (r & !NS_PLACE) as usize;
        match r & NS_PLACE {
            NS_DECL => {
                let at = (word(index) & OFFSET) as usize;
                buf.get(at..at + word(index + 1) as usize)
            }
            NS_EXTRA => self.extra.get(index).map(|s| s.as_bytes()),
            NS_STATIC => Some(b""),
            _ => None,
        }
    }

    /// What the prefix at the front of a name is bound to.
    pub(super) fn resolve(&mut self, buf: &[u8], at: usize, len: usize, outer: Option<&Outer>) -> Step<u32> {
        let prefix = buf.get(at..at + len).unwrap_or_default();
        let same = |b: &&Bind| buf.get(b.prefix as usize..(b.prefix + b.len) as usize) == Some(prefix);
        if let Some(bind) = self.binds.iter().rev().find(same) {
            return Ok(bind.ns);
        }
        match prefix {
            b"xml" => return Ok(NS_XML),
            b"xmlns" => return prefix_error("the prefix xmlns on a name"),
            _ => {}
        }
        let declared = outer.and_then(|o| o.prefixes.iter().position(|(p, _)| p.as_bytes() == prefix));
        match declared {
            Some(i) => {
                self.plain = false;
                Ok(NS_OUTER | (i as u32 + 1))
            }
            None => prefix_error("a prefix that is not declared"),
        }
    }

    /// Namespaces of the tag's prefixed attributes; no two may have the same name in the same namespace.
    pub(super) fn resolve_attributes(&mut self, buf: &[u8], outer: Option<&Outer>) -> Step<()> {
        let qualified = std::mem::take(&mut self.qualified);
        let mut seen: Vec<(u32, &[u8])> = Vec::new();
        let mut result = Ok(());
        for &record in &qualified {
            let record = record as usize;
            let word = |n: usize| self.tape.get(record + n).copied().unwrap_or_default();
            let at = (word(0) & OFFSET) as usize;
            let (prefix, local) = ((word(3) >> 10) as usize & MAX_NAME, word(3) as usize & MAX_NAME);
            if prefix == 0 {
                continue;
            }
            let r = match self.resolve(buf, at, prefix, outer) {
                Ok(r) => r,
                Err(e) => {
                    result = Err(e);
                    break;
                }
            };
            if let Some(w) = self.tape.get_mut(record + 4) {
                *w = r;
            }
            if qualified.len() > 1 {
                let start = at + prefix + 1;
                seen.push((r, buf.get(start..start + local).unwrap_or_default()));
            }
        }
        if result.is_ok() && seen.len() > 1 {
            seen.sort_unstable_by(|a, b| {
                a.1.cmp(b.1).then_with(|| self.ns_of(buf, outer, a.0).cmp(self.ns_of(buf, outer, b.0)))
            });
            if seen.windows(2).any(
                |w| matches!(w, [a, b] if a.1 == b.1 && self.ns_of(buf, outer, a.0) == self.ns_of(buf, outer, b.0)),
            ) {
                result = bad("the same attribute twice, by two prefixes");
            }
        }
        self.qualified = qualified;
        result
    }

    fn ns_of<'b>(&'b self, buf: &'b [u8], outer: Option<&'b Outer>, r: u32) -> &'b [u8] {
        let index = (r & !NS_PLACE) as usize;
        let word = |at: usize| self.tape.get(at).copied().unwrap_or_default();
        match r & NS_PLACE {
            NS_DECL => {
                let at = (word(index) & OFFSET) as usize;
                buf.get(at..at + word(index + 1) as usize).unwrap_or_default()
            }
            NS_STATIC if r == NS_XML => ns::XML.as_bytes(),
            NS_STATIC => b"",
            NS_OUTER => outer_ns(outer, index).as_bytes(),
            _ => self.extra.get(index).map_or(b"", |s| s.as_bytes()),
        }
    }
}

fn is_content(name: Option<&[u8]>) -> bool {
    // Declared outside: the stream's content namespace, or a prefix, which is not plain anyway.
    name.is_none_or(|n| [ns::CLIENT, ns::SERVER, ns::COMPONENT].iter().any(|c| c.as_bytes() == n))
}
