//! The initiating end of a stream between servers.

use super::{
    Answer, BIDI, BIDI_FEATURE, DIALBACK_FEATURE, Pair, Proof, S2sConfig, S2sTask, Verification, dialback,
    exchange::{End, Exchange},
    side::Side,
};
use crate::{
    sasl::{self, SaslFailure},
    stanza::StanzaError,
    stream::{Features, Header, StreamCondition, StreamError, header, sasl_xml::read_failure},
    xml::{Event, Stanza, StreamHeader, Writer, ns},
};

/// Why a pair of ours may not send over a stream.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The authoritative server disowned our key: its secret is another.
    #[error("the dialback key was found invalid")]
    Invalid,
    /// A dialback error (XEP-0220 §2.5).
    #[error("dialback failed: {0}")]
    Error(StanzaError),
    /// SASL EXTERNAL was refused and dialback is no way out.
    #[error("the certificate was refused: {0}")]
    Sasl(SaslFailure),
    /// The peer has no TLS, which is required.
    #[error("the server does not offer TLS, which is required")]
    TlsUnavailable,
    /// The peer's certificate does not prove that it is the domain, which is required.
    #[error("the server has no valid certificate, which is required")]
    Certificate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Features,
    Proceed,
    Tls,
    Sasl,
    Open,
    Closed,
}

/// The initiating server's end (RFC 6120 §4.3, XEP-0178 §3, XEP-0220 §2.1). It is in charge from the first byte to the
/// last.
#[derive(Debug)]
pub struct Outgoing {
    exchange: Exchange,
    state: State,
    pair: Pair,
    /// Whether the pair of the header is to be authorised, or the stream only verifies keys.
    wanted: bool,
    /// Whether we can show a certificate.
    certificate: bool,
    external: bool,
    /// The peer takes dialback errors: further target domains may be tried (XEP-0220 §2.6.2).
    errors: bool,
    /// The peer says that it takes dialback.
    dialback: bool,
    /// There is a stream to end.
    header_sent: bool,
}

impl Outgoing {
    /// A stream from one domain to another that has not begun. `certificate` says whether TLS will show one of ours. Unless
    /// `wanted`, no authorisation is asked for yet, as when only keys are to be verified.
    pub fn new(config: S2sConfig, pair: Pair, certificate: bool, wanted: bool) -> Outgoing {
        Outgoing {
            exchange: Exchange::new(config, End::Initiating),
            state: State::Header,
            pair,
            wanted,
            certificate,
            external: false,
            errors: false,
            dialback: false,
            header_sent: false,
        }
    }

    /// Opens the stream. Over direct TLS call [`secured`](Self::secured) instead.
    pub fn start(&mut self) -> Vec<S2sTask> {
        self.state = State::Header;
        self.header_sent = true;
        let mut out = Vec::with_capacity(256);
        Header {
            content_ns: ns::SERVER,
            from: Some(&self.pair.local),
            to: Some(&self.pair.remote),
            id: None,
            lang: Some("en"),
        }
        .write(&mut out);
        vec![S2sTask::Restart, S2sTask::Send(out)]
    }

    /// The TLS handshake is done; opens the stream (anew). `judge` says whether the peer's certificate is valid for a domain.
    pub fn secured(&mut self, judge: impl Fn(&str) -> bool + Send + 'static) -> Vec<S2sTask> {
        self.exchange.secure(Box::new(judge));
        self.header_sent = false;
        if self.exchange.policy(&self.pair.remote).require_valid_certificate && !self.exchange.proves(&self.pair.remote)
        {
            return self.give_up(Refusal::Certificate);
        }
        self.start()
    }

    /// The domains in the stream's header.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Whether further domains of the peer may be tried on this stream (XEP-0220 §2.6.2).
    pub fn takes_targets(&self) -> bool {
        self.errors && self.state == State::Open
    }

    /// Whether the peer's certificate, if there is TLS, is valid for another domain.
    pub fn proves(&self, remote: &str) -> bool {
        self.exchange.proves(remote)
    }

    /// Whether stanzas of this pair may be sent.
    pub fn is_authorized(&self, pair: &Pair) -> bool {
        self.exchange.is_authorized(pair)
    }

