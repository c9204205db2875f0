//! A content as a session knows it.

use super::SentId;
use crate::jingle::{Content, ContentId, Creator, Senders};
use xmpp_core::xml::Stanza;

/// A content of a session and what has become of it.
#[derive(Clone, Debug)]
pub struct SessionContent {
    pub(super) definition: Content,
    pub(super) offered_by: Creator,
    /// Offered with the session itself.
    pub(super) initial: bool,
    pub(super) accepted: bool,
    /// We are taking it away, and the responder does not know yet.
    pub(super) leaving: bool,
    /// Another transport that is proposed.
    pub(super) replacement: Option<Replacement>,
    /// Which unanswered message of ours said last who sends.
    pub(super) said_by: Option<SentId>,
}

#[derive(Clone, Debug)]
pub(super) struct Replacement {
    pub(super) by: Creator,
    pub(super) transport: Stanza,
    pub(super) sent: Option<SentId>,
}

impl SessionContent {
    pub(super) fn offered(definition: Content, offered_by: Creator, initial: bool) -> SessionContent {
        SessionContent {
            definition,
            offered_by,
            initial,
            accepted: false,
            leaving: false,
            replacement: None,
            said_by: None,
        }
    }

    /// What it goes by.
    pub fn id(&self) -> &ContentId {
        &self.definition.id
    }

    /// Its definition: of each part, what either end has said last.
    pub fn definition(&self) -> &Content {
        &self.definition
    }

    /// Who sends.
    pub fn senders(&self) -> Senders {
        self.definition.senders.unwrap_or_default()
    }

    /// Whether the end that was offered it has accepted it.
    pub fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// Who has offered it.
    pub fn offered_by(&self) -> Creator {
        self.offered_by
    }

    /// The transport that is proposed instead of its own, and by whom.
    pub fn proposed_transport(&self) -> Option<(Creator, &Stanza)> {
        self.replacement.as_ref().map(|it| (it.by, &it.transport))
    }

    pub(super) fn bytes(&self) -> usize {
        let proposed = self.replacement.as_ref().map_or(0, |it| it.transport.as_str().len());
        bytes(&self.definition) + proposed
    }

    /// Whether it has, or may soon have, a transport of this namespace.
    pub(super) fn goes_by(&self, namespace: &str) -> bool {
        let proposed = self.replacement.as_ref().map(|it| it.transport.root().ns());
        self.definition.transport_ns() == Some(namespace) || proposed == Some(namespace)
    }

    /// What an answer says takes the place of what was said before.
    pub(super) fn merge(&mut self, answer: &Content) {
        let definition = &mut self.definition;
        for (slot, said) in [
            (&mut definition.description, &answer.description),
            (&mut definition.transport, &answer.transport),
            (&mut definition.security, &answer.security),
        ] {
            if said.is_some() {
                slot.clone_from(said);
            }
        }
        if answer.senders.is_some() {
            definition.senders = answer.senders;
            self.said_by = None;
        }
    }
}

pub(super) fn bytes(content: &Content) -> usize {
    let elements = [&content.description, &content.transport, &content.security].into_iter().flatten();
    content.id.name.len() + elements.map(|element| element.as_str().len()).sum::<usize>()
}
