//! What is known of uploads: slots that were given out, and the files that came. The files themselves are not in it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};
use xmpp_core::{BoxFuture, jid::BareJid};

/// Why a store could not answer. The client is told `internal-server-error` and nothing else.
#[derive(Debug, thiserror::Error)]
#[error("the store failed: {0}")]
pub struct StorageError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// What a store answers, later.
pub type Stored<'a, T> = BoxFuture<'a, Result<T, StorageError>>;

/// A slot, and the file in it once that is there. Times are seconds since 1970.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    /// What it is known by: random, of at least 128 bits, in letters and digits.
    pub id: String,
    /// Whose it is.
    pub owner: BareJid,
    /// The file's name for people. It never is the name of anything on the disk.
    pub name: String,
    /// Its media type, as its owner said.
    pub content_type: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of what its owner has to know to put it and to delete it.
    pub token: [u8; 32],
    /// Until when it may be put, or, once it is there, until when it is kept; `None` keeps it.
    pub expires: Option<u64>,
    /// Until when the file may be kept once it is there, where its owner has said so.
    pub expire_before: Option<u64>,
    /// Whether the file is there.
    pub published: bool,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Upload { owner, size, published, .. } = self;
        let mut out = f.debug_struct("Upload");
        out.field("owner", owner).field("size", size).field("published", published).finish_non_exhaustive()
    }
}

/// What uploads may take; `None` has no end. Slots count as what may come into them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of one user.
    pub user_bytes: Option<u64>,
    /// Files of one user.
    pub user_files: Option<u64>,
    /// Bytes in all.
    pub all_bytes: Option<u64>,
}

/// What uploads take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes.
    pub bytes: u64,
    /// Files, and slots for them.
    pub files: u64,
}

impl Usage {
    fn and(self, size: u64) -> Usage {
        Usage { bytes: self.bytes.saturating_add(size), files: self.files.saturating_add(1) }
    }

    /// Whether one more file of this size is within the quota, where this is what its owner has, and `all` what all have.
    pub fn admits(self, all: Usage, size: u64, quota: &Quota) -> Reserved {
        let (own, all) = (self.and(size), all.and(size));
        let over = |most: Option<u64>, is: u64| most.is_some_and(|most| is > most);
        if over(quota.user_bytes, own.bytes) || over(quota.user_files, own.files) {
            Reserved::UserFull
        } else if over(quota.all_bytes, all.bytes) {
            Reserved::Full
        } else {
            Reserved::Kept
        }
    }
}

/// What became of a slot that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It is kept.
    Kept,
    /// Its owner has too much already.
    UserFull,
    /// There is too much already.
    Full,
}

/// Keeps what is known of uploads. [`conformance`] says what a store must do.
pub trait UploadStore: Send + Sync + 'static {
    /// Keeps a slot, if it is within the quota: of many that are asked for at once none goes beyond.
    fn reserve<'a>(&'a self, slot: &'a Upload, quota: &'a Quota) -> Stored<'a, Reserved>;

    /// A slot or file.
    fn find<'a>(&'a self, id: &'a str) -> Stored<'a, Option<Upload>>;

    /// The file is there, to be kept until `expires`. False if there is no such slot, or a file in it already.
    fn publish<'a>(&'a self, id: &'a str, expires: Option<u64>) -> Stored<'a, bool>;

    /// Forgets a slot or file; false if there was none.
    fn remove<'a>(&'a self, id: &'a str) -> Stored<'a, bool>;

    /// Ids of what expires at `now` or has before, at most `most`, those that expired first at first.
    fn expired<'a>(&'a self, now: u64, most: usize) -> Stored<'a, Vec<String>>;

    /// Ids of what a user has, at most `most`.
    fn of_user<'a>(&'a self, user: &'a BareJid, most: usize) -> Stored<'a, Vec<String>>;

    /// When the first of what a user has will expire.
    fn next_expiry<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<u64>>;

    /// What a user's uploads take, or those of all.
    fn usage<'a>(&'a self, user: Option<&'a BareJid>) -> Stored<'a, Usage>;
}

