//! Connecting to the server of a domain, in a task of its own that then drives the stream.

use super::{
    super::{Observed, Server},
    Federator, bounce,
    link::Link,
    stream::Stream,
    verify::Ticket,
};
use crate::{
    net::{ClientTls, ConnectError, Connected, Connector, Plan, ServerTls},
    stanza::StanzaError,
    stream::s2s::Pair,
};
use std::sync::{Arc, atomic::Ordering};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// What a stream is opened for.
pub(super) enum Errand {
    /// To send stanzas, to where the DNS says.
    Stanzas(Plan),
    /// To verify a key that somebody showed.
    Verification(Ticket),
}

/// What a stream occupies while it is there.
enum Tenure {
    Stanzas { _permit: OwnedSemaphorePermit },
    Verification { _ticket: Ticket },
}

impl Errand {
    /// The place of the stream, the permits for its connection, and where to, if that is known.
    fn take(self, federator: &Federator) -> Result<(Tenure, Arc<Semaphore>, Option<Plan>), StanzaError> {
        match self {
            Errand::Stanzas(plan) => {
                let permit = Arc::clone(&federator.outgoing).try_acquire_owned();
                let _permit = permit
                    .map_err(|_| StanzaError::resource_constraint().with_text("too many streams to other servers"))?;
                Ok((Tenure::Stanzas { _permit }, Arc::clone(&federator.connecting), Some(plan)))
            }
            Errand::Verification(_ticket) => {
                Ok((Tenure::Verification { _ticket }, Arc::clone(&federator.dialling), None))
            }
        }
    }
}

/// What the DNS says of the remote domain.
pub(super) async fn plan(federator: &Federator, pair: &Pair) -> Result<Plan, ConnectError> {
    let _permit = federator.connecting.acquire().await;
    connector(federator, None, &pair.local).plan(&pair.remote).await
}

/// Begins a stream.
pub(super) fn launch(server: &Server, pair: Pair, errand: Errand) -> Result<Arc<Stream>, StanzaError> {
    let federator = server.federator().ok_or_else(StanzaError::remote_server_not_found)?;
    let wanted = matches!(errand, Errand::Stanzas(_));
    let (tenure, permits, plan) = errand.take(federator)?;
    let (stream, commands) = Stream::new(pair, wanted);
    let stream = Arc::new(stream);
    federator.table.enter(&stream);
    let (server, begun, stop) = (server.clone(), Arc::clone(&stream), federator.stop.clone());
    federator.links.spawn(async move {
        let _tenure = tenure;
        match stop.run_until_cancelled(connect(&server, &begun.pair, plan, &permits)).await {
            Some(Ok(Connected { transport, target, .. })) => {
                let _ = begun.target.set(target);
                Link::outgoing(server, transport, begun, commands).await;
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
pub(super) fn unreachable(server: &Server, remote: &str, error: &ConnectError) -> StanzaError {
    tracing::info!(remote, reason = %error, outgoing = true, "a remote domain cannot be reached");
    let told = bounce::unreachable(error);
    if let Some(federator) = server.federator() {
        federator.table.unreachable(remote, &told);
    }
    let stats = &server.inner().stats;
    stats.failed_streams.fetch_add(1, Ordering::Relaxed);
    stats.observe(|| Observed::RemoteFailed(remote.to_owned(), error.to_string()));
    told
}

async fn connect(
    server: &Server,
    pair: &Pair,
    plan: Option<Plan>,
    permits: &Semaphore,
) -> Result<Connected, ConnectError> {
    let timed_out = || ConnectError::TimedOut { domain: pair.remote.clone(), attempts: Vec::new() };
    let Some(federator) = server.federator() else { return Err(timed_out()) };
    let _permit = permits.acquire().await;
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
