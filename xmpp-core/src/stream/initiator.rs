//! The initiating end of a client stream: header, STARTTLS, SASL, binding.

mod sasl2;

pub use sasl2::{FastToken, Sasl2Offer, Sasl2Options};

use super::{
    Features, Header, StreamCondition, StreamError, header,
    management::{self, Enable, Enabled, Failed, Resume, Resumed, Sm},
    sasl_xml::read_failure,
    sasl2::SASL2,
};
use crate::{
    jid::{FullJid, Jid},
    payload::Payload,
    sasl::{
        self, ChannelBindings, ChooseError, ClientPolicy, ClientSasl, ClientStep, ClientSuccess, Credentials,
        DeriveJob, Mechanism, Nonce, Offer, SaslCondition, SaslError, SaslFailure, ScramKeys, UpgradeJob,
    },
    stanza::{ErrorType, StanzaError},
    xml::{ElementRef, Event, Stanza, StreamHeader, Writer, ns},
};

/// Whether and how TLS protects the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsPolicy {
    /// STARTTLS, tried even where it is not offered (RFC 7590 §3.1), and nothing without it.
    Required,
    /// The transport is already protected: direct TLS (XEP-0368).
    Direct,
    /// No TLS: for streams that never leave the process or the host.
    None,
}

/// What the initiator needs to know.
#[derive(Debug)]
pub struct InitiatorConfig {
    /// The account.
    pub account: Jid,
    /// The resource to ask for; the server makes one up otherwise.
    pub resource: Option<String>,
    /// How to prove who we are.
    pub credentials: Credentials,
    /// What to put up with; in it the weakest mechanism that will do.
    pub policy: ClientPolicy,
    /// What protects the stream.
    pub tls: TlsPolicy,
    /// `xml:lang` of the stream.
    pub lang: Option<String>,
    /// Fresh for each connection.
    pub nonce: Nonce,
    /// Whether to enable stream management (XEP-0198) where it is offered, and to ask for resumption.
    pub management: bool,
    /// The former stream to go on with; where that is not to be had, a resource is bound as usual.
    pub resume: Option<Resumption>,
    /// What to use of SASL2.
    pub sasl2: Sasl2Options,
}

/// What it takes to go on with a former stream (XEP-0198 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The id that the server gave it.
    pub id: String,
    /// How many of the server's stanzas have been handled.
    pub handled: u32,
    /// Our full address in it.
    pub jid: FullJid,
}

/// What the driver is to do, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Make the TLS handshake, drop whatever was read before it, then call [`Initiator::secured`].
    StartTls,
    /// Expect a new stream header from the peer: [`Scanner::restart`](crate::xml::Scanner::restart).
    Restart,
    /// Run the job where it does not block, then call [`Initiator::derived`].
    Derive(DeriveJob),
    /// Run the job where it does not block, then call [`Initiator::upgraded`].
    Upgrade(UpgradeJob),
    /// The session is ready.
    Established(Box<Established>),
    /// These are the features before authentication, of an initiator that goes no [further](Initiator::visiting).
    Offered(Box<Features>),
}

/// A session, ready for stanzas.
#[derive(Debug)]
#[non_exhaustive]
pub struct Established {
    /// Our full address, as the server gave it.
    pub jid: FullJid,
    /// The features offered after authentication.
    pub features: Features,
    /// The mechanism that was used, if it is one of ours.
    pub mechanism: Option<Mechanism>,
    /// The weakest mechanism to accept from now on ([`ClientPolicy::floor`]).
    pub floor: Option<Mechanism>,
    /// Derived keys that save the next login its hashing.
    pub keys: Option<ScramKeys>,
    /// The stream's id.
    pub stream_id: String,
    /// That this is the former stream of [`InitiatorConfig::resume`], and how many of our stanzas the server has
    /// handled in it.
    pub resumed: Option<u32>,
    /// Why the former stream does not go on, if the server said so.
    pub not_resumed: Option<Failed>,
    /// `<enable/>` was the last thing sent: whatever is sent from now on counts, and the answer is still to come.
    pub enabling: bool,
    /// That stream management was enabled together with the binding, and how.
    pub enabled: Option<Enabled>,
    /// What logs in the next time instead of the password: a new token, or the one that was used.
    pub token: Option<FastToken>,
    /// What the server offers of SASL2, if it does: for [`Sasl2Options::offer`] of the next time.
    pub sasl2: Option<Sasl2Offer>,
}

