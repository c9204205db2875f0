//! Bounds on what a peer may send.

/// Bounds of the scanner; one past any of them is [`XmlError::Limit`](super::XmlError::Limit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct XmlLimits {
    /// Bytes of one first-level element, and of the stream header with all before it.
    pub stanza_bytes: u32,
    /// Nesting of elements inside a stanza, the stanza itself being 1.
    pub depth: u16,
    /// Attributes (with namespace declarations) of one tag.
    pub attributes: u16,
    /// Elements in a stanza, at all levels.
    pub elements: u32,
    /// Bytes of one qualified name.
    pub name_bytes: u16,
    /// White space between stanzas, in a row.
    pub blank_bytes: u32,
}

impl XmlLimits {
    /// Before authentication: as small as RFC 6120 §13.12 permits.
    pub const fn unauthenticated() -> Self {
        XmlLimits { stanza_bytes: 10_000, depth: 16, attributes: 32, elements: 128, name_bytes: 256, blank_bytes: 1024 }
    }
    /// After authentication: 256 KiB.
    pub const fn authenticated() -> Self {
        XmlLimits {
            stanza_bytes: 262_144,
            depth: 128,
            attributes: 64,
            elements: 8192,
            name_bytes: 512,
            blank_bytes: 65_536,
        }
    }

    /// With room for what servers add to a stanza on its way: addresses, identifiers, times, and the wrappers of copies and
    /// of archived messages. Who reads what a server with these limits has passed on needs it; without, who sends what
    /// is just small enough for the server ends the recipient's stream.
    pub const fn passed_on(self) -> Self {
        XmlLimits {
            stanza_bytes: self.stanza_bytes.saturating_add(65_536),
            depth: self.depth.saturating_add(16),
            attributes: self.attributes.saturating_add(16),
            elements: self.elements.saturating_add(64),
            ..self
        }
    }

    /// None: to read again what was within the bounds when it came, however it has been written since.
    pub const fn unbounded() -> Self {
        XmlLimits {
            stanza_bytes: u32::MAX,
            depth: u16::MAX,
            attributes: u16::MAX,
            elements: u32::MAX,
            name_bytes: u16::MAX,
            blank_bytes: u32::MAX,
        }
    }
}

impl Default for XmlLimits {
    fn default() -> Self {
        Self::authenticated()
    }
}
