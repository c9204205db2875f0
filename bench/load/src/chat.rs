//! Chat messages between pairs of sessions of one server: at saturation, and at a fixed rate with their latency.

use std::collections::VecDeque;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

use crate::args::{Kind, Options, Target};
use crate::error::{Error, Result};
use crate::login::{Door, Session};
use crate::rows::{Rounds, Row, Span};
use crate::stats::percentile;
use crate::wire::{Conn, Count, PATIENCE};

const ID: &str = "00000000-0000-4000-8000-000000000000";

/// A message as today's clients send it, about 500 bytes: body, chat state, receipt request, origin id. Only its two ids change.
struct Stanza {
    text: Vec<u8>,
    ids: Vec<usize>,
    number: u64,
}

impl Stanza {
    fn to(jid: &str) -> Stanza {
        let text = format!(
            "<message to='{jid}' type='chat' id='{ID}' xml:lang='en'>\
             <body>The meeting moved to half past three, same room as last week. Please bring the figures for the \
             second quarter &amp; the open questions; I will print the agenda for everybody.</body>\
             <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
             <origin-id xmlns='urn:xmpp:sid:0' id='{ID}'/></message>"
        )
        .into_bytes();
        let ids = memmem::find_iter(&text, ID).collect();
        Stanza { text, ids, number: 0 }
    }

    /// Appends the next message to `out`.
    fn next(&mut self, out: &mut Vec<u8>) {
        self.number += 1;
        let id = format!("{:012x}", self.number);
        for &at in &self.ids {
            if let Some(tail) = self.text.get_mut(at + ID.len() - id.len()..at + ID.len()) {
                tail.copy_from_slice(id.as_bytes());
            }
        }
        out.extend_from_slice(&self.text);
    }
}

/// Two sessions; the first writes to the second.
struct Pair {
    from: Conn,
    to: Conn,
    stanza: Stanza,
    arrived: Count,
    out: Vec<u8>,
    input: Vec<u8>,
}

impl Pair {
    fn new(from: Session, to: Session) -> Pair {
        let stanza = Stanza::to(&to.jid);
        let (mut from, mut to) = (from.conn, to.conn);
        from.forget_unread();
        to.forget_unread();
        Pair { from, to, stanza, arrived: Count::of("</message>"), out: Vec::new(), input: vec![0; 16 * 1024] }
    }

    /// Sends `count` messages in one write: what was acknowledged together is answered together.
    async fn send(&mut self, count: usize) -> Result<()> {
        self.out.clear();
        for _ in 0..count {
            self.stanza.next(&mut self.out);
        }
        self.from.stream.write_all(&self.out).await?;
        Ok(self.from.stream.flush().await?)
    }

    /// Waits for messages at the second session, and returns how many came.
    async fn receive(&mut self) -> Result<usize> {
        let mut answer = [0; 1024];
        loop {
            tokio::select! {
                biased;
                n = self.to.stream.read(&mut self.input) => {
                    let piece = self.input.get(..n?).unwrap_or_default();
                    if piece.is_empty() {
                        return Err(Error::Server("closed a receiver's connection".to_owned()));
                    }
                    return Ok(self.arrived.feed(piece));
                }
                n = self.from.stream.read(&mut answer) => check(answer.get(..n?).unwrap_or_default())?,
            }
        }
    }

    /// Keeps `in_flight` messages under way until `end`; then waits for the last.
    async fn saturate(mut self, in_flight: usize, end: Instant) -> Result<(Pair, Vec<f64>, usize)> {
        let (mut under_way, mut delivered) = (in_flight, 0);
        self.send(in_flight).await?;
        while under_way > 0 {
            let came = self.receive().await?;
            delivered += came;
            under_way =
                under_way.checked_sub(came).ok_or_else(|| Error::Server("delivers more than was sent".to_owned()))?;
            if came > 0 && Instant::now() < end {
                self.send(came).await?;
                under_way += came;
            }
        }
        Ok((self, Vec::new(), delivered))
    }

