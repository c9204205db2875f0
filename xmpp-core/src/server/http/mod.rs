//! The HTTP face of a server: one listener for XMPP over WebSocket (RFC 7395), BOSH (XEP-0124, XEP-0206), the
//! host-meta documents that tell browsers where those are (XEP-0156), the documents of POSH (RFC 7711), and whatever
//! extensions mount.

mod bosh;
mod cors;
mod host_meta;
mod listen;
mod patient;
mod posh;
mod proxies;
mod websocket;

pub(super) use bosh::Sessions as BoshSessions;
pub use proxies::IpRange;

use super::{Server, listener::Entry};
use crate::net::Transport;
use axum::{Router, routing::get};
use std::net::IpAddr;
use std::sync::Arc;

/// Where XMPP over WebSocket is mounted.
const WEBSOCKET_PATH: &str = "/xmpp-websocket";

/// Where BOSH is mounted, unless it is switched off.
const BOSH_PATH: &str = "/http-bind";

/// How a server appears over HTTP. Nothing listens until [`Server::listen_http`] or [`Server::listen_https`].
#[derive(Clone, Debug)]
pub struct Http {
    public_url: Option<String>,
    proxies: Vec<IpRange>,
    origins: Option<Vec<String>>,
    bosh: bool,
    posh: bool,
}

impl Default for Http {
    fn default() -> Http {
        Http { public_url: None, proxies: Vec::new(), origins: None, bosh: true, posh: true }
    }
}

impl Http {
    /// WebSocket, BOSH and host-meta, for scripts of any origin, with no proxy in front.
    pub fn new() -> Http {
        Http::default()
    }

    /// Where the world reaches this listener, as in `https://chat.example.org`: what host-meta says. Without it the
    /// address by which it was asked for is said.
    #[must_use]
    pub fn public_url(mut self, url: impl Into<String>) -> Http {
        self.public_url = Some(url.into().trim_end_matches('/').to_owned());
        self
    }

    /// Believes a reverse proxy with such an address what it says about its clients, in `X-Forwarded-For` and
    /// `X-Forwarded-Proto`. What comes to the proxy by HTTPS then counts as protected by TLS.
    #[must_use]
    pub fn trusted_proxy(mut self, range: IpRange) -> Http {
        self.proxies.push(range);
        self
    }

    /// Admits scripts of these origins alone, such as `https://chat.example.org`. Clients that are no browsers are not
    /// concerned. Nothing here rests on cookies, so any origin is safe: the default.
    #[must_use]
    pub fn origins(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Http {
        self.origins = Some(origins.into_iter().map(Into::into).collect());
        self
    }

    /// Whether clients may use BOSH (XEP-0206), at `/http-bind`: they may unless this is false.
    #[must_use]
    pub fn bosh(mut self, bosh: bool) -> Http {
        self.bosh = bosh;
        self
    }

    /// Whether `/.well-known/posh/xmpp-server.json` and `xmpp-client.json` tell the fingerprints of the certificates in use
    /// (RFC 7711): they do unless this is false. Where the domain's own web server is this listener, or hands these paths
    /// on to it, other servers can then accept a certificate that no authority vouches for.
    #[must_use]
    pub fn posh(mut self, posh: bool) -> Http {
        self.posh = posh;
        self
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.proxies.iter().any(|range| range.contains(ip))
    }

    /// Whether a script of this origin may do anything here.
    fn admits(&self, origin: &str) -> bool {
        self.origins.as_ref().is_none_or(|origins| origins.iter().any(|one| one.eq_ignore_ascii_case(origin)))
    }
}

/// Settings and the routes of extensions: what the builder leaves to the listeners.
#[derive(Clone, Debug, Default)]
pub(super) struct Face {
    pub(super) settings: Http,
    pub(super) routes: Router,
}

/// Who is at the other end of a request. Every request that reaches a route has one among its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebPeer {
    /// The client's address: the connection's, or what a trusted proxy says.
    pub ip: IpAddr,
    /// Whether TLS protects what it says: here, or up to a trusted proxy.
    pub secured: bool,
}

impl Server {
    /// Runs a stream that comes over HTTP. The place of its connection is the caller's to keep.
    ///
    /// What `transport` carries is the byte stream of RFC 6120; its bindings, if it has any, are those of the TLS
    /// connection that protects it.
    pub(crate) fn accept_web(
        &self,
        transport: Transport,
        peer: WebPeer,
        permit: Option<tokio::sync::OwnedSemaphorePermit>,
    ) {
        self.accept(transport, peer.ip, Entry::Web { secured: peer.secured }, permit);
    }

    /// All routes: the server's own, then those of extensions.
    fn router(&self) -> Router {
        let face = &self.inner().http;
        let mut own = Router::new()
            .route(WEBSOCKET_PATH, get(websocket::open))
            .route("/.well-known/host-meta", get(host_meta::xrd))
            .route("/.well-known/host-meta.json", get(host_meta::json));
        if face.settings.posh {
            own = own
                .route("/.well-known/posh/xmpp-server.json", get(posh::document))
                .route("/.well-known/posh/xmpp-client.json", get(posh::document));
        }
        if face.settings.bosh {
            let routes = get(bosh::get).post(bosh::post).options(bosh::options);
            // As many a client is configured.
            own = own.route(&format!("{BOSH_PATH}/"), routes.clone()).route(BOSH_PATH, routes);
        }
        own.with_state(self.clone()).merge(face.routes.clone())
    }

    fn http(&self) -> &Arc<Face> {
        &self.inner().http
    }
}
