//! Stores that are slow or fail, and sessions and accounts that go in the middle of something: what is lost then, what
//! stays, and who learns of it.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod stage;

use stage::{
    support::{PASSWORD, builder},
    *,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Notify;
use xmpp_core::{
    jid::BareJid,
    server::{
        Decision, Envelope, Kinds, MemoryAccounts, Server, ServerBuilder, ServerRegistrar, Stage, Station, Verdict,
    },
};
use xmpp_im::{
    StorageError, Stored,
    blocking::{Blocking, MemoryBlocking},
    presence::MAX_DIRECTED,
    roster::{
        Decide, Item, MemoryRosters, Record, Relation, Request, Roster, RosterLimits, RosterStore, Subscription,
        Versioned,
    },
};

const JULIET: &str = "juliet@localhost";
const ROMEO: &str = "romeo@localhost";

/// What a question to the store meets.
#[derive(Clone)]
enum Fault {
    /// It is answered when this is notified, with what was true before.
    Slow(Arc<Notify>),
    /// It fails.
    Fails,
}

/// A store of rosters that is as bad as a test wants it to be.
#[derive(Clone, Default)]
struct Faulty {
    rosters: Arc<MemoryRosters>,
    faults: Arc<Mutex<HashMap<&'static str, Vec<Fault>>>>,
}

impl Faulty {
    /// The next time that it is asked.
    fn next(&self, question: &'static str, fault: Fault) {
        self.faults.lock().unwrap().entry(question).or_default().push(fault);
    }

    /// The next answer is late, until this is notified.
    fn slow(&self, question: &'static str) -> Arc<Notify> {
        let bell = Arc::new(Notify::new());
        self.next(question, Fault::Slow(Arc::clone(&bell)));
        bell
    }

    fn fails(&self, question: &'static str) {
        self.next(question, Fault::Fails);
    }

    fn all_is_asked(&self) -> bool {
        self.faults.lock().unwrap().values().all(Vec::is_empty)
    }

    fn answer<'a, T: Send + 'a>(&'a self, question: &'static str, answer: Stored<'a, T>) -> Stored<'a, T> {
        let fault = self.faults.lock().unwrap().get_mut(question).and_then(Vec::pop);
        match fault {
            None => answer,
            Some(Fault::Fails) => Box::pin(async { Err(StorageError("a fault".into())) }),
            Some(Fault::Slow(bell)) => Box::pin(async move {
                let answer = answer.await;
                bell.notified().await;
                answer
            }),
        }
    }
}

impl RosterStore for Faulty {
    fn roster<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Roster> {
        self.answer("roster", self.rosters.roster(user))
    }
    fn since<'a>(&'a self, user: &'a BareJid, version: u64) -> Stored<'a, Option<Vec<Versioned>>> {
        self.answer("since", self.rosters.since(user, version))
    }
    fn record<'a>(&'a self, user: &'a BareJid, contact: &'a BareJid) -> Stored<'a, Record> {
        self.answer("record", self.rosters.record(user, contact))
    }
    fn relations<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Relation>> {
        self.answer("relations", self.rosters.relations(user))
    }
    fn grants<'a>(&'a self, contact: &'a BareJid) -> Stored<'a, Vec<BareJid>> {
        self.answer("grants", self.rosters.grants(contact))
    }
    fn requests<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Request>> {
        self.answer("requests", self.rosters.requests(user))
    }
    fn change<'a>(
        &'a self,
        user: &'a BareJid,
        contact: &'a BareJid,
        limits: &'a RosterLimits,
        decide: Decide<'a>,
    ) -> Stored<'a, Option<Versioned>> {
        self.answer("change", self.rosters.change(user, contact, limits, decide))
    }
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        self.rosters.forget(user)
    }
}

fn scene() -> (Server, Faulty) {
    scene_with(|builder| builder)
}

