//! What is asked of a web server, with a body that is read while it is sent.

use super::HttpsError;
use bytes::Bytes;
use hyper::Method;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// Octets of a body that are read at once.
const PIECE: usize = 64 * 1024;

/// A request: a method, an address, headers, and maybe a body.
pub struct Request {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Outgoing,
    /// A header that was none.
    pub(super) wrong: Option<String>,
}

impl fmt::Debug for Request {
    /// Without its headers, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Request {
    fn new(method: Method, url: impl Into<String>, body: Outgoing) -> Request {
        Request { method, url: url.into(), headers: HeaderMap::new(), body, wrong: None }
    }

    /// Asks for what an address names.
    pub fn get(url: impl Into<String>) -> Request {
        Request::new(Method::GET, url, Outgoing::default())
    }

    /// Asks for the headers that a [`get`](Self::get) would bring.
    pub fn head(url: impl Into<String>) -> Request {
        Request::new(Method::HEAD, url, Outgoing::default())
    }

    /// Removes what an address names.
    pub fn delete(url: impl Into<String>) -> Request {
        Request::new(Method::DELETE, url, Outgoing::default())
    }

    /// Puts `length` octets of `body` at an address. They are read as fast as the host takes them, and no more than 64 KiB
    /// are held at a time. A body that ends early ends the request.
    pub fn put(url: impl Into<String>, body: impl AsyncRead + Send + Unpin + 'static, length: u64) -> Request {
        let body = Outgoing { source: Some(Box::new(body)), left: length, ..Outgoing::default() };
        Request::new(Method::PUT, url, body)
    }

    /// With a header, beside what there is of this name. One that is no header makes [`Https::send`] fail.
    ///
    /// [`Https::send`]: super::Https::send
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Request {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(known), Ok(value)) => {
                self.headers.append(known, value);
            }
            _ => self.wrong = Some(name.to_owned()),
        }
        self
    }

    pub(super) fn check(&self) -> Result<(), HttpsError> {
        self.wrong.as_ref().map_or(Ok(()), |name| Err(HttpsError::Header(name.clone())))
    }
}

/// The body of a request.
#[derive(Default)]
pub(super) struct Outgoing {
    source: Option<Box<dyn AsyncRead + Send + Unpin>>,
    left: u64,
    scratch: Vec<u8>,
    /// How often something of it was taken.
    pub(super) moved: Arc<AtomicU64>,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let Some(source) = this.source.as_mut().filter(|_| this.left > 0) else { return Poll::Ready(None) };
        let piece = usize::try_from(this.left).unwrap_or(PIECE).min(PIECE);
        this.scratch.resize(PIECE, 0);
        let mut buffer = ReadBuf::new(this.scratch.get_mut(..piece).unwrap_or_default());
        if let Err(error) = ready!(Pin::new(source).poll_read(cx, &mut buffer)) {
            return Poll::Ready(Some(Err(error)));
        }
        let octets = Bytes::copy_from_slice(buffer.filled());
        if octets.is_empty() {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        this.left = this.left.saturating_sub(u64::try_from(octets.len()).unwrap_or(u64::MAX));
        this.moved.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(octets))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
