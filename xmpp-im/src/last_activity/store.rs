//! Where it is kept.

use crate::{Stored, storage::PerUser};
use std::sync::Arc;
use xmpp_core::jid::BareJid;

/// When a user went, and what was said then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastSeen {
    /// Seconds since 1970.
    pub at: u64,
    /// The status of the last unavailable presence.
    pub status: Option<String>,
}

/// Keeps when users were last there.
pub trait LastActivityStore: Send + Sync + 'static {
    /// When the user was last there, if that is known.
    fn get<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<LastSeen>>;

    /// Replaces it.
    fn set<'a>(&'a self, user: &'a BareJid, seen: LastSeen) -> Stored<'a, ()>;

    /// Removes it: the account is gone.
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()>;
}

impl<S: LastActivityStore + ?Sized> LastActivityStore for Arc<S> {
    fn get<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<LastSeen>> {
        (**self).get(user)
    }
    fn set<'a>(&'a self, user: &'a BareJid, seen: LastSeen) -> Stored<'a, ()> {
        (**self).set(user, seen)
    }
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        (**self).forget(user)
    }
}

/// It in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryLastActivity(PerUser<LastSeen>);

impl MemoryLastActivity {
    /// Nobody was there.
    pub fn new() -> MemoryLastActivity {
        MemoryLastActivity::default()
    }
}

impl LastActivityStore for MemoryLastActivity {
    fn get<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<LastSeen>> {
        Box::pin(async move { Ok(self.0.lock().get(user).cloned()) })
    }
    fn set<'a>(&'a self, user: &'a BareJid, seen: LastSeen) -> Stored<'a, ()> {
        Box::pin(async move {
            self.0.lock().insert(user.clone(), seen);
            Ok(())
        })
    }
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        self.0.forget(user)
    }
}

/// What every [`LastActivityStore`] must do, to be called from an implementation's own tests with a store that has
/// nothing for these two users.
///
/// # Panics
/// When the implementation breaks the contract; the message says which part.
#[allow(clippy::panic, clippy::expect_used)] // It is an assertion.
pub async fn conformance(store: &dyn LastActivityStore, one: &BareJid, other: &BareJid) {
    let (first, second) = (LastSeen { at: 5_000_000_000, status: Some("zu Hause 🙌".into()) }, LastSeen::default());
    assert_eq!(store.get(one).await.expect("get"), None, "nothing is there before");
    store.set(one, first.clone()).await.expect("set");
    assert_eq!(store.get(one).await.expect("get"), Some(first.clone()), "what was put in");
    assert_eq!(store.get(other).await.expect("get"), None, "of its user");
    store.set(one, second.clone()).await.expect("set");
    assert_eq!(store.get(one).await.expect("get"), Some(second), "the newer");
    store.set(other, first.clone()).await.expect("set");
    store.forget(one).await.expect("forget");
    assert_eq!(store.get(one).await.expect("get"), None, "forgotten");
    assert_eq!(store.get(other).await.expect("get"), Some(first), "others are not forgotten");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_does_what_every_store_must() {
        let (one, other) = (BareJid::new("a@example.org").unwrap(), BareJid::new("b@example.org").unwrap());
        conformance(&MemoryLastActivity::new(), &one, &other).await;
    }
}
