//! Where offline messages are kept.

use crate::Stored;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};
use xmpp_core::{jid::BareJid, payload::DateTime};

/// How much is kept. What is beyond is told its sender with `service-unavailable` (XEP-0160 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OfflineLimits {
    /// Messages of one account.
    pub messages: usize,
    /// Messages from one sender, by its bare address, among those of one account.
    pub messages_per_sender: usize,
    /// Bytes of one account, as the messages are on the wire. Not more than half of what may wait for one session
    /// ([`outbox_bytes`](xmpp_core::server::Limits::outbox_bytes)), or nobody could take them at once.
    pub bytes: usize,
}

impl Default for OfflineLimits {
    fn default() -> OfflineLimits {
        OfflineLimits { messages: 1_000, messages_per_sender: 500, bytes: 1024 * 1024 }
    }
}

/// A message that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineMessage {
    /// The store's own number for it; unique among those of its account. Of no meaning in what is to be stored.
    pub number: i64,
    /// When it came to the server, to the millisecond.
    pub at: DateTime,
    /// Who sent it.
    pub sender: BareJid,
    /// The stanza as XML, in the content namespace `jabber:client`, with its full `from`.
    pub stanza: String,
}

/// Keeps messages of accounts.
pub trait OfflineStore: Send + Sync + 'static {
    /// Keeps a message, or does nothing and says `false` when that would break the limits. With `again` it was kept
    /// before, and gets its old place: messages are in the order of their times, then of their numbers. Any other is
    /// put behind all that are there: its time is made later than theirs, if it is not.
    fn keep<'a>(
        &'a self,
        user: &'a BareJid,
        message: OfflineMessage,
        again: bool,
        limits: &'a OfflineLimits,
    ) -> Stored<'a, bool>;

    /// The first messages, in order, at most `most`.
    fn first<'a>(&'a self, user: &'a BareJid, most: usize) -> Stored<'a, Vec<OfflineMessage>>;

    /// Removes the messages with these numbers.
    fn remove<'a>(&'a self, user: &'a BareJid, numbers: &'a [i64]) -> Stored<'a, ()>;

    /// Removes all: the account is gone.
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()>;
}

impl<S: OfflineStore + ?Sized> OfflineStore for Arc<S> {
    fn keep<'a>(
        &'a self,
        user: &'a BareJid,
        message: OfflineMessage,
        again: bool,
        limits: &'a OfflineLimits,
    ) -> Stored<'a, bool> {
        (**self).keep(user, message, again, limits)
    }
    fn first<'a>(&'a self, user: &'a BareJid, most: usize) -> Stored<'a, Vec<OfflineMessage>> {
        (**self).first(user, most)
    }
    fn remove<'a>(&'a self, user: &'a BareJid, numbers: &'a [i64]) -> Stored<'a, ()> {
        (**self).remove(user, numbers)
    }
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        (**self).forget(user)
    }
}

/// Offline messages in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryOffline(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    next: i64,
    users: HashMap<BareJid, Vec<OfflineMessage>>,
}

impl MemoryOffline {
    /// No messages.
    pub fn new() -> MemoryOffline {
        MemoryOffline::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Kept {
    fn keep(&mut self, user: &BareJid, mut message: OfflineMessage, again: bool, limits: &OfflineLimits) -> bool {
        let messages = self.users.get(user).map(Vec::as_slice).unwrap_or_default();
        let bytes: usize = messages.iter().map(|one| one.stanza.len()).sum();
        let of_sender = messages.iter().filter(|one| one.sender == message.sender).count();
        if messages.len() >= limits.messages
            || of_sender >= limits.messages_per_sender
            || bytes + message.stanza.len() > limits.bytes
        {
            return false;
        }
        if let (false, Some(last)) = (again, messages.last()) {
            message.at = message.at.max(next_millisecond(last.at));
        }
        self.next += 1;
        message.number = self.next;
        let messages = self.users.entry(user.clone()).or_default();
        let place = messages.partition_point(|one| one.at <= message.at);
        messages.insert(place, message);
        true
    }
}

/// The first moment that differs on the wire.
fn next_millisecond(at: DateTime) -> DateTime {
    let next = at.unix_millis().saturating_add(1);
    let nanos = u32::try_from(next.rem_euclid(1_000)).unwrap_or_default().saturating_mul(1_000_000);
    DateTime::from_unix(next.div_euclid(1_000), nanos).unwrap_or(at)
}

impl OfflineStore for MemoryOffline {
    fn keep<'a>(
        &'a self,
        user: &'a BareJid,
        message: OfflineMessage,
        again: bool,
        limits: &'a OfflineLimits,
    ) -> Stored<'a, bool> {
        Box::pin(async move { Ok(self.kept().keep(user, message, again, limits)) })
    }

