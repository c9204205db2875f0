//! The task that owns the connection: it connects, runs the session, and connects again.

use super::{
    Backoff, Client, ConnectionError, Event,
    builder::{ClientRegistrar, Flow, Hook, Road},
    entity::Entity,
    events::EventSender,
    negotiate::{Memory, Ready, Settings, establish, farewell},
    requests::{Reply, Requests},
};
use crate::{
    extension::{Answer, IqContext, IqOutcome, IqTable, Names, answer_error, answer_result},
    jid::{FullJid, Jid},
    net::{Plan, Transport},
    sasl::Mechanism,
    stanza::{AnyStanza, Iq, StanzaError, WriteStanza},
    stream::{StreamCondition, StreamError},
    xml::{self, Scanner, Stanza, Writer, ns},
};
use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::Instant,
};

/// What the handles ask of the task.
#[derive(Debug)]
pub(super) enum Command {
    /// Send these bytes, one stanza.
    Send(Vec<u8>),
    /// Send a request and hand its answer over.
    Request { id: String, from: Option<Jid>, to: Option<Jid>, bytes: Vec<u8>, reply: Reply },
    /// Close the stream and end; the answer is whether the server closed it too.
    Close(oneshot::Sender<bool>),
}

/// Requests waiting for answers, and iq handlers at work, at most.
const REQUESTS: usize = 1024;
const HANDLERS: usize = 64;
/// Redirections by see-other-host in a row (RFC 6120 §4.9.3.19 asks for a limit).
const REDIRECTS: u32 = 4;
/// A session that lasts so long was a good one: the waits before connecting again start from the first.
const STABLE: Duration = Duration::from_secs(60);
/// Bytes of our own (answers, mostly) that may wait for the server to read; beyond, nothing is read from it either.
const BACKLOG: usize = 1 << 20;
/// Time a closing stream waits for the server's end tag.
const CLOSING: Duration = Duration::from_secs(10);

pub(super) struct Task {
    settings: Settings,
    road: Road,
    commands: mpsc::Receiver<Command>,
    events: EventSender,
    online: watch::Sender<Option<FullJid>>,
    /// For hooks; weak, so that the task ends when the last handle is dropped.
    commands_weak: mpsc::WeakSender<Command>,
    shared: std::sync::Arc<super::Shared>,
    iqs: IqTable,
    hooks: Vec<Hook>,
    memory: Memory,
    backoff: Option<Backoff>,
    keepalive: Duration,
    queue: usize,
    /// Taken over and not yet begun to be written.
    unsent: Unsent,
    requests: Requests,
}

/// A stanza of the application's that has to be written.
struct Queued {
    bytes: Vec<u8>,
    /// The id of a request: it is only written while somebody waits for the answer.
    request: Option<String>,
}

type Unsent = VecDeque<Queued>;

/// How a session ended.
enum End {
    /// The application wants no more; whoever waits for it is to be told.
    Closed { clean: bool, done: Option<oneshot::Sender<bool>> },
    /// It was lost.
    Lost(ConnectionError),
}

impl Task {
    pub(super) fn new(
        settings: Settings,
        road: Road,
        commands: mpsc::Receiver<Command>,
        events: EventSender,
        online: watch::Sender<Option<FullJid>>,
        client: &Client,
        registrar: ClientRegistrar,
    ) -> Task {
        Task {
            settings,
            road,
            commands,
            events,
            online,
            commands_weak: client.commands.downgrade(),
            shared: std::sync::Arc::clone(&client.shared),
            iqs: registrar.registrar.iqs,
            hooks: registrar.hooks,
            memory: Memory::default(),
            backoff: None,
            keepalive: Duration::from_secs(120),
            queue: 256,
            unsent: Unsent::default(),
            requests: Requests::new(REQUESTS),
        }
    }

    pub(super) fn timing(
        mut self,
        backoff: Option<Backoff>,
        keepalive: Duration,
        queue: usize,
        floor: Option<Mechanism>,
    ) -> Task {
        self.backoff = backoff;
        self.keepalive = keepalive;
        self.queue = queue;
        self.memory.floor = floor;
        self
    }

