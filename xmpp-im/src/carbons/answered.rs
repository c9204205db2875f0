//! Which messages were copied, so that an error that answers one is copied too (XEP-0280 §6.1).

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard},
};
use xmpp_core::jid::Jid;

/// How many messages are remembered for one account.
const REMEMBERED: usize = 256;

/// Copied messages of accounts that have several resources, as hashes of the other address and the id.
#[derive(Default)]
pub(super) struct Copied {
    hasher: RandomState,
    accounts: Mutex<HashMap<Box<str>, VecDeque<u64>>>,
}

impl Copied {
    fn accounts(&self) -> MutexGuard<'_, HashMap<Box<str>, VecDeque<u64>>> {
        self.accounts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn hash(&self, peer: &Jid, id: &str) -> u64 {
        self.hasher.hash_one((peer.bare_str(), id))
    }

    /// Resources of `account` got copies of a message with this id, to or from `peer`.
    pub(super) fn note(&self, account: &str, peer: &Jid, id: &str) {
        let hash = self.hash(peer, id);
        let mut accounts = self.accounts();
        if !accounts.contains_key(account) {
            accounts.insert(account.into(), VecDeque::new());
        }
        if let Some(copied) = accounts.get_mut(account) {
            if copied.len() >= REMEMBERED {
                copied.pop_front();
            }
            copied.push_back(hash);
        }
    }

    /// Whether a message with this id, exchanged with `peer`, was copied.
    pub(super) fn has(&self, account: &str, peer: &Jid, id: &str) -> bool {
        let hash = self.hash(peer, id);
        self.accounts().get(account).is_some_and(|copied| copied.contains(&hash))
    }

    /// The last session of an account has ended.
    pub(super) fn forget(&self, account: &str) {
        self.accounts().remove(account);
    }
}
