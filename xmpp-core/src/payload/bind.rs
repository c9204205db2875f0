//! Resource binding (RFC 6120 §7).

use super::Payload;
use crate::jid::FullJid;
use crate::xml::ns;

/// Asks for a resource, in an iq set (RFC 6120 §7.6, §7.7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "bind", ns = ns::BIND)]
pub struct Bind {
    /// The resource wished for, as sent and not yet prepared; without one the server makes it.
    #[xml(child_text = "resource")]
    pub resource: Option<String>,
}

/// The address bound, in an iq result.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "bind", ns = ns::BIND)]
pub struct Bound {
    /// The full address of the session; its account may differ from the one asked for.
    #[xml(child_text = "jid")]
    pub jid: FullJid,
}
