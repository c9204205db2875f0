//! The receiving end of a client stream: header, STARTTLS, SASL, binding.

mod sasl2;

pub use sasl2::{BindRequest, Bound};

use super::{
    Header, STREAM_END, StreamCondition, StreamError,
    features::{CSI, SASL_CB},
    header,
    limits::StreamLimits,
    management::{self, Failed, HandledCountTooHigh, Sm},
    sasl_xml::write_failure,
    sasl2::{SASL2, UserAgent},
    tokens::ClientTokens,
};
use crate::{
    jid::{BareJid, FullJid, Jid},
    payload::Payload,
    sasl::{
        self, ChannelBindings, Hash, Identity, Mechanism, Nonce, SaslCondition, SaslFailure, ScramCredentials,
        ServerPolicy, ServerSasl, ServerStep,
    },
    stanza::{Condition, StanzaError},
    xml::{ElementRef, Event, Stanza, StreamHeader, Writer, ns},
};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What the acceptor needs to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AcceptorConfig {
    /// The domains served, with the mechanisms of each in the server's order.
    pub domains: Vec<(String, Vec<Mechanism>)>,
    /// Whether STARTTLS can be offered.
    pub tls: bool,
    /// Whether authentication without TLS is permitted.
    pub plaintext: bool,
    /// From which the salts of users who do not exist are made ([`ServerPolicy::secret`]).
    pub secret: Arc<[u8]>,
    /// Iterations of new accounts ([`ServerPolicy::iterations`]).
    pub iterations: u32,
    /// Failed authentications before the stream is closed.
    pub auth_attempts: u32,
    /// Failed bindings before the stream is closed.
    pub bind_attempts: u32,
    /// `xml:lang` of the stream where the client has no wish of its own.
    pub lang: String,
    /// Whether SASL2 is offered beside the profile of RFC 6120 (XEP-0388), and Bind 2 with it (XEP-0386).
    pub sasl2: bool,
    /// The features that Bind 2 enables (XEP-0386 §3.1).
    pub bind_features: Vec<String>,
    /// How long a token is good, in seconds; `None` gives no tokens and takes none (XEP-0484).
    pub tokens: Option<u64>,
    /// The hashes for which credentials can be stored when a client has them (XEP-0480).
    pub upgrades: Vec<Hash>,
    /// What is announced before authentication, and after it (XEP-0478).
    pub limits: (StreamLimits, StreamLimits),
    /// Whether stream management (XEP-0198) and client state indication (XEP-0352) are offered.
    pub management: bool,
    /// Other features: those offered to who may authenticate, and those of an authenticated stream.
    pub features: (Arc<[Stanza]>, Arc<[Stanza]>),
}

impl AcceptorConfig {
    /// A server of these domains, without TLS unless it is switched on.
    pub fn new(domains: Vec<(String, Vec<Mechanism>)>, secret: Arc<[u8]>) -> AcceptorConfig {
        AcceptorConfig {
            domains,
            tls: false,
            plaintext: false,
            secret,
            iterations: 10_000,
            auth_attempts: 4,
            bind_attempts: 8,
            lang: "en".into(),
            sasl2: true,
            bind_features: Vec::new(),
            tokens: None,
            upgrades: Vec::new(),
            limits: (StreamLimits::default(), StreamLimits::default()),
            management: false,
            features: (Arc::default(), Arc::default()),
        }
    }
}

