//! Checks one element token by token and writes its tape.
use super::chars::{self, BLANK, NAME, NAME_ON, NAME_START, is};
use super::tape::*;
use super::{XmlError, XmlLimits, words};

mod namespaces;

/// Why a token couldn't be taken.
pub(super) enum Stop {
    /// The bytes end before the token does.
    More,
    Bad(XmlError),
}

impl From<XmlError> for Stop {
    fn from(e: XmlError) -> Self {
        Stop::Bad(e)
    }
}

type Step<T> = Result<T, Stop>;

fn bad<T>(why: &'static str) -> Step<T> {
    Err(Stop::Bad(XmlError::NotWellFormed(why)))
}

/// An element whose end tag is awaited.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// Its record.
    record: u32,
    /// Bindings in scope before it.
    binds: u32,
    /// Default namespace inside it.
    default_ns: u32,
    /// Offset and length of its qualified name.
    name: u32,
    name_len: u32,
}

/// A prefix bound inside the stanza.
#[derive(Debug, Clone, Copy)]
struct Bind {
    prefix: u32,
    len: u32,
    ns: u32,
}

/// What the token parser has got so far of one element.
#[derive(Debug, Default)]
pub(super) struct Build {
    /// Bytes of an element that came in pieces.
    pub(super) pending: Vec<u8>,
    pub(super) tape: Vec<u32>,
    pub(super) extra: Vec<Box<str>>,
    open: Vec<Open>,
    binds: Vec<Bind>,
    /// Records of the prefixed attributes of the tag at hand.
    qualified: Vec<u32>,
    pub(super) limits: XmlLimits,
    /// The limit of names, as the tape allows it.
    longest_name: usize,
    elements: u32,
    /// Offset of the first token not taken.
    pub(super) at: usize,
    /// Offset after the root's start tag.
    pub(super) content: u32,
    pub(super) plain: bool,
}

/// The start tag at hand.
struct Tag {
    record: usize,
    default_ns: u32,
    /// How many, declarations among them.
    attributes: u16,
    /// A bit for each of their names.
    seen: u64,
}

impl Build {
    /// Ready for a new element, keeping the memory.
    pub(super) fn reset(&mut self, limits: XmlLimits) {
        self.pending.clear();
        self.tape.clear();
        self.extra.clear();
        self.open.clear();
        self.binds.clear();
        self.limits = limits;
        self.longest_name = usize::from(limits.name_bytes).min(MAX_NAME);
        self.elements = 0;
        self.at = 0;
        self.content = 0;
        self.plain = true;
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        self.pending.capacity()
            + self.tape.capacity() * 4
            + self.open.capacity() * size_of::<Open>()
            + self.binds.capacity() * size_of::<Bind>()
            + self.qualified.capacity() * 4
            + self.extra.capacity() * 16
    }

