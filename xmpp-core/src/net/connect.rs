//! From a domain to a connection: resolves, races and, for direct TLS, shakes hands (RFC 6120 §3.2, RFC 8305).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::race::{Pace, Race, Step};
use super::resolve::{MAX_ADDRESSES, Plan, ResolveError, Resolver, SrvRecord, Target, is_public};
use super::tls::{ClientTls, TlsError};
use super::transport::Transport;
use super::{Service, ascii_domain};

/// How patient and how choosy a [`Connector`] is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// For everything together, from the first look-up on. 30 seconds.
    pub deadline: Duration,
    /// For one address: TCP and, with direct TLS, its handshake. 10 seconds.
    pub attempt_timeout: Duration,
    /// For the SRV look-ups, and for the addresses of one target. 8 seconds.
    pub resolve_timeout: Duration,
    /// Between two attempts of equal rank, the Connection Attempt Delay of RFC 8305 §8. 250 ms.
    pub attempt_delay: Duration,
    /// Before targets of lower priority are tried although better ones have not failed yet. 2 seconds.
    pub priority_delay: Duration,
    /// Look-ups and connections under way at once. 8.
    pub max_concurrent: usize,
    /// Connections begun in total. 64.
    pub max_attempts: usize,
    /// Connects only to addresses that a public host can have, so that a foreign domain's DNS cannot direct a server
    /// into its own network. Off; servers should set it for connections to other servers.
    pub public_only: bool,
    /// Where host-meta is asked for.
    #[cfg(all(feature = "client", feature = "websocket"))]
    pub(crate) https_port: u16,
}

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        ConnectOptions {
            deadline: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(10),
            resolve_timeout: Duration::from_secs(8),
            attempt_delay: Duration::from_millis(250),
            priority_delay: Duration::from_secs(2),
            max_concurrent: 8,
            max_attempts: 64,
            public_only: false,
            #[cfg(all(feature = "client", feature = "websocket"))]
            https_port: 443,
        }
    }
}

/// Finds and reaches the service of a domain. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    resolver: Arc<dyn Resolver>,
    tls: ClientTls,
    options: ConnectOptions,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("service", &self.service()).field("options", &self.options).finish()
    }
}

/// A connection, and where it leads.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connected {
    /// Plain if the target is one for STARTTLS, which is then the next thing to do; otherwise TLS.
    pub transport: Transport,
    /// The target that was reached.
    pub target: Target,
}

impl Connected {
    /// Whether TLS is in place from the first octet on (XEP-0368): STARTTLS must not be used then.
    pub fn direct_tls(&self) -> bool {
        self.target.direct_tls
    }
}

/// Something that was tried and failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempted {
    /// The target.
    pub target: Target,
    /// The address; none if the look-up of the target failed.
    pub address: Option<SocketAddr>,
    /// Why it failed.
    pub reason: AttemptFailure,
}

impl fmt::Display for Attempted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{} at {}: {}", self.target, address.ip(), self.reason),
            None => write!(f, "{}: {}", self.target, self.reason),
        }
    }
}

/// Why one target or address failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptFailure {
    /// The host has no address that is known.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// All its addresses are inside a private network ([`ConnectOptions::public_only`]).
    #[error("none of its addresses is a public one")]
    NotPublic,
    /// TCP said no.
    #[error("{0}")]
    Tcp(#[source] io::Error),
    /// Direct TLS failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It took longer than [`ConnectOptions::attempt_timeout`].
    #[error("no answer in time")]
    TimedOut,
}

/// Why a domain was not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// It cannot be looked up.
    #[error("{0:?} is not a domain name")]
    InvalidDomain(String),
    /// The domain says itself that it does not offer the service.
    #[error("{0} does not offer this XMPP service")]
    NotOffered(String),
    /// Everything that there is to try failed.
    #[error("cannot reach {domain}: {}", list(attempts))]
    AllFailed {
        /// The domain.
        domain: String,
        /// What was tried, in the order in which it failed.
        attempts: Vec<Attempted>,
    },
    /// [`ConnectOptions::deadline`] passed.
    #[error("cannot reach {domain} in time: {}", list(attempts))]
    TimedOut {
        /// The domain.
        domain: String,
        /// What had failed until then.
        attempts: Vec<Attempted>,
    },
    /// The system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

