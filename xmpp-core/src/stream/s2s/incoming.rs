//! The receiving end of a stream between servers.

use super::{
    Answer, BIDI, BIDI_FEATURE, DIALBACK_FEATURE, Pair, Proof, S2sConfig, S2sTask, Verification, dialback,
    exchange::{End, Exchange},
    side::Side,
};
use crate::{
    sasl::{self, SaslCondition, SaslFailure},
    stream::{Entropy, Header, StreamCondition, StreamError, header, sasl_xml::write_failure},
    xml::{ElementRef, Event, Stanza, StreamHeader, Writer, ns},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Tls,
    Open,
    Closed,
}

/// The receiving server's end (RFC 6120 §4.3, XEP-0178 §3, XEP-0220 §2.2). It is in charge from the first byte to the
/// last.
#[derive(Debug)]
pub struct Incoming {
    pub(super) exchange: Exchange,
    state: State,
    entropy: Entropy,
    /// Our domain, as the peer asked for it.
    local: Option<String>,
    /// Who the peer says it is, if it does.
    remote: Option<String>,
    external: External,
    header_sent: bool,
}

/// SASL EXTERNAL on this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum External {
    No,
    Offered,
    Done,
}

impl Incoming {
    /// A stream that has not begun. `entropy` returns a fresh unguessable token of ASCII letters and digits at each call.
    pub fn new(config: S2sConfig, entropy: impl FnMut() -> String + Send + 'static) -> Incoming {
        Incoming {
            exchange: Exchange::new(config, End::Receiving),
            state: State::Header,
            entropy: Entropy::new(entropy),
            local: None,
            remote: None,
            external: External::No,
            header_sent: false,
        }
    }

    /// The TLS handshake is done: after [`S2sTask::StartTls`], or at the start of a direct TLS connection. `judge` says
    /// whether the certificate that the peer showed is valid for a domain.
    pub fn secured(&mut self, judge: impl Fn(&str) -> bool + Send + 'static) -> Vec<S2sTask> {
        self.exchange.secure(Box::new(judge));
        (self.local, self.remote) = (None, None);
        self.restart()
    }

    /// Whether a domain has been authenticated.
    pub fn is_authenticated(&self) -> bool {
        self.exchange.is_authenticated()
    }

    /// Who the peer says it is.
    pub fn remote(&self) -> Option<&str> {
        self.remote.as_deref()
    }

    /// What the peer sent.
    pub fn event(&mut self, event: Event) -> Vec<S2sTask> {
        self.take(event)
    }

    /// The answer to [`S2sTask::Verify`].
    pub fn verified(&mut self, verification: &Verification, answer: Answer) -> Vec<S2sTask> {
        self.answered(verification, answer)
    }

    /// Asks the peer, on a stream that goes both ways, to accept stanzas of another pair (XEP-0288 §2.2).
    pub fn request(&mut self, pair: Pair) -> Vec<S2sTask> {
        let mut tasks = Vec::new();
        if self.state == State::Open && self.exchange.bidi && self.exchange.is_authenticated() {
            self.exchange.request(pair, &mut tasks);
        }
        tasks
    }

    /// Forgets what was asked for by [`request`](Self::request) and never answered; it can be asked for again.
    pub fn abandon(&mut self, pair: &Pair) {
        self.exchange.abandon(pair);
    }

    /// Ends the stream, with an error or without, at any time.
    pub fn end(&mut self, error: Option<&StreamError>) -> Vec<S2sTask> {
        self.close(error)
    }

    fn restart(&mut self) -> Vec<S2sTask> {
        self.state = State::Header;
        self.header_sent = false;
        vec![S2sTask::Restart]
    }

    /// Who wants what (RFC 6120 §4.7.1, §4.7.2).
    fn judge(&mut self, header: &StreamHeader) -> Result<(), StreamError> {
        header::judge(header, ns::SERVER)?;
        let to = header.to.as_deref().ok_or_else(|| {
            StreamError::new(StreamCondition::ImproperAddressing).with_text("the stream header needs a to")
        })?;
        let local = dialback::domain(to).filter(|to| self.exchange.hosts(to));
        let local = local.ok_or(StreamCondition::HostUnknown)?;
        let remote = match &header.from {
            Some(from) => Some(dialback::domain(from).ok_or(StreamCondition::InvalidFrom)?),
            None => None,
        };
        if self.external == External::Done && (self.local.as_ref(), &self.remote) != (Some(&local), &remote) {
            return Err(StreamError::new(StreamCondition::NotAuthorized)
                .with_text("the stream was authenticated for other domains"));
        }
        if let Some(remote) = &remote {
            if self.exchange.hosts(remote) {
                return Err(StreamError::new(StreamCondition::InvalidFrom).with_text("that domain is served here"));
            }
            let policy = self.exchange.policy(remote);
            if policy.block {
                return Err(StreamError::new(StreamCondition::PolicyViolation)
                    .with_text("this server does not federate with yours"));
            }
            if policy.require_valid_certificate && self.exchange.secured && !self.exchange.proves(remote) {
                return Err(StreamError::new(StreamCondition::NotAuthorized)
                    .with_text("a valid certificate for your domain is required here"));
            }
        }
        (self.local, self.remote) = (Some(local), remote);
        Ok(())
    }

    fn write_header(&mut self, out: &mut Vec<u8>) {
        self.exchange.id = self.entropy.token();
        let header = Header {
            content_ns: ns::SERVER,
            from: self.local.as_deref(),
            to: self.remote.as_deref(),
            id: Some(&self.exchange.id),
            lang: Some("en"),
        };
        header.write(out);
        self.header_sent = true;
    }

