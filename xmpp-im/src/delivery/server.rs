//! The stations that deliver messages to accounts.

use super::{Address, Choice, choose};
use xmpp_core::{
    jid::Jid,
    server::{Decision, Envelope, Kinds, Resource, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::{MessageType, StanzaError},
};

/// Delivers messages addressed to an account, or to a resource of it that is not connected.
///
/// What a session that has ended did not get (`im:redelivery`) goes the same way once more, by the address that its
/// sender wrote: to other resources, into storage, or back. A resource that had a copy already may so get it twice;
/// nothing is lost. But what a room said to a session is not for the one that took its address: that one comes in anew,
/// and hears it from the room.
pub fn server(r: &mut ServerRegistrar) {
    r.station(Station::new("im:delivery", Stage::Deliver, Kinds::MESSAGE, deliver).after("core:deliver"));
    r.station(Station::new("im:redelivery", Stage::Undelivered, Kinds::MESSAGE, redeliver).before("im:offline"));
}

/// To whom a message goes that is addressed to an account, and the account's resources.
pub(crate) fn recipients(to: &Jid, kind: MessageType, server: &Server) -> (Choice, Vec<Resource>) {
    let address = if to.resource().is_some() { Address::FullWithoutMatch } else { Address::Bare };
    let resources = server.resources(to.bare_str());
    let priorities: Vec<Option<i8>> = resources.iter().map(|resource| resource.priority).collect();
    (choose(address, kind, &priorities), resources)
}

/// The address that the sender wrote, if it is of an account. The envelope of what comes back from a session has the
/// session's.
fn addressed(envelope: &Envelope) -> Option<Jid> {
    let routed = envelope.to().filter(|to| to.local().is_some())?;
    let written = envelope.stanza().root().attr("to").and_then(|to| Jid::new(&to).ok());
    Some(written.filter(|written| written.bare_str() == routed.bare_str()).unwrap_or_else(|| routed.clone()))
}

fn redeliver(envelope: &mut Envelope, server: &Server) -> Decision {
    let is_there = |to: &Jid| server.resources(to.bare_str()).iter().any(|resource| resource.jid == *to);
    if envelope.type_str() == "groupchat" && addressed(envelope).is_some_and(|to| is_there(&to)) {
        // An error would tell the room that its new occupant is gone.
        return Verdict::Drop("what a room said to a session whose place is taken").into();
    }
    deliver(envelope, server)
}

fn deliver(envelope: &mut Envelope, server: &Server) -> Decision {
    let Some(to) = addressed(envelope) else {
        return Verdict::Continue.into();
    };
    // What a session never got is for the one that has taken its address.
    if to.resource().is_some() && server.deliver(envelope, &to) {
        return Verdict::Handled.into();
    }
    let kind = MessageType::read(Some(&envelope.type_str()));
    let (choice, resources) = recipients(&to, kind, server);
    match choice {
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
