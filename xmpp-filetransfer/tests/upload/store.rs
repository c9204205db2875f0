//! A store whose answers can be held back, so that others come between.

use std::sync::{Mutex, PoisonError};
use tokio::sync::oneshot;
use xmpp_core::jid::BareJid;
use xmpp_filetransfer::upload::store::{MemoryUploads, Quota, Reserved, Stored, Upload, UploadStore, Usage};

/// What is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// What was found, until it may be told.
    Find,
    /// That something is removed, until it may be.
    Remove,
}

type Gate = (At, oneshot::Sender<()>, oneshot::Receiver<()>);

#[derive(Default)]
pub(crate) struct Held {
    kept: MemoryUploads,
    gate: Mutex<Option<Gate>>,
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
        self.kept.reserve(slot, quota)
    }
    fn find<'a>(&'a self, id: &'a str) -> Stored<'a, Option<Upload>> {
        Box::pin(async move {
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
    fn expired<'a>(&'a self, now: u64, most: usize) -> Stored<'a, Vec<String>> {
        self.kept.expired(now, most)
    }
    fn of_user<'a>(&'a self, user: &'a BareJid, most: usize) -> Stored<'a, Vec<String>> {
        self.kept.of_user(user, most)
    }
    fn next_expiry<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<u64>> {
        self.kept.next_expiry(user)
    }
    fn usage<'a>(&'a self, user: Option<&'a BareJid>) -> Stored<'a, Usage> {
        self.kept.usage(user)
    }
}
