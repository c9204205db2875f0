//! Which stream serves which pair of domains, what waits for one, and which domains are left alone for a while.

use super::{
    FederationLimits,
    bounce::too_slow,
    outlet::{Outlet, Put},
    stream::Stream,
};
use crate::{server::Envelope, stanza::StanzaError, stream::s2s::Pair, xml::ns};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::Instant;

/// What became of a stanza for a remote domain.
pub(super) enum Sent {
    /// A stream has it, or it waits for one.
    Queued,
    /// It waits for a stream that nobody opens yet, in the queue of this generation.
    First(Generation),
    /// There is no way.
    Refused(StanzaError),
}

/// Tells a queue from those that its pair had before: what failed for one of them is not the newer one's failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Generation(u64);

/// The way from a domain here to a domain there.
enum Lane {
    /// A stream is being opened, or authorised for the pair.
    Opening(Queue),
    /// This stream takes it.
    Ready(Arc<Outlet>),
    /// It was refused.
    Broken(Trouble),
}

#[derive(Default)]
struct Queue {
    generation: Generation,
    envelopes: VecDeque<Envelope>,
    bytes: usize,
    /// How often it has failed before.
    failures: u32,
}

/// Something that failed, and is not to be tried again for a while.
#[derive(Clone)]
struct Trouble {
    error: StanzaError,
    failures: u32,
    until: Instant,
}

#[derive(Default)]
struct Tables {
    lanes: HashMap<Pair, Lane>,
    /// Streams that we opened or are opening, by the domain that they are for.
    streams: HashMap<String, Vec<Arc<Stream>>>,
    /// Domains that could not be reached.
    unreachable: HashMap<String, Trouble>,
    queued_bytes: usize,
    /// Of the last queue.
    generation: Generation,
    /// When troubles that are over were last forgotten.
    swept: Option<Instant>,
}

pub(super) struct Table {
    tables: Mutex<Tables>,
    pairs: usize,
    queue_stanzas: usize,
    queue_bytes: usize,
    total_queue_bytes: usize,
    retry_min: Duration,
    retry_max: Duration,
}

