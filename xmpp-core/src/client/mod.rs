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

mod access;
mod asked;
mod attach;
mod backoff;
mod builder;
mod component;
mod desk;
mod entity;
mod events;
mod exchange;
mod extend;
mod handled;
mod keepalive;
mod ledger;
mod negotiate;
mod output;
mod receipt;
mod requests;
mod task;
mod unacknowledged;
mod visit;
mod weak;

pub use asked::ComponentRequest;
pub use backoff::Backoff;
pub use builder::{BuildError, ClientBuilder};
pub use component::{
    Component, ComponentBuilder, ComponentEvent, ComponentEvents, ComponentExtension, ComponentRegistrar, ForComponent,
};
pub use events::{ConnectionError, Event, Events};
pub use extend::{ClientRegistrar, Extension, Flow, ForBoth, ForClient, SessionStart};
pub use keepalive::Keepalive;
pub use receipt::{Handover, Receipt};
pub use unacknowledged::{SavedSession, SavedStanza, Unacknowledged};
pub use visit::{Visit, VisitError};
pub use weak::WeakClient;

use crate::{
    jid::{FullJid, Jid},
    payload::{Payload, PayloadError},
    stanza::{Iq, IqBuilder, IqType, StanzaError, WriteStanza},
    xml::{Writer, ns},
};
use desk::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{sync::Arc, time::Duration};
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
    parts: extend::Parts,
    online: watch::Receiver<Option<FullJid>>,
    /// Whether somebody wants the client to end.
    leaving: watch::Sender<bool>,
    request_timeout: Duration,
    /// Of a stanza, as both ends see it.
    max_bytes: AtomicUsize,
    /// How hosts are reached.
    #[cfg(feature = "https")]
    connector: Option<crate::net::Connector>,
}

