//! Archives read backwards, as people scroll: the newest page first (XEP-0313 §4.3.3, XEP-0059 §2.5).

use super::{Archive, ArchivedMessage, SyncError};
use crate::chat::History;
use std::collections::VecDeque;
use xmpp_core::{
    payload::{archive::ArchiveResult, rsm::ResultSet},
    stanza::Message,
};

impl Archive {
    /// Reads the archive from its end, newest first, whatever of it has been told before.
    ///
    /// ```no_run
    /// use xmpp_im::chat::{ChatClient, ChatEventKind};
    ///
    /// # async fn run(client: xmpp_core::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let romeo = "romeo@example.net".parse::<xmpp_core::jid::Jid>()?;
    /// let mut history = client.archive()?.with(romeo).page(20).history();
    /// // What fits on the screen; more when somebody scrolls up.
    /// while let Some(page) = history.next_page().await {
    ///     for event in page?.messages.iter().flat_map(|message| &message.events) {
    ///         if let ChatEventKind::New(content) = &event.kind {
    ///             println!("{}: {}", event.author, content.body);
    ///         }
    ///     }
    /// #   break;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn history(&self) -> ArchiveHistory {
        ArchiveHistory::new(self.clone(), None)
    }

    /// The same, from the message before the one with this identifier.
    pub fn history_before(&self, id: impl Into<String>) -> ArchiveHistory {
        ArchiveHistory::new(self.clone(), Some(id.into()))
    }
}

/// A page of an archive that is read backwards.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HistoryPage {
    /// Its messages, the newest first. In our own archive their `events` tell what they mean, as far as this page and
    /// newer ones show it: that of a correction, retraction or reaction comes before that of what it refers to, and
    /// counts only if both have the same author.
    pub messages: Vec<ArchivedMessage>,
    /// There is nothing older.
    pub complete: bool,
}

/// An archive being read backwards.
#[derive(Debug)]
pub struct ArchiveHistory {
    archive: Archive,
    before: Option<String>,
    flips: bool,
    read: History,
    ready: VecDeque<ArchivedMessage>,
    ended: bool,
}

impl ArchiveHistory {
    fn new(archive: Archive, before: Option<String>) -> ArchiveHistory {
        let read = archive.state().history();
        ArchiveHistory { archive, before, flips: false, read, ready: VecDeque::new(), ended: false }
    }

    /// Asks the archive to send each page with its newest message first (`flip-page`, of `urn:xmpp:mam:2#extended`), which
    /// shows the newest sooner where the line is slow. What is told here is in the same order either way.
    pub fn flipped(mut self) -> Self {
        self.flips = true;
        self
    }

    /// The next older page; `None` when there is none. Messages that [`next`](Self::next) has left of a page come first.
    /// Cancel-safe: a page that was being sent is asked for again.
    ///
    /// # Errors
    /// See [`SyncError`]. Calling it once more goes on, if that can help.
    pub async fn next_page(&mut self) -> Option<Result<HistoryPage, SyncError>> {
        if !self.ready.is_empty() {
            return Some(Ok(HistoryPage { messages: self.ready.drain(..).collect(), complete: self.ended }));
        }
        if self.ended {
            return None;
        }
        let page = self.turn().await;
        if let Err(error) = &page {
            self.ended = matches!(error, SyncError::Forgotten | SyncError::Broken);
        }
        Some(page)
    }

    /// The next older message; `None` when there is none. Cancel-safe.
    ///
    /// # Errors
    /// As [`next_page`](Self::next_page).
    pub async fn next(&mut self) -> Option<Result<ArchivedMessage, SyncError>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(Ok(message));
            }
            match self.next_page().await? {
                Ok(page) => self.ready = page.messages.into(),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    async fn turn(&mut self) -> Result<HistoryPage, SyncError> {
        let before = self.before.clone().unwrap_or_default();
        let rsm = ResultSet { before: Some(before), ..ResultSet::default() };
        let (mut results, fin) = self.archive.ask(None, rsm, self.flips).await?;
        let named = fin.rsm.first.map(|first| first.id);
        if self.flips && is_flipped(&results, named.as_deref()) {
            results.reverse();
        }
        let first = results.first().map(|result| result.id.clone()).or(named);
        if !fin.complete {
            if first.is_none() || first == self.before {
                return Err(SyncError::Broken);
            }
            self.before = first;
        }
        self.ended = fin.complete;
        // In the order in which they were said, so that who corrects what is known.
        let mut messages: Vec<_> = results.into_iter().map(|result| self.unpack(result)).collect();
        messages.reverse();
        Ok(HistoryPage { messages, complete: self.ended })
    }

    fn unpack(&mut self, result: ArchiveResult) -> ArchivedMessage {
        let ArchiveResult { id, forwarded, .. } = result;
        let time = forwarded.delay.map(|delay| delay.stamp);
        let message = forwarded.stanza.and_then(|stanza| Message::from_stanza(stanza).ok());
        let mut events = match &message {
            Some(message) if self.archive.of.is_none() => self.read.read(message, &id),
            _ => Vec::new(),
        };
        events.iter_mut().for_each(|event| event.time = event.time.or(time));
        ArchivedMessage { id, time, message, events }
    }
}

/// Whether a page has come with its newest message first. Not every archive does what it was asked for.
fn is_flipped(results: &[ArchiveResult], first: Option<&str>) -> bool {
    let [begin, .., end] = results else { return false };
    let time = |result: &ArchiveResult| result.forwarded.delay.as_ref().map(|delay| delay.stamp);
    match (time(begin), time(end)) {
        (Some(begin), Some(end)) if begin != end => begin > end,
        _ => first == Some(&end.id),
    }
}
