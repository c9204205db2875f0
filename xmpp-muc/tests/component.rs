//! Rooms as an external component: of our own server here, which knows nothing of rooms.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use xmpp_core::{
    client::{Backoff, Client, Component, ComponentBuilder, Event, Events, RequestError},
    extension::{Registrar, Target},
    jid::Jid,
    payload::{
        Payload,
        archive::{ArchiveFin, ArchiveQuery, ArchiveResult},
        disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery},
        form::{DataForm, FormKind},
        ping::Ping,
        version::{Version, VersionQuery},
    },
    server::{MemoryAccounts, Server},
    stanza::{Condition, Iq, IqBuilder, IqType, Message, MessageType, Presence, PresenceBuilder},
    stream::{StreamCondition, StreamError},
};
use xmpp_im::{account_xml::MemoryAccountXml, archive::MemoryArchive, vcard};
use xmpp_muc::{
    Affiliation, MemoryRooms, Role,
    payload::{AdminQuery, Join, OwnerQuery, StatusCode, UserInfo},
    service::{Muc, MucSettings},
};

const PATIENCE: Duration = Duration::from_secs(30);
const ROOM: &str = "balcony@rooms.localhost";

fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

/// A server, and what stops the component that is attached to it.
struct House {
    server: Server,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

async fn house() -> House {
    house_with(|builder| builder).await
}

async fn house_with(change: impl FnOnce(ComponentBuilder) -> ComponentBuilder) -> House {
    let accounts = MemoryAccounts::new();
    for name in ["juliet", "romeo", "tybalt"] {
        accounts.set_password(format!("{name}@localhost").parse().unwrap(), "secret");
    }
    let builder = Server::builder("localhost").accounts(accounts).allow_plaintext();
    let server = builder.component("rooms.localhost", "secret").with(xmpp_im::delivery::server);
    let server = server.with(vcard::server(MemoryAccountXml::default(), vcard::MAX_BYTES)).build().unwrap();
    let mut settings = MucSettings::default();
    // Nobody waits here.
    (settings.limits.message_every, settings.limits.presence_every) = (Duration::ZERO, Duration::ZERO);
    let muc = Muc::new("rooms.localhost", Arc::new(MemoryRooms::new())).settings(settings);
    let muc = muc.archive(Arc::new(MemoryArchive::default()));
    let rooms = muc.into_component();
    let attach = server.clone();
    let builder = Component::builder(jid("rooms.localhost"), "secret").pipe(move || attach.attach_memory());
    let soon = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(20) };
    let (component, events) = change(builder).backoff(soon).with(rooms.extension()).connect().unwrap();
    assert!(timeout(PATIENCE, component.online()).await.unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(rooms.serve_until(component, events, async move {
        if stopped.await.is_err() {
            std::future::pending().await
        }
    }));
    House { server, stop, served }
}

fn join(nick: &str) -> PresenceBuilder {
    Presence::available().to(jid(&format!("{ROOM}/{nick}"))).payload(&Join::default())
}

/// Somebody with a client, in the room.
struct Person {
    client: Client,
    events: Events,
}

impl Person {
    async fn enters(server: &Server, name: &str, nick: &str) -> Person {
        Person::in_room(client(server, name).await, nick).await
    }

    async fn in_room((client, mut events): (Client, Events), nick: &str) -> Person {
        client.send(join(nick)).await.unwrap();
        while !presence(&mut events).await.1.has(StatusCode::SELF) {}
        Person { client, events }
    }

    async fn says(&mut self, body: &str) {
        self.client.send(Message::groupchat(jid(ROOM)).body(body)).await.unwrap();
    }

    async fn hears(&mut self, body: &str) {
        while message(&mut self.events).await.body().as_deref() != Some(body) {}
    }

    /// The next presence of the kind.
    async fn sees(&mut self, kind: Option<&str>) -> (Presence, UserInfo) {
        loop {
            let (presence, info) = presence(&mut self.events).await;
            if presence.type_str().as_deref() == kind {
                return (presence, info);
            }
        }
    }

