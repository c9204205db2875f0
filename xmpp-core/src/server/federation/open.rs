//! Opening streams: for a pair that has something to send, and for a key that has to be verified.

use super::{
    super::{Observed, Server, StreamError},
    Federator,
    link::{Command, Link, Stream},
};
use crate::{
    net::{AttemptFailure, ClientTls, ConnectError, Connected, Connector, Plan, ResolveError, ServerTls},
    stanza::{Condition, StanzaError},
    stream::{
        StreamCondition,
        s2s::{Answer, Pair, Refusal, Verification},
    },
};
use std::sync::{Arc, atomic::Ordering};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Commands that wait for one stream.
const COMMANDS: usize = 256;

/// Sees to it that what waits for a pair gets a stream, or goes back.
pub(super) fn lane(server: &Server, pair: Pair) {
    let (server, stop) = (server.clone(), server.inner().stop.clone());
    server.clone().inner().tasks.spawn(async move {
        let Some(federator) = server.federator() else { return };
        let opening = timeout(federator.limits.queue_time, open(&server, federator, &pair));
        let error = match stop.run_until_cancelled(opening).await {
            Some(Ok(Ok(()))) => return,
            Some(Ok(Err(error))) => error,
            Some(Err(_)) => StanzaError::remote_server_timeout().with_text("no stream could be opened in time"),
            None => StanzaError::remote_server_timeout().with_text("this server is going down"),
        };
        for envelope in federator.table.failed(&pair, &error) {
            server.bounce_remote(&envelope, &error);
        }
    });
}

/// Gets a stream authorised for the pair: one that is there, or a new one.
async fn open(server: &Server, federator: &Federator, pair: &Pair) -> Result<(), StanzaError> {
    for stream in federator.table.streams_to(pair) {
        match request(&stream, pair).await {
            Ok(()) => return Ok(()),
            Err(Unmet::Failed(error)) => return Err(error),
            Err(Unmet::Refused(error)) if stream.pair == *pair && stream.wanted => return Err(error),
            // A stream of its own may fare better: it authenticates this very domain.
            Err(unmet) => tracing::debug!(%pair, ?unmet, "a stream in use does not take another pair"),
        }
    }
    if let Some(error) = federator.table.trouble(&pair.remote) {
        return Err(error);
    }
    let plan = plan(federator, pair).await.map_err(|error| unreachable(server, &pair.remote, &error))?;
    if let Some(stream) = target_stream(federator, &plan) {
        match request(&stream, pair).await {
            Ok(()) => return Ok(()),
            Err(unmet) => tracing::debug!(%pair, ?unmet, "a stream to the same host does not take another domain"),
        }
    }
    let stream = launch(server, pair.clone(), true, Some(plan))?;
    request(&stream, pair).await.map_err(Unmet::told)
}

/// What the DNS says of the remote domain.
async fn plan(federator: &Federator, pair: &Pair) -> Result<Plan, ConnectError> {
    let _permit = federator.connecting.acquire().await;
    connector(federator, None, &pair.local).plan(&pair.remote).await
}

/// A stream that leads where this domain is served too, and takes further domains (XEP-0220 §2.6.2).
fn target_stream(federator: &Federator, plan: &Plan) -> Option<Arc<Stream>> {
    // What the DNS says of a target is asked for the domain that leads there, on a stream of its own.
    if federator.dane {
        return None;
    }
    let Plan::Targets(targets) = plan else { return None };
    let best = targets.first()?.priority;
    let best: Vec<_> = targets.iter().filter(|target| target.priority == best).cloned().collect();
    federator.table.stream_at(&best)
}

/// Why a stream did not do what it was asked to.
#[derive(Debug)]
enum Unmet {
    /// The peer said no.
    Refused(StanzaError),
    /// The stream never came about.
    Failed(StanzaError),
    /// It came to its end.
    Gone,
}

impl Unmet {
    /// What senders are told.
    fn told(self) -> StanzaError {
        match self {
            Unmet::Refused(error) | Unmet::Failed(error) => error,
            Unmet::Gone => stream_failure(None),
        }
    }

