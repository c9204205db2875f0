//! What a server keeps of a client's tokens, and how they change (XEP-0484 §3, §5).

use super::sasl2::UserAgent;
use crate::sasl::{Mechanism, SaslCondition, TokenProof};
use std::fmt;

/// A token that a server has given to a client. Whoever has it can log in: it needs the same care as a password. It
/// cannot be kept as a hash, since it is the key of the HMAC that a client sends.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The secret, as it is sent to the client.
    pub secret: String,
    /// The only mechanism that it is good for.
    pub mechanism: Mechanism,
    /// When it was made, in seconds since 1970 (UTC).
    pub issued: u64,
    /// When it ends, in seconds since 1970 (UTC).
    pub expiry: u64,
    /// The highest count it was used with (XEP-0484 §3.4); 0 before the first.
    pub count: u32,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("mechanism", &self.mechanism)
            .field("expiry", &self.expiry)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// What a server remembers of a client installation that has logged in (XEP-0494 §3.1). Times are in seconds since 1970
/// (UTC).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientRecord {
    /// When it first logged in.
    pub first_seen: u64,
    /// When it last did, give or take an hour.
    pub last_seen: u64,
    /// The software, as it says itself.
    pub software: Option<String>,
    /// The device, as it says itself.
    pub device: Option<String>,
    /// Whether it has presented the password, since that was last changed.
    pub password: bool,
    /// Whether it has logged in by a certificate.
    pub certificate: bool,
}

/// A login, as it is noted.
pub(super) struct Visit<'a> {
    pub(super) agent: Option<&'a UserAgent>,
    pub(super) mechanism: Mechanism,
    pub(super) now: u64,
    /// Whether names and clients without tokens are to be remembered.
    pub(super) remember: bool,
}

/// The last login is noted as often, in seconds: not every one is worth writing a row.
const NOTED_EVERY: u64 = 3600;

/// The tokens of one client installation: the two slots of XEP-0484 §5.1, and what else is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTokens {
    /// The one that was used last.
    pub current: Option<Token>,
    /// One that was given to the client and never used.
    pub fresh: Option<Token>,
    /// Which change this is; a store writes a change only over the one before. 0 when nothing is stored.
    pub revision: u64,
    /// Which change of the account's password this comes after, as the store counts them.
    pub generation: u64,
    /// What is known of the client; `None` before it has logged in.
    pub record: Option<ClientRecord>,
}

/// What is asked of a token.
pub(super) struct Redemption<'a> {
    pub(super) proof: &'a TokenProof,
    pub(super) count: Option<u32>,
    pub(super) invalidate: bool,
    pub(super) now: u64,
}

/// A token was good.
pub(super) struct Redeemed {
    /// What to answer.
    pub(super) answer: Vec<u8>,
    /// Whether half of its life is over, and it is to be replaced.
    pub(super) due: bool,
}

impl ClientTokens {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        !self.has_tokens() && self.record.is_none()
    }

    /// Whether there are tokens, good or not any more.
    pub fn has_tokens(&self) -> bool {
        self.current.is_some() || self.fresh.is_some()
    }

    /// When the last of its tokens ends, or, without tokens, when the client was last seen, in seconds since 1970 (UTC):
    /// where there are too many clients, the one with the least is left out.
    pub fn ends(&self) -> u64 {
        let tokens = [&self.current, &self.fresh].into_iter().flatten();
        let seen = self.record.as_ref().map_or(0, |record| record.last_seen);
        tokens.map(|token| token.expiry).max().unwrap_or(seen)
    }

    /// Notes that the client has logged in.
    pub(super) fn note(&mut self, visit: &Visit<'_>) {
        let now = visit.now;
        let fresh = || ClientRecord { first_seen: now, last_seen: now, ..ClientRecord::default() };
        let record = self.record.get_or_insert_with(fresh);
        record.password |= visit.mechanism.proves_password();
        record.certificate |= visit.mechanism == Mechanism::External;
        // A clock that was set back is believed.
        if now < record.last_seen || now - record.last_seen >= NOTED_EVERY {
            record.last_seen = now;
        }
        let agent = visit.agent.filter(|_| visit.remember);
        record.software = agent.and_then(|agent| agent.software.clone());
        record.device = agent.and_then(|agent| agent.device.clone());
    }

    /// Leaves the record out of a client that has no access any more, or is not to be remembered without tokens.
    pub(super) fn tidy(&mut self, remember: bool) {
        let keep = |record: &ClientRecord| remember && (record.password || record.certificate);
        if !self.has_tokens() && !self.record.as_ref().is_some_and(keep) {
            self.record = None;
        }
    }

    /// Checks a proof against both slots, the fresh one first, and moves them on. After a failure too there may be a
    /// change to be stored.
    pub(super) fn redeem(&mut self, asked: &Redemption<'_>) -> Result<Redeemed, SaslCondition> {
        let is_fresh = self.fresh.as_ref().and_then(|token| matches(token, asked.proof));
        let is_current = self.current.as_ref().and_then(|token| matches(token, asked.proof));
        let answer = match (is_fresh, is_current) {
            (Some(answer), _) => {
                // What came before it has an earlier expiry, and ends (§3.5).
                self.current = self.fresh.take();
                answer
            }
            (None, Some(answer)) => answer,
            (None, None) => return Err(SaslCondition::NotAuthorized),
        };
        let Some(token) = &mut self.current else { return Err(SaslCondition::NotAuthorized) };
        if token.expiry <= asked.now {
            self.current = None;
            return Err(SaslCondition::CredentialsExpired);
        }
        if let Some(count) = asked.count {
            if count <= token.count {
                // Somebody says again what was said before: the token is no secret any more.
                self.current = None;
                return Err(SaslCondition::NotAuthorized);
            }
            token.count = count;
        }
        let life = token.expiry.saturating_sub(token.issued);
        let due = asked.now.saturating_sub(token.issued) >= life / 2;
        if asked.invalidate {
            self.current = None;
        }
        Ok(Redeemed { answer, due: due && !asked.invalidate })
    }

    /// Takes a new token in; one that was never used makes room (§3.5).
    pub(super) fn issue(&mut self, token: Token) {
        self.fresh = Some(token);
    }
}

