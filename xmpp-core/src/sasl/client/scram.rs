//! The client's side of SCRAM (RFC 5802 §5).

use std::ops::RangeInclusive;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::super::scram::message::{ServerFinal, ServerFirst, escape};
use super::super::scram::{DeriveJob, Nonce, ScramKeys, announcement_hash, hmac, proof};
use super::super::{BindingType, Hash, Mechanism, prepare_username};
use super::{ClientStep, Offer, SaslError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What the GS2 header says of channel binding.
pub(super) enum Binding {
    /// We can't, or nothing is shared: `n`.
    Unsupported,
    /// Nothing is shared, which smells: `n`, and the server has to vouch for its list (XEP-0474 §7).
    Suspect,
    /// We could, but the server doesn't offer: `y`.
    NotOffered,
    /// `p=`.
    Bound {
        /// The type.
        binding: BindingType,
        /// Its data.
        data: Vec<u8>,
    },
}

pub(super) struct ScramClient {
    pub(super) mechanism: Mechanism,
    hash: Hash,
    binding: Binding,
    tls_version: Option<u16>,
    offer: Offer,
    iterations: RangeInclusive<u32>,
    username: String,
    password: Option<Zeroizing<String>>,
    cached: Option<ScramKeys>,
    /// The server has vouched for its announcement.
    pub(super) vouched: bool,
    stage: Stage,
}

enum Stage {
    New,
    First(FirstSent),
    Deriving { first: FirstSent, server: Challenge },
    Final { keys: ScramKeys, signature: Vec<u8> },
    Verified(ScramKeys),
    Over,
}

struct FirstSent {
    header: String,
    bare: String,
    nonce: Nonce,
}

/// The server's first message.
struct Challenge {
    text: Vec<u8>,
    nonce: String,
    salt: Vec<u8>,
    iterations: u32,
}

impl ScramClient {
    pub(super) fn new(
        mechanism: Mechanism,
        (binding, tls_version): (Binding, Option<u16>),
        offer: Offer,
        iterations: RangeInclusive<u32>,
        username: String,
        password: Option<Zeroizing<String>>,
        cached: Option<ScramKeys>,
    ) -> ScramClient {
        let hash = mechanism.hash().unwrap_or(Hash::Sha1);
        ScramClient {
            mechanism,
            hash,
            binding,
            tls_version,
            offer,
            iterations,
            username,
            password,
            cached,
            vouched: false,
            stage: Stage::New,
        }
    }

    /// The password, where it is known.
    pub(super) fn password(&self) -> Option<&Zeroizing<String>> {
        self.password.as_ref()
    }

    pub(super) fn start(&mut self, nonce: Nonce, authzid: Option<&str>) -> Vec<u8> {
        let flag = match &self.binding {
            Binding::Unsupported | Binding::Suspect => "n".to_owned(),
            Binding::NotOffered => "y".to_owned(),
            Binding::Bound { binding, .. } => format!("p={}", binding.name()),
        };
        let authzid = authzid.map(|authzid| format!("a={}", escape(authzid))).unwrap_or_default();
        let header = format!("{flag},{authzid},");
        // A name that can't be prepared is sent as it is; the server will say what it thinks of it.
        let username = prepare_username(&self.username).unwrap_or(self.username.as_str().into());
        let bare = format!("n={},r={}", escape(&username), nonce.as_str());
        let message = format!("{header}{bare}").into_bytes();
        self.stage = Stage::First(FirstSent { header, bare, nonce });
        message
    }

    pub(super) fn challenge(&mut self, payload: &[u8]) -> Result<ClientStep, SaslError> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::First(first) => self.server_first(first, payload),
            // The server's signature in a challenge instead of with success, as SASL has it without additional data.
            Stage::Final { keys, signature } => {
                verify(payload, &signature)?;
                self.stage = Stage::Verified(keys);
                Ok(ClientStep::Send(Vec::new()))
            }
            Stage::New | Stage::Deriving { .. } | Stage::Verified(_) | Stage::Over => Err(SaslError::OutOfOrder),
        }
    }

    fn server_first(&mut self, first: FirstSent, payload: &[u8]) -> Result<ClientStep, SaslError> {
        if payload.starts_with(b"e=")
            && let ServerFinal::Error(error) = ServerFinal::parse(payload)?
        {
            return Err(SaslError::Refused(error.to_owned()));
        }
        let server = ServerFirst::parse(payload)?;
        match server.nonce.strip_prefix(first.nonce.as_str()) {
            Some(added) if !added.is_empty() => {}
            _ => return Err(SaslError::Nonce),
        }
        if !self.iterations.contains(&server.iterations) {
            return Err(SaslError::Iterations(server.iterations));
        }
        match (&server.announced, &self.binding) {
            (Some(announced), _) if *announced != self.announcement() => return Err(SaslError::Tampered),
            (None, Binding::Suspect) => return Err(SaslError::Unvouched),
            (announced, _) => self.vouched = announced.is_some(),
        }
        // XEP-0515 §5.2: two channels of different versions are not one channel.
        if let (Some(theirs), Some(ours)) = (server.tls_version, self.tls_version)
            && theirs != format!("{ours:04x}")
        {
            return Err(SaslError::OtherTls);
        }
        let challenge = Challenge {
            text: payload.to_vec(),
            nonce: server.nonce.to_owned(),
            salt: server.salt,
            iterations: server.iterations,
        };
        match (self.cached.take(), &self.password) {
            (Some(keys), _) if challenge.fits(&keys, self.hash) => {
                Ok(ClientStep::Send(self.client_final(&first, &challenge, keys)))
            }
            (_, Some(password)) => {
                let job = DeriveJob {
                    hash: self.hash,
                    password: password.clone(),
                    salt: challenge.salt.clone(),
                    iterations: challenge.iterations,
                };
                self.stage = Stage::Deriving { first, server: challenge };
                Ok(ClientStep::Derive(job))
            }
            (_, None) => Err(SaslError::StaleKeys),
        }
    }

    pub(super) fn derived(&mut self, keys: ScramKeys) -> Result<Vec<u8>, SaslError> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Deriving { first, server } if server.fits(&keys, self.hash) => {
                Ok(self.client_final(&first, &server, keys))
            }
            Stage::Deriving { .. } => Err(SaslError::WrongKeys),
            _ => Err(SaslError::OutOfOrder),
        }
    }

    fn client_final(&mut self, first: &FirstSent, server: &Challenge, keys: ScramKeys) -> Vec<u8> {
        let mut bound = first.header.clone().into_bytes();
        if let Binding::Bound { data, .. } = &self.binding {
            bound.extend_from_slice(data);
        }
        let mut message = format!("c={},r={}", STANDARD.encode(bound), server.nonce).into_bytes();
        let auth_message = [first.bare.as_bytes(), b",", server.text.as_slice(), b",", message.as_slice()];
        let proof = proof(&keys, &auth_message);
        let signature = hmac(self.hash, &keys.server_key, &auth_message).to_vec();
        message.extend_from_slice(b",p=");
        message.extend_from_slice(STANDARD.encode(proof).as_bytes());
        self.stage = Stage::Final { keys, signature };
        message
    }

    pub(super) fn success(&mut self, payload: Option<&[u8]>) -> Result<ScramKeys, SaslError> {
        match (std::mem::replace(&mut self.stage, Stage::Over), payload) {
            (Stage::Final { keys, signature }, Some(payload)) => {
                verify(payload, &signature)?;
                Ok(keys)
            }
            (Stage::Verified(keys), None | Some([])) => Ok(keys),
            (Stage::Verified(_), Some(_)) => Err(SaslError::OutOfOrder),
            _ => Err(SaslError::NoSignature),
        }
    }

    fn announcement(&self) -> Vec<u8> {
        announcement_hash(
            self.hash,
            self.offer.mechanisms.iter().map(String::as_str),
            self.offer.bindings.as_ref().map(|types| types.iter().map(String::as_str)),
        )
    }
}

impl Challenge {
    fn fits(&self, keys: &ScramKeys, hash: Hash) -> bool {
        keys.hash == hash && keys.salt == self.salt && keys.iterations == self.iterations
    }
}

fn verify(payload: &[u8], signature: &[u8]) -> Result<(), SaslError> {
    if payload.is_empty() {
        return Err(SaslError::NoSignature);
    }
    match ServerFinal::parse(payload)? {
        ServerFinal::Verifier(verifier) if bool::from(verifier.as_slice().ct_eq(signature)) => Ok(()),
        ServerFinal::Verifier(_) => Err(SaslError::BadSignature),
        ServerFinal::Error(error) => Err(SaslError::Refused(error.to_owned())),
    }
}
