//! iq round trips to the server itself (XEP-0199), one under way a session.

use std::time::Duration;

use memchr::memmem;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::args::{Kind, Options, Target};
use crate::error::{Error, Result};
use crate::login::Door;
use crate::rows::{Rounds, Row, Span};
use crate::wire::{Conn, Count, PATIENCE};

async fn sessions(target: &Target, options: &Options) -> Result<Vec<Conn>> {
    let count = options.pairs;
    let mut conns = Vec::new();
    match target.kind {
        Kind::Xmpp => {
            let door = Door::new(target, options.presence)?;
            conns.extend(door.many(0..count, options.concurrency).await?.into_iter().map(|s| s.conn));
        }
        Kind::Relay => {
            for number in 0..count {
                conns.push(Conn::open(target, target.echo, number).await?);
            }
        }
    }
    conns.iter_mut().for_each(Conn::forget_unread);
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(conns)
}

async fn pings(mut conn: Conn, domain: String, end: Instant) -> Result<(Conn, usize)> {
    let mut input = vec![0; 4096];
    let mut done = 0;
    let mut answers = Count::of("<iq ");
    while Instant::now() < end {
        conn.send(&format!("<iq type='get' id='p{done:08}' to='{domain}'><ping xmlns='urn:xmpp:ping'/></iq>")).await?;
        loop {
            let n = conn.stream.read(&mut input).await?;
            let piece = input.get(..n).unwrap_or_default();
            if piece.is_empty() || memmem::find(piece, b"error").is_some() {
                return Err(Error::Server(format!("answers a ping with {:?}", String::from_utf8_lossy(piece))));
            }
            if answers.feed(piece) > 0 {
                break;
            }
        }
        done += 1;
    }
    Ok((conn, done))
}

async fn round(conns: &mut Vec<Conn>, target: &Target, time: Duration, rounds: &mut Rounds) -> Result<()> {
    let mut running = JoinSet::new();
    let span = Span::start(target.pid)?;
    let end = Instant::now() + time;
    for conn in conns.drain(..) {
        running.spawn(timeout(time + PATIENCE, pings(conn, target.domain.clone(), end)));
    }
    let mut total = 0;
    while let Some(ended) = running.join_next().await {
        let (conn, done) = ended?.map_err(|_| Error::Timeout("answer to a ping"))??;
        conns.push(conn);
        total += done;
    }
    rounds.add(total, span.end()?)
}

pub(crate) async fn run(options: &Options) -> Result<Vec<Row>> {
    let time = Duration::from_secs_f64(options.seconds);
    let mut at = Vec::new();
    for target in &options.targets {
        let mut conns = sessions(target, options).await?;
        round(&mut conns, target, time / 5, &mut Rounds::default()).await?;
        at.push((target, conns, Rounds::default()));
    }
    for _ in 0..options.rounds {
        for (target, conns, rounds) in &mut at {
            round(conns, target, time, rounds).await?;
        }
    }
    Ok(at.into_iter().flat_map(|(target, _, rounds)| rounds.rows("ping", &target.name)).collect())
}
