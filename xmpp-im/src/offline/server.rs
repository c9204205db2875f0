//! The stations that keep offline messages, and their delivery.

use super::{FEATURE, Keeping, OfflineLimits, OfflineMessage, OfflineStore, keeping};
use crate::StorageError;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};
use xmpp_core::{
    extension::Target,
    jid::{BareJid, Jid},
    payload::{DateTime, Payload as _, delay::Delay},
    server::{Decision, Envelope, Kinds, Resource, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::StanzaError,
    xml::{Stanza, XmlLimits, ns},
};

/// How many messages are read at once.
const PAGE: usize = 100;

/// The part of [`Limits::handler`](xmpp_core::server::Limits::handler) in which a new resource gets what was kept, before
/// its presence goes on whatever there is still to come.
const PATIENCE: u32 = 2;

/// Keeps messages for accounts none of whose resources can take them, and delivers them when one becomes available.
/// Stands behind [`delivery`](crate::delivery).
pub fn server(store: impl OfflineStore, limits: OfflineLimits) -> impl FnOnce(&mut ServerRegistrar) {
    let offline = Arc::new(Offline { store: Box::new(store), limits, delivering: Mutex::default() });
    move |r| register(r, offline)
}

fn register(r: &mut ServerRegistrar, offline: Arc<Offline>) {
    r.feature(Target::Server | Target::OwnAccount, FEATURE);
    r.station(
        Station::new("im:delays", Stage::Incoming, Kinds::MESSAGE, strip_delays)
            .after("im:blocking-in")
            .passing(|envelope, _| !envelope.stanza().root().children().any(Delay::matches)),
    );
    let keeper = Arc::clone(&offline);
    r.station(Station::new(
        "im:offline",
        Stage::Undelivered,
        Kinds::MESSAGE,
        move |envelope: &mut Envelope, server: &Server| Arc::clone(&keeper).keep(envelope, server),
    ));
    let arriving = Arc::clone(&offline);
    r.station(
        Station::new(
            "im:offline-delivery",
            Stage::Services,
            Kinds::PRESENCE,
            move |envelope: &mut Envelope, server: &Server| Arc::clone(&arriving).before_presence(envelope, server),
        )
        .before("im:presence"),
    );
    let late = Arc::clone(&offline);
    r.on_availability(move |server, now, before| {
        if becomes_able(before, now.priority) {
            // What was stored between the last look and now.
            server.spawn(Arc::clone(&late).deliver(server.clone(), now.jid.clone()));
        }
    });
    r.on_account_removed(move |_, account| {
        let offline = Arc::clone(&offline);
        Box::pin(async move {
            if let Err(error) = offline.store.forget(&account).await {
                tracing::error!(%account, "{error}");
            }
        })
    });
}

struct Offline {
    store: Box<dyn OfflineStore>,
    limits: OfflineLimits,
    /// The accounts whose messages are being delivered, and whether there may be more since.
    delivering: Mutex<HashMap<BareJid, bool>>,
}

/// An account's messages are being delivered by who has this, however that ends: by a panic of the store too.
struct Delivering {
    offline: Arc<Offline>,
    account: BareJid,
    /// Another may have begun.
    over: bool,
}

impl Delivering {
    /// Whether there may be more since; else it is over.
    fn goes_on(&mut self) -> bool {
        let mut delivering = self.offline.delivering();
        match delivering.get_mut(&self.account) {
            Some(more) if *more => {
                *more = false;
                true
            }
            _ => {
                delivering.remove(&self.account);
                self.over = true;
                false
            }
        }
    }
}

impl Drop for Delivering {
    fn drop(&mut self) {
        if !self.over {
            self.offline.delivering().remove(&self.account);
        }
    }
}

/// Only our own stamps count: nobody else speaks for the domain (XEP-0203 §5).
fn strip_delays(envelope: &mut Envelope, _: &Server) -> Verdict {
    let Some(domain) = envelope.to().map(|to| to.domain()) else { return Verdict::Continue };
    let forged = |child: xmpp_core::xml::ElementRef<'_>| is_stamp_of(child, domain);
    if !envelope.stanza().root().children().any(forged) {
        return Verdict::Continue;
    }
    Verdict::ContinueWith(envelope.stanza().rewrite(ns::CLIENT).without(&forged).to_stanza())
}

fn is_stamp_of(child: xmpp_core::xml::ElementRef<'_>, domain: &str) -> bool {
    Delay::matches(child)
        && child.attr("from").is_some_and(|from| from == domain || Jid::new(&from).is_ok_and(|from| from == *domain))
}

/// Whether a resource that could not be sent an account's messages now can.
fn becomes_able(before: Option<i8>, now: Option<i8>) -> bool {
    let able = |priority: Option<i8>| priority.is_some_and(|priority| priority >= 0);
    able(now) && !able(before)
}

fn is_able(resource: &Resource) -> bool {
    becomes_able(None, resource.priority)
}

fn now() -> Option<DateTime> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(DateTime::from_unix(i64::try_from(since.as_secs()).ok()?, since.subsec_nanos())?.to_millis())
}

