//! Messages (RFC 6121 §5).

use super::build::{Draft, common_builder};
use super::header::{Header, common_view};
use super::{LangText, StanzaError, StanzaKind, StanzaParseError};
use crate::jid::Jid;
use crate::xml::{Stanza, ns};
use std::borrow::Cow;

/// What kind of message (RFC 6121 §5.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// Part of a one-to-one conversation.
    Chat,
    /// A message by itself; what a missing or unknown type means.
    #[default]
    Normal,
    /// To or from a room.
    Groupchat,
    /// A notice to which no reply is expected.
    Headline,
    /// An error about a message sent before.
    Error,
}

impl MessageType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageType::Chat => "chat",
            MessageType::Normal => "normal",
            MessageType::Groupchat => "groupchat",
            MessageType::Headline => "headline",
            MessageType::Error => "error",
        }
    }

    /// The meaning of a `type` attribute (RFC 6121 §5.2.2).
    pub fn read(text: Option<&str>) -> Self {
        match text {
            Some("chat") => MessageType::Chat,
            Some("groupchat") => MessageType::Groupchat,
            Some("headline") => MessageType::Headline,
            Some("error") => MessageType::Error,
            _ => MessageType::Normal,
        }
    }
}

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    pub(super) header: Header,
    type_: MessageType,
}
common_view!(Message);

impl Message {
    /// Reads the headers. Fails on malformed addresses and on other elements; the error carries the stanza.
    pub fn from_stanza(stanza: Stanza) -> Result<Self, StanzaParseError> {
        let header = Header::parse(stanza, StanzaKind::Message)?;
        let type_ = MessageType::read(header.root().attr("type").as_deref());
        Ok(Message { header, type_ })
    }
    /// `type`; `Normal` if missing or unknown (RFC 6121 §5.2.2). [`type_str`](Self::type_str) tells them apart.
    pub fn type_(&self) -> MessageType {
        self.type_
    }
    /// `id`.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        self.root().attr("id")
    }
    /// The body without a language of its own, else the one in the stanza's language, else the first.
    pub fn body(&self) -> Option<Cow<'_, str>> {
        self.header.best_text("body")
    }
    /// All bodies (RFC 6121 §5.2.3: one a language).
    pub fn bodies(&self) -> impl Iterator<Item = LangText<'_>> {
        self.header.texts("body")
    }
    /// The subject, chosen as [`body`](Self::body) is.
    pub fn subject(&self) -> Option<Cow<'_, str>> {
        self.header.best_text("subject")
    }
    /// All subjects.
    pub fn subjects(&self) -> impl Iterator<Item = LangText<'_>> {
        self.header.texts("subject")
    }
    /// The conversation's identifier (RFC 6121 §5.2.5).
    pub fn thread(&self) -> Option<Cow<'_, str>> {
        self.header.text("thread")
    }
    /// The thread that this one branched from.
    pub fn thread_parent(&self) -> Option<Cow<'_, str>> {
        self.root().child("thread", self.root().ns())?.attr("parent")
    }

    /// A message of type chat.
    pub fn chat(to: impl Into<Jid>) -> MessageBuilder {
        MessageBuilder::new(Some(to.into()), MessageType::Chat)
    }
    /// A message of type normal.
    pub fn normal(to: impl Into<Jid>) -> MessageBuilder {
        MessageBuilder::new(Some(to.into()), MessageType::Normal)
    }
    /// A message of type groupchat, to a room's bare address.
    pub fn groupchat(to: impl Into<Jid>) -> MessageBuilder {
        MessageBuilder::new(Some(to.into()), MessageType::Groupchat)
    }
    /// A message of type headline.
    pub fn headline(to: impl Into<Jid>) -> MessageBuilder {
        MessageBuilder::new(Some(to.into()), MessageType::Headline)
    }
    /// A message that answers this one: back to the sender, same type and thread, an id of its own. `None` for errors
    /// and for messages without `from`.
    pub fn reply(&self) -> Option<MessageBuilder> {
        let to = self.from().filter(|_| self.type_ != MessageType::Error)?;
        let to = if self.type_ == MessageType::Groupchat { to.to_bare().into() } else { to.clone() };
        let reply = MessageBuilder::new(Some(to), self.type_);
        Some(match self.thread() {
            Some(thread) => reply.thread(&thread),
            None => reply,
        })
    }
    /// The error to send back: addresses swapped, id copied; `None` to an error (RFC 6120 §8.3.1).
    pub fn error_reply(&self, error: &StanzaError) -> Option<MessageBuilder> {
        self.answer_error(error, false)
    }
    /// As [`error_reply`](Self::error_reply), with the message's content repeated before the error.
    pub fn error_reply_echoing(&self, error: &StanzaError) -> Option<MessageBuilder> {
        self.answer_error(error, true)
    }
    fn answer_error(&self, error: &StanzaError, echo: bool) -> Option<MessageBuilder> {
        (self.type_ != MessageType::Error)
            .then(|| MessageBuilder { draft: self.header.error_answer(error, echo), type_: MessageType::Error })
    }
}

/// Builds a message. It has a generated id unless given one.
#[derive(Clone, Debug)]
pub struct MessageBuilder {
    draft: Draft,
    type_: MessageType,
}
common_builder!(MessageBuilder, Message);

impl MessageBuilder {
    const NAME: &'static str = "message";

    /// A message of any type; without `to` it goes to one's own account (RFC 6120 §10.3.1).
    pub fn new(to: Option<Jid>, type_: MessageType) -> Self {
        MessageBuilder { draft: Draft::new(to), type_ }
    }
    fn type_str(&self) -> Option<&'static str> {
        (self.type_ != MessageType::Normal).then(|| self.type_.as_str())
    }
    /// Adds a body.
    pub fn body(mut self, text: impl AsRef<str>) -> Self {
        self.draft.text("body", None, text.as_ref());
        self
    }
    /// Adds a body in a language (BCP 47).
    pub fn body_in(mut self, lang: &str, text: impl AsRef<str>) -> Self {
        self.draft.text("body", Some(lang), text.as_ref());
        self
    }
    /// Adds a subject.
    pub fn subject(mut self, text: impl AsRef<str>) -> Self {
        self.draft.text("subject", None, text.as_ref());
        self
    }
    /// Adds a subject in a language (BCP 47).
    pub fn subject_in(mut self, lang: &str, text: impl AsRef<str>) -> Self {
        self.draft.text("subject", Some(lang), text.as_ref());
        self
    }
    /// Sets the thread.
    pub fn thread(mut self, thread: &str) -> Self {
        self.draft.text("thread", None, thread);
        self
    }
    /// Sets the thread, and the one that it branched from.
    pub fn thread_with_parent(mut self, thread: &str, parent: &str) -> Self {
        self.draft.content(|w| {
            w.open("thread", ns::CLIENT);
            w.attr("parent", parent);
            w.text(thread);
            w.close();
        });
        self
    }
}
