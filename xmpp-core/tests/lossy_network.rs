//! A client of ours and the embedded server over a network that delays, chops and cuts at any byte, sometimes without
//! telling anybody: every message arrives exactly once and in order, or is reported, in both directions (XEP-0198).
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use proptest::{prelude::*, test_runner::RngSeed};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use support::{PASSWORD, server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::watch,
    time::{sleep, timeout},
};
use xmpp_core::{
    client::{Backoff, Client, ClientBuilder, Event, Events},
    jid::Jid,
    net::Transport,
    sasl::{Hash, ScramKeys},
    server::Server,
    stanza::{Message, MessageType},
};

/// Numbers from a seed: the same network for the same case.
#[derive(Clone)]
struct Dice(Arc<Mutex<u64>>);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(Arc::new(Mutex::new(seed)))
    }

    /// Below `bound`.
    fn roll(&self, bound: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

/// A client at the other end of a network that fails `cuts` times.
fn behind(server: &Server, cuts: u64, dice: &Dice) -> impl FnMut() -> Transport + Send + 'static {
    let (server, dice) = (server.clone(), dice.clone());
    let mut cuts = cuts;
    move || {
        let (ours, near) = Transport::pair(64 + dice.roll(4000) as usize);
        let far = server.connect_memory();
        // A login is some 2,500 bytes in either direction.
        let allowed = (cuts > 0).then(|| dice.roll(9000));
        cuts = cuts.saturating_sub(1);
        let silent = dice.roll(2) == 0;
        let (cut, _) = watch::channel(());
        let ((near_reader, near_writer), (far_reader, far_writer)) = (tokio::io::split(near), tokio::io::split(far));
        let cut = Arc::new(cut);
        for (from, to) in [(near_reader, far_writer), (far_reader, near_writer)] {
            tokio::spawn(carry(from, to, allowed, silent, Arc::clone(&cut), dice.clone()));
        }
        ours
    }
}

/// One direction, until so many bytes have passed here, or in the other.
async fn carry(
    mut from: ReadHalf<Transport>,
    mut to: WriteHalf<Transport>,
    mut allowed: Option<u64>,
    silent: bool,
    cut: Arc<watch::Sender<()>>,
    dice: Dice,
) {
    let mut cutting = cut.subscribe();
    let mut buffer = [0; 512];
    let carrying = async {
        loop {
            let most = 1 + dice.roll(512) as usize;
            let count = from.read(&mut buffer[..most]).await.unwrap_or(0);
            let passes = allowed.map_or(count, |allowed| count.min(allowed as usize));
            if let Some(allowed) = &mut allowed {
                *allowed -= passes as u64;
            }
            if to.write_all(&buffer[..passes]).await.is_err() || count == 0 || passes < count {
                return;
            }
            if dice.roll(8) == 0 {
                sleep(Duration::from_millis(dice.roll(300))).await;
            }
        }
    };
    tokio::select! {
        () = carrying => {}
        _ = cutting.changed() => {}
    }
    let _ = cut.send(());
    if silent {
        // Nobody is told for longer than either end waits.
        sleep(Duration::from_secs(dice.roll(200))).await;
    }
}

fn keys() -> ScramKeys {
    static KEYS: OnceLock<ScramKeys> = OnceLock::new();
    KEYS.get_or_init(|| ScramKeys::derive(Hash::Sha512, PASSWORD, b"0123456789abcdef", 4096)).clone()
}

fn client(jid: &str, pipe: impl FnMut() -> Transport + Send + 'static) -> ClientBuilder {
    let quick = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(2) };
    Client::builder(jid.parse().unwrap(), PASSWORD).keys(keys()).pipe(pipe).backoff(quick)
}

/// What one side saw of the other's messages.
#[derive(Debug, Default)]
struct Seen {
    received: Vec<u64>,
    /// Its own, bounced.
    bounced: Vec<u64>,
    /// Its own, reported as not acknowledged; and whether in doubt.
    reported: Vec<(u64, bool)>,
    resumed: usize,
    online: usize,
}

async fn watch_events(mut events: Events, slow: Dice, seen: Arc<Mutex<Seen>>) {
    while let Some(event) = events.next().await {
        let number = |message: &Message| message.body().unwrap().parse::<u64>().unwrap();
        {
            let mut seen = seen.lock().unwrap();
            match event {
                Event::Message(message) if message.type_() == MessageType::Error => {
                    let id = message.id().unwrap().parse().unwrap();
                    seen.bounced.push(id);
                }
                Event::Message(message) => seen.received.push(number(&message)),
                Event::Unacknowledged(lost) => {
                    for one in lost {
                        let message = Message::from_stanza(one.stanza).unwrap();
                        seen.reported.push((number(&message), one.doubtful));
                    }
                }
                Event::Resumed { .. } => seen.resumed += 1,
                Event::Online { .. } => seen.online += 1,
                _ => {}
            }
        }
        if slow.roll(4) == 0 {
            sleep(Duration::from_millis(slow.roll(500))).await;
        }
    }
}