fn scene_with(change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> (Server, Faulty) {
    let store = Faulty::default();
    (change(compose(builder(), store.clone(), RosterLimits::default())).build().unwrap(), store)
}

/// They see each other; `one` is connected and `other` comes later.
async fn befriend(server: &Server, one: &mut Device, other: &str) {
    let mut friend = Device::new(server, &format!("{other}/once")).await;
    let name = one.jid.split('/').next().unwrap().to_owned();
    one.presence("subscribe", other).await;
    friend.presence("subscribe", &name).await;
    settle().await;
    one.presence("subscribed", other).await;
    friend.presence("subscribed", &name).await;
    settle().await;
    assert_eq!(friend.roster().await.0, [format!("{name} both")]);
    drop(friend);
    settle().await;
    one.seen().await;
}

#[tokio::test]
async fn rfc6121_4_2_2_who_leaves_while_a_session_begins_is_not_shown_to_it_for_ever() {
    let (server, store) = scene();
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    befriend(&server, &mut romeo, JULIET).await;
    let bell = store.slow("grants");
    let mut juliet = Device::connect(&server, "juliet@localhost/balcony").await;
    juliet.send("<presence/>").await;
    settle().await;
    assert!(store.all_is_asked());
    drop(romeo);
    settle().await;
    bell.notify_one();
    let seen = juliet.seen().await;
    assert_eq!(seen.last().unwrap(), "unavailable romeo@localhost/orchard", "{seen:?}");
}

#[tokio::test]
async fn rfc6121_4_6_3_presence_that_was_on_its_way_when_its_session_ended_is_shown_to_nobody() {
    let bell = Arc::new(Notify::new());
    let late = Arc::clone(&bell);
    let (server, _) = scene_with(|builder| {
        builder.with(move |r: &mut ServerRegistrar| {
            r.station(
                Station::new(
                    "test:slow",
                    Stage::Outgoing,
                    Kinds::PRESENCE,
                    move |envelope: &mut Envelope, _: &Server| {
                        let late = Arc::clone(&late);
                        let slow = envelope.is_from_client() && envelope.to().is_some_and(|to| to.as_str() == ROMEO);
                        match slow {
                            true => Decision::Wait(Box::pin(async move {
                                late.notified().await;
                                Verdict::Continue
                            })),
                            false => Verdict::Continue.into(),
                        }
                    },
                )
                .before("im:directed"),
            );
        })
    });
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    juliet.send("<presence to='romeo@localhost'/>").await;
    settle().await;
    let mut new = Device::connect(&server, "juliet@localhost/balcony").await;
    settle().await;
    bell.notify_one();
    assert!(romeo.seen().await.is_empty(), "nobody would say that she has gone");
    new.seen().await;
}

#[tokio::test]
async fn rfc6121_4_6_3_the_end_of_the_replaced_does_not_overtake_its_successor() {
    let (server, store) = scene();
    let mut room = Device::new(&server, "room@localhost/x").await;
    let mut old = Device::new(&server, "juliet@localhost/balcony").await;
    old.send("<presence to='room@localhost/x'/>").await;
    assert_eq!(room.seen().await, ["available juliet@localhost/balcony"]);
    let bell = store.slow("relations");
    let mut new = Device::connect(&server, "juliet@localhost/balcony").await;
    settle().await;
    new.send("<presence to='room@localhost/x'/>").await;
    settle().await;
    bell.notify_one();
    assert_eq!(room.seen().await, ["unavailable juliet@localhost/balcony", "available juliet@localhost/balcony"]);
    drop(new);
    assert_eq!(room.seen().await, ["unavailable juliet@localhost/balcony"]);
}

#[tokio::test]
async fn rfc6121_4_6_3_who_cannot_be_remembered_is_not_shown_presence() {
    let (server, _) = scene();
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    for n in 1..MAX_DIRECTED {
        juliet.send(&format!("<presence to='someone{n}@localhost'/>")).await;
    }
    juliet.send("<presence to='romeo@localhost'/>").await;
    assert!(juliet.seen().await.is_empty());
    assert_eq!(romeo.seen().await, ["available juliet@localhost/balcony"]);
    // One too many; who is remembered may be told more.
    juliet
        .send("<presence to='romeo@localhost/orchard'/><presence to='romeo@localhost'><status>!</status></presence>")
        .await;
    assert_eq!(juliet.seen().await, ["error resource-constraint romeo@localhost/orchard"]);
    assert_eq!(romeo.seen().await, ["available juliet@localhost/balcony '!'"]);
    drop(juliet);
    assert_eq!(romeo.seen().await, ["unavailable juliet@localhost/balcony"]);
}

#[tokio::test(start_paused = true)]
async fn rfc6121_4_2_2_a_session_that_begins_while_the_store_fails_is_shown_later() {
    for question in ["relations", "grants", "requests"] {
        let (server, store) = scene();
        let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
        befriend(&server, &mut romeo, JULIET).await;
        let mut tybalt = Device::new(&server, "tybalt@localhost/x").await;
        tybalt.presence("subscribe", JULIET).await;
        tybalt.seen().await;
        store.fails(question);
        store.fails(question);
        let mut juliet = Device::connect(&server, "juliet@localhost/balcony").await;
        juliet.send("<presence/>").await;
        juliet.until("subscribe tybalt@localhost").await;
        assert!(store.all_is_asked(), "{question}");
        assert!(romeo.seen().await.contains(&"available juliet@localhost/balcony".to_owned()), "{question}");
    }
}

#[tokio::test(start_paused = true)]
async fn rfc6121_4_5_2_a_session_that_ends_while_the_store_fails_is_gone_later() {
    for says_so in [false, true] {
        let (server, store) = scene();
        let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
        befriend(&server, &mut romeo, JULIET).await;
        let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
        assert_eq!(romeo.seen().await, ["available juliet@localhost/balcony"]);
        store.fails("relations");
        store.fails("relations");
        if says_so {
            juliet.send("<presence type='unavailable'/>").await;
            juliet.seen().await;
        }
        drop(juliet);
        assert!(romeo.until("unavailable juliet@localhost/balcony").await.is_empty());
    }
}

fn removable() -> (Server, Arc<MemoryAccounts>, Faulty) {
    let accounts = Arc::new(MemoryAccounts::new());
    for name in [JULIET, ROMEO] {
        accounts.set_password(BareJid::new(name).unwrap(), PASSWORD);
    }
    let store = Faulty::default();
    let builder = Server::builder("localhost").accounts(Arc::clone(&accounts));
    (compose(builder, store.clone(), RosterLimits::default()).build().unwrap(), accounts, store)
}

#[tokio::test]
async fn an_account_that_goes_in_the_middle_leaves_nothing_for_the_next_of_that_name() {
    let (server, accounts, store) = removable();
    let juliet = BareJid::new(JULIET).unwrap();
    let mut hers = Device::new(&server, "juliet@localhost/balcony").await;
    let mut his = Device::new(&server, "romeo@localhost/orchard").await;
    // What is being done now is to wait: her removal, a change of her roster, and a request of his.
    let bell = store.slow("roster");
    hers.send(&format!("<iq type='get' id='1'><query xmlns='{ROSTER}'/></iq>")).await;
    settle().await;
    assert!(store.all_is_asked());
    let (remove, whose) = (server.clone(), juliet.clone());
    assert!(accounts.remove(&juliet));
    let removal = tokio::spawn(async move { remove.account_removed(&whose).await });
    settle().await;
    his.presence("subscribe", JULIET).await;
    settle().await;
    bell.notify_one();
    removal.await.unwrap();
    his.seen().await;
    settle().await;
    assert!(store.rosters.requests(&juliet).await.unwrap().is_empty());
    assert!(store.rosters.roster(&juliet).await.unwrap().items.is_empty());
    // A session of hers may be there for a while, for its end tag.
    let mut lingering = Device::connect(&server, "romeo@localhost/2").await;
    lingering.presence("subscribe", JULIET).await;
    lingering.seen().await;
    assert!(store.rosters.requests(&juliet).await.unwrap().is_empty());
}

#[tokio::test]
async fn abuse_a071_a_request_that_waits_is_not_shown_once_its_sender_is_blocked() {
    let (server, _) = scene_with(|builder| builder.with(Blocking::new(MemoryBlocking::new()).server()));
    let mut tybalt = Device::new(&server, "tybalt@localhost/x").await;
    tybalt.presence("subscribe", JULIET).await;
    tybalt.seen().await;
    let mut juliet = Device::connect(&server, "juliet@localhost/balcony").await;
    let change = |what: &str| {
        format!("<iq type='set' id='b'><{what} xmlns='urn:xmpp:blocking'><item jid='tybalt@localhost'/></{what}></iq>")
    };
    juliet.send(&change("block")).await;
    juliet.send("<presence/>").await;
    assert_eq!(juliet.seen().await, ["iq result", "available juliet@localhost/balcony"]);
    // It is still there for who changes her mind.
    juliet.send(&change("unblock")).await;
    juliet.send("<presence type='unavailable'/>").await;
    juliet.seen().await;
    juliet.send("<presence/>").await;
    assert!(juliet.seen().await.contains(&"subscribe tybalt@localhost".to_owned()));
}

#[tokio::test]
async fn rfc6121_8_5_3_1_what_the_replaced_never_got_is_for_its_successor() {
    let (server, _) = scene();
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut old = Device::connect(&server, "juliet@localhost/balcony").await;
    // It can be resumed, is lost, and has all of these for the next.
    old.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    settle().await;
    drop(old);
    while server.hibernating() == 0 {
        tokio::task::yield_now().await;
    }
    for kind in ["normal", "chat", "headline"] {
        romeo.send(&format!("<message type='{kind}' to='juliet@localhost/balcony'><body>1</body></message>")).await;
    }
    romeo.seen().await;
    let mut new = Device::connect(&server, "juliet@localhost/balcony").await;
    assert_eq!(new.seen().await, ["message normal", "message chat", "message headline"]);
    assert!(romeo.seen().await.is_empty(), "nothing comes back");
}

#[tokio::test]
async fn abuse_a071_a_request_is_not_made_again_of_who_is_blocked() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let (server, _) = scene_with(|builder| {
        builder.with(Blocking::new(MemoryBlocking::new()).server()).with(move |r: &mut ServerRegistrar| {
            r.service("elsewhere.example", |s| {
                s.stanzas(Kinds::PRESENCE, move |envelope: &mut Envelope, _: &Server| {
                    noted.lock().unwrap().push(envelope.type_str().into_owned());
                    Verdict::Handled
                });
            });
        })
    });
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    juliet.presence("subscribe", "paris@elsewhere.example").await;
    juliet.send("<presence type='unavailable'/>").await;
    juliet.send("<presence/>").await;
    juliet.seen().await;
    assert_eq!(std::mem::take(&mut *asked.lock().unwrap()), ["subscribe", "subscribe"], "once more at the next login");
    juliet
        .send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='elsewhere.example'/></block></iq>")
        .await;
    juliet.send("<presence type='unavailable'/>").await;
    juliet.send("<presence/>").await;
    juliet.seen().await;
    assert!(asked.lock().unwrap().is_empty(), "it would tell when she is there");
}

