//! Presence (RFC 6121 §4).

use super::build::{Draft, common_builder};
use super::header::{Header, common_view};
use super::{LangText, StanzaError, StanzaKind, StanzaParseError};
use crate::jid::Jid;
use crate::xml::{Stanza, ns};
use std::borrow::Cow;

/// What kind of presence (RFC 6121 §4.7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PresenceType {
    /// No type: the sender is available.
    #[default]
    Available,
    /// No longer available.
    Unavailable,
    /// Asks to receive the other's presence.
    Subscribe,
    /// Allows it.
    Subscribed,
    /// Ends one's own subscription.
    Unsubscribe,
    /// Denies or ends the other's subscription.
    Unsubscribed,
    /// A server asks for current presence.
    Probe,
    /// An error about a presence sent before.
    Error,
    /// None of these: [`Presence::type_str`] has the word. A server answers `bad-request` (RFC 6121 §4.7.1).
    Other,
}

impl PresenceType {
    /// The word on the wire; none for `Available`, nor for `Other`.
    pub fn as_str(self) -> Option<&'static str> {
        Some(match self {
            PresenceType::Available | PresenceType::Other => return None,
            PresenceType::Unavailable => "unavailable",
            PresenceType::Subscribe => "subscribe",
            PresenceType::Subscribed => "subscribed",
            PresenceType::Unsubscribe => "unsubscribe",
            PresenceType::Unsubscribed => "unsubscribed",
            PresenceType::Probe => "probe",
            PresenceType::Error => "error",
        })
    }

    fn read(text: Option<&str>) -> Self {
        match text {
            None => PresenceType::Available,
            Some("unavailable") => PresenceType::Unavailable,
            Some("subscribe") => PresenceType::Subscribe,
            Some("subscribed") => PresenceType::Subscribed,
            Some("unsubscribe") => PresenceType::Unsubscribe,
            Some("unsubscribed") => PresenceType::Unsubscribed,
            Some("probe") => PresenceType::Probe,
            Some("error") => PresenceType::Error,
            Some(_) => PresenceType::Other,
        }
    }

    /// Whether it is one of the four that manage subscriptions (RFC 6121 §3).
    pub fn is_subscription(self) -> bool {
        matches!(
            self,
            PresenceType::Subscribe | PresenceType::Subscribed | PresenceType::Unsubscribe | PresenceType::Unsubscribed
        )
    }
}

/// How available (RFC 6121 §4.7.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Show {
    /// Away for a short time.
    Away,
    /// Interested in chatting.
    Chat,
    /// Do not disturb.
    Dnd,
    /// Extended away.
    Xa,
}

impl Show {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Show::Away => "away",
            Show::Chat => "chat",
            Show::Dnd => "dnd",
            Show::Xa => "xa",
        }
    }
}

/// A presence.
#[derive(Clone, Debug)]
pub struct Presence {
    pub(super) header: Header,
    type_: PresenceType,
}
common_view!(Presence);

