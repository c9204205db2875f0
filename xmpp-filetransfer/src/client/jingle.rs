//! The bytes of a file in a session of Jingle (XEP-0234), either way.

use super::{
    Phase, Road, TransferError,
    progress::{Brake, Meter},
    pump::{Bounds, Broken, Pump},
    sink::Sink,
    source::Source,
    tally::Tally,
    way::Way,
    wire::{Wire, file_of},
};
use crate::{
    ByteStream,
    file::{File, Function, Verdict},
    jingle::Content,
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

/// How long a stream may take to close, and a session to end, when all is done.
pub(super) const FAREWELL: Duration = Duration::from_secs(10);

/// What those who watch a transfer see, and what they want.
pub(super) struct Job {
    pub(super) meter: Meter,
    pub(super) brake: Brake,
    pub(super) started: Instant,
}

/// The part of a file that the other side wants: the first byte, and the one behind the last. `None` if there is no such part.
fn part_of(theirs: &Content, size: u64) -> Option<(u64, u64)> {
    let range = file_of(theirs).and_then(|file| file.range).unwrap_or_default();
    let rest = size.checked_sub(range.offset)?;
    let length = range.length.unwrap_or(rest).min(rest);
    Some((range.offset, range.offset.saturating_add(length)))
}

/// Sends the file, once the session is accepted. `theirs` is what the peer wants, and where it is; `told` says whether it knows the
/// hash already. Says by which road the last of it went, and whether the peer has confirmed it after it had the hash: some
/// end the session as soon as they have the last byte.
pub(super) async fn transmit(
    wire: &mut Wire,
    way: Way,
    theirs: &Content,
    (source, tally, told): (&mut Source, &mut Tally, bool),
    job: &mut Job,
) -> Result<(Road, bool), TransferError> {
    let unwanted = || TransferError::EndedByPeer("it asks for a part that the file does not have".to_owned());
    let (mut at, end) = part_of(theirs, source.size).ok_or_else(unwanted)?;
    job.meter.phase(Phase::Connecting);
    let (mut stream, mut road) = match wire.connect(way, theirs).await {
        Ok(found) => found,
        Err(_) => {
            let (stream, road, offset) = wire.fall_back(None, None).await?;
            at = offset.unwrap_or(at);
            (stream, road)
        }
    };
    loop {
        let left = end.checked_sub(at).ok_or_else(unwanted)?;
        source.go_to(at, tally).await.map_err(TransferError::File)?;
        job.meter.road(road);
        job.meter.phase(Phase::Running);
        let (broken, proposed) = match send_part(wire, (&mut stream, road), (source, tally), (at, left), job).await {
            Ok(()) => {
                let _ = timeout(FAREWELL, stream.shutdown()).await;
                job.meter.phase(Phase::Verifying);
                source.go_to(source.size, tally).await.map_err(TransferError::File)?;
                let told = match tally.hash() {
                    Some(hash) if !told => wire.tell_hash(hash).await,
                    _ => told,
                };
                match confirmed(wire).await {
                    Ok(confirmed) => return Ok((road, confirmed && told)),
                    Err(proposed) => (None, Some(proposed)),
                }
            }
            Err(Interruption::Proposed(content)) => (None, Some(*content)),
            Err(Interruption::Broken(Broken::Stream(error))) => (Some(error), None),
            Err(Interruption::Broken(broken)) => return Err(fatal(broken)),
        };
        // The other end is to see it, too.
        drop(stream);
        job.meter.phase(Phase::Connecting);
        let none = |error| match (error, broken) {
            (TransferError::NoRoad, Some(broken)) => TransferError::Stream(broken),
            (error, _) => error,
        };
        let offset;
        (stream, road, offset) = wire.fall_back(None, proposed).await.map_err(none)?;
        // Who does not say how much it has cannot go on from there.
        at = offset.ok_or(TransferError::NoRoad)?;
    }
}

enum Interruption {
    Broken(Broken),
    Proposed(Box<Content>),
}

async fn send_part(
    wire: &mut Wire,
    (stream, road): (&mut ByteStream, Road),
    (source, tally): (&mut Source, &mut Tally),
    (at, left): (u64, u64),
    job: &mut Job,
) -> Result<(), Interruption> {
    let mut see = |bytes: &[u8]| tally.see(bytes);
    let bounds = Bounds::of(&wire.settings, road);
    let session = wire.session.clone();
    let heard = || session.heard();
    let pump = Pump::new(stream, job, &mut see, bounds, wire.alive()).telling(&heard);
    tokio::select! {
        sent = pump.send(&mut source.file, at, left) => sent.map_err(Interruption::Broken),
        proposed = wire.proposal() => Err(Interruption::Proposed(Box::new(proposed))),
    }
}

/// Waits until the receiver has everything. Otherwise it goes on another way, as it has proposed.
async fn confirmed(wire: &mut Wire) -> Result<bool, Content> {
    let received = wire.received();
    let farewell = wire.settings.farewell;
    tokio::select! {
        biased;
        () = received => {}
        proposed = wire.proposal() => return Err(proposed),
        () = tokio::time::sleep(farewell) => return Ok(false),
    }
    // Who has received ends the session (§6.6).
    let _ = timeout(FAREWELL, wire.over()).await;
    Ok(true)
}

/// Why it does not go on at all.
pub(super) fn fatal(broken: Broken) -> TransferError {
    match broken {
        Broken::Cancelled => TransferError::Cancelled,
        Broken::File(error) => TransferError::file(error, std::path::Path::new("")),
        Broken::Stream(error) => TransferError::Stream(error),
        Broken::TooLong(limit) => TransferError::TooLarge { limit: Some(limit) },
        Broken::Silent | Broken::Interrupted => TransferError::PeerGone,
    }
}

/// Receives the file, once the session is accepted: from where the tally is, up to the byte before `end`. Says by which road the
/// last of it came.
pub(super) async fn take(
    wire: &mut Wire,
    way: Way,
    theirs: &Content,
    (sink, tally, end): (&mut Sink, &mut Tally, Option<u64>),
    job: &mut Job,
) -> Result<Road, TransferError> {
    job.meter.phase(Phase::Connecting);
    let (mut stream, mut road) = match wire.connect(way, theirs).await {
        Ok(found) => found,
        Err(_) => {
            let (stream, road, _) = wire.fall_back(Some(tally.at), None).await?;
            (stream, road)
        }
    };
    let begun = tally.at;
    loop {
        job.meter.road(road);
        job.meter.phase(Phase::Running);
        let (broken, proposed) = match receive_part(wire, (&mut stream, road), (sink, tally, end), job).await {
            Ok(()) if end.is_some() && has_more(&mut stream).await => {
                let received = tally.at.saturating_add(1);
                return Err(TransferError::WrongSize { offered: end.unwrap_or_default(), received });
            }
            Ok(()) => return Ok(road),
            Err(Interruption::Proposed(content)) => (None, Some(*content)),
            Err(Interruption::Broken(Broken::Stream(error))) => (Some(error), None),
            Err(Interruption::Broken(broken)) => return Err(fatal(broken)),
        };
        drop(stream);
        if wire.has_succeeded() {
            return Err(TransferError::WrongSize { offered: end.unwrap_or_default(), received: tally.at });
        }
        job.meter.phase(Phase::Connecting);
        let none = |error, broken| match (error, broken) {
            (TransferError::NoRoad, Some(broken)) => TransferError::Stream(broken),
            (error, _) => error,
        };
        // Without a hash nobody would see where a sender goes on that does not listen.
        if tally.at > begun && tally.hashed().is_none() {
            return Err(none(TransferError::NoRoad, broken));
        }
        match wire.fall_back(Some(tally.at), proposed).await {
            Ok(found) => (stream, road) = (found.0, found.1),
            Err(error) => return Err(none(error, broken)),
        }
    }
}

/// Whether more than was announced has come already.
async fn has_more(stream: &mut ByteStream) -> bool {
    tokio::select! {
        biased;
        more = stream.read_u8() => more.is_ok(),
        () = std::future::ready(()) => false,
    }
}

async fn receive_part(
    wire: &mut Wire,
    (stream, road): (&mut ByteStream, Road),
    (sink, tally, end): (&mut Sink, &mut Tally, Option<u64>),
    job: &mut Job,
) -> Result<(), Interruption> {
    let at = tally.at;
    let mut see = |bytes: &[u8]| tally.see(bytes);
    let (bounds, alive) = (Bounds::of(&wire.settings, road), wire.alive());
    let session = wire.session.clone();
    let heard = || session.heard();
    let mut proposed = None;
    let mut interruption = Box::pin(async { proposed = Some(wire.proposal().await) });
    let pump = Pump::new(stream, job, &mut see, bounds, alive).telling(&heard);
    let received = pump.receive(sink, at, end.map(|end| end.saturating_sub(at)), &mut interruption).await;
    drop(interruption);
    match (received, proposed) {
        (Ok(_), _) => Ok(()),
        (Err(Broken::Interrupted), Some(content)) => Err(Interruption::Proposed(Box::new(content))),
        (Err(broken), _) => Err(Interruption::Broken(broken)),
    }
}

/// The function by which a file can be verified.
pub(super) fn function_of(file: &File) -> Option<Function> {
    // A hash that is there goes before a stronger one that may never come.
    file.proof().or_else(|| Function::strongest(file.functions()))
}

/// The functions by which what came was found to be what was offered.
#[derive(Debug, Default)]
pub(super) struct Proof {
    pub(super) verified: Option<String>,
    pub(super) compared: Option<String>,
}

/// Whether what came is what was offered.
pub(super) async fn verify(wire: &Wire, file: &File, tally: &Tally) -> Result<Proof, TransferError> {
    let Some(hash) = tally.hash() else { return Ok(Proof::default()) };
    let told: Vec<_> = file.hashes.iter().filter(|hash| !hash.value.0.is_empty()).cloned().collect();
    let mut verdict = Verdict::of(&hash, &told);
    if verdict == Verdict::Unknown {
        let told = timeout(wire.settings.checksum, wire.hashes(&hash)).await.unwrap_or_default();
        verdict = Verdict::of(&hash, &told);
    }
    match verdict {
        Verdict::Differs => Err(TransferError::HashMismatch { algo: hash.algo }),
        Verdict::Unknown => Ok(Proof::default()),
        Verdict::Proved => Ok(Proof { verified: Some(hash.algo), compared: None }),
        Verdict::Weak => Ok(Proof { verified: None, compared: Some(hash.algo) }),
    }
}
