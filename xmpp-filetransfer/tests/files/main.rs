//! Files from one client to another, over an embedded server.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod abroad;
mod crowd;
mod lies;
mod places;
mod silence;
mod villain;

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use xmpp_core::{
    client::{Client, Events},
    jid::FullJid,
    server::{MemoryAccounts, Server},
    stanza::Presence,
};
use xmpp_filetransfer::{
    client::{FilesClient, FilesSettings, Offer, Offers, Phase, Report, Road, Transfer, TransferError, client_with},
    proxy65::Proxy65,
};

/// Settings, whether there is a relay, and the road that follows.
type Going = (fn(&mut FilesSettings), Option<u64>, Road);

const LIMIT: Duration = Duration::from_secs(60);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.unwrap()
}

/// A way for bytes that can be cut, or held, after so many of them.
#[derive(Clone)]
struct Gate {
    after: Arc<AtomicU64>,
    port: u16,
    open: watch::Sender<bool>,
}

impl Gate {
    /// In front of a port.
    async fn before(inner: u16, after: u64) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let gate = Gate { after: Arc::new(AtomicU64::new(after)), port, open: watch::Sender::new(true) };
        let passing = gate.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let other = TcpStream::connect(("127.0.0.1", inner)).await.unwrap();
                tokio::spawn(passing.clone().pass(socket, other));
            }
        });
        gate
    }

    async fn pass(self, one: TcpStream, other: TcpStream) {
        let ((mut from, mut to), (mut back, mut forth)) = (one.into_split(), other.into_split());
        let answers = tokio::spawn(async move { tokio::io::copy(&mut back, &mut to).await });
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let left =
                self.after.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(read as u64));
            if left.is_err() {
                answers.abort();
                return;
            }
            let _ = self.open.subscribe().wait_for(|open| *open).await;
            if forth.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    }
}

struct House {
    server: Server,
    folder: TempDir,
    gate: Option<Gate>,
}

/// A server, with a relay behind a gate if one is wanted.
async fn house(relay: Option<u64>) -> House {
    let accounts = MemoryAccounts::new();
    for name in ["romeo@localhost", "juliet@localhost"] {
        accounts.set_password(name.parse().unwrap(), "secret");
    }
    let mut builder = Server::builder("localhost").accounts(accounts);
    let mut gate = None;
    if let Some(after) = relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let before = Gate::before(listener.local_addr().unwrap().port(), after).await;
        let relay = Proxy65::new("proxy.localhost").listen(listener).unwrap().advertise("127.0.0.1", before.port);
        builder = builder.with(relay);
        gate = Some(before);
    }
    House { server: builder.build().unwrap(), folder: TempDir::new().unwrap(), gate }
}

struct Person {
    client: Client,
    jid: FullJid,
    offers: Offers,
    _events: Events,
}

fn settings(change: impl FnOnce(&mut FilesSettings)) -> FilesSettings {
    let mut settings = FilesSettings::default();
    settings.socks5.loopback = true;
    settings.grace = Duration::from_millis(500);
    change(&mut settings);
    settings
}

fn any(_: &mut FilesSettings) {}

fn in_band(settings: &mut FilesSettings) {
    settings.ways.sockets = false;
}

fn relayed(settings: &mut FilesSettings) {
    settings.socks5.direct = false;
}

/// Neither addresses nor relays.
fn hidden(settings: &mut FilesSettings) {
    (settings.socks5.direct, settings.socks5.discover) = (false, false);
}

impl House {
    async fn person(&self, name: &str, change: impl FnOnce(&mut FilesSettings)) -> Person {
        let server = self.server.clone();
        let builder = Client::builder(format!("{name}@localhost/{name}").parse().unwrap(), "secret")
            .with(client_with(settings(change)));
        let (client, events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
        let jid = soon(client.online()).await.unwrap();
        let offers = client.files().unwrap().offers();
        Person { client, jid, offers, _events: events }
    }

    async fn two(
        &self,
        one: impl FnOnce(&mut FilesSettings),
        other: impl FnOnce(&mut FilesSettings),
    ) -> (Person, Person) {
        (self.person("romeo", one).await, self.person("juliet", other).await)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file with something in it.
    fn file(&self, name: &str, length: usize) -> (PathBuf, Vec<u8>) {
        let bytes: Vec<u8> = (0..length).map(|n| (n * 31 + n / 251) as u8).collect();
        std::fs::write(self.path(name), &bytes).unwrap();
        (self.path(name), bytes)
    }

    /// All names in the folder, but that of the file which was sent.
    fn others(&self, sent: &Path) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path != sent).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }
}

