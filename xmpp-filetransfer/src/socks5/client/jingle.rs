//! The candidates of Jingle (XEP-0260): gathered, tried, and one of them used.

use super::{
    Part, Socks5Error, addresses,
    chosen::Chosen,
    classic::{activate, is_closed},
    dial::{Trust, dial},
    listen::{Listening, listen},
    proxies::proxies,
};
use crate::{
    ByteStream,
    socks5::{Action, Candidate, CandidateKind, Link, Negotiation, StreamHash, Streamhost, Transport, priority},
};
use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::Arc,
};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until, timeout_at},
};
use xmpp_core::{client::Client, jid::Jid, stanza::generate_id};

/// Our candidates, with their ports open. Dropped, they are closed.
#[derive(Debug)]
pub struct Gathered {
    part: Arc<Part>,
    client: Client,
    me: Jid,
    peer: Jid,
    sid: String,
    is_initiator: bool,
    listening: Listening,
    candidates: Vec<Candidate>,
}

/// Opens ports at our own addresses and finds relays, for the stream `sid` with `peer`, the full address of a client. `theirs` is
/// what the peer has offered already: the same is not offered again (§2.2). This tells the peer where we are as soon as the
/// [transport](Gathered::transport) is sent: it is for streams that the user wants.
///
/// # Errors
/// [`Socks5Error::Ended`] without a session, [`Socks5Error::Without`]. Where nothing is found there are no candidates, and the peer's
/// may still do.
pub async fn gather(
    client: &Client,
    peer: impl Into<Jid>,
    sid: &str,
    is_initiator: bool,
    theirs: &[Candidate],
) -> Result<Gathered, Socks5Error> {
    let (part, peer) = (Part::of(client)?, peer.into());
    let me: Jid = client.jid().ok_or(Socks5Error::Ended)?.into();
    let hashes = [StreamHash::of(sid, &me, &peer), StreamHash::of(sid, &peer, &me)];
    let listening = listen(addresses::own(&part.settings), hashes, part.settings.attempt).await;
    let relays = proxies(client).await?;
    let direct =
        listening.places.iter().map(|place| (me.clone(), place.ip().to_string(), place.port(), CandidateKind::Direct));
    let relays = relays.into_iter().map(|relay| (relay.jid, relay.host, relay.port, CandidateKind::Proxy));
    let offered = |host: &str, port: u16| theirs.iter().any(|one| one.host == host && one.port == port);
    let candidates =
        direct.chain(relays).zip((0..=u16::MAX).rev()).filter(|((_, host, port, _), _)| !offered(host, *port));
    let candidates = candidates.map(|((jid, host, port, kind), local)| {
        let (cid, priority) = (generate_id(), priority(kind, local));
        Candidate { cid, host, jid, port, priority, kind }
    });
    let candidates = candidates.collect();
    let (client, sid) = (client.clone(), sid.to_owned());
    Ok(Gathered { part, client, me, peer, sid, is_initiator, listening, candidates })
}

impl Gathered {
    /// The transport that offers them.
    pub fn transport(&self) -> Transport {
        let relays = self.candidates.iter().any(|one| one.kind == CandidateKind::Proxy);
        Transport {
            sid: self.sid.clone(),
            dstaddr: relays.then(|| StreamHash::of(&self.sid, &self.me, &self.peer)),
            candidates: self.candidates.clone(),
            ..Transport::default()
        }
    }

    /// Finds out with the peer which candidate is used, once each side has the other's (`theirs`). What it has to tell goes into
    /// `tell`, for a `transport-info`; what the peer's `transport-info` says is taken from `told`. Connects to addresses that
    /// the peer has named, within the bounds of the settings.
    ///
    /// # Errors
    /// [`Socks5Error::Unreachable`] where the initiator should replace the transport (§3), and others where something broke, with
    /// the same consequence.
    pub async fn negotiate(
        self,
        theirs: &Transport,
        told: &mut mpsc::Receiver<Transport>,
        tell: &mpsc::Sender<Transport>,
    ) -> Result<ByteStream, Socks5Error> {
        let deadline = Instant::now() + self.part.settings.patience;
        let mut trial = Trial::new(self, theirs);
        let result = timeout_at(deadline, trial.run(told, tell)).await;
        let socket = result.unwrap_or(Err(Socks5Error::TimedOut))?;
        let others = trial.made.into_values().chain(trial.arrived.into_values()).collect();
        Ok(Box::new(Chosen { socket, _others: others }))
    }
}

/// A negotiation under way.
struct Trial {
    ours: Gathered,
    /// What their hosts know the stream by.
    hash: StreamHash,
    negotiation: Negotiation,
    attempts: JoinSet<(String, io::Result<TcpStream>)>,
    cancels: HashMap<String, AbortHandle>,
    /// Connections that we have made to theirs.
    made: HashMap<String, TcpStream>,
    /// Connections to our addresses, by place.
    arrived: HashMap<usize, TcpStream>,
    /// That to our relay.
    relay: Option<TcpStream>,
}

