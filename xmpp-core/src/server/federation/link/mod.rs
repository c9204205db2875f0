//! The driver of a stream between servers, in either role: one task, from the first byte to the last.
//!
//! Here it reads, writes and waits; what its machine wants done is in [`perform`], its times and its end in [`end`].

mod end;
mod perform;

use super::{
    super::{Server, StreamCondition, StreamError, line::Pending, listener::Place, places, throttle::Bucket},
    evidence::Evidence,
    io::{Io, Progress},
    machine::Machine,
    outlet::Outlet,
    stream::{COMMANDS, Command, Stream},
    waiting::Waiting,
};
use crate::{
    net::Transport,
    stanza::StanzaError,
    stream::s2s::{Answer, Incoming, Outgoing, Pair, S2sTask, Verification},
    xml::{Event, Scanner, StreamHeader},
};
use std::{future::poll_fn, io, net::IpAddr, sync::Arc, task::Poll};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep_until},
};

/// Bytes of answers to dialback elements that may wait beside what an outlet held, before no more is read.
const ANSWERS: usize = 64 << 10;

/// What an authoritative server said of what.
type Answered = (Verification, Answer);

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
    requests: Waiting<Pair, Result<(), StanzaError>>,
    queries: Waiting<Verification, Answer>,
    answers: (mpsc::Sender<Answered>, mpsc::Receiver<Answered>),
    /// Where the peer is, if that is known.
    ip: Option<IpAddr>,
    /// A place among the newcomers of its address, until a domain is authenticated.
    newcomer: Option<Place>,
    /// From then on, of an incoming stream, a place among the streams of its address, and of each domain.
    settled: Option<Place>,
    domains: Vec<places::Place<String>>,
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
        let federator = server.federator()?;
        let (limits, total) = (federator.limits.clone(), Arc::clone(&federator.outboxes));
        let (now, ip) = (Instant::now(), transport.peer_addr().map(|peer| peer.ip()));
        Some(Link {
            machine,
            scanner: Scanner::new(limits.unauthenticated),
            io: Io::new(
                transport,
                Bucket::new(limits.bytes_per_second, limits.burst_bytes),
                limits.outbox_bytes.saturating_add(ANSWERS),
            ),
            outlet: Arc::new(Outlet::new(limits.outbox_bytes, total)),
            evidence: Evidence::default(),
            stream: None,
            commands,
            held: Vec::new(),
            negotiated: false,
            requests: Waiting::new(limits.queue_time, COMMANDS),
            queries: Waiting::new(limits.verification, COMMANDS),
            answers: mpsc::channel(limits.streams.pending.max(1)),
            ip,
            newcomer: None,
            settled: None,
            domains: Vec::new(),
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
        link.newcomer = place;
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
        let cut = self.server.federator().map(|federator| federator.cut.clone()).unwrap_or_default();
        let ended = cut.run_until_cancelled(async {
            self.perform(first, direct).await?;
            self.drive().await
        });
        if let Err(error) = ended.await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())) {
            tracing::debug!(remote = self.machine.remote(), %error, "a stream between servers broke");
        }
        self.finish();
    }

    async fn drive(&mut self) -> io::Result<()> {
        let stop = self.server.federator().map(|federator| federator.stop.clone()).unwrap_or_default();
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
            // What cannot be asked yet waits here, and what is too much for that with those who ask.
            let obeys = open && self.held.len() < COMMANDS;
            tokio::select! {
                progress = self.io.step(hear) => match progress? {
                    Progress::Read => {}
                    Progress::Wrote => {
                        (self.progress, self.wrote) = (Instant::now(), Instant::now());
                        if self.io.is_empty() {
                            self.outlet.written();
                        }
                    }
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
                Some(command) = self.commands.recv(), if obeys => self.command(command).await?,
                Some((verification, answer)) = self.answers.1.recv(), if open => {
                    let tasks = self.machine.verified(&verification, answer);
                    self.perform(tasks, false).await?;
                }
                () = stop.cancelled(), if open => {
                    // What sessions left goes out before the end.
                    self.drain();
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
            federator.stop.run_until_cancelled(gathering).await;
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
        if command.is_abandoned() {
            return Vec::new();
        }
        self.expire(Instant::now());
        match command {
            Command::Request(pair, waiting) => match self.requests.add(pair.clone(), waiting) {
                true => self.machine.request(pair),
                false => Vec::new(),
            },
            Command::Verify(verification, waiting) => {
                self.stanza = Instant::now();
                match self.queries.add(verification.clone(), waiting) {
                    true => self.machine.verify(verification),
                    false => Vec::new(),
                }
            }
        }
    }

    async fn end(&mut self, error: Option<StreamError>) -> io::Result<()> {
        let tasks = self.machine.end(error.as_ref());
        self.perform(tasks, false).await
    }
}
