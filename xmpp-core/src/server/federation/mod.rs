//! Federation: streams to and from other servers (RFC 6120, XEP-0220, XEP-0178, XEP-0288, XEP-0368).
//!
//! What decides about one stream is [`stream::s2s`](crate::stream::s2s). Here are the table that knows which stream
//! serves which pair of domains ([`table`]), the opening of new ones for stanzas ([`open`]) and for keys ([`verify`]),
//! the driver of one ([`link`]), the listeners ([`listen`]) and what proves a domain beside the certificate itself
//! ([`evidence`], RFC 7712).

mod bounce;
mod connect;
mod dane;
mod evidence;
mod io;
mod limits;
mod link;
mod listen;
mod machine;
mod open;
mod outlet;
#[cfg(feature = "posh")]
mod posh;
mod stop;
mod stream;
mod table;
mod verify;
mod waiting;

pub use limits::FederationLimits;
#[cfg(feature = "posh")]
pub use limits::PoshLimits;

use super::{Envelope, Server, Verdict, listener::Newcomers, places::Places};
use crate::{
    net::{ClientTls, ConnectOptions, Resolver, Service, TlsError, tls::ClientTlsBuilder},
    stanza::StanzaError,
    stream::s2s::{DialbackSecret, Pair, Policies, Policy, S2sConfig},
};
use outlet::Total;
use std::{collections::HashSet, net::IpAddr, sync::Arc};
use table::{Generation, Sent, Table};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How a server federates: [`ServerBuilder::federation`](super::ServerBuilder::federation).
///
/// ```no_run
/// use xmpp_core::{
///     net::{ServerTls, tls::CertificateKey},
///     server::{Federation, MemoryAccounts, Server},
///     stream::s2s::Policy,
/// };
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = ServerTls::single(CertificateKey::from_pem_files("example.org.crt", "example.org.key")?)?;
/// let federation = Federation::new()
///     .policy(Policy::default().require_valid_certificate(true))
///     .domain_policy("old.example", Policy::default())
///     .domain_policy("spam.example", Policy::default().block(true));
/// let server = Server::builder("example.org")
///     .accounts(MemoryAccounts::new())
///     .tls(tls)
///     .federation(federation)
///     .build()?;
/// server.listen_servers("[::]:5269".parse()?).await?;
/// # Ok(()) }
/// ```
pub struct Federation {
    resolver: Option<Arc<dyn Resolver>>,
    tls: ClientTlsBuilder,
    policies: Policies,
    limits: FederationLimits,
    connect: ConnectOptions,
    bidi: bool,
    dane: bool,
    #[cfg(feature = "posh")]
    posh: bool,
    secret: Option<DialbackSecret>,
}

impl std::fmt::Debug for Federation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Federation").field("policies", &self.policies).finish_non_exhaustive()
    }
}

impl Default for Federation {
    fn default() -> Self {
        Federation {
            resolver: None,
            tls: ClientTls::builder(),
            policies: Policies::default(),
            limits: FederationLimits::default(),
            connect: ConnectOptions { public_only: true, ..ConnectOptions::default() },
            bidi: true,
            dane: false,
            #[cfg(feature = "posh")]
            posh: false,
            secret: None,
        }
    }
}

impl Federation {
    /// With everybody, over TLS, by certificate or dialback; with addresses of public hosts only.
    pub fn new() -> Federation {
        Federation::default()
    }

    /// Where to look domains up, instead of the machine's name servers.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolver + 'static) -> Federation {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Whom to trust with certificates of other servers, instead of the platform's authorities. What is shown to them is
    /// the certificate that the server has for the domain in whose name it speaks.
    #[must_use]
    pub fn tls(mut self, tls: ClientTlsBuilder) -> Federation {
        self.tls = tls;
        self
    }

