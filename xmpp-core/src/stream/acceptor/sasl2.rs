//! SASL2 as a server has it (XEP-0388): authentication without a restart of the stream, and what goes along in it.

mod bind2;
mod fast;
mod upgrade;

pub use bind2::{BindRequest, Bound};

use super::{Accepted, Acceptor, State, Task, profile::failed_often};
use crate::{
    jid::{BareJid, FullJid},
    payload::{DateTime, Payload as _},
    sasl::{Authenticated, Hash, Mechanism, Nonce, SaslCondition, SaslFailure, ServerSasl, ServerStep, TokenProof},
    stanza::Condition,
    stream::{
        StreamCondition, StreamError,
        management::{self, Failed},
        sasl2::{self, Authenticate, BIND2, FAST, Offered, SASL2, UserAgent},
        tokens::Token,
    },
    xml::{Stanza, Writer, ns},
};
use std::collections::VecDeque;

/// One authentication.
#[derive(Debug)]
pub(super) struct Run {
    request: Authenticate,
    stage: Stage,
    /// What `<success/>` or the first `<continue/>` is to carry.
    data: Option<Vec<u8>>,
    /// Upgrades that the client wants and the server can store.
    upgrades: VecDeque<Hash>,
    /// Whether the login has been noted with the tokens of the client.
    noted: bool,
    /// A token is to be made, for this mechanism.
    wanted: Option<Mechanism>,
    /// The new token.
    token: Option<Token>,
    /// Whether a former session is still to be looked for.
    resume: bool,
    /// How that failed.
    failed: Vec<u8>,
    /// Whether `<continue/>` was sent: there is no other authentication on this stream then.
    continued: bool,
}

#[derive(Debug)]
enum Stage {
    /// Challenges and responses.
    Exchange,
    /// The tokens of the client are looked up.
    Redeeming(TokenProof),
    /// A use of a token is noted; then this is the answer.
    Used(Vec<u8>),
    /// A token is put aside; then this is the failure.
    Ended(SaslCondition),
    /// Whether there are credentials for this hash.
    Checking(Hash),
    /// The client is to begin the task.
    Offered(Hash),
    /// The client is to derive.
    Salted { hash: Hash, salt: Vec<u8>, iterations: u32 },
    /// What it has derived is stored.
    Saving,
    /// The tokens of the client are looked up, to add one.
    Issuing,
    /// A new token is stored.
    Storing,
    /// A former session is looked for.
    Resuming,
    /// A session is made.
    Binding,
}

impl Acceptor {
    /// Whether a SASL2 authentication is going on.
    pub(super) fn in_sasl2(&self) -> bool {
        self.sasl2.is_some()
    }

    /// Writes `<authentication/>`, if there is anything in it.
    pub(super) fn offer_sasl2(&self, sasl: &ServerSasl, out: &mut Writer) {
        let mechanisms = sasl.offered();
        if !self.config.sasl2 || mechanisms.is_empty() {
            return;
        }
        let offered = Offered {
            mechanisms: &mechanisms,
            tokens: &sasl.offered_tokens(),
            management: self.config.management,
            bind: &self.config.bind_features,
            upgrades: &self.config.upgrades,
        };
        offered.write(out);
    }

    pub(super) fn sasl2_element(&mut self, element: &Stanza) -> Vec<Task> {
        let root = element.root();
        match (root.name(), self.sasl2.as_ref().map(|run| &run.stage)) {
            ("authenticate", None) => self.authenticate(element),
            // XEP-0388 §5.8, §2.4: at most one at a time, and none after the first that came through.
            ("authenticate", Some(_)) => self.sasl2_breach("one authentication at a time"),
            ("response" | "abort", None) if self.user.is_some() => self.sasl2_breach("already authenticated"),
            ("response" | "abort", None) if matches!(self.state, State::Sasl) => {
                self.sasl2_breach("another authentication is going on")
            }
            ("response", None | Some(Stage::Exchange)) => {
                let data = sasl2::decode(root);
                let Some(sasl) = &mut self.sasl else { return self.too_early() };
                let step = match data {
                    Ok(data) => sasl.response(&data),
                    Err(condition) => sasl.refuse(condition),
                };
                self.sasl2_step(step)
            }
            ("abort", _) => {
                let Some(sasl) = &mut self.sasl else { return self.too_early() };
                let step = sasl.refuse(SaslCondition::Aborted);
                self.sasl2_step(step)
            }
            ("next", Some(Stage::Offered(_))) => self.next_task(root),
            ("task-data", Some(Stage::Salted { .. })) => self.task_data(root),
            _ => self.sasl2_breach("out of order"),
        }
    }

    /// XEP-0388 §2.4: whoever says anything else while it authenticates is disconnected.
    pub(super) fn sasl2_breach(&mut self, text: &str) -> Vec<Task> {
        self.sasl2 = None;
        self.close(Some(&StreamError::new(StreamCondition::PolicyViolation).with_text(text)))
    }

