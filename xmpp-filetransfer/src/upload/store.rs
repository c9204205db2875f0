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
    /// When the slot was given out; 0 where that is not known.
    pub created: u64,
    /// What it is for, and counts as.
    pub bucket: Bucket,
}

/// What uploads are sorted by: each has a time of its own for which files are kept (XEP-0363 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// Told of in messages, and all that is ephemeral.
    #[default]
    Message,
    /// Avatars and the like.
    Profile,
    /// To be kept.
    Permanent,
}

impl Bucket {
    /// As stores may write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Bucket::Message => "message",
            Bucket::Profile => "profile",
            Bucket::Permanent => "permanent",
        }
    }

    /// What [`as_str`](Self::as_str) has written.
    pub fn read(text: &str) -> Option<Bucket> {
        [Bucket::Message, Bucket::Profile, Bucket::Permanent].into_iter().find(|bucket| bucket.as_str() == text)
    }
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
    /// Bytes of one user in the slot's bucket.
    pub bucket_bytes: Option<u64>,
    /// Files of one user in the slot's bucket.
    pub bucket_files: Option<u64>,
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

    /// Whether one more file of this size is within the quota, where this is what its owner has, `bucket` what of it is in
    /// the same bucket, and `all` what all have.
    pub fn admits(self, bucket: Usage, all: Usage, size: u64, quota: &Quota) -> Reserved {
        let (own, bucket, all) = (self.and(size), bucket.and(size), all.and(size));
        let over = |most: Option<u64>, is: u64| most.is_some_and(|most| is > most);
        let bucket = over(quota.bucket_bytes, bucket.bytes) || over(quota.bucket_files, bucket.files);
        if bucket || over(quota.user_bytes, own.bytes) || over(quota.user_files, own.files) {
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

/// Something that has expired.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When it did.
    pub expires: u64,
    /// What it is known by.
    pub id: String,
}

/// Keeps what is known of uploads. [`conformance`] says what a store must do.
pub trait UploadStore: Send + Sync + 'static {
    /// Keeps a slot, if it is within the quota: of many that are asked for at once none goes beyond.
    fn reserve<'a>(&'a self, slot: &'a Upload, quota: &'a Quota) -> Stored<'a, Reserved>;

    /// A slot or file.
    fn find<'a>(&'a self, id: &'a str) -> Stored<'a, Option<Upload>>;

    /// The file is there, to be kept until `expires`. False if there is no such slot, a file in it already, or if it was
    /// [released](Self::release).
    fn publish<'a>(&'a self, id: &'a str, expires: Option<u64>) -> Stored<'a, bool>;

    /// Forgets a slot or file; false if there was none.
    fn remove<'a>(&'a self, id: &'a str) -> Stored<'a, bool>;

    /// Lets all expire at once that a user has, whatever comes into it; tells how much that is.
    fn release<'a>(&'a self, user: &'a BareJid) -> Stored<'a, u64>;

    /// What expires at `now` or has before, of a user or of all, at most `most`: those that expired first at first, by
    /// their ids where that is the same, and behind `after`.
    fn expired<'a>(
        &'a self,
        user: Option<&'a BareJid>,
        now: u64,
        after: Option<&'a Due>,
        most: usize,
    ) -> Stored<'a, Vec<Due>>;

    /// Files that a user has, without slots, at most `most`: the newest at first, by their ids backwards where that is the
    /// same, and behind `after`.
    fn files_of<'a>(&'a self, user: &'a BareJid, after: Option<&'a Upload>, most: usize) -> Stored<'a, Vec<Upload>>;

    /// Files of all, with their sizes, at most `most`, by their ids and behind `after`.
    fn files<'a>(&'a self, after: Option<&'a str>, most: usize) -> Stored<'a, Vec<(String, u64)>>;

    /// When the first of what a user has will expire.
    fn next_expiry<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<u64>>;

    /// What a user's uploads take, or those of all.
    fn usage<'a>(&'a self, user: Option<&'a BareJid>) -> Stored<'a, Usage>;

    /// What a user's uploads in a bucket take.
    fn usage_in<'a>(&'a self, user: &'a BareJid, bucket: Bucket) -> Stored<'a, Usage>;

    /// What users have, those at first who have the most bytes, at most `most`.
    fn usages(&self, most: usize) -> Stored<'_, Vec<(BareJid, Usage)>>;
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

    fn sum(&self, counts: impl Fn(&Upload) -> bool) -> Usage {
        sum(&self.all(), counts)
    }
}

