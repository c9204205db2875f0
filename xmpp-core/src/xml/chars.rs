//! Characters of XML 1.0 (fifth edition) and what references stand for.
use super::XmlError;
use std::borrow::Cow;

pub(super) const NAME_START: u8 = 1;
pub(super) const NAME: u8 = 2;
pub(super) const BLANK: u8 = 4;
/// Bytes with which a name may go on that is not simple: a colon, or characters beyond ASCII.
pub(super) const NAME_ON: u8 = 8;
const fn class(b: u8) -> u8 {
    let mut c = 0;
    if b.is_ascii_alphabetic() || b == b'_' {
        c |= NAME_START | NAME;
    }
    if b.is_ascii_digit() || b == b'-' || b == b'.' {
        c |= NAME;
    }
    if b >= 0x80 || b == b':' {
        c |= NAME_ON;
    }
    if matches!(b, b' ' | b'\t' | b'\n' | b'\r') {
        c |= BLANK;
    }
    c
}

pub(super) static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = class(i as u8);
        i += 1;
    }
    table
};

#[inline(always)]
pub(super) fn is(b: u8, class: u8) -> bool {
    CLASS[usize::from(b)] & class != 0
}

pub(super) fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

pub(super) fn is_name_start(c: char) -> bool {
    matches!(c, 'A'..='Z' | '_' | 'a'..='z'
        | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}'
        | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

pub(super) fn is_name_char(c: char) -> bool {
    is_name_start(c) || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// Whether `s` is an NCName (Namespaces in XML §3).
pub(super) fn is_ncname(s: &str) -> bool {
    let mut chars = s.chars();
    chars.next().is_some_and(is_name_start) && chars.all(is_name_char)
}

/// The character that starts at `at`, and its length.
pub(super) fn char_at(buf: &[u8], at: usize) -> Option<(char, usize)> {
    let len = match *buf.get(at)? {
        0..=0x7F => 1,
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        _ => 4,
    };
    let s = std::str::from_utf8(buf.get(at..at.checked_add(len)?)?).ok()?;
    s.chars().next().map(|c| (c, len))
}

/// A reference, read from its `&`.
pub(super) struct Reference {
    pub(super) value: char,
    /// Bytes of the reference, `&` and `;` included.
    pub(super) len: usize,
    pub(super) numeric: bool,
}

/// Reads the reference at the front of `buf`, which starts with `&`.
pub(super) fn reference(buf: &[u8]) -> Result<Reference, XmlError> {
    const UNFINISHED: XmlError = XmlError::NotWellFormed("a bare & or an unfinished reference");
    let rest = buf.get(1..).unwrap_or_default();
    for (name, value) in [("lt;", '<'), ("gt;", '>'), ("amp;", '&'), ("apos;", '\''), ("quot;", '"')] {
        if rest.starts_with(name.as_bytes()) {
            return Ok(Reference { value, len: name.len() + 1, numeric: false });
        }
    }
    let Some(rest) = rest.strip_prefix(b"#") else {
        // Only a name followed by `;` is an entity; all else is a bare ampersand.
        let mut len = 0;
        while let Some((c, n)) = char_at(rest, len) {
            match c {
                ';' if len > 0 => return Err(XmlError::Restricted("entity reference")),
                c if is_name_char(c) || c == ':' => len += n,
                _ => break,
            }
        }
        return Err(UNFINISHED);
    };
    let (digits, radix, prefix) = match rest.strip_prefix(b"x") {
        Some(hex) => (hex, 16, 3),
        None => (rest, 10, 2),
    };
    let mut value: u32 = 0;
    for (count, &b) in digits.iter().enumerate() {
        if b == b';' && count > 0 {
            return match char::from_u32(value).filter(|c| is_xml_char(*c)) {
                Some(value) => Ok(Reference { value, len: prefix + count + 1, numeric: true }),
                None => Err(XmlError::NotWellFormed("reference to a character outside XML")),
            };
        }
        let digit = char::from(b).to_digit(radix).ok_or(UNFINISHED)?;
        value = value.saturating_mul(radix).saturating_add(digit);
    }
    Err(UNFINISHED)
}

/// Resolves references and normalises line ends; in attributes all literal blanks become spaces.
pub(super) fn decode(raw: &str, attribute: bool) -> Cow<'_, str> {
    let special = |b: &u8| matches!(b, b'&' | b'\r') || (attribute && matches!(b, b'\t' | b'\n'));
    let mut rest = raw;
    let mut out = String::new();
    while let Some(at) = rest.bytes().position(|b| special(&b)) {
        let (before, from) = rest.split_at(at);
        if out.is_empty() {
            out.reserve(raw.len());
        }
        out.push_str(before);
        let taken = match from.as_bytes() {
            [b'&', ..] => match reference(from.as_bytes()) {
                Ok(r) => {
                    out.push(r.value);
                    r.len
                }
                // What was scanned has no such reference.
                Err(_) => {
                    out.push('&');
                    1
                }
            },
            [b'\r', b'\n', ..] => {
                out.push(if attribute { ' ' } else { '\n' });
                2
            }
            [b'\r', ..] => {
                out.push(if attribute { ' ' } else { '\n' });
                1
            }
            _ => {
                out.push(' ');
                1
            }
        };
        rest = from.get(taken..).unwrap_or_default();
    }
    if out.is_empty() && rest.len() == raw.len() {
        return Cow::Borrowed(raw);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// CDATA is text as it stands, but for its line ends.
pub(super) fn decode_cdata(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\r') {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(raw.replace("\r\n", "\n").replace('\r', "\n"))
}
