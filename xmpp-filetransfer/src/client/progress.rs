//! How far a transfer is, and the brake on it.

use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// Over how long the rate is taken.
const WINDOW: Duration = Duration::from_secs(5);
/// The least time between two values for those who watch.
const TICK: Duration = Duration::from_millis(100);

/// By which road the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Road {
    /// A TCP connection from one client to the other (XEP-0260, XEP-0065).
    Direct,
    /// A TCP connection of each client to a relay (XEP-0065 §6).
    Proxy,
    /// Within stanzas (XEP-0261, XEP-0047).
    InBand,
    /// By way of the server's store of files (XEP-0363).
    Http,
}

impl std::fmt::Display for Road {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Road::Direct => "direct",
            Road::Proxy => "proxy",
            Road::InBand => "in-band",
            Road::Http => "HTTP",
        })
    }
}

/// What a transfer is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The other side has not said yet whether it wants the file.
    Offered,
    /// A road is being looked for.
    Connecting,
    /// Bytes flow.
    Running,
    /// It was told to [pause](super::Transfer::pause).
    Paused,
    /// All bytes are there; what is left is the proof that they are the right ones.
    Verifying,
    /// It has ended, well or not.
    Ended,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// The road, once there is one.
    pub road: Option<Road>,
    /// Bytes of the file that are across, those of an earlier attempt among them.
    pub bytes: u64,
    /// Bytes of the file; `None` if nobody has said.
    pub total: Option<u64>,
    /// Bytes a second over the last five seconds.
    pub rate: f64,
}

impl Progress {
    /// How long it will take at this rate; `None` if that cannot be said.
    pub fn remaining(&self) -> Option<Duration> {
        let left = self.total?.saturating_sub(self.bytes);
        // Beyond what a Duration holds there is nothing to be said.
        (self.rate > 0.0).then(|| Duration::try_from_secs_f64(left as f64 / self.rate).ok()).flatten()
    }
}

/// Watches a transfer. It sees the latest value, not every one.
#[derive(Clone, Debug)]
pub struct Watching {
    values: watch::Receiver<Progress>,
    fresh: bool,
}

impl Watching {
    /// The value now.
    pub fn now(&self) -> Progress {
        *self.values.borrow()
    }

    /// The next value, at once for the first one, then at most ten a second; `None` when the transfer has ended and
    /// that has been told. Cancel-safe.
    pub async fn next(&mut self) -> Option<Progress> {
        if std::mem::take(&mut self.fresh) {
            return Some(*self.values.borrow_and_update());
        }
        self.values.changed().await.ok()?;
        Some(*self.values.borrow_and_update())
    }
}

/// What the task that moves the bytes tells.
#[derive(Debug)]
pub(super) struct Meter {
    told: watch::Sender<Progress>,
    progress: Progress,
    /// When how much was across, of the last [`WINDOW`].
    marks: VecDeque<(Instant, u64)>,
    last: Option<Instant>,
}

impl Meter {
    pub(super) fn new(total: Option<u64>) -> (Meter, Watching) {
        let progress = Progress { phase: Phase::Offered, road: None, bytes: 0, total, rate: 0.0 };
        let (told, values) = watch::channel(progress);
        (Meter { told, progress, marks: VecDeque::new(), last: None }, Watching { values, fresh: true })
    }

    /// Something other than the count has changed: told at once.
    pub(super) fn phase(&mut self, phase: Phase) {
        if self.progress.phase != phase {
            self.progress.phase = phase;
            self.marks.clear();
            self.progress.rate = 0.0;
            self.tell();
        }
    }

    /// How much it is, which was not known before.
    pub(super) fn total(&mut self, total: Option<u64>) {
        self.progress.total = total;
        self.tell();
    }

    pub(super) fn road(&mut self, road: Road) {
        self.progress.road = Some(road);
        self.tell();
    }

    pub(super) fn now(&self) -> Progress {
        self.progress
    }

