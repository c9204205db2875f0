//! Authentication by the profile of RFC 6120 (§6), and what SASL2 has in common with it.

use super::{Acceptor, State, Task};
use crate::{
    jid::{BareJid, Jid},
    sasl::{
        self, Authenticated, Identity, Mechanism, Nonce, SaslCondition, SaslFailure, ScramCredentials, ServerSasl,
        ServerStep,
    },
    stream::sasl_xml::write_failure,
    stream::{StreamCondition, StreamError},
    xml::{ElementRef, Writer, ns},
};

impl Acceptor {
    /// The answer to [`Task::Credentials`]: `Ok(None)` when there is no such user, or none for this hash; `Err` when
    /// the store failed.
    pub fn credentials(&mut self, found: Result<Option<ScramCredentials>, ()>) -> Vec<Task> {
        if let Some(tasks) = self.upgrade_found(&found) {
            return tasks;
        }
        self.answered(|sasl| found.map(|found| sasl.credentials(found)))
    }

    /// The generation is asked for before the credentials: a password that is changed meanwhile makes it an old one, and
    /// nothing is stored by it.
    fn after_generation(&mut self, user: BareJid, question: Task) -> Vec<Task> {
        self.generation = None;
        if self.config.tokens.is_none() {
            return vec![question];
        }
        self.question = Some(question);
        vec![Task::Generation(user)]
    }

    /// The answer to [`Task::Generation`]; `Err` when the store failed, which a login does not fail for.
    pub fn generation(&mut self, found: Result<u64, ()>) -> Vec<Task> {
        self.generation = found.ok();
        self.question.take().into_iter().collect()
    }

    /// The answer to [`Task::CheckPassword`].
    pub fn password(&mut self, correct: Result<bool, ()>) -> Vec<Task> {
        self.answered(|sasl| correct.map(|correct| sasl.password(correct)))
    }

    pub(super) fn sasl(&mut self, root: ElementRef<'_>) -> Vec<Task> {
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

    pub(super) fn sasl_step(&mut self, step: ServerStep) -> Vec<Task> {
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
                    self.after_generation(user.clone(), Task::Credentials(user, hash))
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
                    self.after_generation(user.clone(), Task::CheckPassword(user, password))
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
                let Some(user) = self.identified(&authenticated.identity) else {
                    return self.sasl_step(ServerStep::Failure(SaslCondition::NotAuthorized.into()));
                };
                self.ask_admission(user, authenticated)
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

    /// Whose account it is that somebody has proved to own. Who is anonymous gets a new one.
    pub(super) fn identified(&mut self, identity: &Identity) -> Option<BareJid> {
        match identity {
            Identity::User { username, .. } => self.account(username),
            Identity::External(address) => self.certified_account(address),
            Identity::Anonymous { .. } => {
                let name = (self.entropy.0)();
                self.account(&name)
            }
        }
    }

    /// Who has an account is let in if it is not disabled. Nobody else learns that it is.
    pub(super) fn ask_admission(&mut self, user: BareJid, authenticated: Authenticated) -> Vec<Task> {
        if authenticated.mechanism == Mechanism::Anonymous {
            return self.let_in(user, authenticated);
        }
        self.state = State::Asked;
        self.admission = Some((user.clone(), authenticated));
        vec![Task::Admit(user)]
    }

    /// The answer to [`Task::Admit`]: `Ok(false)` when the account is disabled (`account-disabled`, RFC 6120 §6.5.1),
    /// `Err` when the store failed.
    pub fn admitted(&mut self, admitted: Result<bool, ()>) -> Vec<Task> {
        let (State::Asked, Some((user, authenticated))) = (&self.state, self.admission.take()) else {
            return Vec::new();
        };
        self.state = State::Sasl;
        let refused = match admitted {
            Ok(true) => return self.let_in(user, authenticated),
            Ok(false) => SaslCondition::AccountDisabled,
            Err(()) => SaslCondition::TemporaryAuthFailure,
        };
        match &mut self.sasl {
            Some(sasl) => {
                let step = sasl.refuse(refused);
                self.sasl_step(step)
            }
            None => Vec::new(),
        }
    }

    fn let_in(&mut self, user: BareJid, authenticated: Authenticated) -> Vec<Task> {
        if self.in_sasl2() {
            return self.sasl2_let_in(user, authenticated);
        }
        self.user = Some((user, authenticated.mechanism));
        self.sasl = None;
        let mut tasks = vec![Task::Send(sasl_element("success", authenticated.data.as_deref()))];
        tasks.extend(self.restart());
        tasks
    }

    /// The account of a user name in the domain asked for. A name with an `@` is none: that is how one would reach
    /// into another domain.
    pub(super) fn account(&self, username: &str) -> Option<BareJid> {
        let (domain, _) = self.domain.as_ref()?;
        let jid = Jid::from_parts(Some(username), domain, None).ok()?;
        BareJid::new(jid.as_str()).ok()
    }

    /// The account that a certificate stands for, as it was told.
    pub(super) fn certified_account(&self, address: &str) -> Option<BareJid> {
        let (domain, _) = self.domain.as_ref()?;
        self.certified.iter().find(|account| account.as_str() == address && account.domain() == domain).cloned()
    }
}

/// RFC 6120 §6.4.5.
pub(super) fn failed_often() -> StreamError {
    StreamError::new(StreamCondition::PolicyViolation).with_text("too many failed authentications")
}

fn sasl_element(name: &str, data: Option<&[u8]>) -> Vec<u8> {
    let mut out = Writer::new(ns::CLIENT);
    out.text_element(name, ns::SASL, &sasl::encode_payload(data));
    out.finish()
}

fn failure(failure: &SaslFailure) -> Task {
    let mut out = Writer::new(ns::CLIENT);
    write_failure(failure, &mut out);
    Task::Send(out.finish())
}
