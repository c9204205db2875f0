//! Rosters in memory.

use super::{
    Before, Decide, Item, Record, Relation, Request, Roster, RosterLimits, RosterStore, Subscription, Versioned,
    next_version,
};
use crate::Stored;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
};
use xmpp_core::{jid::BareJid, xml::Stanza};

/// Rosters that are gone with the process: for tests, and for servers that need no more.
#[derive(Debug, Default)]
pub struct MemoryRosters(Mutex<HashMap<BareJid, Account>>);

#[derive(Debug, Default)]
struct Account {
    version: u64,
    /// Versions before this one are not known any more.
    horizon: u64,
    /// Items, and memories of those that were removed, with the version of their last change.
    items: BTreeMap<BareJid, Versioned>,
    /// In the order in which they came.
    requests: Vec<(BareJid, Stanza)>,
}

impl Account {
    fn present(&self) -> impl Iterator<Item = (&BareJid, &Item)> {
        let items = self.items.iter().map(|(contact, one)| (contact, &one.item));
        items.filter(|(_, item)| item.subscription != Subscription::Remove)
    }

    fn record(&self, contact: &BareJid) -> Record {
        let item = self.items.get(contact).map(|one| &one.item);
        let item = item.filter(|item| item.subscription != Subscription::Remove).cloned();
        let request = self.requests.iter().find(|(from, _)| from == contact).map(|(_, stanza)| stanza.clone());
        Record { item, request }
    }

    fn keep(&mut self, contact: &BareJid, limits: &RosterLimits, before: &Record, after: Record) -> Option<Versioned> {
        match after.request {
            Some(stanza) if before.request.is_none() => {
                self.requests.push((contact.clone(), stanza));
                let surplus = self.requests.len().saturating_sub(limits.requests);
                self.requests.drain(..surplus);
            }
            Some(_) => {}
            None => self.requests.retain(|(from, _)| from != contact),
        }
        if after.item == before.item {
            return None;
        }
        self.version = next_version(self.version);
        let item = after.item.unwrap_or_else(|| Item::removed(contact.clone()));
        let change = Versioned { version: self.version, item };
        self.items.insert(contact.clone(), change.clone());
        self.forget_removed(limits.removed);
        Some(change)
    }

    fn forget_removed(&mut self, limit: usize) {
        let removed = self.items.values().filter(|one| one.item.subscription == Subscription::Remove);
        let mut versions: Vec<u64> = removed.map(|one| one.version).collect();
        versions.sort_unstable();
        let surplus = versions.len().saturating_sub(limit);
        if let Some(&newest) = versions.get(..surplus).and_then(<[u64]>::last) {
            self.horizon = newest;
            self.items.retain(|_, one| one.item.subscription != Subscription::Remove || one.version > newest);
        }
    }
}

impl MemoryRosters {
    /// Without any roster.
    pub fn new() -> MemoryRosters {
        MemoryRosters::default()
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<BareJid, Account>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What is there of a user's roster, as something that comes later.
    fn read<'a, T: Default + Send + 'a>(&'a self, user: &BareJid, f: impl FnOnce(&Account) -> T) -> Stored<'a, T> {
        let found = self.accounts().get(user).map(f).unwrap_or_default();
        Box::pin(std::future::ready(Ok(found)))
    }
}

impl RosterStore for MemoryRosters {
    fn roster<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Roster> {
        self.read(user, |account| Roster {
            version: account.version,
            items: account.present().map(|(_, item)| item.clone()).collect(),
        })
    }

    fn since<'a>(&'a self, user: &'a BareJid, version: u64) -> Stored<'a, Option<Vec<Versioned>>> {
        let accounts = self.accounts();
        let empty = Account::default();
        let account = accounts.get(user).unwrap_or(&empty);
        let known = (account.horizon..=account.version).contains(&version);
        let changes = known.then(|| {
            let mut changes: Vec<_> = account.items.values().filter(|one| one.version > version).cloned().collect();
            changes.sort_by_key(|one| one.version);
            changes
        });
        Box::pin(std::future::ready(Ok(changes)))
    }

    fn record<'a>(&'a self, user: &'a BareJid, contact: &'a BareJid) -> Stored<'a, Record> {
        self.read(user, |account| account.record(contact))
    }

    fn relations<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Relation>> {
        self.read(user, |account| {
            let related = account.present().filter(|(_, item)| item.ask || item.subscription != Subscription::None);
            let relation = |(contact, item): (&BareJid, &Item)| Relation {
                contact: contact.clone(),
                subscription: item.subscription,
                ask: item.ask,
            };
            related.map(relation).collect()
        })
    }

    fn grants<'a>(&'a self, contact: &'a BareJid) -> Stored<'a, Vec<BareJid>> {
        let accounts = self.accounts();
        let grants = |account: &Account| account.items.get(contact).is_some_and(|one| one.item.subscription.is_from());
        let users = accounts.iter().filter(|(_, account)| grants(account)).map(|(user, _)| user.clone()).collect();
        Box::pin(std::future::ready(Ok(users)))
    }

    fn requests<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Request>> {
        self.read(user, |account| {
            let requests = account.requests.iter().cloned();
            requests.map(|(contact, stanza)| Request { contact, stanza }).collect()
        })
    }

    fn change<'a>(
        &'a self,
        user: &'a BareJid,
        contact: &'a BareJid,
        limits: &'a RosterLimits,
        decide: Decide<'a>,
    ) -> Stored<'a, Option<Versioned>> {
        let mut accounts = self.accounts();
        let account = accounts.entry(user.clone()).or_default();
        let before = Before { record: account.record(contact), items: account.present().count() };
        let change = decide(&before).and_then(|after| account.keep(contact, limits, &before.record, after));
        Box::pin(std::future::ready(Ok(change)))
    }

    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        self.accounts().remove(user);
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::roster::conformance;

    #[tokio::test]
    async fn it_does_what_every_store_of_rosters_must() {
        let [user, other] = ["juliet@example.org", "romeo@example.org"].map(|jid| BareJid::new(jid).unwrap());
        conformance(&MemoryRosters::new(), &user, &other).await;
    }
}
