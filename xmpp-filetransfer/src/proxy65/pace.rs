//! A connection that is read no faster than it may, and that tells whether anything comes.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

/// What may come at once after a pause, as a part of a second: small enough that the rate is felt by short files too.
const BURST: f64 = 0.25;

/// A bucket that fills with time.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: f64,
    level: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(bytes_per_second: u32, now: Instant) -> Bucket {
        let rate = f64::from(bytes_per_second.max(1));
        Bucket { rate, level: rate * BURST, filled: now }
    }

    /// How many bytes may come now, or when the next may.
    pub(super) fn allowance(&mut self, now: Instant) -> Result<usize, Instant> {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.level = (self.level + passed * self.rate).min((self.rate * BURST).max(1.0));
        self.filled = now;
        // Not byte by byte, unless the rate is that low.
        let worth = (self.rate / 20.0).clamp(1.0, 16_384.0);
        if self.level >= worth.min(self.rate * BURST).max(1.0) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            return Ok(self.level as usize);
        }
        Err(now + Duration::from_secs_f64(((worth - self.level) / self.rate).max(0.001)))
    }

    pub(super) fn take(&mut self, bytes: usize) {
        #[allow(clippy::cast_precision_loss)]
        let taken = bytes as f64;
        self.level -= taken;
    }
}

/// A connection, its pace, and a count of what has come that others can see.
#[derive(Debug)]
pub(super) struct Paced {
    socket: TcpStream,
    bucket: Option<Bucket>,
    pause: Option<Pin<Box<Sleep>>>,
    moved: Arc<AtomicU64>,
}

impl Paced {
    pub(super) fn new(socket: TcpStream, bytes_per_second: Option<u32>, moved: Arc<AtomicU64>) -> Paced {
        let bucket = bytes_per_second.map(|rate| Bucket::new(rate, Instant::now()));
        Paced { socket, bucket, pause: None, moved }
    }
}

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let most = loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            match this.bucket.as_mut().map(|bucket| bucket.allowance(Instant::now())) {
                None => break out.remaining(),
                Some(Ok(most)) => break most.min(out.remaining()),
                Some(Err(when)) => this.pause = Some(Box::pin(sleep_until(when))),
            }
        };
        let mut part = ReadBuf::new(out.initialize_unfilled_to(most));
        ready!(Pin::new(&mut this.socket).poll_read(cx, &mut part))?;
        let count = part.filled().len();
        out.advance(count);
        if let Some(bucket) = &mut this.bucket {
            bucket.take(count);
        }
        this.moved.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_rate_and_no_more() {
        for rate in [1_u32, 10, 1_000, 1_000_000, u32::MAX] {
            let start = Instant::now();
            let mut bucket = Bucket::new(rate, start);
            let (mut now, mut given) = (start, 0_u64);
            while now < start + Duration::from_secs(10) {
                match bucket.allowance(now) {
                    Ok(bytes) => {
                        bucket.take(bytes);
                        given += bytes as u64;
                    }
                    Err(when) => {
                        assert!(when > now);
                        now = when;
                    }
                }
            }
            let (least, most) = (u64::from(rate) * 9, u64::from(rate) * 11 + 1);
            assert!((least..=most).contains(&given), "{given} of {rate} a second in 10 seconds");
        }
    }
}