#[tokio::test]
async fn abuse_a051_each_limit_of_a_roster_is_met_exactly() {
    let mut limits = RosterLimits::default();
    (limits.items, limits.name, limits.group, limits.groups) = (2, 6, 4, 2);
    let server = compose(builder(), MemoryRosters::new(), limits).build().unwrap();
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    let cases = [
        // In bytes, not in characters.
        ("<item jid='a@localhost' name='éüö'/>", "iq result"),
        ("<item jid='a@localhost' name='éüöx'/>", "error not-acceptable "),
        ("<item jid='a@localhost'><group>1234</group></item>", "iq result"),
        ("<item jid='a@localhost'><group>12345</group></item>", "error not-acceptable "),
        ("<item jid='a@localhost'><group>1</group><group>2</group></item>", "iq result"),
        ("<item jid='a@localhost'><group>1</group><group>2</group><group>3</group></item>", "error not-acceptable "),
        ("<item jid='b@localhost'/>", "iq result"),
        ("<item jid='c@localhost'/>", "error resource-constraint "),
        ("<item jid='b@localhost' name='still'/>", "iq result"),
    ];
    for (item, expected) in cases {
        assert_eq!(juliet.set(item).await, expected, "{item}");
    }
    // Nor by a request, nor by an approval before one is made.
    for type_ in ["subscribe", "subscribed"] {
        juliet.seen().await;
        juliet.presence(type_, "c@localhost").await;
        assert_eq!(juliet.seen().await, ["error resource-constraint c@localhost"], "{type_}");
    }
    // What others ask for takes no place until it is granted.
    let mut other = Device::new(&server, "other@localhost/x").await;
    other.presence("subscribe", JULIET).await;
    assert_eq!(juliet.seen().await, ["subscribe other@localhost"]);
    juliet.presence("subscribed", "other@localhost").await;
    assert_eq!(juliet.seen().await, ["error resource-constraint other@localhost"]);
    assert_eq!(juliet.set("<item jid='b@localhost' subscription='remove'/>").await, "iq result");
    juliet.presence("subscribed", "other@localhost").await;
    settle().await;
    assert_eq!(juliet.roster().await.0, ["a@localhost none [1] [2]", "other@localhost from"]);
}

