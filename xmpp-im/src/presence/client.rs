//! A client's presence: its own, sent anew in each session, that of its contacts, and requests to see it (RFC 6121 §3,
//! §4).

use super::contacts::{Available, Contacts};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::broadcast;
use xmpp_core::{
    client::{Client, ClientRegistrar, Flow, SendError, SessionStart},
    jid::{BareJid, FullJid},
    stanza::{AnyStanza, Presence, PresenceBuilder, PresenceType, Show},
};

/// So many events wait for a slow listener before the oldest are lost to it.
const EVENTS: usize = 512;
/// The most requests that are remembered until they are answered.
const REQUESTS: usize = 256;
/// The most bytes that are kept of what a request says.
const REASON: usize = 1_024;
/// Marks presence of a room's occupants (XEP-0045 §7.2), who are no contacts.
const OCCUPANT: &str = "http://jabber.org/protocol/muc#user";

/// What a client says of its availability.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPresence {
    /// How available; `None` is plainly available.
    pub show: Option<Show>,
    /// In words.
    pub status: Option<String>,
    /// The priority of this resource (RFC 6121 §4.7.2.3); messages to the account go to none below 0.
    pub priority: i8,
}

impl OwnPresence {
    fn build(&self) -> PresenceBuilder {
        let mut presence = Presence::available();
        if let Some(show) = self.show {
            presence = presence.show(show);
        }
        if let Some(status) = &self.status {
            presence = presence.status(status);
        }
        if self.priority == 0 { presence } else { presence.priority(self.priority) }
    }
}

/// Somebody asks to see our presence (RFC 6121 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionRequest {
    /// Who asks.
    pub from: BareJid,
    /// What they say to it, at most 1,024 bytes of it.
    pub reason: Option<String>,
}

/// Something that was heard of others' presence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceEvent {
    /// A resource is available, or says something else of itself.
    Available(Available),
    /// A resource is gone.
    Unavailable(FullJid),
    /// An address cannot be reached.
    Unreachable(BareJid),
    /// Somebody asks to see our presence: see [`ClientPresence::accept`] and [`ClientPresence::deny`].
    Request(SubscriptionRequest),
    /// Somebody lets us see their presence (§3.1.6).
    Subscribed(BareJid),
    /// Somebody does not let us see their presence, or no longer (§3.2.3).
    Unsubscribed(BareJid),
    /// Somebody does not want to see our presence any more (§3.3.3).
    Left(BareJid),
    /// The listener was too slow, and so many events are lost to it.
    Missed(u64),
}

/// What the handles share.
#[derive(Debug)]
pub(crate) struct Part {
    state: Mutex<State>,
    events: broadcast::Sender<PresenceEvent>,
}

#[derive(Debug, Default)]
struct State {
    own: Option<OwnPresence>,
    contacts: Contacts,
    requests: BTreeMap<BareJid, SubscriptionRequest>,
}

/// Keeps the client's presence and that of its contacts. [`ClientExt::presence`](crate::ClientExt::presence) gives the
/// handle. Where there is a [roster](crate::roster::client) too, name it first: it is fetched before the first presence is
/// sent (RFC 6121 §2.2).
pub fn client(r: &mut ClientRegistrar) {
    let part = Arc::new(Part { state: Mutex::default(), events: broadcast::Sender::new(EVENTS) });
    r.provide(Arc::clone(&part));
    let heard = Arc::clone(&part);
    r.incoming(move |stanza, client| {
        if let AnyStanza::Presence(presence) = stanza {
            heard.hear(presence, client);
        }
        Flow::Continue
    });
    r.on_session(move |start, client| begin(&part, start, client));
}

/// A new session begins with nobody known and nothing said.
fn begin(part: &Arc<Part>, start: &SessionStart<'_>, client: &Client) {
    if start.resumed {
        return;
    }
    let mut state = part.lock();
    state.contacts.clear();
    state.requests.clear();
    if state.own.is_none() {
        return;
    }
    drop(state);
    let (part, client, session) = (Arc::clone(part), client.clone(), start.jid.clone());
    tokio::spawn(async move {
        if let Some(roster) = client.part::<crate::roster::client::Part>() {
            roster.settled().await;
        }
        // What was set meanwhile has been sent, and sending it twice does no harm; in another session it is sent anew.
        let own = part.lock().own.clone();
        if let Some(own) = own.filter(|_| client.jid().as_ref() == Some(&session)) {
            let _ = client.send(own.build()).await;
        }
    });
}

impl Part {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is answered.
    pub(crate) fn answered(&self, contact: &BareJid) {
        self.lock().requests.remove(contact);
    }

    fn hear(&self, presence: &Presence, client: &Client) {
        let Some(from) = presence.from() else { return };
        if let Some(event) = self.event(presence, from.to_bare(), from.clone().into_full().ok(), client) {
            let _ = self.events.send(event);
        }
    }

    fn event(
        &self,
        presence: &Presence,
        bare: BareJid,
        full: Option<FullJid>,
        client: &Client,
    ) -> Option<PresenceEvent> {
        match presence.type_() {
            PresenceType::Available | PresenceType::Unavailable => {
                if presence.stanza().root().child("x", OCCUPANT).is_some() {
                    return None;
                }
                self.availability(presence, bare, full?, client)
            }
            PresenceType::Error => self.lock().contacts.forget(&bare).then_some(PresenceEvent::Unreachable(bare)),
            PresenceType::Subscribe => self.request(presence, bare).map(PresenceEvent::Request),
            PresenceType::Subscribed => Some(PresenceEvent::Subscribed(bare)),
            PresenceType::Unsubscribed => Some(PresenceEvent::Unsubscribed(bare)),
            PresenceType::Unsubscribe => {
                self.answered(&bare);
                Some(PresenceEvent::Left(bare))
            }
            PresenceType::Probe | PresenceType::Other => None,
        }
    }

