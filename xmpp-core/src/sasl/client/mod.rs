//! The initiating side: choosing a mechanism and running it.

mod choose;
mod custom;
mod error;
mod scram;

use std::fmt;
use std::ops::RangeInclusive;

use zeroize::Zeroizing;

pub use choose::Offer;
pub use custom::ClientMechanism;
#[cfg(feature = "sasl")]
pub use custom::ForeignMechanism;
pub use error::{ChooseError, SaslError};

use self::scram::ScramClient;
use super::scram::{DeriveJob, Nonce, ScramKeys, UpgradeJob};
use super::{ChannelBindings, Hash, MAX_MESSAGE, Mechanism, token};
use subtle::ConstantTimeEq as _;

/// How a client proves who it is.
#[non_exhaustive]
pub enum Credentials {
    /// A name and a password: SCRAM, or PLAIN where the policy allows it.
    Password {
        /// The simple user name, which is the localpart of the account's address (RFC 6120 §6.3.7).
        username: String,
        /// The password.
        password: Zeroizing<String>,
        /// Keys of an earlier login; used if the server still has the same salt and iterations.
        cached: Option<ScramKeys>,
    },
    /// Only the keys of an earlier login. Fails with [`SaslError::StaleKeys`] if the password has changed since.
    Keys {
        /// The simple user name.
        username: String,
        /// The keys, which also say the hash.
        keys: ScramKeys,
    },
    /// The TLS certificate that this end presented.
    External,
    /// No account.
    Anonymous {
        /// Trace information for the server's log: an address or a token of at most 255 characters (RFC 4505 §2).
        trace: Option<String>,
    },
    /// A mechanism of one's own.
    Custom(Box<dyn ClientMechanism>),
}

impl Credentials {
    /// A name and a password.
    pub fn password(username: impl Into<String>, password: impl Into<String>) -> Credentials {
        Credentials::Password { username: username.into(), password: Zeroizing::new(password.into()), cached: None }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::Password { username, .. } => {
                f.debug_struct("Password").field("username", username).finish_non_exhaustive()
            }
            Credentials::Keys { username, .. } => {
                f.debug_struct("Keys").field("username", username).finish_non_exhaustive()
            }
            Credentials::External => f.write_str("External"),
            Credentials::Anonymous { .. } => f.write_str("Anonymous"),
            Credentials::Custom(mechanism) => f.debug_tuple("Custom").field(&mechanism.name()).finish(),
        }
    }
}

/// What a client puts up with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientPolicy {
    /// The weakest mechanism to accept: [`ClientSuccess::floor`] of the account's last login. Remembering it is what
    /// stops somebody in the middle from asking for less (XEP-0474 §7).
    pub floor: Option<Mechanism>,
    /// Whether PLAIN may be used at all. It needs TLS besides, and that no SCRAM is on offer. On by default.
    pub plain: bool,
    /// PBKDF2 iterations to accept from a server: at least 4096 (RFC 5802 §5.1), at most what one is ready to compute.
    /// 4,096 to 1,000,000 by default.
    pub iterations: RangeInclusive<u32>,
}

impl Default for ClientPolicy {
    fn default() -> Self {
        ClientPolicy { floor: None, plain: true, iterations: 4096..=1_000_000 }
    }
}

/// What to do after a challenge.
#[derive(Debug)]
pub enum ClientStep {
    /// Send a response with this payload.
    Send(Vec<u8>),
    /// Run the job where it blocks nobody and hand its result to [`ClientSasl::derived`].
    Derive(DeriveJob),
}

/// A finished authentication. The server has proved itself too, if the mechanism was SCRAM.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientSuccess {
    /// The mechanism, if it is one of ours.
    pub mechanism: Option<Mechanism>,
    /// Whether the server has vouched for its list of mechanisms and binding types (XEP-0474).
    pub vouched: bool,
    /// The keys, to be cached for the next login.
    pub keys: Option<ScramKeys>,
}

