//! The opening handshake (RFC 6455 §4), and the way to the host.

use super::{SUBPROTOCOL, WebSocket, accept_key};
use crate::net::https::{HttpsError, Line, WebUrl};
use crate::net::{ConnectError, Connector, TlsError, Transport};
use crate::stream::framing::Side;
use crate::xml::XmlLimits;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{StatusCode, header};
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex, PoisonError};
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

impl From<HttpsError> for WebSocketError {
    fn from(error: HttpsError) -> WebSocketError {
        match error {
            HttpsError::Url(url) => WebSocketError::Url(url),
            HttpsError::Connect(error) => WebSocketError::Connect(error),
            HttpsError::Tls(error) => WebSocketError::Tls(error),
            HttpsError::Http(error) => WebSocketError::Http(error),
            HttpsError::Refused(status) => WebSocketError::Refused(status),
            HttpsError::TooLarge => WebSocketError::NotXmpp("the document is too large"),
            HttpsError::Redirected => WebSocketError::NotXmpp("redirected too often"),
            HttpsError::Header(_) => WebSocketError::NotXmpp("a header that is none"),
            HttpsError::TimedOut => WebSocketError::TimedOut,
        }
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
    let mut line = Line::<Empty<Bytes>>::open(connector, url).await?;
    let key = STANDARD.encode(crate::random::bytes::<16>());
    let request = url
        .request()
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
        .body(Empty::new())
        .map_err(|_| WebSocketError::Url(url.host.clone()))?;
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
