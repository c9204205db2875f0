//! What of the server's stanzas has been handled (XEP-0198 §4).

use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// So long an answer to `<r/>` waits for the application to take what has come before.
const PATIENCE: Duration = Duration::from_secs(1);

/// Counts what comes in, and what of it the application is done with. A stanza that became an event is handled when
/// that event is; every other one at once, but never before those that came earlier.
#[derive(Debug, Default)]
pub(super) struct Handled {
    received: u32,
    /// Stanzas that will come again in a resumed stream, although they have come.
    again: u32,
    /// Events that are not handled: their number, and which stanza each was.
    waiting: VecDeque<(u64, u32)>,
    /// What was received when the server asked, until it has been told so.
    owed: Option<u32>,
    /// When it is told what is true then.
    due: Option<Instant>,
}

impl Handled {
    /// The session of another process, which had handled so many.
    pub(super) fn at(handled: u32) -> Handled {
        Handled { received: handled, ..Handled::default() }
    }

    /// A stanza has come. Whether it is a new one.
    pub(super) fn arrives(&mut self) -> bool {
        if self.again > 0 {
            self.again -= 1;
            return false;
        }
        self.received = self.received.wrapping_add(1);
        true
    }

    /// The last stanza became the event of this number.
    pub(super) fn becomes(&mut self, event: u64) {
        self.waiting.push_back((event, self.received));
    }

    /// The application is done with all events up to this number.
    pub(super) fn done(&mut self, event: u64) {
        while self.waiting.front().is_some_and(|(number, _)| *number <= event) {
            self.waiting.pop_front();
        }
    }

    /// How many stanzas have been handled.
    pub(super) fn count(&self) -> u32 {
        self.waiting.front().map_or(self.received, |(_, stanza)| stanza.wrapping_sub(1))
    }

    /// How many have been received.
    pub(super) fn received(&self) -> u32 {
        self.received
    }

    /// The stream goes on over another connection: the server has been told [`count`](Self::count), and sends the
    /// rest again.
    pub(super) fn resumed(&mut self, told: u32) {
        self.again = self.received.wrapping_sub(told);
        (self.owed, self.due) = (None, None);
    }

    /// The server asks.
    pub(super) fn asked(&mut self, now: Instant) {
        self.owed = Some(self.received);
        self.due.get_or_insert(now + PATIENCE);
    }

    /// Whether the server waits for an answer, or for a better one.
    pub(super) fn owes(&self) -> bool {
        self.owed.is_some()
    }

    /// When the server has to be told something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// What to tell the server, if it is time: all that it asked for, or after a moment what is true then, and once
    /// more when it is all.
    pub(super) fn answer(&mut self, now: Instant) -> Option<u32> {
        let (owed, count) = (self.owed?, self.count());
        // Modulo 2³², and never so far apart.
        let all = count.wrapping_sub(owed) < u32::MAX / 2;
        if all {
            (self.owed, self.due) = (None, None);
        } else if self.due.is_some_and(|due| due <= now) {
            self.due = None;
        } else {
            return None;
        }
        Some(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn xep0198_4_what_the_application_has_not_taken_is_not_handled() {
        let mut handled = Handled::default();
        assert!(handled.arrives());
        assert_eq!(handled.count(), 1, "an iq is handled at once");
        handled.arrives();
        handled.becomes(7);
        handled.arrives();
        assert_eq!(handled.count(), 1, "what comes later is not handled before");
        handled.arrives();
        handled.becomes(9);
        handled.done(6);
        assert_eq!(handled.count(), 1);
        handled.done(8);
        assert_eq!(handled.count(), 3);
        handled.done(9);
        assert_eq!((handled.count(), handled.received()), (4, 4));
    }

    #[test]
    fn xep0198_4_an_answer_is_withheld_for_a_moment_only() {
        let now = Instant::now();
        let mut handled = Handled::at(u32::MAX);
        handled.asked(now);
        assert_eq!((handled.answer(now), handled.answer(now)), (Some(u32::MAX), None));
        handled.arrives();
        handled.becomes(1);
        handled.asked(now);
        assert_eq!(handled.answer(now), None, "the application has not had the time");
        assert_eq!(handled.deadline(), Some(now + PATIENCE));
        assert_eq!(handled.answer(now + PATIENCE), Some(u32::MAX), "what is true is told");
        assert_eq!((handled.answer(now + 2 * PATIENCE), handled.deadline()), (None, None), "once");
        assert!(handled.owes());
        handled.done(1);
        assert_eq!(handled.answer(now + 2 * PATIENCE), Some(0), "and all of it when it is so");
        assert!(!handled.owes());
    }

    #[test]
    fn xep0198_5_what_comes_again_is_known() {
        let mut handled = Handled::default();
        for event in 1..=3 {
            handled.arrives();
            handled.becomes(event);
        }
        handled.done(1);
        handled.resumed(handled.count());
        assert!(!handled.arrives(), "the second, again");
        // The next connection is lost before the third has come again.
        handled.done(2);
        handled.resumed(handled.count());
        assert!(!handled.arrives());
        assert!(handled.arrives());
        assert_eq!(handled.received(), 4);
    }
}
