//! The stations that make copies.

use super::{Carbon, Direction, Disable, Eligibility, Enable, NS, RULES, answered::Copied, eligibility};
use crate::delivery::{Choice, recipients};
use std::sync::Arc;
use xmpp_core::{
    extension::{IqContext, Target},
    jid::Jid,
    payload::{Payload, forward::Forwarded},
    server::{Binding, Envelope, Kinds, Resource, Server, ServerRegistrar, SessionFlag, Stage, Station, Verdict},
    stanza::{MessageType, StanzaError},
    xml::{Stanza, Writer, ns},
};

/// Copies messages to the resources that ask for it. Stands beside [`delivery`](crate::delivery).
///
/// Clients under SASL2 may ask while they bind (XEP-0386). Copies are handed to sessions past the route: nothing can
/// block, archive or copy them again, and those that a session never got are dropped.
pub fn server(r: &mut ServerRegistrar) {
    let flag = r.session_flag();
    let carbons = Arc::new(Carbons { flag, copied: Copied::default() });
    r.feature(Target::Server, NS);
    r.feature(Target::Server | Target::OwnAccount, RULES);
    let server = r.server();
    let set = move |cx: &IqContext, on: bool| match server.get() {
        Some(server) if cx.target == Target::OwnAccount && server.set_flag(cx, flag, on) => Ok(()),
        _ => Err(StanzaError::not_allowed()),
    };
    let (enable, disable) = (set.clone(), set);
    r.iq_set::<Enable, _>(Target::OwnAccount | Target::Account, move |cx, _| enable(&cx, true));
    r.iq_set::<Disable, _>(Target::OwnAccount | Target::Account, move |cx, _| disable(&cx, false));
    r.bind_feature(NS, move |binding: &mut Binding<'_>| {
        if Enable::matches(binding.element()) {
            binding.set_flag(flag, true);
        }
    });
    let (sent, received, rejected, ended) = (Arc::clone(&carbons), Arc::clone(&carbons), Arc::clone(&carbons), carbons);
    r.station(
        Station::new(
            "im:carbons-out",
            Stage::Outgoing,
            Kinds::MESSAGE,
            move |envelope: &mut Envelope, server: &Server| sent.sent(envelope, server),
        )
        .passing(|envelope, _| !envelope.is_from_client())
        .after("im:blocking-out")
        .after("im:archive-out"),
    );
    r.station(
        Station::new(
            "im:carbons-in",
            Stage::Deliver,
            Kinds::MESSAGE,
            move |envelope: &mut Envelope, server: &Server| received.received(envelope, server),
        )
        .passing(|envelope, _| is_groupchat(envelope))
        .before("core:deliver")
        .before("im:delivery"),
    );
    r.station(
        Station::new("im:carbons-lost", Stage::Undelivered, Kinds::MESSAGE, lost)
            .before("im:redelivery")
            .before("im:offline"),
    );
    r.on_rejected(move |server, client, message, error| rejected.rejected(server, client, message, error));
    r.on_session_end(move |server, resource| {
        if server.resources(resource.jid.bare_str()).is_empty() {
            ended.copied.forget(resource.jid.bare_str());
        }
    });
}

struct Carbons {
    /// Sessions that want copies.
    flag: SessionFlag,
    copied: Copied,
}

/// A copy that its session never got is of no use to anybody else, and nobody hears of it (§10.3).
fn lost(envelope: &mut Envelope, _: &Server) -> Verdict {
    let own = envelope.to().is_some_and(|to| envelope.from().as_str() == to.bare_str());
    match own && envelope.stanza().root().children().any(Carbon::matches) {
        true => Verdict::Drop("a carbon copy for nobody"),
        false => Verdict::Continue,
    }
}

impl Carbons {
    /// A client sends a message (§8).
    fn sent(&self, envelope: &mut Envelope, server: &Server) -> Verdict {
        let (from, Some(to)) = (envelope.from(), envelope.to()) else { return Verdict::Continue };
        // A message to oneself is copied where it arrives; one to a room is reflected to whoever is there (§6.1).
        if !envelope.is_from_client() || to.bare_str() == from.bare_str() || is_groupchat(envelope) {
            return Verdict::Continue;
        }
        let others = self.wanting(server, from.bare_str(), |one| one.jid != *from);
        if !others.is_empty() && self.is_eligible(envelope, from.bare_str(), to, Direction::Sent) {
            copy(server, from.bare_str(), &others, Direction::Sent, &stamped(envelope));
        }
        Verdict::Continue
    }