    fn too_early(&mut self) -> Vec<Task> {
        let mut tasks = vec![Task::Send(sasl2::failure(&SaslCondition::EncryptionRequired.into()))];
        let error = StreamError::new(StreamCondition::PolicyViolation).with_text("use TLS first");
        tasks.extend(self.close(Some(&error)));
        tasks
    }

    fn authenticate(&mut self, element: &Stanza) -> Vec<Task> {
        if self.user.is_some() {
            return self.sasl2_breach("already authenticated");
        }
        if !matches!(self.state, State::Features) {
            return self.sasl2_breach("another authentication is going on");
        }
        if self.sasl.is_none() || !self.config.sasl2 {
            return self.too_early();
        }
        let Some(nonce) = Nonce::new((self.entropy.0)()) else {
            return self.close(Some(&StreamError::new(StreamCondition::InternalServerError)));
        };
        let Some(sasl) = &mut self.sasl else { return Vec::new() };
        self.named = None;
        let step = match Authenticate::read(element) {
            Ok(request) => {
                let step = match request.fast {
                    Some(_) if request.client().is_none() => {
                        sasl.refuse(SaslFailure::new(SaslCondition::MalformedRequest, "a token needs a user-agent id"))
                    }
                    Some(_) => sasl.token_auth(&request.mechanism, request.initial.as_deref()),
                    None => sasl.auth(&request.mechanism, request.initial.as_deref(), nonce),
                };
                let tokens = sasl.offered_tokens();
                let wanted = request.request_token.filter(|one| tokens.contains(one) && request.client().is_some());
                let possible = |hash: &Hash| self.config.upgrades.contains(hash);
                let upgrades = request.upgrades.iter().copied().filter(possible).collect();
                let resume = self.config.management && request.element.root().child("resume", management::NS).is_some();
                self.sasl2 = Some(Box::new(Run {
                    request,
                    stage: Stage::Exchange,
                    data: None,
                    upgrades,
                    noted: self.config.tokens.is_none(),
                    wanted,
                    token: None,
                    resume,
                    failed: Vec::new(),
                    continued: false,
                }));
                step
            }
            Err(condition) => sasl.refuse(condition),
        };
        self.state = State::Sasl;
        self.sasl2_step(step)
    }

    pub(super) fn sasl2_step(&mut self, step: ServerStep) -> Vec<Task> {
        match step {
            ServerStep::Challenge(data) => vec![Task::Send(sasl2::exchange("challenge", &data))],
            ServerStep::CheckToken(proof) => self.look_for_token(proof),
            ServerStep::Success(authenticated) => self.sasl2_authenticated(authenticated),
            ServerStep::Failure(refused) => self.sasl2_failed(&refused),
            // They are the same in both profiles.
            step => self.sasl_step(step),
        }
    }

    fn sasl2_failed(&mut self, refused: &SaslFailure) -> Vec<Task> {
        let run = self.sasl2.take();
        let mut tasks = vec![Task::Failed(self.named.take()), Task::Send(sasl2::failure(refused))];
        if run.is_some_and(|run| run.continued) {
            // The stream cannot be authenticated any more (§5.8), and this user is not.
            tasks.extend(self.close(None));
            return tasks;
        }
        self.user = None;
        self.state = State::Features;
        if self.sasl.as_ref().map_or(0, ServerSasl::attempts_left) == 0 {
            tasks.extend(self.close(Some(&failed_often())));
        }
        tasks
    }

    fn refused(&mut self, condition: impl Into<SaslFailure>) -> Vec<Task> {
        let failure = condition.into();
        let Some(sasl) = &mut self.sasl else { return self.sasl2_failed(&failure) };
        let step = sasl.refuse(failure);
        self.sasl2_step(step)
    }

    fn sasl2_authenticated(&mut self, authenticated: Authenticated) -> Vec<Task> {
        let anonymous = authenticated.mechanism == Mechanism::Anonymous;
        let Some(user) = self.identified(&authenticated.identity) else {
            return self.refused(SaslCondition::NotAuthorized);
        };
        // XEP-0388 §2.3: the stream was opened in somebody's name.
        if !anonymous && self.from.as_ref().is_some_and(|claimed| *claimed != user) {
            return self.refused(SaslFailure::new(SaslCondition::InvalidAuthzid, "the stream is from somebody else"));
        }
        self.ask_admission(user, authenticated)
    }

