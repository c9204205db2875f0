//! The driver of a negotiation: from nothing to a session.

use super::{ConnectionError, attach::attach, builder::Road, entity::Entity};
#[cfg(feature = "websocket")]
use crate::net::{
    Connector, WebSocketError,
    websocket::{self, Redirect},
};
use crate::{
    jid::Jid,
    net::{ClientTls, Plan, Transport},
    sasl::{ClientPolicy, Credentials, Mechanism, Nonce, ScramKeys},
    stream::{
        Established, FastToken, Features, Initiator, InitiatorConfig, NegotiationError, Resumption, STREAM_END,
        Sasl2Offer, Sasl2Options, Step, StreamCondition, StreamError, TlsPolicy,
    },
    xml::{Event, Scanner, Writer, XmlLimits, ns},
};
use std::{
    io,
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use zeroize::Zeroizing;

/// Makes credentials for one connection, with the keys of an earlier one if there are any.
pub(super) type MakeCredentials = Box<dyn Fn(Option<ScramKeys>) -> Credentials + Send + Sync>;

/// What does not change between connections.
pub(super) struct Settings {
    pub(super) account: Jid,
    pub(super) credentials: MakeCredentials,
    /// The secret of a component, which has no account and no credentials.
    pub(super) component: Option<Zeroizing<String>>,
    pub(super) plaintext: bool,
    pub(super) lang: Option<String>,
    pub(super) max_stanza_bytes: usize,
    /// Whether stream management is wanted.
    pub(super) management: bool,
    /// What is used of SASL2, but for what is remembered.
    pub(super) sasl2: Sasl2Options,
}

impl Settings {
    pub(super) fn scanner(&self) -> Scanner {
        Scanner::new(limits(self))
    }

    pub(super) fn entity(&self) -> Entity {
        if self.component.is_some() { Entity::Component } else { Entity::Account }
    }

    /// Whether trying again cannot help.
    pub(super) fn is_final(&self, error: &ConnectionError) -> bool {
        match error {
            // The server may hold on to a connection of ours that is dead, until it notices.
            ConnectionError::Negotiation(NegotiationError::Stream(error))
                if self.component.is_some() && error.condition == StreamCondition::Conflict =>
            {
                false
            }
            error => error.is_final(),
        }
    }
}

/// What one session teaches the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) floor: Option<Mechanism>,
    pub(super) keys: Option<ScramKeys>,
    pub(super) token: Option<FastToken>,
    /// What the server offers under TLS.
    pub(super) offer: Option<Sasl2Offer>,
}

impl Memory {
    /// Whether the first flight will log in.
    pub(super) fn pipelines(&self) -> bool {
        self.token.is_some() && self.offer.is_some()
    }

    /// What a session has taught.
    pub(super) fn learn(&mut self, established: &Established) {
        // A login by token derives no keys, and those that are there stay good.
        if established.keys.is_some() {
            self.keys.clone_from(&established.keys);
        }
        self.floor = self.floor.max(established.floor);
        if established.sasl2.is_some() {
            self.token.clone_from(&established.token);
        }
        self.offer.clone_from(&established.sasl2);
    }
}

/// A session with its socket.
pub(super) struct Ready {
    pub(super) transport: Transport,
    pub(super) scanner: Scanner,
    pub(super) buffer: Box<[u8]>,
    /// What of the buffer has been read and not scanned.
    pub(super) unread: std::ops::Range<usize>,
    pub(super) established: Box<Established>,
}

/// The whole negotiation takes no longer.
const DEADLINE: Duration = Duration::from_secs(60);

/// Connects and negotiates. Where `resume` is given, `detour` is only preferred.
pub(super) async fn establish(
    settings: &Settings,
    road: &mut Road,
    detour: Option<Plan>,
    memory: &Memory,
    resume: Option<Resumption>,
) -> Result<Ready, ConnectionError> {
    let way = reach(settings, road, detour, resume.is_some()).await?;
    let negotiated = match &settings.component {
        Some(secret) => timeout(DEADLINE, attach(settings, way.0, secret.clone())).await,
        None => timeout(DEADLINE, negotiate(settings, way, memory, resume)).await,
    };
    negotiated.unwrap_or(Err(ConnectionError::TimedOut))
}

/// A stream whose client does not log in, up to the features under TLS.
pub(super) async fn visit(settings: &Settings, road: &mut Road) -> Result<(Wire, Features), ConnectionError> {
    let way = reach(settings, road, None, false).await?;
    let initiator = Initiator::new(initiator_config(settings, way.1, &Memory::default(), None)).visiting();
    match timeout(DEADLINE, drive(settings, way, initiator)).await.unwrap_or(Err(ConnectionError::TimedOut))? {
        (wire, End::Offered(features)) => Ok((wire, *features)),
        (_, End::Established(_)) => Err(NegotiationError::Missing("a stop before the login").into()),
    }
}

/// A transport, what of TLS it takes, and with which settings.
type Way = (Transport, TlsPolicy, Option<ClientTls>);

