//! How often each user may ask.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use xmpp_core::jid::BareJid;

/// Users that are counted; with more, those of earlier minutes are forgotten, at last all.
const USERS: usize = 10_000;
/// Seconds for which is counted.
const WINDOW: u64 = 60;

/// Counts by users and minutes.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<BareJid, (u64, u32)>>);

impl Rates {
    /// Counts one more at `now`, in seconds; says when to come again if it is one too many.
    pub(super) fn count(&self, user: &BareJid, now: u64, most: u32) -> Result<(), u64> {
        let minute = now / WINDOW;
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= USERS && !counts.contains_key(user) {
            counts.retain(|_, (at, _)| *at == minute);
            if counts.len() >= USERS {
                counts.clear();
            }
        }
        let (at, count) = counts.entry(user.clone()).or_insert((minute, 0));
        if *at != minute {
            (*at, *count) = (minute, 0);
        }
        if *count >= most {
            return Err((minute + 1) * WINDOW);
        }
        *count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn abuse_a101_so_many_a_minute_and_no_more() {
        let rates = Rates::default();
        let (juliet, romeo) = (BareJid::new("juliet@a.example").unwrap(), BareJid::new("romeo@a.example").unwrap());
        assert!((0..3).all(|n| rates.count(&juliet, 600 + n, 3).is_ok()));
        assert_eq!(rates.count(&juliet, 659, 3), Err(660));
        assert!(rates.count(&romeo, 659, 3).is_ok() && rates.count(&juliet, 660, 3).is_ok());
    }

    #[test]
    fn abuse_a104_no_more_users_are_remembered_than_the_bound() {
        let rates = Rates::default();
        for number in 0..USERS + 10 {
            let user = BareJid::new(&format!("u{number}@a.example")).unwrap();
            rates.count(&user, 0, 3).unwrap();
            assert!(rates.0.lock().unwrap().len() <= USERS);
        }
    }
}
