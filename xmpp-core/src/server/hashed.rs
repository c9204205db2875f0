//! Tables whose keys are hashes already.

use std::hash::{BuildHasher, Hasher};

/// Hashes a `u64` that is a keyed hash itself, by leaving it as it is: for a table in which several things are looked up by one
/// hash. Who can choose keys that are none can make such a table slow.
///
/// ```
/// use std::{collections::HashMap, hash::{BuildHasher, RandomState}};
/// use xmpp_core::server::Hashed;
///
/// let keyed = RandomState::new();
/// let mut table: HashMap<u64, &str, Hashed> = HashMap::default();
/// table.insert(keyed.hash_one("juliet@example.org"), "balcony");
/// assert_eq!(table.get(&keyed.hash_one("juliet@example.org")), Some(&"balcony"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Hashed(u64);

impl BuildHasher for Hashed {
    type Hasher = Hashed;

    fn build_hasher(&self) -> Hashed {
        *self
    }
}

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}
