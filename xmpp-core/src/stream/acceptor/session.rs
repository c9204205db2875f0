//! The way from an account to a session: binding (RFC 6120 §7) or resumption (XEP-0198 §5).

use super::{Accepted, Acceptor, ResumeError, Resumed, State, Task};
use crate::{
    jid::FullJid,
    payload::Payload,
    sasl::Mechanism,
    stanza::{Condition, StanzaError},
    stream::management::{self, Failed},
    stream::{StreamCondition, StreamError},
    xml::{ElementRef, Writer, ns},
};

impl Acceptor {
    /// The answer to [`Task::Bind`].
    pub fn bound(&mut self, bound: Result<FullJid, StanzaError>) -> Vec<Task> {
        let id = std::mem::take(&mut self.bind_id);
        let mut out = Writer::new(ns::CLIENT);
        out.open("iq", ns::CLIENT);
        out.attr("id", &id);
        match (bound, &self.user) {
            (Ok(jid), Some((_, mechanism))) => {
                out.attr("type", "result");
                out.open("bind", ns::BIND);
                out.text_element("jid", ns::BIND, jid.as_str());
                out.close();
                out.close();
                let accepted = self.accepted(jid, *mechanism);
                self.state = State::Bound;
                vec![Task::Send(out.finish()), Task::Accepted(Box::new(accepted))]
            }
            (bound, _) => {
                let error = bound.err().unwrap_or_else(StanzaError::internal_server_error);
                out.attr("type", "error");
                error.write(&mut out);
                out.close();
                self.state = State::Features;
                self.session_refused(out.finish())
            }
        }
    }

    pub(super) fn accepted(&self, jid: FullJid, mechanism: Mechanism) -> Accepted {
        Accepted { jid, mechanism, secured: self.secured, resumed: false, user_agent: self.user_agent() }
    }

    /// The answer to [`Task::Resume`]. After a refusal the client may bind (XEP-0198 §5).
    pub fn resumed(&mut self, resumed: Result<Resumed, ResumeError>) -> Vec<Task> {
        let (State::Asked, Some((_, mechanism))) = (&self.state, &self.user) else { return Vec::new() };
        let mechanism = *mechanism;
        let previd = std::mem::take(&mut self.previous);
        let failed = match resumed {
            Ok(Resumed { jid, handled }) => {
                let resumed = written(&management::Resumed { previd, h: handled });
                let accepted = Accepted { resumed: true, ..self.accepted(jid, mechanism) };
                let answer = self.sasl2_resumed(&accepted.jid, &resumed).unwrap_or(resumed);
                self.state = State::Bound;
                return vec![Task::Send(answer), Task::Accepted(Box::new(accepted))];
            }
            Err(ResumeError::TooHigh(error)) => return self.close(Some(&error.into())),
            Err(ResumeError::NotFound(h)) => Failed { condition: Condition::ItemNotFound, h },
            Err(ResumeError::Other(condition)) => Failed::new(condition),
        };
        if self.in_sasl2() {
            return self.sasl2_not_resumed(&failed);
        }
        self.state = State::Features;
        self.session_refused(written(&failed))
    }

    /// A binding or a resumption has failed, and the client may try again, but not for ever.
    fn session_refused(&mut self, answer: Vec<u8>) -> Vec<Task> {
        self.bind_failures += 1;
        let mut tasks = vec![Task::Send(answer)];
        if self.bind_failures >= self.config.bind_attempts {
            let error = StreamError::new(StreamCondition::PolicyViolation).with_text("too many failed bindings");
            tasks.extend(self.close(Some(&error)));
        }
        tasks
    }

    pub(super) fn stanza(&mut self, root: ElementRef<'_>) -> Vec<Task> {
        let Some((user, _)) = self.user.clone() else {
            return self.close(Some(&StreamError::new(StreamCondition::NotAuthorized)));
        };
        let bind = root.child("bind", ns::BIND);
        let is_set = root.attr("type").as_deref() == Some("set");
        let (true, Some(bind), true) = (root.name() == "iq", bind, matches!(self.state, State::Features)) else {
            return self
                .close(Some(&StreamError::new(StreamCondition::NotAuthorized).with_text("bind a resource first")));
        };
        self.bind_id = root.attr("id").unwrap_or_default().into_owned();
        if !is_set || self.bind_id.is_empty() {
            return self.bound(Err(StanzaError::bad_request()));
        }
        let resource = bind.child("resource", ns::BIND).map(|resource| resource.text().into_owned());
        self.state = State::Asked;
        vec![Task::Bind(user, resource.filter(|resource| !resource.is_empty()))]
    }

    /// XEP-0198 §3, §5: only an authenticated client may resume, and only a bound one enable.
    pub(super) fn managed(&mut self, root: ElementRef<'_>) -> Vec<Task> {
        let refused = match (&self.user, management::Resume::read(root)) {
            _ if !self.config.management => Condition::FeatureNotImplemented,
            _ if root.name() == "enable" || !matches!(self.state, State::Features) => Condition::UnexpectedRequest,
            (None, _) => Condition::UnexpectedRequest,
            (Some(_), Err(_)) => Condition::BadRequest,
            (Some((user, _)), Ok(resume)) => {
                let user = user.clone();
                self.state = State::Asked;
                self.previous.clone_from(&resume.previd);
                return vec![Task::Resume { user, previous: resume.previd, handled: resume.h }];
            }
        };
        self.session_refused(written(&Failed::new(refused)))
    }
}

fn written<P: Payload>(payload: &P) -> Vec<u8> {
    let mut out = Writer::new(ns::CLIENT);
    payload.write(&mut out);
    out.finish()
}