    /// Sends one message each `period` from `start` to `end`, whether or not the last has arrived, and returns
    /// the microseconds that each took from before its write to after the read that brought it.
    async fn pace(mut self, start: Instant, period: Duration, end: Instant) -> Result<(Pair, Vec<f64>, usize)> {
        let mut ticks = interval_at(start, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut under_way: VecDeque<Instant> = VecDeque::new();
        let mut latencies = Vec::new();
        loop {
            let sending = Instant::now() < end;
            if !sending && under_way.is_empty() {
                let delivered = latencies.len();
                return Ok((self, latencies, delivered));
            }
            tokio::select! {
                biased;
                came = self.receive() => {
                    for _ in 0..came? {
                        let sent = under_way.pop_front();
                        let sent = sent.ok_or_else(|| Error::Server("delivers more than was sent".to_owned()))?;
                        latencies.push(sent.elapsed().as_secs_f64() * 1e6);
                    }
                }
                _ = ticks.tick(), if sending => {
                    under_way.push_back(Instant::now());
                    self.send(1).await?;
                }
                _ = sleep_until(end), if sending => {}
            }
        }
    }
}

/// The sender of a message that is delivered hears nothing, or a presence of its own.
fn check(answer: &[u8]) -> Result<()> {
    let refused = answer.is_empty() || [&b"error"[..], b"<message"].iter().any(|s| memmem::find(answer, s).is_some());
    match refused {
        true => Err(Error::Server(format!("answers a message with {:?}", String::from_utf8_lossy(answer)))),
        false => Ok(()),
    }
}

async fn pairs(target: &Target, options: &Options) -> Result<Vec<Pair>> {
    let count = options.pairs * 2;
    let mut sessions = match target.kind {
        Kind::Xmpp => Door::new(target, options.presence)?.many(0..count, options.concurrency).await?,
        Kind::Relay => {
            let mut all = Vec::new();
            for number in 0..count {
                let conn = Conn::open(target, target.port, number).await?;
                // As long as the addresses that a server hands out here.
                all.push(Session { conn, jid: format!("u{number}@{}/0123456789abcdef", target.domain) });
            }
            all
        }
    }
    .into_iter();
    let mut pairs = Vec::new();
    while let (Some(from), Some(to)) = (sessions.next(), sessions.next()) {
        pairs.push(Pair::new(from, to));
    }
    // Whatever a server sends of itself after the binding is not part of the first round.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(pairs)
}

enum Load {
    Saturate(usize),
    Pace(u32),
}

/// Puts one round of load on all pairs at once.
async fn round(
    pairs: &mut Vec<Pair>,
    target: &Target,
    load: &Load,
    time: Duration,
    rounds: &mut Rounds,
) -> Result<Vec<f64>> {
    let count = pairs.len() as u32;
    let mut running = JoinSet::new();
    let span = Span::start(target.pid)?;
    let now = Instant::now();
    for (number, pair) in pairs.drain(..).enumerate() {
        match *load {
            Load::Saturate(in_flight) => running.spawn(timeout(time + PATIENCE, pair.saturate(in_flight, now + time))),
            Load::Pace(rate) => {
                let period = Duration::from_secs_f64(f64::from(count) / f64::from(rate));
                let start = now + period * number as u32 / count;
                running.spawn(timeout(time + PATIENCE, pair.pace(start, period, now + time)))
            }
        };
    }
    let (mut latencies, mut delivered) = (Vec::new(), 0);
    while let Some(ended) = running.join_next().await {
        let (pair, some, came) = ended?.map_err(|_| Error::Timeout("delivery of all messages"))??;
        pairs.push(pair);
        latencies.extend(some);
        delivered += came;
    }
    rounds.add(delivered, span.end()?)?;
    Ok(latencies)
}

pub(crate) async fn run(options: &Options) -> Result<Vec<Row>> {
    let mut loads: Vec<(String, Load)> =
        options.in_flight.iter().map(|&n| (format!("chat.in_flight_{n}"), Load::Saturate(n))).collect();
    if options.rate > 0 {
        loads.push((format!("chat.at_{}", options.rate), Load::Pace(options.rate)));
    }
    let mut at = Vec::new();
    for target in &options.targets {
        at.push((target, pairs(target, options).await?));
    }
    let time = Duration::from_secs_f64(options.seconds);
    let warm_up = Load::Saturate(1);
    for (target, pairs) in &mut at {
        round(pairs, target, &warm_up, time / 5, &mut Rounds::default()).await?;
    }
    let mut rows = Vec::new();
    for (metric, load) in &loads {
        let mut all: Vec<(Rounds, Vec<f64>, Vec<f64>)> = at.iter().map(|_| Default::default()).collect();
        for _ in 0..options.rounds {
            for ((target, pairs), (rounds, p50, p99)) in at.iter_mut().zip(&mut all) {
                let latencies = round(pairs, target, load, time, rounds).await?;
                p50.push(percentile(&latencies, 0.50));
                p99.push(percentile(&latencies, 0.99));
            }
        }
        for ((target, _), (rounds, p50, p99)) in at.iter().zip(all) {
            rows.extend(rounds.rows(metric, &target.name));
            if matches!(load, Load::Pace(_)) {
                rows.push(Row::median(format!("{metric}.p50"), &target.name, "us", p50));
                rows.push(Row::median(format!("{metric}.p99"), &target.name, "us", p99));
            }
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_stanza_has_its_own_two_equal_ids() {
        let mut stanza = Stanza::to("u1@localhost/0123456789abcdef");
        let mut out = Vec::new();
        stanza.next(&mut out);
        assert!((300..=700).contains(&out.len()), "{}", out.len());
        stanza.next(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("00000000-0000-4000-8000-000000000001").count(), 2);
        assert_eq!(text.matches("00000000-0000-4000-8000-000000000002").count(), 2);
        assert_eq!(Count::of("</message>").feed(text.as_bytes()), 2);
    }

    #[test]
    fn a_bounce_is_an_error_and_own_presence_is_not() {
        assert!(check(b"<message type='error' from='u1@localhost'>").is_err());
        assert!(check(b"<stream:error>").is_err());
        assert!(check(b"").is_err());
        assert!(check(b"<presence from='u1@localhost/x' to='u1@localhost/x'/>").is_ok());
    }
}