    fn first<'a>(&'a self, user: &'a BareJid, most: usize) -> Stored<'a, Vec<OfflineMessage>> {
        Box::pin(async move {
            Ok(self.kept().users.get(user).map(|all| all.iter().take(most).cloned().collect()).unwrap_or_default())
        })
    }

    fn remove<'a>(&'a self, user: &'a BareJid, numbers: &'a [i64]) -> Stored<'a, ()> {
        Box::pin(async move {
            let mut kept = self.kept();
            if let Some(messages) = kept.users.get_mut(user) {
                messages.retain(|one| !numbers.contains(&one.number));
                if messages.is_empty() {
                    kept.users.remove(user);
                }
            }
            Ok(())
        })
    }

    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(async move {
            self.kept().users.remove(user);
            Ok(())
        })
    }
}

/// What every [`OfflineStore`] must do, to be called from an implementation's own tests with a store that has nothing for
/// these two users.
///
/// # Panics
/// When the implementation breaks the contract; the message says which part.
#[allow(clippy::panic, clippy::expect_used, clippy::indexing_slicing)] // It is an assertion.
pub async fn conformance(store: &dyn OfflineStore, one: &BareJid, other: &BareJid) {
    let limits = OfflineLimits { messages: 4, messages_per_sender: 3, bytes: 100 };
    let at = |secs: i64| DateTime::from_unix(secs, 0).expect("a moment");
    let message = |sender: &BareJid, secs: i64, text: &str| OfflineMessage {
        number: 0,
        at: at(secs),
        sender: sender.clone(),
        stanza: text.to_owned(),
    };
    let keep = async |user: &BareJid, message: OfflineMessage, again: bool| {
        store.keep(user, message, again, &limits).await.expect("keep")
    };
    let texts = async |user: &BareJid, most: usize| -> Vec<String> {
        store.first(user, most).await.expect("first").into_iter().map(|message| message.stanza).collect()
    };
    assert!(texts(one, 9).await.is_empty(), "nothing is there before");
    assert!(keep(one, message(other, 2_000, "1 'é🙌<"), false).await, "the first is kept");
    // A clock that goes back does not change the order.
    assert!(keep(one, message(other, 1_000, "2"), false).await, "the second is kept");
    assert!(keep(other, message(one, 5, "theirs"), false).await, "of another account");
    assert!(keep(one, message(other, 3_000, "3"), false).await, "the third is kept");
    assert!(!keep(one, message(other, 3_000, "x"), false).await, "no more of this sender");
    assert!(!keep(one, message(one, 3_000, &"é".repeat(50)), false).await, "bytes are counted, not characters");
    assert_eq!(texts(one, 9).await, ["1 'é🙌<", "2", "3"], "in the order in which they came");
    assert_eq!(texts(one, 2).await, ["1 'é🙌<", "2"], "at most as many as asked for");
    let kept = store.first(one, 9).await.expect("first");
    assert!(kept[0].at == at(2_000) && kept[0].at < kept[1].at && kept[1].at < kept[2].at, "times that differ");
    assert!(kept[0].sender == *other, "with their sender");
    store.remove(one, &[kept[0].number, kept[1].number]).await.expect("remove");
    assert_eq!(texts(one, 9).await, ["3"], "what is removed is gone");
    assert!(keep(one, message(one, 4_000, "4"), false).await, "there is room again");
    for again in [kept[1].clone(), kept[0].clone()] {
        assert!(keep(one, again, true).await, "what comes back is kept");
    }
    assert_eq!(texts(one, 9).await, ["1 'é🙌<", "2", "3", "4"], "what comes back has its old place");
    assert!(!keep(one, message(one, 5_000, "5"), false).await, "no more of this account");
    let numbers: Vec<i64> = store.first(one, 9).await.expect("first").iter().map(|message| message.number).collect();
    store.remove(other, &numbers).await.expect("remove");
    assert_eq!(texts(one, 9).await.len(), 4, "numbers are of an account");
    store.forget(one).await.expect("forget");
    assert!(texts(one, 9).await.is_empty(), "forgotten");
    assert_eq!(texts(other, 9).await, ["theirs"], "of the other nothing is forgotten");
    store.forget(other).await.expect("forget");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_does_what_every_store_must() {
        let (one, other) = (BareJid::new("a@example.org").unwrap(), BareJid::new("b@example.org").unwrap());
        conformance(&MemoryOffline::new(), &one, &other).await;
    }
}
