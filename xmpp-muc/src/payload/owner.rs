use super::OWNER;
use xmpp_core::{
    jid::Jid,
    payload::{Payload, form::DataForm},
};

/// Asks for the configuration of a room, changes it, or destroys the room (§10).
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "query", ns = OWNER)]
pub struct OwnerQuery {
    /// The form.
    #[xml(child)]
    pub form: Option<DataForm>,
    /// The end of the room.
    #[xml(child)]
    pub destroy: Option<Destroy>,
}

/// The room is to end (§10.9).
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "destroy", ns = OWNER)]
pub struct Destroy {
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
