//! A stream whose client does not log in.

use super::{
    BuildError, ConnectionError,
    builder::Road,
    negotiate::{self, Settings, Wire, farewell, next_event},
};
use crate::{
    jid::Jid,
    stanza::{Iq, IqBuilder, IqType, StanzaError, WriteStanza as _},
    stream::{Features, StreamError},
    xml::{Event, Stanza, Writer, ns},
};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// A stream before the login ([`ClientBuilder::visit`](super::ClientBuilder::visit)), for what a server answers to those
/// who have no account: registrations (XEP-0077). Dropped, the connection ends without a word.
pub struct Visit {
    wire: Wire,
    features: Features,
    account: Jid,
    timeout: Duration,
}

impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visit").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Why nothing has come of a visit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VisitError {
    /// It could not be set up.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The server was not reached, or the stream has ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The answer is an error.
    #[error("the answer is an error: {0}")]
    Refused(#[from] StanzaError),
}

impl Visit {
    pub(super) async fn open(settings: &Settings, road: &mut Road, timeout: Duration) -> Result<Visit, VisitError> {
        let (wire, features) = negotiate::visit(settings, road).await?;
        Ok(Visit { wire, features, account: settings.account.clone(), timeout })
    }

    /// What the server offers before the login.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The account that the builder was made for.
    pub fn account(&self) -> &Jid {
        &self.account
    }

    /// Sends a request to the server and waits for the answer to it; what else comes meanwhile is dropped. Not
    /// cancel-safe: the visit is of no use after it was dropped.
    ///
    /// # Errors
    /// [`VisitError::Refused`], after which the visit may go on, and [`VisitError::Connection`].
    pub async fn request(&mut self, request: IqBuilder) -> Result<Iq, VisitError> {
        let id = request.get_id().unwrap_or_default().to_owned();
        let mut out = Writer::new(ns::CLIENT);
        request.write_to(&mut out);
        let bytes = out.finish();
        let answered = tokio::time::timeout(self.timeout, self.exchange(&bytes, &id)).await;
        let answer = answered.unwrap_or(Err(ConnectionError::TimedOut))?;
        match answer.type_() {
            IqType::Error => Err(answer.error().unwrap_or_else(StanzaError::undefined_condition).into()),
            _ => Ok(answer),
        }
    }

    async fn exchange(&mut self, bytes: &[u8], id: &str) -> Result<Iq, ConnectionError> {
        let Wire { transport, scanner, buffer, unread } = &mut self.wire;
        transport.write_all(bytes).await?;
        transport.flush().await?;
        loop {
            match next_event(transport, scanner, buffer, unread).await? {
                Event::Stanza(stanza) if stanza.root().is("error", ns::STREAMS) => {
                    return Err(ConnectionError::Stream(StreamError::read(stanza.root())));
                }
                Event::Stanza(stanza) => {
                    if let Some(answer) = answer(stanza, id, self.account.domain()) {
                        return Ok(answer);
                    }
                }
                Event::Open(_) | Event::Close => return Err(ConnectionError::Closed),
            }
        }
    }

    /// Ends the stream in good order.
    pub async fn close(mut self) {
        farewell(&mut self.wire.transport, None).await;
    }
}

/// The answer with this id, from the server or without an address.
fn answer(stanza: Stanza, id: &str, domain: &str) -> Option<Iq> {
    let iq = Iq::from_stanza(stanza).ok()?;
    let ours = matches!(iq.type_(), IqType::Result | IqType::Error) && iq.id() == id;
    (ours && iq.from().is_none_or(|from| from.as_str() == domain)).then_some(iq)
}
