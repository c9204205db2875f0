//! What a session is sent while it hibernates (XEP-0198 §5).

use super::{client_state::Idle, management::Sent};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

/// What a stanza takes beside its bytes, about.
const EACH: usize = 128;

/// A sleeper's part of what all of them hold together, in bytes. It is taken off when this is dropped.
#[derive(Debug)]
pub(crate) struct Burden {
    all: Arc<AtomicUsize>,
    own: usize,
}

impl Burden {
    /// None yet, out of what `all` hold.
    pub(crate) fn new(all: &Arc<AtomicUsize>) -> Burden {
        Burden { all: Arc::clone(all), own: 0 }
    }

    /// It is so much more now.
    fn grow(&mut self, bytes: usize) {
        self.own += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It is so much less now.
    fn shrink(&mut self, bytes: usize) {
        self.own -= bytes;
        self.all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Burden {
    fn drop(&mut self) {
        self.shrink(self.own);
    }
}

/// The stanzas that came since a session has fallen asleep. Presence takes the place of earlier presence of the same
/// sender, and a bare chat state that of an earlier one, as long as nothing else came from there in between; all others
/// stay, in their order. None of them has a number yet: to the client nothing of this was sent.
#[derive(Debug)]
pub(crate) struct Asleep {
    stanzas: BTreeMap<u64, Sent>,
    /// Where the last of what says how things stand with a sender is, if a later one may take its place.
    latest: HashMap<Box<str>, Latest>,
    next: u64,
    bytes: usize,
    burden: Burden,
}

/// By kind.
#[derive(Debug, Default)]
struct Latest {
    presence: Option<u64>,
    chat_state: Option<u64>,
}

impl Latest {
    fn of(&mut self, kind: Idle) -> &mut Option<u64> {
        match kind {
            Idle::Presence => &mut self.presence,
            Idle::ChatState => &mut self.chat_state,
        }
    }
}

impl Asleep {
    /// Nothing came yet; the session holds `stanzas` of so many `bytes` from before.
    pub(super) fn new(mut burden: Burden, stanzas: usize, bytes: usize) -> Asleep {
        burden.grow(bytes + stanzas * EACH);
        Asleep { stanzas: BTreeMap::new(), latest: HashMap::new(), next: 0, bytes: 0, burden }
    }

    /// What the session holds in all, with what it held before.
    pub(super) fn burden(&self) -> usize {
        self.burden.own
    }

    /// One more stanza, of `from`, "" if that is not known; `passing` is of a kind that says how things stand. Whether
    /// there was room: `has_room` is asked for so many stanzas of so many bytes, and all sleepers together have `most`
    /// bytes.
    pub(super) fn add(
        &mut self,
        from: &str,
        passing: Option<Idle>,
        bytes: &[u8],
        most: usize,
        has_room: impl FnOnce(usize, usize) -> bool,
    ) -> bool {
        let earlier = passing.and_then(|kind| *self.latest.get_mut(from)?.of(kind));
        let replaced = earlier.and_then(|place| self.stanzas.get(&place)).map(|sent| sent.bytes.len());
        let kept = (self.stanzas.len() - usize::from(replaced.is_some()), self.bytes - replaced.unwrap_or(0));
        let name = if passing.is_some() && !self.latest.contains_key(from) { from.len() } else { 0 };
        let more = bytes.len() + name + if replaced.is_none() { EACH } else { 0 };
        let crowded = || self.burden.all.load(Ordering::Relaxed).saturating_add(more) > most;
        if !has_room(kept.0 + 1, kept.1 + bytes.len()) || (more > replaced.unwrap_or(0) && crowded()) {
            return false;
        }
        if let Some(place) = earlier {
            self.stanzas.remove(&place);
        }
        self.burden.grow(more);
        self.burden.shrink(replaced.unwrap_or(0));
        self.bytes = kept.1 + bytes.len();
        self.stanzas.insert(self.next, Sent { bytes: bytes.into(), at: SystemTime::now() });
        match (passing, self.latest.get_mut(from)) {
            (Some(kind), Some(latest)) => *latest.of(kind) = Some(self.next),
            (Some(kind), None) => {
                let mut latest = Latest::default();
                *latest.of(kind) = Some(self.next);
                self.latest.insert(from.into(), latest);
            }
            (None, _) => self.stays(from),
        }
        self.next += 1;
        true
    }

    /// What came from this sender before keeps its place.
    fn stays(&mut self, from: &str) {
        let freed = if from.is_empty() {
            self.latest.drain().map(|(name, _)| name.len()).sum()
        } else {
            self.latest.remove_entry(from).map_or(0, |(name, _)| name.len())
        };
        self.burden.shrink(freed);
    }

    /// All of them, in order.
    pub(crate) fn into_stanzas(self) -> impl Iterator<Item = Sent> {
        self.stanzas.into_values()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(asleep: Asleep) -> Vec<String> {
        asleep.into_stanzas().map(|sent| String::from_utf8(sent.bytes.into()).unwrap()).collect()
    }

    #[test]
    fn only_the_latest_presence_of_a_sender_counts_and_messages_keep_it_apart() {
        let all = Arc::new(AtomicUsize::new(0));
        let mut asleep = Asleep::new(Burden::new(&all), 0, 0);
        let presence = Some(Idle::Presence);
        for (from, passing, text) in [
            ("a", presence, "a1"),
            ("b", presence, "b1"),
            ("a", presence, "a2"),
            ("a", None, "a: hello"),
            ("b", presence, "b2"),
            ("a", presence, "a3"),
            ("a", presence, "a4"),
            ("", None, "an answer"),
            ("a", presence, "a5"),
            ("b", presence, "b3"),
        ] {
            assert!(asleep.add(from, passing, text.as_bytes(), 10_000, |_, _| true));
        }
        assert_eq!(texts(asleep), ["a2", "a: hello", "b2", "a4", "an answer", "a5", "b3"]);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn abuse_a067_only_the_latest_chat_state_of_a_sender_counts() {
        let all = Arc::new(AtomicUsize::new(0));
        let mut asleep = Asleep::new(Burden::new(&all), 0, 0);
        let (presence, state) = (Some(Idle::Presence), Some(Idle::ChatState));
        for (from, passing, text) in [
            ("a", state, "a composes"),
            ("a", presence, "a1"),
            ("b", state, "b composes"),
            ("a", state, "a pauses"),
            ("a", None, "a: hello"),
            ("a", presence, "a2"),
            ("a", state, "a composes more"),
            ("b", state, "b pauses"),
            ("a", state, "a pauses again"),
        ] {
            assert!(asleep.add(from, passing, text.as_bytes(), 10_000, |_, _| true));
        }
        assert_eq!(texts(asleep), ["a1", "a pauses", "a: hello", "a2", "b pauses", "a pauses again"]);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn abuse_a064_what_takes_no_more_room_is_never_refused() {
        let all = Arc::new(AtomicUsize::new(0));
        let mut asleep = Asleep::new(Burden::new(&all), 0, 0);
        let most = 4 + 1 + EACH;
        let presence = Some(Idle::Presence);
        assert!(asleep.add("a", presence, b"1234", most, |stanzas, bytes| (stanzas, bytes) == (1, 4)));
        assert!(!asleep.add("b", presence, b"1", most, |stanzas, bytes| (stanzas, bytes) == (2, 5)));
        assert!(asleep.add("a", presence, b"5678", most, |stanzas, bytes| (stanzas, bytes) == (1, 4)));
        assert!(!asleep.add("a", presence, b"12345", most, |_, _| true));
        assert!(!asleep.add("a", presence, b"1", most, |_, _| false));
        assert_eq!(texts(asleep), ["5678"]);
    }

    proptest! {
        /// Whatever comes and goes, the sum is that of what is held.
        #[test]
        fn the_burden_is_what_is_held(steps in prop::collection::vec((0..4usize, 0..3usize, 0..40usize), 0..100)) {
            let all = Arc::new(AtomicUsize::new(0));
            let mut asleep = Asleep::new(Burden::new(&all), 2, 50);
            for (from, passing, length) in steps {
                let from = ["", "a", "bb", "ccc"][from];
                let passing = [None, Some(Idle::Presence), Some(Idle::ChatState)][passing].filter(|_| !from.is_empty());
                asleep.add(from, passing, &vec![b' '; length], 2_000, |stanzas, _| stanzas < 10);
                let bytes: usize = asleep.stanzas.values().map(|sent| sent.bytes.len()).sum();
                let names: usize = asleep.latest.keys().map(|name| name.len()).sum();
                let held = 50 + 2 * EACH + bytes + names + asleep.stanzas.len() * EACH;
                prop_assert_eq!((asleep.bytes, asleep.burden(), all.load(Ordering::Relaxed)), (bytes, held, held));
                let mut places = asleep.latest.values().flat_map(|latest| [latest.presence, latest.chat_state]).flatten();
                prop_assert!(places.all(|place| asleep.stanzas.contains_key(&place)));
                prop_assert!(held <= 2_000);
            }
            drop(asleep);
            prop_assert_eq!(all.load(Ordering::Relaxed), 0);
        }
    }
}