    fn write_features(&mut self, out: &mut Writer) {
        // Who has not said who he is gets what anybody gets.
        let policies = &self.exchange.config.policies;
        let policy = self.remote.as_deref().map_or_else(|| policies.default_policy(), |remote| policies.of(remote));
        let offer_tls = self.exchange.config.tls && !self.exchange.secured;
        if offer_tls {
            out.open("starttls", ns::TLS);
            if policy.needs_tls() {
                out.open("required", ns::TLS);
                out.close();
            }
            out.close();
        }
        if self.exchange.config.bidi {
            out.open("bidi", BIDI_FEATURE);
            out.close();
        }
        if policy.needs_tls() && !self.exchange.secured {
            return;
        }
        let proved = self.remote.as_deref().is_some_and(|remote| self.exchange.proves(remote));
        if proved && self.external != External::Done {
            self.external = External::Offered;
            out.open("mechanisms", ns::SASL);
            out.text_element("mechanism", ns::SASL, "EXTERNAL");
            out.close();
        }
        out.open("dialback", DIALBACK_FEATURE);
        out.open("errors", DIALBACK_FEATURE);
        out.close();
        out.close();
    }

    fn starttls(&mut self) -> Vec<S2sTask> {
        if !self.exchange.config.tls || self.exchange.secured || self.exchange.is_authenticated() {
            // RFC 6120 §5.4.2.2: the failure closes the stream.
            let mut tasks = vec![S2sTask::Send(b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_vec())];
            tasks.extend(self.close(None));
            return tasks;
        }
        self.state = State::Tls;
        vec![S2sTask::Send(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_vec()), S2sTask::StartTls]
    }

    /// XEP-0178 §3: the certificate was judged when the mechanism was offered.
    fn sasl(&mut self, root: ElementRef<'_>) -> Vec<S2sTask> {
        let (External::Offered, Some(remote)) = (self.external, &self.remote) else {
            let condition = match (self.external, self.exchange.secured) {
                (External::Done, _) => return self.close(Some(&StreamCondition::PolicyViolation.into())),
                (_, false) => SaslCondition::EncryptionRequired,
                (_, true) => SaslCondition::InvalidMechanism,
            };
            return vec![failure(condition)];
        };
        if root.name() != "auth" {
            return vec![failure(SaslCondition::MalformedRequest)];
        }
        if root.attr("mechanism").as_deref() != Some("EXTERNAL") {
            return vec![failure(SaslCondition::InvalidMechanism)];
        }
        let authzid = match sasl::decode_payload(root.text().trim_ascii()) {
            Ok(authzid) => authzid.unwrap_or_default(),
            Err(_) => return vec![failure(SaslCondition::IncorrectEncoding)],
        };
        let named = std::str::from_utf8(&authzid).ok().and_then(dialback::domain);
        if !authzid.is_empty() && named.as_ref() != Some(remote) {
            return vec![failure(SaslCondition::InvalidAuthzid)];
        }
        let mut tasks = vec![S2sTask::Send(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>".to_vec())];
        self.external = External::Done;
        tasks.extend(self.restart());
        tasks
    }
}

impl Side for Incoming {
    fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn opened(&mut self, header: &StreamHeader) -> Vec<S2sTask> {
        if self.state != State::Header {
            let error = StreamError::new(StreamCondition::BadFormat).with_text("a stream within a stream");
            return self.close(Some(&error));
        }
        if let Err(error) = self.judge(header) {
            return self.close(Some(&error));
        }
        let mut out = Vec::with_capacity(512);
        self.write_header(&mut out);
        out.extend_from_slice(b"<stream:features>");
        let mut features = Writer::with_buffer(ns::SERVER, out);
        self.write_features(&mut features);
        let mut out = features.finish();
        out.extend_from_slice(b"</stream:features>");
        self.state = State::Open;
        let mut tasks = vec![S2sTask::Send(out)];
        if let (External::Done, Some(local), Some(remote)) = (self.external, &self.local, &self.remote) {
            // Not before the new stream is there to take what goes the other way.
            let pair = Pair::new(local, remote);
            self.exchange.admit(pair, Proof::External, &mut tasks);
        }
        tasks
    }

    fn element(&mut self, stanza: Stanza) -> Vec<S2sTask> {
        let root = stanza.root();
        if self.state != State::Open {
            return self.close(Some(&StreamCondition::NotAuthorized.into()));
        }
        if let Err(error) = self.exchange.charge(&stanza) {
            return self.close(Some(&error));
        }
        let mut tasks = Vec::new();
        let judged = match root.ns() {
            ns::TLS if root.name() == "starttls" => return self.starttls(),
            ns::SASL if matches!(root.name(), "auth" | "response" | "abort") => return self.sasl(root),
            BIDI if root.name() == "bidi" && self.exchange.config.bidi => {
                // XEP-0288 §2.2: before authentication; what is authorised already stays as it is.
                self.exchange.bidi = self.exchange.bidi || !self.exchange.is_authenticated();
                Ok(())
            }
            _ if dialback::matches(root) => self.exchange.dialback(root, &mut tasks),
            _ => self.exchange.stanza(stanza).map(|arrived| tasks.push(S2sTask::Stanza(arrived))),
        };
        self.judged(judged, tasks)
    }

    fn shut(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        if !self.header_sent {
            // RFC 6120 §4.9.1.2: an error needs a stream to be in.
            self.write_header(&mut out);
        }
        self.state = State::Closed;
        Some(out)
    }
}

fn failure(condition: SaslCondition) -> S2sTask {
    let mut out = Writer::new(ns::SERVER);
    write_failure(&SaslFailure::from(condition), &mut out);
    S2sTask::Send(out.finish())
}
