//! The station that delivers messages to accounts.

use super::{Address, Choice, choose};
use xmpp_core::{
    server::{Decision, Envelope, Kinds, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::{MessageType, StanzaError},
};

/// Delivers messages addressed to an account, or to a resource of it that is not connected.
pub fn server(r: &mut ServerRegistrar) {
    r.station(Station::new("im:delivery", Stage::Deliver, Kinds::MESSAGE, deliver).after("core:deliver"));
}

fn deliver(envelope: &mut Envelope, server: &Server) -> Decision {
    let Some(to) = envelope.to().filter(|to| to.local().is_some()).cloned() else {
        return Verdict::Continue.into();
    };
    let address = if to.resource().is_some() { Address::FullWithoutMatch } else { Address::Bare };
    let kind = MessageType::read(Some(&envelope.type_str()));
    let resources = server.resources(to.bare_str());
    let priorities: Vec<Option<i8>> = resources.iter().map(|resource| resource.priority).collect();
    match choose(address, kind, &priorities) {
        Choice::Deliver(chosen) => {
            let mut delivered = false;
            for resource in chosen.into_iter().filter_map(|at| resources.get(at)) {
                delivered |= server.deliver(envelope, &resource.jid);
            }
            if delivered { Verdict::Handled } else { Verdict::Continue }
        }
        Choice::Store => Verdict::Continue,
        Choice::Refuse => Verdict::Reject(StanzaError::service_unavailable()),
        Choice::Ignore => Verdict::Drop("a message that nobody may get"),
    }
    .into()
}
