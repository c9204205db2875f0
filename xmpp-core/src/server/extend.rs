//! Extensions of a server, and what they register.

use super::{
    Envelope, Idle, Observed, Resource, Server, ServiceRegistrar, Station, WeakServer,
    directory::SessionFlag,
    newcomers::{Newcomer, Reception, Receptions},
};
use crate::{
    BoxFuture,
    extension::Registrar,
    jid::{BareJid, Jid},
    stanza::StanzaError,
    xml::{Stanza, Writer, ns},
};
use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, OnceLock},
};
use tokio::sync::mpsc;

/// Something that a server is extended with: a function or closure over a [`ServerRegistrar`], or over the plain
/// [`Registrar`] that clients have too. `M` only tells the two apart.
pub trait Extension<M> {
    /// Registers what the extension handles.
    fn register(self, registrar: &mut ServerRegistrar);
}

/// Marks extensions of servers.
#[derive(Debug)]
pub struct ForServer;
/// Marks extensions of either end.
#[derive(Debug)]
pub struct ForBoth;

impl<F: FnOnce(&mut ServerRegistrar)> Extension<ForServer> for F {
    fn register(self, registrar: &mut ServerRegistrar) {
        self(registrar);
    }
}

impl<F: FnOnce(&mut Registrar)> Extension<ForBoth> for F {
    fn register(self, registrar: &mut ServerRegistrar) {
        self(registrar);
    }
}

/// Writes a stream feature.
pub(super) type WriteFeature = Box<dyn FnOnce(&mut Writer) + Send>;

/// The elements of stream features.
pub(super) fn written<L: FromIterator<Stanza>>(features: Vec<WriteFeature>) -> L {
    let element = |write: WriteFeature| {
        let mut writer = Writer::new(ns::CLIENT);
        write(&mut writer);
        writer.into_stanza()
    };
    features.into_iter().map(element).collect()
}

/// Where a server's extension registers: everything a [`Registrar`] takes, and stations of the route.
#[derive(Default)]
pub struct ServerRegistrar {
    pub(super) registrar: Registrar,
    pub(super) stations: Vec<Station>,
    pub(super) session_end: Vec<super::SessionEnd>,
    pub(super) account_removed: Vec<super::AccountRemoved>,
    pub(super) shutdown: Vec<super::ShuttingDown>,
    pub(super) availability: Vec<super::AvailabilityChanged>,
    pub(super) rejected: Vec<super::Rejected>,
    pub(super) unwanted: Vec<super::Unwanted>,
    pub(super) features: (Vec<WriteFeature>, Vec<WriteFeature>),
    pub(super) receptions: Receptions,
    pub(super) session_flags: u32,
    pub(super) bind_features: Vec<super::bind2::BindFeature>,
    pub(super) bound_info: Vec<super::bind2::BoundInfo>,
    pub(super) idle_rules: Vec<super::IdleRule>,
    pub(super) observers: Vec<mpsc::Sender<Observed>>,
    pub(super) services: Vec<ServiceRegistrar>,
    #[cfg(feature = "http")]
    pub(super) http: super::http::Face,
    pub(super) server: Arc<OnceLock<WeakServer>>,
}

impl std::fmt::Debug for ServerRegistrar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerRegistrar").field("stations", &self.stations).finish_non_exhaustive()
    }
}

impl Deref for ServerRegistrar {
    type Target = Registrar;
    fn deref(&self) -> &Registrar {
        &self.registrar
    }
}

impl DerefMut for ServerRegistrar {
    fn deref_mut(&mut self) -> &mut Registrar {
        &mut self.registrar
    }
}

impl ServerRegistrar {
    /// Adds a station to the route.
    pub fn station(&mut self, station: Station) {
        self.stations.push(station);
    }

    /// Calls `f` when a session has ended, with what it last said of its presence. It must not block.
    pub fn on_session_end(&mut self, f: impl Fn(&Server, &Resource) + Send + Sync + 'static) {
        self.session_end.push(Box::new(f));
    }

