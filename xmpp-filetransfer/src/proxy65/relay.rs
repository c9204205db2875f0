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
    io::{AsyncReadExt, copy_bidirectional_with_sizes},
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
/// Bytes that a client may send too early; they are dropped (§10).
const EARLY: usize = 64 << 10;
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
    streams: usize,
    of_user: HashMap<BareJid, usize>,
}

impl State {
    /// Sends the first away of the address that has the most who wait, if that has more than this one would then have: so few
    /// addresses do not keep the others out, however many connections they make.
    fn make_room(&mut self, ip: IpAddr) -> bool {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        self.waiting.values().for_each(|(ip, _)| *counts.entry(*ip).or_default() += 1);
        let own = counts.get(&ip).copied().unwrap_or_default();
        let Some((heaviest, most)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return false };
        let first = self.waiting.iter().find(|(_, (ip, _))| *ip == heaviest).map(|(number, _)| *number);
        match first {
            Some(number) if most > own + 1 => self.waiting.remove(&number).is_some(),
            _ => false,
        }
    }
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
        less(&mut self.relay.state().of_address, &self.ip);
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
        let full = state.waiting.len() >= self.settings.waiting;
        if of_address >= self.settings.of_address || (full && !state.make_room(ip)) {
            tracing::debug!(%ip, "too many connections to the relay");
            return None;
        }
        let number = state.next;
        state.next += 1;
        let (stay, leave) = oneshot::channel();
        state.waiting.insert(number, (ip, stay));
        state.of_address.insert(ip, of_address + 1);
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

/// Grants the stream, and drops what comes too early. Ends when the client goes.
async fn linger(socket: &mut TcpStream, hash: &StreamHash) -> io::Result<()> {
    handshake::grant(socket, hash).await?;
    let (mut early, mut buffer) = (0, [0; 512]);
    while early < EARLY {
        match socket.read(&mut buffer).await? {
            0 => break,
            count => early += count,
        }
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