impl Table {
    pub(super) fn new(limits: &FederationLimits) -> Table {
        Table {
            tables: Mutex::default(),
            pairs: limits.pairs,
            queue_stanzas: limits.queue_stanzas,
            queue_bytes: limits.queue_bytes,
            total_queue_bytes: limits.total_queue_bytes,
            retry_min: limits.retry_min,
            retry_max: limits.retry_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Hands a stanza to its pair's stream, or queues it for one.
    pub(super) fn send(&self, pair: &Pair, envelope: &Envelope) -> Sent {
        let mut tables = self.lock();
        if let Some(Lane::Ready(outlet)) = tables.lanes.get(pair) {
            let outlet = Arc::clone(outlet);
            // Not under the lock: writing takes time, and who else sends to this pair has no business with this order.
            drop(tables);
            match outlet.put(|out| write(envelope, out)) {
                Put::Queued => return Sent::Queued,
                Put::Full => return Sent::Refused(too_slow()),
                Put::Shut => tables = self.lock(),
            }
        }
        self.queue(&mut tables, pair, envelope)
    }

    fn queue(&self, tables: &mut Tables, pair: &Pair, envelope: &Envelope) -> Sent {
        let mut failures = 0;
        match tables.lanes.get(pair) {
            // Another stream has come in the meantime.
            Some(Lane::Ready(outlet)) if outlet.is_open() => {
                return match outlet.put(|out| write(envelope, out)) {
                    Put::Queued => Sent::Queued,
                    _ => Sent::Refused(too_slow()),
                };
            }
            Some(Lane::Broken(trouble)) if Instant::now() < trouble.until => {
                return Sent::Refused(trouble.error.clone());
            }
            Some(Lane::Broken(trouble)) => failures = trouble.failures,
            _ => {}
        }
        let bytes = envelope.stanza.as_str().len();
        let opening = matches!(tables.lanes.get(pair), Some(Lane::Opening(_)));
        if !opening {
            self.sweep(tables);
            if tables.lanes.len() >= self.pairs && !tables.lanes.contains_key(pair) {
                // What is known of those that failed helps nobody as much as a place: whoever names many makes many fail.
                tables.lanes.retain(|_, lane| !matches!(lane, Lane::Broken(_)));
            }
            if tables.lanes.len() >= self.pairs && !tables.lanes.contains_key(pair) {
                return Sent::Refused(StanzaError::resource_constraint());
            }
            tables.generation.0 = tables.generation.0.wrapping_add(1);
            let queue = Queue { generation: tables.generation, failures, ..Queue::default() };
            tables.lanes.insert(pair.clone(), Lane::Opening(queue));
        }
        let total = tables.queued_bytes;
        let Some(Lane::Opening(queue)) = tables.lanes.get_mut(pair) else { return Sent::Refused(too_slow()) };
        let full = queue.envelopes.len() >= self.queue_stanzas
            || queue.bytes + bytes > self.queue_bytes
            || total + bytes > self.total_queue_bytes;
        if full && opening {
            return Sent::Refused(too_slow());
        }
        if full {
            tables.lanes.remove(pair);
            return Sent::Refused(StanzaError::resource_constraint());
        }
        let mut envelope = envelope.clone();
        // The answer finds its way by the address; the session may be gone by then.
        envelope.sender = None;
        queue.envelopes.push_back(envelope);
        queue.bytes += bytes;
        tables.queued_bytes += bytes;
        if opening { Sent::Queued } else { Sent::First(queue.generation) }
    }

    /// A stream is authorised for a pair: what waited goes there. Returns what it had no room for.
    pub(super) fn ready(&self, pair: &Pair, outlet: &Arc<Outlet>) -> Vec<Envelope> {
        let mut tables = self.lock();
        match tables.lanes.get(pair) {
            // What is in another stream must not be overtaken.
            Some(Lane::Ready(other)) if other.is_open() => return Vec::new(),
            Some(Lane::Opening(_)) => {}
            // Nobody here has asked for it: peers with many names must not take the places of those whom somebody
            // writes to. A stream of ours does as well.
            None if tables.lanes.len() >= self.pairs / 2 => return Vec::new(),
            _ if tables.lanes.len() >= self.pairs => return Vec::new(),
            _ => {}
        }
        tables.unreachable.remove(&pair.remote);
        let before = tables.lanes.insert(pair.clone(), Lane::Ready(Arc::clone(outlet)));
        let Some(Lane::Opening(queue)) = before else { return Vec::new() };
        tables.queued_bytes = tables.queued_bytes.saturating_sub(queue.bytes);
        let mut left = queue.envelopes;
        left.retain(|envelope| outlet.put(|out| write(envelope, out)) != Put::Queued);
        left.into()
    }

    /// No stream could be had for a pair. Returns what waited for one in the queue of that generation; a newer one has
    /// its own opening.
    pub(super) fn failed(&self, pair: &Pair, generation: Generation, error: &StanzaError) -> Vec<Envelope> {
        let mut tables = self.lock();
        let failures = match tables.lanes.get(pair) {
            Some(Lane::Opening(queue)) if queue.generation == generation => queue.failures.saturating_add(1),
            _ => return Vec::new(),
        };
        let until = Instant::now() + self.pause(failures);
        let broken = Lane::Broken(Trouble { error: error.clone(), failures, until });
        let Some(Lane::Opening(queue)) = tables.lanes.insert(pair.clone(), broken) else { return Vec::new() };
        tables.queued_bytes = tables.queued_bytes.saturating_sub(queue.bytes);
        queue.envelopes.into()
    }

    /// Nobody looks for a stream for the queue of that generation: it is as if nothing had been sent. Returns what waited.
    pub(super) fn abandon(&self, pair: &Pair, generation: Generation) -> Vec<Envelope> {
        let mut tables = self.lock();
        if !matches!(tables.lanes.get(pair), Some(Lane::Opening(queue)) if queue.generation == generation) {
            return Vec::new();
        }
        let Some(Lane::Opening(queue)) = tables.lanes.remove(pair) else { return Vec::new() };
        tables.queued_bytes = tables.queued_bytes.saturating_sub(queue.bytes);
        queue.envelopes.into()
    }

    fn pause(&self, failures: u32) -> Duration {
        let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(1 << 16);
        self.retry_min.saturating_mul(doubled).min(self.retry_max)
    }

    /// A stream is no more.
    pub(super) fn gone(&self, outlet: &Arc<Outlet>) {
        self.lock().lanes.retain(|_, lane| !matches!(lane, Lane::Ready(other) if Arc::ptr_eq(other, outlet)));
    }

    /// Remembers that a domain could not be reached.
    pub(super) fn unreachable(&self, remote: &str, error: &StanzaError) {
        let mut tables = self.lock();
        self.sweep(&mut tables);
        if tables.unreachable.len() >= self.pairs && !tables.unreachable.contains_key(remote) {
            return;
        }
        let failures = tables.unreachable.get(remote).map_or(0, |trouble| trouble.failures).saturating_add(1);
        let until = Instant::now() + self.pause(failures);
        tables.unreachable.insert(remote.to_owned(), Trouble { error: error.clone(), failures, until });
    }

    /// Why a domain is not to be tried at the moment.
    pub(super) fn trouble(&self, remote: &str) -> Option<StanzaError> {
        let tables = self.lock();
        tables.unreachable.get(remote).filter(|trouble| Instant::now() < trouble.until).map(|one| one.error.clone())
    }

    /// It answers.
    pub(super) fn reached(&self, remote: &str) {
        self.lock().unreachable.remove(remote);
    }

    /// Enters a stream that is being opened.
    pub(super) fn enter(&self, stream: &Arc<Stream>) {
        self.lock().streams.entry(stream.pair.remote.clone()).or_default().push(Arc::clone(stream));
    }

    /// Takes a stream out.
    pub(super) fn leave(&self, stream: &Arc<Stream>) {
        let mut tables = self.lock();
        if let Some(streams) = tables.streams.get_mut(&stream.pair.remote) {
            streams.retain(|other| !Arc::ptr_eq(other, stream));
            if streams.is_empty() {
                tables.streams.remove(&stream.pair.remote);
            }
        }
    }

    /// The streams to a domain, those that began with the same local domain first.
    pub(super) fn streams_to(&self, pair: &Pair) -> Vec<Arc<Stream>> {
        let mut streams = self.lock().streams.get(&pair.remote).cloned().unwrap_or_default();
        streams.sort_by_key(|stream| stream.pair.local != pair.local);
        streams
    }

    /// A stream that leads to one of these targets and takes further domains (XEP-0220 §2.6.2).
    pub(super) fn stream_at(&self, targets: &[crate::net::Target]) -> Option<Arc<Stream>> {
        let tables = self.lock();
        let leads_there = |stream: &&Arc<Stream>| {
            stream.takes_targets()
                && stream.target.get().is_some_and(|at| {
                    targets.iter().any(|to| (&to.host, to.port, to.direct_tls) == (&at.host, at.port, at.direct_tls))
                })
        };
        tables.streams.values().flatten().find(leads_there).cloned()
    }

    /// Forgets troubles that are over: those that may come back double as long as before are kept as long again, unless
    /// there is no more room.
    fn sweep(&self, tables: &mut Tables) {
        let (now, kept) = (Instant::now(), self.retry_max);
        let full = tables.lanes.len() >= self.pairs || tables.unreachable.len() >= self.pairs;
        let every = if full { kept.min(Duration::from_secs(1)) } else { kept };
        if tables.swept.is_some_and(|swept| now < swept + every) {
            return;
        }
        tables.swept = Some(now);
        let over = |trouble: &Trouble| if full { trouble.until <= now } else { trouble.until + kept <= now };
        tables.lanes.retain(|_, lane| !matches!(lane, Lane::Broken(trouble) if over(trouble)));
        tables.unreachable.retain(|_, trouble| !over(trouble));
    }

    /// How many streams we opened.
    pub(super) fn opened(&self) -> usize {
        self.lock().streams.values().map(Vec::len).sum()
    }
}

/// As it goes over a stream between servers: both addresses are there (RFC 6120 §8.1.1.2, §8.1.2.2).
fn write(envelope: &Envelope, out: &mut Vec<u8>) {
    let to = envelope.to.as_ref().map(|to| to.as_str());
    envelope.stanza.rewrite(ns::SERVER).from(Some(envelope.from.as_str())).to(to).write(out);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::server::federation::outlet::Total;
    use crate::{
        stanza::StanzaKind,
        xml::{Stanza, XmlLimits},
    };

    #[test]
    fn pairs_that_peers_bring_leave_room_for_those_that_are_written_to() {
        let limits = FederationLimits { pairs: 4, ..FederationLimits::default() };
        let (table, outlet) = (Table::new(&limits), outlet());
        for number in 0..4 {
            table.ready(&Pair::new("here.example", format!("d{number}.evil.example")), &outlet);
        }
        let pair = Pair::new("here.example", "there.example");
        assert!(matches!(table.send(&pair, &envelope("1")), Sent::First(_)));
    }

    #[test]
    fn pairs_that_failed_leave_room_for_others() {
        let limits = FederationLimits { pairs: 4, ..FederationLimits::default() };
        let table = Table::new(&limits);
        for number in 0..4 {
            let pair = Pair::new("here.example", format!("dead{number}.example"));
            let Sent::First(generation) = table.send(&pair, &envelope("1")) else { panic!() };
            table.failed(&pair, generation, &StanzaError::remote_server_not_found());
        }
        let pair = Pair::new("here.example", "there.example");
        let Sent::First(generation) = table.send(&pair, &envelope("1")) else { panic!() };
        // One that nobody opens is as if it had never been.
        assert_eq!(ids(&table.abandon(&pair, generation)), ["1"]);
        assert!(matches!(table.send(&pair, &envelope("2")), Sent::First(_)));
        assert!(table.abandon(&pair, generation).is_empty(), "of an older queue");
        assert_eq!(table.lock().lanes.len(), 1);
    }

    fn outlet() -> Arc<Outlet> {
        Arc::new(Outlet::new(1000, Arc::new(Total::new(1000))))
    }

    fn envelope(id: &str) -> Envelope {
        let stanza = Stanza::parse(&format!("<message id='{id}'/>"), ns::CLIENT, &XmlLimits::authenticated()).unwrap();
        let (from, to) = ("a@here.example".parse().unwrap(), "b@there.example".parse().unwrap());
        Envelope {
            stanza,
            kind: StanzaKind::Message,
            from,
            to: Some(to),
            sender: None,
            unaddressed: false,
            crowd: None,
        }
    }

    fn ids(envelopes: &[Envelope]) -> Vec<String> {
        envelopes.iter().map(|envelope| envelope.stanza.root().attr("id").unwrap().into_owned()).collect()
    }

    #[test]
    fn a_late_failure_leaves_a_newer_queue_alone() {
        let (table, outlet) = (Table::new(&FederationLimits::default()), outlet());
        let pair = Pair::new("here.example", "there.example");
        let Sent::First(first) = table.send(&pair, &envelope("1")) else { panic!() };
        // A stream of theirs serves the pair while ours is still being opened, and goes.
        assert!(table.ready(&pair, &outlet).is_empty());
        outlet.shut();
        table.gone(&outlet);
        let Sent::First(second) = table.send(&pair, &envelope("2")) else { panic!() };
        let error = StanzaError::remote_server_timeout();
        assert!(table.failed(&pair, first, &error).is_empty(), "the first stream's failure comes late");
        assert!(matches!(table.send(&pair, &envelope("3")), Sent::Queued));
        assert_eq!(ids(&table.failed(&pair, second, &error)), ["2", "3"]);
        assert!(matches!(table.send(&pair, &envelope("4")), Sent::Refused(_)));
        assert_eq!(table.lock().queued_bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn troubles_that_are_over_are_forgotten_in_time() {
        let limits = FederationLimits::default();
        let table = Table::new(&limits);
        let error = StanzaError::remote_server_timeout();
        for number in 0..100 {
            let pair = Pair::new("here.example", format!("d{number}.example"));
            let Sent::First(generation) = table.send(&pair, &envelope("1")) else { panic!() };
            table.failed(&pair, generation, &error);
            table.unreachable(&pair.remote, &error);
        }
        tokio::time::advance(limits.retry_min + limits.retry_max).await;
        table.send(&Pair::new("here.example", "there.example"), &envelope("1"));
        let tables = table.lock();
        assert_eq!((tables.lanes.len(), tables.unreachable.len()), (1, 0));
    }
}