impl Presence {
    /// Reads the headers. Fails on malformed addresses and on other elements; the error carries the stanza.
    pub fn from_stanza(stanza: Stanza) -> Result<Self, StanzaParseError> {
        let header = Header::parse(stanza, StanzaKind::Presence)?;
        let type_ = PresenceType::read(header.root().attr("type").as_deref());
        Ok(Presence { header, type_ })
    }
    /// `type`.
    pub fn type_(&self) -> PresenceType {
        self.type_
    }
    /// `id`.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        self.root().attr("id")
    }
    /// `<show/>`; an unknown word is `None`, as if absent.
    pub fn show(&self) -> Option<Show> {
        match self.header.text("show")?.trim_ascii() {
            "away" => Some(Show::Away),
            "chat" => Some(Show::Chat),
            "dnd" => Some(Show::Dnd),
            "xa" => Some(Show::Xa),
            _ => None,
        }
    }
    /// The status without a language of its own, else the one in the stanza's language, else the first.
    pub fn status(&self) -> Option<Cow<'_, str>> {
        self.header.best_text("status")
    }
    /// All statuses.
    pub fn statuses(&self) -> impl Iterator<Item = LangText<'_>> {
        self.header.texts("status")
    }
    /// The priority; 0 when absent or not an integer from -128 to 127 (RFC 6121 §4.7.2.3).
    pub fn priority(&self) -> i8 {
        self.header.text("priority").and_then(|p| p.trim_ascii().parse().ok()).unwrap_or(0)
    }
    /// The priority's text as it came.
    pub fn priority_str(&self) -> Option<Cow<'_, str>> {
        self.header.text("priority")
    }

    /// Available presence, broadcast (RFC 6121 §4.2).
    pub fn available() -> PresenceBuilder {
        PresenceBuilder::new(None, PresenceType::Available)
    }
    /// Unavailable presence, broadcast (RFC 6121 §4.5).
    pub fn unavailable() -> PresenceBuilder {
        PresenceBuilder::new(None, PresenceType::Unavailable)
    }
    /// A subscription request (RFC 6121 §3.1).
    pub fn subscribe(to: impl Into<Jid>) -> PresenceBuilder {
        PresenceBuilder::new(Some(to.into()), PresenceType::Subscribe)
    }
    /// Approves a request, or in advance (RFC 6121 §3.1.4, §3.4).
    pub fn subscribed(to: impl Into<Jid>) -> PresenceBuilder {
        PresenceBuilder::new(Some(to.into()), PresenceType::Subscribed)
    }
    /// Ends one's own subscription (RFC 6121 §3.3).
    pub fn unsubscribe(to: impl Into<Jid>) -> PresenceBuilder {
        PresenceBuilder::new(Some(to.into()), PresenceType::Unsubscribe)
    }
    /// Denies a request or cancels the other's subscription (RFC 6121 §3.2).
    pub fn unsubscribed(to: impl Into<Jid>) -> PresenceBuilder {
        PresenceBuilder::new(Some(to.into()), PresenceType::Unsubscribed)
    }
    /// The error to send back: addresses swapped, id copied; `None` to an error (RFC 6120 §8.3.1).
    pub fn error_reply(&self, error: &StanzaError) -> Option<PresenceBuilder> {
        self.answer_error(error, false)
    }
    /// As [`error_reply`](Self::error_reply), with the presence's content repeated before the error.
    pub fn error_reply_echoing(&self, error: &StanzaError) -> Option<PresenceBuilder> {
        self.answer_error(error, true)
    }
    fn answer_error(&self, error: &StanzaError, echo: bool) -> Option<PresenceBuilder> {
        (self.type_ != PresenceType::Error)
            .then(|| PresenceBuilder { draft: self.header.error_answer(error, echo), type_: PresenceType::Error })
    }
}

/// Builds a presence. It has no id unless given one.
#[derive(Clone, Debug)]
pub struct PresenceBuilder {
    draft: Draft,
    type_: PresenceType,
}
common_builder!(PresenceBuilder, Presence);

impl PresenceBuilder {
    const NAME: &'static str = "presence";

    /// A presence of any type (`Other` writes none).
    pub fn new(to: Option<Jid>, type_: PresenceType) -> Self {
        PresenceBuilder { draft: Draft::without_id(to), type_ }
    }
    fn type_str(&self) -> Option<&'static str> {
        self.type_.as_str()
    }
    /// Sets `<show/>`.
    pub fn show(mut self, show: Show) -> Self {
        self.draft.text("show", None, show.as_str());
        self
    }
    /// Adds a status.
    pub fn status(mut self, text: impl AsRef<str>) -> Self {
        self.draft.text("status", None, text.as_ref());
        self
    }
    /// Adds a status in a language (BCP 47).
    pub fn status_in(mut self, lang: &str, text: impl AsRef<str>) -> Self {
        self.draft.text("status", Some(lang), text.as_ref());
        self
    }
    /// Sets the priority (RFC 6121 §4.7.2.3); negative means no messages to the bare address.
    pub fn priority(mut self, priority: i8) -> Self {
        self.draft.content(|w| {
            w.open("priority", ns::CLIENT);
            w.text_display(&priority);
            w.close();
        });
        self
    }
}
