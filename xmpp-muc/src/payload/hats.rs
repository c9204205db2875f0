use xmpp_core::payload::Payload;

/// The hats that an occupant wears (XEP-0317), in a presence. They count only in rooms that advertise `urn:xmpp:hats:0`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "hats", ns = Hats::NAMESPACE)]
pub struct Hats {
    /// In the order in which they were put on.
    #[xml(children)]
    pub hats: Vec<Hat>,
}

impl Hats {
    /// `urn:xmpp:hats:0`.
    pub const NAMESPACE: &'static str = "urn:xmpp:hats:0";
}

/// Something that somebody is in a room besides role and affiliation (XEP-0317): a teacher, a speaker, who takes minutes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Payload)]
#[xml(name = "hat", ns = Hats::NAMESPACE)]
pub struct Hat {
    /// By which it is known.
    #[xml(attr)]
    pub uri: String,
    /// Its name for people.
    #[xml(attr)]
    pub title: String,
    /// Its colour, as an angle of hue in degrees.
    #[xml(attr)]
    pub hue: Option<String>,
}
