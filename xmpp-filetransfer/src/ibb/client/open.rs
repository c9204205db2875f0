//! How an in-band stream begins, on either side.

use super::{
    super::{BLOCK_SIZE, Carrier, IbbError, Open, is_sid},
    Key, Part, Waiting,
    drive::drive,
    link::{IbbStream, Link},
};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use xmpp_core::{
    client::{Client, RequestError},
    jid::Jid,
    stanza::{Condition, Iq},
};

/// How a stream is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opening {
    /// The most bytes of a block.
    pub block_size: u16,
    /// To what that may come down if the peer wants smaller blocks (`resource-constraint`), by halves.
    pub least_block_size: u16,
    /// What carries the blocks.
    pub carrier: Carrier,
}

impl Default for Opening {
    /// Blocks of 4,096 bytes, 512 at least, in requests.
    fn default() -> Opening {
        Opening { block_size: BLOCK_SIZE, least_block_size: 512, carrier: Carrier::Iq }
    }
}

impl Opening {
    /// With blocks of this size.
    #[must_use]
    pub fn block_size(mut self, bytes: u16) -> Opening {
        (self.block_size, self.least_block_size) = (bytes, self.least_block_size.min(bytes));
        self
    }

    /// With blocks of exactly this size, as Jingle has negotiated it (XEP-0261 §2.2).
    #[must_use]
    pub fn exactly(mut self, bytes: u16) -> Opening {
        (self.block_size, self.least_block_size) = (bytes, bytes);
        self
    }

    /// Carried by these.
    #[must_use]
    pub fn carrier(mut self, carrier: Carrier) -> Opening {
        self.carrier = carrier;
        self
    }
}

/// A stream in the table; it leaves that when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) part: Arc<Part>,
    pub(super) key: Key,
    pub(super) link: Arc<Link>,
    pub(super) block_size: u16,
    pub(super) carrier: Carrier,
}

impl Seat {
    pub(super) fn carried(mut self, carrier: Carrier) -> Seat {
        self.carrier = carrier;
        self
    }

    fn stream(self, client: Client) -> IbbStream {
        let (peer, sid) = self.key.clone();
        let stream = IbbStream::new(Arc::clone(&self.link), peer, sid, self.block_size);
        tokio::spawn(drive(client, self));
        stream
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.part.table().links.remove(&self.key);
        self.link.change(|blocks| blocks.fail(IbbError::Closed));
    }
}

/// A key that is kept free while we ask the peer.
struct Claim {
    part: Arc<Part>,
    key: Key,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.part.table().opening.remove(&self.key);
    }
}

