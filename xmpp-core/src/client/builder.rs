//! Setting a client up.

use super::{
    Backoff, Client, Events, Keepalive, SavedSession, Shared,
    desk::{Command, Desk},
    events,
    extend::{ClientRegistrar, Extension},
    negotiate::{MakeCredentials, Settings},
    task::Task,
    unacknowledged,
    visit::{Visit, VisitError},
};
use crate::{
    extension::{self, Software},
    jid::Jid,
    net::{ClientTls, ConnectOptions, Connector, Plan, Resolver, TlsError, Transport},
    sasl::{ClientMechanism, Credentials, Mechanism, ScramKeys},
    stream::{FastToken, Sasl2Options, UserAgent},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use zeroize::Zeroizing;

/// Why a client could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The account has no name before the `@`.
    #[error("{0} is no account: it needs a name before an @")]
    NoAccount(Jid),
    /// A component's address is not a domain alone.
    #[error("{0} is no domain alone")]
    NoDomain(Jid),
    /// The address given is none of a WebSocket.
    #[cfg(feature = "websocket")]
    #[error(transparent)]
    WebSocket(#[from] crate::net::WebSocketError),
    /// The address given is none of a BOSH service.
    #[cfg(feature = "bosh")]
    #[error("{0:?} is no address of a BOSH service: it begins with https: or http:")]
    Bosh(String),
    /// TLS could not be prepared: no trusted roots were found, or a certificate cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no resolver and no fixed address.
    #[error("without the feature `dns` a client needs a resolver or a server address")]
    NoResolver,
    /// A stanza of the [`SavedSession`] is none.
    #[error("the saved session is damaged")]
    DamagedSession,
}

/// How a connection is reached.
pub(super) enum Road {
    /// As the DNS says, or at a fixed place.
    Network {
        connector: Connector,
        plan: Option<Plan>,
        /// By WebSocket, where the domain says that it has one, if no port answers.
        #[cfg(feature = "websocket")]
        web: bool,
    },
    /// At a fixed place, never with TLS: a component's server.
    Plain { host: String, port: u16 },
    /// By WebSocket, at a fixed address, unless the server has just sent us elsewhere.
    #[cfg(feature = "websocket")]
    Web { connector: Connector, url: crate::net::websocket::WebUrl, redirect: crate::net::websocket::Redirect },
    /// By BOSH.
    #[cfg(feature = "bosh")]
    Bosh { connector: Connector, url: crate::net::websocket::WebUrl },
    /// By a function, for pipes inside the process.
    Pipe(Box<dyn FnMut() -> Transport + Send>),
}

#[cfg(feature = "https")]
impl Road {
    fn connector(&self) -> Option<&Connector> {
        match self {
            Road::Network { connector, .. } => Some(connector),
            #[cfg(feature = "websocket")]
            Road::Web { connector, .. } => Some(connector),
            #[cfg(feature = "bosh")]
            Road::Bosh { connector, .. } => Some(connector),
            _ => None,
        }
    }
}

/// Sets a client up.
pub struct ClientBuilder {
    account: Jid,
    credentials: MakeCredentials,
    anonymous: bool,
    floor: Option<Mechanism>,
    tls: Option<ClientTls>,
    plaintext: bool,
    resolver: Option<Arc<dyn Resolver>>,
    options: ConnectOptions,
    plan: Option<Plan>,
    pipe: Option<Box<dyn FnMut() -> Transport + Send>>,
    #[cfg(feature = "websocket")]
    websocket: Option<String>,
    #[cfg(feature = "bosh")]
    bosh: Option<String>,
    #[cfg(feature = "websocket")]
    discover_web: bool,
    lang: Option<String>,
    backoff: Option<Backoff>,
    request_timeout: Duration,
    keepalive: Keepalive,
    management: bool,
    sasl2: Sasl2Options,
    token: Option<FastToken>,
    manual_acks: bool,
    session: Option<SavedSession>,
    queue: usize,
    max_stanza_bytes: usize,
    software: Option<Software>,
    registrar: ClientRegistrar,
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder").field("account", &self.account).finish_non_exhaustive()
    }
}

