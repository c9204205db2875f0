//! What both ends of a stream between servers have in common: which pairs of domains it is authorised for, how more of
//! them are added by dialback, and the judgement of stanzas by them (RFC 6120 §8.1, XEP-0220 §2 and §2.6).

use super::{
    Arrived, Pair, Policy, Proof, Refusal, S2sConfig, S2sTask,
    dialback::{self, Answer, Content, Dialback, Kind, Malformed, Verification},
};
use crate::{
    jid::Jid,
    stanza::StanzaError,
    stream::{StreamCondition, StreamError},
    xml::{ElementRef, Stanza, ns},
};
use std::fmt;

/// Says whether the peer's certificate proves that it is this domain.
pub(super) type Judge = Box<dyn Fn(&str) -> bool + Send>;

/// Which end of the stream we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Initiating,
    Receiving,
}

/// The pairs of one stream and what is under way to have more.
pub(super) struct Exchange {
    pub(super) config: S2sConfig,
    end: End,
    /// The id that the receiving end gave the stream.
    pub(super) id: String,
    pub(super) secured: bool,
    judge: Option<Judge>,
    /// Stanzas go both ways.
    pub(super) bidi: bool,
    /// Pairs whose remote domain may send to the local one.
    admitted: Vec<Pair>,
    /// Pairs whose local domain may send to the remote one.
    authorized: Vec<Pair>,
    /// What the peer asked for and the authoritative server is being asked about.
    verifying: Vec<Verification>,
    /// What we asked for.
    requested: Vec<Pair>,
    /// Keys that we asked the peer about.
    queried: Vec<Verification>,
    spent: usize,
    /// Pairs that the peer asked for and did not get.
    failures: usize,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("end", &self.end)
            .field("bidi", &self.bidi)
            .field("admitted", &self.admitted)
            .field("authorized", &self.authorized)
            .finish_non_exhaustive()
    }
}

impl Exchange {
    pub(super) fn new(config: S2sConfig, end: End) -> Exchange {
        Exchange {
            config,
            end,
            id: String::new(),
            secured: false,
            judge: None,
            bidi: false,
            admitted: Vec::new(),
            authorized: Vec::new(),
            verifying: Vec::new(),
            requested: Vec::new(),
            queried: Vec::new(),
            spent: 0,
            failures: 0,
        }
    }

    pub(super) fn hosts(&self, domain: &str) -> bool {
        (self.config.hosts)(domain)
    }

    pub(super) fn policy(&self, remote: &str) -> Policy {
        self.config.policies.of(remote)
    }

    /// TLS is in place: what was learnt without it counts for nothing (RFC 6120 §5.4.3.3).
    pub(super) fn secure(&mut self, judge: Judge) {
        *self = Exchange { secured: true, judge: Some(judge), ..Exchange::new(self.config.clone(), self.end) };
    }

    /// Whether the peer's certificate proves that it is `remote`.
    pub(super) fn proves(&self, remote: &str) -> bool {
        self.judge.as_ref().is_some_and(|judge| judge(remote))
    }

    /// Whether anything is authorised.
    pub(super) fn is_authenticated(&self) -> bool {
        !self.admitted.is_empty() || !self.authorized.is_empty()
    }

    pub(super) fn is_authorized(&self, pair: &Pair) -> bool {
        self.authorized.contains(pair)
    }

    /// Counts what comes before anybody has proved anything.
    pub(super) fn charge(&mut self, stanza: &Stanza) -> Result<(), StreamError> {
        if self.is_authenticated() {
            return Ok(());
        }
        self.spent = self.spent.saturating_add(stanza.as_str().len());
        if self.spent > self.config.limits.unauthenticated_bytes {
            return Err(StreamError::new(StreamCondition::PolicyViolation)
                .with_text("too much was sent before a domain was authenticated"));
        }
        Ok(())
    }

    /// The remote domain has proved itself to us.
    pub(super) fn admit(&mut self, pair: Pair, proof: Proof, tasks: &mut Vec<S2sTask>) {
        if !self.admitted.contains(&pair) {
            self.admitted.push(pair.clone());
            tasks.push(S2sTask::Admitted(pair.clone(), proof));
        }
        // XEP-0288 §2.2: the inverse of a pair in a dialback request, or of what EXTERNAL authenticated.
        if self.bidi && self.end == End::Receiving && !self.authorized.contains(&pair) {
            self.authorized.push(pair.clone());
            tasks.push(S2sTask::Authorized(pair, proof));
        }
    }

    /// We have proved ourselves to the remote domain.
    pub(super) fn authorize(&mut self, pair: Pair, proof: Proof, tasks: &mut Vec<S2sTask>) {
        if !self.authorized.contains(&pair) {
            self.authorized.push(pair.clone());
            tasks.push(S2sTask::Authorized(pair.clone(), proof));
        }
        if self.bidi && self.end == End::Initiating && !self.admitted.contains(&pair) {
            self.admitted.push(pair.clone());
            tasks.push(S2sTask::Admitted(pair, proof));
        }
    }

