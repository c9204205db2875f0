//! What a client tells its application.

use super::{ComponentRequest, Unacknowledged};
use crate::{
    jid::FullJid,
    net::{ConnectError, TlsError},
    sasl::{Mechanism, ScramKeys},
    stanza::{Iq, Message, Presence, StanzaParseError},
    stream::{FastToken, NegotiationError, StreamError},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
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
        /// What logs in once more with a single message, until it expires: for
        /// [`ClientBuilder::token`](super::ClientBuilder::token). There is one where the server gives some (XEP-0484)
        /// and the client has an id ([`ClientBuilder::user_agent`](super::ClientBuilder::user_agent)).
        token: Option<FastToken>,
        /// TLS version and cipher suite, for people to read; `None` without TLS.
        tls: Option<String>,
    },
    /// The connection was lost, and the session goes on over a new one (XEP-0198 §5). Nothing has to be sent anew:
    /// presence is as it was, waiting requests go on waiting, and what either side had not received has been sent
    /// again. An [`Offline`](Event::Offline) comes before it only if there was no connection for a notable time.
    #[non_exhaustive]
    Resumed {
        /// Our address in it, the same as before.
        jid: FullJid,
        /// TLS version and cipher suite of the new connection.
        tls: Option<String>,
    },
    /// What of the stanzas that [`Client::send`](super::Client::send) took over is not known to have arrived: the
    /// session was lost for good, and the server had not acknowledged them (XEP-0198 §4). In the order in which they
    /// were sent. Nothing is sent again by itself, because those that are
    /// [`doubtful`](Unacknowledged::doubtful) may have arrived;
    /// [`Client::send_again`](super::Client::send_again) does.
    ///
    /// It comes after the [`Online`](Event::Online) of the next session, or, when there will be none, before the last
    /// event.
    Unacknowledged(Vec<Unacknowledged>),
    /// The session was lost, or could not be set up. A lost session may still be [`Resumed`](Event::Resumed); when it
    /// is not, [`Online`](Event::Online) follows.
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

/// What goes through the queue of events: a client's, and what a component's application is told besides.
#[derive(Debug)]
pub(super) enum News {
    Event(Event),
    Request(ComponentRequest),
    Answer(Iq),
}

/// The events of a client, in order.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::UnboundedReceiver<News>,
    room: Arc<Room>,
}

/// How many events there were, so that a slow application slows the server, not the memory, and so that the server is
/// told of what has been handled, not of what waits here.
#[derive(Debug)]
struct Room {
    sent: AtomicU64,
    taken: AtomicU64,
    acknowledged: AtomicU64,
    /// Whether the application says itself what it has handled.
    manual: bool,
    capacity: u64,
    changed: Notify,
}

/// The other end.
#[derive(Debug)]
pub(super) struct EventSender {
    sender: mpsc::UnboundedSender<News>,
    room: Arc<Room>,
}

pub(super) fn channel(capacity: usize, manual: bool) -> (EventSender, Events) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Room {
        sent: AtomicU64::new(0),
        taken: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        manual,
        capacity: (capacity as u64).max(1),
        changed: Notify::new(),
    });
    (EventSender { sender, room: Arc::clone(&room) }, Events { receiver, room })
}

impl Events {
    /// The next event; `None` when the client has ended. Cancel-safe.
    ///
    /// A stanza counts as handled when it has been returned here, and is then acknowledged to the server
    /// (XEP-0198 §4); with [`ClientBuilder::manual_acks`](super::ClientBuilder::manual_acks) when
    /// [`acknowledge`](Self::acknowledge) is called after that.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let News::Event(event) = self.news().await? {
                return Some(event);
            }
        }
    }

    /// As [`next`](Self::next), with what only a component's application is told.
    pub(super) async fn news(&mut self) -> Option<News> {
        let news = self.receiver.recv().await?;
        self.room.taken.fetch_add(1, Ordering::AcqRel);
        if !self.room.manual {
            self.room.changed.notify_one();
        }
        Some(news)
    }

    /// All events that [`next`](Self::next) has returned so far are done with: what they told of is stored, or of no
    /// interest. Has a meaning only with [`ClientBuilder::manual_acks`](super::ClientBuilder::manual_acks).
    pub fn acknowledge(&mut self) {
        self.room.acknowledged.store(self.room.taken.load(Ordering::Acquire), Ordering::Release);
        self.room.changed.notify_one();
    }
}

impl Room {
    /// How many events the application is done with.
    fn handled(&self) -> u64 {
        if self.manual { &self.acknowledged } else { &self.taken }.load(Ordering::Acquire)
    }
}

impl EventSender {
    /// Hands an event over, and says its number, from 1. Whoever calls it looks for [`fullness`](Self::fullness)
    /// before reading more.
    pub(super) fn send(&self, event: Event) -> u64 {
        self.tell(News::Event(event))
    }

    /// As [`send`](Self::send), whatever it is.
    pub(super) fn tell(&self, news: News) -> u64 {
        let number = self.room.sent.fetch_add(1, Ordering::AcqRel) + 1;
        // Nobody may listen: a client can be used for requests alone.
        let _ = self.sender.send(news);
        number
    }

    /// How many times over the queue is full: 0 when there is room.
    pub(super) fn fullness(&self) -> u64 {
        if self.sender.is_closed() {
            return 0;
        }
        self.room.sent.load(Ordering::Acquire).saturating_sub(self.room.handled()) / self.room.capacity
    }

    /// The number of the last event that the application is done with. When nobody listens, that is all.
    pub(super) fn handled(&self) -> u64 {
        if self.sender.is_closed() { u64::MAX } else { self.room.handled() }
    }

    /// Whether the application says itself what it has handled.
    pub(super) fn is_manual(&self) -> bool {
        self.room.manual
    }

    /// Resolves when an event has been handled, or nobody listens any more. Cancel-safe.
    pub(super) async fn changed(&self) {
        tokio::select! {
            () = self.room.changed.notified() => {}
            () = self.sender.closed() => {}
        }
    }
}
