//! The receiving side: one machine for all handshakes of a stream (RFC 6120 §6.4).

mod policy;
mod scram;
mod simple;

use std::fmt;

use zeroize::Zeroizing;

pub use policy::ServerPolicy;

use self::scram::{FirstReceived, ScramFinal};
use super::scram::{Nonce, ScramCredentials};
use super::{BindingType, Hash, MAX_MESSAGE, Mechanism, SaslCondition, SaslFailure, TokenProof};

/// What the server has to do next.
#[non_exhaustive]
pub enum ServerStep {
    /// Send a `<challenge/>` with this payload.
    Challenge(Vec<u8>),
    /// Look up the account and hand the result to [`ServerSasl::credentials`].
    NeedCredentials {
        /// The simple user name, prepared.
        username: String,
        /// Whom the client wants to act as, unchecked as yet.
        authzid: Option<String>,
        /// The hash for which credentials are needed. An account without any for this hash is like an unknown one.
        hash: Hash,
    },
    /// Check the password and hand the verdict to [`ServerSasl::password`]. For a user who doesn't exist, check it
    /// against [`ScramCredentials::fake`], so that both take as long.
    CheckPassword {
        /// The simple user name, prepared.
        username: String,
        /// The password as it was sent; [`ScramCredentials::verify_password`] prepares it.
        password: Zeroizing<String>,
    },
    /// Look the client's tokens up and hand the answer of [`TokenProof::verify`] to [`ServerSasl::token`].
    CheckToken(TokenProof),
    /// Send `<success/>`.
    Success(Authenticated),
    /// Send `<failure/>`; close the stream with `policy-violation` if [`ServerSasl::attempts_left`] is 0.
    Failure(SaslFailure),
}

impl fmt::Debug for ServerStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerStep::Challenge(_) => f.write_str("Challenge"),
            ServerStep::NeedCredentials { username, authzid, hash } => f
                .debug_struct("NeedCredentials")
                .field("username", username)
                .field("authzid", authzid)
                .field("hash", hash)
                .finish(),
            ServerStep::CheckPassword { username, .. } => {
                f.debug_struct("CheckPassword").field("username", username).finish_non_exhaustive()
            }
            ServerStep::CheckToken(proof) => f.debug_tuple("CheckToken").field(proof).finish(),
            ServerStep::Success(authenticated) => f.debug_tuple("Success").field(authenticated).finish(),
            ServerStep::Failure(failure) => f.debug_tuple("Failure").field(failure).finish(),
        }
    }
}

/// Who logged in, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authenticated {
    /// Who.
    pub identity: Identity,
    /// How.
    pub mechanism: Mechanism,
    /// The payload of `<success/>`.
    pub data: Option<Vec<u8>>,
}

/// Who somebody has proved to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identity {
    /// The owner of an account.
    User {
        /// The simple user name, prepared.
        username: String,
        /// Whom to act as, if that is somebody else. Only where [`ServerPolicy::proxies`] lets it through, and then it
        /// is the application that has to permit it, or answer `invalid-authzid`.
        authzid: Option<String>,
    },
    /// One of [`ServerPolicy::external`], in the form it has there.
    External(String),
    /// Nobody.
    Anonymous {
        /// What the client says for the log (RFC 4505); not to be trusted.
        trace: Option<String>,
    },
}

/// The handshakes of one stream, one after another.
#[derive(Debug)]
pub struct ServerSasl {
    policy: ServerPolicy,
    failures: u32,
    state: State,
}

enum State {
    Idle,
    /// The mechanism wants the client to speak first, and it has not.
    Started(Mechanism, Nonce),
    Lookup(FirstReceived),
    Final(Box<ScramFinal>),
    Password {
        username: String,
        authzid: Option<String>,
    },
    Token(String, Mechanism),
    Done,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Idle => "Idle",
            State::Started(..) => "Started",
            State::Lookup(_) => "Lookup",
            State::Final(_) => "Final",
            State::Password { .. } => "Password",
            State::Token(..) => "Token",
            State::Done => "Done",
        })
    }
}

impl ServerSasl {
    /// A machine for one stream.
    pub fn new(policy: ServerPolicy) -> ServerSasl {
        ServerSasl { policy, failures: 0, state: State::Idle }
    }

    /// The mechanisms to announce, in the policy's order.
    pub fn offered(&self) -> Vec<Mechanism> {
        self.policy.offered().collect()
    }

