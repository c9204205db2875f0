//! What happens to messages, through an embedded server, seen by its clients: delivery, offline storage, carbons,
//! blocking.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod blocking;
mod carbons;
mod delivery;
mod offline;

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, ClientBuilder, Event, Events, RequestError},
    jid::{BareJid, Jid},
    payload::ping::Ping,
    server::{MemoryAccounts, Server, ServerBuilder},
    stanza::{Condition, Iq, IqBuilder, Message, MessageType, Presence, PresenceType},
    xml::{Stanza, XmlLimits, ns},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Everybody's password is `secret`; hashed once for all tests.
static ACCOUNTS: LazyLock<Arc<MemoryAccounts>> = LazyLock::new(|| {
    let accounts = MemoryAccounts::new();
    for name in ["juliet", "romeo", "tybalt"] {
        accounts.set_password(BareJid::new(&format!("{name}@localhost")).unwrap(), "secret");
    }
    Arc::new(accounts)
});

/// A server with presence and delivery.
fn builder() -> ServerBuilder {
    let builder = Server::builder("localhost").anonymous_domain("anon.localhost").accounts(Arc::clone(&*ACCOUNTS));
    builder.with(xmpp_im::presence::server).with(xmpp_im::delivery::server)
}

fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

/// A stanza as a test writes it.
fn xml(text: &str) -> Stanza {
    Stanza::parse(text, ns::CLIENT, &XmlLimits::authenticated()).unwrap()
}

fn text(message: &Message) -> String {
    message.body().unwrap_or_default().into_owned()
}

/// A client of its own session.
struct Device {
    client: Client,
    events: Events,
    jid: Jid,
}

impl Device {
    async fn with(server: &Server, jid: &str, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Device {
        let server = server.clone();
        let builder = Client::builder(jid.parse().unwrap(), "secret").no_reconnect();
        let (client, mut events) = change(builder.pipe(move || server.connect_memory())).connect().unwrap();
        match timeout(PATIENCE, events.next()).await.unwrap().unwrap() {
            Event::Online { jid, .. } => Device { client, events, jid: jid.into() },
            other => panic!("not online: {other:?}"),
        }
    }

    async fn new(server: &Server, jid: &str) -> Device {
        Device::with(server, jid, |builder| builder).await
    }

    /// Available; what it was sent before is still to be seen.
    async fn available(server: &Server, jid: &str, priority: i8) -> Device {
        let device = Device::new(server, jid).await;
        device.become_available(priority).await;
        device
    }

    async fn become_available(&self, priority: i8) {
        self.send(Presence::available().priority(priority)).await;
        self.sync().await;
    }

    async fn send(&self, stanza: impl xmpp_core::stanza::WriteStanza) {
        self.client.send(stanza).await.unwrap();
    }

    /// All that it has sent is where it belongs.
    async fn sync(&self) {
        self.client.request(Iq::get(jid("localhost")).payload(&Ping)).await.unwrap();
    }

    async fn request(&self, request: IqBuilder) -> Result<Iq, Condition> {
        match timeout(PATIENCE, self.client.request(request)).await.unwrap() {
            Ok(answer) => Ok(answer),
            Err(RequestError::Refused(error)) => Err(error.condition),
            Err(other) => panic!("{other}"),
        }
    }

    /// All that the server has for it so far: behind it comes a headline that it sends to itself.
    async fn stanzas(&mut self) -> (Vec<Message>, Vec<Presence>) {
        self.send(Message::headline(self.jid.clone()).body("the end")).await;
        let (mut messages, mut presence) = (Vec::new(), Vec::new());
        loop {
            match timeout(PATIENCE, self.events.next()).await.unwrap().unwrap() {
                Event::Message(message) if message.type_() == MessageType::Headline && text(&message) == "the end" => {
                    return (messages, presence);
                }
                Event::Message(message) => messages.push(message),
                Event::Presence(one) => presence.push(one),
                other => panic!("{other:?}"),
            }
        }
    }

    async fn messages(&mut self) -> Vec<Message> {
        self.stanzas().await.0
    }

    async fn bodies(&mut self) -> Vec<String> {
        self.messages().await.iter().map(text).collect()
    }

    /// Presence from others than itself, as address and whether it is there.
    async fn presence(&mut self) -> Vec<(String, bool)> {
        let presence = self.stanzas().await.1.into_iter();
        let others = presence.filter(|one| one.from() != Some(&self.jid));
        others.map(|one| (one.from().unwrap().to_string(), one.type_() == PresenceType::Available)).collect()
    }

    /// The next message that comes, however long it takes.
    async fn message(&mut self) -> Message {
        loop {
            match timeout(PATIENCE, self.events.next()).await.unwrap().unwrap() {
                Event::Message(message) => return message,
                Event::Presence(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
