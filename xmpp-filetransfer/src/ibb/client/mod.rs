//! In-band streams of a client: who may open which, and what comes for them.

mod drive;
mod link;
mod open;
#[cfg(all(test, feature = "server"))]
#[allow(clippy::unwrap_used)]
mod tests;

pub use link::IbbStream;
pub use open::{Expected, IbbOffer, IbbOffers, Opening, expect, listen, open};

use super::{Acknowledge, Blocks, Carrier, Close, Data, IbbError, IbbLimits, Open, is_sid};
use link::Link;
use open::{Offered, Seat};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use xmpp_core::{
    client::{Client, ClientRegistrar, Flow},
    extension::{Answer, IqContext, IqOutcome, Reply, Target},
    jid::Jid,
    stanza::{AnyStanza, ErrorType, Message, MessageType, StanzaError},
};

/// Answers that are held back, in all: well below the iq handlers that a client runs at a time.
const HELD: usize = 32;
/// An answer is held back no longer, so that the peer does not take us for gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// Errors on their way to senders of messages that belong to no stream.
const COMPLAINTS: usize = 16;

/// The bounds of a client's in-band streams.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IbbSettings {
    /// Those of each.
    pub limits: IbbLimits,
    /// Streams at a time, and streams that are expected.
    pub streams: usize,
    /// Streams of one peer, of those.
    pub of_peer: usize,
    /// Offers of streams that nobody expected and that wait for the application.
    pub offers: usize,
    /// The largest blocks that are agreed to where nobody expected the stream, in bytes.
    pub block_size: u16,
}

impl Default for IbbSettings {
    /// 64 streams, 16 of a peer, 16 offers; blocks of 16 KiB.
    fn default() -> IbbSettings {
        IbbSettings { limits: IbbLimits::default(), streams: 64, of_peer: 16, offers: 16, block_size: 16 << 10 }
    }
}

/// In-band streams for a client, with the [usual settings](IbbSettings::default).
pub fn client(r: &mut ClientRegistrar) {
    client_with(IbbSettings::default())(r);
}

/// In-band streams for a client. Named twice, the first settings hold.
pub fn client_with(settings: IbbSettings) -> impl FnOnce(&mut ClientRegistrar) {
    move |r| {
        if r.provided::<Part>().is_some() {
            return;
        }
        let part = Arc::new(Part::new(settings));
        r.provide(Arc::clone(&part));
        r.feature(Target::Client, super::JINGLE_NS);
        let (opens, data, closes) = (Arc::clone(&part), Arc::clone(&part), Arc::clone(&part));
        r.iq_set_outcome::<Open>(Target::Client, move |cx, open| opens.opened(&cx, open));
        r.iq_set_outcome::<Data>(Target::Client, move |cx, block| data.block(&cx, &block));
        r.iq_set_outcome::<Close>(Target::Client, move |cx, close| closes.closed(&cx, close));
        let sessions = Arc::clone(&part);
        r.on_session(move |start, _| {
            if !start.resumed {
                sessions.fail_all(&IbbError::SessionLost);
            }
        });
        let incoming = Incoming(part);
        r.incoming(move |stanza, client| incoming.0.message(stanza, client));
    }
}

/// The end of a client is the end of its streams.
struct Incoming(Arc<Part>);

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut table = self.0.table();
        table.ended = true;
        (table.expected, table.listener) = (HashMap::new(), None);
        drop(table);
        self.0.fail_all(&IbbError::ClientClosed);
    }
}

/// A peer's address, and the id of a stream with it.
type Key = (Jid, String);

/// Who waits for a stream.
#[derive(Debug)]
struct Waiting {
    block_size: u16,
    give: oneshot::Sender<Seat>,
}

#[derive(Debug, Default)]
struct Table {
    links: HashMap<Key, Arc<Link>>,
    /// Keys that are being opened by us.
    opening: HashSet<Key>,
    expected: HashMap<Key, Waiting>,
    listener: Option<mpsc::Sender<Offered>>,
    ended: bool,
}

impl Table {
    fn has(&self, key: &Key) -> bool {
        self.links.contains_key(key) || self.opening.contains(key)
    }

