//! What both ends of a bytestream tell the one that they meet at (XEP-0065 §5.3.2).

use sha1::{Digest, Sha1};
use std::fmt;
use xmpp_core::{
    jid::Jid,
    payload::{TextValue, ValueError},
};

/// `DST.ADDR`: the SHA-1 of the stream's id and the addresses of requester and target, as 40 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamHash([u8; 40]);

impl StreamHash {
    /// That of a stream, whose requester is who offers the host that is connected to (XEP-0065 §5.3.2, XEP-0260 §2.2).
    pub fn of(sid: &str, requester: &Jid, target: &Jid) -> StreamHash {
        let digest =
            Sha1::new().chain_update(sid).chain_update(requester.as_str()).chain_update(target.as_str()).finalize();
        let mut digits = [0; 40];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(digest) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        StreamHash(digits)
    }

    /// Reads 40 hexadecimal digits, in either case.
    pub fn read(text: &[u8]) -> Option<StreamHash> {
        let mut digits: [u8; 40] = text.try_into().ok()?;
        digits.make_ascii_lowercase();
        digits.iter().all(u8::is_ascii_hexdigit).then_some(StreamHash(digits))
    }

    /// The digits, in lower case.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + (value - 10) }
}

impl fmt::Debug for StreamHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TextValue for StreamHash {
    fn from_text(text: &str) -> Result<StreamHash, ValueError> {
        StreamHash::read(text.trim_ascii().as_bytes()).ok_or(ValueError::expected("40 hexadecimal digits"))
    }
    fn to_text(&self) -> std::borrow::Cow<'_, str> {
        self.as_str().into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn xep0260_2_2_the_hash_is_that_of_the_document() {
        let [romeo, juliet] =
            ["romeo@montague.lit/orchard", "juliet@capulet.lit/balcony"].map(|jid| Jid::new(jid).unwrap());
        assert_eq!(StreamHash::of("vj3hs98y", &romeo, &juliet).as_str(), "972b7bf47291ca609517f67f86b5081086052dad");
        assert_eq!(StreamHash::of("vj3hs98y", &juliet, &romeo).as_str(), "1a12fb7bc625e55f3ed5b29a53dbe0e4aa7d80ba");
        let upper = StreamHash::read(b"972B7BF47291CA609517F67F86B5081086052DAD").unwrap();
        assert_eq!(upper, StreamHash::of("vj3hs98y", &romeo, &juliet));
        for bad in
            ["", "972b7bf47291ca609517f67f86b5081086052da", "972b7bf47291ca609517f67f86b5081086052dag", &"0".repeat(41)]
        {
            assert!(StreamHash::read(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
