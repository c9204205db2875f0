//! When to start which connection attempt: happy eyeballs over the targets of a plan (RFC 8305 §5), no I/O.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::resolve::{Target, interleave};

/// How patient a race is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Between two attempts of equal rank.
    pub(crate) attempt_delay: Duration,
    /// Before a target of lower rank is tried although a better one may still answer.
    pub(crate) priority_delay: Duration,
    /// Look-ups and connections under way at once.
    pub(crate) max_active: usize,
    /// Connections begun in total.
    pub(crate) max_attempts: usize,
}

/// What the driver is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Look the addresses of this target up, then report [`Race::resolved`].
    Resolve(usize),
    /// Connect to this address of this target; report [`Race::failed`] if that fails.
    Connect(usize, SocketAddr),
    /// Nothing until a report comes or, if given, that instant has come.
    Wait(Option<Duration>),
    /// All was tried and failed.
    Exhausted,
}

/// The state of a race. Instants are durations since its start.
#[derive(Debug)]
pub(crate) struct Race {
    /// Port and priority of each target.
    targets: Vec<(u16, u16)>,
    next_target: usize,
    /// What can be tried now, best target first.
    addresses: VecDeque<(usize, SocketAddr)>,
    active: usize,
    attempts: usize,
    /// When the next attempt may begin.
    next_start: Duration,
    /// When a target of lower rank may begin.
    next_rank: Duration,
    pace: Pace,
}

impl Race {
    pub(crate) fn new(targets: &[Target], pace: Pace) -> Race {
        Race {
            targets: targets.iter().map(|t| (t.port, t.priority)).collect(),
            next_target: 0,
            addresses: VecDeque::new(),
            active: 0,
            attempts: 0,
            next_start: Duration::ZERO,
            next_rank: Duration::ZERO,
            pace,
        }
    }

    pub(crate) fn step(&mut self, now: Duration) -> Step {
        if self.attempts >= self.pace.max_attempts {
            self.addresses.clear();
            self.next_target = self.targets.len();
        }
        if self.active >= self.pace.max_active {
            return Step::Wait(None);
        }
        if let Some(&(target, address)) = self.addresses.front() {
            if now < self.next_start {
                return Step::Wait(Some(self.next_start));
            }
            self.addresses.pop_front();
            self.attempts += 1;
            self.begin(now);
            return Step::Connect(target, address);
        }
        let Some(&(_, priority)) = self.targets.get(self.next_target) else {
            return if self.active == 0 { Step::Exhausted } else { Step::Wait(None) };
        };
        let previous = self.next_target.checked_sub(1).and_then(|i| self.targets.get(i));
        let outranked = previous.is_some_and(|&(_, p)| p != priority);
        let earliest = if self.active == 0 {
            now
        } else if outranked {
            self.next_rank.max(self.next_start)
        } else {
            self.next_start
        };
        if now < earliest {
            return Step::Wait(Some(earliest));
        }
        let target = self.next_target;
        self.next_target += 1;
        self.begin(now);
        Step::Resolve(target)
    }

    /// A look-up ended; without addresses it counts as failed.
    pub(crate) fn resolved(&mut self, target: usize, addresses: &[std::net::IpAddr], now: Duration) {
        self.failed(now);
        let port = self.targets.get(target).map_or(0, |&(port, _)| port);
        for address in interleave(addresses) {
            self.addresses.push_back((target, SocketAddr::new(address, port)));
        }
        // A slow look-up may have been overtaken by the one of a later target.
        self.addresses.make_contiguous().sort_by_key(|&(t, _)| t);
    }

    /// An attempt ended without success: the next need not wait (RFC 8305 §5).
    pub(crate) fn failed(&mut self, now: Duration) {
        self.active = self.active.saturating_sub(1);
        self.next_start = now;
    }

    fn begin(&mut self, now: Duration) {
        self.active += 1;
        self.next_start = now + self.pace.attempt_delay;
        self.next_rank = now + self.pace.priority_delay;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn pace() -> Pace {
        Pace { attempt_delay: MS(250), priority_delay: MS(2000), max_active: 4, max_attempts: 8 }
    }

    fn target(port: u16, priority: u16) -> Target {
        Target { host: format!("h{port}"), port, direct_tls: false, priority }
    }

    fn at(ip: &str, port: u16) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), port)
    }

    fn ips(list: &[&str]) -> Vec<std::net::IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn rfc8305_4_families_alternate_and_5_attempts_are_250_ms_apart() {
        let mut race = Race::new(&[target(1, 0)], pace());
        assert_eq!(race.step(MS(0)), Step::Resolve(0));
        assert_eq!(race.step(MS(0)), Step::Wait(None));
        race.resolved(0, &ips(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]), MS(30));
        assert_eq!(race.step(MS(30)), Step::Connect(0, at("2001:db8::1", 1)));
        assert_eq!(race.step(MS(30)), Step::Wait(Some(MS(280))));
        assert_eq!(race.step(MS(280)), Step::Connect(0, at("192.0.2.1", 1)));
        race.failed(MS(300));
        assert_eq!(race.step(MS(300)), Step::Connect(0, at("192.0.2.2", 1)));
        assert_eq!(race.step(MS(600)), Step::Wait(None));
        race.failed(MS(700));
        race.failed(MS(700));
        assert_eq!(race.step(MS(700)), Step::Exhausted);
    }

    #[test]
    fn rfc2782_lower_rank_waits_for_the_better_one_equal_rank_does_not() {
        let mut race = Race::new(&[target(1, 0), target(2, 0), target(3, 9)], pace());
        assert_eq!(race.step(MS(0)), Step::Resolve(0));
        race.resolved(0, &ips(&["192.0.2.1"]), MS(0));
        assert_eq!(race.step(MS(0)), Step::Connect(0, at("192.0.2.1", 1)));
        assert_eq!(race.step(MS(250)), Step::Resolve(1));
        race.resolved(1, &ips(&["192.0.2.2"]), MS(260));
        assert_eq!(race.step(MS(260)), Step::Connect(1, at("192.0.2.2", 2)));
        assert_eq!(race.step(MS(510)), Step::Wait(Some(MS(2260))));
        assert_eq!(race.step(MS(2260)), Step::Resolve(2));
    }

    #[test]
    fn rfc2782_lower_rank_starts_at_once_when_the_better_ones_have_failed() {
        let mut race = Race::new(&[target(1, 0), target(2, 5)], pace());
        assert_eq!(race.step(MS(0)), Step::Resolve(0));
        race.resolved(0, &[], MS(1));
        assert_eq!(race.step(MS(1)), Step::Resolve(1));
    }

    #[test]
    fn abuse_a083_attempts_are_bounded_in_number_and_at_once() {
        let targets: Vec<_> = (1..=32).map(|port| target(port, 0)).collect();
        let mut race = Race::new(&targets, pace());
        let many: Vec<std::net::IpAddr> = (0..1000u32).map(|n| std::net::Ipv4Addr::from(n).into()).collect();
        let (mut now, mut connects, mut active, mut most) = (MS(0), 0, 0, 0);
        loop {
            match race.step(now) {
                Step::Resolve(t) => race.resolved(t, &many, now),
                Step::Connect(..) => {
                    connects += 1;
                    active += 1;
                    most = most.max(active);
                }
                Step::Wait(Some(until)) => now = until,
                Step::Wait(None) => {
                    race.failed(now);
                    active -= 1;
                }
                Step::Exhausted => break,
            }
        }
        assert_eq!((connects, most), (8, 4));
    }
}
