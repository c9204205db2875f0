//! Bounds in time: a token bucket for what a session sends, a memory of failed logins.

use std::{
    collections::HashMap,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// A token bucket over bytes read. Empty, it pauses the reader: back-pressure on that one socket.
pub(crate) struct Bucket {
    rate: u32,
    burst: u32,
    /// What may be read at once; below zero is a debt.
    tokens: i64,
    filled: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Bucket {
    pub(crate) fn new(rate: u32, burst: u32) -> Bucket {
        Bucket { rate: rate.max(1), burst, tokens: burst.into(), filled: Instant::now(), sleep: None }
    }

    /// Accounts for bytes that were read.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.tokens -= i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.tokens > 0 {
            return;
        }
        // The clock is only asked when the bucket runs dry.
        let now = Instant::now();
        let earned = now.duration_since(self.filled).as_millis().saturating_mul(self.rate.into()) / 1000;
        let earned = i64::try_from(earned).unwrap_or(i64::MAX);
        self.tokens = self.tokens.saturating_add(earned).min(self.burst.into());
        self.filled = now;
        if self.tokens <= 0 {
            let debt = self.tokens.unsigned_abs().saturating_add(1);
            let pause = Duration::from_millis(debt.saturating_mul(1000) / u64::from(self.rate) + 1);
            self.sleep = Some(Box::pin(tokio::time::sleep(pause)));
        }
    }

    /// Ready when reading may go on.
    pub(crate) fn poll_allowed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
            self.tokens = 1;
            self.filled = Instant::now();
        }
        Poll::Ready(())
    }
}

/// What stands for one peer when addresses are counted: an IPv6 subscriber has a /64 at least (RFC 6177), and an IPv4
/// address is the same through a dual-stack socket.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        v4 => v4,
    }
}

/// How often an address has failed to log in lately, so that the next answer can be slowed. It never locks an
/// account: the owner comes from elsewhere and is not slowed (ABUSE A037).
#[derive(Debug, Default)]
pub(crate) struct LoginThrottle {
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

const FORGET: Duration = Duration::from_secs(600);
const REMEMBERED: usize = 50_000;
const FREE_FAILURES: u32 = 3;
const MAX_DELAY: Duration = Duration::from_secs(10);

impl LoginThrottle {
    /// Notes a failure and says how long to hold its answer back. Only time makes good: an attacker could log in to an
    /// account of his own in between.
    pub(crate) fn failed(&self, ip: IpAddr) -> Duration {
        let now = Instant::now();
        let mut failures = self.failures.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if failures.len() >= REMEMBERED {
            failures.retain(|_, one| now.duration_since(one.last) < FORGET);
            if failures.len() >= REMEMBERED {
                failures.clear();
            }
        }
        let one = failures.entry(network(ip)).or_insert(Failures { count: 0, last: now });
        if now.duration_since(one.last) >= FORGET {
            one.count = 0;
        }
        one.count = one.count.saturating_add(1);
        one.last = now;
        let excess = one.count.saturating_sub(FREE_FAILURES);
        Duration::from_millis(u64::from(excess).saturating_mul(250)).min(MAX_DELAY)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn abuse_a101_a_flood_is_slowed_to_the_rate() {
        let mut bucket = Bucket::new(1000, 500);
        let start = Instant::now();
        for _ in 0..100 {
            poll_fn(|cx| bucket.poll_allowed(cx)).await;
            bucket.spend(100);
        }
        let taken = start.elapsed();
        assert!(taken >= Duration::from_millis(9_000) && taken <= Duration::from_millis(11_000), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_within_its_rate_never_waits() {
        let mut bucket = Bucket::new(1000, 500);
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            bucket.spend(90);
            assert!(bucket.sleep.is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn abuse_a037_failures_of_one_address_slow_that_address_alone() {
        let throttle = LoginThrottle::default();
        let (bad, good) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let delays: Vec<_> = (0..1000).map(|_| throttle.failed(bad)).collect();
        assert_eq!(delays[0], Duration::ZERO);
        assert_eq!(delays[999], MAX_DELAY);
        assert_eq!(throttle.failed(good), Duration::ZERO);
        tokio::time::sleep(FORGET).await;
        assert_eq!(throttle.failed(bad), Duration::ZERO);
    }

    #[test]
    fn abuse_a037_an_ipv6_subscriber_is_one_address() {
        let ip = |text: &str| network(text.parse().unwrap());
        assert_eq!(ip("2001:db8:1:2::1"), ip("2001:db8:1:2:ffff::7"));
        assert_ne!(ip("2001:db8:1:2::1"), ip("2001:db8:1:3::1"));
        assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
        assert_ne!(ip("::ffff:192.0.2.1"), ip("::ffff:192.0.2.2"));
    }
}