    /// Whether no start tag was taken yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.elements == 0
    }

    /// Takes tokens of `buf`, from `self.at`, until the element is complete; its length then. `buf` holds the
    /// element from its first byte, and is cut at the limit.
    pub(super) fn element(&mut self, buf: &[u8], outer: Option<&Outer>) -> Step<usize> {
        loop {
            let at = self.at;
            let next = match buf.get(at) {
                None => return Err(Stop::More),
                Some(b'<') => match buf.get(at + 1) {
                    None => return Err(Stop::More),
                    Some(b'/') => {
                        let next = self.end_tag(buf, at).map_err(|e| settle(e, buf, at))?;
                        if self.open.is_empty() {
                            return Ok(next);
                        }
                        next
                    }
                    Some(b'!') if self.open.is_empty() => {
                        return Err(XmlError::Restricted("comment, document type or CDATA between stanzas").into());
                    }
                    Some(b'!') => self.cdata(buf, at)?,
                    Some(b'?') => return Err(XmlError::Restricted("processing instruction").into()),
                    Some(&b) if b < 0x80 && !is(b, NAME_START) => return Err(no_name(b).into()),
                    _ => {
                        let next = self.start_tag_or_undo(buf, at, outer)?;
                        if self.open.is_empty() {
                            return Ok(next);
                        }
                        next
                    }
                },
                _ => self.text(buf, at)?,
            };
            self.at = next;
        }
    }

    /// A start tag; when its end isn't there yet, all is as before.
    pub(super) fn start_tag_or_undo(&mut self, buf: &[u8], at: usize, outer: Option<&Outer>) -> Step<usize> {
        let (tape, binds, extra, plain) = (self.tape.len(), self.binds.len(), self.extra.len(), self.plain);
        self.start_tag(buf, at, outer).map_err(|e| {
            self.tape.truncate(tape);
            self.binds.truncate(binds);
            self.extra.truncate(extra);
            self.plain = plain;
            settle(e, buf, at)
        })
    }

    fn start_tag(&mut self, buf: &[u8], at: usize, outer: Option<&Outer>) -> Step<usize> {
        let name = at + 1;
        let (name_end, prefix) = self.name(buf, name)?;
        let record = self.tape.len();
        self.tape.extend_from_slice(&[ELEMENT | at as u32, 0, 0, 0, 0]);
        let binds = self.binds.len() as u32;
        let parent = self.open.last().copied();
        let inherited = match parent {
            Some(p) => p.default_ns,
            None if outer.is_some() => NS_OUTER_DEFAULT,
            None => NS_NONE,
        };
        let mut tag = Tag { record, default_ns: inherited, attributes: 0, seen: 0 };
        self.qualified.clear();
        let mut i = name_end;
        let empty = loop {
            let blank = match buf.get(i..i + 2) {
                Some(&[b' ', b]) if b > b' ' => i + 1,
                Some(b"/>") => {
                    i += 2;
                    break true;
                }
                _ => skip(buf, i, BLANK),
            };
            match buf.get(blank) {
                None => return Err(Stop::More),
                Some(b'>') => {
                    i = blank + 1;
                    break false;
                }
                Some(b'/') => match buf.get(blank + 1) {
                    Some(b'>') => {
                        i = blank + 2;
                        break true;
                    }
                    _ => return bad("/ in a tag"),
                },
                _ if blank == i => return bad("no blank before an attribute"),
                _ => {}
            }
            i = self.attribute(buf, blank, &mut tag)?;
        };

        if self.open.len() >= usize::from(self.limits.depth) {
            return Err(XmlError::Limit("depth").into());
        }
        if self.elements >= self.limits.elements {
            return Err(XmlError::Limit("elements").into());
        }
        let element_ns = match prefix {
            0 => tag.default_ns,
            len => {
                // Children may take the default namespace from around it, which then isn't simply the parent's.
                self.plain = false;
                self.resolve(buf, name, len, outer)?
            }
        };
        if !self.qualified.is_empty() {
            self.resolve_attributes(buf, outer)?;
        }
        let local = name_end - name - if prefix == 0 { 0 } else { prefix + 1 };
        if let Some(head) = self.tape.get_mut(record + 1..record + 3) {
            head.copy_from_slice(&[names(prefix, local), element_ns]);
        }
        self.elements += 1;
        if parent.is_none() {
            self.content = i as u32;
        }
        if empty {
            self.finish(record, i);
            self.binds.truncate(binds as usize);
        } else {
            let name_len = (name_end - name) as u32;
            let default_ns = tag.default_ns;
            self.open.push(Open { record: record as u32, binds, default_ns, name: name as u32, name_len });
        }
        Ok(i)
    }

    fn finish(&mut self, record: usize, end: usize) {
        let next = self.tape.len() as u32;
        if let Some(tail) = self.tape.get_mut(record + 3..record + 5) {
            tail.copy_from_slice(&[next, end as u32]);
        }
    }

    /// A qualified name at `at`: where it ends, and the length of its prefix (0 for none).
    #[inline(always)]
    fn name(&self, buf: &[u8], at: usize) -> Step<(usize, usize)> {
        let end = skip(buf, at, NAME);
        match (buf.get(at), buf.get(end)) {
            (Some(&first), Some(&b)) if !is(b, NAME_ON) && is(first, NAME_START) => {
                if end - at > self.longest_name {
                    return Err(XmlError::Limit("name-too-long").into());
                }
                Ok((end, 0))
            }
            _ => self.unusual_name(buf, at),
        }
    }

    /// A name with a prefix or with characters beyond ASCII, or none.
    #[inline(never)]
    fn unusual_name(&self, buf: &[u8], at: usize) -> Step<(usize, usize)> {
        let mut i = at;
        let mut prefix = 0;
        let mut part = at;
        loop {
            match buf.get(i) {
                Some(&b) if is(b, NAME) => {
                    if i == part && !is(b, NAME_START) {
                        return bad("a name starts with a digit, dash or dot");
                    }
                    i += 1;
                }
                Some(b':') => {
                    if i == at {
                        return bad("a name starts with a colon");
                    }
                    if part != at {
                        return bad("a colon too many in a name");
                    }
                    prefix = i - at;
                    i += 1;
                    part = i;
                }
                Some(&b) if b >= 0x80 => {
                    let (c, len) = chars::char_at(buf, i).ok_or(XmlError::UnsupportedEncoding)?;
                    if !(chars::is_name_start(c) || i > part && chars::is_name_char(c)) {
                        return bad("character not allowed in a name");
                    }
                    i += len;
                }
                None => return Err(Stop::More),
                Some(_) if i == part => return bad("a name is missing"),
                Some(_) => break,
            }
        }
        if i - at > self.longest_name {
            return Err(XmlError::Limit("name-too-long").into());
        }
        Ok((i, prefix))
    }

    #[inline(always)]
    fn attribute(&mut self, buf: &[u8], at: usize, tag: &mut Tag) -> Step<usize> {
        let (name_end, prefix) = self.name(buf, at)?;
        let (value, quote) = match buf.get(name_end..name_end + 2) {
            Some(&[b'=', quote @ (b'\'' | b'"')]) => (name_end + 2, quote),
            _ => spaced_equals(buf, name_end)?,
        };
        let (end, decode) = self.value(buf, value, quote)?;

        if tag.attributes >= self.limits.attributes {
            return Err(XmlError::Limit("attributes").into());
        }
        tag.attributes += 1;
        let name = buf.get(at..name_end).unwrap_or_default();
        self.unique(buf, name, tag)?;
        if name.starts_with(b"xmlns") && (prefix == 5 || name.len() == 5) {
            self.declaration(buf, at..name_end, value..end, decode, tag)?;
        } else if prefix == 0 && name.len() <= MAX_SHORT {
            let head = ATTR | decode | at as u32;
            self.tape.extend_from_slice(&[head, (name.len() << 24 | value) as u32, (end - value) as u32]);
        } else {
            self.qualified.push(self.tape.len() as u32);
            let local = name.len() - if prefix == 0 { 0 } else { prefix + 1 };
            let head = ATTR | SPECIAL | decode | at as u32;
            let words = [head, value as u32, (end - value) as u32, names(prefix, local), NS_NONE];
            self.tape.extend_from_slice(&words);
        }
        Ok(end + 1)
    }

    /// An attribute value up to its closing quote.
    #[inline(always)]
    fn value(&mut self, buf: &[u8], at: usize, quote: u8) -> Step<(usize, u32)> {
        let end = words::value_stop(buf, at, quote);
        if buf.get(end) == Some(&quote) { Ok((end, 0)) } else { self.unusual_value(buf, end, quote) }
    }

    #[inline(never)]
    fn unusual_value(&mut self, buf: &[u8], at: usize, quote: u8) -> Step<(usize, u32)> {
        let mut i = at;
        let mut flags = 0;
        loop {
            match buf.get(i) {
                None => return Err(Stop::More),
                Some(&b) if b == quote => return Ok((i, flags)),
                Some(b'\t' | b'\n' | b'\r') => {
                    flags = DECODE;
                    i += 1;
                }
                Some(b'&') => {
                    i += self.reference(buf, i)?;
                    flags = DECODE;
                }
                Some(0x80..) => i = beyond_ascii(buf, i)?,
                Some(b'<') => return bad("< in an attribute value"),
                Some(_) => return bad("a control character"),
            }
            i = words::value_stop(buf, i, quote);
        }
    }

    fn reference(&mut self, buf: &[u8], at: usize) -> Step<usize> {
        let r = chars::reference(buf.get(at..).unwrap_or_default())?;
        if r.numeric {
            self.plain = false;
        }
        Ok(r.len)
    }

    /// No qualified attribute name twice in a tag. A bit for each name spares the comparison in most tags.
    #[inline(always)]
    fn unique(&self, buf: &[u8], name: &[u8], tag: &mut Tag) -> Step<()> {
        let (first, last) = (name.first().copied().unwrap_or_default(), name.last().copied().unwrap_or_default());
        let hash = u32::from(first) << 8 | u32::from(last) | (name.len() as u32) << 16;
        let bit = 1u64 << (hash.wrapping_mul(0x9E37_79B9) >> 26);
        let collides = tag.seen & bit != 0;
        tag.seen |= bit;
        if collides && self.has_attribute(buf, name, tag) {
            return bad("the same attribute twice");
        }
        Ok(())
    }

    /// Whether the tag at hand has that attribute or declaration. Linear; their number is limited.
    #[inline(never)]
    fn has_attribute(&self, buf: &[u8], name: &[u8], tag: &Tag) -> bool {
        let word = |at: usize| self.tape.get(at).copied().unwrap_or_default();
        let mut at = tag.record + ELEMENT_WORDS;
        while at < self.tape.len() {
            let head = word(at);
            let start = match head & KIND {
                DECL => {
                    at += DECL_WORDS;
                    word(at - 1)
                }
                _ if head & SPECIAL != 0 => {
                    at += QUALIFIED_WORDS;
                    head
                }
                _ => {
                    at += ATTR_WORDS;
                    head
                }
            };
            let start = (start & OFFSET) as usize;
            let end = start + name.len();
            let goes_on = buf.get(end).is_some_and(|&b| is(b, NAME | NAME_ON));
            if !goes_on && buf.get(start..end) == Some(name) {
                return true;
            }
        }
        false
    }

    fn end_tag(&mut self, buf: &[u8], at: usize) -> Step<usize> {
        let Some(open) = self.open.last().copied() else {
            return bad("an end tag without start tag");
        };
        let name = open.name as usize;
        let len = open.name_len as usize;
        let expected = buf.get(name..name + len).unwrap_or_default();
        let rest = buf.get(at + 2..).unwrap_or_default();
        if !rest.starts_with(expected) {
            return bad("an end tag with another name");
        }
        let mut i = at + 2 + len;
        if buf.get(i) != Some(&b'>') {
            i = skip(buf, i, BLANK);
            match buf.get(i) {
                None => return Err(Stop::More),
                Some(b'>') => {}
                Some(_) => return bad("an end tag with another name"),
            }
        }
        self.open.pop();
        self.finish(open.record as usize, i + 1);
        self.binds.truncate(open.binds as usize);
        Ok(i + 1)
    }

    /// Text up to the next `<`.
    fn text(&mut self, buf: &[u8], at: usize) -> Step<usize> {
        let plain = self.plain;
        let (end, flags) = self.text_run(buf, at).map_err(|e| {
            self.plain = plain;
            match memchr::memchr(b'<', buf.get(at..).unwrap_or_default()) {
                Some(_) => e,
                None => Stop::More,
            }
        })?;
        self.tape.extend_from_slice(&[TEXT | flags | at as u32, (end - at) as u32]);
        Ok(end)
    }

    #[inline(always)]
    fn text_run(&mut self, buf: &[u8], at: usize) -> Step<(usize, u32)> {
        let mut i = at;
        let mut flags = 0;
        loop {
            i = words::text_stop(buf, i);
            match buf.get(i) {
                None => return Err(Stop::More),
                Some(b'<') => return Ok((i, flags)),
                Some(b'&') => {
                    i += self.reference(buf, i)?;
                    flags = DECODE;
                }
                Some(b']') if buf.get(i..i + 3) == Some(b"]]>") => return bad("]]> in text"),
                Some(b']' | b'\t' | b'\n') => i += 1,
                Some(b'\r') => {
                    flags = DECODE;
                    i += 1;
                }
                Some(0x80..) => i = beyond_ascii(buf, i)?,
                Some(_) => return bad("a control character"),
            }
        }
    }

    /// `<![CDATA[…]]>`; all else that starts with `<!` is forbidden.
    fn cdata(&mut self, buf: &[u8], at: usize) -> Step<usize> {
        const START: &[u8] = b"<![CDATA[";
        let rest = buf.get(at..).unwrap_or_default();
        if !rest.starts_with(START) {
            return Err(if START.starts_with(rest) {
                Stop::More
            } else {
                XmlError::Restricted("comment or document type").into()
            });
        }
        let start = at + START.len();
        let Some(len) = memchr::memmem::find(buf.get(start..).unwrap_or_default(), b"]]>") else {
            return Err(Stop::More);
        };
        let inside = buf.get(start..start + len).unwrap_or_default();
        let mut i = 0;
        let mut decode = 0;
        loop {
            i = words::text_stop(inside, i);
            match inside.get(i) {
                None => break,
                Some(0x80..) => i = beyond_ascii(inside, i)?,
                Some(b'\r') => {
                    decode = DECODE;
                    i += 1;
                }
                Some(b'\t' | b'\n' | 0x20..) => i += 1,
                Some(_) => return bad("a control character"),
            }
        }
        self.plain = false;
        if len > 0 {
            self.tape.extend_from_slice(&[TEXT | SPECIAL | decode | start as u32, len as u32]);
        }
        Ok(start + len + 3)
    }
}