    fn of(stream: &Stream) -> Unmet {
        stream.failure.get().cloned().map_or(Unmet::Gone, Unmet::Failed)
    }
}

async fn request(stream: &Stream, pair: &Pair) -> Result<(), Unmet> {
    let (sender, receiver) = oneshot::channel();
    let command = Command::Request(pair.clone(), sender);
    stream.commands.send(command).await.map_err(|_| Unmet::of(stream))?;
    match receiver.await {
        Ok(answer) => answer.map_err(Unmet::Refused),
        Err(_) => Err(Unmet::of(stream)),
    }
}

/// Asks the authoritative server of a domain about a key (XEP-0220 §2.1.2), over a stream other than `not`.
pub(super) async fn authenticate(server: &Server, verification: &Verification, not: Option<&Arc<Stream>>) -> Answer {
    let Some(federator) = server.federator() else { return Answer::Failed(StanzaError::item_not_found()) };
    match timeout(federator.limits.verification, verify(server, federator, verification, not)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Answer::Failed(error),
        Err(_) => Answer::Failed(StanzaError::remote_server_timeout()),
    }
}

async fn verify(
    server: &Server,
    federator: &Federator,
    verification: &Verification,
    not: Option<&Arc<Stream>>,
) -> Result<Answer, StanzaError> {
    let pair = Pair::new(&verification.local, &verification.remote);
    let streams = federator.table.streams_to(&pair);
    for stream in streams.iter().filter(|stream| not.is_none_or(|not| !Arc::ptr_eq(not, stream))) {
        match ask(stream, verification).await {
            Ok(answer) => return Ok(answer),
            Err(Unmet::Failed(error)) => return Err(error),
            Err(_) => tracing::debug!(%pair, "a stream in use came to its end"),
        }
    }
    if let Some(error) = federator.table.trouble(&pair.remote) {
        return Err(error);
    }
    let stream = launch(server, pair, false, None)?;
    ask(&stream, verification).await.map_err(Unmet::told)
}

async fn ask(stream: &Stream, verification: &Verification) -> Result<Answer, Unmet> {
    let (sender, receiver) = oneshot::channel();
    let command = Command::Verify(verification.clone(), sender);
    stream.commands.send(command).await.map_err(|_| Unmet::of(stream))?;
    receiver.await.map_err(|_| Unmet::of(stream))
}

/// Begins a stream, in a task of its own.
fn launch(server: &Server, pair: Pair, wanted: bool, plan: Option<Plan>) -> Result<Arc<Stream>, StanzaError> {
    let federator = server.federator().ok_or_else(StanzaError::remote_server_not_found)?;
    let permit = Arc::clone(&federator.outgoing).try_acquire_owned();
    let permit =
        permit.map_err(|_| StanzaError::resource_constraint().with_text("too many streams to other servers"))?;
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let stream = Arc::new(Stream::new(pair, wanted, commands));
    federator.table.enter(&stream);
    let (server, begun) = (server.clone(), Arc::clone(&stream));
    server.clone().inner().tasks.spawn(async move {
        let (stop, _permit) = (server.inner().stop.clone(), permit);
        match stop.run_until_cancelled(connect(&server, &begun.pair, plan)).await {
            Some(Ok(Connected { transport, target, .. })) => {
                let _ = begun.target.set(target);
                Link::outgoing(server, transport, begun, receiver).await;
            }
            Some(Err(error)) => not_connected(&server, &begun, unreachable(&server, &begun.pair.remote, &error)),
            None => not_connected(&server, &begun, StanzaError::remote_server_timeout()),
        }
    });
    Ok(stream)
}

fn not_connected(server: &Server, stream: &Arc<Stream>, error: StanzaError) {
    let _ = stream.failure.set(error);
    if let Some(federator) = server.federator() {
        federator.table.leave(stream);
    }
}

