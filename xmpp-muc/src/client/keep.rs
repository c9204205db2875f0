//! Staying in a room: asking after silence (XEP-0410), entering again after a loss.

use super::{
    JoinError, Loss, RoomEvent, Seat,
    join::Inner,
    state::{Duty, Standing},
};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout};
use xmpp_core::{
    client::{RequestError, SendError},
    payload::ping::Ping,
    stanza::{Condition, Iq},
};

/// The longest time between two attempts.
const LONGEST: Duration = Duration::from_secs(300);
/// While there is no session nothing can be done.
const OFFLINE: Duration = Duration::from_secs(60);
/// XEP-0410 §3: `item-not-found` says that the nickname has just been changed; or that there is no such room. If the room has
/// still said nothing when it is asked again, it is the latter.
const DOUBTS: u32 = 2;

/// What a room's keeper does as long as somebody holds the room.
pub(super) async fn keep(seat: Arc<Seat>, room: Weak<Inner>) {
    loop {
        if room.strong_count() == 0 || seat.state().standing == Standing::Left {
            return;
        }
        let duty = seat.state().duty(Instant::now());
        match duty {
            Duty::Wait(None) => seat.wake.notified().await,
            Duty::Wait(Some(at)) => {
                tokio::select! {
                    () = seat.wake.notified() => {}
                    () = sleep_until(at) => {}
                }
            }
            duty => {
                let Some(room) = room.upgrade() else { return };
                match duty {
                    Duty::Ping => room.ask().await,
                    Duty::Learn => room.learn_again().await,
                    _ => room.enter_again().await,
                }
            }
        }
    }
}

impl Inner {
    /// A time of waiting that grows, with chance in it.
    fn backoff(&self, attempts: u32) -> Duration {
        let doubled = self.part.settings.retry.saturating_mul(2_u32.saturating_pow(attempts.min(16)));
        doubled.min(LONGEST).mul_f64(0.5 + self.part.chance() / 2.0)
    }

    /// Asks whether we are still there.
    async fn ask(&self) {
        let nick = self.seat.state().nick.clone();
        let Ok(own) = self.room.with_resource(&nick) else { return };
        if self.client.jid().is_none() {
            self.seat.state().ping_at = Instant::now() + OFFLINE;
            return;
        }
        let request = self.client.request(Iq::get(own).payload(&Ping));
        let answer = timeout(self.patience(), request).await.unwrap_or(Err(RequestError::TimedOut));
        let now = Instant::now();
        let mut state = self.seat.state();
        let condition = match answer {
            Ok(_) => return state.hear(now),
            Err(RequestError::Refused(error)) => Some(error.condition),
            Err(RequestError::Send(SendError::Closed)) => return state.end(),
            Err(_) => None,
        };
        match condition {
            Some(Condition::ServiceUnavailable | Condition::FeatureNotImplemented) => state.hear(now),
            Some(Condition::ItemNotFound) if state.doubts + 1 < DOUBTS => {
                state.doubts += 1;
                state.ping_at = now + self.backoff(state.doubts + 2);
            }
            None | Some(Condition::RemoteServerNotFound | Condition::RemoteServerTimeout) => {
                // Nothing can be said of it.
                let doubts = state.doubts.saturating_add(1);
                state.ping_at = now + self.backoff(doubts + 4);
            }
            Some(_) => state.lose(Loss::Silent, now, Duration::ZERO),
        }
    }

    /// What the room is like since it was configured otherwise.
    async fn learn_again(&self) {
        self.seat.state().learn_at = None;
        let info = timeout(self.patience(), self.muc().info(&self.room)).await;
        let Ok(Ok(info)) = info else { return };
        let mut state = self.seat.state();
        state.avatar_is(info.avatar_hashes().first().cloned());
        state.features = info.features.into_iter().collect();
    }

    async fn enter_again(&self) {
        let _turn = self.seat.turn.lock().await;
        let Standing::Lost { attempts, .. } = self.seat.state().standing else { return };
        let later = |attempts, wait| {
            let mut state = self.seat.state();
            if matches!(state.standing, Standing::Lost { .. }) {
                state.standing = Standing::Lost { attempts, at: Instant::now() + wait };
            }
        };
        if self.client.jid().is_none() {
            // The next session says so.
            return later(attempts, OFFLINE);
        }
        match self.enter().await {
            Ok(_) => {}
            Err(JoinError::Closed) => self.seat.state().end(),
            Err(error) if error.is_passing() && attempts + 1 < self.part.settings.attempts => {
                tracing::debug!(%error, room = %self.room, "not entered again yet");
                later(attempts + 1, self.backoff(attempts + 1));
            }
            Err(error) => {
                let mut state = self.seat.state();
                if state.standing != Standing::Left {
                    state.standing = Standing::Outside;
                }
                state.tell(RoomEvent::GaveUp(error));
            }
        }
    }
}
