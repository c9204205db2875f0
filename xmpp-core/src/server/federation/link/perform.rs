//! What a stream's machine wants done.

use super::{
    super::{
        super::{Observed, Server, StreamCondition, StreamError, line::Pending},
        bounce,
        evidence::Evidence,
        verify,
    },
    Link, Machine,
};
use crate::{
    net::{Service, TlsError, Transport},
    stream::s2s::{Pair, Proof, Refusal, S2sTask, Verification},
};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};

impl Link {
    pub(super) async fn perform(&mut self, tasks: Vec<S2sTask>, direct: bool) -> io::Result<()> {
        let mut tasks = VecDeque::from(tasks);
        if tasks.iter().any(|task| matches!(task, S2sTask::Close(None))) {
            // In good order: what is queued goes out before the end tag.
            self.drain();
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
                S2sTask::Admitted(pair, proof) => {
                    if let Err(error) = self.settle_in(&pair.remote) {
                        tasks = self.machine.end(Some(&error)).into();
                        continue;
                    }
                    self.admitted(&pair, proof);
                }
                S2sTask::Authorized(pair, proof) => self.authorized(&pair, proof),
                S2sTask::Refused(pair, refusal) => self.refused(&pair, &refusal),
                S2sTask::Negotiated => self.negotiated(&mut tasks),
                S2sTask::Answered(verification, answer) => self.queries.settle(&verification, &answer),
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
        let Some(federator) = self.server.federator() else { return };
        let Some(pending) = self.pending.take() else { return };
        match Arc::clone(&self.handlers).try_acquire_owned() {
            Ok(permit) => {
                federator.links.spawn(aside(self.server.clone(), pending, permit));
            }
            Err(_) => self.pending = Some(pending),
        }
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

    /// What follows from the certificate that the peer showed.
    async fn secured(&mut self, transport: Transport) -> io::Result<Vec<S2sTask>> {
        self.evidence = Evidence::default();
        if let (Some(federator), Some(stream)) = (self.server.federator(), &self.stream) {
            let gathering = federator.gather_outgoing(&self.evidence, &transport, &stream.pair, stream.target.get());
            let gathered = federator.stop.run_until_cancelled(gathering).await;
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

    /// Has the authoritative server asked, in a task of its own.
    fn verify(&mut self, verification: Verification) {
        let Some(federator) = self.server.federator() else { return };
        let (server, answers) = (self.server.clone(), self.answers.0.clone());
        let (not, ticket, stop) = (self.stream.clone(), federator.ticket(self.ip), federator.stop.clone());
        federator.links.spawn(async move {
            let asked = verify::authenticate(&server, &verification, not.as_ref(), ticket);
            if let Some(answer) = stop.run_until_cancelled(asked).await {
                let _ = answers.send((verification, answer)).await;
            }
        });
    }

    /// Takes the places of a stream on which a domain that opened it is authenticated, unless it has too many (RFC 6120
    /// §4.9.3.14).
    fn settle_in(&mut self, remote: &str) -> Result<(), StreamError> {
        let Some(federator) = self.server.federator().filter(|_| self.stream.is_none()) else { return Ok(()) };
        let refused = |text: &str| StreamError::new(StreamCondition::PolicyViolation).with_text(text);
        if let (Some(ip), None) = (self.ip, &self.settled) {
            let place = federator.by_ip.enter(ip, federator.limits.incoming_per_ip);
            self.settled = Some(place.ok_or_else(|| refused("too many streams from this address"))?);
        }
        if self.domains.iter().all(|place| place.key() != remote) {
            let place = federator.by_domain.take(remote.to_owned(), federator.limits.incoming_per_domain);
            self.domains.push(place.ok_or_else(|| refused("too many streams from this domain"))?);
        }
        Ok(())
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
        let error = bounce::too_slow();
        left.iter().for_each(|envelope| self.server.bounce_remote(envelope, &error));
        self.requests.settle(pair, &Ok(()));
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
        self.newcomer = None;
        self.deadline = None;
        if let Some(federator) = self.server.federator() {
            self.scanner.set_limits(federator.limits.authenticated);
        }
    }

    fn refused(&mut self, pair: &Pair, refusal: &Refusal) {
        tracing::info!(remote = pair.remote, local = pair.local, %refusal, "a remote domain refused us, or we it");
        let error = bounce::refused(refusal);
        // Whoever shares this stream hears why, rather than that it is gone.
        if let Some(stream) = self.stream.as_ref().filter(|stream| stream.pair == *pair && !self.negotiated) {
            let _ = stream.failure.set(error.clone());
        }
        self.requests.settle(pair, &Err(error));
    }

    fn negotiated(&mut self, tasks: &mut VecDeque<S2sTask>) {
        self.negotiated = true;
        self.deadline = None;
        if let (Some(stream), Machine::Outgoing(machine)) = (&self.stream, &self.machine) {
            stream.set_takes_targets(machine.takes_targets());
        }
        if let (Some(federator), Some(stream)) = (self.server.federator(), &self.stream) {
            federator.table.reached(&stream.pair.remote);
        }
        // After what the negotiation itself has to say.
        for command in std::mem::take(&mut self.held) {
            tasks.extend(self.obey(command));
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
