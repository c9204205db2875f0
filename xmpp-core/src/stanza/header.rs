//! What the three stanzas have in common (RFC 6120 §8.1).

use super::build::Draft;
use super::{StanzaError, StanzaKind};
use crate::jid::{Jid, JidError};
use crate::payload::{Payload, PayloadError};
use crate::xml::{Children, ElementRef, Stanza};
use std::borrow::Cow;

/// A stanza that cannot be typed, whole, with the reason.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct StanzaParseError {
    /// The stanza, as it came.
    pub stanza: Stanza,
    /// What is wrong with it.
    #[source]
    pub reason: StanzaParseReason,
}

/// Why a stanza cannot be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StanzaParseReason {
    /// Not a message, presence or iq in a content namespace (or not the one asked for).
    #[error("the element is not such a stanza")]
    NotAStanza,
    /// `from` is no address (RFC 6120 §8.1.2).
    #[error("the from address is malformed: {0}")]
    From(JidError),
    /// `to` is no address (RFC 6120 §8.1.1).
    #[error("the to address is malformed: {0}")]
    To(JidError),
    /// An iq without `id` (RFC 6120 §8.1.3).
    #[error("an iq needs an id")]
    MissingId,
    /// An iq whose `type` is missing or none of the four (RFC 6120 §8.2.3).
    #[error("an iq is of type get, set, result or error")]
    BadIqType,
    /// An iq get or set with no child or more than one (RFC 6120 §8.2.3).
    #[error("an iq of type get or set has exactly one child")]
    NotOnePayload,
}

impl StanzaParseError {
    /// The stanza error that says so: `jid-malformed` or `bad-request` (RFC 6120 §8.3.3).
    pub fn stanza_error(&self) -> StanzaError {
        match self.reason {
            StanzaParseReason::From(_) | StanzaParseReason::To(_) => StanzaError::jid_malformed(),
            _ => StanzaError::bad_request(),
        }
        .with_text(self.reason.to_string())
    }

    /// The error to send back, if one may be sent at all (RFC 6120 §8.3.1): not to errors, not to iq results, not to
    /// what is no stanza. An address that is malformed is left out of it.
    pub fn error_reply(&self) -> Option<Stanza> {
        let kind = StanzaKind::of(&self.stanza)?;
        let root = self.stanza.root();
        let type_ = root.attr("type");
        if type_.as_deref() == Some("error") || (kind == StanzaKind::Iq && type_.as_deref() == Some("result")) {
            return None;
        }
        let address = |name| root.attr(name).and_then(|a| Jid::lenient(&a).ok());
        let mut draft = Draft::answer(address("from"), address("to"), root.attr("id"));
        draft.error(&self.stanza_error());
        Some(draft.to_stanza(kind.as_str(), Some("error")))
    }
}

/// A stanza with its addresses read.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) stanza: Stanza,
    pub(super) from: Option<Jid>,
    pub(super) to: Option<Jid>,
}

impl Header {
    pub(super) fn parse(stanza: Stanza, kind: StanzaKind) -> Result<Self, StanzaParseError> {
        if StanzaKind::of(&stanza) != Some(kind) {
            return Err(StanzaParseError { stanza, reason: StanzaParseReason::NotAStanza });
        }
        let read = |name| stanza.root().attr(name).map(|a| Jid::lenient(&a)).transpose();
        let addresses = read("from")
            .map_err(StanzaParseReason::From)
            .and_then(|from| Ok((from, read("to").map_err(StanzaParseReason::To)?)));
        match addresses {
            Ok((from, to)) => Ok(Header { stanza, from, to }),
            Err(reason) => Err(StanzaParseError { stanza, reason }),
        }
    }