impl ClientBuilder {
    pub(super) fn new(account: Jid, password: String) -> ClientBuilder {
        let username = account.local().unwrap_or_default().to_owned();
        let password = Zeroizing::new(password);
        let credentials: MakeCredentials = Box::new(move |cached| Credentials::Password {
            username: username.clone(),
            password: password.clone(),
            cached,
        });
        ClientBuilder {
            account,
            credentials,
            anonymous: false,
            floor: None,
            tls: None,
            plaintext: false,
            resolver: None,
            options: ConnectOptions::default(),
            plan: None,
            pipe: None,
            #[cfg(feature = "websocket")]
            websocket: None,
            #[cfg(feature = "bosh")]
            bosh: None,
            #[cfg(feature = "websocket")]
            discover_web: false,
            lang: None,
            backoff: Some(Backoff::default()),
            request_timeout: Duration::from_secs(60),
            keepalive: Duration::from_secs(120).into(),
            management: true,
            sasl2: Sasl2Options::default(),
            token: None,
            manual_acks: false,
            session: None,
            queue: 256,
            max_stanza_bytes: 262_144,
            software: Some(Software::default()),
            registrar: ClientRegistrar::default(),
        }
    }

    /// Logs in with SCRAM keys instead of the password, such as [`Event::Online`](super::Event::Online) told of. They are good for one hash, salt and number of iterations
    /// ([`ScramKeys::derive`]); where the server has others, as after a change of password, the login fails with
    /// [`SaslError::StaleKeys`](crate::sasl::SaslError::StaleKeys).
    #[must_use]
    pub fn keys(mut self, keys: ScramKeys) -> Self {
        let username = self.account.local().unwrap_or_default().to_owned();
        self.credentials = Box::new(move |_| Credentials::Keys { username: username.clone(), keys: keys.clone() });
        self
    }