    /// So many bytes are across, all in all.
    pub(super) fn at(&mut self, bytes: u64, now: Instant) {
        self.progress.bytes = bytes;
        let due = self.last.is_none_or(|last| now.duration_since(last) >= TICK);
        if !due && self.progress.total != Some(bytes) {
            // Who looks sees it; nobody is woken for it.
            let progress = self.progress;
            self.told.send_if_modified(|told| {
                *told = progress;
                false
            });
            return;
        }
        self.last = Some(now);
        while self.marks.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.marks.pop_front();
        }
        if let Some((at, before)) = self.marks.front() {
            let time = now.duration_since(*at).as_secs_f64();
            if time > 0.0 {
                self.progress.rate = bytes.saturating_sub(*before) as f64 / time;
            }
        }
        self.marks.push_back((now, bytes));
        self.tell();
    }

    fn tell(&self) {
        self.told.send_replace(self.progress);
    }
}

/// What the user wants of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Go,
    Pause,
    Cancel,
}

/// Wishes on their way to the task that moves the bytes.
#[derive(Clone, Debug)]
pub(super) struct Brake(Arc<watch::Sender<Wish>>);

impl Brake {
    pub(super) fn new() -> Brake {
        Brake(Arc::new(watch::Sender::new(Wish::Go)))
    }

    /// A cancelled transfer stays cancelled.
    pub(super) fn wish(&self, wish: Wish) {
        self.0.send_if_modified(|now| {
            let changes = *now != Wish::Cancel && *now != wish;
            if changes {
                *now = wish;
            }
            changes
        });
    }

    /// Whether the bytes may flow.
    pub(super) fn is_free(&self) -> bool {
        *self.0.borrow() == Wish::Go
    }

    /// Resolves when the transfer may go on.
    pub(super) async fn go(&self) {
        let mut wishes = self.0.subscribe();
        // The sender is held here.
        let _ = wishes.wait_for(|wish| *wish == Wish::Go).await;
    }

    /// Resolves when the transfer is cancelled.
    pub(super) async fn cancelled(&self) {
        let mut wishes = self.0.subscribe();
        let _ = wishes.wait_for(|wish| *wish == Wish::Cancel).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_last_seconds() {
        let (mut meter, watching) = Meter::new(Some(100_000));
        meter.phase(Phase::Running);
        let start = Instant::now();
        for second in 0..=4 {
            meter.at(second * 1_000, start + Duration::from_secs(second));
        }
        assert_eq!(watching.now().rate, 1_000.0);
        assert_eq!(watching.now().remaining(), Some(Duration::from_secs(96)));
        // Then it stands still, and after the window the rate is nothing.
        for second in 5..=10 {
            meter.at(4_000, start + Duration::from_secs(second));
        }
        assert_eq!(watching.now().rate, 0.0);
        assert_eq!(watching.now().remaining(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_byte_is_told_at_once() {
        let (mut meter, mut watching) = Meter::new(Some(10));
        let now = Instant::now();
        assert_eq!(watching.next().await.unwrap().bytes, 0);
        meter.at(5, now);
        assert_eq!(watching.next().await.unwrap().bytes, 5);
        meter.at(6, now);
        assert_eq!(watching.now().bytes, 6, "what comes before nothing more does is not forgotten");
        meter.at(10, now);
        assert_eq!(watching.next().await.unwrap().bytes, 10);
        drop(meter);
        assert_eq!(watching.next().await, None);
    }

    #[tokio::test]
    async fn a_cancelled_transfer_does_not_go_on() {
        let brake = Brake::new();
        assert!(brake.is_free());
        brake.wish(Wish::Pause);
        brake.wish(Wish::Cancel);
        brake.wish(Wish::Go);
        brake.cancelled().await;
        assert!(!brake.is_free());
        assert!(tokio::time::timeout(Duration::from_millis(10), brake.go()).await.is_err());
    }
}
