//! Where blocked stanzas end (XEP-0191 §3.3).

use super::{BlockList, ERRORS, server::Blocker};
use crate::StorageError;
use std::sync::Arc;
use xmpp_core::{
    jid::Jid,
    server::{Decision, Envelope, Kinds, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::{ErrorType, StanzaError, StanzaKind},
};

pub(super) fn register(r: &mut ServerRegistrar, blocker: &Arc<Blocker>) {
    let out = |blocker: &Arc<Blocker>| {
        let blocker = Arc::clone(blocker);
        move |envelope: &mut Envelope, server: &Server| outgoing(&blocker, envelope, server)
    };
    r.station(
        Station::new("im:blocking-out", Stage::Outgoing, Kinds::ALL, out(blocker))
            .passing(|envelope, server| !is_local_account(envelope.from(), server))
            .before("im:directed")
            .before("im:archive-out")
            .before("im:carbons-out"),
    );
    // A subscription is kept in the roster before it goes out.
    r.station(
        Station::new("im:blocking-presence", Stage::Services, Kinds::PRESENCE, out(blocker))
            .before("im:subscriptions-out")
            .before("im:presence"),
    );
    let (asked, incoming_) = (Arc::clone(blocker), Arc::clone(blocker));
    r.station(
        Station::new(
            "im:blocking-account",
            Stage::Services,
            Kinds::IQ,
            move |envelope: &mut Envelope, server: &Server| account(&asked, envelope, server),
        )
        .before("core:services"),
    );
    r.station(
        Station::new("im:blocking-in", Stage::Incoming, Kinds::ALL, move |envelope: &mut Envelope, _: &Server| {
            incoming(&incoming_, envelope)
        })
        .before("im:subscriptions-in")
        .before("im:stanza-ids")
        .before("im:archive-in"),
    );
}

/// Nobody is cut off from the own account, nor from the own server.
pub(super) fn is_exempt(owner: &Jid, peer: &Jid) -> bool {
    peer.bare_str() == owner.bare_str() || (peer.local().is_none() && peer.domain() == owner.domain())
}

fn is_local_account(jid: &Jid, server: &Server) -> bool {
    jid.local().is_some() && server.hosts(jid.domain())
}

/// The verdict if `peer` is in the list of `owner`: at once where the list is in memory.
fn judge(
    blocker: &Arc<Blocker>,
    owner: &Jid,
    peer: &Jid,
    blocked: impl FnOnce() -> Verdict + Send + 'static,
) -> Decision {
    if is_exempt(owner, peer) {
        return Verdict::Continue.into();
    }
    let verdict = move |list: &BlockList, peer: &Jid| if list.blocks(peer) { blocked() } else { Verdict::Continue };
    if let Some(list) = blocker.lists.cached(owner.bare_str()) {
        return verdict(&list, peer).into();
    }
    let (blocker, owner, peer) = (Arc::clone(blocker), owner.to_bare(), peer.clone());
    Decision::Wait(Box::pin(async move {
        match blocker.lists.load(&owner).await {
            Ok(list) => verdict(&list, &peer),
            Err(error) => failed(error),
        }
    }))
}

fn failed(error: StorageError) -> Verdict {
    Verdict::Reject(error.into())
}

fn not_acceptable() -> Verdict {
    let error = StanzaError::not_acceptable().with_type(ErrorType::Cancel);
    Verdict::Reject(error.with_application_element("blocked", ERRORS))
}

/// A user's own stanzas, and presence that the server sends for it.
fn outgoing(blocker: &Arc<Blocker>, envelope: &mut Envelope, server: &Server) -> Decision {
    let (from, Some(to)) = (envelope.from(), envelope.to()) else { return Verdict::Continue.into() };
    if !is_local_account(from, server) {
        return Verdict::Continue.into();
    }
    if envelope.is_from_client() {
        return judge(blocker, from, to, not_acceptable);
    }
    // What ends a subscription has to arrive. A request that is made once more would tell when the user is there.
    let kind = envelope.type_str();
    let shows = matches!(kind.as_ref(), "" | "unavailable" | "probe" | "subscribe");
    let shows = shows && envelope.kind() == StanzaKind::Presence;
    if !shows || (kind == "unavailable" && blocker.is_farewell(from, to)) {
        return Verdict::Continue.into();
    }
    judge(blocker, from, to, || Verdict::Drop("presence for who is blocked"))
}

/// Stanzas to a user.
fn incoming(blocker: &Arc<Blocker>, envelope: &mut Envelope) -> Decision {
    let (from, Some(to)) = (envelope.from(), envelope.to().filter(|to| to.local().is_some())) else {
        return Verdict::Continue.into();
    };
    // Mostly nobody is in the list, and what would be said does not matter.
    if is_exempt(to, from) || blocker.lists.cached(to.bare_str()).is_some_and(|list| !list.blocks(from)) {
        return Verdict::Continue.into();
    }
    let verdict: fn() -> Verdict = match (envelope.kind(), envelope.type_str().as_ref()) {
        (StanzaKind::Presence, _) | (_, "error" | "result") => || Verdict::Drop("from who is blocked"),
        _ => || Verdict::Reject(StanzaError::service_unavailable()),
    };
    judge(blocker, to, from, verdict)
}

/// Requests of local users to other accounts, which the server answers before anything is sent: both lists count. Of
/// what components ask, that of who is asked.
fn account(blocker: &Arc<Blocker>, envelope: &mut Envelope, server: &Server) -> Decision {
    let (from, Some(to)) = (envelope.from(), envelope.to()) else { return Verdict::Continue.into() };
    let others = to.resource().is_none() && is_local_account(to, server) && !is_exempt(from, to);
    if !others {
        return Verdict::Continue.into();
    }
    if !envelope.is_from_client() {
        return judge(blocker, to, from, || Verdict::Reject(StanzaError::service_unavailable()));
    }
    let (blocker, from, to) = (Arc::clone(blocker), from.clone(), to.clone());
    let judged = move |own: &BlockList, theirs: &BlockList, from: &Jid, to: &Jid| {
        if own.blocks(to) {
            not_acceptable()
        } else if theirs.blocks(from) {
            Verdict::Reject(StanzaError::service_unavailable())
        } else {
            Verdict::Continue
        }
    };
    let cached = |jid: &Jid| blocker.lists.cached(jid.bare_str());
    if let (Some(own), Some(theirs)) = (cached(&from), cached(&to)) {
        return judged(&own, &theirs, &from, &to).into();
    }
    Decision::Wait(Box::pin(async move {
        let own = blocker.lists.load(&from.to_bare()).await;
        match (own, blocker.lists.load(&to.to_bare()).await) {
            (Ok(own), Ok(theirs)) => judged(&own, &theirs, &from, &to),
            (Err(error), _) | (_, Err(error)) => failed(error),
        }
    }))
}
