//! Entity time (XEP-0202).

use super::{DateTime, Payload, TimeZone};

/// `urn:xmpp:time`.
pub const NS: &str = "urn:xmpp:time";

/// Asks for the time, in an iq get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "time", ns = NS)]
pub struct TimeQuery;

/// The time, in an iq result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Payload)]
#[xml(name = "time", ns = NS)]
pub struct EntityTime {
    /// The local offset from UTC.
    #[xml(child_text = "tzo")]
    pub tzo: TimeZone,
    /// The time in UTC.
    #[xml(child_text = "utc")]
    pub utc: DateTime,
}