    /// Calls `f` when an account has been removed ([`Server::account_removed`]), to forget what is held for it.
    pub fn on_account_removed(
        &mut self,
        f: impl Fn(Server, BareJid) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) {
        self.account_removed.push(Box::new(f));
    }

    /// Calls `f` when the server has been told to stop ([`Server::shutdown`]), before any stream ends: to say farewell. For
    /// all of these together a quarter of the grace is kept.
    pub fn on_shutdown(&mut self, f: impl Fn(Server) -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        self.shutdown.push(Box::new(f));
    }

    /// Calls `f` when a session has said something new of its availability ([`Server::set_availability`]), with the
    /// session as it is now and the priority that it had before. It must not block.
    pub fn on_availability(&mut self, f: impl Fn(&Server, &Resource, Option<i8>) + Send + Sync + 'static) {
        self.availability.push(Box::new(f));
    }

    /// Calls `f` when a client has been told by the server itself that its message was not delivered, with the client's
    /// address, the message as it came, and the error. Errors of others come along the route. It must not block.
    pub fn on_rejected(&mut self, f: impl Fn(&Server, &Jid, &Stanza, &Stanza) + Send + Sync + 'static) {
        self.rejected.push(Box::new(f));
    }

    /// Asks `f` whether an account (the first) wants to hear nothing more of an address (the second), for
    /// [`Server::is_unwanted`].
    pub fn unwanted(
        &mut self,
        f: impl Fn(&BareJid, &Jid) -> BoxFuture<'static, Result<bool, StanzaError>> + Send + Sync + 'static,
    ) {
        self.unwanted.push(Box::new(f));
    }

    /// Offers a stream feature (RFC 6120 §4.3.2) to clients: on their authenticated streams, or, if `before_login`, where
    /// they may authenticate. `write` writes one element; a feature that needs no element in the stream needs none here.
    ///
    /// ```
    /// use xmpp_core::server::ServerRegistrar;
    ///
    /// fn roster_versions(registrar: &mut ServerRegistrar) {
    ///     registrar.stream_feature(false, |out| {
    ///         out.open("ver", "urn:xmpp:features:rosterver");
    ///         out.close();
    ///     });
    /// }
    /// ```
    ///
    /// It is called once, when the server is built and knows what it says of itself in service discovery.
    pub fn stream_feature(&mut self, before_login: bool, write: impl FnOnce(&mut Writer) + Send + 'static) {
        let features = if before_login { &mut self.features.0 } else { &mut self.features.1 };
        features.push(Box::new(write));
    }

    /// Answers requests (iq) of clients that have not logged in yet, whose payload is of one of these namespaces, such as
    /// registrations (XEP-0077 §3.1.1), and tells of it by these stream features, each with its name and namespace. For
    /// each stream that asks something `open` is called once, and gets what is known of the client.
    ///
    /// Such requests are taken under TLS alone, and on pipes inside the process, and not in domains that admit anonymous
    /// users. They are not part of the route. [`Limits::newcomer_requests`](super::Limits::newcomer_requests) bounds how many one stream has, and
    /// [`Limits::registration`](super::Limits::registration) the time for them; all other bounds are those of whoever answers.
    ///
    /// ```
    /// use xmpp_core::{
    ///     BoxFuture,
    ///     extension::{Answer, Reply},
    ///     server::{Newcomer, Reception, ServerRegistrar},
    ///     xml::Stanza,
    /// };
    ///
    /// struct Host(Newcomer);
    ///
    /// impl Reception for Host {
    ///     fn answer<'a>(&'a mut self, _request: &'a Stanza) -> BoxFuture<'a, Answer> {
    ///         let Host(Newcomer { domain, ip, .. }) = self;
    ///         Box::pin(async move {
    ///             println!("somebody at {ip} asks for the rules of {domain}");
    ///             Ok(Reply::empty())
    ///         })
    ///     }
    /// }
    ///
    /// fn rules(r: &mut ServerRegistrar) {
    ///     r.before_login(&["urn:example:rules"], &[("rules", "urn:example:rules:feature")], Host);
    /// }
    /// ```
    pub fn before_login<R: Reception>(
        &mut self,
        payloads: &[&str],
        features: &[(&'static str, &'static str)],
        open: impl Fn(Newcomer) -> R + Send + Sync + 'static,
    ) {
        self.receptions.add(payloads, features, Box::new(move |newcomer| Box::new(open(newcomer))));
    }

