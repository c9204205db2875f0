//! Routing: from a client's stanza to a delivery, an answer or an error (RFC 6120 §8 and §10).

use super::{
    Limits, Server, buffers,
    client_state::{self, Idle},
    directory::{Resource, SessionFlag},
    line::{Awaited, Pending, Place, panicked},
    route::{Decision, Envelope, Kinds, Stage, Station, Verdict},
    session::{Pushed, Role, Session},
};
use crate::{
    BoxFuture,
    extension::{IqContext, IqOutcome, Names, Reply, Target, answer_error, answer_result},
    jid::Jid,
    payload::Payload,
    stanza::{Condition, ErrorType, StanzaError, StanzaKind},
    stream::{
        StreamCondition, StreamError,
        management::{self, Ack, Enable, Failed},
        s2s::Arrived,
    },
    xml::{ElementRef, Stanza, Writer, ns},
};
use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

/// How far a first-level element has come.
pub(crate) enum Routed {
    /// It is delivered, stored, answered or dropped.
    Done,
    /// Its route waits.
    Waits(Box<Pending>),
    /// It was no stanza.
    NoStanza,
}

impl Server {
    /// Takes a first-level element from whoever is at the other end. An error ends the stream.
    /// It does not pass who is ahead of it.
    pub(crate) fn receive(
        &self,
        session: &Arc<Session>,
        stanza: Stanza,
        ahead: Option<Place>,
    ) -> Result<Routed, StreamError> {
        match session.role() {
            Role::Client => self.receive_from_client(session, stanza, ahead),
            Role::Component => self.receive_from_component(session, &stanza),
            Role::Server => Err(StreamError::new(StreamCondition::UnsupportedStanzaType)),
        }
    }

    /// Takes a stanza from a bound client.
    fn receive_from_client(
        &self,
        session: &Arc<Session>,
        stanza: Stanza,
        ahead: Option<Place>,
    ) -> Result<Routed, StreamError> {
        let root = stanza.root();
        let kind = match stanza_kind(root, ns::CLIENT) {
            Ok(kind) => kind,
            Err(error) => return self.receive_other(session, root, error),
        };
        if let Some(from) = root.attr("from")
            && !is_own(session.jid(), &from)
        {
            return Err(StreamError::new(StreamCondition::InvalidFrom));
        }
        let to = match root.attr("to") {
            None => None,
            // Prepared where it can be, so that it meets the session it means (RFC 7622 §3.4).
            Some(to) => match Jid::new(&to).or_else(|_| Jid::lenient(&to)) {
                Ok(to) => Some(to),
                Err(error) => {
                    let error = StanzaError::jid_malformed().with_text(error.to_string());
                    self.refuse(session, &stanza, None, &error);
                    return Ok(Routed::Done);
                }
            },
        };
        if kind == StanzaKind::Iq
            && let Err(error) = check_iq(root)
        {
            self.refuse(session, &stanza, to.as_ref(), &error);
            return Ok(Routed::Done);
        }
        let mut envelope = Envelope {
            kind,
            from: session.jid().clone(),
            to,
            sender: Some(Arc::clone(session)),
            unaddressed: false,
            crowd: None,
            stanza,
        };
        if envelope.to.is_none() && kind == StanzaKind::Message {
            // RFC 6120 §10.3.1: as if it were addressed to the sender's own bare address.
            envelope.to = Some(session.jid().to_bare().into());
        }
        Ok(self.run_behind(envelope, 0, None, ahead).map_or(Routed::Done, Routed::Waits))
    }

    /// What a client sends besides stanzas: stream management (XEP-0198) and its state (XEP-0352).
    fn receive_other(
        &self,
        session: &Arc<Session>,
        root: ElementRef<'_>,
        otherwise: StreamError,
    ) -> Result<Routed, StreamError> {
        match (root.ns(), root.name()) {
            (management::NS, _) => self.receive_management(session, root, otherwise)?,
            (client_state::NS, "active") => session.set_inactive(false, self.limits()),
            (client_state::NS, "inactive") => session.set_inactive(true, self.limits()),
            _ => return Err(otherwise),
        }
        Ok(Routed::NoStanza)
    }

