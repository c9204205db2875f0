//! What a client knows of its chats.

use super::{ChatEvent, ChatEventKind, handle::Progress, reading::Reading, recent::Recent};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Semaphore, broadcast, watch};
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::archive::ArchiveResult,
};

type Allowed = Box<dyn Fn(&BareJid) -> bool + Send + Sync>;

/// How chats are kept.
pub struct ChatSettings {
    events: usize,
    remembered: usize,
    followed: usize,
    pub(super) carbons: bool,
    pub(super) states: bool,
    pub(super) confirm: Allowed,
}

impl std::fmt::Debug for ChatSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatSettings").field("events", &self.events).finish_non_exhaustive()
    }
}

impl Default for ChatSettings {
    fn default() -> Self {
        let confirm: Allowed = Box::new(|_| false);
        ChatSettings { events: 256, remembered: 8192, followed: 1024, carbons: true, states: true, confirm }
    }
}

impl ChatSettings {
    /// So many events wait for the application, 256 unless set; what is older is lost to [`ChatEvents`], which says so.
    pub fn events(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    /// So many messages are remembered, 8192 unless set, to know who may change them, and to tell what comes twice.
    pub fn remembered(mut self, messages: usize) -> Self {
        self.remembered = messages;
        self
    }

    /// So many sent messages are followed at a time, 1024 unless set.
    pub fn followed(mut self, messages: usize) -> Self {
        self.followed = messages;
        self
    }

    /// Copies of what other clients of the account do are not asked for (XEP-0280).
    pub fn without_carbons(mut self) -> Self {
        self.carbons = false;
        self
    }

    /// Nobody learns that we are writing (XEP-0085).
    pub fn without_states(mut self) -> Self {
        self.states = false;
        self
    }

    /// Who is told, when asking for it, that a message has arrived (XEP-0184). It says that we are online, so that it
    /// is nobody unless said otherwise; those who see our presence are a good choice.
    pub fn confirm_to(mut self, allowed: impl Fn(&BareJid) -> bool + Send + Sync + 'static) -> Self {
        self.confirm = Box::new(allowed);
        self
    }
}

/// A page of an archive that is being sent.
#[derive(Debug)]
pub(crate) struct Page {
    /// Whose archive; `None` is our own.
    pub(crate) archive: Option<Jid>,
    pub(crate) most: usize,
    pub(crate) results: Vec<ArchiveResult>,
    /// There were more than were asked for.
    pub(crate) overflowed: bool,
}

/// What is known of a contact's client (XEP-0085 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Understands {
    #[default]
    Unknown,
    Yes,
    No,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(super) settings: ChatSettings,
    pub(super) known: Mutex<Known>,
    /// Confirmations on their way.
    pub(super) confirmations: Arc<Semaphore>,
    /// Nobody but readers of archives uses it.
    archives_only: bool,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) own: Option<BareJid>,
    pub(super) reading: Reading,
    pub(super) sent: Recent<watch::Sender<Progress>>,
    /// Of whom it is known whether they care for states, and what they were told last.
    pub(super) states: Recent<(Understands, Option<xmpp_core::payload::chat_state::ChatState>)>,
    pub(super) pages: HashMap<String, Page>,
    pub(super) events: Option<broadcast::Sender<ChatEvent>>,
    first: Option<broadcast::Receiver<ChatEvent>>,
    caught_up: bool,
    position: Option<String>,
}

impl State {
    pub(super) fn new(settings: ChatSettings) -> State {
        // No channel takes more than this.
        let (events, first) = broadcast::channel(settings.events.clamp(1, 1 << 20));
        let known = Known {
            own: None,
            reading: Reading::new(settings.remembered),
            sent: Recent::new(settings.followed),
            states: Recent::new(settings.followed),
            pages: HashMap::new(),
            events: Some(events),
            first: Some(first),
            caught_up: false,
            position: None,
        };
        State { settings, known: Mutex::new(known), confirmations: Arc::new(Semaphore::new(64)), archives_only: false }
    }

    /// For a client that reads archives, and has no chats.
    pub(crate) fn for_archives() -> State {
        State { archives_only: true, ..State::new(ChatSettings::default().events(1).remembered(1)) }
    }

