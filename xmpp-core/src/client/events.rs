//! What a client tells its application.

use crate::{
    jid::FullJid,
    net::{ConnectError, TlsError},
    sasl::{Mechanism, ScramKeys},
    stanza::{Message, Presence, StanzaParseError},
    stream::{NegotiationError, StreamError},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, mpsc};

/// What happened, in the order in which it happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A session is up. Presence has to be sent anew.
    #[non_exhaustive]
    Online {
        /// Our address in it.
        jid: FullJid,
        /// The mechanism that proved who we are, and with SCRAM who the server is, if it is one of ours.
        mechanism: Option<Mechanism>,
        /// The weakest mechanism to accept from now on: for [`ClientBuilder::floor`](super::ClientBuilder::floor) of
        /// the next run.
        floor: Option<Mechanism>,
        /// What logs in without the password as long as that is not changed: for
        /// [`ClientBuilder::keys`](super::ClientBuilder::keys).
        keys: Option<ScramKeys>,
        /// TLS version and cipher suite, for people to read; `None` without TLS.
        tls: Option<String>,
    },
    /// The session was lost, or could not be set up.
    Offline {
        /// Why.
        error: ConnectionError,
        /// When the next attempt is made; `None` if there will be none, because trying again cannot help. Then the
        /// event stream ends.
        retry: Option<Duration>,
    },
    /// A message. Its type may be error.
    Message(Message),
    /// Presence of somebody. Its type may be error.
    Presence(Presence),
    /// A stanza with a header that cannot be read, such as a `from` that is no address.
    Malformed(StanzaParseError),
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The server was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No WebSocket could be opened.
    #[cfg(feature = "websocket")]
    #[error(transparent)]
    WebSocket(#[from] crate::net::WebSocketError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The stream could not be negotiated; a wrong password is among the reasons.
    #[error(transparent)]
    Negotiation(#[from] NegotiationError),
    /// The server ended the stream with an error.
    #[error("the server ended the stream: {0}")]
    Stream(StreamError),
    /// The server sent what breaks the rules of a stream.
    #[error("the server broke the rules of the stream: {0}")]
    Protocol(StreamError),
    /// The server closed the stream.
    #[error("the server closed the stream")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The server was silent too long.
    #[error("the server did not answer in time")]
    TimedOut,
}

impl ConnectionError {
    /// Whether trying again with the same settings cannot help.
    pub fn is_final(&self) -> bool {
        match self {
            ConnectionError::Negotiation(error) => error.is_final(),
            ConnectionError::Tls(error) => error.is_permanent(),
            #[cfg(feature = "websocket")]
            ConnectionError::WebSocket(crate::net::WebSocketError::Tls(error)) => error.is_permanent(),
            ConnectionError::Stream(error) => error.is_final(),
            ConnectionError::Connect(ConnectError::AllFailed { attempts, .. }) => {
                use crate::net::AttemptFailure;
                !attempts.is_empty()
                    && attempts
                        .iter()
                        .all(|one| matches!(&one.reason, AttemptFailure::Tls(error) if error.is_permanent()))
            }
            ConnectionError::Connect(error) => {
                matches!(error, ConnectError::InvalidDomain(_) | ConnectError::NotOffered(_))
            }
            _ => false,
        }
    }
}

/// The events of a client, in order.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::UnboundedReceiver<Event>,
    room: Arc<Room>,
}

/// How many events wait, so that a slow application slows the server, not the memory.
#[derive(Debug)]
struct Room {
    waiting: AtomicUsize,
    capacity: usize,
    taken: Notify,
}

/// The other end.
#[derive(Debug)]
pub(super) struct EventSender {
    sender: mpsc::UnboundedSender<Event>,
    room: Arc<Room>,
}

pub(super) fn channel(capacity: usize) -> (EventSender, Events) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Room { waiting: AtomicUsize::new(0), capacity, taken: Notify::new() });
    (EventSender { sender, room: Arc::clone(&room) }, Events { receiver, room })
}

impl Events {
    /// The next event; `None` when the client has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.receiver.recv().await?;
        self.room.waiting.fetch_sub(1, Ordering::AcqRel);
        self.room.taken.notify_one();
        Some(event)
    }
}

impl EventSender {
    /// Hands an event over. Whoever calls it looks for [`has_room`](Self::has_room) before reading more.
    pub(super) fn send(&self, event: Event) {
        self.room.waiting.fetch_add(1, Ordering::AcqRel);
        // Nobody may listen: a client can be used for requests alone.
        let _ = self.sender.send(event);
    }

    /// How many times over the queue is full: 0 when there is room.
    pub(super) fn fullness(&self) -> usize {
        if self.sender.is_closed() { 0 } else { self.room.waiting.load(Ordering::Acquire) / self.room.capacity.max(1) }
    }

    /// Resolves when an event has been taken, or nobody listens any more. Cancel-safe.
    pub(super) async fn taken(&self) {
        tokio::select! {
            () = self.room.taken.notified() => {}
            () = self.sender.closed() => {}
        }
    }
}