    /// Whether anything is authorised.
    pub fn is_authenticated(&self) -> bool {
        self.exchange.is_authenticated()
    }

    /// What the peer sent.
    pub fn event(&mut self, event: Event) -> Vec<S2sTask> {
        self.take(event)
    }

    /// Asks the peer to accept stanzas of another pair, once the stream is negotiated (XEP-0220 §2.6).
    pub fn request(&mut self, pair: Pair) -> Vec<S2sTask> {
        let mut tasks = Vec::new();
        match self.state {
            State::Open => {
                let policy = self.exchange.policy(&pair.remote);
                if policy.block || (policy.require_valid_certificate && !self.exchange.proves(&pair.remote)) {
                    tasks.push(S2sTask::Refused(pair, Refusal::Certificate));
                } else if policy.needs_tls() && !self.exchange.secured {
                    // The domain in the header may do without; this one may not.
                    tasks.push(S2sTask::Refused(pair, Refusal::TlsUnavailable));
                } else if self.external && !self.dialback && !self.is_authorized(&pair) {
                    // It might never answer: a stream of its own proves this pair by certificate as well.
                    let error = StanzaError::feature_not_implemented().with_text("the peer offers no dialback");
                    tasks.push(S2sTask::Refused(pair, Refusal::Error(error)));
                } else {
                    self.exchange.request(pair, &mut tasks);
                }
            }
            State::Closed => {}
            _ if pair == self.pair => self.wanted = true,
            _ => {}
        }
        tasks
    }

    /// Asks the peer, as the authoritative server of its domain, about a key, once the stream is negotiated.
    pub fn verify(&mut self, verification: Verification) -> Vec<S2sTask> {
        let mut tasks = Vec::new();
        if self.state == State::Open {
            self.exchange.query(verification, &mut tasks);
        }
        tasks
    }

    /// Forgets what was asked for by [`request`](Self::request) and never answered; it can be asked for again.
    pub fn abandon(&mut self, pair: &Pair) {
        self.exchange.abandon(pair);
    }

    /// Forgets what was asked by [`verify`](Self::verify) and never answered.
    pub fn abandon_verification(&mut self, verification: &Verification) {
        self.exchange.abandon_query(verification);
    }

    /// The answer to [`S2sTask::Verify`], which comes on streams that go both ways.
    pub fn verified(&mut self, verification: &Verification, answer: Answer) -> Vec<S2sTask> {
        self.answered(verification, answer)
    }

    /// Ends the stream, with an error or without, at any time.
    pub fn end(&mut self, error: Option<&StreamError>) -> Vec<S2sTask> {
        self.close(error)
    }

