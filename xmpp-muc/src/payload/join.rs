use super::NS;
use xmpp_core::payload::{DateTime, Payload};

/// Says, in the presence by which somebody enters a room, that the client knows rooms (§7.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "x", ns = NS)]
pub struct Join {
    /// How much history is wanted; as the room thinks fit if absent.
    #[xml(child)]
    pub history: Option<HistoryRequest>,
    /// The password of the room.
    #[xml(child_text = "password")]
    pub password: Option<String>,
}

/// How much history is wanted (§7.2.14): the least that any of these allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "history", ns = NS)]
pub struct HistoryRequest {
    /// Characters, of whole stanzas.
    #[xml(attr)]
    pub maxchars: Option<u32>,
    /// Messages.
    #[xml(attr)]
    pub maxstanzas: Option<u32>,
    /// Not older than so many seconds.
    #[xml(attr)]
    pub seconds: Option<u32>,
    /// Not older than this time.
    #[xml(attr)]
    pub since: Option<DateTime>,
}

impl HistoryRequest {
    /// No history.
    pub fn none() -> HistoryRequest {
        HistoryRequest { maxchars: Some(0), ..HistoryRequest::default() }
    }
}
