//! A small client of HTTP/1.1 over the transports of this crate (RFC 9110, RFC 9112): for what XMPP has outside of its
//! streams, such as uploads.
//!
//! Bodies go both ways as streams. Each request has a connection of its own, whose host has to prove itself by the rules
//! and with the trust of the connector's [`ClientTls`](super::ClientTls).
//!
//! ```no_run
//! use xmpp_core::net::{ClientTls, Connector, StaticResolver, https::{Https, Request}};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let resolver = StaticResolver::new().with_address("files.example.org", [192, 0, 2, 7]);
//! let https = Https::new(Connector::new(resolver, ClientTls::new()?));
//! let mut response = https.send(Request::get("https://files.example.org/hark.txt")).await?;
//! while let Some(octets) = response.chunk().await? {
//!     println!("{} octets", octets.len());
//! }
//! # Ok(()) }
//! ```

#[cfg(all(feature = "client", feature = "websocket"))]
mod document;
mod line;
mod request;
mod response;
#[cfg(all(test, feature = "self-signed"))]
mod tests;
mod url;

#[cfg(all(feature = "client", feature = "websocket"))]
pub(crate) use document::{Bounds, get};
pub(crate) use line::Line;
pub use request::Request;
pub use response::Response;
pub(crate) use url::WebUrl;

use super::{ConnectError, Connector, TlsError};
use hyper::header;
use request::Outgoing;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// Why there is no answer over HTTP.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpsError {
    /// The address is none of `https:`, nor of `http:` where that is allowed.
    #[error("{0:?} is no address that is asked")]
    Url(String),
    /// A header that cannot be sent.
    #[error("{0:?} is no header, or its value is none")]
    Header(String),
    /// The host was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What answers does not speak HTTP, or stops in the middle; or the body of the request ended early.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The host answers with this status.
    #[error("the host refuses: {0}")]
    Refused(u16),
    /// More would have come than was wanted.
    #[error("the answer is too large")]
    TooLarge,
    /// Redirected too often, or from TLS to none.
    #[error("redirected too often, or to an address without TLS")]
    Redirected,
    /// It took too long.
    #[error("the host did not answer in time")]
    TimedOut,
}

/// A client of HTTPS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Https {
    connector: Connector,
    plain: bool,
    redirects: usize,
    patience: Duration,
}

impl Https {
    /// Reaches hosts through `connector`, by TLS alone; follows 5 redirections; waits 60 seconds for anything to move.
    pub fn new(connector: Connector) -> Https {
        Https { connector, plain: false, redirects: 5, patience: Duration::from_secs(60) }
    }

    /// Allows `http:`, without TLS. For tests, and for networks that are encrypted by other means.
    #[must_use]
    pub fn allow_plain(mut self, plain: bool) -> Https {
        self.plain = plain;
        self
    }

    /// How many redirections are followed, of requests that only read.
    #[must_use]
    pub fn redirects(mut self, redirects: usize) -> Https {
        self.redirects = redirects;
        self
    }

    /// How long nothing may move: of the request's body, of the answer.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Https {
        self.patience = patience;
        self
    }

    /// Sends a request and returns when the headers of the answer are there, whatever its status. The time for all of it
    /// is not bounded as long as something moves.
    ///
    /// Redirections (RFC 9110 §15.4) of requests that only read are followed, never from TLS to none; `Authorization` and
    /// `Cookie` are for the first host alone. Not cancel-safe: dropping it ends the connection.
    ///
    /// # Errors
    /// See [`HttpsError`].
    pub async fn send(&self, request: Request) -> Result<Response, HttpsError> {
        request.check()?;
        let Request { method, url, mut headers, body, .. } = request;
        let reads = method == hyper::Method::GET || method == hyper::Method::HEAD;
        let mut at = self.address(&url)?;
        let mut body = Some(body);
        for _ in 0..=self.redirects {
            let response = self.exchange(&at, method.clone(), &headers, body.take().unwrap_or_default()).await?;
            if !reads || !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let Some(location) = response.header(header::LOCATION.as_str()) else { return Ok(response) };
            let next = self.address(&at.join(location))?;
            if at.secure && !next.secure {
                return Err(HttpsError::Redirected);
            }
            if !next.same_origin(&at) {
                headers.remove(header::AUTHORIZATION);
                headers.remove(header::COOKIE);
            }
            at = next;
        }
        Err(HttpsError::Redirected)
    }

    fn address(&self, url: &str) -> Result<WebUrl, HttpsError> {
        let allowed = WebUrl::http(url).filter(|url| url.secure || self.plain);
        allowed.ok_or_else(|| HttpsError::Url(url.to_owned()))
    }

    async fn exchange(
        &self,
        url: &WebUrl,
        method: hyper::Method,
        headers: &header::HeaderMap,
        body: Outgoing,
    ) -> Result<Response, HttpsError> {
        let moved = body.moved.clone();
        let mut line = Line::<Outgoing>::open(&self.connector, url).await?;
        let mut request = url.request_by(method);
        if let Some(own) = request.headers_mut() {
            own.extend(headers.clone());
            own.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        let request = request.body(body).map_err(|_| HttpsError::Url(url.to_string()))?;
        let mut answer = std::pin::pin!(line.sender.send_request(request));
        let mut before = moved.load(Ordering::Relaxed);
        let answer = loop {
            match timeout(self.patience, answer.as_mut()).await {
                Ok(answer) => break answer?,
                Err(_) => {
                    let now = moved.load(Ordering::Relaxed);
                    if now == before {
                        return Err(HttpsError::TimedOut);
                    }
                    before = now;
                }
            }
        };
        let (head, body) = answer.into_parts();
        let (status, headers) = (head.status.as_u16(), head.headers);
        Ok(Response { status, headers, url: url.clone(), body, patience: self.patience, _line: line })
    }
}