async fn send(from: &Person, to: &Person, path: &Path) -> Transfer {
    soon(async { from.client.files().unwrap().send(to.jid.clone().into(), path).await }).await.unwrap()
}

async fn offer(person: &mut Person) -> Offer {
    soon(person.offers.next()).await.unwrap()
}

async fn both(one: Transfer, other: Transfer) -> (Result<Report, TransferError>, Result<Report, TransferError>) {
    soon(async { tokio::join!(one.finish(), other.finish()) }).await
}

/// Waits until so many bytes are across.
async fn across(transfer: &Transfer, bytes: u64) {
    let mut progress = transfer.progress();
    while soon(progress.next()).await.unwrap().bytes < bytes {}
}

#[tokio::test]
async fn xep0234_a_file_takes_each_road() {
    let roads: [Going; 3] =
        [(any, None, Road::Direct), (relayed, Some(u64::MAX), Road::Proxy), (in_band, None, Road::InBand)];
    for (change, relay, road) in roads {
        let house = house(relay).await;
        let (romeo, mut juliet) = house.two(change, change).await;
        let (path, bytes) = house.file("letter.txt", 300_000);
        let sending = send(&romeo, &juliet, &path).await;
        assert_eq!((sending.name(), sending.size()), ("letter.txt", Some(300_000)));
        let offer = offer(&mut juliet).await;
        assert_eq!((offer.name(), offer.from(), offer.file().size), ("letter.txt", &romeo.jid, Some(300_000)));
        assert!(offer.file().modified().is_some());
        let receiving = offer.accept_to(house.path("got")).await.unwrap();
        let watching = receiving.progress();
        let (sent, received) = both(sending, receiving).await;
        let (sent, received) = (sent.unwrap(), received.unwrap());
        assert_eq!((sent.road, received.road), (road, road));
        assert_eq!((sent.bytes, received.bytes, sent.moved, received.moved), (300_000, 300_000, 300_000, 300_000));
        assert_eq!((sent.verified.as_deref(), received.verified.as_deref()), (Some("sha-256"), Some("sha-256")));
        assert_eq!(received.path, Some(house.path("got")));
        assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
        assert_eq!(house.others(&path), ["got"]);
        assert_eq!((watching.now().bytes, watching.now().phase), (300_000, Phase::Ended));
    }
}

#[tokio::test]
async fn xep0234_empty_files_are_files() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, _) = house.file("empty", 0);
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert_eq!((sent.unwrap().moved, received.unwrap().verified.as_deref()), (0, Some("sha-256")));
    assert_eq!(std::fs::read(house.path("got")).unwrap(), b"");
}

