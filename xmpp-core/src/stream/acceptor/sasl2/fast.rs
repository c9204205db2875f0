//! Logins by token, and new tokens (XEP-0484).

use super::{Acceptor, Stage, State, Task};
use crate::{
    sasl::{Mechanism, SaslCondition, TokenProof},
    stream::tokens::{ClientTokens, Redemption, Token, Visit},
};

impl Acceptor {
    pub(super) fn look_for_token(&mut self, proof: TokenProof) -> Vec<Task> {
        let user = self.account(proof.username());
        let client = self.sasl2.as_ref().and_then(|run| run.request.client()).map(str::to_owned);
        let (Some(user), Some(client), Some(run)) = (user, client, &mut self.sasl2) else {
            return self.refused(SaslCondition::NotAuthorized);
        };
        self.named = Some(proof.username().to_owned());
        run.stage = Stage::Redeeming(proof);
        self.state = State::Asked;
        vec![Task::Tokens(user, client)]
    }

    /// The answer to [`Task::Tokens`], with the time in seconds since 1970 (UTC); `Err` when the store failed.
    pub fn tokens(&mut self, found: Result<ClientTokens, ()>, now: u64) -> Vec<Task> {
        let Some(run) = &mut self.sasl2 else { return Vec::new() };
        match std::mem::replace(&mut run.stage, Stage::Exchange) {
            Stage::Redeeming(proof) => match found {
                Ok(found) => self.redeem(&proof, found, now),
                Err(()) => {
                    self.state = State::Sasl;
                    self.refused(SaslCondition::TemporaryAuthFailure)
                }
            },
            Stage::Issuing => match found {
                Ok(found) => self.note_login(found, now),
                // A login does not fail for it.
                Err(()) => self.sasl2_advance(),
            },
            other => {
                run.stage = other;
                Vec::new()
            }
        }
    }

    /// Notes a login that was not by a token, and makes a token if one is wanted.
    fn note_login(&mut self, found: ClientTokens, now: u64) -> Vec<Task> {
        let remember = self.config.remember;
        let (Some(run), Some((_, mechanism))) = (&mut self.sasl2, &self.user) else { return Vec::new() };
        // The password may have been changed since it was checked: nothing may outlive it.
        if mechanism.proves_password() && self.generation != Some(found.generation) {
            return self.sasl2_advance();
        }
        let mut tokens = found.clone();
        let visit = Visit { agent: run.request.agent.as_ref(), mechanism: *mechanism, now, remember };
        tokens.note(&visit);
        let token = run.wanted.take().map(|mechanism| self.make_token(mechanism, now));
        if let Some(token) = &token {
            tokens.issue(token.clone());
        }
        tokens.tidy(remember);
        if tokens == found {
            return self.sasl2_advance();
        }
        self.store_tokens(tokens, Stage::Storing, token)
    }

    fn redeem(&mut self, proof: &TokenProof, found: ClientTokens, now: u64) -> Vec<Task> {
        let Some(run) = &mut self.sasl2 else { return Vec::new() };
        let fast = run.request.fast.unwrap_or_default();
        run.noted = true;
        let remember = self.config.remember;
        let agent = run.request.agent.clone();
        let mut tokens = found.clone();
        let asked = Redemption { proof, count: fast.count, invalidate: fast.invalidate, now };
        match tokens.redeem(&asked) {
            Ok(redeemed) => {
                let mechanism = proof.mechanism();
                tokens.note(&Visit { agent: agent.as_ref(), mechanism, now, remember });
                let due = redeemed.due.then_some(proof.mechanism());
                let token = run.wanted.take().or(due).map(|mechanism| self.make_token(mechanism, now));
                if let Some(token) = &token {
                    tokens.issue(token.clone());
                }
                tokens.tidy(remember);
                if tokens == found {
                    return self.token_used(redeemed.answer);
                }
                self.store_tokens(tokens, Stage::Used(redeemed.answer), token)
            }
            Err(condition) if tokens == found => {
                self.state = State::Sasl;
                self.refused(condition)
            }
            Err(condition) => {
                tokens.tidy(remember);
                self.store_tokens(tokens, Stage::Ended(condition), None)
            }
        }
    }

    fn make_token(&mut self, mechanism: Mechanism, now: u64) -> Token {
        let expiry = now.saturating_add(self.config.tokens.unwrap_or_default());
        Token { secret: (self.entropy.0)(), mechanism, issued: now, expiry, count: 0 }
    }

    fn store_tokens(&mut self, tokens: ClientTokens, stage: Stage, token: Option<Token>) -> Vec<Task> {
        let named = self.named.as_deref().and_then(|name| self.account(name));
        let user = self.user.as_ref().map(|(user, _)| user.clone()).or(named);
        let (Some(run), Some(user)) = (&mut self.sasl2, user) else { return Vec::new() };
        let Some(client) = run.request.client().map(str::to_owned) else { return Vec::new() };
        run.stage = stage;
        run.token = token;
        self.state = State::Asked;
        vec![Task::StoreTokens { user, client, tokens }]
    }

    /// The answer to [`Task::StoreTokens`]: false when something else was stored meanwhile, `Err` when the store
    /// failed.
    pub fn tokens_stored(&mut self, stored: Result<bool, ()>) -> Vec<Task> {
        let Some(run) = &mut self.sasl2 else { return Vec::new() };
        match (std::mem::replace(&mut run.stage, Stage::Exchange), stored) {
            (Stage::Used(answer), Ok(true)) => self.token_used(answer),
            // Two came with the same token at once: no count may be good for both.
            (Stage::Used(_), _) => {
                run.token = None;
                self.state = State::Sasl;
                self.refused(SaslCondition::TemporaryAuthFailure)
            }
            (Stage::Ended(condition), _) => {
                self.state = State::Sasl;
                self.refused(condition)
            }
            (Stage::Storing, stored) => {
                if stored != Ok(true) {
                    run.token = None;
                }
                self.sasl2_advance()
            }
            (other, _) => {
                run.stage = other;
                Vec::new()
            }
        }
    }

    fn token_used(&mut self, answer: Vec<u8>) -> Vec<Task> {
        self.state = State::Sasl;
        let Some(sasl) = &mut self.sasl else { return Vec::new() };
        let step = sasl.token(Some(answer));
        self.sasl2_step(step)
    }
}
