//! The server's end of a session: which request is answered when, and with what.

mod respond;
mod stream;

use super::{Body, BoshCondition, BoshLimits, HTTPBIND, body::Wrapper, body::number, keys::Keys, settings::Terms};
use crate::{
    stream::{Header, STREAM_END},
    xml::{Scanner, Stanza, XmlLimits, ns},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// What the driver is to do, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Answer the request that has this ticket. If that fails, or the answer is dropped on its way, say so by
    /// [`BoshSession::lost`].
    Respond(u64, Reply),
    /// Write these bytes to the stream.
    Write(Vec<u8>),
    /// Close the transport of the stream when all is written. What comes from it until it ends is still to be given to
    /// [`BoshSession::received`].
    Close,
    /// Forget the session. What its [`leftovers`](BoshSession::leftovers) are never reached the client.
    Over,
}

/// A response of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// 200, but for clients that are too old to look into the wrapper (XEP-0124 §17.1).
    pub status: u16,
    /// Its `Content-Type`: no line breaks, nor anything else that has no place in a header.
    pub content_type: Arc<str>,
    /// Its content.
    pub body: Bytes,
}

impl Reply {
    /// The answer to a request that belongs to no session, whatever the reason.
    pub fn terminal(condition: BoshCondition) -> Reply {
        Reply::ok(super::CONTENT_TYPE.into(), Wrapper::terminate(Some(condition)).finish())
    }

