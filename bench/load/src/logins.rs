//! Logins: connect, (TLS,) SCRAM, bind, close; and beside them the bare sums of SCRAM in this process.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::args::{Kind, Options, Target};
use crate::error::{Error, Result};
use crate::login::Door;
use crate::rows::{Rounds, Row, Span};
use crate::scram::Bare;

/// Logs in and out, `concurrency` at a time, through all accounts in turn, until `end`.
async fn logins(door: &Arc<Door>, options: &Options, end: Instant) -> Result<usize> {
    let (step, accounts) = (options.concurrency, options.accounts);
    let mut running = JoinSet::new();
    for worker in 0..step {
        let door = door.clone();
        running.spawn(async move {
            let mut done = 0;
            while Instant::now() < end {
                door.login((worker + done * step) % accounts).await?.close().await?;
                done += 1;
            }
            Ok::<usize, Error>(done)
        });
    }
    let mut total = 0;
    while let Some(ended) = running.join_next().await {
        total += ended??;
    }
    Ok(total)
}

async fn round(door: &Arc<Door>, target: &Target, options: &Options, rounds: &mut Rounds) -> Result<()> {
    let time = Duration::from_secs_f64(options.seconds);
    let span = Span::start(target.pid)?;
    let total = logins(door, options, Instant::now() + time).await?;
    let spent = span.end()?;
    // The last connections' ends may fall to the next round, as did those before to this one.
    rounds.add(total, spent)?;
    sleep(Duration::from_millis(100)).await;
    Ok(())
}

pub(crate) async fn run(options: &Options) -> Result<Vec<Row>> {
    let mut at = Vec::new();
    for target in options.targets.iter().filter(|t| t.kind == Kind::Xmpp) {
        let door = Door::new(target, false)?;
        // Every account once: the keys of all are derived before it counts.
        for session in door.many(0..options.accounts, options.concurrency).await? {
            session.close().await?;
        }
        at.push((target, door, Rounds::default()));
    }
    let (mut verify, mut derive) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        for (target, door, rounds) in &mut at {
            round(door, target, options, rounds).await?;
        }
        if options.bare {
            let bare = Bare::measure(Duration::from_millis(200))?;
            verify.push(bare.verify);
            derive.push(bare.derive);
        }
    }
    let metric = format!("login.{}", options.label);
    let mut rows: Vec<Row> =
        at.into_iter().flat_map(|(target, _, rounds)| rounds.rows(&metric, &target.name)).collect();
    if options.bare {
        rows.push(Row::median("scram.verify", "bare", "us", verify));
        rows.push(Row::median("scram.derive", "bare", "us", derive));
    }
    Ok(rows)
}
