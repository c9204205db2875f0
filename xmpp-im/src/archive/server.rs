//! The stations that archive, and what they are set to.

use super::{
    ArchiveId, ArchiveStore, NewEntry, Preferences, answer, is_worth_archiving,
    keeping::Keeping,
    rules::{claims, is_address},
    strip_ids,
};
use crate::{StorageError, roster::RosterStore};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};
use xmpp_core::{
    BoxFuture,
    jid::{BareJid, Jid},
    payload::{DateTime, Payload, archive::ArchiveDefault, delay::Delay, stanza_id::StanzaId},
    server::{Decision, Envelope, Kinds, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::{MessageType, StanzaError},
    xml::{ElementRef, Stanza, ns},
};

/// Whether an address is in an account's roster: what the preference `roster` asks.
pub type Contacts = Arc<dyn Fn(&BareJid, &BareJid) -> BoxFuture<'static, Result<bool, StorageError>> + Send + Sync>;

/// The contacts of rosters that are kept here.
pub fn in_roster(rosters: Arc<dyn RosterStore>) -> Contacts {
    Arc::new(move |user, contact| {
        let (rosters, user, contact) = (Arc::clone(&rosters), user.clone(), contact.clone());
        Box::pin(async move { Ok(rosters.record(&user, &contact).await?.item.is_some()) })
    })
}

/// What archives are like.
#[derive(Clone)]
pub struct ArchiveSettings {
    /// What is archived of accounts that have said nothing about it.
    pub default: ArchiveDefault,
    /// Who is in whose roster. Without it nobody is, and accounts cannot choose `roster`.
    pub contacts: Option<Contacts>,
    /// The size of a page, in messages, where a query names none.
    pub page: usize,
    /// The largest page, in messages.
    pub max_page: usize,
    /// The largest page, in bytes of messages; it holds one message at least. It should be small beside
    /// [`Limits::outbox_bytes`](xmpp_core::server::Limits::outbox_bytes).
    pub page_bytes: usize,
    /// Addresses in an account's preferences.
    pub preferences: usize,
    /// How long messages are kept; for ever if `None`.
    pub keep: Option<Duration>,
    /// How many messages of an account are kept, a sixteenth more or less; all if `None`.
    pub keep_messages: Option<u64>,
}

impl Default for ArchiveSettings {
    /// Everything is archived and kept. Pages of 50 messages, at most 250 and 256 KiB; 500 addresses.
    fn default() -> ArchiveSettings {
        ArchiveSettings {
            default: ArchiveDefault::Always,
            contacts: None,
            page: 50,
            max_page: 250,
            page_bytes: 256 * 1024,
            preferences: 500,
            keep: None,
            keep_messages: None,
        }
    }
}

impl fmt::Debug for ArchiveSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ArchiveSettings");
        out.field("default", &self.default).field("max_page", &self.max_page).field("keep", &self.keep);
        out.finish_non_exhaustive()
    }
}

/// Accounts whose preferences are remembered.
const REMEMBERED: usize = 10_000;

/// The archives of a server.
pub(super) struct Archives {
    pub(super) store: Arc<dyn ArchiveStore>,
    pub(super) settings: ArchiveSettings,
    /// So that not every message asks the store. `None` is an account that has said nothing.
    preferences: Mutex<HashMap<BareJid, Option<Arc<Preferences>>>>,
    saying: tokio::sync::Mutex<()>,
    keeping: Keeping,
}

/// Archives the messages of accounts, and answers their queries (XEP-0313).
///
/// Stations: `im:archive-out` and `im:stanza-ids-out` on behalf of the sender, the second behind `im:carbons-out`;
/// `im:stanza-ids` and `im:archive-in` on behalf of the recipient; `im:archived` behind `im:offline`, where a message
/// that nobody took counts as stored if it is in its recipient's archive.
pub fn server(store: Arc<dyn ArchiveStore>, settings: ArchiveSettings) -> impl FnOnce(&mut ServerRegistrar) {
    move |r| {
        let archives = Arc::new(Archives {
            store,
            settings,
            preferences: Mutex::default(),
            saying: tokio::sync::Mutex::default(),
            keeping: Keeping::default(),
        });
        answer::register(r, &archives);
        stations(r, &archives);
        r.on_account_removed(move |_, account| {
            let archives = Arc::clone(&archives);
            Box::pin(async move {
                archives.remembered().remove(&account);
                if let Err(error) = archives.store.forget(&account).await {
                    tracing::error!(%account, "the archive of an account that was removed is still there: {error}");
                }
            })
        });
    }
}