    fn receive_management(
        &self,
        session: &Arc<Session>,
        root: ElementRef<'_>,
        otherwise: StreamError,
    ) -> Result<(), StreamError> {
        let limits = self.limits();
        let known = match root.name() {
            "r" => session.acknowledge(limits),
            "a" => {
                let ack = Ack::read(root)
                    .map_err(|error| StreamError::new(StreamCondition::BadFormat).with_text(error.to_string()))?;
                session.acknowledged(ack.h, limits, self.tick()).transpose()?.is_some()
            }
            "enable" => {
                let wish = Enable::read(root).map_err(|_| Condition::BadRequest);
                match wish.and_then(|wish| session.enable(&wish, limits, true)) {
                    Ok(enabled) => {
                        tracing::debug!(jid = %session.jid(), resume = enabled.resume, "stream management");
                        true
                    }
                    Err(condition) => {
                        let again = condition == Condition::UnexpectedRequest;
                        refuse_management(session, limits, condition);
                        if again {
                            // XEP-0198 §3: at most one attempt.
                            return Err(StreamError::new(StreamCondition::PolicyViolation)
                                .with_text("stream management is enabled already"));
                        }
                        true
                    }
                }
            }
            "resume" => {
                refuse_management(session, limits, Condition::UnexpectedRequest);
                true
            }
            _ => false,
        };
        if known { Ok(()) } else { Err(otherwise) }
    }

    /// Takes a stanza from another server, whose addresses have been judged. What clients' stanzas pass on their way is
    /// not for it; it enters the route at [`Stage::Locate`].
    pub(super) fn receive_from_server(&self, arrived: Arrived) -> Option<Box<Pending>> {
        let Arrived { stanza, from, to } = arrived;
        // Inside the server all stanzas have one content namespace, and their addresses are prepared.
        let stanza = stanza.rewrite(ns::CLIENT).from(Some(from.as_str())).to(Some(to.as_str())).to_stanza();
        let kind = stanza_kind(stanza.root(), ns::CLIENT).ok()?;
        let checked = if kind == StanzaKind::Iq { check_iq(stanza.root()) } else { Ok(()) };
        let envelope = Envelope { stanza, kind, from, to: Some(to), sender: None, unaddressed: false, crowd: None };
        if let Err(error) = checked {
            self.reject(&envelope, &error);
            return None;
        }
        self.run(envelope, self.inner().locate)
    }

    /// Sends a stanza in the name of the server, of a service, or of a local account. It enters the route at
    /// [`Stage::Outgoing`]; `from` and `to` must be set.
    pub fn send(&self, from: Jid, to: Jid, stanza: Stanza) {
        let Ok(kind) = stanza_kind(stanza.root(), ns::CLIENT) else { return };
        let envelope = Envelope { stanza, kind, from, to: Some(to), sender: None, unaddressed: false, crowd: None };
        self.run_detached(envelope, self.inner().outgoing);
    }

    /// Puts a stanza into the session with the full address `to`, past the route: what a station or a handler sends
    /// beside the stanza it was asked about (a carbon copy, a roster push, a page of an archive). Whether the session was
    /// there to take it.
    pub fn hand(&self, from: Jid, to: &Jid, stanza: Stanza) -> bool {
        let Ok(kind) = stanza_kind(stanza.root(), ns::CLIENT) else { return false };
        self.deliver(
            &Envelope { stanza, kind, from, to: Some(to.clone()), sender: None, unaddressed: false, crowd: None },
            to,
        )
    }

    /// Sets or clears a flag of the session that asks; whether it is one of a client here, and still there. One that took
    /// its address meanwhile is another, and has asked for nothing.
    pub fn set_flag(&self, asker: &IqContext, flag: SessionFlag, on: bool) -> bool {
        let session = asker.origin.clone().and_then(|origin| origin.downcast::<Session>().ok());
        session.is_some_and(|session| self.flag(&session, flag, on))
    }

