//! The client's end of a session: what a client writes to its stream goes out in requests, in order and once.

mod answers;
mod pace;

use super::{BoshCondition, CONTENT_TYPE, VERSION, body::Wrapper};
use crate::{
    stream::StreamError,
    xml::{ElementRef, Event, Scanner, StreamHeader, XmlLimits, ns},
};
use bytes::Bytes;
use pace::Pace;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// What a client asks for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BoshClientConfig {
    /// The number of the first request: large and random (XEP-0124 §14.1).
    pub rid: u64,
    /// How long the server may hold a request: 60 seconds. The network in between has to put up with that.
    pub wait: Duration,
    /// Requests that the server may hold at a time: 1; with 0 the client polls.
    pub hold: u64,
    /// Bytes of stanzas in one request, unless one stanza alone has more: 16 KiB.
    pub body_bytes: usize,
    /// The largest stanza that is accepted.
    pub stanza_bytes: u32,
    /// How long a request that fails is sent again before the session is given up: 30 seconds, or less where the server
    /// doesn't wait so long for one.
    pub patience: Duration,
    /// The start that a request has over the next one, unless it is known to have arrived: 100 milliseconds. They go
    /// over different connections, and some services lose a request that overtakes another.
    pub spacing: Duration,
}

impl BoshClientConfig {
    /// The usual settings. Of `random`, only 40 bits are used: numbers have to stay below 2^53.
    pub fn new(random: u64) -> BoshClientConfig {
        BoshClientConfig {
            rid: (random & 0xFF_FFFF_FFFF) | 0x100_0000_0000,
            wait: Duration::from_secs(60),
            hold: 1,
            body_bytes: 16 * 1024,
            stanza_bytes: 262_144,
            patience: Duration::from_secs(30),
            spacing: Duration::from_millis(100),
        }
    }
}

/// Why a session has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BoshError {
    /// The server has ended it.
    #[error("the BOSH session was terminated: {}", condition.map_or("no reason given", BoshCondition::as_str))]
    Terminated {
        /// Why.
        condition: Option<BoshCondition>,
        /// Where the service is, with `see-other-uri`.
        uri: Option<String>,
    },
    /// The server answered with this HTTP status.
    #[error("the BOSH service answered with HTTP status {0}")]
    Status(u16),
    /// The server broke the protocol.
    #[error("the BOSH service broke the protocol: {0}")]
    Protocol(&'static str),
    /// Requests failed for too long.
    #[error("the BOSH service cannot be reached")]
    Unreachable,
}

/// What the driver is to do, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Errand {
    /// Send this as an HTTP request, and report its fate by this ticket: [`BoshClient::answered`] or
    /// [`BoshClient::failed`].
    Send(u64, Bytes),
    /// Give these bytes to the client as coming from its stream.
    Deliver(Vec<u8>),
    /// The session has ended, and so has the stream.
    Over(Result<(), BoshError>),
}

/// What contacts hear of a client that ends its session.
const UNAVAILABLE: &[u8] = b"<presence xmlns='jabber:client' type='unavailable'/>";

/// What is to be sent.
#[derive(Debug)]
enum Part {
    Stanza(Vec<u8>),
    Restart { to: Option<String>, lang: Option<String> },
    Terminate,
}

/// A request that has no answer yet.
#[derive(Debug)]
struct Flight {
    /// Of the latest attempt.
    ticket: u64,
    /// When it was first sent.
    at: Duration,
    /// There is nothing in it.
    bare: bool,
    body: Bytes,
    /// An answer that has to wait for those before it.
    answer: Option<super::Body>,
    failed_since: Option<Duration>,
    failures: u32,
    /// When to try again.
    again: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The client has not opened its stream.
    Idle,
    /// The first request is under way.
    Creating,
    Open,
    Over,
}

/// The client's end of a BOSH session (XEP-0124, XEP-0206), between a client that speaks a byte stream and HTTP.
#[derive(Debug)]
pub struct BoshClient {
    config: BoshClientConfig,
    phase: Phase,
    scanner: Scanner,
    parts: VecDeque<Part>,
    part_bytes: usize,
    flights: BTreeMap<u64, Flight>,
    next: u64,
    tickets: u64,
    sid: String,
    /// The domain asked for, and the server's answer to it.
    domain: String,
    authid: Option<String>,
    lang: Option<String>,
    /// The client has opened a stream, and got no header for it.
    headless: bool,
    requests: usize,
    polls: bool,
    polling: Duration,
    pace: Pace,
    patience: Duration,
    last_answer: Option<Duration>,
    /// Answers of `type='error'` in a row.
    recoveries: u32,
    /// We have asked for the end.
    leaving: bool,
    /// The client has told somebody that it is available.
    available: bool,
    /// The stream can be resumed (XEP-0198).
    managed: bool,
}

