//! An XMPP server to embed: listeners, sessions, a router with named stages, and extensions.
//!
//! ```no_run
//! use xmpp_core::{jid::BareJid, net::{ServerTls, tls::CertificateKey}, server::{MemoryAccounts, Server}};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let accounts = MemoryAccounts::new();
//! accounts.set_password(BareJid::new("juliet@localhost")?, "r0m30");
//! let tls = ServerTls::single(CertificateKey::from_pem_files("localhost.crt", "localhost.key")?)?;
//! let server = Server::builder("localhost").accounts(accounts).tls(tls).build()?;
//! server.listen("127.0.0.1:5222".parse()?).await?;
//! server.stopped().await;
//! # Ok(()) }
//! ```

mod accounts;
mod bind2;
mod buffers;
mod builder;
mod client_state;
mod clients;
mod component;
mod connection;
mod crowd;
mod detached;
mod directory;
mod domains;
mod extend;
mod federation;
mod hashed;
mod hibernation;
#[cfg(feature = "http")]
mod http;
mod limits;
mod line;
mod listener;
mod manage;
mod management;
mod negotiate;
mod newcomers;
mod observe;
mod places;
mod route;
mod router;
mod service;
mod session;
mod stop;
mod throttle;
mod tokens;
mod unsent;

pub use accounts::{Accounts, AccountsError, DEFAULT_ITERATIONS, MemoryAccounts, conformance, hash_password};
pub use bind2::Binding;
pub use builder::{ServerBuilder, ServerError};
pub use client_state::Idle;
pub use clients::RevokeError;
pub use directory::{Resource, SessionFlag};
pub use extend::{Extension, ForBoth, ForServer, ServerCell, ServerRegistrar};
#[cfg(feature = "posh")]
pub use federation::PoshLimits;
pub use federation::{Federation, FederationLimits};
pub use hashed::Hashed;
#[cfg(feature = "http")]
pub use http::{Http, IpRange, WebPeer};
#[cfg(feature = "http")]
pub use limits::HttpLimits;
pub use limits::Limits;
pub use listener::Audience;
pub use manage::{AccountError, ManageAccounts, manage_conformance};
pub use newcomers::{Newcomer, Reception};
pub use observe::{Observed, Stats};
pub use route::{Decision, Envelope, Interceptor, Kinds, RouteError, Stage, Station, Verdict};
pub use service::ServiceRegistrar;
pub use tokens::{MemoryTokens, TOKEN_CLIENTS, Tokens, TokensError, tokens_conformance};

use crate::{
    BoxFuture,
    extension::Registrar,
    jid::{BareJid, Jid},
    net::{ServerTls, Transport, tls::ClientAuthorities},
    sasl::Mechanism,
    stanza::StanzaError,
    stream::{ComponentSecrets, StreamCondition, StreamError},
    xml::Stanza,
};
use accounts::DynAccounts;
use client_state::IdleRule;
use directory::Directory;
use hibernation::Hibernating;
use session::{Role, Session};
use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};
use throttle::LoginThrottle;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A running server. Cheap to clone; all clones are the same server.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("domains", &self.0.domains).finish_non_exhaustive()
    }
}

/// A server that does not keep it running: for extensions, which the server itself holds.
#[derive(Clone, Default)]
pub struct WeakServer(Weak<Inner>);

impl std::fmt::Debug for WeakServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakServer")
    }
}

impl WeakServer {
    /// The server, while it is there.
    pub fn upgrade(&self) -> Option<Server> {
        self.0.upgrade().map(Server)
    }
}

type SessionEnd = Box<dyn Fn(&Server, &Resource) + Send + Sync>;
type AvailabilityChanged = Box<dyn Fn(&Server, &Resource, Option<i8>) + Send + Sync>;
type Rejected = Box<dyn Fn(&Server, &Jid, &Stanza, &Stanza) + Send + Sync>;
type Unwanted = Box<dyn Fn(&BareJid, &Jid) -> BoxFuture<'static, Result<bool, StanzaError>> + Send + Sync>;
type AccountRemoved = Box<dyn Fn(Server, BareJid) -> BoxFuture<'static, ()> + Send + Sync>;
type ShuttingDown = Box<dyn Fn(Server) -> BoxFuture<'static, ()> + Send + Sync>;