    /// Sets or clears a flag of a session that was [looked at](Self::resources); whether it is still there.
    pub fn flag_resource(&self, resource: &Resource, flag: SessionFlag, on: bool) -> bool {
        resource.session.upgrade().is_some_and(|session| self.flag(&session, flag, on))
    }

    fn flag(&self, session: &Arc<Session>, flag: SessionFlag, on: bool) -> bool {
        if session.role() != Role::Client {
            return false;
        }
        session.set_flag(flag, on);
        self.is_there(session)
    }

    /// The connected resources of a local account.
    pub fn resources(&self, bare: &str) -> Vec<Resource> {
        let sessions = self.inner().directory.sessions(bare);
        let clients = sessions.into_iter().filter(|session| session.role() == Role::Client);
        clients.map(|session| snapshot(&session)).collect()
    }

    /// Remembers what the sender of `envelope` says of its presence: `priority` is `None` once it is unavailable.
    /// Whether that session [is still there](Self::is_current); one that took its address is another, and has said
    /// nothing.
    pub fn set_availability(&self, envelope: &Envelope, priority: Option<i8>, presence: Option<Stanza>) -> bool {
        let Some(session) = &envelope.sender else { return false };
        // Whoever takes the session out of the directory takes this after it.
        let mut availability = session.availability();
        if !self.is_current(envelope) {
            return false;
        }
        let before = std::mem::replace(&mut *availability, super::session::Availability { priority, presence });
        drop(availability);
        if !self.inner().availability_changed.is_empty() {
            let now = snapshot(session);
            self.inner().availability_changed.iter().for_each(|f| f(self, &now, before.priority));
        }
        true
    }

    /// Whether the session that sent `envelope` is the one that is reached by its address: it has not ended, nor has
    /// another one taken its place (RFC 6120 §7.7.2.2) while the stanza was on its route.
    pub fn is_current(&self, envelope: &Envelope) -> bool {
        envelope.sender.as_ref().is_some_and(|sender| self.is_there(sender))
    }

    fn is_there(&self, session: &Arc<Session>) -> bool {
        let jid = session.jid();
        let found = self.inner().directory.find(jid.bare_str(), jid.resource().unwrap_or_default());
        found.is_some_and(|found| Arc::ptr_eq(&found, session))
    }

    /// Puts the stanza of `envelope` into the session with the full address `to`; whether it is there to take it.
    /// What is accepted here and cannot be written any more comes back by [`Stage::Undelivered`].
    pub fn deliver(&self, envelope: &Envelope, to: &Jid) -> bool {
        let session = to.resource().and_then(|resource| self.inner().directory.find(to.bare_str(), resource));
        session.is_some_and(|session| self.push(&session, envelope) == Pushed::Queued)
    }

    pub(super) fn push(&self, session: &Session, envelope: &Envelope) -> Pushed {
        let (from, idle) = (envelope.from.as_str(), || self.idle(envelope));
        let pushed = session.push_idle(&self.inner().limits, from, idle, |out| {
            if let (Some(crowd), Some(to), Role::Client) = (&envelope.crowd, &envelope.to, session.role())
                && crowd.is_of(&envelope.stanza)
            {
                return crowd.write(to.as_str(), out);
            }
            let mut rewrite = envelope.stanza.rewrite(session.content_ns()).from(Some(envelope.from.as_str()));
            // Prepared, as the recipient knows itself: it may answer under the name it was called by. Who has many names
            // has to be told which.
            if let Some(to) = &envelope.to
                && (envelope.unaddressed || envelope.sender.is_some() || session.role() != Role::Client)
                && envelope.stanza.root().attr("to").as_deref() != Some(to.as_str())
            {
                rewrite = rewrite.to(Some(to.as_str()));
            }
            rewrite.write(out);
        });
        match pushed {
            Pushed::Full => self.inner().stats.dropped("slow reader"),
            Pushed::Asleep => {
                self.relieve();
                return Pushed::Queued;
            }
            Pushed::Queued | Pushed::Gone => {}
        }
        pushed
    }