fn list(attempts: &[Attempted]) -> String {
    if attempts.is_empty() {
        return "nothing has answered".to_owned();
    }
    attempts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What a task of the race reports.
enum Report {
    Resolved(usize, Result<Vec<IpAddr>, ResolveError>),
    Connected(usize, Transport),
    Failed(usize, SocketAddr, AttemptFailure),
}

impl Connector {
    /// A connector with default patience, for the service that `tls` is for.
    pub fn new(resolver: impl Resolver + 'static, tls: ClientTls) -> Connector {
        Connector::with_options(Arc::new(resolver), tls, ConnectOptions::default())
    }

    /// A connector with options, and a resolver that may be shared.
    pub fn with_options(resolver: Arc<dyn Resolver>, tls: ClientTls, options: ConnectOptions) -> Connector {
        Connector { resolver, tls, options }
    }

    /// The service that is asked for.
    pub fn service(&self) -> Service {
        self.tls.service()
    }

    #[cfg(feature = "https")]
    pub(crate) fn options(&self) -> &ConnectOptions {
        &self.options
    }

    /// The same, but connecting only to addresses that a public host can have ([`ConnectOptions::public_only`]): for
    /// addresses that strangers name.
    #[must_use]
    pub fn public_only(mut self) -> Connector {
        self.options.public_only = true;
        self
    }

    /// The TLS settings, for STARTTLS on what [`connect`](Connector::connect) returned.
    pub fn tls(&self) -> &ClientTls {
        &self.tls
    }

    /// Looks up where `domain` offers the service, and connects to the first target that answers.
    ///
    /// Bounded by [`ConnectOptions::deadline`]. Cancel-safe: dropping it drops everything that is under way.
    pub async fn connect(&self, domain: &str) -> Result<Connected, ConnectError> {
        let deadline = Instant::now() + self.options.deadline;
        let plan = timeout_at(deadline, self.plan(domain))
            .await
            .map_err(|_| ConnectError::TimedOut { domain: domain.to_owned(), attempts: Vec::new() })??;
        self.run(domain, plan, deadline).await
    }

    /// Connects to the targets of a plan that the caller has, such as a host and port that the user named; the peer
    /// must nevertheless prove to be `domain`.
    pub async fn connect_to(&self, domain: &str, plan: Plan) -> Result<Connected, ConnectError> {
        self.run(domain, plan, Instant::now() + self.options.deadline).await
    }

    /// What the DNS says about `domain`, ordered.
    pub async fn plan(&self, domain: &str) -> Result<Plan, ConnectError> {
        let ascii = ascii_domain(domain).ok_or_else(|| ConnectError::InvalidDomain(domain.to_owned()))?;
        let service = self.service();
        if ascii.parse::<IpAddr>().is_ok() {
            return Ok(Plan::single(&ascii, service.default_port(), false));
        }
        let direct = format!("_{}._tcp.{ascii}", service.direct_tls_name());
        let starttls = format!("_{}._tcp.{ascii}", service.name());
        let (direct, starttls) = tokio::join!(self.srv(&direct), self.srv(&starttls));
        let mut state = [0; 8];
        getrandom::fill(&mut state).map_err(|e| ConnectError::Random(e.to_string()))?;
        let mut state = u64::from_ne_bytes(state);
        Ok(Plan::new(service, &ascii, &direct, &starttls, &mut || split_mix(&mut state)))
    }

    async fn srv(&self, name: &str) -> Result<Vec<SrvRecord>, ResolveError> {
        let answer = timeout(self.options.resolve_timeout, self.resolver.srv(name)).await;
        answer.unwrap_or_else(|_| Err(ResolveError::TimedOut(name.to_owned())))
    }

    async fn run(&self, domain: &str, plan: Plan, deadline: Instant) -> Result<Connected, ConnectError> {
        let Plan::Targets(targets) = plan else { return Err(ConnectError::NotOffered(domain.to_owned())) };
        let options = &self.options;
        let pace = Pace {
            attempt_delay: options.attempt_delay,
            priority_delay: options.priority_delay,
            max_active: options.max_concurrent.max(1),
            max_attempts: options.max_attempts.max(1),
        };
        let mut race = Race::new(&targets, pace);
        let mut attempts = Vec::new();
        // Dropping the set ends the tasks in it, so that who wins or gives up leaves nothing behind.
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        loop {
            let until = match race.step(start.elapsed()) {
                Step::Exhausted => {
                    return Err(ConnectError::AllFailed { domain: domain.to_owned(), attempts });
                }
                Step::Resolve(index) => {
                    if let Some(target) = targets.get(index) {
                        tasks.spawn(self.resolve(index, target.host.clone()));
                    }
                    continue;
                }
                Step::Connect(index, address) => {
                    if let Some(target) = targets.get(index) {
                        tasks.spawn(self.attempt(index, address, target.direct_tls, domain.to_owned()));
                    }
                    continue;
                }
                Step::Wait(until) => until.map_or(deadline, |until| deadline.min(start + until)),
            };
            let report = match timeout_at(until, tasks.join_next()).await {
                Ok(Some(Ok(report))) => report,
                // A task that panicked, of a user's resolver: as if it had not answered.
                Ok(_) => {
                    race.failed(start.elapsed());
                    continue;
                }
                Err(_) if Instant::now() >= deadline => {
                    return Err(ConnectError::TimedOut { domain: domain.to_owned(), attempts });
                }
                Err(_) => continue,
            };
            let now = start.elapsed();
            let (index, address, reason) = match report {
                Report::Connected(index, transport) => {
                    let Some(target) = targets.get(index).cloned() else { continue };
                    tracing::debug!(%target, "connected");
                    return Ok(Connected { transport, target });
                }
                Report::Failed(index, address, reason) => {
                    race.failed(now);
                    (index, Some(address), reason)
                }
                Report::Resolved(index, answer) => {
                    let found = answer.map_err(AttemptFailure::Resolve).and_then(|found| self.allowed(found));
                    race.resolved(index, found.as_deref().unwrap_or_default(), now);
                    match found {
                        Ok(_) => continue,
                        Err(reason) => (index, None, reason),
                    }
                }
            };
            let Some(target) = targets.get(index).cloned() else { continue };
            tracing::debug!(%target, ?address, %reason, "attempt failed");
            attempts.push(Attempted { target, address, reason });
        }
    }

    fn allowed(&self, mut found: Vec<IpAddr>) -> Result<Vec<IpAddr>, AttemptFailure> {
        found.truncate(4 * MAX_ADDRESSES);
        if self.options.public_only {
            found.retain(|address| is_public(*address));
        }
        if found.is_empty() { Err(AttemptFailure::NotPublic) } else { Ok(found) }
    }

    fn resolve(&self, index: usize, host: String) -> impl Future<Output = Report> + Send + 'static {
        let (resolver, limit) = (self.resolver.clone(), self.options.resolve_timeout);
        async move {
            let answer = timeout(limit, resolver.addresses(&host)).await;
            let answer = answer.unwrap_or_else(|_| Err(ResolveError::TimedOut(host.clone())));
            let answer = answer.and_then(|a| if a.is_empty() { Err(ResolveError::NotFound(host)) } else { Ok(a) });
            Report::Resolved(index, answer)
        }
    }

    fn attempt(
        &self,
        index: usize,
        address: SocketAddr,
        direct: bool,
        domain: String,
    ) -> impl Future<Output = Report> + Send + 'static {
        let (tls, limit) = (self.tls.clone(), self.options.attempt_timeout);
        async move {
            let connecting = async {
                let tcp = Transport::Plain(tcp_connect(address).await.map_err(AttemptFailure::Tcp)?);
                if direct { Ok(tcp.direct_client(&tls, &domain).await?) } else { Ok(tcp) }
            };
            match timeout(limit, connecting).await {
                Ok(Ok(transport)) => Report::Connected(index, transport),
                Ok(Err(reason)) => Report::Failed(index, address, reason),
                Err(_) => Report::Failed(index, address, AttemptFailure::TimedOut),
            }
        }
    }
}