    pub(super) fn root(&self) -> ElementRef<'_> {
        self.stanza.root()
    }

    pub(super) fn lang(&self) -> Option<Cow<'_, str>> {
        self.root().lang().or_else(|| self.stanza.inherited_lang().map(Cow::Borrowed))
    }

    pub(super) fn payload<T: Payload>(&self) -> Option<Result<T, PayloadError>> {
        self.root().children().find(|c| T::matches(*c)).map(T::read_matched)
    }

    /// Children outside the content namespace.
    pub(super) fn payloads(&self) -> Payloads<'_> {
        Payloads { children: self.root().children(), content_ns: self.root().ns() }
    }

    /// The text of the first child of that name in the content namespace.
    pub(super) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let root = self.root();
        root.child(name, root.ns()).map(|c| c.text())
    }

    /// All texts of that name with the language that each is in.
    pub(super) fn texts<'a>(&'a self, name: &'static str) -> impl Iterator<Item = LangText<'a>> {
        let root = self.root();
        let content_ns = root.ns();
        let lang = self.lang();
        root.children()
            .filter(move |c| c.is(name, content_ns))
            .map(move |c| LangText { lang: c.lang().or_else(|| lang.clone()), text: c.text() })
    }

    /// The text in the stanza's own language, else the first.
    pub(super) fn best_text(&self, name: &'static str) -> Option<Cow<'_, str>> {
        let root = self.root();
        let of_name = |c: &ElementRef<'_>| c.is(name, root.ns());
        let own = root.children().filter(of_name).find(|c| c.lang().is_none());
        own.map(|c| c.text()).or_else(|| {
            let lang = self.lang();
            let same = |t: &LangText<'_>| t.lang == lang;
            self.texts(name).find(same).or_else(|| self.texts(name).next()).map(|t| t.text)
        })
    }

    pub(super) fn error(&self) -> Option<StanzaError> {
        let root = self.root();
        root.child("error", root.ns()).map(StanzaError::read)
    }

    /// The start of an answer: addresses swapped, id copied (RFC 6120 §8.3.1).
    pub(super) fn answer(&self) -> Draft {
        Draft::answer(self.from.clone(), self.to.clone(), self.root().attr("id"))
    }

    /// An error answer, with the original content before the error if `echo` (RFC 6120 §8.3.1).
    pub(super) fn error_answer(&self, error: &StanzaError, echo: bool) -> Draft {
        let mut draft = self.answer();
        if echo {
            draft.echo(self.root());
        }
        draft.error(error);
        draft
    }
}

/// A text and its language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LangText<'a> {
    /// `xml:lang`, its own or inherited.
    pub lang: Option<Cow<'a, str>>,
    /// The text.
    pub text: Cow<'a, str>,
}

/// Iterator over a stanza's children outside the content namespace.
#[derive(Clone)]
pub struct Payloads<'a> {
    children: Children<'a>,
    content_ns: &'a str,
}

impl<'a> Iterator for Payloads<'a> {
    type Item = ElementRef<'a>;
    fn next(&mut self) -> Option<ElementRef<'a>> {
        self.children.find(|c| c.ns() != self.content_ns)
    }
}

/// What every view offers.
macro_rules! common_view {
    ($view:ident) => {
        impl $view {
            /// The stanza, as it came.
            pub fn stanza(&self) -> &$crate::xml::Stanza {
                &self.header.stanza
            }
            /// Takes the stanza out.
            pub fn into_stanza(self) -> $crate::xml::Stanza {
                self.header.stanza
            }
            /// The root element.
            pub fn root(&self) -> $crate::xml::ElementRef<'_> {
                self.header.root()
            }
            /// `from`; absent means one's own account or server (RFC 6120 §8.1.2.1).
            pub fn from(&self) -> Option<&$crate::jid::Jid> {
                self.header.from.as_ref()
            }
            /// `to`; absent means the sender's account (RFC 6120 §10.3).
            pub fn to(&self) -> Option<&$crate::jid::Jid> {
                self.header.to.as_ref()
            }
            /// `xml:lang`, its own or that of the stream (RFC 6120 §8.1.5).
            pub fn lang(&self) -> Option<std::borrow::Cow<'_, str>> {
                self.header.lang()
            }
            /// The `type` attribute as it came.
            pub fn type_str(&self) -> Option<std::borrow::Cow<'_, str>> {
                self.root().attr("type")
            }
            /// The first child that is a `T`, read; `None` when there is no such child.
            pub fn payload<T: $crate::payload::Payload>(&self) -> Option<Result<T, $crate::payload::PayloadError>> {
                self.header.payload()
            }
            /// The children outside the content namespace.
            pub fn payloads(&self) -> $crate::stanza::Payloads<'_> {
                self.header.payloads()
            }
            /// The `<error/>` that it carries (RFC 6120 §8.3).
            pub fn error(&self) -> Option<$crate::stanza::StanzaError> {
                self.header.error()
            }
        }

        impl $crate::stanza::WriteStanza for $view {
            fn write_to(&self, w: &mut $crate::xml::Writer) {
                self.header.stanza.write_to(w);
            }
        }
    };
}
pub(super) use common_view;
