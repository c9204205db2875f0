//! Domains that are not the accounts': those of components and of services inside the process.

use super::{Decision, Envelope, Kinds, Server, Stage, Station, Verdict, service::Service, session::Pushed};
use crate::stanza::{StanzaError, StanzaKind};
use std::collections::HashMap;

/// To whom a domain belongs.
pub(crate) enum Owner {
    /// An external component (XEP-0114), connected or not.
    Component,
    /// A service inside the process.
    Service(Box<Service>),
}

/// The domains that have an owner.
pub(crate) type Owners = HashMap<String, Owner>;

/// Hands what is addressed to such a domain to its owner.
pub(crate) fn station() -> Station {
    Station::new("core:domains", Stage::Locate, Kinds::ALL, hand_over).before("core:locate").for_elsewhere()
}

fn hand_over(envelope: &mut Envelope, server: &Server) -> Decision {
    let owner = envelope.to.as_ref().and_then(|to| server.inner().owners.get(to.domain()));
    match owner {
        None => Verdict::Continue.into(),
        Some(Owner::Component) => to_component(envelope, server).into(),
        Some(Owner::Service(service)) => service.receive(envelope, server),
    }
}

fn to_component(envelope: &Envelope, server: &Server) -> Verdict {
    let session = envelope.to.as_ref().and_then(|to| server.inner().directory.component(to.domain()));
    match session.map(|session| server.push(&session, envelope)) {
        Some(Pushed::Queued) => Verdict::Handled,
        _ => not_connected(envelope),
    }
}

/// A component that is not there is a remote server that cannot be reached (RFC 6120 §10.4, §8.3.3.17).
pub(crate) fn not_connected(envelope: &Envelope) -> Verdict {
    if envelope.kind == StanzaKind::Presence && envelope.type_str() == "unavailable" {
        // Whoever leaves need not be told that nobody heard it.
        return Verdict::Drop("a component that is not connected");
    }
    Verdict::Reject(StanzaError::remote_server_timeout().with_text("the component is not connected"))
}
