//! What a client knows of its roster (RFC 6121 §2), without I/O.

use super::{Item, RosterQuery, Subscription};
use std::collections::BTreeMap;
use xmpp_core::{jid::Jid, stanza::StanzaError};

/// A roster as an application stores it between runs, so that the next session is told of changes alone (RFC 6121 §2.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedRoster {
    /// The version that the server gave it; opaque. Without one the next session fetches everything.
    pub version: Option<String>,
    /// The contacts.
    pub items: Vec<Item>,
}

/// What has changed in a roster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RosterChange {
    /// Everything may be different: it was fetched, or the listener was too slow to be told each change.
    Whole,
    /// A contact is new or not as before.
    Set {
        /// As it is.
        item: Item,
        /// As it was; `None` if it is new.
        before: Option<Item>,
    },
    /// A contact is gone.
    Removed(Item),
}

/// The roster as the client knows it.
#[derive(Debug, Default)]
pub(super) struct Cache {
    version: Option<String>,
    items: BTreeMap<Jid, Item>,
    /// What was pushed while the roster is being fetched: the answer may be older than that, although it is read later.
    meanwhile: Option<Vec<RosterQuery>>,
    /// The most contacts that are kept.
    limit: usize,
}

/// So many pushes are remembered while the roster is being fetched.
const MEANWHILE: usize = 256;

impl Cache {
    pub(super) fn new(saved: SavedRoster, limit: usize) -> Cache {
        let items = saved.items.into_iter().take(limit).map(|item| (item.jid.clone(), item)).collect();
        Cache { version: saved.version, items, meanwhile: None, limit }
    }

    pub(super) fn save(&self) -> SavedRoster {
        SavedRoster { version: self.version.clone(), items: self.items.values().cloned().collect() }
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    pub(super) fn get(&self, jid: &Jid) -> Option<&Item> {
        self.items.get(jid)
    }

    /// The roster is about to be fetched. The question; it names a version where the server knows of them (§2.6.2).
    pub(super) fn ask(&mut self, versions: bool) -> RosterQuery {
        self.meanwhile = Some(Vec::new());
        RosterQuery { ver: versions.then(|| self.version.clone().unwrap_or_default()), items: Vec::new() }
    }

    /// It was not fetched.
    pub(super) fn failed(&mut self) {
        self.meanwhile = None;
    }

    /// The answer: a whole roster, or nothing, which means that what is known is right but for pushes to come (§2.6.3).
    pub(super) fn fetched(&mut self, answer: Option<RosterQuery>) {
        let meanwhile = self.meanwhile.take().unwrap_or_default();
        let Some(whole) = answer else { return };
        self.version = whole.ver;
        let items = whole.items.into_iter().filter(|item| item.subscription != Subscription::Remove);
        self.items = items.take(self.limit).map(|item| (item.jid.clone(), item)).collect();
        for push in meanwhile {
            let _ = self.apply(push);
        }
    }

    /// A push (§2.1.6), which holds one item.
    ///
    /// # Errors
    /// What to answer where it does not, or where there is no room for it.
    pub(super) fn pushed(&mut self, push: RosterQuery) -> Result<Option<RosterChange>, StanzaError> {
        if push.items.len() != 1 {
            return Err(StanzaError::bad_request().with_text("a roster push holds one item"));
        }
        if let Some(meanwhile) = self.meanwhile.as_mut().filter(|meanwhile| meanwhile.len() < MEANWHILE) {
            meanwhile.push(push.clone());
        }
        self.apply(push)
    }

    fn apply(&mut self, push: RosterQuery) -> Result<Option<RosterChange>, StanzaError> {
        let Some(item) = push.items.into_iter().next() else { return Ok(None) };
        if item.subscription == Subscription::Remove {
            self.version = push.ver.or(self.version.take());
            return Ok(self.items.remove(&item.jid).map(RosterChange::Removed));
        }
        if self.items.len() >= self.limit && !self.items.contains_key(&item.jid) {
            // What is known has a hole from here on: the next session fetches everything.
            self.version = None;
            return Err(StanzaError::resource_constraint());
        }
        self.version = push.ver.or(self.version.take());
        let before = self.items.insert(item.jid.clone(), item.clone());
        Ok(Some(RosterChange::Set { item, before }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn jid(name: &str) -> Jid {
        format!("{name}@example.org").parse().unwrap()
    }

    fn named(name: &str, shown: &str) -> Item {
        Item { name: Some(shown.to_owned()), ..Item::new(jid(name)) }
    }

    fn push(ver: &str, item: Item) -> RosterQuery {
        RosterQuery { ver: Some(ver.to_owned()), items: vec![item] }
    }

    #[test]
    fn rfc6121_2_6_an_empty_answer_leaves_what_is_known() {
        let saved = SavedRoster { version: Some("7".into()), items: vec![named("romeo", "Romeo")] };
        let mut cache = Cache::new(saved.clone(), 10);
        assert_eq!(cache.ask(false).ver, None, "the server does not know of versions");
        assert_eq!(cache.ask(true).ver.as_deref(), Some("7"));
        cache.fetched(None);
        assert_eq!(cache.save(), saved);
        assert_eq!(Cache::new(SavedRoster::default(), 10).ask(true).ver.as_deref(), Some(""));
    }

    #[test]
    fn rfc6121_2_1_6_a_push_is_not_undone_by_an_answer_that_is_read_later() {
        let mut cache = Cache::new(SavedRoster::default(), 10);
        cache.ask(true);
        cache.pushed(push("8", named("romeo", "new"))).unwrap();
        cache.pushed(push("9", Item::removed(jid("tybalt")))).unwrap();
        let answer = vec![named("romeo", "old"), named("tybalt", "gone"), named("nurse", "kept")];
        cache.fetched(Some(RosterQuery { ver: Some("7".into()), items: answer }));
        let names: Vec<_> = cache.items().map(|item| item.name.clone().unwrap()).collect();
        assert_eq!(names, ["kept", "new"]);
        assert_eq!(cache.save().version.as_deref(), Some("9"));
    }

    #[test]
    fn rfc6121_2_1_6_a_push_tells_what_changed() {
        let mut cache = Cache::new(SavedRoster::default(), 10);
        let set = |item, before| Some(RosterChange::Set { item, before });
        let (one, two) = (named("romeo", "R"), named("romeo", "Romeo"));
        assert_eq!(cache.pushed(push("1", one.clone())).unwrap(), set(one.clone(), None));
        assert_eq!(cache.pushed(push("2", two.clone())).unwrap(), set(two.clone(), Some(one)));
        let gone = push("3", Item::removed(jid("romeo")));
        assert_eq!(cache.pushed(gone.clone()).unwrap(), Some(RosterChange::Removed(two)));
        assert_eq!(cache.pushed(gone).unwrap(), None);
    }

    #[test]
    fn abuse_a052_pushes_of_none_or_many_items_and_endless_rosters_are_refused() {
        let mut cache = Cache::new(SavedRoster::default(), 2);
        for items in [vec![], vec![named("a", "A"), named("b", "B")]] {
            assert!(cache.pushed(RosterQuery { ver: None, items }).is_err());
        }
        assert_eq!(cache.items().count(), 0);
        cache.ask(true);
        let many = (0..9).map(|n| named(&format!("n{n}"), "N")).collect();
        cache.fetched(Some(RosterQuery { ver: Some("1".into()), items: many }));
        assert_eq!(cache.items().count(), 2);
        assert!(cache.pushed(push("2", named("new", "New"))).is_err());
        assert_eq!(cache.save().version, None, "the next session asks for everything");
    }
}
