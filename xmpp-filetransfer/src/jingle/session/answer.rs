//! What the peer answers to what we have sent.

use super::{Ending, Event, Phase, SentId, Session, Unanswered, apply::Op};
use crate::jingle::{Action, Creator, JingleCondition};
use xmpp_core::stanza::{Condition, StanzaError};

impl Session {
    /// Takes the answer to one of our messages. Without an answer in good time, that is an error too
    /// (`remote-server-timeout`).
    pub fn answered(&mut self, sent: SentId, answer: Result<(), StanzaError>) -> Vec<Event> {
        let Some(place) = self.unanswered.iter().position(|it| it.id == sent) else { return Vec::new() };
        let sent = self.unanswered.remove(place);
        if self.has_ended() {
            return Vec::new();
        }
        match answer {
            Ok(()) => self.acknowledged(sent),
            Err(error) => self.refused(sent, error),
        }
    }

    fn acknowledged(&mut self, sent: Unanswered) -> Vec<Event> {
        match sent.op {
            Some(op) if self.is_initiator() => {
                self.apply(&op, Creator::Initiator, None);
                self.void()
            }
            Some(Op::Modify(changes)) => {
                for (id, _) in changes {
                    if let Some(content) = self.content_mut(&id)
                        && content.said_by == Some(sent.id)
                    {
                        content.said_by = None;
                    }
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn refused(&mut self, sent: Unanswered, error: StanzaError) -> Vec<Event> {
        let condition = JingleCondition::of(&error);
        let tie = condition == Some(JingleCondition::TieBreak);
        let ending = match (sent.action, condition) {
            (_, Some(JingleCondition::UnknownSession)) => Some(Ending::Unknown),
            (Action::SessionInitiate, _) if tie => Some(Ending::TieBreak),
            (Action::SessionInitiate | Action::SessionAccept, _) => Some(Ending::Refused(error)),
            (_, None) if is_unreachable(&error) => Some(Ending::Unreachable(error)),
            _ => None,
        };
        if let Some(ending) = ending {
            self.phase = Phase::Ended;
            return vec![Event::Ended(ending)];
        }
        match &sent.op {
            // A content that we do not want goes, whatever the peer has against it.
            Some(op @ Op::Drop(_)) if self.is_initiator() => {
                self.apply(op, Creator::Initiator, None);
                self.void()
            }
            Some(op) if !self.is_initiator() => {
                self.undo(op, sent.before, sent.id, tie);
                self.void()
            }
            _ => Vec::new(),
        }
    }

    fn void(&self) -> Vec<Event> {
        if self.contents.is_empty() { vec![Event::Void { reason: None }] } else { Vec::new() }
    }
}

/// Whether the peer's server says that the peer is not there.
fn is_unreachable(error: &StanzaError) -> bool {
    matches!(
        error.condition,
        Condition::ServiceUnavailable
            | Condition::RecipientUnavailable
            | Condition::RemoteServerNotFound
            | Condition::RemoteServerTimeout
            | Condition::Gone(_)
    )
}
