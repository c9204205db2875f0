//! Files in a client: sent and received by whatever road there is.
//!
//! ```
//! # #[cfg(not(feature = "server"))]
//! # fn main() {}
//! # #[cfg(feature = "server")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use xmpp_core::{client::Client, server::{MemoryAccounts, Server}};
//! use xmpp_filetransfer::client::{self as files, FilesClient};
//!
//! let accounts = MemoryAccounts::new();
//! accounts.set_password("romeo@localhost".parse()?, "secret");
//! accounts.set_password("juliet@localhost".parse()?, "secret");
//! let server = Server::builder("localhost").accounts(accounts).build()?;
//! let client = |name: &str| {
//!     let server = server.clone();
//!     Client::builder(name.parse().unwrap(), "secret").with(files::client).pipe(move || server.connect_memory()).connect()
//! };
//! let ((romeo, _events), (juliet, _others)) = (client("romeo@localhost")?, client("juliet@localhost")?);
//! romeo.online().await;
//! let there = juliet.online().await.ok_or("offline")?;
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("letter.txt"), "Wilt thou be gone?")?;
//!
//! let mut offers = juliet.files()?.offers();
//! let sending = romeo.files()?.send(there.into(), folder.path().join("letter.txt")).await?;
//! let offer = offers.next().await.ok_or("no offer")?;
//! assert_eq!((offer.name(), offer.file().size), ("letter.txt", Some(18)));
//! let receiving = offer.accept_to(folder.path().join("received.txt")).await?;
//! let (sent, received) = tokio::join!(sending.finish(), receiving.finish());
//! assert_eq!(sent?.bytes, 18);
//! assert_eq!(received?.verified.as_deref(), Some("sha-256"));
//! assert_eq!(std::fs::read(folder.path().join("received.txt"))?, b"Wilt thou be gone?");
//! # Ok(()) }
//! ```
//!
//! To older clients files go by stream initiation (XEP-0096). A road is tried after the other: a connection from client to client, by
//! way of a relay, within stanzas. With Jingle the transfer goes on from where it was when a connection breaks, and a
//! later offer of the same file that is accepted to the same place goes on from what is there.
//!
//! What a peer says is not believed: names are made safe, nothing is overwritten, and a file gets its name when all of it is there
//! and its hash is right, if the peer has told one.

mod error;
mod fetch;
mod find;
mod host;
#[cfg(feature = "http-client")]
mod http;
mod initiation;
mod jingle;
mod offer;
mod part_file;
mod progress;
mod propose;
mod pump;
mod receive;
mod send;
mod sink;
mod source;
mod tally;
mod transfer;
mod way;
mod wire;

pub use error::{TransferError, WithoutFiles};
pub use fetch::Fetching;
pub use host::Hosted;
pub use offer::{Offer, Offers};
pub use progress::{Phase, Progress, Road, Watching};
pub use send::Sending;
pub use transfer::{Report, Transfer};

use crate::{
    file::{self, Function},
    ibb::{self, IbbSettings},
    jingle as sessions, si,
    socks5::{self, Socks5Settings},
};
use find::Present;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc};
use xmpp_core::{
    client::{Client, ClientRegistrar, Flow},
    extension::Target,
    jid::Jid,
    payload::{Payload, hash},
    stanza::AnyStanza,
    xml::{Stanza, Writer},
};

/// The ways that a file may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ways {
    /// Sessions (XEP-0234), which survive a connection that breaks.
    pub jingle: bool,
    /// TCP connections, from one client to the other or by way of a relay (XEP-0065, XEP-0260).
    pub sockets: bool,
    /// Within stanzas (XEP-0047, XEP-0261): slow, and always there.
    pub in_band: bool,
    /// Offers without Jingle, to and from older clients (XEP-0096).
    pub initiation: bool,
    /// By way of the server's store of files, where everybody can fetch it who knows the address (XEP-0363): for who is not there
    /// to take it. Needs the feature `http-client`.
    pub http: bool,
    /// Proposals to all devices of an account of which none is seen, before the file is uploaded; and from others, which then
    /// are offers as well (XEP-0353). Off unless it is set: a proposal is a message that is stored and pushed, every file waits
    /// for [`FilesSettings::ringing`] where nobody answers, and most clients take calls alone that way.
    pub proposals: bool,
}

