//! What is remembered of the latest things, and no more than that.

use std::collections::{HashMap, VecDeque};

/// A table of bounded size: what came first goes first.
#[derive(Debug)]
pub(crate) struct Recent<V> {
    most: usize,
    order: VecDeque<u64>,
    by_key: HashMap<u64, V>,
}

impl<V> Recent<V> {
    pub(crate) fn new(most: usize) -> Self {
        Recent { most: most.max(1), order: VecDeque::new(), by_key: HashMap::new() }
    }

    /// Remembers `value`, unless there is one already. Whether it was new.
    pub(crate) fn add(&mut self, key: u64, value: V) -> bool {
        if self.by_key.contains_key(&key) {
            return false;
        }
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_key.remove(&oldest);
        }
        self.order.push_back(key);
        self.by_key.insert(key, value);
        true
    }

    pub(crate) fn get(&self, key: u64) -> Option<&V> {
        self.by_key.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        self.by_key.get_mut(&key)
    }

    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.by_key.clear();
    }
}
