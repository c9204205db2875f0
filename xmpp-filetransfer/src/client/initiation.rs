//! Files without Jingle: stream initiation (XEP-0095, XEP-0096).

use super::{
    FilesSettings, Offer, Part, Phase, Report, Road, TransferError, Ways,
    find::Taker,
    jingle::{Job, fatal},
    pump::{Bounds, Broken, Pump},
    receive::keep,
    sink::Sink,
    source::Source,
    tally::Tally,
    wire::refused,
};
use crate::{
    ByteStream,
    file::{File, Range, Words},
    ibb,
    si::{self, SiFile, SiRange, StreamInitiation},
    socks5,
};
use std::{io, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, mpsc::error::TrySendError, oneshot},
    time::timeout,
};
use xmpp_core::{
    client::{Client, RequestError},
    extension::{IqContext, IqOutcome, Reply},
    jid::{FullJid, Jid},
    payload::ping::Ping,
    stanza::{Condition, Iq, StanzaError, generate_id},
};

/// How long a stream may take to close when all is done.
const FAREWELL: Duration = Duration::from_secs(5);

type Decision = Result<StreamInitiation, StanzaError>;

/// A file that was offered without a session.
pub(super) struct Initiated {
    client: Client,
    peer: FullJid,
    id: String,
    method: &'static str,
    ranged: bool,
    /// Dropped, the offer is declined.
    decide: oneshot::Sender<Decision>,
}

impl Initiated {
    pub(super) fn reject(self, text: Option<&str>) {
        let error = text.into_iter().fold(si::declined(), |error, text| error.with_text(text));
        let _ = self.decide.send(Err(error));
    }
}

/// The kinds of bytestreams that we can do, the better first.
fn methods(ways: Ways) -> impl Iterator<Item = &'static str> {
    [(ways.sockets, socks5::NS), (ways.in_band, ibb::NS)].into_iter().filter_map(|(does, ns)| does.then_some(ns))
}

/// What the offer says of the file.
fn file(file: SiFile, mime_type: Option<String>) -> File {
    File {
        date: file.date.map(|date| date.to_string()),
        descriptions: file.desc.map(|text| Words { lang: None, text }).into_iter().collect(),
        media_type: mime_type,
        name: Some(file.name),
        size: Some(file.size),
        range: file.ranged.then(Range::default),
        ..File::default()
    }
}

/// Somebody offers a file.
pub(super) fn offered(part: &Arc<Part>, cx: &IqContext, si: &StreamInitiation) -> IqOutcome {
    match announce(part, cx, si) {
        Ok((decision, place)) => IqOutcome::Wait(Box::pin(async move {
            let _place = place;
            decision.await.unwrap_or_else(|_| Err(si::declined())).map(Reply::payload)
        })),
        Err(error) => IqOutcome::Ready(Err(error)),
    }
}

fn announce(
    part: &Arc<Part>,
    cx: &IqContext,
    si: &StreamInitiation,
) -> Result<(oneshot::Receiver<Decision>, OwnedSemaphorePermit), StanzaError> {
    let (id, said) = si.offered()?;
    let peer = cx.from.clone().and_then(|from| from.into_full().ok()).ok_or_else(StanzaError::bad_request)?;
    let known = |method: &&str| si.methods().any(|offered| offered == *method);
    let method = methods(part.settings.ways).find(known).ok_or_else(si::no_valid_streams)?;
    let client = part.client().as_ref().and_then(xmpp_core::client::WeakClient::upgrade);
    let client = client.ok_or_else(StanzaError::service_unavailable)?;
    let place = Arc::clone(&part.undecided).try_acquire_owned().map_err(|_| StanzaError::resource_constraint())?;
    let (decide, decision) = oneshot::channel();
    let (id, ranged) = (id.to_owned(), said.ranged);
    let road = Initiated { client, peer: peer.clone(), id, method, ranged, decide };
    let offer = Offer::initiated(part, peer, file(said, si.mime_type.clone()), road);
    let listener = part.listener().offers.clone().ok_or_else(si::declined)?;
    match listener.try_send(offer) {
        Ok(()) => Ok((decision, place)),
        Err(TrySendError::Full(_)) => Err(StanzaError::resource_constraint()),
        Err(TrySendError::Closed(_)) => Err(si::declined()),
    }
}

