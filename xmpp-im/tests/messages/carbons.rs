//! Message carbons (XEP-0280).

use super::*;
use xmpp_core::{
    client::ClientRegistrar,
    payload::{
        Payload as _,
        disco::{DiscoInfo, DiscoInfoQuery},
    },
    server::{Envelope, Kinds, ServerRegistrar, Stage, Station, Verdict},
    stream::{StreamCondition, StreamError},
};
use xmpp_im::carbons::{self, Carbon, Disable, Enable, Private};

fn server() -> Server {
    builder().with(carbons::server).build().unwrap()
}

async fn enabled(server: &Server, jid: &str, priority: i8) -> Device {
    let device = Device::new(server, jid).await;
    device.request(Iq::set_own().payload(&Enable)).await.unwrap();
    device.become_available(priority).await;
    device
}

/// What a device has got, with its way: `sent BODY` and `received BODY` for copies.
async fn got(device: &mut Device) -> Vec<String> {
    let (own, full) = (device.jid.to_bare(), device.jid.clone());
    let read = |message: Message| {
        let Some(carbon) = message.payload::<Carbon>() else { return text(&message) };
        assert_eq!(message.from(), Some(&Jid::from(&own)), "§11");
        assert_eq!(message.to(), Some(&full), "§7, §8");
        let (way, forwarded) = match carbon.unwrap() {
            Carbon::Sent(forwarded) => ("sent", forwarded),
            Carbon::Received(forwarded) => ("received", forwarded),
        };
        let inner = Message::from_stanza(forwarded.stanza.unwrap()).unwrap();
        assert_eq!(inner.root().ns(), ns::CLIENT);
        assert_eq!(inner.type_(), message.type_(), "§7: the same type");
        assert!(inner.from().is_some() && inner.to().is_some());
        format!("{way} {}", if inner.body().is_some() { text(&inner) } else { inner.type_().as_str().to_owned() })
    };
    device.stanzas().await.0.into_iter().map(read).collect()
}

#[tokio::test]
async fn xep0280_4_and_5_copies_are_made_for_who_wants_them() {
    let server = server();
    let mut romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
    let mut home = enabled(&server, "juliet@localhost/home", 0).await;
    let mut work = Device::available(&server, "juliet@localhost/work", 0).await;
    let send = async |from: &Device, to: &Device, body: &str| {
        from.send(Message::chat(to.jid.clone()).body(body)).await;
        from.sync().await;
    };
    send(&romeo, &work, "1").await;
    send(&work, &romeo, "2").await;
    assert_eq!(got(&mut work).await, ["1"]);
    assert_eq!(got(&mut home).await, ["received 1", "sent 2"]);
    assert_eq!(got(&mut romeo).await, ["2"], "who has not asked gets none");
    // The one that a message is for gets no copy, nor the one that sends it (§7, §8).
    send(&romeo, &home, "3").await;
    send(&home, &romeo, "4").await;
    assert_eq!(got(&mut home).await, ["3"]);
    assert_eq!(got(&mut work).await, [""; 0]);
    // §10.1: as often as one likes.
    for _ in 0..2 {
        home.request(Iq::set_own().payload(&Disable)).await.unwrap();
    }
    send(&romeo, &work, "5").await;
    assert_eq!(got(&mut home).await, [""; 0]);
    for _ in 0..2 {
        home.request(Iq::set(home.jid.to_bare()).payload(&Enable)).await.unwrap();
    }
    send(&romeo, &work, "6").await;
    assert_eq!(got(&mut home).await, ["received 6"]);
    // §4.1: others' copies are not for us to ask for.
    let theirs = Iq::set(jid("juliet@localhost")).payload(&Enable);
    assert_eq!(romeo.request(theirs).await.unwrap_err(), Condition::NotAllowed);
}

#[tokio::test]
async fn xep0280_3_what_the_server_says_of_itself() {
    let server = server();
    let juliet = Device::new(&server, "juliet@localhost/home").await;
    let info: DiscoInfo =
        juliet.client.query(Iq::get(jid("localhost")).payload(&DiscoInfoQuery::default())).await.unwrap();
    for feature in ["urn:xmpp:carbons:2", "urn:xmpp:carbons:rules:0"] {
        assert!(info.features.iter().any(|one| one.var == feature), "{feature}");
    }
}

