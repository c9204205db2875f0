//! Getting a stream for a pair of domains that has something to send.

use super::{
    super::{Server, places::Place},
    Federator,
    connect::{self, Errand},
    stream::{Stream, Unmet},
    table::Generation,
};
use crate::{net::Plan, stanza::StanzaError, stream::s2s::Pair};
use std::sync::Arc;
use tokio::time::timeout;

/// Sees to it that what waits for a pair gets a stream, or goes back.
pub(super) fn lane(server: &Server, pair: Pair, generation: Generation, place: Place<Box<str>>) {
    let Some(federator) = server.federator() else { return };
    let (server, stop) = (server.clone(), federator.stop.clone());
    federator.openings.spawn(async move {
        let _place = place;
        let Some(federator) = server.federator() else { return };
        let opening = timeout(federator.limits.queue_time, open(&server, federator, &pair));
        let error = match stop.run_until_cancelled(opening).await {
            Some(Ok(Ok(()))) => return,
            Some(Ok(Err(error))) => error,
            Some(Err(_)) => StanzaError::remote_server_timeout().with_text("no stream could be opened in time"),
            None => StanzaError::remote_server_timeout().with_text("this server is going down"),
        };
        for envelope in federator.table.failed(&pair, generation, &error) {
            server.bounce_remote(&envelope, &error);
        }
    });
}

/// Gets a stream authorised for the pair: one that is there, or a new one.
async fn open(server: &Server, federator: &Federator, pair: &Pair) -> Result<(), StanzaError> {
    for stream in federator.table.streams_to(pair) {
        match stream.request(pair).await {
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
    let plan = connect::plan(federator, pair).await;
    let plan = plan.map_err(|error| connect::unreachable(server, &pair.remote, &error))?;
    if let Some(stream) = target_stream(federator, &plan) {
        match stream.request(pair).await {
            Ok(()) => return Ok(()),
            Err(unmet) => tracing::debug!(%pair, ?unmet, "a stream to the same host does not take another domain"),
        }
    }
    let stream = connect::launch(server, pair.clone(), Errand::Stanzas(plan))?;
    stream.request(pair).await.map_err(Unmet::told)
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
