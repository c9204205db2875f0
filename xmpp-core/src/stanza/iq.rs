//! Requests and answers (RFC 6120 §8.2.3).

use super::build::{Draft, common_builder};
use super::header::{Header, common_view};
use super::{StanzaError, StanzaKind, StanzaParseError, StanzaParseReason};
use crate::jid::Jid;
use crate::xml::{ElementRef, Stanza};
use std::borrow::Cow;

/// Request or answer (RFC 6120 §8.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IqType {
    /// Asks for something.
    Get,
    /// Changes something.
    Set,
    /// Answers a get or a set.
    Result,
    /// Says why a get or a set failed.
    Error,
}

impl IqType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            IqType::Get => "get",
            IqType::Set => "set",
            IqType::Result => "result",
            IqType::Error => "error",
        }
    }

    fn read(text: Option<&str>) -> Option<Self> {
        match text? {
            "get" => Some(IqType::Get),
            "set" => Some(IqType::Set),
            "result" => Some(IqType::Result),
            "error" => Some(IqType::Error),
            _ => None,
        }
    }

    /// Whether it must be answered.
    pub fn is_request(self) -> bool {
        matches!(self, IqType::Get | IqType::Set)
    }
}

/// An iq.
#[derive(Clone, Debug)]
pub struct Iq {
    pub(super) header: Header,
    type_: IqType,
}
common_view!(Iq);

impl Iq {
    /// Reads the headers. Fails, with the stanza in the error, where the answer is an error: malformed addresses, no
    /// id, no or an unknown type, a get or set without exactly one child.
    pub fn from_stanza(stanza: Stanza) -> Result<Self, StanzaParseError> {
        let header = Header::parse(stanza, StanzaKind::Iq)?;
        let root = header.root();
        let type_ = IqType::read(root.attr("type").as_deref());
        let reason = match type_ {
            None => Some(StanzaParseReason::BadIqType),
            _ if root.attr("id").is_none() => Some(StanzaParseReason::MissingId),
            Some(t) if t.is_request() && root.children().take(2).count() != 1 => Some(StanzaParseReason::NotOnePayload),
            Some(_) => None,
        };
        match (type_, reason) {
            (Some(type_), None) => Ok(Iq { header, type_ }),
            (_, reason) => {
                let reason = reason.unwrap_or(StanzaParseReason::BadIqType);
                Err(StanzaParseError { stanza: header.stanza, reason })
            }
        }
    }
    /// `type`.
    pub fn type_(&self) -> IqType {
        self.type_
    }
    /// `id`.
    pub fn id(&self) -> Cow<'_, str> {
        self.root().attr("id").unwrap_or_default()
    }
    /// The payload: of a request its one child, of a result the first child if any, of an error the request's payload
    /// if it was sent back.
    pub fn payload_element(&self) -> Option<ElementRef<'_>> {
        let ns = self.root().ns();
        self.root().children().find(|c| self.type_ != IqType::Error || !c.is("error", ns))
    }

    /// A request to `to` that asks.
    pub fn get(to: impl Into<Jid>) -> IqBuilder {
        IqBuilder::new(Some(to.into()), IqType::Get)
    }
    /// A request to `to` that changes.
    pub fn set(to: impl Into<Jid>) -> IqBuilder {
        IqBuilder::new(Some(to.into()), IqType::Set)
    }
    /// A request to one's own account, without `to` (RFC 6120 §10.3.3).
    pub fn get_own() -> IqBuilder {
        IqBuilder::new(None, IqType::Get)
    }
    /// A request to one's own account, without `to` (RFC 6120 §10.3.3).
    pub fn set_own() -> IqBuilder {
        IqBuilder::new(None, IqType::Set)
    }
    /// The result that answers this request: addresses swapped, id copied; `None` unless it is a get or a set.
    pub fn result(&self) -> Option<IqBuilder> {
        self.type_.is_request().then(|| IqBuilder { draft: self.header.answer(), type_: IqType::Result })
    }
    /// The error that answers this request: addresses swapped, id copied; `None` unless it is a get or a set (RFC 6120
    /// §8.2.3, §8.3.1).
    pub fn error_reply(&self, error: &StanzaError) -> Option<IqBuilder> {
        self.answer_error(error, false)
    }
    /// As [`error_reply`](Self::error_reply), with the payload repeated before the error.
    pub fn error_reply_echoing(&self, error: &StanzaError) -> Option<IqBuilder> {
        self.answer_error(error, true)
    }
    fn answer_error(&self, error: &StanzaError, echo: bool) -> Option<IqBuilder> {
        self.type_
            .is_request()
            .then(|| IqBuilder { draft: self.header.error_answer(error, echo), type_: IqType::Error })
    }
}

/// Builds an iq. It has a generated id unless given one, or the request's if it answers.
#[derive(Clone, Debug)]
pub struct IqBuilder {
    draft: Draft,
    type_: IqType,
}
common_builder!(IqBuilder, Iq);

impl IqBuilder {
    const NAME: &'static str = "iq";

    /// An iq of any type.
    pub fn new(to: Option<Jid>, type_: IqType) -> Self {
        IqBuilder { draft: Draft::new(to), type_ }
    }
    fn type_str(&self) -> Option<&'static str> {
        Some(self.type_.as_str())
    }
    /// Its type.
    pub fn get_type(&self) -> IqType {
        self.type_
    }
}
