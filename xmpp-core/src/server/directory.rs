//! Where sessions live: which resources of which account are connected.
//!
//! This is one of the two seams towards several machines (the other is the bus): code outside reaches sessions by
//! address alone and learns of them as [`Resource`]s.

use super::{
    hashed::Hashed,
    session::{Role, Session},
};
use crate::{jid::Jid, xml::Stanza};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, Weak},
};

const SHARDS: usize = 64;

/// A connected resource, as a snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resource {
    /// Its full address.
    pub jid: Jid,
    /// Its priority, if it is available (RFC 6121 §4.7.2.3).
    pub priority: Option<i8>,
    /// The presence it last broadcast, with its address as `from`.
    pub presence: Option<Stanza>,
    pub(super) flags: u32,
    pub(super) session: Weak<Session>,
}

impl Resource {
    /// Whether the session has this flag.
    pub fn has(&self, flag: SessionFlag) -> bool {
        self.flags & flag.0 != 0
    }
}

/// Something that an extension wants to know of every session: that it wants carbons, say. Made by
/// [`ServerRegistrar::session_flag`](super::ServerRegistrar::session_flag); unset when a session begins, kept when it is
/// resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionFlag(pub(super) u32);

/// Most keys have one session: it costs no vector.
struct Sessions {
    first: Arc<Session>,
    others: Vec<Arc<Session>>,
}

impl Sessions {
    fn iter(&self) -> impl Iterator<Item = &Arc<Session>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Those of an account.
    fn of<'a>(&'a self, bare: &'a str) -> impl Iterator<Item = &'a Arc<Session>> {
        self.iter().filter(move |session| session.jid().bare_str() == bare)
    }

    /// Puts a session in the place of another, which is returned.
    fn replace(&mut self, session: &Arc<Session>, is: impl Fn(&Session) -> bool) -> Option<Arc<Session>> {
        let mut all = std::iter::once(&mut self.first).chain(&mut self.others);
        let place = all.find(|old| is(old))?;
        Some(std::mem::replace(place, Arc::clone(session)))
    }
}

/// Sessions by the hash of their bare address. The hash is keyed: nobody can bring it about that two accounts share one,
/// and if two do, they are told apart by their addresses.
type Shard = HashMap<u64, Sessions, Hashed>;

/// The table of sessions, sharded by bare address.
pub(crate) struct Directory {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

/// Why a component's session was not entered: there is one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken;

/// Why a session was not entered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManySessions;

impl Directory {
    pub(crate) fn new() -> Directory {
        Directory { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    /// Enters a session. A session with the same resource is taken out and returned: the newer replaces the older
    /// (RFC 6120 §7.7.2.2).
    pub(crate) fn insert(&self, session: &Arc<Session>, limit: usize) -> Result<Option<Arc<Session>>, TooManySessions> {
        let bare = session.jid().bare_str();
        let (hash, mut shard) = self.shard(bare);
        let Some(sessions) = shard.get_mut(&hash) else {
            shard.insert(hash, Sessions { first: Arc::clone(session), others: Vec::new() });
            return Ok(None);
        };
        if let Some(old) = sessions.replace(session, |old| old.jid() == session.jid()) {
            return Ok(Some(old));
        }
        if sessions.of(bare).count() >= limit {
            return Err(TooManySessions);
        }
        sessions.others.push(Arc::clone(session));
        Ok(None)
    }

    /// Enters the only session of an address, a component's. One that is there stays, unless it is to be replaced: then
    /// it is taken out and returned.
    pub(crate) fn insert_alone(&self, session: &Arc<Session>, replace: bool) -> Result<Option<Arc<Session>>, Taken> {
        let bare = session.jid().bare_str();
        let (hash, mut shard) = self.shard(bare);
        let Some(sessions) = shard.get_mut(&hash) else {
            shard.insert(hash, Sessions { first: Arc::clone(session), others: Vec::new() });
            return Ok(None);
        };
        if !replace && sessions.of(bare).next().is_some() {
            return Err(Taken);
        }
        let old = sessions.replace(session, |old| old.jid().bare_str() == bare);
        if old.is_none() {
            sessions.others.push(Arc::clone(session));
        }
        Ok(old)
    }

    /// The session of the component that serves this domain.
    pub(crate) fn component(&self, domain: &str) -> Option<Arc<Session>> {
        let (hash, shard) = self.shard(domain);
        shard.get(&hash)?.of(domain).next().filter(|one| one.role() == Role::Component).cloned()
    }

    /// Takes a session out, if it is still the one entered under its address; whether it was.
    pub(crate) fn remove(&self, session: &Arc<Session>) -> bool {
        let (hash, mut shard) = self.shard(session.jid().bare_str());
        let Some(sessions) = shard.get_mut(&hash) else { return false };
        if let Some(index) = sessions.others.iter().position(|other| Arc::ptr_eq(other, session)) {
            sessions.others.remove(index);
            return true;
        }
        if !Arc::ptr_eq(&sessions.first, session) {
            return false;
        }
        match sessions.others.pop() {
            Some(other) => sessions.first = other,
            None => {
                shard.remove(&hash);
            }
        }
        true
    }

    /// The session with this full address.
    pub(crate) fn find(&self, bare: &str, resource: &str) -> Option<Arc<Session>> {
        let (hash, shard) = self.shard(bare);
        shard.get(&hash)?.of(bare).find(|session| session.jid().resource() == Some(resource)).cloned()
    }

    /// All sessions of an account.
    pub(crate) fn sessions(&self, bare: &str) -> Vec<Arc<Session>> {
        let (hash, shard) = self.shard(bare);
        shard.get(&hash).map(|sessions| sessions.of(bare).cloned().collect()).unwrap_or_default()
    }

    /// Calls `f` with every session, a shard at a time, without holding a lock meanwhile.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Arc<Session>)) {
        for shard in &self.shards {
            let sessions: Vec<_> = lock(shard).values().flat_map(Sessions::iter).cloned().collect();
            sessions.iter().for_each(&mut f);
        }
    }

    /// How many sessions there are.
    pub(crate) fn count(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(shard).values().map(|sessions| 1 + sessions.others.len()).sum::<usize>())
            .sum()
    }