impl Trial {
    fn new(ours: Gathered, theirs: &Transport) -> Trial {
        let hash = theirs.dstaddr.unwrap_or_else(|| StreamHash::of(&ours.sid, &ours.peer, &ours.me));
        let negotiation = Negotiation::new(ours.is_initiator, ours.candidates.clone(), theirs.candidates.clone());
        Trial {
            ours,
            hash,
            negotiation,
            attempts: JoinSet::new(),
            cancels: HashMap::new(),
            made: HashMap::new(),
            arrived: HashMap::new(),
            relay: None,
        }
    }

    async fn run(
        &mut self,
        told: &mut mpsc::Receiver<Transport>,
        tell: &mpsc::Sender<Transport>,
    ) -> Result<TcpStream, Socks5Error> {
        let settings = self.ours.part.settings.clone();
        let begun = Instant::now();
        let mut next = begun;
        let actions = self.negotiation.start();
        if let Some(socket) = self.carry_out(actions, tell).await? {
            return Ok(socket);
        }
        loop {
            let upcoming = self.negotiation.upcoming();
            let wait = if upcoming == Some(CandidateKind::Proxy) { settings.stagger } else { Default::default() };
            // The peer needs time for its part, too.
            let enough = begun + settings.patience / 2;
            let actions = tokio::select! {
                () = sleep_until(next + wait), if upcoming.is_some() => {
                    next = Instant::now() + settings.stagger;
                    self.try_next();
                    continue;
                }
                Some(attempt) = self.attempts.join_next() => {
                    // What was cancelled has been told of.
                    let Ok((cid, result)) = attempt else { continue };
                    self.cancels.remove(&cid);
                    match result {
                        Ok(socket) => {
                            self.made.insert(cid.clone(), socket);
                            self.negotiation.connected(&cid)
                        }
                        Err(error) => {
                            tracing::debug!(%error, "a candidate cannot be reached");
                            // The next need not wait.
                            next = Instant::now();
                            self.negotiation.unreachable(&cid)
                        }
                    }
                }
                arrival = self.ours.listening.next() => {
                    self.arrived.insert(arrival.0, arrival.1);
                    continue;
                }
                said = told.recv() => match said {
                    Some(said) => self.negotiation.receive(&said)?,
                    None => return Err(Socks5Error::Ended),
                },
                () = sleep_until(enough), if Instant::now() < enough => self.negotiation.give_up_connecting(),
            };
            if let Some(socket) = self.carry_out(actions, tell).await? {
                return Ok(socket);
            }
        }
    }

    fn try_next(&mut self) {
        let Some(one) = self.negotiation.next_attempt() else { return };
        let settings = &self.ours.part.settings;
        let (hash, trust, limit) = (self.hash, Trust::other(settings), settings.attempt);
        let cid = one.cid.clone();
        let handle = self.attempts.spawn(async move {
            let result = dial(&one.host, one.port, hash, trust, limit).await;
            (one.cid, result)
        });
        self.cancels.insert(cid, handle);
    }

    /// Does what is to be done; the stream, if it is there.
    async fn carry_out(
        &mut self,
        actions: Vec<Action>,
        tell: &mpsc::Sender<Transport>,
    ) -> Result<Option<TcpStream>, Socks5Error> {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send(info) => {
                    let transport = info.transport(self.ours.sid.clone());
                    tell.send(transport).await.map_err(|_| Socks5Error::Ended)?;
                }
                Action::Cancel(cid) => {
                    if let Some(handle) = self.cancels.remove(&cid) {
                        handle.abort();
                    }
                }
                Action::Activate(candidate) => {
                    let done = self.activate(candidate).await;
                    actions.extend(self.negotiation.activated(done));
                }
                Action::Established(Link::Theirs(cid)) => {
                    return self.made.remove(&cid).map(Some).ok_or(Socks5Error::Unreachable);
                }
                Action::Established(Link::Ours(cid)) => return self.arrival(&cid).await.map(Some),
                Action::Failed => return Err(Socks5Error::Unreachable),
            }
        }
        Ok(None)
    }

    /// Whether our relay relays.
    async fn activate(&mut self, candidate: Candidate) -> bool {
        let relay = Streamhost::new(candidate.jid, candidate.host, candidate.port);
        let ours = &self.ours;
        let hash = StreamHash::of(&ours.sid, &ours.me, &ours.peer);
        match activate(&ours.client, &relay, &ours.sid, hash, &ours.peer, ours.part.settings.attempt).await {
            Ok(socket) => {
                self.relay = Some(socket);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "our relay is of no use");
                false
            }
        }
    }

    /// The connection that the peer has made to this candidate of ours.
    async fn arrival(&mut self, cid: &str) -> Result<TcpStream, Socks5Error> {
        if let Some(relay) = self.relay.take() {
            return Ok(relay);
        }
        let candidate = self.ours.candidates.iter().find(|one| one.cid == cid).ok_or(Socks5Error::Unreachable)?;
        let mut places = self.ours.listening.places.iter();
        let place = places.position(|place| place.port() == candidate.port && place.ip().to_string() == candidate.host);
        let place = place.ok_or(Socks5Error::Unreachable)?;
        loop {
            if let Some(socket) = self.arrived.remove(&place)
                && !is_closed(&socket)
            {
                return Ok(socket);
            }
            let (number, socket) = self.ours.listening.next().await;
            self.arrived.insert(number, socket);
        }
    }
}
