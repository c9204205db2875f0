//! Tokens: the mechanisms HT-* (draft-schmaus-kitten-sasl-ht-09), both roles.
//!
//! One message each way: `name NUL HMAC(token, "Initiator" binding)`, answered by `HMAC(token, "Responder" binding)`.
//! The token is the key of the HMAC, so a server has to keep the token itself and not a hash of it.

use super::{ChannelBindings, MAX_MESSAGE, Mechanism, SaslCondition, SaslFailure, prepare_username, scram::hmac};
use std::fmt;
use subtle::ConstantTimeEq as _;

/// The names that draft §3 asks to accept are at most so long, in bytes.
const LONGEST_NAME: usize = 255;

/// What a client says to prove that it has a token.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenProof {
    username: String,
    mechanism: Mechanism,
    proof: Vec<u8>,
    binding: Vec<u8>,
}

impl fmt::Debug for TokenProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenProof")
            .field("username", &self.username)
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}

impl TokenProof {
    /// Reads the client's message.
    pub(super) fn parse(
        mechanism: Mechanism,
        message: &[u8],
        bindings: &ChannelBindings,
    ) -> Result<TokenProof, SaslFailure> {
        let malformed = || SaslFailure::from(SaslCondition::MalformedRequest);
        let hash = mechanism.token_hash().ok_or(SaslCondition::InvalidMechanism)?;
        let binding = binding(mechanism, bindings).ok_or(SaslCondition::InvalidMechanism)?.to_vec();
        let end = message.iter().position(|byte| *byte == 0).filter(|end| (1..=LONGEST_NAME).contains(end));
        let (name, rest) = end.and_then(|end| message.split_at_checked(end)).ok_or_else(malformed)?;
        let proof = rest.get(1..).filter(|proof| proof.len() == hash.length()).ok_or_else(malformed)?;
        let name = std::str::from_utf8(name).map_err(|_| malformed())?;
        let username = prepare_username(name).map_err(|_| malformed())?.into_owned();
        Ok(TokenProof { username, mechanism, proof: proof.to_vec(), binding })
    }

    /// The simple user name, prepared.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// What to answer if it was made with `token`, compared in constant time.
    pub fn verify(&self, token: &str) -> Option<Vec<u8>> {
        let hash = self.mechanism.token_hash()?;
        let expected = hmac(hash, token.as_bytes(), &[INITIATOR, &self.binding]);
        let right = bool::from(expected.ct_eq(self.proof.as_slice()));
        right.then(|| hmac(hash, token.as_bytes(), &[RESPONDER, &self.binding]).to_vec())
    }
}

const INITIATOR: &[u8] = b"Initiator";
const RESPONDER: &[u8] = b"Responder";

/// The channel's data for a mechanism; none of it for one that does not bind, `None` where the channel has none.
fn binding(mechanism: Mechanism, bindings: &ChannelBindings) -> Option<&[u8]> {
    match mechanism.token_binding() {
        None => Some(&[]),
        Some(binding) => bindings.get(binding),
    }
}

/// The client's only message and the answer that it must get; `None` where the mechanism is not one of tokens, or
/// the channel cannot be bound to.
pub(super) fn initiate(
    mechanism: Mechanism,
    username: &str,
    token: &str,
    bindings: &ChannelBindings,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let hash = mechanism.token_hash()?;
    let binding = binding(mechanism, bindings)?;
    let mut message = username.as_bytes().to_vec();
    message.push(0);
    message.extend_from_slice(&hmac(hash, token.as_bytes(), &[INITIATOR, binding]));
    let answer = hmac(hash, token.as_bytes(), &[RESPONDER, binding]).to_vec();
    (message.len() <= MAX_MESSAGE && !username.contains('\0')).then_some((message, answer))
}

/// Whether a channel with these bindings can carry the mechanism.
pub(super) fn is_possible(mechanism: Mechanism, bindings: &ChannelBindings) -> bool {
    mechanism.token_hash().is_some() && binding(mechanism, bindings).is_some()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bindings() -> ChannelBindings {
        ChannelBindings { exporter: Some([1; 32]), end_point: Some(vec![2; 32]), ..ChannelBindings::default() }
    }

    #[test]
    fn draft_sasl_ht_every_mechanism_proves_both_ends() {
        for mechanism in Mechanism::TOKEN {
            let (message, answer) = initiate(mechanism, "juliet", "secret", &bindings()).unwrap();
            let proof = TokenProof::parse(mechanism, &message, &bindings()).unwrap();
            assert_eq!(proof.username(), "juliet");
            assert_eq!(proof.verify("secret"), Some(answer), "{mechanism}");
            assert_eq!(proof.verify("other"), None);
            let elsewhere =
                ChannelBindings { exporter: Some([3; 32]), end_point: Some(vec![4; 32]), ..ChannelBindings::default() };
            let proof = TokenProof::parse(mechanism, &message, &elsewhere).unwrap();
            assert_eq!(proof.verify("secret").is_some(), mechanism.token_binding().is_none(), "{mechanism}");
        }
    }

    /// Computed with the HMAC of another implementation (Python's `hmac`).
    #[test]
    fn draft_sasl_ht_the_message_is_name_nul_and_hmac() {
        let (message, _) = initiate(Mechanism::HtSha256None, "juliet", "secret-token", &bindings()).unwrap();
        let expected = "3f6de92b45cddc50c601ad166458f7b5874565e399f3006b1afb03f0bb03ff88";
        let hex: String = message.get(7..).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(message.starts_with(b"juliet\0"));
        assert_eq!(hex, expected);
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let parse = |message: &[u8]| TokenProof::parse(Mechanism::HtSha256None, message, &bindings());
        let long = [&[b'a'; 256][..], &[0], &[7; 32]].concat();
        let cases: [&[u8]; 7] = [b"", b"juliet", b"juliet\0", b"juliet\0short", &[0; 33], &[0xff; 40], &long];
        for case in cases {
            assert_eq!(parse(case).unwrap_err().condition, SaslCondition::MalformedRequest, "{case:?}");
        }
        let none = TokenProof::parse(Mechanism::HtSha256Exporter, b"x", &ChannelBindings::default()).unwrap_err();
        assert_eq!(none.condition, SaslCondition::InvalidMechanism);
    }
}
