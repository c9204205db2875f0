//! Files with a client that others wrote: `gajim_files.py` and `dino_files.py` ask in lines on standard input, and this does it.
//!
//! An order is words with tabs between them, one order a line: `greet JID`, `send JID PATH`, `take FOLDER`, `decline`, `stop AT`,
//! `pause AT`, `go`. What happens is said in lines of the same kind. `SOCKETS=0` leaves in-band streams alone, `DIRECT=0` offers no
//! address of this machine and `RELAY=0` no relay, `IN_BAND=0` leaves only connections.

use crate::{
    check::Checked,
    peer::{Peer, Way, optional},
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;
use xmpp_core::{
    client::{Client, Event},
    jid::Jid,
    stanza::Presence,
};
use xmpp_filetransfer::client::{self as files, FilesClient, FilesSettings, Offer, Phase, Transfer};
use xmpp_im::caps;

/// What becomes of transfers.
#[derive(Clone, Default)]
struct Plan {
    /// Where offers are taken to; without it they are declined.
    folder: Option<PathBuf>,
    /// From how many bytes on they are cancelled.
    stop: Option<u64>,
    /// From how many bytes on they pause, until there is no such plan any more.
    pause: Option<u64>,
}

#[derive(Clone, Default)]
struct Plans(Arc<Mutex<Plan>>);

impl Plans {
    fn change(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn now(&self) -> Plan {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn is_on(name: &str) -> bool {
    optional(name).as_deref() != Some("0")
}

/// Says where it is, and serves until its input ends.
pub(crate) async fn serve(peer: &Peer) -> Checked {
    let mut settings = FilesSettings::default();
    settings.ways.sockets = is_on("SOCKETS");
    settings.ways.in_band = is_on("IN_BAND");
    settings.ways.initiation = false;
    settings.ways.http = false;
    settings.socks5.loopback = true;
    settings.socks5.direct = is_on("DIRECT");
    settings.socks5.discover = is_on("RELAY");
    let builder = peer.user(Way::StartTls, &peer.users[0], optional("RESOURCE").as_deref().unwrap_or("files"))?;
    // Who is killed may have a session for minutes more, and does not answer.
    let builder = builder.request_timeout(Duration::from_secs(30));
    // Others look there for whether files are taken here.
    let builder = builder.with(files::client_with(settings)).with(caps::client("https://example.org/interop"));
    let (client, mut events) = builder.connect()?;
    let (plans, mut offers) = (Plans::default(), client.files()?.offers());
    let mut orders = orders();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::Online { jid, .. }) => println!("online\t{jid}"),
                Some(_) => {}
                None => return Err("the session has ended".into()),
            },
            Some(offer) = offers.next() => {
                tokio::spawn(answer(offer, plans.clone()));
            }
            order = orders.recv() => match order {
                Some(order) => obey(&client, &plans, &order).await?,
                None => {
                    client.close().await;
                    return Ok(());
                }
            },
        }
    }
}

/// The lines of standard input, as they come.
fn orders() -> mpsc::Receiver<String> {
    let (sender, orders) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    orders
}

async fn obey(client: &Client, plans: &Plans, order: &str) -> Checked {
    let words: Vec<&str> = order.split('\t').collect();
    match words.as_slice() {
        ["greet", jid] => client.send(Presence::available().to(jid.parse::<Jid>()?)).await?,
        ["take", folder] => plans.change(|plan| plan.folder = Some(PathBuf::from(folder))),
        ["decline"] => plans.change(|plan| plan.folder = None),
        ["stop", at] => plans.change(|plan| plan.stop = at.parse().ok()),
        ["go"] => plans.change(|plan| (plan.stop, plan.pause) = (None, None)),
        ["pause", at] => plans.change(|plan| plan.pause = at.parse().ok()),
        ["send", jid, path] => {
            let sending = client.files()?.send(jid.parse()?, path);
            let plans = plans.clone();
            tokio::spawn(async move {
                match sending.await {
                    Ok(transfer) => carry(transfer, plans).await,
                    Err(error) => println!("failed\t{error:?}"),
                }
            });
        }
        _ => return Err(format!("{order}: nobody does that").into()),
    }
    Ok(())
}

async fn answer(offer: Offer, plans: Plans) {
    let file = offer.file();
    let algos: Vec<&str> = file.hashes.iter().map(|hash| hash.algo.as_str()).collect();
    println!("offer\t{}\t{:?}\t{}", offer.name(), file.size, algos.join(","));
    let Some(folder) = plans.now().folder else { return offer.reject(Some("not now")).await };
    let place = folder.join(offer.name());
    match offer.accept_to(place).await {
        Ok(transfer) => carry(transfer, plans).await,
        Err(error) => println!("failed\t{error:?}"),
    }
}

/// Sees a transfer to its end, and tells of it.
async fn carry(transfer: Transfer, plans: Plans) {
    let mut progress = transfer.progress();
    let reached = |bytes: u64, mark: Option<u64>| mark.is_some_and(|mark| bytes >= mark);
    while let Some(now) = progress.next().await {
        if now.phase == Phase::Ended {
            break;
        }
        if reached(now.bytes, plans.now().pause) {
            transfer.pause();
            println!("paused\t{}", now.bytes);
            // A cancelled one does not go on.
            while progress.now().phase != Phase::Ended && plans.now().pause.is_some() && plans.now().stop.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            transfer.resume();
        }
        if reached(now.bytes, plans.now().stop) {
            transfer.cancel();
        }
    }
    match transfer.finish().await {
        Ok(report) => {
            println!(
                "done\t{}\t{}\t{}\t{}",
                report.road,
                report.verified.unwrap_or_default(),
                report.bytes,
                report.moved
            )
        }
        Err(error) => println!("failed\t{error:?}"),
    }
}
