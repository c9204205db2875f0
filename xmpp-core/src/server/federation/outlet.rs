//! What is to be written to one stream.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// What an outlet may hold however much the others do, so that slow peers do not stop the rest.
const SHARE: usize = 64 << 10;

/// Bytes that all streams have to write, and how many that may be.
#[derive(Debug)]
pub(super) struct Total {
    bytes: AtomicUsize,
    limit: usize,
}

impl Total {
    pub(super) fn new(limit: usize) -> Total {
        Total { bytes: AtomicUsize::new(0), limit }
    }
}

/// A bounded queue of bytes between the router and the driver of a stream.
#[derive(Debug)]
pub(super) struct Outlet {
    outbox: Mutex<Outbox>,
    filled: Notify,
    limit: usize,
    total: Arc<Total>,
}

#[derive(Debug)]
struct Outbox {
    bytes: Vec<u8>,
    /// Taken out, and not yet written.
    taken: usize,
    open: bool,
}

/// What became of a stanza put into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Queued,
    Full,
    Shut,
}

impl Outlet {
    pub(super) fn new(limit: usize, total: Arc<Total>) -> Outlet {
        let outbox = Mutex::new(Outbox { bytes: Vec::new(), taken: 0, open: true });
        Outlet { outbox, filled: Notify::new(), limit, total }
    }

    /// Queues what `write` appends, as long as there is room.
    pub(super) fn put(&self, write: impl FnOnce(&mut Vec<u8>)) -> Put {
        let mut outbox = self.lock();
        if !outbox.open {
            return Put::Shut;
        }
        let before = outbox.bytes.len();
        write(&mut outbox.bytes);
        let (now, added) = (outbox.bytes.len(), outbox.bytes.len().saturating_sub(before));
        let all = self.total.bytes.fetch_add(added, Ordering::Relaxed).saturating_add(added);
        if now > self.limit || (now.saturating_add(outbox.taken) > SHARE && all > self.total.limit) {
            outbox.bytes.truncate(before);
            self.total.bytes.fetch_sub(added, Ordering::Relaxed);
            return Put::Full;
        }
        drop(outbox);
        self.filled.notify_one();
        Put::Queued
    }

    /// Takes all there is.
    pub(super) fn take(&self) -> Vec<u8> {
        self.lock().take()
    }

    /// Lets nothing more in, and takes what there is.
    pub(super) fn shut(&self) -> Vec<u8> {
        let mut outbox = self.lock();
        outbox.open = false;
        outbox.take()
    }

    /// What was taken is written.
    pub(super) fn written(&self) {
        let taken = std::mem::take(&mut self.lock().taken);
        self.total.bytes.fetch_sub(taken, Ordering::Relaxed);
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().open
    }

    /// Resolves when something has been put into it since the last time. Cancel-safe.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Outbox {
    fn take(&mut self) -> Vec<u8> {
        self.taken += self.bytes.len();
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let left = {
            let outbox = self.lock();
            outbox.taken + outbox.bytes.len()
        };
        self.total.bytes.fetch_sub(left, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(outlet: &Outlet, bytes: usize) -> Put {
        outlet.put(|out| out.extend(std::iter::repeat_n(b'x', bytes)))
    }

    #[test]
    fn abuse_a064_the_outlet_has_its_limit_to_the_byte() {
        let outlet = Outlet::new(10, Arc::new(Total::new(1000)));
        assert_eq!(put(&outlet, 6), Put::Queued);
        assert_eq!(put(&outlet, 5), Put::Full);
        assert_eq!(put(&outlet, 4), Put::Queued);
        assert_eq!(outlet.take().len(), 10);
        assert_eq!(put(&outlet, 10), Put::Queued);
        assert_eq!(outlet.shut().len(), 10);
        assert_eq!(put(&outlet, 1), Put::Shut);
    }

    #[test]
    fn abuse_a064_many_streams_that_are_not_read_hold_no_more_than_their_total() {
        let total = Arc::new(Total::new(3 * SHARE));
        let outlet = || Outlet::new(4 * SHARE, Arc::clone(&total));
        let (slow, other) = (outlet(), outlet());
        assert_eq!(put(&slow, 3 * SHARE), Put::Queued);
        assert_eq!(put(&slow, 1), Put::Full);
        // What is taken still lies in memory.
        assert_eq!(slow.take().len(), 3 * SHARE);
        assert_eq!(put(&slow, 1), Put::Full);
        assert_eq!(put(&other, SHARE), Put::Queued, "others have their share");
        assert_eq!(put(&other, 1), Put::Full);
        slow.written();
        assert_eq!(put(&slow, 2 * SHARE), Put::Queued);
        drop((slow, other));
        assert_eq!(total.bytes.load(Ordering::Relaxed), 0);
    }
}
