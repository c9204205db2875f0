//! A fetch under way: of one file, in as many attempts as it takes.

use super::{Downloaded, Fetching, Progress, UploadError};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::watch,
};
use xmpp_core::net::https::{HttpsError, Request, Response};

/// Where octets go as they come, each once and in order.
pub(super) trait Sink: Send {
    /// Takes the next ones.
    fn take(&mut self, octets: &[u8]) -> impl Future<Output = Result<(), UploadError>> + Send;
}

impl<W: AsyncWrite + Send + Unpin> Sink for W {
    async fn take(&mut self, octets: &[u8]) -> Result<(), UploadError> {
        Ok(self.write_all(octets).await?)
    }
}

/// A fetch under way.
pub(super) struct Fetch {
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
    pub(super) fn new(fetching: Fetching, progress: watch::Sender<Progress>) -> Fetch {
        let done = fetching.first;
        Fetch { fetching, progress, done, total: None, tag: None, content_type: None }
    }

    pub(super) async fn run(mut self, sink: &mut impl Sink) -> Result<Downloaded, UploadError> {
        let mut attempts = self.fetching.attempts;
        loop {
            let before = self.done;
            match self.attempt(sink).await {
                Ok(()) => {
                    let Fetch { done, content_type, .. } = self;
                    return Ok(Downloaded { size: done, content_type, verified: None });
                }
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

    async fn attempt(&mut self, sink: &mut impl Sink) -> Result<(), UploadError> {
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
            sink.take(fresh).await?;
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