    pub(super) async fn run(mut self) {
        let mut attempt = 0;
        let mut redirects = 0;
        let mut detour = None;
        loop {
            let ready = {
                let connecting = establish(&self.settings, &mut self.road, detour.take(), &self.memory);
                tokio::pin!(connecting);
                match while_offline(&mut self.commands, &mut self.unsent, &mut self.requests, self.queue, connecting)
                    .await
                {
                    Ok(ready) => ready,
                    Err(done) => return finish(done, false),
                }
            };
            let error = match ready {
                Ok(ready) => {
                    let began = Instant::now();
                    self.memory.keys = ready.established.keys.clone();
                    self.memory.floor = self.memory.floor.max(ready.established.floor);
                    let (jid, mechanism) = (ready.established.jid.clone(), ready.established.mechanism);
                    self.online.send_replace(Some(jid.clone()));
                    let tls = ready.transport.tls_summary();
                    self.events.send(Event::Online {
                        jid,
                        mechanism,
                        floor: self.memory.floor,
                        keys: self.memory.keys.clone(),
                        tls,
                    });
                    let end = self.session(ready).await;
                    self.online.send_replace(None);
                    self.requests.fail_all();
                    // Their callers have been told.
                    self.unsent.retain(|queued| queued.request.is_none());
                    if began.elapsed() >= STABLE {
                        attempt = 0;
                    }
                    match end {
                        End::Closed { clean, done } => return finish(done, clean),
                        End::Lost(error) => error,
                    }
                }
                Err(error) => error,
            };
            // A redirection holds for one attempt: where it leads to nothing, the way is the domain's own again.
            detour = redirect(&error).filter(|_| redirects < REDIRECTS && matches!(self.road, Road::Network { .. }));
            if detour.is_some() {
                redirects += 1;
                continue;
            }
            redirects = 0;
            let retry = self
                .backoff
                .filter(|_| !self.settings.is_final(&error))
                .map(|backoff| backoff.delay(attempt, u32::from_le_bytes(crate::random::bytes())));
            attempt = attempt.saturating_add(1);
            tracing::debug!(%error, ?retry, "no session");
            self.events.send(Event::Offline { error, retry });
            let Some(retry) = retry else { return };
            let waiting = tokio::time::sleep(retry);
            tokio::pin!(waiting);
            let waited =
                while_offline(&mut self.commands, &mut self.unsent, &mut self.requests, self.queue, waiting).await;
            if let Err(done) = waited {
                return finish(done, false);
            }
        }
    }

    /// Runs a session until it ends.
    async fn session(&mut self, ready: Ready) -> End {
        let Ready { transport, scanner, buffer, unread, established } = ready;
        let (reader, writer) = tokio::io::split(transport);
        let mut session = Session {
            own: established.jid,
            entity: self.settings.entity(),
            scanner,
            writer,
            writing: Vec::new(),
            written: 0,
            stanzas: Vec::new(),
        };
        let mut handlers = JoinSet::new();
        let mut reader = Reader { reader, buffer, unread };
        let end = self.exchange(&mut session, &mut reader, &mut handlers).await;
        session.recover(&mut self.unsent);
        let mut transport = reader.reader.unsplit(session.writer);
        if session.written > 0 {
            // A stanza was cut short: nothing that follows would be understood.
            return end;
        }
        match &end {
            End::Closed { .. } => {}
            End::Lost(ConnectionError::Protocol(error)) => farewell(&mut transport, Some(error)).await,
            End::Lost(_) => farewell(&mut transport, None).await,
        }
        end
    }