fn stations(r: &mut ServerRegistrar, archives: &Arc<Archives>) {
    let (outgoing, incoming) = (Arc::clone(archives), Arc::clone(archives));
    let out = move |envelope: &mut Envelope, server: &Server| archive_out(&outgoing, envelope, server);
    let station = Station::new("im:archive-out", Stage::Outgoing, Kinds::MESSAGE, out);
    r.station(station.after("im:blocking-out").before("im:carbons-out").passing(is_not_of_client));
    let station = Station::new("im:stanza-ids-out", Stage::Outgoing, Kinds::MESSAGE, hide_id);
    r.station(station.after("im:archive-out").after("im:carbons-out").passing(is_not_of_client));
    let station = Station::new("im:stanza-ids", Stage::Incoming, Kinds::MESSAGE, strip_forged);
    let says_nothing = |envelope: &Envelope, _: &Server| {
        !envelope.stanza().root().children().any(|child| StanzaId::matches(child) || Delay::matches(child))
    };
    r.station(station.after("im:blocking-in").before("im:archive-in").passing(says_nothing));
    let into = move |envelope: &mut Envelope, server: &Server| archive_in(&incoming, envelope, server);
    let station = Station::new("im:archive-in", Stage::Incoming, Kinds::MESSAGE, into).after("im:blocking-in");
    r.station(station.passing(|envelope, _| !is_worth_archiving(envelope.stanza().root())));
    let station = Station::new("im:archived", Stage::Undelivered, Kinds::MESSAGE, archived);
    r.station(station.after("im:offline"));
}

fn is_not_of_client(envelope: &Envelope, _: &Server) -> bool {
    !envelope.is_from_client()
}

/// Whether an account here wrote to itself. Its message passes [`archive_out`] alone.
fn is_to_self(envelope: &Envelope) -> bool {
    envelope.is_from_client() && envelope.to().is_some_and(|to| to.bare_str() == envelope.from().bare_str())
}

/// What an account's client sends. The id is put into the message only for who may see it: the account's other clients,
/// by their carbons, or all of them if the message is for the account itself (XEP-0313 §3.4).
fn archive_out(archives: &Arc<Archives>, envelope: &mut Envelope, server: &Server) -> Decision {
    let from = envelope.from();
    if !envelope.is_from_client() || server.admits_anonymous(from.domain()) {
        return Verdict::Continue.into();
    }
    if let Some(honest) = strip_ids(envelope.stanza(), from.bare_str()) {
        envelope.replace(honest);
    }
    let Some(to) = envelope.to().filter(|_| is_worth_archiving(envelope.stanza().root())) else {
        return Verdict::Continue.into();
    };
    let owner = envelope.from().to_bare();
    let visible = is_to_self(envelope) || server.resources(owner.as_str()).len() > 1;
    // Nobody sees it before its recipient's archive has it too: both can be written at once.
    let meanwhile = !visible && server.domains().any(|domain| domain == to.domain());
    let entry = entry(envelope, to.clone());
    archives.keep(owner, entry, visible.then(|| envelope.stanza().clone()), None, meanwhile)
}

/// Behind whoever shows the message to the account's own clients: others are not to see its place in the archive.
fn hide_id(envelope: &mut Envelope, _: &Server) -> Verdict {
    if !envelope.is_from_client() || is_to_self(envelope) {
        return Verdict::Continue;
    }
    strip_ids(envelope.stanza(), envelope.from().bare_str()).map_or(Verdict::Continue, Verdict::ContinueWith)
}

/// Ids and delays that claim to be of the recipient's account, or of this server, and are not (XEP-0359 §3, XEP-0203 §4).
fn strip_forged(envelope: &mut Envelope, server: &Server) -> Verdict {
    let (Some(to), to_self) = (envelope.to(), is_to_self(envelope)) else { return Verdict::Continue };
    let (account, from) = (to.bare_str(), envelope.from());
    let forged = |child: ElementRef<'_>| {
        // The id that a message to oneself has of its account is genuine.
        (!to_self && claims(child, account))
            || server.domains().any(|domain| domain != from.as_str() && claims(child, domain))
            || (!to_self && Delay::matches(child) && is_forged_delay(child, account, from, server))
    };
    if envelope.stanza().root().children().any(forged) {
        return Verdict::ContinueWith(envelope.stanza().rewrite(ns::CLIENT).without(&forged).to_stanza());
    }
    Verdict::Continue
}

