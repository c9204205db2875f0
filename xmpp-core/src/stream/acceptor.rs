//! The receiving end of a client stream: header, STARTTLS, SASL, binding.

mod config;
mod newcomer;
mod opening;
mod profile;
mod sasl2;
mod session;
mod task;

pub use config::{AcceptorConfig, NewcomerOffer};
pub use sasl2::{BindRequest, Bound};
pub use task::{Accepted, Login, Phase, ResumeError, Resumed, Task};

use super::{
    STREAM_END, StreamCondition, StreamError,
    management::{self},
    sasl2::{SASL2, UserAgent},
};
use crate::{
    jid::BareJid,
    sasl::{Authenticated, ChannelBindings, Mechanism, ServerSasl},
    xml::{Event, Stanza, Writer, ns},
};

#[derive(Debug)]
enum State {
    Header,
    Features,
    Tls,
    Sasl,
    /// A question is with the driver.
    Asked,
    /// A request of a client that has not logged in is with the driver.
    Newcomer,
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
    /// Who has been authenticated, while it is asked whether this account may log in.
    admission: Option<(BareJid, Authenticated)>,
    /// What the client has said of itself in an authentication that is over.
    agent: Option<UserAgent>,
    /// A question that waits for the generation of the account.
    question: Option<Task>,
    /// Which password the credentials are of.
    generation: Option<u64>,
    bind_id: String,
    bind_failures: u32,
    /// How many requests there were before the login.
    newcomer_requests: u32,
    /// Whether an authentication was begun in this stream.
    tried: bool,
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
            admission: None,
            agent: None,
            question: None,
            generation: None,
            bind_id: String::new(),
            bind_failures: 0,
            newcomer_requests: 0,
            tried: false,
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

    /// Who has logged in, once that is so.
    pub fn login(&self) -> Option<Login> {
        let (_, mechanism) = self.user.as_ref()?;
        let generation = self.generation.filter(|_| mechanism.proves_password());
        Some(Login { mechanism: *mechanism, user_agent: self.user_agent(), generation })
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        match (&self.state, &self.user) {
            (State::Tls, _) => Phase::Tls,
            (_, Some(_)) => Phase::Bind,
            (State::Sasl | State::Asked, None) => Phase::Sasl,
            _ if self.newcomer_requests > 0 && !self.tried => Phase::Register,
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

    fn element(&mut self, stanza: &Stanza) -> Vec<Task> {
        let root = stanza.root();
        if root.is("error", ns::STREAMS) {
            return self.close(None);
        }
        self.tried |= matches!(root.ns(), SASL2 | ns::SASL);
        match root.ns() {
            SASL2 if matches!(root.name(), "authenticate" | "response" | "abort" | "next" | "task-data") => {
                self.sasl2_element(stanza)
            }
            _ if self.in_sasl2() => self.sasl2_breach("finish the authentication first"),
            ns::TLS if root.name() == "starttls" => self.starttls(),
            ns::SASL if matches!(root.name(), "auth" | "response" | "abort") => self.sasl(root),
            ns::CLIENT if root.name() == "iq" && self.user.is_none() => self.newcomer(stanza),
            ns::CLIENT if matches!(root.name(), "message" | "presence" | "iq") => self.stanza(root),
            management::NS if matches!(root.name(), "enable" | "resume") => self.managed(root),
            ns::SERVER | ns::COMPONENT if matches!(root.name(), "message" | "presence" | "iq") => {
                self.close(Some(&StreamError::new(StreamCondition::InvalidNamespace)))
            }
            _ => self.close(Some(&StreamError::new(StreamCondition::UnsupportedStanzaType))),
        }
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