    async fn exchange(&mut self, session: &mut Session, reader: &mut Reader, handlers: &mut Handlers) -> End {
        let mut heard = Instant::now();
        // When a sign of life is asked for; then, when it must have come.
        let mut asked = false;
        loop {
            match self.scan(session, reader, handlers) {
                Ok(false) => {}
                Ok(true) => return End::Lost(ConnectionError::Closed),
                Err(error) => return End::Lost(error),
            }
            session.fill(&mut self.unsent, &self.requests);
            let fullness = self.events.fullness();
            // A full queue stops the reading; for the sake of a waiting request it may be four times as full.
            let room = fullness == 0 || (fullness < 4 && self.requests.any());
            let reading = room && session.backlog() < BACKLOG;
            let deadline = heard + if asked { self.keepalive * 2 } else { self.keepalive };
            tokio::select! {
                read = reader.read(), if reading => match read {
                    Ok(()) => {
                        heard = Instant::now();
                        asked = false;
                    }
                    Err(error) => return End::Lost(error.into()),
                },
                () = self.events.taken(), if !room => {}
                wrote = session.write(), if session.has_output() => if let Err(error) = wrote {
                    return End::Lost(error.into());
                },
                command = self.commands.recv(), if self.unsent.len() < self.queue => match command {
                    Some(Command::Send(bytes)) => self.unsent.push_back(Queued { bytes, request: None }),
                    Some(Command::Request { id, from, to, bytes, reply }) => {
                        if self.requests.insert(&id, from, to, reply) {
                            self.unsent.push_back(Queued { bytes, request: Some(id) });
                        }
                    }
                    Some(Command::Close(done)) => return self.close(session, reader, handlers, Some(done)).await,
                    None => return self.close(session, reader, handlers, None).await,
                },
                Some(answer) = handlers.join_next() => match answer {
                    Ok((request, answer)) => session.answer(&request, answer),
                    Err(error) => tracing::error!(%error, "an iq handler panicked"),
                },
                () = tokio::time::sleep_until(deadline) => {
                    // While the application keeps us from reading, silence proves nothing.
                    if !room {
                        heard = Instant::now();
                    } else if asked {
                        return End::Lost(ConnectionError::TimedOut);
                    } else {
                        asked = true;
                        session.queue(&session.entity.ping(&session.own));
                    }
                }
            }
        }
    }

    /// Closes the stream: what was taken over is written, then the end tag, then the server's is awaited
    /// (RFC 6120 §4.4). What the server still sends is handled meanwhile.
    async fn close(
        &mut self,
        session: &mut Session,
        reader: &mut Reader,
        handlers: &mut Handlers,
        done: Option<oneshot::Sender<bool>>,
    ) -> End {
        let closing = async {
            while !self.unsent.is_empty() || session.has_output() {
                session.fill(&mut self.unsent, &self.requests);
                session.write().await?;
            }
            session.writer.write_all(crate::stream::STREAM_END.as_bytes()).await?;
            session.writer.flush().await?;
            while !self.scan(session, reader, handlers)? {
                reader.read().await?;
            }
            // The server may have gone already: it has nothing more to hear.
            let _ = session.writer.shutdown().await;
            Ok::<(), ConnectionError>(())
        };
        let clean = matches!(tokio::time::timeout(CLOSING, closing).await, Ok(Ok(())));
        if !clean {
            tracing::debug!("the stream was not closed in good order");
        }
        End::Closed { clean, done }
    }

    /// Handles what has been read; whether the server has ended the stream.
    fn scan(
        &mut self,
        session: &mut Session,
        reader: &mut Reader,
        handlers: &mut Handlers,
    ) -> Result<bool, ConnectionError> {
        loop {
            let mut rest = reader.buffer.get(reader.unread.clone()).unwrap_or_default();
            let scanned = session.scanner.scan(&mut rest);
            reader.unread.start = reader.unread.end - rest.len();
            match scanned {
                Ok(None) => return Ok(false),
                Ok(Some(xml::Event::Close)) => return Ok(true),
                Ok(Some(xml::Event::Stanza(stanza))) => self.receive(session, handlers, stanza)?,
                Ok(Some(xml::Event::Open(_))) => {
                    return Err(ConnectionError::Protocol(StreamCondition::BadFormat.into()));
                }
                Err(error) => return Err(ConnectionError::Protocol(error.into())),
            }
        }
    }