    /// Logs in as nobody (RFC 4505); the account is then the domain alone, and the server makes an address up.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.credentials = Box::new(|_| Credentials::Anonymous { trace: None });
        self.anonymous = true;
        self
    }

    /// Logs in by the certificate that [`tls`](Self::tls) presents (SASL EXTERNAL).
    #[must_use]
    pub fn external(mut self) -> Self {
        self.credentials = Box::new(|_| Credentials::External);
        self
    }

    /// Logs in by a mechanism of one's own; `make` is called for each connection.
    #[must_use]
    pub fn mechanism(mut self, make: impl Fn() -> Box<dyn ClientMechanism> + Send + Sync + 'static) -> Self {
        self.credentials = Box::new(move |_| Credentials::Custom(make()));
        self
    }

    /// What to tell the server of this installation (XEP-0388 §2.3): a random id that the application keeps
    /// ([`UserAgent::new_id`]), and the software and device for the account's owner to read. With the id the server may
    /// give a token that logs in next time with one message, without the password (XEP-0484), and the same resource at
    /// each login. The software's name becomes part of the resource where the server makes that up: others see it.
    ///
    /// ```
    /// use xmpp_core::{client::Client, stream::UserAgent};
    ///
    /// let id = UserAgent::new_id(); // once; then from where the application keeps it
    /// let builder = Client::builder("juliet@example.org".parse()?, "r0m30").user_agent(id, "Balcony", "Juliet's phone");
    /// # Ok::<(), xmpp_core::jid::JidError>(())
    /// ```
    #[must_use]
    pub fn user_agent(mut self, id: impl Into<String>, software: &str, device: &str) -> Self {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        self.sasl2.tag = named(software);
        let agent = UserAgent { id: Some(id.into()), software: named(software), device: named(device) };
        self.sasl2.user_agent = Some(agent);
        self
    }

    /// Logs in by a token of an earlier run ([`Event::Online`](super::Event::Online)), under TLS and with the
    /// [`user_agent`](Self::user_agent) that it was given to. If the server refuses it, the password serves.
    #[must_use]
    pub fn token(mut self, token: FastToken) -> Self {
        self.token = Some(token);
        self
    }

    /// Logs in by the token for the last time: the server forgets it (XEP-0484 §3.6). For logging out from a device.
    #[must_use]
    pub fn invalidate_token(mut self) -> Self {
        self.sasl2.invalidate = true;
        self
    }

    /// Logs in by the profile of RFC 6120 even where the server offers SASL2 (XEP-0388).
    #[must_use]
    pub fn without_sasl2(mut self) -> Self {
        self.sasl2.enabled = false;
        self
    }

    /// The weakest mechanism to accept: the floor that [`Event::Online`](super::Event::Online) told of an earlier
    /// session, so that nobody in between can talk it down. Within one client it is remembered anyway.
    #[must_use]
    pub fn floor(mut self, mechanism: Mechanism) -> Self {
        self.floor = Some(mechanism);
        self
    }

    /// Trusted roots or pins other than the platform's.
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Logs in without TLS, with SCRAM alone. For tests, and for networks that are encrypted by other means.
    #[must_use]
    pub fn allow_plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }

    /// Looks names up by other means than the system's resolver.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolver + 'static) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// How patient connecting is.
    #[must_use]
    pub fn connect_options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// Connects to this host and port, with STARTTLS, whatever the DNS says. The server must still prove to be the
    /// account's domain.
    #[must_use]
    pub fn server(mut self, host: &str, port: u16) -> Self {
        self.plan = Some(Plan::single(host, port, false));
        self
    }

    /// As [`server`](Self::server), with TLS from the first byte (XEP-0368).
    #[must_use]
    pub fn server_tls(mut self, host: &str, port: u16) -> Self {
        self.plan = Some(Plan::single(host, port, true));
        self
    }

    /// Connects by WebSocket (RFC 7395) to an address such as `wss://chat.example.org/xmpp-websocket`. The host named
    /// there is the one whose certificate counts. `ws:` needs [`allow_plaintext`](Self::allow_plaintext).
    ///
    /// ```
    /// # #[cfg(feature = "websocket")]
    /// # fn build() -> Result<xmpp_core::client::ClientBuilder, Box<dyn std::error::Error>> {
    /// use xmpp_core::client::Client;
    ///
    /// let client = Client::builder("juliet@example.org".parse()?, "r0m30")
    ///     .websocket("wss://chat.example.org/xmpp-websocket");
    /// # Ok(client) }
    /// ```
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn websocket(mut self, url: impl Into<String>) -> Self {
        self.websocket = Some(url.into());
        self
    }

    /// Connects by BOSH (XEP-0206), in HTTP requests to an address such as `https://chat.example.org/http-bind`. The
    /// host named there is the one whose certificate counts. `http:` needs [`allow_plaintext`](Self::allow_plaintext).
    ///
    /// ```
    /// # #[cfg(feature = "bosh")]
    /// # fn build() -> Result<xmpp_core::client::ClientBuilder, Box<dyn std::error::Error>> {
    /// use xmpp_core::client::Client;
    ///
    /// let client = Client::builder("juliet@example.org".parse()?, "r0m30").bosh("https://chat.example.org/http-bind");
    /// # Ok(client) }
    /// ```
    #[cfg(feature = "bosh")]
    #[must_use]
    pub fn bosh(mut self, url: impl Into<String>) -> Self {
        self.bosh = Some(url.into());
        self
    }

    /// Where no port of the server answers, as behind a firewall that lets only the web through, asks the domain by
    /// HTTPS where it has a WebSocket (XEP-0156), and connects there. With the feature `bosh`, and no WebSocket that answers,
    /// the place may be one of BOSH.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn discover_web(mut self) -> Self {
        self.discover_web = true;
        self
    }

    /// Connects through a pipe that the function makes, such as
    /// [`Server::connect_memory`](crate::server::Server::connect_memory). No TLS is used over it.
    #[must_use]
    pub fn pipe(mut self, connect: impl FnMut() -> Transport + Send + 'static) -> Self {
        self.pipe = Some(Box::new(connect));
        self
    }

    /// The `xml:lang` of the stream: the language of texts that do not say theirs.
    #[must_use]
    pub fn lang(mut self, lang: &str) -> Self {
        self.lang = Some(lang.to_owned());
        self
    }

    /// How long to wait before connecting again, see [`Backoff`].
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Ends when the session is lost or cannot be set up, instead of connecting again.
    #[must_use]
    pub fn no_reconnect(mut self) -> Self {
        self.backoff = None;
        self
    }

    /// How long a request waits for its answer: 60 seconds unless set.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// After how long a silence the server is asked for a sign of life (XEP-0199, or XEP-0198 where it is in use); it
    /// has as long again to give it, but no more than a minute. 120 seconds unless set, and less after connections
    /// were lost in silence: see [`Keepalive`]. A range sets how far that goes.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use xmpp_core::client::Client;
    /// let builder = Client::builder("bot@example.org".parse()?, "secret")
    ///     .keepalive(Duration::from_secs(30)..=Duration::from_secs(300));
    /// # Ok::<(), xmpp_core::jid::JidError>(())
    /// ```
    #[must_use]
    pub fn keepalive(mut self, interval: impl Into<Keepalive>) -> Self {
        self.keepalive = interval.into();
        self
    }

    /// Does without stream management (XEP-0198): then nothing is acknowledged, and a lost connection is a lost
    /// session.
    #[must_use]
    pub fn no_stream_management(mut self) -> Self {
        self.management = false;
        self
    }

    /// Acknowledges to the server only what the application has said it is done with
    /// ([`Events::acknowledge`](super::Events::acknowledge)), such as messages that it has stored. What was not comes
    /// again in a session that another process resumes, and the server keeps it for later otherwise.
    ///
    /// Until they are acknowledged, events take room in the [`queue`](Self::queue).
    #[must_use]
    pub fn manual_acks(mut self) -> Self {
        self.manual_acks = true;
        self
    }

    /// Goes on with a session that was saved ([`Client::session`](super::Client::session),
    /// [`Client::suspend`](super::Client::suspend)). If the server has it no longer, a new one begins, and what may
    /// not have arrived is told by [`Event::Unacknowledged`](super::Event::Unacknowledged).
    #[must_use]
    pub fn session(mut self, saved: SavedSession) -> Self {
        self.session = Some(saved);
        self
    }

    /// How many stanzas wait in each direction: 256 unless set. When that many events wait, nothing more is read
    /// from the server until the application takes one; only for the sake of a waiting request it may become four
    /// times as many.
    #[must_use]
    pub fn queue(mut self, stanzas: usize) -> Self {
        self.queue = stanzas.max(1);
        self
    }

    /// The largest stanza that is sent, 262,144 bytes unless set. Three times as much is accepted: servers take larger
    /// ones from each other, and add to them; who sends such a one is not to end our stream.
    #[must_use]
    pub fn max_stanza_bytes(mut self, bytes: usize) -> Self {
        self.max_stanza_bytes = bytes;
        self
    }

    /// What to say to who asks for the software's version (XEP-0092); `None` says nothing.
    #[must_use]
    pub fn software(mut self, software: Option<Software>) -> Self {
        self.software = software;
        self
    }

    /// Adds an extension.
    #[must_use]
    pub fn with<M>(mut self, extension: impl Extension<M>) -> Self {
        extension.register(&mut self.registrar);
        self
    }

    /// Starts connecting, in a task of the current tokio runtime, and returns at once.
    pub fn connect(mut self) -> Result<(Client, Events), BuildError> {
        if self.account.local().is_none() && !self.anonymous {
            return Err(BuildError::NoAccount(self.account));
        }
        let mut saved = self.session.iter().flat_map(|session| &session.stanzas);
        if !saved.all(|stanza| unacknowledged::parse(stanza.xml.as_bytes()).is_some()) {
            return Err(BuildError::DamagedSession);
        }
        #[cfg(feature = "https")]
        let beside = self.beside_pipe()?;
        let road = self.road()?;
        #[cfg(feature = "https")]
        let connector = beside.or_else(|| road.connector().cloned());
        let (commands, received) = mpsc::channel::<Command>(self.queue);
        let (online, watching) = watch::channel(None);
        let (leaving, left) = watch::channel(false);
        let (sender, events) = events::channel(self.queue, self.manual_acks);
        let mut registrar = self.registrar;
        let shared = Shared {
            account: self.account.clone(),
            parts: std::mem::take(&mut registrar.parts),
            online: watching,
            leaving,
            request_timeout: self.request_timeout,
            max_bytes: self.max_stanza_bytes.into(),
            #[cfg(feature = "https")]
            connector,
        };
        let client = Client { commands, shared: Arc::new(shared) };

        extension::core_services(&mut registrar.registrar, self.software);
        extension::register_disco(&mut registrar.registrar);
        let settings = Settings {
            account: self.account,
            credentials: self.credentials,
            component: None,
            plaintext: self.plaintext,
            lang: self.lang,
            max_stanza_bytes: self.max_stanza_bytes,
            management: self.management,
            sasl2: Sasl2Options { bind: registrar.bind_features.clone(), ..self.sasl2 },
        };
        let desk = Desk::new(received, left, self.queue);
        let task = Task::new(settings, road, desk, sender, online, &client, registrar);
        let task = task.timing(self.backoff, self.keepalive, self.floor).token(self.token).session(self.session);
        tokio::spawn(task.run());
        Ok((client, events))
    }

    /// Connects, with TLS unless that is not wanted, and stops before the login: for what is asked of a server before
    /// one has an account. Of the account only the domain counts.
    ///
    /// # Errors
    /// [`VisitError::Build`] as [`connect`](Self::connect), [`VisitError::Connection`].
    pub async fn visit(mut self) -> Result<Visit, VisitError> {
        let mut road = self.road()?;
        let timeout = self.request_timeout;
        let settings = Settings {
            account: self.account,
            credentials: Box::new(|_| Credentials::Anonymous { trace: None }),
            component: None,
            plaintext: self.plaintext,
            lang: self.lang,
            max_stanza_bytes: self.max_stanza_bytes,
            management: false,
            sasl2: Sasl2Options::default(),
        };
        Visit::open(&settings, &mut road, timeout).await
    }

    /// What reaches hosts where the server is at the other end of a pipe.
    #[cfg(feature = "https")]
    fn beside_pipe(&mut self) -> Result<Option<Connector>, BuildError> {
        let Some(tls) = self.tls.take_if(|_| self.pipe.is_some()) else { return Ok(None) };
        let resolver = match self.resolver.take() {
            Some(resolver) => resolver,
            None => default_resolver(true)?,
        };
        Ok(Some(Connector::with_options(resolver, tls, self.options.clone())))
    }

    /// How the server is reached; what says so is taken.
    fn road(&mut self) -> Result<Road, BuildError> {
        Ok(match self.pipe.take() {
            Some(pipe) => Road::Pipe(pipe),
            None => {
                let fixed = self.plan.is_some();
                #[cfg(feature = "websocket")]
                let fixed = fixed || self.websocket.is_some();
                #[cfg(feature = "bosh")]
                let fixed = fixed || self.bosh.is_some();
                let tls = match self.tls.take() {
                    Some(tls) => tls,
                    None => ClientTls::new()?,
                };
                let resolver = match self.resolver.take() {
                    Some(resolver) => resolver,
                    None => default_resolver(fixed)?,
                };
                let connector = Connector::with_options(resolver, tls, std::mem::take(&mut self.options));
                #[cfg(feature = "bosh")]
                let bosh = match self.bosh.take() {
                    Some(url) => {
                        let url = crate::net::websocket::WebUrl::http(&url).ok_or(BuildError::Bosh(url))?;
                        Some(Road::Bosh { connector: connector.clone(), url })
                    }
                    None => None,
                };
                #[cfg(all(feature = "websocket", not(feature = "bosh")))]
                let bosh = None;
                #[cfg(feature = "websocket")]
                match (bosh, self.websocket.take()) {
                    (Some(road), _) => road,
                    (None, Some(url)) => {
                        use crate::net::websocket::{Redirect, WebUrl};
                        Road::Web { connector, url: WebUrl::websocket(&url)?, redirect: Redirect::default() }
                    }
                    (None, None) => Road::Network { connector, plan: self.plan.take(), web: self.discover_web },
                }
                #[cfg(not(feature = "websocket"))]
                Road::Network { connector, plan: self.plan.take() }
            }
        })
    }
}

#[cfg(feature = "dns")]
fn default_resolver(_fixed: bool) -> Result<Arc<dyn Resolver>, BuildError> {
    crate::net::SystemResolver::new().map(|resolver| Arc::new(resolver) as _).map_err(|_| BuildError::NoResolver)
}

/// Without the feature, an IP address and `localhost` can still be named.
#[cfg(not(feature = "dns"))]
fn default_resolver(fixed: bool) -> Result<Arc<dyn Resolver>, BuildError> {
    if fixed { Ok(Arc::new(crate::net::StaticResolver::new())) } else { Err(BuildError::NoResolver) }
}
