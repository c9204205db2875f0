//! Photos that have come already, by hash.

use super::Avatar;
use std::{collections::VecDeque, sync::Arc};

/// So many bytes are kept; the photo that was not wanted for longest goes first.
const BYTES: usize = 4 * 1024 * 1024;

/// Photos, the one that was wanted last at the end.
#[derive(Debug, Default)]
pub(super) struct Cache {
    photos: VecDeque<Arc<Avatar>>,
    bytes: usize,
}

impl Cache {
    pub(super) fn get(&mut self, hash: &str) -> Option<Arc<Avatar>> {
        let place = self.photos.iter().position(|photo| photo.hash == hash)?;
        let photo = self.photos.remove(place)?;
        self.photos.push_back(Arc::clone(&photo));
        Some(photo)
    }

    pub(super) fn put(&mut self, photo: &Arc<Avatar>) {
        if photo.data.len() > BYTES || self.get(&photo.hash).is_some() {
            return;
        }
        self.bytes += photo.data.len();
        self.photos.push_back(Arc::clone(photo));
        while self.bytes > BYTES {
            let Some(oldest) = self.photos.pop_front() else { break };
            self.bytes -= oldest.data.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_wanted_for_longest_goes_first() {
        let photo = |byte: u8| Arc::new(Avatar::new(vec![byte; BYTES / 2]));
        let (one, two, three) = (photo(1), photo(2), photo(3));
        let mut cache = Cache::default();
        cache.put(&one);
        cache.put(&two);
        cache.put(&two);
        assert!(cache.get(&one.hash).is_some());
        cache.put(&three);
        assert!(cache.get(&two.hash).is_none() && cache.get(&one.hash).is_some() && cache.get(&three.hash).is_some());
        cache.put(&Arc::new(Avatar::new(vec![0; BYTES + 1])));
        assert_eq!((cache.photos.len(), cache.bytes), (2, BYTES));
    }
}
