//! Moving the bytes: from a file into a stream, and back.

use super::{
    FilesSettings, Phase, Road,
    jingle::Job,
    progress::{Brake, Meter},
    sink::Sink,
};
use crate::ByteStream;
use std::{future::Future, io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

/// Bytes in memory of one transfer.
const BUFFER: usize = 64 * 1024;
/// How often a buffer is taken of what comes within stanzas while the transfer is paused. The peer's requests have to be answered in
/// good time, and so it goes on sending, a little; what nobody takes would be too much one day.
const DRIP: Duration = Duration::from_secs(10);

/// Why the bytes do not flow any more.
#[derive(Debug)]
pub(super) enum Broken {
    /// The user has cancelled it.
    Cancelled,
    /// The file cannot be read, or what is received cannot be written.
    File(io::Error),
    /// The stream has failed, or ended before the file.
    Stream(io::Error),
    /// Nothing has come for a time, and the peer does not answer.
    Silent,
    /// More has come than may, of a file whose length nobody has told.
    TooLong(u64),
    /// It goes on another way.
    Interrupted,
}

/// The bounds of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How long nothing may move before the peer is asked whether it is still there; whoever pauses, may.
    patience: Duration,
    /// How long nothing may move at all.
    standstill: Duration,
    /// Bytes of a file whose length nobody has told.
    unannounced: u64,
    road: Road,
}

impl Bounds {
    pub(super) fn of(settings: &FilesSettings, road: Road) -> Bounds {
        let FilesSettings { patience, standstill, unannounced, .. } = *settings;
        Bounds { patience, standstill, unannounced, road }
    }
}

/// What both directions need.
pub(super) struct Pump<'a, Alive> {
    stream: &'a mut ByteStream,
    meter: &'a mut Meter,
    brake: &'a Brake,
    /// Sees each byte once, in order.
    see: &'a mut (dyn FnMut(&[u8]) + Send),
    bounds: Bounds,
    /// Asks whether the peer is still there.
    alive: Alive,
    /// Is told that it is, since something has moved.
    heard: Option<&'a (dyn Fn() + Send + Sync)>,
    /// What it was at before it was paused.
    before: Option<Phase>,
}

impl<'a, Alive> Pump<'a, Alive> {
    pub(super) fn new(
        stream: &'a mut ByteStream,
        job: &'a mut Job,
        see: &'a mut (dyn FnMut(&[u8]) + Send),
        bounds: Bounds,
        alive: Alive,
    ) -> Pump<'a, Alive> {
        let (meter, brake) = (&mut job.meter, &job.brake);
        Pump { stream, meter, brake, see, bounds, alive, heard: None, before: None }
    }

    /// Tells of each movement.
    pub(super) fn telling(mut self, heard: &'a (dyn Fn() + Send + Sync)) -> Pump<'a, Alive> {
        self.heard = Some(heard);
        self
    }
}

