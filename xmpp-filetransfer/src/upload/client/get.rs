//! Fetching files.

use super::{Progress, Transfer, UploadError, Uploads};
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::watch,
};
use xmpp_core::net::https::{Https, HttpsError, Request, Response};

/// A file that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Downloaded {
    /// Its size in bytes.
    pub size: u64,
    /// Its media type, as the host says; not to be trusted.
    pub content_type: Option<String>,
}

/// A file to be fetched.
#[derive(Debug)]
#[must_use = "nothing is fetched before it is said where to"]
pub struct Fetching {
    url: String,
    https: Https,
    max_bytes: u64,
    attempts: u32,
    first: u64,
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
            file.flush().await?;
            file.sync_all().await?;
            drop(file);
            part.rename(&path).await?;
            Ok(fetched)
        })
    }
}

/// A file that is not whole; dropped, it is removed.
struct PartFile(Option<PathBuf>);

impl PartFile {
    async fn create(path: &Path) -> io::Result<(tokio::fs::File, PartFile)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        // Short, whatever the length of the name.
        let start: String = name.chars().take(32).collect();
        let part = path.with_file_name(format!(".{start}.{:016x}.part", u64::from_le_bytes(random)));
        let file = tokio::fs::OpenOptions::new().write(true).create_new(true).open(&part).await?;
        Ok((file, PartFile(Some(part))))
    }

    async fn rename(mut self, path: &Path) -> io::Result<()> {
        if let Some(part) = &self.0 {
            tokio::fs::rename(part, path).await?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if let Some(part) = &self.0 {
            let _ = std::fs::remove_file(part);
        }
    }
}

/// A fetch under way.
struct Fetch {
    fetching: Fetching,
    progress: watch::Sender<Progress>,
    /// What has come.
    done: u64,
    /// What there is, once that is known.
    total: Option<u64>,
    /// The tag of the file that it began with.
    tag: Option<String>,
    content_type: Option<String>,
}

impl Fetch {
    fn new(fetching: Fetching, progress: watch::Sender<Progress>) -> Fetch {
        let done = fetching.first;
        Fetch { fetching, progress, done, total: None, tag: None, content_type: None }
    }

    async fn run(mut self, writer: &mut (impl AsyncWrite + Unpin)) -> Result<Downloaded, UploadError> {
        let mut attempts = self.fetching.attempts;
        loop {
            let before = self.done;
            match self.attempt(writer).await {
                Ok(()) => return Ok(Downloaded { size: self.done, content_type: self.content_type }),
                // What broke off after something came goes on, as often as something comes.
                Err(UploadError::Https(HttpsError::Http(_) | HttpsError::TimedOut | HttpsError::Connect(_)))
                    if attempts > 0 && self.total.is_some() =>
                {
                    attempts = if self.done > before { self.fetching.attempts } else { attempts };
                    attempts -= 1;
                    tracing::debug!(done = self.done, "a download broke off, and goes on");
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn attempt(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> Result<(), UploadError> {
        let mut request = Request::get(&self.fetching.url).header("Accept-Encoding", "identity");
        if self.done > 0 {
            request = request.header("Range", &format!("bytes={}-", self.done));
            if let Some(tag) = &self.tag {
                request = request.header("If-Range", tag);
            }
        }
        let mut response = self.fetching.https.send(request).await?;
        let mut skip = match response.status() {
            200 => {
                self.learn(&response, response.content_length())?;
                // The host does not give parts, or not of what is there now.
                if self.done > 0 && self.tag.is_some() && self.tag.as_deref() != strong(&response) {
                    return Err(UploadError::Changed);
                }
                self.done
            }
            206 => {
                let (first, total) = content_range(&response).ok_or(UploadError::Changed)?;
                self.learn(&response, total)?;
                // What was not asked for cannot be put in its place.
                self.done.checked_sub(first).ok_or(UploadError::Changed)?
            }
            // All of it is there already.
            416 if self.done > 0 && beyond(&response) == Some(self.done) => {
                self.total = Some(self.done);
                return Ok(());
            }
            _ => return Err(UploadError::refusal(&response)),
        };
        while let Some(octets) = response.chunk().await? {
            let length = u64::try_from(octets.len()).unwrap_or(u64::MAX);
            let old = skip.min(length);
            skip -= old;
            let fresh = octets.get(usize::try_from(old).unwrap_or(usize::MAX)..).unwrap_or_default();
            let most = self.fetching.max_bytes;
            let done = self.done.saturating_add(length - old);
            if done > most {
                return Err(UploadError::TooLarge { limit: Some(most) });
            }
            writer.write_all(fresh).await?;
            self.done = done;
            self.progress.send_modify(|progress| progress.done = done);
        }
        match self.total {
            Some(total) if total != self.done => Err(UploadError::Changed),
            _ => Ok(()),
        }
    }

    /// What the headers say of the file, which has to be the one that it began with.
    fn learn(&mut self, response: &Response, total: Option<u64>) -> Result<(), UploadError> {
        if let (Some(before), Some(total)) = (self.total, total)
            && before != total
        {
            return Err(UploadError::Changed);
        }
        let most = self.fetching.max_bytes;
        if total.is_some_and(|total| total > most) {
            return Err(UploadError::TooLarge { limit: Some(most) });
        }
        if self.total.is_none() {
            self.total = total;
            self.tag = strong(response).map(str::to_owned);
            self.content_type = response.header("content-type").map(str::to_owned);
            let done = self.done;
            self.progress.send_modify(|progress| *progress = Progress { done, total });
        }
        Ok(())
    }
}

/// The tag of the file, if it says that every byte is the same (RFC 9110 §8.8.1).
fn strong(response: &Response) -> Option<&str> {
    response.header("etag").filter(|tag| tag.starts_with('"'))
}

/// The first byte of a part, and how many there are in all (RFC 9110 §14.4).
fn content_range(response: &Response) -> Option<(u64, Option<u64>)> {
    let range = response.header("content-range")?.strip_prefix("bytes ")?;
    let (part, total) = range.split_once('/')?;
    Some((part.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// How many bytes there are where what was asked for lies beyond.
fn beyond(response: &Response) -> Option<u64> {
    response.header("content-range")?.strip_prefix("bytes */")?.parse().ok()
}
