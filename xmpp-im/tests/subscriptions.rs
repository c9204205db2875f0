//! Subscriptions and the presence that follows them, through an embedded server (RFC 6121 §3 and §4), as XML.
#![allow(clippy::unwrap_used, clippy::panic, clippy::field_reassign_with_default, missing_docs)]

mod stage;

use stage::{
    support::{Table, builder},
    *,
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use xmpp_core::{jid::BareJid, server::Server};
use xmpp_im::{
    Stored,
    roster::{Decide, MemoryRosters, Record, Relation, Request, Roster, RosterLimits, RosterStore, Versioned},
};

const JULIET: &str = "juliet@localhost";
const ROMEO: &str = "romeo@localhost";

async fn pair(server: &Server) -> (Device, Device) {
    let juliet = Device::new(server, "juliet@localhost/balcony").await;
    (juliet, Device::new(server, "romeo@localhost/orchard").await)
}

/// Juliet and Romeo, who see each other.
async fn friends(server: &Server) -> (Device, Device) {
    let (mut juliet, mut romeo) = pair(server).await;
    juliet.presence("subscribe", ROMEO).await;
    romeo.presence("subscribe", JULIET).await;
    settle().await;
    juliet.presence("subscribed", ROMEO).await;
    romeo.presence("subscribed", JULIET).await;
    settle().await;
    assert_eq!(juliet.roster().await.0, ["romeo@localhost both"]);
    assert_eq!(romeo.roster().await.0, ["juliet@localhost both"]);
    juliet.seen().await;
    romeo.seen().await;
    (juliet, romeo)
}

#[tokio::test]
async fn rfc6121_3_1_asked_approved_and_seen_both_ways() {
    let server = server();
    let (mut juliet, mut romeo) = pair(&server).await;
    let mut orchard2 = Device::connect(&server, "romeo@localhost/connected").await;
    // §3.1.2: to whichever resource, it is for the account, and from the account.
    romeo
        .send("<presence type='subscribe' id='s1' to='juliet@localhost/balcony'><status>It is I</status></presence>")
        .await;
    assert_eq!(romeo.seen().await, ["push juliet@localhost none ask"]);
    let [asked] = juliet.stanzas().await.try_into().unwrap();
    let root = asked.root();
    assert_eq!((brief(&asked).as_str(), root.attr("to").as_deref()), ("subscribe romeo@localhost", Some(JULIET)));
    assert_eq!(root.child("status", "jabber:client").unwrap().text(), "It is I");
    assert_eq!(root.attr("id").as_deref(), Some("s1"));
    assert!(juliet.roster().await.0.is_empty(), "§3.1.3: no item before she has answered");
    // Once more says nothing new.
    romeo.presence("subscribe", JULIET).await;
    assert!(romeo.seen().await.is_empty() && juliet.seen().await.is_empty());

    // §3.1.5, §3.1.6: word, push, presence.
    juliet.presence("subscribed", ROMEO).await;
    assert_eq!(juliet.seen().await, ["push romeo@localhost from"]);
    let heard = ["subscribed juliet@localhost", "push juliet@localhost to", "available juliet@localhost/balcony"];
    assert_eq!(romeo.seen().await, heard);
    assert!(orchard2.seen().await.is_empty(), "neither interested nor available");
    juliet.presence("subscribe", ROMEO).await;
    assert_eq!(juliet.seen().await, ["push romeo@localhost from ask"]);
    assert_eq!(romeo.seen().await, ["subscribe juliet@localhost"]);
    romeo.presence("subscribed", JULIET).await;
    assert_eq!(romeo.seen().await, ["push juliet@localhost both"]);
    let heard = ["subscribed romeo@localhost", "push romeo@localhost both", "available romeo@localhost/orchard"];
    assert_eq!(juliet.seen().await, heard);

    // §4.4.2: what changes is told.
    romeo.send("<presence><status>away</status></presence>").await;
    assert_eq!(juliet.seen().await, ["available romeo@localhost/orchard 'away'"]);
}

#[tokio::test]
async fn rfc6121_3_1_3_a_request_waits_whole_until_it_is_answered() {
    let server = server();
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let nick = "<nick xmlns='http://jabber.org/protocol/nick'>Montague</nick>";
    romeo
        .send(&format!("<presence type='subscribe' to='{JULIET}' id='1'><status>first</status>{nick}</presence>"))
        .await;
    romeo.send(&format!("<presence type='subscribe' to='{JULIET}' id='2'><status>second</status></presence>")).await;
    settle().await;
    for resource in ["balcony", "chamber"] {
        let mut juliet = Device::connect(&server, &format!("{JULIET}/{resource}")).await;
        assert!(juliet.seen().await.is_empty(), "not to one that is not available");
        juliet.send("<presence><priority>-1</priority></presence>").await;
        let seen = juliet.stanzas().await;
        let requests: Vec<_> = seen.iter().filter(|one| brief(one) == "subscribe romeo@localhost").collect();
        let [request] = requests.try_into().unwrap();
        assert!(request.as_str().contains("first") && request.as_str().contains("Montague"), "{}", request.as_str());
        // An update is no new resource.
        juliet.send("<presence><show>away</show></presence>").await;
        assert!(!juliet.seen().await.contains(&"subscribe romeo@localhost".to_owned()));
    }
    let mut juliet = Device::new(&server, "juliet@localhost/garden").await;
    juliet.presence("unsubscribed", ROMEO).await;
    assert!(juliet.seen().await.is_empty(), "nothing in her roster has changed");
    assert_eq!(
        romeo.seen().await,
        ["push juliet@localhost none ask", "unsubscribed juliet@localhost", "push juliet@localhost none"]
    );
    let mut later = Device::connect(&server, "juliet@localhost/later").await;
    later.send("<presence/>").await;
    assert!(!later.seen().await.contains(&"subscribe romeo@localhost".to_owned()));
}

#[tokio::test]
async fn rfc6121_3_3_3_a_request_that_is_taken_back_is_forgotten() {
    let server = server();
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    romeo.presence("subscribe", JULIET).await;
    romeo.presence("unsubscribe", JULIET).await;
    settle().await;
    let mut juliet = Device::connect(&server, "juliet@localhost/balcony").await;
    juliet.send("<presence/>").await;
    assert_eq!(juliet.seen().await, ["available juliet@localhost/balcony"]);
    assert_eq!(romeo.roster().await.0, ["juliet@localhost none"]);
}

#[tokio::test]
async fn rfc6121_3_4_approved_before_it_is_asked() {
    let server = server();
    let (mut juliet, mut romeo) = pair(&server).await;
    juliet.presence("subscribed", ROMEO).await;
    assert_eq!(juliet.seen().await, ["push romeo@localhost none approved"]);
    assert!(romeo.seen().await.is_empty(), "§3.4.2: not routed");
    // §3.4.2: it can be taken back.
    juliet.presence("unsubscribed", ROMEO).await;
    assert_eq!(juliet.seen().await, ["push romeo@localhost none"]);
    assert!(romeo.seen().await.is_empty());
    juliet.presence("subscribed", ROMEO).await;
    juliet.seen().await;
    // §4.3.2: an answered probe does not take it back.
    romeo.presence("probe", JULIET).await;
    assert!(juliet.seen().await.is_empty());

    romeo.presence("subscribe", JULIET).await;
    let heard = [
        "push juliet@localhost none ask",
        "subscribed juliet@localhost",
        "push juliet@localhost to",
        "available juliet@localhost/balcony",
    ];
    assert_eq!(romeo.seen().await, heard);
    assert_eq!(juliet.seen().await, ["push romeo@localhost from approved"], "the request is not shown");
}

#[tokio::test]
async fn rfc6121_3_1_3_who_is_subscribed_and_asks_again_is_answered_by_the_server() {
    let store = Arc::new(MemoryRosters::new());
    let server = compose(builder(), Shared(store.clone(), Arc::default()), RosterLimits::default()).build().unwrap();
    let (mut juliet, mut romeo) = friends(&server).await;
    // Romeo's side has lost it.
    let (romeo_bare, juliet_bare) = (BareJid::new(ROMEO).unwrap(), BareJid::new(JULIET).unwrap());
    let limits = RosterLimits::default();
    store.change(&romeo_bare, &juliet_bare, &limits, Box::new(|_| Some(Record::default()))).await.unwrap();
    romeo.presence("subscribe", JULIET).await;
    let heard = [
        "push juliet@localhost none ask",
        "subscribed juliet@localhost",
        "push juliet@localhost to",
        "available juliet@localhost/balcony",
    ];
    assert_eq!(romeo.seen().await, heard);
    assert!(juliet.seen().await.is_empty());
}

#[tokio::test]
async fn abuse_a053_what_nobody_asked_for_is_dropped() {
    let server = server();
    let (mut juliet, mut romeo) = pair(&server).await;
    juliet.set("<item jid='romeo@localhost' name='R'/>").await;
    juliet.seen().await;
    for type_ in ["subscribed", "unsubscribed", "unsubscribe"] {
        romeo.presence(type_, JULIET).await;
        assert!(juliet.seen().await.is_empty(), "{type_}");
    }
    assert_eq!(juliet.roster().await.0, ["romeo@localhost none 'R'"]);
    // Nor does it show anything: juliet's presence is still her own.
    juliet.send("<presence><status>secret</status></presence>").await;
    juliet.seen().await;
    assert_eq!(romeo.seen().await, ["push juliet@localhost none approved", "push juliet@localhost none"]);
}

#[tokio::test]
async fn rfc6121_3_2_a_subscription_is_cancelled() {
    let server = server();
    let (mut juliet, mut romeo) = friends(&server).await;
    juliet.presence("unsubscribed", ROMEO).await;
    assert_eq!(juliet.seen().await, ["push romeo@localhost to"]);
    let heard = ["unavailable juliet@localhost/balcony", "unsubscribed juliet@localhost", "push juliet@localhost from"];
    assert_eq!(romeo.seen().await, heard);
    juliet.send("<presence><status>secret</status></presence>").await;
    juliet.seen().await;
    assert!(romeo.seen().await.is_empty());
    // The other way it goes on.
    romeo.send("<presence><status>open</status></presence>").await;
    assert_eq!(juliet.seen().await, ["available romeo@localhost/orchard 'open'"]);
}

#[tokio::test]
async fn rfc6121_3_3_a_subscription_is_ended_by_who_has_it() {
    let server = server();
    let (mut juliet, mut romeo) = friends(&server).await;
    romeo.presence("unsubscribe", JULIET).await;
    // §3.3.3, and Appendix A.3.2: the answer changes nothing any more, and is not shown.
    assert_eq!(romeo.seen().await, ["push juliet@localhost from", "unavailable juliet@localhost/balcony"]);
    assert_eq!(juliet.seen().await, ["unsubscribe romeo@localhost", "push romeo@localhost to"]);
}

#[tokio::test]
async fn rfc6121_2_5_2_a_contact_that_is_removed_is_told() {
    let server = server();
    let (mut juliet, mut romeo) = friends(&server).await;
    assert_eq!(juliet.set("<item jid='romeo@localhost' subscription='remove'/>").await, "iq result");
    // What Romeo's server answers finds no subscription any more; only that he has gone is still told.
    assert_eq!(juliet.seen().await, ["push romeo@localhost remove", "unavailable romeo@localhost/orchard"]);
    let heard = [
        "unavailable juliet@localhost/balcony",
        "unsubscribe juliet@localhost",
        "push juliet@localhost to",
        "unsubscribed juliet@localhost",
        "push juliet@localhost none",
    ];
    assert_eq!(romeo.seen().await, heard);
    // A request that has not been answered is taken back, and one that was made is denied.
    juliet.presence("subscribe", ROMEO).await;
    romeo.presence("subscribe", JULIET).await;
    settle().await;
    juliet.seen().await;
    romeo.seen().await;
    juliet.set("<item jid='romeo@localhost' subscription='remove'/>").await;
    let heard = ["unsubscribe juliet@localhost", "unsubscribed juliet@localhost", "push juliet@localhost none"];
    assert_eq!(romeo.seen().await, heard);
    assert!(juliet.roster().await.0.is_empty());
}

#[tokio::test]
async fn rfc6121_4_2_2_a_new_session_shows_itself_and_learns_who_is_there() {
    let server = server();
    let (mut juliet, mut romeo) = friends(&server).await;
    romeo.send("<presence id='p7'><show>dnd</show><status>busy</status></presence>").await;
    juliet.seen().await;
    romeo.seen().await;
    let mut chamber = Device::connect(&server, "juliet@localhost/chamber").await;
    chamber.send("<presence><priority>-5</priority><status>new</status></presence>").await;
    let seen = chamber.stanzas().await;
    let words: Vec<String> = seen.iter().map(brief).collect();
    let expected = [
        "available juliet@localhost/chamber 'new'",
        "available juliet@localhost/balcony",
        "available romeo@localhost/orchard 'busy'",
    ];
    assert_eq!(words, expected);
    assert_eq!(seen[2].root().attr("id").as_deref(), Some("p7"), "as he said it");
    assert_eq!(juliet.seen().await, ["available juliet@localhost/chamber 'new'"]);
    let [shown] = romeo.stanzas().await.try_into().unwrap();
    assert_eq!(brief(&shown), "available juliet@localhost/chamber 'new'");
    assert_eq!(shown.root().attr("to").as_deref(), Some(ROMEO));

    // §4.5.2: going, with a word and without.
    chamber.send("<presence type='unavailable'><status>gone</status></presence>").await;
    let [gone] = romeo.stanzas().await.try_into().unwrap();
    assert_eq!(brief(&gone), "unavailable juliet@localhost/chamber");
    assert!(gone.as_str().contains("gone"));
    // What was said is said.
    chamber.send("<presence type='unavailable'/>").await;
    drop(chamber);
    assert!(romeo.seen().await.is_empty());
    drop(juliet);
    assert_eq!(romeo.seen().await, ["unavailable juliet@localhost/balcony"]);
}

#[tokio::test]
async fn rfc6121_4_2_2_presence_is_shown_to_subscribers_alone() {
    let server = server();
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    let mut others = Vec::new();
    for name in ["asked", "asks", "listed", "seen"] {
        others.push(Device::new(&server, &format!("{name}@localhost/x")).await);
    }
    juliet.presence("subscribe", "asked@localhost").await;
    others[1].presence("subscribe", JULIET).await;
    juliet.set("<item jid='listed@localhost'/>").await;
    juliet.presence("subscribe", "seen@localhost").await;
    settle().await;
    others[3].presence("subscribed", JULIET).await;
    settle().await;
    for other in &mut others {
        other.seen().await;
    }
    juliet.seen().await;
    juliet.send("<presence><status>secret</status></presence><presence type='unavailable'/><presence/>").await;
    juliet.seen().await;
    for other in &mut others {
        assert!(other.seen().await.is_empty(), "{}", other.jid);
    }
    // §4.6.3: who was shown it once is told once, also when subscribed meanwhile; updates are not for them.
    juliet.send("<presence to='listed@localhost'/><presence to='asks@localhost/x'/>").await;
    assert_eq!(others[1].seen().await, ["available juliet@localhost/balcony"]);
    juliet.presence("subscribed", "asks@localhost").await;
    juliet.send("<presence><status>news</status></presence>").await;
    juliet.seen().await;
    others[1].seen().await;
    assert_eq!(others[2].seen().await, ["available juliet@localhost/balcony"]);
    drop(juliet);
    assert_eq!(others[1].seen().await, ["unavailable juliet@localhost/balcony"]);
    assert_eq!(others[2].seen().await, ["unavailable juliet@localhost/balcony"]);
}

#[tokio::test]
async fn rfc6121_4_6_1_who_has_gone_is_told_nothing_more() {
    let server = server();
    let (mut juliet, mut romeo) = pair(&server).await;
    juliet.send("<presence to='romeo@localhost/orchard'/>").await;
    romeo.send("<presence to='juliet@localhost/balcony'/>").await;
    settle().await;
    romeo.seen().await;
    romeo.send("<presence type='unavailable' to='juliet@localhost/balcony'/>").await;
    assert_eq!(juliet.seen().await, ["available romeo@localhost/orchard", "unavailable romeo@localhost/orchard"]);
    drop(juliet);
    assert!(romeo.seen().await.is_empty());
}

/// What comes in answer to a probe, with its id.
async fn probe(prober: &mut Device, to: &str) -> Vec<(String, Option<String>)> {
    prober.send(&format!("<presence type='probe' id='probe1' to='{to}'/>")).await;
    let seen = prober.stanzas().await;
    seen.iter().map(|one| (brief(one), one.root().attr("id").map(|id| id.into_owned()))).collect()
}

fn said(words: &str, id: Option<&str>) -> (String, Option<String>) {
    (words.to_owned(), id.map(str::to_owned))
}

#[tokio::test]
async fn rfc6121_4_3_2_probes_of_subscribers() {
    let server = server();
    let (mut juliet, mut romeo) = friends(&server).await;
    juliet.send("<presence id='p1'><show>away</show><status>here</status></presence>").await;
    romeo.seen().await;
    let mut chamber = Device::connect(&server, "juliet@localhost/chamber").await;
    chamber.send("<presence id='p2'><status>there</status></presence>").await;
    romeo.seen().await;
    let mut both = probe(&mut romeo, JULIET).await;
    both.sort();
    let here = said("available juliet@localhost/balcony 'here'", Some("p1"));
    assert_eq!(both, [here, said("available juliet@localhost/chamber 'there'", Some("p2"))]);
    // One of them: that it is there, and no more.
    assert_eq!(probe(&mut romeo, &juliet.jid).await, [said("available juliet@localhost/balcony", None)]);
    let gone = said("unavailable juliet@localhost/gone", Some("probe1"));
    assert_eq!(probe(&mut romeo, "juliet@localhost/gone").await, [gone]);
    drop(juliet);
    drop(chamber);
    romeo.seen().await;
    assert_eq!(probe(&mut romeo, JULIET).await, [said("unavailable juliet@localhost", Some("probe1"))]);
}

#[tokio::test]
async fn abuse_a054_probes_of_strangers_learn_nothing() {
    let server = server();
    let (mut juliet, mut romeo) = pair(&server).await;
    // Romeo takes himself for subscribed, which shows what he is answered.
    for whose in [JULIET, "benvolio@localhost", "nobody@localhost"] {
        for to in [whose.to_owned(), format!("{whose}/balcony")] {
            romeo.presence("subscribe", whose).await;
            settle().await;
            romeo.seen().await;
            let answers = probe(&mut romeo, &to).await;
            let denied = said(&format!("unsubscribed {whose}"), Some("probe1"));
            assert_eq!(answers[0], denied, "{to}");
            assert_eq!(answers[1].0, format!("push {whose} none"));
            assert_eq!(answers.len(), 2, "{answers:?}");
        }
    }
    assert_eq!(juliet.seen().await, ["subscribe romeo@localhost"]);
    // §4.6.6: who was shown a resource learns whether it is there, and no more.
    juliet.send("<presence><status>secret</status></presence>").await;
    juliet.send("<presence to='romeo@localhost/orchard'><status>for you</status></presence>").await;
    assert_eq!(romeo.seen().await, ["available juliet@localhost/balcony 'for you'"]);
    assert_eq!(probe(&mut romeo, &juliet.jid).await, [said("available juliet@localhost/balcony", None)]);
    assert!(probe(&mut romeo, JULIET).await.is_empty());
}

#[tokio::test]
async fn abuse_a055_requests_that_wait_are_bounded() {
    let mut limits = RosterLimits::default();
    (limits.requests, limits.request_bytes) = (3, 500);
    let server = compose(builder(), MemoryRosters::new(), limits).build().unwrap();
    let long = "x".repeat(1_000);
    for name in ["a", "b", "c", "d", "e"] {
        let mut asking = Device::connect(&server, &format!("{name}@localhost/x")).await;
        asking.send(&format!("<presence type='subscribe' to='{JULIET}'><status>{long}</status></presence>")).await;
        settle().await;
    }
    let mut juliet = Device::connect(&server, "juliet@localhost/balcony").await;
    juliet.send("<presence/>").await;
    let seen = juliet.stanzas().await;
    let words: Vec<String> = seen.iter().skip(1).map(brief).collect();
    assert_eq!(words, ["subscribe c@localhost", "subscribe d@localhost", "subscribe e@localhost"]);
    assert!(!seen[1].as_str().contains(&long), "of a long one only that it was made");
}

#[tokio::test]
async fn abuse_a102_a_broadcast_is_one_question_to_the_store() {
    let reads = Arc::new(AtomicUsize::new(0));
    let store = Shared(Arc::new(MemoryRosters::new()), reads.clone());
    let server = compose(builder(), store, RosterLimits::default()).build().unwrap();
    let (mut juliet, mut romeo) = friends(&server).await;
    reads.store(0, Ordering::SeqCst);
    for number in 0..50 {
        juliet.send(&format!("<presence><status>{number}</status></presence>")).await;
    }
    let expected: Vec<String> =
        (0..50).map(|number| format!("available juliet@localhost/balcony '{number}'")).collect();
    assert_eq!(romeo.seen().await, expected, "each once, in order");
    assert_eq!(reads.load(Ordering::SeqCst), 50);
}

#[tokio::test]
async fn rfc6121_3_1_2_a_request_that_cannot_be_routed_comes_back() {
    let server = server();
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    juliet.presence("subscribe", "romeo@elsewhere.example").await;
    let mut seen = juliet.seen().await;
    seen.sort();
    assert_eq!(
        seen,
        ["error remote-server-not-found romeo@elsewhere.example", "push romeo@elsewhere.example none ask"]
    );
    // An account that does not exist looks like one that has not answered (§8.1).
    juliet.presence("subscribe", "nobody@localhost").await;
    assert_eq!(juliet.seen().await, ["push nobody@localhost none ask"]);
    // What is wrong in itself.
    juliet.presence("subscribe", JULIET).await;
    assert_eq!(juliet.seen().await, ["error not-allowed juliet@localhost"]);
    juliet.send("<presence type='subscribe'/>").await;
    assert_eq!(juliet.seen().await, ["error bad-request "]);
    juliet.send("<presence type='unheard-of' to='romeo@localhost'/>").await;
    assert_eq!(juliet.seen().await, ["error bad-request romeo@localhost"]);
}

#[tokio::test]
async fn an_anonymous_user_leaves_no_roster() {
    let store = Arc::new(MemoryRosters::new());
    let builder = Server::builder("localhost").accounts(Table).anonymous_domain("anon.localhost");
    let server = compose(builder, Shared(store.clone(), Arc::default()), RosterLimits::default()).build().unwrap();
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    let pipe = server.clone();
    let client = xmpp_core::client::Client::builder("anon.localhost".parse().unwrap(), "").anonymous().no_reconnect();
    let (guest, mut events) = client.pipe(move || pipe.connect_memory()).connect().unwrap();
    assert!(matches!(events.next().await, Some(xmpp_core::client::Event::Online { .. })));
    let who = guest.jid().unwrap().to_bare();
    guest.send(xmpp_core::stanza::Presence::subscribe(BareJid::new(JULIET).unwrap())).await.unwrap();
    juliet.until(&format!("subscribe {who}")).await;
    assert_eq!(store.roster(&who).await.unwrap().items.len(), 1);
    guest.close().await;
    juliet.until(&format!("unsubscribe {who}")).await;
    settle().await;
    assert!(store.roster(&who).await.unwrap().items.is_empty());
}

/// A store that the test has too, and that counts what it is asked for presence.
struct Shared(Arc<MemoryRosters>, Arc<AtomicUsize>);

impl RosterStore for Shared {
    fn roster<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Roster> {
        self.0.roster(user)
    }
    fn since<'a>(&'a self, user: &'a BareJid, version: u64) -> Stored<'a, Option<Vec<Versioned>>> {
        self.0.since(user, version)
    }
    fn record<'a>(&'a self, user: &'a BareJid, contact: &'a BareJid) -> Stored<'a, Record> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.record(user, contact)
    }
    fn relations<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Relation>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.relations(user)
    }
    fn grants<'a>(&'a self, contact: &'a BareJid) -> Stored<'a, Vec<BareJid>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.grants(contact)
    }
    fn requests<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Request>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.requests(user)
    }
    fn change<'a>(
        &'a self,
        user: &'a BareJid,
        contact: &'a BareJid,
        limits: &'a RosterLimits,
        decide: Decide<'a>,
    ) -> Stored<'a, Option<Versioned>> {
        self.0.change(user, contact, limits, decide)
    }
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        self.0.forget(user)
    }
}
