//! Where rosters are kept.

use super::{
    Item, RosterLimits, Subscription,
    chart::{State, Step},
};
use crate::Stored;
use std::time::{SystemTime, UNIX_EPOCH};
use xmpp_core::{jid::BareJid, xml::Stanza};

/// A whole roster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Its version; 0 of one that has never had an item.
    pub version: u64,
    /// Its items.
    pub items: Vec<Item>,
}

/// An item as a roster push has it, with the version of the roster that begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The version.
    pub version: u64,
    /// The item, [`Subscription::Remove`] where it has been removed.
    pub item: Item,
}

/// All that is kept about one contact.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The item of the roster, if there is one.
    pub item: Option<Item>,
    /// The contact's request for presence, as long as it is not answered: a stanza with `from` and `to`.
    pub request: Option<Stanza>,
}

impl Record {
    /// The state by the chart.
    pub fn state(&self) -> State {
        let (subscription, asked) = self.item.as_ref().map(|item| (item.subscription, item.ask)).unwrap_or_default();
        State::new(subscription, asked, self.request.is_some())
    }

    /// Whether a request of the contact is approved already (RFC 6121 §3.4).
    pub fn is_approved(&self) -> bool {
        self.item.as_ref().is_some_and(|item| item.approved)
    }

    /// The record after a step of the chart. `request` is the stanza, should it have to be kept.
    pub(super) fn after(&self, contact: &BareJid, step: &Step, request: Option<Stanza>) -> Record {
        let wanted = step.state.subscription() != Subscription::None || step.state.is_pending_out() || step.approved;
        let item = self.item.clone().or_else(|| wanted.then(|| Item::new(contact.clone()))).map(|item| Item {
            subscription: step.state.subscription(),
            ask: step.state.is_pending_out(),
            approved: step.approved,
            ..item
        });
        let request = if step.state.is_pending_in() { self.request.clone().or(request) } else { None };
        Record { item, request }
    }
}

/// What a change begins with.
#[derive(Clone, Debug)]
pub struct Before {
    /// What is kept about the contact.
    pub record: Record,
    /// How many items the roster has.
    pub items: usize,
}

/// Decides what to keep about a contact from now on; `None` leaves everything as it is. Called at most once.
pub type Decide<'a> = Box<dyn FnOnce(&Before) -> Option<Record> + Send + 'a>;

/// A contact to or from whom there is a subscription or a request for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Who.
    pub contact: BareJid,
    /// Who is subscribed to whom.
    pub subscription: Subscription,
    /// The user has asked and is not answered.
    pub ask: bool,
}

/// A contact's request that is not answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub contact: BareJid,
    /// The stanza, with `from` and `to`.
    pub stanza: Stanza,
}

/// Rosters, by user. Several servers may share one.
///
/// [`conformance`] checks an implementation.
pub trait RosterStore: Send + Sync + 'static {
    /// The whole roster.
    fn roster<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Roster>;

    /// What has changed since a version, in the order of the versions, each item once and as it is now; `None` where
    /// that is not known (any more).
    fn since<'a>(&'a self, user: &'a BareJid, version: u64) -> Stored<'a, Option<Vec<Versioned>>>;

    /// What is kept about one contact.
    fn record<'a>(&'a self, user: &'a BareJid, contact: &'a BareJid) -> Stored<'a, Record>;

    /// The items with a subscription, or a request of the user's: who hears of the user's presence, and of whose presence
    /// the user hears.
    fn relations<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Relation>>;

    /// The users of this store whose presence `contact` may see, by their own rosters.
    fn grants<'a>(&'a self, contact: &'a BareJid) -> Stored<'a, Vec<BareJid>>;

    /// The requests that wait to be answered, the oldest first.
    fn requests<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Request>>;

    /// Changes what is kept about one contact: nobody else's change comes between what `decide` sees and what it says.
    /// If the item is another one then, or is gone, the roster has a new version, and the answer is what to push. The
    /// oldest requests above [`RosterLimits::requests`] are dropped, and the oldest memories of removed items above
    /// [`RosterLimits::removed`].
    fn change<'a>(
        &'a self,
        user: &'a BareJid,
        contact: &'a BareJid,
        limits: &'a RosterLimits,
        decide: Decide<'a>,
    ) -> Stored<'a, Option<Versioned>>;

    /// Forgets a user's roster and the requests to the user.
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()>;
}

