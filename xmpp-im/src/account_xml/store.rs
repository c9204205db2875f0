//! Where it is kept.

use crate::{Stored, storage::PerUser};
use std::{collections::HashMap, sync::Arc};
use xmpp_core::jid::BareJid;

/// What an element is kept for: what one feature keeps, the other does not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Shelf {
    /// vCards (XEP-0054).
    VCard,
    /// Private storage (XEP-0049).
    Private,
}

impl Shelf {
    /// Its name, for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Shelf::VCard => "vcard",
            Shelf::Private => "private",
        }
    }
}

/// By what an element is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct XmlName {
    /// What it is kept for.
    pub shelf: Shelf,
    /// Its namespace.
    pub ns: String,
    /// Its local name.
    pub name: String,
}

/// How much is kept of one account on one shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Elements.
    pub elements: usize,
    /// Bytes of all of them.
    pub bytes: usize,
}

/// Whether an element was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It was.
    Yes,
    /// No: it alone is larger than all that is kept.
    TooBig,
    /// No: with the others it would be too much.
    NoRoom,
}

/// Keeps elements of accounts. They are text: what is put in comes out.
pub trait AccountXmlStore: Send + Sync + 'static {
    /// The element of that name.
    fn get<'a>(&'a self, user: &'a BareJid, name: &'a XmlName) -> Stored<'a, Option<String>>;

    /// Puts an element in place of the one of that name, if with it no more is kept on its shelf than `quota` says;
    /// otherwise nothing is changed. An element takes its text and the bytes of its name and namespace.
    fn set<'a>(&'a self, user: &'a BareJid, name: &'a XmlName, xml: &'a str, quota: Quota) -> Stored<'a, Kept>;

    /// Removes all: the account is gone.
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()>;
}

impl<S: AccountXmlStore + ?Sized> AccountXmlStore for Arc<S> {
    fn get<'a>(&'a self, user: &'a BareJid, name: &'a XmlName) -> Stored<'a, Option<String>> {
        (**self).get(user, name)
    }
    fn set<'a>(&'a self, user: &'a BareJid, name: &'a XmlName, xml: &'a str, quota: Quota) -> Stored<'a, Kept> {
        (**self).set(user, name, xml, quota)
    }
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        (**self).forget(user)
    }
}

impl Quota {
    /// Whether there is room for one more, beside as many others that have as many bytes.
    pub fn admits(self, name: &XmlName, xml: &str, others: usize, others_bytes: usize) -> Kept {
        let bytes = name.ns.len().saturating_add(name.name.len()).saturating_add(xml.len());
        if bytes > self.bytes || self.elements == 0 {
            Kept::TooBig
        } else if others >= self.elements || others_bytes.saturating_add(bytes) > self.bytes {
            Kept::NoRoom
        } else {
            Kept::Yes
        }
    }
}

type Elements = HashMap<XmlName, String>;

/// Elements in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryAccountXml(PerUser<Elements>);

impl MemoryAccountXml {
    /// None.
    pub fn new() -> MemoryAccountXml {
        MemoryAccountXml::default()
    }
}

impl AccountXmlStore for MemoryAccountXml {
    fn get<'a>(&'a self, user: &'a BareJid, name: &'a XmlName) -> Stored<'a, Option<String>> {
        Box::pin(async move { Ok(self.0.lock().get(user).and_then(|elements| elements.get(name)).cloned()) })
    }

    fn set<'a>(&'a self, user: &'a BareJid, name: &'a XmlName, xml: &'a str, quota: Quota) -> Stored<'a, Kept> {
        Box::pin(async move {
            let mut accounts = self.0.lock();
            let others = accounts.get(user).into_iter().flatten();
            let others = others.filter(|(other, _)| other.shelf == name.shelf && *other != name);
            let sizes = others.map(|(other, xml)| other.ns.len() + other.name.len() + xml.len());
            let (count, bytes) = sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
            let kept = quota.admits(name, xml, count, bytes);
            if kept == Kept::Yes {
                accounts.entry(user.clone()).or_default().insert(name.clone(), xml.to_owned());
            }
            Ok(kept)
        })
    }

    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        self.0.forget(user)
    }
}

/// What every [`AccountXmlStore`] must do, to be called from an implementation's own tests with a store that has
/// nothing for these two users.
///
/// # Panics
/// When the implementation breaks the contract; the message says which part.
#[allow(clippy::panic, clippy::expect_used)] // It is an assertion.
pub async fn conformance(store: &dyn AccountXmlStore, one: &BareJid, other: &BareJid) {
    let name = |shelf, name: &str| XmlName { shelf, ns: "urn:example:ü".into(), name: name.into() };
    let (first, second) = (name(Shelf::Private, "a"), name(Shelf::Private, "b"));
    let card = name(Shelf::VCard, "a");
    let quota = Quota { elements: 2, bytes: 100 };
    let get = async |user: &BareJid, name: &XmlName| store.get(user, name).await.expect("get");
    let set = async |name: &XmlName, xml: &str| store.set(one, name, xml, quota).await.expect("set");
    assert_eq!(get(one, &first).await, None, "nothing is there before");
    assert_eq!(set(&first, "<a>'&amp;\"🙌</a>").await, Kept::Yes, "the first");
    assert_eq!(set(&first, "<a>2</a>").await, Kept::Yes, "in place of the first");
    assert_eq!(get(one, &first).await.as_deref(), Some("<a>2</a>"), "the newer one");
    assert_eq!((get(one, &second).await, get(one, &card).await), (None, None), "by its name, on its shelf");
    assert_eq!(get(other, &first).await, None, "of its user");
    assert_eq!(set(&second, &"x".repeat(101)).await, Kept::TooBig, "too big in itself");
    assert_eq!(set(&second, &"x".repeat(70)).await, Kept::NoRoom, "too big with the other one");
    assert_eq!(set(&second, "<b/>").await, Kept::Yes, "the second");
    assert_eq!(set(&name(Shelf::Private, "c"), "<c/>").await, Kept::NoRoom, "one too many");
    assert_eq!(set(&second, &"x".repeat(70)).await, Kept::NoRoom, "a refused change");
    assert_eq!(get(one, &second).await.as_deref(), Some("<b/>"), "changes nothing");
    assert_eq!(set(&card, "<card/>").await, Kept::Yes, "shelves have quotas of their own");
    store.set(other, &first, "<a/>", quota).await.expect("set");
    store.forget(one).await.expect("forget");
    assert_eq!((get(one, &first).await, get(one, &card).await), (None, None), "forgotten");
    assert_eq!(get(other, &first).await.as_deref(), Some("<a/>"), "others are not forgotten");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_does_what_every_store_must() {
        let (one, other) = (BareJid::new("a@example.org").unwrap(), BareJid::new("b@example.org").unwrap());
        conformance(&MemoryAccountXml::new(), &one, &other).await;
    }
}