/// A stream that the peer is to open.
enum Expected {
    Sockets(socks5::Expected),
    InBand(ibb::Expected),
}

impl Expected {
    fn of(initiated: &Initiated, settings: &FilesSettings) -> Result<Expected, TransferError> {
        let Initiated { client, peer, id, method, .. } = initiated;
        if *method == socks5::NS {
            return socks5::expect(client, peer.clone(), id).map(Expected::Sockets).map_err(|_| TransferError::NoRoad);
        }
        let expected = ibb::expect(client, peer.clone(), id, settings.ibb.block_size);
        expected.map(Expected::InBand).map_err(|_| TransferError::NoRoad)
    }

    async fn stream(self) -> Result<(ByteStream, Road), TransferError> {
        match self {
            Expected::Sockets(expected) => {
                let (stream, relayed) = expected.link().await.map_err(|_| TransferError::NoRoad)?;
                Ok((stream, if relayed { Road::Proxy } else { Road::Direct }))
            }
            Expected::InBand(expected) => {
                let stream = expected.stream().await.map_err(|_| TransferError::NoRoad)?;
                Ok((Box::new(stream), Road::InBand))
            }
        }
    }
}

/// Whether there is still somebody (XEP-0199).
fn alive(
    client: &Client,
    peer: &FullJid,
) -> impl Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync + use<> {
    let (client, peer) = (client.clone(), Jid::from(peer.clone()));
    move || {
        let (client, ping) = (client.clone(), Iq::get(peer.clone()).payload(&Ping));
        Box::pin(async move {
            match client.request(ping).await {
                Ok(_) => true,
                Err(RequestError::Refused(error)) => error.condition == Condition::FeatureNotImplemented,
                Err(_) => false,
            }
        })
    }
}

/// Receives a file that was offered.
pub(super) async fn receive(
    part: &Part,
    initiated: Initiated,
    file: &File,
    mut sink: Sink,
    job: &mut Job,
) -> Result<Report, TransferError> {
    let mut tally = Tally::new(None);
    let brake = job.brake.clone();
    let taken = tokio::select! {
        biased;
        taken = take(part, initiated, file, &mut sink, &mut tally, job) => taken,
        () = brake.cancelled() => Err(TransferError::Cancelled),
    };
    let (road, moved) = match taken {
        Ok(taken) => taken,
        Err(error) => {
            keep(sink, &error).await;
            return Err(error);
        }
    };
    job.meter.phase(Phase::Verifying);
    let place = sink.place();
    let path = sink.publish().await.map_err(|error| TransferError::file(error, &place))?;
    let (bytes, elapsed) = (tally.at, job.started.elapsed());
    Ok(Report { path, url: None, road, bytes, moved, verified: None, compared: None, elapsed })
}

async fn take(
    part: &Part,
    initiated: Initiated,
    file: &File,
    sink: &mut Sink,
    tally: &mut Tally,
    job: &mut Job,
) -> Result<(Road, u64), TransferError> {
    let settings = &part.settings;
    let size = file.size.unwrap_or_default();
    // Only what has a date is known again.
    let known = initiated.ranged && file.date.is_some();
    let offset = if known && sink.length() < size { sink.length() } else { 0 };
    sink.resume(offset, |_| {}).await.map_err(TransferError::File)?;
    tally.at = offset;
    let expected = Expected::of(&initiated, settings)?;
    let range = (offset > 0).then_some(SiRange { offset: Some(offset), length: None });
    let Initiated { client, peer, method, decide, .. } = initiated;
    decide.send(Ok(StreamInitiation::accept(method, range))).map_err(|_| TransferError::TimedOut)?;
    job.meter.phase(Phase::Connecting);
    let opened = timeout(settings.connecting, expected.stream()).await;
    let (mut stream, road) = opened.map_err(|_| TransferError::NoRoad)??;
    job.meter.road(road);
    job.meter.phase(Phase::Running);
    let mut see = |bytes: &[u8]| tally.see(bytes);
    let (bounds, alive) = (Bounds::of(settings, road), alive(&client, &peer));
    let pump = Pump::new(&mut stream, job, &mut see, bounds, alive);
    let mut never = Box::pin(std::future::pending());
    pump.receive(sink, offset, Some(size.saturating_sub(offset)), &mut never).await.map_err(fatal)?;
    // Who sends more than was said sends something else.
    if let Ok(Ok(1..)) = timeout(FAREWELL, stream.read(&mut [0])).await {
        return Err(TransferError::WrongSize { offered: size, received: size.saturating_add(1) });
    }
    let _ = timeout(FAREWELL, stream.shutdown()).await;
    Ok((road, tally.moved))
}

