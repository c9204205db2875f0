//! Stations that take up many messages of a sender at a time, and those that let a message go on meanwhile.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::sync::{Arc, Mutex};
use support::{
    Raw, builder,
    managed::{a, bodies, managed},
};
use tokio::sync::oneshot;
use xmpp_core::{
    server::{Decision, Envelope, Kinds, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::StanzaError,
    xml::ns,
};

const ROMEO: &str = "romeo@localhost/orchard";

/// Holds messages until told otherwise; those of type `headline` alone.
#[derive(Default)]
struct Gate {
    held: Mutex<Vec<Option<oneshot::Sender<Verdict>>>>,
    /// Bodies that came to the station behind.
    seen: Mutex<Vec<String>>,
}

fn body(envelope: &Envelope) -> String {
    envelope.stanza().root().child("body", ns::CLIENT).map(|body| body.text().into_owned()).unwrap_or_default()
}

impl Gate {
    fn extension(self: &Arc<Self>, meanwhile: bool) -> impl FnOnce(&mut ServerRegistrar) + use<> {
        let (first, second) = (Arc::clone(self), Arc::clone(self));
        move |r| {
            let hold = move |envelope: &mut Envelope, _: &Server| {
                let (open, opened) = oneshot::channel();
                first.held.lock().unwrap().push(Some(open));
                let verdict = Box::pin(async move { opened.await.unwrap() });
                match envelope.type_str().as_ref() {
                    "headline" => Decision::Wait(verdict),
                    _ if meanwhile => Decision::Meanwhile(verdict),
                    _ => Decision::InOrder(verdict),
                }
            };
            r.station(Station::new("test:gate", Stage::Outgoing, Kinds::MESSAGE, hold));
            let note = move |envelope: &mut Envelope, _: &Server| {
                second.seen.lock().unwrap().push(body(envelope));
                match body(envelope).as_str() {
                    "mine" => Verdict::Handled,
                    _ => Verdict::Continue,
                }
            };
            r.station(Station::new("test:seen", Stage::Incoming, Kinds::MESSAGE, note));
        }
    }

    async fn holds(&self, count: usize) {
        while self.held.lock().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
    }

    fn open(&self, number: usize, verdict: Verdict) {
        let open = self.held.lock().unwrap()[number].take().unwrap();
        open.send(verdict).unwrap();
    }

    fn count(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn scene(meanwhile: bool) -> (Arc<Gate>, Server, Raw, Raw) {
    let gate = Arc::new(Gate::default());
    let server = builder().with(gate.extension(meanwhile)).build().unwrap();
    let (juliet, _) = managed(&server, "juliet@localhost/balcony").await;
    let romeo = Raw::session(&server, ROMEO).await;
    (gate, server, juliet, romeo)
}

fn messages(numbers: impl IntoIterator<Item = usize>) -> String {
    let one = |n| format!("<message type='chat' to='{ROMEO}' id='{n}'><body>{n}</body></message>");
    numbers.into_iter().map(one).collect()
}

#[tokio::test]
async fn rfc6120_10_1_messages_that_are_taken_up_together_go_on_in_order() {
    let (gate, _server, mut juliet, mut romeo) = scene(false).await;
    juliet.send(&messages(0..5)).await;
    gate.holds(5).await;
    assert!(gate.seen().is_empty());
    for number in (1..5).rev() {
        gate.open(number, Verdict::Continue);
    }
    assert!(romeo.is_quiet().await, "the first has not gone on");
    gate.open(0, Verdict::Continue);
    let got = romeo.until("<body>4</body></message>").await;
    assert_eq!(bodies(&got), ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn xep0198_4_what_is_taken_up_is_not_acknowledged_before_it_has_gone_on() {
    let (gate, _server, mut juliet, mut romeo) = scene(false).await;
    juliet.send(&messages(0..3)).await;
    juliet
        .send("<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq><r xmlns='urn:xmpp:sm:3'/>")
        .await;
    gate.holds(3).await;
    gate.open(1, Verdict::Reject(StanzaError::not_acceptable()));
    gate.open(2, Verdict::Continue);
    assert!(juliet.is_quiet().await, "neither an ack, nor an answer, nor an error that overtakes");
    gate.open(0, Verdict::Continue);
    let got = juliet.until(&a(4)).await;
    let (error, answer) = (got.find("not-acceptable").unwrap(), got.find("id='p'").unwrap());
    assert!(error < answer, "{got}");
    assert_eq!(bodies(&romeo.until("<body>2</body></message>").await), ["0", "2"]);
}

#[tokio::test]
async fn a_line_of_messages_is_bounded() {
    let (gate, _server, mut juliet, mut romeo) = scene(false).await;
    juliet.send(&messages(0..40)).await;
    gate.holds(16).await;
    assert!(romeo.is_quiet().await);
    assert_eq!(gate.count(), 16);
    for number in 0..40 {
        gate.holds(number + 1).await;
        assert!(gate.count() <= number + 16);
        gate.open(number, Verdict::Continue);
    }
    let got = romeo.until("<body>39</body></message>").await;
    assert_eq!(bodies(&got), (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn large_messages_wait_in_fewer_numbers() {
    let (gate, _server, mut juliet, mut romeo) = scene(false).await;
    let large = "x".repeat(40_000);
    let one = move |n: usize| {
        format!("<message type='chat' to='{ROMEO}' id='{n}'><subject>{large}</subject><body>{n}</body></message>")
    };
    let sending = tokio::spawn(async move {
        juliet.send(&(0..4).map(one).collect::<String>()).await;
        juliet
    });
    gate.holds(2).await;
    assert!(romeo.is_quiet().await);
    assert_eq!(gate.count(), 2, "80,000 bytes are enough");
    for number in 0..4 {
        gate.holds(number + 1).await;
        gate.open(number, Verdict::Continue);
    }
    assert_eq!(bodies(&romeo.until("<body>3</body></message>").await), ["0", "1", "2", "3"]);
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn nothing_passes_a_station_that_waits_for_one_alone() {
    let (gate, _server, mut juliet, mut romeo) = scene(false).await;
    juliet.send(&format!("<message type='headline' to='{ROMEO}'><body>first</body></message>{}", messages(1..3))).await;
    gate.holds(1).await;
    assert!(romeo.is_quiet().await);
    assert_eq!(gate.count(), 1);
    gate.open(0, Verdict::Continue);
    gate.holds(3).await;
    gate.open(2, Verdict::Continue);
    gate.open(1, Verdict::Continue);
    assert_eq!(bodies(&romeo.until("<body>2</body></message>").await), ["first", "1", "2"]);
}

#[tokio::test]
async fn what_was_taken_up_goes_on_when_its_sender_has_gone() {
    let (gate, server, mut juliet, mut romeo) = scene(false).await;
    juliet.send(&messages(0..3)).await;
    gate.holds(3).await;
    drop(juliet);
    for number in (0..3).rev() {
        gate.open(number, Verdict::Continue);
    }
    assert_eq!(bodies(&romeo.until("<body>2</body></message>").await), ["0", "1", "2"]);
    drop(server);
}

#[tokio::test]
async fn what_goes_on_meanwhile_is_handed_over_when_that_is_certain() {
    let (gate, _server, mut juliet, mut romeo) = scene(true).await;
    juliet.send(&messages(0..1)).await;
    gate.holds(1).await;
    while gate.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(romeo.is_quiet().await, "it has come as far as the recipient's stations, and no further");
    gate.open(0, Verdict::Continue);
    assert_eq!(bodies(&romeo.until("<body>0</body></message>").await), ["0"]);

    juliet.send(&messages(1..2)).await;
    gate.holds(2).await;
    gate.open(1, Verdict::Reject(StanzaError::internal_server_error()));
    juliet.until("internal-server-error").await;
    assert!(romeo.is_quiet().await);
    assert_eq!(gate.seen(), ["0", "1"]);
}

#[tokio::test]
async fn xep0198_4_what_is_taken_on_its_way_is_acknowledged_when_the_rest_is_certain() {
    let (gate, _server, mut juliet, _romeo) = scene(true).await;
    juliet
        .send(&format!("<message type='chat' to='{ROMEO}'><body>mine</body></message><r xmlns='urn:xmpp:sm:3'/>"))
        .await;
    gate.holds(1).await;
    while gate.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(juliet.is_quiet().await);
    // Who has taken it has taken it.
    gate.open(0, Verdict::Reject(StanzaError::internal_server_error()));
    let got = juliet.until(&a(1)).await;
    assert!(!got.contains("error"), "{got}");
}

#[tokio::test]
async fn what_is_for_elsewhere_waits_before_it_leaves() {
    let (gate, _server, mut juliet, _romeo) = scene(true).await;
    juliet.send("<message type='chat' to='tybalt@elsewhere.example' id='x'><body>x</body></message>").await;
    gate.holds(1).await;
    assert!(juliet.is_quiet().await);
    gate.open(0, Verdict::Continue);
    juliet.until("remote-server-not-found").await;
}