#[tokio::test]
async fn a_bare_address_is_that_of_a_client_which_takes_files() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, _) = house.file("letter.txt", 10);
    let files = romeo.client.files().unwrap();
    let nobody = soon(async { files.send("juliet@localhost".parse().unwrap(), &path).await }).await;
    assert!(matches!(nobody, Err(TransferError::NobodyThere)), "{nobody:?}");
    // A client that takes none comes first.
    let server = house.server.clone();
    let builder = Client::builder("juliet@localhost/plain".parse().unwrap(), "secret");
    let (plain, _events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
    soon(plain.online()).await.unwrap();
    let here = |priority| Presence::available().to(romeo.jid.clone()).priority(priority);
    plain.send(here(5)).await.unwrap();
    juliet.client.send(here(-1)).await.unwrap();
    let sending = loop {
        match soon(async { files.send("juliet@localhost".parse().unwrap(), &path).await }).await {
            // Presence may be on its way.
            Err(TransferError::NobodyThere) => tokio::task::yield_now().await,
            other => break other.unwrap(),
        }
    };
    assert_eq!(sending.peer().as_str(), juliet.jid.as_str());
    assert_eq!(offer(&mut juliet).await.name(), "letter.txt");
    // Who has gone is not asked.
    juliet.client.send(Presence::unavailable().to(romeo.jid.clone())).await.unwrap();
    loop {
        match soon(async { files.send("juliet@localhost".parse().unwrap(), &path).await }).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break assert!(matches!(error, TransferError::NobodyThere), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn offers_are_declined_rejected_and_bounded() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, |settings| settings.offers = 1).await;
    let (path, _) = house.file("letter.txt", 10);
    let declined = |result: Result<Report, TransferError>| match result {
        Err(TransferError::Declined { text }) => text,
        other => panic!("{other:?}"),
    };
    let sending = send(&romeo, &juliet, &path).await;
    drop(offer(&mut juliet).await);
    assert_eq!(declined(soon(sending.finish()).await), None);
    let sending = send(&romeo, &juliet, &path).await;
    offer(&mut juliet).await.reject(Some("not now")).await;
    assert_eq!(declined(soon(sending.finish()).await).as_deref(), Some("not now"));
    // One waits, another is too many.
    let first = send(&romeo, &juliet, &path).await;
    let waits = offer(&mut juliet).await;
    let _second = send(&romeo, &juliet, &path).await;
    let third = send(&romeo, &juliet, &path).await;
    let fourth = send(&romeo, &juliet, &path).await;
    let (third, fourth) = tokio::join!(timeout(Duration::from_millis(300), third.finish()), fourth.finish());
    assert!([third.ok(), Some(fourth)].into_iter().flatten().any(|it| declined(it).as_deref() == Some("busy")));
    drop(waits);
    assert_eq!(declined(soon(first.finish()).await), None);
    // Nobody listens.
    drop(juliet.offers);
    juliet.offers = romeo.client.files().unwrap().offers();
    let sending = send(&romeo, &juliet, &path).await;
    assert_eq!(declined(soon(sending.finish()).await), None);
    assert_eq!(house.others(&path), [""; 0]);
}

#[tokio::test]
async fn either_side_pauses_and_cancels() {
    for change in [any as fn(&mut FilesSettings), in_band] {
        for sender in [true, false] {
            let house = house(None).await;
            let (romeo, mut juliet) = house.two(change, change).await;
            let (path, bytes) = house.file("letter.txt", 400_000);
            for cancels in [false, true] {
                let sending = send(&romeo, &juliet, &path).await;
                let offer = offer(&mut juliet).await;
                if sender {
                    sending.pause();
                }
                let receiving = offer.accept_to(house.path("got")).await.unwrap();
                let held = if sender { &sending } else { &receiving };
                held.pause();
                let mut progress = held.progress();
                while soon(progress.next()).await.unwrap().phase != Phase::Paused {}
                assert!(!house.path("got").exists());
                if cancels {
                    held.cancel();
                } else {
                    held.resume();
                }
                let (sent, received) = both(sending, receiving).await;
                if cancels {
                    let (canceller, other) = if sender { (sent, received) } else { (received, sent) };
                    assert!(matches!(canceller, Err(TransferError::Cancelled)), "{canceller:?}");
                    assert!(matches!(&other, Err(TransferError::EndedByPeer(why)) if why == "cancel"), "{other:?}");
                    assert!(!house.path("got").exists());
                } else {
                    assert!(sent.is_ok() && received.is_ok());
                    assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
                    std::fs::remove_file(house.path("got")).unwrap();
                }
            }
        }
    }
}

#[tokio::test]
async fn cancelled_before_it_is_accepted() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, _) = house.file("letter.txt", 10);
    let sending = send(&romeo, &juliet, &path).await;
    let offer = offer(&mut juliet).await;
    sending.cancel();
    assert!(matches!(soon(sending.finish()).await, Err(TransferError::Cancelled)));
    let receiving = offer.accept_to(house.path("got")).await.unwrap();
    let received = soon(receiving.finish()).await;
    assert!(matches!(received, Err(TransferError::EndedByPeer(_))), "{received:?}");
    assert_eq!(house.others(&path), [""; 0]);
}

