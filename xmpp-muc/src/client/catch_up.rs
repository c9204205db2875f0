//! What was said in a room while nobody listened, from its archive (XEP-0313).

use super::{Room, RoomMessage, Seat};
use std::sync::Arc;
use xmpp_core::payload::DateTime;
use xmpp_im::{
    archive::{Archive, ArchiveSync, Since, SyncError},
    chat::{ChatClient, WithoutChats},
};

/// What is read of a room's archive: each message once, and none that was told before.
#[derive(Debug)]
pub struct RoomHistory {
    sync: Option<ArchiveSync>,
    seat: Arc<Seat>,
    /// Where reading began, if it is from where the room was lost.
    from: Option<Option<String>>,
}

impl Room {
    /// The room's archive.
    ///
    /// # Errors
    /// None, as a client with rooms can read archives.
    pub fn archive(&self) -> Result<Archive, WithoutChats> {
        Ok(self.client().archive()?.of(self.jid().clone()))
    }

    /// What the archive holds from somewhere on, without what has come already, live or as history. What is read here does
    /// not come again as history either.
    ///
    /// ```no_run
    /// # use xmpp_muc::client::{Room, RoomEvent, RoomEvents};
    /// # async fn run(room: Room, mut events: RoomEvents) -> Result<(), Box<dyn std::error::Error>> {
    /// while let Some(event) = events.next().await {
    ///     if let RoomEvent::Rejoined(_) = event {
    ///         let mut missed = room.missed();
    ///         while let Some(message) = missed.next().await {
    ///             println!("meanwhile: {}", message?.body().unwrap_or_default());
    ///         }
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn since(&self, since: Since) -> RoomHistory {
        let sync = self.archive().ok().map(|archive| archive.sync(since));
        RoomHistory { sync, seat: Arc::clone(&self.inner.seat), from: None }
    }

    /// What was said while the room was lost, or since then; when that was read, the next loss counts. If the archive has
    /// forgotten where it is to begin ([`SyncError::Forgotten`]), [`since`](Self::since) a time helps.
    pub fn missed(&self) -> RoomHistory {
        let (from, entered) = {
            let state = self.inner.seat.state();
            (state.missed_from.clone().or_else(|| state.position.clone()), state.entered_at)
        };
        let since = match (&from, entered) {
            (Some(id), _) => Since::After(id.clone()),
            (None, Some(time)) => Since::Time(DateTime::from(time)),
            (None, None) => Since::Beginning,
        };
        RoomHistory { from: Some(from), ..self.since(since) }
    }

    /// The last message that came with an id of the room's, by that: for [`since`](Self::since) in another run.
    pub fn position(&self) -> Option<String> {
        self.inner.seat.state().position.clone()
    }
}

impl RoomHistory {
    /// The next message; `None` at the end. Cancel-safe: a page that was being sent is asked for again.
    ///
    /// # Errors
    /// See [`SyncError`]. Calling it once more goes on, if that can help.
    pub async fn next(&mut self) -> Option<Result<RoomMessage, SyncError>> {
        loop {
            let Some(read) = self.sync.as_mut()?.next().await else {
                let mut state = self.seat.state();
                // Unless it was lost once more.
                if self.from.as_ref() == Some(&state.missed_from) {
                    state.missed_from = None;
                }
                return None;
            };
            let archived = match read {
                Ok(archived) => archived,
                Err(error) => return Some(Err(error)),
            };
            let Some(message) = &archived.message else { continue };
            if let Some(message) = self.seat.state().archived(&archived.id, message, archived.time) {
                return Some(Ok(message));
            }
        }
    }
}