impl ClientSuccess {
    /// What to remember as [`ClientPolicy::floor`] of this account. A server that vouches for its list may drop a
    /// mechanism later, so only falling back to PLAIN is ruled out; of others the mechanism itself is remembered
    /// (XEP-0474 §7).
    pub fn floor(&self) -> Option<Mechanism> {
        match self.mechanism? {
            Mechanism::Anonymous => None,
            // A token says no more than the login that it was given at.
            token if token.token_hash().is_some() => None,
            Mechanism::External => Some(Mechanism::ScramSha1),
            _ if self.vouched => Some(Mechanism::ScramSha1),
            mechanism => Some(mechanism),
        }
    }
}

/// One authentication of a client.
#[derive(Debug)]
pub struct ClientSasl {
    authzid: Option<String>,
    run: Run,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Running,
    Over,
}

/// The chosen mechanism with what it needs.
enum Run {
    Scram(Box<ScramClient>),
    Plain {
        username: String,
        password: Zeroizing<String>,
    },
    External,
    /// The trace; taken when it has been sent.
    Anonymous(Option<String>),
    Custom(Box<dyn ClientMechanism>),
    /// The only message, and the answer that proves the server.
    Token {
        mechanism: Mechanism,
        message: Vec<u8>,
        answer: Vec<u8>,
    },
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Run {
    fn mechanism(&self) -> Option<Mechanism> {
        match self {
            Run::Scram(scram) => Some(scram.mechanism),
            Run::Plain { .. } => Some(Mechanism::Plain),
            Run::External => Some(Mechanism::External),
            Run::Anonymous(_) => Some(Mechanism::Anonymous),
            Run::Custom(custom) => Mechanism::from_name(custom.name()),
            Run::Token { mechanism, .. } => Some(*mechanism),
        }
    }

    fn name(&self) -> &str {
        match self {
            Run::Custom(custom) => custom.name(),
            _ => self.mechanism().map_or("", Mechanism::name),
        }
    }
}

impl ClientSasl {
    /// Chooses the strongest mechanism that the server offers, the credentials serve and the policy allows. `secured`
    /// says that the stream is under TLS with a validated certificate, `bindings` what is known of that connection.
    pub fn choose(
        offer: &Offer,
        credentials: Credentials,
        bindings: &ChannelBindings,
        secured: bool,
        policy: &ClientPolicy,
    ) -> Result<ClientSasl, ChooseError> {
        let run = choose::choose(offer, credentials, bindings, secured, policy)?;
        Ok(ClientSasl { authzid: None, run, state: State::New })
    }

    /// Logs in by a token that the server gave for this mechanism (XEP-0484). `None` where the mechanism is not one of
    /// tokens, or the channel has not the binding that it wants.
    pub fn with_token(
        mechanism: Mechanism,
        username: &str,
        token: &str,
        bindings: &ChannelBindings,
    ) -> Option<ClientSasl> {
        let (message, answer) = token::initiate(mechanism, username, token, bindings)?;
        Some(ClientSasl { authzid: None, run: Run::Token { mechanism, message, answer }, state: State::New })
    }

    /// What makes the salted password that a server asks for to offer a stronger mechanism from now on (XEP-0480 §3);
    /// `None` where the password is not known, or `iterations` is not what the policy allows.
    pub fn upgrade(&self, hash: Hash, salt: &[u8], iterations: u32, policy: &ClientPolicy) -> Option<UpgradeJob> {
        let password = self.password().filter(|_| policy.iterations.contains(&iterations))?;
        Some(UpgradeJob { hash, password: password.clone(), salt: salt.to_vec(), iterations })
    }

    /// Whether a login by the chosen mechanism is a good moment for [`upgrade`](Self::upgrade): the password is known,
    /// and the channel is bound (XEP-0480 §6), or the server sees the password as it is.
    pub fn may_upgrade(&self) -> bool {
        let good = self.run.mechanism().is_some_and(|one| one.is_plus() || one == Mechanism::Plain);
        good && self.password().is_some()
    }

    fn password(&self) -> Option<&Zeroizing<String>> {
        match &self.run {
            Run::Scram(scram) => scram.password(),
            Run::Plain { password, .. } => Some(password),
            _ => None,
        }
    }

    /// Acts as somebody else: a bare address on a client's stream, a domain on a server's (RFC 6120 §6.3.8). Not for
    /// one's own address.
    #[must_use]
    pub fn with_authzid(mut self, authzid: impl Into<String>) -> ClientSasl {
        self.authzid = Some(authzid.into());
        self
    }