/// What the driver is to do, in order. A task that asks for something is the last of its list, and no event may be
/// fed before it is answered.
#[derive(Debug)]
#[non_exhaustive]
pub enum Task {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Expect a new stream header from the peer.
    Restart,
    /// Send what is queued, make the TLS handshake, then call [`Acceptor::secured`]. If the peer has sent anything
    /// behind `<starttls/>`, it must not survive (RFC 6120 §5.4.3.3): close the connection instead.
    StartTls,
    /// Look the credentials up, then call [`Acceptor::credentials`].
    Credentials(BareJid, Hash),
    /// Check the password, then call [`Acceptor::password`].
    CheckPassword(BareJid, Zeroizing<String>),
    /// A login has failed, as this user if one was named: slow whoever it is before going on.
    Failed(Option<String>),
    /// Enter a session for this account, by the resource asked for or one of the server's making, then call
    /// [`Acceptor::bound`].
    Bind(BareJid, Option<String>),
    /// Enter a session as Bind 2 has it, with its features, then call [`Acceptor::bound2`].
    Bind2(Box<BindRequest>),
    /// Look up the tokens of the account's client with this id, then call [`Acceptor::tokens`].
    Tokens(BareJid, String),
    /// Store these tokens over those that were looked up, unless others have been stored meanwhile; then call
    /// [`Acceptor::tokens_stored`].
    StoreTokens {
        /// The account.
        user: BareJid,
        /// The client's id.
        client: String,
        /// Its tokens, with the revision that was looked up.
        tokens: ClientTokens,
    },
    /// Store credentials for another hash beside what is there, then call [`Acceptor::credentials_stored`].
    StoreCredentials(BareJid, Box<ScramCredentials>),
    /// Give this connection to a former session of the account (XEP-0198 §5), then call [`Acceptor::resumed`].
    Resume {
        /// The account.
        user: BareJid,
        /// Which one: the id it was given when it enabled stream management. Not to be believed before it is found to
        /// belong to the account.
        previous: String,
        /// How many of the server's stanzas the client has handled.
        handled: u32,
    },
    /// The session is ready: hand it over. What was queued before is to be sent first.
    Accepted(Box<Accepted>),
    /// Send what is queued and close the connection. The stream's end tag is among it.
    Close,
}

/// A session, ready for stanzas.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// Its full address.
    pub jid: FullJid,
    /// The mechanism it was authenticated by.
    pub mechanism: Mechanism,
    /// Whether TLS protects it.
    pub secured: bool,
    /// What the client has said of itself. Not for others' eyes (XEP-0388 §2.3).
    pub user_agent: Option<UserAgent>,
    /// Whether this is a former session that goes on (XEP-0198 §5).
    pub resumed: bool,
}

/// A former session that goes on in this stream (XEP-0198 §5).
#[derive(Clone, Debug)]
pub struct Resumed {
    /// Its full address.
    pub jid: FullJid,
    /// How many of the client's stanzas the server has handled.
    pub handled: u32,
}

/// Why a former session does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResumeError {
    /// The account has none by that id, or no longer; then with the number of stanzas handled, if that is still known.
    NotFound(Option<u32>),
    /// The client has handled more than it was sent.
    TooHigh(HandledCountTooHigh),
    /// Something else, such as `internal-server-error`.
    Other(Condition),
}

/// How far the negotiation has come: each phase has its own time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Until the first features are sent, and until STARTTLS is asked for or authentication begins.
    Open,
    /// The TLS handshake.
    Tls,
    /// Authentication.
    Sasl,
    /// Resource binding.
    Bind,
}

#[derive(Debug)]
enum State {
    Header,
    Features,
    Tls,
    Sasl,
    /// A question is with the driver.
    Asked,
    Bound,
    Closed,
}

/// The receiving entity's negotiation.
#[derive(Debug)]
pub struct Acceptor {
    config: AcceptorConfig,
    state: State,
    secured: bool,
    bindings: ChannelBindings,
    /// The accounts that the client's certificate stands for.
    certified: Vec<BareJid>,
    /// The domain that the client asked for, once known.
    domain: Option<(String, Vec<Mechanism>)>,
    sasl: Option<ServerSasl>,
    named: Option<String>,
    /// Whom the stream header said to be from.
    from: Option<BareJid>,
    /// The authentication by SASL2 that is going on.
    sasl2: Option<Box<sasl2::Run>>,
    user: Option<(BareJid, Mechanism)>,
    bind_id: String,
    bind_failures: u32,
    /// What the client wants to resume, while the driver looks for it.
    previous: String,
    header_sent: bool,
    /// Fresh randomness, as the driver provides it.
    entropy: Entropy,
}

/// A source of unguessable tokens.
pub struct Entropy(Box<dyn FnMut() -> String + Send>);

impl Entropy {
    pub(super) fn new(entropy: impl FnMut() -> String + Send + 'static) -> Entropy {
        Entropy(Box::new(entropy))
    }

    pub(super) fn token(&mut self) -> String {
        (self.0)()
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy")
    }
}

