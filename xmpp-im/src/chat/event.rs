//! What happens in chats.

use crate::message::{
    encryption::Encryption, me, oob::OutOfBand, reference::Reference, reply::Reply, spoiler::Spoiler,
};
use xmpp_core::{
    jid::Jid,
    payload::{DateTime, chat_state::ChatState},
    stanza::{Message, StanzaError},
};

/// Something happened in a chat.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChatEvent {
    /// With whom the chat is: a bare address.
    pub chat: Jid,
    /// Who did it: the bare address of either side, or the full one of a room's occupant in a private chat.
    pub author: Jid,
    /// We did it, from this client or another.
    pub is_mine: bool,
    /// How it came to us.
    pub source: Source,
    /// The message's id, which others refer to.
    pub id: Option<String>,
    /// Its identifier in our archive.
    pub archive_id: Option<String>,
    /// When it was sent, as our server or our archive says; `None` is now.
    pub time: Option<DateTime>,
    /// What happened.
    pub kind: ChatEventKind,
    /// The message that says so.
    pub message: Message,
}

/// How an event came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// As a message to this client.
    Live,
    /// As a copy of what another client of ours sent or received (XEP-0280).
    Carbon,
    /// From the archive (XEP-0313).
    Archive,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ChatEventKind {
    /// A new message.
    New(Content),
    /// The message `id` of the same author now reads otherwise.
    Corrected {
        /// The first version.
        id: String,
        /// All that stands in its place.
        content: Content,
    },
    /// The message `id` of the same author was taken back.
    Retracted {
        /// The message.
        id: String,
    },
    /// These are now the author's reactions to the message `id`.
    Reacted {
        /// The message, of either side.
        id: String,
        /// Few, and each once. None if all were taken back.
        reactions: Vec<String>,
    },
    /// What the author is doing.
    State(ChatState),
    /// The message `id` has arrived at a client of the author's (XEP-0184).
    Delivered {
        /// A message of the other side.
        id: String,
    },
    /// The author has seen all up to the message `id` (XEP-0333).
    Displayed {
        /// A message of the other side.
        id: String,
    },
    /// Our message `id` was not delivered.
    Failed {
        /// The message.
        id: String,
        /// Why.
        error: StanzaError,
    },
}

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Content {
    /// The text, without what is there for those who don't know of replies.
    pub body: String,
    /// What it replies to.
    pub reply: Option<Reply>,
    /// What can be fetched.
    pub attachments: Vec<OutOfBand>,
    /// Whom it mentions. Positions count in the message's body as it came.
    pub references: Vec<Reference>,
    /// It is not to be shown at once.
    pub spoiler: Option<Spoiler>,
    /// It is encrypted in a way that is not understood here.
    pub encryption: Option<Encryption>,
    /// It asks to be looked at.
    pub attention: bool,
    /// The author wants to know when it has been displayed.
    pub markable: bool,
}

impl Content {
    /// What the author does, if the text says so (XEP-0245).
    pub fn action(&self) -> Option<&str> {
        me::action(&self.body)
    }
}