    /// That of a client with chats.
    pub(super) fn of_chats(client: &xmpp_core::client::Client) -> Option<Arc<State>> {
        client.part::<State>().filter(|state| !state.archives_only)
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn session_begins(&self, own: BareJid) {
        let mut known = self.known();
        known.own = Some(own);
        known.caught_up = false;
    }

    /// A message is being sent: what becomes of it.
    pub(super) fn follow(&self, chat: &BareJid, id: &str) -> watch::Receiver<Progress> {
        let (sender, progress) = watch::channel(Progress::Sent);
        let known = &mut *self.known();
        if let Some(own) = &known.own {
            known.reading.sent(chat.as_str(), own.as_str(), id);
        }
        if let Some(key) = known.reading.key(chat.as_str(), id) {
            known.sent.add(key, sender);
        }
        progress
    }

    /// The client has ended.
    pub(super) fn ends(&self) {
        let mut known = self.known();
        known.events = None;
        known.sent.clear();
    }

    pub(super) fn events(self: &Arc<Self>) -> ChatEvents {
        let mut known = self.known();
        let first = known.first.take();
        let receiver = first.or_else(|| known.events.as_ref().map(broadcast::Sender::subscribe));
        ChatEvents { receiver, state: Arc::clone(self), missed: 0 }
    }

    /// A page of an archive is asked for.
    pub(crate) fn expect_page(&self, queryid: &str, page: Page) {
        self.known().pages.insert(queryid.to_owned(), page);
    }

    /// What has come of it.
    pub(crate) fn take_page(&self, queryid: &str) -> Option<Page> {
        self.known().pages.remove(queryid)
    }

    /// Reads what was in the archive; `None` if that has been told before.
    pub(crate) fn read_archived(&self, message: &xmpp_core::stanza::Message, id: &str) -> Option<Vec<ChatEvent>> {
        let known = &mut *self.known();
        let Some(own) = &known.own else { return Some(Vec::new()) };
        let events = known.reading.read(own, message, super::Source::Archive, Some(id.to_owned()))?;
        events.iter().for_each(|event| known.note(event));
        Some(events)
    }

    /// For reading the archive backwards, apart from what is told of it otherwise.
    pub(crate) fn history(&self) -> History {
        History { own: self.known().own.clone(), reading: Reading::new(self.settings.remembered) }
    }

    /// The archive has been handed to the application up to here. `false` if this was told as an event that still waits
    /// to be taken: then it has not.
    pub(crate) fn synchronised(&self, id: &str) -> bool {
        let mut known = self.known();
        let handed = !known.reading.is_waiting(id);
        if handed {
            known.position = Some(id.to_owned());
        }
        handed
    }

    /// There was nothing more in the archive.
    pub(crate) fn caught_up(&self) {
        self.known().caught_up = true;
    }

    pub(crate) fn position(&self) -> Option<String> {
        self.known().position.clone()
    }
}

/// What messages of the archive mean to who reads it backwards.
#[derive(Debug)]
pub(crate) struct History {
    own: Option<BareJid>,
    reading: Reading,
}

impl History {
    pub(crate) fn read(&mut self, message: &xmpp_core::stanza::Message, id: &str) -> Vec<ChatEvent> {
        let Some(own) = &self.own else { return Vec::new() };
        self.reading.read(own, message, super::Source::Archive, Some(id.to_owned())).unwrap_or_default()
    }
}

impl Known {
    /// Tells those who follow a message.
    fn note(&mut self, event: &ChatEvent) {
        let (id, progress) = match &event.kind {
            ChatEventKind::Delivered { id } => (id, Progress::Delivered),
            ChatEventKind::Displayed { id } => (id, Progress::Displayed),
            ChatEventKind::Failed { id, error } => (id, Progress::Failed(error.condition.clone())),
            _ => return,
        };
        if !event.is_mine
            && let Some(key) = self.reading.key(event.chat.as_str(), id)
            && let Some(sent) = self.sent.get_mut(key)
        {
            sent.send_if_modified(|now| progress.replaces(now).then(|| *now = progress).is_some());
        }
    }

    /// Tells all who listen, too.
    pub(super) fn tell(&mut self, event: ChatEvent) {
        self.note(&event);
        if let Some(events) = &self.events {
            // Nobody may listen.
            let _ = events.send(event);
        }
    }
}

/// What happens in chats, in order.
#[derive(Debug)]
pub struct ChatEvents {
    receiver: Option<broadcast::Receiver<ChatEvent>>,
    state: Arc<State>,
    missed: u64,
}

impl ChatEvents {
    /// The next event; `None` when the client has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<ChatEvent> {
        loop {
            match self.receiver.as_mut()?.recv().await {
                Ok(event) => {
                    let mut known = self.state.known();
                    if let Some(id) = &event.archive_id {
                        known.reading.taken(id);
                        if known.caught_up {
                            known.position = Some(id.clone());
                        }
                    }
                    return Some(event);
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    self.missed = self.missed.saturating_add(missed);
                    let mut known = self.state.known();
                    known.caught_up = false;
                    known.reading.forget_archive();
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// How many events were lost because they were not taken in time. The archive has what they told of, from the last
    /// [position](crate::archive::Archive::position) on; read again, it may tell some things twice.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}
