//! What a web server answers, with a body that is read as it comes.

use super::request::Outgoing;
use super::{HttpsError, Line, WebUrl};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;

/// An answer. Its connection ends with it.
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) url: WebUrl,
    pub(super) body: Incoming,
    pub(super) patience: Duration,
    /// What drives the connection.
    pub(super) _line: Line<Outgoing>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Response { status, url, .. } = self;
        f.debug_struct("Response").field("status", status).field("url", url).finish_non_exhaustive()
    }
}

impl Response {
    /// The status (RFC 9110 §15), such as 200.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The address that it came from, after redirections.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// The first header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How many octets the body has, where the host says so.
    pub fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH.as_str())?.parse().ok()
    }

    /// More of the body; `None` at its end. Cancel-safe.
    ///
    /// # Errors
    /// [`HttpsError::Http`] where it breaks off, [`HttpsError::TimedOut`] where nothing comes for as long as the patience
    /// of the client.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpsError> {
        loop {
            match timeout(self.patience, self.body.frame()).await.map_err(|_| HttpsError::TimedOut)? {
                None => return Ok(None),
                Some(frame) => match frame?.into_data() {
                    Ok(octets) if !octets.is_empty() => return Ok(Some(octets)),
                    // Empty, or trailers.
                    _ => {}
                },
            }
        }
    }

    /// All of the body, if it has no more than `most` octets.
    ///
    /// # Errors
    /// Those of [`chunk`](Self::chunk), and [`HttpsError::TooLarge`].
    pub async fn bytes(mut self, most: usize) -> Result<Vec<u8>, HttpsError> {
        let mut all = Vec::new();
        while let Some(octets) = self.chunk().await? {
            if octets.len() > most.saturating_sub(all.len()) {
                return Err(HttpsError::TooLarge);
            }
            all.extend_from_slice(&octets);
        }
        Ok(all)
    }
}
