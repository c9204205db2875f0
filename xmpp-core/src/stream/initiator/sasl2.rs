//! SASL2 as a client has it (XEP-0388): tokens, binding and resumption in as few round trips as the server allows.

use super::{Initiator, NegotiationError, State, Step, Steps, unexpected};
use crate::{
    jid::{FullJid, Jid},
    payload::{DateTime, Payload as _, TextValue as _},
    sasl::{ClientSasl, ClientStep, ClientSuccess, Credentials, Mechanism, Offer, SaslCondition},
    stream::{
        Features, StreamCondition,
        management::{self, Enable, Enabled, Failed, Resume, Resumed},
        sasl2::{self, BIND2, FAST, SASL2, SCRAM_UPGRADE, UPGRADE, UserAgent},
    },
    xml::{ElementRef, Writer, ns},
};
use std::fmt;
use zeroize::Zeroizing;

/// What a client may use of SASL2, and what it knows from before.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sasl2Options {
    /// Whether SASL2 is used where it is offered. On by default.
    pub enabled: bool,
    /// What to say of the installation. Its id is what tokens rest on.
    pub user_agent: Option<UserAgent>,
    /// What the resource begins with, where the server makes it up: the software's name (XEP-0386 §3.2). Others see it.
    pub tag: Option<String>,
    /// Elements that enable features of the session, each with the feature's name: they are sent along in `<bind/>`
    /// where the server names that feature (XEP-0386 §3.1).
    pub bind: Vec<(String, Vec<u8>)>,
    /// A token of an earlier session. It is used under TLS alone.
    pub token: Option<FastToken>,
    /// Whether to end the token by using it (XEP-0484 §3.6).
    pub invalidate: bool,
    /// What the server offered in an earlier session under TLS. With it and a token the first flight logs in.
    pub offer: Option<Sasl2Offer>,
}

impl Default for Sasl2Options {
    fn default() -> Self {
        Sasl2Options {
            enabled: true,
            user_agent: None,
            tag: None,
            bind: Vec::new(),
            token: None,
            invalidate: false,
            offer: None,
        }
    }
}

/// A token that logs in once more without the password (XEP-0484). It is to be kept like a password.
#[derive(Clone, PartialEq, Eq)]
pub struct FastToken {
    /// The secret.
    pub secret: String,
    /// The only mechanism that it is good for.
    pub mechanism: Mechanism,
    /// When it ends.
    pub expiry: DateTime,
}

impl fmt::Debug for FastToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FastToken")
            .field("mechanism", &self.mechanism)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

/// What a server offers in `<authentication/>` (XEP-0388 §2.1). It stays the same from stream to stream, most of the
/// time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl2Offer {
    mechanisms: Vec<String>,
    bindings: Option<Vec<String>>,
    tokens: Vec<Mechanism>,
    upgrades: Vec<String>,
    /// The features of Bind 2, where that is offered.
    bind: Option<Vec<String>>,
    management: bool,
}

impl Sasl2Offer {
    /// Reads it from features; `None` where SASL2 is not offered.
    pub fn read(features: &Features) -> Option<Sasl2Offer> {
        let offer = features.element().root().child("authentication", SASL2)?;
        let texts = |parent: ElementRef<'_>, name: &str, namespace: &str| -> Vec<String> {
            let children = parent.children().filter(|child| child.is(name, namespace));
            children.map(|child| child.text().trim().to_owned()).collect()
        };
        let mechanisms = texts(offer, "mechanism", SASL2);
        let inline = offer.child("inline", SASL2);
        let within = |name: &str, namespace: &str| inline.and_then(|inline| inline.child(name, namespace));
        let named = features.has("sasl-channel-binding", crate::stream::features::SASL_CB);
        let tokens = within("fast", FAST).map(|fast| texts(fast, "mechanism", FAST)).unwrap_or_default();
        let bind = within("bind", BIND2).map(|bind| {
            // Some put the features in <inline/>, as they should, and some beside it (XEP-0198 §8.4).
            let all = bind.child("inline", BIND2).unwrap_or(bind);
            let features = all.children().filter(|child| child.name() == "feature");
            features.filter_map(|feature| feature.attr("var").map(|var| var.into_owned())).collect()
        });
        (!mechanisms.is_empty()).then(|| Sasl2Offer {
            mechanisms,
            bindings: named.then(|| features.channel_bindings()),
            tokens: tokens.iter().filter_map(|name| Mechanism::from_name(name)).collect(),
            upgrades: texts(offer, "upgrade", UPGRADE),
            bind,
            management: within("sm", management::NS).is_some(),
        })
    }
}

