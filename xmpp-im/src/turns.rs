//! Whose turn it is to change what is kept for a user, and to tell the user's sessions of it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};
use tokio::sync::{Mutex, OwnedMutexGuard};
use xmpp_core::jid::BareJid;

/// How many users may take their turn at the same time.
const TURNS: usize = 64;

/// A lock for each user; some share theirs with others.
pub(crate) struct Turns {
    locks: [Arc<Mutex<()>>; TURNS],
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns { locks: std::array::from_fn(|_| Arc::default()), hasher: RandomState::new() }
    }
}

impl Turns {
    /// Waits for the user's turn, in the order in which it is asked for. Nothing that takes another turn may be waited for
    /// meanwhile.
    pub(crate) async fn of(&self, user: &BareJid) -> OwnedMutexGuard<()> {
        let index = self.hasher.hash_one(user.as_str()) as usize % TURNS;
        Arc::clone(&self.locks[index]).lock_owned().await
    }
}
