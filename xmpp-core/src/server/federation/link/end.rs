//! The times of a stream, and its end.

use super::{
    super::{
        super::{Observed, StreamCondition, StreamError, route::Envelope, unsent::Unsent},
        FederationLimits, bounce,
    },
    Link,
};
use crate::{
    jid::Jid,
    stanza::StanzaKind,
    xml::{Stanza, ns},
};
use std::{future::pending, io, sync::atomic::Ordering};
use tokio::time::Instant;

impl Link {
    /// When something is next to be looked after.
    pub(super) fn timer(&self) -> Instant {
        let Some(federator) = self.server.federator() else { return Instant::now() };
        let limits = &federator.limits;
        if let Some(closing) = self.closing {
            return closing;
        }
        let mut timer = self.wrote + limits.keepalive;
        if !self.io.is_empty() {
            timer = self.progress + limits.stall;
        }
        let others = [self.deadline, self.requests.until(), self.queries.until()];
        others.into_iter().flatten().fold(timer.min(self.idle_at(limits)), Instant::min)
    }

    fn idle_at(&self, limits: &FederationLimits) -> Instant {
        let waits = !self.requests.is_empty() || !self.queries.is_empty();
        let idle = match &self.stream {
            None => limits.idle.saturating_mul(2),
            // It was opened for a key, or is of no use.
            Some(_) if !waits && !self.machine.is_authenticated() => limits.idle.min(limits.verification),
            Some(_) => limits.idle,
        };
        self.stanza + idle
    }

    pub(super) async fn tick(&mut self) -> io::Result<()> {
        self.expire(Instant::now());
        let Some(federator) = self.server.federator() else { return pending().await };
        let (limits, now) = (&federator.limits, Instant::now());
        if self.closing.is_some_and(|closing| closing <= now) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if !self.io.is_empty() && self.progress + limits.stall <= now {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing"));
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            let error = StreamError::new(StreamCondition::PolicyViolation).with_text("the negotiation takes too long");
            return self.end(Some(error)).await;
        }
        if self.idle_at(limits) <= now {
            return self.end(None).await;
        }
        if self.io.is_empty() && self.wrote + limits.keepalive <= now {
            self.io.output.push(b' ');
            (self.progress, self.wrote) = (now, now);
        }
        Ok(())
    }

    /// Forgets what nobody waits for any more: it can be asked again.
    pub(super) fn expire(&mut self, now: Instant) {
        for pair in self.requests.expire(now) {
            self.machine.abandon(&pair);
        }
        for verification in self.queries.expire(now) {
            self.machine.abandon_verification(&verification);
        }
    }

    /// Lets nothing more into the outlet, and writes what is in it before anything else.
    pub(super) fn drain(&mut self) {
        let last = self.outlet.shut();
        self.io.output.extend_from_slice(&last);
    }

    /// Nobody is to count on this stream any more, although it is not over.
    pub(super) fn retire(&mut self) {
        let Some(federator) = self.server.federator() else { return };
        federator.table.gone(&self.outlet);
        if let Some(stream) = &self.stream {
            federator.table.leave(stream);
            if !self.negotiated {
                let _ = stream.failure.set(bounce::ended(self.reason.as_ref()));
            }
        }
        self.settled = None;
        self.domains.clear();
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        self.held.clear();
        self.requests.clear();
        self.queries.clear();
    }

    /// The stream is over: what it had and did not get rid of goes back.
    pub(super) fn finish(mut self) {
        let queued = self.outlet.shut();
        self.retire();
        if let Some(pending) = self.pending.take() {
            self.server.detach(pending);
        }
        let reason = self.reason.as_ref().map(ToString::to_string);
        // One that only verified keys, or was asked about some, has not failed.
        if reason.is_some() || (self.stream.is_some() && !self.negotiated) {
            let remote = self.machine.remote();
            tracing::info!(remote, reason, outgoing = self.stream.is_some(), "a stream between servers failed");
            let stats = &self.server.inner().stats;
            stats.failed_streams.fetch_add(1, Ordering::Relaxed);
            stats.observe(|| Observed::RemoteFailed(remote.to_owned(), reason.clone().unwrap_or_default()));
        }
        let error = bounce::ended(self.reason.as_ref());
        let (lost, _) = Unsent::new(ns::SERVER).read(&self.io.output, self.io.written, false);
        let (never_sent, _) = Unsent::new(ns::SERVER).read(&queued, 0, false);
        for stanza in lost.into_iter().chain(never_sent) {
            if let Some(envelope) = sent_by_us(stanza) {
                self.server.bounce_remote(&envelope, &error);
            }
        }
    }
}

/// The envelope of a stanza that comes back out of a stream.
fn sent_by_us(stanza: Stanza) -> Option<Envelope> {
    let root = stanza.root();
    let kind = match root.name() {
        "message" => StanzaKind::Message,
        "presence" => StanzaKind::Presence,
        "iq" => StanzaKind::Iq,
        _ => return None,
    };
    let address = |name| root.attr(name).and_then(|text| Jid::lenient(&text).ok());
    let (from, to) = (address("from")?, address("to")?);
    Some(Envelope { kind, from, to: Some(to), sender: None, unaddressed: false, crowd: None, stanza })
}
