//! The driver of a stream between servers, in either role: one task, from the first byte to the last.

use super::{
    super::{
        Observed, Server, StreamCondition, StreamError, listener::Place, route::Envelope, router::Pending,
        throttle::Bucket, unsent::Unsent,
    },
    evidence::Evidence,
    io::{Io, Progress},
    open,
    outlet::Outlet,
};
use crate::{
    jid::Jid,
    net::{Service, Target, TlsError, Transport},
    stanza::{StanzaError, StanzaKind},
    stream::s2s::{Answer, Incoming, Outgoing, Pair, Proof, Refusal, S2sTask, Verification},
    xml::{Event, Scanner, Stanza, StreamHeader, ns},
};
use std::{
    collections::VecDeque,
    future::{pending, poll_fn},
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

/// Bytes of answers to dialback elements that may wait beside what an outlet held, before no more is read.
const ANSWERS: usize = 64 << 10;

/// A stream that we opened, as others see it.
#[derive(Debug)]
pub(super) struct Stream {
    /// The domains in its header.
    pub(super) pair: Pair,
    /// Whether its own pair is authorised from the start, or it was opened to verify keys.
    pub(super) wanted: bool,
    pub(super) commands: mpsc::Sender<Command>,
    /// Where it leads.
    pub(super) target: OnceLock<Target>,
    /// Why it could not be opened.
    pub(super) failure: OnceLock<StanzaError>,
    takes_targets: AtomicBool,
}

/// What can be asked of a stream.
#[derive(Debug)]
pub(super) enum Command {
    /// Have this pair authorised.
    Request(Pair, oneshot::Sender<Result<(), StanzaError>>),
    /// Verify a key.
    Verify(Verification, oneshot::Sender<Answer>),
}

impl Stream {
    pub(super) fn new(pair: Pair, wanted: bool, commands: mpsc::Sender<Command>) -> Stream {
        Stream {
            pair,
            wanted,
            commands,
            target: OnceLock::new(),
            failure: OnceLock::new(),
            takes_targets: AtomicBool::new(false),
        }
    }

    pub(super) fn takes_targets(&self) -> bool {
        self.takes_targets.load(Ordering::Relaxed)
    }
}

/// What an authoritative server said of what.
type Answered = (Verification, Answer);

/// Either end.
enum Machine {
    Incoming(Incoming),
    Outgoing(Outgoing),
}

impl Machine {
    fn event(&mut self, event: Event) -> Vec<S2sTask> {
        match self {
            Machine::Incoming(machine) => machine.event(event),
            Machine::Outgoing(machine) => machine.event(event),
        }
    }

    fn secured(&mut self, judge: impl Fn(&str) -> bool + Send + 'static) -> Vec<S2sTask> {
        match self {
            Machine::Incoming(machine) => machine.secured(judge),
            Machine::Outgoing(machine) => machine.secured(judge),
        }
    }

    fn verified(&mut self, verification: &Verification, answer: Answer) -> Vec<S2sTask> {
        match self {
            Machine::Incoming(machine) => machine.verified(verification, answer),
            Machine::Outgoing(machine) => machine.verified(verification, answer),
        }
    }

    fn request(&mut self, pair: Pair) -> Vec<S2sTask> {
        match self {
            Machine::Incoming(machine) => machine.request(pair),
            Machine::Outgoing(machine) => machine.request(pair),
        }
    }

    fn verify(&mut self, verification: Verification) -> Vec<S2sTask> {
        match self {
            // A key is never verified on the stream that it came over (XEP-0288 §2.2).
            Machine::Incoming(_) => Vec::new(),
            Machine::Outgoing(machine) => machine.verify(verification),
        }
    }

    fn end(&mut self, error: Option<&StreamError>) -> Vec<S2sTask> {
        match self {
            Machine::Incoming(machine) => machine.end(error),
            Machine::Outgoing(machine) => machine.end(error),
        }
    }

    fn remote(&self) -> &str {
        match self {
            Machine::Incoming(machine) => machine.remote().unwrap_or("?"),
            Machine::Outgoing(machine) => &machine.pair().remote,
        }
    }
}

/// A stream and its socket.
pub(super) struct Link {
    server: Server,
    machine: Machine,
    scanner: Scanner,
    io: Io,
    outlet: Arc<Outlet>,
    /// What is known of the peer's certificate.
    evidence: Evidence,
    /// Ours, if we opened it.
    stream: Option<Arc<Stream>>,
    commands: mpsc::Receiver<Command>,
    /// What came before dialback elements could be sent.
    held: Vec<Command>,
    negotiated: bool,
    requests: Vec<(Pair, oneshot::Sender<Result<(), StanzaError>>)>,
    queries: Vec<(Verification, oneshot::Sender<Answer>)>,
    answers: (mpsc::Sender<Answered>, mpsc::Receiver<Answered>),
    /// A place among the newcomers of its address, until a domain is authenticated.
    place: Option<Place>,
    /// The stanza that is being routed and has to wait.
    pending: Option<Box<Pending>>,
    handlers: Arc<Semaphore>,
    /// Until something is authenticated, or negotiated where we are the initiator.
    deadline: Option<Instant>,
    /// Set once our end tag is queued: the time that is left.
    closing: Option<Instant>,
    /// What the peer sends is of no interest any more.
    deaf: bool,
    progress: Instant,
    stanza: Instant,
    wrote: Instant,
    reason: Option<StreamError>,
}

impl Link {
    fn new(server: Server, machine: Machine, transport: Transport, commands: mpsc::Receiver<Command>) -> Option<Link> {
        let limits = server.federator()?.limits.clone();
        let now = Instant::now();
        Some(Link {
            machine,
            scanner: Scanner::new(limits.unauthenticated),
            io: Io::new(
                transport,
                Bucket::new(limits.bytes_per_second, limits.burst_bytes),
                limits.outbox_bytes.saturating_add(ANSWERS),
            ),
            outlet: Arc::new(Outlet::new(limits.outbox_bytes)),
            evidence: Evidence::default(),
            stream: None,
            commands,
            held: Vec::new(),
            negotiated: false,
            requests: Vec::new(),
            queries: Vec::new(),
            answers: mpsc::channel(limits.streams.pending.max(1)),
            place: None,
            pending: None,
            handlers: Arc::new(Semaphore::new(limits.handlers)),
            deadline: None,
            closing: None,
            deaf: false,
            progress: now,
            stanza: now,
            wrote: now,
            reason: None,
            server,
        })
    }

    /// A connection from another server.
    pub(super) async fn incoming(server: Server, transport: Transport, direct: bool, place: Option<Place>) {
        let Some(federator) = server.federator() else { return };
        let mut config = federator.s2s.clone();
        // Nothing goes to a domain over a stream that the DNS was not asked about.
        config.bidi &= !federator.dane;
        let (limits, machine) = (&federator.limits, Incoming::new(config, crate::random::token));
        // Nobody sends commands to what others opened.
        let (_, commands) = mpsc::channel(1);
        let deadline = Instant::now() + limits.phase.saturating_mul(4);
        let Some(mut link) = Link::new(server.clone(), Machine::Incoming(machine), transport, commands) else { return };
        link.place = place;
        link.deadline = Some(deadline);
        let first = if direct { vec![S2sTask::StartTls] } else { Vec::new() };
        link.run(first, direct).await;
    }

    /// A connection to another server.
    pub(super) async fn outgoing(
        server: Server,
        transport: Transport,
        stream: Arc<Stream>,
        commands: mpsc::Receiver<Command>,
    ) {
        let Some(federator) = server.federator() else { return };
        let mut machine =
            Outgoing::new(federator.s2s.clone(), stream.pair.clone(), server.inner().tls.is_some(), stream.wanted);
        let deadline = Instant::now() + federator.limits.phase;
        let direct = transport.is_secure();
        let first = match direct {
            true => vec![S2sTask::StartTls],
            false => machine.start(),
        };
        let Some(mut link) = Link::new(server.clone(), Machine::Outgoing(machine), transport, commands) else { return };
        link.deadline = Some(deadline);
        link.stream = Some(stream);
        link.run(first, direct).await;
    }

    async fn run(mut self, first: Vec<S2sTask>, direct: bool) {
        let ended = match self.perform(first, direct).await {
            Ok(()) => self.drive().await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(remote = self.machine.remote(), %error, "a stream between servers broke");
        }
        self.finish();
    }

    async fn drive(&mut self) -> io::Result<()> {
        let stop = self.server.inner().stop.clone();
        loop {
            self.pump().await?;
            if self.closing.is_some() && self.io.is_clear() {
                let left = self.closing.unwrap_or_else(Instant::now);
                let _ = tokio::time::timeout_at(left, self.io.linger()).await;
                return Ok(());
            }
            let timer = self.timer();
            let open = self.closing.is_none();
            let hear = self.pending.is_none() && !self.deaf;
            tokio::select! {
                progress = self.io.step(hear) => match progress? {
                    Progress::Read => {}
                    Progress::Wrote => (self.progress, self.wrote) = (Instant::now(), Instant::now()),
                    Progress::End => return Err(io::ErrorKind::UnexpectedEof.into()),
                },
                () = poll_fn(|cx| match &mut self.pending {
                    Some(pending) => pending.poll(cx, &self.server),
                    None => Poll::Pending,
                }) => self.pending = None,
                () = self.outlet.filled(), if open && self.io.is_empty() => {
                    (self.io.output, self.io.written) = (self.outlet.take(), 0);
                    (self.stanza, self.progress) = (Instant::now(), Instant::now());
                }
                Some(command) = self.commands.recv(), if open => self.command(command).await?,
                Some((verification, answer)) = self.answers.1.recv(), if open => {
                    let tasks = self.machine.verified(&verification, answer);
                    self.perform(tasks, false).await?;
                }
                () = stop.cancelled(), if open => {
                    self.end(Some(StreamError::new(StreamCondition::SystemShutdown))).await?;
                }
                () = sleep_until(timer) => self.tick().await?,
            }
        }
    }

    /// Scans what was read, until a stanza has to wait.
    async fn pump(&mut self) -> io::Result<()> {
        while self.pending.is_none() && !self.deaf {
            let mut rest = self.io.input();
            let scanned = self.scanner.scan(&mut rest);
            let left = rest.len();
            self.io.consume(left);
            let tasks = match scanned {
                Ok(None) => return Ok(()),
                Ok(Some(event)) => {
                    if let Event::Open(header) = &event {
                        self.weigh(header).await;
                    }
                    self.machine.event(event)
                }
                Err(error) => self.machine.end(Some(&error.into())),
            };
            self.perform(tasks, false).await?;
        }
        if self.deaf {
            self.io.consume(0);
        }
        Ok(())
    }

    async fn perform(&mut self, tasks: Vec<S2sTask>, direct: bool) -> io::Result<()> {
        let mut tasks = VecDeque::from(tasks);
        if tasks.iter().any(|task| matches!(task, S2sTask::Close(None))) {
            // In good order: what is queued goes out before the end tag.
            let last = self.outlet.shut();
            self.io.output.extend_from_slice(&last);
        }
        while let Some(task) = tasks.pop_front() {
            match task {
                S2sTask::Send(bytes) => {
                    if self.io.is_empty() {
                        self.progress = Instant::now();
                    }
                    self.io.output.extend_from_slice(&bytes);
                }
                S2sTask::Restart => self.scanner.restart(),
                S2sTask::StartTls => {
                    let more = self.handshake(direct).await?;
                    more.into_iter().rev().for_each(|task| tasks.push_front(task));
                }
                S2sTask::Verify(verification) => self.verify(verification),
                S2sTask::Admitted(pair, proof) => self.admitted(&pair, proof),
                S2sTask::Authorized(pair, proof) => self.authorized(&pair, proof),
                S2sTask::Refused(pair, refusal) => self.refused(&pair, &refusal),
                S2sTask::Negotiated => self.negotiated(&mut tasks),
                S2sTask::Answered(verification, answer) => {
                    if let Some(index) = self.queries.iter().position(|(one, _)| *one == verification) {
                        let _ = self.queries.swap_remove(index).1.send(answer);
                    }
                }
                S2sTask::Stanza(arrived) => {
                    self.stanza = Instant::now();
                    let is_iq = arrived.stanza.root().name() == "iq";
                    self.pending = self.server.receive_from_server(arrived);
                    if is_iq {
                        self.set_aside();
                    }
                }
                S2sTask::Close(reason) => {
                    self.deaf = true;
                    let limits = self.server.federator().map(|federator| federator.limits.closing).unwrap_or_default();
                    self.closing = Some(Instant::now() + limits);
                    self.reason = reason;
                    self.retire();
                }
            }
        }
        Ok(())
    }

    /// A handler that takes time does not hold up the stream: its answer may depend on what comes over it.
    fn set_aside(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        match Arc::clone(&self.handlers).try_acquire_owned() {
            Ok(permit) => {
                self.server.inner().tasks.spawn(aside(self.server.clone(), pending, permit));
            }
            Err(_) => self.pending = Some(pending),
        }
    }

    /// Looks for what proves that a peer is who it says it is, before that is judged.
    async fn weigh(&mut self, header: &StreamHeader) {
        let (Machine::Incoming(_), Some(claimed), Some(transport)) = (&self.machine, &header.from, self.io.transport())
        else {
            return;
        };
        if let Some(federator) = self.server.federator()
            && transport.is_secure()
        {
            let gathering = federator.gather_incoming(&self.evidence, transport, claimed);
            self.server.inner().stop.run_until_cancelled(gathering).await;
        }
    }

    /// What follows from the certificate that the peer showed.
    async fn secured(&mut self, transport: Transport) -> io::Result<Vec<S2sTask>> {
        self.evidence = Evidence::default();
        if let (Some(federator), Some(stream)) = (self.server.federator(), &self.stream) {
            let gathering = federator.gather_outgoing(&self.evidence, &transport, &stream.pair, stream.target.get());
            let gathered = self.server.inner().stop.run_until_cancelled(gathering).await;
            if let Some(Err(error)) = gathered {
                let reason = error.to_string();
                let _ = stream.failure.set(error);
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
            }
        }
        let tasks = self.machine.secured(judge(&self.server, &transport, self.evidence.clone()));
        self.io.resume(transport);
        Ok(tasks)
    }

    async fn handshake(&mut self, direct: bool) -> io::Result<Vec<S2sTask>> {
        let Some(federator) = self.server.federator() else { return Err(io::ErrorKind::NotConnected.into()) };
        let phase = federator.limits.phase;
        let transport = timeout(phase, self.io.surrender()).await.map_err(|_| io::ErrorKind::TimedOut)??;
        if transport.is_secure() {
            // Direct TLS of our own making: the handshake is part of connecting.
            return self.secured(transport).await;
        }
        let own = self.server.inner().tls.as_ref();
        let to = match &self.machine {
            Machine::Incoming(_) => None,
            Machine::Outgoing(machine) => Some(machine.pair().clone()),
        };
        let secured = timeout(phase, async {
            match (to, own) {
                (Some(pair), own) => {
                    let tls = federator.shown_as(own, &pair.local);
                    transport.upgrade_client(&tls, &pair.remote).await
                }
                (None, Some(own)) if direct => transport.direct_server(own, Service::Server).await,
                (None, Some(own)) => transport.upgrade_peer(own).await,
                (None, None) => Err(TlsError::Configuration("there is no certificate".to_owned())),
            }
        });
        let transport = secured.await.map_err(|_| io::ErrorKind::TimedOut)?.map_err(io::Error::other)?;
        self.secured(transport).await
    }

    /// Has the authoritative server asked, in a task of its own.
    fn verify(&mut self, verification: Verification) {
        let (server, answers) = (self.server.clone(), self.answers.0.clone());
        let not = self.stream.clone();
        let stop = self.server.inner().stop.clone();
        self.server.inner().tasks.spawn(async move {
            let asked = open::authenticate(&server, &verification, not.as_ref());
            if let Some(answer) = stop.run_until_cancelled(asked).await {
                let _ = answers.send((verification, answer)).await;
            }
        });
    }

    fn admitted(&mut self, pair: &Pair, proof: Proof) {
        self.authenticated();
        tracing::info!(
            remote = pair.remote,
            local = pair.local,
            proof = proof.name(),
            tls = self.io.transport().and_then(Transport::tls_summary),
            "a remote domain may send to us"
        );
        let stats = &self.server.inner().stats;
        stats.admitted.fetch_add(1, Ordering::Relaxed);
        stats.observe(|| Observed::RemoteAdmitted(pair.clone(), proof));
    }

    fn authorized(&mut self, pair: &Pair, proof: Proof) {
        self.authenticated();
        let Some(federator) = self.server.federator() else { return };
        let left = federator.table.ready(pair, &self.outlet);
        let error = StanzaError::remote_server_timeout().with_text("too much is waiting for that server");
        left.iter().for_each(|envelope| self.server.bounce_remote(envelope, &error));
        self.settle(pair, &Ok(()));
        tracing::info!(
            remote = pair.remote,
            local = pair.local,
            proof = proof.name(),
            tls = self.io.transport().and_then(Transport::tls_summary),
            "we may send to a remote domain"
        );
        let stats = &self.server.inner().stats;
        stats.authorized.fetch_add(1, Ordering::Relaxed);
        stats.observe(|| Observed::RemoteAuthorized(pair.clone(), proof));
    }

    fn authenticated(&mut self) {
        self.place = None;
        self.deadline = None;
        if let Some(federator) = self.server.federator() {
            self.scanner.set_limits(federator.limits.authenticated);
        }
    }

    fn refused(&mut self, pair: &Pair, refusal: &Refusal) {
        tracing::info!(remote = pair.remote, local = pair.local, %refusal, "a remote domain refused us, or we it");
        let error = open::refusal_error(refusal);
        // Whoever shares this stream hears why, rather than that it is gone.
        if let Some(stream) = self.stream.as_ref().filter(|stream| stream.pair == *pair && !self.negotiated) {
            let _ = stream.failure.set(error.clone());
        }
        self.settle(pair, &Err(error));
    }

    fn settle(&mut self, pair: &Pair, outcome: &Result<(), StanzaError>) {
        let mut index = 0;
        while let Some((one, _)) = self.requests.get(index) {
            if one == pair {
                let _ = self.requests.swap_remove(index).1.send(outcome.clone());
            } else {
                index += 1;
            }
        }
    }

    fn negotiated(&mut self, tasks: &mut VecDeque<S2sTask>) {
        self.negotiated = true;
        self.deadline = None;
        if let (Some(stream), Machine::Outgoing(machine)) = (&self.stream, &self.machine) {
            stream.takes_targets.store(machine.takes_targets(), Ordering::Relaxed);
        }
        if let (Some(federator), Some(stream)) = (self.server.federator(), &self.stream) {
            federator.table.reached(&stream.pair.remote);
        }
        // After what the negotiation itself has to say.
        for command in std::mem::take(&mut self.held) {
            tasks.extend(self.obey(command));
        }
    }

    async fn command(&mut self, command: Command) -> io::Result<()> {
        if !self.negotiated {
            self.held.push(command);
            return Ok(());
        }
        let tasks = self.obey(command);
        self.perform(tasks, false).await
    }

    fn obey(&mut self, command: Command) -> Vec<S2sTask> {
        match command {
            Command::Request(pair, waiting) => {
                self.requests.push((pair.clone(), waiting));
                self.machine.request(pair)
            }
            Command::Verify(verification, waiting) => {
                self.stanza = Instant::now();
                self.queries.push((verification.clone(), waiting));
                self.machine.verify(verification)
            }
        }
    }

    async fn end(&mut self, error: Option<StreamError>) -> io::Result<()> {
        let tasks = self.machine.end(error.as_ref());
        self.perform(tasks, false).await
    }

    /// When something is next to be looked after.
    fn timer(&self) -> Instant {
        let Some(federator) = self.server.federator() else { return Instant::now() };
        let limits = &federator.limits;
        if let Some(closing) = self.closing {
            return closing;
        }
        let mut timer = self.wrote + limits.keepalive;
        if !self.io.is_empty() {
            timer = self.progress + limits.stall;
        }
        timer.min(self.idle_at(limits)).min(self.deadline.unwrap_or(timer))
    }

    fn idle_at(&self, limits: &super::FederationLimits) -> Instant {
        let factor = if self.stream.is_some() { 1 } else { 2 };
        self.stanza + limits.idle.saturating_mul(factor)
    }

    async fn tick(&mut self) -> io::Result<()> {
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

    /// Nobody is to count on this stream any more, although it is not over.
    fn retire(&mut self) {
        let Some(federator) = self.server.federator() else { return };
        federator.table.gone(&self.outlet);
        if let Some(stream) = &self.stream {
            federator.table.leave(stream);
            if !self.negotiated {
                let _ = stream.failure.set(open::stream_failure(self.reason.as_ref()));
            }
        }
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        self.held.clear();
        self.requests.clear();
        self.queries.clear();
    }

    /// The stream is over: what it had and did not get rid of goes back.
    fn finish(mut self) {
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
        let error = open::stream_failure(self.reason.as_ref());
        let (lost, _) = Unsent::new(ns::SERVER).read(&self.io.output, self.io.written, false);
        let (never_sent, _) = Unsent::new(ns::SERVER).read(&queued, 0, false);
        for stanza in lost.into_iter().chain(never_sent) {
            if let Some(envelope) = sent_by_us(stanza) {
                self.server.bounce_remote(&envelope, &error);
            }
        }
    }
}

/// A handler's answer, when it comes.
async fn aside(server: Server, pending: Box<Pending>, permit: OwnedSemaphorePermit) {
    server.end_route(pending).await;
    drop(permit);
}

/// Says what the peer's certificate proves, with what was found of it.
fn judge(server: &Server, transport: &Transport, evidence: Evidence) -> impl Fn(&str) -> bool + Send + 'static {
    let chain = transport.peer_certificates().to_vec();
    let tls = server.federator().map(|federator| federator.tls.clone());
    move |domain| match tls.as_ref().map(|tls| tls.verify(&chain, domain)) {
        Some(Ok(())) => true,
        _ if evidence.of(domain) => true,
        Some(Err(reason)) => {
            tracing::debug!(domain, %reason, "the certificate of a server");
            false
        }
        None => false,
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
    Some(Envelope { kind, from, to: Some(to), sender: None, stanza })
}