impl<Alive, Answer> Pump<'_, Alive>
where
    Alive: Fn() -> Answer,
    Answer: Future<Output = bool>,
{
    /// Sends `length` bytes, of which the first is number `at` of the file.
    pub(super) async fn send(
        mut self,
        source: &mut (dyn AsyncRead + Send + Unpin),
        at: u64,
        length: u64,
    ) -> Result<(), Broken> {
        let mut buffer = vec![0; BUFFER];
        let mut left = length;
        let mut never = std::future::pending();
        while left > 0 {
            self.may_go(&mut never, None).await?;
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER);
            let read = source.read(buffer.get_mut(..most).unwrap_or_default()).await.map_err(Broken::File)?;
            if read == 0 {
                // The file has become shorter since it was offered.
                return Err(Broken::File(io::ErrorKind::UnexpectedEof.into()));
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            (self.see)(bytes);
            let mut sent = 0;
            while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
                sent = match guarded(self.brake, self.bounds, &self.alive, self.stream.write(rest)).await? {
                    0 => return Err(Broken::Stream(io::ErrorKind::WriteZero.into())),
                    wrote => sent.saturating_add(wrote),
                };
                self.heard();
            }
            left = left.saturating_sub(read as u64);
            self.meter.at(at.saturating_add(length - left), Instant::now());
        }
        guarded(self.brake, self.bounds, &self.alive, self.stream.flush()).await
    }

    /// Receives `length` bytes, of which the first is number `at` of the file, or as many as come where nobody has said how
    /// many there are. Returns how many came. What was read is written before `interruption` is heeded.
    pub(super) async fn receive(
        mut self,
        sink: &mut Sink,
        at: u64,
        length: Option<u64>,
        interruption: &mut (dyn Future<Output = ()> + Send + Unpin),
    ) -> Result<u64, Broken> {
        let mut buffer = vec![0; BUFFER];
        let mut received: u64 = 0;
        let drip = (self.bounds.road == Road::InBand).then_some(DRIP);
        loop {
            let left = length.map_or(u64::MAX, |length| length.saturating_sub(received));
            if left == 0 {
                return Ok(received);
            }
            self.may_go(interruption, drip).await?;
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER);
            let into = buffer.get_mut(..most).unwrap_or_default();
            let reading = guarded(self.brake, self.bounds, &self.alive, self.stream.read(into));
            let read = tokio::select! {
                biased;
                read = reading => read?,
                () = &mut *interruption => return Err(Broken::Interrupted),
            };
            let read = match read {
                0 if length.is_some() => return Err(Broken::Stream(io::ErrorKind::UnexpectedEof.into())),
                0 => return Ok(received),
                read => read,
            };
            self.heard();
            let all = at.saturating_add(received).saturating_add(read as u64);
            if length.is_none() && all > self.bounds.unannounced {
                return Err(Broken::TooLong(self.bounds.unannounced));
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            (self.see)(bytes);
            sink.write(bytes).await.map_err(Broken::File)?;
            received = received.saturating_add(read as u64);
            self.meter.at(at.saturating_add(received), Instant::now());
        }
    }

    fn heard(&self) {
        if let Some(heard) = self.heard {
            heard();
        }
    }

    /// Waits while the transfer is paused; with a `drip` no longer than that.
    async fn may_go(
        &mut self,
        interruption: &mut (dyn Future<Output = ()> + Send + Unpin),
        drip: Option<Duration>,
    ) -> Result<(), Broken> {
        if !self.brake.is_free() {
            if self.before.is_none() {
                self.before = Some(self.meter.now().phase);
                self.meter.phase(Phase::Paused);
            }
            tokio::select! {
                () = self.brake.go() => {}
                () = self.brake.cancelled() => return Err(Broken::Cancelled),
                () = interruption => return Err(Broken::Interrupted),
                () = tokio::time::sleep(drip.unwrap_or_default()), if drip.is_some() => return Ok(()),
            }
        }
        if let Some(before) = self.before.take() {
            self.meter.phase(before);
        }
        Ok(())
    }
}

/// Something of the stream, for as long as the transfer is wanted and the peer is there.
async fn guarded<T, Alive, Answer>(
    brake: &Brake,
    bounds: Bounds,
    alive: &Alive,
    moving: impl Future<Output = io::Result<T>>,
) -> Result<T, Broken>
where
    Alive: Fn() -> Answer,
    Answer: Future<Output = bool>,
{
    tokio::pin!(moving);
    let since = Instant::now();
    loop {
        tokio::select! {
            moved = &mut moving => return moved.map_err(Broken::Stream),
            () = brake.cancelled() => return Err(Broken::Cancelled),
            () = tokio::time::sleep(bounds.patience.min(bounds.standstill)) => {}
        }
        // Whoever answers may still have lost the connection without seeing it.
        if since.elapsed() >= bounds.standstill {
            return Err(Broken::Stream(io::ErrorKind::TimedOut.into()));
        }
        tokio::select! {
            moved = &mut moving => return moved.map_err(Broken::Stream),
            () = brake.cancelled() => return Err(Broken::Cancelled),
            there = alive() => if !there { return Err(Broken::Silent) },
        }
    }
}