    /// What is asked of every domain that has no policy of its own.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Federation {
        self.policies.set_default(policy);
        self
    }

    /// What is asked of one domain; `*.example.org` stands for all below `example.org`.
    #[must_use]
    pub fn domain_policy(mut self, domain: &str, policy: Policy) -> Federation {
        let (wildcard, name) = match domain.strip_prefix("*.") {
            Some(name) => ("*.", name),
            None => ("", domain),
        };
        let name = crate::jid::Jid::new(name).map_or_else(|_| name.to_owned(), |jid| jid.domain().to_owned());
        self.policies.set(format!("{wildcard}{name}"), policy);
        self
    }

    /// Other bounds.
    #[must_use]
    pub fn limits(mut self, limits: FederationLimits) -> Federation {
        self.limits = limits;
        self
    }

    /// Connects to addresses inside private networks too. Any domain that a user or a stranger names can then lead a
    /// connection there: for closed networks and tests.
    #[must_use]
    pub fn private_addresses(mut self) -> Federation {
        self.connect.public_only = false;
        self
    }

    /// Uses a stream for each direction, even with servers that could do with one (XEP-0288).
    #[must_use]
    pub fn one_way_streams(mut self) -> Federation {
        self.bidi = false;
        self
    }

    /// Whether streams to other servers are judged by the TLSA records of a domain that is securely delegated to them (DANE,
    /// RFC 7673): not unless this is true. What matches then counts as a valid certificate, and what does not match is
    /// refused, whatever else it may prove. Each domain gets a stream of its own then, and nothing is sent over streams that
    /// others opened.
    ///
    /// The resolver has to validate, as [`SystemResolver::validating`](crate::net::SystemResolver) with the feature `dane`
    /// does, which is the one used unless another is given.
    ///
    /// ```no_run
    /// # #[cfg(feature = "dane")]
    /// # fn federation() -> Result<xmpp_core::server::Federation, xmpp_core::net::ResolveError> {
    /// use xmpp_core::{net::SystemResolver, server::Federation};
    ///
    /// let resolver = SystemResolver::validating(&["127.0.0.1:53".parse().unwrap()], None)?;
    /// Ok(Federation::new().resolver(resolver).dane(true))
    /// # }
    /// ```
    #[must_use]
    pub fn dane(mut self, dane: bool) -> Federation {
        self.dane = dane;
        self
    }

    /// Whether a certificate that is not valid for a domain counts as if it were when the domain's web server names it
    /// (POSH, RFC 7711): not unless this is true. Any server that connects can then have a document fetched from a host
    /// of its choice, within the bounds of [`PoshLimits`]; never from private networks, unless
    /// [`private_addresses`](Federation::private_addresses) permits them.
    ///
    /// ```
    /// use xmpp_core::{server::Federation, stream::s2s::Policy};
    ///
    /// let federation = Federation::new().posh(true).policy(Policy::default().require_valid_certificate(true));
    /// ```
    #[cfg(feature = "posh")]
    #[must_use]
    pub fn posh(mut self, posh: bool) -> Federation {
        self.posh = posh;
        self
    }

    /// What dialback keys are made of, to be shared by all machines that serve the same domains. Unless it is given it
    /// follows from [`ServerBuilder::secret`](super::ServerBuilder::secret).
    #[must_use]
    pub fn secret(mut self, secret: &[u8]) -> Federation {
        self.secret = Some(DialbackSecret::new(secret));
        self
    }

    pub(super) fn build(
        self,
        domains: HashSet<String>,
        has_certificate: bool,
        secret: &[u8; 32],
    ) -> Result<Federator, TlsError> {
        let resolver = match self.resolver {
            Some(resolver) => resolver,
            None => default_resolver(self.dane)?,
        };
        #[cfg(feature = "posh")]
        let posh = match self.posh {
            true => {
                let tls = self.tls.clone().build()?;
                let options = self.connect.clone();
                Some(posh::Posh::new(Arc::clone(&resolver), tls, options, self.limits.posh.clone()))
            }
            false => None,
        };
        let secret = self.secret.unwrap_or_else(|| {
            let mut own = b"dialback ".to_vec();
            own.extend_from_slice(secret);
            DialbackSecret::new(&own)
        });
        let mut s2s = S2sConfig::new(secret, Arc::new(move |domain: &str| domains.contains(domain)));
        s2s.policies = Arc::new(self.policies);
        s2s.tls = has_certificate;
        s2s.bidi = self.bidi;
        s2s.limits = self.limits.streams;
        Ok(Federator {
            s2s,
            resolver,
            tls: self.tls.service(Service::Server).judged_later().build()?,
            connect: self.connect,
            dane: self.dane,
            #[cfg(feature = "posh")]
            posh,
            table: Table::new(&self.limits),
            connecting: Arc::new(Semaphore::new(self.limits.connecting)),
            dialling: Arc::new(Semaphore::new(self.limits.connecting)),
            opening_by_sender: Places::default(),
            outgoing: Arc::new(Semaphore::new(self.limits.outgoing)),
            verifying: Arc::new(Semaphore::new(self.limits.verifying)),
            verifying_by_ip: Places::default(),
            incoming: Arc::new(Semaphore::new(self.limits.incoming)),
            newcomers: Newcomers::default(),
            by_ip: Places::default(),
            by_domain: Places::default(),
            outboxes: Arc::new(Total::new(self.limits.total_outbox_bytes)),
            openings: TaskTracker::new(),
            links: TaskTracker::new(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            limits: self.limits,
        })
    }
}

