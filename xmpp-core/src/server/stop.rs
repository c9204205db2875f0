//! Stopping: streams are ended with a reason, not all in one moment, and what does not end is cut.

use super::{
    Server,
    session::{Role, Session},
};
use crate::stream::{OtherHost, StreamCondition, StreamError};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};

/// Streams ended in one go.
const BATCH: usize = 64;
/// From one batch to the next, where the grace permits: about 1,600 streams a second, whose clients come back at once.
const PAUSE: Duration = Duration::from_millis(40);

impl Server {
    /// Stops: no new connections, every stream ends with `system-shutdown` (RFC 6120 §4.9.3.20), and what is still
    /// there after `grace` is cut. Many clients are told one after another, in at most half of that time, so that they
    /// do not all come back in one moment; components are told last. Streams to other servers end when the sessions have left
    /// and what these left behind is sent; for that a quarter of the time is kept. Returns when all is over.
    pub async fn shutdown(&self, grace: Duration) {
        self.stop(StreamCondition::SystemShutdown.into(), grace).await;
    }

    /// As [`shutdown`](Self::shutdown), with clients sent to another host (`see-other-host`, RFC 6120 §4.9.3.19), which
    /// serves the same domains in our place. The certificate that they check there is still their domain's.
    pub async fn shutdown_to(&self, host: &OtherHost, grace: Duration) {
        self.stop(StreamCondition::SeeOtherHost(host.to_string()).into(), grace).await;
    }

    /// What a client's stream ends with once the server has been told to stop.
    pub(super) fn stop_reason(&self) -> StreamError {
        self.inner().farewell.get().cloned().unwrap_or_else(|| StreamCondition::SystemShutdown.into())
    }

    async fn stop(&self, reason: StreamError, grace: Duration) {
        let inner = self.inner();
        let over = Instant::now() + grace;
        let federation = inner.federation.as_ref();
        // Streams to other servers end after the sessions, whose last stanzas they carry.
        let (left, settled) = match federation {
            Some(_) => (over - grace / 4, over - grace / 8),
            None => (over, over),
        };
        let farewells = async {
            for farewell in &inner.shutdown {
                farewell(self.clone()).await;
            }
        };
        let _ = timeout_at(Instant::now() + grace / 4, farewells).await;
        let _ = inner.farewell.set(reason);
        inner.stop.cancel();
        inner.tasks.close();
        let reason = self.stop_reason();
        let _ = timeout_at(left, self.end_sessions(&reason, grace / 2)).await;
        // Those that nobody drives end here alone, however short the grace was.
        inner.directory.for_each(|session| self.reap(session));
        let mut cut = timeout_at(left, inner.tasks.wait()).await.is_err();
        if cut {
            inner.directory.for_each(|session| session.kill());
            let _ = timeout_at(settled, inner.tasks.wait()).await;
        }
        if let Some(federator) = federation {
            cut |= federator.end(settled, over).await.is_err();
        }
        if cut {
            let ended = async {
                inner.tasks.wait().await;
                if let Some(federator) = federation {
                    federator.gone().await;
                }
            };
            let _ = timeout_at(Instant::now() + Duration::from_secs(1), ended).await;
        }
    }

    async fn end_sessions(&self, reason: &StreamError, time: Duration) {
        let (mut clients, mut others): (Vec<Arc<Session>>, Vec<Arc<Session>>) = Default::default();
        self.inner().directory.for_each(|session| match session.role() {
            Role::Client => clients.push(Arc::clone(session)),
            Role::Component | Role::Server => others.push(Arc::clone(session)),
        });
        let pause = pause(clients.len(), time);
        for (number, batch) in clients.chunks(BATCH).enumerate() {
            if number > 0 {
                sleep(pause).await;
            }
            for session in batch {
                session.close(Some(reason));
                self.reap(session);
            }
        }
        // What clients leave behind, such as their unavailable presence, still reaches components.
        let shutdown = StreamCondition::SystemShutdown.into();
        others.iter().for_each(|session| session.close(Some(&shutdown)));
    }
}

/// How long to wait between two batches.
fn pause(clients: usize, time: Duration) -> Duration {
    let pauses = u32::try_from(clients.saturating_sub(1) / BATCH).unwrap_or(u32::MAX);
    if pauses == 0 { Duration::ZERO } else { PAUSE.min(time / pauses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_told_one_after_another_within_the_time() {
        let half_a_minute = Duration::from_secs(30);
        assert_eq!(pause(0, half_a_minute), Duration::ZERO);
        assert_eq!(pause(BATCH, half_a_minute), Duration::ZERO, "one batch");
        assert_eq!(pause(BATCH + 1, half_a_minute), PAUSE);
        assert_eq!(pause(100_001 * BATCH, half_a_minute) * 100_000, half_a_minute);
        assert_eq!(pause(BATCH * 9, Duration::ZERO), Duration::ZERO);
    }
}
