use super::{Status, StatusCode, USER};
use crate::{Affiliation, Role};
use xmpp_core::{jid::Jid, payload::Payload};

/// What a room says of occupants, invitations and its own state (`http://jabber.org/protocol/muc#user`). It counts only
/// from the room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "x", ns = USER)]
pub struct UserInfo {
    /// Who the presence is of.
    #[xml(children)]
    pub items: Vec<Item>,
    /// What it means.
    #[xml(children)]
    pub statuses: Vec<Status>,
    /// Invitations, to be sent on or received (§7.8.2).
    #[xml(children)]
    pub invites: Vec<Invite>,
    /// An invitation that was declined.
    #[xml(child)]
    pub decline: Option<Decline>,
    /// The room has ended.
    #[xml(child)]
    pub destroy: Option<Destroyed>,
    /// The password of the room to which somebody is invited.
    #[xml(child_text = "password")]
    pub password: Option<String>,
}

impl UserInfo {
    /// Whether this is said.
    pub fn has(&self, code: StatusCode) -> bool {
        self.statuses.iter().any(|status| status.code == code)
    }
    /// The presence's occupant.
    pub fn item(&self) -> Option<&Item> {
        self.items.first()
    }
}

/// An occupant, or somebody affiliated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "item", ns = USER)]
pub struct Item {
    /// The affiliation.
    #[xml(attr)]
    pub affiliation: Option<Affiliation>,
    /// Who it is, for those who may see that.
    #[xml(attr)]
    pub jid: Option<Jid>,
    /// The new nickname, where it changes.
    #[xml(attr)]
    pub nick: Option<String>,
    /// The role.
    #[xml(attr)]
    pub role: Option<Role>,
    /// Who made it so.
    #[xml(child)]
    pub actor: Option<Actor>,
    /// Why.
    #[xml(child_text = "reason")]
    pub reason: Option<String>,
}

/// Who did something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "actor", ns = USER)]
pub struct Actor {
    /// The bare address.
    #[xml(attr)]
    pub jid: Option<Jid>,
    /// The nickname.
    #[xml(attr)]
    pub nick: Option<String>,
}

/// An invitation that passes the room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "invite", ns = USER)]
pub struct Invite {
    /// Who invites; from the room.
    #[xml(attr)]
    pub from: Option<Jid>,
    /// Who is invited; to the room.
    #[xml(attr)]
    pub to: Option<Jid>,
    /// Why.
    #[xml(child_text = "reason")]
    pub reason: Option<String>,
    /// A conversation of two goes on in the room (§7.9).
    #[xml(child)]
    pub continues: Option<Continue>,
}

/// A conversation of two goes on in the room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "continue", ns = USER)]
pub struct Continue {
    /// The thread of that.
    #[xml(attr)]
    pub thread: Option<String>,
}

/// An invitation that was declined, on its way back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "decline", ns = USER)]
pub struct Decline {
    /// Who was invited; from the room.
    #[xml(attr)]
    pub from: Option<Jid>,
    /// Who invited; to the room.
    #[xml(attr)]
    pub to: Option<Jid>,
    /// Why.
    #[xml(child_text = "reason")]
    pub reason: Option<String>,
}

/// The room has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "destroy", ns = USER)]
pub struct Destroyed {
    /// The room that takes its place.
    #[xml(attr)]
    pub jid: Option<Jid>,
    /// The password of that.
    #[xml(child_text = "password")]
    pub password: Option<String>,
    /// Why.
    #[xml(child_text = "reason")]
    pub reason: Option<String>,
}