/// An ASCII character after `<` that starts no name needs no more looking at.
pub(super) fn no_name(b: u8) -> XmlError {
    XmlError::NotWellFormed(if b == b':' { "a name starts with a colon" } else { "no name after <" })
}

/// An error in a tag counts once the tag's end is there; until then it might be a limit that is passed first.
fn settle(e: Stop, buf: &[u8], at: usize) -> Stop {
    match e {
        Stop::Bad(_) if super::seek::tag_end(buf.get(at..).unwrap_or_default()).is_none() => Stop::More,
        e => e,
    }
}

/// Past the characters beyond ASCII; U+FFFE and U+FFFF are none of XML.
fn beyond_ascii(buf: &[u8], mut at: usize) -> Step<usize> {
    while let Some(&b @ 0x80..) = buf.get(at) {
        if b == 0xEF && matches!(buf.get(at + 1..at + 3), Some([0xBF, 0xBE | 0xBF])) {
            return bad("U+FFFE or U+FFFF");
        }
        at += 1;
    }
    Ok(at)
}

/// Past a `=` with blanks around it: where the value starts, and its quote.
#[inline(never)]
fn spaced_equals(buf: &[u8], at: usize) -> Step<(usize, u8)> {
    let mut i = skip(buf, at, BLANK);
    match buf.get(i) {
        None => return Err(Stop::More),
        Some(b'=') => i = skip(buf, i + 1, BLANK),
        Some(_) => return bad("an attribute without value"),
    }
    match buf.get(i) {
        None => Err(Stop::More),
        Some(&quote @ (b'\'' | b'"')) => Ok((i + 1, quote)),
        Some(_) => bad("an attribute value without quotes"),
    }
}

/// Past all bytes of the class.
#[inline(always)]
pub(super) fn skip(buf: &[u8], at: usize, class: u8) -> usize {
    let rest = buf.get(at..).unwrap_or_default();
    at + rest.iter().position(|&b| !is(b, class)).unwrap_or(rest.len())
}
