//! What was sent and is not acknowledged yet (XEP-0198 §4).

use super::management::{HandledCountTooHigh, newly_acked};
use std::collections::VecDeque;

/// How much may wait for its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnackedLimits {
    /// Stanzas.
    pub stanzas: usize,
    /// Their bytes together.
    pub bytes: usize,
}

/// So many places are kept when they are empty.
const ROOM: usize = 16;

/// There is no room for one more; the stanza comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

/// The stanzas sent since management was enabled that the peer has not acknowledged, oldest first, with the count of
/// all that were sent. Bounded in stanzas and bytes. `T` is whatever the sender keeps of a stanza.
///
/// ```
/// use xmpp_core::stream::management::{Unacked, UnackedLimits};
///
/// let mut unacked = Unacked::new(UnackedLimits { stanzas: 100, bytes: 10_000 });
/// for stanza in ["<message id='1'/>", "<message id='2'/>", "<message id='3'/>"] {
///     unacked.push(stanza, stanza.len()).unwrap();
/// }
/// let acked: Vec<_> = unacked.ack(2)?.collect();
/// assert_eq!(acked, ["<message id='1'/>", "<message id='2'/>"]);
/// assert_eq!((unacked.len(), unacked.sent()), (1, 3));
/// # Ok::<(), xmpp_core::stream::management::HandledCountTooHigh>(())
/// ```
#[derive(Clone, Debug)]
pub struct Unacked<T> {
    queue: VecDeque<(T, usize)>,
    bytes: usize,
    sent: u32,
    limits: UnackedLimits,
}

impl<T> Unacked<T> {
    /// Nothing was sent yet.
    pub fn new(limits: UnackedLimits) -> Unacked<T> {
        Unacked { queue: VecDeque::new(), bytes: 0, sent: 0, limits }
    }

    /// `acked` stanzas were sent and acknowledged before: a session that was saved, whose other stanzas are pushed
    /// again.
    pub fn resumed(limits: UnackedLimits, acked: u32) -> Unacked<T> {
        Unacked { sent: acked, ..Unacked::new(limits) }
    }

    /// A stanza of `bytes` bytes is being sent.
    pub fn push(&mut self, stanza: T, bytes: usize) -> Result<(), Full<T>> {
        if !self.has_room(1, bytes) {
            return Err(Full(stanza));
        }
        self.queue.push_back((stanza, bytes));
        self.bytes += bytes;
        self.sent = self.sent.wrapping_add(1);
        Ok(())
    }

    /// Whether so many stanzas of so many bytes together would find room.
    pub(crate) fn has_room(&self, stanzas: usize, bytes: usize) -> bool {
        // The counters could not tell a full circle from none.
        let most = self.limits.stanzas.min(u32::MAX as usize);
        self.queue.len().saturating_add(stanzas) <= most && self.bytes.saturating_add(bytes) <= self.limits.bytes
    }

    /// Whether `h` can be: it acknowledges neither more than was sent, nor less than before.
    pub(crate) fn check(&self, h: u32) -> Result<u32, HandledCountTooHigh> {
        let waiting = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        newly_acked(self.sent, waiting, h)
    }