impl Acceptor {
    /// A negotiation that has not begun. `entropy` returns a fresh unguessable token of ASCII letters and digits at
    /// each call.
    pub fn new(config: AcceptorConfig, entropy: impl FnMut() -> String + Send + 'static) -> Acceptor {
        Acceptor {
            config,
            state: State::Header,
            secured: false,
            bindings: ChannelBindings::default(),
            certified: Vec::new(),
            domain: None,
            sasl: None,
            named: None,
            from: None,
            sasl2: None,
            user: None,
            bind_id: String::new(),
            bind_failures: 0,
            previous: String::new(),
            header_sent: false,
            entropy: Entropy(Box::new(entropy)),
        }
    }

    /// The TLS handshake is done, with these channel bindings: after [`Task::StartTls`], or at the start of a direct
    /// TLS connection.
    pub fn secured(&mut self, bindings: ChannelBindings) -> Vec<Task> {
        self.secured = true;
        self.bindings = bindings;
        self.restart()
    }

    /// The accounts that the client's certificate stands for (XEP-0178 §2): to be told before
    /// [`secured`](Self::secured). For those of the stream's domain EXTERNAL is offered, if the domain's list has it.
    pub fn certified(&mut self, accounts: Vec<BareJid>) {
        self.certified = accounts;
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        match (&self.state, &self.user) {
            (State::Tls, _) => Phase::Tls,
            (_, Some(_)) => Phase::Bind,
            (State::Sasl | State::Asked, None) => Phase::Sasl,
            _ => Phase::Open,
        }
    }

    /// What the client sent.
    pub fn event(&mut self, event: Event) -> Vec<Task> {
        match event {
            Event::Open(header) => self.opened(header),
            Event::Close => self.close(None),
            Event::Stanza(stanza) => self.element(&stanza),
        }
    }

    /// Ends the stream with an error, at any time: a limit was passed, the server stops, the scanner refused.
    pub fn fail(&mut self, error: &StreamError) -> Vec<Task> {
        self.close(Some(error))
    }

    /// The answer to [`Task::Credentials`]: `Ok(None)` when there is no such user, or none for this hash; `Err` when
    /// the store failed.
    pub fn credentials(&mut self, found: Result<Option<ScramCredentials>, ()>) -> Vec<Task> {
        if let Some(tasks) = self.upgrade_found(&found) {
            return tasks;
        }
        self.answered(|sasl| found.map(|found| sasl.credentials(found)))
    }

    /// The answer to [`Task::CheckPassword`].
    pub fn password(&mut self, correct: Result<bool, ()>) -> Vec<Task> {
        self.answered(|sasl| correct.map(|correct| sasl.password(correct)))
    }

    /// The answer to [`Task::Bind`].
    pub fn bound(&mut self, bound: Result<FullJid, StanzaError>) -> Vec<Task> {
        let id = std::mem::take(&mut self.bind_id);
        let mut out = Writer::new(ns::CLIENT);
        out.open("iq", ns::CLIENT);
        out.attr("id", &id);
        match (bound, &self.user) {
            (Ok(jid), Some((_, mechanism))) => {
                out.attr("type", "result");
                out.open("bind", ns::BIND);
                out.text_element("jid", ns::BIND, jid.as_str());
                out.close();
                out.close();
                let accepted = self.accepted(jid, *mechanism);
                self.state = State::Bound;
                vec![Task::Send(out.finish()), Task::Accepted(Box::new(accepted))]
            }
            (bound, _) => {
                let error = bound.err().unwrap_or_else(StanzaError::internal_server_error);
                out.attr("type", "error");
                error.write(&mut out);
                out.close();
                self.state = State::Features;
                self.session_refused(out.finish())
            }
        }
    }

    fn accepted(&self, jid: FullJid, mechanism: Mechanism) -> Accepted {
        Accepted { jid, mechanism, secured: self.secured, resumed: false, user_agent: self.user_agent() }
    }

