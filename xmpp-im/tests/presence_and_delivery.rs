//! Presence and delivery through an embedded server, seen by its clients.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::time::Duration;
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, Event, Events},
    jid::{BareJid, Jid},
    payload::ping::Ping,
    server::{MemoryAccounts, Server},
    stanza::{Condition, Iq, Message, MessageType, Presence, PresenceType},
};

fn server() -> Server {
    let accounts = MemoryAccounts::new();
    for name in ["juliet", "romeo"] {
        accounts.set_password(BareJid::new(&format!("{name}@localhost")).unwrap(), "secret");
    }
    let builder = Server::builder("localhost").accounts(accounts);
    builder.with(xmpp_im::presence::server).with(xmpp_im::delivery::server).build().unwrap()
}

/// A client of its own session, online, with the presence stanzas and messages it is sent.
struct Device {
    client: Client,
    events: Events,
    jid: Jid,
}

impl Device {
    async fn new(server: &Server, jid: &str) -> Device {
        let server = server.clone();
        let builder = Client::builder(jid.parse().unwrap(), "secret").no_reconnect();
        let (client, mut events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
        match next(&mut events).await {
            Event::Online { jid, .. } => Device { client, events, jid: jid.into() },
            other => panic!("not online: {other:?}"),
        }
    }

    /// Available with a priority; the reflection of its own presence is taken (RFC 6121 §4.2.2).
    async fn available(server: &Server, jid: &str, priority: i8) -> Device {
        let mut device = Device::new(server, jid).await;
        device.client.send(Presence::available().priority(priority)).await.unwrap();
        loop {
            let presence = device.presence().await;
            if presence.from().unwrap() == &device.jid {
                return device;
            }
        }
    }

    async fn presence(&mut self) -> Presence {
        match next(&mut self.events).await {
            Event::Presence(presence) => presence,
            other => panic!("no presence: {other:?}"),
        }
    }

    async fn message(&mut self) -> Message {
        loop {
            match next(&mut self.events).await {
                Event::Message(message) => return message,
                Event::Presence(_) => {}
                other => panic!("no message: {other:?}"),
            }
        }
    }

    /// Everything that the server had for it so far: an answered ping is behind it.
    async fn nothing_more(&mut self) {
        self.client.request(Iq::get("localhost".parse::<Jid>().unwrap()).payload(&Ping)).await.unwrap();
        let more = timeout(Duration::from_millis(20), self.events.next()).await;
        assert!(more.is_err(), "{more:?}");
    }
}

async fn next(events: &mut Events) -> Event {
    timeout(Duration::from_secs(60), events.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn rfc6121_4_2_2_resources_of_an_account_learn_of_each_other() {
    let server = server();
    let mut balcony = Device::available(&server, "juliet@localhost/balcony", 0).await;
    let mut chamber = Device::new(&server, "juliet@localhost/chamber").await;
    chamber.client.send(Presence::available().status("awake")).await.unwrap();
    let mut seen = [chamber.presence().await, chamber.presence().await];
    seen.sort_by_key(|presence| presence.from().cloned());
    assert_eq!(seen[0].from().unwrap(), &balcony.jid);
    assert_eq!(seen[1].from().unwrap(), &chamber.jid);
    let news = balcony.presence().await;
    assert_eq!(news.from().unwrap(), &chamber.jid);
    assert_eq!(news.status().unwrap(), "awake");

    // §4.5.2: going, in good order or not, is told.
    chamber.client.send(Presence::unavailable()).await.unwrap();
    let news = balcony.presence().await;
    assert_eq!((news.type_(), news.from().unwrap()), (PresenceType::Unavailable, &chamber.jid));
    balcony.nothing_more().await;
}

#[tokio::test]
async fn rfc6121_4_6_3_who_was_shown_presence_is_told_when_it_ends() {
    let server = server();
    let mut juliet = Device::available(&server, "juliet@localhost/balcony", 0).await;
    for loss in [false, true] {
        let romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
        romeo.client.send(Presence::available().to(juliet.jid.clone()).status("here")).await.unwrap();
        let shown = juliet.presence().await;
        assert_eq!(shown.status().unwrap(), "here");
        assert_eq!(shown.from().unwrap(), &romeo.jid);
        if loss {
            let error = xmpp_core::stream::StreamCondition::Reset.into();
            assert!(server.disconnect(&romeo.jid, &error));
        } else {
            romeo.client.close().await;
        }
        let gone = juliet.presence().await;
        assert_eq!((gone.type_(), gone.from().unwrap()), (PresenceType::Unavailable, &romeo.jid));
    }
    juliet.nothing_more().await;
}

#[tokio::test]
async fn rfc6121_4_6_directed_unavailable_is_remembered_too() {
    let server = server();
    let mut juliet = Device::available(&server, "juliet@localhost/balcony", 0).await;
    let romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
    romeo.client.send(Presence::available().to(juliet.jid.to_bare())).await.unwrap();
    assert_eq!(juliet.presence().await.type_(), PresenceType::Available);
    romeo.client.send(Presence::unavailable().to(juliet.jid.to_bare())).await.unwrap();
    assert_eq!(juliet.presence().await.type_(), PresenceType::Unavailable);
    romeo.client.close().await;
    juliet.nothing_more().await;
}

#[tokio::test]
async fn rfc6121_8_5_2_1_1_a_bare_address_reaches_the_most_available() {
    let server = server();
    let romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
    let mut low = Device::available(&server, "juliet@localhost/low", 1).await;
    let mut high = Device::available(&server, "juliet@localhost/high", 5).await;
    let mut negative = Device::available(&server, "juliet@localhost/negative", -1).await;
    let bare: Jid = low.jid.to_bare().into();
    romeo.client.send(Message::chat(bare.clone()).body("one")).await.unwrap();
    let message = high.message().await;
    assert_eq!(message.body().unwrap(), "one");
    // §8.5: the address stays as it was written.
    assert_eq!(message.to().unwrap(), &bare);
    romeo.client.send(Message::headline(bare).body("news")).await.unwrap();
    for device in [&mut low, &mut high] {
        assert_eq!(device.message().await.body().unwrap(), "news");
    }
    // §8.5.3.1: by its full address even a resource of negative priority is reached.
    romeo.client.send(Message::chat(negative.jid.clone()).body("two")).await.unwrap();
    assert_eq!(negative.message().await.body().unwrap(), "two");
    // §8.5.3.2.1: chat to a resource that is not there goes as if to the bare address.
    let gone: Jid = "juliet@localhost/gone".parse().unwrap();
    romeo.client.send(Message::chat(gone).body("three")).await.unwrap();
    assert_eq!(high.message().await.body().unwrap(), "three");
}

#[tokio::test]
async fn rfc6121_8_5_1_what_nobody_can_get_comes_back() {
    let server = server();
    let mut romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
    let _connected = Device::new(&server, "juliet@localhost/silent").await;
    // An account with nobody available, and one that does not exist, look the same.
    for to in ["juliet@localhost", "nobody@localhost"] {
        romeo.client.send(Message::chat(to.parse::<Jid>().unwrap()).body("?")).await.unwrap();
        let bounce = romeo.message().await;
        assert_eq!(bounce.type_(), MessageType::Error, "{to}");
        assert_eq!(bounce.error().unwrap().condition, Condition::ServiceUnavailable);
        assert_eq!(bounce.from().unwrap().as_str(), to);
    }
    romeo.client.send(Message::headline("juliet@localhost".parse::<Jid>().unwrap()).body("?")).await.unwrap();
    romeo.nothing_more().await;
}

#[tokio::test]
async fn abuse_a054_probes_and_strangers_learn_nothing() {
    let server = server();
    let mut juliet = Device::available(&server, "juliet@localhost/balcony", 0).await;
    let mut romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
    for to in ["juliet@localhost", "juliet@localhost/balcony", "nobody@localhost"] {
        let probe = Presence::available().to(to.parse::<Jid>().unwrap()).content(|_| {}).build();
        let probe = probe.stanza().rewrite("jabber:client").type_(Some("probe")).to_stanza();
        romeo.client.send(probe).await.unwrap();
    }
    romeo.nothing_more().await;
    juliet.nothing_more().await;
}