#[cfg(feature = "dns")]
fn default_resolver(validating: bool) -> Result<Arc<dyn Resolver>, TlsError> {
    use crate::net::SystemResolver;
    #[cfg(feature = "dane")]
    let system = match validating {
        true => SystemResolver::validating(&[], None),
        false => SystemResolver::new(),
    };
    #[cfg(not(feature = "dane"))]
    let system = match validating {
        true => {
            return Err(TlsError::Configuration("DANE needs a resolver that validates, or the feature `dane`".into()));
        }
        false => SystemResolver::new(),
    };
    Ok(Arc::new(system.map_err(|error| TlsError::Configuration(format!("name servers: {error}")))?))
}

#[cfg(not(feature = "dns"))]
fn default_resolver(_: bool) -> Result<Arc<dyn Resolver>, TlsError> {
    Err(TlsError::Configuration("federation needs a resolver, or the feature `dns`".to_owned()))
}

/// What a federating server holds for it.
pub(crate) struct Federator {
    s2s: S2sConfig,
    resolver: Arc<dyn Resolver>,
    tls: ClientTls,
    connect: ConnectOptions,
    dane: bool,
    #[cfg(feature = "posh")]
    posh: Option<posh::Posh>,
    limits: FederationLimits,
    table: Table,
    /// Look-ups and connections that may still be begun for stanzas.
    connecting: Arc<Semaphore>,
    /// Look-ups and connections that may still be begun for keys: strangers ask for these.
    dialling: Arc<Semaphore>,
    /// Lanes that are being opened, by the account that wrote there first.
    opening_by_sender: Places<Box<str>>,
    /// Streams that may still be opened for stanzas.
    outgoing: Arc<Semaphore>,
    /// Keys that may still be verified, and streams that may still be opened for that.
    verifying: Arc<Semaphore>,
    /// The same, by the address of who asked for it.
    verifying_by_ip: Places<IpAddr>,
    /// Connections that may still be accepted.
    incoming: Arc<Semaphore>,
    newcomers: Newcomers,
    /// Incoming streams on which a domain is authenticated, by address.
    by_ip: Places<IpAddr>,
    /// Incoming streams on which a domain is authenticated, by domain.
    by_domain: Places<String>,
    /// What waits to be written to all streams.
    outboxes: Arc<Total>,
    /// Lanes that are being opened.
    openings: TaskTracker,
    /// Streams, listeners, and what works for them.
    links: TaskTracker,
    /// Streams are to end.
    stop: CancellationToken,
    /// Streams are to end at once.
    cut: CancellationToken,
}

impl Federator {
    /// Sends a stanza to a remote domain, or says why that cannot be.
    pub(super) fn dispatch(&self, server: &Server, envelope: &Envelope) -> Verdict {
        let Some(to) = &envelope.to else { return Verdict::Continue };
        let local = envelope.from.domain();
        if !(self.s2s.hosts)(local) {
            // Nothing is relayed from one remote domain to another.
            return Verdict::Reject(StanzaError::remote_server_not_found());
        }
        if self.s2s.policies.of(to.domain()).block {
            return Verdict::Reject(
                StanzaError::policy_violation().with_text("this server does not federate with that domain"),
            );
        }
        let pair = Pair::new(local, to.domain());
        match self.table.send(&pair, envelope) {
            Sent::Queued => {}
            Sent::First(generation) => self.open(server, pair, generation, envelope),
            Sent::Refused(error) => return Verdict::Reject(error),
        }
        Verdict::Handled
    }
}

impl Federator {
    /// Gets a lane its stream, if its sender does not want too many at once: dead domains are easily thought of.
    fn open(&self, server: &Server, pair: Pair, generation: Generation, envelope: &Envelope) {
        let sender = &envelope.from;
        let limit = if sender.local().is_some() { self.limits.opening_per_sender } else { usize::MAX };
        match self.opening_by_sender.take(sender.bare_str().into(), limit) {
            Some(place) => open::lane(server, pair, generation, place),
            None => {
                let error = StanzaError::resource_constraint().with_text("too many domains are being looked for");
                for envelope in self.table.abandon(&pair, generation) {
                    server.bounce_remote(&envelope, &error);
                }
            }
        }
    }
}

impl Server {
    /// Gives a stanza back to its sender here, when the stream that had it is gone.
    fn bounce_remote(&self, envelope: &Envelope, error: &StanzaError) {
        self.inner().stats.dropped("not taken by a remote server");
        self.reject(envelope, error);
    }

    /// What federation there is. Only called from where there is one.
    fn federator(&self) -> Option<&Federator> {
        self.inner().federation.as_ref()
    }
}
