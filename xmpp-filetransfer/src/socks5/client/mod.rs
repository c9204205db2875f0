//! SOCKS5 bytestreams of a client.

mod addresses;
mod chosen;
mod classic;
mod dial;
mod jingle;
mod listen;
mod proxies;
mod socket;
#[cfg(all(test, feature = "server"))]
#[allow(clippy::unwrap_used)]
mod tests;

pub(crate) use classic::offer_link;
pub use classic::{Expected, expect, offer};
pub use dial::may_dial;
pub use jingle::{Gathered, gather};
pub use proxies::proxies;

use super::{NegotiationError, Query, Streamhost};
use classic::Waiting;
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use xmpp_core::{
    client::{Client, ClientRegistrar, RequestError},
    extension::Target,
    jid::Jid,
    stanza::StanzaError,
};

/// How a client makes SOCKS5 bytestreams, and their bounds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Socks5Settings {
    /// Whether our own addresses are offered. Without, only relays are, and the other side does not learn where we are, unless
    /// we connect to it.
    pub direct: bool,
    /// Whether loopback and link-local addresses are offered and connected to: for tests.
    pub loopback: bool,
    /// Whether addresses of private networks are connected to that a peer has named (RFC 1918, RFC 4193, RFC 6598). That both are
    /// in one is where direct connections are best, and so they are by default; but a peer whose file is wanted, or who is sent one,
    /// can have us knock at what else is there, and sees how that goes by the time it takes. Without, only public ones are
    /// connected to. Services that have a well-known port are never knocked at, but for relays at the ports of the web.
    pub private: bool,
    /// Whether relays of our server are looked for.
    pub discover: bool,
    /// Other relays to offer.
    pub proxies: Vec<Streamhost>,
    /// Addresses of our own that are offered at most.
    pub addresses: usize,
    /// Hosts of the other side that are tried at most, by the way without Jingle.
    pub hosts: usize,
    /// How long connecting to one host may take, with the handshake.
    pub attempt: Duration,
    /// How long after one the next is tried meanwhile (XEP-0260 §4); before relays it is twice that.
    pub stagger: Duration,
    /// How long it may take in all until there is a stream.
    pub patience: Duration,
    /// Streams that are expected at a time.
    pub expected: usize,
}

impl Default for Socks5Settings {
    /// Own addresses, 8 at most, private networks, and relays of the server; 16 hosts, 5 seconds each, 200 ms apart, 25 seconds in all; 64 streams.
    fn default() -> Socks5Settings {
        Socks5Settings {
            direct: true,
            loopback: false,
            private: true,
            discover: true,
            proxies: Vec::new(),
            addresses: 8,
            hosts: 16,
            attempt: Duration::from_secs(5),
            stagger: Duration::from_millis(200),
            patience: Duration::from_secs(25),
            expected: 64,
        }
    }
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Socks5Error {
    /// There is neither an address nor a relay to offer.
    #[error("there is no address to offer")]
    NothingToOffer,
    /// The other side could be reached at none of the addresses, nor could we.
    #[error("neither side could reach the other")]
    Unreachable,
    /// The other side, or a relay, has refused.
    #[error("refused: {0}")]
    Refused(StanzaError),
    /// What the other side said of candidates makes no sense.
    #[error(transparent)]
    Negotiation(#[from] NegotiationError),
    /// The other side names a host that was not offered.
    #[error("the peer names a host that was not offered")]
    UnknownHost,
    /// It has taken too long.
    #[error("no stream came about in time")]
    TimedOut,
    /// The connection to a relay, or from the other side, has failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The session within which it was negotiated is over, or the client has no session.
    #[error("the session is over")]
    Ended,
    /// A stream of this id is expected from this peer already, or as many as may be.
    #[error("no other stream can be expected")]
    NotNow,
    /// The client was built without SOCKS5 bytestreams.
    #[error("the client was built without SOCKS5 bytestreams")]
    Without,
}

impl From<RequestError> for Socks5Error {
    fn from(error: RequestError) -> Socks5Error {
        match error {
            RequestError::Refused(error) => Socks5Error::Refused(error),
            RequestError::TimedOut => Socks5Error::TimedOut,
            _ => Socks5Error::Ended,
        }
    }
}

/// SOCKS5 bytestreams for a client, with the [usual settings](Socks5Settings::default).
pub fn client(r: &mut ClientRegistrar) {
    client_with(Socks5Settings::default())(r);
}

/// SOCKS5 bytestreams for a client. Named twice, the first settings hold.
pub fn client_with(settings: Socks5Settings) -> impl FnOnce(&mut ClientRegistrar) {
    move |r| {
        if r.provided::<Part>().is_some() {
            return;
        }
        let part = Arc::new(Part { settings, table: Mutex::default() });
        r.provide(Arc::clone(&part));
        r.feature(Target::Client, super::JINGLE_NS);
        let offers = Arc::clone(&part);
        r.iq_set_async::<Query, _, _>(Target::Client, move |cx, query| Arc::clone(&offers).offered(cx, query));
        r.on_session(move |start, _| {
            if !start.resumed {
                part.table().proxies = None;
            }
        });
    }
}

#[derive(Debug, Default)]
struct Table {
    expected: HashMap<(Jid, String), Waiting>,
    /// Relays of our server, once they were looked for.
    proxies: Option<Vec<Streamhost>>,
}

/// What the streams of a client share.
#[derive(Debug)]
struct Part {
    settings: Socks5Settings,
    table: Mutex<Table>,
}

impl Part {
    fn of(client: &Client) -> Result<Arc<Part>, Socks5Error> {
        client.part().ok_or(Socks5Error::Without)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
