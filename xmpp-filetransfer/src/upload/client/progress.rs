//! Something under way: how far it is, and what comes of it.

use super::UploadError;
use crate::file::{Function, Hasher};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::watch,
    task::JoinHandle,
};
use xmpp_core::payload::hash::Hash;

/// How far something is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What has gone, or come.
    pub done: u64,
    /// All of it, if that is known.
    pub total: Option<u64>,
}

/// A file under way, in a task of its own. Dropping it cancels that.
#[derive(Debug)]
#[must_use = "dropping it cancels the transfer"]
pub struct Transfer<T> {
    progress: watch::Receiver<Progress>,
    task: JoinHandle<Result<T, UploadError>>,
}

impl<T: Send + 'static> Transfer<T> {
    pub(super) fn start<F>(total: Option<u64>, work: impl FnOnce(watch::Sender<Progress>) -> F) -> Transfer<T>
    where
        F: Future<Output = Result<T, UploadError>> + Send + 'static,
    {
        let (sender, progress) = watch::channel(Progress { done: 0, total });
        Transfer { progress, task: tokio::spawn(work(sender)) }
    }
}

impl<T> Transfer<T> {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits until it is further; `None` when it is over, which [`finish`](Self::finish) tells more of. Cancel-safe.
    pub async fn changed(&mut self) -> Option<Progress> {
        self.progress.changed().await.ok()?;
        Some(*self.progress.borrow_and_update())
    }

    /// Ends it. Nothing of a file that was being fetched stays.
    pub fn cancel(self) {}

    /// Waits for the end. Dropped early, it cancels the transfer.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub async fn finish(mut self) -> Result<T, UploadError> {
        (&mut self.task).await.unwrap_or(Err(UploadError::Cancelled))
    }
}

impl<T> Drop for Transfer<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tells how much was read.
pub(super) struct Counted<R> {
    pub(super) inner: R,
    pub(super) progress: watch::Sender<Progress>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
        let more = u64::try_from(buf.filled().len().saturating_sub(before)).unwrap_or_default();
        if more > 0 {
            this.progress.send_modify(|progress| progress.done = progress.done.saturating_add(more));
        }
        polled
    }
}

/// Computes the hash of what is read.
pub(super) struct Hashed<R> {
    inner: R,
    hash: SharedHash,
}

/// The hash of what was read, for who has given the reader away.
#[derive(Clone)]
pub(super) struct SharedHash(Arc<Mutex<Hasher>>);

impl SharedHash {
    fn with<T>(&self, f: impl FnOnce(&mut Hasher) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn finish(&self) -> Hash {
        self.with(|hasher| hasher.clone()).finish()
    }
}

impl<R> Hashed<R> {
    /// By SHA-256.
    pub(super) fn new(inner: R) -> Hashed<R> {
        Hashed { inner, hash: SharedHash(Arc::new(Mutex::new(Hasher::new(Function::Sha256)))) }
    }

    pub(super) fn hash(&self) -> SharedHash {
        self.hash.clone()
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Hashed<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if !fresh.is_empty() {
            this.hash.with(|hasher| hasher.update(fresh));
        }
        polled
    }
}
