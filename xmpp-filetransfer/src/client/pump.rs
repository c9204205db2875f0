//! Moving the bytes: from a file into a stream, and back.

use super::{
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
    /// It goes on another way.
    Interrupted,
}

/// What both directions need.
pub(super) struct Pump<'a, Alive> {
    pub(super) stream: &'a mut ByteStream,
    pub(super) meter: &'a mut Meter,
    pub(super) brake: &'a Brake,
    /// Sees each byte once, in order.
    pub(super) see: &'a mut (dyn FnMut(&[u8]) + Send),
    /// How long nothing may move before the peer is asked whether it is still there; whoever pauses, may.
    pub(super) patience: Duration,
    /// Asks.
    pub(super) alive: Alive,
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
        while left > 0 {
            self.may_go().await?;
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
                sent = match guarded(self.brake, self.patience, &self.alive, self.stream.write(rest)).await? {
                    0 => return Err(Broken::Stream(io::ErrorKind::WriteZero.into())),
                    wrote => sent.saturating_add(wrote),
                };
            }
            left = left.saturating_sub(read as u64);
            self.meter.at(at.saturating_add(length - left), Instant::now());
        }
        guarded(self.brake, self.patience, &self.alive, self.stream.flush()).await
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
        loop {
            let left = length.map_or(u64::MAX, |length| length.saturating_sub(received));
            if left == 0 {
                return Ok(received);
            }
            self.may_go().await?;
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER);
            let into = buffer.get_mut(..most).unwrap_or_default();
            let reading = guarded(self.brake, self.patience, &self.alive, self.stream.read(into));
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
            let bytes = buffer.get(..read).unwrap_or_default();
            (self.see)(bytes);
            sink.write(bytes).await.map_err(Broken::File)?;
            received = received.saturating_add(read as u64);
            self.meter.at(at.saturating_add(received), Instant::now());
        }
    }

    /// Waits while the transfer is paused.
    async fn may_go(&mut self) -> Result<(), Broken> {
        if self.brake.is_free() {
            return Ok(());
        }
        let before = self.meter.now().phase;
        self.meter.phase(super::Phase::Paused);
        tokio::select! {
            () = self.brake.go() => {}
            () = self.brake.cancelled() => return Err(Broken::Cancelled),
        }
        self.meter.phase(before);
        Ok(())
    }
}

/// Something of the stream, for as long as the transfer is wanted and the peer is there.
async fn guarded<T, Alive, Answer>(
    brake: &Brake,
    patience: Duration,
    alive: &Alive,
    moving: impl Future<Output = io::Result<T>>,
) -> Result<T, Broken>
where
    Alive: Fn() -> Answer,
    Answer: Future<Output = bool>,
{
    tokio::pin!(moving);
    loop {
        tokio::select! {
            moved = &mut moving => return moved.map_err(Broken::Stream),
            () = brake.cancelled() => return Err(Broken::Cancelled),
            () = tokio::time::sleep(patience) => {}
        }
        tokio::select! {
            moved = &mut moving => return moved.map_err(Broken::Stream),
            () = brake.cancelled() => return Err(Broken::Cancelled),
            there = alive() => if !there { return Err(Broken::Silent) },
        }
    }
}