    fn ok(content_type: Arc<str>, body: Bytes) -> Reply {
        Reply { status: 200, content_type, body }
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
struct Held {
    rid: u64,
    /// Whom to answer; nobody when the HTTP client has gone.
    ticket: Option<u64>,
    at: Duration,
    key: Option<Box<str>>,
    repeats: u32,
    /// The answer has to be empty (XEP-0124 §10.2).
    bare: bool,
    /// It is to be answered now.
    due: bool,
    /// The response that the client seems to have lost, and since when (§9.3).
    report: Option<(u64, Duration)>,
}

/// A response that the client may ask for again.
#[derive(Debug)]
struct Answered {
    rid: u64,
    /// Whom it was last given to.
    ticket: Option<u64>,
    at: Duration,
    key: Option<Box<str>>,
    repeats: u32,
    reply: Reply,
    /// Whether there was anything in it.
    payload: bool,
    /// It is known not to have arrived.
    lost: bool,
}

/// How a session is to end once a request is there to be told.
#[derive(Debug, Default)]
struct Terminal {
    condition: Option<BoshCondition>,
    error: Option<Stanza>,
}

#[derive(Debug)]
enum Phase {
    Open,
    Ending(Terminal),
    /// The client has been told, or cannot be; since when.
    Ended(Duration),
}

/// The server's end of a BOSH session (XEP-0124 §7 to §15, XEP-0206).
///
/// ```
/// use std::time::Duration;
/// use xmpp_core::{stream::bosh::{Body, BoshLimits, BoshSession, Effect}, xml::XmlLimits};
///
/// let request = b"<body rid='1573741820' to='example.com' wait='60' hold='1' ver='1.6' xml:lang='en'
///     xmlns='http://jabber.org/protocol/httpbind'/>";
/// let body = Body::parse(request, &XmlLimits::unauthenticated())?;
/// let now = Duration::ZERO;
/// let (mut session, effects) = BoshSession::open(&body, 1, "unguessable", BoshLimits::default(), now).unwrap();
/// let [Effect::Write(header)] = &effects[..] else { panic!() };
/// assert!(header.starts_with(b"<?xml version='1.0'?><stream:stream "));
///
/// // What the server says to that is the answer to the first request.
/// let said = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'
///     from='example.com' id='s1'><stream:features/>";
/// let effects = session.received(said, now);
/// let [Effect::Respond(1, reply)] = &effects[..] else { panic!() };
/// assert!(reply.body.ends_with(b"><stream:features/></body>"));
/// # Ok::<(), xmpp_core::xml::XmlError>(())
/// ```
#[derive(Debug)]
pub struct BoshSession {
    limits: BoshLimits,
    terms: Terms,
    content_type: Arc<str>,
    sid: String,
    /// The domain that the stream is for, and its language.
    to: String,
    lang: Option<String>,
    phase: Phase,
    /// The number of the next request to be taken.
    next: u64,
    /// Requests that came before their time.
    early: BTreeMap<u64, (Held, Body)>,
    held: VecDeque<Held>,
    answered: VecDeque<Answered>,
    keys: Keys,
    /// When the last new request came, and whether there was anything in it.
    last_new: Duration,
    last_bare: bool,
    /// How long the client may stay away until its next request, if it has asked for that.
    paused: Option<Duration>,
    /// Since when nobody has waited for an answer.
    idle: Option<Duration>,
    scanner: Scanner,
    /// From the stream, not yet given to the client.
    queue: VecDeque<Stanza>,
    queued_bytes: usize,
    /// What the client will not ask for any more, and never got.
    strays: Vec<Stanza>,
    /// The stream's id and its server's name, until the client has been told.
    identity: Option<(Option<String>, Option<String>)>,
    introduced: bool,
    created: bool,
    authenticated: bool,
    managed: bool,
    jid: Option<String>,
}

impl BoshSession {
    /// Begins a session: `body` is the request without `sid` that asks for one (XEP-0124 §7.1), and `sid` an
    /// unguessable token.
    ///
    /// # Errors
    /// What to answer to a request that cannot be granted.
    pub fn open(
        body: &Body,
        ticket: u64,
        sid: &str,
        limits: BoshLimits,
        now: Duration,
    ) -> Result<(BoshSession, Vec<Effect>), Reply> {
        let (Some(rid), Some(terms)) = (body.rid(), Terms::agree(body, &limits)) else {
            return Err(refusal(body, BoshCondition::BadRequest));
        };
        let Some(to) = body.attr("to").filter(|to| !to.is_empty()) else {
            return Err(Reply::terminal(BoshCondition::ImproperAddressing));
        };
        // What the server has written was within its bounds when it came.
        let stanza_limits = XmlLimits::unbounded();
        let mut session = BoshSession {
            content_type: terms.content_type.as_str().into(),
            terms,
            limits,
            sid: sid.to_owned(),
            to: to.into_owned(),
            lang: body.lang().map(|lang| lang.into_owned()),
            phase: Phase::Open,
            next: rid + 1,
            early: BTreeMap::new(),
            held: VecDeque::new(),
            answered: VecDeque::new(),
            keys: Keys::new(body.attr("newkey").as_deref()),
            last_new: now,
            last_bare: false,
            paused: None,
            idle: None,
            scanner: Scanner::new(stanza_limits),
            queue: VecDeque::new(),
            queued_bytes: 0,
            strays: Vec::new(),
            identity: None,
            introduced: false,
            created: false,
            authenticated: false,
            managed: false,
            jid: None,
        };
        session.held.push_back(Held::new(rid, ticket, body, now));
        let mut out = vec![Effect::Write(session.header(body))];
        session.settle(now, &mut out);
        Ok((session, out))
    }

    /// Takes a request of this session. Its answer comes with this call or a later one, by `ticket`.
    pub fn request(&mut self, body: Body, ticket: u64, now: Duration) -> Vec<Effect> {
        let mut out = Vec::new();
        self.take(body, ticket, now, &mut out);
        self.settle(now, &mut out);
        out
    }

    /// Takes a request of this session that is no wrapper, or too large a one: it ends the session.
    pub fn refuse(&mut self, condition: BoshCondition, ticket: u64, now: Duration) -> Vec<Effect> {
        let mut out = Vec::new();
        self.fail(Some(ticket), condition, now, &mut out);
        out
    }

    /// Nobody waits for the answer to this ticket any more, or it was given and did not arrive.
    pub fn lost(&mut self, ticket: u64, now: Duration) -> Vec<Effect> {
        let mut out = Vec::new();
        let ours = |held: &Held| held.ticket == Some(ticket);
        if let Some(held) = self.held.iter_mut().find(|held| ours(held)) {
            held.ticket = None;
        } else if let Some(answered) = self.answered.iter_mut().find(|answered| answered.ticket == Some(ticket)) {
            answered.lost = true;
        } else {
            // The client has to send it again, as it does not know how far it came.
            self.early.retain(|_, (held, _)| !ours(held));
        }
        self.settle(now, &mut out);
        out
    }

    /// The answer to this ticket was given and is known not to have arrived; this was its content.
    pub fn unread(&mut self, ticket: u64, content: &Bytes, now: Duration) -> Vec<Effect> {
        let known = |answered: &Answered| answered.ticket == Some(ticket) || answered.reply.body == *content;
        if !self.answered.iter().any(known) {
            // It cannot be asked for any more.
            self.stray(content);
        }
        self.lost(ticket, now)
    }

    /// When to call [`timeout`](Self::timeout), whatever else happens; `None` when nothing is awaited.
    pub fn deadline(&self) -> Option<Duration> {
        if let Phase::Ended(at) = self.phase {
            return Some(at.saturating_add(self.limits.linger));
        }
        let held = self.held.front().map(|held| held.at);
        let early = self.early.values().map(|(held, _)| held.at).min();
        let waits = held.into_iter().chain(early).map(|at| at.saturating_add(self.terms.wait));
        let idle = self.idle.map(|since| since.saturating_add(self.patience()));
        waits.chain(idle).min()
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Duration) -> Vec<Effect> {
        let mut out = Vec::new();
        match self.phase {
            Phase::Ended(_) => {
                if self.deadline().is_some_and(|deadline| deadline <= now) {
                    out.push(Effect::Over);
                }
                return out;
            }
            Phase::Open | Phase::Ending(_) => {}
        }
        if self.idle.is_some_and(|since| since.saturating_add(self.patience()) <= now) {
            self.phase = Phase::Ended(now);
            return vec![Effect::Close, Effect::Over];
        }
        // What should have come before them got lost: the client is to send all of it again (XEP-0124 §17.3).
        let wait = self.terms.wait;
        self.early.retain(|_, (held, _)| {
            let waits = now < held.at.saturating_add(wait);
            if let (false, Some(ticket)) = (waits, held.ticket) {
                out.push(Effect::Respond(ticket, recoverable(&self.content_type)));
            }
            waits
        });
        self.settle(now, &mut out);
        out
    }

    /// The connection manager stops.
    pub fn shut_down(&mut self, now: Duration) -> Vec<Effect> {
        let mut out = Vec::new();
        if !matches!(self.phase, Phase::Ended(_)) {
            self.phase = Phase::Ending(Terminal { condition: Some(BoshCondition::SystemShutdown), error: None });
            self.settle(now, &mut out);
            if !matches!(self.phase, Phase::Ended(_)) {
                self.end(now, &mut out);
            }
        }
        out
    }

    /// Whether the client has authenticated: it may send more from then on.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// The address that the client was given.
    pub fn jid(&self) -> Option<&str> {
        self.jid.as_deref()
    }

    /// Whether more may be read from the stream: not while the client leaves too much unfetched.
    pub fn has_room(&self) -> bool {
        matches!(self.phase, Phase::Ended(_)) || self.queued_bytes < self.limits.queue_bytes
    }

    /// How long the client may stay away.
    fn patience(&self) -> Duration {
        self.paused.unwrap_or(self.terms.inactivity)
    }

    fn header(&self, body: &Body) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        let (to, lang, from) = (body.attr("to"), body.lang(), body.attr("from"));
        Header {
            content_ns: ns::CLIENT,
            to: Some(to.as_deref().filter(|to| !to.is_empty()).unwrap_or(&self.to)),
            from: from.as_deref(),
            lang: lang.as_deref().or(self.lang.as_deref()),
            id: None,
        }
        .write(&mut out);
        out
    }

    fn take(&mut self, body: Body, ticket: u64, now: Duration, out: &mut Vec<Effect>) {
        let Some(rid) = body.rid() else { return self.fail(Some(ticket), BoshCondition::BadRequest, now, out) };
        self.idle = None;
        if self.repeated(rid, &body, ticket, now, out) {
            return;
        }
        let pauses = body.attr("pause").is_some();
        // XEP-0124 §11: one more than agreed, if it is to pause or to end.
        let most = self.terms.requests + u64::from(pauses || body.is_terminate());
        if rid < self.next || rid - self.next >= most || matches!(self.phase, Phase::Ended(_)) {
            return self.fail(Some(ticket), BoshCondition::ItemNotFound, now, out);
        }
        let bare = body.is_empty() && !pauses && !body.is_terminate() && !body.is_restart();
        // One that was overtaken on its way was not the last to be sent.
        let latest = self.early.keys().next_back().is_none_or(|early| *early < rid);
        if bare && latest && self.is_hasty(now) {
            return self.fail(Some(ticket), BoshCondition::PolicyViolation, now, out);
        }
        (self.last_new, self.last_bare) = (now, bare);
        let held = Held::new(rid, ticket, &body, now);
        self.early.insert(rid, (held, body));
        while let Some((held, body)) = self.early.remove(&self.next) {
            self.admit(held, &body, now, out);
        }
    }

    /// Whether an empty request comes sooner than permitted (XEP-0124 §11, §12).
    fn is_hasty(&self, now: Duration) -> bool {
        let soon = now.saturating_sub(self.last_new) < self.terms.polling;
        if self.terms.polls {
            let in_vain = self.held.back().is_some() || self.answered.back().is_some_and(|last| !last.payload);
            return soon && self.last_bare && in_vain;
        }
        let unanswered = self.held.len() + self.early.len();
        soon && u64::try_from(unanswered).unwrap_or(u64::MAX).saturating_add(1) >= self.terms.requests
    }

    /// Answers a request that came before; whether it is one (XEP-0124 §14.3).
    fn repeated(&mut self, rid: u64, body: &Body, ticket: u64, now: Duration, out: &mut Vec<Effect>) -> bool {
        let key = body.attr("key");
        let (known, repeats);
        if let Some(answered) = self.answered.iter_mut().find(|answered| answered.rid == rid) {
            (known, repeats) = (answered.key.as_deref(), &mut answered.repeats);
            *repeats += 1;
            if known == key.as_deref() && *repeats <= self.limits.repeats {
                (answered.ticket, answered.lost) = (Some(ticket), false);
                out.push(Effect::Respond(ticket, answered.reply.clone()));
                return true;
            }
        } else {
            let held = self.held.iter_mut().chain(self.early.values_mut().map(|(held, _)| held));
            let Some(held) = held.into_iter().find(|held| held.rid == rid) else { return false };
            (known, repeats) = (held.key.as_deref(), &mut held.repeats);
            *repeats += 1;
            if known == key.as_deref() && *repeats <= self.limits.repeats {
                if let Some(old) = held.ticket.replace(ticket) {
                    out.push(Effect::Respond(old, recoverable(&self.content_type)));
                }
                return true;
            }
        }
        let condition = match known == key.as_deref() {
            true => BoshCondition::PolicyViolation,
            false => BoshCondition::ItemNotFound,
        };
        self.fail(Some(ticket), condition, now, out);
        true
    }

    /// Takes the request whose turn it is.
    fn admit(&mut self, mut held: Held, body: &Body, now: Duration, out: &mut Vec<Effect>) {
        self.next = self.next.saturating_add(1);
        if !self.keys.advance(body.attr("key").as_deref(), body.attr("newkey").as_deref()) {
            return self.fail(held.ticket, BoshCondition::ItemNotFound, now, out);
        }
        self.paused = None;
        if let Some(pause) = body.attr("pause") {
            let Some(seconds) = number(&pause) else {
                return self.fail(held.ticket, BoshCondition::BadRequest, now, out);
            };
            self.paused = Some(Duration::from_secs(seconds.min(self.limits.pause.as_secs())));
            held.bare = true;
            held.due = true;
            self.held.iter_mut().for_each(|held| held.due = true);
        }
        if self.terms.acks {
            self.acknowledge(&mut held, body, now);
        }
        if matches!(self.phase, Phase::Open) {
            let mut upstream = Vec::new();
            if body.is_restart() {
                upstream = self.header(body);
            } else {
                body.unwrap_into(&mut upstream);
            }
            if body.is_terminate() {
                upstream.extend_from_slice(STREAM_END.as_bytes());
                self.phase = Phase::Ending(Terminal::default());
            }
            if !upstream.is_empty() {
                out.push(Effect::Write(upstream));
            }
        }
        self.held.push_back(held);
    }

    /// What a client that acknowledges says by doing so or not (XEP-0124 §9.2, §9.3).
    fn acknowledge(&mut self, held: &mut Held, body: &Body, now: Duration) {
        /// Before this has passed, a response may still be on its way.
        const UNDER_WAY: Duration = Duration::from_millis(500);
        let Some(acked) = body.attr("ack").and_then(|ack| number(&ack)) else {
            // All have arrived. The latest are kept all the same, in case that the client did not mean it.
            return;
        };
        let missing = self.answered.iter().find(|answered| Some(answered.rid) == acked.checked_add(1));
        if let Some(missing) = missing
            && now.saturating_sub(missing.at) >= UNDER_WAY
        {
            held.report = Some((missing.rid, missing.at));
            // The answer to the oldest request is the next one.
            match self.held.front_mut() {
                Some(first) => (first.due, first.report) = (true, held.report.take()),
                None => held.due = true,
            }
        }
    }
}

impl Held {
    fn new(rid: u64, ticket: u64, body: &Body, at: Duration) -> Held {
        let key = body.attr("key").map(|key| Box::from(&*key));
        Held { rid, ticket: Some(ticket), at, key, repeats: 0, bare: false, due: false, report: None }
    }
}

/// `type='error'`: the client sends the request again, and those before it (XEP-0124 §17.3).
fn recoverable(content_type: &Arc<str>) -> Reply {
    let mut wrapper = Wrapper::new();
    wrapper.attr("type", "error");
    Reply::ok(Arc::clone(content_type), wrapper.finish())
}

/// A refusal of a session creation request.
fn refusal(body: &Body, condition: BoshCondition) -> Reply {
    let mut reply = Reply::terminal(condition);
    if body.attr("ver").is_none() {
        reply.legacy(condition);
    }
    reply
}

impl Reply {
    fn legacy(&mut self, condition: BoshCondition) {
        if let Some(status) = condition.legacy_status() {
            self.status = status;
        }
    }
}
