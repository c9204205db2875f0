//! Having the authoritative servers of domains say whether dialback keys are theirs (XEP-0220 §2.1.2).
//!
//! Anybody can ask for it, in any domain's name, before anything is known of him. So it has places of its own, in all
//! and for each address, and what it takes is not taken from what is to be sent.

use super::{
    super::{Server, places::Place},
    Federator,
    connect::{self, Errand},
    stream::{Stream, Unmet},
};
use crate::{
    stanza::StanzaError,
    stream::s2s::{Answer, Pair, Verification},
};
use std::{net::IpAddr, sync::Arc};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

/// A place among the verifications; a stream that is opened for one keeps it.
pub(super) struct Ticket {
    _place: Option<Place<IpAddr>>,
    _permit: OwnedSemaphorePermit,
}

impl Federator {
    /// A place for a verification that `asker` asks for, if it is known where that is.
    pub(super) fn ticket(&self, asker: Option<IpAddr>) -> Option<Ticket> {
        let place = match asker {
            Some(ip) => Some(self.verifying_by_ip.enter(ip, self.limits.verifying_per_ip)?),
            None => None,
        };
        let permit = Arc::clone(&self.verifying).try_acquire_owned().ok()?;
        Some(Ticket { _place: place, _permit: permit })
    }
}

/// Asks the authoritative server of a domain about a key, over a stream other than `not`.
pub(super) async fn authenticate(
    server: &Server,
    verification: &Verification,
    not: Option<&Arc<Stream>>,
    ticket: Option<Ticket>,
) -> Answer {
    let Some(federator) = server.federator() else { return Answer::Failed(StanzaError::item_not_found()) };
    let Some(ticket) = ticket else {
        tracing::debug!(remote = verification.remote, "too many keys are being verified");
        return Answer::Failed(StanzaError::resource_constraint());
    };
    match timeout(federator.limits.verification, ask(server, federator, verification, not, ticket)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Answer::Failed(error),
        Err(_) => Answer::Failed(StanzaError::remote_server_timeout()),
    }
}

async fn ask(
    server: &Server,
    federator: &Federator,
    verification: &Verification,
    not: Option<&Arc<Stream>>,
    ticket: Ticket,
) -> Result<Answer, StanzaError> {
    let pair = Pair::new(&verification.local, &verification.remote);
    let streams = federator.table.streams_to(&pair);
    for stream in streams.iter().filter(|stream| not.is_none_or(|not| !Arc::ptr_eq(not, stream))) {
        match stream.verify(verification).await {
            Ok(answer) => return Ok(answer),
            Err(Unmet::Failed(error)) => return Err(error),
            Err(_) => tracing::debug!(%pair, "a stream in use came to its end"),
        }
    }
    if let Some(error) = federator.table.trouble(&pair.remote) {
        return Err(error);
    }
    let stream = connect::launch(server, pair, Errand::Verification(ticket))?;
    stream.verify(verification).await.map_err(Unmet::told)
}