#[tokio::test]
async fn abuse_another_file_than_was_offered_is_not_kept() {
    for first in [true, false] {
        let house = house(None).await;
        let (romeo, mut juliet) = house.two(any, any).await;
        let (path, mut bytes) = house.file("letter.txt", 100_000);
        let files = romeo.client.files().unwrap();
        let mut sending = files.send(juliet.jid.clone().into(), &path);
        if first {
            sending = sending.hash_first();
        }
        let sending = soon(async { sending.await }).await.unwrap();
        let offer = offer(&mut juliet).await;
        assert_eq!(offer.file().hashes.len(), usize::from(first));
        bytes[99_999] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let receiving = offer.accept_to(house.path("got")).await.unwrap();
        let (sent, received) = both(sending, receiving).await;
        if first {
            assert!(matches!(received, Err(TransferError::HashMismatch { algo }) if algo == "sha-256"));
            assert!(matches!(sent, Err(TransferError::SpoiltThere { text: Some(_) })), "{sent:?}");
            assert_eq!(house.others(&path), [""; 0]);
        } else {
            // What was sent is what the hash is of.
            assert!(sent.is_ok() && received.is_ok());
        }
    }
}

#[tokio::test]
async fn a_file_that_shrinks_meanwhile_is_not_kept_under_its_name() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, bytes) = house.file("letter.txt", 100_000);
    let sending = send(&romeo, &juliet, &path).await;
    let offer = offer(&mut juliet).await;
    std::fs::write(&path, &bytes[..50_000]).unwrap();
    let receiving = offer.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert!(matches!(sent, Err(TransferError::File(_))), "{sent:?}");
    assert!(matches!(received, Err(TransferError::EndedByPeer(_))), "{received:?}");
    assert!(!house.path("got").exists());
    // One that has grown is sent as far as was said.
    let sending = send(&romeo, &juliet, &path).await;
    let offer = self::offer(&mut juliet).await;
    assert_eq!(offer.file().size, Some(50_000));
    std::fs::write(&path, &bytes).unwrap();
    let receiving = offer.accept_to(house.path("other")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert_eq!((sent.unwrap().bytes, received.unwrap().bytes), (50_000, 50_000));
    assert_eq!(std::fs::read(house.path("other")).unwrap(), &bytes[..50_000]);
}

/// A disk that has so much room.
struct Disk {
    room: usize,
    error: io::ErrorKind,
}

