//! External components (XEP-0114): by hand against the embedded server, and our own component beside clients.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;
use support::{PASSWORD, PATIENCE, Raw, builder};
use tokio::time::timeout;
use xmpp_core::{
    client::{
        Backoff, Client, Component, ComponentEvent, ComponentEvents, ConnectionError, Event, RequestError, SendError,
    },
    extension::{Registrar, Target},
    jid::Jid,
    payload::{
        Payload,
        disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery},
        ping::Ping,
        version::{Version, VersionQuery},
    },
    server::{Limits, Server},
    stanza::{Condition, Iq, Message, Presence},
    stream::{NegotiationError, StreamCondition, component_handshake},
};

const DOMAIN: &str = "plays.localhost";
const COMPONENT_HEADER: &str = "<stream:stream xmlns='jabber:component:accept' \
    xmlns:stream='http://etherx.jabber.org/streams' to='plays.localhost'>";

fn server() -> Server {
    builder().component(DOMAIN, "secret").build().unwrap()
}

/// A component by hand, up to its handshake, which is sent.
async fn greet(server: &Server, secret: &str) -> Raw {
    let mut raw = Raw::over(server.attach_memory());
    raw.send(COMPONENT_HEADER).await;
    let header = raw.until(">").await + &raw.until(">").await;
    assert!(header.contains("xmlns='jabber:component:accept'") && !header.contains(" version='1.0' "), "{header}");
    let id = header.split(" id='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    raw.send(&format!("<handshake>{}</handshake>", component_handshake(id, secret))).await;
    raw
}

async fn attached(server: &Server) -> Raw {
    let mut raw = greet(server, "secret").await;
    raw.until("<handshake/>").await;
    raw
}

fn client(server: &Server, jid: &str) -> (Client, xmpp_core::client::Events) {
    let server = server.clone();
    Client::builder(jid.parse().unwrap(), PASSWORD).pipe(move || server.connect_memory()).connect().unwrap()
}

fn component(server: &Server, extension: impl FnOnce(&mut Registrar)) -> (Component, ComponentEvents) {
    let server = server.clone();
    let builder = Component::builder(DOMAIN.parse().unwrap(), "secret").pipe(move || server.attach_memory());
    let soon = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(20) };
    builder.with(extension).backoff(soon).connect().unwrap()
}