fn sum(uploads: &BTreeMap<String, Upload>, counts: impl Fn(&Upload) -> bool) -> Usage {
    uploads.values().filter(|upload| counts(upload)).fold(Usage::default(), |usage, upload| usage.and(upload.size))
}

impl UploadStore for MemoryUploads {
    fn reserve<'a>(&'a self, slot: &'a Upload, quota: &'a Quota) -> Stored<'a, Reserved> {
        Box::pin(async move {
            let mut uploads = self.all();
            let own = sum(&uploads, |upload| upload.owner == slot.owner);
            let bucket = sum(&uploads, |upload| upload.owner == slot.owner && upload.bucket == slot.bucket);
            let reserved = own.admits(bucket, sum(&uploads, |_| true), slot.size, quota);
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
            let open = |upload: &&mut Upload| !upload.published && upload.expires != Some(0);
            let Some(upload) = uploads.get_mut(id).filter(open) else { return Ok(false) };
            upload.published = true;
            upload.expires = expires;
            Ok(true)
        })
    }
    fn remove<'a>(&'a self, id: &'a str) -> Stored<'a, bool> {
        Box::pin(async move { Ok(self.all().remove(id).is_some()) })
    }
    fn release<'a>(&'a self, user: &'a BareJid) -> Stored<'a, u64> {
        Box::pin(async move {
            let mut released = 0;
            for upload in self.all().values_mut().filter(|upload| upload.owner == *user) {
                upload.expires = Some(0);
                released += 1;
            }
            Ok(released)
        })
    }
    fn expired<'a>(
        &'a self,
        user: Option<&'a BareJid>,
        now: u64,
        after: Option<&'a Due>,
        most: usize,
    ) -> Stored<'a, Vec<Due>> {
        Box::pin(async move {
            let uploads = self.all();
            let those = uploads.values().filter(|upload| user.is_none_or(|user| upload.owner == *user));
            let due = those.filter_map(|upload| Some(Due { expires: upload.expires?, id: upload.id.clone() }));
            let mut due: Vec<Due> =
                due.filter(|due| due.expires <= now && after.is_none_or(|after| due > after)).collect();
            due.sort();
            due.truncate(most);
            Ok(due)
        })
    }
    fn files_of<'a>(&'a self, user: &'a BareJid, after: Option<&'a Upload>, most: usize) -> Stored<'a, Vec<Upload>> {
        Box::pin(async move {
            let age = |upload: &Upload| (upload.created, upload.id.clone());
            let before = after.map(age);
            let uploads = self.all();
            let own = uploads.values().filter(|upload| upload.owner == *user && upload.published);
            let mut own: Vec<_> =
                own.filter(|upload| before.as_ref().is_none_or(|before| age(upload) < *before)).cloned().collect();
            own.sort_by_key(|upload| std::cmp::Reverse(age(upload)));
            own.truncate(most);
            Ok(own)
        })
    }
    fn files<'a>(&'a self, after: Option<&'a str>, most: usize) -> Stored<'a, Vec<(String, u64)>> {
        Box::pin(async move {
            let uploads = self.all();
            let files =
                uploads.values().filter(|upload| upload.published && after.is_none_or(|after| *upload.id > *after));
            Ok(files.take(most).map(|upload| (upload.id.clone(), upload.size)).collect())
        })
    }
    fn next_expiry<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<u64>> {
        Box::pin(async move {
            let uploads = self.all();
            Ok(uploads.values().filter(|upload| upload.owner == *user).filter_map(|upload| upload.expires).min())
        })
    }
    fn usage<'a>(&'a self, user: Option<&'a BareJid>) -> Stored<'a, Usage> {
        Box::pin(async move { Ok(self.sum(|upload| user.is_none_or(|user| upload.owner == *user))) })
    }
    fn usage_in<'a>(&'a self, user: &'a BareJid, bucket: Bucket) -> Stored<'a, Usage> {
        Box::pin(async move { Ok(self.sum(|upload| upload.owner == *user && upload.bucket == bucket)) })
    }
    fn usages(&self, most: usize) -> Stored<'_, Vec<(BareJid, Usage)>> {
        Box::pin(async move {
            let uploads = self.all();
            let mut usages: BTreeMap<&BareJid, Usage> = BTreeMap::new();
            for upload in uploads.values() {
                let usage = usages.entry(&upload.owner).or_default();
                *usage = usage.and(upload.size);
            }
            let mut usages: Vec<_> = usages.into_iter().map(|(user, usage)| (user.clone(), usage)).collect();
            usages.sort_by(|(one, own), (other, its)| its.bytes.cmp(&own.bytes).then_with(|| one.cmp(other)));
            usages.truncate(most);
            Ok(usages)
        })
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
        created: 600,
        bucket: Bucket::Message,
    };
    let ids = |due: Vec<Due>| due.into_iter().map(|due| due.id).collect::<Vec<_>>();
    let free = Quota::default();
    assert_eq!(store.find("a").await.unwrap(), None);
    assert_eq!(store.usage(None).await.unwrap(), Usage::default());
    let first = slot("a", &juliet, 100, 1_000);
    assert_eq!(store.reserve(&first, &free).await.unwrap(), Reserved::Kept);
    assert_eq!(store.find("a").await.unwrap(), Some(first.clone()));
    assert_eq!(store.find("A").await.unwrap(), None, "ids are compared by their bytes");

    // Quotas: just enough is enough.
    let quota = Quota { user_bytes: Some(150), user_files: Some(3), all_bytes: Some(400), ..free };
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
    let who = store.usages(10).await.unwrap();
    assert_eq!(
        who,
        [(romeo.clone(), Usage { bytes: 250, files: 2 }), (juliet.clone(), Usage { bytes: 150, files: 2 })]
    );
    assert_eq!(store.usages(1).await.unwrap().len(), 1);

    // Buckets have quotas of their own.
    let own = Quota { bucket_bytes: Some(20), bucket_files: Some(2), ..free };
    let face = |id: &str, size| Upload { bucket: Bucket::Profile, ..slot(id, &juliet, size, 950) };
    assert_eq!(store.reserve(&face("p", 21), &own).await.unwrap(), Reserved::UserFull);
    assert_eq!(store.reserve(&face("p", 10), &own).await.unwrap(), Reserved::Kept);
    assert_eq!(store.find("p").await.unwrap(), Some(face("p", 10)));
    assert_eq!(store.reserve(&face("q", 11), &own).await.unwrap(), Reserved::UserFull);
    assert_eq!(store.reserve(&face("q", 5), &own).await.unwrap(), Reserved::Kept);
    assert_eq!(store.reserve(&face("r", 0), &own).await.unwrap(), Reserved::UserFull, "files count here too");
    assert_eq!(store.usage_in(&juliet, Bucket::Profile).await.unwrap(), Usage { bytes: 15, files: 2 });
    assert_eq!(store.usage_in(&juliet, Bucket::Permanent).await.unwrap(), Usage::default());
    assert_eq!(store.usage(Some(&juliet)).await.unwrap(), Usage { bytes: 165, files: 4 });
    assert!(store.remove("p").await.unwrap() && store.remove("q").await.unwrap());

    // A file comes once.
    assert!(store.publish("a", None).await.unwrap());
    assert!(!store.publish("a", Some(1)).await.unwrap() && !store.publish("none", None).await.unwrap());
    let found = store.find("a").await.unwrap().unwrap();
    assert_eq!(found, Upload { published: true, expires: None, ..first });
    assert!(store.publish("b", Some(2_000)).await.unwrap());

    // What has expired, the first at first.
    assert_eq!(ids(store.expired(None, 799, None, 10).await.unwrap()), ["d"]);
    assert_eq!(ids(store.expired(None, 1_999, None, 10).await.unwrap()), ["d", "c"]);
    assert_eq!(ids(store.expired(None, 2_000, None, 2).await.unwrap()), ["d", "c"]);
    let all = store.expired(None, u64::MAX, None, 10).await.unwrap();
    assert_eq!(ids(all.clone()), ["d", "c", "b"]);
    assert_eq!(ids(store.expired(None, u64::MAX, all.first(), 1).await.unwrap()), ["c"]);
    assert_eq!(ids(store.expired(None, u64::MAX, all.last(), 1).await.unwrap()), [""; 0]);
    assert_eq!(ids(store.expired(Some(&juliet), u64::MAX, None, 10).await.unwrap()), ["b"]);
    assert_eq!(ids(store.expired(Some(&juliet), 1_999, None, 10).await.unwrap()), [""; 0]);
    assert_eq!(store.next_expiry(&juliet).await.unwrap(), Some(2_000));
    assert_eq!(store.next_expiry(&jid("nobody@capulet.example")).await.unwrap(), None);

    // Files without slots, page by page.
    assert_eq!(store.files(None, 10).await.unwrap(), [("a".to_owned(), 100), ("b".to_owned(), 50)]);
    assert_eq!(store.files(Some("a"), 10).await.unwrap(), [("b".to_owned(), 50)]);
    assert_eq!(store.files(None, 1).await.unwrap().len(), 1);
    for (id, created) in [("old", 599), ("new", 601)] {
        let file = Upload { created, ..slot(id, &juliet, 1, 900) };
        assert_eq!(store.reserve(&file, &free).await.unwrap(), Reserved::Kept);
        assert!(store.publish(id, Some(3_000)).await.unwrap());
    }
    let mut pages = Vec::new();
    let mut last: Option<Upload> = None;
    loop {
        let mut page = store.files_of(&juliet, last.as_ref(), 1).await.unwrap();
        last = page.pop();
        let Some(file) = &last else { break };
        pages.push(file.id.clone());
    }
    assert_eq!(pages, ["new", "b", "a", "old"]);
    assert_eq!(store.files_of(&juliet, None, 10).await.unwrap().len(), 4);
    assert!(store.files_of(&romeo, None, 10).await.unwrap().is_empty(), "he has slots alone");
    assert!(store.remove("old").await.unwrap() && store.remove("new").await.unwrap());

    // What is released has expired, and nothing comes into it.
    assert_eq!(store.release(&romeo).await.unwrap(), 2);
    assert_eq!(ids(store.expired(None, 1, None, 10).await.unwrap()), ["c", "d"]);
    assert!(!store.publish("c", Some(5_000)).await.unwrap());
    assert_eq!(store.release(&jid("nobody@capulet.example")).await.unwrap(), 0);

    // What is removed takes nothing any more.
    assert!(store.remove("c").await.unwrap() && store.remove("d").await.unwrap() && !store.remove("d").await.unwrap());
    assert_eq!(store.find("c").await.unwrap(), None);
    assert_eq!(store.usage(Some(&romeo)).await.unwrap(), Usage::default());
    assert_eq!(store.usage(None).await.unwrap(), Usage { bytes: 150, files: 2 });
    assert!(store.remove("a").await.unwrap() && store.remove("b").await.unwrap());
    assert_eq!(store.usage(None).await.unwrap(), Usage::default());
    assert!(store.usages(10).await.unwrap().is_empty());
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn memory_does_what_every_store_must() {
        super::conformance(&super::MemoryUploads::new()).await;
    }
}