impl BoshClient {
    /// A session that begins when the client opens its stream.
    pub fn new(config: BoshClientConfig) -> BoshClient {
        let mut limits = XmlLimits::authenticated();
        limits.stanza_bytes = u32::MAX >> 8;
        BoshClient {
            phase: Phase::Idle,
            scanner: Scanner::new(limits),
            parts: VecDeque::new(),
            part_bytes: 0,
            flights: BTreeMap::new(),
            next: config.rid.clamp(1, super::MAX_RID / 2),
            tickets: 0,
            sid: String::new(),
            domain: String::new(),
            authid: None,
            lang: None,
            headless: false,
            requests: 1,
            polls: false,
            polling: Duration::ZERO,
            pace: Pace::new(config.spacing, config.wait),
            patience: config.patience,
            last_answer: None,
            recoveries: 0,
            leaving: false,
            available: false,
            managed: false,
            config,
        }
    }

    /// Takes what the client wrote to its stream.
    pub fn written(&mut self, mut bytes: &[u8], now: Duration) -> Vec<Errand> {
        let mut out = Vec::new();
        while self.phase != Phase::Over {
            match self.scanner.scan(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Event::Open(header))) => self.opened(header, now, &mut out),
                Ok(Some(Event::Stanza(stanza))) => {
                    self.note(stanza.root());
                    let mut part = Wrapper::new();
                    part.payload(stanza.root());
                    let part = part.content();
                    self.part_bytes += part.len();
                    self.parts.push_back(Part::Stanza(part));
                }
                Ok(Some(Event::Close)) => self.parts.push_back(Part::Terminate),
                Err(_) => self.over(Err(BoshError::Protocol("the client's own stream is not well-formed")), &mut out),
            }
        }
        self.pump(now, &mut out);
        out
    }

    /// The client has left without closing its stream. One that may come back for it (XEP-0198) leaves without a word.
    pub fn hung_up(&mut self, now: Duration) -> Vec<Errand> {
        let mut out = Vec::new();
        match self.phase {
            Phase::Idle => self.over(Ok(()), &mut out),
            Phase::Over => {}
            _ if self.leaving || matches!(self.parts.back(), Some(Part::Terminate)) => {}
            _ if self.managed => self.over(Ok(()), &mut out),
            Phase::Creating | Phase::Open => {
                self.parts.push_back(Part::Terminate);
                self.pump(now, &mut out);
            }
        }
        out
    }

    /// Whether more may be taken from the client.
    pub fn has_room(&self) -> bool {
        self.part_bytes < self.config.body_bytes
    }

    /// When to call [`timeout`](Self::timeout), whatever else happens.
    pub fn deadline(&self) -> Option<Duration> {
        let again = self.flights.values().filter_map(|flight| flight.again);
        let next = match self.phase {
            Phase::Open if self.flights.is_empty() && self.parts.is_empty() => Some(self.next_poll()),
            Phase::Open if self.flights.len() < self.requests && !self.parts.is_empty() => self.pace.head_start(),
            _ => None,
        };
        again.chain(next).min()
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Duration) -> Vec<Errand> {
        let mut out = Vec::new();
        let due = |flight: &Flight| flight.again.is_some_and(|again| again <= now);
        let due: Vec<u64> = self.flights.iter().filter(|(_, flight)| due(flight)).map(|(rid, _)| *rid).collect();
        for rid in due {
            self.send_again(rid, now, &mut out);
        }
        self.pump(now, &mut out);
        out
    }

    /// An attempt to send the request of this ticket has failed, or its answer did not come.
    pub fn failed(&mut self, ticket: u64, now: Duration) -> Vec<Errand> {
        let mut out = Vec::new();
        let Some(flight) = self.flights.values_mut().find(|flight| flight.ticket == ticket) else { return out };
        if flight.answer.is_some() || flight.again.is_some() {
            return out;
        }
        let since = *flight.failed_since.get_or_insert(now);
        // A request for a session cannot be repeated: it would ask for another.
        if self.phase == Phase::Creating || now.saturating_sub(since) >= self.patience {
            self.over(Err(BoshError::Unreachable), &mut out);
            return out;
        }
        // A connection that was closed while idle is no reason to wait.
        let wait = match flight.failures {
            0 => Duration::ZERO,
            many => Duration::from_millis(50 << many.min(7)),
        };
        flight.failures = flight.failures.saturating_add(1);
        flight.again = Some(now.saturating_add(wait));
        out.extend(self.timeout(now));
        out
    }

    /// When an empty request is due, as long as no other is under way.
    fn next_poll(&self) -> Duration {
        match self.polls {
            true => self.last_answer.map_or(Duration::ZERO, |last| last.saturating_add(self.polling)),
            false => self.pace.quiet_until(),
        }
    }

    /// Takes notice of what the client tells its contacts, all of them or some.
    fn note(&mut self, stanza: ElementRef<'_>) {
        if stanza.is("presence", ns::CLIENT) {
            match stanza.attr("type").as_deref() {
                None => self.available = true,
                Some("unavailable") if stanza.attr("to").is_none() => self.available = false,
                Some(_) => {}
            }
        }
    }

    fn opened(&mut self, header: StreamHeader, now: Duration, out: &mut Vec<Errand>) {
        self.headless = true;
        if self.phase != Phase::Idle {
            self.parts.push_back(Part::Restart { to: header.to, lang: header.lang });
            return;
        }
        self.phase = Phase::Creating;
        self.domain = header.to.unwrap_or_default();
        let mut body = Wrapper::new();
        body.attr("to", &self.domain);
        if let Some(from) = &header.from {
            body.attr("from", from);
        }
        if let Some(lang) = &header.lang {
            body.lang(lang);
        }
        self.lang = header.lang;
        body.number("wait", self.config.wait.as_secs());
        body.number("hold", self.config.hold);
        body.attr("ver", &format!("{}.{}", VERSION.0, VERSION.1));
        body.attr("content", CONTENT_TYPE);
        body.xbosh("version", "1.0");
        self.send(body, false, now, out);
    }

    /// Sends what there is to send, as long as the server lets us.
    fn pump(&mut self, now: Duration, out: &mut Vec<Errand>) {
        while self.phase == Phase::Open && self.flights.len() < self.requests {
            // One is always with the server, or none if we only poll.
            let idle = self.flights.is_empty() && self.next_poll() <= now;
            if self.parts.is_empty() && !idle {
                return;
            }
            let ahead = self.pace.head_start().is_some_and(|until| now < until);
            if !self.flights.is_empty() && (ahead || self.flights.values().any(|flight| flight.again.is_some())) {
                return;
            }
            let mut body = Wrapper::new();
            body.attr("sid", &self.sid);
            let bare = self.parts.is_empty();
            match self.parts.pop_front() {
                Some(Part::Restart { to, lang }) => {
                    body.attr("to", to.as_deref().unwrap_or(&self.domain));
                    if let Some(lang) = &lang {
                        body.lang(lang);
                    }
                    body.xbosh("restart", "true");
                }
                Some(first) => self.gather(first, &mut body),
                None => {}
            }
            self.send(body, bare, now, out);
        }
    }

    /// Puts as many stanzas into a request as have their place there.
    fn gather(&mut self, first: Part, body: &mut Wrapper) {
        let mut next = Some(first);
        let mut bytes = 0;
        while let Some(part) = next {
            match part {
                Part::Stanza(stanza) => {
                    self.part_bytes = self.part_bytes.saturating_sub(stanza.len());
                    bytes += stanza.len();
                    body.written(&stanza);
                }
                Part::Terminate => {
                    body.attr("type", "terminate");
                    // XEP-0124 §13: not every service takes the end of the session for that.
                    if std::mem::take(&mut self.available) {
                        body.written(UNAVAILABLE);
                    }
                    self.leaving = true;
                    return;
                }
                // One that stands first is taken elsewhere.
                Part::Restart { .. } => return,
            }
            let fits = match self.parts.front() {
                Some(Part::Stanza(stanza)) => bytes + stanza.len() <= self.config.body_bytes,
                Some(Part::Terminate) => true,
                Some(Part::Restart { .. }) | None => false,
            };
            next = if fits { self.parts.pop_front() } else { None };
        }
    }

    fn send(&mut self, mut body: Wrapper, bare: bool, now: Duration, out: &mut Vec<Errand>) {
        let rid = self.next;
        self.next += 1;
        body.number("rid", rid);
        let ticket = self.tickets;
        self.tickets += 1;
        let body = body.finish();
        out.push(Errand::Send(ticket, body.clone()));
        self.pace.sent(now);
        let flight = Flight { ticket, at: now, bare, body, answer: None, failed_since: None, failures: 0, again: None };
        self.flights.insert(rid, flight);
    }

    fn send_again(&mut self, rid: u64, now: Duration, out: &mut Vec<Errand>) {
        if let Some(flight) = self.flights.get_mut(&rid) {
            flight.ticket = self.tickets;
            flight.again = None;
            self.pace.sent(now);
            self.tickets += 1;
            out.push(Errand::Send(flight.ticket, flight.body.clone()));
        }
    }

    fn over(&mut self, end: Result<(), BoshError>, out: &mut Vec<Errand>) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.flights.clear();
            self.parts.clear();
            out.push(Errand::Over(end));
        }
    }
}

impl BoshError {
    /// What a stream that ends for this reason would have ended with.
    pub fn to_stream_error(&self) -> StreamError {
        use crate::stream::StreamCondition;
        let condition = match self {
            BoshError::Terminated { condition: Some(condition), .. } => match condition {
                BoshCondition::HostGone => StreamCondition::HostGone,
                BoshCondition::HostUnknown => StreamCondition::HostUnknown,
                BoshCondition::ImproperAddressing => StreamCondition::ImproperAddressing,
                BoshCondition::InternalServerError => StreamCondition::InternalServerError,
                BoshCondition::PolicyViolation => StreamCondition::PolicyViolation,
                BoshCondition::RemoteConnectionFailed => StreamCondition::RemoteConnectionFailed,
                BoshCondition::SystemShutdown => StreamCondition::SystemShutdown,
                BoshCondition::ItemNotFound => StreamCondition::ConnectionTimeout,
                _ => StreamCondition::UndefinedCondition,
            },
            BoshError::Unreachable => StreamCondition::ConnectionTimeout,
            _ => StreamCondition::UndefinedCondition,
        };
        StreamError::new(condition).with_text(self.to_string())
    }
}