    /// Asks to be authorised for a pair (step 1).
    pub(super) fn request(&mut self, pair: Pair, tasks: &mut Vec<S2sTask>) {
        if self.requested.contains(&pair) {
            return;
        }
        if self.authorized.contains(&pair) {
            tasks.push(S2sTask::Authorized(pair, Proof::Dialback));
            return;
        }
        let full = self.requested.len() >= self.config.limits.pending
            || self.requested.len() + self.authorized.len() >= self.config.limits.pairs;
        if full {
            tasks.push(S2sTask::Refused(pair, Refusal::Error(StanzaError::resource_constraint())));
            return;
        }
        let key = self.config.secret.key(&pair.remote, &pair.local, &self.id);
        tasks.push(S2sTask::Send(dialback::request(&pair.local, &pair.remote, &key)));
        self.requested.push(pair);
    }

    /// Asks whether a key is right (step 2).
    pub(super) fn query(&mut self, verification: Verification, tasks: &mut Vec<S2sTask>) {
        if self.queried.contains(&verification) {
            return;
        }
        if self.queried.len() >= self.config.limits.pending {
            tasks.push(S2sTask::Answered(verification, Answer::Failed(StanzaError::resource_constraint())));
            return;
        }
        tasks.push(S2sTask::Send(dialback::query(&verification)));
        self.queried.push(verification);
    }

    /// Nobody waits for this pair any more; it can be asked for again.
    pub(super) fn abandon(&mut self, pair: &Pair) {
        self.requested.retain(|one| one != pair);
    }

    /// Nobody waits for this answer any more.
    pub(super) fn abandon_query(&mut self, verification: &Verification) {
        self.queried.retain(|one| one != verification);
    }

    /// Takes a dialback element. An error ends the stream.
    pub(super) fn dialback(&mut self, root: ElementRef<'_>, tasks: &mut Vec<S2sTask>) -> Result<(), StreamError> {
        let element = Dialback::read(root).map_err(|malformed| match malformed {
            Malformed::Addressing => StreamError::new(StreamCondition::ImproperAddressing),
            Malformed::Unknown => StreamError::new(StreamCondition::UnsupportedStanzaType),
        })?;
        let Dialback { kind, from, to, id, content } = element;
        // A peer asks where it sends: on its own stream, or where both do.
        let may_ask = self.end == End::Receiving || self.bidi;
        match (kind, content) {
            (Kind::Result, Content::Key(key)) if may_ask => return self.asked_for(Pair::new(to, from), key, tasks),
            (Kind::Verify, Content::Key(key)) if may_ask => {
                let answer = self.judge_key(&from, &to, &id, &key);
                tasks.push(S2sTask::Send(dialback::verify(&to, &from, &id, &answer)));
            }
            (Kind::Result, Content::Answer(answer)) => self.result(Pair::new(to, from), answer, tasks),
            (Kind::Verify, Content::Answer(answer)) => {
                let is_it = |one: &Verification| one.local == to && one.remote == from && one.id == id;
                // Nobody asked for the others: whoever could slip one in would vouch for himself (XEP-0220 §3.3).
                if let Some(index) = self.queried.iter().position(is_it) {
                    tasks.push(S2sTask::Answered(self.queried.remove(index), answer));
                }
            }
            (_, Content::Key(_)) => {
                return Err(
                    StreamError::new(StreamCondition::PolicyViolation).with_text("this stream goes the other way")
                );
            }
        }
        Ok(())
    }

    /// As the authoritative server (step 3).
    fn judge_key(&self, receiving: &str, ours: &str, id: &str, key: &str) -> Answer {
        let policy = self.policy(receiving);
        if !self.hosts(ours) {
            Answer::Failed(StanzaError::item_not_found())
        } else if policy.block || (policy.needs_tls() && !self.secured) {
            Answer::Failed(StanzaError::policy_violation())
        } else if self.config.secret.check(key, receiving, ours, id) {
            Answer::Valid
        } else {
            Answer::Invalid
        }
    }

    /// As the receiving server (steps 1 and 4).
    fn asked_for(&mut self, pair: Pair, key: String, tasks: &mut Vec<S2sTask>) -> Result<(), StreamError> {
        if self.hosts(&pair.remote) {
            return Err(StreamError::new(StreamCondition::InvalidFrom).with_text("that domain is served here"));
        }
        let answer = match self.consider(&pair) {
            Ok(Some(proof)) => {
                tasks.push(S2sTask::Send(dialback::result(&pair.local, &pair.remote, &Answer::Valid)));
                self.admit(pair, proof, tasks);
                return Ok(());
            }
            Ok(None) => {
                let verification = Verification { local: pair.local, remote: pair.remote, id: self.id.clone(), key };
                self.verifying.push(verification.clone());
                tasks.push(S2sTask::Verify(verification));
                return Ok(());
            }
            Err(None) => return Ok(()),
            Err(Some(error)) => Answer::Failed(error),
        };
        tasks.push(S2sTask::Send(dialback::result(&pair.local, &pair.remote, &answer)));
        self.failed()
    }