/// The version after `last`: greater, and, as it is the time in microseconds where that is greater still, none that a
/// roster of the same name had before it was forgotten.
pub fn next_version(last: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_micros()).unwrap_or_default();
    // An SQL integer has a sign.
    last.saturating_add(1).max(now).min(i64::MAX as u64)
}

/// Checks that a store does what the server relies on. `user` and `other` have no rosters in it, and have none
/// afterwards.
///
/// # Panics
/// When it does not.
#[allow(clippy::unwrap_used, clippy::missing_panics_doc)]
pub async fn conformance(store: &dyn RosterStore, user: &BareJid, other: &BareJid) {
    let contact = |name: &str| BareJid::new(&format!("{name}@contacts.example")).unwrap();
    let limits = RosterLimits { requests: 2, removed: 2, ..RosterLimits::default() };
    assert_eq!(store.roster(user).await.unwrap(), Roster::default(), "an unknown user has an empty roster");
    assert_eq!(store.since(user, 0).await.unwrap(), Some(Vec::new()), "nothing has changed since nothing");
    assert!(store.record(user, &contact("a")).await.unwrap().item.is_none());

    let put = async |user: &BareJid, item: Item| {
        let contact = item.jid.to_bare();
        let decide: Decide<'_> = Box::new(|before| Some(Record { item: Some(item), ..before.record.clone() }));
        store.change(user, &contact, &limits, decide).await.unwrap()
    };
    let remove = async |user: &BareJid, contact: BareJid| {
        store.change(user, &contact, &limits, Box::new(|_| Some(Record::default()))).await.unwrap()
    };

    // Items come back as they were put, and each change is a version.
    let full = Item {
        name: Some("A & \"B\" 日本 🙌".into()),
        subscription: Subscription::Both,
        ask: true,
        approved: true,
        groups: vec!["one\ntwo".into(), " three ".into(), "é".into()],
        ..Item::new(contact("a"))
    };
    let first = put(user, full.clone()).await.unwrap();
    assert_eq!(first.item, full);
    let second = put(user, Item::new(contact("b"))).await.unwrap();
    assert!(second.version > first.version && first.version > 0, "versions grow");
    let roster = store.roster(user).await.unwrap();
    assert_eq!((roster.version, roster.items.len()), (second.version, 2));
    assert!(roster.items.contains(&full));
    assert_eq!(store.record(user, &contact("a")).await.unwrap().item.unwrap(), full);
    assert_eq!(put(user, full.clone()).await, None, "what changes nothing has no version");
    assert_eq!(store.change(user, &contact("a"), &limits, Box::new(|_| None)).await.unwrap(), None);
    assert_eq!(store.roster(user).await.unwrap().version, second.version);
    assert_eq!(store.roster(other).await.unwrap(), Roster::default(), "rosters are apart");

    // What a change sees, and what has changed since a version.
    let mut seen = None;
    let look: Decide<'_> = Box::new(|before| {
        seen = Some(before.clone());
        None
    });
    store.change(user, &contact("a"), &limits, look).await.unwrap();
    let seen = seen.unwrap();
    assert_eq!((seen.items, seen.record.item.as_ref()), (2, Some(&full)));
    assert_eq!(store.since(user, first.version).await.unwrap().unwrap(), std::slice::from_ref(&second));
    assert_eq!(store.since(user, second.version).await.unwrap().unwrap(), []);
    assert_eq!(store.since(user, second.version + 1).await.unwrap(), None, "a version from nowhere");
    let renamed = Item { name: Some("Bee".into()), ..Item::new(contact("b")) };
    let third = put(user, renamed.clone()).await.unwrap();
    let removed = remove(user, contact("a")).await.unwrap();
    assert_eq!(removed.item, Item::removed(contact("a")));
    assert_eq!(
        store.since(user, first.version).await.unwrap().unwrap(),
        [third, removed.clone()],
        "the last state alone"
    );
    assert_eq!(remove(user, contact("a")).await, None, "gone already");
    assert_eq!(store.roster(user).await.unwrap().items, [renamed]);

    // An item that comes back is no memory of a removed one; those that are too many make older versions unknown.
    let back = put(user, full.clone()).await.unwrap();
    assert_eq!(store.since(user, removed.version).await.unwrap().unwrap(), std::slice::from_ref(&back));
    for name in ["c", "d", "e"] {
        put(user, Item::new(contact(name))).await.unwrap();
        remove(user, contact(name)).await.unwrap();
    }
    assert_eq!(store.since(user, back.version).await.unwrap(), None, "one of three removals is forgotten");
    let now = store.roster(user).await.unwrap().version;
    assert_eq!(store.since(user, now).await.unwrap().unwrap(), []);

    // Who is subscribed.
    put(user, Item { ask: true, ..Item::new(contact("f")) }).await.unwrap();
    put(user, Item { subscription: Subscription::From, ..Item::new(other.clone()) }).await.unwrap();
    put(other, Item { subscription: Subscription::To, ..Item::new(user.clone()) }).await.unwrap();
    let mut relations = store.relations(user).await.unwrap();
    relations.sort_by(|one, other| one.contact.cmp(&other.contact));
    let mut expected = vec![
        Relation { contact: contact("a"), subscription: Subscription::Both, ask: true },
        Relation { contact: contact("f"), subscription: Subscription::None, ask: true },
        Relation { contact: other.clone(), subscription: Subscription::From, ask: false },
    ];
    expected.sort_by(|one, other| one.contact.cmp(&other.contact));
    assert_eq!(relations, expected);
    assert_eq!(store.grants(&contact("a")).await.unwrap(), std::slice::from_ref(user));
    assert_eq!(store.grants(other).await.unwrap(), std::slice::from_ref(user));
    assert!(store.grants(user).await.unwrap().is_empty(), "the other's roster grants nothing");

    // Requests: apart from items, whole, bounded, the oldest first.
    let version = store.roster(user).await.unwrap().version;
    let ask = async |from: &BareJid| {
        let text = format!(
            "<presence from='{from}' to='{user}' type='subscribe'><status>&lt;é&gt;</status><nick \
             xmlns='http://jabber.org/protocol/nick'>N</nick></presence>"
        );
        let limits_of_xml = xmpp_core::xml::XmlLimits::default();
        let stanza = Stanza::parse(&text, xmpp_core::xml::ns::CLIENT, &limits_of_xml).unwrap();
        let decide: Decide<'_> = Box::new(|before| Some(Record { request: Some(stanza), ..before.record.clone() }));
        assert_eq!(store.change(user, from, &limits, decide).await.unwrap(), None, "no item, no version");
    };
    for name in ["g", "h", "i"] {
        ask(&contact(name)).await;
    }
    let requests = store.requests(user).await.unwrap();
    let names: Vec<&BareJid> = requests.iter().map(|request| &request.contact).collect();
    assert_eq!(names, [&contact("h"), &contact("i")], "the oldest has made room");
    let nick = requests[0].stanza.root().child("nick", "http://jabber.org/protocol/nick").unwrap();
    assert_eq!(nick.text(), "N");
    assert_eq!(requests[0].stanza.root().attr("from").as_deref(), Some("h@contacts.example"));
    assert!(store.record(user, &contact("h")).await.unwrap().request.is_some());
    assert!(store.record(user, &contact("h")).await.unwrap().item.is_none());
    assert_eq!(remove(user, contact("h")).await, None);
    assert_eq!(store.requests(user).await.unwrap().len(), 1);
    assert_eq!(store.roster(user).await.unwrap().version, version);

    // Forgotten: of the one, not of the other.
    store.forget(user).await.unwrap();
    assert_eq!(store.roster(user).await.unwrap(), Roster::default());
    assert!(store.requests(user).await.unwrap().is_empty() && store.relations(user).await.unwrap().is_empty());
    assert_eq!(store.roster(other).await.unwrap().items.len(), 1);
    let again = put(user, Item::new(contact("a"))).await.unwrap();
    assert!(again.version > version, "versions are not used again");
    store.forget(user).await.unwrap();
    store.forget(other).await.unwrap();
}
