//! Accounts whose owners may not log in for the time being: by password, by token, by a session that they have left.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]
#![cfg(all(feature = "client", feature = "server"))]

#[path = "support/house.rs"]
mod house;
mod support;

use house::{House, offline};
use std::sync::Arc;
use support::{PASSWORD, PATIENCE, Raw, managed::managed, stored};
use tokio::{sync::Notify, time::timeout};
use xmpp_core::{
    client::{Client, ClientBuilder, ConnectionError, Event, Events},
    jid::BareJid,
    sasl::{Hash, Mechanism, SaslCondition, ScramCredentials},
    server::{Accounts, AccountsError, ManageAccounts, MemoryAccounts, Server, ServerBuilder},
    stanza::Condition,
    stream::{NegotiationError, StreamCondition},
};

const PHONE: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";

fn juliet() -> BareJid {
    "juliet@localhost".parse().unwrap()
}

fn house_of_juliet() -> (ServerBuilder, Arc<MemoryAccounts>) {
    let accounts = Arc::new(MemoryAccounts::new());
    accounts.set_credentials(juliet(), Hash::ALL.map(stored).into());
    (Server::builder("localhost").accounts(Arc::clone(&accounts)), accounts)
}

async fn disable(server: &Server, accounts: &MemoryAccounts) {
    accounts.set_disabled(&juliet(), true).await.unwrap();
    server.account_disabled(&juliet());
}

async fn online(events: &mut Events) -> (Mechanism, Option<xmpp_core::stream::FastToken>) {
    match timeout(PATIENCE, events.next()).await.unwrap() {
        Some(Event::Online { mechanism, token, .. }) => (mechanism.unwrap(), token),
        other => panic!("{other:?}"),
    }
}

async fn is_refused(builder: ClientBuilder) {
    let (_client, mut events) = builder.no_reconnect().connect().unwrap();
    match offline(&mut events).await {
        ConnectionError::Negotiation(NegotiationError::Refused(refused)) => {
            assert_eq!(refused.condition, SaslCondition::AccountDisabled);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn xep0133_4_3_a_disabled_account_logs_in_by_nothing_and_keeps_its_token() {
    let (builder, accounts) = house_of_juliet();
    let house = House::of(builder).await;
    let phone = |password: &str| house.client("juliet@localhost", password).user_agent(PHONE, "Balcony", "a phone");
    let (_client, mut events) = phone(PASSWORD).no_reconnect().connect().unwrap();
    let (_, token) = online(&mut events).await;
    let token = token.unwrap();

    disable(&house.server, &accounts).await;
    match offline(&mut events).await {
        ConnectionError::Stream(error) => assert_eq!(error.condition, StreamCondition::NotAuthorized),
        other => panic!("{other:?}"),
    }
    while house.server.sessions() > 0 {
        tokio::task::yield_now().await;
    }
    is_refused(phone(PASSWORD)).await;
    is_refused(house.client("juliet@localhost", PASSWORD)).await;
    is_refused(phone(PASSWORD).token(token.clone())).await;
    assert!(house.server.account_exists(&juliet()).await.unwrap(), "it is there all the same");

    accounts.set_disabled(&juliet(), false).await.unwrap();
    let (client, mut events) = phone("wrong").token(token).no_reconnect().connect().unwrap();
    assert_eq!(online(&mut events).await.0, Mechanism::HtSha512Exporter);
    client.close().await;
}

#[tokio::test]
async fn xep0198_5_the_session_that_a_disabled_account_has_left_is_over() {
    let (builder, accounts) = house_of_juliet();
    let server = builder.build().unwrap();
    let (raw, _) = managed(&server, "juliet@localhost/phone").await;
    drop(raw);
    while server.hibernating() == 0 {
        tokio::task::yield_now().await;
    }
    disable(&server, &accounts).await;
    assert_eq!((server.hibernating(), server.sessions()), (0, 0));
}

/// Says that nobody is disabled, as it was when it was asked, once it is let.
struct Slow {
    accounts: Arc<MemoryAccounts>,
    asked: Notify,
    go: Notify,
}

impl Accounts for Slow {
    async fn credentials(&self, user: &BareJid, hash: Hash) -> Result<Option<ScramCredentials>, AccountsError> {
        self.accounts.credentials(user, hash).await
    }
    async fn exists(&self, user: &BareJid) -> Result<bool, AccountsError> {
        self.accounts.exists(user).await
    }
    async fn is_disabled(&self, user: &BareJid) -> Result<bool, AccountsError> {
        let disabled = self.accounts.is_disabled(user).await;
        self.asked.notify_one();
        self.go.notified().await;
        // Asked again, it answers at once.
        self.go.notify_one();
        disabled
    }
}

impl Slow {
    fn server() -> (Arc<Slow>, Server) {
        let slow = Arc::new(Slow { accounts: house_of_juliet().1, asked: Notify::new(), go: Notify::new() });
        let server = Server::builder("localhost").accounts(Arc::clone(&slow)).build().unwrap();
        (slow, server)
    }

    /// Between the question and its answer the account is disabled.
    async fn disable(&self, server: &Server) {
        self.asked.notified().await;
        disable(server, &self.accounts).await;
        self.go.notify_one();
    }
}

#[tokio::test]
async fn who_logs_in_while_the_account_is_disabled_binds_no_resource() {
    let (slow, server) = Slow::server();
    let mut raw = Raw::memory(&server);
    let login = async {
        raw.authenticate("juliet@localhost/phone").await;
        raw.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>").await;
        raw.until("</iq>").await
    };
    let (answer, ()) = tokio::join!(login, slow.disable(&server));
    assert!(answer.contains("type='error'") && answer.contains("<not-authorized "), "{answer}");
    assert_eq!(server.sessions(), 0);
}

#[tokio::test]
async fn who_logs_in_by_sasl2_while_the_account_is_disabled_gets_no_session() {
    let (slow, server) = Slow::server();
    let pipe = server.clone();
    let builder = Client::builder(juliet().into(), PASSWORD).no_reconnect();
    let (_client, mut events) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
    let (error, ()) = tokio::join!(offline(&mut events), slow.disable(&server));
    match error {
        ConnectionError::Negotiation(NegotiationError::Bind(error)) => {
            assert_eq!(error.condition, Condition::NotAuthorized);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(server.sessions(), 0);
}