    /// The peer has handled `h` stanzas: those newly acknowledged leave, oldest first. On an error nothing changes.
    pub fn ack(&mut self, h: u32) -> Result<impl Iterator<Item = T> + '_, HandledCountTooHigh> {
        let count = self.check(h)? as usize;
        let freed: usize = self.queue.iter().take(count).map(|(_, bytes)| bytes).sum();
        self.bytes -= freed;
        // What a burst has taken is given back with it.
        let kept = self.queue.len() - count;
        let roomy = self.queue.capacity() > ROOM && kept <= self.queue.capacity() / 4;
        let (mut burst, mut count) = (VecDeque::new(), count);
        if roomy {
            let rest = self.queue.split_off(count);
            burst = std::mem::replace(&mut self.queue, rest);
            count = 0;
        }
        Ok(burst.into_iter().chain(self.queue.drain(..count)).map(|(stanza, _)| stanza))
    }

    /// How many were sent since management was enabled, modulo 2³².
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether all is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The bytes of those that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those that wait, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.queue.iter().map(|(stanza, _)| stanza)
    }

    /// Gives up those that wait, oldest first. They still count as sent.
    pub fn take(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.bytes = 0;
        std::mem::take(&mut self.queue).into_iter().map(|(stanza, _)| stanza)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: UnackedLimits = UnackedLimits { stanzas: 8, bytes: 100 };

    #[test]
    fn abuse_a064_it_is_full_to_the_stanza_and_to_the_byte() {
        let mut unacked = Unacked::new(LIMITS);
        assert_eq!(unacked.push(1, 60), Ok(()));
        assert_eq!(unacked.push(2, 41), Err(Full(2)));
        assert_eq!(unacked.push(2, 40), Ok(()));
        let mut unacked = Unacked::new(LIMITS);
        assert!((0..8).all(|number| unacked.push(number, 1).is_ok()));
        assert_eq!(unacked.push(8, 1), Err(Full(8)));
        assert_eq!(unacked.sent(), 8);
    }

    #[test]
    fn xep0198_6_a_wrong_ack_changes_nothing() {
        let mut unacked = Unacked::new(LIMITS);
        unacked.push('a', 10).unwrap();
        assert_eq!(unacked.ack(2).map(|_| ()), Err(HandledCountTooHigh { h: 2, send_count: 1 }));
        assert_eq!((unacked.len(), unacked.bytes()), (1, 10));
        assert_eq!(unacked.ack(1).unwrap().collect::<String>(), "a");
        assert!(unacked.is_empty());
        // The same again acknowledges nothing, and is no mistake.
        assert_eq!(unacked.ack(1).unwrap().count(), 0);
        assert!(unacked.ack(0).is_err());
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let mut unacked = Unacked::new(UnackedLimits { stanzas: 10_000, bytes: 10_000 });
        for number in 0..5_000 {
            unacked.push(number, 1).unwrap();
        }
        assert_eq!(unacked.ack(4_990).unwrap().last(), Some(4_989));
        assert!(unacked.queue.capacity() <= 2 * ROOM, "{}", unacked.queue.capacity());
        assert_eq!(unacked.iter().copied().collect::<Vec<_>>(), (4_990..5_000).collect::<Vec<_>>());
        assert_eq!(unacked.ack(5_000).unwrap().count(), 10);
        for number in 5_000..5_100 {
            unacked.push(number, 1).unwrap();
        }
        drop(unacked.ack(5_100).unwrap());
        assert!(unacked.queue.capacity() <= ROOM, "{}", unacked.queue.capacity());
        assert_eq!((unacked.len(), unacked.bytes(), unacked.sent()), (0, 0, 5_100));
    }

    proptest! {
        /// Against a plain list: what is pushed leaves once, in order, whatever the counters do.
        #[test]
        fn xep0198_4_each_stanza_leaves_once(start: u32, steps in prop::collection::vec((any::<bool>(), 0..12u32), 0..200)) {
            let mut unacked = Unacked::resumed(LIMITS, start);
            let (mut next, mut acked) = (0u32, 0u32);
            for (push, number) in steps {
                if push {
                    let fits = unacked.len() < LIMITS.stanzas && unacked.bytes() + number as usize <= LIMITS.bytes;
                    prop_assert_eq!(unacked.push(next, number as usize).is_ok(), fits);
                    next += u32::from(fits);
                } else {
                    let h = start.wrapping_add(acked).wrapping_add(number);
                    let waiting = next - acked;
                    match unacked.ack(h) {
                        Ok(left) => {
                            let left: Vec<_> = left.collect();
                            prop_assert!(number <= waiting);
                            prop_assert_eq!(left, (acked..acked + number).collect::<Vec<_>>());
                            acked += number;
                        }
                        Err(_) => prop_assert!(number > waiting),
                    }
                }
                prop_assert_eq!(unacked.sent(), start.wrapping_add(next));
                prop_assert_eq!(unacked.iter().copied().collect::<Vec<_>>(), (acked..next).collect::<Vec<_>>());
            }
            prop_assert_eq!(unacked.take().count(), (next - acked) as usize);
            prop_assert_eq!(unacked.bytes(), 0);
        }
    }
}
