//! Answers: when they are due, what is in them, and which of them are kept.

use super::{Answered, BoshSession, Effect, Held, Phase, Reply, Terminal};
use crate::stream::bosh::{BoshCondition, body::Wrapper};
use std::{sync::Arc, time::Duration};

impl BoshSession {
    /// Answers what is due, and notes whether anybody still waits.
    pub(super) fn settle(&mut self, now: Duration, out: &mut Vec<Effect>) {
        if !self.held.is_empty()
            && let Phase::Ending(terminal) = &mut self.phase
        {
            let terminal = std::mem::take(terminal);
            return self.finish(&terminal, now, out);
        }
        while let Some(first) = self.held.front() {
            let due = first.due
                || self.held.len() > self.terms.hold.max(1)
                || first.at.saturating_add(self.terms.wait) <= now;
            if !due && !self.has_something_for(first) {
                break;
            }
            let Some(held) = self.held.pop_front() else { break };
            self.answer(held, now, out);
        }
        let mut waiting = self.held.iter().chain(self.early.values().map(|(held, _)| held));
        if waiting.any(|held| held.ticket.is_some()) {
            self.idle = None;
        } else {
            self.idle.get_or_insert(now);
        }
    }

    /// Whether the oldest request gets what is queued; or, if its client has gone, makes way for one that is there.
    fn has_something_for(&self, first: &Held) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        match first.ticket {
            Some(_) => !first.bare,
            None => self.held.iter().any(|held| held.ticket.is_some() && !held.bare),
        }
    }

    fn answer(&mut self, held: Held, now: Duration, out: &mut Vec<Effect>) {
        let mut wrapper = Wrapper::new();
        self.introduce(&held, &mut wrapper);
        if let Some((rid, since)) = held.report {
            wrapper.number("report", rid);
            let passed = now.saturating_sub(since).as_millis();
            wrapper.number("time", u64::try_from(passed).unwrap_or(u64::MAX));
        }
        let payload = held.ticket.is_some() && !held.bare && !self.queue.is_empty();
        if payload {
            self.empty_queue(&mut wrapper);
        }
        self.respond(held, wrapper, payload, now, out);
    }

    /// What the client has to know of the session, if it has not been told.
    fn introduce(&mut self, held: &Held, wrapper: &mut Wrapper) {
        if !std::mem::replace(&mut self.created, true) {
            wrapper.number("wait", self.terms.wait_told());
            wrapper.number("inactivity", self.terms.inactivity.as_secs());
            wrapper.number("polling", self.terms.polling.as_secs());
            wrapper.number("requests", self.terms.requests);
            wrapper.number("hold", u64::try_from(self.terms.hold).unwrap_or(u64::MAX));
            if self.terms.acks {
                wrapper.number("ack", held.rid);
            }
            wrapper.number("maxpause", self.terms.pause.as_secs());
            wrapper.attr("sid", &self.sid);
            wrapper.attr("charsets", "UTF-8");
            if let Some((major, minor)) = self.terms.version {
                wrapper.attr("ver", &format!("{major}.{minor}"));
            }
            wrapper.xbosh("restartlogic", "true");
        } else if self.terms.acks && self.next - 1 != held.rid {
            wrapper.number("ack", self.next - 1);
        }
        if let Some((id, from)) = self.identity.take() {
            self.introduced = true;
            if let Some(from) = from {
                wrapper.attr("from", &from);
            }
            if let Some(id) = id {
                wrapper.attr("authid", &id);
            }
            wrapper.xbosh("version", "1.0");
        }
    }

    fn empty_queue(&mut self, wrapper: &mut Wrapper) {
        for stanza in self.queue.drain(..) {
            wrapper.payload(stanza.root());
        }
        self.queued_bytes = 0;
    }

    /// Gives a response, and keeps it for when it is asked for again (XEP-0124 §14.3).
    fn respond(&mut self, held: Held, wrapper: Wrapper, payload: bool, now: Duration, out: &mut Vec<Effect>) {
        let reply = Reply::ok(Arc::clone(&self.content_type), wrapper.finish());
        if let Some(ticket) = held.ticket {
            self.idle = None;
            out.push(Effect::Respond(ticket, reply.clone()));
        }
        let Held { rid, ticket, key, repeats, .. } = held;
        self.answered.push_back(Answered {
            rid,
            ticket,
            at: now,
            key,
            repeats,
            reply,
            payload,
            lost: ticket.is_none(),
        });
        // One more than can be under way: the client may pause.
        let most = usize::try_from(self.terms.requests).unwrap_or(usize::MAX).saturating_add(1);
        while self.answered.len() > most
            && let Some(old) = self.answered.pop_front()
        {
            if old.lost && old.payload {
                self.stray(&old.reply.body);
            }
        }
    }

    /// Ends the session with what the client is to be told, on the oldest request that somebody waits for; all others
    /// get an empty answer (XEP-0124 §13).
    fn finish(&mut self, terminal: &Terminal, now: Duration, out: &mut Vec<Effect>) {
        let told = self.held.iter().position(|held| held.ticket.is_some()).unwrap_or(0);
        let held = std::mem::take(&mut self.held);
        for (index, held) in held.into_iter().enumerate() {
            let mut wrapper = if index == told { Wrapper::terminate(terminal.condition) } else { Wrapper::new() };
            let mut payload = false;
            if index == told {
                payload = held.ticket.is_some() && !self.queue.is_empty();
                if payload {
                    self.empty_queue(&mut wrapper);
                }
                if let Some(error) = &terminal.error {
                    wrapper.payload(error.root());
                }
            }
            self.respond(held, wrapper, payload, now, out);
        }
        let empty = Wrapper::new().finish();
        for (held, _) in std::mem::take(&mut self.early).into_values() {
            if let Some(ticket) = held.ticket {
                out.push(Effect::Respond(ticket, Reply::ok(Arc::clone(&self.content_type), empty.clone())));
            }
        }
        self.end(now, out);
    }

    /// Ends the session for what a request did.
    pub(super) fn fail(&mut self, ticket: Option<u64>, condition: BoshCondition, now: Duration, out: &mut Vec<Effect>) {
        if let Some(ticket) = ticket {
            out.push(Effect::Respond(ticket, self.terminal(condition)));
        }
        if matches!(self.phase, Phase::Ended(_)) {
            return;
        }
        let early = std::mem::take(&mut self.early);
        let others = std::mem::take(&mut self.held).into_iter().chain(early.into_values().map(|(held, _)| held));
        for ticket in others.filter_map(|held| held.ticket) {
            out.push(Effect::Respond(ticket, self.terminal(BoshCondition::OtherRequest)));
        }
        self.end(now, out);
    }

    pub(super) fn end(&mut self, now: Duration, out: &mut Vec<Effect>) {
        self.phase = Phase::Ended(now);
        out.push(Effect::Close);
    }

    fn terminal(&self, condition: BoshCondition) -> Reply {
        let mut reply = Reply::ok(Arc::clone(&self.content_type), Wrapper::terminate(Some(condition)).finish());
        if self.terms.version.is_none() {
            reply.legacy(condition);
        }
        reply
    }
}
