//! Bytestreams without Jingle (XEP-0065 §5, §6): the requester offers hosts, the target picks one.

use super::{
    Part, Socks5Error, addresses,
    dial::{Trust, dial},
    listen::{Listening, listen},
    proxies::proxies,
};
use crate::{
    ByteStream,
    socks5::{Mode, Query, StreamHash, Streamhost},
};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpStream, sync::oneshot};
use xmpp_core::{
    client::Client,
    extension::{Answer, IqContext, Reply},
    jid::Jid,
    stanza::{Iq, StanzaError},
};

/// So long another connection of the same peer is waited for, which goes before one that is there.
const GRACE: Duration = Duration::from_millis(100);
/// The longest id of a stream, in bytes.
const SID: usize = 1023;

/// Offers `peer`, the full address of a client, a bytestream: at our own addresses, and at relays.
///
/// Cancel-safe: the ports are closed.
///
/// # Errors
/// [`Socks5Error::Refused`] with `not-acceptable` where the peer does not want it, with `item-not-found` where it could reach
/// none of the hosts.
pub async fn offer(client: &Client, peer: impl Into<Jid>, sid: &str) -> Result<ByteStream, Socks5Error> {
    offer_link(client, peer, sid).await.map(|(stream, _)| stream)
}

/// As [`offer`], and says whether it goes by way of a relay.
pub(crate) async fn offer_link(
    client: &Client,
    peer: impl Into<Jid>,
    sid: &str,
) -> Result<(ByteStream, bool), Socks5Error> {
    let (part, peer) = (Part::of(client)?, peer.into());
    let me: Jid = client.jid().ok_or(Socks5Error::Ended)?.into();
    let settings = &part.settings;
    let hash = StreamHash::of(sid, &me, &peer);
    let mut listening = listen(addresses::own(settings), [hash, hash], settings.attempt).await;
    let relays = proxies(client).await?;
    let own = listening.places.iter().map(|place| Streamhost::new(me.clone(), place.ip().to_string(), place.port()));
    let hosts: Vec<Streamhost> = own.chain(relays.iter().cloned()).collect();
    if hosts.is_empty() {
        return Err(Socks5Error::NothingToOffer);
    }
    let answer: Query = client.query(Iq::set(peer.clone()).payload(&Query::offer(sid, hosts))).await?;
    let used = answer.used.ok_or(Socks5Error::UnknownHost)?.jid;
    if used == me {
        let arrival = tokio::time::timeout(settings.attempt, chosen(&mut listening)).await;
        let socket = arrival.map_err(|_| Socks5Error::TimedOut)?;
        return Ok((Box::new(socket), false));
    }
    drop(listening);
    let relay = relays.into_iter().find(|relay| relay.jid == used).ok_or(Socks5Error::UnknownHost)?;
    let socket = activate(client, &relay, sid, hash, &peer, settings.attempt).await?;
    Ok((Box::new(socket), true))
}

/// The connection that the peer uses, which it has told us is ours. Some peers connect to all hosts at once, and keep the first of
/// the list that works without closing the others.
async fn chosen(listening: &mut Listening) -> TcpStream {
    let (mut place, mut socket) = listening.next().await;
    while place > 0 || is_closed(&socket) {
        match tokio::time::timeout(GRACE, listening.next()).await {
            Ok((other, better)) if other < place || is_closed(&socket) => (place, socket) = (other, better),
            Ok(_) => {}
            Err(_) if is_closed(&socket) => (place, socket) = listening.next().await,
            Err(_) => break,
        }
    }
    socket
}

/// Whether the other side has closed it.
pub(super) fn is_closed(socket: &TcpStream) -> bool {
    let mut byte = [0];
    let mut buffer = tokio::io::ReadBuf::new(&mut byte);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match socket.poll_peek(&mut cx, &mut buffer) {
        std::task::Poll::Ready(Ok(count)) => count == 0,
        std::task::Poll::Ready(Err(_)) => true,
        std::task::Poll::Pending => false,
    }
}