    /// The mechanisms of tokens to announce (XEP-0484 §3.1), in the policy's order.
    pub fn offered_tokens(&self) -> Vec<Mechanism> {
        self.policy.offered_tokens().collect()
    }

    /// The channel-binding types to announce (XEP-0440); none if no mechanism uses them.
    pub fn bindings(&self) -> Vec<BindingType> {
        if self.policy.offers_plus() { self.policy.bindings.types() } else { Vec::new() }
    }

    /// How many more handshakes may fail on this stream (RFC 6120 §6.4.5). Aborted and abandoned ones count, or one
    /// stream could probe forever.
    pub fn attempts_left(&self) -> u32 {
        self.policy.max_failures.saturating_sub(self.failures)
    }

    /// Takes `<auth/>`. One that comes during a handshake replaces it (RFC 6120 §6.4.2). The nonce must be fresh.
    pub fn auth(&mut self, mechanism: &str, initial: Option<&[u8]>, nonce: Nonce) -> ServerStep {
        if let Err(refused) = self.begin() {
            return refused;
        }
        let Some(mechanism) = Mechanism::from_name(mechanism) else {
            return self.fail(SaslCondition::InvalidMechanism);
        };
        if !self.policy.offered().any(|offered| offered == mechanism) {
            let needs_tls = mechanism == Mechanism::Plain && self.policy.mechanisms.contains(&mechanism);
            return self.fail(if needs_tls {
                SaslCondition::EncryptionRequired
            } else {
                SaslCondition::InvalidMechanism
            });
        }
        match initial {
            Some(payload) => self.first(mechanism, payload, nonce),
            None => {
                self.state = State::Started(mechanism, nonce);
                ServerStep::Challenge(Vec::new())
            }
        }
    }

    /// Takes the beginning of an authentication by token, all of which is in the initial response (XEP-0484).
    pub fn token_auth(&mut self, mechanism: &str, initial: Option<&[u8]>) -> ServerStep {
        if let Err(refused) = self.begin() {
            return refused;
        }
        let offered = self.policy.offered_tokens().find(|offered| offered.name() == mechanism);
        let (Some(mechanism), Some(message)) = (offered, initial) else {
            let missing = offered.map_or(SaslCondition::InvalidMechanism, |_| SaslCondition::MalformedRequest);
            return self.fail(missing);
        };
        if message.len() > MAX_MESSAGE {
            return self.fail(SaslCondition::MalformedRequest);
        }
        match TokenProof::parse(mechanism, message, &self.policy.bindings) {
            Ok(proof) => {
                self.state = State::Token(proof.username().to_owned(), mechanism);
                ServerStep::CheckToken(proof)
            }
            Err(failure) => self.fail(failure),
        }
    }

    /// Answers [`ServerStep::CheckToken`]: what [`TokenProof::verify`] returned for the right token.
    pub fn token(&mut self, answer: Option<Vec<u8>>) -> ServerStep {
        match (std::mem::replace(&mut self.state, State::Idle), answer) {
            (State::Token(username, mechanism), Some(data)) => {
                let identity = Identity::User { username, authzid: None };
                self.finish(Ok(Authenticated { identity, mechanism, data: Some(data) }))
            }
            (State::Token(..), None) => self.fail(SaslCondition::NotAuthorized),
            (State::Done, _) => self.after_success(),
            _ => self.fail(SaslCondition::TemporaryAuthFailure),
        }
    }

