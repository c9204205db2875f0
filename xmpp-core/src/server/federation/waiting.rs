//! Who waits for the peer's answer to what.

use std::collections::VecDeque;
use tokio::{
    sync::oneshot,
    time::{Duration, Instant},
};

/// Questions to a peer, with those who wait for the answers: so many, and so long.
pub(super) struct Waiting<K, A> {
    /// In the order in which they end.
    entries: VecDeque<Entry<K, A>>,
    time: Duration,
    limit: usize,
}

struct Entry<K, A> {
    question: K,
    until: Instant,
    waiting: oneshot::Sender<A>,
}

impl<K: PartialEq, A: Clone> Waiting<K, A> {
    pub(super) fn new(time: Duration, limit: usize) -> Waiting<K, A> {
        Waiting { entries: VecDeque::new(), time, limit }
    }

    /// Lets one more wait; if there is no room, he learns it by his channel's end.
    pub(super) fn add(&mut self, question: K, waiting: oneshot::Sender<A>) -> bool {
        let room = self.entries.len() < self.limit;
        if room {
            self.entries.push_back(Entry { question, until: Instant::now() + self.time, waiting });
        }
        room
    }

    /// Tells all who wait for it the answer.
    pub(super) fn settle(&mut self, question: &K, answer: &A) {
        let (settled, left) = std::mem::take(&mut self.entries).into_iter().partition(|one| one.question == *question);
        self.entries = left;
        let settled: VecDeque<Entry<K, A>> = settled;
        for one in settled {
            let _ = one.waiting.send(answer.clone());
        }
    }

    /// When the first has waited long enough.
    pub(super) fn until(&self) -> Option<Instant> {
        self.entries.front().map(|entry| entry.until)
    }

    /// Drops who has waited long enough, or left. Returns what nobody waits for any more.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<K> {
        let entries = std::mem::take(&mut self.entries);
        let (over, left): (VecDeque<_>, VecDeque<_>) =
            entries.into_iter().partition(|one| one.until <= now || one.waiting.is_closed());
        self.entries = left;
        let questions = over.into_iter().map(|one| one.question);
        questions.filter(|question| self.entries.iter().all(|one| one.question != *question)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn they_are_bounded_in_number_and_time() {
        let mut waiting = Waiting::new(Duration::from_secs(10), 3);
        let mut ends = Vec::new();
        for (question, room) in [("a", true), ("a", true), ("b", true), ("c", false)] {
            let (sender, receiver) = oneshot::channel();
            assert_eq!(waiting.add(question, sender), room);
            ends.push(receiver);
        }
        assert!(ends.pop().unwrap().await.is_err());
        // One of those who wait for the same has left.
        drop(ends.remove(0));
        assert!(waiting.expire(Instant::now()).is_empty(), "there is another");
        waiting.settle(&"a", &1);
        assert_eq!(ends.remove(0).await, Ok(1));
        assert_eq!(waiting.until(), Some(Instant::now() + Duration::from_secs(10)));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(waiting.expire(Instant::now()), ["b"]);
        assert!(ends.remove(0).await.is_err() && waiting.is_empty());
    }
}