fn is_forged_delay(delay: ElementRef<'_>, account: &str, from: &Jid, server: &Server) -> bool {
    let Some(claimed) = delay.attr("from") else { return false };
    let ours = |name: &str| is_address(&claimed, name) && from.as_str() != name;
    ours(account) || server.domains().any(ours)
}

/// What an account receives, as all of its clients will see it, whether they are there or not.
fn archive_in(archives: &Arc<Archives>, envelope: &mut Envelope, server: &Server) -> Decision {
    let Some(to) = envelope.to().filter(|to| to.local().is_some() && !server.admits_anonymous(to.domain())) else {
        return Verdict::Continue.into();
    };
    let root = envelope.stanza().root();
    if is_to_self(envelope) || !is_worth_archiving(root) {
        return Verdict::Continue.into();
    }
    let resources = server.resources(to.bare_str());
    let kind = MessageType::read(root.attr("type").as_deref());
    let connected = || resources.iter().any(|resource| resource.jid == *to);
    if to.resource().is_some() && kind != MessageType::Chat && !connected() {
        // Nobody will accept it (RFC 6121 §8.5.3.2), and the archive has what was accepted.
        return Verdict::Continue.into();
    }
    let owner = to.to_bare();
    let exists = resources.is_empty().then(|| server.clone());
    archives.keep(owner, entry(envelope, envelope.from().clone()), Some(envelope.stanza().clone()), exists, false)
}

/// Nobody took it, but it is in the archive, where its recipient will find it. Its id is genuine: forged ones are gone by
/// now.
fn archived(envelope: &mut Envelope, _: &Server) -> Verdict {
    let Some(to) = envelope.to().filter(|_| !envelope.is_error()) else { return Verdict::Continue };
    let account = to.bare_str();
    if envelope.stanza().root().children().any(|child| claims(child, account)) {
        Verdict::Handled
    } else {
        Verdict::Continue
    }
}

/// The message with its addresses, as it goes into an archive.
fn entry(envelope: &Envelope, with: Jid) -> NewEntry {
    let mut rewrite = envelope.stanza().rewrite(ns::CLIENT).from(Some(envelope.from().as_str()));
    if let Some(to) = envelope.to()
        && envelope.stanza().root().attr("to").is_none()
    {
        rewrite = rewrite.to(Some(to.as_str()));
    }
    let mut text = Vec::new();
    rewrite.write(&mut text);
    let text = String::from_utf8(text).unwrap_or_default().into();
    NewEntry { with, text, at: DateTime::from(SystemTime::now()) }
}

/// The message with its place in the archive.
fn with_id(message: &Stanza, owner: &BareJid, id: ArchiveId) -> Stanza {
    let id = StanzaId { id: id.to_string(), by: owner.clone().into() };
    message.rewrite(ns::CLIENT).append(&|out| id.write(out)).to_stanza()
}

impl Archives {
    /// Archives a message, unless its owner does not want that. The message goes on as `shown`, with its id, or as it was.
    /// With `exists` there first has to be such an account; with `meanwhile` the message goes on before it is written.
    fn keep(
        self: &Arc<Self>,
        owner: BareJid,
        entry: NewEntry,
        shown: Option<Stanza>,
        exists: Option<Server>,
        meanwhile: bool,
    ) -> Decision {
        let known = if exists.is_none() { self.wants_at_once(&owner, &entry.with) } else { None };
        match known {
            Some(false) => Verdict::Continue.into(),
            // The store has it in its order as soon as it has been asked: others of the sender may follow.
            Some(true) => match polled(refusing(Arc::clone(self).append(owner, entry, shown))) {
                Ok(verdict) => verdict.into(),
                Err(verdict) if meanwhile => Decision::Meanwhile(verdict),
                Err(verdict) => Decision::InOrder(verdict),
            },
            None => {
                let archives = Arc::clone(self);
                let keeping = async move {
                    if let Some(server) = exists
                        && !server.account_exists(&owner).await.map_err(|error| StorageError(Box::new(error)))?
                    {
                        return Ok(Verdict::Continue);
                    }
                    if !archives.wants(&owner, &entry.with).await? {
                        return Ok(Verdict::Continue);
                    }
                    archives.append(owner, entry, shown).await
                };
                polled(refusing(keeping)).map_or_else(Decision::Wait, Decision::from)
            }
        }
    }

