use xmpp_core::{jid::BareJid, payload::Payload};

/// An invitation from one user to another, past the room (XEP-0249).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "x", ns = DirectInvitation::NAMESPACE)]
pub struct DirectInvitation {
    /// The room.
    #[xml(attr)]
    pub jid: BareJid,
    /// Its password.
    #[xml(attr)]
    pub password: Option<String>,
    /// Why.
    #[xml(attr)]
    pub reason: Option<String>,
    /// Whether the room goes on with a conversation of two (§7.9 of XEP-0045).
    #[xml(attr = "continue", default)]
    pub continues: bool,
    /// The thread of that.
    #[xml(attr)]
    pub thread: Option<String>,
}

impl DirectInvitation {
    /// `jabber:x:conference`.
    pub const NAMESPACE: &'static str = "jabber:x:conference";
}
