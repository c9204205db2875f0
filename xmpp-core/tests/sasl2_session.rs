//! Client and server over TLS on loopback: logins by SASL2, resources that stay, tokens (XEP-0388, XEP-0386, XEP-0484).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]
#![cfg(all(feature = "client", feature = "server"))]

#[path = "support/house.rs"]
mod house;
mod support;

use house::{House, certificate};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use support::{PASSWORD, PATIENCE, Raw, builder, stored};
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, ClientBuilder, ClientRegistrar, Event, Events, SendError},
    jid::{BareJid, FullJid, Jid},
    sasl::{Hash, Mechanism},
    server::{Accounts, Binding, MemoryAccounts, MemoryTokens, Server, ServerRegistrar},
    stanza::Message,
    stream::{FastToken, UserAgent},
};

const ID: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";

async fn house(change: impl FnOnce(&mut ServerRegistrar) + 'static) -> House {
    House::of(builder().with(change)).await
}

struct Online {
    jid: FullJid,
    mechanism: Mechanism,
    token: Option<FastToken>,
}

async fn online(events: &mut Events) -> Online {
    loop {
        match timeout(PATIENCE, events.next()).await.unwrap() {
            Some(Event::Online { jid, mechanism, token, .. }) => {
                return Online { jid, mechanism: mechanism.unwrap(), token };
            }
            Some(Event::Offline { error, .. }) => panic!("{error}"),
            Some(_) => {}
            None => panic!("the client has ended"),
        }
    }
}

#[tokio::test]
async fn xep0484_a_client_logs_in_by_its_token_and_keeps_its_resource() {
    let house = house(|_: &mut ServerRegistrar| {}).await;
    let named = |builder: ClientBuilder| builder.user_agent(ID, "Balcony", "a phone");
    let (client, mut events) = named(house.client("juliet@localhost", PASSWORD)).connect().unwrap();
    let first = online(&mut events).await;
    assert_eq!(first.mechanism, Mechanism::ScramSha512Plus);
    assert!(first.jid.resource().starts_with("Balcony/") && !first.jid.resource().contains(ID), "{}", first.jid);
    let token = first.token.unwrap();
    client.close().await;

    // In another process, with a wrong password: the token alone logs in.
    let account: Jid = "juliet@localhost".parse().unwrap();
    let again = Client::builder(account, "wrong").tls(house.tls.clone()).server_tls("127.0.0.1", house.address.port());
    let (client, mut events) = named(again).token(token.clone()).connect().unwrap();
    let second = online(&mut events).await;
    assert_eq!((second.jid, second.mechanism), (first.jid, Mechanism::HtSha512Exporter));
    assert_eq!(second.token.as_ref(), Some(&token));
    client.close().await;

    // Logged out: the token is gone, and the password serves.
    let (client, mut events) =
        named(house.client("juliet@localhost", PASSWORD)).token(token.clone()).invalidate_token().connect().unwrap();
    assert!(online(&mut events).await.token.is_none());
    client.close().await;
    let (client, mut events) = named(house.client("juliet@localhost", PASSWORD)).token(token).connect().unwrap();
    assert_eq!(online(&mut events).await.mechanism, Mechanism::ScramSha512Plus);
    client.close().await;
}

#[tokio::test]
async fn xep0484_a_client_that_is_thrown_out_is_back_by_its_token() {
    let house = house(|_: &mut ServerRegistrar| {}).await;
    let builder = house.client("juliet@localhost", PASSWORD).user_agent(ID, "Balcony", "");
    let (client, mut events) = builder.backoff(fast()).connect().unwrap();
    let first = online(&mut events).await;
    let error = xmpp_core::stream::StreamError::new(xmpp_core::stream::StreamCondition::Reset);
    assert!(house.server.disconnect(&first.jid.clone().into(), &error));
    let second = loop {
        match timeout(PATIENCE, events.next()).await.unwrap().unwrap() {
            Event::Online { jid, mechanism, .. } => break (jid, mechanism),
            Event::Offline { retry, error, .. } => assert!(retry.is_some(), "{error}"),
            _ => {}
        }
    };
    assert_eq!(second, (first.jid, Some(Mechanism::HtSha512Exporter)));
    client.close().await;
}

fn fast() -> xmpp_core::client::Backoff {
    xmpp_core::client::Backoff { first: std::time::Duration::from_millis(1), ..xmpp_core::client::Backoff::default() }
}

