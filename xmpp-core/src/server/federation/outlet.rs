//! What is to be written to one stream.

use std::sync::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// A bounded queue of bytes between the router and the driver of a stream.
#[derive(Debug)]
pub(super) struct Outlet {
    outbox: Mutex<Outbox>,
    filled: Notify,
    limit: usize,
}

#[derive(Debug)]
struct Outbox {
    bytes: Vec<u8>,
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
    pub(super) fn new(limit: usize) -> Outlet {
        Outlet { outbox: Mutex::new(Outbox { bytes: Vec::new(), open: true }), filled: Notify::new(), limit }
    }

    /// Queues what `write` appends, as long as there is room.
    pub(super) fn put(&self, write: impl FnOnce(&mut Vec<u8>)) -> Put {
        let mut outbox = self.lock();
        if !outbox.open {
            return Put::Shut;
        }
        let before = outbox.bytes.len();
        write(&mut outbox.bytes);
        if outbox.bytes.len() > self.limit {
            outbox.bytes.truncate(before);
            return Put::Full;
        }
        drop(outbox);
        self.filled.notify_one();
        Put::Queued
    }

    /// Takes all there is.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock().bytes)
    }

    /// Lets nothing more in, and takes what there is.
    pub(super) fn shut(&self) -> Vec<u8> {
        let mut outbox = self.lock();
        outbox.open = false;
        std::mem::take(&mut outbox.bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abuse_a064_the_outlet_has_its_limit_to_the_byte() {
        let outlet = Outlet::new(10);
        let put = |bytes: usize| outlet.put(|out| out.extend(std::iter::repeat_n(b'x', bytes)));
        assert_eq!(put(6), Put::Queued);
        assert_eq!(put(5), Put::Full);
        assert_eq!(put(4), Put::Queued);
        assert_eq!(outlet.take().len(), 10);
        assert_eq!(put(10), Put::Queued);
        assert_eq!(outlet.shut().len(), 10);
        assert_eq!(put(1), Put::Shut);
    }
}
