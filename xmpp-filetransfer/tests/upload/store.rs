//! A store whose answers can be held back, so that others come between.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::oneshot;
use xmpp_core::jid::BareJid;
use xmpp_filetransfer::upload::store::{
    Bucket, Due, MemoryUploads, Quota, Reserved, Stored, Upload, UploadStore, Usage,
};

/// What is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// What was found, until it may be told.
    Find,
    /// That something is removed, until it may be.
    Remove,
    /// That a slot is kept, until it may be.
    Reserve,
    /// What has expired, until it may be told.
    Expired,
}

type Gate = (At, oneshot::Sender<()>, oneshot::Receiver<()>);

#[derive(Default)]
pub(crate) struct Held {
    kept: MemoryUploads,
    gate: Mutex<Option<Gate>>,
    /// How often something was looked up.
    pub(crate) finds: AtomicUsize,
    /// How often files were looked through.
    pub(crate) rounds: AtomicUsize,
}

impl Held {
    /// Holds the next one back: tells when that is there, and lets it go.
    pub(crate) fn hold(&self, at: At) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((there, is_there), (go, may_go)) = (oneshot::channel(), oneshot::channel());
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, there, may_go));
        (is_there, go)
    }

    async fn pass(&self, at: At) {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner).take_if(|(held, ..)| *held == at);
        if let Some((_, there, may_go)) = gate {
            let _ = there.send(());
            let _ = may_go.await;
        }
    }
}

impl UploadStore for Held {
    fn reserve<'a>(&'a self, slot: &'a Upload, quota: &'a Quota) -> Stored<'a, Reserved> {
        Box::pin(async move {
            self.pass(At::Reserve).await;
            self.kept.reserve(slot, quota).await
        })
    }
    fn find<'a>(&'a self, id: &'a str) -> Stored<'a, Option<Upload>> {
        Box::pin(async move {
            self.finds.fetch_add(1, Ordering::SeqCst);
            let found = self.kept.find(id).await;
            self.pass(At::Find).await;
            found
        })
    }
    fn publish<'a>(&'a self, id: &'a str, expires: Option<u64>) -> Stored<'a, bool> {
        self.kept.publish(id, expires)
    }
    fn remove<'a>(&'a self, id: &'a str) -> Stored<'a, bool> {
        Box::pin(async move {
            self.pass(At::Remove).await;
            self.kept.remove(id).await
        })
    }
    fn release<'a>(&'a self, user: &'a BareJid) -> Stored<'a, u64> {
        self.kept.release(user)
    }
    fn expired<'a>(
        &'a self,
        user: Option<&'a BareJid>,
        now: u64,
        after: Option<&'a Due>,
        most: usize,
    ) -> Stored<'a, Vec<Due>> {
        Box::pin(async move {
            let expired = self.kept.expired(user, now, after, most).await;
            self.pass(At::Expired).await;
            expired
        })
    }
    fn files_of<'a>(&'a self, user: &'a BareJid, after: Option<&'a Upload>, most: usize) -> Stored<'a, Vec<Upload>> {
        self.kept.files_of(user, after, most)
    }
    fn files<'a>(&'a self, after: Option<&'a str>, most: usize) -> Stored<'a, Vec<(String, u64)>> {
        Box::pin(async move {
            let files = self.kept.files(after, most).await;
            self.rounds.fetch_add(1, Ordering::SeqCst);
            files
        })
    }
    fn next_expiry<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<u64>> {
        self.kept.next_expiry(user)
    }
    fn usage<'a>(&'a self, user: Option<&'a BareJid>) -> Stored<'a, Usage> {
        self.kept.usage(user)
    }
    fn usage_in<'a>(&'a self, user: &'a BareJid, bucket: Bucket) -> Stored<'a, Usage> {
        self.kept.usage_in(user, bucket)
    }
    fn usages(&self, most: usize) -> Stored<'_, Vec<(BareJid, Usage)>> {
        self.kept.usages(most)
    }
}
