//! The server's side of SCRAM (RFC 5802 §5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use super::super::scram::message::{ClientFinal, ClientFirst, Flag, SyntaxError};
use super::super::scram::{Nonce, ScramCredentials, announcement_hash, hmac, verify_proof};
use super::super::{BindingType, Hash, Mechanism, SaslCondition, SaslFailure, prepare_username};
use super::ServerPolicy;

impl From<SyntaxError> for SaslFailure {
    fn from(_: SyntaxError) -> SaslFailure {
        SaslCondition::MalformedRequest.into()
    }
}

/// The client's first message, until its account has been looked up.
pub(super) struct FirstReceived {
    mechanism: Mechanism,
    pub(super) hash: Hash,
    pub(super) username: String,
    pub(super) authzid: Option<String>,
    bare: String,
    /// What `c=` has to hold.
    binding: Vec<u8>,
    nonce: String,
}

/// Between the two messages of the client.
pub(super) struct ScramFinal {
    first: FirstReceived,
    server_first: String,
    credentials: ScramCredentials,
    known: bool,
}

impl FirstReceived {
    pub(super) fn parse(
        mechanism: Mechanism,
        payload: &[u8],
        nonce: Nonce,
        policy: &ServerPolicy,
    ) -> Result<FirstReceived, SaslFailure> {
        let hash = mechanism.hash().ok_or(SaslCondition::InvalidMechanism)?;
        let message = ClientFirst::parse(payload)?;
        let mut binding = message.header.as_bytes().to_vec();
        match message.flag {
            Flag::Bound(name) if mechanism.is_plus() => match policy.binding(name) {
                Some(data) => binding.extend_from_slice(data),
                None => {
                    return Err(SaslFailure::new(
                        SaslCondition::NotAuthorized,
                        "this channel-binding type is not supported",
                    ));
                }
            },
            // RFC 5802 §6: `p` goes with PLUS and only with it.
            Flag::Bound(_) => return Err(SaslCondition::MalformedRequest.into()),
            _ if mechanism.is_plus() => return Err(SaslCondition::MalformedRequest.into()),
            // RFC 5802 §6: the client didn't see the PLUS that we offered, so somebody removed it.
            Flag::NotOffered if policy.offers_plus() => {
                return Err(SaslFailure::new(
                    SaslCondition::NotAuthorized,
                    "the server does support channel binding; somebody may be in between",
                ));
            }
            Flag::NotOffered | Flag::Unsupported => {}
        }
        let username = prepare_username(&message.username).map_err(|_| SaslCondition::MalformedRequest)?.into_owned();
        Ok(FirstReceived {
            mechanism,
            hash,
            username,
            nonce: format!("{}{}", message.nonce, nonce.as_str()),
            bare: message.bare.to_owned(),
            authzid: message.authzid,
            binding,
        })
    }

    /// The server's first message.
    pub(super) fn challenge(
        self,
        credentials: Option<ScramCredentials>,
        policy: &ServerPolicy,
    ) -> (Vec<u8>, ScramFinal) {
        // Made for known users too, so that both cost the same.
        let fake = ScramCredentials::fake(&policy.secret, &self.username, self.hash, policy.iterations);
        let (credentials, known) = match credentials {
            Some(credentials) if credentials.hash == self.hash => (credentials, true),
            _ => (fake, false),
        };
        let mut text =
            format!("r={},s={},i={}", self.nonce, STANDARD.encode(&credentials.salt), credentials.iterations);
        if policy.announcement_hash {
            let bindings = policy.offers_plus().then(|| policy.bindings.types().into_iter().map(BindingType::name));
            let announced = announcement_hash(self.hash, policy.offered().map(Mechanism::name), bindings);
            text.push_str(",h=");
            text.push_str(&STANDARD.encode(announced));
            // XEP-0515 §5.1, and it asks for the hash beside it.
            if let Some(version) = policy.bindings.tls_version {
                text.push_str(&format!(",t={version:04x}"));
            }
        }
        (text.clone().into_bytes(), ScramFinal { first: self, server_first: text, credentials, known })
    }
}

impl ScramFinal {
    /// Checks the client's final message; the user, the authorization identity, the mechanism and the server's final
    /// message.
    pub(super) fn finish(self, payload: &[u8]) -> Result<(String, Option<String>, Mechanism, Vec<u8>), SaslFailure> {
        let message = ClientFinal::parse(payload)?;
        let auth_message =
            [self.first.bare.as_bytes(), b",", self.server_first.as_bytes(), b",", message.without_proof.as_bytes()];
        let hash = self.first.hash;
        let proved = verify_proof(&self.credentials, &auth_message, &message.proof);
        let signature = hmac(hash, &self.credentials.server_key, &auth_message);
        let bound = bool::from(message.binding.ct_eq(&self.first.binding));
        let fresh = message.nonce == self.first.nonce;
        if proved & bound & fresh & self.known {
            let data = format!("v={}", STANDARD.encode(&*signature)).into_bytes();
            Ok((self.first.username, self.first.authzid, self.first.mechanism, data))
        } else {
            Err(SaslCondition::NotAuthorized.into())
        }
    }
}
