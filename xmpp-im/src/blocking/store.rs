//! Where block lists are kept.

use crate::Stored;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};
use xmpp_core::jid::{BareJid, Jid};

/// Keeps the block lists of accounts.
pub trait BlockingStore: Send + Sync + 'static {
    /// The whole list, in the order of the addresses.
    fn list<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Jid>>;

    /// Adds addresses, and says which of them are new. `None`, and nothing is changed, if the list would become longer
    /// than `limit`.
    fn block<'a>(&'a self, user: &'a BareJid, jids: &'a [Jid], limit: usize) -> Stored<'a, Option<Vec<Jid>>>;

    /// Removes these addresses, or all, and says which of them were there.
    fn unblock<'a>(&'a self, user: &'a BareJid, jids: Option<&'a [Jid]>) -> Stored<'a, Vec<Jid>>;

    /// Removes the list: the account is gone.
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()>;
}

impl<S: BlockingStore + ?Sized> BlockingStore for Arc<S> {
    fn list<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Jid>> {
        (**self).list(user)
    }
    fn block<'a>(&'a self, user: &'a BareJid, jids: &'a [Jid], limit: usize) -> Stored<'a, Option<Vec<Jid>>> {
        (**self).block(user, jids, limit)
    }
    fn unblock<'a>(&'a self, user: &'a BareJid, jids: Option<&'a [Jid]>) -> Stored<'a, Vec<Jid>> {
        (**self).unblock(user, jids)
    }
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        (**self).forget(user)
    }
}

/// Block lists in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryBlocking(Mutex<HashMap<BareJid, BTreeSet<Jid>>>);

impl MemoryBlocking {
    /// No lists.
    pub fn new() -> MemoryBlocking {
        MemoryBlocking::default()
    }

    fn lists(&self) -> MutexGuard<'_, HashMap<BareJid, BTreeSet<Jid>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl BlockingStore for MemoryBlocking {
    fn list<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Jid>> {
        Box::pin(async move { Ok(self.lists().get(user).map(|all| all.iter().cloned().collect()).unwrap_or_default()) })
    }

    fn block<'a>(&'a self, user: &'a BareJid, jids: &'a [Jid], limit: usize) -> Stored<'a, Option<Vec<Jid>>> {
        Box::pin(async move {
            let mut lists = self.lists();
            let mut list = lists.get(user).cloned().unwrap_or_default();
            let new: Vec<Jid> = jids.iter().filter(|jid| list.insert((*jid).clone())).cloned().collect();
            if list.len() > limit {
                return Ok(None);
            }
            lists.insert(user.clone(), list);
            Ok(Some(new))
        })
    }

    fn unblock<'a>(&'a self, user: &'a BareJid, jids: Option<&'a [Jid]>) -> Stored<'a, Vec<Jid>> {
        Box::pin(async move {
            let mut lists = self.lists();
            let Some(list) = lists.get_mut(user) else { return Ok(Vec::new()) };
            let gone = match jids {
                Some(jids) => jids.iter().filter_map(|jid| list.take(jid)).collect(),
                None => std::mem::take(list).into_iter().collect(),
            };
            if list.is_empty() {
                lists.remove(user);
            }
            Ok(gone)
        })
    }

    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(async move {
            self.lists().remove(user);
            Ok(())
        })
    }
}

/// What every [`BlockingStore`] must do, to be called from an implementation's own tests with a store that has nothing
/// for these two users.
///
/// # Panics
/// When the implementation breaks the contract; the message says which part.
#[allow(clippy::panic, clippy::expect_used, clippy::indexing_slicing)] // It is an assertion.
pub async fn conformance(store: &dyn BlockingStore, one: &BareJid, other: &BareJid) {
    let jids: Vec<Jid> =
        ["d.example", "ä@b.example", "a@b.example/ü 🙌"].iter().filter_map(|jid| Jid::new(jid).ok()).collect();
    let list = async |user: &BareJid| store.list(user).await.expect("list");
    let mut sorted = jids.clone();
    sorted.sort();
    assert!(list(one).await.is_empty(), "nothing is there before");
    assert_eq!(store.block(one, &jids[..2], 3).await.expect("block"), Some(jids[..2].to_vec()), "both are new");
    assert_eq!(store.block(one, &jids, 3).await.expect("block"), Some(jids[2..].to_vec()), "one is new");
    assert_eq!(list(one).await, sorted, "all, in order");
    assert_eq!(store.block(one, &jids, 3).await.expect("block"), Some(Vec::new()), "none is new, and the list is full");
    let more = [Jid::from(other)];
    assert_eq!(store.block(one, &more, 3).await.expect("block"), None, "one too many");
    assert_eq!(list(one).await, sorted, "which changes nothing");
    store.block(other, &jids, 3).await.expect("block");
    assert!(store.unblock(one, Some(&more)).await.expect("unblock").is_empty(), "who was not there");
    assert_eq!(store.unblock(one, Some(&jids[..1])).await.expect("unblock"), jids[..1], "who was there");
    let mut rest = store.unblock(one, None).await.expect("unblock");
    rest.sort();
    assert_eq!(
        rest,
        {
            let mut rest = jids[1..].to_vec();
            rest.sort();
            rest
        },
        "all that are left"
    );
    assert!(list(one).await.is_empty(), "none is left");
    assert_eq!(list(other).await, sorted, "lists are of one user");
    store.forget(other).await.expect("forget");
    assert!(list(other).await.is_empty(), "forgotten");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_does_what_every_store_must() {
        let (one, other) = (BareJid::new("a@example.org").unwrap(), BareJid::new("b@example.org").unwrap());
        conformance(&MemoryBlocking::new(), &one, &other).await;
    }
}