/// What is known of uploads, in memory: for tests.
#[derive(Debug, Default)]
pub struct MemoryUploads(Mutex<BTreeMap<String, Upload>>);

impl MemoryUploads {
    /// None at first.
    pub fn new() -> MemoryUploads {
        MemoryUploads::default()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Upload>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn usage_of(uploads: &BTreeMap<String, Upload>, user: Option<&BareJid>) -> Usage {
    let those = uploads.values().filter(|upload| user.is_none_or(|user| upload.owner == *user));
    those.fold(Usage::default(), |usage, upload| usage.and(upload.size))
}

impl UploadStore for MemoryUploads {
    fn reserve<'a>(&'a self, slot: &'a Upload, quota: &'a Quota) -> Stored<'a, Reserved> {
        Box::pin(async move {
            let mut uploads = self.all();
            let own = usage_of(&uploads, Some(&slot.owner));
            let reserved = own.admits(usage_of(&uploads, None), slot.size, quota);
            if reserved == Reserved::Kept {
                uploads.insert(slot.id.clone(), slot.clone());
            }
            Ok(reserved)
        })
    }
    fn find<'a>(&'a self, id: &'a str) -> Stored<'a, Option<Upload>> {
        Box::pin(async move { Ok(self.all().get(id).cloned()) })
    }
    fn publish<'a>(&'a self, id: &'a str, expires: Option<u64>) -> Stored<'a, bool> {
        Box::pin(async move {
            let mut uploads = self.all();
            let Some(upload) = uploads.get_mut(id).filter(|upload| !upload.published) else { return Ok(false) };
            upload.published = true;
            upload.expires = expires;
            Ok(true)
        })
    }
    fn remove<'a>(&'a self, id: &'a str) -> Stored<'a, bool> {
        Box::pin(async move { Ok(self.all().remove(id).is_some()) })
    }
    fn expired<'a>(&'a self, now: u64, most: usize) -> Stored<'a, Vec<String>> {
        Box::pin(async move {
            let uploads = self.all();
            let due = uploads.values().filter_map(|upload| Some((upload.expires?, upload.id.clone())));
            let mut due: Vec<_> = due.filter(|(expires, _)| *expires <= now).collect();
            due.sort();
            Ok(due.into_iter().take(most).map(|(_, id)| id).collect())
        })
    }
    fn of_user<'a>(&'a self, user: &'a BareJid, most: usize) -> Stored<'a, Vec<String>> {
        Box::pin(async move {
            let uploads = self.all();
            let own = uploads.values().filter(|upload| upload.owner == *user);
            Ok(own.take(most).map(|upload| upload.id.clone()).collect())
        })
    }
    fn next_expiry<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<u64>> {
        Box::pin(async move {
            let uploads = self.all();
            Ok(uploads.values().filter(|upload| upload.owner == *user).filter_map(|upload| upload.expires).min())
        })
    }
    fn usage<'a>(&'a self, user: Option<&'a BareJid>) -> Stored<'a, Usage> {
        Box::pin(async move { Ok(usage_of(&self.all(), user)) })
    }
}

