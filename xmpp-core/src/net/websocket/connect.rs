//! The opening handshake (RFC 6455 §4), and the way to the host.

use super::{SUBPROTOCOL, WebSocket};
use crate::net::{ConnectError, Connector, Plan, TlsError, Transport};
use crate::stream::framing::Side;
use crate::xml::XmlLimits;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Why no WebSocket came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// The address is not one of `wss:` or `ws:`.
    #[error("{0:?} is no address of a WebSocket")]
    Url(String),
    /// The host was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What answers does not speak HTTP, or stops in the middle.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The host answers that this is no WebSocket, or not for us.
    #[error("the host refuses a WebSocket: {0}")]
    Refused(u16),
    /// The answer is none to a WebSocket of XMPP.
    #[error("not a WebSocket of XMPP: {0}")]
    NotXmpp(&'static str),
    /// The domain does not say where it has a WebSocket (XEP-0156).
    #[error("{0} does not tell of a WebSocket")]
    NotOffered(String),
    /// It took too long.
    #[error("the host did not answer in time")]
    TimedOut,
}

/// The answer to a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
pub(crate) fn accept_key(key: &[u8]) -> String {
    let hash = Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    STANDARD.encode(hash)
}

/// An address of HTTP or of a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebUrl {
    /// Whether it begins with TLS.
    pub(crate) secure: bool,
    pub(super) host: String,
    port: u16,
    /// As the `Host` header says it.
    authority: String,
    path: String,
}

impl WebUrl {
    /// An address with one of these schemes, the first of which is the one with TLS.
    pub(super) fn parse(url: &str, schemes: [&str; 2]) -> Option<WebUrl> {
        let uri: Uri = url.parse().ok()?;
        let scheme = schemes.iter().position(|one| uri.scheme_str().is_some_and(|s| s.eq_ignore_ascii_case(one)))?;
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let secure = scheme == 0;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Some(WebUrl {
            secure,
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
        })
    }

    /// The address of a WebSocket.
    pub(crate) fn websocket(url: &str) -> Result<WebUrl, WebSocketError> {
        WebUrl::parse(url, ["wss", "ws"]).ok_or_else(|| WebSocketError::Url(url.to_owned()))
    }

    /// The address that a `Location` names, from here.
    pub(super) fn join(&self, location: &str) -> String {
        match location.starts_with('/') && !location.starts_with("//") {
            true => format!("{}://{}{location}", if self.secure { "https" } else { "http" }, self.authority),
            false => location.to_owned(),
        }
    }

    /// The address of a BOSH service, or of anything else of HTTP.
    #[cfg(feature = "bosh")]
    pub(crate) fn http(url: &str) -> Option<WebUrl> {
        WebUrl::parse(url, ["https", "http"])
    }

    pub(super) fn request(&self) -> hyper::http::request::Builder {
        Request::get(&self.path).header(header::HOST, &self.authority)
    }

    #[cfg(feature = "bosh")]
    pub(crate) fn post(&self) -> hyper::http::request::Builder {
        Request::post(&self.path).header(header::HOST, &self.authority)
    }
}

/// An HTTP connection. The tasks that drive it end when they are dropped.
pub(crate) struct Line<B> {
    pub(crate) sender: http1::SendRequest<B>,
    pub(super) tasks: JoinSet<()>,
}

impl<B> Line<B>
where
    B: hyper::body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static,
{
    /// Connects to the host of an address, which has to prove to be that host where TLS is used.
    pub(crate) async fn open(connector: &Connector, url: &WebUrl) -> Result<Line<B>, WebSocketError> {
        let connected = connector.connect_to(&url.host, Plan::single(&url.host, url.port, false)).await?;
        let mut transport = connected.transport;
        if url.secure {
            let shaken =
                timeout(connector.options().attempt_timeout, transport.https_client(connector.tls(), &url.host));
            transport = shaken.await.map_err(|_| WebSocketError::TimedOut)??;
        }
        let mut settings = http1::Builder::new();
        settings.max_buf_size(16 * 1024).max_headers(64);
        let (sender, connection) = settings.handshake(TokioIo::new(transport)).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "an HTTP connection ended early");
            }
        });
        Ok(Line { sender, tasks })
    }
}

