//! Dialback keys (XEP-0185): made from a secret and the names alone, so that nothing has to be remembered.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What the dialback keys of a server are made of; all machines that serve a domain share it.
#[derive(Clone)]
pub struct DialbackSecret(Zeroizing<String>);

impl fmt::Debug for DialbackSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DialbackSecret")
    }
}

impl DialbackSecret {
    /// From any bytes: they should be random, and 32 of them.
    pub fn new(secret: &[u8]) -> DialbackSecret {
        // The HMAC's key is the hash as text, as it is in XEP-0185's example.
        DialbackSecret(Zeroizing::new(hex(&Sha256::digest(secret))))
    }

    /// The key with which `originating` proves to `receiving` that it opened the stream with this id (XEP-0185 §3).
    pub fn key(&self, receiving: &str, originating: &str, stream_id: &str) -> String {
        // A key of any length is good for HMAC.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()) else { return String::new() };
        for part in [receiving, " ", originating, " ", stream_id] {
            mac.update(part.as_bytes());
        }
        hex(&mac.finalize().into_bytes())
    }

    /// Whether `key` is that key, in a time that does not tell how much of it is right.
    pub fn check(&self, key: &str, receiving: &str, originating: &str, stream_id: &str) -> bool {
        let expected = self.key(receiving, originating, stream_id);
        !expected.is_empty() && bool::from(expected.as_bytes().ct_eq(key.as_bytes()))
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KEY: &str = "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643";

    fn secret() -> DialbackSecret {
        DialbackSecret::new(b"s3cr3tf0rd14lb4ck")
    }

    #[test]
    fn xep0185_3_the_examples_key() {
        assert_eq!(secret().key("xmpp.example.com", "example.org", "D60000229F"), KEY);
    }

    #[test]
    fn xep0220_2_the_examples_keys() {
        assert_eq!(
            secret().key("montague.example", "capulet.example", "D60000229F"),
            "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3"
        );
        assert_eq!(
            DialbackSecret::new(b"d14lb4ck43v3r").key("capulet.example", "montague.example", "417GAF25"),
            "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d"
        );
    }

    #[test]
    fn abuse_a081_only_the_whole_key_of_the_very_stream_is_right() {
        let check = |key: &str| secret().check(key, "xmpp.example.com", "example.org", "D60000229F");
        assert!(check(KEY));
        for wrong in ["", "3", &KEY[..63], &format!("{KEY}0"), &KEY.to_uppercase(), &format!(" {KEY}")] {
            assert!(!check(wrong), "{wrong:?}");
        }
        assert!(!secret().check(KEY, "xmpp.example.com", "example.org", "D60000229E"));
        assert!(!secret().check(KEY, "example.org", "xmpp.example.com", "D60000229F"));
        assert!(!DialbackSecret::new(b"").check(KEY, "xmpp.example.com", "example.org", "D60000229F"));
        assert_eq!(format!("{:?}", secret()), "DialbackSecret");
    }
}