    fn has_room(&self, peer: &Jid, settings: &IbbSettings) -> bool {
        let keys = self.links.keys().chain(&self.opening);
        let of_peer = keys.filter(|(other, _)| other == peer).count();
        self.links.len() + self.opening.len() < settings.streams && of_peer < settings.of_peer
    }
}

/// What the streams of a client share.
#[derive(Debug)]
pub(super) struct Part {
    settings: IbbSettings,
    table: Mutex<Table>,
    held: Arc<Semaphore>,
    complaints: Arc<Semaphore>,
}

impl Part {
    fn new(settings: IbbSettings) -> Part {
        Part {
            settings,
            table: Mutex::default(),
            held: Arc::new(Semaphore::new(HELD)),
            complaints: Arc::new(Semaphore::new(COMPLAINTS)),
        }
    }

    fn of(client: &Client) -> Result<Arc<Part>, IbbError> {
        client.part().ok_or(IbbError::Without)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self, peer: &Jid, sid: &str) -> Option<Arc<Link>> {
        self.table().links.get(&(peer.clone(), sid.to_owned())).cloned()
    }

    fn fail_all(&self, error: &IbbError) {
        let links: Vec<Arc<Link>> = self.table().links.values().cloned().collect();
        for link in links {
            link.change(|blocks| blocks.fail(error.clone()));
        }
    }

    /// A place in the table for an open stream.
    fn seat(self: &Arc<Part>, table: &mut Table, key: Key, block_size: u16) -> Seat {
        let link = Arc::new(Link::new(Blocks::new(block_size, self.settings.limits.clone())));
        table.links.insert(key.clone(), Arc::clone(&link));
        Seat { part: Arc::clone(self), key, link, block_size, carrier: Carrier::Iq }
    }