    fn availability(
        &self,
        presence: &Presence,
        bare: BareJid,
        full: FullJid,
        client: &Client,
    ) -> Option<PresenceEvent> {
        // Without a roster everybody is a stranger, and those are bounded.
        let known = client.part::<crate::roster::client::Part>().is_some_and(|roster| roster.knows(&bare));
        let mut state = self.lock();
        if !state.contacts.hear(full.clone(), presence, known) {
            return None;
        }
        match presence.type_() {
            PresenceType::Available => state.contacts.of(&bare).last().cloned().map(PresenceEvent::Available),
            _ => Some(PresenceEvent::Unavailable(full)),
        }
    }

    /// A request; it comes once, however often the server repeats it (RFC 6121 §3.1.3). Those beyond the limit come again
    /// in the next session, because the server keeps them.
    fn request(&self, presence: &Presence, from: BareJid) -> Option<SubscriptionRequest> {
        let mut state = self.lock();
        if state.requests.len() >= REQUESTS || state.requests.contains_key(&from) {
            return None;
        }
        let reason = presence.status().map(|text| text.chars().scan(0, within).collect());
        let request = SubscriptionRequest { from: from.clone(), reason };
        state.requests.insert(from, request.clone());
        Some(request)
    }
}

/// Lets characters pass while there is room for them.
fn within(used: &mut usize, c: char) -> Option<char> {
    *used += c.len_utf8();
    (*used <= REASON).then_some(c)
}

/// The client's presence, and what it knows of others'. Cheap to clone.
///
/// ```no_run
/// use xmpp_core::client::Client;
/// use xmpp_im::{ClientExt, presence::{self, OwnPresence, PresenceEvent}, roster};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let builder = Client::builder("juliet@example.org".parse()?, "secret");
/// let (client, events) = builder.with(roster::client).with(presence::client).connect()?;
/// let presence = client.presence().ok_or("built without presence")?;
/// let mut news = presence.watch();
/// presence.set(OwnPresence { status: Some("on the balcony".into()), ..OwnPresence::default() }).await?;
/// while let Some(event) = news.next().await {
///     if let PresenceEvent::Request(request) = event {
///         presence.accept(&request.from).await?;
///     }
/// }
/// # drop(events);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ClientPresence {
    client: Client,
    part: Arc<Part>,
}

impl ClientPresence {
    pub(crate) fn of(client: &Client) -> Option<ClientPresence> {
        Some(ClientPresence { client: client.clone(), part: client.part::<Part>()? })
    }

    /// Says this to all who may hear it, now if there is a session, and at the start of each session to come.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn set(&self, presence: OwnPresence) -> Result<(), SendError> {
        let stanza = presence.build();
        self.part.lock().own = Some(presence);
        // Without a session the next one says it.
        if self.client.jid().is_some() { self.client.send(stanza).await } else { Ok(()) }
    }

    /// Says that we are not available, with a word to it, and says nothing in sessions to come.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn unset(&self, status: Option<&str>) -> Result<(), SendError> {
        self.part.lock().own = None;
        if self.client.jid().is_none() {
            return Ok(());
        }
        let presence = Presence::unavailable();
        self.client.send(status.into_iter().fold(presence, |presence, status| presence.status(status))).await
    }

    /// What we say of ourselves; `None` if nothing.
    pub fn own(&self) -> Option<OwnPresence> {
        self.part.lock().own.clone()
    }

    /// Says again what we say of ourselves: for extensions that have something new to add to it.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn announce(&self) -> Result<(), SendError> {
        match self.own() {
            Some(own) => self.set(own).await,
            None => Ok(()),
        }
    }

    /// The contact's resources that are available, the one that spoke last at the end. What was heard in the last session
    /// is forgotten when the next one begins.
    pub fn resources(&self, contact: &BareJid) -> Vec<Available> {
        self.part.lock().contacts.of(contact).to_vec()
    }

    /// The contact's resource to talk to: that of the highest priority, then the most available, then the one that spoke
    /// last. `None` if there is none.
    pub fn best(&self, contact: &BareJid) -> Option<Available> {
        self.part.lock().contacts.best(contact).cloned()
    }

    /// Who has asked to see our presence in this session, and is not answered yet.
    pub fn requests(&self) -> Vec<SubscriptionRequest> {
        self.part.lock().requests.values().cloned().collect()
    }

    /// Lets somebody who has asked see our presence (RFC 6121 §3.1.4).
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn accept(&self, contact: &BareJid) -> Result<(), SendError> {
        self.part.answered(contact);
        self.client.send(Presence::subscribed(contact)).await
    }

    /// Does not let somebody see our presence (§3.1.4).
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn deny(&self, contact: &BareJid) -> Result<(), SendError> {
        self.part.answered(contact);
        self.client.send(Presence::unsubscribed(contact)).await
    }

    /// What is heard from now on.
    pub fn watch(&self) -> PresenceEvents {
        PresenceEvents { receiver: self.part.events.subscribe() }
    }
}

/// What is heard of others' presence, in order. See [`ClientPresence::watch`].
#[derive(Debug)]
pub struct PresenceEvents {
    receiver: broadcast::Receiver<PresenceEvent>,
}

impl PresenceEvents {
    /// The next event; `None` when the client is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<PresenceEvent> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(PresenceEvent::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
