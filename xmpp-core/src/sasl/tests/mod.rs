//! Both roles against each other, against vectors, against the `sasl` crate, and against abuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod abuse;
mod both_roles;
mod oracle;
mod vectors;

use super::*;

pub(super) const SECRET: [u8; 32] = [7; 32];
pub(super) const SALT: [u8; SALT_LENGTH] = [3; SALT_LENGTH];
pub(super) const ITERATIONS: u32 = 4096;

pub(super) fn nonce(text: &str) -> Nonce {
    Nonce::new(text).unwrap()
}

/// A server on a TLS stream with both bindings.
pub(super) fn policy() -> ServerPolicy {
    let mut policy = ServerPolicy::new("example.org", SECRET);
    policy.secured = true;
    policy.bindings = bindings();
    policy
}

pub(super) fn bindings() -> ChannelBindings {
    ChannelBindings { exporter: Some([1; 32]), end_point: Some(vec![2; 32]), tls_version: None }
}

pub(super) fn offer(server: &ServerSasl) -> Offer {
    let bindings = server.bindings();
    Offer {
        mechanisms: server.offered().into_iter().map(|mechanism| mechanism.name().to_owned()).collect(),
        bindings: (!bindings.is_empty()).then(|| bindings.into_iter().map(|b| b.name().to_owned()).collect()),
        sasl2: false,
    }
}

pub(super) fn condition(step: ServerStep) -> SaslCondition {
    match step {
        ServerStep::Failure(failure) => failure.condition,
        other => panic!("no failure: {other:?}"),
    }
}

pub(super) fn challenge(step: ServerStep) -> Vec<u8> {
    match step {
        ServerStep::Challenge(payload) => payload,
        other => panic!("no challenge: {other:?}"),
    }
}

/// An account store with one user, whose PBKDF2 has been done once per hash.
pub(super) struct Account {
    pub(super) username: String,
    pub(super) keys: Vec<ScramKeys>,
}

impl Account {
    pub(super) fn new(username: &str, password: &str, iterations: u32) -> Account {
        let keys = Hash::ALL.iter().map(|hash| ScramKeys::derive(*hash, password, &SALT, iterations)).collect();
        Account { username: username.to_owned(), keys }
    }

    pub(super) fn keys(&self, hash: Hash) -> ScramKeys {
        self.keys.iter().find(|keys| keys.hash == hash).unwrap().clone()
    }

    pub(super) fn find(&self, username: &str, hash: Hash) -> Option<ScramCredentials> {
        (username == self.username).then(|| self.keys(hash).credentials())
    }
}

/// Why a conversation did not end well.
#[derive(Debug)]
#[allow(dead_code, reason = "shown when a test fails")]
pub(super) enum Broken {
    Client(SaslError),
    Server(SaslFailure),
}

/// Runs a whole login. `tamper` sees, and may change, every payload on its way: by its number, from 0.
pub(super) fn converse(
    client: &mut ClientSasl,
    server: &mut ServerSasl,
    account: &Account,
    mut tamper: impl FnMut(usize, &mut Vec<u8>),
) -> Result<(Authenticated, ClientSuccess), Broken> {
    let (mechanism, initial) = client.start(nonce("fyko+d2lbbFgONRv9qkxdawL")).map_err(Broken::Client)?;
    let initial = initial.map(|mut payload| {
        tamper(0, &mut payload);
        payload
    });
    let mut step = server.auth(&mechanism, initial.as_deref(), nonce("3rfcNHYJY1ZVvWVs7j"));
    let mut number = 1;
    loop {
        step = match step {
            ServerStep::CheckToken(_) => panic!("no token was used"),
            ServerStep::NeedCredentials { username, hash, .. } => server.credentials(account.find(&username, hash)),
            ServerStep::CheckPassword { username, password } => {
                let credentials = account
                    .find(&username, Hash::Sha256)
                    .unwrap_or_else(|| ScramCredentials::fake(&SECRET, &username, Hash::Sha256, ITERATIONS));
                server.password(credentials.verify_password(&password))
            }
            ServerStep::Challenge(mut payload) => {
                tamper(number, &mut payload);
                number += 1;
                let mut response = match client.challenge(&payload).map_err(Broken::Client)? {
                    ClientStep::Send(response) => response,
                    ClientStep::Derive(job) => client.derived(job.run()).map_err(Broken::Client)?,
                };
                tamper(number, &mut response);
                number += 1;
                server.response(&response)
            }
            ServerStep::Success(authenticated) => {
                let data = authenticated.data.clone().map(|mut payload| {
                    tamper(number, &mut payload);
                    payload
                });
                let success = client.success(data.as_deref()).map_err(Broken::Client)?;
                return Ok((authenticated, success));
            }
            ServerStep::Failure(failure) => return Err(Broken::Server(failure)),
        };
    }
}
