//! A client's roster, presence and capabilities, at the embedded server.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::time::Duration;
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, ClientBuilder, Event, Events},
    extension::Registrar,
    jid::{BareJid, FullJid, Jid},
    payload::{caps::Caps, disco::DiscoInfo},
    server::{MemoryAccounts, Server},
    stanza::{Condition, Iq, Show},
};
use xmpp_im::{
    ClientExt as _, caps,
    presence::{self, OwnPresence, PresenceEvent, PresenceEvents},
    roster::{
        self, Item, MemoryRosters, RosterChange, RosterChanges, RosterError, RosterQuery, SavedRoster, Subscription,
    },
};

fn server() -> Server {
    let accounts = MemoryAccounts::new();
    for name in ["juliet@localhost", "romeo@localhost"] {
        accounts.set_password(BareJid::new(name).unwrap(), "secret");
    }
    let builder = Server::builder("localhost").accounts(accounts).with(roster::server(MemoryRosters::new()));
    builder.with(caps::server("https://server.example.org")).build().unwrap()
}

fn bare(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

fn builder(server: &Server, address: &str) -> ClientBuilder {
    let pipe = server.clone();
    let builder = Client::builder(address.parse().unwrap(), "secret").no_reconnect();
    builder.pipe(move || pipe.connect_memory())
}

async fn online(builder: ClientBuilder) -> (Client, Events) {
    let (client, mut events) = builder.connect().unwrap();
    assert!(matches!(soon(events.next()).await, Some(Event::Online { .. })));
    (client, events)
}

async fn login(server: &Server, address: &str) -> (Client, Events) {
    let builder = builder(server, address).with(roster::client).with(presence::client);
    online(builder.with(caps::client("https://client.example.org"))).await
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.unwrap()
}

async fn changed(changes: &mut RosterChanges, is: impl Fn(&RosterChange) -> bool) -> RosterChange {
    loop {
        let change = soon(changes.next()).await.unwrap();
        if is(&change) {
            return change;
        }
    }
}

async fn heard(events: &mut PresenceEvents, is: impl Fn(&PresenceEvent) -> bool) -> PresenceEvent {
    loop {
        let event = soon(events.next()).await.unwrap();
        if is(&event) {
            return event;
        }
    }
}

#[tokio::test]
async fn rfc6121_2_contacts_are_added_renamed_grouped_and_removed() {
    let server = server();
    let (juliet, _events) = login(&server, "juliet@localhost/balcony").await;
    let roster = juliet.roster().unwrap();
    assert!(soon(roster.ready()).await);
    let (mut changes, romeo) = (roster.watch(), bare("romeo@localhost"));
    assert!(matches!(roster.rename(&romeo, None).await, Err(RosterError::Unknown(_))));
    roster.add(&romeo, Some("Romeo"), ["Friends"]).await.unwrap();
    changed(&mut changes, |change| matches!(change, RosterChange::Set { before: None, .. })).await;
    roster.rename(&romeo, Some("R.")).await.unwrap();
    changed(&mut changes, |change| matches!(change, RosterChange::Set { .. })).await;
    roster.set_groups(&romeo, ["Lovers", "Foes"]).await.unwrap();
    match changed(&mut changes, |change| matches!(change, RosterChange::Set { .. })).await {
        RosterChange::Set { mut item, before } => {
            item.groups.sort();
            assert_eq!((item.name.as_deref(), item.groups), (Some("R."), vec!["Foes".into(), "Lovers".into()]));
            assert_eq!(before.unwrap().groups, ["Friends"]);
        }
        other => panic!("{other:?}"),
    }
    roster.remove(&romeo).await.unwrap();
    changed(&mut changes, |change| matches!(change, RosterChange::Removed(_))).await;
    assert_eq!(roster.items(), []);
}

#[tokio::test]
async fn rfc6121_2_6_a_saved_roster_is_told_of_changes_alone() {
    let server = server();
    let (juliet, _events) = login(&server, "juliet@localhost/balcony").await;
    let roster = juliet.roster().unwrap();
    assert!(soon(roster.ready()).await);
    let mut changes = roster.watch();
    roster.add(&bare("romeo@localhost"), Some("Romeo"), [""; 0]).await.unwrap();
    changed(&mut changes, |change| matches!(change, RosterChange::Set { .. })).await;
    let mut saved = roster.save();
    assert!(saved.version.is_some());
    // What only this copy says remains if the server does not send everything.
    saved.items[0].name = Some("kept".into());
    let (again, _events) = online(builder(&server, "juliet@localhost/hall").with(roster::restored(saved))).await;
    let again = again.roster().unwrap();
    assert!(soon(again.ready()).await);
    assert_eq!(again.get(&bare("romeo@localhost")).unwrap().name.as_deref(), Some("kept"));
    let old = SavedRoster { version: Some("no such version".into()), items: vec![Item::new(bare("gone@localhost"))] };
    let (fresh, _events) = online(builder(&server, "juliet@localhost/crypt").with(roster::restored(old))).await;
    let fresh = fresh.roster().unwrap();
    assert!(soon(fresh.ready()).await);
    assert_eq!(fresh.items().iter().map(|item| item.jid.as_str()).collect::<Vec<_>>(), ["romeo@localhost"]);
}

#[tokio::test]
async fn abuse_a052_a_forged_roster_push_is_refused_and_ignored() {
    // A server that lets requests between users through, as servers do with full addresses.
    let server = server();
    let (juliet, _events) = login(&server, "juliet@localhost/balcony").await;
    let (romeo, _his) = login(&server, "romeo@localhost/orchard").await;
    let roster = juliet.roster().unwrap();
    assert!(soon(roster.ready()).await);
    let item = Item { subscription: Subscription::Both, ..Item::new(bare("mallory@evil.example")) };
    let push = RosterQuery { ver: Some("forged".into()), items: vec![item] };
    let to = juliet.jid().unwrap();
    match soon(romeo.request(Iq::set(to.clone()).payload(&push))).await {
        Err(xmpp_core::client::RequestError::Refused(error)) => {
            assert_eq!(error.condition, Condition::ServiceUnavailable);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(roster.items(), []);
    assert_ne!(roster.save().version.as_deref(), Some("forged"));
    // The same from the account itself counts, and is answered.
    assert!(server.hand(
        "juliet@localhost".parse().unwrap(),
        &to.clone().into(),
        Iq::set(to).payload(&push).build().into_stanza()
    ));
    let mut tries = roster.watch();
    while roster.items().is_empty() {
        soon(tries.next()).await;
    }
}

#[tokio::test]
async fn rfc6121_3_1_requests_are_events_and_presence_follows_their_answer() {
    let server = server();
    let (juliet, _hers) = login(&server, "juliet@localhost/balcony").await;
    let (romeo, _his) = login(&server, "romeo@localhost/orchard").await;
    let (hers, his) = (juliet.presence().unwrap(), romeo.presence().unwrap());
    let (mut she_hears, mut he_hears) = (hers.watch(), his.watch());
    hers.set(OwnPresence { show: Some(Show::Chat), status: Some("O Romeo".into()), priority: 3 }).await.unwrap();
    his.set(OwnPresence::default()).await.unwrap();
    romeo.roster().unwrap().subscribe(&bare("juliet@localhost")).await.unwrap();
    let request = heard(&mut she_hears, |event| matches!(event, PresenceEvent::Request(_))).await;
    assert!(matches!(request, PresenceEvent::Request(request) if request.from == bare("romeo@localhost")));
    assert_eq!(hers.requests().len(), 1);
    hers.accept(&bare("romeo@localhost")).await.unwrap();
    assert_eq!(hers.requests(), []);
    heard(&mut he_hears, |event| *event == PresenceEvent::Subscribed(bare("juliet@localhost"))).await;
    heard(&mut he_hears, |event| matches!(event, PresenceEvent::Available(one) if one.priority == 3)).await;
    let best = his.best(&bare("juliet@localhost")).unwrap();
    assert_eq!((best.jid.as_str(), best.show), ("juliet@localhost/balcony", Some(Show::Chat)));
    assert_eq!(best.status.as_deref(), Some("O Romeo"));
    hers.unset(None).await.unwrap();
    heard(&mut he_hears, |event| matches!(event, PresenceEvent::Unavailable(_))).await;
    assert_eq!(his.best(&bare("juliet@localhost")), None);
}

#[tokio::test]
async fn rfc6121_4_2_presence_that_was_set_before_is_said_in_the_session() {
    let server = server();
    let (other, _events) = login(&server, "juliet@localhost/hall").await;
    let mut hears = other.presence().unwrap().watch();
    other.presence().unwrap().set(OwnPresence::default()).await.unwrap();
    let builder = builder(&server, "juliet@localhost/balcony").with(roster::client).with(presence::client);
    let (late, _events) = builder.connect().unwrap();
    late.presence().unwrap().set(OwnPresence { priority: 7, ..OwnPresence::default() }).await.unwrap();
    heard(&mut hears, |event| matches!(event, PresenceEvent::Available(one) if one.priority == 7)).await;
}

#[tokio::test]
async fn xep0115_6_what_others_can_do_is_proven_by_the_hash_in_their_presence() {
    let server = server();
    let (juliet, _hers) = login(&server, "juliet@localhost/hall").await;
    let mut hears = juliet.presence().unwrap().watch();
    juliet.presence().unwrap().set(OwnPresence::default()).await.unwrap();
    let extra = |r: &mut Registrar| r.feature(xmpp_core::extension::Target::Client, "urn:example:extra");
    let other = builder(&server, "juliet@localhost/balcony").with(presence::client).with(extra);
    let (other, mut others) = online(other.with(caps::client("https://other.example.org"))).await;
    other.presence().unwrap().set(OwnPresence::default()).await.unwrap();
    let balcony = FullJid::new("juliet@localhost/balcony").unwrap();
    heard(&mut hears, |event| matches!(event, PresenceEvent::Available(one) if one.jid == balcony)).await;
    let can = juliet.caps().unwrap();
    assert!(can.known(&balcony).is_none());
    let (one, two) = tokio::join!(can.of(&balcony), can.of(&balcony));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.has_feature("urn:example:extra") && std::sync::Arc::ptr_eq(&one, &two), "one question");
    assert!(one.node.as_deref().unwrap().starts_with("urn:xmpp:caps#sha-256."));
    assert!(can.known(&balcony).is_some());
    // The element of XEP-0115 beside it stands for the same.
    let told = loop {
        match soon(others.next()).await.unwrap() {
            Event::Presence(presence) if presence.from().is_some_and(|from| from.as_str() != balcony.as_str()) => {
                let caps = presence.stanza().root().child("c", caps::NS).unwrap();
                break <Caps as xmpp_core::payload::Payload>::read(caps).unwrap();
            }
            _ => {}
        }
    };
    let query = xmpp_core::payload::disco::DiscoInfoQuery { node: Some(told.disco_node()), ..Default::default() };
    let hall = juliet.jid().unwrap();
    let info = soon(other.query::<DiscoInfo>(Iq::get(hall).payload(&query))).await.unwrap();
    assert_eq!(caps::ver(&info, "sha-1").unwrap(), Some(told.ver));
}

#[tokio::test]
async fn xep0115_6_3_a_server_tells_what_it_can_do_in_its_stream_features() {
    let server = server();
    let told = std::sync::Arc::new(std::sync::Mutex::new(None));
    let seen = std::sync::Arc::clone(&told);
    let look = move |r: &mut xmpp_core::client::ClientRegistrar| {
        r.on_session(move |start, _| {
            assert!(start.features.has("c", caps::NS_2));
            *seen.lock().unwrap() = Some(start.features.has("c", caps::NS));
        });
    };
    let (juliet, _events) = online(builder(&server, "juliet@localhost/balcony").with(look)).await;
    assert_eq!(*told.lock().unwrap(), Some(true));
    let query = xmpp_core::payload::disco::DiscoInfoQuery::default();
    let domain: Jid = "localhost".parse().unwrap();
    let info = soon(juliet.query::<DiscoInfo>(Iq::get(domain.clone()).payload(&query))).await.unwrap();
    let ver = caps::ver(&info, "sha-1").unwrap().unwrap();
    let query = xmpp_core::payload::disco::DiscoInfoQuery {
        node: Some(format!("https://server.example.org#{ver}")),
        ..Default::default()
    };
    let named = soon(juliet.query::<DiscoInfo>(Iq::get(domain).payload(&query))).await.unwrap();
    assert_eq!(caps::ver(&named, "sha-1").unwrap(), Some(ver), "the node that was told");
}
