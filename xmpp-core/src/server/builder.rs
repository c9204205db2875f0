//! Composing a server.

use super::{
    Accounts, Domain, Envelope, Federation, Inner, Limits, RouteError, Server, ServiceRegistrar, Stage, Tokens,
    accounts::DynAccounts,
    clients,
    detached::Detached,
    directory::Directory,
    domains::{self, Owner, Owners},
    extend::{Extension, ServerRegistrar, written},
    hibernation::Hibernating,
    listener::Newcomers,
    observe::Counters,
    route,
    throttle::LoginThrottle,
    tokens::DynTokens,
};
use crate::{
    extension::{self, Registrar, Software, Target},
    jid::{Jid, JidError},
    net::{ServerTls, tls::ClientAuthorities},
    payload::disco::Item,
    sasl::{Hash, Mechanism},
    stream::ComponentSecrets,
};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Why a server could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A domain is not one.
    #[error("{domain} is not a domain: {error}")]
    Domain {
        /// What was given.
        domain: String,
        /// What is wrong with it.
        error: JidError,
    },
    /// The route cannot be put in order.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// Two of accounts, components and services claim one domain.
    #[error("the domain {0} is given twice")]
    SameDomain(String),
    /// Federation has no name servers to ask, or nobody to trust.
    #[error("federation: {0}")]
    Federation(#[from] crate::net::TlsError),
    /// Anybody could be this component.
    #[error("the component {0} needs a secret")]
    NoSecret(String),
    /// Nobody could log in.
    #[error("no accounts were given, and no domain admits anonymous users")]
    NoAccounts,
}

/// Composes a [`Server`].
pub struct ServerBuilder {
    domains: Vec<(String, bool)>,
    accounts: Option<Arc<dyn DynAccounts>>,
    tokens: Option<Arc<dyn DynTokens>>,
    tls: Option<ServerTls>,
    plaintext: bool,
    limits: Limits,
    software: Option<Software>,
    secret: Option<[u8; 32]>,
    components: Vec<(String, String)>,
    replace_components: bool,
    federation: Option<Federation>,
    authorities: Option<ClientAuthorities>,
    registrar: ServerRegistrar,
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder").field("domains", &self.domains).finish_non_exhaustive()
    }
}

impl ServerBuilder {
    pub(super) fn new(domain: &str) -> ServerBuilder {
        ServerBuilder {
            domains: vec![(domain.to_owned(), false)],
            accounts: None,
            tokens: None,
            tls: None,
            plaintext: false,
            limits: Limits::default(),
            software: Some(Software::default()),
            secret: None,
            components: Vec::new(),
            replace_components: false,
            federation: None,
            authorities: None,
            registrar: ServerRegistrar::default(),
        }
    }

    /// Serves another domain, with the same accounts table.
    #[must_use]
    pub fn domain(mut self, domain: &str) -> Self {
        self.domains.push((domain.to_owned(), false));
        self
    }

    /// Serves a domain whose users need no account: SASL ANONYMOUS (RFC 4505), an address of the server's making.
    #[must_use]
    pub fn anonymous_domain(mut self, domain: &str) -> Self {
        self.domains.push((domain.to_owned(), true));
        self
    }

    /// Lets an external component that knows `secret` serve `domain` (XEP-0114): what is addressed there goes to it,
    /// and it may send from any address there. See [`Server::listen_components`]. While it is not connected, senders
    /// are told `remote-server-timeout`.
    #[must_use]
    pub fn component(mut self, domain: &str, secret: &str) -> Self {
        self.components.push((domain.to_owned(), secret.to_owned()));
        self
    }

    /// Lets a component's new connection replace the one it has, which ends with `conflict`. Unless this is set, the
    /// new one is refused with `conflict`.
    #[must_use]
    pub fn replace_components(mut self) -> Self {
        self.replace_components = true;
        self
    }

    /// Exchanges stanzas with other servers: those that users here write to are connected to, and others may connect
    /// ([`Server::listen_servers`]).
    #[must_use]
    pub fn federation(mut self, federation: Federation) -> Self {
        self.federation = Some(federation);
        self
    }

    /// Who may log in.
    #[must_use]
    pub fn accounts(mut self, accounts: impl Accounts) -> Self {
        self.accounts = Some(Arc::new(accounts));
        self
    }

