//! Client access management (XEP-0494): a server with tokens over TLS, its users' clients, and raw streams.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]
#![cfg(all(feature = "client", feature = "server"))]

#[path = "support/house.rs"]
mod house;
mod support;

use house::{House, offline};
use std::time::Duration;
use support::{PASSWORD, PATIENCE, Raw, builder};
use tokio::time::timeout;
use xmpp_core::{
    client::{Event, Events, RequestError},
    jid::BareJid,
    payload::DateTime,
    payload::clients::{AccessKind, ClientAccess, NS, PermissionStatus},
    sasl::Mechanism,
    server::{Limits, RevokeError, Tokens},
    stanza::Condition,
    stream::{ClientTokens, FastToken, Token},
};

const LAPTOP: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
const PHONE: &str = "0e0f9bd4-8ab5-4c43-9f1e-2c9b8f3d7a11";

async fn house(limits: Limits) -> House {
    House::of(builder().limits(limits)).await
}

fn juliet() -> BareJid {
    "juliet@localhost".parse().unwrap()
}

/// A token that the application gave out: its client never had the password.
async fn give_token(house: &House, client: &str) -> FastToken {
    let mechanism = Mechanism::HtSha256Exporter;
    let (secret, expiry) = ("given-by-other-means".to_owned(), u32::MAX);
    let token = Token { secret: secret.clone(), mechanism, issued: 1_700_000_000, expiry: expiry.into(), count: 0 };
    let generation = house.tokens.generation(&juliet()).await.unwrap();
    let tokens = ClientTokens { fresh: Some(token), generation, ..ClientTokens::default() };
    assert!(house.tokens.store(&juliet(), client, &tokens).await.unwrap());
    FastToken { mechanism, secret, expiry: DateTime::from_unix(expiry.into(), 0).unwrap() }
}

async fn online(events: &mut Events) -> Mechanism {
    match timeout(PATIENCE, events.next()).await.unwrap() {
        Some(Event::Online { mechanism, .. }) => mechanism.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn find<'a>(clients: &'a [ClientAccess], device: &str) -> &'a ClientAccess {
    let of = |one: &&ClientAccess| one.user_agent.as_ref().and_then(|agent| agent.device.as_deref()) == Some(device);
    clients.iter().find(of).unwrap_or_else(|| panic!("no {device} in {clients:?}"))
}

#[tokio::test]
async fn xep0494_3_1_the_list_says_who_has_access_and_how() {
    let house = house(Limits::default()).await;
    let (laptop, mut events) = house
        .client("juliet@localhost", PASSWORD)
        .no_reconnect()
        .user_agent(LAPTOP, "Balcony", "a laptop")
        .connect()
        .unwrap();
    assert_eq!(online(&mut events).await, Mechanism::ScramSha512Plus);
    let given = give_token(&house, PHONE).await;
    let listed = laptop.access_list().await.unwrap();
    assert_eq!(listed.len(), 2);
    let own = find(&listed, "a laptop");
    assert!(own.connected && own.auth.password && own.auth.fast && own.kind == AccessKind::Session, "{own:?}");
    assert!(own.first_seen.is_some() && own.last_seen >= own.first_seen);
    assert_eq!(own.user_agent.as_ref().unwrap().software.as_deref(), Some("Balcony"));
    assert_eq!(own.permission.status, PermissionStatus::Unrestricted);
    let waiting = listed.iter().find(|one| one.id != own.id).unwrap();
    assert_eq!((waiting.connected, &waiting.kind), (false, &AccessKind::Access), "it never logged in");
    assert!(waiting.auth.fast && !waiting.auth.password && waiting.last_seen.is_none(), "{waiting:?}");
    assert!(!own.id.contains(LAPTOP) && !waiting.id.contains(PHONE), "the id of an installation is nobody else's");

    let (phone, mut events) = house
        .client("juliet@localhost", "wrong")
        .no_reconnect()
        .user_agent(PHONE, "Balcony", "a phone")
        .token(given)
        .connect()
        .unwrap();
    assert_eq!(online(&mut events).await, Mechanism::HtSha256Exporter);
    let listed = laptop.access_list().await.unwrap();
    let phone_listed = find(&listed, "a phone");
    assert!(phone_listed.connected && phone_listed.auth.fast && !phone_listed.auth.password, "{phone_listed:?}");
    assert_eq!(phone_listed.id, waiting.id);
    // Gone, and still known.
    phone.close().await;
    let listed = laptop.access_list().await.unwrap();
    assert!(!find(&listed, "a phone").connected && find(&listed, "a phone").kind == AccessKind::Session);
    // Romeo sees his own, and nothing of hers.
    let (romeo, mut events) = house.client("romeo@localhost", PASSWORD).no_reconnect().connect().unwrap();
    online(&mut events).await;
    let his = romeo.access_list().await.unwrap();
    assert!(his.len() == 1 && his.iter().all(|one| one.connected && one.auth.password), "{his:?}");
    assert!(listed.iter().all(|one| one.id != his[0].id));
}

