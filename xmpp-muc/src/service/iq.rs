//! What is asked of rooms by iq.

use super::{
    hats,
    rooms::{Rooms, now},
};
use crate::{
    Affiliation, Role, initial_role,
    payload::{AdminQuery, Hats, Moderate, OccupantId, OwnerQuery, RetractedBy},
    room::{Delivery, Incoming, Plan, Registration, Room},
};
use std::sync::Arc;
use xmpp_core::{
    extension::{IqContext, Registrar, Reply, Target},
    jid::{BareJid, Jid},
    payload::{
        archive::{ArchiveEnd, ArchiveFin, ArchiveMetadata, ArchiveQuery, ArchiveStart, EXTENDED},
        ping::Ping,
        stanza_id,
    },
    stanza::StanzaError,
};
use xmpp_im::{
    archive::{ArchiveStore, fin, form, result, select},
    registration::RegistrationQuery,
    vcard::{self, VCard},
};

/// XEP-0424 §4: what is retracted is no longer in the archive.
pub(super) const TOMBSTONES: &str = "urn:xmpp:message-retract:1#tombstone";

pub(super) fn register(r: &mut Registrar, rooms: &Arc<Rooms>) {
    for target in [Target::Server, Target::Account] {
        for feature in ["http://jabber.org/protocol/muc#stable_id", OccupantId::NAMESPACE, vcard::NS, Hats::NAMESPACE] {
            r.feature(target, feature);
        }
    }
    r.feature(Target::Server, crate::NS);
    r.feature(Target::Account, crate::NS);
    let own = Arc::clone(rooms);
    r.iq_get_async::<AdminQuery, _, _>(Target::Account, move |cx, query| {
        let rooms = Arc::clone(&own);
        async move { ask(&rooms, &cx, |room, from| room.list(from, &query)).await }
    });
    let own = Arc::clone(rooms);
    r.iq_set_async::<AdminQuery, _, _>(Target::Account, move |cx, query| {
        let rooms = Arc::clone(&own);
        async move { act(&rooms, &cx, |room, input| room.administer(input, &query)).await }
    });
    let own = Arc::clone(rooms);
    r.iq_get_async::<OwnerQuery, _, _>(Target::Account, move |cx, _| {
        let rooms = Arc::clone(&own);
        async move { ask(&rooms, &cx, Room::configuration).await }
    });
    let own = Arc::clone(rooms);
    r.iq_set_async::<OwnerQuery, _, _>(Target::Account, move |cx, query| {
        let rooms = Arc::clone(&own);
        async move { act(&rooms, &cx, |room, input| room.own(input, &query)).await }
    });
    let own = Arc::clone(rooms);
    r.iq_set_async::<Moderate, _, _>(Target::Account, move |cx, request| {
        let rooms = Arc::clone(&own);
        async move { act(&rooms, &cx, |room, input| room.moderate(input, &request)).await }
    });
    let own = Arc::clone(rooms);
    r.iq_get_async::<Ping, _, _>(Target::Account, move |cx, _| {
        let rooms = Arc::clone(&own);
        async move { ask(&rooms, &cx, |_, _| Ok(())).await }
    });
    registration(r, rooms);
    archive(r, rooms);
    card(r, rooms);
    hats::register(r, rooms);
}

/// XEP-0486.
fn card(r: &mut Registrar, rooms: &Arc<Rooms>) {
    let own = Arc::clone(rooms);
    r.iq_get_async::<VCard, _, _>(Target::Account, move |cx, _| {
        let rooms = Arc::clone(&own);
        async move {
            let card = ask(&rooms, &cx, |room, from| room.card(from).cloned()).await?;
            Ok(Reply::write(move |out| out.element(card.element())))
        }
    });
    let own = Arc::clone(rooms);
    r.iq_set_async::<VCard, _, _>(Target::Account, move |cx, card| {
        let rooms = Arc::clone(&own);
        async move { act(&rooms, &cx, |room, input| room.set_card(input, &card)).await }
    });
}

/// §7.10.
fn registration(r: &mut Registrar, rooms: &Arc<Rooms>) {
    let own = Arc::clone(rooms);
    r.iq_get_async::<RegistrationQuery, _, _>(Target::Account, move |cx, _| {
        let rooms = Arc::clone(&own);
        async move {
            let known = ask(&rooms, &cx, |room, from| room.registration(from)).await?;
            Ok(match known {
                Registration::Registered(nick) => {
                    RegistrationQuery { registered: true, username: Some(nick), ..RegistrationQuery::default() }
                }
                Registration::Form(form) => RegistrationQuery { form: Some(form), ..RegistrationQuery::default() },
            })
        }
    });
    let own = Arc::clone(rooms);
    r.iq_set_async::<RegistrationQuery, _, _>(Target::Account, move |cx, query| {
        let rooms = Arc::clone(&own);
        async move {
            act(&rooms, &cx, |room, input| match (&query.form, query.remove) {
                (None, true) => room.unregister(input),
                (Some(form), false) => room.register(input, form),
                _ => Err(StanzaError::bad_request().with_text("a form is needed")),
            })
            .await
        }
    });
}