    fn receive(
        &mut self,
        session: &mut Session,
        handlers: &mut Handlers,
        stanza: Stanza,
    ) -> Result<(), ConnectionError> {
        if StreamError::matches(stanza.root()) {
            return Err(ConnectionError::Stream(StreamError::read(stanza.root())));
        }
        match AnyStanza::from_stanza(session.entity.admit(stanza)) {
            Ok(AnyStanza::Iq(iq)) => self.receive_iq(session, handlers, iq),
            Ok(stanza) => {
                if self.is_taken(&stanza) {
                    return Ok(());
                }
                match stanza {
                    AnyStanza::Message(message) => self.events.send(Event::Message(message)),
                    AnyStanza::Presence(presence) => self.events.send(Event::Presence(presence)),
                    AnyStanza::Iq(_) => {}
                }
            }
            Err(malformed) => {
                if crate::stanza::StanzaKind::of(&malformed.stanza).is_none() {
                    return Err(ConnectionError::Protocol(StreamCondition::UnsupportedStanzaType.into()));
                }
                if let Some(error) = malformed.error_reply() {
                    session.queue(&error);
                }
                self.events.send(Event::Malformed(malformed));
            }
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

    fn receive_iq(&mut self, session: &mut Session, handlers: &mut Handlers, iq: Iq) {
        if !iq.type_().is_request() {
            if self.requests.answer(iq, &session.own).is_err() {
                tracing::debug!("an answer that nobody waits for");
            }
            return;
        }
        let cx = IqContext {
            from: iq.from().cloned(),
            to: iq.to().cloned(),
            target: session.entity.target(iq.to()),
            stanza: iq.stanza().clone(),
        };
        let request = iq.into_stanza();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.iqs.dispatch(cx))).unwrap_or_else(|_| {
            tracing::error!("an iq handler panicked");
            IqOutcome::Ready(Err(StanzaError::internal_server_error()))
        });
        match outcome {
            IqOutcome::Ready(answer) => session.answer(&request, answer),
            IqOutcome::Wait(_) if handlers.len() >= HANDLERS => {
                session.answer(&request, Err(StanzaError::resource_constraint()));
            }
            IqOutcome::Wait(answer) => {
                let limit = self.shared.request_timeout;
                handlers.spawn(async move {
                    // A panic in it is that request's internal-server-error.
                    let answer = tokio::spawn(tokio::time::timeout(limit, answer)).await;
                    let answer = answer.ok().and_then(Result::ok);
                    (request, answer.unwrap_or_else(|| Err(StanzaError::internal_server_error())))
                });
            }
        }
    }
}

/// Waits for `future` while taking commands over; ends early when the application wants no more.
async fn while_offline<T>(
    commands: &mut mpsc::Receiver<Command>,
    unsent: &mut Unsent,
    requests: &mut Requests,
    queue: usize,
    mut future: std::pin::Pin<&mut impl Future<Output = T>>,
) -> Result<T, Option<oneshot::Sender<bool>>> {
    loop {
        tokio::select! {
            result = &mut future => return Ok(result),
            command = commands.recv(), if unsent.len() < queue => match command {
                Some(Command::Send(bytes)) => unsent.push_back(Queued { bytes, request: None }),
                // Asked while there is no session, it is asked as soon as there is one.
                Some(Command::Request { id, from, to, bytes, reply }) => {
                    if requests.insert(&id, from, to, reply) {
                        unsent.push_back(Queued { bytes, request: Some(id) });
                    }
                }
                Some(Command::Close(done)) => return Err(Some(done)),
                None => return Err(None),
            },
        }
    }
}

fn finish(done: Option<oneshot::Sender<bool>>, clean: bool) {
    if let Some(done) = done {
        let _ = done.send(clean);
    }
}

