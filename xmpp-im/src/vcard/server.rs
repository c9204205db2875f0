//! The server keeps vCards and shows them to whoever asks.

use super::{NS, VCard};
use crate::{
    account_xml::{AccountXmlStore, Quota, Shelf, XmlName, from_text, refusal, to_text},
    storage::forget_removed,
};
use std::sync::Arc;
use xmpp_core::{
    extension::{IqContext, Reply, Target},
    server::ServerRegistrar,
    stanza::StanzaError,
};

/// How large a vCard may be unless told otherwise, in bytes: with a photo of some 90 KiB.
pub const MAX_BYTES: usize = 128 * 1024;

fn name() -> XmlName {
    XmlName { shelf: Shelf::VCard, ns: NS.to_owned(), name: "vCard".to_owned() }
}

/// Answers for the accounts: their owners store and see theirs, others see it (XEP-0054 §3).
pub fn server(store: impl AccountXmlStore, max_bytes: usize) -> impl FnOnce(&mut ServerRegistrar) {
    let store: Arc<dyn AccountXmlStore> = Arc::new(store);
    move |r| {
        r.feature(Target::Server, NS);
        let reading = Arc::clone(&store);
        r.iq_get_async::<VCard, _, _>(Target::OwnAccount | Target::Account, move |cx, _| {
            let store = Arc::clone(&reading);
            async move { show(&*store, &cx).await }
        });
        let forgetting = Arc::clone(&store);
        r.iq_set_async::<VCard, _, _>(Target::OwnAccount, move |cx, card| {
            let store = Arc::clone(&store);
            let quota = Quota { elements: 1, bytes: max_bytes };
            async move {
                let user = cx.from.as_ref().ok_or_else(StanzaError::bad_request)?.to_bare();
                refusal(store.set(&user, &name(), &to_text(card.element())?, quota).await?)
            }
        });
        // §3.2.
        r.iq_set::<VCard, ()>(Target::Account, |_, _| Err(StanzaError::forbidden()));
        forget_removed(r, move |user| {
            let store = Arc::clone(&forgetting);
            Box::pin(async move { store.forget(&user).await })
        });
    }
}

/// §3.3: of others it is not told whether they lack a vCard or do not exist.
async fn show(store: &dyn AccountXmlStore, cx: &IqContext) -> Result<Reply, StanzaError> {
    let own = cx.target == Target::OwnAccount;
    let whose = if own { cx.from.as_ref() } else { cx.to.as_ref() };
    let user = whose.ok_or_else(StanzaError::bad_request)?.to_bare();
    let nothing = || if own { StanzaError::item_not_found() } else { StanzaError::service_unavailable() };
    let text = store.get(&user, &name()).await?.ok_or_else(nothing)?;
    let card = from_text(&text)?;
    Ok(Reply::write(move |out| out.element(card.root())))
}