    /// Whether a stanza may wait while its recipient is inactive.
    fn idle(&self, envelope: &Envelope) -> Option<Idle> {
        let ruled = self.inner().idle_rules.iter().find_map(|rule| rule(envelope));
        ruled.unwrap_or_else(|| client_state::idle(envelope))
    }

    /// Runs the route from a position; `Some` when it has to wait.
    pub(crate) fn run(&self, envelope: Envelope, position: usize) -> Option<Box<Pending>> {
        self.run_behind(envelope, position, None, None)
    }

    /// The same, not further than whoever is ahead; `meanwhile` is waited for before the stanza is handed over.
    pub(super) fn run_behind(
        &self,
        mut envelope: Envelope,
        mut position: usize,
        mut meanwhile: Option<BoxFuture<'static, Verdict>>,
        ahead: Option<Place>,
    ) -> Option<Box<Pending>> {
        let route = &self.inner().route;
        // What others do may change what those behind them meet.
        let is_message = envelope.kind == StanzaKind::Message;
        while let Some(station) = route.get(position) {
            let at = position;
            if let Some(ahead) = ahead.filter(|ahead| !ahead.admits(at)) {
                // It is not with that station yet, nor may anybody behind it be.
                let (place, verdict) = (Place { in_order: false, ..ahead }, Awaited::Now(Verdict::Continue));
                return Some(Box::new(Pending { envelope, position, place, verdict, meanwhile }));
            }
            if let Some(verdict) = meanwhile.take_if(|_| self.hands_over(at, &envelope)) {
                let place = Place { station: at, in_order: false };
                return Some(Box::new(Pending::waits(envelope, at, place, verdict, None)));
            }
            position += 1;
            if !station.sees(envelope.kind) {
                continue;
            }
            let decided = catch_unwind(AssertUnwindSafe(|| (station.interceptor)(&mut envelope, self)));
            let (verdict, in_order) = match decided.unwrap_or_else(|_| Decision::Ready(panicked())) {
                Decision::Ready(verdict) => match meanwhile.take_if(|_| verdict.ends_the_route()) {
                    Some(first) => (finally(first, verdict), is_message),
                    // Whoever is ahead waits here, and its turn is before this one's.
                    None if ahead.is_some_and(|ahead| !ahead.admits(position)) => {
                        let (place, verdict) = (Place { station: at, in_order: true }, Awaited::Now(verdict));
                        return Some(Box::new(Pending { envelope, position, place, verdict, meanwhile }));
                    }
                    None if self.settle(verdict, &mut envelope) => return None,
                    None => continue,
                },
                Decision::Meanwhile(verdict) => {
                    let verdict = self.in_time(verdict);
                    meanwhile = Some(match meanwhile.take() {
                        Some(first) => both(first, verdict),
                        None => verdict,
                    });
                    continue;
                }
                Decision::Wait(verdict) => (self.in_time(verdict), false),
                Decision::InOrder(verdict) => (self.in_time(verdict), is_message),
            };
            let verdict = match meanwhile.take() {
                Some(first) => both(first, verdict),
                None => verdict,
            };
            let place = Place { station: at, in_order };
            return Some(Box::new(Pending::waits(envelope, position, place, verdict, None)));
        }
        self.undeliverable(&envelope);
        None
    }

    /// Whether the station with this number is the first that may hand the stanza to somebody.
    fn hands_over(&self, station: usize, envelope: &Envelope) -> bool {
        let here = || envelope.to.as_ref().is_none_or(|to| self.hosts(to.domain()) && !self.delegates(to.domain()));
        station >= self.inner().deliver || (station >= self.inner().locate && !here())
    }

