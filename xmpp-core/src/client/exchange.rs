//! A session while it has a connection: what comes in, what goes out, and how it ends.

use super::{
    Client, ConnectionError, Event,
    asked::IqEvents,
    desk::Leave,
    entity::Entity,
    events::News,
    extend::Flow,
    keepalive::Silence,
    ledger::{Origin, Outgoing},
    output::{GATHER, Reader, Session},
    task::Task,
};
use crate::{
    extension::{Answer, IqContext, IqOutcome, Names, Target, Then, answer_error, answer_result},
    payload::{
        Payload,
        client_state::{Active, Inactive},
    },
    stanza::{AnyStanza, Iq, StanzaError, StanzaKind, WriteStanza},
    stream::{
        StreamCondition, StreamError,
        management::{self, Ack, Enabled, Failed, Request},
    },
    xml::{self, Stanza, Writer, ns},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};
use tokio::{io::AsyncWriteExt, task::JoinSet, time::Instant};

/// Iq handlers at work, at most.
const HANDLERS: usize = 64;
/// Bytes of our own (answers, mostly) that may wait for the server to read, and stanzas; beyond, nothing is read from
/// it either.
const BACKLOG: (usize, usize) = (4096, 1 << 20);
/// Time a closing stream waits for acknowledgements, and for the server's end tag.
const ACKNOWLEDGING: Duration = Duration::from_secs(5);
const CLOSING: Duration = Duration::from_secs(10);

/// Handlers at work; those of a lost session are dropped with it.
pub(super) type Handlers = JoinSet<(Stanza, Answer)>;

/// How a session ended.
pub(super) enum End {
    /// The application wants no more. `clean` says that the server has everything.
    Left { clean: bool, leave: Leave },
    /// Its connection was lost.
    Lost(ConnectionError),
}

impl Task {
    pub(super) async fn exchange(&mut self, session: &mut Session, reader: &mut Reader) -> End {
        let mut silence = Silence::new(Instant::now());
        loop {
            match self.scan(session, reader) {
                Ok(false) => {}
                Ok(true) => return End::Lost(ConnectionError::Closed),
                Err(error) => return End::Lost(error),
            }
            let now = Instant::now();
            if self.fill(session, now) {
                silence.asks(now);
            }
            let fullness = self.events.fullness();
            // A full queue stops the reading; for the sake of a waiting request it may be four times as full.
            let room = fullness == 0 || (fullness < 4 && self.desk.requests.any());
            let (stanzas, bytes) = self.desk.waiting();
            // Answers that wait for acknowledgements get nearer to their turn only by reading.
            let is_backed_up = stanzas >= BACKLOG.0 || session.backlog() + bytes >= BACKLOG.1;
            let reading = room && !(is_backed_up && session.has_output());
            let handled = &self.desk.ledger.handled;
            // An answer that is due goes out behind a write that has begun.
            let (owes, due) = (handled.owes(), handled.deadline().filter(|_| session.is_gathering()));
            let deadline = silence.deadline(&self.pulse);
            let takes = self.desk.has_room();
            tokio::select! {
                read = reader.read(), if reading => match read {
                    Ok(()) => silence.heard(Instant::now(), &mut self.pulse),
                    Err(error) => return End::Lost(error.into()),
                },
                () = self.events.changed(), if !room || owes => {}
                wrote = session.write(&mut self.desk.ledger), if session.has_output() => match wrote {
                    Ok(()) => silence.spoke(Instant::now()),
                    Err(error) => return End::Lost(error.into()),
                },
                command = self.desk.commands.next(takes) => {
                    // What is saved is told to the server: what the application is done with by now belongs to it.
                    self.desk.ledger.handled.done(self.events.handled());
                    match self.desk.take(command) {
                        None => {}
                        Some(Leave::Suspend(reply)) => return End::Left { clean: false, leave: Leave::Suspend(reply) },
                        Some(leave) => {
                            let clean = self.close(session, reader).await;
                            return End::Left { clean, leave };
                        }
                    }
                }
                Some(answer) = self.handlers.join_next() => match answer {
                    Ok((request, answer)) => if let Err(error) = self.answer_in_turn(&request, answer) {
                        return End::Lost(error);
                    },
                    Err(error) => tracing::error!(%error, "an iq handler panicked"),
                },
                answered = IqEvents::answered(&mut self.iq_events) => {
                    if let Err(error) = self.answer_in_turn(&answered.request, answered.answer) {
                        return End::Lost(error);
                    }
                }
                () = tokio::time::sleep_until(due.map_or(deadline, |due| due.min(deadline))) => {
                    let now = Instant::now();
                    if now < deadline {
                        // Only an answer is due.
                    } else if !room {
                        // While the application keeps us from reading, silence proves nothing.
                        silence.excuse(now);
                    } else if silence.is_over(&mut self.pulse) {
                        return End::Lost(ConnectionError::TimedOut);
                    } else {
                        silence.asks(now);
                        if let Err(error) = self.ask(session) {
                            return End::Lost(error);
                        }
                    }
                }
            }
        }
    }