    fn offered(&mut self, features: &Features) -> Vec<S2sTask> {
        if !self.exchange.secured {
            let required = self.exchange.policy(&self.pair.remote).needs_tls();
            if required || features.starttls().is_some() {
                // RFC 7590 §3.1: ask even if it is not offered; stripping the offer must not strip the protection.
                self.state = State::Proceed;
                return vec![S2sTask::Send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_vec())];
            }
        }
        let dialback = features.element().root().child("dialback", DIALBACK_FEATURE);
        self.dialback = dialback.is_some();
        self.errors = dialback.is_some_and(|dialback| dialback.child("errors", DIALBACK_FEATURE).is_some());
        let mut tasks = Vec::new();
        if self.external {
            self.state = State::Open;
            tasks.push(S2sTask::Negotiated);
            self.exchange.authorize(self.pair.clone(), Proof::External, &mut tasks);
            return tasks;
        }
        // XEP-0288 §2.2: before authentication, and not on a stream that is there for keys alone.
        if self.exchange.config.bidi && self.wanted && features.has("bidi", BIDI_FEATURE) {
            self.exchange.bidi = true;
            let mut out = Writer::new(ns::SERVER);
            out.open("bidi", BIDI);
            out.close();
            tasks.push(S2sTask::Send(out.finish()));
        }
        let external = self.exchange.secured && self.certificate;
        if self.wanted && external && features.mechanisms().iter().any(|mechanism| mechanism == "EXTERNAL") {
            let mut out = Writer::new(ns::SERVER);
            out.open("auth", ns::SASL);
            out.attr("mechanism", "EXTERNAL");
            // XEP-0178 §3: the authorisation identity, for peers of older versions.
            out.text(&sasl::encode_payload(Some(self.pair.local.as_bytes())));
            out.close();
            tasks.push(S2sTask::Send(out.finish()));
            self.state = State::Sasl;
            return tasks;
        }
        self.dial_back(&mut tasks);
        tasks
    }

    fn dial_back(&mut self, tasks: &mut Vec<S2sTask>) {
        self.state = State::Open;
        tasks.push(S2sTask::Negotiated);
        if self.wanted {
            self.exchange.request(self.pair.clone(), tasks);
        }
    }

    /// XEP-0178 §3: the peer may go on with dialback, or close.
    fn external_refused(&mut self, failure: SaslFailure) -> Vec<S2sTask> {
        tracing::debug!(pair = %self.pair, %failure, "SASL EXTERNAL was refused; trying dialback");
        let mut tasks = Vec::new();
        self.dial_back(&mut tasks);
        tasks
    }

    fn in_the_open(&mut self, stanza: Stanza) -> Vec<S2sTask> {
        let root = stanza.root();
        let mut tasks = Vec::new();
        let judged = if dialback::matches(root) {
            self.exchange.dialback(root, &mut tasks)
        } else if root.is("features", ns::STREAMS) {
            Err(StreamCondition::BadFormat.into())
        } else if !self.exchange.bidi {
            // RFC 6120 §4.3: nothing but answers comes back on a stream that goes one way.
            Err(StreamError::new(StreamCondition::InvalidFrom).with_text("this stream goes one way"))
        } else {
            self.exchange.stanza(stanza).map(|arrived| tasks.push(S2sTask::Stanza(arrived)))
        };
        // XEP-0220 §2.1.1: who finds our key invalid is no place to go on; other pairs it may have are told.
        let disowned = tasks.iter().any(|task| matches!(task, S2sTask::Refused(_, Refusal::Invalid)));
        let mut tasks = self.judged(judged, tasks);
        if disowned && !self.exchange.is_authenticated() {
            tasks.extend(self.close(None));
        }
        tasks
    }

    fn give_up(&mut self, refusal: Refusal) -> Vec<S2sTask> {
        let mut tasks = vec![S2sTask::Refused(self.pair.clone(), refusal)];
        tasks.extend(self.close(None));
        tasks
    }
}

impl Side for Outgoing {
    fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn opened(&mut self, header: &StreamHeader) -> Vec<S2sTask> {
        if self.state != State::Header {
            return self.close(Some(&StreamCondition::BadFormat.into()));
        }
        if let Err(condition) = header::judge(header, ns::SERVER) {
            return self.close(Some(&condition.into()));
        }
        // RFC 6120 §4.7.1: a server that says who it is must be the one we asked for.
        let other =
            header.from.as_deref().is_some_and(|from| dialback::domain(from).as_ref() != Some(&self.pair.remote));
        if other {
            return self.close(Some(&StreamCondition::InvalidFrom.into()));
        }
        self.exchange.id = header.id.clone().unwrap_or_default();
        self.state = State::Features;
        Vec::new()
    }

    fn element(&mut self, stanza: Stanza) -> Vec<S2sTask> {
        let root = stanza.root();
        if let Err(error) = self.exchange.charge(&stanza) {
            return self.close(Some(&error));
        }
        match self.state {
            State::Features => match Features::from_stanza(stanza) {
                Some(features) => self.offered(&features),
                None => self.close(Some(&StreamCondition::UnsupportedStanzaType.into())),
            },
            State::Proceed if root.is("proceed", ns::TLS) => {
                self.state = State::Tls;
                vec![S2sTask::StartTls]
            }
            State::Proceed if root.is("failure", ns::TLS) => self.give_up(Refusal::TlsUnavailable),
            State::Sasl if root.is("success", ns::SASL) => {
                self.external = true;
                self.start()
            }
            State::Sasl if root.is("failure", ns::SASL) => {
                let failure = read_failure(root);
                self.external_refused(failure)
            }
            State::Open => self.in_the_open(stanza),
            _ => self.close(Some(&StreamCondition::UnsupportedStanzaType.into())),
        }
    }

    fn shut(&mut self) -> Option<Vec<u8>> {
        self.state = State::Closed;
        self.header_sent.then(Vec::new)
    }
}
