//! Reading archives (XEP-0313 §4): page by page, without what was there before, and without what others slip in.

use super::Preferences;
use crate::chat::{ChatEvent, Page, State};
use std::{collections::VecDeque, sync::Arc};
use xmpp_core::{
    client::{Client, ClientRegistrar, Flow, RequestError},
    jid::{BareJid, Jid},
    payload::{
        DateTime, TextValue,
        archive::{ArchiveFin, ArchiveMetadata, ArchivePrefs, ArchiveQuery, ArchiveResult, NS},
        form::{DataForm, Field, FormKind},
        rsm::ResultSet,
    },
    stanza::{AnyStanza, Condition, Iq, Message, generate_id},
};

/// Lets a client read archives ([`ChatClient::archive`](crate::chat::ChatClient::archive)). A client with
/// [chats](crate::chat::client) can anyway; to name it beside them, or twice, does no harm.
pub fn client(r: &mut ClientRegistrar) {
    if r.provided::<State>().is_some() {
        return;
    }
    r.provide(Arc::new(State::for_archives()));
    // Where chats are named later, theirs is the state that counts.
    r.on_session(|start, client| {
        if let Some(state) = client.part::<State>().filter(|_| !start.resumed) {
            state.session_begins(start.jid.to_bare());
        }
    });
    r.incoming(|stanza, client| {
        let AnyStanza::Message(message) = stanza else { return Flow::Continue };
        let is_page = client.part::<State>().is_some_and(|state| state.page_comes(message));
        if is_page { Flow::Handled } else { Flow::Continue }
    });
}

/// An archive that can be asked. Cheap to make and to clone.
#[derive(Clone, Debug)]
pub struct Archive {
    client: Client,
    state: Arc<State>,
    /// Whose; `None` is our own.
    pub(super) of: Option<Jid>,
    with: Option<Jid>,
    from: Option<DateTime>,
    until: Option<DateTime>,
    ids: Vec<String>,
    page: u32,
}

/// From where on an archive is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// The oldest message.
    Beginning,
    /// What came at this time, or later.
    Time(DateTime),
    /// The message behind the one with this identifier.
    After(String),
}

/// A message of an archive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ArchivedMessage {
    /// Its identifier in the archive, to go on from when all of this is stored.
    pub id: String,
    /// When it came.
    pub time: Option<DateTime>,
    /// The message; `None` if it has been taken out of the archive.
    pub message: Option<Message>,
    /// What it means, in our own archive.
    pub events: Vec<ChatEvent>,
}

/// Why an archive could not be read on. Where nothing else is said, trying again goes on where it ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The page was refused, or the connection was lost.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The message to go on from is not in the archive any more: read it by [`Since::Time`]. This ends the reading.
    #[error("the archive has forgotten where the last reading ended")]
    Forgotten,
    /// The archive sends other pages than were asked for, perhaps without end. This ends the reading.
    #[error("the archive does not page as it should")]
    Broken,
}

impl Archive {
    pub(crate) fn own(client: Client, state: Arc<State>) -> Self {
        Archive { client, state, of: None, with: None, from: None, until: None, ids: Vec::new(), page: 50 }
    }

    /// Another's archive: a room's.
    pub fn of(mut self, jid: BareJid) -> Self {
        self.of = Some(jid.into());
        self
    }

    /// Only what was exchanged with this address.
    pub fn with(mut self, jid: impl Into<Jid>) -> Self {
        self.with = Some(jid.into());
        self
    }

    /// Nothing that came before this time. [`Since::Time`] goes before it.
    pub fn from(mut self, time: DateTime) -> Self {
        self.from = Some(time);
        self
    }

    /// Nothing that came after this time.
    pub fn until(mut self, time: DateTime) -> Self {
        self.until = Some(time);
        self
    }

    /// Only the messages with these identifiers in the archive (`urn:xmpp:mam:2#extended`); none restricts nothing. If one
    /// of them is not there, the reading ends with [`SyncError::Forgotten`].
    pub fn only<S: Into<String>>(mut self, ids: impl IntoIterator<Item = S>) -> Self {
        self.ids = ids.into_iter().map(Into::into).collect();
        self
    }

    /// Which messages the archive holds: the first and the last, or neither (XEP-0313 §5). Cancel-safe.
    ///
    /// # Errors
    /// Those of [`Client::query`]; archives without `urn:xmpp:mam:2#extended` refuse it.
    pub async fn extent(&self) -> Result<ArchiveMetadata, RequestError> {
        let request = match &self.of {
            Some(jid) => Iq::get(jid.clone()),
            None => Iq::get_own(),
        };
        self.client.query(request.payload(&ArchiveMetadata::default())).await
    }

    /// What the account wants archived (XEP-0441 §2). Cancel-safe.
    ///
    /// ```no_run
    /// # async fn run(client: xmpp_core::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use xmpp_im::chat::ChatClient;
    ///
    /// let archive = client.archive()?;
    /// let mut preferences = archive.preferences().await?;
    /// preferences.never.push("nurse@example.org".parse()?);
    /// let kept = archive.set_preferences(preferences).await?;
    /// println!("{} addresses are not archived", kept.never.len());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`Client::query`]; [`RequestError::Unexpected`] if the server leaves the default out.
    pub async fn preferences(&self) -> Result<Preferences, RequestError> {
        let prefs: ArchivePrefs = self.client.query(Iq::get_own().payload(&ArchivePrefs::default())).await?;
        prefs.try_into().map_err(|_| RequestError::Unexpected)
    }