    /// The answer to [`Task::Resume`]. After a refusal the client may bind (XEP-0198 §5).
    pub fn resumed(&mut self, resumed: Result<Resumed, ResumeError>) -> Vec<Task> {
        let (State::Asked, Some((_, mechanism))) = (&self.state, &self.user) else { return Vec::new() };
        let mechanism = *mechanism;
        let previd = std::mem::take(&mut self.previous);
        let failed = match resumed {
            Ok(Resumed { jid, handled }) => {
                let resumed = written(&management::Resumed { previd, h: handled });
                let accepted = Accepted { resumed: true, ..self.accepted(jid, mechanism) };
                let answer = self.sasl2_resumed(&accepted.jid, &resumed).unwrap_or(resumed);
                self.state = State::Bound;
                return vec![Task::Send(answer), Task::Accepted(Box::new(accepted))];
            }
            Err(ResumeError::TooHigh(error)) => return self.close(Some(&error.into())),
            Err(ResumeError::NotFound(h)) => Failed { condition: Condition::ItemNotFound, h },
            Err(ResumeError::Other(condition)) => Failed::new(condition),
        };
        if self.in_sasl2() {
            return self.sasl2_not_resumed(&failed);
        }
        self.state = State::Features;
        self.session_refused(written(&failed))
    }

    /// A binding or a resumption has failed, and the client may try again, but not for ever.
    fn session_refused(&mut self, answer: Vec<u8>) -> Vec<Task> {
        self.bind_failures += 1;
        let mut tasks = vec![Task::Send(answer)];
        if self.bind_failures >= self.config.bind_attempts {
            let error = StreamError::new(StreamCondition::PolicyViolation).with_text("too many failed bindings");
            tasks.extend(self.close(Some(&error)));
        }
        tasks
    }

    fn restart(&mut self) -> Vec<Task> {
        self.state = State::Header;
        self.header_sent = false;
        vec![Task::Restart]
    }

    fn opened(&mut self, header: StreamHeader) -> Vec<Task> {
        if !matches!(self.state, State::Header) {
            return self
                .close(Some(&StreamError::new(StreamCondition::BadFormat).with_text("a stream within a stream")));
        }
        let judged = header::judge(&header, ns::CLIENT).map_err(StreamError::from);
        let domain = judged.and_then(|()| self.find_domain(header.to.as_deref()));
        let (name, mechanisms) = match domain {
            Ok(domain) => domain,
            Err(error) => return self.close(Some(&error)),
        };
        let from = header.from.as_deref().and_then(|from| Jid::lenient(from).ok());
        if self.config.sasl2 && from.as_ref().is_some_and(|from| from.domain() != name) {
            // XEP-0388 §2.1.
            return self.close(Some(&StreamError::new(StreamCondition::InvalidFrom)));
        }
        // In the open it says nothing that counts.
        let from = from.filter(|from| from.local().is_some() && self.may_authenticate());
        self.from = from.map(|from| from.to_bare());
        let mut out = Vec::with_capacity(512);
        // RFC 6120 §4.7.2: `to` answers a `from`.
        let to = header.from.as_deref().filter(|from| Jid::lenient(from).is_ok());
        self.write_header(&name, to, header.lang.as_deref(), &mut out);

        out.extend_from_slice(b"<stream:features>");
        let mut features = Writer::with_buffer(ns::CLIENT, out);
        if self.user.is_some() {
            self.write_features(false, false, &mut features);
        } else {
            if !self.secured && self.config.tls {
                features.open("starttls", ns::TLS);
                if !self.config.plaintext {
                    features.open("required", ns::TLS);
                    features.close();
                }
                features.close();
            }
            if self.may_authenticate() {
                self.offer_sasl(&name, mechanisms.clone(), &mut features);
                self.config.features.0.iter().for_each(|feature| features.element(feature.root()));
            }
            self.config.limits.0.write(&mut features);
        }
        let mut out = features.finish();
        out.extend_from_slice(b"</stream:features>");
        self.domain = Some((name, mechanisms));
        self.state = State::Features;
        vec![Task::Send(out)]
    }

    /// The features of an authenticated stream.
    fn write_features(&self, bound: bool, managed: bool, features: &mut Writer) {
        if !bound {
            features.open("bind", ns::BIND);
            features.close();
            // RFC 6121 made it a no-op; clients of RFC 3921 still look for it.
            features.open("session", ns::SESSION);
            features.open("optional", ns::SESSION);
            features.close();
            features.close();
        }
        if self.config.management {
            // xmpp.js takes the offer for an invitation to enable it once more.
            if !managed {
                Sm.write(features);
            }
            features.open("csi", CSI);
            features.close();
        }
        self.config.limits.1.write(features);
        self.config.features.1.iter().for_each(|feature| features.element(feature.root()));
    }

    fn may_authenticate(&self) -> bool {
        self.secured || self.config.plaintext
    }

