//! External components (XEP-0114): accepting them, and what they send.

use super::{
    Observed, Server, StreamCondition, StreamError, buffers,
    connection::{Connection, Input},
    domains::not_connected,
    listener::Place,
    negotiate::linger,
    route::Envelope,
    router::{Routed, check_iq, stanza_kind},
    session::{Role, Session},
};
use crate::{
    jid::{BareJid, Jid},
    net::Transport,
    stanza::{StanzaError, StanzaKind},
    stream::{ComponentAcceptor, ComponentTask},
    xml::{Scanner, Stanza, ns},
};
use std::{
    io,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout_at},
};

/// What came of a step.
#[derive(PartialEq, Eq)]
enum Done {
    More,
    Accepted,
    Closed,
}

/// The driver of a [`ComponentAcceptor`].
struct Attachment<'a> {
    server: &'a Server,
    ip: IpAddr,
    transport: Transport,
    acceptor: ComponentAcceptor,
    scanner: Scanner,
    input: Input,
    session: Option<Arc<Session>>,
}

impl Server {
    /// Negotiates a component's stream; `None` if it does not come to a session.
    pub(super) async fn attach(&self, transport: Transport, ip: IpAddr, _place: Option<Place>) -> Option<Connection> {
        let inner = self.inner();
        let mut attachment = Attachment {
            server: self,
            ip,
            transport,
            acceptor: ComponentAcceptor::new(inner.components.clone(), crate::random::token()),
            scanner: Scanner::new(inner.limits.unauthenticated),
            input: Input { buffer: buffers::take_read(), start: 0, end: 0 },
            session: None,
        };
        let done = attachment.run().await;
        let session = attachment.session.take();
        match (done, session) {
            (Ok(Done::Accepted), Some(session)) => {
                let Attachment { transport, mut scanner, input, .. } = attachment;
                scanner.set_limits(inner.limits.authenticated);
                let input = (input.start < input.end).then_some(input);
                Some(Connection::new(self.clone(), session, transport, scanner, input))
            }
            (done, session) => {
                if let Err(error) = done {
                    tracing::debug!(%ip, %error, "a component's negotiation ended early");
                }
                if let Some(session) = session {
                    self.disconnected(&session, false, &[], 0);
                }
                None
            }
        }
    }

    /// Enters the session of a component, which has its domain to itself.
    fn component_started(&self, domain: &BareJid) -> Result<Arc<Session>, StreamError> {
        let inner = self.inner();
        let session = Arc::new(Session::new(domain.clone().into(), Role::Component, self.tick()));
        let replaced = inner.directory.insert_alone(&session, inner.replace_components).map_err(|_| {
            StreamError::new(StreamCondition::Conflict).with_text("a component of this domain is connected")
        })?;
        if let Some(old) = replaced {
            self.farewell(&old);
            old.close(Some(&StreamError::new(StreamCondition::Conflict).with_text("replaced by a new connection")));
        }
        if inner.stop.is_cancelled() {
            session.close(Some(&StreamError::new(StreamCondition::SystemShutdown)));
        }
        inner.stats.observe(|| Observed::SessionStarted(session.jid().clone()));
        Ok(session)
    }

    /// Takes a stanza from a component (XEP-0114 §3): both addresses, the sender's in its own domain.
    pub(super) fn receive_from_component(
        &self,
        session: &Arc<Session>,
        stanza: &Stanza,
    ) -> Result<Routed, StreamError> {
        let kind = stanza_kind(stanza.root(), ns::COMPONENT)?;
        // Inside the server all stanzas have one content namespace.
        let stanza = stanza.rewrite(ns::CLIENT).to_stanza();
        let root = stanza.root();
        let address = |name| root.attr(name).filter(|address| !address.is_empty());
        let (Some(from), Some(to)) = (address("from"), address("to")) else {
            return Err(StreamError::new(StreamCondition::ImproperAddressing));
        };
        let prepared = |text: &str| Jid::new(text).or_else(|_| Jid::lenient(text));
        let from = prepared(&from).ok().filter(|from| from.domain() == session.jid().domain());
        let from = from.ok_or_else(|| StreamError::new(StreamCondition::InvalidFrom))?;
        let to = prepared(&to);
        let checked = match &to {
            Err(error) => Err(StanzaError::jid_malformed().with_text(error.to_string())),
            Ok(_) if kind == StanzaKind::Iq => check_iq(root),
            Ok(_) => Ok(()),
        };
        let envelope = Envelope {
            kind,
            from,
            to: to.ok(),
            sender: Some(Arc::clone(session)),
            unaddressed: false,
            crowd: None,
            stanza,
        };
        if let Err(error) = checked {
            self.reject(&envelope, &error);
            return Ok(Routed::Done);
        }
        // What clients' stanzas pass on their way in is not for it, the services of the host are.
        Ok(self.run(envelope, self.inner().services).map_or(Routed::Done, Routed::Waits))
    }