/// Connects. Where `resuming`, `detour` is only preferred.
async fn reach(
    settings: &Settings,
    road: &mut Road,
    detour: Option<Plan>,
    resuming: bool,
) -> Result<Way, ConnectionError> {
    let domain = settings.account.domain().to_owned();
    Ok(match road {
        Road::Pipe(connect) => (connect(), TlsPolicy::None, None),
        Road::Plain { host, port } => {
            let stream = timeout(DEADLINE, TcpStream::connect((host.as_str(), *port))).await;
            let stream = stream.map_err(|_| ConnectionError::TimedOut)??;
            stream.set_nodelay(true)?;
            (Transport::Plain(stream), TlsPolicy::None, None)
        }
        #[cfg(feature = "websocket")]
        Road::Web { connector, url, redirect } => {
            let url = redirect.take().unwrap_or_else(|| url.clone());
            let limits = limits(settings);
            let transport = websocket::connect(connector, &url, limits, redirect.clone()).await?;
            (transport, web_policy(url.secure, settings), None)
        }
        #[cfg(feature = "bosh")]
        Road::Bosh { connector, url } => {
            // Encryption is HTTP's business (XEP-0206 §4), and there is none to be had later.
            if !url.secure && !settings.plaintext {
                return Err(NegotiationError::TlsUnavailable.into());
            }
            let transport = crate::net::bosh::connect(connector, url, limits(settings)).await?;
            (transport, web_policy(url.secure, settings), None)
        }
        Road::Network {
            connector,
            plan,
            #[cfg(feature = "websocket")]
            web,
        } => {
            let there = match detour {
                Some(detour) => Some(connector.connect_to(&domain, detour).await),
                None => None,
            };
            // XEP-0198 §3: where nobody is at the preferred place, the way is the domain's own.
            let connected = match (there, plan) {
                (Some(there), _) if there.is_ok() || !resuming => there,
                (_, Some(plan)) => connector.connect_to(&domain, plan.clone()).await,
                (_, None) => connector.connect(&domain).await,
            };
            let connected = match connected {
                Ok(connected) => connected,
                #[cfg(feature = "websocket")]
                Err(error) if *web => {
                    let transport = discovered(settings, connector, &domain).await.map_err(|other| {
                        tracing::debug!(error = %other, "no WebSocket either");
                        error
                    })?;
                    return Ok((transport, TlsPolicy::Direct, None));
                }
                Err(error) => return Err(error.into()),
            };
            let policy = match (connected.direct_tls(), settings.plaintext) {
                (true, _) => TlsPolicy::Direct,
                (false, true) => TlsPolicy::None,
                (false, false) => TlsPolicy::Required,
            };
            (connected.transport, policy, Some(connector.tls().clone()))
        }
    })
}

/// What the server may send.
fn limits(settings: &Settings) -> XmlLimits {
    let mut limits = XmlLimits::authenticated().passed_on();
    limits.stanza_bytes = u32::try_from(settings.max_stanza_bytes.saturating_mul(3)).unwrap_or(u32::MAX);
    limits
}

/// RFC 7395 §3.9: TLS is there from the start, or never.
#[cfg(feature = "websocket")]
fn web_policy(secure: bool, settings: &Settings) -> TlsPolicy {
    match (secure, settings.plaintext) {
        (true, _) => TlsPolicy::Direct,
        (false, true) => TlsPolicy::None,
        (false, false) => TlsPolicy::Required,
    }
}

