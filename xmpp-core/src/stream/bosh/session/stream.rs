//! What comes from the stream, and what of it never reached the client.

use super::{BoshSession, Effect, HTTPBIND, Phase, Terminal};
use crate::{
    stanza::StanzaKind,
    stream::{StreamCondition, StreamError, bosh::BoshCondition},
    xml::{ElementRef, Event, Stanza, XmlLimits, ns},
};
use std::time::Duration;

/// Namespaces of what changes a stream that is read along.
const SASL2: &str = "urn:xmpp:sasl:2";
const BIND2: &str = "urn:xmpp:bind:0";
const SM: &str = "urn:xmpp:sm:3";

impl BoshSession {
    /// Takes what the server wrote to its stream.
    pub fn received(&mut self, mut bytes: &[u8], now: Duration) -> Vec<Effect> {
        let mut out = Vec::new();
        loop {
            match self.scanner.scan(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Event::Open(header))) if !self.introduced => self.identity = Some((header.id, header.from)),
                Ok(Some(Event::Open(_))) => {}
                Ok(Some(Event::Stanza(stanza))) if StreamError::matches(stanza.root()) => self.failed(stanza),
                Ok(Some(Event::Stanza(stanza))) => self.queue(stanza),
                Ok(Some(Event::Close)) => self.ended(Terminal::default()),
                Err(error) => {
                    tracing::error!(%error, "the stream behind a BOSH session");
                    self.ended(Terminal { condition: Some(BoshCondition::InternalServerError), error: None });
                    break;
                }
            }
        }
        self.settle(now, &mut out);
        out
    }

    /// The transport of the stream has ended.
    pub fn stream_ended(&mut self, now: Duration) -> Vec<Effect> {
        let mut out = Vec::new();
        self.ended(Terminal { condition: Some(BoshCondition::RemoteConnectionFailed), error: None });
        self.settle(now, &mut out);
        out
    }

    /// Messages, presence and iqs that are known not to have arrived, and that the client can not ask for any more, though
    /// the session goes on. A stream under stream management has none: it gets them once more.
    pub fn strays(&mut self) -> Vec<Stanza> {
        std::mem::take(&mut self.strays)
    }

    /// Messages, presence and iqs that are known not to have arrived, oldest first. For when the session is over.
    ///
    /// A stream under stream management (XEP-0198) keeps account of its own, and leaves nothing here.
    pub fn leftovers(&mut self) -> Vec<Stanza> {
        let answered = std::mem::take(&mut self.answered);
        let queue = std::mem::take(&mut self.queue);
        let mut left = self.strays();
        if self.managed {
            return Vec::new();
        }
        for answered in answered.iter().filter(|answered| answered.lost && answered.payload) {
            left.extend(carried(&answered.reply.body));
        }
        left.extend(queue);
        left.retain(|stanza| StanzaKind::of(stanza).is_some());
        left
    }

    /// What an answer carried that never arrived and cannot be asked for any more: back into the queue where the stream
    /// counts on it, or else out of the session.
    pub(super) fn stray(&mut self, content: &[u8]) {
        let carried = carried(content);
        if self.managed && !matches!(self.phase, Phase::Ended(_)) {
            for stanza in carried.into_iter().rev() {
                self.queued_bytes += stanza.as_str().len();
                self.queue.push_front(stanza);
            }
        } else if !self.managed {
            self.strays.extend(carried.into_iter().filter(|stanza| StanzaKind::of(stanza).is_some()));
        }
    }

    fn queue(&mut self, stanza: Stanza) {
        let root = stanza.root();
        match root.ns() {
            ns::SASL if root.name() == "success" => {
                self.authenticated = true;
                // The next that comes is the header of a new stream (RFC 6120 §6.4.6).
                self.scanner.restart();
            }
            SASL2 if root.name() == "success" => {
                self.authenticated = true;
                let given = root.child("authorization-identifier", SASL2).map(|jid| jid.text().into_owned());
                self.jid = given.filter(|jid| jid.contains('/'));
                let bound = root.child("bound", BIND2);
                self.managed = root.child("resumed", SM).is_some()
                    || bound.is_some_and(|bound| bound.child("enabled", SM).is_some());
            }
            SM if matches!(root.name(), "enabled" | "resumed") => self.managed = true,
            ns::CLIENT if self.jid.is_none() => self.jid = bound(root),
            _ => {}
        }
        self.queued_bytes += stanza.as_str().len();
        self.queue.push_back(stanza);
    }

    fn failed(&mut self, error: Stanza) {
        // XEP-0124 §17.2: what the connection manager itself is asked for has conditions of its own.
        let condition = match StreamError::read(error.root()).condition {
            StreamCondition::HostUnknown if !self.created => BoshCondition::HostUnknown,
            StreamCondition::HostGone if !self.created => BoshCondition::HostGone,
            StreamCondition::ImproperAddressing if !self.created => BoshCondition::ImproperAddressing,
            StreamCondition::SystemShutdown => BoshCondition::SystemShutdown,
            _ => BoshCondition::RemoteStreamError,
        };
        let error = (condition == BoshCondition::RemoteStreamError).then_some(error);
        self.ended(Terminal { condition: Some(condition), error });
    }

    fn ended(&mut self, terminal: Terminal) {
        if matches!(self.phase, Phase::Open) {
            self.phase = Phase::Ending(terminal);
        }
    }
}

/// What is in a wrapper that was written here.
fn carried(content: &[u8]) -> Vec<Stanza> {
    let limits = XmlLimits::unbounded();
    let wrapper = std::str::from_utf8(content).ok().and_then(|text| Stanza::document(text, &limits).ok());
    let Some(wrapper) = wrapper else { return Vec::new() };
    debug_assert!(wrapper.root().is("body", HTTPBIND));
    wrapper.root().children().map(|child| child.to_stanza()).collect()
}

/// The address in the answer to a resource binding (RFC 6120 §7.6).
fn bound(root: ElementRef<'_>) -> Option<String> {
    if root.name() != "iq" || root.attr("type").as_deref() != Some("result") {
        return None;
    }
    Some(root.child("bind", ns::BIND)?.child("jid", ns::BIND)?.text().into_owned())
}
