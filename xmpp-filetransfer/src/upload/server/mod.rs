//! The service: slots for users, and the web server that files are put to and fetched from (XEP-0363).
//!
//! ```no_run
//! # async fn compose(builder: xmpp_core::server::ServerBuilder) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use xmpp_filetransfer::upload::{server::Uploads, store::MemoryUploads};
//!
//! let store = Arc::new(MemoryUploads::new());
//! let uploads = Uploads::open("upload.example.org", "https://example.org:5281", store, "/var/lib/uploads")?;
//! let server = builder.with(uploads).build()?;
//! server.listen_https("[::]:5281".parse()?).await?;
//! # Ok(()) }
//! ```
//!
//! A slot is good for one file of exactly the size that was asked for. It is put with a token in its `Authorization`, of
//! which the store keeps a hash, and by which its owner can also `DELETE` it. A file is written apart, synced, renamed, and
//! only then known; what breaks off leaves nothing. Names that users give are shown to people, in addresses and headers;
//! what names a file on the disk is a random id. Browsers show pictures, sounds and films, and save everything else.

mod files;
mod get;
mod media;
mod name;
mod put;
mod range;
mod rates;
mod slots;
mod sweep;
mod web;

use super::{NS, PURPOSE, store::Quota, store::UploadStore};
use files::Folder;
use rates::Rates;
use std::{
    collections::HashMap,
    fmt, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use xmpp_core::{
    extension::{Registrar, Target},
    jid::{BareJid, Jid},
    payload::disco::Identity,
    server::{Extension, ServerCell, ServerRegistrar},
};

/// Who may upload.
pub type MayUpload = Arc<dyn Fn(&Jid) -> bool + Send + Sync>;

/// What a service of uploads is set to.
#[derive(Clone)]
#[non_exhaustive]
pub struct UploadSettings {
    /// Its name for people.
    pub name: String,
    /// The largest file, in bytes.
    pub max_file_size: u64,
    /// What users may have there, and all of them together. Slots count as what may come into them.
    pub quota: Quota,
    /// Slots that a user may ask for in a minute.
    pub slots_per_minute: u32,
    /// How long a slot is good.
    pub slot_time: Duration,
    /// How long a file is kept; `None` keeps it until its owner, or the owner's account, goes.
    pub keep: Option<Duration>,
    /// Files that may be on their way at a time.
    pub puts: usize,
    /// Of these, files of one user.
    pub puts_of_user: usize,
    /// The bytes a second that a file has to come with on average, after its first minute.
    pub put_rate: u64,
    /// Who may upload; the users of this server if absent.
    pub may_upload: Option<MayUpload>,
}

impl Default for UploadSettings {
    /// Files of 100 MiB, kept for 30 days; 1 GiB and 10,000 files of a user and 100 GiB in all; 20 slots a minute, good for
    /// 5 minutes; 64 files on their way, 4 of one user, with 16 KiB a second.
    fn default() -> UploadSettings {
        let quota = Quota { user_bytes: Some(1 << 30), user_files: Some(10_000), all_bytes: Some(100 << 30) };
        UploadSettings {
            name: "Uploads".to_owned(),
            max_file_size: 100 << 20,
            quota,
            slots_per_minute: 20,
            slot_time: Duration::from_secs(300),
            keep: Some(Duration::from_secs(30 * 24 * 60 * 60)),
            puts: 64,
            puts_of_user: 4,
            put_rate: 16 * 1024,
            may_upload: None,
        }
    }
}

impl fmt::Debug for UploadSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("UploadSettings");
        out.field("max_file_size", &self.max_file_size).field("quota", &self.quota).field("keep", &self.keep);
        out.finish_non_exhaustive()
    }
}

/// A service of uploads, to be composed into a server that listens for HTTP too.
pub struct Uploads {
    domain: Option<String>,
    public_url: String,
    store: Arc<dyn UploadStore>,
    folder: Folder,
    settings: UploadSettings,
    clock: Clock,
}

type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

impl fmt::Debug for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploads")
            .field("domain", &self.domain)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Uploads {
    /// Uploads at a domain of their own, into a folder that is made if it is missing, and that no other process may use.
    /// `public_url` is where the world reaches the server's HTTP listener: addresses of files begin with it.
    ///
    /// # Errors
    /// If the folder cannot be made, or what an earlier process has not finished there cannot be removed.
    pub fn open(
        domain: impl Into<String>,
        public_url: impl Into<String>,
        store: Arc<dyn UploadStore>,
        folder: impl AsRef<Path>,
    ) -> io::Result<Uploads> {
        Ok(Uploads {
            domain: Some(domain.into()),
            public_url: public_url.into().trim_end_matches('/').to_owned(),
            store,
            folder: Folder::open(folder.as_ref())?,
            settings: UploadSettings::default(),
            clock: Arc::new(SystemTime::now),
        })
    }

    /// Offers uploads at the server's own domains, in place of one of their own.
    #[must_use]
    pub fn at_server(mut self) -> Uploads {
        self.domain = None;
        self
    }

    /// Other settings.
    #[must_use]
    pub fn settings(mut self, settings: UploadSettings) -> Uploads {
        self.settings = settings;
        self
    }

    /// Another clock: for tests.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Uploads {
        self.clock = Arc::new(clock);
        self
    }
}

/// Marks services of uploads among extensions.
#[derive(Debug)]
pub struct ForUploads;

impl Extension<ForUploads> for Uploads {
    fn register(self, r: &mut ServerRegistrar) {
        let Uploads { domain, public_url, store, folder, settings, clock } = self;
        let server = r.server();
        let service = Arc::new(Service {
            public_url,
            store,
            folder,
            settings,
            clock,
            server,
            rates: Rates::default(),
            under_way: Mutex::default(),
        });
        match &domain {
            Some(domain) => r.service(domain, |own| offer(own, &service)),
            None => offer(r, &service),
        }
        let forgets = Arc::clone(&service);
        r.on_account_removed(move |_, user| {
            let service = Arc::clone(&forgets);
            Box::pin(async move { service.forget(&user).await })
        });
        sweep::start(&service);
        r.http(web::routes(service));
    }
}

/// What service discovery tells, and the answer to requests (§3, §4).
fn offer(r: &mut Registrar, service: &Arc<Service>) {
    let settings = &service.settings;
    r.identity(Target::Server, Identity::new("store", "file", Some(settings.name.clone())));
    r.feature(Target::Server, NS);
    r.feature(Target::Server, &format!("{PURPOSE}#message"));
    r.feature(Target::Server, &format!("{PURPOSE}#ephemeral"));
    r.disco_form(Target::Server, super::limit_form(settings.max_file_size));
    let service = Arc::clone(service);
    r.iq_get_async(Target::Server, move |cx, request| {
        let service = Arc::clone(&service);
        async move { service.slot(cx.from.as_ref(), request).await }
    });
}

/// The service at work.
struct Service {
    public_url: String,
    store: Arc<dyn UploadStore>,
    folder: Folder,
    settings: UploadSettings,
    clock: Clock,
    server: ServerCell,
    rates: Rates,
    /// Files that are being put, and whose they are.
    under_way: Mutex<HashMap<String, BareJid>>,
}

impl Service {
    /// Seconds since 1970.
    fn now(&self) -> u64 {
        (self.clock)().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, BareJid>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Letters and digits that ids and tokens are made of: each stands for five bits.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// An unguessable word of so many letters.
fn random<const N: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte & 31)).copied().map_or('a', char::from);
    Ok(bytes.iter().map(letter).collect())
}