    async fn refused(&self, request: IqBuilder) -> Condition {
        match timeout(PATIENCE, self.client.request(request)).await.unwrap().unwrap_err() {
            RequestError::Refused(error) => error.condition,
            other => panic!("{other:?}"),
        }
    }
}

/// Juliet and Romeo in a room of hers.
async fn couple(server: &Server) -> (Person, Person) {
    let juliet = Person::enters(server, "juliet", "Juliet").await;
    let accept = OwnerQuery { form: Some(DataForm::new(FormKind::Submit)), destroy: None };
    juliet.client.request(Iq::set(jid(ROOM)).payload(&accept)).await.unwrap();
    let romeo = Person::enters(server, "romeo", "Romeo").await;
    (juliet, romeo)
}

fn ask(nick: &str, payload: &impl Payload) -> IqBuilder {
    Iq::get(jid(&format!("{ROOM}/{nick}"))).payload(payload)
}

async fn client(server: &Server, name: &str) -> (Client, Events) {
    client_with(server, name, |_| {}).await
}

async fn client_with(server: &Server, name: &str, extension: impl FnOnce(&mut Registrar)) -> (Client, Events) {
    let server = server.clone();
    let builder = Client::builder(jid(&format!("{name}@localhost/here")), "secret").allow_plaintext();
    let (client, events) = builder.pipe(move || server.connect_memory()).with(extension).connect().unwrap();
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
    let House { server, stop: _stop, .. } = house().await;
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
    // §7.2: slixmpp takes no other error for the room's.
    assert!(refused.stanza().root().child("x", xmpp_muc::NS).is_some(), "{refused:?}");
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

    // XEP-0410.
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

#[tokio::test]
async fn xep0045_16_4_3_occupants_ask_each_other() {
    let House { server, stop: _stop, .. } = house().await;
    let (juliet, romeo) = couple(&server).await;
    let version: Version = juliet.client.query(ask("Romeo", &VersionQuery)).await.unwrap();
    assert_eq!(version.name, "xmpp-core");
    let answer = romeo.client.request(ask("Juliet", &Ping)).await.unwrap();
    assert_eq!(answer.from().unwrap().as_str(), "balcony@rooms.localhost/Juliet");
    let info: DiscoInfo = romeo.client.query(ask("Juliet", &DiscoInfoQuery::default())).await.unwrap();
    assert!(info.has_identity("client", "bot"), "{info:?}");

    // What is for the account goes there.
    let card = vcard::VCard::write_with(|out| {
        out.open("FN", "vcard-temp");
        out.text("Romeo Montague");
        out.close();
    });
    vcard::set(&romeo.client, &card).await.unwrap();
    let answer = juliet.client.request(ask("Romeo", &vcard::VCard::empty())).await.unwrap();
    assert!(answer.stanza().as_str().contains("Romeo Montague"), "{answer:?}");

    // Errors come back, of the one who is asked and of the room, and each request has its answer.
    let nonsense = Iq::get(jid(&format!("{ROOM}/Romeo"))).payload(&AdminQuery::default());
    assert_eq!(juliet.refused(nonsense).await, Condition::ServiceUnavailable);
    assert_eq!(juliet.refused(ask("Paris", &Ping)).await, Condition::ItemNotFound);
    let (stranger, events) = client(&server, "tybalt").await;
    let stranger = Person { client: stranger, events };
    assert_eq!(stranger.refused(ask("Romeo", &Ping)).await, Condition::NotAcceptable);
    assert_eq!(stranger.refused(ask("Romeo", &DiscoInfoQuery::default())).await, Condition::BadRequest);
    let elsewhere = Iq::get(jid("none@rooms.localhost/Romeo")).payload(&Ping);
    assert_eq!(stranger.refused(elsewhere).await, Condition::ItemNotFound);
    // Many at once, of which the server that is asked hears many.
    let many = (0..200).map(|_| romeo.client.request(ask("Juliet", &Ping)));
    for answer in futures_of(many).await {
        answer.unwrap();
    }
}

/// All of them at once.
async fn futures_of<T: Send + 'static>(all: impl Iterator<Item = impl Future<Output = T> + Send>) -> Vec<T> {
    let mut answers = Vec::new();
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| match one.as_mut().poll(cx) {
            std::task::Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    answers
}

#[tokio::test]
async fn rfc6120_8_1_2_1_an_answer_counts_only_from_who_was_asked() {
    let House { server, stop: _stop, .. } = house().await;
    let (juliet, romeo) = couple(&server).await;
    // His client says by which id it is asked, and takes its time.
    let (told, mut ids) = mpsc::unbounded_channel();
    let (open, gate) = watch::channel(false);
    let slow = move |r: &mut Registrar| {
        r.iq_get_async::<VersionQuery, _, _>(Target::Client, move |cx, _| {
            told.send(cx.stanza.root().attr("id").unwrap().into_owned()).unwrap();
            let mut gate = gate.clone();
            async move {
                let _ = gate.wait_for(|open| *open).await;
                Ok(Version { name: "a rapier".to_owned(), version: "1".to_owned(), os: None })
            }
        });
    };
    let tybalt = Person::in_room(client_with(&server, "tybalt", slow).await, "Tybalt").await;
    let asking = juliet.client.clone();
    let asked = tokio::spawn(async move { asking.query::<Version>(ask("Tybalt", &VersionQuery)).await });
    let id = timeout(PATIENCE, ids.recv()).await.unwrap().unwrap();
    // Whoever else knows the id, and she herself.
    for forger in [&romeo, &juliet] {
        let forged = Version { name: "a forgery".to_owned(), version: "1".to_owned(), os: None };
        let answer = IqBuilder::new(Some(jid(&format!("{ROOM}/Juliet"))), IqType::Result).id(&id).payload(&forged);
        forger.client.send(answer).await.unwrap();
        // Behind it in the order of the room.
        forger.client.request(ask("Romeo", &Ping)).await.unwrap();
    }
    open.send(true).unwrap();
    assert_eq!(asked.await.unwrap().unwrap().name, "a rapier");
    drop(tybalt);
}

#[tokio::test]
async fn xep0313_4_3_a_page_of_a_rooms_archive_comes_before_it_is_said_to_end() {
    let House { server, stop: _stop, .. } = house().await;
    let (mut juliet, _romeo) = couple(&server).await;
    for number in 0..40 {
        juliet.says(&number.to_string()).await;
        juliet.hears(&number.to_string()).await;
    }
    for round in 0..20 {
        let query = Iq::set(jid(ROOM)).payload(&ArchiveQuery::default());
        juliet.client.query::<ArchiveFin>(query).await.unwrap();
        // What comes before an answer is there when the answer is.
        let mut came = 0;
        while let Ok(Some(event)) = timeout(Duration::ZERO, juliet.events.next()).await {
            came +=
                usize::from(matches!(&event, Event::Message(message) if message.payload::<ArchiveResult>().is_some()));
        }
        assert_eq!(came, 40, "round {round}");
    }
}

#[tokio::test]
async fn xep0045_18_1_2_a_ghost_is_found_by_a_ping_of_the_room() {
    let House { server, stop: _stop, .. } = house().await;
    let (mut juliet, _romeo) = couple(&server).await;
    let tybalt = Person::enters(&server, "tybalt", "Tybalt").await;
    juliet.sees(None).await;
    // This server tells nobody that a client has gone.
    tybalt.client.close().await;
    // That a private message comes back says too little: the room asks, and its question comes back too.
    juliet.client.send(Message::chat(jid(&format!("{ROOM}/Tybalt"))).id("pm").body("villain")).await.unwrap();
    let (gone, info) = juliet.sees(Some("unavailable")).await;
    assert_eq!(gone.from().unwrap().resource(), Some("Tybalt"));
    assert!(info.has(StatusCode::TECHNICAL), "{info:?}");
}

#[tokio::test]
async fn xep0045_11_2_everybody_is_told_that_the_component_stops() {
    let House { server, stop, served } = house().await;
    let (mut juliet, mut romeo) = couple(&server).await;
    stop.send(()).unwrap();
    for person in [&mut juliet, &mut romeo] {
        let (gone, info) = person.sees(Some("unavailable")).await;
        assert!(info.has(StatusCode::SHUTDOWN) && info.has(StatusCode::SELF), "{gone:?}");
    }
    timeout(PATIENCE, served).await.unwrap().unwrap();
    // What comes now is for the server to answer.
    while server.is_attached("rooms.localhost") {
        tokio::task::yield_now().await;
    }
    assert_eq!(juliet.refused(ask("Romeo", &Ping)).await, Condition::RemoteServerTimeout);
}

#[tokio::test]
async fn who_is_in_a_room_stays_there_while_the_server_is_away() {
    let House { server, stop: _stop, .. } = house().await;
    let (mut juliet, mut romeo) = couple(&server).await;
    let tybalt = Person::enters(&server, "tybalt", "Tybalt").await;
    juliet.sees(None).await;
    let cut = || {
        let error = StreamError::from(StreamCondition::InternalServerError);
        assert!(server.disconnect(&jid("rooms.localhost"), &error));
    };
    cut();
    // He leaves while nobody can be told.
    tybalt.client.close().await;
    while !server.is_attached("rooms.localhost") {
        tokio::task::yield_now().await;
    }
    // XEP-0410: they are in it, and hear each other.
    romeo.client.request(ask("Romeo", &Ping)).await.unwrap();
    romeo.says("still here").await;
    juliet.hears("still here").await;
    romeo.hears("still here").await;
    // What was said has come back from who is not there any more.
    let (gone, info) = juliet.sees(Some("unavailable")).await;
    assert_eq!(gone.from().unwrap().resource(), Some("Tybalt"));
    assert!(info.has(StatusCode::TECHNICAL), "{info:?}");
}

#[derive(Debug, Payload)]
#[xml(name = "query", ns = "urn:example:long")]
struct Long(#[xml(text)] String);

#[tokio::test]
async fn rfc6120_8_2_3_a_request_that_is_too_large_to_be_passed_on_is_answered() {
    // Stanzas grow on their way: by the tag that their answer is known by.
    let House { server, stop: _stop, .. } = house_with(|builder| builder.max_stanza_bytes(4096)).await;
    let (juliet, _romeo) = couple(&server).await;
    let mut passed = 0;
    for length in (3_600..4_096).step_by(4) {
        match juliet.refused(ask("Romeo", &Long("x".repeat(length))).id("i")).await {
            Condition::ServiceUnavailable => passed += 1,
            Condition::PolicyViolation => {
                assert!(passed > 0);
                return;
            }
            other => panic!("{other:?} at {length}"),
        }
    }
    panic!("all of them were passed on");
}
