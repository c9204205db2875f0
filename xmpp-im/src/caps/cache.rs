//! What is known of others' capabilities, bounded, without I/O.

use super::{digest, hash_input, input::is_ambiguous, ver};
use std::{collections::HashMap, sync::Arc};
use xmpp_core::{
    jid::Jid,
    payload::{caps::Caps, disco::DiscoInfo, hash::Hash},
};

/// The most hashes whose meaning is kept, and the most addresses of which something is.
const HASHES: usize = 1_024;
const ADDRESSES: usize = 8_192;
/// The most identities, features and fields of an answer that is kept.
const ENTRIES: usize = 2_048;
/// The longest node, hash or name of a function that is taken note of.
const LONGEST: usize = 512;

/// What an answer is kept under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A verification string of XEP-0115 and the function that made it; it is the same whatever the software is called.
    Ver(String, String),
    /// A hash of XEP-0390.
    Hash(Hash),
    /// An address that has given no hash, or gave an answer that did not prove true.
    Address(Jid),
}

/// What an address has told of itself in presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) key: Key,
    /// The node to ask for.
    pub(super) node: String,
}

impl Told {
    /// The best of the hashes: one of XEP-0390 can be read in one way only.
    pub(super) fn choose(hashes: &[Hash], caps: Option<&Caps>) -> Option<Told> {
        let known = |hash: &&Hash| hash.value.0.len() <= LONGEST && digest(&hash.algo, b"").is_some();
        if let Some(hash) = hashes.iter().filter(known).find(|hash| hash.algo != "sha-1") {
            return Some(Told { key: Key::Hash(hash.clone()), node: super::hash_node(hash) });
        }
        let caps = caps?;
        let function = caps.hash.as_deref().filter(|function| digest(function, b"").is_some())?;
        if caps.ver.len() > LONGEST || caps.node.len() > LONGEST {
            return None;
        }
        Some(Told { key: Key::Ver(function.to_owned(), caps.ver.clone()), node: caps.disco_node() })
    }
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Cache {
    answers: Recent<Key, Arc<DiscoInfo>>,
    told: Recent<Jid, Told>,
    own: Recent<Jid, Arc<DiscoInfo>>,
}

impl Cache {
    /// A session begins: what addresses said is of no worth any more, what hashes mean is.
    pub(super) fn begin(&mut self) {
        (self.told, self.own) = (Recent::default(), Recent::default());
    }

    /// Presence has come: with a hash, without, or the last.
    pub(super) fn heard(&mut self, from: &Jid, told: Option<Told>) {
        if self.told.get(from) == told.as_ref() && told.is_some() {
            return;
        }
        self.own.remove(from);
        match told {
            Some(told) => self.told.put(from.clone(), told, ADDRESSES),
            None => self.told.remove(from),
        }
    }

    /// What the address has told.
    pub(super) fn told(&mut self, jid: &Jid) -> Option<Told> {
        self.told.get(jid).cloned()
    }

    /// What is known of the address.
    pub(super) fn get(&mut self, jid: &Jid) -> Option<Arc<DiscoInfo>> {
        if let Some(own) = self.own.get(jid) {
            return Some(Arc::clone(own));
        }
        let key = self.told.get(jid)?.key.clone();
        self.answers.get(&key).cloned()
    }

    /// An answer. It speaks for all who tell the same hash if it has that hash, and for the one who gave it otherwise.
    pub(super) fn answered(&mut self, jid: &Jid, told: Option<&Told>, answer: &Arc<DiscoInfo>) {
        if weight(answer) > ENTRIES {
            return;
        }
        match told.filter(|told| proves(&told.key, answer)) {
            Some(told) => self.answers.put(told.key.clone(), Arc::clone(answer), HASHES),
            None => self.own.put(jid.clone(), Arc::clone(answer), HASHES),
        }
    }
}

fn weight(answer: &DiscoInfo) -> usize {
    let fields = answer.forms.iter().flat_map(|form| &form.fields).map(|field| 1 + field.values.len());
    answer.identities.len() + answer.features.len() + fields.sum::<usize>()
}

/// Whether the answer has the hash, and no other answer has it.
fn proves(key: &Key, answer: &DiscoInfo) -> bool {
    match key {
        Key::Ver(function, told) => {
            !is_ambiguous(answer) && ver(answer, function).is_ok_and(|ver| ver.as_ref() == Some(told))
        }
        Key::Hash(hash) => {
            let input = hash_input(answer).ok();
            input.and_then(|input| digest(&hash.algo, &input)).is_some_and(|value| value == hash.value.0)
        }
        Key::Address(_) => false,
    }
}

/// A table that forgets what was not asked for the longest.
#[derive(Debug)]
struct Recent<K, V> {
    entries: HashMap<K, (u64, V)>,
    clock: u64,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Recent { entries: HashMap::new(), clock: 0 }
    }
}

impl<K: Eq + std::hash::Hash, V> Recent<K, V> {
    fn get(&mut self, key: &K) -> Option<&V> {
        self.clock += 1;
        let (used, value) = self.entries.get_mut(key)?;
        *used = self.clock;
        Some(value)
    }

    fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }

    /// Puts it in. The older half goes when there is no room, so that each insertion costs little.
    fn put(&mut self, key: K, value: V, limit: usize) {
        if self.entries.len() >= limit && !self.entries.contains_key(&key) {
            let mut used: Vec<u64> = self.entries.values().map(|(used, _)| *used).collect();
            let middle = used.len() / 2;
            let (_, middle, _) = used.select_nth_unstable(middle);
            let middle = *middle;
            self.entries.retain(|_, (used, _)| *used > middle);
        }
        self.clock += 1;
        self.entries.insert(key, (self.clock, value));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use xmpp_core::payload::{Base64, disco::Identity};

    fn info(feature: &str) -> Arc<DiscoInfo> {
        let mut info = DiscoInfo::default();
        info.identities.push(Identity::new("client", "pc", None));
        info.features.push(feature.into());
        Arc::new(info)
    }

    fn caps_of(info: &DiscoInfo) -> Told {
        let ver = ver(info, "sha-1").unwrap().unwrap();
        Told::choose(&[], Some(&Caps::sha1("https://example.org", ver))).unwrap()
    }

    fn hash_of(info: &DiscoInfo) -> Told {
        let value = Base64(digest("sha-256", &hash_input(info).unwrap()).unwrap());
        Told::choose(&[Hash { algo: "sha-256".into(), value }], None).unwrap()
    }

    fn jid(text: &str) -> Jid {
        text.parse().unwrap()
    }

    #[test]
    fn xep0115_5_4_a_proven_answer_speaks_for_all_who_tell_the_hash() {
        for told in [caps_of(&info("a")), hash_of(&info("a"))] {
            let mut cache = Cache::default();
            let (one, other) = (jid("one@example.org/x"), jid("other@example.net/y"));
            cache.heard(&one, Some(told.clone()));
            cache.heard(&other, Some(told.clone()));
            assert!(cache.get(&one).is_none());
            cache.answered(&one, Some(&told), &info("a"));
            assert!(cache.get(&one).is_some() && cache.get(&other).unwrap().has_feature("a"));
            cache.heard(&other, None);
            assert!(cache.get(&other).is_none(), "it tells no hash any more");
        }
    }

    #[test]
    fn abuse_caps_poisoning_an_answer_without_the_hash_speaks_for_its_sender_alone() {
        for told in [caps_of(&info("a")), hash_of(&info("a"))] {
            let mut cache = Cache::default();
            let (forger, honest) = (jid("forger@example.org/x"), jid("honest@example.net/y"));
            cache.heard(&forger, Some(told.clone()));
            cache.heard(&honest, Some(told.clone()));
            cache.answered(&forger, Some(&told), &info("forged"));
            assert!(cache.get(&forger).unwrap().has_feature("forged"));
            assert!(cache.get(&honest).is_none());
            cache.answered(&honest, Some(&told), &info("a"));
            assert!(cache.get(&honest).unwrap().has_feature("a"));
        }
    }

    #[test]
    fn abuse_caps_poisoning_what_the_hash_does_not_cover_speaks_for_its_sender_alone() {
        use xmpp_core::payload::form::{DataForm, Field, FieldType, FormKind, Row};
        let mut honest = (*info("a")).clone();
        let hidden = || DataForm::typed(FormKind::Result, "z:info");
        honest.forms.push(hidden().with(Field::new("os").value("mac").value("version")));
        // It reads like a type of its own, but is none: not hidden.
        let mut open = DataForm::new(FormKind::Result);
        open.fields.push(Field::new("FORM_TYPE").typed(FieldType::TextSingle).value("forged"));
        let mut with_form = honest.clone();
        with_form.forms.push(open);
        let mut without_name = honest.clone();
        without_name.forms[0].fields.push(Field::default());
        let mut with_items = honest.clone();
        with_items.forms[0].items.push(Row { fields: Vec::new() });
        let mut torn = honest.clone();
        torn.forms = vec![hidden().with(Field::new("os").value("mac")).with(Field::new("version"))];
        let told = caps_of(&honest);
        for forged in [with_form, without_name, with_items, torn] {
            assert_eq!(caps_of(&forged), told, "all have one hash");
            let mut cache = Cache::default();
            let (one, other) = (jid("forger@example.org/x"), jid("honest@example.net/y"));
            cache.heard(&one, Some(told.clone()));
            cache.heard(&other, Some(told.clone()));
            cache.answered(&one, Some(&told), &Arc::new(forged));
            assert!(cache.get(&one).is_some() && cache.get(&other).is_none());
        }
    }

    #[test]
    fn abuse_caps_flood_the_tables_are_bounded() {
        let mut cache = Cache::default();
        for n in 0..ADDRESSES + 10 {
            let told = Told { key: Key::Ver("sha-1".into(), n.to_string()), node: String::new() };
            cache.heard(&jid(&format!("n{n}@example.org/x")), Some(told));
        }
        assert!(cache.told.entries.len() <= ADDRESSES);
        assert!(cache.told(&jid(&format!("n{}@example.org/x", ADDRESSES + 9))).is_some(), "the last is known");
        assert!(cache.told(&jid("n0@example.org/x")).is_none());
        let mut large = (*info("a")).clone();
        large.features = (0..ENTRIES + 1).map(|n| n.to_string().as_str().into()).collect();
        cache.answered(&jid("large@example.org/x"), None, &Arc::new(large));
        assert!(cache.get(&jid("large@example.org/x")).is_none());
        let long = Caps::sha1("n", "x".repeat(LONGEST + 1));
        assert_eq!(Told::choose(&[], Some(&long)), None);
    }
}
