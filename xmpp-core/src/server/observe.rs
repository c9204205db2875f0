//! What happens, for those who only watch: counters, and events over bounded queues.

use crate::{
    jid::Jid,
    stream::s2s::{Pair, Proof},
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::mpsc;

/// Something that happened. Observers can neither slow the server nor forbid anything: when a queue is full, the
/// event is lost to it and counted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Observed {
    /// A session was bound.
    SessionStarted(Jid),
    /// A session has ended.
    SessionEnded(Jid),
    /// A session has lost its connection and can be resumed for a while.
    SessionHibernated(Jid),
    /// A session goes on in another connection.
    SessionResumed(Jid),
    /// A login failed, with the user name that was given, if any.
    LoginFailed(Option<String>),
    /// A remote domain has proved itself and may send to one of ours.
    RemoteAdmitted(Pair, Proof),
    /// One of our domains may send to a remote one.
    RemoteAuthorized(Pair, Proof),
    /// A remote domain could not be reached, or a stream with it failed: the domain, "?" if it is not known, and why.
    RemoteFailed(String, String),
}

/// What has been counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Logins that succeeded.
    pub logins: u64,
    /// Logins that failed.
    pub failures: u64,
    /// Sessions resumed (XEP-0198).
    pub resumed: u64,
    /// Pairs of domains whose remote end was admitted.
    pub admitted: u64,
    /// Pairs of domains for which a remote server accepts us.
    pub authorized: u64,
    /// Streams with other servers that failed.
    pub failed_streams: u64,
    /// Events that an observer's queue had no room for.
    pub unobserved: u64,
    /// Stanzas dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) logins: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) admitted: AtomicU64,
    pub(crate) authorized: AtomicU64,
    pub(crate) failed_streams: AtomicU64,
    unobserved: AtomicU64,
    dropped: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) observers: Vec<mpsc::Sender<Observed>>,
}

impl Counters {
    pub(crate) fn new(observers: Vec<mpsc::Sender<Observed>>) -> Counters {
        Counters { observers, ..Counters::default() }
    }

    /// Counts a dropped stanza. Reasons are fixed texts, so their number is bounded.
    pub(crate) fn dropped(&self, reason: &'static str) {
        *self.dropped.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).entry(reason).or_default() += 1;
    }

    pub(crate) fn observe(&self, event: impl FnOnce() -> Observed) {
        if self.observers.is_empty() {
            return;
        }
        let event = event();
        for observer in &self.observers {
            if observer.try_send(event.clone()).is_err() {
                self.unobserved.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            accepted: read(&self.accepted),
            logins: read(&self.logins),
            failures: read(&self.failures),
            resumed: read(&self.resumed),
            admitted: read(&self.admitted),
            authorized: read(&self.authorized),
            failed_streams: read(&self.failed_streams),
            unobserved: read(&self.unobserved),
            dropped: self.dropped.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone(),
        }
    }
}