impl AsyncWrite for Disk {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.room == 0 {
            return Poll::Ready(Err(self.error.into()));
        }
        let written = bytes.len().min(self.room);
        self.room -= written;
        Poll::Ready(Ok(written))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_full_disk_is_told_on_both_sides() {
    for change in [any as fn(&mut FilesSettings), in_band] {
        let house = house(None).await;
        let (romeo, mut juliet) = house.two(change, change).await;
        let (path, _) = house.file("letter.txt", 200_000);
        for error in [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied] {
            let sending = send(&romeo, &juliet, &path).await;
            let receiving = offer(&mut juliet).await.accept(Disk { room: 100_000, error }).await.unwrap();
            let (sent, received) = both(sending, receiving).await;
            match error {
                io::ErrorKind::StorageFull => assert!(matches!(received, Err(TransferError::DiskFull))),
                _ => assert!(matches!(received, Err(TransferError::File(_)))),
            }
            assert!(matches!(sent, Err(TransferError::EndedByPeer(_))), "{sent:?}");
        }
        let sending = send(&romeo, &juliet, &path).await;
        let enough = Disk { room: 200_000, error: io::ErrorKind::StorageFull };
        let receiving = offer(&mut juliet).await.accept(enough).await.unwrap();
        let (sent, received) = both(sending, receiving).await;
        assert_eq!((sent.unwrap().moved, received.unwrap().path), (200_000, None));
    }
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, bytes) = house.file("letter.txt", 10);
    let sending = send(&romeo, &juliet, &path).await;
    let refused = offer(&mut juliet).await.accept_to(&path).await;
    assert!(matches!(refused, Err(TransferError::Exists(place)) if place == path));
    assert!(matches!(soon(sending.finish()).await, Err(TransferError::Declined { .. })));
    // Something comes to the place meanwhile.
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    std::fs::write(house.path("got"), "mine").unwrap();
    let (sent, received) = both(sending, receiving).await;
    match received {
        Err(TransferError::Exists(_)) => assert!(matches!(sent, Err(TransferError::EndedByPeer(_))), "{sent:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read(house.path("got")).unwrap(), b"mine");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_peer_that_is_gone_is_gone() {
    let house = house(None).await;
    let restless = |settings: &mut FilesSettings| {
        in_band(settings);
        settings.patience = Duration::from_millis(100);
    };
    for sender in [true, false] {
        let (romeo, mut juliet) = house.two(restless, restless).await;
        let (path, _) = house.file("letter.txt", 16 << 20);
        let sending = send(&romeo, &juliet, &path).await;
        let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
        across(&receiving, 1).await;
        let gone = if sender { &romeo } else { &juliet };
        gone.client.close().await;
        let left = if sender { receiving } else { sending };
        let error = soon(left.finish()).await.unwrap_err();
        assert!(matches!(error, TransferError::PeerGone | TransferError::Stream(_)), "{error:?}");
        assert!(!house.path("got").exists());
    }
}

#[tokio::test]
async fn xep0260_3_without_a_connection_it_goes_in_band() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(hidden, hidden).await;
    let (path, bytes) = house.file("letter.txt", 100_000);
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert_eq!((sent.unwrap().road, received.unwrap().road), (Road::InBand, Road::InBand));
    assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
    // Where that is not wanted there is no road.
    let only_sockets = |settings: &mut FilesSettings| {
        hidden(settings);
        settings.ways.in_band = false;
    };
    let (romeo, mut juliet) = house.two(only_sockets, hidden).await;
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("other")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert!(
        matches!((&sent, &received), (Err(TransferError::NoRoad), Err(TransferError::NoRoad))),
        "{sent:?} {received:?}"
    );
}

#[tokio::test]
async fn a_connection_that_breaks_is_not_the_end_of_the_file() {
    let house = house(Some(150_000)).await;
    let (romeo, mut juliet) = house.two(relayed, relayed).await;
    let (path, bytes) = house.file("letter.txt", 500_000);
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!((sent.road, received.road), (Road::InBand, Road::InBand));
    assert_eq!(received.verified.as_deref(), Some("sha-256"));
    assert_eq!(received.moved, 500_000, "nothing comes twice");
    assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
    assert_eq!(house.others(&path), ["got"]);
}

#[tokio::test]
async fn xep0234_6_4_a_later_offer_goes_on_from_what_is_there() {
    let house = house(Some(150_000)).await;
    let only_relayed = |settings: &mut FilesSettings| {
        relayed(settings);
        settings.ways.in_band = false;
    };
    let (romeo, mut juliet) = house.two(only_relayed, only_relayed).await;
    // Who is known.
    romeo.client.send(Presence::available().to(juliet.jid.clone())).await.unwrap();
    let (path, bytes) = house.file("letter.txt", 500_000);
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert!(sent.is_err() && received.is_err(), "{sent:?} {received:?}");
    let left = house.others(&path);
    assert!(left.len() == 1 && left[0].ends_with(".part"), "{left:?}");
    let there = std::fs::metadata(house.path(&left[0])).unwrap().len();
    assert!(there > 0 && there < 150_000, "{there}");
    house.gate.as_ref().unwrap().after.store(u64::MAX, Ordering::SeqCst);
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!((sent.moved, received.moved, received.bytes), (500_000 - there, 500_000 - there, 500_000));
    assert_eq!((received.verified.as_deref(), sent.verified.as_deref()), (Some("sha-256"), Some("sha-256")));
    assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
    assert_eq!(house.others(&path), ["got"]);
}

#[tokio::test]
async fn abuse_a087_what_the_peer_calls_a_file_is_no_path() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, _) = house.file("letter.txt", 10);
    for (said, name) in [("../../etc/passwd", "passwd"), ("..", "file"), ("", "file"), ("a\u{202e}b", "ab")] {
        let files = romeo.client.files().unwrap();
        let sending = soon(async { files.send(juliet.jid.clone().into(), &path).name(said).await }).await.unwrap();
        let offer = offer(&mut juliet).await;
        assert_eq!((offer.name(), offer.file().name.as_deref()), (name, Some(said)));
        drop((offer, sending));
    }
}

