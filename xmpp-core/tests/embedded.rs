//! A client and an embedded server in one process, over a pipe: the whole road of a login and a chat.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::time::Duration;
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, Event, Events},
    jid::{BareJid, Jid},
    payload::{
        disco::{DiscoInfo, DiscoInfoQuery},
        ping::Ping,
    },
    server::{MemoryAccounts, Server},
    stanza::{Iq, Message, Presence},
};

fn server() -> Server {
    let accounts = MemoryAccounts::new();
    for name in ["juliet", "romeo"] {
        accounts.set_password(BareJid::new(&format!("{name}@localhost")).unwrap(), "secret");
    }
    Server::builder("localhost").accounts(accounts).build().unwrap()
}

fn client(server: &Server, jid: &str, password: &str) -> (Client, Events) {
    let server = server.clone();
    Client::builder(jid.parse().unwrap(), password).pipe(move || server.connect_memory()).connect().unwrap()
}

async fn next(events: &mut Events) -> Event {
    timeout(Duration::from_secs(60), events.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn two_clients_log_in_and_chat() {
    let server = server();
    let (juliet, mut hers) = client(&server, "juliet@localhost/balcony", "secret");
    let (romeo, mut his) = client(&server, "romeo@localhost/orchard", "secret");
    let Event::Online { jid, .. } = next(&mut hers).await else { panic!("not online") };
    assert_eq!(jid.as_str(), "juliet@localhost/balcony");
    assert!(matches!(next(&mut his).await, Event::Online { .. }));
    romeo.send(Message::chat(Jid::from(jid)).body("But soft! <&>")).await.unwrap();
    let Event::Message(message) = next(&mut hers).await else { panic!("no message") };
    assert_eq!(message.body().unwrap(), "But soft! <&>");
    assert_eq!(message.from().unwrap().as_str(), "romeo@localhost/orchard");
    juliet.send(message.reply().unwrap().body("Ay me!")).await.unwrap();
    let Event::Message(message) = next(&mut his).await else { panic!("no message") };
    assert_eq!(message.body().unwrap(), "Ay me!");
    let info: DiscoInfo =
        juliet.query(Iq::get("localhost".parse::<Jid>().unwrap()).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(info.has_feature("urn:xmpp:ping"), "{info:?}");
    juliet.request(Iq::get("romeo@localhost/orchard".parse::<Jid>().unwrap()).payload(&Ping)).await.unwrap();
    assert!(juliet.close().await);
    assert!(hers.next().await.is_none());
    romeo.send(Presence::available()).await.unwrap();
    server.shutdown(Duration::from_secs(5)).await;
    assert_eq!(server.sessions(), 0);
}

#[tokio::test]
async fn a_wrong_password_is_told_once_and_ends_the_retrying() {
    let server = server();
    let (_client, mut events) = client(&server, "juliet@localhost", "wrong");
    let Event::Offline { error, retry } = next(&mut events).await else { panic!("no error") };
    assert!(error.to_string().contains("not-authorized"), "{error}");
    assert_eq!(retry, None);
    assert!(events.next().await.is_none());
    assert_eq!(server.stats().failures, 1);
}