impl Default for Ways {
    /// All but proposals.
    fn default() -> Ways {
        Ways { jingle: true, sockets: true, in_band: true, initiation: true, http: true, proposals: false }
    }
}

/// How files go, and the bounds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FilesSettings {
    /// The ways that files may take.
    pub ways: Ways,
    /// How connections are made.
    pub socks5: Socks5Settings,
    /// The bounds of streams within stanzas.
    pub ibb: IbbSettings,
    /// The size of blocks within stanzas, in bytes, before Base64. Servers need not take stanzas of more than 10,000 bytes.
    pub block_size: u16,
    /// Offers that wait for the application, and as many without Jingle that it has not decided on. Others are declined.
    pub offers: usize,
    /// Files that others may fetch.
    pub hosted: usize,
    /// Clients of others whose presence is known, to find somebody who takes a file.
    pub present: usize,
    /// How long a file that is proposed waits for a device that takes it.
    pub ringing: Duration,
    /// How long nothing may move before the peer is asked whether it is still there.
    pub patience: Duration,
    /// How long nothing may move in a connection though the peer is there, as when it pauses. Then it counts as broken.
    pub standstill: Duration,
    /// The most bytes that are taken of a file whose length was not told before it was wanted: that of an offer without one, and
    /// of what is fetched.
    pub unannounced: u64,
    /// How long it may take until a stream within stanzas is open, and until the peer has said something about another way.
    pub connecting: Duration,
    /// How long the other side may take to propose another way when a connection breaks, before we do.
    pub grace: Duration,
    /// How long a hash that was announced is waited for when all is there.
    pub checksum: Duration,
    /// How long the other side may take to say that it has everything; then it is believed to.
    pub farewell: Duration,
}

impl Default for FilesSettings {
    /// All ways, blocks of 4,096 bytes, 16 offers, 1,024 files to fetch, 4,096 clients; 30 seconds each of ringing, patience and
    /// connecting, an hour of standstill, 1 GiB unannounced; 3 seconds of grace, 20 for a hash, 2 minutes for the end.
    fn default() -> FilesSettings {
        FilesSettings {
            ways: Ways::default(),
            socks5: Socks5Settings::default(),
            ibb: IbbSettings::default(),
            block_size: ibb::BLOCK_SIZE,
            offers: 16,
            hosted: 1_024,
            present: 4_096,
            ringing: Duration::from_secs(30),
            patience: Duration::from_secs(30),
            standstill: Duration::from_secs(3_600),
            unannounced: 1 << 30,
            connecting: Duration::from_secs(30),
            grace: Duration::from_secs(3),
            checksum: Duration::from_secs(20),
            farewell: Duration::from_secs(120),
        }
    }
}

/// Files for a client, with the [usual settings](FilesSettings::default).
pub fn client(r: &mut ClientRegistrar) {
    client_with(FilesSettings::default())(r);
}

