//! The driver of a negotiation: from nothing to a session.

use super::{ConnectionError, builder::Road};
use crate::{
    jid::Jid,
    net::{ClientTls, Plan, Transport},
    sasl::{ClientPolicy, Credentials, Mechanism, Nonce, ScramKeys},
    stream::{
        Established, FastToken, Initiator, InitiatorConfig, NegotiationError, Resumption, STREAM_END, Sasl2Offer,
        Sasl2Options, Step, StreamError, TlsPolicy,
    },
    xml::{Scanner, Writer, XmlLimits, ns},
};
use std::{
    io,
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// Makes credentials for one connection, with the keys of an earlier one if there are any.
pub(super) type MakeCredentials = Box<dyn Fn(Option<ScramKeys>) -> Credentials + Send + Sync>;

/// What does not change between connections.
pub(super) struct Settings {
    pub(super) account: Jid,
    pub(super) credentials: MakeCredentials,
    pub(super) plaintext: bool,
    pub(super) lang: Option<String>,
    pub(super) max_stanza_bytes: usize,
    /// Whether stream management is wanted.
    pub(super) management: bool,
    /// What is used of SASL2, but for what is remembered.
    pub(super) sasl2: Sasl2Options,
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
    let domain = settings.account.domain().to_owned();
    let (transport, tls, client_tls) = match road {
        Road::Pipe(connect) => (connect(), TlsPolicy::None, None),
        Road::Network { connector, plan } => {
            let there = match detour {
                Some(detour) => Some(connector.connect_to(&domain, detour).await),
                None => None,
            };
            // XEP-0198 §3: where nobody is at the preferred place, the way is the domain's own.
            let connected = match (there, plan) {
                (Some(Ok(connected)), _) => connected,
                (Some(Err(error)), _) if resume.is_none() => return Err(error.into()),
                (_, Some(plan)) => connector.connect_to(&domain, plan.clone()).await?,
                (_, None) => connector.connect(&domain).await?,
            };
            let policy = match (connected.direct_tls(), settings.plaintext) {
                (true, _) => TlsPolicy::Direct,
                (false, true) => TlsPolicy::None,
                (false, false) => TlsPolicy::Required,
            };
            (connected.transport, policy, Some(connector.tls().clone()))
        }
    };
    let negotiated = timeout(DEADLINE, negotiate(settings, transport, tls, client_tls, memory, resume)).await;
    negotiated.unwrap_or(Err(ConnectionError::TimedOut))
}

async fn negotiate(
    settings: &Settings,
    mut transport: Transport,
    tls: TlsPolicy,
    client_tls: Option<ClientTls>,
    memory: &Memory,
    resume: Option<Resumption>,
) -> Result<Ready, ConnectionError> {
    let mut sasl2 = settings.sasl2.clone();
    sasl2.token = memory.token.clone().filter(|token| SystemTime::from(token.expiry) > SystemTime::now());
    sasl2.offer.clone_from(&memory.offer);
    let policy = ClientPolicy { floor: memory.floor, ..ClientPolicy::default() };
    let mut initiator = Initiator::new(InitiatorConfig {
        account: settings.account.clone(),
        resource: settings.account.resource().map(str::to_owned),
        credentials: (settings.credentials)(memory.keys.clone()),
        policy,
        tls,
        lang: settings.lang.clone(),
        nonce: Nonce::from_entropy(&crate::random::bytes::<24>()),
        management: settings.management,
        resume,
        sasl2,
    });
    let mut limits = XmlLimits::authenticated();
    limits.stanza_bytes = u32::try_from(settings.max_stanza_bytes).unwrap_or(u32::MAX);
    let mut scanner = Scanner::new(limits);
    let mut buffer = vec![0; 16 * 1024].into_boxed_slice();
    let (mut start, mut end) = (0, 0);

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
                    if start < end {
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
                    return Ok(Ready { transport, scanner, buffer, unread: start..end, established });
                }
            }
        }
        if !next.is_empty() {
            steps = next;
            continue;
        }
        let event = loop {
            let mut rest = buffer.get(start..end).unwrap_or_default();
            let scanned = scanner.scan(&mut rest);
            start = end - rest.len();
            match scanned {
                Ok(Some(event)) => break event,
                Ok(None) => {
                    end = transport.read(&mut buffer).await?;
                    start = 0;
                    if end == 0 {
                        return Err(NegotiationError::Closed.into());
                    }
                }
                Err(error) => {
                    let error = StreamError::from(error);
                    farewell(&mut transport, Some(&error)).await;
                    return Err(ConnectionError::Protocol(error));
                }
            }
        };
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
