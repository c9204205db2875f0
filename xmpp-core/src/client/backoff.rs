//! How long to wait before the next attempt.

use std::time::Duration;

/// Exponential back-off with jitter: the first wait is anything up to `first`, each following one up to twice as
/// much, never more than `max`.
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
}