/// Files for a client. Named twice, the first settings hold.
pub fn client_with(settings: FilesSettings) -> impl FnOnce(&mut ClientRegistrar) {
    move |r| {
        if r.provided::<Part>().is_some() {
            return;
        }
        if settings.ways.sockets {
            socks5::client_with(settings.socks5.clone())(r);
        }
        if settings.ways.in_band {
            ibb::client_with(settings.ibb.clone())(r);
        }
        let ways = settings.ways;
        let undecided = Arc::new(Semaphore::new(settings.offers.max(1)));
        let part = Arc::new(Part {
            settings,
            present: Mutex::default(),
            listener: Mutex::default(),
            shelf: Mutex::default(),
            client: Mutex::default(),
            undecided,
        });
        r.provide(Arc::clone(&part));
        r.feature(Target::Client, hash::NS);
        Function::ALL.iter().for_each(|function| r.feature(Target::Client, &function.feature()));
        let takes = Arc::clone(&part);
        if ways.initiation {
            let takes = Arc::clone(&part);
            r.iq_set_outcome::<si::StreamInitiation>(Target::Client, move |cx, si| {
                initiation::offered(&takes, &cx, &si)
            });
            r.feature(Target::Client, si::FILE_TRANSFER);
        }
        let mut application =
            sessions::client::Application::new(file::NS, move |it| offer::invited(&takes, it)).info(file::NS);
        for (namespace, allowed) in [(socks5::JINGLE_NS, ways.sockets), (ibb::JINGLE_NS, ways.in_band)] {
            if allowed {
                application = application.transport(namespace);
            }
        }
        if ways.proposals {
            let hears = Arc::clone(&part);
            application = application.proposals(move |it| propose::proposed(&hears, it));
        }
        if ways.jingle {
            sessions::client::application(r, application);
        }
        let starts = Arc::clone(&part);
        r.on_session(move |start, client| {
            *starts.client() = Some(client.downgrade());
            if !start.resumed {
                starts.present().clear();
            }
        });
        let incoming = Incoming(part);
        r.incoming(move |stanza, _| incoming.0.see(stanza));
    }
}

/// The end of a client is the end of offers.
struct Incoming(Arc<Part>);

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut listener = self.0.listener();
        (listener.ended, listener.offers) = (true, None);
    }
}

/// Who hears of offers.
#[derive(Debug, Default)]
struct Listener {
    offers: Option<mpsc::Sender<Offer>>,
    ended: bool,
}

/// What the handles share.
#[derive(Debug)]
pub(super) struct Part {
    settings: FilesSettings,
    present: Mutex<Present>,
    listener: Mutex<Listener>,
    shelf: Mutex<host::Shelf>,
    client: Mutex<Option<xmpp_core::client::WeakClient>>,
    /// Offers without a session that nobody has decided on: each keeps one of the client's handlers busy.
    undecided: Arc<Semaphore>,
}

impl Part {
    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listener(&self) -> MutexGuard<'_, Listener> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelf(&self) -> MutexGuard<'_, host::Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self) -> MutexGuard<'_, Option<xmpp_core::client::WeakClient>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, stanza: &AnyStanza) -> Flow {
        if let AnyStanza::Presence(presence) = stanza {
            self.present().see(presence, self.settings.present);
        }
        Flow::Continue
    }
}

/// What a client with files can do.
pub trait FilesClient {
    /// Its files.
    ///
    /// # Errors
    /// [`WithoutFiles`] if the client was not built with them.
    fn files(&self) -> Result<Files, WithoutFiles>;
}

impl FilesClient for Client {
    fn files(&self) -> Result<Files, WithoutFiles> {
        Ok(Files { client: self.clone(), part: self.part().ok_or(WithoutFiles)? })
    }
}

/// Files of a client, sent and received. Cheap to make and to clone.
#[derive(Clone, Debug)]
pub struct Files {
    client: Client,
    part: Arc<Part>,
}

impl Files {
    /// Sends a file: awaited, it is a [`Transfer`] as soon as the file is open and somebody is found to offer it to. To a bare
    /// address it goes to that of its clients that we see, and that take files, which has the highest priority. If there is none,
    /// it is proposed to all of them, where [`Ways::proposals`] allows it, and if none takes it, it is uploaded, where the client was
    /// built with [uploads](crate::upload::client) and [`Ways::http`] allows it, and a message tells where it is.
    pub fn send(&self, to: Jid, path: impl Into<PathBuf>) -> Sending {
        Sending::new(self.client.clone(), Arc::clone(&self.part), to, path.into())
    }

    /// Asks to be told of the files that others offer from now on. Without somebody who listens they are declined. There is one
    /// who listens at a time: the last.
    pub fn offers(&self) -> Offers {
        let (sender, offers) = mpsc::channel(self.part.settings.offers.max(1));
        let mut listener = self.part.listener();
        if !listener.ended {
            listener.offers = Some(sender);
        }
        Offers { offers }
    }
}

/// A payload as an element.
fn element(payload: &impl Payload) -> Stanza {
    let mut w = Writer::new("");
    payload.write(&mut w);
    w.into_stanza()
}
