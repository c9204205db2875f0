//! When the next request may go: those on their way must not overtake each other.
//!
//! XEP-0124 §14 lets them, and has the service sort them. ejabberd 23.01, for one, forgets a request that came before its
//! time when the one before it has nothing to be answered with. So requests have a head start, and an empty one is not
//! sent where the client is about to say something.

use std::time::Duration;

/// After an answer with something in it, the client may have so long to react before an empty request goes out.
const REACTION: Duration = Duration::from_millis(10);
/// The same while it logs in, where each of its steps follows from the one before.
const STEP: Duration = Duration::from_millis(250);
/// An empty answer that comes later than this before the end of `wait` may be due to that.
const MARGIN: Duration = Duration::from_secs(1);

/// The time from an empty request that the service did not hold until the next.
const IN_VAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Pace {
    spacing: Duration,
    wait: Duration,
    /// When the latest request was sent, unless it is known to have arrived.
    sent: Option<Duration>,
    quiet_until: Duration,
    settled: bool,
}

impl Pace {
    pub(super) fn new(spacing: Duration, wait: Duration) -> Pace {
        Pace { spacing, wait, sent: None, quiet_until: Duration::ZERO, settled: false }
    }

    /// How long the service holds a request.
    pub(super) fn set_wait(&mut self, wait: Duration) {
        self.wait = wait;
    }

    /// An empty answer within this time of its request was given because the next request had come.
    pub(super) fn hold(&self) -> Duration {
        self.wait.saturating_sub(MARGIN)
    }

    /// A request was sent.
    pub(super) fn sent(&mut self, now: Duration) {
        self.sent = Some(now);
    }

    /// The latest request is with the service.
    pub(super) fn arrived(&mut self) {
        self.sent = None;
    }

    /// An answer came, with something in it or not.
    pub(super) fn answered(&mut self, something: bool, now: Duration) {
        let time = if self.settled { REACTION } else { STEP };
        self.quiet_until = if something { now.saturating_add(time) } else { now };
    }

    /// An empty request was answered at once, with nothing, though the service was to hold it.
    pub(super) fn in_vain(&mut self, now: Duration) {
        self.quiet_until = now.saturating_add(IN_VAIN);
    }

    /// The client has logged in.
    pub(super) fn settled(&mut self) {
        self.settled = true;
    }

    /// Until when the latest request may be overtaken by another.
    pub(super) fn head_start(&self) -> Option<Duration> {
        self.sent.map(|sent| sent.saturating_add(self.spacing))
    }

    /// Until when the client may be about to say something.
    pub(super) fn quiet_until(&self) -> Duration {
        self.quiet_until
    }
}
