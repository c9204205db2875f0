//! Resident memory a session: idle, authenticated, with a bound resource.

use std::time::Duration;

use tokio::time::sleep;

use crate::args::{Kind, Options, Target};
use crate::error::{Error, Result};
use crate::login::Door;
use crate::process::Memory;
use crate::rows::Row;
use crate::stats::slope;

/// Longest wait for a server's memory to come to rest.
const REST: Duration = Duration::from_secs(4);

/// Waits until two looks half a second apart differ by less than a thousandth.
async fn at_rest(pid: u32) -> Result<Memory> {
    let step = Duration::from_millis(500);
    let mut last = Memory::of(pid)?;
    for _ in 0..(REST.as_millis() / step.as_millis()) {
        sleep(step).await;
        let now = Memory::of(pid)?;
        let moved = (now.anonymous - last.anonymous).abs();
        last = now;
        if moved < now.anonymous / 1_000.0 {
            break;
        }
    }
    Ok(last)
}

async fn one(target: &Target, options: &Options) -> Result<Vec<Row>> {
    let pid = target.pid.ok_or_else(|| Error::Usage("memory needs the --pid of the server".to_owned()))?;
    let door = Door::new(target, options.presence)?;
    let mut sizes = options.sessions.clone();
    sizes.sort_unstable();
    let mut sessions = Vec::new();
    let mut measured = Vec::new();
    for size in sizes {
        sessions.extend(door.many(sessions.len()..size, options.concurrency).await?);
        measured.push((size as f64, at_rest(pid).await?));
    }
    let metric = format!("memory.{}", options.label);
    let mut rows = Vec::new();
    for (name, part) in [("anonymous", (|m| m.anonymous) as fn(&Memory) -> f64), ("rss", |m| m.rss)] {
        let points: Vec<(f64, f64)> = measured.iter().map(|(n, m)| (*n, part(m))).collect();
        let value = slope(&points).ok_or_else(|| Error::Usage("memory needs two different --sessions".to_owned()))?;
        let rounds = points.iter().map(|p| p.1).collect();
        let unit = "B".to_owned();
        rows.push(Row { metric: format!("{metric}.{name}"), target: target.name.clone(), unit, value, rounds });
    }
    Ok(rows)
}

pub(crate) async fn run(options: &Options) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for target in options.targets.iter().filter(|t| t.kind == Kind::Xmpp) {
        rows.extend(one(target, options).await?);
    }
    Ok(rows)
}
