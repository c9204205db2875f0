//! HTTP upload (XEP-0363): the service and its web server as clients and browsers see them, and our client at it.
#![cfg(all(feature = "http-client", feature = "http-server"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod abuse;
mod client;
mod commands;
mod hostile;
mod purposes;
mod road;
mod service;
mod signed;
mod store;
mod web;

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use store::Held;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use xmpp_core::{
    client::{Client, Events},
    jid::BareJid,
    net::{ClientTls, ServerTls, tls::SelfSigned},
    server::{Audience, ManageAccounts as _, MemoryAccounts, Server},
    stanza::Iq,
};
use xmpp_filetransfer::upload::{
    Slot, SlotRequest,
    client::{UploadClientSettings, client_with},
    server::{UploadSettings, Uploads},
    store::UploadStore,
};

/// A server with uploads, and where it listens for HTTP.
struct House {
    server: Server,
    address: SocketAddr,
    url: String,
    folder: tempfile::TempDir,
    store: Arc<Held>,
    trust: ClientTls,
    /// Seconds by which its clock is fast.
    later: Arc<AtomicU64>,
    accounts: Arc<MemoryAccounts>,
}

impl House {
    async fn new(change: impl FnOnce(&mut UploadSettings)) -> House {
        House::made(false, change, |uploads| uploads).await
    }

    async fn made(tls: bool, change: impl FnOnce(&mut UploadSettings), more: impl FnOnce(Uploads) -> Uploads) -> House {
        House::moved_in(tempfile::tempdir().unwrap(), Arc::new(Held::default()), tls, change, more).await
    }

    /// In a folder that may have been used before.
    async fn moved_in(
        folder: tempfile::TempDir,
        store: Arc<Held>,
        tls: bool,
        change: impl FnOnce(&mut UploadSettings),
        more: impl FnOnce(Uploads) -> Uploads,
    ) -> House {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("{}://localhost:{}", if tls { "https" } else { "http" }, address.port());
        let later = Arc::new(AtomicU64::new(0));
        let fast = Arc::clone(&later);
        let mut settings = UploadSettings::default();
        settings.slots_per_minute = 1000;
        change(&mut settings);
        let uploads = Uploads::open("upload.localhost", &url, Arc::<Held>::clone(&store), folder.path()).unwrap();
        let uploads = more(uploads.settings(settings))
            .clock(move || SystemTime::now() + Duration::from_secs(fast.load(Ordering::Relaxed)));
        let made = SelfSigned::generate(&["localhost"], 1).unwrap();
        let trust = ClientTls::builder().only_roots().add_root_pem(made.certificate_pem.as_bytes()).unwrap();
        let accounts = MemoryAccounts::new();
        accounts.set_password("juliet@localhost".parse().unwrap(), "secret");
        accounts.set_password("romeo@localhost".parse().unwrap(), "secret");
        let accounts = Arc::new(accounts);
        let served = ServerTls::single(made.certificate_key).unwrap();
        let server =
            Server::builder("localhost").accounts(Arc::clone(&accounts)).tls(served).with(uploads).build().unwrap();
        let audience = if tls { Audience::Https } else { Audience::Http };
        server.listen_on(listener, audience).unwrap();
        House { server, address, url, folder, store, trust: trust.build().unwrap(), later, accounts }
    }

    async fn client(&self, name: &str) -> (Client, Events) {
        self.client_with(name, |_| {}).await
    }

    async fn client_with(&self, name: &str, change: impl FnOnce(&mut UploadClientSettings)) -> (Client, Events) {
        let mut settings = UploadClientSettings::default();
        settings.allow_http = true;
        change(&mut settings);
        let server = self.server.clone();
        let builder = Client::builder(format!("{name}@localhost").parse().unwrap(), "secret");
        let builder = builder.tls(self.trust.clone()).with(client_with(settings)).pipe(move || server.connect_memory());
        let (client, events) = builder.connect().unwrap();
        client.online().await.unwrap();
        (client, events)
    }

    /// A slot for Juliet, and what has to be said to put the file.
    async fn slot(&self, name: &str, size: u64, content_type: Option<&str>) -> (Slot, String) {
        let (juliet, _events) = self.client("juliet").await;
        let request = SlotRequest { content_type: content_type.map(str::to_owned), ..SlotRequest::new(name, size) };
        let slot: Slot =
            juliet.query(Iq::get("upload.localhost".parse::<BareJid>().unwrap()).payload(&request)).await.unwrap();
        let authorization = slot.put.headers[0].value.clone();
        (slot, authorization)
    }

    /// The path of an address that it gave out.
    fn path<'a>(&self, url: &'a str) -> &'a str {
        url.strip_prefix(&self.url).unwrap()
    }

    /// What names the file of an address on the disk.
    fn id<'a>(&self, url: &'a str) -> &'a str {
        &self.path(url).split('/').nth(2).unwrap()[..26]
    }

    /// Juliet's account goes.
    async fn remove_juliet(&self) {
        let juliet = "juliet@localhost".parse().unwrap();
        self.accounts.delete(&juliet).await.unwrap();
        self.server.account_removed(&juliet).await;
    }

    /// A file of Juliet's that is there: its path, and what has to be said to delete it.
    async fn file(&self, name: &str, content: &[u8], content_type: Option<&str>) -> (String, String) {
        let (slot, authorization) = self.slot(name, u64::try_from(content.len()).unwrap(), content_type).await;
        let answer = self.ask("PUT", self.path(&slot.put.url), &[("Authorization", &authorization)], content).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        (self.path(&slot.get.url).to_owned(), authorization)
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        let framed = |one: &&(&str, &str)| one.0 == "Content-Length" || one.0 == "Transfer-Encoding";
        if method == "PUT" && !headers.iter().any(|one| framed(&one)) {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.raw(&[format!("{request}\r\n").as_bytes(), body].concat()).await
    }

    async fn raw(&self, request: &[u8]) -> Answer {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        // It may answer before it has read all of it.
        let _ = socket.write_all(request).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        Answer::read(&answer)
    }

    /// Files in the folder: whole ones, and parts of others.
    fn files(&self) -> (usize, usize) {
        let mut found = (0, std::fs::read_dir(self.folder.path().join("parts")).unwrap().count());
        for shelf in std::fs::read_dir(self.folder.path().join("files")).unwrap() {
            found.0 += std::fs::read_dir(shelf.unwrap().path()).unwrap().count();
        }
        found
    }

    async fn bytes_kept(&self) -> u64 {
        self.store.usage(None).await.unwrap().bytes
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Answer {
        let end =
            bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("no answer: {bytes:?}"));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Answer { status, headers: headers.collect(), body: bytes[end + 4..].to_vec() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Sends on, a byte every two seconds, until that is refused as too slow.
async fn dripped(socket: &mut TcpStream) {
    tokio::time::pause();
    let (mut answer, mut byte) = (Vec::new(), [0; 1]);
    // Time passes by itself while nobody has anything to do.
    for _ in 0..100 {
        let _ = socket.write_all(b"x").await;
        match tokio::time::timeout(Duration::from_secs(2), socket.read(&mut byte)).await {
            Err(_) => {}
            Ok(Ok(1)) => {
                answer.push(byte[0]);
                let _ = socket.read_to_end(&mut answer).await;
                break;
            }
            Ok(_) => break,
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
}
