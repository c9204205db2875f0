//! Fetching files.

use super::{Transfer, Uploads, fetch::Fetch, part::PartFile};
use crate::file::Function;
use std::path::Path;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use xmpp_core::net::https::Https;

/// A file that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Downloaded {
    /// Its size in bytes.
    pub size: u64,
    /// Its media type, as the host says; not to be trusted.
    pub content_type: Option<String>,
    /// By which function it was proved to be the file that was meant, if a hash was told of it, or if it was decrypted.
    pub verified: Option<Verified>,
}

/// By what a file was proved to be the one that was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verified {
    /// By its hash; see [`Function::is_proof`].
    Hash(Function),
    /// By the key that it was encrypted with.
    Key,
}

/// A file to be fetched.
#[derive(Debug)]
#[must_use = "nothing is fetched before it is said where to"]
pub struct Fetching {
    pub(super) url: String,
    pub(super) https: Https,
    pub(super) max_bytes: u64,
    pub(super) attempts: u32,
    pub(super) first: u64,
}

impl Uploads {
    /// Fetches what is at an address, to where the answer says.
    pub fn get(&self, url: impl Into<String>) -> Fetching {
        let settings = &self.part.settings;
        Fetching {
            url: url.into(),
            https: self.fetching.clone(),
            max_bytes: settings.max_fetched,
            attempts: settings.attempts,
            first: 0,
        }
    }
}

impl Fetching {
    /// No more than so many bytes, in place of what the client is set to.
    pub fn max_bytes(mut self, bytes: u64) -> Fetching {
        self.max_bytes = bytes;
        self
    }

    /// Begins behind so many bytes, which are there already from an earlier time. They count as done.
    pub fn from(mut self, first: u64) -> Fetching {
        self.first = first;
        self
    }

    /// Into `writer`, which is flushed in the end. A connection that breaks is made anew, and goes on where it was.
    pub fn to(self, mut writer: impl AsyncWrite + Send + Unpin + 'static) -> Transfer<Downloaded> {
        Transfer::start(None, |progress| async move {
            let fetched = Fetch::new(self, progress).run(&mut writer).await?;
            writer.flush().await?;
            Ok(fetched)
        })
    }

    /// Into a file, which is there when all of it is, and not before; one that was there is replaced. Until then it has
    /// another name, in the same folder, and is removed if nothing comes of it.
    pub fn to_path(mut self, path: impl AsRef<Path>) -> Transfer<Downloaded> {
        // Of a file that is replaced nothing is kept.
        self.first = 0;
        let path = path.as_ref().to_owned();
        Transfer::start(None, |progress| async move {
            let (mut file, part) = PartFile::create(&path).await?;
            let fetched = Fetch::new(self, progress).run(&mut file).await?;
            part.replace(file, &path).await?;
            Ok(fetched)
        })
    }
}
