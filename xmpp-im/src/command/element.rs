//! The element, as requests and answers carry it.

use super::NS;
use xmpp_core::{
    payload::{Payload, TextValue, form::DataForm},
    xml::Stanza,
};

/// A command that is to be executed, or what came of it (XEP-0050 §2.4).
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "command", ns = NS)]
pub struct CommandElement {
    /// Which command.
    #[xml(attr)]
    pub node: String,
    /// Which execution of it; absent in the request that begins one.
    #[xml(attr = "sessionid")]
    pub session: Option<String>,
    /// In a request, what is to be done; `execute` if absent.
    #[xml(attr)]
    pub action: Option<Action>,
    /// In an answer, how far it has come.
    #[xml(attr)]
    pub status: Option<Status>,
    /// In an answer, what can be done next.
    #[xml(child)]
    pub actions: Option<Actions>,
    /// What is to be filled in, is filled in, or has come out.
    #[xml(child)]
    pub form: Option<DataForm>,
    /// What people are told.
    #[xml(children)]
    pub notes: Vec<Note>,
    /// Other results.
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

/// What is to be done (§3.4).
#[derive(Clone, Debug, PartialEq, Eq, TextValue)]
pub enum Action {
    /// To begin, or whatever the last answer named as the default.
    #[xml(value = "execute")]
    Execute,
    /// To end it without result.
    #[xml(value = "cancel")]
    Cancel,
    /// Back to the stage before.
    #[xml(value = "prev")]
    Prev,
    /// On to the next stage.
    #[xml(value = "next")]
    Next,
    /// To end it with what is filled in.
    #[xml(value = "complete")]
    Complete,
    /// Something that the specification does not know.
    #[xml(other)]
    Other(String),
}

/// How far an execution has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TextValue)]
pub enum Status {
    /// Something is to be filled in.
    #[xml(value = "executing")]
    Executing,
    /// It has ended.
    #[xml(value = "completed")]
    Completed,
    /// It was cancelled.
    #[xml(value = "canceled")]
    Canceled,
}

/// What can be done next; to cancel always can.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "actions", ns = NS)]
pub struct Actions {
    /// What `execute` means; `next` if absent.
    #[xml(attr)]
    pub execute: Option<Action>,
    /// Whether to go back.
    #[xml(flag = "prev")]
    pub prev: bool,
    /// Whether to go on.
    #[xml(flag = "next")]
    pub next: bool,
    /// Whether to end it.
    #[xml(flag = "complete")]
    pub complete: bool,
}

/// Something that people are told.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "note", ns = NS)]
pub struct Note {
    /// How grave it is.
    #[xml(attr = "type", default = NoteKind::Info)]
    pub kind: NoteKind,
    /// The text.
    #[xml(text)]
    pub text: String,
}

/// How grave a note is (§4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, TextValue)]
pub enum NoteKind {
    /// All is well.
    #[xml(value = "info")]
    Info,
    /// Something is odd.
    #[xml(value = "warn")]
    Warn,
    /// It has failed.
    #[xml(value = "error")]
    Error,
}
