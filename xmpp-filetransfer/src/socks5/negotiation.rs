//! Which candidate is used (XEP-0260 §2.3, §2.4), without I/O, for either side.
//!
//! Both sides try the candidates of the other, best first. Each says which it has connected to, or that there is none; from
//! these two notices both draw the same conclusion.

use super::{
    Candidate, CandidateKind, Transport,
    jingle::{Activated, CandidateUsed},
};
use std::collections::HashSet;

/// Candidates of the other side that are looked at; more are ignored.
const CANDIDATES: usize = 32;

/// What the other side has sent makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// It speaks of a candidate that we did not offer.
    #[error("an unknown candidate")]
    UnknownCandidate,
    /// It says again, or something else than before, or what is not its turn to say.
    #[error("a notice out of order")]
    OutOfOrder,
}

/// What a side tells the other in a `transport-info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Info {
    /// We have connected to this candidate of theirs.
    Used(String),
    /// We have connected to none.
    CandidateError,
    /// Our relay, which was nominated, relays.
    Activated(String),
    /// The relay that was nominated is of no use.
    ProxyError,
}

impl Info {
    /// The element that says so.
    pub fn transport(self, sid: impl Into<String>) -> Transport {
        let mut transport = Transport { sid: sid.into(), ..Transport::default() };
        match self {
            Info::Used(cid) => transport.used = Some(CandidateUsed { cid }),
            Info::CandidateError => transport.candidate_error = true,
            Info::Activated(cid) => transport.activated = Some(Activated { cid }),
            Info::ProxyError => transport.proxy_error = true,
        }
        transport
    }
}

/// Which connection is the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The one that was made to our candidate of this id; with a relay, the one that we have made to it.
    Ours(String),
    /// The one that we have made to their candidate of this id.
    Theirs(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell the other side.
    Send(Info),
    /// Give up connecting to this candidate of theirs.
    Cancel(String),
    /// Connect to our relay, activate the stream there, and say how that went ([`Negotiation::activated`]).
    Activate(Candidate),
    /// The stream is there.
    Established(Link),
    /// There will be none this way: the initiator replaces the transport, or ends the session (§3).
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Untried,
    Trying,
    Over,
}

/// What one side has said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Used(Candidate),
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Trying,
    /// We activate our relay.
    Activating(String),
    /// They activate theirs.
    Awaiting(String),
    Done,
}

/// One side of the negotiation.
#[derive(Clone, Debug)]
pub struct Negotiation {
    is_initiator: bool,
    ours: Vec<Candidate>,
    /// The best first.
    theirs: Vec<(Candidate, Attempt)>,
    us: Option<Outcome>,
    them: Option<Outcome>,
    stage: Stage,
}

impl Negotiation {
    /// With the candidates of both sides. What they have offered twice, or under an id that they have used before, does not
    /// count, nor does what they have offered of ours. [`start`](Self::start) comes next.
    pub fn new(is_initiator: bool, ours: Vec<Candidate>, theirs: Vec<Candidate>) -> Negotiation {
        let (mut ids, mut places) = (HashSet::new(), HashSet::new());
        let known: HashSet<(String, u16)> = ours.iter().map(|one| (one.host.clone(), one.port)).collect();
        let theirs = theirs.into_iter().filter(|one| {
            let place = (one.host.clone(), one.port);
            !known.contains(&place) && places.insert(place) && ids.insert(one.cid.clone())
        });
        let mut theirs: Vec<(Candidate, Attempt)> =
            theirs.take(CANDIDATES).map(|one| (one, Attempt::Untried)).collect();
        theirs.sort_by_key(|(one, _)| std::cmp::Reverse(one.priority));
        Negotiation { is_initiator, ours, theirs, us: None, them: None, stage: Stage::Trying }
    }

    /// Begins: where there is nothing to try, that is said at once.
    pub fn start(&mut self) -> Vec<Action> {
        self.exhausted()
    }

    /// The next candidate of theirs to connect to; `None` when there is none left to try.
    pub fn next_attempt(&mut self) -> Option<Candidate> {
        if self.us.is_some() || self.stage != Stage::Trying {
            return None;
        }
        let (candidate, attempt) = self.theirs.iter_mut().find(|(_, attempt)| *attempt == Attempt::Untried)?;
        *attempt = Attempt::Trying;
        Some(candidate.clone())
    }

