//! Reading archives (XEP-0313 §4): page by page, without what was there before, and without what others slip in.

use crate::chat::{ChatEvent, Page, State};
use std::{collections::VecDeque, sync::Arc};
use xmpp_core::{
    client::{Client, ClientRegistrar, Flow, RequestError},
    jid::{BareJid, Jid},
    payload::{
        DateTime, TextValue,
        archive::{ArchiveFin, ArchiveQuery, ArchiveResult, NS},
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
    of: Option<Jid>,
    with: Option<Jid>,
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
        Archive { client, state, of: None, with: None, page: 50 }
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

    /// So many messages a page, 50 unless set. Servers may send fewer.
    pub fn page(mut self, messages: u32) -> Self {
        self.page = messages.clamp(1, 1000);
        self
    }

    /// Up to where our own archive has been handed to the application, by [`sync`](Self::sync) and, once that has come
    /// to the end, as [events](crate::chat::ChatEvents). Saved after all that has been stored, and given to `sync` by
    /// the next run or the next session, nothing is lost; what comes twice to the same process is told once.
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
        ArchiveSync { archive: self.clone(), start, after, ready: VecDeque::new(), ended: false, complete: false }
    }

    /// Whether it is all that the account has.
    fn is_whole(&self) -> bool {
        self.of.is_none() && self.with.is_none()
    }
}

/// An archive being read.
#[derive(Debug)]
pub struct ArchiveSync {
    archive: Archive,
    start: Option<DateTime>,
    after: Option<String>,
    ready: VecDeque<ArchiveResult>,
    ended: bool,
    /// The archive has said that this is all.
    complete: bool,
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
        if self.archive.is_whole() {
            state.synchronised(&id);
        }
        let events = match &message {
            Some(message) if self.archive.of.is_none() => {
                let mut events = state.read_archived(message, &id)?;
                events.iter_mut().for_each(|event| event.time = event.time.or(time));
                events
            }
            _ => Vec::new(),
        };
        Some(ArchivedMessage { id, time, message, events })
    }

    /// Fetches the next page.
    async fn turn(&mut self) -> Result<(), SyncError> {
        let archive = &self.archive;
        let queryid = generate_id();
        let most = usize::try_from(archive.page).unwrap_or(usize::MAX);
        let page = Page { archive: archive.of.clone(), most, results: Vec::new(), overflowed: false };
        archive.state.expect_page(&queryid, page);
        let expected = Expected { state: &archive.state, queryid: queryid.clone() };
        let rsm = ResultSet { max: Some(archive.page), after: self.after.clone(), ..ResultSet::default() };
        let query =
            ArchiveQuery { queryid: Some(queryid), form: self.form(), rsm: Some(rsm), ..ArchiveQuery::default() };
        let request = match &archive.of {
            Some(jid) => Iq::set(jid.clone()),
            None => Iq::set_own(),
        };
        let fin = archive.client.query::<ArchiveFin>(request.payload(&query)).await.map_err(|error| match error {
            RequestError::Refused(error) if error.condition == Condition::ItemNotFound => SyncError::Forgotten,
            error => SyncError::Request(error),
        })?;
        let page = expected.take().ok_or(SyncError::Broken)?;
        if page.overflowed {
            return Err(SyncError::Broken);
        }
        if fin.complete {
            (self.ended, self.complete) = (true, true);
        } else if fin.rsm.last.is_none() || fin.rsm.last == self.after {
            return Err(SyncError::Broken);
        }
        self.after = fin.rsm.last.or(self.after.take());
        self.ready = page.results.into();
        Ok(())
    }

    /// The filter (§4.1).
    fn form(&self) -> Option<DataForm> {
        if self.start.is_none() && self.archive.with.is_none() {
            return None;
        }
        let mut form = DataForm::typed(FormKind::Submit, NS);
        if let Some(with) = &self.archive.with {
            form = form.with(Field::new("with").value(with.as_str()));
        }
        // A page after a message says all about time that is left to say.
        if let Some(start) = &self.start {
            form = form.with(Field::new("start").value(start.to_text()));
        }
        Some(form)
    }
}
