//! Connections that break at any moment while many send: with stream management (XEP-0198) each message arrives once,
//! in the order of its sender, in both directions.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::{collections::HashMap, time::Duration};
use support::{END, HEADER, PATIENCE, Raw, builder};
use tokio::time::timeout;
use xmpp_core::{
    payload::Payload,
    server::{Decision, Envelope, Kinds, Server, ServerRegistrar, Stage, Station, Verdict},
    stream::management::{Ack, Counter, Enabled, Resumed, Unacked, UnackedLimits},
    xml::{Event, Scanner, Stanza, XmlLimits},
};

const SM: &str = "xmlns='urn:xmpp:sm:3'";
const SENDERS: usize = 6;
const MESSAGES: usize = 150;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A client with stream management whose network is bad.
struct Unlucky {
    server: Server,
    raw: Raw,
    scanner: Scanner,
    id: String,
    handled: Counter,
    unacked: Unacked<String>,
    /// What came, in order.
    got: Vec<String>,
    /// Connections that are dead and do not know it.
    ghosts: Vec<Raw>,
    dice: Dice,
    /// How often it was resumed.
    resumed: usize,
}

impl Unlucky {
    async fn new(server: &Server, jid: &str, seed: u64) -> Unlucky {
        let mut raw = Raw::session(server, jid).await;
        raw.send(&format!("<enable {SM} resume='true'/>")).await;
        let mut one = Unlucky {
            server: server.clone(),
            raw,
            scanner: scanner(),
            id: String::new(),
            handled: Counter::default(),
            unacked: Unacked::new(UnackedLimits { stanzas: 10_000, bytes: 10_000_000 }),
            got: Vec::new(),
            ghosts: Vec::new(),
            dice: Dice(seed),
            resumed: 0,
        };
        let enabled = one.next().await;
        one.id = Enabled::read(enabled.root()).unwrap().resumption().unwrap().to_owned();
        one
    }

    async fn next(&mut self) -> Stanza {
        loop {
            if let Some(element) = self.raw.scan(&mut self.scanner).await {
                return element;
            }
        }
    }

    /// Takes one element.
    async fn hear(&mut self) {
        let element = self.next().await;
        let root = element.root();
        match root.name() {
            "r" => {
                let ack = format!("<a {SM} h='{}'/>", self.handled.value());
                self.raw.try_send(&ack).await;
            }
            "a" => drop(self.unacked.ack(Ack::read(root).unwrap().h).unwrap()),
            "message" => {
                self.handled.count();
                self.got.push(root.attr("id").unwrap().into_owned());
            }
            other => panic!("{other}: {element:?}"),
        }
    }

    async fn say(&mut self, to: &str, id: &str) {
        let message = format!("<message to='{to}' id='{id}'><body>{id}</body></message>");
        self.unacked.push(message.clone(), message.len()).unwrap();
        // Half of it may be all that is ever sent.
        let cut = match self.dice.roll(20) {
            0 => self.dice.roll(message.len() as u64) as usize,
            _ => message.len(),
        };
        self.raw.try_send(&message[..cut]).await;
        if cut < message.len() {
            self.reconnect().await;
        } else if self.dice.roll(4) == 0 {
            self.raw.try_send(&format!("<r {SM}/>")).await;
        }
    }

    async fn reconnect(&mut self) {
        loop {
            let raw = std::mem::replace(&mut self.raw, Raw::memory(&self.server));
            if self.dice.roll(3) == 0 {
                self.ghosts.push(raw);
            } else {
                drop(raw);
            }
            self.raw.authenticate("unlucky@localhost").await;
            self.scanner = scanner();
            let resume = format!("<resume {SM} previd='{}' h='{}'/>", self.id, self.handled.value());
            self.raw.send(&resume).await;
            // Sometimes it breaks again before the answer is heard.
            if self.dice.roll(5) == 0 {
                continue;
            }
            let answer = self.next().await;
            let resumed = Resumed::read(answer.root()).unwrap_or_else(|_| panic!("{answer:?}"));
            drop(self.unacked.ack(resumed.h).unwrap());
            self.resumed += 1;
            let again: String = self.unacked.iter().map(String::as_str).collect();
            self.raw.try_send(&again).await;
            return;
        }
    }
}

fn scanner() -> Scanner {
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    assert!(matches!(scanner.scan(&mut HEADER.as_bytes()), Ok(Some(Event::Open(_)))));
    scanner
}

/// Every third message takes a moment.
fn moody(r: &mut ServerRegistrar) {
    r.station(Station::new("test:moody", Stage::Incoming, Kinds::MESSAGE, |envelope: &mut Envelope, _: &Server| {
        let id = envelope.stanza().root().attr("id").unwrap_or_default().into_owned();
        match id.bytes().last().is_some_and(|last| last % 3 == 0) {
            true => Decision::Wait(Box::pin(async {
                tokio::task::yield_now().await;
                Verdict::Continue
            })),
            false => Verdict::Continue.into(),
        }
    }));
}

