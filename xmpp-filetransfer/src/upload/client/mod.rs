//! Uploading files, and fetching them, in a client (XEP-0363).
//!
//! ```no_run
//! use xmpp_core::{client::Client, jid::Jid};
//! use xmpp_filetransfer::upload::client::UploadClient;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Client::builder("juliet@example.org".parse()?, "r0m30").with(xmpp_filetransfer::upload::client::client);
//! let (client, mut events) = builder.connect()?;
//! # tokio::spawn(async move { while events.next().await.is_some() {} });
//! client.online().await;
//!
//! let mut upload = client.uploads()?.put_path("balcony.jpg", Some("image/jpeg")).await?;
//! while let Some(progress) = upload.changed().await {
//!     println!("{} of {} bytes", progress.done, progress.total.unwrap_or_default());
//! }
//! let uploaded = upload.finish().await?;
//! client.send(uploaded.message("romeo@example.net".parse::<Jid>()?)).await?;
//!
//! // Who gets such a message fetches what it shares, however others say it.
//! # let message = uploaded.message("romeo@example.net".parse::<Jid>()?).build();
//! for file in xmpp_filetransfer::share::shared(&message) {
//!     client.uploads()?.get_shared(&file).to_path(file.name()).finish().await?;
//! }
//! # Ok(()) }
//! ```
//!
//! What others share is as long as they said, and has the hash that they told, or is not kept. With the feature
//! `encryption`, `Uploads::put_encrypted` puts into the store what it cannot read, for `aesgcm:` links (XEP-0454).
//!
//! Files go over HTTPS, through the resolver and with the trust of the client. Only `Authorization`, `Cookie` and `Expires`
//! of a slot are sent on, and only to the host that it names.

#[cfg(feature = "encryption")]
mod encrypted;
mod error;
mod fetch;
mod find;
mod get;
mod part;
mod progress;
mod put;
mod shared;

#[cfg(feature = "encryption")]
pub use encrypted::{Encrypted, FetchingEncrypted};
pub use error::{UploadError, WithoutUploads};
pub use find::UploadService;
pub use get::{Downloaded, Fetching, Verified};
pub use progress::{Progress, Transfer};
pub use put::Uploaded;
pub use shared::FetchingShared;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use xmpp_core::{
    client::{Client, ClientRegistrar},
    net::{Connector, https::Https},
};

/// How files are uploaded and fetched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UploadClientSettings {
    /// What reaches the hosts; the client's own if absent.
    pub connector: Option<Connector>,
    /// Allows `http:`, without TLS. For tests, and for networks that are encrypted by other means.
    pub allow_http: bool,
    /// Whether addresses to fetch from may lead to private networks and to this machine. A program that fetches what
    /// strangers name does better without.
    pub private_addresses: bool,
    /// The largest file that is fetched unless said otherwise, in bytes.
    pub max_fetched: u64,
    /// How long nothing may move.
    pub patience: Duration,
    /// Redirections that are followed when fetching.
    pub redirects: usize,
    /// How often a connection that breaks while fetching is made anew.
    pub attempts: u32,
}

impl Default for UploadClientSettings {
    /// HTTPS to any host; files of 1 GiB; a minute, 5 redirections, 5 times.
    fn default() -> UploadClientSettings {
        UploadClientSettings {
            connector: None,
            allow_http: false,
            private_addresses: true,
            max_fetched: 1 << 30,
            patience: Duration::from_secs(60),
            redirects: 5,
            attempts: 5,
        }
    }
}

/// Uploads for a client, with the [usual settings](UploadClientSettings::default).
pub fn client(r: &mut ClientRegistrar) {
    client_with(UploadClientSettings::default())(r);
}

/// Uploads for a client.
pub fn client_with(settings: UploadClientSettings) -> impl FnOnce(&mut ClientRegistrar) {
    move |r| {
        let part = Arc::new(Part { settings, found: Mutex::default() });
        r.provide(Arc::clone(&part));
        r.on_session(move |start, _| {
            if !start.resumed {
                part.found(|found| *found = None);
            }
        });
    }
}

/// What the handles share.
#[derive(Debug)]
struct Part {
    settings: UploadClientSettings,
    /// The service that was found in this session.
    found: Mutex<Option<UploadService>>,
}

impl Part {
    fn found<T>(&self, with: impl FnOnce(&mut Option<UploadService>) -> T) -> T {
        with(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a client with uploads can do.
pub trait UploadClient {
    /// Its uploads.
    ///
    /// # Errors
    /// [`WithoutUploads`] if the client was not built with them, or reaches no hosts: over a pipe it does only where
    /// it was given TLS settings, or [`UploadClientSettings::connector`].
    fn uploads(&self) -> Result<Uploads, WithoutUploads>;
}

impl UploadClient for Client {
    fn uploads(&self) -> Result<Uploads, WithoutUploads> {
        let part = self.part::<Part>().ok_or(WithoutUploads)?;
        let connector = part.settings.connector.as_ref().or_else(|| self.connector()).ok_or(WithoutUploads)?.clone();
        let settings = &part.settings;
        let made = |connector| Https::new(connector).allow_plain(settings.allow_http).patience(settings.patience);
        let elsewhere = if settings.private_addresses { connector.clone() } else { connector.clone().public_only() };
        let (https, fetching) = (made(connector).redirects(0), made(elsewhere).redirects(settings.redirects));
        Ok(Uploads { client: self.clone(), https, fetching, part })
    }
}

/// A client's uploads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Uploads {
    client: Client,
    /// For the hosts of our own service.
    https: Https,
    /// For hosts that others name.
    fetching: Https,
    part: Arc<Part>,
}