    /// RFC 6120 §4.9.3.6: a domain that is served. After a restart it must be the same.
    fn find_domain(&self, to: Option<&str>) -> Result<(String, Vec<Mechanism>), StreamError> {
        let to = match to {
            Some(to) => Jid::lenient(to).map_err(|_| StreamError::new(StreamCondition::HostUnknown))?,
            None => {
                return Err(
                    StreamError::new(StreamCondition::ImproperAddressing).with_text("the stream header needs a to")
                );
            }
        };
        let known = self.config.domains.iter().find(|(domain, _)| domain == to.as_str());
        match (known, &self.domain, &self.user) {
            (Some((name, _)), Some((before, _)), Some(_)) if name != before => {
                Err(StreamError::new(StreamCondition::NotAuthorized)
                    .with_text("the user was authenticated for another domain"))
            }
            (Some(known), ..) => Ok(known.clone()),
            (None, ..) => Err(StreamError::new(StreamCondition::HostUnknown)),
        }
    }

    fn write_header(&mut self, from: &str, to: Option<&str>, lang: Option<&str>, out: &mut Vec<u8>) {
        let id = (self.entropy.0)();
        let lang = lang.unwrap_or(&self.config.lang);
        Header { content_ns: ns::CLIENT, from: Some(from), to, id: Some(&id), lang: Some(lang) }.write(out);
        self.header_sent = true;
    }

    fn offer_sasl(&mut self, domain: &str, mechanisms: Vec<Mechanism>, out: &mut Writer) {
        let sasl = self.sasl.get_or_insert_with(|| {
            let mut policy = ServerPolicy::new(domain, Arc::clone(&self.config.secret));
            policy.mechanisms = mechanisms;
            policy.secured = self.secured;
            policy.bindings = self.bindings.clone();
            let certified = self.certified.iter().filter(|account| account.domain() == domain);
            policy.external = certified.map(|account| account.as_str().to_owned()).collect();
            policy.iterations = self.config.iterations;
            policy.max_failures = self.config.auth_attempts;
            if self.config.sasl2 && self.config.tokens.is_some() {
                policy.tokens = Mechanism::TOKEN.to_vec();
            }
            ServerSasl::new(policy)
        });
        out.open("mechanisms", ns::SASL);
        for mechanism in sasl.offered() {
            out.text_element("mechanism", ns::SASL, mechanism.name());
        }
        out.close();
        let bindings = sasl.bindings();
        if !bindings.is_empty() {
            out.open("sasl-channel-binding", SASL_CB);
            for binding in bindings {
                out.open("channel-binding", SASL_CB);
                out.attr("type", binding.name());
                out.close();
            }
            out.close();
        }
        if let Some(sasl) = &self.sasl {
            self.offer_sasl2(sasl, out);
        }
    }

    fn element(&mut self, stanza: &Stanza) -> Vec<Task> {
        let root = stanza.root();
        if root.is("error", ns::STREAMS) {
            return self.close(None);
        }
        match root.ns() {
            SASL2 if matches!(root.name(), "authenticate" | "response" | "abort" | "next" | "task-data") => {
                self.sasl2_element(stanza)
            }
            _ if self.in_sasl2() => self.sasl2_breach("finish the authentication first"),
            ns::TLS if root.name() == "starttls" => self.starttls(),
            ns::SASL if matches!(root.name(), "auth" | "response" | "abort") => self.sasl(root),
            ns::CLIENT if matches!(root.name(), "message" | "presence" | "iq") => self.stanza(root),
            management::NS if matches!(root.name(), "enable" | "resume") => self.managed(root),
            ns::SERVER | ns::COMPONENT if matches!(root.name(), "message" | "presence" | "iq") => {
                self.close(Some(&StreamError::new(StreamCondition::InvalidNamespace)))
            }
            _ => self.close(Some(&StreamError::new(StreamCondition::UnsupportedStanzaType))),
        }
    }

    fn starttls(&mut self) -> Vec<Task> {
        if !self.config.tls || self.secured || self.user.is_some() || !matches!(self.state, State::Features) {
            // RFC 6120 §5.4.2.2: the failure closes the stream.
            let mut tasks = vec![Task::Send(b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_vec())];
            tasks.extend(self.close(None));
            return tasks;
        }
        self.state = State::Tls;
        // What was negotiated in the open counts for nothing (§5.4.3.3).
        self.sasl = None;
        self.domain = None;
        vec![Task::Send(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_vec()), Task::StartTls]
    }

