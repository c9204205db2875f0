//! Where rooms are kept that outlive their occupants.

use crate::{
    Affiliation, RoomConfig,
    room::{Affiliated, Card, Kept, RoomRecord, Subject, Wardrobe},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};
use xmpp_core::{
    jid::BareJid,
    payload::DateTime,
    xml::{Stanza, XmlLimits, ns},
};
use xmpp_im::Stored;

/// A room as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its address.
    pub jid: BareJid,
    /// Its name for people.
    pub name: String,
}

/// Keeps persistent rooms. [`conformance`] says what a store must do.
pub trait RoomStore: Send + Sync + 'static {
    /// A room; `None` if there is none.
    fn load<'a>(&'a self, room: &'a BareJid) -> Stored<'a, Option<RoomRecord>>;

    /// Stores a room as a whole, in the place of what there was.
    fn save<'a>(&'a self, room: &'a BareJid, record: &'a RoomRecord) -> Stored<'a, ()>;

    /// Changes parts of a room that is stored: all of them, or none.
    fn change<'a>(&'a self, room: &'a BareJid, kept: &'a [Kept]) -> Stored<'a, ()>;

    /// Drops a room.
    fn remove<'a>(&'a self, room: &'a BareJid) -> Stored<'a, ()>;

    /// The rooms of a domain that are to be listed, by address.
    fn listed<'a>(&'a self, domain: &'a str) -> Stored<'a, Vec<Listed>>;
}

/// Rooms in memory, for tests and for services whose rooms end with the process.
#[derive(Debug, Default)]
pub struct MemoryRooms(Mutex<BTreeMap<BareJid, RoomRecord>>);

impl MemoryRooms {
    /// None at first.
    pub fn new() -> MemoryRooms {
        MemoryRooms::default()
    }
    fn rooms(&self) -> MutexGuard<'_, BTreeMap<BareJid, RoomRecord>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl RoomStore for MemoryRooms {
    fn load<'a>(&'a self, room: &'a BareJid) -> Stored<'a, Option<RoomRecord>> {
        Box::pin(async move { Ok(self.rooms().get(room).cloned()) })
    }
    fn save<'a>(&'a self, room: &'a BareJid, record: &'a RoomRecord) -> Stored<'a, ()> {
        Box::pin(async move {
            self.rooms().insert(room.clone(), record.clone());
            Ok(())
        })
    }
    fn change<'a>(&'a self, room: &'a BareJid, kept: &'a [Kept]) -> Stored<'a, ()> {
        Box::pin(async move {
            if let Some(record) = self.rooms().get_mut(room) {
                kept.iter().for_each(|kept| record.change(kept));
            }
            Ok(())
        })
    }
    fn remove<'a>(&'a self, room: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(async move {
            self.rooms().remove(room);
            Ok(())
        })
    }
    fn listed<'a>(&'a self, domain: &'a str) -> Stored<'a, Vec<Listed>> {
        Box::pin(async move {
            let rooms = self.rooms();
            let public = rooms.iter().filter(|(jid, room)| jid.domain() == domain && room.is_listed());
            Ok(public.map(|(jid, room)| Listed { jid: jid.clone(), name: room.config.name.clone() }).collect())
        })
    }
}