/// Why a stream could not be negotiated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// The server closed the stream with an error.
    #[error("the server ended the stream: {0}")]
    Stream(StreamError),
    /// The server broke the rules of the stream; the error is what it was told.
    #[error("the server broke the protocol: {0}")]
    Protocol(StreamError),
    /// The server closed the stream without saying why.
    #[error("the server closed the stream during negotiation")]
    Closed,
    /// TLS is required here and the server refused it.
    #[error("the server does not offer TLS, which is required")]
    TlsUnavailable,
    /// Our side refused to go on with authentication: the server failed to prove itself, or broke the mechanism.
    #[error("authentication: {0}")]
    Sasl(#[from] SaslError),
    /// None of the mechanisms on offer is acceptable.
    #[error("authentication: {0}")]
    NoMechanism(#[from] ChooseError),
    /// The server refused our credentials.
    #[error("the server refused the login: {0}")]
    Refused(SaslFailure),
    /// The server offers no resource binding, or refused it.
    #[error("resource binding: {0}")]
    Bind(StanzaError),
    /// The server wants something besides the login that nobody here can do (XEP-0388 §2.6.3).
    #[error("the server asks for more than a login: {0}")]
    Task(String),
    /// A feature we need is missing.
    #[error("the server does not offer {0}")]
    Missing(&'static str),
}

impl NegotiationError {
    /// Whether trying again with the same settings cannot help.
    pub fn is_final(&self) -> bool {
        match self {
            NegotiationError::Refused(failure) => failure.condition != SaslCondition::TemporaryAuthFailure,
            NegotiationError::Sasl(_)
            | NegotiationError::NoMechanism(_)
            | NegotiationError::TlsUnavailable
            | NegotiationError::Task(_) => true,
            NegotiationError::Bind(error) => error.type_ != ErrorType::Wait,
            NegotiationError::Stream(error) => error.is_final(),
            NegotiationError::Protocol(_) | NegotiationError::Closed | NegotiationError::Missing(_) => false,
        }
    }
}

#[derive(Debug)]
enum State {
    Header,
    Features,
    Proceed,
    Handshake,
    Sasl(Box<ClientSasl>),
    Sasl2(Box<sasl2::Run>),
    Resume(Resumption),
    Bind { id: String },
    Session { id: String, jid: FullJid },
    Done,
}

/// The initiating entity's negotiation.
#[derive(Debug)]
pub struct Initiator {
    config: InitiatorConfig,
    state: State,
    secured: bool,
    bindings: ChannelBindings,
    authenticated: Option<ClientSuccess>,
    features: Option<Features>,
    stream_id: String,
    not_resumed: Option<Failed>,
    /// What was begun by the first flight, until the features are here.
    sasl2: Option<Box<sasl2::Run>>,
    pipelined: bool,
    outcome: sasl2::Outcome,
    /// Our address, where Bind 2 has bound it.
    bound: Option<FullJid>,
    /// Whether it stops before authentication.
    visiting: bool,
}

type Steps = Result<Vec<Step>, NegotiationError>;

impl Initiator {
    /// A negotiation that has not begun. Over direct TLS call [`secured`](Self::secured) first.
    pub fn new(config: InitiatorConfig) -> Self {
        Initiator {
            secured: false,
            state: State::Header,
            bindings: ChannelBindings::default(),
            authenticated: None,
            features: None,
            stream_id: String::new(),
            not_resumed: None,
            sasl2: None,
            pipelined: false,
            outcome: sasl2::Outcome::default(),
            bound: None,
            visiting: false,
            config,
        }
    }

    /// Stops before authentication, when TLS is as the policy wants it: for what is asked of a server by who has no
    /// account (XEP-0077 §3.1.1). The account is not named.
    #[must_use]
    pub fn visiting(mut self) -> Self {
        self.visiting = true;
        self
    }

    /// Opens the stream.
    pub fn start(&mut self) -> Vec<Step> {
        self.state = State::Header;
        let mut out = Vec::with_capacity(192);
        // RFC 6120 §4.7.1: our address only where nobody else reads it.
        let from = (self.secured && !self.visiting).then(|| self.config.account.bare_str().to_owned());
        Header {
            content_ns: ns::CLIENT,
            from: from.as_deref(),
            to: Some(self.config.account.domain()),
            id: None,
            lang: self.config.lang.as_deref(),
        }
        .write(&mut out);
        if self.authenticated.is_none()
            && !self.visiting
            && let Some(login) = self.pipeline()
        {
            out.extend(login);
        }
        vec![Step::Restart, Step::Send(out)]
    }

    /// The TLS handshake is done, with these channel bindings; opens the stream (anew).
    pub fn secured(&mut self, bindings: ChannelBindings) -> Vec<Step> {
        self.secured = true;
        self.bindings = bindings;
        self.start()
    }

    /// The keys that [`Step::Derive`] asked for.
    pub fn derived(&mut self, keys: ScramKeys) -> Steps {
        if let State::Sasl2(run) = &mut self.state {
            return run.derived(keys);
        }
        let State::Sasl(sasl) = &mut self.state else { return Ok(Vec::new()) };
        let step = ClientStep::Send(sasl.derived(keys)?);
        Ok(sasl_step(step))
    }

    /// What the server sent.
    pub fn event(&mut self, event: Event) -> Steps {
        match event {
            Event::Open(header) => self.opened(header),
            Event::Stanza(stanza) => self.element(stanza),
            Event::Close => Err(NegotiationError::Closed),
        }
    }

    fn opened(&mut self, header: StreamHeader) -> Steps {
        if !matches!(self.state, State::Header) {
            return Err(NegotiationError::Protocol(StreamError::from(StreamCondition::BadFormat)));
        }
        header::judge(&header, ns::CLIENT).map_err(|condition| NegotiationError::Protocol(condition.into()))?;
        // §4.7.1: a server that says who it is must be the one we asked for.
        if let Some(from) = &header.from {
            let same = Jid::lenient(from).is_ok_and(|from| from.as_str() == self.config.account.domain());
            if !same {
                return Err(NegotiationError::Protocol(StreamCondition::InvalidFrom.into()));
            }
        }
        self.stream_id = header.id.unwrap_or_default();
        self.state = State::Features;
        Ok(Vec::new())
    }

    fn element(&mut self, stanza: Stanza) -> Steps {
        let root = stanza.root();
        if root.is("error", ns::STREAMS) {
            return Err(NegotiationError::Stream(StreamError::read(root)));
        }
        if root.ns() == SASL2 && matches!(self.state, State::Sasl2(_)) {
            let State::Sasl2(run) = std::mem::replace(&mut self.state, State::Done) else { return Err(unexpected()) };
            return self.sasl2_element(run, root);
        }
        match &mut self.state {
            State::Features => match Features::from_stanza(stanza) {
                Some(features) => self.offered(features),
                None => Err(unexpected()),
            },
            State::Proceed if root.is("proceed", ns::TLS) => {
                self.state = State::Handshake;
                Ok(vec![Step::StartTls])
            }
            State::Proceed if root.is("failure", ns::TLS) => Err(NegotiationError::TlsUnavailable),
            State::Sasl(sasl) if root.ns() == ns::SASL => match root.name() {
                "challenge" => {
                    let data = payload(root)?.unwrap_or_default();
                    Ok(sasl_step(sasl.challenge(&data)?))
                }
                "success" => {
                    let data = payload(root)?;
                    let success = sasl.success(data.as_deref())?;
                    self.authenticated = Some(success);
                    Ok(self.start())
                }
                "failure" => Err(NegotiationError::Refused(read_failure(root))),
                _ => Err(unexpected()),
            },
            State::Resume(_) if Failed::matches(root) => {
                self.not_resumed = Failed::read(root).ok();
                self.bind()
            }
            State::Resume(former) if Resumed::matches(root) => {
                let resumed = Resumed::read(root).map_err(|_| StreamError::from(StreamCondition::BadFormat));
                let resumed = resumed.map_err(NegotiationError::Protocol)?;
                if resumed.previd != former.id {
                    return Err(unexpected());
                }
                let jid = former.jid.clone();
                self.established(jid, Some(resumed.h))
            }
            State::Bind { id } if root.is("iq", ns::CLIENT) && root.attr("id").as_deref() == Some(id.as_str()) => {
                let jid = bound(&stanza)?;
                let session = self.features.as_ref().is_some_and(Features::session_required);
                if session {
                    let id = crate::stanza::generate_id();
                    let request = session_request(&id);
                    self.state = State::Session { id, jid };
                    return Ok(vec![Step::Send(request)]);
                }
                self.established(jid, None)
            }
            State::Session { id, jid }
                if root.is("iq", ns::CLIENT) && root.attr("id").as_deref() == Some(id.as_str()) =>
            {
                // Whatever the answer: the session element has meant nothing since RFC 6121.
                let jid = jid.clone();
                self.established(jid, None)
            }
            _ => Err(unexpected()),
        }
    }

    fn offered(&mut self, features: Features) -> Steps {
        if !self.secured && self.config.tls == TlsPolicy::Required {
            // RFC 7590 §3.1: ask even if it is not offered; stripping the offer must not strip the protection.
            self.state = State::Proceed;
            return Ok(vec![Step::Send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_vec())]);
        }
        if self.visiting {
            self.state = State::Done;
            return Ok(vec![Step::Offered(Box::new(features))]);
        }
        if let Some(jid) = self.bound.take() {
            self.features = Some(features);
            return self.established(jid, None);
        }
        if self.authenticated.is_some() {
            let managed = features.has(Sm::NAME, management::NS);
            self.features = Some(features);
            return match self.config.resume.take() {
                Some(former) if managed => {
                    let resume = Resume { previd: former.id.clone(), h: former.handled };
                    self.state = State::Resume(former);
                    Ok(vec![Step::Send(written(&resume))])
                }
                _ => self.bind(),
            };
        }
        let sasl2 = Sasl2Offer::read(&features).filter(|_| self.config.sasl2.enabled);
        if let Some(offer) = sasl2 {
            self.features = Some(features);
            return self.offered_sasl2(offer);
        }
        if self.pipelined {
            // It was known to have it.
            return Err(NegotiationError::Missing("SASL2"));
        }
        let mechanisms = features.mechanisms();
        if mechanisms.is_empty() {
            return Err(NegotiationError::Missing("SASL authentication"));
        }
        let named = features.has("sasl-channel-binding", super::features::SASL_CB);
        let offer = Offer { mechanisms, bindings: named.then(|| features.channel_bindings()), sasl2: false };
        // One authentication a negotiation: a server that asks twice gets nobody.
        let credentials = std::mem::replace(&mut self.config.credentials, Credentials::External);
        let mut sasl = ClientSasl::choose(&offer, credentials, &self.bindings, self.secured, &self.config.policy)?;
        let (mechanism, initial) = sasl.start(self.config.nonce.clone())?;
        let mut out = Writer::new(ns::CLIENT);
        out.open("auth", ns::SASL);
        out.attr("mechanism", &mechanism);
        out.text(&sasl::encode_payload(initial.as_deref()));
        out.close();
        self.state = State::Sasl(Box::new(sasl));
        Ok(vec![Step::Send(out.finish())])
    }

    fn bind(&mut self) -> Steps {
        if !self.features.as_ref().is_some_and(Features::bind) {
            return Err(NegotiationError::Missing("resource binding"));
        }
        let id = crate::stanza::generate_id();
        let request = bind_request(&id, self.config.resource.as_deref());
        self.state = State::Bind { id };
        Ok(vec![Step::Send(request)])
    }

    fn established(&mut self, jid: FullJid, resumed: Option<u32>) -> Steps {
        self.state = State::Done;
        let (Some(success), Some(features)) = (self.authenticated.take(), self.features.take()) else {
            return Err(unexpected());
        };
        // XEP-0198 §3: not before the resource is bound. There is no need to wait for the answer.
        let enabled = self.outcome.enabled.take();
        let offered = features.has(Sm::NAME, management::NS);
        let enabling = self.config.management && resumed.is_none() && enabled.is_none() && offered;
        let enable = enabling.then(|| Step::Send(written(&Enable { resume: true, max: None })));
        let established = Step::Established(Box::new(Established {
            jid,
            features,
            mechanism: success.mechanism,
            floor: success.floor(),
            keys: success.keys,
            stream_id: std::mem::take(&mut self.stream_id),
            resumed,
            not_resumed: self.not_resumed.take(),
            enabling,
            enabled,
            token: self.outcome.token.take(),
            sasl2: self.outcome.offer.take(),
        }));
        Ok(enable.into_iter().chain([established]).collect())
    }
}

fn written<P: Payload>(payload: &P) -> Vec<u8> {
    let mut out = Writer::new(ns::CLIENT);
    payload.write(&mut out);
    out.finish()
}

fn unexpected() -> NegotiationError {
    NegotiationError::Protocol(StreamCondition::UnsupportedStanzaType.into())
}

fn payload(root: ElementRef<'_>) -> Result<Option<Vec<u8>>, NegotiationError> {
    sasl::decode_payload(&root.text()).map_err(|_| NegotiationError::Protocol(StreamCondition::BadFormat.into()))
}

fn sasl_step(step: ClientStep) -> Vec<Step> {
    match step {
        ClientStep::Send(data) => {
            let mut out = Writer::new(ns::CLIENT);
            out.text_element("response", ns::SASL, &response_payload(&data));
            vec![Step::Send(out.finish())]
        }
        ClientStep::Derive(job) => vec![Step::Derive(job)],
    }
}

/// A response is never without a payload: empty is the empty string, not `=` (RFC 6120 §6.4.3).
fn response_payload(data: &[u8]) -> String {
    if data.is_empty() { String::new() } else { sasl::encode_payload(Some(data)) }
}

fn bind_request(id: &str, resource: Option<&str>) -> Vec<u8> {
    let mut out = Writer::new(ns::CLIENT);
    out.open("iq", ns::CLIENT);
    out.attr("type", "set");
    out.attr("id", id);
    out.open("bind", ns::BIND);
    if let Some(resource) = resource {
        out.text_element("resource", ns::BIND, resource);
    }
    out.close();
    out.close();
    out.finish()
}

fn session_request(id: &str) -> Vec<u8> {
    let mut out = Writer::new(ns::CLIENT);
    out.open("iq", ns::CLIENT);
    out.attr("type", "set");
    out.attr("id", id);
    out.open("session", ns::SESSION);
    out.close();
    out.close();
    out.finish()
}

fn bound(answer: &Stanza) -> Result<FullJid, NegotiationError> {
    let root = answer.root();
    if root.attr("type").as_deref() != Some("result") {
        return Err(NegotiationError::Bind(stanza_error(root)));
    }
    let jid = root.child("bind", ns::BIND).and_then(|bind| bind.child("jid", ns::BIND)).map(|jid| jid.text());
    let jid = jid.and_then(|jid| Jid::lenient(jid.trim()).ok()).and_then(|jid| jid.into_full().ok());
    jid.ok_or_else(|| {
        NegotiationError::Bind(StanzaError::bad_request().with_text("the server's bind result has no full address"))
    })
}

fn stanza_error(root: ElementRef<'_>) -> StanzaError {
    root.child("error", ns::CLIENT).map_or_else(StanzaError::undefined_condition, StanzaError::read)
}