/// Opens a stream to `peer`, the full address of a client, under an id that is in no use between the two (§2.1).
///
/// Cancel-safe in so far as a stream that the peer has accepted meanwhile gets no data.
///
/// # Errors
/// What the peer has refused it with: [`IbbError::Refused`], with `not-acceptable` where it does not want the stream.
pub async fn open(client: &Client, peer: impl Into<Jid>, sid: &str, how: Opening) -> Result<IbbStream, IbbError> {
    let part = Part::of(client)?;
    if !is_sid(sid) || how.block_size == 0 {
        return Err(IbbError::Parameters);
    }
    let key: Key = (peer.into(), sid.to_owned());
    let claim = part.claim(key.clone())?;
    let mut block_size = how.block_size;
    loop {
        let open = Open { block_size, sid: sid.to_owned(), carrier: how.carrier };
        match client.request(Iq::set(key.0.clone()).payload(&open)).await {
            Ok(_) => break,
            Err(RequestError::Refused(error))
                if error.condition == Condition::ResourceConstraint
                    && block_size / 2 >= how.least_block_size.max(1) =>
            {
                block_size /= 2;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut table = part.table();
    if table.ended {
        return Err(IbbError::ClientClosed);
    }
    let seat = part.seat(&mut table, key, block_size).carried(how.carrier);
    drop(table);
    drop(claim);
    Ok(seat.stream(client.clone()))
}

impl Part {
    fn claim(self: &Arc<Part>, key: Key) -> Result<Claim, IbbError> {
        let mut table = self.table();
        if table.ended {
            return Err(IbbError::ClientClosed);
        }
        if table.has(&key) || table.expected.contains_key(&key) {
            return Err(IbbError::Exists);
        }
        if !table.has_room(&key.0, &self.settings) {
            return Err(IbbError::TooMany);
        }
        table.opening.insert(key.clone());
        drop(table);
        Ok(Claim { part: Arc::clone(self), key })
    }
}

/// A stream that a peer may open. Dropped, it may not any more.
#[derive(Debug)]
pub struct Expected {
    part: Arc<Part>,
    key: Key,
    client: Client,
    seat: oneshot::Receiver<Seat>,
}

/// Lets `peer` open the stream `sid` with blocks of at most `block_size` bytes. All other opens of streams are refused with
/// `not-acceptable`, unless somebody [listens](listen).
///
/// # Errors
/// [`IbbError::Exists`], [`IbbError::TooMany`], [`IbbError::Parameters`].
pub fn expect(client: &Client, peer: impl Into<Jid>, sid: &str, block_size: u16) -> Result<Expected, IbbError> {
    let part = Part::of(client)?;
    if !is_sid(sid) || block_size == 0 {
        return Err(IbbError::Parameters);
    }
    let key: Key = (peer.into(), sid.to_owned());
    let (give, seat) = oneshot::channel();
    let mut table = part.table();
    if table.ended {
        return Err(IbbError::ClientClosed);
    }
    if table.has(&key) || table.expected.get(&key).is_some_and(|waiting| !waiting.give.is_closed()) {
        return Err(IbbError::Exists);
    }
    if table.expected.len() >= part.settings.streams {
        return Err(IbbError::TooMany);
    }
    table.expected.insert(key.clone(), Waiting { block_size, give });
    drop(table);
    Ok(Expected { part, key, client: client.clone(), seat })
}

impl Expected {
    /// The stream, once the peer has opened it. There is no time limit. Cancel-safe in so far as dropping it refuses the peer.
    ///
    /// # Errors
    /// [`IbbError::ClientClosed`], and [`IbbError::SessionLost`] if our session ended while the peer opened it.
    pub async fn stream(mut self) -> Result<IbbStream, IbbError> {
        match (&mut self.seat).await {
            Ok(seat) => Ok(seat.stream(self.client.clone())),
            Err(_) if self.part.table().ended => Err(IbbError::ClientClosed),
            Err(_) => Err(IbbError::SessionLost),
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.seat.close();
        let mut table = self.part.table();
        // The place may be another's by now.
        if table.expected.get(&self.key).is_some_and(|waiting| waiting.give.is_closed()) {
            table.expected.remove(&self.key);
        }
    }
}

/// The opening of a stream that nobody expected, on its way to the application.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) key: Key,
    pub(super) block_size: u16,
    pub(super) carrier: Carrier,
    pub(super) decide: oneshot::Sender<oneshot::Sender<Seat>>,
}

/// Streams that peers open and that nobody [expected](expect).
#[derive(Debug)]
pub struct IbbOffers {
    client: Client,
    offers: mpsc::Receiver<Offered>,
}

/// Asks to be told of all streams that peers open, but of those that are [expected](expect). Dropped, they are refused again.
/// There is one who listens at a time.
///
/// # Errors
/// [`IbbError::Exists`] if somebody listens already.
pub fn listen(client: &Client) -> Result<IbbOffers, IbbError> {
    let part = Part::of(client)?;
    let mut table = part.table();
    if table.ended {
        return Err(IbbError::ClientClosed);
    }
    if table.listener.as_ref().is_some_and(|listener| !listener.is_closed()) {
        return Err(IbbError::Exists);
    }
    let (sender, offers) = mpsc::channel(part.settings.offers.max(1));
    table.listener = Some(sender);
    Ok(IbbOffers { client: client.clone(), offers })
}

impl IbbOffers {
    /// The next; `None` when the client has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<IbbOffer> {
        let offered = self.offers.recv().await?;
        Some(IbbOffer { client: self.client.clone(), offered })
    }
}

/// A stream that a peer wants to open. It is refused when this is dropped, and when it is not answered within the time that
/// [the client](xmpp_core::client::ClientBuilder::request_timeout) gives to requests.
#[derive(Debug)]
pub struct IbbOffer {
    client: Client,
    offered: Offered,
}

impl IbbOffer {
    /// Who wants it.
    pub fn peer(&self) -> &Jid {
        &self.offered.key.0
    }

    /// The stream's id.
    pub fn sid(&self) -> &str {
        &self.offered.key.1
    }

    /// The most bytes of a block.
    pub fn block_size(&self) -> u16 {
        self.offered.block_size
    }

    /// What is to carry the blocks.
    pub fn carrier(&self) -> Carrier {
        self.offered.carrier
    }

    /// Takes it.
    ///
    /// # Errors
    /// [`IbbError::SessionLost`] if the peer waits no more.
    pub async fn accept(self) -> Result<IbbStream, IbbError> {
        let (give, seat) = oneshot::channel();
        self.offered.decide.send(give).map_err(|_| IbbError::SessionLost)?;
        let seat = seat.await.map_err(|_| IbbError::SessionLost)?;
        Ok(seat.stream(self.client))
    }

    /// Refuses it (`not-acceptable`).
    pub fn reject(self) {}
}
