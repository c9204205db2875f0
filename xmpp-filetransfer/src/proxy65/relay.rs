//! Connections that wait for each other, and streams between them.

use super::{Proxy65Settings, pace::Paced};
use crate::socks5::{Mode, Query, StreamHash, handshake};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    time::{sleep, timeout},
};
use xmpp_core::{
    extension::{Answer, Reply},
    jid::{BareJid, Jid},
    stanza::StanzaError,
};

/// Each way of a stream.
const BUFFER: usize = 32 << 10;
/// After an error of the system, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Gives up a connection that waits.
type Take = oneshot::Sender<oneshot::Sender<Guest>>;

#[derive(Debug, Default)]
struct State {
    /// One or two that have asked for the same stream, each with a number.
    parked: HashMap<StreamHash, Vec<(u64, Take)>>,
    next: u64,
    /// Connections that are not relayed, in the order in which they came: whose they are, and what sends them away when it
    /// is dropped.
    waiting: BTreeMap<u64, (IpAddr, oneshot::Sender<()>)>,
    of_address: HashMap<IpAddr, usize>,
    of_network: HashMap<IpAddr, usize>,
    streams: usize,
    of_user: HashMap<BareJid, usize>,
}

impl State {
    /// Sends the first away of the network that has the most who wait, if that has more than this one's would then have, or
    /// else of the address that has: so few networks, and few addresses in them, do not keep the others out, however many
    /// connections they make.
    fn make_room(&mut self, ip: IpAddr) -> bool {
        let all: Vec<IpAddr> = self.waiting.values().map(|(ip, _)| *ip).collect();
        let heaviest_network = heaviest(all.iter().map(|ip| network(*ip)), network(ip));
        let of_it = |ip: &&IpAddr| heaviest_network.is_none_or(|heaviest| network(**ip) == heaviest);
        let address = match heaviest_network {
            Some(_) => most(all.iter().filter(of_it).copied()).map(|(ip, _)| ip),
            None => heaviest(all.iter().copied(), ip),
        };
        let first = self.waiting.iter().find(|(_, (ip, _))| Some(*ip) == address).map(|(number, _)| *number);
        first.is_some_and(|number| self.waiting.remove(&number).is_some())
    }
}

/// Who is there most often, and how often.
fn most(all: impl Iterator<Item = IpAddr>) -> Option<(IpAddr, usize)> {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    all.for_each(|ip| *counts.entry(ip).or_default() += 1);
    counts.into_iter().max_by_key(|(_, count)| *count)
}

/// Who is there most often, if that is more often than one would then be who comes.
fn heaviest(all: impl Iterator<Item = IpAddr> + Clone, who: IpAddr) -> Option<IpAddr> {
    let own = all.clone().filter(|ip| *ip == who).count();
    most(all).filter(|(_, most)| *most > own + 1).map(|(ip, _)| ip)
}

/// A relay at work.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) settings: Proxy65Settings,
    state: Mutex<State>,
    stopped: watch::Sender<bool>,
}

/// Ends the relay when it is dropped.
#[derive(Debug)]
pub(super) struct Stop(pub(super) Arc<Relay>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A place among the connections of an address.
#[derive(Debug)]
struct Place {
    relay: Arc<Relay>,
    ip: IpAddr,
    /// Its number among those that wait.
    waiting: Option<u64>,
}

impl Place {
    /// It is relayed now.
    fn moves_on(&mut self) {
        if let Some(number) = self.waiting.take() {
            self.relay.state().waiting.remove(&number);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.moves_on();
        let mut state = self.relay.state();
        less(&mut state.of_address, &self.ip);
        less(&mut state.of_network, &network(self.ip));
    }
}

/// A place among the streams of a user.
#[derive(Debug)]
struct Slot {
    relay: Arc<Relay>,
    user: BareJid,
}

/// A place beside who else wants a stream.
#[derive(Debug)]
struct Parked {
    relay: Arc<Relay>,
    hash: StreamHash,
    number: u64,
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.relay.unpark(&self.hash, self.number);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.relay.state();
        state.streams = state.streams.saturating_sub(1);
        less(&mut state.of_user, &self.user);
    }
}

/// A client's connection.
#[derive(Debug)]
struct Guest {
    socket: TcpStream,
    place: Place,
}

fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// What counts as one address: a /64 of IPv6 is one household's.
fn household(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
        ip => ip,
    }
}

/// What counts as one network: what a provider gives a site of its own is a /48 of IPv6.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !(u128::MAX >> 48)).into()),
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) & !0xFF).into()),
    }
}

