//! People with accounts in memory, and their clients inside the process.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

use std::time::Duration;
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, Event, Events},
    jid::{BareJid, Jid},
    server::{MemoryAccounts, Server},
};

/// Everybody's password.
pub const SECRET: &str = "secret";
/// Longer than anything takes here; only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

pub fn bare(text: &str) -> BareJid {
    text.parse().unwrap()
}

pub fn accounts(names: &[&str]) -> MemoryAccounts {
    let accounts = MemoryAccounts::new();
    names.iter().for_each(|name| accounts.set_password(bare(name), SECRET));
    accounts
}

/// A client that is online.
pub async fn login(server: &Server, address: &str) -> (Client, Events) {
    let pipe = server.clone();
    let builder = Client::builder(jid(address), SECRET).no_reconnect();
    let (client, mut events) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
    match next(&mut events).await {
        Some(Event::Online { .. }) => (client, events),
        other => panic!("{address} is not online: {other:?}"),
    }
}

pub async fn next(events: &mut Events) -> Option<Event> {
    timeout(PATIENCE, events.next()).await.unwrap()
}
