//! Escaping, so that any string becomes well-formed text or attribute value.

use super::words;

pub(super) fn text(out: &mut Vec<u8>, value: &str) {
    escape(out, value.as_bytes(), false);
}

pub(super) fn attribute(out: &mut Vec<u8>, value: &str) {
    escape(out, value.as_bytes(), true);
}

fn escape(out: &mut Vec<u8>, value: &[u8], attribute: bool) {
    const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();
    // What is before `copied` is in `out`, what is before `at` needs no escaping.
    let (mut copied, mut at) = (0, 0);
    loop {
        at = words::escape_stop(value, at);
        let rest = value.get(at..).unwrap_or_default();
        let (escaped, len): (&[u8], usize) = match rest {
            [] => break,
            [b'&', ..] => (b"&amp;", 1),
            [b'<', ..] => (b"&lt;", 1),
            [b'>', ..] => (b"&gt;", 1),
            [b'\r', ..] => (b"&#13;", 1),
            [b'\'', ..] if attribute => (b"&apos;", 1),
            [b'"', ..] if attribute => (b"&quot;", 1),
            [b'\t', ..] if attribute => (b"&#9;", 1),
            [b'\n', ..] if attribute => (b"&#10;", 1),
            [0xEF, 0xBF, 0xBE | 0xBF, ..] => (REPLACEMENT, 3),
            [0x80..=0xFF, ..] => {
                // A run beyond ASCII, up to what might be U+FFFE or U+FFFF.
                at += 1 + rest.iter().skip(1).take_while(|b| **b >= 0x80 && **b != 0xEF).count();
                continue;
            }
            [b'\'' | b'"' | b'\t' | b'\n', ..] => {
                at += 1;
                continue;
            }
            _ => (REPLACEMENT, 1),
        };
        out.extend_from_slice(value.get(copied..at).unwrap_or_default());
        out.extend_from_slice(escaped);
        at += len;
        copied = at;
    }
    out.extend_from_slice(value.get(copied..).unwrap_or_default());
}

/// Adapter for what displays.
pub(super) struct Escaped<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) attribute: bool,
}

impl std::fmt::Write for Escaped<'_> {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        if self.attribute {
            attribute(self.out, s)
        } else {
            text(self.out, s)
        }
        Ok(())
    }
}
