//! Ping (XEP-0199).

use super::Payload;

/// `<ping/>` in an iq get; the answer is an empty result, or any error: either shows life (XEP-0199 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "ping", ns = "urn:xmpp:ping")]
pub struct Ping;