impl Offline {
    fn delivering(&self) -> MutexGuard<'_, HashMap<BareJid, bool>> {
        self.delivering.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Nobody took a message.
    fn keep(self: Arc<Self>, envelope: &mut Envelope, server: &Server) -> Decision {
        let Some(account) = envelope.to().filter(|to| to.local().is_some() && server.hosts(to.domain())) else {
            return Verdict::Continue.into();
        };
        let account = account.to_bare();
        match keeping(envelope.stanza().root()) {
            Keeping::Bounce => return Verdict::Continue.into(),
            Keeping::Forget => return Verdict::Drop("a chat state for nobody").into(),
            Keeping::Keep if server.admits_anonymous(account.domain()) => return Verdict::Continue.into(),
            Keeping::Keep => {}
        }
        let Some((message, again)) = record(envelope) else { return Verdict::Continue.into() };
        let server = server.clone();
        Decision::Wait(Box::pin(async move {
            match self.try_keep(&server, &account, message, again).await {
                Ok(verdict) => verdict,
                Err(error) => Verdict::Reject(error),
            }
        }))
    }

    async fn try_keep(
        self: Arc<Self>,
        server: &Server,
        account: &BareJid,
        message: OfflineMessage,
        again: bool,
    ) -> Result<Verdict, StanzaError> {
        if !exists(server, account).await? {
            // RFC 6121 §8.5.1: as an account looks where nobody is.
            return Ok(Verdict::Drop("a message to no account"));
        }
        if !self.store.keep(account, message, again, &self.limits).await? {
            return Ok(Verdict::Reject(StanzaError::service_unavailable()));
        }
        if !exists(server, account).await? {
            // Removed meanwhile: whoever has the name next must not get it.
            self.store.forget(account).await?;
            return Ok(Verdict::Drop("a message to no account"));
        }
        // A resource may have become available meanwhile.
        if let Some(resource) = server.resources(account.as_str()).into_iter().find(is_able) {
            server.spawn(Arc::clone(&self).deliver(server.clone(), resource.jid));
        }
        Ok(Verdict::Handled)
    }

    /// A resource is about to become available: first it gets what was kept, so that nothing newer overtakes it.
    fn before_presence(self: Arc<Self>, envelope: &mut Envelope, server: &Server) -> Decision {
        let is_broadcast = envelope.to().is_none() && envelope.type_str().is_empty();
        if !is_broadcast || !envelope.is_from_client() || !server.is_current(envelope) {
            return Verdict::Continue.into();
        }
        let Ok(presence) = xmpp_core::stanza::Presence::from_stanza(envelope.stanza().clone()) else {
            return Verdict::Continue.into();
        };
        let jid = envelope.from().clone();
        let before = server.resources(jid.bare_str()).into_iter().find(|one| one.jid == jid);
        if !becomes_able(before.and_then(|one| one.priority), Some(presence.priority())) {
            return Verdict::Continue.into();
        }
        // In a task of its own: what is handed over must be removed, also if the client leaves meanwhile.
        let (delivery, patience) =
            (tokio::spawn(self.deliver(server.clone(), jid)), server.limits().handler / PATIENCE);
        Decision::Wait(Box::pin(async move {
            // Whoever has to be told that a resource is there is told, however slow the store is.
            let _ = tokio::time::timeout(patience, delivery).await;
            Verdict::Continue
        }))
    }

