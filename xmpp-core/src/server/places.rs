//! Places of which everybody may have so many: connections of an address, streams of a domain.

use super::throttle::network;
use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex},
};

/// How many places each has taken.
pub(crate) struct Places<K> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

/// A place; given back on drop.
pub(crate) struct Place<K: Eq + Hash> {
    key: K,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Places { taken: Arc::default() }
    }
}

impl<K: Eq + Hash + Clone> Places<K> {
    /// A place, unless `key` has `limit` already.
    pub(crate) fn take(&self, key: K, limit: usize) -> Option<Place<K>> {
        if limit == 0 {
            return None;
        }
        let mut taken = self.taken.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let count = taken.entry(key.clone()).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Place { key, taken: Arc::clone(&self.taken) })
    }
}

impl Places<IpAddr> {
    /// A place for an address, which for IPv6 is its /64.
    pub(crate) fn enter(&self, ip: IpAddr, limit: usize) -> Option<Place<IpAddr>> {
        self.take(network(ip), limit)
    }
}

impl<K: Eq + Hash> Place<K> {
    /// Whose place it is.
    pub(crate) fn key(&self) -> &K {
        &self.key
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn abuse_a100_each_has_its_places_and_nothing_is_remembered_of_who_has_none() {
        let places = Places::default();
        let two = [places.take("a", 2).unwrap(), places.take("a", 2).unwrap()];
        assert!(places.take("a", 2).is_none() && places.take("b", 0).is_none());
        assert_eq!(places.take("b", 1).unwrap().key(), &"b");
        drop(two);
        assert!(places.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn abuse_a100_addresses_of_one_network_share_their_places() {
        let places = Places::default();
        let _one = places.enter("2001:db8::1".parse().unwrap(), 1).unwrap();
        assert!(places.enter("2001:db8::2".parse().unwrap(), 1).is_none());
        assert!(places.enter("2001:db8:0:1::1".parse().unwrap(), 1).is_some());
    }
}
