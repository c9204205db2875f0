//! What is shared by a server's store: told of in messages, fetched, encrypted; and small data from client to client.
#![cfg(all(feature = "http-client", feature = "http-server", feature = "encryption"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod bits;
mod encrypted;
mod sharing;
mod spy;

use spy::Spy;
use std::{net::Ipv4Addr, path::Path, sync::Arc};
use xmpp_core::{
    client::{Client, ClientBuilder, Event, Events},
    net::{ClientTls, ServerTls, tls::SelfSigned},
    server::{Audience, MemoryAccounts, Server},
    stanza::Message,
};
use xmpp_filetransfer::{
    client::{self as files},
    share::bob::client as bits_client,
    upload::{
        client::{UploadClientSettings, client_with},
        server::{UploadSettings, Uploads},
        store::MemoryUploads,
    },
};

/// A server with a store of files, which notes all that it sees.
struct House {
    server: Server,
    url: String,
    /// What the store holds.
    folder: tempfile::TempDir,
    trust: ClientTls,
    spy: Arc<Spy>,
}

impl House {
    fn new() -> House {
        House::made(true)
    }

    fn made(tls: bool) -> House {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
        let folder = tempfile::tempdir().unwrap();
        let mut settings = UploadSettings::default();
        settings.slots_per_minute = 1000;
        let uploads =
            Uploads::open("upload.localhost", &url, Arc::new(MemoryUploads::default()), folder.path()).unwrap();
        let made = SelfSigned::generate(&["localhost"], 1).unwrap();
        let trust = ClientTls::builder().only_roots().add_root_pem(made.certificate_pem.as_bytes()).unwrap();
        let accounts = MemoryAccounts::new();
        accounts.set_password("juliet@localhost".parse().unwrap(), "secret");
        accounts.set_password("romeo@localhost".parse().unwrap(), "secret");
        let spy = Arc::new(Spy::default());
        let server =
            Server::builder("localhost").accounts(accounts).tls(ServerTls::single(made.certificate_key).unwrap());
        let server = server.with(uploads.settings(settings)).with(Spy::watch(&spy)).build().unwrap();
        server.listen_on(listener, if tls { Audience::Https } else { Audience::Http }).unwrap();
        House { server, url, folder, trust: trust.build().unwrap(), spy }
    }

    fn builder(&self, name: &str) -> ClientBuilder {
        let server = self.server.clone();
        Client::builder(format!("{name}@localhost").parse().unwrap(), "secret")
            .tls(self.trust.clone())
            .pipe(move || server.connect_memory())
    }

    async fn connect(builder: ClientBuilder) -> (Client, Events) {
        let (client, events) = builder.connect().unwrap();
        client.online().await.unwrap();
        (client, events)
    }

    /// A client with all that is tested here.
    async fn client(&self, name: &str) -> (Client, Events) {
        let mut settings = UploadClientSettings::default();
        settings.allow_http = true;
        let builder = self.builder(name).with(client_with(settings)).with(files::client).with(bits_client::client);
        House::connect(builder).await
    }

    /// The content of all files of the store.
    fn stored(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        // The key that signs addresses lies beside them.
        let mut folders = vec![self.folder.path().join("files")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(std::fs::read(path).unwrap());
                }
            }
        }
        found
    }
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()
}

/// What is in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn message(events: &mut Events) -> Message {
    loop {
        if let Event::Message(message) = events.next().await.unwrap() {
            return message;
        }
    }
}