    /// Delivers all that is kept for an account, to this resource while it is there. Only one does so at a time.
    async fn deliver(self: Arc<Self>, server: Server, first: Jid) {
        let account = first.to_bare();
        let mut delivering = match self.delivering().entry(account.clone()) {
            Entry::Occupied(mut more) => {
                more.insert(true);
                return;
            }
            Entry::Vacant(vacant) => {
                vacant.insert(false);
                Delivering { offline: Arc::clone(&self), account: account.clone(), over: false }
            }
        };
        let mut target = Some(first);
        loop {
            if let Err(error) = self.deliver_kept(&server, &account, &mut target).await {
                tracing::error!(%account, "offline messages stay where they are: {error}");
                return;
            }
            if !delivering.goes_on() {
                return;
            }
            target = None;
        }
    }

    async fn deliver_kept(
        &self,
        server: &Server,
        account: &BareJid,
        target: &mut Option<Jid>,
    ) -> Result<(), StorageError> {
        loop {
            let page = self.store.first(account, PAGE).await?;
            let asked = page.len();
            let mut done = Vec::with_capacity(asked);
            for message in page {
                if let Some((from, stanza)) = read(account, &message) {
                    let blocked = server.is_unwanted(account, &from).await;
                    // Blocked since (XEP-0191 §3.3): it goes nowhere.
                    if !blocked.map_err(failed)? && !hand(server, account, target, &from, &stanza) {
                        break;
                    }
                }
                done.push(message.number);
            }
            self.store.remove(account, &done).await?;
            if asked == 0 || done.len() < asked {
                return Ok(());
            }
        }
    }
}

async fn exists(server: &Server, account: &BareJid) -> Result<bool, StorageError> {
    server.account_exists(account).await.map_err(failed)
}

fn failed(error: impl std::error::Error) -> StorageError {
    StorageError(error.to_string().into())
}

/// What is kept of a message, and whether it was kept before: then it comes from a session that never got it.
fn record(envelope: &Envelope) -> Option<(OfflineMessage, bool)> {
    let (stanza, domain) = (envelope.stanza(), envelope.to()?.domain());
    let stamp = stanza.root().children().find(|child| is_stamp_of(*child, domain));
    let stamp = stamp.and_then(|stamp| Delay::read(stamp).ok()).map(|delay| delay.stamp.to_millis());
    let stamped = |child: xmpp_core::xml::ElementRef<'_>| is_stamp_of(child, domain);
    let text = stanza.rewrite(ns::CLIENT).from(Some(envelope.from().as_str())).without(&stamped).to_stanza();
    let message = OfflineMessage {
        number: 0,
        at: stamp.or_else(now)?,
        sender: envelope.from().to_bare(),
        stanza: text.as_str().to_owned(),
    };
    Some((message, stamp.is_some()))
}

/// A kept message with its stamp, and who sent it. One that cannot be read again is done with.
fn read(account: &BareJid, message: &OfflineMessage) -> Option<(Jid, Stanza)> {
    let stanza = match Stanza::parse(&message.stanza, ns::CLIENT, &XmlLimits::unbounded()) {
        Ok(stanza) => stanza,
        Err(error) => {
            tracing::error!(%account, "an offline message cannot be read and is dropped: {error}");
            return None;
        }
    };
    let from = stanza.root().attr("from").and_then(|from| Jid::lenient(&from).ok())?;
    let domain = Jid::from_parts(None, account.domain(), None).ok();
    let delay = Delay { from: domain, stamp: message.at, reason: Some("Offline Storage".to_owned()) };
    Some((from, stanza.rewrite(ns::CLIENT).append(&|w| delay.write(w)).to_stanza()))
}

/// Puts a message into the session of `target`, or, when that is gone, into another's that can take it; whether one did.
fn hand(server: &Server, account: &BareJid, target: &mut Option<Jid>, from: &Jid, stamped: &Stanza) -> bool {
    if target.as_ref().is_some_and(|target| server.hand(from.clone(), target, stamped.clone())) {
        return true;
    }
    for resource in server.resources(account.as_str()).into_iter().filter(is_able) {
        if server.hand(from.clone(), &resource.jid, stamped.clone()) {
            *target = Some(resource.jid);
            return true;
        }
    }
    false
}
