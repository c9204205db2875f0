//! An XMPP client: it connects and stays connected, sends, asks, and hands over what comes in.
//!
//! ```no_run
//! use xmpp_core::{client::{Client, Event}, stanza::Presence};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut events) = Client::builder("bot@example.org".parse()?, "secret").connect()?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Online { .. } => client.send(Presence::available()).await?,
//!         Event::Message(message) => println!("{}", message.body().unwrap_or_default()),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! One task owns the connection. [`Client`] is a cheap handle to it; when the last handle is dropped, or
//! [`Client::close`] is called, the stream is closed in good order and the event stream ends.

mod attach;
mod backoff;
mod builder;
mod component;
mod entity;
mod events;
mod negotiate;
mod requests;
mod task;

pub use backoff::Backoff;
pub use builder::{BuildError, ClientBuilder, ClientRegistrar, Extension, Flow, ForBoth, ForClient};
pub use component::{
    Component, ComponentBuilder, ComponentEvent, ComponentEvents, ComponentExtension, ComponentRegistrar, ForComponent,
};
pub use events::{ConnectionError, Event, Events};

use crate::{
    jid::{FullJid, Jid},
    payload::{Payload, PayloadError},
    stanza::{Iq, IqBuilder, IqType, StanzaError, WriteStanza},
    xml::{Writer, ns},
};
use std::{sync::Arc, time::Duration};
use task::Command;
use tokio::sync::{mpsc, oneshot, watch};

/// A handle to a connection that keeps itself up. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    account: Jid,
    online: watch::Receiver<Option<FullJid>>,
    request_timeout: Duration,
    max_bytes: usize,
}

/// Why something was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The client was closed, or has given up; the event stream says why.
    #[error("the client is closed")]
    Closed,
    /// The stanza is larger than [`ClientBuilder::max_stanza_bytes`].
    #[error("a stanza of {0} bytes is larger than servers accept")]
    TooBig(usize),
    /// A component's stanza is from an address outside its domain, or to nobody (XEP-0114 §3).
    #[error("a component's stanza needs a recipient, and a sender in its own domain")]
    Addresses,
}

/// Why a request has no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The answer is an error.
    #[error("the answer is an error: {0}")]
    Refused(#[from] StanzaError),
    /// No answer came in time.
    #[error("no answer came in time")]
    TimedOut,
    /// The session was lost before an answer came. Whether the request was carried out is not known.
    #[error("the session was lost before an answer came")]
    Disconnected,
    /// Too many requests wait for answers already.
    #[error("too many requests wait for answers")]
    TooMany,
    /// The answer holds another payload than it should, or none.
    #[error("the answer does not hold the expected element")]
    Unexpected,
    /// The answer's payload is broken.
    #[error("the answer cannot be read: {0}")]
    Payload(#[from] PayloadError),
}

impl Client {
    /// A client for `account`, which is a bare address, or a full one to ask for that resource.
    pub fn builder(account: Jid, password: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(account, password.into())
    }

    /// The account, as it was given.
    pub fn account(&self) -> &Jid {
        &self.shared.account
    }

    /// The full address of the session, while there is one.
    pub fn jid(&self) -> Option<FullJid> {
        self.shared.online.borrow().clone()
    }

    /// Resolves with the full address once a session is up; `None` if the client was closed first. Cancel-safe.
    pub async fn online(&self) -> Option<FullJid> {
        let mut online = self.shared.online.clone();
        online.wait_for(Option::is_some).await.ok().and_then(|jid| jid.clone())
    }

    /// Sends a stanza: a builder, or one that was received. While there is no session it waits in a queue, and so
    /// does the caller when that is full. Returns when the connection has taken it over; after that, what has not
    /// begun to be written when a connection is lost is sent on the next one.
    ///
    /// Cancel-safe: it is taken over whole or not at all.
    pub async fn send(&self, stanza: impl WriteStanza) -> Result<(), SendError> {
        let bytes = self.serialise(&stanza)?;
        self.commands.send(Command::Send(bytes)).await.map_err(|_| SendError::Closed)
    }

    /// Sends a request and waits for its answer, which counts only from the address that was asked. The result is
    /// returned whole; an error answer is [`RequestError::Refused`].
    ///
    /// Cancel-safe: dropping it forgets the request, and a late answer is ignored. A lost session ends it with
    /// [`RequestError::Disconnected`].
    ///
    /// # Errors
    /// See [`RequestError`]. A builder of type result or error is [`RequestError::Unexpected`].
    pub async fn request(&self, request: IqBuilder) -> Result<Iq, RequestError> {
        if !matches!(request.get_type(), IqType::Get | IqType::Set) {
            return Err(RequestError::Unexpected);
        }
        let id = request.get_id().unwrap_or_default().to_owned();
        let to = request.get_to().cloned();
        let bytes = self.serialise(&request)?;
        self.ask(id, None, to, bytes).await
    }

    /// Sends a request of this id and waits for its answer.
    async fn ask(&self, id: String, from: Option<Jid>, to: Option<Jid>, bytes: Vec<u8>) -> Result<Iq, RequestError> {
        let (reply, answer) = oneshot::channel();
        let waiting = async {
            let command = Command::Request { id, from, to, bytes, reply };
            self.commands.send(command).await.map_err(|_| SendError::Closed)?;
            answer.await.unwrap_or(Err(RequestError::Disconnected))
        };
        let answer = tokio::time::timeout(self.shared.request_timeout, waiting).await;
        let answer = answer.unwrap_or(Err(RequestError::TimedOut))?;
        match answer.type_() {
            IqType::Error => Err(answer.error().unwrap_or_else(StanzaError::undefined_condition).into()),
            _ => Ok(answer),
        }
    }

    /// As [`request`](Self::request), with the answer's payload read as `T`.
    pub async fn query<T: Payload>(&self, request: IqBuilder) -> Result<T, RequestError> {
        let answer = self.request(request).await?;
        answer.payload::<T>().ok_or(RequestError::Unexpected)?.map_err(RequestError::Payload)
    }

    /// Closes the stream in good order: what was taken over is written, the server's end tag is awaited for a
    /// moment. Returns when the connection is gone, and says whether the end tag came: if it did, the server has
    /// taken in all that was sent before (RFC 6120 §4.4).
    pub async fn close(&self) -> bool {
        let (done, closed) = oneshot::channel();
        let clean = self.commands.send(Command::Close(done)).await.is_ok() && closed.await.unwrap_or(false);
        // The task ends right after it has said so.
        self.commands.closed().await;
        clean
    }

    fn serialise(&self, stanza: &impl WriteStanza) -> Result<Vec<u8>, SendError> {
        let mut out = Writer::new(ns::CLIENT);
        stanza.write_to(&mut out);
        let bytes = out.finish();
        if bytes.len() > self.shared.max_bytes { Err(SendError::TooBig(bytes.len())) } else { Ok(bytes) }
    }
}