/// A token is for one mechanism alone (§3.4).
fn matches(token: &Token, proof: &TokenProof) -> Option<Vec<u8>> {
    proof.verify(&token.secret).filter(|_| token.mechanism == proof.mechanism())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sasl::{ChannelBindings, ClientSasl, Nonce, ServerPolicy, ServerSasl, ServerStep};

    fn token(secret: &str) -> Token {
        Token { secret: secret.into(), mechanism: Mechanism::HtSha256None, issued: 1000, expiry: 2000, count: 0 }
    }

    fn proof_by(secret: &str, mechanism: Mechanism) -> TokenProof {
        let bindings = ChannelBindings { exporter: Some([1; 32]), ..ChannelBindings::default() };
        let mut client = ClientSasl::with_token(mechanism, "juliet", secret, &bindings).unwrap();
        let (name, initial) = client.start(Nonce::new("n").unwrap()).unwrap();
        let mut policy = ServerPolicy::new("localhost", [0; 32]);
        policy.tokens = Mechanism::TOKEN.to_vec();
        policy.secured = true;
        policy.bindings = bindings;
        match ServerSasl::new(policy).token_auth(&name, initial.as_deref()) {
            ServerStep::CheckToken(proof) => proof,
            other => unreachable!("{other:?}"),
        }
    }

    fn redeem(tokens: &mut ClientTokens, secret: &str, count: Option<u32>, now: u64) -> Result<bool, SaslCondition> {
        let proof = proof_by(secret, Mechanism::HtSha256None);
        tokens.redeem(&Redemption { proof: &proof, count, invalidate: false, now }).map(|redeemed| redeemed.due)
    }

    #[test]
    fn xep0484_3_5_the_old_one_is_good_until_the_new_one_is_used() {
        let mut tokens = ClientTokens { current: Some(token("old")), ..ClientTokens::default() };
        assert_eq!(redeem(&mut tokens, "old", None, 1499), Ok(false));
        assert_eq!(redeem(&mut tokens, "old", None, 1500), Ok(true), "half of its life is over");
        tokens.issue(Token { expiry: 3000, ..token("new") });
        assert_eq!(redeem(&mut tokens, "old", None, 1600), Ok(true), "the client may not have got the new one");
        assert_eq!(redeem(&mut tokens, "new", None, 1600), Ok(false));
        assert_eq!(redeem(&mut tokens, "old", None, 1600), Err(SaslCondition::NotAuthorized));
        assert_eq!(redeem(&mut tokens, "new", None, 1600), Ok(false));
    }

    #[test]
    fn xep0484_3_5_a_new_one_takes_the_place_of_one_never_used() {
        let mut tokens = ClientTokens {
            current: Some(token("old")),
            fresh: Some(token("lost")),
            revision: 2,
            ..ClientTokens::default()
        };
        tokens.issue(token("new"));
        assert_eq!(redeem(&mut tokens, "lost", None, 1100), Err(SaslCondition::NotAuthorized));
        assert_eq!(redeem(&mut tokens, "old", None, 1100), Ok(false));
    }

    #[test]
    fn abuse_a041_a_count_that_comes_again_ends_the_token() {
        let mut tokens = ClientTokens { fresh: Some(token("t")), ..ClientTokens::default() };
        assert_eq!(redeem(&mut tokens, "t", Some(0), 1100), Err(SaslCondition::NotAuthorized), "counts are positive");
        let mut tokens = ClientTokens { fresh: Some(token("t")), ..ClientTokens::default() };
        assert_eq!(redeem(&mut tokens, "t", Some(3), 1100), Ok(false));
        assert_eq!(redeem(&mut tokens, "t", Some(4), 1100), Ok(false));
        assert_eq!(redeem(&mut tokens, "t", Some(4), 1100), Err(SaslCondition::NotAuthorized));
        assert!(tokens.is_empty(), "whoever knows it is not to use it");
    }

    #[test]
    fn abuse_a041_an_expired_token_ends() {
        let mut tokens = ClientTokens { current: Some(token("t")), ..ClientTokens::default() };
        assert_eq!(redeem(&mut tokens, "t", None, 2000), Err(SaslCondition::CredentialsExpired));
        assert!(tokens.is_empty());
    }

    #[test]
    fn abuse_a041_a_token_is_good_for_its_own_mechanism_alone() {
        let bound = Token { mechanism: Mechanism::HtSha256Exporter, ..token("t") };
        let mut tokens = ClientTokens { current: Some(bound), ..ClientTokens::default() };
        assert_eq!(redeem(&mut tokens, "t", None, 1100), Err(SaslCondition::NotAuthorized));
        let proof = proof_by("t", Mechanism::HtSha256Exporter);
        assert!(tokens.redeem(&Redemption { proof: &proof, count: None, invalidate: false, now: 1100 }).is_ok());
    }

    #[test]
    fn xep0484_3_6_an_invalidated_token_is_used_once_more() {
        let mut tokens = ClientTokens { current: Some(token("t")), ..ClientTokens::default() };
        let proof = proof_by("t", Mechanism::HtSha256None);
        let last = Redemption { proof: &proof, count: None, invalidate: true, now: 1900 };
        assert!(!tokens.redeem(&last).unwrap().due, "and is not replaced");
        assert!(tokens.redeem(&last).is_err());
    }
}