async fn tcp_connect(address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Stanzas are small and latency counts; the kernel's keepalive catches a peer that vanished while all is silent.
    socket.set_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.connect(address).await
}

/// SplitMix64: load balancing by weight needs numbers that differ, not numbers that are secret.
fn split_mix(state: &mut u64) -> u32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::net::Ipv4Addr;

    use rcgen::KeyPair;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use sha2::{Digest, Sha256};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::resolve::{ResolveFuture, SrvRecord, StaticResolver};
    use crate::net::tls::{CertificateKey, CertificateProblem, ServerTls};

    const DIRECT: &str = "_xmpps-client._tcp.example.org";
    const STARTTLS: &str = "_xmpp-client._tcp.example.org";

    /// A self-signed certificate for `name`, and a client that has it as its only root.
    fn tls(name: &str) -> (ServerTls, ClientTls) {
        let key = KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let own = params.self_signed(&key).unwrap();
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let client = ClientTls::builder().only_roots().add_root_pem(own.pem().as_bytes()).unwrap().build().unwrap();
        (ServerTls::single(CertificateKey::from_der(vec![own.der().clone()], der)).unwrap(), client)
    }

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// A port on which nobody listens.
    async fn closed_port() -> u16 {
        listener().await.1
    }

    fn at(name: &str, priority: u16, port: u16) -> StaticResolver {
        StaticResolver::new()
            .with_address("host.example", Ipv4Addr::LOCALHOST)
            .with_srv(name, SrvRecord::new(priority, 0, port, "host.example."))
    }

    #[test]
    fn connecting_can_be_spawned() {
        fn assert_send<T: Send>(_: &T) {}
        let connector = Connector::new(StaticResolver::new(), tls("example.org").1);
        assert_send(&connector.connect("example.org"));
    }

    #[tokio::test]
    async fn xep0368_3_direct_tls_is_done_for_the_domain_not_for_the_target() {
        let (server, client) = tls("example.org");
        let (listener, port) = listener().await;
        let connector = Connector::new(at(DIRECT, 0, port), client);
        let (connected, accepted) = tokio::join!(connector.connect("example.org"), async {
            Transport::from(listener.accept().await.unwrap().0).direct_server(&server, Service::Client).await.unwrap()
        });
        let connected = connected.unwrap();
        assert!(connected.direct_tls() && connected.transport.is_secure());
        assert_eq!(accepted.server_name(), Some("example.org"));
        assert_eq!(connected.transport.peer_addr().unwrap().port(), port);
        assert_eq!(connected.transport.local_addr(), accepted.peer_addr());
    }

    #[tokio::test]
    async fn rfc8305_5_a_failed_direct_tls_handshake_moves_on_to_the_next_target() {
        let (_, client) = tls("example.org");
        let (wrong, _) = tls("other.example");
        let ((direct, direct_port), (starttls, starttls_port)) = (listener().await, listener().await);
        let resolver =
            at(DIRECT, 0, direct_port).with_srv(STARTTLS, SrvRecord::new(9, 0, starttls_port, "host.example"));
        let options = ConnectOptions { priority_delay: Duration::from_secs(3600), ..ConnectOptions::default() };
        let connector = Connector::with_options(Arc::new(resolver), client, options);
        let (connected, _) = tokio::join!(timeout(Duration::from_secs(60), connector.connect("example.org")), async {
            let stranger = Transport::from(direct.accept().await.unwrap().0);
            assert!(stranger.direct_server(&wrong, Service::Client).await.is_err());
            starttls.accept().await.unwrap()
        });
        // A failure needs no waiting: the next priority's turn would come in an hour.
        let connected = connected.unwrap().unwrap();
        assert!(!connected.direct_tls() && !connected.transport.is_secure());
        assert_eq!(connected.target.port, starttls_port);
    }

    #[tokio::test]
    async fn rfc8305_5_a_silent_target_is_overtaken_and_dropped() {
        let (_, client) = tls("example.org");
        let ((silent, silent_port), (good, good_port)) = (listener().await, listener().await);
        // The numbers of the resolver's choice by weight don't matter: the direct one is forced first by its priority.
        let resolver = at(DIRECT, 0, silent_port).with_srv(STARTTLS, SrvRecord::new(1, 0, good_port, "host.example"));
        let options = ConnectOptions { priority_delay: Duration::from_millis(100), ..ConnectOptions::default() };
        let options = ConnectOptions { attempt_delay: Duration::from_millis(50), ..options };
        let connector = Connector::with_options(Arc::new(resolver), client, options);
        let (connected, mut held) =
            tokio::join!(connector.connect("example.org"), async { silent.accept().await.unwrap().0 });
        assert_eq!(connected.unwrap().target.port, good_port);
        let mut rest = Vec::new();
        // The hello of TLS came, and then the end: the overtaken attempt is not left open.
        let _ = timeout(Duration::from_secs(60), held.read_to_end(&mut rest)).await.unwrap();
        drop(good);
    }

    #[tokio::test]
    async fn rfc6120_3_2_1_all_failed_tells_each_reason_and_does_not_fall_back() {
        let (wrong, _) = tls("other.example");
        let (_, client) = tls("example.org");
        let (direct, direct_port) = listener().await;
        let closed = closed_port().await;
        let resolver = at(DIRECT, 0, direct_port)
            .with_srv(STARTTLS, SrvRecord::new(1, 0, closed, "host.example"))
            .with_srv(STARTTLS, SrvRecord::new(2, 0, closed, "missing.example"))
            .with_address("example.org", Ipv4Addr::LOCALHOST);
        let connector = Connector::new(resolver, client);
        let (result, _) = tokio::join!(connector.connect("example.org"), async {
            let stranger = Transport::from(direct.accept().await.unwrap().0);
            stranger.direct_server(&wrong, Service::Client).await.is_err()
        });
        let error = result.unwrap_err();
        let ConnectError::AllFailed { attempts, .. } = &error else { panic!("{error:?}") };
        let reasons: Vec<_> = attempts.iter().map(|a| &a.reason).collect();
        assert!(
            matches!(
                reasons[..],
                [
                    AttemptFailure::Tls(TlsError::Certificate(CertificateProblem::UnknownIssuer)),
                    AttemptFailure::Tcp(_),
                    AttemptFailure::Resolve(ResolveError::NotFound(_)),
                ]
            ),
            "{reasons:?}"
        );
        let text = error.to_string();
        assert!(text.contains("host.example:") && text.contains("missing.example"), "{text}");
    }

    #[tokio::test]
    async fn rfc2782_a_service_that_is_not_offered_is_a_reason_of_its_own() {
        let resolver = StaticResolver::new()
            .with_srv(DIRECT, SrvRecord::new(0, 0, 0, "."))
            .with_address("example.org", Ipv4Addr::LOCALHOST);
        let error = Connector::new(resolver, tls("example.org").1).connect("example.org").await.unwrap_err();
        assert!(matches!(error, ConnectError::NotOffered(_)), "{error:?}");
    }

    #[tokio::test]
    async fn abuse_a083_srv_into_the_own_network_is_not_followed() {
        let (listener, port) = listener().await;
        let options = ConnectOptions { public_only: true, ..ConnectOptions::default() };
        let connector = Connector::with_options(Arc::new(at(STARTTLS, 0, port)), tls("example.org").1, options);
        let error = connector.connect("example.org").await.unwrap_err();
        let ConnectError::AllFailed { attempts, .. } = &error else { panic!("{error:?}") };
        assert!(matches!(attempts[0].reason, AttemptFailure::NotPublic));
        assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err(), "nothing was connected to");
    }

    struct Silent;

    impl Resolver for Silent {
        fn srv<'a>(&'a self, _: &'a str) -> ResolveFuture<'a, Vec<SrvRecord>> {
            Box::pin(std::future::pending())
        }

        fn addresses<'a>(&'a self, _: &'a str) -> ResolveFuture<'a, Vec<IpAddr>> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn abuse_a083_a_resolver_that_never_answers_is_bounded() {
        let began = Instant::now();
        let error = Connector::new(Silent, tls("example.org").1).connect("example.org").await.unwrap_err();
        let ConnectError::AllFailed { attempts, .. } = &error else { panic!("{error:?}") };
        assert!(matches!(attempts[0].reason, AttemptFailure::Resolve(ResolveError::TimedOut(_))));
        assert_eq!(began.elapsed().as_secs(), 16, "SRV, then the addresses of the domain itself");

        let options = ConnectOptions { deadline: Duration::from_secs(10), ..ConnectOptions::default() };
        let began = Instant::now();
        let connector = Connector::with_options(Arc::new(Silent), tls("example.org").1, options);
        let error = connector.connect("example.org").await.unwrap_err();
        assert!(matches!(error, ConnectError::TimedOut { .. }), "{error:?}");
        assert_eq!(began.elapsed().as_secs(), 10);
    }

    #[tokio::test]
    async fn a_named_host_still_has_to_prove_the_domain() {
        let (server, client) = tls("example.org");
        let (listener, port) = listener().await;
        let connector = Connector::new(StaticResolver::new(), client);
        for (domain, good) in [("example.org", true), ("127.0.0.1", false)] {
            let plan = Plan::single("127.0.0.1", port, true);
            let (connected, _) = tokio::join!(connector.connect_to(domain, plan), async {
                let accepted = Transport::from(listener.accept().await.unwrap().0);
                let _ = accepted.direct_server(&server, Service::Client).await;
            });
            assert_eq!(connected.is_ok(), good, "{domain}");
        }
        let pin = ClientTls::builder().pin_sha256(Sha256::digest(b"another").into()).build().unwrap();
        assert_eq!(Connector::new(StaticResolver::new(), pin).service(), Service::Client);
    }
}