/// What every store of uploads must do; for tests of implementations. The store has to be empty.
///
/// # Panics
/// If the store does not do it.
#[allow(clippy::unwrap_used)]
pub async fn conformance(store: &dyn UploadStore) {
    let jid = |text: &str| BareJid::new(text).unwrap();
    let (juliet, romeo) = (jid("juliet@capulet.example"), jid("romeo@montague.example"));
    let slot = |id: &str, owner: &BareJid, size: u64, expires: u64| Upload {
        id: id.to_owned(),
        owner: owner.clone(),
        name: "très cool 🙌.jpg".to_owned(),
        content_type: Some("image/jpeg".to_owned()),
        size,
        token: [7; 32],
        expires: Some(expires),
        expire_before: Some(9_000),
        published: false,
    };
    let free = Quota::default();
    assert_eq!(store.find("a").await.unwrap(), None);
    assert_eq!(store.usage(None).await.unwrap(), Usage::default());
    let first = slot("a", &juliet, 100, 1_000);
    assert_eq!(store.reserve(&first, &free).await.unwrap(), Reserved::Kept);
    assert_eq!(store.find("a").await.unwrap(), Some(first.clone()));
    assert_eq!(store.find("A").await.unwrap(), None, "ids are compared by their bytes");

    // Quotas: just enough is enough.
    let quota = Quota { user_bytes: Some(150), user_files: Some(3), all_bytes: Some(400) };
    assert_eq!(store.reserve(&slot("b", &juliet, 51, 900), &quota).await.unwrap(), Reserved::UserFull);
    assert_eq!(store.reserve(&slot("b", &juliet, 50, 900), &quota).await.unwrap(), Reserved::Kept);
    assert_eq!(store.reserve(&slot("c", &romeo, 150, 800), &quota).await.unwrap(), Reserved::Kept);
    let roomy = Quota { user_bytes: None, ..quota };
    assert_eq!(store.reserve(&slot("d", &romeo, 101, 700), &roomy).await.unwrap(), Reserved::Full);
    assert_eq!(store.reserve(&slot("d", &romeo, 100, 700), &roomy).await.unwrap(), Reserved::Kept);
    assert_eq!(store.reserve(&slot("e", &romeo, 0, 700), &roomy).await.unwrap(), Reserved::Kept);
    assert_eq!(store.reserve(&slot("f", &romeo, 0, 700), &roomy).await.unwrap(), Reserved::UserFull, "files count too");
    assert!(store.remove("e").await.unwrap());
    assert_eq!(store.usage(None).await.unwrap(), Usage { bytes: 400, files: 4 });
    assert_eq!(store.usage(Some(&juliet)).await.unwrap(), Usage { bytes: 150, files: 2 });
    let huge = slot("z", &romeo, u64::MAX, 700);
    assert_eq!(store.reserve(&huge, &roomy).await.unwrap(), Reserved::Full, "no sum overflows");

    // A file comes once.
    assert!(store.publish("a", None).await.unwrap());
    assert!(!store.publish("a", Some(1)).await.unwrap() && !store.publish("none", None).await.unwrap());
    let found = store.find("a").await.unwrap().unwrap();
    assert_eq!(found, Upload { published: true, expires: None, ..first });
    assert!(store.publish("b", Some(2_000)).await.unwrap());

    // What has expired, the first at first.
    assert_eq!(store.expired(799, 10).await.unwrap(), ["d"]);
    assert_eq!(store.expired(1_999, 10).await.unwrap(), ["d", "c"]);
    assert_eq!(store.expired(2_000, 2).await.unwrap(), ["d", "c"]);
    assert_eq!(store.expired(u64::MAX, 10).await.unwrap(), ["d", "c", "b"]);
    assert_eq!(store.next_expiry(&juliet).await.unwrap(), Some(2_000));
    assert_eq!(store.next_expiry(&jid("nobody@capulet.example")).await.unwrap(), None);

    // What is removed takes nothing any more.
    assert_eq!(store.of_user(&romeo, 10).await.unwrap(), ["c", "d"]);
    assert_eq!(store.of_user(&romeo, 1).await.unwrap().len(), 1);
    assert!(store.remove("c").await.unwrap() && store.remove("d").await.unwrap() && !store.remove("d").await.unwrap());
    assert_eq!(store.find("c").await.unwrap(), None);
    assert_eq!(store.usage(Some(&romeo)).await.unwrap(), Usage::default());
    assert_eq!(store.usage(None).await.unwrap(), Usage { bytes: 150, files: 2 });
    assert!(store.remove("a").await.unwrap() && store.remove("b").await.unwrap());
    assert_eq!(store.usage(None).await.unwrap(), Usage::default());
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn memory_does_what_every_store_must() {
        super::conformance(&super::MemoryUploads::new()).await;
    }
}
