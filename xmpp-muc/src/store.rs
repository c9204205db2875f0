//! Where rooms are kept that outlive their occupants.

use crate::{
    Affiliation, RoomConfig,
    listing::{Fields, Listed, Stretch, Terms},
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

/// Keeps persistent rooms. [`conformance`] says what a store must do.
pub trait RoomStore: Send + Sync + 'static {
    /// A room; `None` if there is none.
    fn load<'a>(&'a self, room: &'a BareJid) -> Stored<'a, Option<RoomRecord>>;

    /// Stores a room that becomes persistent, in the place of what there was, unless `most` other rooms of its domain are of
    /// its maker already; whether it did. Of several at once no more are stored than may be. A room of nobody is stored.
    fn add<'a>(&'a self, room: &'a BareJid, record: &'a RoomRecord, most: u64) -> Stored<'a, bool>;

    /// Stores a room as a whole, in the place of what there was.
    fn save<'a>(&'a self, room: &'a BareJid, record: &'a RoomRecord) -> Stored<'a, ()>;

    /// Changes parts of a room that is stored: all of them, or none.
    fn change<'a>(&'a self, room: &'a BareJid, kept: &'a [Kept]) -> Stored<'a, ()>;

    /// Drops a room.
    fn remove<'a>(&'a self, room: &'a BareJid) -> Stored<'a, ()>;

    /// Rooms of a domain that are to be listed, by address, byte for byte.
    fn listed<'a>(&'a self, domain: &'a str, stretch: &'a Stretch) -> Stored<'a, Vec<Listed>>;

    /// How many rooms of a domain are to be listed, in all or before an address.
    fn count_listed<'a>(&'a self, domain: &'a str, before: Option<&'a BareJid>) -> Stored<'a, u64>;
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

/// What is listed of a domain, by address.
fn shown<'a>(
    rooms: &'a BTreeMap<BareJid, RoomRecord>,
    domain: &'a str,
) -> impl DoubleEndedIterator<Item = Listed> + 'a {
    let public = rooms.iter().filter(move |(jid, room)| jid.domain() == domain && room.is_listed());
    public.map(|(jid, room)| Listed::of(jid.clone(), &room.config))
}

fn some_of(stretch: &Stretch, found: impl Iterator<Item = Listed>) -> Vec<Listed> {
    let skip = usize::try_from(stretch.skip).unwrap_or(usize::MAX);
    found.filter(|listed| stretch.has(listed)).skip(skip).take(stretch.max).collect()
}