#[tokio::test]
async fn abuse_a041_a_deleted_account_has_no_tokens() {
    let (server_tls, tls) = certificate();
    let accounts = Arc::new(MemoryAccounts::new());
    let juliet: BareJid = "juliet@localhost".parse().unwrap();
    accounts.set_credentials(juliet.clone(), Hash::ALL.map(stored).to_vec());
    let server =
        Server::builder("localhost").accounts(Arc::clone(&accounts)).tls(server_tls).tokens(MemoryTokens::new());
    let server = server.build().unwrap();
    let address = server.listen_tls("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let client = || {
        let builder = Client::builder(juliet.clone().into(), PASSWORD).tls(tls.clone());
        builder.server_tls("127.0.0.1", address.port()).user_agent(ID, "", "").no_reconnect()
    };
    let (one, mut events) = client().connect().unwrap();
    let token = online(&mut events).await.token.unwrap();
    one.close().await;
    assert!(accounts.remove(&juliet));
    let (_two, mut events) = client().token(token).connect().unwrap();
    assert!(matches!(timeout(PATIENCE, events.next()).await.unwrap(), Some(Event::Offline { retry: None, .. })));
}

#[tokio::test]
async fn xep0386_3_2_an_older_session_of_the_same_client_is_ended() {
    let house = house(|_: &mut ServerRegistrar| {}).await;
    let named =
        |name: &str, id: &str| house.client("juliet@localhost", PASSWORD).user_agent(id, name, "").no_reconnect();
    let (_old, mut old) = named("Old", ID).connect().unwrap();
    let (_other, mut other) = named("Old", &UserAgent::new_id()).connect().unwrap();
    let (before, beside) = (online(&mut old).await.jid, online(&mut other).await.jid);
    assert_ne!(before, beside);
    let (_new, mut new) = named("New", ID).connect().unwrap();
    let after = online(&mut new).await.jid;
    assert_eq!(before.resource().rsplit('/').next(), after.resource().rsplit('/').next());
    assert!(matches!(timeout(PATIENCE, old.next()).await.unwrap(), Some(Event::Offline { .. })), "it was replaced");
    let left: Vec<Jid> = house.server.resources("juliet@localhost").into_iter().map(|one| one.jid).collect();
    assert!(left.contains(&after.into()) && left.contains(&beside.into()) && left.len() == 2, "{left:?}");
}

#[tokio::test]
async fn xep0386_3_1_extensions_enable_their_features_at_the_binding() {
    static LIT: AtomicUsize = AtomicUsize::new(0);
    let house = house(|registrar: &mut ServerRegistrar| {
        registrar.bind_feature("urn:example:lamp", |binding: &mut Binding<'_>| {
            assert_eq!(binding.element().name(), "light");
            LIT.fetch_add(1, Ordering::Relaxed);
            binding.answer().open("lit", "urn:example:lamp");
            binding.answer().close();
        });
        registrar.bind_feature("urn:example:trap", |_: &mut Binding<'_>| panic!("of the extension alone"));
        registrar.bound_info(|_, jid| async move {
            let mut out = xmpp_core::xml::Writer::new("urn:xmpp:bind:0");
            out.text_element("metadata", "urn:xmpp:mam:2", jid.domain());
            out.finish()
        });
    })
    .await;
    let mut raw = Raw::over(tls_stream(&house).await);
    raw.send(support::HEADER).await;
    let features = raw.until("</stream:features>").await;
    for feature in ["urn:example:lamp", "urn:example:trap", "urn:xmpp:csi:0", "urn:xmpp:sm:3"] {
        assert!(features.contains(&format!("<feature var='{feature}'/>")), "{features}");
    }
    let message = xmpp_core::sasl::encode_payload(Some(format!("\0juliet\0{PASSWORD}").as_bytes()));
    raw.send(&format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>{message}</initial-response>\
         <bind xmlns='urn:xmpp:bind:0'><light xmlns='urn:example:lamp'/><step xmlns='urn:example:trap'/>\
         <inactive xmlns='urn:xmpp:csi:0'/><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind></authenticate>"
    ))
    .await;
    let success = raw.until("</stream:features>").await;
    assert!(success.contains("<lit xmlns='urn:example:lamp'/>") && success.contains("<enabled"), "{success}");
    assert!(success.contains("<metadata xmlns='urn:xmpp:mam:2'>localhost</metadata></bound>"), "{success}");
    assert_eq!(LIT.load(Ordering::Relaxed), 1);
    // It is a session: stanzas are counted from the first.
    raw.send("<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq><r xmlns='urn:xmpp:sm:3'/>").await;
    let answer = raw.until("<a xmlns='urn:xmpp:sm:3' h='1'/>").await;
    assert!(answer.contains("id='p'"), "{answer}");
}

async fn tls_stream(house: &House) -> xmpp_core::net::Transport {
    let stream = tokio::net::TcpStream::connect(house.address).await.unwrap();
    let transport = xmpp_core::net::Transport::from(stream);
    transport.direct_client(&house.tls, "localhost").await.unwrap()
}

