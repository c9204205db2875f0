//! Software version (XEP-0092).

use super::Payload;

/// `jabber:iq:version`.
pub const NS: &str = "jabber:iq:version";

/// Asks for the version, in an iq get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "query", ns = NS)]
pub struct VersionQuery;

/// The version, in an iq result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "query", ns = NS)]
pub struct Version {
    /// The software's name.
    #[xml(child_text = "name")]
    pub name: String,
    /// Its version.
    #[xml(child_text = "version")]
    pub version: String,
    /// The operating system, which many prefer not to tell.
    #[xml(child_text = "os")]
    pub os: Option<String>,
}
