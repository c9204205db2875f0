//! Spoiler messages (XEP-0382).

use xmpp_core::payload::Payload;

/// `urn:xmpp:spoiler:0`.
pub const NS: &str = "urn:xmpp:spoiler:0";

/// The body is not to be shown before the reader asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "spoiler", ns = NS)]
pub struct Spoiler {
    /// What it is about.
    #[xml(text)]
    pub hint: Option<String>,
}