    /// A stanza that was queued for a component and could not be written.
    pub(super) fn bounce(&self, stanza: Stanza) {
        let Some(from) = stanza.root().attr("from").and_then(|from| Jid::lenient(&from).ok()) else { return };
        let Some(mut envelope) = Envelope::local(stanza, from) else { return };
        let verdict = not_connected(&envelope);
        self.settle(verdict, &mut envelope);
    }
}

impl Attachment<'_> {
    async fn run(&mut self) -> io::Result<Done> {
        let stop = self.server.inner().stop.clone();
        loop {
            let phase = self.acceptor.has_header();
            let deadline = Instant::now() + self.server.limits().phase;
            while self.acceptor.has_header() == phase {
                let step = tokio::select! {
                    step = timeout_at(deadline, self.step()) => step,
                    () = stop.cancelled() => return self.break_off(StreamCondition::SystemShutdown.into()).await,
                };
                match step {
                    Ok(Ok(Done::More)) => {}
                    Ok(done) => return done,
                    Err(_) => {
                        let error = StreamError::new(StreamCondition::PolicyViolation);
                        return self.break_off(error.with_text("the negotiation takes too long")).await;
                    }
                }
            }
        }
    }

    /// Ends the stream for a reason of ours, for which a peer that does not read gets no more than a moment.
    async fn break_off(&mut self, error: StreamError) -> io::Result<Done> {
        let tasks = self.acceptor.fail(&error);
        let brief = Instant::now() + self.server.limits().closing;
        timeout_at(brief, self.perform(tasks)).await.unwrap_or(Ok(Done::Closed))
    }

    /// Waits for one event and does what follows from it.
    async fn step(&mut self) -> io::Result<Done> {
        let tasks = loop {
            let mut rest = self.input.buffer.get(self.input.start..self.input.end).unwrap_or_default();
            let scanned = self.scanner.scan(&mut rest);
            self.input.start = self.input.end - rest.len();
            match scanned {
                Ok(Some(event)) => break self.acceptor.event(event),
                Ok(None) => {
                    let count = self.transport.read(&mut self.input.buffer).await?;
                    (self.input.start, self.input.end) = (0, count);
                    if count == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => break self.acceptor.fail(&error.into()),
            }
        };
        self.perform(tasks).await
    }

    async fn perform(&mut self, tasks: Vec<ComponentTask>) -> io::Result<Done> {
        let mut tasks = std::collections::VecDeque::from(tasks);
        let inner = self.server.inner();
        while let Some(task) = tasks.pop_front() {
            match task {
                ComponentTask::Send(bytes) => {
                    self.transport.write_all(&bytes).await?;
                    self.transport.flush().await?;
                }
                ComponentTask::Failed => {
                    inner.stats.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(ip = %self.ip, "a component's handshake failed");
                    inner.stats.observe(|| Observed::LoginFailed(None));
                    tokio::time::sleep(inner.throttle.failed(self.ip)).await;
                }
                ComponentTask::Enter(domain) => {
                    let entered = self.server.component_started(&domain);
                    let entered = entered.map(|session| self.session = Some(session));
                    tasks.extend(self.acceptor.entered(entered));
                }
                ComponentTask::Accepted => {
                    inner.stats.logins.fetch_add(1, Ordering::Relaxed);
                    let domain = self.session.as_ref().map(|session| session.jid().as_str()).unwrap_or_default();
                    tracing::info!(%domain, "component connected");
                    return Ok(Done::Accepted);
                }
                ComponentTask::Close => {
                    linger(&mut self.transport, &mut self.input.buffer, self.server.limits().closing).await;
                    return Ok(Done::Closed);
                }
            }
        }
        Ok(Done::More)
    }
}