/// An authentication that is going on.
#[derive(Debug)]
pub(super) struct Run {
    sasl: ClientSasl,
    by_token: bool,
    /// The upgrades asked for, which a server may answer with tasks (XEP-0480).
    upgrades: usize,
    /// What is known once the server has proved itself before the end.
    success: Option<ClientSuccess>,
    /// The hash that is being upgraded to, once it was chosen.
    task: Option<String>,
}

/// How a SASL2 session came about.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) offer: Option<Sasl2Offer>,
    /// A token to use the next time.
    pub(super) token: Option<FastToken>,
    /// What became of stream management that was asked for at the binding.
    pub(super) enabled: Option<Enabled>,
}

impl Initiator {
    /// Whether the first flight can log in: the server is known, and there is a token for this channel.
    pub(super) fn pipeline(&mut self) -> Option<Vec<u8>> {
        let offer = self.config.sasl2.offer.clone().filter(|_| self.config.sasl2.enabled)?;
        let bytes = self.by_token(&offer)?;
        self.outcome.offer = Some(offer);
        self.pipelined = true;
        Some(bytes)
    }

    /// Begins with the token, if there is one that may be used here.
    fn by_token(&mut self, offer: &Sasl2Offer) -> Option<Vec<u8>> {
        let options = &self.config.sasl2;
        let token = options.token.as_ref().filter(|token| offer.tokens.contains(&token.mechanism))?;
        options.user_agent.as_ref()?.id.as_ref()?;
        // Never in the open, and never weaker than what was used before.
        let allowed = self.secured && self.config.policy.floor.is_none_or(|floor| token.mechanism >= floor);
        let username = self.config.account.local().filter(|_| allowed)?;
        let sasl = ClientSasl::with_token(token.mechanism, username, &token.secret, &self.bindings)?;
        self.authenticate(offer, sasl, true).ok()
    }

    /// The features are here, and they have SASL2.
    pub(super) fn offered_sasl2(&mut self, offer: Sasl2Offer) -> Steps {
        self.outcome.offer = Some(offer.clone());
        if self.pipelined {
            // It has been answered already, or will be.
            self.pipelined = false;
            if let Some(run) = self.sasl2.take() {
                self.state = State::Sasl2(run);
            }
            return Ok(Vec::new());
        }
        if let Some(bytes) = self.by_token(&offer) {
            if let Some(run) = self.sasl2.take() {
                self.state = State::Sasl2(run);
            }
            return Ok(vec![Step::Send(bytes)]);
        }
        self.by_credentials(&offer)
    }

    fn by_credentials(&mut self, offer: &Sasl2Offer) -> Steps {
        let classic = Offer { mechanisms: offer.mechanisms.clone(), bindings: offer.bindings.clone(), sasl2: true };
        let credentials = std::mem::replace(&mut self.config.credentials, Credentials::External);
        let sasl = ClientSasl::choose(&classic, credentials, &self.bindings, self.secured, &self.config.policy)?;
        let bytes = self.authenticate(offer, sasl, false)?;
        if let Some(run) = self.sasl2.take() {
            self.state = State::Sasl2(run);
        }
        Ok(vec![Step::Send(bytes)])
    }

    /// Writes `<authenticate/>` (XEP-0388 §2.3).
    fn authenticate(
        &mut self,
        offer: &Sasl2Offer,
        mut sasl: ClientSasl,
        by_token: bool,
    ) -> Result<Vec<u8>, NegotiationError> {
        let options = &self.config.sasl2;
        let (mechanism, initial) = sasl.start(self.config.nonce.clone())?;
        let mut out = Writer::new(ns::CLIENT);
        out.open("authenticate", SASL2);
        out.attr("mechanism", &mechanism);
        if let Some(initial) = initial {
            out.text_element("initial-response", SASL2, &sasl2::encode(&initial));
        }
        if let Some(agent) = &options.user_agent {
            agent.write(&mut out);
        }
        if by_token {
            out.open("fast", FAST);
            if options.invalidate {
                out.attr("invalidate", "true");
            }
            out.close();
        }
        if let Some(mechanism) = self.token_to_ask_for(offer, &mechanism, by_token) {
            out.open("request-token", FAST);
            out.attr("mechanism", mechanism.name());
            out.close();
        }
        let mut upgrades = 0;
        if sasl.may_upgrade() {
            for task in offer.upgrades.iter().filter(|task| sasl2::upgrade_hash(task).is_some()).take(3) {
                out.text_element("upgrade", UPGRADE, task);
                upgrades += 1;
            }
        }
        if let Some(former) = self.config.resume.as_ref().filter(|_| offer.management) {
            Resume { previd: former.id.clone(), h: former.handled }.write(&mut out);
        }
        self.write_bind(offer, &mut out);
        out.close();
        self.sasl2 = Some(Box::new(Run { sasl, by_token, upgrades, success: None, task: None }));
        Ok(out.finish())
    }

