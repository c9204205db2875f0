//! Message, presence and iq (RFC 6120 §8, RFC 6121): typed views over a scanned [`xml::Stanza`](Stanza), builders, and
//! stanza errors.
//!
//! A view keeps the stanza as it came and has its addresses and type read; bodies and payloads are looked up when asked
//! for. Writing one, or a builder, goes through [`WriteStanza`], without scanning anything again.

mod build;
mod condition;
mod error;
mod header;
mod id;
mod iq;
mod message;
mod presence;
#[cfg(test)]
mod tests;

pub use condition::{Condition, ErrorType};
pub use error::StanzaError;
pub use header::{LangText, Payloads, StanzaParseError, StanzaParseReason};
pub use id::generate_id;
pub use iq::{Iq, IqBuilder, IqType};
pub use message::{Message, MessageBuilder, MessageType};
pub use presence::{Presence, PresenceBuilder, PresenceType, Show};

use crate::jid::Jid;
use crate::xml::{Stanza, Writer, ns};
use std::borrow::Cow;

/// Which of the three stanzas (RFC 6120 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StanzaKind {
    /// `<message/>`, RFC 6121 §5.
    Message,
    /// `<presence/>`, RFC 6121 §4.
    Presence,
    /// `<iq/>`, RFC 6120 §8.2.3.
    Iq,
}

impl StanzaKind {
    /// The kind of a first-level element in one of the content namespaces; `None` for anything else.
    pub fn of(stanza: &Stanza) -> Option<Self> {
        let root = stanza.root();
        let kind = match root.name() {
            "message" => StanzaKind::Message,
            "presence" => StanzaKind::Presence,
            "iq" => StanzaKind::Iq,
            _ => return None,
        };
        matches!(root.ns(), ns::CLIENT | ns::SERVER | ns::COMPONENT).then_some(kind)
    }

    /// The element's name.
    pub fn as_str(self) -> &'static str {
        match self {
            StanzaKind::Message => "message",
            StanzaKind::Presence => "presence",
            StanzaKind::Iq => "iq",
        }
    }
}

/// What can be written into a stream as one first-level element.
pub trait WriteStanza {
    /// Writes it, in the writer's content namespace.
    fn write_to(&self, w: &mut Writer);
}

impl WriteStanza for Stanza {
    fn write_to(&self, w: &mut Writer) {
        let (root, here) = (self.root(), content_ns(w));
        if root.ns() != here && matches!(root.ns(), ns::CLIENT | ns::SERVER | ns::COMPONENT) {
            w.moved(root, root.ns(), here);
        } else {
            w.element(root);
        }
    }
}

/// The content namespace to write stanzas in. A writer of frames (RFC 7395), which has none, is a client's.
fn content_ns(w: &Writer) -> &'static str {
    match w.content_ns() {
        ns::SERVER => ns::SERVER,
        ns::COMPONENT => ns::COMPONENT,
        _ => ns::CLIENT,
    }
}

impl<T: WriteStanza + ?Sized> WriteStanza for &T {
    fn write_to(&self, w: &mut Writer) {
        T::write_to(self, w);
    }
}

/// One of the three.
#[derive(Clone, Debug)]
pub enum AnyStanza {
    /// A message.
    Message(Message),
    /// A presence.
    Presence(Presence),
    /// An iq.
    Iq(Iq),
}

impl AnyStanza {
    /// Reads the headers of a first-level element. The error carries the element.
    pub fn from_stanza(stanza: Stanza) -> Result<Self, StanzaParseError> {
        match StanzaKind::of(&stanza) {
            Some(StanzaKind::Message) => Message::from_stanza(stanza).map(AnyStanza::Message),
            Some(StanzaKind::Presence) => Presence::from_stanza(stanza).map(AnyStanza::Presence),
            Some(StanzaKind::Iq) => Iq::from_stanza(stanza).map(AnyStanza::Iq),
            None => Err(StanzaParseError { stanza, reason: StanzaParseReason::NotAStanza }),
        }
    }
    /// Which.
    pub fn kind(&self) -> StanzaKind {
        match self {
            AnyStanza::Message(_) => StanzaKind::Message,
            AnyStanza::Presence(_) => StanzaKind::Presence,
            AnyStanza::Iq(_) => StanzaKind::Iq,
        }
    }
    /// The stanza itself.
    pub fn stanza(&self) -> &Stanza {
        match self {
            AnyStanza::Message(s) => s.stanza(),
            AnyStanza::Presence(s) => s.stanza(),
            AnyStanza::Iq(s) => s.stanza(),
        }
    }
    /// Takes the stanza out.
    pub fn into_stanza(self) -> Stanza {
        match self {
            AnyStanza::Message(s) => s.into_stanza(),
            AnyStanza::Presence(s) => s.into_stanza(),
            AnyStanza::Iq(s) => s.into_stanza(),
        }
    }
    /// `from`.
    pub fn from(&self) -> Option<&Jid> {
        match self {
            AnyStanza::Message(s) => s.from(),
            AnyStanza::Presence(s) => s.from(),
            AnyStanza::Iq(s) => s.from(),
        }
    }
    /// `to`.
    pub fn to(&self) -> Option<&Jid> {
        match self {
            AnyStanza::Message(s) => s.to(),
            AnyStanza::Presence(s) => s.to(),
            AnyStanza::Iq(s) => s.to(),
        }
    }
    /// `id`.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        match self {
            AnyStanza::Message(s) => s.id(),
            AnyStanza::Presence(s) => s.id(),
            AnyStanza::Iq(s) => Some(s.id()),
        }
    }
    /// Whether its type is `error`.
    pub fn is_error(&self) -> bool {
        match self {
            AnyStanza::Message(s) => s.type_() == MessageType::Error,
            AnyStanza::Presence(s) => s.type_() == PresenceType::Error,
            AnyStanza::Iq(s) => s.type_() == IqType::Error,
        }
    }
    /// The error to send back; `None` where none may be sent: to an error, or to an iq result (RFC 6120 §8.3.1).
    pub fn error_reply(&self, error: &StanzaError) -> Option<Stanza> {
        match self {
            AnyStanza::Message(s) => s.error_reply(error).map(|b| b.build().into_stanza()),
            AnyStanza::Presence(s) => s.error_reply(error).map(|b| b.build().into_stanza()),
            AnyStanza::Iq(s) => s.error_reply(error).map(|b| b.build().into_stanza()),
        }
    }
}

impl WriteStanza for AnyStanza {
    fn write_to(&self, w: &mut Writer) {
        self.stanza().write_to(w);
    }
}
