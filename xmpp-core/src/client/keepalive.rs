//! How long a silence may be before the server is asked for a sign of life; learnt from the network.

use std::{ops::RangeInclusive, time::Duration};
use tokio::time::Instant;

/// The bounds of the silence after which the server is asked for a sign of life.
///
/// A client begins with the longest. When a connection turns out to be dead after a silence, the next ones are
/// asked twice as often: somebody on the way forgets idle connections, as mobile networks do. While that holds, the
/// interval grows again, slowly, and the slower the more connections were lost that way.
///
/// ```
/// # use std::time::Duration;
/// use xmpp_core::client::Keepalive;
/// let between = Keepalive::from(Duration::from_secs(30)..=Duration::from_secs(600));
/// assert_eq!(Keepalive::from(Duration::from_secs(120)).shortest, Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Never more often than this.
    pub shortest: Duration,
    /// Never more seldom than this.
    pub longest: Duration,
}

impl From<Duration> for Keepalive {
    /// This long at most, a quarter of it at least.
    fn from(longest: Duration) -> Keepalive {
        Keepalive { shortest: longest / 4, longest }
    }
}

impl From<RangeInclusive<Duration>> for Keepalive {
    fn from(range: RangeInclusive<Duration>) -> Keepalive {
        let (shortest, longest) = range.into_inner();
        Keepalive { shortest: shortest.min(longest), longest }
    }
}

/// An answer takes no longer, however long the silence before may be.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many silences have to be survived before a longer one is tried; twice as many after each loss, up to `MOST`.
const FIRST: u32 = 4;
const MOST: u32 = 256;

/// The interval as it is now.
#[derive(Debug)]
pub(super) struct Pulse {
    bounds: Keepalive,
    /// What the server announces (XEP-0478).
    ceiling: Duration,
    interval: Duration,
    held: u32,
    needed: u32,
}

impl Pulse {
    pub(super) fn new(bounds: Keepalive) -> Pulse {
        Pulse { bounds, ceiling: Duration::MAX, interval: bounds.longest, held: 0, needed: FIRST }
    }

    /// After such a silence the server is asked.
    pub(super) fn interval(&self) -> Duration {
        self.interval.min(self.ceiling)
    }

    /// The server takes a client that is silent for so long for gone.
    pub(super) fn within(&mut self, idle: Option<Duration>) {
        let ceiling = idle.map_or(Duration::MAX, |idle| idle * 3 / 4);
        self.ceiling = ceiling.max(Duration::from_secs(1));
    }

    /// The time it has for an answer.
    pub(super) fn patience(&self) -> Duration {
        self.interval().min(PATIENCE)
    }

    /// What was asked after a silence of `idle` has been answered.
    pub(super) fn held(&mut self, idle: Duration) {
        if idle < self.interval {
            return;
        }
        self.held += 1;
        if self.held >= self.needed {
            self.held = 0;
            self.interval = self.interval.mul_f64(1.25).min(self.bounds.longest);
        }
    }

    /// What was asked after a silence of `idle` was not answered. A connection that broke while it was in use says
    /// nothing about silences.
    pub(super) fn lost(&mut self, idle: Duration) {
        if idle < self.bounds.shortest {
            return;
        }
        self.held = 0;
        self.needed = (self.needed * 2).min(MOST);
        self.interval = (self.interval.min(idle) / 2).max(self.bounds.shortest);
    }
}

/// The silence of one connection. Any byte from the server is a sign of life.
#[derive(Debug)]
pub(super) struct Silence {
    heard: Instant,
    spoke: Instant,
    /// When the server was asked, and how long both sides had been silent then.
    asked: Option<(Instant, Duration)>,
}

impl Silence {
    pub(super) fn new(now: Instant) -> Silence {
        Silence { heard: now, spoke: now, asked: None }
    }

    /// Something has come.
    pub(super) fn heard(&mut self, now: Instant, pulse: &mut Pulse) {
        self.heard = now;
        if let Some((_, idle)) = self.asked.take() {
            pulse.held(idle);
        }
    }

    /// Something was written.
    pub(super) fn spoke(&mut self, now: Instant) {
        self.spoke = now;
    }

    /// The server is asked for something that it has to answer.
    pub(super) fn asks(&mut self, now: Instant) {
        self.asked.get_or_insert((now, now - self.heard.max(self.spoke)));
    }

    /// Nothing was read on purpose: the silence proves nothing.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.heard = now;
        if let Some((asked, _)) = &mut self.asked {
            *asked = now;
        }
    }

    /// When it has lasted too long: the server is to be asked, or has not answered.
    pub(super) fn deadline(&self, pulse: &Pulse) -> Instant {
        match self.asked {
            None => self.heard + pulse.interval(),
            Some((asked, _)) => asked.max(self.heard) + pulse.patience(),
        }
    }

    /// What was asked has not been answered in time; false if nothing was asked.
    pub(super) fn is_over(&self, pulse: &mut Pulse) -> bool {
        let Some((_, idle)) = self.asked else { return false };
        pulse.lost(idle);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// A network that forgets connections after a silence of `limit`, for as many silences.
    fn losses(pulse: &mut Pulse, limit: Duration, silences: u32) -> u32 {
        let mut losses = 0;
        for _ in 0..silences {
            let idle = pulse.interval();
            if idle > limit {
                pulse.lost(idle);
                losses += 1;
            } else {
                pulse.held(idle);
            }
        }
        losses
    }

    #[test]
    fn rfc6120_4_6_1_the_interval_finds_what_the_network_puts_up_with() {
        let mut pulse = Pulse::new((secs(15)..=secs(600)).into());
        let settling = losses(&mut pulse, secs(100), 4);
        assert_eq!((settling, pulse.interval()), (3, secs(75)), "halved until it holds");
        let more = losses(&mut pulse, secs(100), 2000);
        assert!(more < 12, "a longer silence is tried ever more seldom: {more}");
        assert!(pulse.interval() <= secs(125));
    }

    #[test]
    fn the_interval_stays_within_its_bounds_and_recovers() {
        let mut pulse = Pulse::new(secs(120).into());
        assert_eq!((pulse.interval(), pulse.patience()), (secs(120), secs(60)));
        assert_eq!(losses(&mut pulse, secs(1), 10), 10);
        assert_eq!((pulse.interval(), pulse.patience()), (secs(30), secs(30)));
        assert_eq!(losses(&mut pulse, secs(1000), 10_000), 0);
        assert_eq!(pulse.interval(), secs(120));
        let reversed = Keepalive::from(secs(9)..=secs(3));
        assert!(reversed.shortest <= reversed.longest);
    }

    #[test]
    fn only_silences_teach() {
        let mut pulse = Pulse::new(secs(120).into());
        pulse.lost(secs(2));
        assert_eq!(pulse.interval(), secs(120));
        // A message was the first thing sent after a minute, and was not answered.
        pulse.lost(secs(80));
        assert_eq!(pulse.interval(), secs(40));
        for _ in 0..100 {
            pulse.held(secs(1));
        }
        assert_eq!(pulse.interval(), secs(40));
    }
}