    /// The kind of what [`next_attempt`](Self::next_attempt) would give, for who waits longer before relays (§4).
    pub fn upcoming(&self) -> Option<CandidateKind> {
        if self.us.is_some() || self.stage != Stage::Trying {
            return None;
        }
        self.theirs.iter().find(|(_, attempt)| *attempt == Attempt::Untried).map(|(one, _)| one.kind)
    }

    /// A connection to a candidate of theirs is there. It is of use only if this says [`Info::Used`].
    pub fn connected(&mut self, cid: &str) -> Vec<Action> {
        if self.us.is_some() || self.stage != Stage::Trying {
            return Vec::new();
        }
        let found = self.theirs.iter_mut().find(|(one, attempt)| one.cid == cid && *attempt == Attempt::Trying);
        let Some((candidate, attempt)) = found else { return Vec::new() };
        *attempt = Attempt::Over;
        let used = candidate.clone();
        let mut actions = vec![Action::Send(Info::Used(used.cid.clone()))];
        actions.extend(self.cancel(|_| true));
        self.us = Some(Outcome::Used(used));
        actions.extend(self.conclude());
        actions
    }

    /// A candidate of theirs could not be connected to.
    pub fn unreachable(&mut self, cid: &str) -> Vec<Action> {
        if let Some((_, attempt)) = self.theirs.iter_mut().find(|(one, _)| one.cid == cid) {
            *attempt = Attempt::Over;
        }
        self.exhausted()
    }

    /// Time is over for connecting.
    pub fn give_up_connecting(&mut self) -> Vec<Action> {
        if self.us.is_some() || self.stage != Stage::Trying {
            return Vec::new();
        }
        let mut actions: Vec<Action> = self.cancel(|_| true);
        actions.extend(self.exhausted());
        actions
    }

    /// The other side has told something.
    ///
    /// # Errors
    /// [`NegotiationError`]; nothing has changed then.
    pub fn receive(&mut self, told: &Transport) -> Result<Vec<Action>, NegotiationError> {
        if let Some(CandidateUsed { cid }) = &told.used {
            let used = self.ours.iter().find(|one| one.cid == *cid).cloned();
            let used = used.ok_or(NegotiationError::UnknownCandidate)?;
            return self.heard(Outcome::Used(used));
        }
        if told.candidate_error {
            return self.heard(Outcome::Error);
        }
        if let Some(Activated { cid }) = &told.activated {
            return match &self.stage {
                Stage::Awaiting(awaited) if awaited == cid => {
                    Ok(self.end(Action::Established(Link::Theirs(cid.clone()))))
                }
                _ => Err(NegotiationError::OutOfOrder),
            };
        }
        if told.proxy_error {
            return match self.stage {
                Stage::Awaiting(_) | Stage::Activating(_) => Ok(self.end(Action::Failed)),
                _ => Err(NegotiationError::OutOfOrder),
            };
        }
        Ok(Vec::new())
    }

    /// Our relay was activated, or cannot be.
    pub fn activated(&mut self, done: bool) -> Vec<Action> {
        let Stage::Activating(cid) = &self.stage else { return Vec::new() };
        let cid = cid.clone();
        let (told, end) = match done {
            true => (Info::Activated(cid.clone()), Action::Established(Link::Ours(cid))),
            false => (Info::ProxyError, Action::Failed),
        };
        let mut actions = vec![Action::Send(told)];
        actions.extend(self.end(end));
        actions
    }

