//! The end of federation at a shutdown: after the sessions, whose last stanzas it still carries.

use super::Federator;
use tokio::time::{Instant, error::Elapsed, timeout_at};

impl Federator {
    /// Waits until nothing waits for a stream any more, at most until `settled`; then ends all streams, after what is
    /// queued in them, and cuts at `over` what has not ended. What could not be sent has gone back to its senders.
    pub(in crate::server) async fn end(&self, settled: Instant, over: Instant) -> Result<(), Elapsed> {
        self.openings.close();
        let _ = timeout_at(settled, self.openings.wait()).await;
        self.stop.cancel();
        self.links.close();
        let ended = async {
            self.openings.wait().await;
            self.links.wait().await;
        };
        let ended = timeout_at(over, ended).await;
        if ended.is_err() {
            self.cut.cancel();
        }
        ended
    }

    /// Waits until what was cut is gone.
    pub(in crate::server) async fn gone(&self) {
        self.links.wait().await;
    }
}
