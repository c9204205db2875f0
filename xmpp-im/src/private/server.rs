//! The server keeps the elements, and shows them to their owner alone.

use super::{NS, PrivateXml};
use crate::{
    account_xml::{AccountXmlStore, Quota, Shelf, XmlName, from_text, refusal, to_text},
    storage::forget_removed,
};
use std::sync::Arc;
use xmpp_core::{
    extension::{IqContext, Target},
    jid::BareJid,
    server::ServerRegistrar,
    stanza::StanzaError,
    xml::Stanza,
};

/// How much is kept of one account unless told otherwise.
pub const QUOTA: Quota = Quota { elements: 100, bytes: 512 * 1024 };

/// Keeps what clients store (XEP-0049 §3).
pub fn server(store: impl AccountXmlStore, quota: Quota) -> impl FnOnce(&mut ServerRegistrar) {
    let store: Arc<dyn AccountXmlStore> = Arc::new(store);
    move |r| {
        r.feature(Target::Server, NS);
        let (reading, writing) = (Arc::clone(&store), Arc::clone(&store));
        r.iq_get_async::<PrivateXml, _, _>(Target::OwnAccount, move |cx, query| {
            let store = Arc::clone(&reading);
            async move {
                let (user, asked, name) = asked(&cx, query)?;
                // What was never stored is there, and empty.
                let found = store.get(&user, &name).await?.map(|text| from_text(&text)).transpose()?;
                Ok(PrivateXml { elements: vec![found.unwrap_or(asked)] })
            }
        });
        r.iq_set_async::<PrivateXml, _, _>(Target::OwnAccount, move |cx, query| {
            let store = Arc::clone(&writing);
            async move {
                let (user, element, name) = asked(&cx, query)?;
                refusal(store.set(&user, &name, &to_text(element.root())?, quota).await?)
            }
        });
        r.iq_get::<PrivateXml, ()>(Target::Account, |_, _| Err(StanzaError::forbidden()));
        r.iq_set::<PrivateXml, ()>(Target::Account, |_, _| Err(StanzaError::forbidden()));
        forget_removed(r, move |user| {
            let store = Arc::clone(&store);
            Box::pin(async move { store.forget(&user).await })
        });
    }
}

/// The one element of a request, and what it is kept by. It must have a namespace of its own.
fn asked(cx: &IqContext, query: PrivateXml) -> Result<(BareJid, Stanza, XmlName), StanzaError> {
    let user = cx.from.as_ref().ok_or_else(StanzaError::bad_request)?.to_bare();
    let mut elements = query.elements.into_iter();
    let (Some(element), None) = (elements.next(), elements.next()) else {
        return Err(StanzaError::not_acceptable().with_text("one element is kept, or asked for, at a time"));
    };
    let root = element.root();
    if root.ns().is_empty() || root.ns() == NS {
        return Err(StanzaError::not_acceptable().with_text("the element needs a namespace of its own"));
    }
    let name = XmlName { shelf: Shelf::Private, ns: root.ns().to_owned(), name: root.name().to_owned() };
    Ok((user, element, name))
}