impl Relay {
    pub(super) fn new(settings: Proxy65Settings) -> Relay {
        Relay { settings, state: Mutex::default(), stopped: watch::Sender::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes ports and streams.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    async fn stopped(&self) {
        let mut stopped = self.stopped.subscribe();
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }

    /// Takes connections until the relay ends.
    pub(super) async fn accept(self: Arc<Relay>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stopped() => return,
            };
            match accepted {
                Ok((socket, address)) => {
                    // One too many is closed: to leave it in the queue would make others wait for it.
                    let Some((place, leave)) = self.place(household(address.ip())) else { continue };
                    tokio::spawn(Arc::clone(&self).receive(Guest { socket, place }, leave));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the relay could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// A place for a connection, and what tells when it is taken away again.
    fn place(self: &Arc<Relay>, ip: IpAddr) -> Option<(Place, oneshot::Receiver<()>)> {
        let mut state = self.state();
        let of_address = state.of_address.get(&ip).copied().unwrap_or_default();
        let of_network = state.of_network.get(&network(ip)).copied().unwrap_or_default();
        let full = state.waiting.len() >= self.settings.waiting;
        let too_many = of_address >= self.settings.of_address || of_network >= self.settings.of_network;
        if too_many || (full && !state.make_room(ip)) {
            tracing::debug!(%ip, "too many connections to the relay");
            return None;
        }
        let number = state.next;
        state.next += 1;
        let (stay, leave) = oneshot::channel();
        state.waiting.insert(number, (ip, stay));
        state.of_address.insert(ip, of_address + 1);
        state.of_network.insert(network(ip), of_network + 1);
        drop(state);
        Some((Place { relay: Arc::clone(self), ip, waiting: Some(number) }, leave))
    }

    /// Hears which stream a client wants, and lets it wait for the other and the activation.
    async fn receive(self: Arc<Relay>, guest: Guest, leave: oneshot::Receiver<()>) {
        tokio::select! {
            // Whoever is relayed does not wait any more, which is no reason to send it away.
            biased;
            () = self.attend(guest) => {}
            _ = leave => {}
            () = self.stopped() => {}
        }
    }

    async fn attend(self: &Arc<Relay>, mut guest: Guest) {
        let asked = timeout(self.settings.handshake, handshake::asked(&mut guest.socket)).await;
        let Ok(Ok(hash)) = asked else { return };
        let Some((_parked, mut taken)) = self.park(hash) else { return };
        let waited = tokio::select! {
            give = &mut taken => give.ok(),
            _ = timeout(self.settings.activation, linger(&mut guest.socket, &hash)) => None,
        };
        // The other may have gone meanwhile.
        if let Some(give) = waited {
            drop(give.send(guest));
        }
    }

    /// A place beside who else wants this stream: there are two (§10).
    fn park(self: &Arc<Relay>, hash: StreamHash) -> Option<(Parked, oneshot::Receiver<oneshot::Sender<Guest>>)> {
        let (take, taken) = oneshot::channel();
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let parked = state.parked.entry(hash).or_default();
        if parked.len() >= 2 {
            return None;
        }
        parked.push((number, take));
        drop(state);
        Some((Parked { relay: Arc::clone(self), hash, number }, taken))
    }

    fn unpark(&self, hash: &StreamHash, number: u64) {
        let mut state = self.state();
        if let Some(parked) = state.parked.get_mut(hash) {
            parked.retain(|(one, _)| *one != number);
            if parked.is_empty() {
                state.parked.remove(hash);
            }
        }
    }

    /// The requester says that the stream is to begin (§6.3.5).
    pub(super) async fn activate(self: Arc<Relay>, requester: Jid, query: Query) -> Answer {
        let (Some(sid), Some(target)) = (&query.sid, &query.activate) else { return Err(StanzaError::bad_request()) };
        if query.mode == Mode::Udp {
            return Err(StanzaError::feature_not_implemented());
        }
        let hash = StreamHash::of(sid, &requester, target);
        let slot = self.slot(requester.to_bare(), &hash)?;
        let both = self.state().parked.remove(&hash).unwrap_or_default();
        let mut guests = Vec::with_capacity(2);
        for (_, take) in both {
            let (give, given) = oneshot::channel();
            if take.send(give).is_ok()
                && let Ok(guest) = given.await
            {
                guests.push(guest);
            }
        }
        let Ok([one, other]) = <[Guest; 2]>::try_from(guests) else { return Err(StanzaError::not_allowed()) };
        tokio::spawn(self.relay([one, other], slot));
        Ok(Reply::empty())
    }

    /// A place for a stream for which both are there.
    fn slot(self: &Arc<Relay>, user: BareJid, hash: &StreamHash) -> Result<Slot, StanzaError> {
        let mut state = self.state();
        match state.parked.get(hash).map(Vec::len) {
            None => return Err(StanzaError::item_not_found()),
            Some(2) => {}
            Some(_) => return Err(StanzaError::not_allowed()),
        }
        let of_user = state.of_user.get(&user).copied().unwrap_or_default();
        if state.streams >= self.settings.streams || of_user >= self.settings.streams_of_user {
            return Err(StanzaError::resource_constraint());
        }
        state.streams += 1;
        state.of_user.insert(user.clone(), of_user + 1);
        drop(state);
        Ok(Slot { relay: Arc::clone(self), user })
    }

    /// Passes on what comes, until both have ended, nothing comes any more, or the relay ends.
    async fn relay(self: Arc<Relay>, guests: [Guest; 2], _slot: Slot) {
        let moved = Arc::new(AtomicU64::new(0));
        let [(mut one, _one), (mut other, _other)] = guests.map(|mut guest| {
            guest.place.moves_on();
            let _ = guest.socket.set_nodelay(true);
            (Paced::new(guest.socket, self.settings.bytes_per_second, Arc::clone(&moved)), guest.place)
        });
        tokio::select! {
            end = copy_bidirectional_with_sizes(&mut one, &mut other, BUFFER, BUFFER) => {
                tracing::debug!(?end, "a bytestream has ended");
            }
            () = silence(&moved, self.settings.idle) => tracing::debug!("a bytestream was silent too long"),
            () = self.stopped() => {}
        }
    }
}

/// Grants the stream. Ends when the client goes without a word; what it says too early stays unread, in what the system has for
/// a connection, until the stream begins.
async fn linger(socket: &mut TcpStream, hash: &StreamHash) -> io::Result<()> {
    handshake::grant(socket, hash).await?;
    if socket.peek(&mut [0]).await? > 0 {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Resolves when for so long nothing has moved.
async fn silence(moved: &AtomicU64, idle: Duration) {
    let mut before = moved.load(Ordering::Relaxed);
    loop {
        sleep(idle).await;
        let now = moved.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn relay() -> Arc<Relay> {
        let mut settings = Proxy65Settings::default();
        (settings.waiting, settings.of_address, settings.of_network) = (8, 4, 6);
        Arc::new(Relay::new(settings))
    }

    fn ip(text: &str) -> IpAddr {
        household(text.parse().unwrap())
    }

    #[test]
    fn addresses_are_of_networks() {
        assert_eq!(ip("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::".parse::<IpAddr>().unwrap());
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), "2001:db8:1::".parse::<IpAddr>().unwrap());
        assert_eq!(network(ip("::ffff:192.0.2.7")), "192.0.2.0".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn abuse_a100_a_network_of_many_addresses_does_not_take_all_places() {
        let relay = relay();
        let mut held: Vec<_> = (0..100).filter_map(|n| relay.place(ip(&format!("2001:db8:1:{n:x}::1")))).collect();
        assert_eq!(held.len(), 6, "as many as of a network");
        let others = ["2001:db8:2::1", "192.0.2.1"].map(|one| relay.place(ip(one)));
        assert!(others.iter().all(Option::is_some));
        // Now it is full, and who comes gets the place of the network that has the most.
        let mut late = ["2001:db8:3::1", "198.51.100.1", "203.0.113.1", "2001:db8:4::1", "2001:db8:5::1"]
            .map(|one| relay.place(ip(one)));
        assert!(late.iter().all(Option::is_some));
        let gone = held.iter_mut().filter_map(|(_, leave)| leave.try_recv().err());
        assert_eq!(gone.filter(|error| *error == oneshot::error::TryRecvError::Closed).count(), 5);
        let stays = |place: &mut Option<(Place, oneshot::Receiver<()>)>| {
            place.as_mut().unwrap().1.try_recv() == Err(oneshot::error::TryRecvError::Empty)
        };
        assert!(late.iter_mut().all(stays));
        // All have as much: there is no place to give away.
        assert!(relay.place(ip("2001:db8:6::1")).is_none());
        drop((held, others, late));
        let state = relay.state();
        assert!(state.waiting.is_empty() && state.of_address.is_empty() && state.of_network.is_empty());
    }

    #[test]
    fn abuse_a100_an_address_does_not_take_the_places_of_its_network() {
        let relay = relay();
        let mut held: Vec<_> = ["2001:db8:1:1::1"; 4].iter().filter_map(|one| relay.place(ip(one))).collect();
        let _others = ["2001:db8:2:1::1"; 4].map(|one| relay.place(ip(one)).unwrap());
        assert!(relay.place(ip("2001:db8:1:1::1")).is_none(), "as many as of an address");
        let _neighbour = relay.place(ip("2001:db8:1:2::1")).unwrap();
        assert!(held[0].1.try_recv().is_err());
    }
}
