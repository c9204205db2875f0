//! A session and who waits for it.

use super::{JingleSettings, desk::Desk};
use crate::jingle::{Action, Creator, Ending, Event, Jingle, JingleError, Phase, Reason, SentId, Session};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tokio::{sync::Notify, time::Instant};
use xmpp_core::{
    client::WeakClient,
    jid::FullJid,
    stanza::{Iq, StanzaError},
};

/// A session at the desk.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) peer: FullJid,
    pub(super) sid: String,
    pub(super) client: WeakClient,
    desk: Weak<Desk>,
    state: Mutex<State>,
    /// Events have come.
    pub(super) news: Notify,
    /// The keeper may have something to do.
    wake: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) session: Session,
    pub(super) events: VecDeque<Event>,
    /// What the messages had by which these came, since there were none.
    pub(super) event_bytes: usize,
    /// Nobody takes events any more.
    pub(super) deaf: bool,
    /// Nothing more will come.
    pub(super) over: bool,
    /// The peer has not answered yet that we ask for the session.
    pub(super) opening: bool,
    /// Why it is over.
    pub(super) closing: Option<Reason>,
    clock: Clock,
}

/// When a session is given up.
#[derive(Debug)]
struct Clock {
    began: Instant,
    /// Since when the peer is offline and silent.
    absent: Option<Instant>,
}

impl Clock {
    /// Something of the peer's has come: its presence, or anything else that is as good.
    fn seen(&mut self, available: bool, now: Instant) {
        match available {
            true => self.absent = None,
            false => {
                self.absent.get_or_insert(now);
            }
        }
    }

    /// When to look again, and what is to be done then if nothing comes.
    fn due(&self, phase: Phase, settings: &JingleSettings) -> Option<(Instant, Ending)> {
        let unanswered = (phase == Phase::Pending).then(|| (self.began + settings.patience, Ending::Unanswered));
        let absent = self.absent.map(|since| (since + settings.absence, Ending::Absent));
        unanswered.into_iter().chain(absent).min_by_key(|(due, _)| *due)
    }
}