/// As older clients do it.
fn older(settings: &mut FilesSettings) {
    settings.ways.jingle = false;
}

#[tokio::test]
async fn xep0096_files_go_to_and_from_older_clients() {
    let roads: [Going; 3] =
        [(any, None, Road::Direct), (relayed, Some(u64::MAX), Road::Proxy), (in_band, None, Road::InBand)];
    for (change, relay, road) in roads {
        for oldest in [true, false] {
            let house = house(relay).await;
            let old = |settings: &mut FilesSettings| (change(settings), older(settings)).0;
            let (romeo, mut juliet) = match oldest {
                true => house.two(old, change).await,
                false => house.two(change, old).await,
            };
            let (path, bytes) = house.file("letter.txt", 200_000);
            let sending = soon(async {
                let files = romeo.client.files().unwrap();
                files.send(juliet.jid.clone().into(), &path).media_type("text/plain").description("of love").await
            });
            let sending = sending.await.unwrap();
            let offer = offer(&mut juliet).await;
            assert_eq!((offer.name(), offer.from(), offer.file().size), ("letter.txt", &romeo.jid, Some(200_000)));
            assert_eq!(offer.file().media_type.as_deref(), Some("text/plain"));
            assert_eq!(offer.file().descriptions[0].text, "of love");
            assert!(offer.file().modified().is_some() && offer.file().hashes_used.is_empty());
            let receiving = offer.accept_to(house.path("got")).await.unwrap();
            let (sent, received) = both(sending, receiving).await;
            let (sent, received) = (sent.unwrap(), received.unwrap());
            assert_eq!((sent.road, received.road, sent.moved, received.moved), (road, road, 200_000, 200_000));
            assert_eq!((sent.verified, received.verified), (None, None), "there is no hash worth the name");
            assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
            assert_eq!(house.others(&path), ["got"]);
        }
    }
}

#[tokio::test]
async fn xep0096_offers_are_declined_and_cancelled() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(older, any).await;
    let (path, _) = house.file("letter.txt", 10);
    let sending = send(&romeo, &juliet, &path).await;
    drop(offer(&mut juliet).await);
    let declined = soon(sending.finish()).await;
    assert!(matches!(declined, Err(TransferError::Declined { .. })), "{declined:?}");
    let sending = send(&romeo, &juliet, &path).await;
    offer(&mut juliet).await.reject(Some("not now")).await;
    let rejected = soon(sending.finish()).await;
    assert!(
        matches!(&rejected, Err(TransferError::Declined { text: Some(text) }) if text == "not now"),
        "{rejected:?}"
    );
    // While bytes flow, by whichever side.
    for sender in [true, false] {
        let (path, _) = house.file("long.txt", 8 << 20);
        let sending = send(&romeo, &juliet, &path).await;
        let offer = offer(&mut juliet).await;
        if sender {
            sending.pause();
        }
        let receiving = offer.accept_to(house.path("got")).await.unwrap();
        let held = if sender { &sending } else { &receiving };
        held.pause();
        let mut progress = held.progress();
        while soon(progress.next()).await.unwrap().phase != Phase::Paused {}
        held.cancel();
        let (sent, received) = both(sending, receiving).await;
        let (canceller, other) = if sender { (sent, received) } else { (received, sent) };
        assert!(matches!(canceller, Err(TransferError::Cancelled)), "{canceller:?}");
        assert!(matches!(other, Err(TransferError::Stream(_))), "{other:?}");
        assert!(!house.path("got").exists());
    }
    // Nobody listens.
    drop(juliet.offers);
    juliet.offers = romeo.client.files().unwrap().offers();
    let sending = send(&romeo, &juliet, &path).await;
    assert!(matches!(soon(sending.finish()).await, Err(TransferError::Declined { .. })));
}

