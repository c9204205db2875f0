//! Services inside the process with a domain of their own.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;
use support::{PASSWORD, Raw, builder};
use xmpp_core::{
    client::{Client, RequestError},
    extension::Target,
    jid::Jid,
    payload::{
        Payload,
        disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery, Identity, Item},
        ping::Ping,
        version::{Version, VersionQuery},
    },
    server::{Decision, Envelope, Kinds, Server, ServerError, ServerRegistrar, Verdict},
    stanza::{Condition, Iq, StanzaError},
    xml::ns,
};

#[derive(Debug, Payload)]
#[xml(name = "motto", ns = "urn:example:motto")]
struct MottoQuery;

#[derive(Debug, Payload)]
#[xml(name = "motto", ns = "urn:example:motto")]
struct Motto(#[xml(text)] String);

/// Says every message back from the address it was sent to, tells mottoes, and lists one item.
fn echo(r: &mut ServerRegistrar) {
    r.service("Echo.localhost", |s| {
        s.identity(Target::Server, Identity::new("component", "generic", Some("Echo".into())));
        s.iq_get::<MottoQuery, _>(Target::Server | Target::Account, |cx, _| {
            Ok(Motto(cx.to.map(|to| to.to_string()).unwrap_or_default()))
        });
        let item = Item { jid: jid("canyon@echo.localhost"), node: None, name: None, others: Vec::new() };
        s.iq_get::<DiscoItemsQuery, _>(Target::Server, move |_, _| {
            Ok(DiscoItems { items: vec![item.clone()], ..DiscoItems::default() })
        });
        s.stanzas(Kinds::ALL, |_: &mut Envelope, _: &Server| Verdict::Continue);
        s.stanzas(Kinds::MESSAGE, |envelope: &mut Envelope, server: &Server| -> Decision {
            let (asker, asked) = (envelope.from().clone(), envelope.to().cloned());
            let Some(asked) = asked.filter(|_| !envelope.is_error()) else { return Verdict::Drop("an error").into() };
            match asked.local() {
                Some("nobody") => return Verdict::Reject(StanzaError::item_not_found()).into(),
                Some("later") => {
                    return Decision::Wait(Box::pin(async {
                        tokio::task::yield_now().await;
                        Verdict::Continue
                    }));
                }
                _ => {}
            }
            let echo = envelope.stanza().rewrite(ns::CLIENT).from(Some(asked.as_str())).to(Some(asker.as_str()));
            server.send(asked.clone(), asker.clone(), echo.to_stanza());
            Verdict::Handled.into()
        });
        let server = s.server();
        s.iq_get::<VersionQuery, _>(Target::Account, move |_, _| {
            let sessions = server.get().map(|server| server.sessions()).unwrap_or_default();
            Ok(Version { name: format!("{sessions} sessions"), version: "1".into(), os: None })
        });
    });
}

fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

fn client(server: &Server) -> Client {
    let server = server.clone();
    let builder = Client::builder(jid("juliet@localhost/balcony"), PASSWORD);
    builder.pipe(move || server.connect_memory()).connect().unwrap().0
}

#[tokio::test]
async fn a_service_answers_for_its_domain() {
    let server = builder().with(echo).build().unwrap();
    assert!(server.delegates("echo.localhost") && !server.hosts("echo.localhost"));
    let juliet = client(&server);
    let to = || jid("echo.localhost");
    let info: DiscoInfo = juliet.query(Iq::get(to()).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert_eq!(info.identities.len(), 1);
    assert_eq!(info.identities[0].name.as_deref(), Some("Echo"));
    assert!(info.has_feature("urn:example:motto") && info.has_feature("jabber:iq:version"), "{info:?}");
    let items: DiscoItems = juliet.query(Iq::get(to()).payload(&DiscoItemsQuery::default())).await.unwrap();
    assert_eq!(items.items[0].jid.as_str(), "canyon@echo.localhost", "its own handler goes first");
    juliet.request(Iq::get(to()).payload(&Ping)).await.unwrap();
    let version: Version = juliet.query(Iq::get(to()).payload(&VersionQuery)).await.unwrap();
    assert_eq!(version.name, "xmpp-core");

    let motto: Motto = juliet.query(Iq::get(jid("canyon@echo.localhost")).payload(&MottoQuery)).await.unwrap();
    assert_eq!(motto.0, "canyon@echo.localhost");
    let version: Version = juliet.query(Iq::get(jid("canyon@echo.localhost")).payload(&VersionQuery)).await.unwrap();
    assert_eq!(version.name, "1 sessions");

    for request in [
        Iq::get(jid("canyon@echo.localhost")).payload(&Ping),
        Iq::get(jid("canyon@echo.localhost/x")).payload(&MottoQuery),
        Iq::get(to()).payload(&Motto(String::new())).to(jid("echo.localhost/x")),
    ] {
        let Err(RequestError::Refused(error)) = juliet.request(request).await else { panic!("answered") };
        assert_eq!(error.condition, Condition::ServiceUnavailable);
    }
    let Err(RequestError::Refused(error)) = juliet.request(Iq::set(to()).payload(&MottoQuery)).await else { panic!() };
    assert_eq!(error.condition, Condition::FeatureNotImplemented);

    let of_host: DiscoItems =
        juliet.query(Iq::get(jid("localhost")).payload(&DiscoItemsQuery::default())).await.unwrap();
    let item = of_host.items.iter().find(|item| item.jid == to()).unwrap();
    assert_eq!(item.name.as_deref(), Some("Echo"));
    server.shutdown(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn a_service_takes_what_is_sent_to_any_address_of_its_domain() {
    let server = builder().with(echo).build().unwrap();
    let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
    for to in ["echo.localhost", "canyon@echo.localhost", "canyon@echo.localhost/deep", "echo.localhost/x"] {
        juliet.send(&format!("<message to='{to}' id='a'><body>hollo</body></message>")).await;
        let heard = juliet.until("</message>").await;
        assert!(heard.contains(&format!("from='{to}'")) && heard.contains("<body>hollo</body>"), "{heard}");
    }
    juliet.send("<message to='nobody@echo.localhost' id='a'/>").await;
    assert!(juliet.until("</message>").await.contains("item-not-found"));
    juliet.send("<message to='later@echo.localhost' id='a'/>").await;
    assert!(juliet.until("</message>").await.contains("service-unavailable"), "nobody took it");
    juliet.send("<message to='echo.localhost' type='error'/><presence to='echo.localhost'/>").await;
    juliet.send("<iq to='echo.localhost' type='result' id='x'/>").await;
    juliet.sync().await;
}

#[tokio::test]
async fn two_services_and_a_component_talk_among_themselves() {
    let server = builder().with(echo).component("plays.localhost", "secret").build().unwrap();
    let mut component = Raw::over(server.attach_memory());
    component
        .send(
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' \
             to='plays.localhost'>",
        )
        .await;
    let header = component.until("'>").await;
    let id = header.split(" id='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    let proof = xmpp_core::stream::component_handshake(id, "secret");
    component.send(&format!("<handshake>{proof}</handshake>")).await;
    component.until("<handshake/>").await;
    component
        .send("<message from='a@plays.localhost/1' to='canyon@echo.localhost' id='a'><body>x</body></message>")
        .await;
    let heard = component.until("</message>").await;
    assert!(heard.contains("from='canyon@echo.localhost'") && heard.contains("to='a@plays.localhost/1'"), "{heard}");
}

#[tokio::test]
async fn a_domain_has_one_owner() {
    let twice = builder().with(echo).with(echo).build();
    assert!(matches!(twice, Err(ServerError::SameDomain(_))));
    let hosted = builder().with(|r: &mut ServerRegistrar| r.service("localhost", |_| {})).build();
    assert!(matches!(hosted, Err(ServerError::SameDomain(_))));
    let both = builder().with(echo).component("echo.localhost", "secret").build();
    assert!(matches!(both, Err(ServerError::SameDomain(_))));
    let none = builder().with(|r: &mut ServerRegistrar| r.service("a@localhost", |_| {})).build();
    assert!(matches!(none, Err(ServerError::Domain { .. })));
}