    pub(super) fn in_time(&self, verdict: BoxFuture<'static, Verdict>) -> BoxFuture<'static, Verdict> {
        let limit = self.inner().limits.handler;
        Box::pin(async move {
            tokio::time::timeout(limit, verdict).await.unwrap_or_else(|_| {
                Verdict::Reject(StanzaError::internal_server_error().with_text("the handler took too long"))
            })
        })
    }

    /// Carries a verdict out; whether the route has ended.
    pub(super) fn settle(&self, verdict: Verdict, envelope: &mut Envelope) -> bool {
        match verdict {
            Verdict::Continue => return false,
            Verdict::ContinueWith(stanza) => {
                envelope.stanza = stanza;
                return false;
            }
            Verdict::Handled => {}
            Verdict::Reply(reply) => self.reply(envelope, reply),
            Verdict::Reject(error) => self.reject(envelope, &error),
            Verdict::Drop(reason) => self.inner().stats.dropped(reason),
        }
        true
    }

    /// What is owed to the sender of a stanza that nobody took (RFC 6121 §8.5).
    pub(super) fn undeliverable(&self, envelope: &Envelope) {
        match (envelope.kind, envelope.type_str().as_ref()) {
            (StanzaKind::Presence, _) | (StanzaKind::Message, "headline") => {
                self.inner().stats.dropped("nobody to deliver to");
            }
            _ => self.reject(envelope, &StanzaError::service_unavailable()),
        }
    }

    fn reply(&self, envelope: &Envelope, mut reply: Reply) {
        let is_request = envelope.kind == StanzaKind::Iq && matches!(envelope.type_str().as_ref(), "get" | "set");
        if !is_request {
            // Nothing else is answered (RFC 6120 §8.2.3): two that reply to each other's results would never end.
            self.inner().stats.dropped("an answer to what is no request");
            return;
        }
        let answered = catch_unwind(AssertUnwindSafe(|| {
            let then = reply.take_then();
            self.answer(envelope, |names, out| answer_result(&envelope.stanza, names, reply, out));
            if let Some(then) = then {
                then();
            }
        }));
        if answered.is_err() {
            tracing::error!("what a handler answered could not be written");
            self.reject(envelope, &StanzaError::internal_server_error());
        }
    }

    /// Answers with an error, unless that is forbidden: errors and results are never answered (RFC 6120 §8.3.1).
    pub(crate) fn reject(&self, envelope: &Envelope, error: &StanzaError) {
        let is_answer = envelope.is_error() || (envelope.kind == StanzaKind::Iq && envelope.type_str() == "result");
        if is_answer {
            self.inner().stats.dropped("an answer nobody waits for");
            return;
        }
        self.answer(envelope, |names, out| answer_error(&envelope.stanza, names, error, out));
    }

    fn answer(&self, envelope: &Envelope, write: impl FnOnce(Names<'_>, &mut Writer)) {
        let asked = envelope.stanza.root().attr("to");
        // Written aside first: a fault in it must not take along what is queued.
        let mut writer = Writer::with_buffer(ns::CLIENT, buffers::take_write());
        write(Names { from: asked.as_deref(), to: Some(envelope.from.as_str()) }, &mut writer);
        if let Some(session) = &envelope.sender {
            if envelope.kind == StanzaKind::Message && !self.inner().rejected.is_empty() {
                let error = writer.into_stanza();
                session.push(&self.inner().limits, |out| out.extend_from_slice(error.as_str().as_bytes()));
                self.inner().rejected.iter().for_each(|f| f(self, session.jid(), &envelope.stanza, &error));
                return;
            }
            let bytes = writer.finish();
            session.push(&self.inner().limits, |out| out.extend_from_slice(&bytes));
            buffers::give_write(bytes);
        } else if let Some(asked) = envelope.to.clone() {
            self.send(asked, envelope.from.clone(), writer.into_stanza());
        }
    }

    fn refuse(&self, session: &Arc<Session>, stanza: &Stanza, to: Option<&Jid>, error: &StanzaError) {
        let kind = stanza_kind(stanza.root(), ns::CLIENT).unwrap_or(StanzaKind::Message);
        let sender = Some(Arc::clone(session));
        let from = session.jid().clone();
        self.reject(
            &Envelope { stanza: stanza.clone(), kind, from, to: to.cloned(), sender, unaddressed: false, crowd: None },
            error,
        );
    }

    /// The stations of core itself.
    pub(crate) fn own_stations() -> Vec<Station> {
        vec![
            Station::new("core:services", Stage::Services, Kinds::IQ, services),
            Station::new("core:locate", Stage::Locate, Kinds::ALL, locate).for_elsewhere(),
            Station::new("core:answers", Stage::Deliver, Kinds::IQ, answers).before("core:deliver"),
            Station::new("core:deliver", Stage::Deliver, Kinds::ALL, deliver),
        ]
    }
}

/// Waits for both verdicts. If the first ends the route, that is the one.
fn both(first: BoxFuture<'static, Verdict>, second: BoxFuture<'static, Verdict>) -> BoxFuture<'static, Verdict> {
    let mut waiting = (Some(first), Some(second));
    let mut verdicts = (Verdict::Continue, Verdict::Continue);
    Box::pin(std::future::poll_fn(move |cx| {
        let mut poll = |waiting: &mut Option<BoxFuture<'static, Verdict>>, verdict: &mut Verdict| {
            if let Some(Poll::Ready(found)) = waiting.as_mut().map(|future| Pin::new(future).poll(cx)) {
                (*waiting, *verdict) = (None, found);
            }
        };
        poll(&mut waiting.0, &mut verdicts.0);
        poll(&mut waiting.1, &mut verdicts.1);
        if waiting.0.is_some() || waiting.1.is_some() {
            return Poll::Pending;
        }
        let (first, second) = std::mem::replace(&mut verdicts, (Verdict::Continue, Verdict::Continue));
        Poll::Ready(if first.ends_the_route() { first } else { second })
    }))
}