    /// A handshake begins; one that was going on has failed.
    fn begin(&mut self) -> Result<(), ServerStep> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Done => return Err(self.after_success()),
            State::Idle => {}
            _ => self.failures = self.failures.saturating_add(1),
        }
        if self.attempts_left() == 0 {
            return Err(self.fail(SaslFailure::new(SaslCondition::TemporaryAuthFailure, "too many attempts")));
        }
        Ok(())
    }

    /// Takes the payload of `<response/>`.
    pub fn response(&mut self, payload: &[u8]) -> ServerStep {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Started(mechanism, nonce) => self.first(mechanism, payload, nonce),
            State::Final(scram) if payload.len() <= MAX_MESSAGE => {
                let step = scram.finish(payload).and_then(|(username, authzid, mechanism, data)| {
                    Ok(Authenticated { identity: self.user(username, authzid)?, mechanism, data: Some(data) })
                });
                self.finish(step)
            }
            State::Done => self.after_success(),
            State::Idle | State::Lookup(_) | State::Password { .. } | State::Token(..) | State::Final(_) => {
                self.fail(SaslFailure::new(SaslCondition::MalformedRequest, "no response was asked for"))
            }
        }
    }

    /// Takes `<abort/>`. All of the handshake is forgotten.
    pub fn abort(&mut self) -> ServerStep {
        match self.state {
            State::Done => self.after_success(),
            _ => self.fail(SaslCondition::Aborted),
        }
    }

    /// Answers [`ServerStep::NeedCredentials`]: the account's credentials for that hash, or `None`. The client can't
    /// tell `None` from a wrong password.
    pub fn credentials(&mut self, credentials: Option<ScramCredentials>) -> ServerStep {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Lookup(first) => {
                let (challenge, next) = first.challenge(credentials, &self.policy);
                self.state = State::Final(Box::new(next));
                ServerStep::Challenge(challenge)
            }
            State::Done => self.after_success(),
            _ => self.fail(SaslCondition::TemporaryAuthFailure),
        }
    }

    /// Answers [`ServerStep::CheckPassword`].
    pub fn password(&mut self, correct: bool) -> ServerStep {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Password { username, authzid } if correct => {
                let identity = self.user(username, authzid);
                self.finish(identity.map(|identity| Authenticated {
                    identity,
                    mechanism: Mechanism::Plain,
                    data: None,
                }))
            }
            State::Password { .. } => self.fail(SaslCondition::NotAuthorized),
            State::Done => self.after_success(),
            _ => self.fail(SaslCondition::TemporaryAuthFailure),
        }
    }

    /// Ends the handshake for a reason of the application's: the account is disabled, its store is away. Also instead of
    /// a [`ServerStep::Success`] that has not been sent yet, if the authorization identity is not permitted.
    pub fn refuse(&mut self, failure: impl Into<SaslFailure>) -> ServerStep {
        self.fail(failure)
    }

    fn first(&mut self, mechanism: Mechanism, payload: &[u8], nonce: Nonce) -> ServerStep {
        if payload.len() > MAX_MESSAGE {
            return self.fail(SaslCondition::MalformedRequest);
        }
        let identity = match mechanism {
            Mechanism::Plain => match simple::plain(payload) {
                Ok((authzid, username, password)) => {
                    self.state = State::Password { username: username.clone(), authzid };
                    return ServerStep::CheckPassword { username, password };
                }
                Err(failure) => Err(failure),
            },
            Mechanism::External => simple::external(payload, &self.policy.external),
            Mechanism::Anonymous => simple::anonymous(payload),
            _ => match FirstReceived::parse(mechanism, payload, nonce, &self.policy) {
                Ok(first) => {
                    let (username, authzid, hash) = (first.username.clone(), first.authzid.clone(), first.hash);
                    self.state = State::Lookup(first);
                    return ServerStep::NeedCredentials { username, authzid, hash };
                }
                Err(failure) => Err(failure),
            },
        };
        self.finish(identity.map(|identity| Authenticated { identity, mechanism, data: None }))
    }

    /// Checks an authorization identity after the password has been proved (RFC 6120 §6.3.8).
    fn user(&self, username: String, authzid: Option<String>) -> Result<Identity, SaslFailure> {
        let own = format!("{username}@{}", self.policy.domain);
        let authzid = authzid.filter(|authzid| authzid.to_lowercase() != own.to_lowercase());
        if authzid.is_some() && !self.policy.proxies {
            return Err(SaslCondition::InvalidAuthzid.into());
        }
        Ok(Identity::User { username, authzid })
    }

    fn finish(&mut self, result: Result<Authenticated, SaslFailure>) -> ServerStep {
        match result {
            Ok(authenticated) => {
                self.state = State::Done;
                ServerStep::Success(authenticated)
            }
            Err(failure) => self.fail(failure),
        }
    }

    fn fail(&mut self, failure: impl Into<SaslFailure>) -> ServerStep {
        self.state = State::Idle;
        self.failures = self.failures.saturating_add(1);
        ServerStep::Failure(failure.into())
    }

    fn after_success(&mut self) -> ServerStep {
        self.state = State::Done;
        ServerStep::Failure(SaslFailure::new(SaslCondition::MalformedRequest, "already authenticated"))
    }
}
