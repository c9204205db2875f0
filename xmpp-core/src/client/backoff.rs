//! How long to wait before the next attempt.

use std::time::Duration;

/// Exponential back-off with jitter: the first wait is anything up to `first`, each following one up to twice as
/// much, never more than `max`. So those who lost their server together don't come back together:
///
/// - A network that fails is tried again within a quarter of `first`, once, where the session can be resumed.
/// - A server that says that it shuts down is not tried again as if for the first time, but as if for the fourth: within
///   eight times `first`.
/// - A session that is redirected (`see-other-host`) goes where it was told within twice `first`; a redirection before
///   there is a session is followed at once.
///
/// A session that lasted a minute, or five seconds if the network ended it, starts the waits from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound of the first wait.
    pub first: Duration,
    /// The bound of any wait.
    pub max: Duration,
}

impl Default for Backoff {
    /// From 2 seconds to 5 minutes.
    fn default() -> Self {
        Backoff { first: Duration::from_secs(2), max: Duration::from_secs(300) }
    }
}

impl Backoff {
    /// The wait before attempt number `attempt` (0 is the first after a loss), for a random number.
    ///
    /// RFC 6120 §3.3 wants the wait unpredictable, so that a restarted server is not met by everybody at once.
    pub fn delay(&self, attempt: u32, random: u32) -> Duration {
        let bound = self.first.saturating_mul(1 << attempt.min(20)).min(self.max);
        bound.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// Before the only attempt to resume that the application is not told of.
    pub(super) fn quick(&self, random: u32) -> Duration {
        self.delay(0, random) / 4
    }

    /// Before following a redirection out of a session.
    pub(super) fn redirected(&self, random: u32) -> Duration {
        self.delay(1, random)
    }

    /// The least rank of a wait after the server has said that it shuts down.
    pub(super) const SHUTDOWN: u32 = 3;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6120_3_3_waits_are_random_grow_and_are_bounded() {
        let backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };
        assert_eq!(backoff.delay(0, u32::MAX), Duration::from_secs(1));
        assert_eq!(backoff.delay(3, u32::MAX), Duration::from_secs(8));
        assert_eq!(backoff.delay(u32::MAX, u32::MAX), Duration::from_secs(60));
        assert_eq!(backoff.delay(9, 0), Duration::ZERO);
        assert!(backoff.delay(3, u32::MAX / 2) < Duration::from_secs(5));
    }

    #[test]
    fn rfc6120_3_3_ten_thousand_clients_do_not_come_back_in_one_second() {
        let backoff = Backoff::default();
        let within_a_second = |wait: fn(&Backoff, u32) -> Duration| {
            let random = (0..10_000_u32).map(|n| n.wrapping_mul(2_654_435_769));
            random.filter(|random| wait(&backoff, *random) < Duration::from_secs(1)).count()
        };
        assert!(within_a_second(|backoff, random| backoff.delay(Backoff::SHUTDOWN, random)) < 700);
        assert!(within_a_second(Backoff::redirected) < 2600);
        assert!(within_a_second(|backoff, random| backoff.delay(0, random)) < 5100);
        assert!(backoff.quick(u32::MAX) == Duration::from_millis(500) && backoff.quick(0).is_zero());
    }
}