#[tokio::test]
async fn xep0386_carbons_begin_with_the_binding() {
    let server = server();
    let ask = |r: &mut ClientRegistrar| r.bind_feature(carbons::NS, |out| Enable.write(out));
    let id = "5b36cea7-0d6e-43d0-9ff6-6c4e6ec2e1d1";
    let mut home =
        Device::with(&server, "juliet@localhost", |builder| builder.user_agent(id, "home", "x").with(ask)).await;
    let romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut work = Device::available(&server, "juliet@localhost/work", 0).await;
    romeo.send(Message::chat(work.jid.clone()).body("1")).await;
    romeo.sync().await;
    assert_eq!(got(&mut work).await, ["1"]);
    assert_eq!(got(&mut home).await, ["received 1"]);
}

#[tokio::test]
async fn xep0280_7_copies_go_to_those_that_the_message_does_not_reach() {
    let server = server();
    let romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut low = enabled(&server, "juliet@localhost/low", 1).await;
    let mut high = enabled(&server, "juliet@localhost/high", 5).await;
    let mut negative = enabled(&server, "juliet@localhost/negative", -1).await;
    for to in ["juliet@localhost", "juliet@localhost/gone"] {
        romeo.send(Message::chat(jid(to)).body("1")).await;
        romeo.sync().await;
        assert_eq!(got(&mut high).await, ["1"], "{to}");
        assert_eq!(got(&mut low).await, ["received 1"], "{to}");
        assert_eq!(got(&mut negative).await, ["received 1"], "{to}");
    }
    // What is refused is not copied.
    romeo.send(Message::normal(jid("juliet@localhost/gone")).body("2")).await;
    romeo.sync().await;
    // A note to oneself comes once to each.
    low.send(Message::chat(jid("juliet@localhost")).body("3")).await;
    low.sync().await;
    assert_eq!(got(&mut high).await, ["3"]);
    assert_eq!(got(&mut negative).await, ["received 3"]);
    assert_eq!(got(&mut low).await, [""; 0]);
}

#[tokio::test]
async fn abuse_a060_xep0280_6_1_the_rules_along_the_route() {
    let server = server();
    let romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut home = enabled(&server, "juliet@localhost/home", 0).await;
    let work = Device::available(&server, "juliet@localhost/work", 0).await;
    let muc = "<x xmlns='http://jabber.org/protocol/muc#user'/>";
    for (kind, content, copied) in [
        ("chat", "<body>1</body>", true),
        ("normal", "<body>2</body>", true),
        ("normal", "<subject>3</subject>", false),
        ("normal", "<received xmlns='urn:xmpp:receipts' id='4'/>", true),
        ("headline", "<body>5</body>", false),
        ("groupchat", "<body>6</body>", false),
        ("chat", "<body>7</body><private xmlns='urn:xmpp:carbons:2'/><no-copy xmlns='urn:xmpp:hints'/>", false),
        ("normal", "<x xmlns='jabber:x:conference' jid='room@muc.example'/>", true),
    ] {
        for (from, to) in [(&romeo, &work), (&work, &romeo)] {
            from.send(xml(&format!("<message type='{kind}' to='{}'>{content}</message>", to.jid))).await;
            from.sync().await;
            assert_eq!(got(&mut home).await.len(), usize::from(copied), "{kind} {content}");
        }
    }
    // A room's private message: out, but not in.
    work.send(xml(&format!("<message type='chat' to='{}'><body>8</body>{muc}</message>", romeo.jid))).await;
    romeo.send(xml(&format!("<message type='chat' to='{}'><body>9</body>{muc}</message>", work.jid))).await;
    work.sync().await;
    romeo.sync().await;
    assert_eq!(got(&mut home).await, ["sent 8"]);
}

