//! How long messages are kept: when the server looks after it. The server has no timer for it; what comes by sets it off.

use super::{ArchiveSettings, ArchiveStore};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use xmpp_core::{jid::BareJid, payload::DateTime};

/// How often old messages are looked for.
const EVERY: Duration = Duration::from_secs(15 * 60);

/// Accounts whose messages are counted at a time. One that is pushed out begins anew, and has its surplus a while longer.
const COUNTED: usize = 10_000;

/// When archives are to be relieved of what is kept no longer ([`ArchiveSettings::keep`], [`ArchiveSettings::keep_messages`]).
/// Whoever appends to archives has one.
#[derive(Debug, Default)]
pub struct Keeping {
    /// Seconds since 1970 when old messages were looked for.
    looked: AtomicU64,
    /// Messages since an archive was trimmed.
    fresh: Mutex<HashMap<BareJid, u64>>,
}

impl Keeping {
    /// Looks after archives when a message has been added to the owner's: what is due is dropped beside what goes on, in a
    /// task. What is too old is dropped from all archives of the store.
    pub fn clean(&self, store: &Arc<dyn ArchiveStore>, settings: &ArchiveSettings, owner: &BareJid) {
        self.clean_old(store, settings);
        if let Some(keep) = settings.keep_messages.filter(|keep| self.is_full(owner, *keep)) {
            let (store, owner) = (Arc::clone(store), owner.clone());
            tokio::spawn(async move {
                if let Err(error) = store.trim(&owner, keep).await {
                    tracing::error!(%owner, "an archive is larger than it may be: {error}");
                }
            });
        }
    }

    /// Drops what has become too old, if it is time to look for that.
    pub(super) fn clean_old(&self, store: &Arc<dyn ArchiveStore>, settings: &ArchiveSettings) {
        if let Some(before) = settings.keep.and_then(|keep| self.expired(keep, SystemTime::now())) {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                if let Err(error) = store.expire(before).await {
                    tracing::error!("old messages stay in the archives: {error}");
                }
            });
        }
    }

    /// What is to be dropped because it is older than `age`, if it is time to look for that.
    fn expired(&self, age: Duration, now: SystemTime) -> Option<DateTime> {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let looked = self.looked.load(Ordering::Relaxed);
        if seconds.abs_diff(looked) < EVERY.as_secs() {
            return None;
        }
        let mine = self.looked.compare_exchange(looked, seconds, Ordering::Relaxed, Ordering::Relaxed);
        mine.ok().and_then(|_| now.checked_sub(age)).map(DateTime::from)
    }

    /// Counts a message; whether the archive, which is to hold `keep`, should be trimmed. It may grow a sixteenth beyond.
    fn is_full(&self, owner: &BareJid, keep: u64) -> bool {
        let mut fresh = self.fresh.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if fresh.len() >= COUNTED && !fresh.contains_key(owner) {
            let other = fresh.keys().next().cloned();
            other.and_then(|other| fresh.remove(&other));
        }
        let count = match fresh.get_mut(owner) {
            Some(count) => count,
            // What was there before this process began is not known.
            None => fresh.entry(owner.clone()).or_insert(keep / 16),
        };
        *count = count.saturating_add(1);
        let full = *count > keep / 16;
        if full {
            *count = 0;
        }
        full
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_trimmed_each_sixteenth_and_looked_through_by_the_quarter_hour() {
        let keeping = Keeping::default();
        let owner = BareJid::new("juliet@capulet.example").unwrap();
        let full: Vec<u32> = (0..40).filter(|_| keeping.is_full(&owner, 160)).collect();
        assert_eq!(full, [0, 11, 22, 33]);
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let age = Duration::from_secs(1000);
        assert_eq!(keeping.expired(age, now).unwrap().unix_seconds(), 999_000);
        assert_eq!(keeping.expired(age, now + Duration::from_secs(60)), None);
        assert!(keeping.expired(age, now + EVERY).is_some());
    }
}