    pub(super) fn sasl2_let_in(&mut self, user: BareJid, authenticated: Authenticated) -> Vec<Task> {
        let mechanism = authenticated.mechanism;
        self.user = Some((user, mechanism));
        if let Some(run) = &mut self.sasl2 {
            run.data = authenticated.data;
            run.stage = Stage::Exchange;
            if mechanism == Mechanism::Anonymous {
                run.noted = true;
            }
            // Only who has proved to know the password may store what logs in like it: nobody makes one out of a token.
            if !mechanism.proves_password() {
                run.upgrades.clear();
            }
        }
        self.sasl2_advance()
    }

    /// What is still to be done before success, one after another.
    pub(super) fn sasl2_advance(&mut self) -> Vec<Task> {
        let (Some(run), Some((user, _))) = (&mut self.sasl2, &self.user) else { return Vec::new() };
        let user = user.clone();
        self.state = State::Asked;
        if let Some(hash) = run.upgrades.pop_front() {
            run.stage = Stage::Checking(hash);
            return vec![Task::Credentials(user, hash)];
        }
        if !run.noted
            && let Some(client) = run.request.client()
        {
            let client = client.to_owned();
            run.noted = true;
            run.stage = Stage::Issuing;
            return vec![Task::Tokens(user, client)];
        }
        if run.resume {
            run.resume = false;
            run.stage = Stage::Resuming;
            let resume = run.request.element.root().child("resume", management::NS);
            let Some(Ok(resume)) = resume.map(management::Resume::read) else {
                return self.sasl2_not_resumed(&Failed::new(Condition::BadRequest));
            };
            self.previous.clone_from(&resume.previd);
            return vec![Task::Resume { user, previous: resume.previd, handled: resume.h }];
        }
        match &run.request.bind {
            Some(tag) => {
                run.stage = Stage::Binding;
                let client = run.request.client().map(str::to_owned);
                let request = run.request.element.clone();
                vec![Task::Bind2(Box::new(BindRequest { user, tag: tag.clone(), client, request }))]
            }
            None => self.sasl2_success(user.as_str(), None),
        }
    }

    /// Success with a former session, behind which there are no features (XEP-0198 §8.2); `None` outside of SASL2.
    pub(super) fn sasl2_resumed(&mut self, jid: &FullJid, resumed: &[u8]) -> Option<Vec<u8>> {
        self.sasl2.as_ref()?;
        let mut out = Writer::new(ns::CLIENT);
        self.write_success(jid.as_str(), &mut out, |out| out.raw(resumed));
        Some(out.finish())
    }

    /// The former session is gone: a new one is bound in its place (XEP-0198 §8.2.1).
    pub(super) fn sasl2_not_resumed(&mut self, failed: &Failed) -> Vec<Task> {
        if let Some(run) = &mut self.sasl2 {
            let mut out = Writer::new(ns::CLIENT);
            failed.write(&mut out);
            run.failed = out.finish();
        }
        self.sasl2_advance()
    }

    /// Writes `<success/>`, and the features of the stream as it is now behind it (XEP-0388 §2.6.1).
    fn sasl2_success(&mut self, jid: &str, bound: Option<&Bound>) -> Vec<Task> {
        let mut out = Writer::new(ns::CLIENT);
        self.write_success(jid, &mut out, |out| {
            if let Some(bound) = bound {
                out.open("bound", BIND2);
                out.raw(&bound.features);
                out.close();
            }
        });
        self.state = State::Features;
        let mut out = out.finish();
        out.extend_from_slice(b"<stream:features>");
        let mut features = Writer::with_buffer(ns::CLIENT, out);
        self.write_features(bound.is_some(), bound.is_some_and(|bound| bound.managed), &mut features);
        let mut out = features.finish();
        out.extend_from_slice(b"</stream:features>");
        vec![Task::Send(out)]
    }

    /// Writes `<success/>` and ends the authentication.
    pub(super) fn write_success(&mut self, jid: &str, out: &mut Writer, session: impl FnOnce(&mut Writer)) {
        let run = self.sasl2.take();
        self.sasl = None;
        self.agent = run.as_ref().and_then(|run| run.request.agent.clone());
        out.open("success", SASL2);
        if let Some(data) = run.as_ref().and_then(|run| run.data.as_ref()) {
            out.text_element("additional-data", SASL2, &sasl2::encode(data));
        }
        out.text_element("authorization-identifier", SASL2, jid);
        if let Some(run) = &run {
            out.raw(&run.failed);
        }
        session(out);
        if let Some(token) = run.and_then(|run| run.token) {
            out.open("token", FAST);
            let expiry = i64::try_from(token.expiry).ok().and_then(|expiry| DateTime::from_unix(expiry, 0));
            out.attr_opt("expiry", expiry.map(|expiry| expiry.to_string()).as_deref());
            out.attr("token", &token.secret);
            out.close();
        }
        out.close();
    }

    /// The client of the session that is about to be handed over.
    pub(super) fn user_agent(&self) -> Option<UserAgent> {
        self.sasl2.as_ref().map_or(&self.agent, |run| &run.request.agent).clone()
    }
}