/// XEP-0313, of rooms.
fn archive(r: &mut Registrar, rooms: &Arc<Rooms>) {
    let Some(store) = &rooms.archive else { return };
    r.feature(Target::Account, EXTENDED);
    r.feature(Target::Account, RetractedBy::NAMESPACE);
    r.feature(Target::Account, TOMBSTONES);
    r.feature(Target::Account, stanza_id::NS);
    let own = Arc::clone(rooms);
    r.iq_get_async::<ArchiveQuery, _, _>(Target::Account, move |cx, _| {
        let rooms = Arc::clone(&own);
        async move {
            readable(&rooms, &cx).await?;
            Ok(ArchiveQuery { form: Some(form()), ..ArchiveQuery::default() })
        }
    });
    let (own, archives) = (Arc::clone(rooms), Arc::clone(store));
    r.iq_set_async::<ArchiveQuery, _, _>(Target::Account, move |cx, query| {
        let (rooms, store) = (Arc::clone(&own), Arc::clone(&archives));
        async move { page(&rooms, &*store, &cx, &query).await }
    });
    let (own, archives) = (Arc::clone(rooms), Arc::clone(store));
    r.iq_get_async::<ArchiveMetadata, _, _>(Target::Account, move |cx, _| {
        let (rooms, store) = (Arc::clone(&own), Arc::clone(&archives));
        async move {
            let room = readable(&rooms, &cx).await?;
            Ok(match store.ends(&room).await? {
                None => ArchiveMetadata::default(),
                Some((start, end)) => ArchiveMetadata {
                    start: Some(ArchiveStart { id: start.to_string(), timestamp: start.time() }),
                    end: Some(ArchiveEnd { id: end.to_string(), timestamp: end.time() }),
                },
            })
        }
    });
}

/// Who asks, and of which room.
pub(super) fn parties(cx: &IqContext) -> Result<(&Jid, BareJid, &Jid), StanzaError> {
    match (&cx.from, &cx.to) {
        (Some(from), Some(to)) => Ok((from, to.to_bare(), to)),
        _ => Err(StanzaError::internal_server_error()),
    }
}

/// Asks a room something.
pub(super) async fn ask<T>(
    rooms: &Arc<Rooms>,
    cx: &IqContext,
    f: impl FnOnce(&Room, &Jid) -> Result<T, StanzaError>,
) -> Result<T, StanzaError> {
    let (from, jid, _) = parties(cx)?;
    let mut visit = rooms.visit(&jid).await?;
    let room = visit.room()?;
    room.check_open_to(from)?;
    f(room, from)
}

/// Lets something happen in a room. Who is no longer there hears of it before the answer, all others after (§8.2).
async fn act(
    rooms: &Arc<Rooms>,
    cx: &IqContext,
    judge: impl FnOnce(&Room, Incoming<'_>) -> Result<Plan, StanzaError>,
) -> Result<Reply, StanzaError> {
    let (from, jid, to) = parties(cx)?;
    let mut visit = rooms.visit(&jid).await?;
    let plan = judge(visit.room()?, Incoming { from, to, stanza: &cx.stanza, now: now() })?;
    let effects = rooms.carry_out(&mut visit, plan).await?;
    rooms.send(&effects.first).await;
    let mut behind = rooms.outlet().behind(effects.then, visit).await;
    if let Some(visit) = &mut behind.visit {
        rooms.settle(visit).await;
    }
    Ok(Reply::empty().then(move || drop(behind)))
}

/// Whether who asks may read what was said in a room: who is in it, or could come in.
async fn readable(rooms: &Arc<Rooms>, cx: &IqContext) -> Result<BareJid, StanzaError> {
    ask(rooms, cx, |room, from| {
        let affiliation = room.affiliations().of(&from.to_bare());
        let there = room.occupants().of_client(from).is_some_and(|(_, occupant)| occupant.role > Role::None);
        let config = room.config();
        let may_enter = initial_role(affiliation, config.moderated, config.members_only).is_some()
            && (config.password.is_none() || affiliation >= Affiliation::Member);
        match there || (may_enter && !room.is_locked()) {
            true => Ok(room.jid().clone()),
            false => Err(StanzaError::forbidden().with_text("you may not read what was said in this room")),
        }
    })
    .await
}

async fn page(
    rooms: &Arc<Rooms>,
    store: &dyn ArchiveStore,
    cx: &IqContext,
    query: &ArchiveQuery,
) -> Result<ArchiveFin, StanzaError> {
    let (asker, _, _) = parties(cx)?;
    let room = readable(rooms, cx).await?;
    let settings = &rooms.settings.archive;
    let mut selection = select(query, settings.page, settings.max_page)?;
    selection.max_bytes = settings.page_bytes;
    let page = store.query(&room, &selection).await?.ok_or_else(StanzaError::item_not_found)?;
    let mut order: Vec<_> = page.entries.iter().collect();
    if query.flip_page {
        order.reverse();
    }
    for entry in order {
        let (id, stamp) = (entry.id.to_string(), entry.id.time());
        let stanza = result(&room, asker, query.queryid.as_deref(), id, stamp, entry.stanza());
        let part = Delivery { from: room.clone().into(), to: asker.clone().into(), stanza };
        rooms.outlet().send_before(part).await;
    }
    Ok(fin(query, &page))
}