    /// A peer opens a stream (§2.1).
    fn opened(self: &Arc<Part>, cx: &IqContext, open: Open) -> IqOutcome {
        let Some(peer) = cx.from.clone() else { return refuse(StanzaError::not_acceptable()) };
        if !is_sid(&open.sid) || open.block_size == 0 {
            return refuse(StanzaError::bad_request());
        }
        let key = (peer, open.sid.clone());
        let mut table = self.table();
        if table.has(&key) {
            return refuse(StanzaError::not_acceptable());
        }
        if !table.has_room(&key.0, &self.settings) {
            return refuse(StanzaError::resource_constraint());
        }
        // Another size is taken: with `wait`, aioxmpp would try the same one again.
        let smaller = || {
            let error = StanzaError::resource_constraint().with_type(ErrorType::Modify);
            refuse(error.with_text("the blocks are too large"))
        };
        match table.expected.get(&key) {
            Some(waiting) if waiting.give.is_closed() => {
                table.expected.remove(&key);
            }
            Some(waiting) if open.block_size > waiting.block_size => return smaller(),
            Some(_) => {
                let Some(Waiting { give, .. }) = table.expected.remove(&key) else { return smaller() };
                let seat = self.seat(&mut table, key, open.block_size).carried(open.carrier);
                // Behind the answer: what is written to it must not overtake that.
                return IqOutcome::Ready(Ok(Reply::empty().then(move || drop(give.send(seat)))));
            }
            None => {}
        }
        let Some(listener) = table.listener.clone() else { return refuse(StanzaError::not_acceptable()) };
        if open.block_size > self.settings.block_size {
            return smaller();
        }
        drop(table);
        let (decide, decision) = oneshot::channel();
        let offered = Offered { key: key.clone(), block_size: open.block_size, carrier: open.carrier, decide };
        match listener.try_send(offered) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return refuse(StanzaError::resource_constraint()),
            Err(mpsc::error::TrySendError::Closed(_)) => return refuse(StanzaError::not_acceptable()),
        }
        let part = Arc::clone(self);
        IqOutcome::Wait(Box::pin(async move { part.decided(key, &open, decision).await }))
    }

    /// The application has looked at the offer of a stream.
    async fn decided(
        self: Arc<Part>,
        key: Key,
        open: &Open,
        decision: oneshot::Receiver<oneshot::Sender<Seat>>,
    ) -> Answer {
        let give = decision.await.map_err(|_| StanzaError::not_acceptable())?;
        let mut table = self.table();
        // Others may have come meanwhile.
        if table.has(&key) || !table.has_room(&key.0, &self.settings) {
            return Err(StanzaError::not_acceptable());
        }
        let seat = self.seat(&mut table, key, open.block_size).carried(open.carrier);
        Ok(Reply::empty().then(move || drop(give.send(seat))))
    }

    /// A block has come (§2.2).
    fn block(&self, cx: &IqContext, block: &Data) -> IqOutcome {
        let link = cx.from.as_ref().and_then(|peer| self.link(peer, &block.sid));
        let Some(link) = link else { return refuse(StanzaError::item_not_found()) };
        match link.receive(block) {
            Err(error) => refuse(error),
            Ok(Acknowledge::Now) => IqOutcome::Ready(Ok(Reply::empty())),
            // With too many answers held back, only the bound on what is unread remains.
            Ok(Acknowledge::WithRoom) => match Arc::clone(&self.held).try_acquire_owned() {
                Err(_) => IqOutcome::Ready(Ok(Reply::empty())),
                Ok(held) => IqOutcome::Wait(Box::pin(async move {
                    let _held = held;
                    let _ = tokio::time::timeout(PATIENCE, link.wait_until(Blocks::has_room)).await;
                    Ok(Reply::empty())
                })),
            },
        }
    }

    /// The peer closes a stream (§2.3), and is answered when what we had written is sent.
    fn closed(&self, cx: &IqContext, close: Close) -> IqOutcome {
        let link = cx.from.as_ref().and_then(|peer| self.link(peer, &close.sid));
        let Some(link) = link else { return refuse(StanzaError::item_not_found()) };
        if let Err(error) = link.change(Blocks::peer_closes) {
            return refuse(error);
        }
        if link.change(|blocks| blocks.is_drained()) {
            link.change(Blocks::closed);
            return IqOutcome::Ready(Ok(Reply::empty()));
        }
        IqOutcome::Wait(Box::pin(async move {
            let _ = tokio::time::timeout(PATIENCE, link.wait_until(Blocks::is_drained)).await;
            link.change(Blocks::closed);
            Ok(Reply::empty())
        }))
    }

    /// A block in a message (§4), or an error about one of ours.
    fn message(&self, stanza: &AnyStanza, client: &Client) -> Flow {
        let AnyStanza::Message(message) = stanza else { return Flow::Continue };
        let Some(peer) = message.from() else { return Flow::Continue };
        if message.type_() == MessageType::Error {
            return self.bounced(message, peer);
        }
        let Some(block) = message.payload::<Data>() else { return Flow::Continue };
        let link = block.as_ref().ok().and_then(|block| self.link(peer, &block.sid));
        // Who writes to all our clients at once is not to learn from an error which of them are there.
        let may_know = link.is_some() || message.to().is_some_and(|to| to.resource().is_some());
        let answer = match (block, link) {
            (Ok(block), Some(link)) => link.receive(&block).map(|_| ()),
            (Ok(_), None) => Err(StanzaError::item_not_found()),
            (Err(error), _) => Err(StanzaError::from(error)),
        };
        if let Err(error) = answer
            && may_know
            && let Some(reply) = message.error_reply(&error)
            && let Ok(permit) = Arc::clone(&self.complaints).try_acquire_owned()
        {
            let client = client.clone();
            tokio::spawn(async move {
                let _permit = permit;
                let _ = client.send(reply).await;
            });
        }
        Flow::Handled
    }

    /// One of our messages has come back.
    fn bounced(&self, message: &Message, peer: &Jid) -> Flow {
        let Some(id) = message.id() else { return Flow::Continue };
        let table = self.table();
        let mut links = table.links.iter().filter(|((other, _), _)| other == peer);
        let Some((_, link)) = links.find(|(_, link)| id.starts_with(link.token())) else { return Flow::Continue };
        let error = message.error().unwrap_or_else(StanzaError::undefined_condition);
        let link = Arc::clone(link);
        drop(table);
        link.change(|blocks| blocks.answered(Err(IbbError::Refused(error))));
        Flow::Handled
    }
}

fn refuse(error: StanzaError) -> IqOutcome {
    IqOutcome::Ready(Err(error))
}