/// Each arrived exactly once and in order, or its sender was told.
fn check(what: &str, sent: u64, sender: &Seen, receiver: &Seen) -> Result<(), TestCaseError> {
    let received = &receiver.received;
    prop_assert!(received.windows(2).all(|pair| pair[0] < pair[1]), "{what}: out of order or twice: {received:?}");
    let mut known: BTreeSet<u64> = received.iter().copied().collect();
    for (number, doubtful) in &sender.reported {
        prop_assert!(known.insert(*number) || *doubtful, "{what}: {number} arrived, and was certain not to have");
    }
    for number in &sender.bounced {
        prop_assert!(!received.contains(number), "{what}: {number} arrived, and was bounced");
        known.insert(*number);
    }
    let missing: Vec<u64> = (0..sent).filter(|number| !known.contains(number)).collect();
    prop_assert!(missing.is_empty(), "{what}: lost without a word: {missing:?}");
    Ok(())
}

/// Sends to `other`, from when that has stream management: before, nobody knows what becomes of what a server writes.
async fn send(client: Client, other: Client, to: Jid, count: u64, dice: Dice) {
    while other.session().await.is_none() {
        sleep(Duration::from_millis(100)).await;
    }
    for number in 0..count {
        let padding = "x".repeat(dice.roll(300) as usize);
        let message = Message::chat(to.clone()).id(number.to_string()).body(number.to_string()).subject(padding);
        client.send(message).await.unwrap();
        if dice.roll(3) == 0 {
            sleep(Duration::from_millis(dice.roll(2000))).await;
        }
    }
}

async fn converse(seed: u64, cuts: u64) -> Result<usize, TestCaseError> {
    const COUNT: u64 = 60;
    let dice = Dice::new(seed);
    let server = server();
    let hers = client("juliet@localhost/x", behind(&server, cuts, &dice)).queue(1 + dice.roll(40) as usize);
    let hers = hers.keepalive(Duration::from_secs(5)..=Duration::from_secs(30));
    let his = client("romeo@localhost/y", behind(&server, cuts / 2, &dice)).queue(1 + dice.roll(200) as usize);
    let (juliet, her_events) = hers.connect().unwrap();
    let (romeo, his_events) = his.connect().unwrap();
    let (hers, his): (Arc<Mutex<Seen>>, Arc<Mutex<Seen>>) = Default::default();
    let watching = [
        tokio::spawn(watch_events(her_events, dice.clone(), Arc::clone(&hers))),
        tokio::spawn(watch_events(his_events, dice.clone(), Arc::clone(&his))),
    ];
    let sending = [
        tokio::spawn(send(juliet.clone(), romeo.clone(), "romeo@localhost/y".parse().unwrap(), COUNT, dice.clone())),
        tokio::spawn(send(romeo.clone(), juliet.clone(), "juliet@localhost/x".parse().unwrap(), COUNT, dice.clone())),
    ];
    for one in sending {
        one.await.unwrap();
    }
    // Until the last cut is behind both of them, and everything has come.
    for _ in 0..600 {
        sleep(Duration::from_secs(5)).await;
        let done = |seen: &Seen, other: &Seen| {
            let reported = seen.reported.iter().map(|(number, _)| number);
            let known: BTreeSet<&u64> = other.received.iter().chain(&seen.bounced).chain(reported).collect();
            known.len() == COUNT as usize
        };
        let (hers, his) = (hers.lock().unwrap(), his.lock().unwrap());
        if done(&hers, &his) && done(&his, &hers) {
            break;
        }
    }
    // Who leaves while the network fails has the last word.
    let resumed = {
        let (hers, his) = (hers.lock().unwrap(), his.lock().unwrap());
        check("from juliet", COUNT, &hers, &his)?;
        check("from romeo", COUNT, &his, &hers)?;
        hers.resumed + his.resumed
    };
    juliet.close().await;
    romeo.close().await;
    for one in watching {
        one.await.unwrap();
    }
    Ok(resumed)
}

fn run<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(100_000), case).await.expect("it comes to an end") })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(198),
        ..ProptestConfig::default()
    })]
    #[test]
    fn xep0198_5_every_message_arrives_exactly_once_or_is_reported(seed: u64, cuts in 0..16u64) {
        run(converse(seed, cuts))?;
    }
}

#[test]
fn xep0198_5_the_network_of_the_property_does_fail() {
    let resumed = run(converse(7, 12)).unwrap();
    assert!(resumed >= 3, "{resumed}");
}
