//! The relay of bytestreams between clients that cannot reach each other (XEP-0065 §6).
//!
//! It is a service of a [`Server`](xmpp_core::server::Server), with a domain and TCP ports of its own. Both clients connect to a
//! port and ask for the same stream; when the requester says so by XMPP, what one sends goes to the other. Nothing is kept: two
//! small buffers a stream, whatever its length.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use xmpp_core::server::{MemoryAccounts, Server};
//! use xmpp_filetransfer::proxy65::Proxy65;
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let relay = Proxy65::new("proxy.example.org").listen(listener)?.advertise("files.example.org", 7777);
//! let server = Server::builder("example.org").accounts(MemoryAccounts::new()).with(relay).build()?;
//! assert!(server.delegates("proxy.example.org"));
//! # Ok(()) }
//! ```
//!
//! Only users of the server may use it, unless [`Proxy65Settings::may_use`] says otherwise: who knows the stream's hash can
//! connect, but nothing is relayed before such a user activates the stream.

mod pace;
mod relay;
#[cfg(all(test, feature = "client"))]
#[allow(clippy::unwrap_used)]
mod tests;

use crate::socks5::{NS, Query, Streamhost};
use relay::Relay;
use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use xmpp_core::{
    extension::{IqContext, Target},
    jid::Jid,
    payload::disco::Identity,
    server::{Extension, ServerCell, ServerRegistrar},
    stanza::StanzaError,
};

/// Who may use the relay.
pub type MayUse = Arc<dyn Fn(&Jid) -> bool + Send + Sync>;

/// What a relay is set to.
#[derive(Clone)]
#[non_exhaustive]
pub struct Proxy65Settings {
    /// Its name for people.
    pub name: String,
    /// Streams at a time.
    pub streams: usize,
    /// Those of one user (bare address), of these.
    pub streams_of_user: usize,
    /// Connections that are not relayed yet, at a time. Of more, those are closed first whose network or address has the most.
    pub waiting: usize,
    /// Connections of one IP address (of one /64, for IPv6) in all.
    pub of_address: usize,
    /// Connections of one network in all: a /24 of IPv4, a /48 of IPv6.
    pub of_network: usize,
    /// How long a client may take to say which stream it wants.
    pub handshake: Duration,
    /// How long it waits then for the other, and for the activation.
    pub activation: Duration,
    /// How long a stream may be silent.
    pub idle: Duration,
    /// How many bytes a second go each way in one stream; without bound if absent.
    pub bytes_per_second: Option<u32>,
    /// Who may use it; users of the server's own domains if absent.
    pub may_use: Option<MayUse>,
}

impl Default for Proxy65Settings {
    /// 256 streams, 16 of a user; 256 connections that wait, 32 of an address, 128 of a network; 10 seconds, 2 minutes,
    /// 5 minutes; no bound on the rate; for users of the server.
    fn default() -> Proxy65Settings {
        Proxy65Settings {
            name: "Bytestreams".to_owned(),
            streams: 256,
            streams_of_user: 16,
            waiting: 256,
            of_address: 32,
            of_network: 128,
            handshake: Duration::from_secs(10),
            activation: Duration::from_secs(120),
            idle: Duration::from_secs(300),
            bytes_per_second: None,
            may_use: None,
        }
    }
}

impl fmt::Debug for Proxy65Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Proxy65Settings");
        out.field("streams", &self.streams).field("bytes_per_second", &self.bytes_per_second).finish_non_exhaustive()
    }
}

/// A relay of bytestreams, to be composed into a server.
#[derive(Debug)]
pub struct Proxy65 {
    domain: String,
    settings: Proxy65Settings,
    listeners: Vec<TcpListener>,
    places: Vec<SocketAddr>,
    advertised: Vec<(String, u16)>,
}

impl Proxy65 {
    /// A relay at a domain that is not the accounts'. It needs a [port](Self::listen).
    pub fn new(domain: impl Into<String>) -> Proxy65 {
        Proxy65 {
            domain: domain.into(),
            settings: Proxy65Settings::default(),
            listeners: Vec::new(),
            places: Vec::new(),
            advertised: Vec::new(),
        }
    }

    /// Takes connections at this port too.
    ///
    /// # Errors
    /// If the listener does not know where it is.
    pub fn listen(mut self, listener: TcpListener) -> io::Result<Proxy65> {
        self.places.push(listener.local_addr()?);
        self.listeners.push(listener);
        Ok(self)
    }

    /// Tells clients to connect here: an IP address, or a name that leads to one. Without any, they are told the relay's domain,
    /// with the ports of the listeners.
    #[must_use]
    pub fn advertise(mut self, host: impl Into<String>, port: u16) -> Proxy65 {
        self.advertised.push((host.into(), port));
        self
    }

    /// Other settings.
    #[must_use]
    pub fn settings(mut self, settings: Proxy65Settings) -> Proxy65 {
        self.settings = settings;
        self
    }

    /// What clients are told.
    fn hosts(&self) -> Vec<(String, u16)> {
        if !self.advertised.is_empty() {
            return self.advertised.clone();
        }
        let mut ports: Vec<u16> = self.places.iter().map(SocketAddr::port).collect();
        ports.dedup();
        ports.into_iter().map(|port| (self.domain.clone(), port)).collect()
    }
}

/// Marks relays among extensions.
#[derive(Debug)]
pub struct ForRelays;

impl Extension<ForRelays> for Proxy65 {
    fn register(self, r: &mut ServerRegistrar) {
        let hosts = self.hosts();
        let name = self.settings.name.clone();
        let relay = Arc::new(Relay::new(self.settings));
        for listener in self.listeners {
            tokio::spawn(Arc::clone(&relay).accept(listener));
        }
        // The last of these ends with the server.
        let stops = relay::Stop(Arc::clone(&relay));
        r.on_shutdown(move |_| {
            stops.0.stop();
            Box::pin(std::future::ready(()))
        });
        r.service(&self.domain, |s| {
            s.identity(Target::Server, Identity::new("proxy", "bytestreams", Some(name)));
            s.feature(Target::Server, NS);
            let (cell, asked) = (s.server(), Arc::clone(&relay));
            s.iq_get::<Query, _>(Target::Server, move |cx, _| whereabouts(&asked, &cell, &cx, &hosts));
            let cell = s.server();
            s.iq_set_async::<Query, _, _>(Target::Server, move |cx, query| {
                let (relay, allowed) = (Arc::clone(&relay), admit(&relay, &cell, &cx));
                async move { relay.activate(allowed?, query).await }
            });
        });
    }
}

/// Who asks, if it may.
fn admit(relay: &Relay, cell: &ServerCell, cx: &IqContext) -> Result<Jid, StanzaError> {
    let from = cx.from.clone().ok_or_else(StanzaError::forbidden)?;
    let may = match &relay.settings.may_use {
        Some(may_use) => may_use(&from),
        None => cell.get().is_some_and(|server| server.hosts(from.domain())),
    };
    may.then_some(from).ok_or_else(StanzaError::forbidden)
}

/// Tells where the relay is (§4).
fn whereabouts(
    relay: &Relay,
    cell: &ServerCell,
    cx: &IqContext,
    hosts: &[(String, u16)],
) -> Result<Query, StanzaError> {
    admit(relay, cell, cx)?;
    let me = cx.to.clone().ok_or_else(StanzaError::not_allowed)?;
    if hosts.is_empty() {
        return Err(StanzaError::not_allowed());
    }
    let hosts = hosts.iter().map(|(host, port)| Streamhost::new(me.clone(), host.clone(), *port)).collect();
    Ok(Query { hosts, ..Query::default() })
}