/// What every store of rooms must do; for tests of implementations. The store has to be empty.
///
/// # Panics
/// If the store does not do it.
#[allow(clippy::unwrap_used, clippy::expect_used)]
pub async fn conformance(store: &dyn RoomStore) {
    let jid = |text: &str| BareJid::new(text).unwrap();
    let (coven, cellar) = (jid("coven@rooms.example.org"), jid("cellar@rooms.example.org"));
    let (owner, other) = (jid("crone1@example.org"), jid("hag66@example.org"));
    let affiliated = |affiliation, nick: Option<&str>| Affiliated {
        affiliation,
        nick: nick.map(str::to_owned),
        reason: nick.map(|_| "welcome".to_owned()),
    };
    let sorted = |mut record: RoomRecord| {
        record.affiliated.sort_by(|(one, _), (other, _)| one.cmp(other));
        record
    };
    assert!(store.load(&coven).await.unwrap().is_none(), "there is nothing at first");
    store.change(&coven, &[Kept::Config(RoomConfig::default())]).await.expect("a change of what is not there is none");
    assert!(store.load(&coven).await.unwrap().is_none());

    let config = RoomConfig { name: "A Dark Cave".to_owned(), persistent: true, ..RoomConfig::default() };
    let list = vec![(owner.clone(), affiliated(Affiliation::Owner, None))];
    let record = RoomRecord {
        config: config.clone(),
        locked: false,
        key: [3; 32],
        subject: None,
        affiliated: list,
        card: None,
        hats: Wardrobe::default(),
    };
    store.save(&coven, &record).await.unwrap();
    let found = store.load(&coven).await.unwrap().expect("what was saved is there");
    assert_eq!((&found.config, found.key, found.locked), (&config, [3; 32], false));
    assert_eq!(found.affiliated, record.affiliated);
    assert!(found.subject.is_none());

    // Several changes at once, to what is there and what is not.
    let text =
        "<message type='groupchat' from='coven@rooms.example.org/one'><subject>Fire &amp; burn</subject></message>";
    let stanza = Stanza::parse(text, ns::CLIENT, &XmlLimits::authenticated()).unwrap();
    let at = DateTime::from_unix(1_700_000_000, 5_000).unwrap();
    let hidden = RoomConfig { public: false, name: "A Darker Cave".to_owned(), ..config.clone() };
    let member = affiliated(Affiliation::Member, Some("Thirdwitch"));
    let changes = [
        Kept::Config(hidden.clone()),
        Kept::Affiliation(other.clone(), member.clone()),
        Kept::Affiliation(owner.clone(), affiliated(Affiliation::Admin, None)),
        Kept::Subject(Subject { stanza, at }),
    ];
    store.change(&coven, &changes).await.unwrap();
    let found = sorted(store.load(&coven).await.unwrap().unwrap());
    assert_eq!(found.config, hidden);
    assert_eq!(found.affiliated[1], (other.clone(), member));
    assert_eq!(found.affiliated[0].1.affiliation, Affiliation::Admin);
    let subject = found.subject.expect("the subject is kept");
    assert_eq!((subject.stanza.as_str(), subject.at), (text, at));
    store.change(&coven, &[Kept::Affiliation(other, affiliated(Affiliation::None, None))]).await.unwrap();
    assert_eq!(store.load(&coven).await.unwrap().unwrap().affiliated.len(), 1);

    // The vCard and the hats, which come and go.
    let card = "<vCard xmlns='vcard-temp'><FN>A &lt;dark&gt; cave</FN></vCard>";
    let card = Card::restore(Stanza::document(card, &XmlLimits::authenticated()).unwrap());
    let hats = "<hats xmlns='urn:xmpp:hats:0'><hat uri='urn:x' title='Witch &amp; more'/><hat uri='urn:y' title='y' hue='1.5'/>\
        <worn by='hag66@example.org'><uri>urn:y</uri></worn></hats>";
    let hats = Wardrobe::from_text(hats).unwrap();
    assert_eq!(Wardrobe::from_text(&hats.to_text()).as_ref(), Some(&hats));
    store.change(&coven, &[Kept::Card(Some(card.clone())), Kept::Hats(Box::new(hats.clone()))]).await.unwrap();
    let found = store.load(&coven).await.unwrap().unwrap();
    assert_eq!((found.card.as_ref(), &found.hats), (Some(&card), &hats));
    assert!(found.subject.is_some() && found.affiliated.len() == 1, "and nothing else changes");
    store.change(&coven, &[Kept::Card(None), Kept::Hats(Box::default())]).await.unwrap();
    let found = store.load(&coven).await.unwrap().unwrap();
    assert!(found.card.is_none() && found.hats.is_empty());
    let with = RoomRecord { card: Some(card.clone()), hats: hats.clone(), ..found.clone() };
    store.save(&coven, &with).await.unwrap();
    let again = store.load(&coven).await.unwrap().unwrap();
    assert_eq!((again.card, again.hats), (Some(card), hats));
    store.save(&coven, &found).await.unwrap();

    // What is listed: public rooms of the domain, by address.
    assert_eq!(store.listed("rooms.example.org").await.unwrap(), []);
    store.save(&cellar, &record).await.unwrap();
    store.change(&coven, &[Kept::Config(config)]).await.unwrap();
    store.save(&jid("else@rooms.example.net"), &record).await.unwrap();
    let name = || "A Dark Cave".to_owned();
    let listed = [Listed { jid: cellar.clone(), name: name() }, Listed { jid: coven.clone(), name: name() }];
    assert_eq!(store.listed("rooms.example.org").await.unwrap(), listed);

    // Saving replaces, removing removes, and neither touches others.
    store.save(&coven, &RoomRecord { affiliated: Vec::new(), ..record }).await.unwrap();
    let found = store.load(&coven).await.unwrap().unwrap();
    assert!(found.affiliated.is_empty() && found.subject.is_none());
    store.remove(&coven).await.unwrap();
    store.remove(&coven).await.expect("removing what is not there is nothing");
    assert!(store.load(&coven).await.unwrap().is_none());
    assert_eq!(store.load(&cellar).await.unwrap().unwrap().affiliated.len(), 1);
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn memory_does_what_every_store_must() {
        super::conformance(&super::MemoryRooms::new()).await;
    }
}
