//! Rooms as an external component: of our own server here, which knows nothing of rooms.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, Component, Event, Events, RequestError},
    jid::Jid,
    payload::{
        disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery},
        form::{DataForm, FormKind},
        ping::Ping,
    },
    server::{MemoryAccounts, Server},
    stanza::{Condition, Iq, Message, MessageType, Presence},
};
use xmpp_muc::{
    Affiliation, MemoryRooms, Role,
    payload::{AdminQuery, Join, OwnerQuery, StatusCode, UserInfo},
    service::Muc,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

async fn server() -> Server {
    let accounts = MemoryAccounts::new();
    for name in ["juliet", "romeo"] {
        accounts.set_password(format!("{name}@localhost").parse().unwrap(), "secret");
    }
    let builder = Server::builder("localhost").accounts(accounts).allow_plaintext();
    let server = builder.component("rooms.localhost", "secret").with(xmpp_im::delivery::server).build().unwrap();
    let rooms = Muc::new("rooms.localhost", Arc::new(MemoryRooms::new())).into_component();
    let attach = server.clone();
    let builder = Component::builder(jid("rooms.localhost"), "secret").pipe(move || attach.attach_memory());
    let (component, events) = builder.with(rooms.extension()).connect().unwrap();
    assert!(timeout(PATIENCE, component.online()).await.unwrap());
    tokio::spawn(rooms.serve(component, events));
    server
}

async fn client(server: &Server, name: &str) -> (Client, Events) {
    let server = server.clone();
    let builder = Client::builder(jid(&format!("{name}@localhost/here")), "secret").allow_plaintext();
    let (client, events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
    timeout(PATIENCE, client.online()).await.unwrap();
    (client, events)
}

async fn presence(events: &mut Events) -> (Presence, UserInfo) {
    loop {
        if let Event::Presence(presence) = timeout(PATIENCE, events.next()).await.unwrap().unwrap() {
            let info = presence.payload::<UserInfo>().map(Result::unwrap).unwrap_or_default();
            return (presence, info);
        }
    }
}

async fn message(events: &mut Events) -> Message {
    loop {
        if let Event::Message(message) = timeout(PATIENCE, events.next()).await.unwrap().unwrap() {
            return message;
        }
    }
}

#[tokio::test]
async fn people_meet_in_rooms_that_a_component_has() {
    let server = server().await;
    let (juliet, mut hers) = client(&server, "juliet").await;
    let (romeo, mut his) = client(&server, "romeo").await;
    let room = jid("balcony@rooms.localhost");

    // It is a service of rooms, and says so.
    let info: DiscoInfo =
        juliet.query(Iq::get(jid("rooms.localhost")).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(info.has_identity("conference", "text") && info.has_feature(xmpp_muc::NS), "{info:?}");

    // Juliet makes a room, and opens it.
    let join = |nick: &str| Presence::available().to(jid(&format!("{room}/{nick}"))).payload(&Join::default());
    juliet.send(join("Juliet")).await.unwrap();
    let (_, info) = presence(&mut hers).await;
    assert!(info.has(StatusCode::CREATED) && info.has(StatusCode::SELF), "{info:?}");
    assert_eq!(info.item().unwrap().affiliation, Some(Affiliation::Owner));
    assert_eq!(message(&mut hers).await.subject().as_deref(), Some(""));
    romeo.send(join("Romeo")).await.unwrap();
    let (refused, _) = presence(&mut his).await;
    assert_eq!(refused.error().unwrap().condition, Condition::ItemNotFound, "it is not open yet");
    let accept = OwnerQuery { form: Some(DataForm::new(FormKind::Submit)), destroy: None };
    juliet.request(Iq::set(room.clone()).payload(&accept)).await.unwrap();

    // Romeo comes in; both hear what is said.
    romeo.send(join("Romeo")).await.unwrap();
    let (first, _) = presence(&mut his).await;
    assert_eq!(first.from().unwrap().resource(), Some("Juliet"));
    let (_, info) = presence(&mut his).await;
    assert!(info.has(StatusCode::SELF));
    assert_eq!(presence(&mut hers).await.0.from().unwrap().resource(), Some("Romeo"));
    message(&mut his).await;
    romeo.send(Message::groupchat(room.clone()).id("one").body("But soft")).await.unwrap();
    for events in [&mut hers, &mut his] {
        let heard = message(events).await;
        assert_eq!((heard.type_(), heard.id().as_deref()), (MessageType::Groupchat, Some("one")));
        assert_eq!(heard.from().unwrap().resource(), Some("Romeo"));
    }
    let items: DiscoItems =
        romeo.query(Iq::get(jid("rooms.localhost")).payload(&DiscoItemsQuery::default())).await.unwrap();
    assert_eq!(items.items[0].jid, room);

    // XEP-0410, and what is not passed on.
    let ping = |to: &str| Iq::get(jid(to)).payload(&Ping);
    romeo.request(ping("balcony@rooms.localhost/Romeo")).await.unwrap();

    // A kick is done before it is answered.
    let kick = AdminQuery::role("Romeo", Role::None, Some("the nurse calls".to_owned()));
    juliet.request(Iq::set(room.clone()).payload(&kick)).await.unwrap();
    let (gone, info) = presence(&mut his).await;
    assert_eq!(gone.type_str().as_deref(), Some("unavailable"));
    assert!(info.has(StatusCode::KICKED) && info.has(StatusCode::SELF));
    assert_eq!(info.item().unwrap().reason.as_deref(), Some("the nurse calls"));
    assert!(presence(&mut hers).await.1.has(StatusCode::KICKED));
    let RequestError::Refused(error) = romeo.request(ping("balcony@rooms.localhost/Romeo")).await.unwrap_err() else {
        panic!("he is not there")
    };
    assert_eq!(error.condition, Condition::NotAcceptable);
}