/// Where see-other-host sends us. The domain that must prove itself stays the same, and so does TLS.
fn redirect(error: &ConnectionError) -> Option<Plan> {
    let error = match error {
        ConnectionError::Stream(error) => error,
        ConnectionError::Negotiation(crate::stream::NegotiationError::Stream(error)) => error,
        _ => return None,
    };
    let other = error.other_host()?;
    Some(Plan::single(&other.host, other.port.unwrap_or(5222), false))
}

struct Reader {
    reader: ReadHalf<Transport>,
    buffer: Box<[u8]>,
    unread: std::ops::Range<usize>,
}

impl Reader {
    /// Cancel-safe, as reading from a socket is.
    async fn read(&mut self) -> io::Result<()> {
        let count = self.reader.read(&mut self.buffer).await?;
        self.unread = 0..count;
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

struct Session {
    own: FullJid,
    entity: Entity,
    scanner: Scanner,
    writer: WriteHalf<Transport>,
    /// Gathered for one write. What of it has not begun to be written when the connection is lost goes back.
    writing: Vec<u8>,
    written: usize,
    /// Where in `writing` the application's messages and presence lie.
    stanzas: Vec<std::ops::Range<usize>>,
}

/// Handlers at work; those of a lost session are dropped with it.
type Handlers = JoinSet<(Stanza, Answer)>;

/// So much is gathered into one write.
const GATHER: usize = 16 * 1024;

impl Session {
    fn has_output(&self) -> bool {
        !self.writing.is_empty()
    }

    /// Bytes that wait for the server to read.
    fn backlog(&self) -> usize {
        self.writing.len() - self.written
    }

    /// Gathers stanzas for the next write.
    fn fill(&mut self, unsent: &mut Unsent, requests: &Requests) {
        if self.written == 0 {
            while self.writing.len() < GATHER
                && let Some(queued) = unsent.pop_front()
            {
                let start = self.writing.len();
                match queued.request {
                    Some(id) if !requests.awaits(&id) => continue,
                    Some(_) => self.writing.extend_from_slice(&queued.bytes),
                    None => {
                        self.writing.extend_from_slice(&queued.bytes);
                        self.stanzas.push(start..self.writing.len());
                    }
                }
            }
        }
    }

    /// Puts back what the server has no byte of. Of a stanza that has been begun it is not known whether it arrived.
    fn recover(&mut self, unsent: &mut Unsent) {
        for range in self.stanzas.drain(..).rev().filter(|range| range.start >= self.written) {
            if let Some(bytes) = self.writing.get(range) {
                unsent.push_front(Queued { bytes: bytes.to_vec(), request: None });
            }
        }
    }

    /// Queues something of our own: an answer, a ping.
    fn queue(&mut self, stanza: &impl WriteStanza) {
        let mut out = Writer::with_buffer(ns::CLIENT, std::mem::take(&mut self.writing));
        stanza.write_to(&mut out);
        self.writing = out.finish();
    }

    fn answer(&mut self, request: &Stanza, answer: Answer) {
        let to = request.root().attr("from").map(|from| from.into_owned());
        let asked = request.root().attr("to").filter(|_| self.entity == Entity::Component);
        let names = Names { from: asked.as_deref(), to: to.as_deref() };
        let mut out = Writer::new(ns::CLIENT);
        let fault = match answer {
            Ok(reply) => {
                let written = catch_unwind(AssertUnwindSafe(|| answer_result(request, names, reply, &mut out)));
                written.err().map(|_| StanzaError::internal_server_error())
            }
            Err(error) => Some(error),
        };
        if let Some(error) = fault {
            out = Writer::new(ns::CLIENT);
            answer_error(request, names, &error, &mut out);
        }
        self.writing.extend_from_slice(&out.finish());
    }

    /// Writes what there is. Cancel-safe: what was written is noted.
    async fn write(&mut self) -> io::Result<()> {
        while let Some(rest) = self.writing.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.writer.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.written += count,
            }
        }
        self.writer.flush().await?;
        self.writing.clear();
        self.stanzas.clear();
        self.written = 0;
        Ok(())
    }
}