/// Whether the messages of each sender, `name-number`, are all there, once, in order.
fn all_in_order(got: &[String], senders: usize, each: usize) {
    let mut next: HashMap<&str, usize> = HashMap::new();
    for id in got {
        let (sender, number) = id.split_once('-').unwrap();
        let expected = next.entry(sender).or_default();
        assert_eq!(number.parse::<usize>().unwrap(), *expected, "{got:?}");
        *expected += 1;
    }
    assert!(next.len() == senders && next.values().all(|count| *count == each), "{next:?}");
}

async fn run(seed: u64) {
    let server = builder().with(moody).build().unwrap();
    let mut unlucky = Unlucky::new(&server, "unlucky@localhost/x", seed).await;
    let mut listener = Raw::session(&server, "listener@localhost/x").await;
    let heard = tokio::spawn(async move {
        let mut text = String::new();
        while text.matches("</message>").count() < MESSAGES {
            text += &listener.hear().await;
        }
        let ids = text.split(" id='").skip(1).map(|rest| rest.split_once('\'').unwrap().0.to_owned());
        ids.collect::<Vec<_>>()
    });
    let mut senders = Vec::new();
    for sender in 0..SENDERS {
        let server = server.clone();
        senders.push(tokio::spawn(async move {
            let mut raw = Raw::session(&server, &format!("sender{sender}@localhost/x")).await;
            for number in 0..MESSAGES {
                raw.send(&format!(
                    "<message to='unlucky@localhost/x' id='s{sender}-{number}'><body>x</body></message>"
                ))
                .await;
                if number % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            raw.sync().await;
            raw.send(END).await;
            raw.rest().await
        }));
    }
    let mut said = 0;
    while unlucky.got.len() < SENDERS * MESSAGES || !unlucky.unacked.is_empty() || said < MESSAGES {
        match unlucky.dice.roll(40) {
            0 => unlucky.reconnect().await,
            1..10 if said < MESSAGES => {
                unlucky.say("listener@localhost/x", &format!("u-{said}")).await;
                said += 1;
            }
            // When all is heard, only acknowledgements are missing.
            10 => drop(unlucky.raw.try_send(&format!("<r {SM}/>")).await),
            _ if unlucky.got.len() < SENDERS * MESSAGES => unlucky.hear().await,
            _ if said == MESSAGES => {
                unlucky.raw.try_send(&format!("<r {SM}/>")).await;
                unlucky.hear().await;
            }
            _ => {}
        }
    }
    for sender in senders {
        // Nobody's message came back.
        assert_eq!(sender.await.unwrap(), END);
    }
    all_in_order(&unlucky.got, SENDERS, MESSAGES);
    all_in_order(&heard.await.unwrap(), 1, MESSAGES);
    assert!(unlucky.resumed > 10);
    assert_eq!(server.stats().dropped, Default::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn xep0198_5_each_message_arrives_once_whatever_breaks() {
    for seed in 1..=4 {
        timeout(PATIENCE * 3, run(seed)).await.unwrap_or_else(|_| panic!("seed {seed}"));
    }
}

/// Whoever is cut for good: what was not acknowledged comes back once, nothing else does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn xep0198_4_each_message_is_acknowledged_or_comes_back() {
    for seed in 1..=4 {
        let mut limits = xmpp_core::server::Limits::default();
        limits.resume_time = Duration::from_secs(1);
        let server = builder().with(moody).limits(limits).build().unwrap();
        let mut unlucky = Unlucky::new(&server, "unlucky@localhost/x", seed).await;
        let mut senders = Vec::new();
        for sender in 0..SENDERS {
            let server = server.clone();
            senders.push(tokio::spawn(async move {
                let mut raw = Raw::session(&server, &format!("sender{sender}@localhost/x")).await;
                for number in 0..MESSAGES {
                    let id = format!("s{sender}-{number}");
                    raw.send(&format!("<message to='unlucky@localhost/x' id='{id}'><body>x</body></message>")).await;
                }
                raw
            }));
        }
        let cut_at = 100 + unlucky.dice.roll(300) as usize;
        while unlucky.got.len() < cut_at {
            unlucky.hear().await;
            if unlucky.dice.roll(60) == 0 {
                unlucky.reconnect().await;
            }
        }
        // An acknowledgement that is last heard of.
        unlucky.raw.send(&format!("<a {SM} h='{}'/><r {SM}/>", unlucky.handled.value())).await;
        while unlucky.next().await.root().name() != "a" {}
        let Unlucky { raw, mut got, ghosts, .. } = unlucky;
        drop((raw, ghosts));
        for (sender, task) in senders.into_iter().enumerate() {
            let mut raw = timeout(PATIENCE, task).await.unwrap().unwrap();
            let prefix = format!("s{sender}-");
            let acked = got.iter().filter(|id| id.starts_with(&prefix)).count();
            let mut text = String::new();
            while text.matches("</message>").count() < MESSAGES - acked {
                text += &raw.hear().await;
            }
            raw.sync().await;
            let back = text.split("<message ").skip(1).map(|one| {
                assert!(one.contains("<service-unavailable "), "{one}");
                one.split_once(" id='").unwrap().1.split_once('\'').unwrap().0.to_owned()
            });
            got.extend(back);
        }
        // Acknowledged first, then what came back: all of each sender.
        let mut all = got.clone();
        all.sort();
        all.dedup();
        assert_eq!((all.len(), got.len()), (SENDERS * MESSAGES, SENDERS * MESSAGES));
    }
}