    /// A flag for sessions. There are 32 in all.
    ///
    /// # Panics
    /// When there are more.
    #[allow(clippy::panic)] // A mistake in the program that composes the server.
    pub fn session_flag(&mut self) -> SessionFlag {
        match 1u32.checked_shl(self.session_flags) {
            Some(bit) => {
                self.session_flags += 1;
                SessionFlag(bit)
            }
            None => panic!("extensions want more than 32 flags of sessions"),
        }
    }

    /// Says which stanzas may wait while their recipient is inactive (XEP-0352), and in place of which earlier ones of
    /// the same sender: `Some(None)` lets a stanza through at once, with what was held back before it; `None` leaves
    /// it to the next rule, at last to that of core, which holds presence and chat states back.
    pub fn idle_rule(&mut self, rule: impl Fn(&Envelope) -> Option<Option<Idle>> + Send + Sync + 'static) {
        self.idle_rules.push(Box::new(rule));
    }

    /// Sends what happens into a queue of `capacity` events.
    pub fn observe(&mut self, capacity: usize) -> mpsc::Receiver<Observed> {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        self.observers.push(sender);
        receiver
    }

    /// Gives `domain` to a service inside the process, which `register` says everything of.
    ///
    /// ```
    /// use xmpp_core::{
    ///     extension::Target,
    ///     payload::disco::Identity,
    ///     server::{Envelope, Kinds, MemoryAccounts, Server, ServerRegistrar, Verdict},
    ///     xml::ns,
    /// };
    ///
    /// /// Says every message back, from the address it was sent to.
    /// fn echo(r: &mut ServerRegistrar) {
    ///     r.service("echo.example.org", |s| {
    ///         s.identity(Target::Server, Identity::new("component", "generic", Some("Echo".into())));
    ///         s.stanzas(Kinds::MESSAGE, |envelope: &mut Envelope, server: &Server| {
    ///             let (asker, asked) = (envelope.from().clone(), envelope.to().cloned());
    ///             let Some(asked) = asked.filter(|_| !envelope.is_error()) else { return Verdict::Drop("an error") };
    ///             let echo = envelope.stanza().rewrite(ns::CLIENT).from(Some(asked.as_str())).to(Some(asker.as_str()));
    ///             server.send(asked.clone(), asker.clone(), echo.to_stanza());
    ///             Verdict::Handled
    ///         });
    ///     });
    /// }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), xmpp_core::server::ServerError> {
    /// let server = Server::builder("example.org").accounts(MemoryAccounts::new()).with(echo).build()?;
    /// assert!(server.delegates("echo.example.org"));
    /// # Ok(()) }
    /// ```
    pub fn service(&mut self, domain: &str, register: impl FnOnce(&mut ServiceRegistrar)) {
        let mut service = ServiceRegistrar::new(domain, self.server());
        register(&mut service);
        self.services.push(service);
    }

    /// Adds routes to the HTTP listener. Every request has a [`WebPeer`](super::WebPeer) among its extensions; bounds
    /// on the size of bodies are the route's own.
    ///
    /// # Panics
    /// A path that two extensions claim panics when the server begins to listen, as `axum::Router::merge` does.
    #[cfg(feature = "http")]
    pub fn http(&mut self, routes: axum::Router) {
        self.http.routes = std::mem::take(&mut self.http.routes).merge(routes);
    }

    /// The server being made, for handlers that are called once it runs.
    pub fn server(&self) -> ServerCell {
        ServerCell(Arc::clone(&self.server))
    }
}

/// The server an extension belongs to, from the moment it runs.
#[derive(Clone, Debug)]
pub struct ServerCell(Arc<OnceLock<WeakServer>>);

impl ServerCell {
    /// The server, while it runs.
    pub fn get(&self) -> Option<Server> {
        self.0.get()?.upgrade()
    }
}
