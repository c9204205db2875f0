//! A transfer that is under way, in either direction.

use super::{
    TransferError,
    progress::{Brake, Road, Watching, Wish},
};
use std::{path::PathBuf, time::Duration};
use tokio::sync::oneshot;
use xmpp_core::jid::Jid;

/// A file on its way. Dropped before the end, it is cancelled; [`detach`](Transfer::detach) lets it go on by itself.
#[derive(Debug)]
pub struct Transfer {
    pub(super) peer: Jid,
    pub(super) name: String,
    pub(super) size: Option<u64>,
    pub(super) watching: Watching,
    pub(super) brake: Brake,
    pub(super) outcome: oneshot::Receiver<Result<Report, TransferError>>,
    pub(super) kept: bool,
}

/// A file that is across.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Where it is now, if it was received to a place.
    pub path: Option<PathBuf>,
    /// Where others fetch it, if it was uploaded.
    pub url: Option<String>,
    /// By which road the last of it went.
    pub road: Road,
    /// Its length in bytes.
    pub bytes: u64,
    /// How many of them went over the wire in this transfer; fewer than its length if an earlier one had got so far.
    pub moved: u64,
    /// The function of the hash by which it was proved to be right; `None` if the sender gave none that proves anything, or the
    /// receiver did not say that it has the file. What a receiver says of itself is its word.
    pub verified: Option<String>,
    /// The function of a hash that was found to be equal and proves nothing (`sha-1`, XEP-0300 §2): good against accidents, and
    /// not against somebody who means harm.
    pub compared: Option<String>,
    /// From the offer to the end.
    pub elapsed: Duration,
}

impl Transfer {
    /// Who is at the other end.
    pub fn peer(&self) -> &Jid {
        &self.peer
    }

    /// What the file is called: a name, never a path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its length in bytes; `None` if the sender has not said it.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Watches how far it is. There can be any number of watches.
    pub fn progress(&self) -> Watching {
        self.watching.clone()
    }

    /// Holds it. The peer waits, for as long as its patience has it; nothing is lost. What comes within stanzas can be slowed down and
    /// not held: some of it is still taken, 64 KiB in ten seconds.
    pub fn pause(&self) {
        self.brake.wish(Wish::Pause);
    }

    /// Goes on after a pause.
    pub fn resume(&self) {
        self.brake.wish(Wish::Go);
    }

    /// Ends it; the peer is told. [`finish`](Self::finish) then says [`Cancelled`](TransferError::Cancelled), unless it had come to
    /// its end before.
    pub fn cancel(&self) {
        self.brake.wish(Wish::Cancel);
    }

    /// Lets it go on with nobody to hear of its end.
    pub fn detach(mut self) {
        self.kept = true;
    }

    /// Waits for the end. Dropped meanwhile, the transfer is cancelled.
    ///
    /// # Errors
    /// Why the file is not across. What was received of it may be kept for another attempt: a later offer of the same
    /// file by the same peer that is accepted to the same place goes on from there.
    pub async fn finish(mut self) -> Result<Report, TransferError> {
        (&mut self.outcome).await.unwrap_or(Err(TransferError::Offline))
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if !self.kept {
            self.brake.wish(Wish::Cancel);
        }
    }
}
