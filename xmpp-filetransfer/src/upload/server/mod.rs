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
//! A slot is good for one file of exactly the size that was asked for. Its address is signed, so that what was guessed, was
//! changed or has expired is refused before anything is looked up. It is put with a token in its `Authorization`, of
//! which the store keeps a hash, and by which its owner can also `DELETE` it. A file is written apart, synced, renamed, and
//! only then known; what breaks off leaves nothing. Names that users give are shown to people, in addresses and headers;
//! what names a file on the disk is a random id. Browsers show pictures, sounds and films, and save everything else.
//!
//! By ad-hoc commands (XEP-0050) users see and delete what they have there, and administrators what anybody has.

mod address;
mod commands;
mod files;
mod get;
mod lost;
mod media;
mod name;
mod put;
mod range;
mod rates;
mod slots;
mod sweep;
mod web;

use super::{
    NS, PURPOSE,
    store::{Bucket, Quota, UploadStore},
};
pub use address::SlotKeys;
use files::Folder;
use rates::Rates;
use std::{
    collections::HashMap,
    fmt, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
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

/// Who administers uploads.
pub type MayAdminister = Arc<dyn Fn(&Jid) -> bool + Send + Sync>;

/// What files are taken for a purpose of their own (§5), and for how long they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PurposeSettings {
    /// The largest file, in bytes, where that is less than what the service takes.
    pub max_file_size: u64,
    /// Bytes that a user may have there for this purpose; `None` sets no bound. [`Quota::user_bytes`] is for the rest.
    pub user_bytes: Option<u64>,
    /// Files that a user may have there for this purpose.
    pub user_files: Option<u64>,
    /// How long they are kept; `None` keeps them until their owner, or the owner's account, goes.
    pub keep: Option<Duration>,
}

impl PurposeSettings {
    /// Files of at most so many bytes, so many bytes and files of a user, kept for so long.
    pub fn new(
        max_file_size: u64,
        user_bytes: Option<u64>,
        user_files: Option<u64>,
        keep: Option<Duration>,
    ) -> PurposeSettings {
        PurposeSettings { max_file_size, user_bytes, user_files, keep }
    }

    /// What does for avatars: 1 MiB, 8 MiB and 32 files of a user, for ever.
    pub fn profile() -> PurposeSettings {
        PurposeSettings::new(1 << 20, Some(8 << 20), Some(32), None)
    }
}

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
    /// The bytes a second that a file has to come with on average, after its first minute. Who was faster may rest for
    /// five minutes at most.
    pub put_rate: u64,
    /// Files for profiles (§5.2), if they are taken apart from others.
    pub profile: Option<PurposeSettings>,
    /// Files to be kept (§5.4), if there are any.
    pub permanent: Option<PurposeSettings>,
    /// Who may upload; the users of this server if absent.
    pub may_upload: Option<MayUpload>,
    /// Who sees and deletes by commands what others have uploaded; nobody if absent.
    pub may_administer: Option<MayAdminister>,
}

impl Default for UploadSettings {
    /// Files of 100 MiB, kept for 30 days; 1 GiB and 10,000 files of a user and 100 GiB in all; 20 slots a minute, good for
    /// 5 minutes; 64 files on their way, 4 of one user, with 16 KiB a second. Files for profiles are taken as
    /// [`PurposeSettings::profile`] has it, none to be kept for ever.
    fn default() -> UploadSettings {
        let quota = Quota {
            user_bytes: Some(1 << 30),
            user_files: Some(10_000),
            all_bytes: Some(100 << 30),
            ..Quota::default()
        };
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
            profile: Some(PurposeSettings::profile()),
            permanent: None,
            may_upload: None,
            may_administer: None,
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
    keys: SlotKeys,
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
    /// `public_url` is where the world reaches the server's HTTP listener: addresses of files begin with it. They are signed
    /// with a key that is kept in the folder, unless there are [others](Self::keys).
    ///
    /// # Errors
    /// If the folder or its key cannot be made, or what an earlier process has not finished there cannot be removed.
    pub fn open(
        domain: impl Into<String>,
        public_url: impl Into<String>,
        store: Arc<dyn UploadStore>,
        folder: impl AsRef<Path>,
    ) -> io::Result<Uploads> {
        let folder = folder.as_ref();
        Ok(Uploads {
            domain: Some(domain.into()),
            public_url: public_url.into().trim_end_matches('/').to_owned(),
            store,
            folder: Folder::open(folder)?,
            keys: SlotKeys::of_folder(folder)?,
            settings: UploadSettings::default(),
            clock: Arc::new(SystemTime::now),
        })
    }

    /// Signs addresses with other keys than the one in the folder.
    #[must_use]
    pub fn keys(mut self, keys: SlotKeys) -> Uploads {
        self.keys = keys;
        self
    }

    /// Offers uploads at the server's own domains, in place of one of their own. There are no commands then: those of a
    /// server's domain are all of one list.
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
        let Uploads { domain, public_url, store, folder, keys, settings, clock } = self;
        let server = r.server();
        let service = Arc::new(Service {
            public_url,
            store,
            folder,
            keys,
            settings,
            clock,
            server,
            rates: Rates::default(),
            busy: Mutex::default(),
            has_old: AtomicBool::new(true),
        });
        match &domain {
            Some(domain) => r.service(domain, |own| {
                offer(own, &service);
                commands::register(own, &service);
            }),
            None => offer(r, &service),
        }
        let forgets = Arc::clone(&service);
        r.on_account_removed(move |_, user| {
            let service = Arc::clone(&forgets);
            Box::pin(async move {
                if let Err(error) = service.forget(&user).await {
                    tracing::error!(%error, %user, "uploads of a removed account stay");
                }
            })
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
    for (offered, name) in [(settings.profile, "profile"), (settings.permanent, "permanent")] {
        if offered.is_some() {
            r.feature(Target::Server, &format!("{PURPOSE}#{name}"));
        }
    }
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
    keys: SlotKeys,
    settings: UploadSettings,
    clock: Clock,
    server: ServerCell,
    rates: Rates,
    /// What something is being done with, by id.
    busy: Mutex<HashMap<String, Busy>>,
    /// There may be files whose addresses are not signed.
    has_old: AtomicBool,
}

/// What is being done with a slot or file.
#[derive(Debug)]
enum Busy {
    /// It is put, by its owner.
    Put(BareJid),
    /// It is removed.
    Removal,
}

/// The right to do something with a slot or file, which nobody else has meanwhile.
struct Place {
    service: Arc<Service>,
    id: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.service.busy().remove(&self.id);
    }
}

impl Service {
    /// Seconds since 1970.
    fn now(&self) -> u64 {
        (self.clock)().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn busy(&self) -> MutexGuard<'_, HashMap<String, Busy>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long files in a bucket are kept.
    fn keep(&self, bucket: Bucket) -> Option<Duration> {
        let own = match bucket {
            Bucket::Message => None,
            Bucket::Profile => self.settings.profile,
            Bucket::Permanent => self.settings.permanent,
        };
        own.map_or(self.settings.keep, |own| own.keep)
    }
}