/// Why something was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The client was closed, or has given up; the event stream says why.
    #[error("the client is closed")]
    Closed,
    /// The stanza is larger than [`ClientBuilder::max_stanza_bytes`], or than what the server takes (XEP-0478).
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

    /// What the client reaches hosts with, for more of the same: its resolver, its TLS and its patience. `None` where it
    /// reaches none itself: over a pipe, unless [`ClientBuilder::tls`] was called too.
    #[cfg(feature = "https")]
    pub fn connector(&self) -> Option<&crate::net::Connector> {
        self.shared.connector.as_ref()
    }

    /// Resolves with the full address once a session is up; `None` if the client was closed first. Cancel-safe.
    pub async fn online(&self) -> Option<FullJid> {
        let mut online = self.shared.online.clone();
        online.wait_for(Option::is_some).await.ok().and_then(|jid| jid.clone())
    }

    /// Sends a stanza: a builder, or one that was received. While there is no session it waits in a queue, and so
    /// does the caller when that is full. Returns when the client has taken it over. With stream management
    /// (XEP-0198) it is then kept until the server has acknowledged it, and a full queue also waits for that.
    ///
    /// What becomes of it when the connection is lost: in a session that is resumed, what the server has not handled
    /// is sent again, in order, so that everything arrives exactly once. In a new session, what the lost connection
    /// has not taken is sent; what may have arrived is told by [`Event::Unacknowledged`]. Without stream management,
    /// what the connection has taken counts as sent.
    ///
    /// Cancel-safe: it is taken over whole or not at all.
    pub async fn send(&self, stanza: impl WriteStanza) -> Result<(), SendError> {
        let bytes = self.serialise(&stanza)?;
        self.commands.send(Command::Send(bytes, None)).await.map_err(|_| SendError::Closed)
    }

    /// As [`send`](Self::send), and tells what becomes of the stanza: whether the server has it, or whether that is in doubt.
    ///
    /// ```no_run
    /// # async fn run(client: xmpp_core::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use xmpp_core::{client::Handover, jid::Jid, stanza::Message};
    ///
    /// let message = Message::chat("romeo@example.net".parse::<Jid>()?).body("Hark!");
    /// let mut receipt = client.send_followed(message).await?;
    /// if receipt.settled().await == Handover::Acknowledged {
    ///     println!("the server has it");
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub async fn send_followed(&self, stanza: impl WriteStanza) -> Result<Receipt, SendError> {
        let bytes = self.serialise(&stanza)?;
        let (sender, receipt) = receipt::receipt();
        self.commands.send(Command::Send(bytes, Some(sender))).await.map_err(|_| SendError::Closed)?;
        Ok(receipt)
    }

    /// Sends a request and waits for its answer, which counts only from the address that was asked. The result is
    /// returned whole; an error answer is [`RequestError::Refused`].
    ///
    /// Cancel-safe: dropping it forgets the request, and a late answer is ignored. A lost connection does not end it,
    /// if the session is resumed; a lost session does, with [`RequestError::Disconnected`], unless it had not been
    /// sent yet.
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

    /// Sends what was lost ([`Event::Unacknowledged`]) again, in order, each with the time at which it was first sent
    /// (XEP-0203). What is [`doubtful`](Unacknowledged::doubtful) may then arrive twice.
    ///
    /// ```no_run
    /// # use xmpp_core::client::{Client, Event, Events};
    /// # async fn run(client: Client, mut events: Events) -> Result<(), Box<dyn std::error::Error>> {
    /// while let Some(event) = events.next().await {
    ///     if let Event::Unacknowledged(lost) = event {
    ///         client.send_again(lost).await?;
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// Not cancel-safe: some may have been taken over.
    pub async fn send_again(&self, lost: Vec<Unacknowledged>) -> Result<(), SendError> {
        for stanza in lost {
            self.send(stanza).await?;
        }
        Ok(())
    }

    /// Says whether somebody looks at the client (XEP-0352). While nobody does, a server that knows of this holds back
    /// what can wait, so that a phone's radio can sleep. The client is active at first; what is said holds for sessions
    /// to come too. It reveals nothing to others.
    ///
    /// Cancel-safe: dropped early it says nothing.
    ///
    /// # Errors
    /// [`SendError::Closed`] when the client has ended.
    pub async fn set_active(&self, active: bool) -> Result<(), SendError> {
        self.commands.send(Command::Activity { active }).await.map_err(|_| SendError::Closed)
    }

    /// What it takes to resume the session (XEP-0198 §5) after this process is gone, as of now: all that was sent
    /// before is in it. `None` if the server does not allow that, or there was no session yet. For
    /// [`ClientBuilder::session`]. Whatever is sent or received after makes it stale: what was received comes again
    /// then, and of what was sent no more is known than that it was.
    pub async fn session(&self) -> Option<SavedSession> {
        let (reply, saved) = oneshot::channel();
        self.commands.send(Command::Save(reply)).await.ok()?;
        saved.await.ok().flatten()
    }

    /// Ends the client without ending the session: the connection is dropped, and the server keeps the session for a
    /// while. `None` if it cannot be resumed; then it has ended. Events that were not taken come again when it is
    /// resumed.
    pub async fn suspend(&self) -> Option<SavedSession> {
        let (reply, saved) = oneshot::channel();
        self.shared.leaving.send_replace(true);
        self.commands.send(Command::Suspend(reply)).await.ok()?;
        let saved = saved.await.ok().flatten();
        self.commands.closed().await;
        saved
    }

    /// Closes the stream in good order: what was taken over is written, and its acknowledgement (XEP-0198) and the
    /// server's end tag are awaited for a moment. Returns when the connection is gone, and says whether the server has
    /// all that was sent before: it has said so, or its end tag came (RFC 6120 §4.4). What it may not have is told by
    /// a last [`Event::Unacknowledged`]. Without a connection nothing is waited for.
    pub async fn close(&self) -> bool {
        let (done, closed) = oneshot::channel();
        self.shared.leaving.send_replace(true);
        let clean = self.commands.send(Command::Close(done)).await.is_ok() && closed.await.unwrap_or(false);
        // The task ends right after it has said so.
        self.commands.closed().await;
        clean
    }

    fn serialise(&self, stanza: &impl WriteStanza) -> Result<Vec<u8>, SendError> {
        let mut out = Writer::new(ns::CLIENT);
        stanza.write_to(&mut out);
        let bytes = self.shared.parts.complete(out.finish());
        let most = self.shared.max_bytes.load(Ordering::Relaxed);
        if bytes.len() > most { Err(SendError::TooBig(bytes.len())) } else { Ok(bytes) }
    }
}
