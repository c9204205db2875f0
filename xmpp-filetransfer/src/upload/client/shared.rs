//! Fetching what a message shares (XEP-0447 §3.2, XEP-0385 §4.2).

use super::{
    Downloaded, Progress, Transfer, UploadError, Uploads, Verified,
    fetch::{Fetch, Sink},
    part::PartFile,
};
use crate::{
    file::{Hasher, Verdict},
    share::{SharedFile, Told},
};
use std::path::{Path, PathBuf};
use tokio::{io::AsyncWriteExt as _, sync::watch};

/// Sources of a file that are tried.
const SOURCES: usize = 8;

/// A shared file to be fetched.
#[derive(Debug)]
#[must_use = "nothing is fetched before it is said where to"]
pub struct FetchingShared {
    uploads: Uploads,
    shared: SharedFile,
    max_bytes: u64,
}

impl Uploads {
    /// Fetches what a message shares, from the first of its HTTP sources that has it.
    pub fn get_shared(&self, shared: &SharedFile) -> FetchingShared {
        FetchingShared { uploads: self.clone(), shared: shared.clone(), max_bytes: self.part.settings.max_fetched }
    }
}

impl FetchingShared {
    /// No more than so many bytes, in place of what the client is set to.
    pub fn max_bytes(mut self, bytes: u64) -> FetchingShared {
        self.max_bytes = bytes;
        self
    }

    /// To a place where nothing is yet; [`SharedFile::name`] is a name that is safe there. The file is there when all of it is, when
    /// it is as long as was told, and when its hash is right, if one was told; until then it has another name in the same folder, and
    /// is removed if nothing comes of it.
    ///
    /// It ends with [`UploadError::NoSource`], [`UploadError::Exists`], [`UploadError::TooLarge`], [`UploadError::WrongSize`],
    /// [`UploadError::HashMismatch`] and others, that of the last source which was tried.
    pub fn to_path(self, place: impl Into<PathBuf>) -> Transfer<Downloaded> {
        let place = place.into();
        Transfer::start(self.shared.file.size, |progress| async move { self.run(&place, &progress).await })
    }

    async fn run(self, place: &Path, progress: &watch::Sender<Progress>) -> Result<Downloaded, UploadError> {
        if self.shared.file.size.is_some_and(|size| size > self.max_bytes) {
            return Err(UploadError::TooLarge { limit: Some(self.max_bytes) });
        }
        let mut outcome = Err(UploadError::NoSource);
        for url in self.shared.urls().filter(|url| self.may_be_trusted(url)).take(SOURCES) {
            outcome = self.from(url, place, progress.clone()).await;
            match &outcome {
                Ok(_) | Err(UploadError::Exists(_) | UploadError::File(_)) => break,
                Err(error) => tracing::debug!(%error, "a source of a file has not got it"),
            }
        }
        outcome
    }

    /// What nothing proves comes by TLS alone (XEP-0447 §7).
    fn may_be_trusted(&self, url: &str) -> bool {
        let is_secure = url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        is_secure || self.shared.is_provable() || self.shared.told == Told::OutOfBand
    }

    async fn from(
        &self,
        url: &str,
        place: &Path,
        progress: watch::Sender<Progress>,
    ) -> Result<Downloaded, UploadError> {
        let told = self.shared.file.size;
        let (file, part) = PartFile::create_beside(place).await?;
        let mut sink = Hashing { file, hasher: self.shared.function().map(Hasher::new) };
        progress.send_replace(Progress { done: 0, total: told });
        let fetching = self.uploads.get(url).max_bytes(told.unwrap_or(self.max_bytes));
        let fetched = match (Fetch::new(fetching, progress).run(&mut sink).await, told) {
            (Err(UploadError::TooLarge { .. }), Some(told)) => return Err(UploadError::WrongSize { told }),
            (Ok(fetched), Some(told)) if fetched.size != told => return Err(UploadError::WrongSize { told }),
            (fetched, _) => fetched?,
        };
        let Hashing { file, hasher } = sink;
        let verified = match hasher.map(Hasher::finish) {
            Some(hash) => match Verdict::of(&hash, &self.shared.file.hashes) {
                Verdict::Differs => return Err(UploadError::HashMismatch { algo: hash.algo }),
                Verdict::Proved | Verdict::Weak => self.shared.function().map(Verified::Hash),
                Verdict::Unknown => None,
            },
            None => None,
        };
        part.publish(file, place).await?;
        Ok(Downloaded { verified, ..fetched })
    }
}

/// A file, and the hash of what goes into it.
struct Hashing {
    file: tokio::fs::File,
    hasher: Option<Hasher>,
}

impl Sink for Hashing {
    async fn take(&mut self, octets: &[u8]) -> Result<(), UploadError> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(octets);
        }
        Ok(self.file.write_all(octets).await?)
    }
}
