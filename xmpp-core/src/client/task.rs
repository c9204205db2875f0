//! The task that owns the connection: it connects, runs the session, and connects again.

use super::{
    Backoff, Client, ConnectionError, Event, Keepalive, SavedSession, SessionStart, Unacknowledged,
    asked::IqEvents,
    builder::Road,
    desk::{Command, Desk, Leave},
    events::EventSender,
    exchange::{End, Handlers},
    extend::{ClientRegistrar, Hook, SessionHook},
    keepalive::Pulse,
    negotiate::{Memory, Ready, Settings, establish, farewell},
    output::{Reader, Session},
};
use crate::{
    extension::IqTable,
    jid::FullJid,
    net::Plan,
    sasl::Mechanism,
    stream::{FastToken, Features, NegotiationError, OtherHost, StreamCondition, StreamError, StreamLimits},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

/// Redirections by see-other-host in a row (RFC 6120 §4.9.3.19 asks for a limit).
const REDIRECTS: u32 = 4;
/// A session that lasts so long was a good one: the waits before connecting again start from the first.
const STABLE: Duration = Duration::from_secs(60);
/// One that the network ended, not the server, was good if it lasted so long.
const USABLE: Duration = Duration::from_secs(5);
/// So many negotiations in a row may end with an error while a resumption is tried, which may be the reason; and so many
/// connections may break instead, which the network is more likely to have done.
const ERRORS: u32 = 3;
const BREAKS: u32 = 12;

pub(super) struct Task {
    pub(super) settings: Settings,
    road: Road,
    pub(super) desk: Desk,
    pub(super) events: EventSender,
    online: watch::Sender<Option<FullJid>>,
    /// For hooks; weak, so that the task ends when the last handle is dropped.
    pub(super) commands_weak: mpsc::WeakSender<Command>,
    pub(super) shared: std::sync::Arc<super::Shared>,
    pub(super) iqs: IqTable,
    /// How iqs that nobody here takes become events, if they do.
    pub(super) iq_events: Option<IqEvents>,
    pub(super) hooks: Vec<Hook>,
    session_hooks: Vec<SessionHook>,
    backoff: Option<Backoff>,
    pub(super) pulse: Pulse,
    pub(super) handlers: Handlers,
    retries: Retries,
    /// What the application is to be told of.
    unreported: Vec<Unacknowledged>,
}

/// How connecting again has gone.
#[derive(Default)]
struct Retries {
    attempt: u32,
    redirects: u32,
    /// Negotiations with a resumption in them that failed, in a row, each with its weight.
    resumptions: u32,
    /// Where a redirection leads; it holds for one attempt.
    detour: Option<Plan>,
    /// Why the session was lost, while the application need not know.
    untold: Option<ConnectionError>,
    /// The first attempt after a loss was made at once; there is no other one like it until a session has proved good.
    hurried: bool,
}

impl Task {
    pub(super) fn new(
        settings: Settings,
        road: Road,
        desk: Desk,
        events: EventSender,
        online: watch::Sender<Option<FullJid>>,
        client: &Client,
        registrar: ClientRegistrar,
    ) -> Task {
        Task {
            settings,
            road,
            desk,
            events,
            online,
            commands_weak: client.commands.downgrade(),
            shared: std::sync::Arc::clone(&client.shared),
            iqs: registrar.registrar.iqs,
            iq_events: None,
            hooks: registrar.hooks,
            session_hooks: registrar.session_hooks,
            backoff: None,
            pulse: Pulse::new(Duration::from_secs(120).into()),
            handlers: Handlers::new(),
            retries: Retries::default(),
            unreported: Vec::new(),
        }
    }

    /// Iqs that nobody here takes are events for the application.
    pub(super) fn iq_events(mut self, events: Option<IqEvents>) -> Task {
        self.iq_events = events;
        self
    }

    /// A token of an earlier run.
    pub(super) fn token(mut self, token: Option<FastToken>) -> Task {
        self.desk.memory.token = token;
        self
    }

    pub(super) fn timing(mut self, backoff: Option<Backoff>, keepalive: Keepalive, floor: Option<Mechanism>) -> Task {
        self.backoff = backoff;
        self.pulse = Pulse::new(keepalive);
        self.desk.memory.floor = floor;
        self
    }

    /// Goes on with a session that was saved.
    pub(super) fn session(mut self, saved: Option<SavedSession>) -> Task {
        if let Some(mut saved) = saved {
            self.desk.memory.keys = saved.keys.take();
            self.desk.memory.token = self.desk.memory.token.take().or(saved.token.take());
            self.desk.memory.floor = self.desk.memory.floor.max(saved.floor);
            self.desk.restore(saved);
        }
        self
    }

    pub(super) async fn run(mut self) {
        loop {
            let (error, lasted) = match self.connect().await {
                Err(leave) => return self.leave(leave, false),
                Ok(Err(error)) => {
                    self.not_connected(&error);
                    (error, None)
                }
                Ok(Ok(ready)) => {
                    let began = Instant::now();
                    match self.opened(ready).await {
                        End::Left { clean, leave } => return self.leave(leave, clean),
                        End::Lost(error) => {
                            self.lost(&error);
                            (error, Some(began.elapsed()))
                        }
                    }
                }
            };
            let Some(wait) = self.retry(error, lasted) else { return };
            let waited = self.desk.meanwhile(&self.events, tokio::time::sleep(wait)).await;
            if let Err(leave) = waited {
                return self.leave(leave, false);
            }
        }
    }

    async fn connect(&mut self) -> Result<Result<Ready, ConnectionError>, Leave> {
        let detour = self.retries.detour.take();
        let location = self.desk.ledger.location().map(plan);
        self.desk.ledger.handled.done(self.events.handled());
        let resume = self.desk.ledger.resumption();
        let memory = self.desk.memory.clone();
        let there = detour.or(location);
        let connecting = establish(&self.settings, &mut self.road, there.clone(), &memory, resume.clone());
        let ready = self.desk.meanwhile(&self.events, connecting).await?;
        let Err(ConnectionError::Negotiation(error)) = &ready else { return Ok(ready) };
        match error {
            // A server that has refused a token may take nothing else on that stream.
            NegotiationError::Refused(_) if memory.token.is_some() => {
                tracing::debug!(%error, "logging in without the token");
                self.desk.memory.token = None;
            }
            NegotiationError::Refused(_) => return Ok(ready),
            _ if !memory.pipelines() => return Ok(ready),
            // The server may not be what it was: this time it is listened to first.
            _ => {
                tracing::debug!(%error, "what the server offered before does no longer hold");
                self.desk.memory.offer = None;
            }
        }
        let memory = self.desk.memory.clone();
        let connecting = establish(&self.settings, &mut self.road, there, &memory, resume);
        self.desk.meanwhile(&self.events, connecting).await
    }

    /// No session came about; a resumption that always ends so is not tried for ever.
    fn not_connected(&mut self, error: &ConnectionError) {
        if let ConnectionError::Negotiation(negotiation) = error
            && self.desk.ledger.is_resumable()
        {
            let refused = matches!(negotiation, NegotiationError::Stream(StreamError { condition, .. })
                if *condition == StreamCondition::UndefinedCondition);
            self.retries.resumptions +=
                if matches!(negotiation, NegotiationError::Closed) { 1 } else { BREAKS / ERRORS };
            if refused || self.retries.resumptions >= BREAKS {
                self.desk.ledger.forfeit();
            }
        }
    }

    /// Connected: with the former session, or a new one.
    async fn opened(&mut self, mut ready: Ready) -> End {
        let established = &ready.established;
        self.retries.resumptions = 0;
        self.desk.memory.learn(established);
        let Memory { keys, floor, token, .. } = self.desk.memory.clone();
        let (jid, mechanism) = (established.jid.clone(), established.mechanism);
        let tls = ready.transport.tls_summary();
        self.desk.activity.begin(established.features.has("csi", crate::stream::CSI), established.resumed.is_some());
        if let Some(h) = established.resumed {
            if let Err(error) = self.desk.ledger.resumed(h) {
                let error = StreamError::from(error);
                farewell(&mut ready.transport, Some(&error)).await;
                self.desk.ledger.forfeit();
                return End::Lost(ConnectionError::Protocol(error));
            }
            self.retries.untold = None;
            self.online.send_replace(Some(jid.clone()));
            self.begun(&jid, true, &established.features);
            self.events.send(Event::Resumed { jid, tls });
        } else {
            self.settle(established.not_resumed.as_ref().and_then(|failed| failed.h));
            self.desk.ledger.begin(jid.clone(), established.enabling || established.enabled.is_some());
            if let Some(enabled) = established.enabled.clone() {
                self.desk.ledger.enabled(enabled);
            }
            self.obey(established.features.limits());
            if let Some(error) = self.retries.untold.take() {
                self.events.send(Event::Offline { error, retry: Some(Duration::ZERO) });
            }
            self.online.send_replace(Some(jid.clone()));
            self.begun(&jid, false, &established.features);
            self.events.send(Event::Online { jid, mechanism, floor, keys, token, tls });
            self.report();
        }
        self.run_session(ready).await
    }

    /// Extensions learn of a session before the application does.
    fn begun(&self, jid: &FullJid, resumed: bool, features: &Features) {
        let Some(commands) = self.commands_weak.upgrade() else { return };
        let client = Client { commands, shared: std::sync::Arc::clone(&self.shared) };
        let start = SessionStart { jid, resumed, features };
        for hook in &self.session_hooks {
            if catch_unwind(AssertUnwindSafe(|| hook(&start, &client))).is_err() {
                tracing::error!("what an extension does at a session's start panicked");
            }
        }
    }

    /// What the server wants of a stream (XEP-0478).
    fn obey(&mut self, limits: StreamLimits) {
        let own = self.settings.max_stanza_bytes;
        let most = limits.max_bytes.and_then(|bytes| usize::try_from(bytes).ok()).map_or(own, |bytes| bytes.min(own));
        self.shared.max_bytes.store(most, std::sync::atomic::Ordering::Relaxed);
        self.pulse.within(limits.idle_seconds.map(Duration::from_secs));
    }

    /// Runs a session in a connection until one of them ends.
    async fn run_session(&mut self, ready: Ready) -> End {
        let Ready { transport, scanner, buffer, unread, established } = ready;
        let (reader, writer) = tokio::io::split(transport);
        let mut session = Session::new(established.jid, self.settings.entity(), scanner, writer);
        let mut reader = Reader { reader, buffer, unread };
        let end = self.exchange(&mut session, &mut reader).await;
        session.note(&mut self.desk.ledger);
        let mut transport = reader.reader.unsplit(session.writer);
        if session.written > 0 {
            // A stanza was cut short: nothing that follows would be understood.
            return end;
        }
        match &end {
            End::Left { .. } => {}
            End::Lost(ConnectionError::Protocol(error)) => farewell(&mut transport, Some(error)).await,
            // An end tag would be the end of the session (XEP-0198 §7).
            End::Lost(_) if self.desk.ledger.is_resumable() => {}
            End::Lost(_) => farewell(&mut transport, None).await,
        }
        end
    }

    /// A session has lost its connection.
    fn lost(&mut self, error: &ConnectionError) {
        self.desk.ledger.lost(Instant::now());
        if matches!(error, ConnectionError::Protocol(_)) {
            // Whatever the server counts, it is not what we count.
            self.desk.ledger.forfeit();
        }
        if !self.desk.ledger.is_resumable() {
            self.settle(None);
            self.online.send_replace(None);
        }
    }

    /// The session, if there was one, is lost for good.
    fn settle(&mut self, h: Option<u32>) {
        self.unreported.extend(self.desk.settle(h));
        self.handlers = Handlers::new();
    }

    /// Tells the application what may not have arrived.
    fn report(&mut self) {
        if !self.unreported.is_empty() {
            self.events.send(Event::Unacknowledged(std::mem::take(&mut self.unreported)));
        }
    }

    /// How long to wait before connecting again, after an attempt or after a session that lasted so long; `None` if
    /// there is no use in it, which the application has been told.
    fn retry(&mut self, error: ConnectionError, lasted: Option<Duration>) -> Option<Duration> {
        let Some(backoff) = self.backoff.filter(|_| !self.settings.is_final(&error)) else {
            self.give_up();
            self.events.send(Event::Offline { error, retry: None });
            return None;
        };
        let random = u32::from_le_bytes(crate::random::bytes());
        let retries = &mut self.retries;
        if lasted.is_some_and(|lasted| lasted >= if is_network(&error) { USABLE } else { STABLE }) {
            (retries.attempt, retries.hurried) = (0, false);
        }
        let follows = retries.redirects < REDIRECTS && matches!(self.road, Road::Network { .. });
        if let Some(other) = redirect(&error).filter(|_| follows) {
            retries.redirects += 1;
            retries.detour = Some(other);
            // Who is sent away while connecting is one of few; who is sent away in a session is one of all.
            let Some(_) = lasted else { return Some(Duration::ZERO) };
            retries.untold = Some(error);
            return Some(backoff.redirected(random));
        }
        retries.redirects = 0;
        // A network that failed for a moment is no event.
        if lasted.is_some() && self.desk.ledger.is_resumable() && is_network(&error) && !retries.hurried {
            retries.hurried = true;
            retries.untold = Some(error);
            return Some(backoff.quick(random));
        }
        if is_shutdown(&error) {
            retries.attempt = retries.attempt.max(Backoff::SHUTDOWN);
        }
        let wait = backoff.delay(retries.attempt, random);
        retries.attempt = retries.attempt.saturating_add(1);
        retries.untold = None;
        tracing::debug!(%error, ?wait, "no session");
        self.online.send_replace(None);
        if self.desk.ledger.is_expired(Instant::now()) {
            self.desk.fail_requests();
        }
        self.events.send(Event::Offline { error, retry: Some(wait) });
        Some(wait)
    }

    /// There will be no other session.
    fn give_up(&mut self) {
        self.online.send_replace(None);
        let left = self.desk.give_up();
        self.unreported.extend(left);
        self.report();
    }

    /// The application wants no more. `clean` says that the server has everything.
    fn leave(mut self, leave: Leave, clean: bool) {
        self.desk.shut();
        match leave {
            Leave::Close(done) => {
                if clean {
                    // Said while the stream was being closed.
                    self.unreported.extend(self.desk.left());
                    self.report();
                } else {
                    self.give_up();
                }
                if let Some(done) = done {
                    let _ = done.send(clean);
                }
            }
            Leave::Suspend(reply) => {
                self.desk.ledger.handled.done(self.events.handled());
                let saved = self.desk.save(false);
                if saved.is_none() {
                    self.give_up();
                }
                let _ = reply.send(saved);
            }
        }
        self.online.send_replace(None);
    }
}

/// Whether the connection failed, and not the server.
fn is_network(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Io(_) | ConnectionError::TimedOut)
}

fn is_shutdown(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Stream(error) if error.condition == StreamCondition::SystemShutdown)
}

/// Where see-other-host sends us. The domain that must prove itself stays the same, and so does TLS.
fn redirect(error: &ConnectionError) -> Option<Plan> {
    let error = match error {
        ConnectionError::Stream(error) => error,
        ConnectionError::Negotiation(NegotiationError::Stream(error)) => error,
        _ => return None,
    };
    error.other_host().map(plan)
}

fn plan(other: OtherHost) -> Plan {
    Plan::single(&other.host, other.port.unwrap_or(5222), false)
}