/// Notes that a domain cannot be reached, and says what senders are told.
fn unreachable(server: &Server, remote: &str, error: &ConnectError) -> StanzaError {
    tracing::info!(remote, reason = %error, outgoing = true, "a remote domain cannot be reached");
    let told = connect_error(error);
    if let Some(federator) = server.federator() {
        federator.table.unreachable(remote, &told);
    }
    let stats = &server.inner().stats;
    stats.failed_streams.fetch_add(1, Ordering::Relaxed);
    stats.observe(|| Observed::RemoteFailed(remote.to_owned(), error.to_string()));
    told
}

async fn connect(server: &Server, pair: &Pair, plan: Option<Plan>) -> Result<Connected, ConnectError> {
    let timed_out = || ConnectError::TimedOut { domain: pair.remote.clone(), attempts: Vec::new() };
    let Some(federator) = server.federator() else { return Err(timed_out()) };
    let _permit = federator.connecting.acquire().await;
    let connector = connector(federator, server.inner().tls.as_ref(), &pair.local);
    let connected = timeout(federator.connect.deadline, async {
        let plan = match plan {
            Some(plan) => plan,
            None => connector.plan(&pair.remote).await?,
        };
        connector.connect_to(&pair.remote, plan).await
    });
    connected.await.unwrap_or_else(|_| Err(timed_out()))
}

fn connector(federator: &Federator, own: Option<&ServerTls>, local: &str) -> Connector {
    let tls = federator.shown_as(own, local);
    Connector::with_options(Arc::clone(&federator.resolver), tls, federator.connect.clone())
}

impl Federator {
    /// TLS in the name of a domain of ours.
    pub(super) fn shown_as(&self, own: Option<&ServerTls>, local: &str) -> ClientTls {
        own.map_or_else(|| self.tls.clone(), |own| self.tls.shown_as(own, local))
    }
}

/// What a sender is told when a domain is not reached (RFC 6120 §8.3.3.16, §8.3.3.17). It names no addresses.
fn connect_error(error: &ConnectError) -> StanzaError {
    let unknown = || StanzaError::remote_server_not_found();
    match error {
        ConnectError::InvalidDomain(_) => unknown().with_text("that is no domain"),
        ConnectError::NotOffered(_) => unknown().with_text("the domain has no XMPP service for servers"),
        ConnectError::AllFailed { attempts, .. } if attempts.iter().all(|one| is_no_host(&one.reason)) => {
            unknown().with_text("the domain is not known")
        }
        _ => StanzaError::remote_server_timeout().with_text("the domain's server cannot be reached"),
    }
}

fn is_no_host(failure: &AttemptFailure) -> bool {
    matches!(
        failure,
        AttemptFailure::Resolve(ResolveError::NotFound(_) | ResolveError::InvalidName(_)) | AttemptFailure::NotPublic
    )
}

/// What a sender is told when a pair is refused.
pub(super) fn refusal_error(refusal: &Refusal) -> StanzaError {
    let told = |text: &str| StanzaError::remote_server_timeout().with_text(text.to_owned());
    match refusal {
        Refusal::Invalid => told("the remote server does not believe that this is this domain's server"),
        // XEP-0220 §2.5: whatever the error, queued stanzas time out; a domain that is not there is told apart.
        Refusal::Error(error) if error.condition == Condition::ItemNotFound => {
            StanzaError::remote_server_not_found().with_text("the remote server does not serve that domain")
        }
        Refusal::Error(error) => told(&format!("the remote server refused: {}", error.condition.as_str())),
        Refusal::Sasl(_) => told("the remote server refused this server's certificate"),
        Refusal::TlsUnavailable => told("the remote server has no TLS, which is required here"),
        Refusal::Certificate => told("the remote server has no valid certificate, which is required here"),
    }
}

/// What a sender is told when a stream ended with his stanza in it.
pub(super) fn stream_failure(reason: Option<&StreamError>) -> StanzaError {
    match reason.map(|reason| &reason.condition) {
        Some(StreamCondition::HostUnknown | StreamCondition::HostGone) => {
            StanzaError::remote_server_not_found().with_text("the remote server does not serve that domain")
        }
        Some(condition) => {
            StanzaError::remote_server_timeout().with_text(format!("the remote server ended: {}", condition.as_str()))
        }
        None => StanzaError::remote_server_timeout().with_text("the connection to the remote server was lost"),
    }
}