#[tokio::test]
async fn xep0096_3_2_a_later_offer_goes_on_from_what_is_there() {
    let house = house(Some(150_000)).await;
    let change = |settings: &mut FilesSettings| (relayed(settings), older(settings)).0;
    let (romeo, mut juliet) = house.two(change, change).await;
    romeo.client.send(Presence::available().to(juliet.jid.clone())).await.unwrap();
    let (path, bytes) = house.file("letter.txt", 500_000);
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (_, received) = both(sending, receiving).await;
    assert!(matches!(received, Err(TransferError::Stream(_))), "{received:?}");
    let left = house.others(&path);
    let there = std::fs::metadata(house.path(&left[0])).unwrap().len();
    assert!(there > 0 && there < 150_000, "{there}");
    house.gate.as_ref().unwrap().after.store(u64::MAX, Ordering::SeqCst);
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert_eq!((sent.unwrap().moved, received.unwrap().moved), (500_000 - there, 500_000 - there));
    assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
    assert_eq!(house.others(&path), ["got"]);
}

#[tokio::test]
async fn xep0234_6_2_files_are_fetched_by_who_may() {
    let roads: [Going; 3] = [(any, None, Road::Direct), (hidden, None, Road::InBand), (in_band, None, Road::InBand)];
    for (change, relay, road) in roads {
        let house = house(relay).await;
        let (romeo, juliet) = house.two(change, change).await;
        let (path, bytes) = house.file("letter.txt", 300_000);
        let reader = juliet.jid.clone();
        let hosted = romeo.client.files().unwrap().host(&path, move |peer| *peer == reader).await.unwrap();
        assert_eq!((hosted.file().size, hosted.hash().algo.as_str()), (Some(300_000), "sha-256"));
        let again = romeo.client.files().unwrap().host(&path, |_| true).await;
        assert!(matches!(again, Err(TransferError::Exists(_))));
        let files = juliet.client.files().unwrap();
        let fetching = files.fetch(romeo.jid.clone(), hosted.hash().clone()).to(house.path("got")).await.unwrap();
        let watching = fetching.progress();
        let report = soon(fetching.finish()).await.unwrap();
        assert_eq!((report.road, report.bytes, report.verified.as_deref()), (road, 300_000, Some("sha-256")));
        assert_eq!(watching.now().total, Some(300_000));
        assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
        // Until it is taken away.
        let hash = hosted.hash().clone();
        drop(hosted);
        let fetching = files.fetch(romeo.jid.clone(), hash).to(house.path("other")).await.unwrap();
        let gone = soon(fetching.finish()).await;
        assert!(matches!(gone, Err(TransferError::NotAvailable)), "{gone:?}");
        assert_eq!(house.others(&path), ["got"]);
    }
}

#[tokio::test]
async fn xep0234_6_2_what_is_not_for_one_is_not_there() {
    let house = house(None).await;
    let (romeo, juliet) = house.two(any, any).await;
    let (path, bytes) = house.file("letter.txt", 100);
    let hosted = romeo.client.files().unwrap().host(&path, |_| false).await.unwrap();
    let fetch = || juliet.client.files().unwrap().fetch(romeo.jid.clone(), hosted.hash().clone());
    let refused = soon(fetch().to(house.path("got")).await.unwrap().finish()).await;
    assert!(matches!(refused, Err(TransferError::NotAvailable)), "{refused:?}");
    drop(hosted);
    // Another file of the same length has come to the place meanwhile.
    let hosted = romeo.client.files().unwrap().host(&path, |_| true).await.unwrap();
    std::fs::write(&path, vec![0; bytes.len()]).unwrap();
    let files = juliet.client.files().unwrap();
    let other = files.fetch(romeo.jid.clone(), hosted.hash().clone()).to(house.path("got")).await.unwrap();
    let other = soon(other.finish()).await;
    assert!(matches!(other, Err(TransferError::HashMismatch { .. })), "{other:?}");
    assert_eq!(house.others(&path), [""; 0]);
}

#[tokio::test]
async fn xep0234_6_4_a_fetch_goes_on_when_its_connection_breaks() {
    let house = house(Some(150_000)).await;
    let (romeo, juliet) = house.two(relayed, relayed).await;
    let (path, bytes) = house.file("letter.txt", 500_000);
    let hosted = romeo.client.files().unwrap().host(&path, |_| true).await.unwrap();
    let files = juliet.client.files().unwrap();
    let fetching = files.fetch(romeo.jid.clone(), hosted.hash().clone()).to(house.path("got")).await.unwrap();
    let report = soon(fetching.finish()).await.unwrap();
    assert_eq!((report.road, report.moved), (Road::InBand, 500_000));
    assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
}
