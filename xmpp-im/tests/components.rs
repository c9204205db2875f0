//! Presence between clients and a component, through an embedded server.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::time::Duration;
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, Component, ComponentEvent, ComponentEvents, Event, Events},
    jid::{BareJid, Jid},
    server::{MemoryAccounts, Server},
    stanza::{Presence, PresenceType},
};

fn server() -> Server {
    let accounts = MemoryAccounts::new();
    accounts.set_password(BareJid::new("juliet@localhost").unwrap(), "secret");
    let builder = Server::builder("localhost").accounts(accounts).component("plays.localhost", "secret");
    builder.with(xmpp_im::presence::server).with(xmpp_im::delivery::server).build().unwrap()
}

fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

async fn at_component(events: &mut ComponentEvents) -> Presence {
    match timeout(Duration::from_secs(20), events.next()).await.unwrap().unwrap() {
        ComponentEvent::Presence(presence) => presence,
        other => panic!("{other:?}"),
    }
}

async fn at_client(events: &mut Events, from: &str) -> Presence {
    loop {
        match timeout(Duration::from_secs(20), events.next()).await.unwrap().unwrap() {
            Event::Presence(presence) if presence.from().is_some_and(|one| one.as_str() == from) => return presence,
            Event::Presence(_) | Event::Online { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn rfc6121_4_6_presence_goes_to_and_from_a_component() {
    let server = server();
    let pipe = server.clone();
    let builder = Component::builder(jid("plays.localhost"), "secret").pipe(move || pipe.attach_memory());
    let (component, mut its) = builder.connect().unwrap();
    assert!(matches!(its.next().await, Some(ComponentEvent::Online)));
    let pipe = server.clone();
    let builder = Client::builder(jid("juliet@localhost/balcony"), "secret").no_reconnect();
    let (juliet, mut hers) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
    juliet.send(Presence::available()).await.unwrap();

    // §4.6.3: directed, and withdrawn when the session ends without a word.
    juliet.send(Presence::available().to(jid("hamlet@plays.localhost"))).await.unwrap();
    let presence = at_component(&mut its).await;
    assert_eq!(presence.type_(), PresenceType::Available);
    assert_eq!(presence.to().unwrap().as_str(), "hamlet@plays.localhost");
    for reply in [Presence::available(), Presence::unavailable(), Presence::subscribe(jid("juliet@localhost"))] {
        let reply = reply.from(jid("hamlet@plays.localhost/castle")).to(jid("juliet@localhost"));
        let kind = reply.clone().build().type_();
        component.send(reply).await.unwrap();
        // §3.1.2: a subscription is between accounts.
        let from = if kind.is_subscription() { "hamlet@plays.localhost" } else { "hamlet@plays.localhost/castle" };
        assert_eq!(at_client(&mut hers, from).await.type_(), kind);
    }
    juliet.send(Presence::subscribe(jid("hamlet@plays.localhost"))).await.unwrap();
    assert_eq!(at_component(&mut its).await.type_(), PresenceType::Subscribe);
    assert!(juliet.close().await);
    let presence = at_component(&mut its).await;
    assert_eq!(presence.type_(), PresenceType::Unavailable);
    assert_eq!(presence.from().unwrap().as_str(), "juliet@localhost/balcony");
    assert_eq!(presence.to().unwrap().as_str(), "hamlet@plays.localhost");
}
