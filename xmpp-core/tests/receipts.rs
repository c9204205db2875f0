//! What a client tells of single stanzas on their way to the server, also where the connection is cut.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
    time::timeout,
};
use xmpp_core::{
    client::{Client, ClientBuilder, Event, Events, Handover, Receipt},
    jid::{BareJid, Jid},
    net::Transport,
    server::{MemoryAccounts, Server},
    stanza::{Message, MessageBuilder},
};

fn server() -> Server {
    let accounts = MemoryAccounts::new();
    accounts.set_password(BareJid::new("juliet@localhost").unwrap(), "secret");
    Server::builder("localhost").accounts(accounts).build().unwrap()
}

fn builder() -> ClientBuilder {
    Client::builder("juliet@localhost/balcony".parse().unwrap(), "secret")
}

/// What the client sends gets lost when it is told to, and then the connection is.
#[derive(Default)]
struct Cable {
    swallows: AtomicBool,
    swallowed: Notify,
    cut: Notify,
    made: AtomicUsize,
}

impl Cable {
    fn connect(self: &Arc<Self>, server: &Server) -> Transport {
        let (end, mut between) = Transport::pair(64 * 1024);
        let (cable, mut up) = (Arc::clone(self), server.connect_memory());
        self.made.fetch_add(1, Ordering::SeqCst);
        self.swallows.store(false, Ordering::SeqCst);
        tokio::spawn(async move {
            let (mut mine, mut theirs) = ([0; 4096], [0; 4096]);
            loop {
                tokio::select! {
                    () = cable.cut.notified() => return,
                    read = between.read(&mut mine) => match read {
                        Ok(count) if count > 0 && cable.swallows.load(Ordering::SeqCst) => cable.swallowed.notify_one(),
                        Ok(count) if count > 0 => up.write_all(&mine[..count]).await.unwrap(),
                        _ => return,
                    },
                    read = up.read(&mut theirs) => match read {
                        Ok(count) if count > 0 => between.write_all(&theirs[..count]).await.unwrap(),
                        _ => return,
                    },
                }
            }
        });
        end
    }

    /// The next that is sent is lost, and the connection with it.
    async fn lose(&self, client: &Client) -> Receipt {
        self.swallows.store(true, Ordering::SeqCst);
        let receipt = client.send_followed(to_self()).await.unwrap();
        self.swallowed.notified().await;
        assert_eq!(receipt.now(), Handover::Waiting);
        self.cut.notify_one();
        receipt
    }
}

fn to_self() -> MessageBuilder {
    Message::chat("juliet@localhost/balcony".parse::<Jid>().unwrap()).body("O Romeo")
}

async fn next(events: &mut Events) -> Event {
    timeout(Duration::from_secs(60), events.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn xep0198_4_what_the_server_has_is_known() {
    let server = server();
    let (client, mut events) = builder().pipe(move || server.connect_memory()).connect().unwrap();
    assert!(matches!(next(&mut events).await, Event::Online { .. }));
    let mut receipt = client.send_followed(to_self()).await.unwrap();
    let again = receipt.clone();
    assert_eq!(timeout(Duration::from_secs(60), receipt.settled()).await.unwrap(), Handover::Acknowledged);
    assert_eq!(again.now(), Handover::Acknowledged);
}

#[tokio::test]
async fn xep0198_5_what_a_resumed_session_sends_again_is_the_same_stanza() {
    let (server, cable) = (server(), Arc::new(Cable::default()));
    let wire = Arc::clone(&cable);
    let (client, mut events) = builder().pipe(move || wire.connect(&server)).connect().unwrap();
    assert!(matches!(next(&mut events).await, Event::Online { .. }));
    // The server has said that the session can be resumed.
    client.send_followed(to_self()).await.unwrap().settled().await;
    let mut receipt = cable.lose(&client).await;
    // Taken, so that the server's acknowledgements are not behind what nobody takes.
    tokio::spawn(async move { while events.next().await.is_some() {} });
    assert_eq!(timeout(Duration::from_secs(60), receipt.settled()).await.unwrap(), Handover::Acknowledged);
    assert_eq!(cable.made.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn xep0198_what_went_with_the_connection_is_doubtful_when_the_session_is_lost() {
    let (server, cable) = (server(), Arc::new(Cable::default()));
    let wire = Arc::clone(&cable);
    let (client, mut events) = builder().no_reconnect().pipe(move || wire.connect(&server)).connect().unwrap();
    assert!(matches!(next(&mut events).await, Event::Online { .. }));
    client.send_followed(to_self()).await.unwrap().settled().await;
    let mut receipt = cable.lose(&client).await;
    loop {
        match next(&mut events).await {
            Event::Unacknowledged(lost) => break assert!(lost.len() == 1 && lost[0].doubtful),
            Event::Message(_) | Event::Offline { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(timeout(Duration::from_secs(60), receipt.settled()).await.unwrap(), Handover::Doubtful);
}

#[tokio::test]
async fn what_no_connection_has_taken_is_unsent() {
    let (end, mut peer) = Transport::pair(64 * 1024);
    let mut end = Some(end);
    let (client, mut events) = builder().no_reconnect().pipe(move || end.take().unwrap()).connect().unwrap();
    let mut receipt = client.send_followed(to_self()).await.unwrap();
    // The client has begun, and meanwhile has taken the stanza over.
    assert!(peer.read(&mut [0; 64]).await.unwrap() > 0);
    drop(peer);
    while events.next().await.is_some() {}
    assert_eq!(receipt.settled().await, Handover::Unsent);
}