    /// Gathers what is to be written next; whether the server is asked for an answer by it.
    fn fill(&mut self, session: &mut Session, now: Instant) -> bool {
        self.desk.ledger.handled.done(self.events.handled());
        if !session.is_gathering() {
            return false;
        }
        self.desk.fill(GATHER);
        let ledger = &mut self.desk.ledger;
        session.put(ledger);
        if let Some(h) = ledger.handled.answer(now) {
            session.element(&Ack { h });
        }
        let asks = ledger.wants_ack();
        match self.desk.activity.news() {
            Some(true) => session.element(&Active),
            Some(false) => session.element(&Inactive),
            None => {}
        }
        if asks {
            session.element(&Request);
        }
        asks
    }

    /// Asks a silent server for a sign of life: for its count (XEP-0198 §4), or by a ping (XEP-0199 §4).
    fn ask(&mut self, session: &Session) -> Result<(), ConnectionError> {
        if !self.desk.ledger.is_on() {
            return self.queue(&session.entity.ping(&session.own));
        }
        self.desk.ledger.asks();
        Ok(())
    }

    /// Closes the stream: what was taken over is written, its acknowledgement awaited, then come the end tag and the
    /// server's (RFC 6120 §4.4). What the server still sends is handled meanwhile. Whether the server has everything.
    async fn close(&mut self, session: &mut Session, reader: &mut Reader) -> bool {
        while let Some(answered) = self.iq_events.as_mut().and_then(IqEvents::ready) {
            let _ = self.answer_in_turn(&answered.request, answered.answer);
        }
        self.desk.admit_all_answers();
        let delivered = tokio::time::timeout(ACKNOWLEDGING, self.deliver(session, reader)).await;
        let ledger = &self.desk.ledger;
        let whole = self.desk.unsent.is_empty() && ledger.waiting().0 == 0 && !session.has_output();
        let acked = whole && ledger.is_managed() && ledger.is_clear();
        if let Ok(Err(_)) = delivered {
            return acked;
        }
        let closing = async {
            if self.desk.ledger.is_on() {
                // XEP-0198 §4: so that the server does not take for lost what has come.
                let handled = &self.desk.ledger.handled;
                let h = if self.events.is_manual() { handled.count() } else { handled.received() };
                session.element(&Ack { h });
            }
            session.write(&mut self.desk.ledger).await?;
            session.writer.write_all(crate::stream::STREAM_END.as_bytes()).await?;
            session.writer.flush().await?;
            while !self.scan(session, reader)? {
                reader.read().await?;
            }
            // The server may have gone already: it has nothing more to hear.
            let _ = session.writer.shutdown().await;
            Ok::<(), ConnectionError>(())
        };
        let ended = matches!(tokio::time::timeout(CLOSING, closing).await, Ok(Ok(())));
        if !ended {
            tracing::debug!("the stream was not closed in good order");
        }
        acked || (whole && ended)
    }

    /// Writes everything, and waits until it is acknowledged where that can be expected.
    async fn deliver(&mut self, session: &mut Session, reader: &mut Reader) -> Result<(), ConnectionError> {
        loop {
            if self.scan(session, reader)? {
                return Err(ConnectionError::Closed);
            }
            self.fill(session, Instant::now());
            session.write(&mut self.desk.ledger).await?;
            let ledger = &self.desk.ledger;
            if !self.desk.unsent.is_empty() || ledger.waiting().0 > 0 {
                continue;
            }
            if ledger.is_clear() || !ledger.is_managed() {
                return Ok(());
            }
            reader.read().await?;
        }
    }