#[tokio::test]
async fn xep0386_a_clients_extension_enables_a_feature_in_the_same_round_trip() {
    static LIT: AtomicUsize = AtomicUsize::new(0);
    let house = house(|registrar: &mut ServerRegistrar| {
        registrar.bind_feature("urn:example:lamp", |_: &mut Binding<'_>| {
            LIT.fetch_add(1, Ordering::Relaxed);
        });
    })
    .await;
    let lamp = |registrar: &mut ClientRegistrar| {
        registrar.bind_feature("urn:example:lamp", |out| {
            out.open("light", "urn:example:lamp");
            out.close();
        });
        registrar.bind_feature("urn:example:unknown", |out| {
            out.open("x", "urn:example:unknown");
            out.close();
        });
    };
    let (client, mut events) = house.client("juliet@localhost", PASSWORD).with(lamp).connect().unwrap();
    online(&mut events).await;
    assert_eq!(LIT.load(Ordering::Relaxed), 1);
    client.close().await;
}

#[tokio::test]
async fn xep0478_4_a_stanza_that_the_server_would_not_take_is_not_sent() {
    let mut limits = xmpp_core::server::Limits::default();
    limits.authenticated.stanza_bytes = 20_000;
    let server = builder().limits(limits).build().unwrap();
    let (client, mut events) = Client::builder("juliet@localhost".parse().unwrap(), PASSWORD)
        .pipe(move || server.connect_memory())
        .connect()
        .unwrap();
    online(&mut events).await;
    let long = Message::chat("juliet@localhost".parse::<Jid>().unwrap()).body("x".repeat(20_000));
    assert!(matches!(client.send(long).await, Err(SendError::TooBig(bytes)) if bytes > 20_000));
    let short = Message::chat("juliet@localhost".parse::<Jid>().unwrap()).body("x".repeat(10_000));
    assert!(client.send(short).await.is_ok());
    client.close().await;
}

/// Accounts of which only SHA-1 is stored, and only that offered.
struct Old(MemoryAccounts);

impl Accounts for Old {
    async fn credentials(
        &self,
        user: &BareJid,
        hash: Hash,
    ) -> Result<Option<xmpp_core::sasl::ScramCredentials>, xmpp_core::server::AccountsError> {
        self.0.credentials(user, hash).await
    }
    async fn exists(&self, user: &BareJid) -> Result<bool, xmpp_core::server::AccountsError> {
        self.0.exists(user).await
    }
    async fn store_credentials(
        &self,
        user: &BareJid,
        credentials: xmpp_core::sasl::ScramCredentials,
    ) -> Result<(), xmpp_core::server::AccountsError> {
        self.0.store_credentials(user, credentials).await
    }
    fn upgrades(&self) -> &[Hash] {
        &[Hash::Sha256]
    }
    fn hashes(&self) -> &[Hash] {
        &[Hash::Sha1]
    }
}

#[tokio::test]
async fn xep0480_3_an_account_gets_credentials_of_a_stronger_hash() {
    let (server_tls, tls) = certificate();
    let accounts = Arc::new(Old(MemoryAccounts::new()));
    let juliet: BareJid = "juliet@localhost".parse().unwrap();
    accounts.0.set_credentials(juliet.clone(), vec![stored(Hash::Sha1)]);
    let server = Server::builder("localhost").accounts(Arc::clone(&accounts)).tls(server_tls).build().unwrap();
    let address = server.listen_tls("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let builder = Client::builder(juliet.clone().into(), PASSWORD).tls(tls);
    let (client, mut events) = builder.server_tls("127.0.0.1", address.port()).connect().unwrap();
    assert_eq!(online(&mut events).await.mechanism, Mechanism::ScramSha1Plus);
    client.close().await;
    let new = accounts.credentials(&juliet, Hash::Sha256).await.unwrap().unwrap();
    assert!(new.verify_password(PASSWORD));
    assert!(accounts.credentials(&juliet, Hash::Sha1).await.unwrap().is_some(), "the old ones stay");
}

#[tokio::test]
async fn xep0484_a_clients_tokens_are_stored_under_its_own_id() {
    use xmpp_core::server::Tokens as _;
    let house = house(|_: &mut ServerRegistrar| {}).await;
    let (client, mut events) = house.client("juliet@localhost", PASSWORD).user_agent(ID, "", "").connect().unwrap();
    let token = online(&mut events).await.token.unwrap();
    let juliet: BareJid = "juliet@localhost".parse().unwrap();
    let kept = house.tokens.load(&juliet, ID).await.unwrap();
    assert_eq!(kept.fresh.unwrap().secret, token.secret);
    client.close().await;
    house.tokens.forget(&juliet, None).await.unwrap();
    let (client, mut events) =
        house.client("juliet@localhost", PASSWORD).user_agent(ID, "", "").token(token.clone()).connect().unwrap();
    let next = online(&mut events).await;
    assert_eq!(next.mechanism, Mechanism::ScramSha512Plus);
    assert_ne!(next.token, Some(token));
    client.close().await;
}
