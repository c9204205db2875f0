//! What an account asks of its archive: pages, the form, the extent, the preferences.

use super::{Page, Preferences, filter, select, server::Archives};
use crate::StorageError;
use std::sync::Arc;
use xmpp_core::{
    extension::{IqContext, Target},
    jid::{BareJid, Jid},
    payload::{
        Payload,
        archive::{
            ArchiveDefault, ArchiveEnd, ArchiveFin, ArchiveMetadata, ArchivePrefs, ArchiveQuery, ArchiveResult,
            ArchiveStart, EXTENDED, GROUPCHAT_FIELD,
        },
        delay::Delay,
        form::DataForm,
        forward::Forwarded,
        rsm::{First, ResultSet},
        stanza_id,
    },
    server::{Server, ServerCell, ServerRegistrar},
    stanza::{StanzaError, generate_id},
    xml::{Stanza, Writer, ns},
};

pub(super) fn register(r: &mut ServerRegistrar, archives: &Arc<Archives>) {
    // Others' archives are asked for in vain, and so are those that do not exist: the answer is the same (§8.1).
    let asked = Target::OwnAccount | Target::Account;
    for feature in [EXTENDED, GROUPCHAT_FIELD, stanza_id::NS] {
        r.feature(Target::OwnAccount, feature);
    }
    r.iq_get::<ArchiveQuery, _>(asked, |cx, _| {
        owner(&cx)?;
        Ok(ArchiveQuery { form: Some(form()), ..ArchiveQuery::default() })
    });
    let (cell, own) = (r.server(), Arc::clone(archives));
    r.iq_set_async::<ArchiveQuery, _, _>(asked, move |cx, query| answer(cell.clone(), Arc::clone(&own), cx, query));
    let own = Arc::clone(archives);
    r.iq_get_async::<ArchiveMetadata, _, _>(asked, move |cx, _| metadata(Arc::clone(&own), cx));
    let own = Arc::clone(archives);
    r.iq_get_async::<ArchivePrefs, _, _>(asked, move |cx, _| {
        let own = Arc::clone(&own);
        async move { preferences(&own, &owner(&cx)?).await }
    });
    let own = Arc::clone(archives);
    r.iq_set_async::<ArchivePrefs, _, _>(asked, move |cx, said| set_preferences(Arc::clone(&own), cx, said));
    let own = Arc::clone(archives);
    r.bound_info(move |server, jid| bound(Arc::clone(&own), server, jid.to_bare()));
}

/// The form with the fields that a query may have (§4.1.5).
pub fn form() -> DataForm {
    filter::fields()
}

/// Whose archive is asked for, if it is the asker's own.
fn owner(cx: &IqContext) -> Result<BareJid, StanzaError> {
    match (&cx.from, cx.target) {
        (Some(from), Target::OwnAccount) => Ok(from.to_bare()),
        _ => Err(StanzaError::forbidden()),
    }
}

/// One page: each of its messages goes into the asker's session before the answer does. The session routes nothing else
/// meanwhile, so there is one query at a time.
async fn answer(
    cell: ServerCell,
    archives: Arc<Archives>,
    cx: IqContext,
    query: ArchiveQuery,
) -> Result<ArchiveFin, StanzaError> {
    let owner = owner(&cx)?;
    archives.clean_old();
    let settings = &archives.settings;
    let mut selection = select(&query, settings.page, settings.max_page)?;
    selection.max_bytes = settings.page_bytes;
    let page = archives.store.query(&owner, &selection).await?.ok_or_else(StanzaError::item_not_found)?;
    let (Some(server), Some(to)) = (cell.get(), &cx.from) else { return Err(StanzaError::internal_server_error()) };
    let mut order: Vec<_> = page.entries.iter().collect();
    if query.flip_page {
        order.reverse();
    }
    for entry in order {
        let result =
            result(&owner, to, query.queryid.as_deref(), entry.id.to_string(), entry.id.time(), entry.stanza());
        if !server.hand(owner.clone().into(), to, result) {
            // Nobody is there to be told.
            return Err(StanzaError::recipient_unavailable());
        }
    }
    Ok(fin(&query, &page))
}

