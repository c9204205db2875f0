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
            Err(error) if stream.failure.get().is_some() || (stream.pair == *pair && stream.wanted) => {
                return Err(error);
            }
            // A stream of its own may fare better: it authenticates this very domain.
            Err(error) => tracing::debug!(%pair, %error, "a stream in use does not take another pair"),
        }
    }
    if let Some(error) = federator.table.trouble(&pair.remote) {
        return Err(error);
    }
    let stream = launch(server, pair.clone(), true)?;
    request(&stream, pair).await
}

async fn request(stream: &Stream, pair: &Pair) -> Result<(), StanzaError> {
    let (sender, receiver) = oneshot::channel();
    let gone = || stream.failure.get().cloned().unwrap_or_else(StanzaError::remote_server_timeout);
    stream.commands.send(Command::Request(pair.clone(), sender)).await.map_err(|_| gone())?;
    receiver.await.unwrap_or_else(|_| Err(gone()))
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
            Err(error) if stream.failure.get().is_some() => return Err(error),
            Err(error) => tracing::debug!(%pair, %error, "a stream in use does not verify a key"),
        }
    }
    if let Some(error) = federator.table.trouble(&pair.remote) {
        return Err(error);
    }
    let stream = launch(server, pair, false)?;
    ask(&stream, verification).await
}

async fn ask(stream: &Stream, verification: &Verification) -> Result<Answer, StanzaError> {
    let (sender, receiver) = oneshot::channel();
    let gone = || stream.failure.get().cloned().unwrap_or_else(StanzaError::remote_server_timeout);
    stream.commands.send(Command::Verify(verification.clone(), sender)).await.map_err(|_| gone())?;
    receiver.await.map_err(|_| gone())
}

/// Begins a stream, in a task of its own.
fn launch(server: &Server, pair: Pair, wanted: bool) -> Result<Arc<Stream>, StanzaError> {
    let federator = server.federator().ok_or_else(StanzaError::remote_server_not_found)?;
    let permit = Arc::clone(&federator.outgoing).try_acquire_owned();
    let permit = permit.map_err(|_| StanzaError::resource_constraint().with_text("too many streams to other servers"))?;
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let stream = Arc::new(Stream::new(pair, wanted, commands));
    federator.table.enter(&stream);
    let (server, begun) = (server.clone(), Arc::clone(&stream));
    server.clone().inner().tasks.spawn(async move {
        let (stop, _permit) = (server.inner().stop.clone(), permit);
        match stop.run_until_cancelled(connect(&server, &begun)).await {
            Some(Ok(Connected { transport, target, .. })) => {
                let _ = begun.target.set(target);
                Link::outgoing(server, transport, begun, receiver).await;
            }
            Some(Err(error)) => not_connected(&server, &begun, &error),
            None => not_connected(&server, &begun, &StanzaError::remote_server_timeout()),
        }
    });
    Ok(stream)
}

fn not_connected(server: &Server, stream: &Arc<Stream>, error: &StanzaError) {
    let Some(federator) = server.federator() else { return };
    let _ = stream.failure.set(error.clone());
    federator.table.unreachable(&stream.pair.remote, error);
    federator.table.leave(stream);
    let remote = &stream.pair.remote;
    tracing::info!(remote, reason = %error, outgoing = true, "a remote domain cannot be reached");
    let stats = &server.inner().stats;
    stats.failed_streams.fetch_add(1, Ordering::Relaxed);
    stats.observe(|| Observed::RemoteFailed(remote.clone(), error.to_string()));
}

async fn connect(server: &Server, stream: &Stream) -> Result<Connected, StanzaError> {
    let Some(federator) = server.federator() else { return Err(StanzaError::remote_server_not_found()) };
    let permit = federator.connecting.acquire().await;
    let _permit = permit.map_err(|_| StanzaError::remote_server_timeout())?;
    let tls = federator.shown_as(server.inner().tls.as_ref(), &stream.pair.local);
    let connector = Connector::with_options(Arc::clone(&federator.resolver), tls, federator.connect.clone());
    let remote = &stream.pair.remote;
    let connected = async {
        let plan: Plan = connector.plan(remote).await?;
        connector.connect_to(remote, plan).await
    };
    let connected = timeout(federator.connect.deadline, connected).await;
    let connected = connected.map_err(|_| StanzaError::remote_server_timeout().with_text("it does not answer"))?;
    connected.map_err(|error| {
        tracing::debug!(remote, %error, "a remote domain cannot be reached");
        connect_error(&error)
    })
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