    fn sasl(&mut self, root: ElementRef<'_>) -> Vec<Task> {
        if self.user.is_some() {
            return self
                .close(Some(&StreamError::new(StreamCondition::PolicyViolation).with_text("already authenticated")));
        }
        let Some(sasl) = &mut self.sasl else {
            let mut tasks = vec![failure(&SaslFailure::from(SaslCondition::EncryptionRequired))];
            tasks.extend(
                self.close(Some(&StreamError::new(StreamCondition::PolicyViolation).with_text("use TLS first"))),
            );
            return tasks;
        };
        self.state = State::Sasl;
        let payload = match sasl::decode_payload(&root.text()) {
            Ok(payload) => payload,
            // Whatever was begun is over.
            Err(_) if root.name() != "abort" => {
                sasl.abort();
                let step = ServerStep::Failure(SaslCondition::IncorrectEncoding.into());
                return self.sasl_step(step);
            }
            Err(_) => None,
        };
        let step = match root.name() {
            "auth" => {
                self.named = None;
                let Some(nonce) = Nonce::new((self.entropy.0)()) else {
                    return self.close(Some(&StreamError::new(StreamCondition::InternalServerError)));
                };
                let mechanism = root.attr("mechanism").unwrap_or_default();
                sasl.auth(&mechanism, payload.as_deref(), nonce)
            }
            "response" => sasl.response(payload.as_deref().unwrap_or_default()),
            _ => sasl.abort(),
        };
        self.sasl_step(step)
    }

    fn answered(&mut self, step: impl FnOnce(&mut ServerSasl) -> Result<ServerStep, ()>) -> Vec<Task> {
        let (State::Asked, Some(sasl)) = (&self.state, &mut self.sasl) else { return Vec::new() };
        self.state = State::Sasl;
        let step = step(sasl).unwrap_or_else(|()| {
            sasl.abort();
            ServerStep::Failure(SaslCondition::TemporaryAuthFailure.into())
        });
        self.sasl_step(step)
    }

    fn sasl_step(&mut self, step: ServerStep) -> Vec<Task> {
        let in_sasl2 = self.in_sasl2();
        match step {
            ServerStep::Challenge(_) | ServerStep::CheckToken(_) | ServerStep::Success(_) | ServerStep::Failure(_)
                if in_sasl2 =>
            {
                self.sasl2_step(step)
            }
            // Only SASL2 begins it.
            ServerStep::CheckToken(_) => Vec::new(),
            ServerStep::Challenge(data) => vec![Task::Send(sasl_element("challenge", Some(&data)))],
            ServerStep::NeedCredentials { username, hash, .. } => match self.account(&username) {
                Some(user) => {
                    self.named = Some(username);
                    self.state = State::Asked;
                    vec![Task::Credentials(user, hash)]
                }
                // A name that cannot be an account's is a user who does not exist.
                None => match &mut self.sasl {
                    Some(sasl) => {
                        let step = sasl.credentials(None);
                        self.sasl_step(step)
                    }
                    None => Vec::new(),
                },
            },
            ServerStep::CheckPassword { username, password } => match self.account(&username) {
                Some(user) => {
                    self.named = Some(username);
                    self.state = State::Asked;
                    vec![Task::CheckPassword(user, password)]
                }
                None => match &mut self.sasl {
                    Some(sasl) => {
                        let step = sasl.password(false);
                        self.sasl_step(step)
                    }
                    None => Vec::new(),
                },
            },
            ServerStep::Success(authenticated) => {
                let user = match authenticated.identity {
                    Identity::User { username, .. } => self.account(&username),
                    Identity::External(address) => self.certified_account(&address),
                    Identity::Anonymous { .. } => {
                        let name = (self.entropy.0)();
                        self.account(&name)
                    }
                };
                let Some(user) = user else {
                    return self.sasl_step(ServerStep::Failure(SaslCondition::NotAuthorized.into()));
                };
                self.user = Some((user, authenticated.mechanism));
                self.sasl = None;
                let mut tasks = vec![Task::Send(sasl_element("success", authenticated.data.as_deref()))];
                tasks.extend(self.restart());
                tasks
            }
            ServerStep::Failure(refused) => {
                let left = self.sasl.as_ref().map_or(0, ServerSasl::attempts_left);
                let mut tasks = vec![Task::Failed(self.named.take()), failure(&refused)];
                self.state = State::Features;
                if left == 0 {
                    tasks.extend(self.close(Some(&failed_often())));
                }
                tasks
            }
        }
    }

