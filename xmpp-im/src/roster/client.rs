//! A client's roster: fetched at the start of each session, kept true by pushes (RFC 6121 §2), and the subscriptions that
//! it asks for and gives (§3).

use super::{
    Item, NS, PRE_APPROVAL, RosterQuery, VERSIONS,
    cache::{Cache, RosterChange, SavedRoster},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{broadcast, watch};
use xmpp_core::{
    client::{Client, ClientRegistrar, RequestError, SendError, SessionStart},
    extension::{IqContext, Target},
    jid::{BareJid, Jid},
    payload::Payload as _,
    stanza::{Iq, Presence, StanzaError},
};

/// The most contacts that a client keeps.
const CONTACTS: usize = 20_000;
/// So many changes wait for a slow listener before it is told [`RosterChange::Whole`] instead.
const CHANGES: usize = 256;

/// Why a roster was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RosterError {
    /// The contact is not in the roster as this client knows it.
    #[error("{0} is not in the roster")]
    Unknown(BareJid),
    /// The server does not know of approval in advance (RFC 6121 §3.4).
    #[error("the server does not take approvals in advance")]
    NoPreApproval,
    /// The link does not invite to become a contact, or there is no roster to put one in.
    #[error("this is no invitation to become a contact")]
    NoInvitation,
    /// The server was not asked, did not answer, or refused.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl From<SendError> for RosterError {
    fn from(error: SendError) -> RosterError {
        RosterError::Request(error.into())
    }
}

/// How far the roster of this session is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetch {
    Waiting,
    Done,
    Failed,
}