#[tokio::test]
async fn xep0494_3_2_a_revoked_client_loses_its_token_and_its_session() {
    let house = house(Limits::default()).await;
    let (laptop, mut events) =
        house.client("juliet@localhost", PASSWORD).no_reconnect().user_agent(LAPTOP, "", "a laptop").connect().unwrap();
    online(&mut events).await;
    let token = give_token(&house, PHONE).await;
    let phone = || {
        house.client("juliet@localhost", "wrong").no_reconnect().user_agent(PHONE, "", "a phone").token(token.clone())
    };
    let (_phone, mut lost) = phone().connect().unwrap();
    online(&mut lost).await;
    let id = find(&laptop.access_list().await.unwrap(), "a phone").id.clone();
    laptop.revoke_access(&id).await.unwrap();
    let why = offline(&mut lost).await;
    assert!(why.to_string().contains("not-authorized"), "{why}");
    assert!(house.tokens.load(&juliet(), PHONE).await.unwrap().is_empty());
    assert_eq!(laptop.access_list().await.unwrap().len(), 1);
    // The token logs nobody in.
    let (_again, mut refused) = phone().connect().unwrap();
    offline(&mut refused).await;
    let twice = laptop.revoke_access(&id).await;
    assert!(matches!(twice, Err(RequestError::Refused(error)) if error.condition == Condition::ItemNotFound));
}