impl RoomStore for MemoryRooms {
    fn load<'a>(&'a self, room: &'a BareJid) -> Stored<'a, Option<RoomRecord>> {
        Box::pin(async move { Ok(self.rooms().get(room).cloned()) })
    }
    fn add<'a>(&'a self, room: &'a BareJid, record: &'a RoomRecord, most: u64) -> Stored<'a, bool> {
        Box::pin(async move {
            let mut rooms = self.rooms();
            let others = rooms.iter().filter(|(jid, other)| {
                jid.domain() == room.domain() && *jid != room && other.maker.is_some() && other.maker == record.maker
            });
            if record.maker.is_some() && u64::try_from(others.count()).unwrap_or(u64::MAX) >= most {
                return Ok(false);
            }
            rooms.insert(room.clone(), record.clone());
            Ok(true)
        })
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
    fn listed<'a>(&'a self, domain: &'a str, stretch: &'a Stretch) -> Stored<'a, Vec<Listed>> {
        Box::pin(async move {
            let rooms = self.rooms();
            let all = shown(&rooms, domain);
            Ok(if stretch.last { some_of(stretch, all.rev()) } else { some_of(stretch, all) })
        })
    }
    fn count_listed<'a>(&'a self, domain: &'a str, before: Option<&'a BareJid>) -> Stored<'a, u64> {
        Box::pin(async move {
            let rooms = self.rooms();
            let counted = shown(&rooms, domain).filter(|listed| before.is_none_or(|before| listed.jid < *before));
            Ok(u64::try_from(counted.count()).unwrap_or(u64::MAX))
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
        maker: Some(owner.clone()),
        subject: None,
        affiliated: list,
        card: None,
        hats: Wardrobe::default(),
    };
    store.save(&coven, &record).await.unwrap();
    let found = store.load(&coven).await.unwrap().expect("what was saved is there");
    assert_eq!((&found.config, found.key, found.locked), (&config, [3; 32], false));
    assert_eq!((&found.affiliated, &found.maker), (&record.affiliated, &record.maker));
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
    let domain = "rooms.example.org";
    let all = Stretch { max: 10, ..Stretch::default() };
    assert_eq!(store.listed(domain, &all).await.unwrap(), []);
    store.save(&cellar, &record).await.unwrap();
    store.change(&coven, &[Kept::Config(config.clone())]).await.unwrap();
    store.save(&jid("else@rooms.example.net"), &record).await.unwrap();
    let listed = [Listed::of(cellar.clone(), &config), Listed::of(coven.clone(), &config)];
    assert_eq!(store.listed(domain, &all).await.unwrap(), listed);
    assert_eq!(store.count_listed(domain, None).await.unwrap(), 2);
    conforming_stretches(store).await;
    conforming_counts(store).await;

    // Saving replaces, removing removes, and neither touches others.
    store.save(&coven, &RoomRecord { affiliated: Vec::new(), ..record }).await.unwrap();
    let found = store.load(&coven).await.unwrap().unwrap();
    assert!(found.affiliated.is_empty() && found.subject.is_none());
    store.remove(&coven).await.unwrap();
    store.remove(&coven).await.expect("removing what is not there is nothing");
    assert!(store.load(&coven).await.unwrap().is_none());
    assert_eq!(store.load(&cellar).await.unwrap().unwrap().affiliated.len(), 1);
}

/// Stretches of what is listed, in a domain of their own.
#[allow(clippy::unwrap_used)]
async fn conforming_stretches(store: &dyn RoomStore) {
    let domain = "stretch.example.org";
    let jid = |name: &str| BareJid::new(&format!("{name}@{domain}")).unwrap();
    for (name, title, description) in
        [("b", "Bees", "100% honey_"), ("a.b", "Älbatross", ""), ("a", "Ants", "ÜBER ants"), ("é", "last", "bees'\n")]
    {
        let config = RoomConfig {
            name: title.to_owned(),
            description: description.to_owned(),
            lang: "de".to_owned(),
            members_only: name == "b",
            whois: if name == "a" { crate::config::Whois::Anyone } else { crate::config::Whois::Moderators },
            persistent: true,
            ..RoomConfig::default()
        };
        let room = jid(name);
        let record = RoomRecord {
            config,
            locked: false,
            key: [1; 32],
            maker: None,
            subject: None,
            affiliated: Vec::new(),
            card: None,
            hats: Wardrobe::default(),
        };
        assert!(store.add(&room, &record, 0).await.unwrap(), "a room of nobody counts for nobody");
        let found = store.listed(domain, &Stretch { max: 9, ..Stretch::default() }).await.unwrap();
        let found = found.into_iter().find(|listed| listed.jid == room).unwrap();
        assert_eq!(found, Listed::of(room, &record.config));
    }
    let end = |name: &str| (!name.is_empty()).then(|| jid(name));
    for (after, before, skip, max, last, expected) in [
        ("", "", 0, 9, false, "a.b a b é"),
        ("", "", 0, 9, true, "é b a a.b"),
        ("", "", 0, 2, false, "a.b a"),
        ("", "", 0, 2, true, "é b"),
        ("", "", 1, 2, false, "a b"),
        ("", "", 3, 2, false, "é"),
        ("", "", 4, 2, false, ""),
        ("", "", 0, 0, false, ""),
        ("a", "", 0, 9, false, "b é"),
        ("aa", "", 0, 1, false, "b"),
        ("é", "", 0, 9, false, ""),
        ("", "b", 0, 9, true, "a a.b"),
        ("", "b", 0, 1, true, "a"),
        ("a.b", "é", 0, 9, false, "a b"),
        ("b", "a", 0, 9, false, ""),
    ] {
        let stretch = Stretch { after: end(after), before: end(before), skip, max, last, terms: None };
        let found = store.listed(domain, &stretch).await.unwrap();
        let names: Vec<_> = found.iter().filter_map(|listed| listed.jid.local()).collect();
        assert_eq!(names.join(" "), expected, "{stretch:?}");
    }
    for (text, fields, expected) in [
        ("BEES", Fields::ALL, "b é"),
        ("bees", Fields { name: false, ..Fields::ALL }, "é"),
        ("älb", Fields::ALL, "a.b"),
        ("über ANTS", Fields::ALL, "a"),
        ("100% honey_", Fields::ALL, "b"),
        ("s ü r b", Fields::ALL, "a"),
        ("h o n e y b s _", Fields::ALL, "b"),
        ("h o n e y b s -", Fields::ALL, ""),
        ("h%y", Fields::ALL, ""),
        ("'", Fields::ALL, "é"),
        ("stretch", Fields::ALL, "a.b a b é"),
        ("stretch", Fields { address: false, ..Fields::ALL }, ""),
    ] {
        for max in [1, 2, 9] {
            let stretch = Stretch { terms: Terms::new(text, fields), max, ..Stretch::default() };
            let found = store.listed(domain, &stretch).await.unwrap();
            let names: Vec<_> = found.iter().filter_map(|listed| listed.jid.local()).collect();
            let expected: Vec<_> = expected.split(' ').filter(|name| !name.is_empty()).take(max).collect();
            assert_eq!(names, expected, "{stretch:?}");
        }
    }
    for (before, count) in [("", 4), ("a.b", 0), ("b", 2), ("ba", 3)] {
        assert_eq!(store.count_listed(domain, end(before).as_ref()).await.unwrap(), count, "{before}");
    }
}