    /// Bind 2, unless the application wants a resource of its own choice.
    fn write_bind(&self, offer: &Sasl2Offer, out: &mut Writer) {
        let (Some(features), None) = (&offer.bind, &self.config.resource) else { return };
        out.open("bind", BIND2);
        if let Some(tag) = &self.config.sasl2.tag {
            out.text_element("tag", BIND2, tag);
        }
        if self.config.management && features.iter().any(|feature| feature == management::NS) {
            Enable { resume: true, max: None }.write(out);
        }
        for (name, element) in &self.config.sasl2.bind {
            if features.contains(name) {
                out.raw(element);
            }
        }
        out.close();
    }

    /// Which kind of token is wanted: the strongest that this channel allows, and a bound one if the login is bound.
    fn token_to_ask_for(&self, offer: &Sasl2Offer, mechanism: &str, by_token: bool) -> Option<Mechanism> {
        let known = self.config.sasl2.user_agent.as_ref().is_some_and(|agent| agent.id.is_some());
        if by_token || !known || !self.secured || mechanism == Mechanism::Anonymous.name() {
            return None;
        }
        let bound = mechanism.ends_with("-PLUS");
        let possible = |one: &Mechanism| match one.token_binding() {
            Some(binding) => self.bindings.get(binding).is_some(),
            None => !bound,
        };
        let mut offered = Mechanism::TOKEN.into_iter().filter(|one| offer.tokens.contains(one));
        offered.find(possible).filter(|one| self.config.policy.floor.is_none_or(|floor| *one >= floor))
    }

    /// What comes while an authentication is going on.
    pub(super) fn sasl2_element(&mut self, mut run: Box<Run>, root: ElementRef<'_>) -> Steps {
        match root.name() {
            "challenge" if run.success.is_none() => {
                let step = run.sasl.challenge(&payload(root)?)?;
                self.state = State::Sasl2(run);
                Ok(respond(step))
            }
            "failure" => self.sasl2_refused(&run, root),
            "continue" => self.proceed(run, root),
            "task-data" if run.task.is_some() => self.salted(run, root),
            "success" => self.succeeded(*run, root),
            _ => Err(unexpected()),
        }
    }

    /// A token that is refused costs nothing but the way (XEP-0484 §4.1).
    fn sasl2_refused(&mut self, run: &Run, root: ElementRef<'_>) -> Steps {
        let failure = sasl2::read_failure(root);
        let Some(offer) = self.outcome.offer.clone().filter(|_| run.by_token) else {
            return Err(NegotiationError::Refused(failure));
        };
        if failure.condition != SaslCondition::TemporaryAuthFailure {
            self.config.sasl2.token = None;
        }
        self.by_credentials(&offer)
    }

    /// `<continue/>`: the login is good, and something else is wanted (XEP-0388 §2.6.3).
    fn proceed(&mut self, mut run: Box<Run>, root: ElementRef<'_>) -> Steps {
        if run.success.is_none() {
            let data = root.child("additional-data", SASL2).map(payload).transpose()?;
            run.success = Some(run.sasl.success(data.as_deref())?);
        }
        let tasks = root.child("tasks", SASL2);
        let tasks = tasks.into_iter().flat_map(|tasks| tasks.children()).map(|task| task.text().trim().to_owned());
        let tasks: Vec<String> = tasks.collect();
        let known = tasks.iter().find(|task| sasl2::upgrade_hash(task).is_some());
        let Some(task) = known.filter(|_| run.upgrades > 0).cloned() else {
            return Err(NegotiationError::Task(tasks.join(", ")));
        };
        run.upgrades -= 1;
        let mut out = Writer::new(ns::CLIENT);
        out.open("next", SASL2);
        out.attr("task", &task);
        out.close();
        run.task = Some(task);
        self.state = State::Sasl2(run);
        Ok(vec![Step::Send(out.finish())])
    }

    /// The salt of an upgrade (XEP-0480 §3).
    fn salted(&mut self, run: Box<Run>, root: ElementRef<'_>) -> Steps {
        let hash = run.task.as_deref().and_then(sasl2::upgrade_hash);
        let (Some(hash), Some(salt)) = (hash, root.child("salt", SCRAM_UPGRADE)) else { return Err(unexpected()) };
        let iterations = salt.attr("iterations").and_then(|number| number.trim().parse().ok()).unwrap_or_default();
        let salt = payload(salt)?;
        let job = run.sasl.upgrade(hash, &salt, iterations, &self.config.policy).filter(|_| !salt.is_empty());
        self.state = State::Sasl2(run);
        Ok(vec![Step::Upgrade(job.ok_or_else(unexpected)?)])
    }