    /// Says what the account wants archived, in the place of all that was said before; returns what the server has made of
    /// it, which may be less. Dropped early, it may have been done or not.
    ///
    /// # Errors
    /// Those of [`Client::query`].
    pub async fn set_preferences(&self, preferences: Preferences) -> Result<Preferences, RequestError> {
        let request = Iq::set_own().payload(&ArchivePrefs::from(preferences.clone()));
        let answer = self.client.request(request).await?;
        // Some servers answer with nothing: they have taken all of it.
        let Some(prefs) = answer.payload::<ArchivePrefs>() else { return Ok(preferences) };
        prefs.map_err(RequestError::Payload)?.try_into().map_err(|_| RequestError::Unexpected)
    }

    /// So many messages a page, 50 unless set. Servers may send fewer.
    pub fn page(mut self, messages: u32) -> Self {
        self.page = messages.clamp(1, 1000);
        self
    }

    /// Up to where our own archive has been handed to the application, by [`sync`](Self::sync) and, once that has come
    /// to the end, as [events](crate::chat::ChatEvents). Saved after all that has been stored, and given to `sync` by
    /// the next run or the next session, nothing is lost; what comes twice to the same process is told once. A server may
    /// give to a later run, as offline messages, what an earlier one has read here: an application that stores messages
    /// knows them by [`ChatEvent::archive_id`].
    pub fn position(&self) -> Option<String> {
        self.state.position()
    }

    /// Reads the archive from here to its end.
    ///
    /// To catch up without loss or doubles, do this whenever a session begins, while the events go on:
    ///
    /// ```no_run
    /// use xmpp_core::client::Client;
    /// use xmpp_im::{archive::Since, chat::ChatClient};
    ///
    /// # fn store(_: &xmpp_im::archive::ArchivedMessage) {}
    /// # async fn run(client: Client, saved: Option<String>) -> Result<(), Box<dyn std::error::Error>> {
    /// let archive = client.archive()?;
    /// let mut missed = archive.sync(saved.map_or(Since::Beginning, Since::After));
    /// while let Some(message) = missed.next().await {
    ///     store(&message?);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn sync(&self, since: Since) -> ArchiveSync {
        let (start, after) = match since {
            Since::Beginning => (None, None),
            Since::Time(time) => (Some(time), None),
            Since::After(id) => (None, Some(id)),
        };
        let progress = Progress::default();
        let ready = VecDeque::new();
        ArchiveSync { archive: self.clone(), start, after, ready, progress, held: false, ended: false, complete: false }
    }

    /// Whether it is all that the account has.
    fn is_whole(&self) -> bool {
        let all = self.from.is_none() && self.until.is_none() && self.ids.is_empty();
        self.of.is_none() && self.with.is_none() && all
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Asks for a page, in the direction that `rsm` says; messages come in the order of the archive, or with `flip` the
    /// other way round. Dropped early, what still comes of it is thrown away.
    pub(super) async fn ask(
        &self,
        start: Option<&DateTime>,
        rsm: ResultSet,
        flip: bool,
    ) -> Result<(Vec<ArchiveResult>, ArchiveFin), SyncError> {
        let queryid = generate_id();
        let most = usize::try_from(self.page).unwrap_or(usize::MAX);
        let page = Page { archive: self.of.clone(), most, results: Vec::new(), overflowed: false };
        self.state.expect_page(&queryid, page);
        let expected = Expected { state: &self.state, queryid: queryid.clone() };
        let query = ArchiveQuery {
            queryid: Some(queryid),
            form: self.form(start),
            rsm: Some(ResultSet { max: Some(self.page), ..rsm }),
            flip_page: flip,
            ..ArchiveQuery::default()
        };
        let request = match &self.of {
            Some(jid) => Iq::set(jid.clone()),
            None => Iq::set_own(),
        };
        let fin = self.client.query::<ArchiveFin>(request.payload(&query)).await.map_err(|error| match error {
            RequestError::Refused(error) if error.condition == Condition::ItemNotFound => SyncError::Forgotten,
            error => SyncError::Request(error),
        })?;
        let page = expected.take().ok_or(SyncError::Broken)?;
        if page.overflowed {
            return Err(SyncError::Broken);
        }
        Ok((page.results, fin))
    }

    /// The filter (§4.1).
    fn form(&self, start: Option<&DateTime>) -> Option<DataForm> {
        let start = start.or(self.from.as_ref());
        if start.is_none() && self.until.is_none() && self.with.is_none() && self.ids.is_empty() {
            return None;
        }
        let mut form = DataForm::typed(FormKind::Submit, NS);
        if let Some(with) = &self.with {
            form = form.with(Field::new("with").value(with.as_str()));
        }
        for (name, time) in [("start", start), ("end", self.until.as_ref())] {
            if let Some(time) = time {
                form = form.with(Field::new(name).value(time.to_text()));
            }
        }
        if !self.ids.is_empty() {
            form = form.with(self.ids.iter().fold(Field::new("ids"), |field, id| field.value(id.as_str())));
        }
        Some(form)
    }
}

