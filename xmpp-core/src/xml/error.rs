//! Why the scanner refused its input.

/// Why a stream's bytes were refused; each names its stream error (RFC 6120 §4.9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    /// Not well-formed (RFC 6120 §4.9.3.13).
    #[error("not well-formed XML: {0}")]
    NotWellFormed(&'static str),
    /// Comments, processing instructions, DTDs, other entities (RFC 6120 §4.9.3.18).
    #[error("XML feature that XMPP forbids: {0}")]
    Restricted(&'static str),
    /// A prefix that is unbound or wrongly bound (RFC 6120 §4.9.3.2).
    #[error("namespace prefix: {0}")]
    BadPrefix(&'static str),
    /// Not UTF-8 (RFC 6120 §4.9.3.22).
    #[error("text is not UTF-8")]
    UnsupportedEncoding,
    /// A limit was passed (RFC 6120 §4.9.3.14); the string names it, e.g. "stanza-too-big".
    #[error("limit passed: {0}")]
    Limit(&'static str),
}

impl XmlError {
    /// The stream error condition of RFC 6120 §4.9.3 to answer with.
    pub fn condition(&self) -> &'static str {
        match self {
            XmlError::NotWellFormed(_) => "not-well-formed",
            XmlError::Restricted(_) => "restricted-xml",
            XmlError::BadPrefix(_) => "bad-namespace-prefix",
            XmlError::UnsupportedEncoding => "unsupported-encoding",
            XmlError::Limit(_) => "policy-violation",
        }
    }
}
