//! What waits for the application: so many at most, and so many bytes. What is older is lost, and that is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Something that can wait.
pub(super) trait Weigh {
    /// What it takes, in bytes, about.
    fn weight(&self) -> usize;
}

/// The end that is written to. When it is dropped, its readers come to an end.
#[derive(Debug)]
pub(super) struct Feed<T>(Arc<Shared<T>>);

/// An end that is read from, from when it was made.
#[derive(Debug)]
pub(super) struct Reader<T> {
    shared: Arc<Shared<T>>,
    number: u64,
}

/// What is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read<T> {
    /// What came next.
    One(T),
    /// So many are lost to this reader.
    Lost(u64),
}

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Queue<T>>,
    /// Something came, or the end.
    news: Notify,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<(T, usize)>,
    /// The place of the first that waits: those before it were read by all, or are lost.
    first: u64,
    bytes: usize,
    most: usize,
    most_bytes: usize,
    /// The next place of each reader.
    readers: BTreeMap<u64, u64>,
    next_reader: u64,
    has_ended: bool,
}

impl<T> Shared<T> {
    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Queue<T> {
    fn end(&self) -> u64 {
        self.first.saturating_add(self.waiting.len() as u64)
    }

    fn drop_first(&mut self) -> bool {
        let Some((_, weight)) = self.waiting.pop_front() else { return false };
        self.bytes = self.bytes.saturating_sub(weight);
        self.first += 1;
        true
    }

    /// Drops what all have read.
    fn forget_read(&mut self) {
        let last = self.readers.values().copied().min().unwrap_or_else(|| self.end());
        while self.first < last && self.drop_first() {}
    }
}

impl<T: Weigh> Feed<T> {
    pub(super) fn new(most: usize, most_bytes: usize) -> Feed<T> {
        let queue = Queue {
            waiting: VecDeque::new(),
            first: 0,
            bytes: 0,
            most: most.max(1),
            most_bytes,
            readers: BTreeMap::new(),
            next_reader: 0,
            has_ended: false,
        };
        Feed(Arc::new(Shared { queue: Mutex::new(queue), news: Notify::new() }))
    }

    /// A new reader, for what comes from now on.
    pub(super) fn subscribe(&self) -> Reader<T> {
        let mut queue = self.0.queue();
        let (number, place) = (queue.next_reader, queue.end());
        queue.next_reader += 1;
        queue.readers.insert(number, place);
        Reader { shared: Arc::clone(&self.0), number }
    }

    /// Something for all who read now.
    pub(super) fn send(&self, one: T) {
        let weight = one.weight();
        let mut queue = self.0.queue();
        if queue.readers.is_empty() {
            return;
        }
        queue.waiting.push_back((one, weight));
        queue.bytes = queue.bytes.saturating_add(weight);
        while (queue.waiting.len() > queue.most || queue.bytes > queue.most_bytes) && queue.drop_first() {}
        drop(queue);
        self.0.news.notify_waiters();
    }

    /// Bytes that wait.
    #[cfg(any(test, fuzzing))]
    pub(super) fn bytes(&self) -> usize {
        self.0.queue().bytes
    }
}

impl<T> Drop for Feed<T> {
    fn drop(&mut self) {
        self.0.queue().has_ended = true;
        self.0.news.notify_waiters();
    }
}

impl<T: Clone> Reader<T> {
    /// The next; `None` at the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Read<T>> {
        loop {
            let mut news = std::pin::pin!(self.shared.news.notified());
            // From here on nothing is missed.
            news.as_mut().enable();
            if let Some(read) = self.take() {
                return Some(read);
            }
            if self.shared.queue().has_ended {
                // What came last may have come since.
                return self.take();
            }
            news.await;
        }
    }

    /// What is there already.
    pub(super) fn take(&self) -> Option<Read<T>> {
        let mut queue = self.shared.queue();
        let (first, end) = (queue.first, queue.end());
        let place = queue.readers.get_mut(&self.number)?;
        if *place < first {
            let lost = first - *place;
            *place = first;
            return Some(Read::Lost(lost));
        }
        if *place >= end {
            return None;
        }
        let index = usize::try_from(*place - first).ok()?;
        *place += 1;
        let is_alone = queue.readers.len() == 1;
        if is_alone && index == 0 {
            let (one, weight) = queue.waiting.pop_front()?;
            queue.bytes = queue.bytes.saturating_sub(weight);
            queue.first += 1;
            return Some(Read::One(one));
        }
        let one = queue.waiting.get(index).map(|(one, _)| one.clone());
        queue.forget_read();
        one.map(Read::One)
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.readers.remove(&self.number);
        queue.forget_read();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    impl Weigh for &str {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    fn all(reader: &Reader<&'static str>) -> Vec<Read<&'static str>> {
        std::iter::from_fn(|| reader.take()).collect()
    }

    #[test]
    fn a_reader_that_is_late_loses_the_oldest_by_number_and_by_bytes_and_is_told() {
        let feed = Feed::new(3, 10);
        let (one, other) = (feed.subscribe(), feed.subscribe());
        for text in ["a", "b", "c"] {
            feed.send(text);
        }
        assert_eq!(all(&one), [Read::One("a"), Read::One("b"), Read::One("c")]);
        feed.send("d");
        assert_eq!(one.take(), Some(Read::One("d")));
        assert_eq!(all(&other), [Read::Lost(1), Read::One("b"), Read::One("c"), Read::One("d")]);
        assert_eq!(feed.bytes(), 0, "all have read it");
        for text in ["12345", "12345"] {
            feed.send(text);
        }
        assert_eq!(all(&one).len(), 2);
        feed.send("6");
        assert_eq!((feed.bytes(), all(&other)), (6, vec![Read::Lost(1), Read::One("12345"), Read::One("6")]));
        feed.send("larger than all");
        assert_eq!((all(&one), all(&other)), (vec![Read::Lost(2)], vec![Read::Lost(1)]));
        assert_eq!(feed.bytes(), 0);
    }

    #[test]
    fn what_nobody_reads_does_not_wait_nor_what_a_reader_that_is_gone_has_not_read() {
        let feed = Feed::new(9, 99);
        feed.send("before");
        let (one, other) = (feed.subscribe(), feed.subscribe());
        feed.send("now");
        assert_eq!(all(&one), [Read::One("now")]);
        assert_eq!(feed.bytes(), 3);
        drop(other);
        assert_eq!(feed.bytes(), 0);
        feed.send("later");
        drop(one);
        assert_eq!(feed.bytes(), 0);
        assert_eq!(feed.subscribe().take(), None);
    }

    #[tokio::test]
    async fn the_end_comes_behind_what_waits_and_wakes_who_waits() {
        let feed = Feed::new(9, 99);
        let (mut one, mut other) = (feed.subscribe(), feed.subscribe());
        let waits = tokio::spawn(async move { (one.next().await, one.next().await) });
        tokio::task::yield_now().await;
        feed.send("last");
        drop(feed);
        assert_eq!(waits.await.unwrap(), (Some(Read::One("last")), None));
        assert_eq!((other.next().await, other.next().await), (Some(Read::One("last")), None));
    }
}
