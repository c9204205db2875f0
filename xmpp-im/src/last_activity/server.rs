//! The server remembers when its users go, and tells it.

use super::{LastActivityStore, LastSeen};
use crate::{StorageError, Stored, storage::forget_removed};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use xmpp_core::{
    extension::{IqContext, Target},
    jid::{BareJid, Jid},
    payload::last::{LastActivity, LastQuery, NS},
    server::{Decision, Envelope, Kinds, Resource, Server, ServerCell, ServerRegistrar, Stage, Station, Verdict},
    stanza::{Presence, StanzaError},
};

/// So much of a status is kept, in characters.
const MAX_STATUS: usize = 1024;

/// Whether presence of the user (the first) is shown to who asks (the second).
trait Entitled: Send + Sync {
    fn entitled(&self, user: BareJid, asker: BareJid) -> Stored<'static, bool>;
}

impl<F: Fn(BareJid, BareJid) -> Stored<'static, bool> + Send + Sync> Entitled for F {
    fn entitled(&self, user: BareJid, asker: BareJid) -> Stored<'static, bool> {
        self(user, asker)
    }
}

struct LastActivities {
    store: Box<dyn LastActivityStore>,
    entitled: Box<dyn Entitled>,
    server: ServerCell,
}

/// Answers for accounts: to the user, and to whom `is_entitled(user, asker)` names as one who may see the user's
/// presence. Whoever else asks is refused with `forbidden`, whether the account exists or not.
pub fn server(
    store: impl LastActivityStore,
    is_entitled: impl Fn(BareJid, BareJid) -> Stored<'static, bool> + Send + Sync + 'static,
) -> impl FnOnce(&mut ServerRegistrar) {
    move |r| {
        let server = r.server();
        let kept = Arc::new(LastActivities { store: Box::new(store), entitled: Box::new(is_entitled), server });
        let (answering, seeing, ending) = (Arc::clone(&kept), Arc::clone(&kept), Arc::clone(&kept));
        r.feature(Target::Server, NS);
        r.iq_get_async::<LastQuery, _, _>(Target::OwnAccount | Target::Account, move |cx, _| {
            let kept = Arc::clone(&answering);
            async move { kept.answer(&cx).await }
        });
        let station = move |envelope: &mut Envelope, server: &Server| goes(envelope, server, &seeing);
        r.station(Station::new("im:last-activity", Stage::Services, Kinds::PRESENCE, station).before("im:presence"));
        r.on_session_end(move |server, resource| ended(server, resource, &ending));
        forget_removed(r, move |user| {
            let kept = Arc::clone(&kept);
            Box::pin(async move { kept.store.forget(&user).await })
        });
    }
}

impl LastActivities {
    async fn answer(&self, cx: &IqContext) -> Result<LastActivity, StanzaError> {
        let asker = cx.from.as_ref().ok_or_else(StanzaError::bad_request)?.to_bare();
        let user = match &cx.to {
            Some(to) if cx.target == Target::Account => to.to_bare(),
            _ => asker.clone(),
        };
        if user != asker && !self.entitled.entitled(user.clone(), asker).await? {
            return Err(StanzaError::forbidden());
        }
        // Who is there and does not say so is not there for others.
        let available = |server: &Server| server.resources(user.as_str()).iter().any(|one| one.priority.is_some());
        let here = self.server.get().as_ref().is_some_and(available);
        if here {
            return Ok(LastActivity { seconds: 0, status: None });
        }
        // Somebody who was never seen has been away since nobody knows when.
        let seen = self.store.get(&user).await?.ok_or_else(StanzaError::item_not_found)?;
        Ok(LastActivity { seconds: now().saturating_sub(seen.at), status: seen.status })
    }

    async fn saw(&self, server: &Server, user: BareJid, status: Option<String>) {
        // Sessions end when their account is removed: what is kept then would be the next one's of that name.
        if !matches!(server.account_exists(&user).await, Ok(true)) {
            return;
        }
        if let Err(error) = self.store.set(&user, LastSeen { at: now(), status }).await {
            let error: StorageError = error;
            tracing::error!(%error, "when a user went is not stored");
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A client says that it is unavailable. It waits until that is stored: who says it a thousand times waits a thousand
/// times.
fn goes(envelope: &mut Envelope, server: &Server, kept: &Arc<LastActivities>) -> Decision {
    let from = envelope.from();
    let was_available =
        || server.resources(from.bare_str()).iter().any(|one| one.jid == *from && one.priority.is_some());
    let goes = envelope.to().is_none() && envelope.type_str() == "unavailable";
    let counts = goes && is_kept(server, from) && was_available();
    if !counts {
        return Verdict::Continue.into();
    }
    let status = Presence::from_stanza(envelope.stanza().clone()).ok().and_then(|presence| {
        let status = presence.status()?;
        Some(status.chars().take(MAX_STATUS).collect::<String>())
    });
    let (kept, server, user) = (Arc::clone(kept), server.clone(), from.to_bare());
    Decision::Wait(Box::pin(async move {
        kept.saw(&server, user, status.filter(|status| !status.is_empty())).await;
        Verdict::Continue
    }))
}

/// A session ends. If it was still available it has not said so, and nothing about why.
fn ended(server: &Server, resource: &Resource, kept: &Arc<LastActivities>) {
    if resource.priority.is_some() && is_kept(server, &resource.jid) {
        let (kept, beside, user) = (Arc::clone(kept), server.clone(), resource.jid.to_bare());
        server.spawn(async move { kept.saw(&beside, user, None).await });
    }
}

/// Users without an account are not seen again.
fn is_kept(server: &Server, user: &Jid) -> bool {
    !server.admits_anonymous(user.domain())
}