impl Seat {
    pub(super) fn new(desk: &Arc<Desk>, session: Session, client: WeakClient) -> Arc<Seat> {
        let state = State {
            opening: session.end() == Creator::Initiator,
            session,
            events: VecDeque::new(),
            event_bytes: 0,
            deaf: false,
            over: false,
            closing: None,
            clock: Clock { began: Instant::now(), absent: None },
        };
        Arc::new(Seat {
            peer: state.session.peer().clone(),
            sid: state.session.sid().to_owned(),
            client,
            desk: Arc::downgrade(desk),
            state: Mutex::new(state),
            news: Notify::new(),
            wake: Notify::new(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message of the peer; the events are for [`tell`](Self::tell) when it is answered.
    pub(super) fn receive(&self, jingle: &Jingle, settings: &JingleSettings) -> Result<Vec<Event>, JingleError> {
        let mut state = self.state();
        if state.over {
            return Err(JingleError::UnknownSession);
        }
        let bytes = state.event_bytes.saturating_add(jingle.bytes());
        let full = state.events.len() >= settings.events || (bytes > settings.event_bytes && !state.events.is_empty());
        if full && jingle.action != Action::SessionTerminate {
            return Err(JingleError::TooMany);
        }
        let events = state.session.receive(jingle)?;
        if !events.is_empty() {
            state.event_bytes = bytes;
        }
        state.clock.seen(true, Instant::now());
        drop(state);
        self.wake.notify_one();
        Ok(events)
    }

    /// Tells the application. A session that is over, or has nothing left in it, ends.
    pub(super) fn tell(&self, events: Vec<Event>) {
        let mut void = None;
        let mut state = self.state();
        for event in events {
            match &event {
                Event::Void { reason } => void = Some(reason.clone().unwrap_or_else(Reason::cancel)),
                Event::Ended(ending) => {
                    state.over = true;
                    state.closing = Some(closing(ending));
                }
                _ => {}
            }
            if !state.deaf {
                state.events.push_back(event);
            }
        }
        let over = state.over;
        drop(state);
        if let Some(reason) = void {
            self.end(reason, None);
        } else if over {
            self.leave();
        }
        self.news.notify_one();
    }

    /// Takes the answer to a message of ours.
    pub(super) fn answered(&self, sent: SentId, answer: Result<(), StanzaError>) {
        let mut state = self.state();
        if answer.is_ok() {
            state.clock.seen(true, Instant::now());
        }
        let events = state.session.answered(sent, answer);
        if !state.session.is_waiting() {
            state.opening = false;
        }
        drop(state);
        if !events.is_empty() {
            self.tell(events);
        }
        self.wake.notify_one();
    }

    /// Ends the session without a word to the peer.
    pub(super) fn lose(&self, ending: Ending) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.over, true) {
            state.closing = Some(closing(&ending));
            state.events.push_back(Event::Ended(ending));
        }
        drop(state);
        self.leave();
    }

    /// Ends the session, and tells the peer.
    pub(super) fn end(&self, reason: Reason, ending: Option<Ending>) {
        let mut state = self.state();
        let sent = state.session.terminate(reason.clone());
        if !std::mem::replace(&mut state.over, true) {
            state.closing = Some(reason);
            state.events.extend(ending.map(Event::Ended));
        }
        drop(state);
        self.leave();
        let Ok(sent) = sent else { return };
        if let (Ok(runtime), Some(client)) = (tokio::runtime::Handle::try_current(), self.client.upgrade()) {
            let iq = Iq::set(self.peer.clone()).payload(&sent.jingle);
            // The answer is of no interest: the session is over either way (§6.7).
            runtime.spawn(async move { client.send(iq).await });
        }
    }

    /// Gives the place up, and wakes who waits.
    pub(super) fn leave(&self) {
        if let Some(desk) = self.desk.upgrade() {
            desk.forget(self);
            let closing = self.state().closing.clone();
            desk.over(self, closing.as_ref());
        }
        self.news.notify_one();
        self.wake.notify_one();
    }

    /// The peer's presence, as it comes.
    pub(super) fn seen(&self, available: bool) {
        self.state().clock.seen(available, Instant::now());
        self.wake.notify_one();
    }

    /// Ends the session when it is time: nobody has accepted it, or the peer is gone and silent (§6.7).
    pub(super) async fn keep(self: Arc<Seat>, settings: JingleSettings) {
        loop {
            let due = {
                let state = self.state();
                if state.over {
                    return;
                }
                state.clock.due(state.session.phase(), &settings)
            };
            let Some((due, ending)) = due else {
                self.wake.notified().await;
                continue;
            };
            tokio::select! {
                // The clock is asked again.
                biased;
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(due) => {
                    let reason = if matches!(ending, Ending::Absent) { Reason::gone() } else { Reason::timeout() };
                    self.end(reason, Some(ending));
                }
            }
        }
    }
}

/// The reason that is nearest to how a session has ended.
fn closing(ending: &Ending) -> Reason {
    match ending {
        Ending::Terminated(reason) => reason.clone().unwrap_or_else(Reason::success),
        Ending::Unanswered | Ending::Migrated { .. } => Reason::expired(),
        _ => Reason::connectivity_error(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn xep0166_6_7_who_is_gone_and_silent_is_given_up() {
        let settings = JingleSettings::default();
        let now = Instant::now();
        let mut clock = Clock { began: now, absent: None };
        let due = |clock: &Clock, phase| clock.due(phase, &settings).map(|(due, ending)| (due - now, ending));
        assert!(matches!(due(&clock, Phase::Pending), Some((wait, Ending::Unanswered)) if wait == settings.patience));
        assert!(due(&clock, Phase::Active).is_none());
        clock.seen(false, now);
        clock.seen(false, now + settings.absence);
        assert!(matches!(due(&clock, Phase::Active), Some((wait, Ending::Absent)) if wait == settings.absence));
        assert!(matches!(due(&clock, Phase::Pending), Some((_, Ending::Absent))), "what comes first");
        clock.seen(true, now);
        assert!(due(&clock, Phase::Active).is_none(), "who speaks is not gone");
    }
}