/// The first WebSocket that answers, of those that the domain tells of; or else the first of its hosts with BOSH.
#[cfg(feature = "websocket")]
async fn discovered(settings: &Settings, connector: &Connector, domain: &str) -> Result<Transport, WebSocketError> {
    let mut failure = WebSocketError::NotOffered(domain.to_owned());
    let places = websocket::discover(connector, domain).await?;
    for url in places.websockets {
        match websocket::connect(connector, &url, limits(settings), Redirect::default()).await {
            Ok(transport) => return Ok(transport),
            Err(error) => failure = error,
        }
    }
    #[cfg(feature = "bosh")]
    for url in places.bosh {
        match crate::net::bosh::connect(connector, &url, limits(settings)).await {
            Ok(transport) => return Ok(transport),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn initiator_config(
    settings: &Settings,
    tls: TlsPolicy,
    memory: &Memory,
    resume: Option<Resumption>,
) -> InitiatorConfig {
    let mut sasl2 = settings.sasl2.clone();
    sasl2.token = memory.token.clone().filter(|token| SystemTime::from(token.expiry) > SystemTime::now());
    sasl2.offer.clone_from(&memory.offer);
    InitiatorConfig {
        account: settings.account.clone(),
        resource: settings.account.resource().map(str::to_owned),
        credentials: (settings.credentials)(memory.keys.clone()),
        policy: ClientPolicy { floor: memory.floor, ..ClientPolicy::default() },
        tls,
        lang: settings.lang.clone(),
        nonce: Nonce::from_entropy(&crate::random::bytes::<24>()),
        management: settings.management,
        resume,
        sasl2,
    }
}

async fn negotiate(
    settings: &Settings,
    way: Way,
    memory: &Memory,
    resume: Option<Resumption>,
) -> Result<Ready, ConnectionError> {
    let initiator = Initiator::new(initiator_config(settings, way.1, memory, resume));
    match drive(settings, way, initiator).await? {
        (Wire { transport, scanner, buffer, unread }, End::Established(established)) => {
            Ok(Ready { transport, scanner, buffer, unread, established })
        }
        (_, End::Offered(_)) => Err(NegotiationError::Missing("a session").into()),
    }
}

/// What a negotiation comes to.
enum End {
    Established(Box<Established>),
    Offered(Box<Features>),
}

/// A negotiated stream.
pub(super) struct Wire {
    pub(super) transport: Transport,
    pub(super) scanner: Scanner,
    pub(super) buffer: Box<[u8]>,
    /// What of the buffer has been read and not scanned.
    pub(super) unread: std::ops::Range<usize>,
}

/// Carries the initiator's steps out, up to the last one.
async fn drive(
    settings: &Settings,
    (mut transport, tls, client_tls): Way,
    mut initiator: Initiator,
) -> Result<(Wire, End), ConnectionError> {
    let mut scanner = settings.scanner();
    let mut buffer = vec![0; 16 * 1024].into_boxed_slice();
    let mut unread = 0..0;

    let mut steps = match tls {
        TlsPolicy::Direct => initiator.secured(transport.bindings()),
        _ => initiator.start(),
    };
    loop {
        let mut next = Vec::new();
        for step in steps.drain(..) {
            match step {
                Step::Send(bytes) => {
                    transport.write_all(&bytes).await?;
                    transport.flush().await?;
                }
                Step::Restart => scanner.restart(),
                Step::StartTls => {
                    // RFC 6120 §5.4.3.3: nothing of what came before the handshake may be used after it.
                    if unread.start < unread.end {
                        let error = io::Error::new(io::ErrorKind::InvalidData, "data behind <proceed/>");
                        return Err(ConnectionError::Io(error));
                    }
                    let Some(tls) = &client_tls else {
                        return Err(NegotiationError::TlsUnavailable.into());
                    };
                    transport = transport.upgrade_client(tls, settings.account.domain()).await?;
                    next = initiator.secured(transport.bindings());
                }
                Step::Derive(job) => {
                    let keys = tokio::task::spawn_blocking(move || job.run()).await;
                    next = initiator.derived(keys.map_err(io::Error::other)?)?;
                }
                Step::Upgrade(job) => {
                    let salted = tokio::task::spawn_blocking(move || job.run()).await;
                    next = initiator.upgraded(&salted.map_err(io::Error::other)?);
                }
                Step::Established(established) => {
                    return Ok((Wire { transport, scanner, buffer, unread }, End::Established(established)));
                }
                Step::Offered(features) => {
                    return Ok((Wire { transport, scanner, buffer, unread }, End::Offered(features)));
                }
            }
        }
        if !next.is_empty() {
            steps = next;
            continue;
        }
        let event = next_event(&mut transport, &mut scanner, &mut buffer, &mut unread).await?;
        steps = match initiator.event(event) {
            Ok(steps) => steps,
            Err(error) => {
                let told = match &error {
                    NegotiationError::Protocol(error) => Some(error),
                    _ => None,
                };
                if matches!(error, NegotiationError::Sasl(_)) {
                    // RFC 6120 §6.4.4: a handshake that we give up is aborted, not left hanging.
                    let _ = transport.write_all(b"<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
                }
                farewell(&mut transport, told).await;
                return Err(error.into());
            }
        };
    }
}

/// Reads until there is an event.
pub(super) async fn next_event(
    transport: &mut Transport,
    scanner: &mut Scanner,
    buffer: &mut [u8],
    unread: &mut std::ops::Range<usize>,
) -> Result<Event, ConnectionError> {
    loop {
        let mut rest = buffer.get(unread.clone()).unwrap_or_default();
        let scanned = scanner.scan(&mut rest);
        unread.start = unread.end - rest.len();
        match scanned {
            Ok(Some(event)) => return Ok(event),
            Ok(None) => {
                *unread = 0..transport.read(buffer).await?;
                if unread.end == 0 {
                    return Err(NegotiationError::Closed.into());
                }
            }
            Err(error) => {
                let error = StreamError::from(error);
                farewell(transport, Some(&error)).await;
                return Err(ConnectionError::Protocol(error));
            }
        }
    }
}

/// A stream error, if any, and the end tag: as a courtesy, for as long as that takes no time.
pub(super) async fn farewell(transport: &mut Transport, error: Option<&StreamError>) {
    let mut out = Writer::new(ns::CLIENT);
    if let Some(error) = error {
        error.write(&mut out);
    }
    let mut bytes = out.finish();
    bytes.extend_from_slice(STREAM_END.as_bytes());
    let said = async {
        transport.write_all(&bytes).await?;
        transport.shutdown().await
    };
    let _ = timeout(Duration::from_secs(2), said).await;
}
