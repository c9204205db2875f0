//! How much is registered: from one address, and in all (ABUSE A094).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// Addresses that are remembered.
const ADDRESSES: usize = 50_000;

#[derive(Clone, Copy, Debug)]
struct Count {
    count: u32,
    since: Instant,
}

impl Count {
    /// Counts one more, unless there are as many as there may be within the time.
    fn add(&mut self, most: u32, window: Duration, now: Instant) -> bool {
        if now.duration_since(self.since) >= window {
            *self = Count { count: 0, since: now };
        }
        let room = self.count < most;
        self.count += u32::from(room);
        room
    }
}

#[derive(Debug)]
struct Counts {
    attempts: HashMap<IpAddr, Count>,
    accounts: Count,
}

/// The counts of one server.
#[derive(Debug)]
pub(super) struct Rates {
    attempts: u32,
    accounts: u32,
    window: Duration,
    counts: Mutex<Counts>,
}

impl Rates {
    pub(super) fn new(attempts: u32, accounts: u32, window: Duration, now: Instant) -> Rates {
        let counts = Counts { attempts: HashMap::new(), accounts: Count { count: 0, since: now } };
        Rates { attempts, accounts, window, counts: Mutex::new(counts) }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether somebody at this address may try once more. Where more addresses try than are remembered, all may again:
    /// who has as many is bounded by the accounts in all.
    pub(super) fn attempt(&self, network: IpAddr, now: Instant) -> bool {
        let mut counts = self.counts();
        if counts.attempts.len() >= ADDRESSES && !counts.attempts.contains_key(&network) {
            let window = self.window;
            counts.attempts.retain(|_, one| now.duration_since(one.since) < window);
            if counts.attempts.len() >= ADDRESSES {
                counts.attempts.clear();
            }
        }
        counts.attempts.entry(network).or_insert(Count { count: 0, since: now }).add(self.attempts, self.window, now)
    }

    /// Whether there may be one more account. If it does not come to one, it is [given back](Self::give_back).
    pub(super) fn account(&self, now: Instant) -> bool {
        self.counts().accounts.add(self.accounts, self.window, now)
    }

    pub(super) fn give_back(&self) {
        let accounts = &mut self.counts().accounts;
        accounts.count = accounts.count.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn ip(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn abuse_a094_a_flood_from_one_address_is_bounded_and_bounds_nobody_else() {
        let start = Instant::now();
        let rates = Rates::new(3, 100, HOUR, start);
        let tried = |at| (0..1000).filter(|_| rates.attempt(ip(1), at)).count();
        assert_eq!(tried(start), 3);
        assert!(rates.attempt(ip(2), start));
        assert_eq!(tried(start + HOUR - Duration::from_secs(1)), 0);
        assert_eq!(tried(start + HOUR), 3);
    }

    #[test]
    fn abuse_a094_a_flood_from_everywhere_makes_no_more_accounts_and_no_more_memory() {
        let start = Instant::now();
        let rates = Rates::new(3, 5, HOUR, start);
        assert!((0..2 * ADDRESSES as u32).all(|number| rates.attempt(ip(number), start)));
        assert!(rates.counts().attempts.len() <= ADDRESSES);
        assert_eq!((0..1000).filter(|_| rates.account(start)).count(), 5);
        rates.give_back();
        assert!(rates.account(start) && !rates.account(start));
        assert!(rates.account(start + HOUR));
    }
}