    /// The account of a user name in the domain asked for. A name with an `@` is none: that is how one would reach
    /// into another domain.
    fn account(&self, username: &str) -> Option<BareJid> {
        let (domain, _) = self.domain.as_ref()?;
        let jid = Jid::from_parts(Some(username), domain, None).ok()?;
        BareJid::new(jid.as_str()).ok()
    }

    /// The account that a certificate stands for, as it was told.
    fn certified_account(&self, address: &str) -> Option<BareJid> {
        let (domain, _) = self.domain.as_ref()?;
        self.certified.iter().find(|account| account.as_str() == address && account.domain() == domain).cloned()
    }

    fn stanza(&mut self, root: ElementRef<'_>) -> Vec<Task> {
        let Some((user, _)) = self.user.clone() else {
            return self.close(Some(&StreamError::new(StreamCondition::NotAuthorized)));
        };
        let bind = root.child("bind", ns::BIND);
        let is_set = root.attr("type").as_deref() == Some("set");
        let (true, Some(bind), true) = (root.name() == "iq", bind, matches!(self.state, State::Features)) else {
            return self
                .close(Some(&StreamError::new(StreamCondition::NotAuthorized).with_text("bind a resource first")));
        };
        self.bind_id = root.attr("id").unwrap_or_default().into_owned();
        if !is_set || self.bind_id.is_empty() {
            return self.bound(Err(StanzaError::bad_request()));
        }
        let resource = bind.child("resource", ns::BIND).map(|resource| resource.text().into_owned());
        self.state = State::Asked;
        vec![Task::Bind(user, resource.filter(|resource| !resource.is_empty()))]
    }

    /// XEP-0198 §3, §5: only an authenticated client may resume, and only a bound one enable.
    fn managed(&mut self, root: ElementRef<'_>) -> Vec<Task> {
        let refused = match (&self.user, management::Resume::read(root)) {
            _ if !self.config.management => Condition::FeatureNotImplemented,
            _ if root.name() == "enable" || !matches!(self.state, State::Features) => Condition::UnexpectedRequest,
            (None, _) => Condition::UnexpectedRequest,
            (Some(_), Err(_)) => Condition::BadRequest,
            (Some((user, _)), Ok(resume)) => {
                let user = user.clone();
                self.state = State::Asked;
                self.previous.clone_from(&resume.previd);
                return vec![Task::Resume { user, previous: resume.previd, handled: resume.h }];
            }
        };
        self.session_refused(written(&Failed::new(refused)))
    }

    fn close(&mut self, error: Option<&StreamError>) -> Vec<Task> {
        if matches!(self.state, State::Closed) {
            return Vec::new();
        }
        let mut out = Vec::new();
        if !self.header_sent {
            // RFC 6120 §4.9.1.2: an error needs a stream to be in.
            let from = self.config.domains.first().map(|(name, _)| name.clone()).unwrap_or_default();
            self.write_header(&from, None, None, &mut out);
        }
        if let Some(error) = error {
            let mut writer = Writer::with_buffer(ns::CLIENT, out);
            error.write(&mut writer);
            out = writer.finish();
        }
        out.extend_from_slice(STREAM_END.as_bytes());
        self.state = State::Closed;
        vec![Task::Send(out), Task::Close]
    }
}

/// RFC 6120 §6.4.5.
fn failed_often() -> StreamError {
    StreamError::new(StreamCondition::PolicyViolation).with_text("too many failed authentications")
}

fn sasl_element(name: &str, data: Option<&[u8]>) -> Vec<u8> {
    let mut out = Writer::new(ns::CLIENT);
    out.text_element(name, ns::SASL, &sasl::encode_payload(data));
    out.finish()
}

fn written<P: Payload>(payload: &P) -> Vec<u8> {
    let mut out = Writer::new(ns::CLIENT);
    payload.write(&mut out);
    out.finish()
}

fn failure(failure: &SaslFailure) -> Task {
    let mut out = Writer::new(ns::CLIENT);
    write_failure(failure, &mut out);
    Task::Send(out.finish())
}
