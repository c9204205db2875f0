//! Answers, taken in the order of their requests.

use super::{BoshClient, BoshError, Errand, Phase};
use crate::{
    stream::{
        Header, STREAM_END, StreamError,
        bosh::{Body, BoshCondition, HTTPBIND, body::number},
    },
    xml::{ElementRef, Writer, XmlLimits, ns},
};
use std::time::Duration;

const SASL2: &str = "urn:xmpp:sasl:2";
const BIND2: &str = "urn:xmpp:bind:0";
const SM: &str = "urn:xmpp:sm:3";

/// A service that holds nothing for so long is not asked in vain more often.
const POINTLESS: Duration = Duration::from_secs(1);
/// Answers of `type='error'` that are obeyed in a row.
const RECOVERIES: u32 = 8;

impl BoshClient {
    /// An HTTP response to the request of this ticket has come.
    pub fn answered(&mut self, ticket: u64, status: u16, content: &[u8], now: Duration) -> Vec<Errand> {
        let mut out = Vec::new();
        let Some((&rid, flight)) = self.flights.iter_mut().find(|(_, flight)| flight.ticket == ticket) else {
            return out;
        };
        if flight.answer.is_some() {
            return out;
        }
        if status != 200 {
            // XEP-0124 §17.1: these end the session; others may come from a proxy, and pass.
            if !matches!(status, 400 | 403 | 404 | 405) {
                return self.failed(ticket, now);
            }
            self.break_off(BoshError::Status(status), &mut out);
            return out;
        }
        let mut limits = XmlLimits::authenticated().passed_on();
        limits.stanza_bytes = self.config.stanza_bytes;
        // A response holds all that has come together, each stanza of which the client's own scanner judges.
        limits.stanza_bytes = limits.stanza_bytes.saturating_mul(4);
        limits.elements = u32::MAX >> 1;
        let Ok(body) = Body::parse(content, &limits) else {
            self.break_off(BoshError::Protocol("what it answered is no <body/>"), &mut out);
            return out;
        };
        if body.attr("type").as_deref() == Some("error") {
            self.recover(rid, now, &mut out);
            return out;
        }
        self.recoveries = 0;
        let took = now.saturating_sub(flight.at);
        let empty = body.is_empty();
        flight.answer = Some(body);
        let latest = rid + 1 >= self.next;
        let in_vain = latest && empty && flight.bare && took < POINTLESS;
        if latest || (empty && !self.polls && took < self.pace.hold()) {
            // This is the latest; or it was let go because the next one came.
            self.pace.arrived();
        }
        while self.phase != Phase::Over
            && let Some(first) = self.flights.first_entry()
            && first.get().answer.is_some()
        {
            if let Some(body) = first.remove().answer {
                // Two requests may come closer together than they went: the answer is what proves the first to be there.
                self.last_answer = Some(now);
                self.pace.answered(!body.is_empty(), now);
                self.take(&body, &mut out);
            }
        }
        if in_vain {
            self.pace.in_vain(now);
        }
        self.pump(now, &mut out);
        out
    }

    /// XEP-0124 §17.3: the request is sent again, and those before it that have no answer.
    fn recover(&mut self, rid: u64, now: Duration, out: &mut Vec<Errand>) {
        self.recoveries += 1;
        if self.recoveries > RECOVERIES || self.phase == Phase::Creating {
            return self.break_off(BoshError::Protocol("it recovers from nothing"), out);
        }
        let unanswered = self.flights.range(..=rid).filter(|(_, flight)| flight.answer.is_none());
        let unanswered: Vec<u64> = unanswered.map(|(rid, _)| *rid).collect();
        for rid in unanswered {
            self.send_again(rid, now, out);
        }
    }