/// What the handles share.
#[derive(Debug)]
pub(crate) struct Part {
    cache: Mutex<Cache>,
    own: Mutex<Option<BareJid>>,
    /// Counts sessions: an answer in an old one is of no use.
    session: Mutex<Session>,
    fetch: watch::Sender<Fetch>,
    changes: broadcast::Sender<RosterChange>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Session {
    number: u64,
    versions: bool,
    pre_approval: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the client's roster. [`ClientExt::roster`](crate::ClientExt::roster) gives the handle.
pub fn client(registrar: &mut ClientRegistrar) {
    restored(SavedRoster::default())(registrar);
}

/// As [`client()`], and begins with what was [saved](ClientRoster::save), so that the first session is told of changes alone.
///
/// ```
/// use xmpp_core::client::Client;
/// use xmpp_im::roster::{self, SavedRoster};
///
/// # fn load() -> SavedRoster { SavedRoster::default() }
/// let builder = Client::builder("juliet@example.org".parse()?, "secret").with(roster::restored(load()));
/// # Ok::<(), xmpp_core::jid::JidError>(())
/// ```
pub fn restored(saved: SavedRoster) -> impl FnOnce(&mut ClientRegistrar) {
    move |r| {
        let part = Arc::new(Part {
            cache: Mutex::new(Cache::new(saved, CONTACTS)),
            own: Mutex::new(None),
            session: Mutex::default(),
            fetch: watch::Sender::new(Fetch::Waiting),
            changes: broadcast::Sender::new(CHANGES),
        });
        r.provide(Arc::clone(&part));
        let pushed = Arc::clone(&part);
        r.iq_set::<RosterQuery, _>(Target::Client, move |cx, push| pushed.push(&cx, push));
        r.on_session(move |start, client| begin(&part, start, client));
    }
}

fn begin(part: &Arc<Part>, start: &SessionStart<'_>, client: &Client) {
    if start.resumed {
        return;
    }
    *lock(&part.own) = Some(start.jid.to_bare());
    {
        let mut session = lock(&part.session);
        session.number += 1;
        session.versions = start.features.has("ver", VERSIONS);
        session.pre_approval = start.features.has("sub", PRE_APPROVAL);
    }
    part.fetch.send_replace(Fetch::Waiting);
    let (part, client) = (Arc::clone(part), client.clone());
    tokio::spawn(async move {
        if let Err(error) = part.fetch(&client).await {
            tracing::debug!(%error, "the roster was not fetched");
        }
    });
}

impl Part {
    /// Only the own account changes the roster: what anybody else says of it is none of a push, and answered as what
    /// nobody handles (RFC 6121 §2.1.6).
    fn push(&self, cx: &IqContext, push: RosterQuery) -> Result<(), StanzaError> {
        let own = lock(&self.own).clone();
        let is_own = |from: &Jid| own.as_ref().is_some_and(|own| own == from);
        if !cx.from.as_ref().is_none_or(is_own) {
            tracing::warn!(from = ?cx.from, "a forged roster push");
            return Err(StanzaError::service_unavailable());
        }
        if let Some(change) = lock(&self.cache).pushed(push)? {
            let _ = self.changes.send(change);
        }
        Ok(())
    }

    /// Asks the server for the roster, or for what is new in it (§2.2, §2.6).
    async fn fetch(&self, client: &Client) -> Result<(), RequestError> {
        let session = *lock(&self.session);
        let question = lock(&self.cache).ask(session.versions);
        let answer = client.request(Iq::get_own().payload(&question)).await;
        let answer = answer.and_then(|answer| match answer.payload_element() {
            Some(query) => Ok(Some(RosterQuery::read(query)?)),
            None => Ok(None),
        });
        if lock(&self.session).number != session.number {
            return Ok(());
        }
        match answer {
            Ok(answer) => {
                let whole = answer.is_some();
                lock(&self.cache).fetched(answer);
                self.fetch.send_replace(Fetch::Done);
                if whole {
                    let _ = self.changes.send(RosterChange::Whole);
                }
                Ok(())
            }
            Err(error) => {
                lock(&self.cache).failed();
                self.fetch.send_replace(Fetch::Failed);
                Err(error)
            }
        }
    }

    /// Resolves when the roster of this session was fetched, or could not be. Whether it was.
    pub(crate) async fn settled(&self) -> bool {
        let mut fetch = self.fetch.subscribe();
        fetch.wait_for(|fetch| *fetch != Fetch::Waiting).await.is_ok_and(|fetch| *fetch == Fetch::Done)
    }

    /// Whether the address is in the roster, or our own.
    pub(crate) fn knows(&self, contact: &BareJid) -> bool {
        lock(&self.own).as_ref() == Some(contact) || lock(&self.cache).get(contact).is_some()
    }
}

/// The client's roster. Cheap to clone.
///
/// ```no_run
/// use xmpp_core::client::Client;
/// use xmpp_im::{ClientExt, roster};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let (client, events) = Client::builder("juliet@example.org".parse()?, "secret").with(roster::client).connect()?;
/// let roster = client.roster().ok_or("built without a roster")?;
/// roster.ready().await;
/// for contact in roster.items() {
///     println!("{} {}", contact.jid, contact.name.unwrap_or_default());
/// }
/// let romeo = "romeo@example.net".parse::<xmpp_core::jid::BareJid>()?;
/// roster.add(&romeo, Some("Romeo"), ["Friends"]).await?;
/// roster.subscribe(&romeo).await?;
/// # drop(events);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ClientRoster {
    client: Client,
    part: Arc<Part>,
}

impl ClientRoster {
    pub(crate) fn of(client: &Client) -> Option<ClientRoster> {
        Some(ClientRoster { client: client.clone(), part: client.part::<Part>()? })
    }

    /// Resolves when the roster of this session was fetched, or could not be: whether it was. Cancel-safe.
    pub async fn ready(&self) -> bool {
        self.part.settled().await
    }

    /// The contacts as they are known, by address: from the last session too, until this one's are fetched.
    pub fn items(&self) -> Vec<Item> {
        lock(&self.part.cache).items().cloned().collect()
    }

    /// A contact, as it is known.
    pub fn get(&self, contact: &BareJid) -> Option<Item> {
        lock(&self.part.cache).get(contact).cloned()
    }

    /// The changes from now on.
    pub fn watch(&self) -> RosterChanges {
        RosterChanges { receiver: self.part.changes.subscribe() }
    }

    /// What to give to [`restored`] another time.
    pub fn save(&self) -> SavedRoster {
        lock(&self.part.cache).save()
    }

    /// Fetches the roster again, which is only of use when it could not be fetched. Cancel-safe.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn refresh(&self) -> Result<(), RequestError> {
        self.part.fetch(&self.client).await
    }

