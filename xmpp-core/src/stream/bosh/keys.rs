//! Key sequences (XEP-0124 §15): each request proves that it comes from whom the one before came from.

use sha1::{Digest, Sha1};

/// What the key of the next request has to hash to; `None` as long as the client uses no keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    last: Option<Box<str>>,
}

impl Keys {
    pub(super) fn new(newkey: Option<&str>) -> Keys {
        Keys { last: newkey.map(Box::from) }
    }

    /// Takes the keys of the next request; whether they are right.
    pub(super) fn advance(&mut self, key: Option<&str>, newkey: Option<&str>) -> bool {
        if let Some(last) = &self.last {
            let Some(key) = key else { return false };
            if !hash(key).eq_ignore_ascii_case(last) {
                return false;
            }
        }
        if let Some(next) = newkey.or(key.filter(|_| self.last.is_some())) {
            self.last = Some(next.into());
        }
        true
    }
}

fn hash(key: &str) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(40);
    for byte in Sha1::digest(key) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xep0124_15_each_key_hashes_to_the_one_before() {
        let chain: Vec<_> = std::iter::successors(Some(hash("seed")), |key| Some(hash(key))).take(4).collect();
        let mut keys = Keys::new(Some(&chain[3].to_uppercase()));
        assert!(keys.advance(Some(&chain[2]), None));
        assert!(!keys.advance(Some(&chain[2]), None));
        assert!(!keys.advance(None, None));
        assert!(keys.advance(Some(&chain[1]), None));
        let fresh = hash("another");
        assert!(keys.advance(Some(&chain[0]), Some(&hash(&fresh))));
        assert!(keys.advance(Some(&fresh), None));
    }

    #[test]
    fn xep0124_15_without_newkey_there_are_no_keys() {
        let mut keys = Keys::new(None);
        assert!(keys.advance(None, None) && keys.advance(Some("x"), None) && keys.advance(None, None));
    }

    #[test]
    fn xep0124_15_the_documents_own_sequence() {
        // §15.4 and §15.5 of the document.
        let mut keys = Keys::new(Some("ca393b51b682f61f98e7877d61146407f3d0a770"));
        assert!(keys.advance(Some("bfb06a6f113cd6fd3838ab9d300fdb4fe3da2f7d"), None));
        let newkey = Some("113f58a37245ec9637266cf2fb6e48bfeaf7964e");
        assert!(keys.advance(Some("6f825e81f4532b2c5fa2d12457d8a1f22e8f838e"), newkey));
    }
}
