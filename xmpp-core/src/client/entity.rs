//! What the connection of an account and that of a component differ in, once there is a session.

use crate::{
    extension::Target,
    jid::{FullJid, Jid},
    payload::ping::Ping,
    stanza::{Iq, IqBuilder},
    xml::{Stanza, ns},
};

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entity {
    /// An account's: one address, which the server writes on what is sent.
    Account,
    /// A component's (XEP-0114): all addresses of a domain, and each stanza says which. Its name for the session is that
    /// domain with the stream's id as resource, which nobody else sees.
    Component,
}

impl Entity {
    /// A stanza as the application is to see it: in the clients' content namespace.
    pub(super) fn admit(self, stanza: Stanza) -> Stanza {
        match self {
            Entity::Component if stanza.root().ns() == ns::COMPONENT => stanza.rewrite(ns::CLIENT).to_stanza(),
            _ => stanza,
        }
    }

    /// Which handlers a request to this address is for.
    pub(super) fn target(self, to: Option<&Jid>) -> Target {
        match (self, to) {
            (Entity::Component, Some(to)) if to.resource().is_none() => {
                if to.local().is_none() {
                    Target::Server
                } else {
                    Target::Account
                }
            }
            _ => Target::Client,
        }
    }

    /// What asks for a sign of life. A component does not know its server by name, but what it sends to itself comes
    /// back through it.
    pub(super) fn ping(self, own: &FullJid) -> IqBuilder {
        let domain = Jid::from_parts(None, own.domain(), None).unwrap_or_else(|_| own.to_bare().into());
        let ping = Iq::get(domain.clone()).payload(&Ping);
        if self == Entity::Component { ping.from(domain) } else { ping }
    }
}