    /// Where the tokens of clients are kept: with it clients under TLS may log in again without their password
    /// (XEP-0484). [`Limits::token_life`] says for how long.
    #[must_use]
    pub fn tokens(mut self, tokens: impl Tokens) -> Self {
        self.tokens = Some(Arc::new(tokens));
        self
    }

    /// Certificates, for STARTTLS and direct TLS. Without them only connections inside the process, and those that
    /// [`allow_plaintext`](Self::allow_plaintext) permits, can log in.
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Lets clients log in by a certificate that one of these authorities has issued and that names their account by
    /// XmppAddr (SASL EXTERNAL, XEP-0178 §2). The account must exist. Clients are asked for a certificate only if
    /// [`tls`](Self::tls) says so: [`request_peer_certificate`](crate::net::tls::ServerTlsBuilder::request_peer_certificate).
    #[must_use]
    pub fn client_certificates(mut self, authorities: ClientAuthorities) -> Self {
        self.authorities = Some(authorities);
        self
    }

    /// Lets clients log in over TCP without TLS, with SCRAM alone. For tests, and for networks that are encrypted
    /// by other means.
    #[must_use]
    pub fn allow_plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }

    /// How the server appears over HTTP.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http(mut self, settings: super::Http) -> Self {
        self.registrar.http.settings = settings;
        self
    }

    /// Other bounds.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What to say to who asks for the software's version (XEP-0092); `None` says nothing.
    #[must_use]
    pub fn software(mut self, software: Option<Software>) -> Self {
        self.software = software;
        self
    }

    /// What the salts of users who do not exist are made of (RFC 5802 §9). Unless it is random and kept as long as the
    /// accounts, such a user can be told from one who exists by a salt that changes with a restart; without this
    /// call it is made at each start.
    #[must_use]
    pub fn secret(mut self, secret: [u8; 32]) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Adds an extension.
    #[must_use]
    pub fn with<M>(mut self, extension: impl Extension<M>) -> Self {
        extension.register(&mut self.registrar);
        self
    }

    /// The server, not listening yet. Must be called inside a tokio runtime.
    pub fn build(self) -> Result<Server, ServerError> {
        let ServerBuilder {
            domains,
            accounts,
            tokens,
            tls,
            plaintext,
            limits,
            software,
            secret,
            components,
            replace_components,
            federation,
            authorities,
            mut registrar,
        } = self;
        if accounts.is_none() && !domains.iter().any(|(_, anonymous)| *anonymous) {
            return Err(ServerError::NoAccounts);
        }
        let hashes = accounts.as_ref().map(|accounts| accounts.hashes().to_vec()).unwrap_or_default();
        let domains =
            domains.into_iter().map(|(name, anonymous)| domain(name, anonymous, &hashes, authorities.is_some()));
        let domains = domains.collect::<Result<Vec<_>, _>>()?;

        let services = std::mem::take(&mut registrar.services);
        let (owners, components) = owners(&domains, services, components, software.as_ref(), &mut registrar.registrar)?;
        extension::core_services(&mut registrar.registrar, software);
        if tokens.is_some() {
            let cell = registrar.server();
            clients::client_access(&mut registrar.registrar, cell);
        }
        let mut stations = Server::own_stations();
        if !owners.is_empty() {
            stations.push(domains::station());
        }
        stations.append(&mut registrar.stations);
        let route = route::sort(stations)?;
        let first = |stage| route.iter().position(|station| station.stage() >= stage).unwrap_or(route.len());
        let (services, outgoing, locate) = (first(Stage::Services), first(Stage::Outgoing), first(Stage::Locate));
        let deliver = first(Stage::Deliver);
        let mut core = registrar.registrar;
        extension::register_disco(&mut core);

        let secret = secret.unwrap_or_else(crate::random::bytes);
        let served = domains.iter().map(|domain| &domain.name).chain(owners.keys()).cloned().collect();
        let federation = federation.map(|federation| federation.build(served, tls.is_some(), &secret)).transpose()?;

        let inner = Inner {
            domains,
            accounts,
            tokens,
            revocations: 0.into(),
            bind_features: registrar.bind_features,
            bound_info: registrar.bound_info,
            tls,
            plaintext,
            directory: Directory::new(),
            route,
            services,
            outgoing,
            locate,
            deliver,
            federation,
            owners,
            components,
            replace_components,
            registrar: core,
            session_end: registrar.session_end,
            account_removed: registrar.account_removed,
            shutdown: registrar.shutdown,
            availability_changed: registrar.availability,
            rejected: registrar.rejected,
            unwanted: registrar.unwanted,
            features: (written(registrar.features.0), written(registrar.features.1)),
            receptions: registrar.receptions,
            detached: Detached::default(),
            idle_rules: registrar.idle_rules,
            hibernating: Hibernating::default(),
            stats: Counters::new(registrar.observers),
            throttle: LoginThrottle::default(),
            connections: Arc::new(Semaphore::new(limits.connections)),
            newcomers: Newcomers::default(),
            #[cfg(feature = "http")]
            web_connections: Newcomers::default(),
            #[cfg(feature = "http")]
            http: Arc::new(registrar.http),
            #[cfg(feature = "http")]
            bosh: super::http::BoshSessions::default(),
            tick: 0.into(),
            stop: CancellationToken::new(),
            farewell: OnceLock::new(),
            authorities,
            tasks: TaskTracker::new(),
            secret,
            limits,
        };
        let server = Server(Arc::new(inner));
        let _ = registrar.server.set(server.downgrade());
        server.start_keeper();
        Ok(server)
    }
}