    /// The name of the chosen mechanism.
    pub fn mechanism_name(&self) -> &str {
        self.run.name()
    }

    /// The mechanism and the initial response for `<auth/>`. The nonce must be fresh; only SCRAM uses it.
    pub fn start(&mut self, nonce: Nonce) -> Result<(String, Option<Vec<u8>>), SaslError> {
        if self.state != State::New {
            return Err(SaslError::OutOfOrder);
        }
        self.state = State::Running;
        let authzid = self.authzid.as_deref();
        let initial = match &mut self.run {
            Run::Scram(scram) => Some(scram.start(nonce, authzid)),
            Run::Plain { username, password } => {
                let parts = [authzid.unwrap_or_default(), username.as_str(), password.as_str()];
                if parts.iter().any(|part| part.contains('\0')) {
                    self.state = State::Over;
                    return Err(SaslError::Credentials);
                }
                Some(parts.join("\0").into_bytes())
            }
            Run::External => Some(authzid.unwrap_or_default().as_bytes().to_vec()),
            Run::Anonymous(trace) => trace.take().map(String::into_bytes),
            Run::Token { message, .. } => Some(std::mem::take(message)),
            Run::Custom(custom) => match custom.initial() {
                Ok(initial) => initial,
                Err(error) => {
                    self.state = State::Over;
                    return Err(error);
                }
            },
        };
        Ok((self.run.name().to_owned(), initial))
    }

    /// Takes the payload of a `<challenge/>`. After an error, send `<abort/>`.
    pub fn challenge(&mut self, payload: &[u8]) -> Result<ClientStep, SaslError> {
        self.running(payload)?;
        let step = match &mut self.run {
            Run::Scram(scram) => scram.challenge(payload),
            Run::Custom(custom) => custom.challenge(payload).map(ClientStep::Send),
            // Sent without an initial response, which some servers then ask for.
            Run::Anonymous(None) if payload.is_empty() => Ok(ClientStep::Send(Vec::new())),
            Run::Plain { .. } | Run::External | Run::Anonymous(_) | Run::Token { .. } => Err(SaslError::OutOfOrder),
        };
        self.over_if_failed(step)
    }

    /// Takes the result of a [`DeriveJob`] and returns the payload of the `<response/>`.
    pub fn derived(&mut self, keys: ScramKeys) -> Result<Vec<u8>, SaslError> {
        self.running(&[])?;
        let sent = match &mut self.run {
            Run::Scram(scram) => scram.derived(keys),
            _ => Err(SaslError::OutOfOrder),
        };
        self.over_if_failed(sent)
    }

    /// Takes the payload of `<success/>`. Only if this returns `Ok` is the server who it says it is.
    pub fn success(&mut self, payload: Option<&[u8]>) -> Result<ClientSuccess, SaslError> {
        self.running(payload.unwrap_or_default())?;
        self.state = State::Over;
        let (keys, vouched) = match &mut self.run {
            Run::Scram(scram) => (Some(scram.success(payload)?), scram.vouched),
            Run::Custom(custom) => {
                custom.success(payload)?;
                (None, false)
            }
            Run::Token { answer, .. } => match payload {
                Some(given) if bool::from(given.ct_eq(answer)) => (None, false),
                Some([_, ..]) => return Err(SaslError::BadSignature),
                _ => return Err(SaslError::NoSignature),
            },
            Run::Plain { .. } | Run::External | Run::Anonymous(_) => (None, false),
        };
        Ok(ClientSuccess { mechanism: self.run.mechanism(), vouched, keys })
    }

    fn running(&mut self, payload: &[u8]) -> Result<(), SaslError> {
        if self.state != State::Running {
            return Err(SaslError::OutOfOrder);
        }
        if payload.len() > MAX_MESSAGE {
            self.state = State::Over;
            return Err(SaslError::TooLong);
        }
        Ok(())
    }

    fn over_if_failed<T>(&mut self, result: Result<T, SaslError>) -> Result<T, SaslError> {
        if result.is_err() {
            self.state = State::Over;
        }
        result
    }
}
