//! Clients that are no longer there: ghosts (§11.1, §18.1.2).

use super::{Change, Delivery, Incoming, Plan, Room};
use crate::payload::StatusCode;
use xmpp_core::{
    jid::Jid,
    payload::{DateTime, Payload, ping::Ping},
    xml::{ElementRef, Writer, ns},
};

/// How long the answer to a ping is waited for, in seconds. If after that something else comes back, there is none.
const PATIENCE: i64 = 60;

/// What an error says of whoever sent it.
enum Verdict {
    /// It is there.
    Alive,
    /// It is not.
    Gone,
    /// Either.
    Unclear,
}

impl Room {
    /// What was sent to a client has come back (§18.1.2).
    ///
    /// What comes back to another occupant's address may say as much about that one: a server answers so for whom its user
    /// has blocked, and whoever is blocked is not to have the other removed by writing. So the room itself asks.
    pub(super) fn bounced(&self, input: Incoming<'_>) -> Plan {
        let Some((_, occupant)) = self.sender(input.from) else { return Plan::default() };
        let verdict = verdict(input.stanza.root());
        let is_own = input.to.resource().is_none() || occupant.nick.jid == *input.to;
        let mut plan = match verdict {
            Verdict::Alive => Plan::default(),
            Verdict::Unclear if !is_own => self.ping(input.from, input.now),
            Verdict::Gone | Verdict::Unclear => self.lost(input.from),
        };
        plan.changes.extend(self.undelivered(input));
        plan
    }

    fn ping(&self, client: &Jid, now: DateTime) -> Plan {
        let asked = self.sender(client).and_then(|(_, occupant)| occupant.visit(client)?.asked);
        if let Some(asked) = asked {
            let waits = now.unix_seconds().saturating_sub(asked.unix_seconds()) < PATIENCE;
            return if waits { Plan::default() } else { self.lost(client) };
        }
        let mut out = Writer::new(ns::CLIENT);
        out.open("iq", ns::CLIENT);
        out.attr("from", self.jid.as_str());
        out.attr("type", "get");
        out.attr("id", &self.ping_id(client));
        Ping.write(&mut out);
        out.close();
        let delivery = Delivery { from: self.jid.clone().into(), to: client.clone().into(), stanza: out.into_stanza() };
        Plan::of(Change::Ask { client: client.clone(), delivery })
    }

    fn ping_id(&self, client: &Jid) -> String {
        self.tag("ping", client, 0)
    }

    /// Judges what a client answers to the room. Only an answer to its ping says something.
    pub fn answered(&self, input: Incoming<'_>) -> Plan {
        let root = input.stanza.root();
        let visit = self.sender(input.from).and_then(|(_, occupant)| occupant.visit(input.from));
        let asked = visit.is_some_and(|visit| visit.asked.is_some());
        if !asked || root.attr("id").as_deref() != Some(&self.ping_id(input.from)) {
            return Plan::default();
        }
        match root.attr("type").as_deref() {
            Some("error") if !matches!(verdict(root), Verdict::Alive) => self.lost(input.from),
            _ => Plan::of(Change::Alive { client: input.from.clone() }),
        }
    }

    /// A client that is no longer there, as whoever drives the room knows.
    pub fn lost(&self, client: &Jid) -> Plan {
        if self.sender(client).is_none() {
            return Plan::default();
        }
        Plan::of(Change::Leave { client: client.clone(), presence: None, code: Some(StatusCode::TECHNICAL) })
    }

    pub(super) fn asked_of(&mut self, client: &Jid, at: Option<DateTime>) {
        let Some((number, _)) = self.occupants.of_client(client) else { return };
        let Some(occupant) = self.occupants.get_mut(number) else { return };
        if let Some(visit) = occupant.visits.iter_mut().find(|visit| visit.jid == *client) {
            visit.asked = at;
        }
    }
}

fn verdict(stanza: ElementRef<'_>) -> Verdict {
    // Who sends an error that says nothing cannot make sense of the room.
    let Some(error) = stanza.child("error", ns::CLIENT) else { return Verdict::Unclear };
    let condition = error.children().find(|child| child.ns() == ns::STANZA_ERRORS && child.name() != "text");
    match condition.map(|condition| condition.name()) {
        Some("gone" | "recipient-unavailable" | "redirect" | "remote-server-not-found" | "remote-server-timeout") => {
            Verdict::Gone
        }
        // These are also what applications say, and what is said for a user who has blocked the sender.
        Some("item-not-found" | "service-unavailable") => Verdict::Unclear,
        None => Verdict::Unclear,
        Some(_) => Verdict::Alive,
    }
}
