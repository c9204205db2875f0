//! SCRAM nonces.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Our part of a nonce: printable ASCII without a comma (RFC 5802 §7). Each is used once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// From random bytes; 18 of them are plenty.
    pub fn from_entropy(entropy: &[u8]) -> Nonce {
        Nonce(STANDARD_NO_PAD.encode(entropy))
    }

    /// From text, or `None` if it is empty or holds anything but printable ASCII, or a comma.
    pub fn new(text: impl Into<String>) -> Option<Nonce> {
        let text = text.into();
        (!text.is_empty() && is_printable(&text)).then_some(Nonce(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether all is `printable` of RFC 5802 §7.
pub(super) fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x21..=0x2b | 0x2d..=0x7e))
}
