//! Routes that no session waits for: of stanzas that the server sends itself, and of those that come back.

use super::{
    Server,
    line::{Line, Pending},
    route::Envelope,
};
use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    future::poll_fn,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

/// Between two accounts stanzas are routed in the order in which they were sent (RFC 6120 §10.1): while one of them
/// waits, those behind it do.
#[derive(Default)]
pub(super) struct Detached {
    waiting: Mutex<Waiting>,
    /// How many pairs are in the table: mostly none, and then nobody has to look.
    pairs: AtomicUsize,
}

type Waiting = HashMap<Pair, Queue>;

/// Stanzas of a pair that wait, and the position of each on the route.
#[derive(Default)]
struct Queue {
    all: VecDeque<(Envelope, usize)>,
    /// Bytes of them.
    bytes: usize,
}

/// How many stanzas of a pair wait, and how many bytes of them; what is beyond is not lost, it only overtakes them. It is
/// more than a room with thousands in it says to who enters, and more than the outbox of a session holds.
const QUEUE: usize = 16_384;
const QUEUE_BYTES: usize = 8 << 20;

impl Queue {
    fn push(&mut self, envelope: Envelope, position: usize) -> Option<Envelope> {
        let bytes = self.bytes.saturating_add(envelope.stanza.as_str().len());
        if self.all.len() >= QUEUE || bytes > QUEUE_BYTES {
            return Some(envelope);
        }
        self.bytes = bytes;
        self.all.push_back((envelope, position));
        None
    }

    fn pop(&mut self) -> Option<(Envelope, usize)> {
        let (envelope, position) = self.all.pop_front()?;
        self.bytes = self.bytes.saturating_sub(envelope.stanza.as_str().len());
        Some((envelope, position))
    }
}

/// The bare addresses of sender and recipient.
type Pair = (Box<str>, Box<str>);

impl Detached {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether anything waits. Whoever sends one stanza after another sees here what it has itself caused to wait.
    pub(super) fn has_waiting(&self) -> bool {
        self.pairs.load(Ordering::SeqCst) > 0
    }

    /// Puts a stanza behind those of its pair that wait, or gives it back.
    fn queue(&self, envelope: Envelope, position: usize) -> Option<Envelope> {
        if !self.has_waiting() {
            return Some(envelope);
        }
        match self.waiting().get_mut(&pair(&envelope)) {
            Some(queue) => queue.push(envelope, position),
            None => Some(envelope),
        }
    }
}

fn pair(envelope: &Envelope) -> Pair {
    let to = envelope.to().map(|to| to.bare_str()).unwrap_or_default();
    (envelope.from().bare_str().into(), to.into())
}

impl Server {
    /// Runs the route from a position, or puts the stanza behind those of its pair that wait.
    pub(super) fn run_detached(&self, envelope: Envelope, position: usize) {
        let Some(envelope) = self.inner().detached.queue(envelope, position) else { return };
        if let Some(pending) = self.run(envelope, position) {
            self.follow_later(pending);
        }
    }

    /// Lets a route that waits end by itself, and those of its pair that come meanwhile behind it.
    pub(super) fn follow_later(&self, pending: Box<Pending>) {
        let (detached, pair) = (&self.inner().detached, pair(&pending.envelope));
        match detached.waiting().entry(pair.clone()) {
            // Another thread's has begun to wait meanwhile; neither was first.
            Entry::Occupied(_) => self.detach(pending),
            Entry::Vacant(vacant) => {
                vacant.insert(Queue::default());
                detached.pairs.fetch_add(1, Ordering::SeqCst);
                self.inner().tasks.spawn(self.clone().follow(pair, pending));
            }
        }
    }

    /// Lets a route end by itself.
    pub(super) fn detach(&self, pending: Box<Pending>) {
        self.inner().tasks.spawn(self.clone().end_route(pending));
    }

    /// Lets the routes of a session end by themselves, in order.
    pub(super) fn detach_line(&self, mut line: Box<Line>) {
        let server = self.clone();
        self.inner().tasks.spawn(poll_fn(move |cx| {
            line.poll(cx, &server);
            if line.count() == 0 { Poll::Ready(()) } else { Poll::Pending }
        }));
    }

    /// Resolves when the route has ended.
    pub(super) async fn end_route(self, mut pending: Box<Pending>) {
        poll_fn(|cx| pending.poll(cx, &self)).await;
    }

    /// Ends the route, then those that have waited behind it.
    async fn follow(self, pair: Pair, pending: Box<Pending>) {
        let mut pending = Some(pending);
        loop {
            if let Some(pending) = pending {
                self.clone().end_route(pending).await;
            }
            let next = self.next_of(&pair);
            let Some((envelope, position)) = next else { return };
            pending = self.run(envelope, position);
        }
    }

    /// What has waited longest, or the end of the queue.
    fn next_of(&self, pair: &Pair) -> Option<(Envelope, usize)> {
        let mut waiting = self.inner().detached.waiting();
        let next = waiting.get_mut(pair).and_then(Queue::pop);
        if next.is_none() && waiting.remove(pair).is_some() {
            self.inner().detached.pairs.fetch_sub(1, Ordering::SeqCst);
        }
        next
    }
}