/// How many rooms one maker may have, in domains of their own.
#[allow(clippy::unwrap_used)]
async fn conforming_counts(store: &dyn RoomStore) {
    let jid = |text: &str| BareJid::new(text).unwrap();
    let of = |maker: &str, public| RoomRecord {
        config: RoomConfig { public, persistent: true, ..RoomConfig::default() },
        locked: false,
        key: [1; 32],
        maker: Some(jid(maker)),
        subject: None,
        affiliated: Vec::new(),
        card: None,
        hats: Wardrobe::default(),
    };
    let (hers, his) = (of("hag@example.org", true), of("romeo@example.org", true));
    let hidden = of("hag@example.org", false);
    let room = |n: u32| jid(&format!("r{n}@counts.example.org"));
    assert!(!store.add(&room(0), &hers, 0).await.unwrap(), "none");
    assert!(store.add(&room(0), &hers, 2).await.unwrap());
    assert!(store.add(&room(1), &hidden, 2).await.unwrap(), "whether it is listed does not matter");
    assert!(!store.add(&room(2), &hers, 2).await.unwrap());
    assert!(store.load(&room(2)).await.unwrap().is_none(), "what was not to be stored is not");
    assert!(store.add(&room(1), &hers, 2).await.unwrap(), "it counts itself no second time");
    assert!(store.add(&room(2), &his, 2).await.unwrap(), "others have theirs");
    assert!(store.add(&jid("r0@other.example.org"), &hers, 2).await.unwrap(), "and other domains");
    store.remove(&room(0)).await.unwrap();
    assert!(store.add(&room(3), &hers, 2).await.unwrap(), "what is gone makes place");
    assert!(!store.add(&room(0), &hers, 2).await.unwrap());
    // Many at once.
    let mallory = of("mallory@example.org", true);
    let rooms: Vec<BareJid> = (10..30).map(room).collect();
    let mut adding: Vec<_> = rooms.iter().map(|room| store.add(room, &mallory, 5)).collect();
    let mut stored = 0;
    std::future::poll_fn(|cx| {
        adding.retain_mut(|adding| match adding.as_mut().poll(cx) {
            std::task::Poll::Ready(added) => {
                stored += u32::from(added.unwrap());
                false
            }
            std::task::Poll::Pending => true,
        });
        if adding.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    assert_eq!(stored, 5, "of many at once no more than may be");
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn memory_does_what_every_store_must() {
        super::conformance(&super::MemoryRooms::new()).await;
    }
}