    /// Whether it has come to an end.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Done
    }

    fn heard(&mut self, outcome: Outcome) -> Result<Vec<Action>, NegotiationError> {
        if self.them.is_some() || self.stage != Stage::Trying {
            return Err(NegotiationError::OutOfOrder);
        }
        let mut actions = Vec::new();
        if let Outcome::Used(used) = &outcome
            && self.us.is_none()
        {
            // Only what would be preferred to theirs is still worth trying (§2.3).
            let (bound, first) = (used.priority, self.is_initiator);
            actions = self.cancel(|one| one.priority < bound || (one.priority == bound && !first));
        }
        self.them = Some(outcome);
        actions.extend(self.conclude());
        actions.extend(self.exhausted());
        Ok(actions)
    }

    /// Ends the attempts that `which` says.
    fn cancel(&mut self, which: impl Fn(&Candidate) -> bool) -> Vec<Action> {
        let mut actions = Vec::new();
        for (one, attempt) in &mut self.theirs {
            if *attempt != Attempt::Over && which(one) {
                if *attempt == Attempt::Trying {
                    actions.push(Action::Cancel(one.cid.clone()));
                }
                *attempt = Attempt::Over;
            }
        }
        actions
    }

    /// Says so, when nothing is left to try.
    fn exhausted(&mut self) -> Vec<Action> {
        let tried = self.theirs.iter().all(|(_, attempt)| *attempt == Attempt::Over);
        if !tried || self.us.is_some() || self.stage != Stage::Trying {
            return Vec::new();
        }
        self.us = Some(Outcome::Error);
        let mut actions = vec![Action::Send(Info::CandidateError)];
        actions.extend(self.conclude());
        actions
    }

    /// What follows from both notices (§2.4).
    fn conclude(&mut self) -> Vec<Action> {
        let (Some(us), Some(them)) = (&self.us, &self.them) else { return Vec::new() };
        let theirs_wins = match (us, them) {
            (Outcome::Error, Outcome::Error) => return self.end(Action::Failed),
            (Outcome::Used(_), Outcome::Error) => true,
            (Outcome::Error, Outcome::Used(_)) => false,
            // What we have chosen is theirs. Of two that are alike the initiator's choice counts.
            (Outcome::Used(chosen), Outcome::Used(other)) => {
                chosen.priority > other.priority || (chosen.priority == other.priority && self.is_initiator)
            }
        };
        let nominated = if theirs_wins { us } else { them };
        let Outcome::Used(nominated) = nominated.clone() else { return Vec::new() };
        let cid = nominated.cid.clone();
        match (theirs_wins, nominated.kind) {
            (true, CandidateKind::Proxy) => {
                self.stage = Stage::Awaiting(cid);
                Vec::new()
            }
            (false, CandidateKind::Proxy) => {
                self.stage = Stage::Activating(cid);
                vec![Action::Activate(nominated)]
            }
            (true, _) => self.end(Action::Established(Link::Theirs(cid))),
            (false, _) => self.end(Action::Established(Link::Ours(cid))),
        }
    }

    fn end(&mut self, how: Action) -> Vec<Action> {
        self.stage = Stage::Done;
        vec![how]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::socks5::priority;
    use proptest::prelude::*;
    use xmpp_core::jid::Jid;

    fn candidate(cid: &str, kind: CandidateKind, local: u16) -> Candidate {
        let (jid, priority) = (Jid::new("a@b/c").unwrap(), priority(kind, local));
        Candidate { cid: cid.to_owned(), host: cid.to_owned(), jid, port: 1, priority, kind }
    }

    use CandidateKind::{Direct, Proxy};

    fn used(cid: &str) -> Transport {
        Info::Used(cid.to_owned()).transport("s")
    }

    fn error() -> Transport {
        Info::CandidateError.transport("s")
    }

    /// The initiator, with a direct candidate and a relay of its own, and as many of theirs.
    fn initiator() -> Negotiation {
        let ours = vec![candidate("o1", Direct, 5), candidate("o2", Proxy, 5)];
        let theirs = vec![candidate("t2", Proxy, 5), candidate("t1", Direct, 5), candidate("t0", Direct, 9)];
        Negotiation::new(true, ours, theirs)
    }

    fn tried(negotiation: &mut Negotiation) -> Vec<String> {
        std::iter::from_fn(|| negotiation.next_attempt()).map(|one| one.cid).collect()
    }

    #[test]
    fn xep0260_2_3_candidates_are_tried_in_order_of_priority() {
        let mut negotiation = initiator();
        assert!(negotiation.start().is_empty());
        assert_eq!(negotiation.upcoming(), Some(Direct));
        assert_eq!(tried(&mut negotiation), ["t0", "t1", "t2"]);
        assert!(negotiation.unreachable("t0").is_empty());
        assert_eq!(
            negotiation.connected("t1"),
            [Action::Send(Info::Used("t1".into())), Action::Cancel("t2".into())],
            "the other side has not said anything"
        );
        assert!(negotiation.connected("t2").is_empty() && negotiation.next_attempt().is_none());
        assert_eq!(negotiation.receive(&error()).unwrap(), [Action::Established(Link::Theirs("t1".into()))]);
        assert!(negotiation.is_over());
    }

    #[test]
    fn xep0260_2_4_without_any_connection_it_has_failed() {
        let mut negotiation = initiator();
        for cid in tried(&mut negotiation).split_last().unwrap().1 {
            assert!(negotiation.unreachable(cid).is_empty());
        }
        assert_eq!(negotiation.unreachable("t2"), [Action::Send(Info::CandidateError)]);
        assert_eq!(negotiation.receive(&error()).unwrap(), [Action::Failed]);
        // And without candidates at once.
        let mut negotiation = Negotiation::new(false, vec![], vec![]);
        assert_eq!(negotiation.start(), [Action::Send(Info::CandidateError)]);
        assert_eq!(negotiation.receive(&error()).unwrap(), [Action::Failed]);
        assert_eq!(negotiation.receive(&error()), Err(NegotiationError::OutOfOrder));
    }

    #[test]
    fn xep0260_2_3_what_is_worse_than_theirs_is_not_tried_any_more() {
        let mut negotiation = initiator();
        negotiation.next_attempt();
        assert!(
            negotiation.receive(&used("o1")).unwrap().is_empty(),
            "t0 is better, t1 alike and the initiator's choice"
        );
        assert_eq!(tried(&mut negotiation), ["t1"], "the relay is worse");
        negotiation.unreachable("t0");
        assert_eq!(
            negotiation.connected("t1"),
            [Action::Send(Info::Used("t1".into())), Action::Established(Link::Theirs("t1".into()))],
            "both are alike: what the initiator has chosen counts"
        );
        let mut responder = Negotiation { is_initiator: false, ..initiator() };
        responder.next_attempt();
        responder.receive(&used("o1")).unwrap();
        assert!(tried(&mut responder).is_empty(), "t1 would not count");
        assert_eq!(
            responder.unreachable("t0"),
            [Action::Send(Info::CandidateError), Action::Established(Link::Ours("o1".into()))]
        );
    }

    #[test]
    fn xep0260_2_4_the_higher_priority_is_nominated() {
        for (is_initiator, ours, link) in [
            (true, 8, Link::Theirs("t".into())),
            (true, 10, Link::Ours("o".into())),
            (true, 9, Link::Theirs("t".into())),
            (false, 9, Link::Ours("o".into())),
        ] {
            let (ours, theirs) = (candidate("o", Direct, ours), candidate("t", Direct, 9));
            let mut negotiation = Negotiation::new(is_initiator, vec![ours], vec![theirs]);
            negotiation.next_attempt();
            assert_eq!(negotiation.connected("t"), [Action::Send(Info::Used("t".into()))]);
            assert_eq!(negotiation.receive(&used("o")).unwrap(), [Action::Established(link)]);
        }
    }

    #[test]
    fn xep0260_2_4_who_offered_a_relay_activates_it() {
        let only_relays = || {
            let mut negotiation =
                Negotiation::new(true, vec![candidate("o", Proxy, 5)], vec![candidate("t", Proxy, 3)]);
            negotiation.next_attempt();
            negotiation
        };
        // Ours.
        let mut negotiation = only_relays();
        negotiation.unreachable("t");
        assert_eq!(negotiation.receive(&used("o")).unwrap(), [Action::Activate(candidate("o", Proxy, 5))]);
        let mut broken = negotiation.clone();
        assert_eq!(
            negotiation.activated(true),
            [Action::Send(Info::Activated("o".into())), Action::Established(Link::Ours("o".into()))]
        );
        assert!(negotiation.activated(false).is_empty(), "it is over");
        assert_eq!(broken.activated(false), [Action::Send(Info::ProxyError), Action::Failed]);
        // Theirs.
        let mut negotiation = only_relays();
        negotiation.connected("t");
        assert!(negotiation.receive(&error()).unwrap().is_empty(), "until it is activated");
        let activated = |cid: &str| Info::Activated(cid.into()).transport("s");
        assert_eq!(negotiation.receive(&activated("x")), Err(NegotiationError::OutOfOrder));
        let mut broken = negotiation.clone();
        assert_eq!(negotiation.receive(&activated("t")).unwrap(), [Action::Established(Link::Theirs("t".into()))]);
        assert_eq!(broken.receive(&Info::ProxyError.transport("s")).unwrap(), [Action::Failed]);
    }

    #[test]
    fn abuse_notices_that_make_no_sense_change_nothing() {
        let mut negotiation = initiator();
        let activated = Info::Activated("t1".into()).transport("s");
        for (told, error) in [
            (used("t1"), NegotiationError::UnknownCandidate),
            (used(""), NegotiationError::UnknownCandidate),
            (activated, NegotiationError::OutOfOrder),
            (Info::ProxyError.transport("s"), NegotiationError::OutOfOrder),
        ] {
            assert_eq!(negotiation.receive(&told), Err(error));
        }
        negotiation.receive(&used("o1")).unwrap();
        assert_eq!(negotiation.receive(&used("o2")), Err(NegotiationError::OutOfOrder), "it has said so already");
        // Many candidates, and ours among them.
        let many = (0..100).map(|n| candidate(&format!("t{n}"), Direct, n));
        let again = vec![candidate("o", Direct, 1), candidate("t99", Direct, 500), candidate("t99", Proxy, 501)];
        let mut negotiation =
            Negotiation::new(true, vec![candidate("o", Direct, 1)], again.into_iter().chain(many).collect());
        let tried = tried(&mut negotiation);
        assert_eq!((tried.len(), tried[0].as_str()), (CANDIDATES, "t99"));
        assert!(!tried.contains(&"o".to_owned()), "nobody is led back to itself");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever can be reached, and in whatever order things happen, both sides come to the same end.
        #[test]
        fn xep0260_2_4_both_sides_agree(
            one in proptest::collection::vec((0_u16..4, any::<bool>(), any::<bool>()), 0..5),
            two in proptest::collection::vec((0_u16..4, any::<bool>(), any::<bool>()), 0..5),
            order in proptest::collection::vec(0_u8..6, 0..60),
            relays in any::<bool>(),
        ) {
            let made = |side: &str, list: &[(u16, bool, bool)]| -> Vec<Candidate> {
                let kind = |proxy| if proxy { Proxy } else { Direct };
                list.iter().enumerate().map(|(n, (local, proxy, _))| candidate(&format!("{side}{n}"), kind(*proxy), *local)).collect()
            };
            let (a, b) = (made("a", &one), made("b", &two));
            let reachable = |cid: &str| {
                let list = if cid.starts_with('a') { &one } else { &two };
                cid[1..].parse::<usize>().ok().and_then(|n| list.get(n)).is_some_and(|(_, _, yes)| *yes)
            };
            let mut sides = [Negotiation::new(true, a.clone(), b.clone()), Negotiation::new(false, b, a)];
            let mut on_the_way: [std::collections::VecDeque<Transport>; 2] = Default::default();
            let mut trying: [Vec<String>; 2] = Default::default();
            let mut ends: [Option<Action>; 2] = [None, None];
            let mut steps: Vec<(usize, Vec<Action>)> = vec![];
            for (n, side) in sides.iter_mut().enumerate() {
                steps.push((n, side.start()));
            }
            let mut order = order.into_iter().chain((0..6).cycle().take(600));
            loop {
                while let Some((side, actions)) = steps.pop() {
                    for action in actions {
                        match action {
                            Action::Send(info) => on_the_way[1 - side].push_back(info.transport("s")),
                            Action::Cancel(cid) => trying[side].retain(|one| *one != cid),
                            Action::Activate(_) => { let then = sides[side].activated(relays); steps.push((side, then)); }
                            end => { prop_assert!(ends[side].is_none()); ends[side] = Some(end); }
                        }
                    }
                }
                let Some(next) = order.next() else { break };
                let side = usize::from(next % 2);
                match next / 2 {
                    0 => if let Some(one) = sides[side].next_attempt() { trying[side].push(one.cid); },
                    1 => if !trying[side].is_empty() {
                        let cid = trying[side].remove(0);
                        let then = if reachable(&cid) { sides[side].connected(&cid) } else { sides[side].unreachable(&cid) };
                        steps.push((side, then));
                    },
                    _ => if let Some(told) = on_the_way[side].pop_front() {
                        let then = sides[side].receive(&told);
                        prop_assert!(then.is_ok(), "{:?}", then);
                        steps.push((side, then.unwrap()));
                    },
                }
            }
            let expected = match &ends[0] {
                Some(Action::Established(Link::Ours(cid))) => Action::Established(Link::Theirs(cid.clone())),
                Some(Action::Established(Link::Theirs(cid))) => Action::Established(Link::Ours(cid.clone())),
                Some(Action::Failed) => Action::Failed,
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            prop_assert_eq!(ends[1].as_ref(), Some(&expected));
        }
    }
}
