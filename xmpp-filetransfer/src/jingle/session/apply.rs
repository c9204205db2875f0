//! What changes the contents of a session, whichever end does it.

use super::{Phase, SentId, Session, SessionContent, content::Replacement};
use crate::jingle::{Content, ContentId, Creator, Senders};
use xmpp_core::xml::Stanza;

/// A change of the contents.
#[derive(Clone, Debug)]
pub(super) enum Op {
    AcceptSession(Vec<Content>),
    Add(Vec<Content>),
    Accept(Vec<Content>),
    Drop(Vec<ContentId>),
    Modify(Vec<(ContentId, Senders)>),
    Propose(Vec<(ContentId, Stanza)>),
    AcceptTransport(Vec<(ContentId, Option<Stanza>)>),
    RejectTransport(Vec<ContentId>),
}

impl Session {
    /// Does it; returns the contents that are gone by it.
    pub(super) fn apply(&mut self, op: &Op, by: Creator, sent: Option<SentId>) -> Vec<ContentId> {
        match op {
            Op::AcceptSession(contents) => return self.apply_accept(contents),
            Op::Add(contents) => {
                for content in contents {
                    if self.content(&content.id).is_none() {
                        self.contents.push(SessionContent::offered(content.clone(), by, false));
                    }
                }
            }
            Op::Accept(contents) => {
                for answer in contents {
                    if let Some(content) = self.content_mut(&answer.id) {
                        content.accepted = true;
                        content.merge(answer);
                    }
                }
            }
            Op::Drop(ids) => self.contents.retain(|content| !ids.contains(content.id())),
            Op::Modify(changes) => {
                for (id, senders) in changes {
                    if let Some(content) = self.content_mut(id) {
                        content.definition.senders = Some(*senders);
                        content.said_by = sent;
                    }
                }
            }
            Op::Propose(proposals) => {
                for (id, transport) in proposals {
                    if let Some(content) = self.content_mut(id) {
                        content.replacement = Some(Replacement { by, transport: transport.clone(), sent });
                    }
                }
            }
            Op::AcceptTransport(answers) => {
                for (id, answer) in answers {
                    if let Some(content) = self.content_mut(id)
                        && let Some(replacement) = content.replacement.take()
                    {
                        content.definition.transport = Some(answer.clone().unwrap_or(replacement.transport));
                    }
                }
            }
            Op::RejectTransport(ids) => {
                for id in ids {
                    if let Some(content) = self.content_mut(id) {
                        content.replacement = None;
                    }
                }
            }
        }
        Vec::new()
    }

    /// The session is accepted with these contents (§7.2.8). Others that it was asked for with are no part of it, but those
    /// of another disposition, which it says nothing of.
    fn apply_accept(&mut self, answers: &[Content]) -> Vec<ContentId> {
        self.phase = Phase::Active;
        for answer in answers {
            if let Some(content) = self.content_mut(&answer.id)
                && !content.accepted
                && content.offered_by == Creator::Initiator
                && content.definition.is_session()
            {
                content.accepted = true;
                content.merge(answer);
            }
        }
        let stays = |content: &SessionContent| !content.initial || content.accepted || !content.definition.is_session();
        let dropped = self.contents.iter().filter(|content| !stays(content)).map(|it| it.id().clone()).collect();
        self.contents.retain(stays);
        // What we had taken away does not come back either.
        let contents = &self.contents;
        let is_there = |id: &ContentId| contents.iter().any(|content| content.id() == id);
        let comes_back = |content: &SessionContent| stays(content) || is_there(content.id());
        self.unanswered.iter_mut().for_each(|sent| sent.before.retain(comes_back));
        dropped
    }

    /// A content, and how it would be if we took back that we have taken it away.
    fn copies_mut(&mut self, id: &ContentId) -> impl Iterator<Item = &mut SessionContent> {
        let before = self.unanswered.iter_mut().flat_map(|sent| &mut sent.before);
        self.contents.iter_mut().chain(before).filter(move |content| content.id() == id)
    }

    /// Takes back what the responder has done and the initiator has not taken.
    pub(super) fn undo(&mut self, op: &Op, before: Vec<SessionContent>, sent: SentId, tie: bool) {
        match op {
            Op::AcceptSession(_) => {}
            Op::Add(contents) => {
                let is_open = |content: &SessionContent| {
                    content.accepted || !contents.iter().any(|ours| ours.id == *content.id())
                };
                self.contents.retain(is_open);
                self.unanswered.iter_mut().for_each(|sent| sent.before.retain(is_open));
            }
            // What the other end does not know is gone, whatever it says; in a tie it knows of some.
            Op::Drop(_) if !tie => {}
            Op::Drop(_) => {
                for earlier in before {
                    if self.content(earlier.id()).is_none() {
                        self.contents.push(earlier);
                    }
                }
            }
            _ => {
                for earlier in before {
                    for content in self.copies_mut(earlier.id()) {
                        content.take_back(op, &earlier, sent);
                    }
                }
            }
        }
    }
}

impl SessionContent {
    fn take_back(&mut self, op: &Op, earlier: &SessionContent, sent: SentId) {
        match op {
            Op::Accept(_) => self.accepted = earlier.accepted,
            Op::Modify(_) if self.said_by == Some(sent) => {
                self.definition.senders = earlier.definition.senders;
                self.said_by = None;
            }
            Op::Propose(_) if self.replacement.as_ref().is_some_and(|it| it.sent == Some(sent)) => {
                self.replacement = None;
            }
            Op::AcceptTransport(_) | Op::RejectTransport(_) if self.replacement.is_none() => {
                self.replacement.clone_from(&earlier.replacement);
                self.definition.transport.clone_from(&earlier.definition.transport);
            }
            _ => {}
        }
    }
}
