//! Data by their names, as many as there is room for.

use super::{Bits, ContentId};
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// What is there, within bounds: what was not asked for the longest makes room for what comes.
#[derive(Debug)]
pub(super) struct Shelf {
    places: HashMap<ContentId, Place>,
    /// In all, in bytes.
    bytes: usize,
    most: usize,
    most_bytes: usize,
    /// How often something was asked for or put there.
    turn: u64,
}

#[derive(Debug)]
struct Place {
    bits: Bits,
    /// Until when it is there, if not for ever.
    until: Option<Instant>,
    turn: u64,
}

impl Shelf {
    pub(super) fn new(most: usize, most_bytes: usize) -> Shelf {
        Shelf { places: HashMap::new(), bytes: 0, most, most_bytes, turn: 0 }
    }

    /// Puts data there for a time, or until there is no more room. What is larger than the shelf is not kept.
    pub(super) fn put(&mut self, cid: ContentId, bits: Bits, keep: Option<Duration>, now: Instant) {
        self.remove(&cid);
        let size = bits.content.0.len();
        if size > self.most_bytes || self.most == 0 || keep == Some(Duration::ZERO) {
            return;
        }
        while self.places.len() >= self.most || self.bytes + size > self.most_bytes {
            let oldest = self.places.iter().min_by_key(|(_, place)| (!place.is_over(now), place.turn));
            let Some(oldest) = oldest.map(|(cid, _)| cid.clone()) else { break };
            self.remove(&oldest);
        }
        self.turn += 1;
        self.bytes += size;
        let until = keep.and_then(|keep| now.checked_add(keep));
        self.places.insert(cid, Place { bits, until, turn: self.turn });
    }

    pub(super) fn get(&mut self, cid: &ContentId, now: Instant) -> Option<Bits> {
        if self.places.get(cid)?.is_over(now) {
            self.remove(cid);
            return None;
        }
        self.turn += 1;
        let place = self.places.get_mut(cid)?;
        place.turn = self.turn;
        Some(place.bits.clone())
    }

    pub(super) fn remove(&mut self, cid: &ContentId) -> bool {
        let removed = self.places.remove(cid);
        self.bytes -= removed.as_ref().map_or(0, |place| place.bits.content.0.len());
        removed.is_some()
    }
}

impl Place {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(n: u32) -> (ContentId, Bits) {
        let content = n.to_be_bytes().repeat(4);
        (ContentId::of(&content), Bits::new("image/png", content))
    }

    #[test]
    fn abuse_a_million_names_are_as_many_as_there_is_room_for() {
        let (mut shelf, now) = (Shelf::new(8, 100), Instant::now());
        for n in 0..1_000_000 {
            // Names are cheap to make up.
            let cid = ContentId { algo: "sha1".to_owned(), hash: format!("{n:040x}") };
            shelf.put(cid, Bits::new("image/png", Vec::new()), None, now);
            assert!(shelf.places.len() <= 8);
        }
        for n in 0..100 {
            let (cid, bits) = data(n);
            shelf.put(cid, bits, None, now);
            assert!(shelf.bytes <= 100 && shelf.places.len() <= 8);
        }
        assert_eq!(shelf.bytes, 96);
        shelf.put(data(0).0, Bits::new("image/png", vec![0; 101]), None, now);
        assert!(shelf.get(&data(0).0, now).is_none(), "it is larger than the shelf");
    }

    #[test]
    fn what_is_asked_for_stays() {
        let (mut shelf, now) = (Shelf::new(3, 1_000), Instant::now());
        for n in 0..10 {
            let (cid, bits) = data(n);
            shelf.put(cid, bits, None, now);
            assert!(shelf.get(&data(0).0, now).is_some());
        }
        let there: Vec<u32> = (0..10).filter(|n| shelf.get(&data(*n).0, now).is_some()).collect();
        assert_eq!(there, [0, 8, 9]);
        assert!(shelf.remove(&data(0).0) && !shelf.remove(&data(0).0));
    }

    #[test]
    fn xep0231_2_4_what_is_too_old_is_gone_and_what_is_of_the_moment_is_not_kept() {
        let (mut shelf, now) = (Shelf::new(3, 1_000), Instant::now());
        let (cid, bits) = data(1);
        shelf.put(cid.clone(), bits.clone(), Some(Duration::from_secs(60)), now);
        assert!(shelf.get(&cid, now + Duration::from_secs(59)).is_some());
        assert!(shelf.get(&cid, now + Duration::from_secs(60)).is_none());
        assert_eq!((shelf.bytes, shelf.places.len()), (0, 0));
        shelf.put(cid.clone(), bits.clone(), Some(Duration::ZERO), now);
        assert!(shelf.get(&cid, now).is_none());
        shelf.put(cid.clone(), bits, Some(Duration::MAX), now);
        assert!(shelf.get(&cid, now).is_some());
    }
}
