//! Groups of contents (XEP-0338), beside the contents of a `<jingle/>`.

use super::GROUPING;
use xmpp_core::payload::Payload;

/// Contents that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "group", ns = GROUPING)]
pub struct Group {
    /// In which way: `BUNDLE` for those that share a transport, `LS` for lips that move with the sound.
    #[xml(attr)]
    pub semantics: String,
    /// Which ones.
    #[xml(children)]
    pub members: Vec<GroupMember>,
}

/// A content in a group.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "content", ns = GROUPING)]
pub struct GroupMember {
    /// The content's name; `mid` in SDP.
    #[xml(attr)]
    pub name: String,
}
