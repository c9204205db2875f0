//! The lists of those who are talked to, in memory.

use super::{BlockList, BlockingStore};
use crate::StorageError;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};
use xmpp_core::{jid::BareJid, server::Hashed};

const SHARDS: usize = 16;

/// Block lists behind a cache: who is asked about again costs no I/O. An account without a list has its place too.
pub(super) struct Lists {
    pub(super) store: Box<dyn BlockingStore>,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// Lists in a shard's generation.
    room: usize,
    /// Changes so far: what was read before one of them is not remembered behind it.
    changes: AtomicU64,
    empty: Arc<BlockList>,
}

/// Two generations: what was not asked for while the younger one filled is forgotten.
#[derive(Default)]
struct Shard {
    young: Generation,
    old: Generation,
}

/// Lists by the hash of their user's address. The hash is keyed; should two users share one nevertheless, one list takes
/// the place of the other, and is never taken for it.
type Generation = HashMap<u64, Held, Hashed>;

struct Held {
    user: Box<str>,
    list: Arc<BlockList>,
}

impl Shard {
    fn insert(&mut self, hash: u64, held: Held, room: usize) {
        if self.young.len() >= room {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, held);
    }
}

impl Lists {
    /// With room for about as many lists.
    pub(super) fn new(store: Box<dyn BlockingStore>, cached: usize) -> Lists {
        Lists {
            store,
            hasher: RandomState::new(),
            shards: Default::default(),
            room: (cached / (2 * SHARDS)).max(1),
            changes: AtomicU64::new(0),
            empty: Arc::default(),
        }
    }

    /// The hash of an address, and where its list is.
    fn shard(&self, user: &str) -> (u64, MutexGuard<'_, Shard>) {
        let hash = self.hasher.hash_one(user);
        // Not the bits by which the table in it finds its places.
        let at = (hash >> 32) as usize % SHARDS;
        // The index is below the length.
        let shard = self.shards.get(at).unwrap_or(&self.shards[0]);
        (hash, shard.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// The list, if it is at hand.
    pub(super) fn cached(&self, user: &str) -> Option<Arc<BlockList>> {
        let (hash, mut shard) = self.shard(user);
        if let Some(held) = shard.young.get(&hash).filter(|held| *held.user == *user) {
            return Some(Arc::clone(&held.list));
        }
        let held = shard.old.remove(&hash).filter(|held| *held.user == *user)?;
        let list = Arc::clone(&held.list);
        shard.insert(hash, held, self.room);
        Some(list)
    }

    /// The list.
    pub(super) async fn load(&self, user: &BareJid) -> Result<Arc<BlockList>, StorageError> {
        if let Some(list) = self.cached(user.as_str()) {
            return Ok(list);
        }
        let before = self.changes.load(Ordering::SeqCst);
        let jids = self.store.list(user).await?;
        let list = if jids.is_empty() { Arc::clone(&self.empty) } else { Arc::new(jids.into_iter().collect()) };
        let (hash, mut shard) = self.shard(user.as_str());
        if self.changes.load(Ordering::SeqCst) == before {
            let held = Held { user: user.as_str().into(), list: Arc::clone(&list) };
            shard.insert(hash, held, self.room);
        }
        Ok(list)
    }

    /// A list has been changed in the store.
    pub(super) fn changed(&self, user: &str) {
        let (hash, mut shard) = self.shard(user);
        self.changes.fetch_add(1, Ordering::SeqCst);
        shard.young.remove(&hash);
        shard.old.remove(&hash);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Stored, blocking::MemoryBlocking};
    use std::sync::atomic::AtomicUsize;
    use xmpp_core::jid::Jid;

    /// Counts what is read.
    #[derive(Default)]
    struct Counting(MemoryBlocking, Arc<AtomicUsize>);

    impl BlockingStore for Counting {
        fn list<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Jid>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.list(user)
        }
        fn block<'a>(&'a self, user: &'a BareJid, jids: &'a [Jid], limit: usize) -> Stored<'a, Option<Vec<Jid>>> {
            self.0.block(user, jids, limit)
        }
        fn unblock<'a>(&'a self, user: &'a BareJid, jids: Option<&'a [Jid]>) -> Stored<'a, Vec<Jid>> {
            self.0.unblock(user, jids)
        }
        fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
            self.0.forget(user)
        }
    }

    #[tokio::test]
    async fn who_has_no_list_is_read_once() {
        let store = Counting::default();
        let reads = Arc::clone(&store.1);
        let lists = Lists::new(Box::new(store), 1_000);
        let user = BareJid::new("a@b").unwrap();
        for _ in 0..100 {
            assert!(lists.load(&user).await.unwrap().is_empty());
        }
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        let blocked = Jid::new("c@d").unwrap();
        lists.store.block(&user, std::slice::from_ref(&blocked), 9).await.unwrap();
        lists.changed(user.as_str());
        assert!(lists.cached(user.as_str()).is_none());
        assert!(lists.load(&user).await.unwrap().blocks(&blocked));
        assert_eq!(reads.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn abuse_a071_the_cache_is_bounded() {
        let lists = Lists::new(Box::new(MemoryBlocking::new()), 320);
        for n in 0..10_000 {
            lists.load(&BareJid::new(&format!("user{n}@b")).unwrap()).await.unwrap();
        }
        let held = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap();
            shard.young.len() + shard.old.len()
        };
        assert!(lists.shards.iter().map(held).sum::<usize>() <= 320);
        assert!(lists.cached("user9999@b").is_some());
    }
}
