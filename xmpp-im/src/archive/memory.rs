//! Archives in memory, for tests and for servers that forget.

use super::{ArchiveId, ArchiveStore, Archived, NewEntry, Page, Preferences, Selection};
use crate::Stored;
use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex, MutexGuard},
};
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::DateTime,
};

/// Archives in memory. They end with the process, and each drops its oldest message when it is full.
#[derive(Debug)]
pub struct MemoryArchive {
    owners: Mutex<HashMap<BareJid, Owned>>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Owned {
    /// In order of time.
    entries: VecDeque<Archived>,
    /// Microseconds of the last one there ever was.
    last: i64,
    preferences: Option<Preferences>,
}

impl Default for MemoryArchive {
    /// 10,000 messages an owner.
    fn default() -> MemoryArchive {
        MemoryArchive::new(10_000)
    }
}

impl MemoryArchive {
    /// With archives of at most `capacity` messages each, at least one.
    pub fn new(capacity: usize) -> MemoryArchive {
        MemoryArchive { owners: Mutex::default(), capacity: capacity.max(1) }
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<BareJid, Owned>> {
        self.owners.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn read<T: Send + 'static>(&self, owner: &BareJid, f: impl FnOnce(&Owned) -> T) -> Stored<'_, T> {
        let answer = match self.owners().get(owner) {
            Some(owned) => f(owned),
            None => f(&Owned::default()),
        };
        Box::pin(ready(Ok(answer)))
    }
}

impl Owned {
    fn has(&self, id: ArchiveId) -> bool {
        self.entries
            .binary_search_by_key(&id.micros(), |entry| entry.id.micros())
            .is_ok_and(|at| self.entries.get(at).is_some_and(|entry| entry.id == id))
    }

    fn select(&self, selection: &Selection) -> Option<Page> {
        if !selection.named().all(|id| self.has(id)) {
            return None;
        }
        let (from, to) = selection.span();
        let first = self.entries.partition_point(|entry| entry.id.micros() < from);
        let end = self.entries.partition_point(|entry| entry.id.micros() <= to).max(first);
        let matches = |entry: &&Archived| {
            selection.with.as_ref().is_none_or(|with| is_with(&entry.with, with))
                && (selection.ids.is_empty() || selection.ids.contains(&entry.id))
        };
        let all = || self.entries.range(first..end).filter(matches);
        let count = selection.count.then(|| all().count() as u64);
        let skip = usize::try_from(selection.skip).unwrap_or(usize::MAX);
        let found: Box<dyn Iterator<Item = &Archived>> =
            if selection.last { Box::new(all().rev()) } else { Box::new(all()) };
        let found = found.skip(skip).map(|entry| Ok::<_, Infallible>(entry.clone()));
        Page::gather(selection, found, count).ok()
    }
}

/// §4.1.1.
fn is_with(other: &Jid, with: &Jid) -> bool {
    other == with || with.as_str() == other.bare_str()
}

impl ArchiveStore for MemoryArchive {
    fn append<'a>(&'a self, owner: &'a BareJid, entry: NewEntry) -> Stored<'a, ArchiveId> {
        let mut owners = self.owners();
        if !owners.contains_key(owner) {
            owners.insert(owner.clone(), Owned::default());
        }
        let id = owners.get_mut(owner).map(|owned| {
            owned.last = entry.at.unix_micros().max(owned.last.saturating_add(1));
            let id = ArchiveId::new(owned.last);
            owned.entries.push_back(Archived { id, with: entry.with, text: entry.text });
            if owned.entries.len() > self.capacity {
                owned.entries.pop_front();
            }
            id
        });
        // It has just been entered.
        Box::pin(ready(id.ok_or_else(|| crate::StorageError("no owner".into()))))
    }

    fn query<'a>(&'a self, owner: &'a BareJid, selection: &'a Selection) -> Stored<'a, Option<Page>> {
        self.read(owner, |owned| owned.select(selection))
    }

    fn replace<'a>(&'a self, owner: &'a BareJid, id: ArchiveId, text: Arc<str>) -> Stored<'a, bool> {
        let mut owners = self.owners();
        let found = owners.get_mut(owner).and_then(|owned| {
            let at = owned.entries.binary_search_by_key(&id.micros(), |entry| entry.id.micros()).ok()?;
            owned.entries.get_mut(at).filter(|entry| entry.id == id)
        });
        let found = found.map(|entry| entry.text = text).is_some();
        Box::pin(ready(Ok(found)))
    }

    fn ends<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<(ArchiveId, ArchiveId)>> {
        self.read(owner, |owned| Some((owned.entries.front()?.id, owned.entries.back()?.id)))
    }

    fn preferences<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<Preferences>> {
        self.read(owner, |owned| owned.preferences.clone())
    }

    fn set_preferences<'a>(&'a self, owner: &'a BareJid, preferences: &'a Preferences) -> Stored<'a, ()> {
        self.owners().entry(owner.clone()).or_default().preferences = Some(preferences.clone());
        Box::pin(ready(Ok(())))
    }

    fn expire(&self, before: DateTime) -> Stored<'_, ()> {
        let before = before.unix_micros();
        for owned in self.owners().values_mut() {
            let old = owned.entries.partition_point(|entry| entry.id.micros() < before);
            owned.entries.drain(..old);
        }
        Box::pin(ready(Ok(())))
    }

    fn trim<'a>(&'a self, owner: &'a BareJid, keep: u64) -> Stored<'a, ()> {
        if let Some(owned) = self.owners().get_mut(owner) {
            let surplus = owned.entries.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
            owned.entries.drain(..surplus);
        }
        Box::pin(ready(Ok(())))
    }

    fn forget<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, ()> {
        self.owners().remove(owner);
        Box::pin(ready(Ok(())))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_does_what_every_archive_must() {
        let owner = BareJid::new("juliet@capulet.example").unwrap();
        super::super::conformance(&MemoryArchive::default(), &owner, &BareJid::new("romeo@montague.example").unwrap())
            .await;
    }

    #[tokio::test]
    async fn it_is_bounded() {
        let (store, owner) = (MemoryArchive::new(3), BareJid::new("juliet@capulet.example").unwrap());
        for text in ["a", "b", "c", "d"] {
            let at = DateTime::from_unix(1, 0).unwrap();
            store.append(&owner, NewEntry { with: "romeo@a".parse().unwrap(), text: text.into(), at }).await.unwrap();
        }
        let page = store.query(&owner, &Selection { max: 9, max_bytes: 99, ..Selection::default() }).await.unwrap();
        let texts: Vec<_> = page.unwrap().entries.iter().map(|entry| entry.text.to_string()).collect();
        assert_eq!(texts, ["b", "c", "d"]);
    }
}