pub(crate) struct Inner {
    domains: Vec<Domain>,
    accounts: Option<Arc<dyn DynAccounts>>,
    tokens: Option<Arc<dyn tokens::DynTokens>>,
    /// How many clients were revoked and accounts disabled, so that whoever logs in meanwhile looks again.
    revocations: AtomicU64,
    bind_features: Vec<bind2::BindFeature>,
    bound_info: Vec<bind2::BoundInfo>,
    tls: Option<ServerTls>,
    plaintext: bool,
    limits: Limits,
    directory: Directory,
    route: Vec<Station>,
    /// Where stanzas of components enter the route.
    services: usize,
    /// Where stanzas of the server's own enter the route.
    outgoing: usize,
    /// Where stanzas of other servers enter the route.
    locate: usize,
    deliver: usize,
    federation: Option<federation::Federator>,
    /// The domains of components and services.
    owners: domains::Owners,
    components: ComponentSecrets,
    /// Whose certificates stand for accounts.
    authorities: Option<ClientAuthorities>,
    /// Whether a component's new connection replaces the one it has.
    replace_components: bool,
    registrar: Registrar,
    session_end: Vec<SessionEnd>,
    account_removed: Vec<AccountRemoved>,
    shutdown: Vec<ShuttingDown>,
    availability_changed: Vec<AvailabilityChanged>,
    rejected: Vec<Rejected>,
    unwanted: Vec<Unwanted>,
    /// The stream features of extensions: before authentication and after it.
    features: (Arc<[Stanza]>, Arc<[Stanza]>),
    /// Who answers clients that have not logged in.
    receptions: newcomers::Receptions,
    /// Routes that wait, of stanzas that no session waits for.
    detached: detached::Detached,
    idle_rules: Vec<IdleRule>,
    hibernating: Hibernating,
    stats: observe::Counters,
    throttle: LoginThrottle,
    /// Connections that may still be accepted.
    connections: Arc<Semaphore>,
    newcomers: listener::Newcomers,
    /// HTTP connections, by address.
    #[cfg(feature = "http")]
    web_connections: listener::Newcomers,
    #[cfg(feature = "http")]
    http: Arc<http::Face>,
    #[cfg(feature = "http")]
    bosh: http::BoshSessions,
    /// Seconds since the server started, as the keeper last noted.
    tick: AtomicU32,
    stop: CancellationToken,
    /// What clients' streams end with once it is to stop, when it is not `system-shutdown`.
    farewell: OnceLock<StreamError>,
    tasks: TaskTracker,
    /// For the answers to users who do not exist.
    secret: [u8; 32],
}

/// A domain that is served.
#[derive(Debug)]
struct Domain {
    name: String,
    mechanisms: Vec<Mechanism>,
}

impl Server {
    /// A server for `domain`; more can be added.
    pub fn builder(domain: &str) -> ServerBuilder {
        ServerBuilder::new(domain)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// For extensions that need the server later.
    pub fn downgrade(&self) -> WeakServer {
        WeakServer(Arc::downgrade(&self.0))
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Whether `domain` is served here.
    pub fn hosts(&self, domain: &str) -> bool {
        self.0.domains.iter().any(|one| one.name == domain)
    }

    /// Whether the users of `domain` need no account, and are forgotten with their session (RFC 4505).
    pub fn admits_anonymous(&self, domain: &str) -> bool {
        self.0.domains.iter().any(|one| one.name == domain && one.mechanisms.contains(&Mechanism::Anonymous))
    }

    /// Runs what an extension has to do beside the stanza it was asked about. A server that stops waits for it.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(work);
    }

    /// The domains served here.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.0.domains.iter().map(|domain| domain.name.as_str())
    }

