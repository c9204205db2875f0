//! What has gone by of a file, and its hash.

use crate::file::{Function, Hasher};
use xmpp_core::payload::hash::Hash;

/// Counts and hashes a file that streams by. What comes again, after a connection has broken, is counted but not hashed again.
#[derive(Debug)]
pub(super) struct Tally {
    hasher: Option<Hasher>,
    /// So many bytes of the file are hashed.
    hashed: u64,
    /// The next byte's number in the file.
    pub(super) at: u64,
    /// Bytes that went over the wire.
    pub(super) moved: u64,
}

impl Tally {
    pub(super) fn new(function: Option<Function>) -> Tally {
        Tally { hasher: function.map(Hasher::new), hashed: 0, at: 0, moved: 0 }
    }

    /// The next bytes.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        self.look(bytes);
        self.moved = self.moved.saturating_add(bytes.len() as u64);
    }

    /// The next bytes, which do not go over the wire.
    pub(super) fn look(&mut self, bytes: &[u8]) {
        let known = usize::try_from(self.hashed.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let end = self.at.saturating_add(bytes.len() as u64);
        if let Some(fresh) = bytes.get(known..).filter(|fresh| !fresh.is_empty()) {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(fresh);
            }
            self.hashed = end;
        }
        self.at = end;
    }

    /// How much is hashed, if that matters.
    pub(super) fn hashed(&self) -> Option<u64> {
        self.hasher.as_ref().map(|_| self.hashed)
    }

    /// The hash of all that was seen.
    pub(super) fn hash(&self) -> Option<Hash> {
        self.hasher.clone().map(Hasher::finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_not_hashed_again() {
        let (mut whole, mut broken) = (Tally::new(Some(Function::Sha256)), Tally::new(Some(Function::Sha256)));
        whole.see(b"Wilt thou be gone?");
        broken.see(b"Wilt thou ");
        broken.at = 5;
        broken.see(b"thou be");
        broken.see(b" gone?");
        assert_eq!(whole.hash(), broken.hash());
        assert_eq!((whole.moved, broken.moved, broken.at), (18, 23, 18));
    }
}