#[tokio::test]
async fn xep0494_3_2_a_client_with_the_password_needs_a_new_password() {
    let house = house(Limits::default()).await;
    let (laptop, mut events) =
        house.client("juliet@localhost", PASSWORD).no_reconnect().user_agent(LAPTOP, "", "a laptop").connect().unwrap();
    online(&mut events).await;
    let (_phone, mut lost) =
        house.client("juliet@localhost", PASSWORD).no_reconnect().user_agent(PHONE, "", "a phone").connect().unwrap();
    online(&mut lost).await;
    let id = find(&laptop.access_list().await.unwrap(), "a phone").id.clone();
    let refused = laptop.revoke_access(&id).await.unwrap_err();
    assert!(refused.needs_new_password(), "{refused}");
    assert!(matches!(refused, RequestError::Refused(error) if error.condition == Condition::ServiceUnavailable));
    assert!(house.tokens.load(&juliet(), PHONE).await.unwrap().has_tokens(), "nothing was changed");
    // With a new password, what logged in by the old one has no access but its session, and that can be ended.
    house.tokens.forget(&juliet(), None).await.unwrap();
    let listed = laptop.access_list().await.unwrap();
    let phone = find(&listed, "a phone");
    assert!(phone.connected && !phone.auth.password && !phone.auth.fast && phone.id == id, "{phone:?}");
    laptop.revoke_access(&id).await.unwrap();
    offline(&mut lost).await;
    assert_eq!(laptop.access_list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn xep0494_3_2_who_revokes_its_own_access_is_told_before_it_ends() {
    let house = house(Limits::default()).await;
    let token = give_token(&house, PHONE).await;
    let builder =
        house.client("juliet@localhost", "wrong").no_reconnect().user_agent(PHONE, "", "a phone").token(token);
    let (phone, mut events) = builder.connect().unwrap();
    online(&mut events).await;
    let id = find(&phone.access_list().await.unwrap(), "a phone").id.clone();
    phone.revoke_access(&id).await.unwrap();
    offline(&mut events).await;
}

#[tokio::test]
async fn xep0494_5_only_the_owner_lists_and_revokes() {
    let house = house(Limits::default()).await;
    give_token(&house, PHONE).await;
    let id = house.server.access_list(&juliet()).await.unwrap()[0].id.clone();
    let mut romeo = Raw::session(&house.server, "romeo@localhost/x").await;
    for to in ["juliet@localhost", "localhost"] {
        romeo.send(&format!("<iq type='get' id='l' to='{to}'><list xmlns='{NS}'/></iq>")).await;
        let answer = romeo.until("</iq>").await;
        assert!(answer.contains("type='error'") && !answer.contains("<client "), "{answer}");
        romeo.send(&format!("<iq type='set' id='r' to='{to}'><revoke xmlns='{NS}' id='{id}'/></iq>")).await;
        assert!(romeo.until("</iq>").await.contains("type='error'"));
    }
    romeo.send(&format!("<iq type='set' id='r'><revoke xmlns='{NS}' id='{id}'/></iq>")).await;
    let answer = romeo.until("</iq>").await;
    assert!(answer.contains("<item-not-found"), "another account's client does not exist: {answer}");
    assert!(house.tokens.load(&juliet(), PHONE).await.unwrap().has_tokens());
    romeo
        .send("<iq type='get' id='d' to='romeo@localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        .await;
    let info = romeo.until("</iq>").await;
    assert!(info.contains(&format!("<feature var='{NS}'/>")), "{info}");
    // Without a store of tokens there is nothing to manage.
    let plain = support::server();
    let mut romeo = Raw::session(&plain, "romeo@localhost/x").await;
    romeo
        .send("<iq type='get' id='d' to='romeo@localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        .await;
    assert!(!romeo.until("</iq>").await.contains(NS));
}

#[tokio::test]
async fn xep0494_3_1_sessions_without_an_id_are_listed_one_by_one() {
    let house = house(Limits::default()).await;
    let mut one = Raw::session(&house.server, "juliet@localhost/one").await;
    let before = house.server.access_list(&juliet()).await.unwrap();
    assert!(before.len() == 1 && before[0].connected && before[0].auth.password, "{before:?}");
    assert!(matches!(house.server.revoke_access(&juliet(), &before[0].id).await, Err(RevokeError::Password)));
    // Another session by the same address is another client.
    let _two = Raw::session(&house.server, "juliet@localhost/one").await;
    one.ends_with("conflict").await;
    let after = house.server.access_list(&juliet()).await.unwrap();
    assert!(after.len() == 1 && after[0].id != before[0].id, "{after:?}");
}

#[tokio::test]
async fn xep0494_6_a_deployment_may_keep_no_names() {
    let mut limits = Limits::default();
    limits.client_memory = Duration::ZERO;
    let house = house(limits).await;
    let builder = house.client("juliet@localhost", PASSWORD).no_reconnect().user_agent(LAPTOP, "Balcony", "a laptop");
    let (laptop, mut events) = builder.connect().unwrap();
    online(&mut events).await;
    laptop.close().await;
    let record = house.tokens.load(&juliet(), LAPTOP).await.unwrap().record.unwrap();
    assert!(record.software.is_none() && record.device.is_none() && record.password, "{record:?}");
    let listed = house.server.access_list(&juliet()).await.unwrap();
    assert!(listed.len() == 1 && listed[0].user_agent.is_none(), "{listed:?}");
}