#[tokio::test]
async fn xep0280_6_1_errors_follow_what_they_answer() {
    let server = server();
    let romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
    let mut home = enabled(&server, "juliet@localhost/home", 0).await;
    let mut work = Device::available(&server, "juliet@localhost/work", 0).await;
    let error = |to: &Jid, id: &str| {
        let why = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
        xml(&format!("<message type='error' id='{id}' to='{to}'>{why}</message>"))
    };
    work.send(Message::chat(romeo.jid.clone()).id("a").body("1")).await;
    work.send(Message::chat(romeo.jid.clone()).id("b").content(|w| Private.write(w)).body("2")).await;
    work.sync().await;
    for id in ["a", "b", "c"] {
        romeo.send(error(&work.jid, id)).await;
    }
    romeo.sync().await;
    assert_eq!(got(&mut home).await, ["sent 1", "received error"], "of what was copied alone");
    romeo.send(Message::chat(work.jid.clone()).id("d").body("3")).await;
    romeo.sync().await;
    work.send(error(&romeo.jid, "d")).await;
    work.sync().await;
    assert_eq!(got(&mut home).await, ["received 3", "sent error"]);
    // The server's own errors too.
    work.send(Message::chat(jid("nobody@localhost")).id("e").body("4")).await;
    work.sync().await;
    assert_eq!(got(&mut home).await, ["sent 4", "received error"]);
    assert_eq!(work.messages().await.iter().filter(|one| one.type_() == MessageType::Error).count(), 4);
}

#[tokio::test]
async fn abuse_a059_a_forged_copy_is_a_message_like_any_other() {
    let server = server();
    let romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut home = enabled(&server, "juliet@localhost/home", 0).await;
    let mut work = enabled(&server, "juliet@localhost/work", 0).await;
    let forged = "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message \
                  xmlns='jabber:client' from='tybalt@localhost/x' to='juliet@localhost/work'><body>!</body></message>\
                  </forwarded></received>";
    romeo.send(xml(&format!("<message type='chat' to='{}'>{forged}</message>", work.jid))).await;
    // Nor does a client speak for its account: the server says which one it was.
    home.send(xml(&format!("<message from='juliet@localhost' type='chat' to='{}'>{forged}</message>", work.jid))).await;
    romeo.sync().await;
    home.sync().await;
    let mut senders: Vec<_> = work.messages().await.iter().map(|one| one.from().unwrap().clone()).collect();
    senders.sort();
    assert_eq!(senders, [home.jid.clone(), romeo.jid]);
    assert!(home.messages().await.is_empty(), "it is not copied");
}

#[tokio::test]
async fn xep0280_10_3_a_copy_that_is_lost_is_nobodys_error() {
    let server = server();
    let mut romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
    let lost = Device::with(&server, "juliet@localhost/lost", |builder| builder.manual_acks()).await;
    lost.request(Iq::set_own().payload(&Enable)).await.unwrap();
    let mut work = Device::available(&server, "juliet@localhost/work", 0).await;
    romeo.send(Message::chat(work.jid.clone()).body("1")).await;
    romeo.sync().await;
    assert!(server.disconnect(&lost.jid, &StreamError::new(StreamCondition::Reset)));
    while server.resources("juliet@localhost").len() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(got(&mut work).await, ["1"], "nor for another");
    assert!(romeo.messages().await.is_empty());
}

#[tokio::test]
async fn copies_carry_what_the_archive_has_added() {
    let archive = |r: &mut ServerRegistrar| {
        r.station(Station::new(
            "im:archive-in",
            Stage::Incoming,
            Kinds::MESSAGE,
            |envelope: &mut Envelope, _: &Server| {
                let id = |w: &mut xmpp_core::xml::Writer| {
                    w.open("stanza-id", "urn:xmpp:sid:0");
                    w.attr("id", "28482-98726");
                    w.attr("by", "juliet@localhost");
                    w.close();
                };
                Verdict::ContinueWith(envelope.stanza().rewrite(ns::CLIENT).append(&id).to_stanza())
            },
        ));
    };
    let server = builder().with(archive).with(carbons::server).build().unwrap();
    let romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut home = enabled(&server, "juliet@localhost/home", 0).await;
    let work = Device::available(&server, "juliet@localhost/work", 0).await;
    romeo.send(Message::chat(work.jid.clone()).body("1")).await;
    romeo.sync().await;
    let message = home.messages().await.remove(0);
    assert!(message.stanza().as_str().contains("<stanza-id xmlns='urn:xmpp:sid:0' id='28482-98726'"), "{message:?}");
}
