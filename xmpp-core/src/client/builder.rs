//! Setting a client up.

use super::{
    Backoff, Client, Events, Shared, events,
    negotiate::{MakeCredentials, Settings},
    task::{Command, Task},
};
use crate::{
    extension::{self, Registrar, Software},
    jid::Jid,
    net::{ClientTls, ConnectOptions, Connector, Plan, Resolver, TlsError, Transport},
    sasl::{ClientMechanism, Credentials, Mechanism, ScramKeys},
    stanza::AnyStanza,
};
use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};
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
    /// TLS could not be prepared: no trusted roots were found, or a certificate cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no resolver and no fixed address.
    #[error("without the feature `dns` a client needs a resolver or a server address")]
    NoResolver,
}

/// What becomes of an incoming stanza behind an extension's hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// On to the next hook, and at last to the application.
    Continue,
    /// The extension has taken it.
    Handled,
}

pub(super) type Hook = Box<dyn Fn(&AnyStanza, &Client) -> Flow + Send + Sync>;

/// Where a client's extension registers: everything a [`Registrar`] takes, and hooks on what comes in.
#[derive(Default)]
pub struct ClientRegistrar {
    pub(super) registrar: Registrar,
    pub(super) hooks: Vec<Hook>,
}

impl std::fmt::Debug for ClientRegistrar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientRegistrar").field("hooks", &self.hooks.len()).finish_non_exhaustive()
    }
}

impl Deref for ClientRegistrar {
    type Target = Registrar;
    fn deref(&self) -> &Registrar {
        &self.registrar
    }
}

impl DerefMut for ClientRegistrar {
    fn deref_mut(&mut self) -> &mut Registrar {
        &mut self.registrar
    }
}

impl ClientRegistrar {
    /// Shows every incoming message and presence to `hook`, in order, before the application sees it. It must not
    /// block.
    pub fn incoming(&mut self, hook: impl Fn(&AnyStanza, &Client) -> Flow + Send + Sync + 'static) {
        self.hooks.push(Box::new(hook));
    }
}

/// Something that a client is extended with: a function or closure over a [`ClientRegistrar`], or over the plain
/// [`Registrar`] that servers have too. `M` only tells the two apart.
pub trait Extension<M> {
    /// Registers what the extension handles.
    fn register(self, registrar: &mut ClientRegistrar);
}

/// Marks extensions of clients.
#[derive(Debug)]
pub struct ForClient;
/// Marks extensions of either end.
#[derive(Debug)]
pub struct ForBoth;

impl<F: FnOnce(&mut ClientRegistrar)> Extension<ForClient> for F {
    fn register(self, registrar: &mut ClientRegistrar) {
        self(registrar);
    }
}

impl<F: FnOnce(&mut Registrar)> Extension<ForBoth> for F {
    fn register(self, registrar: &mut ClientRegistrar) {
        self(registrar);
    }
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
    /// By a function, for pipes inside the process.
    Pipe(Box<dyn FnMut() -> Transport + Send>),
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
    #[cfg(feature = "websocket")]
    discover_web: bool,
    lang: Option<String>,
    backoff: Option<Backoff>,
    request_timeout: Duration,
    keepalive: Duration,
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
            #[cfg(feature = "websocket")]
            discover_web: false,
            lang: None,
            backoff: Some(Backoff::default()),
            request_timeout: Duration::from_secs(60),
            keepalive: Duration::from_secs(120),
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

    /// Where no port of the server answers, as behind a firewall that lets only the web through, asks the domain by
    /// HTTPS where it has a WebSocket (XEP-0156), and connects there.
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

    /// How long to wait before connecting again.
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

    /// After how long a silence the server is asked for a sign of life (XEP-0199); it has as long again to give it.
    /// 120 seconds unless set.
    #[must_use]
    pub fn keepalive(mut self, interval: Duration) -> Self {
        self.keepalive = interval;
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

    /// The largest stanza that is sent, and accepted: 262,144 bytes unless set.
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
    pub fn connect(self) -> Result<(Client, Events), BuildError> {
        if self.account.local().is_none() && !self.anonymous {
            return Err(BuildError::NoAccount(self.account));
        }
        let road = match self.pipe {
            Some(pipe) => Road::Pipe(pipe),
            None => {
                let fixed = self.plan.is_some();
                #[cfg(feature = "websocket")]
                let fixed = fixed || self.websocket.is_some();
                let tls = match self.tls {
                    Some(tls) => tls,
                    None => ClientTls::new()?,
                };
                let resolver = match self.resolver {
                    Some(resolver) => resolver,
                    None => default_resolver(fixed)?,
                };
                let connector = Connector::with_options(resolver, tls, self.options);
                #[cfg(feature = "websocket")]
                match self.websocket {
                    Some(url) => {
                        use crate::net::websocket::{Redirect, WebUrl};
                        Road::Web { connector, url: WebUrl::websocket(&url)?, redirect: Redirect::default() }
                    }
                    None => Road::Network { connector, plan: self.plan, web: self.discover_web },
                }
                #[cfg(not(feature = "websocket"))]
                Road::Network { connector, plan: self.plan }
            }
        };
        let (commands, received) = mpsc::channel::<Command>(self.queue);
        let (online, watching) = watch::channel(None);
        let (sender, events) = events::channel(self.queue);
        let shared = Shared {
            account: self.account.clone(),
            online: watching,
            request_timeout: self.request_timeout,
            max_bytes: self.max_stanza_bytes,
        };
        let client = Client { commands, shared: Arc::new(shared) };

        let mut registrar = self.registrar;
        extension::core_services(&mut registrar.registrar, self.software);
        extension::register_disco(&mut registrar.registrar);
        let settings = Settings {
            account: self.account,
            credentials: self.credentials,
            component: None,
            plaintext: self.plaintext,
            lang: self.lang,
            max_stanza_bytes: self.max_stanza_bytes,
        };
        let task = Task::new(settings, road, received, sender, online, &client, registrar);
        tokio::spawn(task.timing(self.backoff, self.keepalive, self.queue, self.floor).run());
        Ok((client, events))
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
