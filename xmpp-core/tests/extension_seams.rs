//! What extensions get from core. On a server: flags of sessions, stream features, a stanza changed while it waits, order
//! behind what waits, stanzas handed to one session, the end of an account. On a client: parts, the start of sessions,
//! additions to presence, nodes of service discovery.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "support/people.rs"]
mod people;
mod support;

use people::{accounts, jid, login};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, ClientRegistrar, ConnectionError, Event, Events, SessionStart},
    extension::{DiscoNode, Registrar, Reply, Target},
    jid::{BareJid, Jid},
    payload::{
        disco::{DiscoInfo, DiscoInfoQuery, Feature},
        ping::Ping,
    },
    server::{Decision, Envelope, Kinds, Server, ServerBuilder, ServerRegistrar, SessionFlag, Stage, Station, Verdict},
    stanza::{Iq, Message, Presence, StanzaError},
    stream::StreamCondition,
    xml::ns,
};

fn builder() -> ServerBuilder {
    Server::builder("localhost").accounts(accounts(&["juliet@localhost", "romeo@localhost"]))
}

async fn body(events: &mut Events) -> String {
    match timeout(Duration::from_secs(20), events.next()).await.unwrap().unwrap() {
        Event::Message(message) => message.body().unwrap().into_owned(),
        other => panic!("{other:?}"),
    }
}

/// The first stanza of each pair waits; what comes behind it must not overtake.
fn slow_first(r: &mut ServerRegistrar) {
    r.station(Station::new("test:slow", Stage::Incoming, Kinds::MESSAGE, |envelope: &mut Envelope, _: &Server| {
        let changed = envelope.stanza().rewrite(ns::CLIENT).type_(Some("chat")).to_stanza();
        let body = envelope.stanza().root().child("body", ns::CLIENT).map(|body| body.text().into_owned());
        match body.as_deref() {
            Some("0") => Decision::Wait(Box::pin(async move {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                Verdict::ContinueWith(changed)
            })),
            _ => Verdict::ContinueWith(changed).into(),
        }
    }));
}

#[tokio::test]
async fn rfc6120_10_1_what_the_server_sends_keeps_its_order_behind_what_waits() {
    let server = builder().with(slow_first).build().unwrap();
    let (juliet, mut events) = login(&server, "juliet@localhost/balcony").await;
    let to = Jid::from(juliet.jid().unwrap());
    for n in 0..20 {
        let message = Message::normal(to.clone()).body(n.to_string()).build().into_stanza();
        server.send(jid("localhost"), to.clone(), message);
    }
    for n in 0..20 {
        assert_eq!(body(&mut events).await, n.to_string());
    }
}