    async fn append(
        self: Arc<Self>,
        owner: BareJid,
        entry: NewEntry,
        shown: Option<Stanza>,
    ) -> Result<Verdict, StorageError> {
        let id = self.store.append(&owner, entry).await?;
        self.clean(&owner);
        Ok(shown.map_or(Verdict::Continue, |message| Verdict::ContinueWith(with_id(&message, &owner, id))))
    }

    /// [`wants`](Self::wants), where that needs nobody to be asked.
    fn wants_at_once(&self, owner: &BareJid, other: &Jid) -> Option<bool> {
        let choice = match self.remembered().get(owner)? {
            Some(preferences) => preferences.choose(other),
            None => self.settings.default,
        };
        match (choice, &self.settings.contacts) {
            (ArchiveDefault::Always, _) => Some(true),
            (ArchiveDefault::Roster, Some(_)) => None,
            (ArchiveDefault::Never, _) | (ArchiveDefault::Roster, None) => Some(false),
        }
    }

    /// Whether the owner wants messages to and from `other` archived (XEP-0441 §2).
    async fn wants(&self, owner: &BareJid, other: &Jid) -> Result<bool, StorageError> {
        let choice = match self.preferences(owner).await? {
            Some(preferences) => preferences.choose(other),
            None => self.settings.default,
        };
        match (choice, &self.settings.contacts) {
            (ArchiveDefault::Always, _) => Ok(true),
            (ArchiveDefault::Roster, Some(contacts)) => contacts(owner, &other.to_bare()).await,
            (ArchiveDefault::Never, _) | (ArchiveDefault::Roster, None) => Ok(false),
        }
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<BareJid, Option<Arc<Preferences>>>> {
        self.preferences.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What an account has said of its archive.
    pub(super) async fn preferences(&self, owner: &BareJid) -> Result<Option<Arc<Preferences>>, StorageError> {
        if let Some(known) = self.remembered().get(owner) {
            return Ok(known.clone());
        }
        let said = self.store.preferences(owner).await?.map(Arc::new);
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED {
            let other = remembered.keys().next().cloned();
            other.and_then(|other| remembered.remove(&other));
        }
        // Who has said something new meanwhile has entered that.
        Ok(remembered.entry(owner.clone()).or_insert(said).clone())
    }

    /// Stores what an account says of its archive.
    pub(super) async fn set_preferences(&self, owner: &BareJid, said: Preferences) -> Result<(), StorageError> {
        // In turns, so that what is remembered is what was stored last.
        let _turn = self.saying.lock().await;
        let stored = self.store.set_preferences(owner, &said).await;
        let mut remembered = self.remembered();
        match &stored {
            // Whoever has read the store before, and comes back only now, finds this.
            Ok(()) => drop(remembered.insert(owner.clone(), Some(Arc::new(said)))),
            // Nobody knows then what the store has.
            Err(_) => drop(remembered.remove(owner)),
        }
        stored
    }

    /// Drops what has become too old, if it is time to look for that, beside what goes on.
    pub(super) fn clean_old(&self) {
        self.keeping.clean_old(&self.store, &self.settings);
    }

    /// Drops what is kept no longer, of an archive that has grown.
    fn clean(&self, owner: &BareJid) {
        self.keeping.clean(&self.store, &self.settings, owner);
    }
}

/// A message that cannot be archived is refused.
fn refusing(
    keeping: impl Future<Output = Result<Verdict, StorageError>> + Send + 'static,
) -> BoxFuture<'static, Verdict> {
    Box::pin(async move { keeping.await.unwrap_or_else(|error| Verdict::Reject(StanzaError::from(error))) })
}

/// A store in memory answers at once, and nobody has to wait for that.
fn polled(mut verdict: BoxFuture<'static, Verdict>) -> Result<Verdict, BoxFuture<'static, Verdict>> {
    match verdict.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verdict) => Ok(verdict),
        Poll::Pending => Err(verdict),
    }
}