    /// The salted password that [`Step::Upgrade`] asked for.
    pub fn upgraded(&mut self, salted: &Zeroizing<Vec<u8>>) -> Vec<Step> {
        let State::Sasl2(run) = &mut self.state else { return Vec::new() };
        if run.task.take().is_none() {
            return Vec::new();
        }
        let mut out = Writer::new(ns::CLIENT);
        out.open("task-data", SASL2);
        out.text_element("hash", SCRAM_UPGRADE, &sasl2::encode(salted));
        out.close();
        vec![Step::Send(out.finish())]
    }

    fn succeeded(&mut self, mut run: Run, root: ElementRef<'_>) -> Steps {
        let data = root.child("additional-data", SASL2).map(payload).transpose()?;
        let success = match run.success.take() {
            Some(success) => success,
            // Only with this is the server who it says it is.
            None => run.sasl.success(data.as_deref())?,
        };
        self.authenticated = Some(success);
        self.outcome.token = self.next_token(run.by_token, root);
        let identifier = root.child("authorization-identifier", SASL2).map(|jid| jid.text().trim().to_owned());
        let jid = identifier.and_then(|jid| Jid::lenient(&jid).ok()).ok_or_else(unexpected)?;
        let resumed = root.child(Resumed::NAME, management::NS);
        let asked = self.outcome.offer.as_ref().is_some_and(|offer| offer.management);
        let former = if asked { self.config.resume.take() } else { None };
        if let (Some(resumed), Some(former)) = (resumed, former) {
            let resumed = Resumed::read(resumed).map_err(|_| unexpected())?;
            if resumed.previd != former.id {
                return Err(unexpected());
            }
            return self.established(former.jid, Some(resumed.h));
        }
        self.not_resumed = root.child(Failed::NAME, management::NS).and_then(|failed| Failed::read(failed).ok());
        if let Some(bound) = root.child("bound", BIND2) {
            let jid: FullJid = jid.into_full().map_err(|_| unexpected())?;
            let enabled = bound.child(Enabled::NAME, management::NS);
            self.outcome.enabled = enabled.and_then(|enabled| Enabled::read(enabled).ok());
            self.bound = Some(jid);
        }
        // Without a restart, the features of the authenticated stream follow (XEP-0388 §2.6.1).
        self.state = State::Features;
        Ok(Vec::new())
    }

    /// What to log in by the next time: a new token, or the one that was good once more.
    fn next_token(&self, by_token: bool, root: ElementRef<'_>) -> Option<FastToken> {
        let old = self.config.sasl2.token.as_ref().filter(|_| by_token);
        let given = root.child("token", FAST).and_then(|token| {
            let offer = self.outcome.offer.as_ref()?;
            // A rotated token is for the mechanism of the old one.
            let asked = old.map(|old| old.mechanism).or_else(|| {
                let used = self.authenticated.as_ref()?.mechanism?;
                self.token_to_ask_for(offer, used.name(), false)
            })?;
            let expiry = token.attr("expiry").and_then(|expiry| DateTime::from_text(expiry.trim()).ok())?;
            let secret = token.attr("token").filter(|secret| !secret.is_empty())?.into_owned();
            Some(FastToken { secret, mechanism: asked, expiry })
        });
        // One that could not be used is kept; one that was ended or refused is not.
        let spent = by_token && self.config.sasl2.invalidate;
        given.or_else(|| self.config.sasl2.token.clone().filter(|_| !spent))
    }
}

fn payload(element: ElementRef<'_>) -> Result<Vec<u8>, NegotiationError> {
    sasl2::decode(element).map_err(|_| NegotiationError::Protocol(StreamCondition::BadFormat.into()))
}

/// What to send after a challenge.
pub(super) fn respond(step: ClientStep) -> Vec<Step> {
    match step {
        ClientStep::Send(data) => vec![Step::Send(sasl2::exchange("response", &data))],
        ClientStep::Derive(job) => vec![Step::Derive(job)],
    }
}

impl Run {
    pub(super) fn derived(&mut self, keys: crate::sasl::ScramKeys) -> Result<Vec<Step>, NegotiationError> {
        Ok(respond(ClientStep::Send(self.sasl.derived(keys)?)))
    }
}