#[tokio::test]
async fn a_stanza_that_waited_may_come_out_changed() {
    let server = builder().with(slow_first).build().unwrap();
    let (juliet, mut events) = login(&server, "juliet@localhost/balcony").await;
    juliet.send(Message::normal(juliet.jid().unwrap()).body("0")).await.unwrap();
    match events.next().await {
        Some(Event::Message(message)) => assert_eq!(message.type_(), xmpp_core::stanza::MessageType::Chat),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn flags_belong_to_one_session() {
    let mut flag: Option<SessionFlag> = None;
    let register = |r: &mut ServerRegistrar| {
        let (want, cell) = (r.session_flag(), r.server());
        r.iq_set::<Ping, ()>(Target::OwnAccount, move |cx, _| {
            let on = cx.stanza.root().attr("id").as_deref() == Some("on");
            assert!(cell.get().unwrap().set_flag(&cx, want, on));
            Ok(())
        });
        flag = Some(want);
    };
    let server = builder().with(register).build().unwrap();
    let flag = flag.unwrap();
    let (one, _events) = login(&server, "juliet@localhost/one").await;
    let (two, _others) = login(&server, "juliet@localhost/two").await;
    let flagged = |client: &Client| {
        let jid = Jid::from(client.jid().unwrap());
        server.resources("juliet@localhost").iter().any(|resource| resource.jid == jid && resource.has(flag))
    };
    assert!(!flagged(&one) && !flagged(&two));
    one.request(Iq::set_own().id("on").payload(&Ping)).await.unwrap();
    assert!(flagged(&one) && !flagged(&two));
    one.request(Iq::set_own().id("off").payload(&Ping)).await.unwrap();
    assert!(!flagged(&one));
}

#[tokio::test]
async fn what_is_handed_over_passes_no_station() {
    let refuse = |r: &mut ServerRegistrar| {
        for stage in [Stage::Outgoing, Stage::Incoming, Stage::Deliver] {
            let name = format!("test:{stage:?}").leak();
            let station = |_: &mut Envelope, _: &Server| Verdict::Drop("refused");
            r.station(Station::new(name, stage, Kinds::MESSAGE, station).before("core:deliver"));
        }
    };
    let server = builder().with(refuse).build().unwrap();
    let (juliet, mut events) = login(&server, "juliet@localhost/balcony").await;
    let to = Jid::from(juliet.jid().unwrap());
    let message = |text: &str| Message::chat(to.clone()).body(text).build().into_stanza();
    server.send(jid("localhost"), to.clone(), message("sent"));
    assert!(server.hand(jid("localhost"), &to, message("handed")));
    assert_eq!(body(&mut events).await, "handed");
    assert!(!server.hand(jid("localhost"), &jid("juliet@localhost/gone"), message("to nobody")));
}

#[tokio::test]
async fn an_account_that_is_removed_is_forgotten_by_all_and_its_sessions_end() {
    let forgotten = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&forgotten);
    let remember = move |r: &mut ServerRegistrar| {
        r.on_account_removed(move |_, account| {
            list.lock().unwrap().push(account);
            Box::pin(async {})
        });
    };
    let server = builder().with(remember).build().unwrap();
    let (_juliet, mut events) = login(&server, "juliet@localhost/balcony").await;
    let (romeo, _) = login(&server, "romeo@localhost/orchard").await;
    let account = BareJid::new("juliet@localhost").unwrap();
    server.account_removed(&account).await;
    assert_eq!(*forgotten.lock().unwrap(), [account]);
    match timeout(Duration::from_secs(20), events.next()).await.unwrap() {
        Some(Event::Offline { error: ConnectionError::Stream(error), .. }) => {
            assert_eq!(error.condition, StreamCondition::NotAuthorized);
        }
        other => panic!("{other:?}"),
    }
    romeo.request(Iq::get_own().payload(&Ping)).await.unwrap();
}

#[tokio::test]
async fn xep0175_what_is_held_for_an_anonymous_user_goes_with_the_last_session() {
    let (forgotten, mut list) = tokio::sync::mpsc::unbounded_channel();
    let remember = move |r: &mut ServerRegistrar| {
        r.on_account_removed(move |_, account| {
            let _ = forgotten.send(account);
            Box::pin(async {})
        });
    };
    let server = builder().anonymous_domain("anon.localhost").with(remember).build().unwrap();
    let (juliet, _events) = login(&server, "juliet@localhost/balcony").await;
    let pipe = server.clone();
    let guest = Client::builder(jid("anon.localhost"), "").anonymous().no_reconnect();
    let (guest, mut events) = guest.pipe(move || pipe.connect_memory()).connect().unwrap();
    assert!(matches!(events.next().await, Some(Event::Online { .. })));
    let address = Jid::from(guest.jid().unwrap()).to_bare();
    juliet.close().await;
    guest.close().await;
    let first = timeout(Duration::from_secs(20), list.recv()).await.unwrap();
    assert_eq!(first, Some(address), "and nothing of one who has an account");
}

fn roster_versions(r: &mut ServerRegistrar) {
    r.stream_feature(false, |out| {
        out.open("ver", "urn:xmpp:features:rosterver");
        out.close();
    });
}

#[derive(Default)]
struct Starts(Mutex<Vec<(bool, bool)>>);

#[tokio::test]
async fn a_client_s_extension_keeps_a_part_and_learns_of_sessions_and_their_features() {
    let server = builder().with(roster_versions).build().unwrap();
    let extension = |r: &mut ClientRegistrar| {
        let starts = Arc::new(Starts::default());
        r.provide(Arc::clone(&starts));
        r.on_session(move |start: &SessionStart<'_>, client: &Client| {
            assert!(client.part::<Starts>().is_some());
            let versions = start.features.has("ver", "urn:xmpp:features:rosterver");
            starts.0.lock().unwrap().push((start.resumed, versions));
        });
    };
    let pipe = server.clone();
    let builder = Client::builder(jid("juliet@localhost"), "secret").no_reconnect().with(extension);
    let (client, mut events) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
    assert!(matches!(events.next().await, Some(Event::Online { .. })));
    assert_eq!(*client.part::<Starts>().unwrap().0.lock().unwrap(), [(false, true)]);
    assert!(client.part::<String>().is_none());
}