    fn take(&mut self, body: &Body, out: &mut Vec<Errand>) {
        if let Some(id) = body.attr("authid") {
            self.authid = Some(id.into_owned());
        }
        if self.phase == Phase::Creating && !body.is_terminate() {
            let Some(sid) = body.sid().filter(|sid| !sid.is_empty()) else {
                return self.break_off(BoshError::Protocol("it gave no sid"), out);
            };
            self.sid = sid.into_owned();
            self.agree(body);
            self.phase = Phase::Open;
        }
        let mut bytes = Vec::new();
        let failed = body.payloads().any(|payload| payload.is("error", ns::STREAMS));
        // What `see-other-uri` holds is not of the stream.
        if body.payloads().any(|payload| !payload.is("uri", HTTPBIND)) {
            if self.headless {
                self.head(&mut bytes);
            }
            if body.payloads().any(|payload| payload.is("success", ns::SASL)) {
                self.scanner.restart();
            }
            body.payloads().for_each(|payload| self.heard(payload));
            body.unwrap_into(&mut bytes);
            out.push(Errand::Deliver(bytes));
        }
        if body.is_terminate() {
            self.terminated(body, failed, out);
        }
    }

    /// Takes notice of how far the client has come.
    fn heard(&mut self, payload: ElementRef<'_>) {
        if payload.is("enabled", SM) || payload.is("resumed", SM) {
            self.managed = true;
        } else if payload.is("success", SASL2) {
            let enabled = payload.child("bound", BIND2).and_then(|bound| bound.child("enabled", SM));
            self.managed = enabled.is_some() || payload.child("resumed", SM).is_some();
        } else if matches!(payload.name(), "message" | "presence" | "iq") {
            self.pace.settled();
        }
    }

    fn terminated(&mut self, body: &Body, told: bool, out: &mut Vec<Errand>) {
        let name = body.attr("condition");
        let condition =
            name.as_deref().map(|name| BoshCondition::from_name(name).unwrap_or(BoshCondition::UndefinedCondition));
        // Some say on the other request that this one has ended the session: it has, as it should.
        if condition.is_none() || self.leaving {
            self.end_stream(None, out);
            return self.over(Ok(()), out);
        }
        let uri = body.payloads().find(|payload| payload.is("uri", HTTPBIND)).map(|uri| uri.text().trim().to_owned());
        let error = BoshError::Terminated { condition, uri };
        if told {
            self.end_stream(None, out);
            return self.over(Err(error), out);
        }
        self.break_off(error, out);
    }

    /// Ends session and stream for a reason that the client is told in its stream.
    fn break_off(&mut self, error: BoshError, out: &mut Vec<Errand>) {
        self.end_stream(Some(&error.to_stream_error()), out);
        self.over(Err(error), out);
    }

    fn end_stream(&mut self, error: Option<&StreamError>, out: &mut Vec<Errand>) {
        let mut bytes = Vec::new();
        if self.headless {
            self.head(&mut bytes);
        }
        if let Some(error) = error {
            let mut writer = Writer::with_buffer(ns::CLIENT, bytes);
            error.write(&mut writer);
            bytes = writer.finish();
        }
        bytes.extend_from_slice(STREAM_END.as_bytes());
        out.push(Errand::Deliver(bytes));
    }

    fn agree(&mut self, body: &Body) {
        let told = |name: &str| body.attr(name).and_then(|text| number(&text));
        let hold = told("hold").unwrap_or(self.config.hold).min(self.config.hold);
        let requests = told("requests").unwrap_or_else(|| hold.saturating_add(1));
        // More than two connections would gain nothing.
        self.requests = usize::try_from(requests.clamp(1, 2)).unwrap_or(1);
        if let Some(wait) = told("wait") {
            self.pace.set_wait(Duration::from_secs(wait).min(self.config.wait));
        }
        self.polls = hold == 0 || told("wait") == Some(0) || requests == 1;
        // Where the server doesn't say, we set the pace.
        self.polling = Duration::from_secs(told("polling").unwrap_or(5).clamp(1, 600));
        if let Some(inactivity) = told("inactivity") {
            self.patience = Duration::from_secs(inactivity.max(5)).min(self.patience);
        }
    }

    fn head(&mut self, bytes: &mut Vec<u8>) {
        self.headless = false;
        Header {
            content_ns: ns::CLIENT,
            from: Some(&self.domain),
            to: None,
            id: self.authid.as_deref(),
            lang: self.lang.as_deref(),
        }
        .write(bytes);
    }
}