    /// Counts a pair that the peer did not get: each costs a judgement of its certificate, or a connection to somewhere.
    fn failed(&mut self) -> Result<(), StreamError> {
        self.failures = self.failures.saturating_add(1);
        if self.failures > self.config.limits.failures {
            return Err(StreamError::new(StreamCondition::PolicyViolation)
                .with_text("too many domains were refused or could not be verified"));
        }
        Ok(())
    }

    /// Whether a pair is proved already, has to be verified, or is refused; refused without a word if the answer to
    /// the same request is under way.
    fn consider(&self, pair: &Pair) -> Result<Option<Proof>, Option<StanzaError>> {
        let policy = self.policy(&pair.remote);
        if !self.hosts(&pair.local) {
            return Err(Some(StanzaError::item_not_found()));
        }
        if policy.block || (policy.needs_tls() && !self.secured) {
            return Err(Some(StanzaError::policy_violation()));
        }
        if self.admitted.contains(pair) {
            return Ok(Some(Proof::Dialback));
        }
        if self.verifying.iter().any(|one| one.local == pair.local && one.remote == pair.remote) {
            return Err(None);
        }
        let limits = &self.config.limits;
        let pending = match self.is_authenticated() {
            true => limits.pending,
            // Each makes us look up a domain and connect to it.
            false => limits.pending.min(limits.unauthenticated_pending),
        };
        if self.verifying.len() >= pending || self.verifying.len() + self.admitted.len() >= limits.pairs {
            return Err(Some(StanzaError::resource_constraint()));
        }
        if self.proves(&pair.remote) {
            return Ok(Some(Proof::Certificate));
        }
        if policy.require_valid_certificate {
            return Err(Some(StanzaError::not_authorized()));
        }
        Ok(None)
    }

    /// What the authoritative server said of a key, or why it said nothing (step 4).
    pub(super) fn verified(
        &mut self,
        verification: &Verification,
        answer: Answer,
        tasks: &mut Vec<S2sTask>,
    ) -> Result<(), StreamError> {
        let Some(index) = self.verifying.iter().position(|one| one == verification) else { return Ok(()) };
        let Verification { local, remote, .. } = self.verifying.remove(index);
        let answer = match answer {
            // XEP-0220 §2.2.1: alone, an invalid key ends the stream; beside valid pairs it may be a mere mistake.
            Answer::Invalid if self.is_authenticated() => Answer::Failed(StanzaError::forbidden()),
            answer => answer,
        };
        tasks.push(S2sTask::Send(dialback::result(&local, &remote, &answer)));
        match answer {
            Answer::Valid => self.admit(Pair { local, remote }, Proof::Dialback, tasks),
            Answer::Invalid => {
                return Err(StreamError::new(StreamCondition::NotAuthorized).with_text("the dialback key is invalid"));
            }
            Answer::Failed(_) => return self.failed(),
        }
        Ok(())
    }

    fn result(&mut self, pair: Pair, answer: Answer, tasks: &mut Vec<S2sTask>) {
        // Nobody asked for the others (XEP-0220 §3.3).
        let Some(index) = self.requested.iter().position(|one| *one == pair) else { return };
        self.requested.remove(index);
        match answer {
            Answer::Valid => self.authorize(pair, Proof::Dialback, tasks),
            Answer::Invalid => tasks.push(S2sTask::Refused(pair, Refusal::Invalid)),
            Answer::Failed(error) => tasks.push(S2sTask::Refused(pair, Refusal::Error(error))),
        }
    }

    /// Judges a first-level element that is neither negotiation nor dialback (RFC 6120 §8.1).
    pub(super) fn stanza(&self, stanza: Stanza) -> Result<Arrived, StreamError> {
        let root = stanza.root();
        match (root.ns(), root.name()) {
            (ns::SERVER, "message" | "presence" | "iq") => {}
            (ns::CLIENT | ns::COMPONENT, "message" | "presence" | "iq") => {
                return Err(StreamError::new(StreamCondition::InvalidNamespace));
            }
            _ => return Err(StreamError::new(StreamCondition::UnsupportedStanzaType)),
        }
        if !self.is_authenticated() {
            return Err(StreamError::new(StreamCondition::NotAuthorized));
        }
        // §8.1.1.2 and §8.1.2.2: both are there, and are addresses.
        let improper = || StreamError::new(StreamCondition::ImproperAddressing);
        let to =
            root.attr("to").and_then(|to| Jid::new(&to).or_else(|_| Jid::lenient(&to)).ok()).ok_or_else(improper)?;
        let from = root.attr("from").and_then(|from| Jid::lenient(&from).ok()).ok_or_else(improper)?;
        if !self.hosts(to.domain()) {
            return Err(StreamError::new(StreamCondition::HostUnknown));
        }
        let admitted = self.admitted.iter().any(|one| one.remote == from.domain() && one.local == to.domain());
        if !admitted {
            return Err(StreamError::new(StreamCondition::InvalidFrom));
        }
        Ok(Arrived { stanza, from, to })
    }
}
