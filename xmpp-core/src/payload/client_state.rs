//! Client state indication (XEP-0352): elements of the stream, not of a stanza.

use super::Payload;

/// `<active/>`: somebody looks at the client again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "active", ns = "urn:xmpp:csi:0")]
pub struct Active;

/// `<inactive/>`: nobody looks, so what can wait may wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "inactive", ns = "urn:xmpp:csi:0")]
pub struct Inactive;