    /// A message arrives for an account (§7).
    fn received(&self, envelope: &mut Envelope, server: &Server) -> Verdict {
        let (from, Some(to)) = (envelope.from(), envelope.to().filter(|to| to.local().is_some())) else {
            return Verdict::Continue;
        };
        if is_groupchat(envelope) {
            // Rooms send it to each client that is in them. There are many of these, and nothing else is to be looked at.
            return Verdict::Continue;
        }
        let account = to.bare_str();
        let mut others = self.wanting(server, account, |one| one.jid != *to && one.jid != *from);
        if others.is_empty() {
            return Verdict::Continue;
        }
        let is_there = to.resource().is_some() && server.resources(account).iter().any(|one| one.jid == *to);
        if !is_there {
            let kind = MessageType::read(Some(&envelope.type_str()));
            match recipients(to, kind, server) {
                (Choice::Deliver(chosen), resources) => {
                    let gets =
                        |jid: &Jid| chosen.iter().any(|at| resources.get(*at).is_some_and(|one| one.jid == *jid));
                    others.retain(|one| !gets(&one.jid));
                }
                (Choice::Store, _) => {}
                (Choice::Refuse | Choice::Ignore, _) => return Verdict::Continue,
            }
        }
        if !others.is_empty() && self.is_eligible(envelope, account, from, Direction::Received) {
            copy(server, account, &others, Direction::Received, &stamped(envelope));
        }
        Verdict::Continue
    }

    /// The server has told a client that its message was not delivered: an error like any other.
    fn rejected(&self, server: &Server, client: &Jid, message: &Stanza, error: &Stanza) {
        let id = message.root().attr("id");
        let peer = message.root().attr("to").and_then(|to| Jid::lenient(&to).ok());
        let (Some(id), Some(peer)) = (id, peer) else { return };
        if self.copied.has(client.bare_str(), &peer, &id) {
            let others = self.wanting(server, client.bare_str(), |one| one.jid != *client);
            copy(server, client.bare_str(), &others, Direction::Received, error);
        }
    }

    fn wanting(&self, server: &Server, account: &str, is_other: impl Fn(&Resource) -> bool) -> Vec<Resource> {
        let mut resources = server.resources(account);
        resources.retain(|one| one.has(self.flag) && is_other(one));
        resources
    }

    /// Whether a message that `account` exchanges with `peer` is copied; notes it, for the errors that answer it.
    fn is_eligible(&self, envelope: &Envelope, account: &str, peer: &Jid, direction: Direction) -> bool {
        let root = envelope.stanza().root();
        let id = root.attr("id");
        match (eligibility(root, envelope.from(), direction), id) {
            (Eligibility::NotCopied, _) | (Eligibility::AsAnswered, None) => false,
            (Eligibility::AsAnswered, Some(id)) => self.copied.has(account, peer, &id),
            (Eligibility::Copied, id) => {
                if let Some(id) = id {
                    self.copied.note(account, peer, &id);
                }
                true
            }
        }
    }
}

fn is_groupchat(envelope: &Envelope) -> bool {
    envelope.type_str() == "groupchat"
}

/// As the recipient sees it.
fn stamped(envelope: &Envelope) -> Stanza {
    let to = envelope.to().map(Jid::as_str);
    envelope.stanza().rewrite(ns::CLIENT).from(Some(envelope.from().as_str())).to(to).to_stanza()
}

/// Hands copies to these resources of an account.
fn copy(server: &Server, account: &str, resources: &[Resource], direction: Direction, message: &Stanza) {
    let Ok(from) = Jid::new(account) else { return };
    let kind = message.root().attr("type");
    let forwarded = Forwarded::new(message.clone(), None);
    let carbon = match direction {
        Direction::Sent => Carbon::Sent(forwarded),
        Direction::Received => Carbon::Received(forwarded),
    };
    for resource in resources {
        let mut out = Writer::new(ns::CLIENT);
        out.open("message", ns::CLIENT);
        out.attr("from", account);
        out.attr("to", resource.jid.as_str());
        out.attr_opt("type", kind.as_deref());
        carbon.write(&mut out);
        out.close();
        server.hand(from.clone(), &resource.jid, out.into_stanza());
    }
}