    /// Whether `domain` belongs to a component or to a service of this server.
    pub fn delegates(&self, domain: &str) -> bool {
        self.0.owners.contains_key(domain)
    }

    /// Whether the component that serves `domain` is connected.
    pub fn is_attached(&self, domain: &str) -> bool {
        self.0.directory.component(domain).is_some()
    }

    /// How many sessions there are: clients', and components'.
    pub fn sessions(&self) -> usize {
        self.0.directory.count()
    }

    /// How many of these have no connection, and can be resumed (XEP-0198 §5).
    pub fn hibernating(&self) -> usize {
        self.0.hibernating.count()
    }

    /// What has been counted since the start.
    pub fn stats(&self) -> Stats {
        self.0.stats.snapshot()
    }

    /// The stations of the route, in order, as `Stage: name`.
    pub fn route_names(&self) -> Vec<String> {
        self.0.route.iter().map(|station| format!("{station:?}")).collect()
    }

    /// Whether an account exists and may receive messages.
    pub async fn account_exists(&self, account: &BareJid) -> Result<bool, AccountsError> {
        match &self.0.accounts {
            Some(accounts) => accounts.exists(account).await,
            None => Ok(false),
        }
    }

    /// Whether an account wants to hear nothing more of an address. Who hands over what was kept for an account, past the
    /// route, asks this first: an offline message, a request that waits. The stations of the route see to all else.
    ///
    /// # Errors
    /// The store of an extension failed.
    pub async fn is_unwanted(&self, account: &BareJid, sender: &Jid) -> Result<bool, StanzaError> {
        for unwanted in &self.0.unwanted {
            if unwanted(account, sender).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells the extensions that an account has been removed, so that they forget what they hold for it, and ends its
    /// sessions with `not-authorized`. Whoever removes an account from the [`Accounts`] calls this afterwards.
    pub async fn account_removed(&self, account: &BareJid) {
        let error = StreamError::new(StreamCondition::NotAuthorized).with_text("the account has been removed");
        for resource in self.resources(account.as_str()) {
            self.disconnect(&resource.jid, &error);
        }
        for forget in &self.0.account_removed {
            forget(self.clone(), account.clone()).await;
        }
    }

    /// Ends the sessions of an account with `not-authorized`, those that hibernate too, and makes whoever logs in by it
    /// right now look again. Whoever disables an account in the [`Accounts`] calls this afterwards.
    pub fn account_disabled(&self, account: &BareJid) {
        self.0.revocations.fetch_add(1, Ordering::SeqCst);
        let error = StreamError::new(StreamCondition::NotAuthorized).with_text("the account has been disabled");
        for resource in self.resources(account.as_str()) {
            self.disconnect(&resource.jid, &error);
        }
    }

    /// A client connection inside the process: no port, no TLS, everything else as over TCP.
    pub fn connect_memory(&self) -> Transport {
        let (client, server) = Transport::pair(64 * 1024);
        self.accept(server, IpAddr::from([127, 0, 0, 1]), listener::Entry::Memory, None);
        client
    }

    /// A component's connection inside the process (XEP-0114).
    pub fn attach_memory(&self) -> Transport {
        let (component, server) = Transport::pair(64 * 1024);
        self.accept(server, IpAddr::from([127, 0, 0, 1]), listener::Entry::ComponentMemory, None);
        component
    }

    /// Ends the session with this full address, or the component's with this domain, with a stream error; whether there
    /// was one.
    pub fn disconnect(&self, jid: &Jid, error: &StreamError) -> bool {
        let session = match jid.resource() {
            Some(resource) => self.0.directory.find(jid.bare_str(), resource),
            None => self.0.directory.component(jid.as_str()),
        };
        session.is_some_and(|session| {
            session.close(Some(error));
            self.reap(&session);
            true
        })
    }

    /// Calls `f` with every client's session that is connected or hibernates, in no order. It must not block.
    pub fn each_resource(&self, mut f: impl FnMut(Resource)) {
        self.0.directory.for_each(|session| {
            if session.role() == Role::Client && session.is_open() {
                f(router::snapshot(session));
            }
        });
    }

    /// Whether the client with this full address is there and has not said that it is inactive (XEP-0352). One without
    /// connection, whose session hibernates (XEP-0198 §5), is not.
    pub fn is_active(&self, jid: &Jid) -> bool {
        let session = jid.resource().and_then(|resource| self.0.directory.find(jid.bare_str(), resource));
        session.is_some_and(|session| session.is_open() && !session.is_aside())
    }

    /// Resolves when the server has been told to stop.
    pub async fn stopped(&self) {
        self.0.stop.cancelled().await;
    }

    pub(crate) fn tick(&self) -> u32 {
        self.0.tick.load(Ordering::Relaxed)
    }

    /// Enters a session; one with the same address is ended with `conflict` (RFC 6120 §7.7.2.2).
    fn session_started(&self, session: &Arc<Session>) -> Result<(), directory::TooManySessions> {
        let replaced = self.0.directory.insert(session, self.0.limits.sessions_per_account)?;
        if let Some(old) = replaced {
            self.farewell(&old);
            old.close(Some(&StreamError::new(StreamCondition::Conflict).with_text("replaced by a new session")));
            self.reap(&old);
        }
        if self.0.stop.is_cancelled() {
            session.close(Some(&self.stop_reason()));
        }
        self.0.stats.observe(|| Observed::SessionStarted(session.jid().clone()));
        Ok(())
    }

    /// A session's driver has left. Called once or more.
    fn session_ended(&self, session: &Arc<Session>) {
        if self.0.directory.remove(session) {
            self.farewell(session);
            self.forget_anonymous(session);
        }
    }

    fn farewell(&self, session: &Session) {
        if session.role() == Role::Client {
            self.call_hooks(session);
        }
        self.0.stats.observe(|| Observed::SessionEnded(session.jid().clone()));
    }

    /// What is held for a user without an account goes with the last session: the address is never given out again.
    fn forget_anonymous(&self, session: &Session) {
        let jid = session.jid();
        if session.role() == Role::Client
            && self.admits_anonymous(jid.domain())
            && self.0.directory.sessions(jid.bare_str()).is_empty()
        {
            let (server, user) = (self.clone(), jid.to_bare());
            self.spawn(async move { server.account_removed(&user).await });
        }
    }

    fn call_hooks(&self, session: &Session) {
        let now = std::mem::take(&mut *session.availability());
        let resource = Resource {
            jid: session.jid().clone(),
            priority: now.priority,
            presence: now.presence,
            flags: session.flags(),
            // It is gone.
            session: Weak::new(),
        };
        for hook in &self.0.session_end {
            // A fault in one must not take the others along, nor the connection that replaces this one.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hook(self, &resource))).is_err() {
                tracing::error!("what an extension does at a session's end panicked");
            }
        }
    }

    /// Gives a closing stream its time.
    fn kill_later(&self, session: &Arc<Session>) {
        let (session, time) = (Arc::downgrade(session), self.0.limits.closing);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            if let Some(session) = session.upgrade() {
                session.kill();
            }
        });
    }

    /// A stanza that was in the outbox of `recipient` and could not be written.
    fn undelivered(&self, recipient: &Jid, stanza: Stanza) {
        let Some(from) = stanza.root().attr("from").and_then(|from| Jid::lenient(&from).ok()) else { return };
        let Some(mut envelope) = Envelope::local(stanza, from) else { return };
        envelope.to = Some(recipient.clone());
        let position = self.0.route.iter().position(|station| station.stage() >= Stage::Undelivered);
        self.run_detached(envelope, position.unwrap_or(self.0.route.len()));
    }
}

/// Whole seconds, as the keeper counts them.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