/// The domains of services and components, each of which is an item of the server.
fn owners(
    domains: &[Domain],
    services: Vec<ServiceRegistrar>,
    components: Vec<(String, String)>,
    software: Option<&Software>,
    registrar: &mut Registrar,
) -> Result<(Owners, ComponentSecrets), ServerError> {
    let mut owners = Owners::new();
    let mut enter = |name: &str, title: Option<&str>, owner: Owner| {
        let jid = domain_name(name)?;
        let taken = domains.iter().any(|domain| domain.name == jid.as_str());
        if taken || owners.insert(jid.as_str().to_owned(), owner).is_some() {
            return Err(ServerError::SameDomain(name.to_owned()));
        }
        let item = Item { jid: jid.clone(), node: None, name: title.map(str::to_owned), others: Vec::new() };
        registrar.disco_item(Target::Server, item);
        Ok(jid.as_str().to_owned())
    };
    for service in services {
        let (domain, title) = (service.domain().to_owned(), service.name().map(str::to_owned));
        let service = service.finish(software.cloned());
        enter(&domain, title.as_deref(), Owner::Service(Box::new(service)))?;
    }
    let mut secrets = Vec::new();
    for (domain, secret) in components {
        if secret.is_empty() {
            return Err(ServerError::NoSecret(domain));
        }
        secrets.push((enter(&domain, None, Owner::Component)?, secret));
    }
    Ok((owners, secrets.into_iter().collect()))
}

fn domain_name(name: &str) -> Result<Jid, ServerError> {
    let refused = |error| ServerError::Domain { domain: name.to_owned(), error };
    let jid = Jid::new(name).map_err(refused)?;
    if jid.local().is_some() || jid.resource().is_some() { Err(refused(JidError::BadDomain)) } else { Ok(jid) }
}

fn domain(name: String, anonymous: bool, hashes: &[Hash], certificates: bool) -> Result<Domain, ServerError> {
    let jid = domain_name(&name)?;
    let mechanisms = if anonymous {
        vec![Mechanism::Anonymous]
    } else {
        let scram = Hash::ALL.iter().filter(|hash| hashes.contains(hash));
        let scram = scram.flat_map(|&hash| [Mechanism::scram(hash, true), Mechanism::scram(hash, false)]);
        let external = certificates.then_some(Mechanism::External);
        external.into_iter().chain(scram).chain([Mechanism::Plain]).collect()
    };
    Ok(Domain { name: jid.as_str().to_owned(), mechanisms })
}

impl Envelope {
    /// A stanza that no client of ours sent.
    pub(super) fn local(stanza: crate::xml::Stanza, from: Jid) -> Option<Envelope> {
        let kind = super::router::stanza_kind(stanza.root(), crate::xml::ns::CLIENT).ok()?;
        let to = stanza.root().attr("to").and_then(|to| Jid::lenient(&to).ok());
        Some(Envelope { stanza, kind, from, to, sender: None, unaddressed: false, crowd: None })
    }
}