    /// Handles what has been read; whether the server has ended the stream.
    fn scan(&mut self, session: &mut Session, reader: &mut Reader) -> Result<bool, ConnectionError> {
        loop {
            let mut rest = reader.buffer.get(reader.unread.clone()).unwrap_or_default();
            let scanned = session.scanner.scan(&mut rest);
            reader.unread.start = reader.unread.end - rest.len();
            match scanned {
                Ok(None) => return Ok(false),
                Ok(Some(xml::Event::Close)) => return Ok(true),
                Ok(Some(xml::Event::Stanza(stanza))) => self.receive(session, stanza)?,
                Ok(Some(xml::Event::Open(_))) => return Err(broken(StreamCondition::BadFormat)),
                Err(error) => return Err(ConnectionError::Protocol(error.into())),
            }
        }
    }

    fn receive(&mut self, session: &mut Session, stanza: Stanza) -> Result<(), ConnectionError> {
        if StreamError::matches(stanza.root()) {
            return Err(ConnectionError::Stream(StreamError::read(stanza.root())));
        }
        let stanza = session.entity.admit(stanza);
        if StanzaKind::of(&stanza).is_none() {
            return self.managed(&stanza);
        }
        if !self.desk.ledger.handled.arrives() {
            return Ok(());
        }
        let event = match AnyStanza::from_stanza(session.entity.admit(stanza)) {
            Ok(AnyStanza::Iq(iq)) => return self.receive_iq(session, iq),
            Ok(stanza) if self.is_taken(&stanza) => return Ok(()),
            Ok(AnyStanza::Message(message)) => Event::Message(message),
            Ok(AnyStanza::Presence(presence)) => Event::Presence(presence),
            Err(malformed) => {
                if let Some(error) = malformed.error_reply() {
                    self.queue(&error)?;
                }
                Event::Malformed(malformed)
            }
        };
        self.tell(News::Event(event));
        Ok(())
    }

    /// The last stanza that has come is for the application.
    fn tell(&mut self, news: News) {
        let number = self.events.tell(news);
        self.desk.ledger.handled.becomes(number);
    }

    /// An element that is no stanza: one of stream management, or one that has no place here.
    fn managed(&mut self, element: &Stanza) -> Result<(), ConnectionError> {
        let (root, ledger) = (element.root(), &mut self.desk.ledger);
        if root.ns() != management::NS || !ledger.is_managed() {
            return Err(broken(StreamCondition::UnsupportedStanzaType));
        }
        let unreadable = |_| broken(StreamCondition::BadFormat);
        match root.name() {
            Ack::NAME => {
                let Ack { h } = Ack::read(root).map_err(unreadable)?;
                ledger.acked(h).map_err(|error| ConnectionError::Protocol(error.into()))?;
            }
            Request::NAME => ledger.handled.asked(Instant::now()),
            Enabled::NAME => ledger.enabled(Enabled::read(root).map_err(unreadable)?),
            Failed::NAME => ledger.refused(),
            _ => return Err(broken(StreamCondition::UnsupportedStanzaType)),
        }
        Ok(())
    }

    /// Whether a hook takes the stanza.
    fn is_taken(&self, stanza: &AnyStanza) -> bool {
        if self.hooks.is_empty() {
            return false;
        }
        let Some(commands) = self.commands_weak.upgrade() else { return false };
        let client = Client { commands, shared: std::sync::Arc::clone(&self.shared) };
        self.hooks.iter().any(|hook| {
            let flow = catch_unwind(AssertUnwindSafe(|| hook(stanza, &client)));
            flow.unwrap_or_else(|_| {
                tracing::error!("a hook panicked; the stanza goes on without it");
                Flow::Continue
            }) == Flow::Handled
        })
    }

