use super::OccupantId;
use xmpp_core::{jid::Jid, payload::Payload};

/// Asks a room to retract somebody's message (XEP-0425).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "moderate", ns = Moderate::NAMESPACE)]
pub struct Moderate {
    /// The message, by the id that the room gave it.
    #[xml(attr)]
    pub id: String,
    /// That it is to be retracted; nothing else is defined.
    #[xml(flag = "retract", ns = RetractedBy::NAMESPACE)]
    pub retract: bool,
    /// Why.
    #[xml(child_text = "reason")]
    pub reason: Option<String>,
}

impl Moderate {
    /// `urn:xmpp:message-moderate:1`.
    pub const NAMESPACE: &'static str = "urn:xmpp:message-moderate:1";
}

/// The retraction of a message by a moderator, as the room tells it. It counts only from the room itself.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "retract", ns = RetractedBy::NAMESPACE)]
pub struct RetractedBy {
    /// The message, by the id that the room gave it.
    #[xml(attr)]
    pub id: String,
    /// By whom.
    #[xml(child)]
    pub moderated: Moderated,
    /// Why.
    #[xml(child_text = "reason")]
    pub reason: Option<String>,
}

impl RetractedBy {
    /// `urn:xmpp:message-retract:1`.
    pub const NAMESPACE: &'static str = "urn:xmpp:message-retract:1";
}

/// A moderator did it.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "moderated", ns = Moderate::NAMESPACE)]
pub struct Moderated {
    /// The moderator, as an occupant.
    #[xml(attr)]
    pub by: Option<Jid>,
    /// Who that is.
    #[xml(child)]
    pub occupant: Option<OccupantId>,
}