async fn message(events: &mut xmpp_core::client::Events) -> Message {
    loop {
        match timeout(PATIENCE, events.next()).await.unwrap().unwrap() {
            Event::Message(message) => return message,
            Event::Online { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn next(events: &mut ComponentEvents) -> ComponentEvent {
    timeout(PATIENCE, events.next()).await.unwrap().unwrap()
}

fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

#[derive(Debug, Payload)]
#[xml(name = "motto", ns = "urn:example:motto")]
struct MottoQuery;

#[derive(Debug, Payload)]
#[xml(name = "motto", ns = "urn:example:motto")]
struct Motto(#[xml(text)] String);

/// Every address of the component has its own.
fn motto(r: &mut Registrar) {
    r.iq_get::<MottoQuery, _>(Target::Server | Target::Account | Target::Client, |cx, _| {
        Ok(Motto(format!("motto of {}", cx.to.map(|to| to.to_string()).unwrap_or_default())))
    });
}

#[tokio::test]
async fn xep0114_clients_and_a_component_talk_in_both_directions() {
    let server = server();
    let (component, mut its) = component(&server, motto);
    assert!(matches!(next(&mut its).await, ComponentEvent::Online));
    assert!(server.is_attached(DOMAIN));
    let (juliet, mut hers) = client(&server, "juliet@localhost/balcony");
    let (romeo, mut his) = client(&server, "romeo@localhost/orchard");
    juliet.online().await.unwrap();
    romeo.online().await.unwrap();

    juliet.send(Message::chat(jid("hamlet@plays.localhost/castle")).body("to be?")).await.unwrap();
    let ComponentEvent::Message(asked) = next(&mut its).await else { panic!("no message") };
    assert_eq!(asked.to().unwrap().as_str(), "hamlet@plays.localhost/castle");
    assert_eq!(asked.from().unwrap().as_str(), "juliet@localhost/balcony");
    assert_eq!(asked.body().unwrap(), "to be?");
    let reply = asked.reply().unwrap().from(asked.to().unwrap().clone());
    component.send(reply.body("not to be")).await.unwrap();
    let heard = message(&mut hers).await;
    assert_eq!(heard.from().unwrap().as_str(), "hamlet@plays.localhost/castle");
    assert_eq!(heard.body().unwrap(), "not to be");
    component.send(Message::chat(jid("romeo@localhost/orchard")).body("from the house")).await.unwrap();
    assert_eq!(message(&mut his).await.from().unwrap().as_str(), DOMAIN);

    // Requests: to each address, each answered by that address.
    for to in ["plays.localhost", "hamlet@plays.localhost", "hamlet@plays.localhost/castle"] {
        let motto: Motto = juliet.query(Iq::get(jid(to)).payload(&MottoQuery)).await.unwrap();
        assert_eq!(motto.0, format!("motto of {to}"));
    }
    let version: Version = romeo.query(Iq::get(jid(DOMAIN)).payload(&VersionQuery)).await.unwrap();
    assert_eq!(version.name, "xmpp-core");
    let info: DiscoInfo = romeo.query(Iq::get(jid(DOMAIN)).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(info.identities.iter().any(|one| one.category == "component"), "{info:?}");
    assert!(info.has_feature("urn:example:motto") && info.has_feature("urn:xmpp:ping"), "{info:?}");
    let items: DiscoItems = romeo.query(Iq::get(jid("localhost")).payload(&DiscoItemsQuery::default())).await.unwrap();
    assert!(items.items.iter().any(|item| item.jid == jid(DOMAIN)), "{items:?}");

    // And the other way: the component asks a client, the host, and an account, from addresses of its choice.
    let ping = |to: &str| Iq::get(jid(to)).payload(&Ping).from(jid("hamlet@plays.localhost/castle"));
    let answer = component.request(ping("romeo@localhost/orchard")).await.unwrap();
    assert_eq!(answer.to().unwrap().as_str(), "hamlet@plays.localhost/castle");
    component.request(ping("localhost")).await.unwrap();
    component.request(Iq::get(jid("localhost")).payload(&Ping)).await.unwrap();
    let RequestError::Refused(error) = component.request(ping("nobody@localhost/x")).await.unwrap_err() else {
        panic!()
    };
    assert_eq!(error.condition, Condition::ServiceUnavailable);

    assert!(component.close().await);
    assert!(its.next().await.is_none());
    while server.is_attached(DOMAIN) {
        tokio::task::yield_now().await;
    }
    let RequestError::Refused(error) = juliet.request(Iq::get(jid(DOMAIN)).payload(&Ping)).await.unwrap_err() else {
        panic!()
    };
    assert_eq!(error.condition, Condition::RemoteServerTimeout);
    server.shutdown(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn xep0114_3_stanzas_change_their_content_namespace_at_the_border() {
    let server = server();
    let mut component = attached(&server).await;
    let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
    let text = "<message from='a@plays.localhost/x' to='juliet@localhost/balcony' id='1'><body><![CDATA[a<b]]></body>\
                <x xmlns='jabber:component:accept'/><y xmlns='urn:y'><message xmlns='jabber:client'/></y></message>";
    component.send(text).await;
    let heard = juliet.until("</message>").await;
    assert!(heard.contains("<body>a&lt;b</body>") && !heard.contains("jabber:component:accept"), "{heard}");
    juliet.send("<message to='B@Plays.localhost/X' id='2'><body>hi</body></message>").await;
    let heard = component.until("</message>").await;
    assert!(heard.contains("to='b@plays.localhost/X'") && heard.contains("from='juliet@localhost/balcony'"), "{heard}");
    assert!(!heard.contains("xmlns"), "{heard}");
}

#[tokio::test]
async fn xep0114_3_a_component_has_to_say_from_whom_and_to_whom() {
    let server = server();
    for (stanza, condition) in [
        ("<message to='a@localhost' from='a@localhost'/>", "invalid-from"),
        ("<message to='a@localhost' from='localhost'/>", "invalid-from"),
        ("<message to='a@localhost' from='x.plays.localhost'/>", "invalid-from"),
        ("<message to='a@localhost' from='plays.localhost@localhost'/>", "invalid-from"),
        ("<message to='a@localhost' from='a b@@plays.localhost'/>", "invalid-from"),
        ("<message to='a@localhost'/>", "improper-addressing"),
        ("<message to='a@localhost' from=''/>", "improper-addressing"),
        ("<message from='plays.localhost'/>", "improper-addressing"),
        ("<presence from='plays.localhost' to=''/>", "improper-addressing"),
        ("<handshake/>", "unsupported-stanza-type"),
        ("<message xmlns='jabber:client' from='plays.localhost' to='a@localhost'/>", "invalid-namespace"),
    ] {
        let mut component = attached(&server).await;
        component.send(stanza).await;
        component.ends_with(condition).await;
        drop(component);
        while server.is_attached(DOMAIN) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn rfc6120_8_3_3_8_what_is_wrong_with_one_stanza_does_not_end_the_stream() {
    let server = server();
    let mut component = attached(&server).await;
    for (stanza, condition) in [
        ("<message id='1' from='a@plays.localhost' to='@'/>", "jid-malformed"),
        ("<iq id='1' type='get' from='a@plays.localhost' to='localhost'/>", "bad-request"),
        (
            "<iq id='1' type='get' from='a@plays.localhost' to='localhost'><x xmlns='urn:x'/></iq>",
            "service-unavailable",
        ),
        ("<message id='1' from='a@plays.localhost' to='juliet@nowhere.example'/>", "remote-server-not-found"),
    ] {
        component.send(stanza).await;
        let answer = component.until("</error>").await;
        assert!(answer.contains(condition) && answer.contains("to='a@plays.localhost'"), "{answer}");
    }
    // It may write to itself, too.
    component.send("<message id='5' from='a@plays.localhost' to='b@plays.localhost'/>").await;
    component.until("to='b@plays.localhost'").await;
}

#[tokio::test]
async fn rfc6120_10_4_while_it_is_not_connected_senders_are_told() {
    let server = server();
    let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
    juliet.send("<message id='1' to='a@plays.localhost'><body>hi</body></message>").await;
    let answer = juliet.until("</message>").await;
    assert!(answer.contains("from='a@plays.localhost'") && answer.contains("type='wait'"), "{answer}");
    assert!(answer.contains("<remote-server-timeout"), "{answer}");
    juliet.send("<presence to='a@plays.localhost' type='unavailable'/>").await;
    juliet.send("<message to='a@plays.localhost' type='error'/>").await;
    juliet.send("<iq to='plays.localhost' type='result' id='2'/>").await;
    juliet.sync().await;
}

#[tokio::test]
async fn xep0114_what_was_queued_for_a_component_that_ends_bounces() {
    let server = server();
    let component = attached(&server).await;
    let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
    // Nobody reads at the other end, and a pipe holds less than one of these.
    let body = "x".repeat(100_000);
    for id in 1..=3 {
        juliet.send(&format!("<message id='{id}' to='a@plays.localhost/{id}'><body>{body}</body></message>")).await;
    }
    juliet.sync().await;
    drop(component);
    for id in 1..=3 {
        let answer = juliet.until("</message>").await;
        assert!(answer.contains(&format!("id='{id}'")) && answer.contains("remote-server-timeout"), "{answer}");
        assert!(answer.contains(&format!("from='a@plays.localhost/{id}'")), "{answer}");
    }
}

#[tokio::test]
async fn abuse_a064_a_component_that_does_not_read_is_bounded() {
    let mut limits = Limits::default();
    limits.component_outbox_bytes = 1000;
    let server = builder().component(DOMAIN, "secret").limits(limits).build().unwrap();
    let mut component = attached(&server).await;
    let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
    juliet.send(&format!("<message id='1' to='plays.localhost'><body>{}</body></message>", "x".repeat(1000))).await;
    assert!(juliet.until("</message>").await.contains("remote-server-timeout"));
    component.ends_with("policy-violation").await;
}

#[tokio::test]
async fn abuse_a010_an_oversized_stanza_of_a_component() {
    let mut limits = Limits::default();
    limits.authenticated.stanza_bytes = 10_000;
    let server = builder().component(DOMAIN, "secret").limits(limits).build().unwrap();
    let stanza = |size: usize| {
        let (start, end) = ("<message from='plays.localhost' to='plays.localhost'><body>", "</body></message>");
        format!("{start}{}{end}", "x".repeat(size - start.len() - end.len()))
    };
    let mut component = attached(&server).await;
    component.send(&stanza(10_000)).await;
    component.until("</message>").await;
    component.try_send(&stanza(10_001)).await;
    assert!(component.ends_with("policy-violation").await.contains("stanza-too-big"));
}

#[tokio::test]
async fn abuse_a029_a_component_that_dawdles_is_sent_away() {
    let mut limits = Limits::default();
    limits.phase = Duration::from_millis(300);
    let server = builder().component(DOMAIN, "secret").limits(limits).build().unwrap();
    let mut silent = Raw::over(server.attach_memory());
    silent.ends_with("policy-violation").await;
    let mut silent = Raw::over(server.attach_memory());
    silent.try_send(COMPONENT_HEADER).await;
    silent.ends_with("policy-violation").await;
}

#[tokio::test]
async fn abuse_a099_a_component_is_told_that_the_server_stops() {
    let server = server();
    let mut bound = attached(&server).await;
    let mut half = Raw::over(server.attach_memory());
    half.send(COMPONENT_HEADER).await;
    half.until("id=").await;
    let stopping = server.clone();
    let stopped = tokio::spawn(async move { stopping.shutdown(Duration::from_secs(30)).await });
    bound.ends_with("system-shutdown").await;
    drop(bound);
    half.ends_with("system-shutdown").await;
    drop(half);
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_component_listens_over_tcp_and_comes_back() {
    let server = server();
    let address = server.listen_components("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let soon = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(20) };
    let builder = Component::builder(DOMAIN.parse().unwrap(), "secret").server("127.0.0.1", address.port());
    let (component, mut events) = builder.backoff(soon).connect().unwrap();
    assert!(matches!(next(&mut events).await, ComponentEvent::Online));
    assert!(component.online().await);
    let error = xmpp_core::stream::StreamError::new(StreamCondition::Reset);
    assert!(server.disconnect(&DOMAIN.parse().unwrap(), &error));
    let ComponentEvent::Offline { retry: Some(_), error: ConnectionError::Stream(_), .. } = next(&mut events).await
    else {
        panic!("not offline")
    };
    while !matches!(next(&mut events).await, ComponentEvent::Online) {}
    component.request(Iq::get(jid("localhost")).payload(&Ping)).await.unwrap();
}

#[tokio::test]
async fn a_component_retries_while_its_place_is_taken_and_gives_up_on_a_wrong_secret() {
    let server = server();
    let mut other = attached(&server).await;
    let (mine, mut events) = component(&server, |_: &mut Registrar| {});
    let ComponentEvent::Offline { error, retry: Some(_), .. } = next(&mut events).await else { panic!("no retry") };
    assert!(error.to_string().contains("conflict"), "{error}");
    other.send("</stream:stream>").await;
    other.rest().await;
    drop(other);
    assert!(mine.online().await);

    let builder = Component::builder(DOMAIN.parse().unwrap(), "wrong");
    let (_wrong, mut events) = builder.pipe(move || server.attach_memory()).connect().unwrap();
    let ComponentEvent::Offline { error, retry: None, .. } = next(&mut events).await else { panic!("a retry") };
    let ConnectionError::Negotiation(NegotiationError::Stream(error)) = error else { panic!("{error}") };
    assert_eq!(error.condition, StreamCondition::NotAuthorized);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn what_a_server_would_end_the_stream_for_is_not_sent() {
    let server = server();
    let (component, _events) = component(&server, |_: &mut Registrar| {});
    let foreign = Message::chat(jid("a@localhost")).from(jid("b@localhost"));
    assert!(matches!(component.send(foreign).await, Err(SendError::Addresses)));
    let refused = component.request(Iq::get_own().payload(&Ping)).await;
    assert!(matches!(refused, Err(RequestError::Send(SendError::Addresses))));
    component.send(Presence::available()).await.unwrap_err();
    assert!(Component::builder(jid("a@plays.localhost"), "x").connect().is_err());
}

#[tokio::test]
async fn abuse_a085_a_wrong_secret_is_told_and_counted() {
    let server = server();
    greet(&server, "wrong").await.ends_with("not-authorized").await;
    greet(&server, "").await.ends_with("not-authorized").await;
    assert_eq!(server.stats().failures, 2);
    assert!(builder().component(DOMAIN, "").build().is_err(), "a component without a secret");
    assert!(builder().component("localhost", "secret").build().is_err(), "a domain of accounts");
    assert!(builder().component(DOMAIN, "a").component("PLAYS.localhost", "b").build().is_err(), "twice");
    assert!(builder().component("a@plays.localhost", "b").build().is_err(), "no domain");
}

#[tokio::test]
async fn abuse_a085_two_components_of_one_domain() {
    let server = server();
    let mut first = attached(&server).await;
    greet(&server, "secret").await.ends_with("conflict").await;
    first.send("<iq id='1' type='get' from='plays.localhost' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    assert!(first.until("/>").await.contains("result"), "the first lives");

    let server = builder().component(DOMAIN, "secret").replace_components().build().unwrap();
    let mut first = attached(&server).await;
    let mut second = attached(&server).await;
    first.ends_with("conflict").await;
    second.send("<iq id='1' type='get' from='plays.localhost' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    assert!(second.until("/>").await.contains("result"));
}

#[tokio::test]
async fn abuse_a085_a_component_that_breaks_the_stream() {
    let server = server();
    for (text, condition) in [
        (COMPONENT_HEADER, "not-well-formed"),
        ("<message from='plays.localhost' to='a@localhost'>&x;</message>", "restricted-xml"),
        ("<message from='plays.localhost' to='a@localhost'></iq>", "not-well-formed"),
    ] {
        let mut component = attached(&server).await;
        component.send(text).await;
        component.ends_with(condition).await;
        drop(component);
        while server.is_attached(DOMAIN) {
            tokio::task::yield_now().await;
        }
    }
}