    fn receive_iq(&mut self, session: &Session, iq: Iq) -> Result<(), ConnectionError> {
        if !iq.type_().is_request() {
            match self.desk.requests.answer(iq, &session.own) {
                Err(answer) if self.iq_events.is_some() => self.tell(News::Answer(answer)),
                Err(_) => tracing::debug!("an answer that nobody waits for"),
                Ok(()) => {}
            }
            return Ok(());
        }
        let target = session.entity.target(iq.to());
        let Some(iq) = self.receive_request(target, iq)? else { return Ok(()) };
        let cx = IqContext {
            from: iq.from().cloned(),
            to: iq.to().cloned(),
            target,
            stanza: iq.stanza().clone(),
            #[cfg(feature = "server")]
            origin: None,
        };
        let request = iq.into_stanza();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.iqs.dispatch(cx))).unwrap_or_else(|_| {
            tracing::error!("an iq handler panicked");
            IqOutcome::Ready(Err(StanzaError::internal_server_error()))
        });
        match outcome {
            IqOutcome::Ready(answer) => self.answer(&request, answer)?,
            IqOutcome::Wait(_) if self.handlers.len() >= HANDLERS => {
                self.answer(&request, Err(StanzaError::resource_constraint()))?;
            }
            IqOutcome::Wait(answer) => {
                let limit = self.shared.request_timeout;
                self.handlers.spawn(async move {
                    // A panic in it is that request's internal-server-error.
                    let answer = tokio::spawn(tokio::time::timeout(limit, answer)).await;
                    let answer = answer.ok().and_then(Result::ok);
                    (request, answer.unwrap_or_else(|| Err(StanzaError::internal_server_error())))
                });
            }
        }
        Ok(())
    }

    /// A request that the application wants as an event, and that no handler takes, goes there. Any other is given back.
    fn receive_request(&mut self, target: Target, iq: Iq) -> Result<Option<Iq>, ConnectionError> {
        let Some(events) = self.iq_events.as_ref().filter(|events| events.targets.contains(target)) else {
            return Ok(Some(iq));
        };
        if self.iqs.knows(iq.stanza().root(), target) {
            return Ok(Some(iq));
        }
        match events.request(iq) {
            Ok(request) => self.tell(News::Request(request)),
            Err(iq) => self.answer(&iq.into_stanza(), Err(StanzaError::resource_constraint()))?,
        }
        Ok(None)
    }

    /// Answers at once: a handler that took no time has sent nothing that the answer could overtake.
    fn answer(&mut self, request: &Stanza, answer: Answer) -> Result<(), ConnectionError> {
        let (bytes, then) = self.write_answer(request, answer);
        self.queue_bytes(bytes)?;
        then.into_iter().for_each(|then| then());
        Ok(())
    }

    /// Answers behind all that was sent before.
    fn answer_in_turn(&mut self, request: &Stanza, answer: Answer) -> Result<(), ConnectionError> {
        let (bytes, then) = self.write_answer(request, answer);
        self.desk.answer(bytes).map_err(|_| overburdened())?;
        then.into_iter().for_each(|then| then());
        Ok(())
    }

    fn write_answer(&self, request: &Stanza, answer: Answer) -> (Vec<u8>, Option<Then>) {
        let to = request.root().attr("from").map(|from| from.into_owned());
        let asked = request.root().attr("to").filter(|_| self.settings.entity() == Entity::Component);
        let names = Names { from: asked.as_deref(), to: to.as_deref() };
        let mut out = Writer::new(ns::CLIENT);
        let mut then = None;
        let fault = match answer {
            Ok(mut reply) => {
                then = reply.take_then();
                let written = catch_unwind(AssertUnwindSafe(|| answer_result(request, names, reply, &mut out)));
                written.err().map(|_| StanzaError::internal_server_error())
            }
            Err(error) => Some(error),
        };
        if let Some(error) = fault {
            out = Writer::new(ns::CLIENT);
            answer_error(request, names, &error, &mut out);
        }
        (out.finish(), then)
    }

    /// Queues a stanza of our own: an error, a ping.
    fn queue(&mut self, stanza: &impl WriteStanza) -> Result<(), ConnectionError> {
        let mut out = Writer::new(ns::CLIENT);
        stanza.write_to(&mut out);
        self.queue_bytes(out.finish())
    }

    fn queue_bytes(&mut self, bytes: Vec<u8>) -> Result<(), ConnectionError> {
        self.desk.ledger.push(Outgoing::new(bytes, Origin::Own)).map_err(|_| overburdened())
    }
}

fn overburdened() -> ConnectionError {
    let error = StreamError::new(StreamCondition::PolicyViolation);
    ConnectionError::Protocol(error.with_text("too much is asked for and not acknowledged"))
}

fn broken(condition: StreamCondition) -> ConnectionError {
    ConnectionError::Protocol(condition.into())
}