    /// The hash of an address, and where its sessions are.
    fn shard(&self, bare: &str) -> (u64, MutexGuard<'_, Shard>) {
        let hash = self.hasher.hash_one(bare);
        // Not the bits by which the table in it finds its places.
        let index = (hash >> 32) as usize % SHARDS;
        (hash, lock(&self.shards[index]))
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn session(jid: &str) -> Arc<Session> {
        Arc::new(Session::new(Jid::new(jid).unwrap(), Role::Client, 0))
    }

    #[test]
    fn rfc6120_7_7_2_2_the_newer_session_replaces_the_older() {
        let directory = Directory::new();
        let (old, new) = (session("a@localhost/x"), session("a@localhost/x"));
        assert!(directory.insert(&old, 8).unwrap().is_none());
        assert!(Arc::ptr_eq(&directory.insert(&new, 8).unwrap().unwrap(), &old));
        assert!(!directory.remove(&old));
        assert!(Arc::ptr_eq(&directory.find("a@localhost", "x").unwrap(), &new));
        assert!(directory.remove(&new));
        assert_eq!(directory.count(), 0);
    }

    #[test]
    fn abuse_a085_a_component_is_alone_in_its_domain() {
        let directory = Directory::new();
        let component = || Arc::new(Session::new(Jid::new("a.localhost").unwrap(), Role::Component, 0));
        let (first, second) = (component(), component());
        assert_eq!(directory.insert_alone(&first, false).unwrap().map(|_| ()), None);
        assert_eq!(directory.insert_alone(&second, false).unwrap_err(), Taken);
        assert!(Arc::ptr_eq(&directory.insert_alone(&second, true).unwrap().unwrap(), &first));
        assert!(!directory.remove(&first));
        assert!(Arc::ptr_eq(&directory.component("a.localhost").unwrap(), &second));
        assert!(directory.remove(&second));
        assert!(directory.component("a.localhost").is_none());
    }

    #[test]
    fn sessions_of_an_account_are_bounded() {
        let directory = Directory::new();
        let (one, two, three) = (session("a@localhost/1"), session("a@localhost/2"), session("a@localhost/3"));
        assert!(directory.insert(&one, 2).is_ok());
        assert!(directory.insert(&two, 2).is_ok());
        assert_eq!(directory.insert(&three, 2).unwrap_err(), TooManySessions);
        assert!(directory.insert(&session("a@localhost/1"), 2).unwrap().is_some());
    }

    #[test]
    fn removing_the_first_keeps_the_others() {
        let directory = Directory::new();
        let all = [session("a@localhost/1"), session("a@localhost/2"), session("a@localhost/3")];
        for one in &all {
            directory.insert(one, 8).unwrap();
        }
        assert!(directory.remove(&all[0]));
        assert_eq!(directory.sessions("a@localhost").len(), 2);
        assert!(directory.find("a@localhost", "2").is_some() && directory.find("a@localhost", "3").is_some());
    }
}
