//! Last activity (XEP-0012).

use super::Payload;

/// `jabber:iq:last`.
pub const NS: &str = "jabber:iq:last";

/// Asks, in an iq get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "query", ns = NS)]
pub struct LastQuery;

/// The answer: idle time of a resource, time since logout of an account, uptime of a server (XEP-0012 §3 to §5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "query", ns = NS)]
pub struct LastActivity {
    /// Seconds since then.
    #[xml(attr)]
    pub seconds: u64,
    /// Status text of the last unavailable presence.
    #[xml(text)]
    pub status: Option<String>,
}