/// A message with one result (§4.2), from the archive of `owner` to whoever asked.
pub fn result(
    owner: &BareJid,
    to: &Jid,
    queryid: Option<&str>,
    id: String,
    stamp: xmpp_core::payload::DateTime,
    stanza: Option<Stanza>,
) -> Stanza {
    let forwarded = Forwarded { delay: Some(Delay { from: None, stamp, reason: None }), stanza };
    let mut out = Writer::new(ns::CLIENT);
    out.open("message", ns::CLIENT);
    out.attr("from", owner.as_str());
    out.attr("to", to.as_str());
    out.attr("id", &generate_id());
    ArchiveResult { queryid: queryid.map(str::to_owned), id, forwarded }.write(&mut out);
    out.close();
    out.into_stanza()
}

/// What the page is (§4.3.2). The count is that of the whole, which a page behind or before another does not know.
pub fn fin(query: &ArchiveQuery, page: &Page) -> ArchiveFin {
    let rsm = query.rsm.as_ref();
    let before = rsm.and_then(|rsm| rsm.before.as_deref());
    let whole = rsm.is_none_or(|rsm| rsm.after.is_none()) && before.is_none_or(str::is_empty);
    let index = match (rsm.and_then(|rsm| rsm.index), before) {
        (Some(index), _) => Some(index),
        (None, None) if whole => Some(0),
        _ => None,
    };
    let set = ResultSet {
        first: page.entries.first().map(|entry| First { index, id: entry.id.to_string() }),
        last: page.entries.last().map(|entry| entry.id.to_string()),
        count: page.count.filter(|_| whole).map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
        ..ResultSet::default()
    };
    ArchiveFin { complete: page.complete, stable: true, rsm: set }
}

/// §5.
async fn metadata(archives: Arc<Archives>, cx: IqContext) -> Result<ArchiveMetadata, StanzaError> {
    Ok(extent(&archives, &owner(&cx)?).await?)
}

async fn extent(archives: &Archives, owner: &BareJid) -> Result<ArchiveMetadata, StorageError> {
    Ok(match archives.store.ends(owner).await? {
        None => ArchiveMetadata::default(),
        Some((start, end)) => ArchiveMetadata {
            start: Some(ArchiveStart { id: start.to_string(), timestamp: start.time() }),
            end: Some(ArchiveEnd { id: end.to_string(), timestamp: end.time() }),
        },
    })
}

/// What a session is told of its archive while it binds (XEP-0386 §3.2), so that it need not ask.
async fn bound(archives: Arc<Archives>, server: Server, owner: BareJid) -> Vec<u8> {
    let mut out = Writer::new("urn:xmpp:bind:0");
    if !server.admits_anonymous(owner.domain()) {
        match extent(&archives, &owner).await {
            Ok(metadata) => metadata.write(&mut out),
            Err(error) => tracing::error!(%owner, "a session is not told the extent of its archive: {error}"),
        }
    }
    out.finish()
}

async fn preferences(archives: &Archives, owner: &BareJid) -> Result<ArchivePrefs, StanzaError> {
    let said = archives.preferences(owner).await?;
    let default = || Preferences { default: archives.settings.default, ..Preferences::default() };
    Ok(said.map_or_else(default, |said| (*said).clone()).into())
}

async fn set_preferences(
    archives: Arc<Archives>,
    cx: IqContext,
    said: ArchivePrefs,
) -> Result<ArchivePrefs, StanzaError> {
    let owner = owner(&cx)?;
    let Some(default) = said.default else {
        return Err(StanzaError::bad_request().with_text("preferences need a default"));
    };
    if default == ArchiveDefault::Roster && archives.settings.contacts.is_none() {
        return Err(StanzaError::feature_not_implemented().with_text("there are no rosters here"));
    }
    let list = |mut jids: Vec<Jid>| {
        jids.sort();
        jids.dedup();
        jids
    };
    let always = list(said.always.unwrap_or_default().jids);
    let never = list(said.never.unwrap_or_default().jids);
    if always.len() + never.len() > archives.settings.preferences {
        return Err(StanzaError::resource_constraint().with_text("too many addresses"));
    }
    archives.set_preferences(&owner, Preferences { default, always, never }).await?;
    preferences(&archives, &owner).await
}
