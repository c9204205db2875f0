//! Requests before the login, for those who have no account yet (XEP-0077 §3.1.1).

use super::{Acceptor, State, Task};
use crate::{
    jid::Jid,
    sasl::Mechanism,
    stream::{StreamCondition, StreamError},
    xml::{ElementRef, Stanza},
};

impl Acceptor {
    /// The answer to [`Task::Newcomer`]: a stanza as it is sent.
    pub fn newcomer_answered(&mut self, answer: Vec<u8>) -> Vec<Task> {
        if !matches!(self.state, State::Newcomer) {
            return Vec::new();
        }
        self.state = State::Features;
        vec![Task::Send(answer)]
    }

    /// Whether newcomers may ask anything in a stream of a domain with these mechanisms. What they say is secret.
    pub(super) fn receives_newcomers(&self, mechanisms: &[Mechanism]) -> bool {
        (self.secured || self.config.newcomers.private) && !mechanisms.contains(&Mechanism::Anonymous)
    }

    /// An iq before the login (RFC 6120 §7.1, §8.1.1.1): whatever nobody waits for ends the stream.
    pub(super) fn newcomer(&mut self, stanza: &Stanza) -> Vec<Task> {
        let domain = match &self.domain {
            Some((name, mechanisms)) if self.receives_newcomers(mechanisms) && self.expects(stanza.root(), name) => {
                name.clone()
            }
            _ => return self.close(Some(&StreamError::new(StreamCondition::NotAuthorized))),
        };
        if self.newcomer_requests >= self.config.newcomers.requests {
            let error = StreamError::new(StreamCondition::PolicyViolation);
            return self.close(Some(&error.with_text("too many requests before the login")));
        }
        self.newcomer_requests += 1;
        self.state = State::Newcomer;
        vec![Task::Newcomer { domain, request: stanza.clone() }]
    }

    /// A request to the server itself with a payload that somebody answers.
    fn expects(&self, root: ElementRef<'_>, domain: &str) -> bool {
        let request = matches!(root.attr("type").as_deref(), Some("get" | "set"));
        let to = root.attr("to");
        let here = to.is_none_or(|to| Jid::lenient(&to).is_ok_and(|to| to.as_str() == domain));
        let payloads = &self.config.newcomers.payloads;
        let known = root.children().any(|child| payloads.iter().any(|payload| payload == child.ns()));
        matches!(self.state, State::Features) && request && here && known
    }
}