#[tokio::test]
async fn what_goes_along_with_presence_goes_along_with_that_of_the_available_alone() {
    let server = builder().build().unwrap();
    let extension = |r: &mut ClientRegistrar| {
        r.with_presence(|out| out.text_element("nick", "http://jabber.org/protocol/nick", "Jule"));
    };
    let pipe = server.clone();
    let builder = Client::builder(jid("juliet@localhost/balcony"), "secret").no_reconnect().with(extension);
    let (juliet, _events) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
    let (romeo, mut his) = login(&server, "romeo@localhost/orchard").await;
    let to = Jid::from(romeo.jid().unwrap());
    for presence in [Presence::available(), Presence::unavailable(), Presence::subscribe(to.clone())] {
        juliet.send(presence.to(to.clone())).await.unwrap();
    }
    for expected in [true, false, false] {
        match timeout(Duration::from_secs(20), his.next()).await.unwrap().unwrap() {
            Event::Presence(presence) => {
                let nick = presence.stanza().root().child("nick", "http://jabber.org/protocol/nick");
                assert_eq!(nick.is_some(), expected, "{:?}", presence.type_());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn xep0030_3_2_a_node_is_what_its_extension_says() {
    let extension = |r: &mut Registrar| {
        let own = r.disco();
        r.disco_node(Target::Server, move |_, node| match node {
            "self" => own.get(Target::Server).cloned(),
            "empty" => Some(DiscoNode::default()),
            _ => None,
        });
        r.feature(Target::Server, "urn:example:feature");
    };
    let server = builder().with(extension).build().unwrap();
    let (client, _events) = login(&server, "juliet@localhost").await;
    let ask = |node: Option<&str>| {
        let query = DiscoInfoQuery { node: node.map(str::to_owned), ..DiscoInfoQuery::default() };
        client.query::<DiscoInfo>(Iq::get(jid("localhost")).payload(&query))
    };
    let feature = Feature { var: "urn:example:feature".into() };
    let whole = ask(None).await.unwrap();
    assert!(whole.features.contains(&feature));
    let named = ask(Some("self")).await.unwrap();
    assert_eq!((named.features, named.node.as_deref()), (whole.features, Some("self")));
    assert_eq!(ask(Some("empty")).await.unwrap().features, []);
    match ask(Some("unknown")).await {
        Err(xmpp_core::client::RequestError::Refused(error)) => {
            assert_eq!(error.condition, StanzaError::item_not_found().condition);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_handler_does_then_comes_behind_its_answer() {
    let news = |r: &mut ServerRegistrar| {
        let cell = r.server();
        r.iq_set::<Ping, _>(Target::OwnAccount, move |cx, _| {
            let (server, asker) = (cell.get().unwrap(), cx.from.unwrap());
            Ok(Reply::empty().then(move || {
                let message = Message::normal(asker.clone()).body("news").build().into_stanza();
                assert!(server.hand(jid("localhost"), &asker, message));
            }))
        });
    };
    let server = builder().accounts(support::Table).with(news).build().unwrap();
    let mut juliet = support::Raw::session(&server, "juliet@localhost/balcony").await;
    juliet.send("<iq type='set' id='1'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    let heard = juliet.until("</message>").await;
    assert!(heard.starts_with("<iq") && heard.contains("type='result'"), "{heard}");
}

#[tokio::test]
async fn work_of_extensions_is_waited_for_when_the_server_stops() {
    let server = builder().anonymous_domain("anon.localhost").build().unwrap();
    assert!(server.admits_anonymous("anon.localhost"));
    assert!(!server.admits_anonymous("localhost") && !server.admits_anonymous("elsewhere.example"));
    let (done, is_done) = tokio::sync::oneshot::channel();
    let (go, may_go) = tokio::sync::oneshot::channel();
    server.spawn(async move {
        may_go.await.unwrap();
        done.send(()).unwrap();
    });
    let stopping = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(Duration::from_secs(60)).await }
    });
    server.stopped().await;
    go.send(()).unwrap();
    stopping.await.unwrap();
    is_done.await.unwrap();
}

/// As the extension of presence does it.
fn availability(r: &mut ServerRegistrar) {
    r.station(Station::new(
        "test:presence",
        Stage::Services,
        Kinds::PRESENCE,
        |envelope: &mut Envelope, server: &Server| {
            let priority = (envelope.type_str() != "unavailable").then_some(5);
            server.set_availability(envelope, priority, Some(envelope.stanza().clone()));
            Verdict::Handled
        },
    ));
}

#[tokio::test]
async fn extensions_hear_what_sessions_say_of_their_availability() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let listen = move |r: &mut ServerRegistrar| {
        r.on_availability(move |server, now, before| {
            // It is in force already.
            let found = server.resources(now.jid.bare_str()).into_iter().find(|one| one.jid == now.jid).unwrap();
            assert_eq!(found.priority, now.priority);
            log.lock().unwrap().push((now.jid.to_string(), before, now.priority));
        });
    };
    let server = builder().with(availability).with(listen).build().unwrap();
    let (juliet, _events) = login(&server, "juliet@localhost/balcony").await;
    for presence in [Presence::available(), Presence::available(), Presence::unavailable()] {
        juliet.send(presence).await.unwrap();
    }
    juliet.request(Iq::get(jid("localhost")).payload(&Ping)).await.unwrap();
    let said = |before, now| ("juliet@localhost/balcony".to_owned(), before, now);
    let expected = [said(None, Some(5)), said(Some(5), Some(5)), said(Some(5), None)];
    assert_eq!(*heard.lock().unwrap(), expected);
}

#[tokio::test]
async fn extensions_hear_what_the_server_has_not_delivered_for_clients() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let listen = move |r: &mut ServerRegistrar| {
        r.on_rejected(move |_, client, message, error| {
            let id = |stanza: &xmpp_core::xml::Stanza| stanza.root().attr("id").map(|id| id.into_owned());
            assert_eq!((id(message), error.root().attr("type").as_deref()), (id(error), Some("error")));
            log.lock().unwrap().push((client.to_string(), id(message)));
        });
    };
    let server = builder().with(listen).build().unwrap();
    let (juliet, mut events) = login(&server, "juliet@localhost/balcony").await;
    juliet.send(Message::chat(jid("nobody@localhost")).id("a").body("?")).await.unwrap();
    match timeout(Duration::from_secs(20), events.next()).await.unwrap() {
        Some(Event::Message(message)) => assert!(message.error().is_some()),
        other => panic!("{other:?}"),
    }
    // Of requests the answer is enough.
    assert!(juliet.request(Iq::get(jid("nobody@localhost/x")).payload(&Ping)).await.is_err());
    assert_eq!(*heard.lock().unwrap(), [("juliet@localhost/balcony".to_owned(), Some("a".to_owned()))]);
}