/// Connects to our relay, and has it relay (§6.3.5).
pub(super) async fn activate(
    client: &Client,
    relay: &Streamhost,
    sid: &str,
    hash: StreamHash,
    peer: &Jid,
    limit: Duration,
) -> Result<TcpStream, Socks5Error> {
    let socket = dial(&relay.host, relay.port, hash, Trust::Own, limit).await?;
    client.request(Iq::set(relay.jid.clone()).payload(&Query::activate(sid, peer.clone()))).await?;
    Ok(socket)
}

/// Who waits for a stream.
#[derive(Debug)]
pub(super) struct Waiting(oneshot::Sender<(TcpStream, bool)>);

/// A bytestream that a peer may offer. Dropped, it may not any more.
#[derive(Debug)]
pub struct Expected {
    part: Arc<Part>,
    key: (Jid, String),
    stream: oneshot::Receiver<(TcpStream, bool)>,
}

/// Lets `peer` offer the bytestream `sid`. The hosts that it offers will be connected to, in their order; those that others
/// offer are refused with `not-acceptable`.
///
/// # Errors
/// [`Socks5Error::NotNow`].
pub fn expect(client: &Client, peer: impl Into<Jid>, sid: &str) -> Result<Expected, Socks5Error> {
    let part = Part::of(client)?;
    let key = (peer.into(), sid.to_owned());
    let (give, stream) = oneshot::channel();
    let mut table = part.table();
    table.expected.retain(|_, waiting| !waiting.0.is_closed());
    if sid.len() > SID || table.expected.contains_key(&key) || table.expected.len() >= part.settings.expected {
        return Err(Socks5Error::NotNow);
    }
    table.expected.insert(key.clone(), Waiting(give));
    drop(table);
    Ok(Expected { part, key, stream })
}

impl Expected {
    /// The stream, once the peer has offered it and was reached. There is no time limit.
    ///
    /// # Errors
    /// [`Socks5Error::Unreachable`] if the peer has offered it and could not be reached, [`Socks5Error::Ended`] with the client.
    pub async fn stream(self) -> Result<ByteStream, Socks5Error> {
        self.link().await.map(|(stream, _)| stream)
    }

    /// As [`stream`](Self::stream), and says whether it goes by way of a relay.
    pub(crate) async fn link(mut self) -> Result<(ByteStream, bool), Socks5Error> {
        match (&mut self.stream).await {
            Ok((socket, relayed)) => Ok((Box::new(socket), relayed)),
            Err(_) => Err(Socks5Error::Unreachable),
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.stream.close();
        let mut table = self.part.table();
        if table.expected.get(&self.key).is_some_and(|waiting| waiting.0.is_closed()) {
            table.expected.remove(&self.key);
        }
    }
}

impl Part {
    /// A peer offers hosts (§5.3.1).
    pub(super) async fn offered(self: Arc<Part>, cx: IqContext, query: Query) -> Answer {
        let (Some(peer), Some(sid), Some(me)) = (cx.from, query.sid, cx.to) else {
            return Err(StanzaError::bad_request());
        };
        if query.hosts.is_empty() {
            return Err(StanzaError::bad_request());
        }
        if query.mode == Mode::Udp {
            return Err(StanzaError::not_acceptable());
        }
        let waiting = self.table().expected.remove(&(peer.clone(), sid.clone()));
        let waiting = waiting.filter(|waiting| !waiting.0.is_closed()).ok_or_else(StanzaError::not_acceptable)?;
        let hash = query.dstaddr.unwrap_or_else(|| StreamHash::of(&sid, &peer, &me));
        let trust = Trust::other(&self.settings);
        let all = async {
            for host in query.hosts.into_iter().take(self.settings.hosts) {
                match dial(&host.host, host.port, hash, trust, self.settings.attempt).await {
                    Ok(socket) => return Some((host.jid, socket)),
                    Err(error) => tracing::debug!(%error, host = ?host.host, "a host of a bytestream cannot be used"),
                }
            }
            None
        };
        let found = tokio::time::timeout(self.settings.patience, all).await.ok().flatten();
        let (jid, socket) = found.ok_or_else(StanzaError::item_not_found)?;
        let (give, relayed) = (waiting.0, jid != peer);
        Ok(Reply::payload(Query::used(sid, jid)).then(move || drop(give.send((socket, relayed)))))
    }
}