/// Waits for the first; then the second, which ends the route, whatever the first says.
fn finally(first: BoxFuture<'static, Verdict>, verdict: Verdict) -> BoxFuture<'static, Verdict> {
    Box::pin(async move {
        let _ = first.await;
        verdict
    })
}

pub(super) fn snapshot(session: &Arc<Session>) -> Resource {
    let now = session.availability().clone();
    let (priority, presence) = (now.priority, now.presence);
    let (jid, flags) = (session.jid().clone(), session.flags());
    Resource { jid, priority, presence, flags, session: Arc::downgrade(session) }
}

/// Requests from elsewhere meet the same handlers, but behind what stands on behalf of the recipient: whom he has blocked
/// learns nothing from them.
fn answers(envelope: &mut Envelope, server: &Server) -> Decision {
    if envelope.sender.is_some() { Verdict::Continue.into() } else { services(envelope, server) }
}

/// XEP-0198 §6.
fn refuse_management(session: &Session, limits: &Limits, condition: Condition) {
    let mut answer = Vec::new();
    super::management::write(&Failed::new(condition), &mut answer);
    session.push_raw(limits, &answer);
}

fn services(envelope: &mut Envelope, server: &Server) -> Decision {
    let target = match &envelope.to {
        None => Target::OwnAccount,
        Some(to) if to.resource().is_some() && to.local().is_some() => return Verdict::Continue.into(),
        Some(to) if to.local().is_none() && server.hosts(to.domain()) => Target::Server,
        Some(to) if to.local().is_none() => return Verdict::Continue.into(),
        Some(to) if to.as_str() == envelope.from.bare_str() => Target::OwnAccount,
        Some(to) if server.hosts(to.domain()) => Target::Account,
        Some(_) => return Verdict::Continue.into(),
    };
    if matches!(envelope.type_str().as_ref(), "result" | "error") {
        return Verdict::Drop("an answer nobody waits for").into();
    }
    if let Some(verdict) = negotiated(envelope, target) {
        return verdict.into();
    }
    let cx = IqContext {
        from: Some(envelope.from.clone()),
        to: envelope.to.clone(),
        target,
        stanza: envelope.stanza.clone(),
        origin: envelope.sender.clone().map(|sender| sender as Arc<dyn std::any::Any + Send + Sync>),
    };
    match server.inner().registrar.iqs.dispatch(cx) {
        IqOutcome::Ready(answer) => Verdict::from(answer).into(),
        IqOutcome::Wait(answer) => Decision::Wait(Box::pin(async move { answer.await.into() })),
    }
}

/// What belongs to the negotiation and comes after it: a second binding, and the session that RFC 3921 had.
fn negotiated(envelope: &Envelope, target: Target) -> Option<Verdict> {
    let root = envelope.stanza.root();
    if !(Target::Server | Target::OwnAccount).contains(target) || envelope.type_str() != "set" {
        return None;
    }
    if root.child("bind", ns::BIND).is_some() {
        // RFC 6120 §7.6.2.2.
        return Some(Verdict::Reject(
            StanzaError::not_allowed().with_text("this stream has its resource").with_type(ErrorType::Cancel),
        ));
    }
    root.child("session", ns::SESSION).map(|_| Verdict::Reply(Reply::empty()))
}

fn locate(envelope: &mut Envelope, server: &Server) -> Verdict {
    match &envelope.to {
        Some(to) if !server.hosts(to.domain()) => match &server.inner().federation {
            Some(federator) => federator.dispatch(server, envelope),
            None => Verdict::Reject(StanzaError::remote_server_not_found().with_text("this server does not federate")),
        },
        _ => Verdict::Continue,
    }
}

fn deliver(envelope: &mut Envelope, server: &Server) -> Verdict {
    match &envelope.to {
        Some(to) if to.resource().is_some() && server.deliver(envelope, to) => Verdict::Handled,
        _ => Verdict::Continue,
    }
}

impl From<crate::extension::Answer> for Verdict {
    fn from(answer: crate::extension::Answer) -> Verdict {
        answer.map_or_else(Verdict::Reject, Verdict::Reply)
    }
}

/// What a first-level element of a stream with this content namespace is, or the stream error that it deserves.
pub(crate) fn stanza_kind(root: ElementRef<'_>, content_ns: &str) -> Result<StanzaKind, StreamError> {
    let kind = match root.name() {
        "message" => StanzaKind::Message,
        "presence" => StanzaKind::Presence,
        "iq" => StanzaKind::Iq,
        "auth" | "response" | "abort" if root.ns() == ns::SASL => {
            return Err(StreamError::new(StreamCondition::PolicyViolation).with_text("this stream is authenticated"));
        }
        "starttls" if root.ns() == ns::TLS => {
            return Err(StreamError::new(StreamCondition::PolicyViolation).with_text("this stream is negotiated"));
        }
        _ => return Err(StreamError::new(StreamCondition::UnsupportedStanzaType)),
    };
    if root.ns() == content_ns { Ok(kind) } else { Err(StreamError::new(StreamCondition::InvalidNamespace)) }
}

/// RFC 6120 §8.1.2.1: the full address, or the bare one; compared in canonical form.
fn is_own(jid: &Jid, from: &str) -> bool {
    let same = |from: &str| from == jid.as_str() || from == jid.bare_str();
    same(from) || Jid::new(from).is_ok_and(|from| same(from.as_str()))
}

/// RFC 6120 §8.2.3: an id, a known type, and one payload in a request.
pub(super) fn check_iq(root: ElementRef<'_>) -> Result<(), StanzaError> {
    if root.attr("id").is_none_or(|id: Cow<'_, str>| id.is_empty()) {
        return Err(StanzaError::bad_request().with_text("an iq needs an id"));
    }
    match root.attr("type").as_deref() {
        Some("get" | "set") if root.children().count() == 1 => Ok(()),
        Some("get" | "set") => Err(StanzaError::bad_request().with_text("a request carries exactly one element")),
        Some("result" | "error") => Ok(()),
        _ => Err(StanzaError::bad_request().with_text("the type of an iq is get, set, result or error")),
    }
}
