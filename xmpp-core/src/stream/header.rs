//! Stream headers (RFC 6120 §4.7), written and judged.

use super::StreamCondition;
use crate::xml::{StreamHeader, ns};

/// The stream's end tag (RFC 6120 §4.4).
pub const STREAM_END: &str = "</stream:stream>";

/// A stream header to be sent. Values are escaped on writing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Header<'a> {
    /// The content namespace, such as `jabber:client`.
    pub content_ns: &'a str,
    /// `from`: the domain for a server; a client gives its bare address only once TLS protects it.
    pub from: Option<&'a str>,
    /// `to`.
    pub to: Option<&'a str>,
    /// `id`, from the receiving entity alone.
    pub id: Option<&'a str>,
    /// `xml:lang`; a response always carries one (RFC 6120 §4.7.4).
    pub lang: Option<&'a str>,
}

impl Header<'_> {
    /// Appends the XML declaration and the start tag to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_with(b" version='1.0'", out);
    }

    /// As [`write`](Self::write), for streams older than versions (XEP-0114).
    pub fn write_unversioned(&self, out: &mut Vec<u8>) {
        self.write_with(b"", out);
    }

    fn write_with(&self, version: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"<?xml version='1.0'?><stream:stream xmlns='");
        out.extend_from_slice(self.content_ns.as_bytes());
        if self.content_ns == ns::SERVER {
            // How a server says that it knows dialback, and the prefix of what it says by it (XEP-0220 §2.4).
            out.extend_from_slice(b"' xmlns:db='jabber:server:dialback");
        }
        out.extend_from_slice(b"' xmlns:stream='http://etherx.jabber.org/streams'");
        out.extend_from_slice(version);
        for (name, value) in [("from", self.from), ("to", self.to), ("id", self.id), ("xml:lang", self.lang)] {
            if let Some(value) = value {
                out.push(b' ');
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"='");
                escape(value, out);
                out.push(b'\'');
            }
        }
        out.push(b'>');
    }
}

pub(super) fn escape(value: &str, out: &mut Vec<u8>) {
    for &byte in value.as_bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'\'' => out.extend_from_slice(b"&apos;"),
            0..0x20 => out.push(b' '),
            _ => out.push(byte),
        }
    }
}

/// Judges what any stream header must get right, whoever sent it: names and namespaces (RFC 6120 §4.8) and the
/// version (§4.7.5).
pub(crate) fn judge(header: &StreamHeader, content_ns: &str) -> Result<(), StreamCondition> {
    judge_names(header, content_ns)?;
    match header.version.as_deref().map(major_version) {
        Some(Some(major)) if major >= 1 => Ok(()),
        _ => Err(StreamCondition::UnsupportedVersion),
    }
}

/// The same without the version, which streams of components do not have.
pub(crate) fn judge_names(header: &StreamHeader, content_ns: &str) -> Result<(), StreamCondition> {
    if header.ns != ns::STREAMS {
        return Err(StreamCondition::InvalidNamespace);
    }
    if header.name != "stream" {
        return Err(StreamCondition::BadFormat);
    }
    // §4.8.5 lets an entity refuse any other prefix, and old peers choke on one in what we relay.
    if header.prefix != "stream" {
        return Err(StreamCondition::BadNamespacePrefix);
    }
    if header.content_ns == content_ns { Ok(()) } else { Err(StreamCondition::InvalidNamespace) }
}

/// The major part of `1.0`; the parts are numbers, not digits (§4.7.5).
fn major_version(version: &str) -> Option<u32> {
    let (major, minor) = version.split_once('.')?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    (digits(major) && digits(minor)).then(|| major.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> StreamHeader {
        StreamHeader {
            name: "stream".into(),
            prefix: "stream".into(),
            ns: ns::STREAMS.into(),
            content_ns: ns::CLIENT.into(),
            version: Some("1.0".into()),
            ..StreamHeader::default()
        }
    }

    #[test]
    fn rfc6120_4_7_values_are_escaped() {
        let mut out = Vec::new();
        Header { content_ns: ns::CLIENT, to: Some("a'b<c&"), ..Header::default() }.write(&mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(text.ends_with("version='1.0' to='a&apos;b&lt;c&amp;'>"), "{text}");
    }

    #[test]
    fn abuse_a020_wrong_headers_are_named() {
        assert_eq!(judge(&header(), ns::CLIENT), Ok(()));
        for version in ["99.0", "1.1", "4294967296.0"] {
            assert_eq!(judge(&StreamHeader { version: Some(version.into()), ..header() }, ns::CLIENT), Ok(()));
        }
        let cases = [
            (StreamHeader { ns: "urn:x".into(), ..header() }, StreamCondition::InvalidNamespace),
            (StreamHeader { content_ns: ns::SERVER.into(), ..header() }, StreamCondition::InvalidNamespace),
            (StreamHeader { name: "flow".into(), ..header() }, StreamCondition::BadFormat),
            (StreamHeader { prefix: "s".into(), ..header() }, StreamCondition::BadNamespacePrefix),
            (StreamHeader { version: None, ..header() }, StreamCondition::UnsupportedVersion),
            (StreamHeader { version: Some("0.9".into()), ..header() }, StreamCondition::UnsupportedVersion),
            (StreamHeader { version: Some("one".into()), ..header() }, StreamCondition::UnsupportedVersion),
            (StreamHeader { version: Some("1.".into()), ..header() }, StreamCondition::UnsupportedVersion),
        ];
        for (header, expected) in cases {
            assert_eq!(judge(&header, ns::CLIENT), Err(expected), "{header:?}");
        }
    }
}
