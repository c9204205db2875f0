//! Passwords that are changed and accounts that are removed in the stream (XEP-0077).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, ConnectionError, Event, Events, RequestError},
    jid::{BareJid, Jid},
    payload::form::{DataForm, Field, FieldType, FormKind},
    server::{Accounts, MemoryAccounts, Server},
    stanza::{Condition, Iq},
    stream::StreamCondition,
};
use xmpp_im::{
    account_xml::MemoryAccountXml,
    registration::{self, Registration, RegistrationQuery},
    vcard::{self, VCard},
};

fn server() -> (Server, Arc<MemoryAccounts>) {
    let accounts = Arc::new(MemoryAccounts::new());
    for name in ["juliet@localhost", "romeo@localhost"] {
        accounts.set_password(BareJid::new(name).unwrap(), "secret");
    }
    let builder = Server::builder("localhost").anonymous_domain("anon.localhost").accounts(Arc::clone(&accounts));
    let builder = builder.with(registration::server(Arc::clone(&accounts), Registration::default()));
    (builder.with(vcard::server(MemoryAccountXml::new(), 1000)).build().unwrap(), accounts)
}

fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

async fn login(server: &Server, address: &str) -> (Client, Events) {
    let pipe = server.clone();
    let builder = Client::builder(jid(address), "secret").no_reconnect();
    let builder = if address.contains('@') { builder } else { builder.anonymous() };
    let (client, mut events) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
    assert!(matches!(events.next().await, Some(Event::Online { .. })));
    (client, events)
}

async fn set(client: &Client, query: RegistrationQuery) -> Option<Condition> {
    match client.request(Iq::set(jid("localhost")).payload(&query)).await {
        Ok(_) => None,
        Err(RequestError::Refused(error)) => Some(error.condition),
        Err(other) => panic!("{other}"),
    }
}

fn query(username: Option<&str>, password: Option<&str>) -> RegistrationQuery {
    let own = |text: Option<&str>| text.map(str::to_owned);
    RegistrationQuery { username: own(username), password: own(password), ..RegistrationQuery::default() }
}

#[tokio::test]
async fn xep0077_3_3_a_user_changes_the_password() {
    let (server, accounts) = server();
    let (juliet, _hers) = login(&server, "juliet@localhost").await;
    let her = BareJid::new("juliet@localhost").unwrap();
    let known: RegistrationQuery =
        juliet.query(Iq::get(jid("localhost")).payload(&RegistrationQuery::default())).await.unwrap();
    assert!(known.registered && known.username.as_deref() == Some("juliet") && known.password.as_deref() == Some(""));
    registration::change_password(&juliet, "new").await.unwrap();
    assert!(accounts.check_password(&her, "new").await.unwrap());
    assert!(!accounts.check_password(&her, "secret").await.unwrap());
    for (username, password) in [(None, Some("x")), (Some("juliet"), None), (Some("juliet"), Some(""))] {
        assert_eq!(set(&juliet, query(username, password)).await, Some(Condition::BadRequest));
    }
    let long = "x".repeat(registration::MAX_PASSWORD + 1);
    assert_eq!(set(&juliet, query(Some("juliet"), Some(&long))).await, Some(Condition::NotAcceptable));
    assert!(accounts.check_password(&her, "new").await.unwrap(), "the existing one is maintained");
    let kind = Field::new("FORM_TYPE").typed(FieldType::Hidden).value("jabber:iq:register:changepassword");
    let form = DataForm::new(FormKind::Submit).with(kind);
    let form = form.with(Field::new("username").value("juliet")).with(Field::new("password").value("third"));
    assert_eq!(set(&juliet, RegistrationQuery { form: Some(form), ..query(None, None) }).await, None);
    assert!(accounts.check_password(&her, "third").await.unwrap());
}

#[tokio::test]
async fn abuse_a094_the_subject_is_the_session() {
    let (server, accounts) = server();
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    assert_eq!(set(&romeo, query(Some("juliet"), Some("stolen"))).await, Some(Condition::NotAllowed));
    assert!(accounts.check_password(&BareJid::new("juliet@localhost").unwrap(), "secret").await.unwrap());
    let foreign = RegistrationQuery { remove: true, ..query(Some("juliet"), None) };
    assert_eq!(set(&romeo, foreign).await, Some(Condition::BadRequest), "remove stands alone");
    let remove = RegistrationQuery { remove: true, ..RegistrationQuery::default() };
    match romeo.request(Iq::set(jid("juliet@localhost")).payload(&remove)).await {
        Err(RequestError::Refused(error)) => assert_eq!(error.condition, Condition::ServiceUnavailable),
        other => panic!("{other:?}"),
    }
    let (guest, _events) = login(&server, "anon.localhost").await;
    assert_eq!(set(&guest, remove).await, Some(Condition::NotAllowed));
    assert!(accounts.exists(&BareJid::new("juliet@localhost").unwrap()).await.unwrap());
}

#[tokio::test]
async fn xep0077_3_2_an_account_is_removed_with_all_that_is_kept_for_it_and_its_sessions_end() {
    let (server, accounts) = server();
    let (juliet, mut hers) = login(&server, "juliet@localhost/one").await;
    let (_other, mut others) = login(&server, "juliet@localhost/two").await;
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    let her = BareJid::new("juliet@localhost").unwrap();
    vcard::set(&juliet, &VCard::write_with(|out| out.text_element("FN", vcard::NS, "Juliet"))).await.unwrap();
    registration::remove_account(&juliet).await.unwrap();
    for events in [&mut hers, &mut others] {
        match timeout(Duration::from_secs(20), events.next()).await.unwrap() {
            Some(Event::Offline { error: ConnectionError::Stream(error), .. }) => {
                assert_eq!(error.condition, StreamCondition::NotAuthorized);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(!accounts.exists(&her).await.unwrap());
    // What is kept is forgotten after the sessions have ended: asked until it is.
    while vcard::get(&romeo, Some(&her)).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