/// An archive being read.
#[derive(Debug)]
pub struct ArchiveSync {
    archive: Archive,
    start: Option<DateTime>,
    after: Option<String>,
    ready: VecDeque<ArchiveResult>,
    progress: Progress,
    /// Something that came before is still waiting as an event: the position stays in front of it.
    held: bool,
    ended: bool,
    /// The archive has said that this is all.
    complete: bool,
}

/// So many pages without a message may follow each other.
const BARREN: u32 = 256;

/// Whether pages bring on: an archive that sends the same ones round and round would be read for ever.
#[derive(Debug, Default)]
struct Progress {
    /// The end of an earlier page, further and further apart, as in Brent's search for cycles.
    mark: Option<String>,
    pages: u64,
    next_mark: u64,
    barren: u32,
}

impl Progress {
    /// A page that ends with this message, and not the archive.
    fn is_made(&mut self, last: &str, messages: usize) -> bool {
        let again = self.mark.as_deref() == Some(last);
        if self.pages >= self.next_mark {
            (self.mark, self.next_mark) = (Some(last.to_owned()), self.pages.saturating_add(1).saturating_mul(2));
        }
        self.pages = self.pages.saturating_add(1);
        self.barren = if messages == 0 { self.barren.saturating_add(1) } else { 0 };
        !again && self.barren <= BARREN
    }
}

/// Forgets the page when the request is dropped.
struct Expected<'a> {
    state: &'a State,
    queryid: String,
}

impl Expected<'_> {
    fn take(&self) -> Option<Page> {
        self.state.take_page(&self.queryid)
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.take();
    }
}

impl ArchiveSync {
    /// The next message that was not there before; `None` at the end. Cancel-safe: a page that was being sent is asked
    /// for again.
    ///
    /// # Errors
    /// See [`SyncError`]. Calling it once more goes on, if that can help.
    pub async fn next(&mut self) -> Option<Result<ArchivedMessage, SyncError>> {
        loop {
            while let Some(result) = self.ready.pop_front() {
                if let Some(message) = self.unpack(result) {
                    return Some(Ok(message));
                }
            }
            if self.ended {
                // From now on what comes live is next to what has been read.
                if std::mem::take(&mut self.complete) && self.archive.is_whole() {
                    self.archive.state.caught_up();
                }
                return None;
            }
            if let Err(error) = self.turn().await {
                self.ended = matches!(error, SyncError::Forgotten | SyncError::Broken);
                return Some(Err(error));
            }
        }
    }

    /// What a result says; `None` if that has been told before.
    fn unpack(&mut self, result: ArchiveResult) -> Option<ArchivedMessage> {
        let ArchiveResult { id, forwarded, .. } = result;
        let time = forwarded.delay.map(|delay| delay.stamp);
        let message = forwarded.stanza.and_then(|stanza| Message::from_stanza(stanza).ok());
        let state = &self.archive.state;
        let events = match &message {
            Some(message) if self.archive.of.is_none() => state.read_archived(message, &id),
            _ => Some(Vec::new()),
        };
        if self.archive.is_whole() {
            self.held = self.held || !state.synchronised(&id);
        }
        let mut events = events?;
        events.iter_mut().for_each(|event| event.time = event.time.or(time));
        Some(ArchivedMessage { id, time, message, events })
    }

    /// Fetches the next page.
    async fn turn(&mut self) -> Result<(), SyncError> {
        let rsm = ResultSet { after: self.after.clone(), ..ResultSet::default() };
        let (results, fin) = self.archive.ask(self.start.as_ref(), rsm, false).await?;
        if fin.complete {
            (self.ended, self.complete) = (true, true);
        } else {
            let last = fin.rsm.last.as_deref().filter(|last| Some(*last) != self.after.as_deref());
            if !last.is_some_and(|last| self.progress.is_made(last, results.len())) {
                return Err(SyncError::Broken);
            }
        }
        self.after = fin.rsm.last.or(self.after.take());
        self.ready = results.into();
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn xep0313_4_3_pages_that_come_round_again_or_bring_nothing_end_the_reading() {
        for cycle in 1..40 {
            let mut progress = Progress::default();
            let mut lasts = (0..10).chain((0..cycle).map(|n| n + 100).cycle()).map(|n| n.to_string());
            assert!(lasts.by_ref().take(500).any(|last| !progress.is_made(&last, 1)), "a cycle of {cycle} pages");
        }
        let mut progress = Progress::default();
        assert!((0..100_000).all(|n| progress.is_made(&n.to_string(), usize::from(n % 200 == 0))));
        let mut progress = Progress::default();
        let barren: Vec<bool> = (0..=BARREN).map(|n| progress.is_made(&n.to_string(), 0)).collect();
        assert_eq!(barren.iter().filter(|made| !**made).count(), 1);
    }
}
