//! Requests that wait for their answers (RFC 6120 §8.2.3).

use super::RequestError;
use crate::{
    jid::{FullJid, Jid},
    stanza::Iq,
};
use std::collections::HashMap;
use tokio::sync::oneshot;

pub(super) type Reply = oneshot::Sender<Result<Iq, RequestError>>;

struct Waiting {
    /// Which of a component's addresses has asked.
    from: Option<Jid>,
    to: Option<Jid>,
    reply: Reply,
}

/// The table of waiting requests, by id.
pub(super) struct Requests {
    waiting: HashMap<String, Waiting>,
    limit: usize,
}

impl Requests {
    pub(super) fn new(limit: usize) -> Requests {
        Requests { waiting: HashMap::new(), limit }
    }

    /// Whether the request may be sent. One that may not has been told so.
    pub(super) fn insert(&mut self, id: &str, from: Option<Jid>, to: Option<Jid>, reply: Reply) -> bool {
        if reply.is_closed() {
            return false;
        }
        if self.waiting.len() >= self.limit {
            // Those whose callers have gone make room.
            self.waiting.retain(|_, one| !one.reply.is_closed());
        }
        // An id that is in use would let one answer pass for another's.
        if self.waiting.len() >= self.limit || self.waiting.contains_key(id) {
            let _ = reply.send(Err(RequestError::TooMany));
            return false;
        }
        self.waiting.insert(id.to_owned(), Waiting { from, to, reply });
        true
    }

    /// Whether a caller still waits for the answer with this id.
    pub(super) fn awaits(&self, id: &str) -> bool {
        self.waiting.get(id).is_some_and(|one| !one.reply.is_closed())
    }

    /// Whether any caller still waits.
    pub(super) fn any(&self) -> bool {
        self.waiting.values().any(|one| !one.reply.is_closed())
    }

    /// Hands an answer to whoever waits for it; gives it back if nobody does, or if it comes from somebody else.
    pub(super) fn answer(&mut self, answer: Iq, own: &FullJid) -> Result<(), Iq> {
        let id = answer.id().into_owned();
        let expected = self.waiting.get(&id).is_some_and(|one| {
            let asker = one.from.is_none() || one.from.as_ref() == answer.to();
            asker && answers(answer.from(), one.to.as_ref(), own)
        });
        // A stranger's guess must not end the wait for the true answer.
        if !expected {
            return Err(answer);
        }
        if let Some(one) = self.waiting.remove(&id) {
            let _ = one.reply.send(Ok(answer));
        }
        Ok(())
    }

    /// The session is gone, and with it the answers to all but those that `unsent` knows.
    pub(super) fn fail_except(&mut self, unsent: impl Fn(&str) -> bool) {
        let gone = self.waiting.extract_if(|id, _| !unsent(id));
        for (_, one) in gone {
            let _ = one.reply.send(Err(RequestError::Disconnected));
        }
    }
}

/// Whether an answer from `from` is one to a request to `to`. Asking one's own account, or the server by no
/// address, is answered from any of the names the account goes by (RFC 6120 §8.1.2.1, §10.3.3).
fn answers(from: Option<&Jid>, to: Option<&Jid>, own: &FullJid) -> bool {
    let own_name = |name: &str| name == own.bare_str() || name == own.as_str() || name == own.domain();
    match (from, to) {
        (Some(from), Some(to)) => from == to,
        (None, None) => true,
        (Some(from), None) => own_name(from.as_str()),
        (None, Some(to)) => to.as_str() == own.bare_str() || to.as_str() == own.domain(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn answer(from: Option<&str>, id: &str) -> Iq {
        let builder = crate::stanza::IqBuilder::new(None, crate::stanza::IqType::Result).id(id);
        match from {
            Some(from) => builder.from(from.parse::<Jid>().unwrap()).build(),
            None => builder.build(),
        }
    }

    #[test]
    fn rfc6120_8_1_2_1_an_answer_counts_only_from_whom_was_asked() {
        let own = FullJid::new("juliet@localhost/balcony").unwrap();
        let cases = [
            (Some("romeo@localhost/x"), Some("romeo@localhost/x"), true),
            (Some("romeo@localhost/y"), Some("romeo@localhost/x"), false),
            (None, Some("romeo@localhost/x"), false),
            (None, Some("localhost"), true),
            (Some("localhost"), Some("localhost"), true),
            (None, None, true),
            (Some("juliet@localhost"), None, true),
            (Some("juliet@localhost/balcony"), None, true),
            (Some("localhost"), None, true),
            (Some("juliet@localhost/other"), None, false),
            (Some("tybalt@localhost"), None, false),
        ];
        for (from, to, accepted) in cases {
            let mut requests = Requests::new(1);
            let (reply, mut received) = oneshot::channel();
            assert!(requests.insert("a", None, to.map(|to| to.parse().unwrap()), reply));
            assert_eq!(requests.answer(answer(from, "a"), &own).is_ok(), accepted, "{from:?} for {to:?}");
            assert_eq!(received.try_recv().is_ok(), accepted);
            assert_eq!(requests.any(), !accepted, "a forged answer does not end the wait");
        }
    }

    #[test]
    fn xep0114_an_answer_counts_only_at_the_address_that_asked() {
        let own = FullJid::new("gateway.localhost/id").unwrap();
        let asker: Jid = "a@gateway.localhost".parse().unwrap();
        let asked: Jid = "romeo@localhost/x".parse().unwrap();
        for (to, accepted) in [("a@gateway.localhost", true), ("b@gateway.localhost", false)] {
            let mut requests = Requests::new(1);
            let (reply, _received) = oneshot::channel();
            assert!(requests.insert("a", Some(asker.clone()), Some(asked.clone()), reply));
            let answer = crate::stanza::IqBuilder::new(Some(to.parse().unwrap()), crate::stanza::IqType::Result);
            let answer = answer.id("a").from(asked.clone()).build();
            assert_eq!(requests.answer(answer, &own).is_ok(), accepted, "{to}");
        }
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_has_gone() {
        let mut requests = Requests::new(2);
        let (one, kept) = oneshot::channel();
        let (two, gone) = oneshot::channel();
        let (three, _kept) = oneshot::channel();
        let (four, mut refused) = oneshot::channel();
        assert!(requests.insert("1", None, None, one) && requests.insert("2", None, None, two));
        drop(gone);
        assert!(requests.insert("3", None, None, three));
        assert!(!requests.insert("4", None, None, four));
        assert!(matches!(refused.try_recv().unwrap(), Err(RequestError::TooMany)));
        drop(kept);
    }
}