/// Where a server sends its client to (RFC 7395 §3.6.1), and what its certificate vouched for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redirect(Arc<Mutex<Option<WebUrl>>>);

impl Redirect {
    pub(crate) fn take(&self) -> Option<WebUrl> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Notes an address, unless TLS protected more than it would there.
    pub(super) fn set(&self, url: &str, secured: bool) {
        let Ok(url) = WebUrl::websocket(url) else { return };
        if url.secure || !secured {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(url);
        }
    }
}

/// Opens a WebSocket for XMPP at this address.
pub(crate) async fn connect(
    connector: &Connector,
    url: &WebUrl,
    limits: XmlLimits,
    redirect: Redirect,
) -> Result<Transport, WebSocketError> {
    let opening = handshake(connector, url);
    let (transport, read) =
        timeout(connector.options().deadline, opening).await.map_err(|_| WebSocketError::TimedOut)??;
    let mut socket = WebSocket::new(transport, read, Side::Client, limits);
    socket.redirect = Some(redirect);
    Ok(Transport::WebSocket(Box::new(socket)))
}

async fn handshake(connector: &Connector, url: &WebUrl) -> Result<(Transport, Vec<u8>), WebSocketError> {
    let mut line = Line::open(connector, url).await?;
    let key = STANDARD.encode(crate::random::bytes::<16>());
    let request = url
        .request()
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
        .body(Empty::new())
        .map_err(|_| WebSocketError::Url(url.authority.clone()))?;
    let response = line.sender.send_request(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(WebSocketError::Refused(response.status().as_u16()));
    }
    let says = |name, value: &str| {
        response
            .headers()
            .get(name)
            .and_then(|one| one.to_str().ok())
            .is_some_and(|one| one.eq_ignore_ascii_case(value))
    };
    if !says(header::UPGRADE, "websocket") || !says(header::CONNECTION, "upgrade") {
        return Err(WebSocketError::NotXmpp("no upgrade to it"));
    }
    if response.headers().get(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|one| *one != accept_key(key.as_bytes())) {
        return Err(WebSocketError::NotXmpp("the answer is to another key"));
    }
    // RFC 7395 §3.1: without it the connection has to be closed.
    if response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).is_none_or(|one| one != SUBPROTOCOL) {
        return Err(WebSocketError::NotXmpp("the subprotocol is missing"));
    }
    if response.headers().contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return Err(WebSocketError::NotXmpp("an extension that was not asked for"));
    }
    let upgraded = hyper::upgrade::on(response).await?;
    let parts = upgraded.downcast::<TokioIo<Transport>>();
    let parts = parts.map_err(|_| WebSocketError::NotXmpp("no upgrade to it"))?;
    line.tasks.detach_all();
    Ok((parts.io.into_inner(), parts.read_buf.to_vec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rfc6455_1_3_the_example_of_the_key() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn addresses_are_taken_apart() {
        let url = WebUrl::websocket("wss://chat.example.org/xmpp-websocket?x=y").unwrap();
        assert!(url.secure);
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("chat.example.org", 443, "/xmpp-websocket?x=y"));
        let url = WebUrl::websocket("WS://[::1]:5280").unwrap();
        assert_eq!((url.secure, url.host.as_str(), url.port, url.path.as_str()), (false, "[::1]", 5280, "/"));
        for wrong in ["", "https://example.org/", "wss:///x", "wss://a@b/", "/xmpp-websocket", "wss://"] {
            assert!(WebUrl::websocket(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rfc7395_3_6_1_nobody_is_sent_to_less_security() {
        let redirect = Redirect::default();
        redirect.set("ws://b.example/x", true);
        assert_eq!(redirect.take(), None);
        redirect.set("https://b.example/x", false);
        assert_eq!(redirect.take(), None);
        redirect.set("wss://b.example/x", true);
        assert_eq!(redirect.take(), WebUrl::websocket("wss://b.example/x").ok());
        redirect.set("ws://b.example/x", false);
        assert!(redirect.take().is_some());
    }
}