/// Offers a file, and sends it.
pub(super) async fn send(
    client: &Client,
    settings: &FilesSettings,
    (taker, ways): (&Taker, Ways),
    file: &File,
    mut source: Source,
    job: &mut Job,
) -> Result<Report, TransferError> {
    let brake = job.brake.clone();
    let size = source.size;
    let (road, moved) = tokio::select! {
        biased;
        sent = offer(client, settings, (&taker.jid, ways), file, &mut source, job) => sent?,
        () = brake.cancelled() => return Err(TransferError::Cancelled),
    };
    let elapsed = job.started.elapsed();
    Ok(Report { path: None, url: None, road, bytes: size, moved, verified: None, compared: None, elapsed })
}

async fn offer(
    client: &Client,
    settings: &FilesSettings,
    (peer, ways): (&FullJid, Ways),
    file: &File,
    source: &mut Source,
    job: &mut Job,
) -> Result<(Road, u64), TransferError> {
    let id = generate_id();
    let offered: Vec<&str> = methods(ways).collect();
    let said = SiFile {
        name: file.name.clone().unwrap_or_default(),
        size: source.size,
        hash: None,
        date: file.modified(),
        desc: file.descriptions.first().map(|words| words.text.clone()),
        ranged: true,
    };
    let si = StreamInitiation::offer(&id, file.media_type.as_deref(), said, &offered);
    let answer = client.query::<StreamInitiation>(Iq::set(peer.clone()).payload(&si)).await;
    let answer = answer.map_err(answered)?;
    let strange = || TransferError::EndedByPeer("its answer makes no sense".to_owned());
    let method = answer.method().filter(|method| offered.contains(method)).ok_or_else(strange)?;
    let (at, length) = answer.wanted(source.size).ok_or_else(strange)?;
    job.meter.phase(Phase::Connecting);
    let (mut stream, road) = open(client, settings, peer, &id, method).await?;
    let mut tally = Tally::new(None);
    source.go_to(at, &mut tally).await.map_err(TransferError::File)?;
    job.meter.road(road);
    job.meter.phase(Phase::Running);
    let mut see = |bytes: &[u8]| tally.see(bytes);
    let (bounds, alive) = (Bounds::of(settings, road), alive(client, peer));
    let pump = Pump::new(&mut stream, job, &mut see, bounds, alive);
    pump.send(&mut source.file, at, length).await.map_err(fatal)?;
    job.meter.phase(Phase::Verifying);
    stream.shutdown().await.map_err(TransferError::Stream)?;
    // What is on its way counts only when the peer has closed it, too.
    match timeout(settings.farewell, stream.read(&mut [0])).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Err(fatal(Broken::Stream(error))),
        _ => Ok((road, tally.moved)),
    }
}

async fn open(
    client: &Client,
    settings: &FilesSettings,
    peer: &FullJid,
    id: &str,
    method: &str,
) -> Result<(ByteStream, Road), TransferError> {
    if method == socks5::NS {
        let made = socks5::offer_link(client, peer.clone(), id).await;
        let (stream, relayed) = made.map_err(|error| {
            tracing::debug!(%error, "there is no connection for a file");
            TransferError::NoRoad
        })?;
        return Ok((stream, if relayed { Road::Proxy } else { Road::Direct }));
    }
    let opening = ibb::Opening::default().block_size(settings.block_size);
    let stream = ibb::open(client, peer.clone(), id, opening).await;
    Ok((Box::new(stream.map_err(|error| TransferError::Stream(io::Error::other(error)))?), Road::InBand))
}

fn answered(error: RequestError) -> TransferError {
    match error {
        RequestError::Refused(error) if error.has_application("no-valid-streams", si::NS) => TransferError::NoRoad,
        RequestError::Refused(error) => match error.condition {
            Condition::Forbidden | Condition::NotAcceptable | Condition::ResourceConstraint => {
                TransferError::Declined { text: error.text.map(String::from) }
            }
            _ => refused(error),
        },
        error => error.into(),
    }
}