    /// Adds a contact, or gives it this name and these groups (RFC 6121 §2.3, §2.4). It returns when the server has
    /// stored it; what is known here changes with the push that the server sends. Subscriptions stay as they are.
    ///
    /// # Errors
    /// [`RosterError::Request`]; the server refuses names that are too long, for example.
    pub async fn add<G: Into<String>>(
        &self,
        contact: &BareJid,
        name: Option<&str>,
        groups: impl IntoIterator<Item = G>,
    ) -> Result<(), RosterError> {
        let groups = groups.into_iter().map(Into::into).collect();
        self.set(Item { name: name.map(str::to_owned), groups, ..Item::new(contact) }).await
    }

    /// Gives a contact another name, or none.
    ///
    /// # Errors
    /// [`RosterError::Unknown`], and as [`add`](Self::add).
    pub async fn rename(&self, contact: &BareJid, name: Option<&str>) -> Result<(), RosterError> {
        let known = self.known(contact)?;
        self.set(Item { name: name.map(str::to_owned), groups: known.groups, ..Item::new(contact) }).await
    }

    /// Puts a contact into these groups, and into no others.
    ///
    /// # Errors
    /// As [`rename`](Self::rename).
    pub async fn set_groups<G: Into<String>>(
        &self,
        contact: &BareJid,
        groups: impl IntoIterator<Item = G>,
    ) -> Result<(), RosterError> {
        let known = self.known(contact)?;
        let groups = groups.into_iter().map(Into::into).collect();
        self.set(Item { name: known.name, groups, ..Item::new(contact) }).await
    }

    /// Removes a contact; the subscriptions end with it (§2.5).
    ///
    /// # Errors
    /// [`RosterError::Request`]; `item-not-found` where the server does not know the contact.
    pub async fn remove(&self, contact: &BareJid) -> Result<(), RosterError> {
        self.set(Item::removed(contact)).await
    }

    /// Asks to see the contact's presence (§3.1).
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn subscribe(&self, contact: &BareJid) -> Result<(), RosterError> {
        Ok(self.client.send(Presence::subscribe(contact)).await?)
    }

    /// Does not want to see the contact's presence any more (§3.3).
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn unsubscribe(&self, contact: &BareJid) -> Result<(), RosterError> {
        Ok(self.client.send(Presence::unsubscribe(contact)).await?)
    }

    /// Lets a contact who has asked see our presence (§3.1.4).
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn approve(&self, contact: &BareJid) -> Result<(), RosterError> {
        if let Some(presence) = self.client.part::<crate::presence::client::Part>() {
            presence.answered(contact);
        }
        Ok(self.client.send(Presence::subscribed(contact)).await?)
    }

    /// Does not let a contact who has asked see our presence (§3.1.4).
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn deny(&self, contact: &BareJid) -> Result<(), RosterError> {
        if let Some(presence) = self.client.part::<crate::presence::client::Part>() {
            presence.answered(contact);
        }
        Ok(self.client.send(Presence::unsubscribed(contact)).await?)
    }

    /// Lets a contact no longer see our presence, or takes an approval in advance back (§3.2).
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn cancel(&self, contact: &BareJid) -> Result<(), RosterError> {
        self.deny(contact).await
    }

    /// Lets a contact see our presence who has not asked yet (§3.4).
    ///
    /// # Errors
    /// [`RosterError::NoPreApproval`], and as [`Client::send`].
    pub async fn pre_approve(&self, contact: &BareJid) -> Result<(), RosterError> {
        if !lock(&self.part.session).pre_approval {
            return Err(RosterError::NoPreApproval);
        }
        Ok(self.client.send(Presence::subscribed(contact)).await?)
    }

    fn known(&self, contact: &BareJid) -> Result<Item, RosterError> {
        self.get(contact).ok_or_else(|| RosterError::Unknown(contact.clone()))
    }

    async fn set(&self, item: Item) -> Result<(), RosterError> {
        let query = |out: &mut xmpp_core::xml::Writer| {
            out.open("query", NS);
            item.write_request(out);
            out.close();
        };
        self.client.request(Iq::set_own().content(query)).await?;
        Ok(())
    }
}

/// The changes of a roster, in order. See [`ClientRoster::watch`].
#[derive(Debug)]
pub struct RosterChanges {
    receiver: broadcast::Receiver<RosterChange>,
}

impl RosterChanges {
    /// The next change; `None` when the client is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<RosterChange> {
        match self.receiver.recv().await {
            Ok(change) => Some(change),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(RosterChange::Whole),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
