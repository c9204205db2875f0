//! A server with two people, a folder, and a relay whose connections break when they should.

use super::*;

/// Settings, whether there is a relay, and the road that follows.
pub(super) type Going = (fn(&mut FilesSettings), Option<u64>, Road);

pub(super) const LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.unwrap()
}

/// A way for bytes that can be cut, or held, after so many of them.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) after: Arc<AtomicU64>,
    pub(super) port: u16,
    pub(super) open: watch::Sender<bool>,
    /// Whether to cut already, once so many have passed.
    pub(super) cut: watch::Sender<bool>,
}

impl Gate {
    /// In front of a port.
    pub(super) async fn before(inner: u16, after: u64) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, cut) = (watch::Sender::new(true), watch::Sender::new(true));
        let gate = Gate { after: Arc::new(AtomicU64::new(after)), port, open, cut };
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
                let _ = self.cut.subscribe().wait_for(|cut| *cut).await;
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

pub(super) struct House {
    pub(super) server: Server,
    pub(super) folder: TempDir,
    pub(super) gate: Option<Gate>,
}

/// A server, with a relay behind a gate if one is wanted.
pub(super) async fn house(relay: Option<u64>) -> House {
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

pub(super) struct Person {
    pub(super) client: Client,
    pub(super) jid: FullJid,
    pub(super) offers: Offers,
    pub(super) _events: Events,
}

pub(super) fn settings(change: impl FnOnce(&mut FilesSettings)) -> FilesSettings {
    let mut settings = FilesSettings::default();
    settings.socks5.loopback = true;
    settings.grace = Duration::from_millis(500);
    change(&mut settings);
    settings
}

pub(super) fn any(_: &mut FilesSettings) {}

pub(super) fn in_band(settings: &mut FilesSettings) {
    settings.ways.sockets = false;
}

pub(super) fn relayed(settings: &mut FilesSettings) {
    settings.socks5.direct = false;
}

/// Neither addresses nor relays.
pub(super) fn hidden(settings: &mut FilesSettings) {
    (settings.socks5.direct, settings.socks5.discover) = (false, false);
}

impl House {
    pub(super) async fn person(&self, name: &str, change: impl FnOnce(&mut FilesSettings)) -> Person {
        let server = self.server.clone();
        let builder = Client::builder(format!("{name}@localhost/{name}").parse().unwrap(), "secret")
            .with(client_with(settings(change)));
        let (client, events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
        let jid = soon(client.online()).await.unwrap();
        let offers = client.files().unwrap().offers();
        Person { client, jid, offers, _events: events }
    }

    pub(super) async fn two(
        &self,
        one: impl FnOnce(&mut FilesSettings),
        other: impl FnOnce(&mut FilesSettings),
    ) -> (Person, Person) {
        (self.person("romeo", one).await, self.person("juliet", other).await)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file with something in it.
    pub(super) fn file(&self, name: &str, length: usize) -> (PathBuf, Vec<u8>) {
        let bytes: Vec<u8> = (0..length).map(|n| (n * 31 + n / 251) as u8).collect();
        std::fs::write(self.path(name), &bytes).unwrap();
        (self.path(name), bytes)
    }

    /// All names in the folder, but that of the file which was sent.
    pub(super) fn others(&self, sent: &Path) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path != sent).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }
}

pub(super) async fn send(from: &Person, to: &Person, path: &Path) -> Transfer {
    soon(async { from.client.files().unwrap().send(to.jid.clone().into(), path).await }).await.unwrap()
}

pub(super) async fn offer(person: &mut Person) -> Offer {
    soon(person.offers.next()).await.unwrap()
}

pub(super) async fn both(
    one: Transfer,
    other: Transfer,
) -> (Result<Report, TransferError>, Result<Report, TransferError>) {
    soon(async { tokio::join!(one.finish(), other.finish()) }).await
}

/// Waits until so many bytes are across.
pub(super) async fn across(transfer: &Transfer, bytes: u64) {
    let mut progress = transfer.progress();
    while soon(progress.next()).await.unwrap().bytes < bytes {}
}

/// A house whose relay breaks a transfer off behind 150,000 bytes, once it is [`broken`].
pub(super) async fn breaking() -> House {
    let house = house(Some(150_000)).await;
    house.gate.as_ref().unwrap().cut.send_replace(false);
    house
}

/// The ends of a transfer that breaks off when something of it has come, so that there is something to go on with. The next
/// one does not.
pub(super) async fn broken(
    house: &House,
    sending: Transfer,
    receiving: Transfer,
) -> (Result<Report, TransferError>, Result<Report, TransferError>) {
    across(&receiving, 1).await;
    let gate = house.gate.as_ref().unwrap();
    gate.cut.send_replace(true);
    let ends = both(sending, receiving).await;
    gate.after.store(u64::MAX, Ordering::SeqCst);
    ends
}

/// Accepts, and has one side pause as soon as the transfer has begun.
pub(super) async fn held(sending: &Transfer, offer: Offer, place: &Path, sender: bool) -> Transfer {
    if sender {
        sending.pause();
    }
    let receiving = offer.accept_to(place).await.unwrap();
    let held = if sender { sending } else { &receiving };
    held.pause();
    let mut progress = held.progress();
    while soon(progress.next()).await.unwrap().phase != Phase::Paused {}
    receiving
}
