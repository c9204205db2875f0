use xmpp_core::payload::Payload;

/// Who is behind a nickname, without saying who that is (XEP-0421): the same for a user in a room each time. It counts only
/// in rooms that advertise `urn:xmpp:occupant-id:0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Payload)]
#[xml(name = "occupant-id", ns = OccupantId::NAMESPACE)]
pub struct OccupantId {
    /// At most 128 characters.
    #[xml(attr)]
    pub id: String,
}

impl OccupantId {
    /// `urn:xmpp:occupant-id:0`.
    pub const NAMESPACE: &'static str = "urn:xmpp:occupant-id:0";
}