#[tokio::test(start_paused = true)]
async fn abuse_a102_who_has_many_contacts_is_heard_less_often() {
    let told = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&told);
    let (server, store) = scene_with(|builder| {
        builder.with(move |r: &mut ServerRegistrar| {
            r.service("elsewhere.example", |s| {
                s.stanzas(Kinds::PRESENCE, move |_: &mut Envelope, _: &Server| {
                    *counted.lock().unwrap() += 1;
                    Verdict::Handled
                });
            });
        })
    });
    let (user, limits) = (BareJid::new(JULIET).unwrap(), RosterLimits::default());
    for number in 0..500 {
        let contact = BareJid::new(&format!("friend{number}@elsewhere.example")).unwrap();
        let friend = Item { subscription: Subscription::From, ..Item::new(contact.clone()) };
        let put: Decide<'_> =
            Box::new(|before| Some(Record { item: Some(friend), request: before.record.request.clone() }));
        store.rosters.change(&user, &contact, &limits, put).await.unwrap();
    }
    let mut juliet = Device::connect(&server, "juliet@localhost/balcony").await;
    let start = tokio::time::Instant::now();
    for _ in 0..100 {
        juliet.send("<presence/>").await;
    }
    // Whoever else shares her turn, and her own other sessions, need not wait for it.
    let mut other = Device::connect(&server, "juliet@localhost/chamber").await;
    assert!(other.seen().await.is_empty());
    assert!(start.elapsed() < Duration::from_millis(100), "of a second");
    juliet.until("available juliet@localhost/balcony").await;
    juliet.seen().await;
    assert_eq!(*told.lock().unwrap(), 50_000);
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
}
