//! Both ends of BOSH against each other, over a network that loses, delays and reorders what it likes.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use bytes::Bytes;
use proptest::prelude::*;
use std::time::Duration;
use xmpp_core::{
    stream::bosh::{
        Body, BoshClient, BoshClientConfig, BoshCondition, BoshError, BoshLimits, BoshSession, Effect, Errand, Reply,
    },
    xml::{Event, Scanner, XmlLimits},
};

const OPEN: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0' from='example.com' to='example.com' id='s'>";

/// A request on its way, held, or on its way back.
struct Exchange {
    client: u64,
    server: Option<u64>,
    request: Bytes,
    reply: Option<Reply>,
}

/// What has come out at one end.
struct Heard {
    scanner: Scanner,
    ids: Vec<String>,
    closed: bool,
}

impl Heard {
    fn new() -> Heard {
        Heard { scanner: Scanner::new(XmlLimits::authenticated()), ids: Vec::new(), closed: false }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(event) = self.scanner.scan(&mut bytes).unwrap() {
            match event {
                Event::Stanza(stanza) => {
                    let name = stanza.root().name();
                    self.ids.push(stanza.root().attr("id").map_or(name.to_owned(), |id| id.into_owned()));
                }
                Event::Close => self.closed = true,
                Event::Open(_) => {}
            }
        }
    }
}

struct Network {
    client: BoshClient,
    session: Option<BoshSession>,
    limits: BoshLimits,
    now: Duration,
    exchanges: Vec<Exchange>,
    tickets: u64,
    upstream: Heard,
    downstream: Heard,
    over: Option<Result<(), BoshError>>,
}

impl Network {
    fn new(hold: u64) -> Network {
        let mut config = BoshClientConfig::new(1 << 39);
        config.hold = hold;
        let mut limits = BoshLimits::default();
        limits.repeats = u32::MAX;
        limits.inactivity = Duration::from_secs(3600);
        Network {
            client: BoshClient::new(config),
            session: None,
            limits,
            now: Duration::ZERO,
            exchanges: Vec::new(),
            tickets: 0,
            upstream: Heard::new(),
            downstream: Heard::new(),
            over: None,
        }
    }

    /// A network with an open stream.
    fn open(hold: u64) -> Network {
        let mut network = Network::new(hold);
        network.write(OPEN);
        network.arrive(0);
        network.say(&format!("{OPEN}<stream:features/>"));
        network.come_back(0);
        network
    }

    fn write(&mut self, text: &str) {
        let errands = self.client.written(text.as_bytes(), self.now);
        self.errands(errands);
    }

    fn say(&mut self, text: &str) {
        let effects = self.session.as_mut().unwrap().received(text.as_bytes(), self.now);
        self.effects(effects);
    }

    fn errands(&mut self, errands: Vec<Errand>) {
        for errand in errands {
            assert!(self.over.is_none(), "{errand:?} after the end");
            match errand {
                Errand::Send(client, request) => {
                    self.exchanges.push(Exchange { client, server: None, request, reply: None });
                }
                Errand::Deliver(bytes) => self.downstream.take(&bytes),
                Errand::Over(end) => self.over = Some(end),
                other => panic!("{other:?}"),
            }
        }
    }

    fn effects(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Respond(ticket, reply) => {
                    let answered = self.exchanges.iter_mut().find(|exchange| exchange.server == Some(ticket));
                    if let Some(exchange) = answered {
                        assert!(exchange.reply.replace(reply).is_none());
                    }
                }
                Effect::Write(bytes) => self.upstream.take(&bytes),
                Effect::Close | Effect::Over => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// A request reaches the server.
    fn arrive(&mut self, index: usize) {
        let exchange = &mut self.exchanges[index];
        if exchange.server.is_some() {
            return;
        }
        let ticket = self.tickets;
        self.tickets += 1;
        exchange.server = Some(ticket);
        let body = Body::parse(&exchange.request, &XmlLimits::authenticated()).unwrap();
        let effects = match &mut self.session {
            Some(session) => session.request(body, ticket, self.now),
            None => {
                let opened = BoshSession::open(&body, ticket, "sid", self.limits.clone(), self.now);
                let (session, effects) = opened.unwrap();
                self.session = Some(session);
                effects
            }
        };
        self.effects(effects);
    }

    /// An answer reaches the client.
    fn come_back(&mut self, index: usize) {
        if self.exchanges[index].reply.is_none() {
            return;
        }
        let exchange = self.exchanges.remove(index);
        let reply = exchange.reply.unwrap();
        let errands = self.client.answered(exchange.client, reply.status, &reply.body, self.now);
        self.errands(errands);
    }

    /// A connection breaks; the server may not hear of that.
    fn break_off(&mut self, index: usize, heard: bool) {
        let exchange = self.exchanges.remove(index);
        if let (Some(ticket), true) = (exchange.server, heard) {
            let effects = self.session.as_mut().unwrap().lost(ticket, self.now);
            self.effects(effects);
        }
        let errands = self.client.failed(exchange.client, self.now);
        self.errands(errands);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.client.deadline().is_some_and(|deadline| deadline <= self.now) {
            let errands = self.client.timeout(self.now);
            self.errands(errands);
        }
        if self.session.as_ref().and_then(BoshSession::deadline).is_some_and(|deadline| deadline <= self.now) {
            let effects = self.session.as_mut().unwrap().timeout(self.now);
            self.effects(effects);
        }
    }

    /// Nothing goes wrong any more.
    fn calm(&mut self, enough: impl Fn(&Network) -> bool) {
        for _ in 0..1000 {
            if enough(self) {
                return;
            }
            for index in (0..self.exchanges.len()).rev() {
                self.arrive(index);
            }
            for index in (0..self.exchanges.len()).rev() {
                self.come_back(index);
            }
            self.pass(Duration::from_millis(500));
        }
        panic!("up {:?}, down {:?}, over {:?}", self.upstream.ids, self.downstream.ids, self.over);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Write,
    Say,
    Arrive(usize),
    ComeBack(usize),
    Break(usize, bool),
    Pass(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => Just(Act::Write),
        3 => Just(Act::Say),
        6 => any::<usize>().prop_map(Act::Arrive),
        6 => any::<usize>().prop_map(Act::ComeBack),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(index, heard)| Act::Break(index, heard)),
        3 => (0..2000_u64).prop_map(Act::Pass),
    ];
    prop::collection::vec(act, 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn xep0124_14_every_stanza_arrives_once_and_in_order(acts in acts(), hold in 0..3_u64) {
        let mut network = Network::open(hold);
        let (mut written, mut said) = (Vec::new(), vec!["features".to_owned()]);
        for act in acts {
            let count = network.exchanges.len();
            match act {
                Act::Write => {
                    written.push(format!("w{}", written.len()));
                    network.write(&format!("<message id='{}'/>", written.last().unwrap()));
                }
                Act::Say => {
                    said.push(format!("s{}", said.len()));
                    network.say(&format!("<message id='{}'/>", said.last().unwrap()));
                }
                Act::Pass(milliseconds) => network.pass(Duration::from_millis(milliseconds)),
                _ if count == 0 => {}
                Act::Arrive(index) => network.arrive(index % count),
                Act::ComeBack(index) => network.come_back(index % count),
                Act::Break(index, heard) => network.break_off(index % count, heard),
            }
            prop_assert!(network.over.is_none(), "{:?}", network.over);
        }
        network.calm(|network| network.upstream.ids == written && network.downstream.ids == said);
        network.write("</stream:stream>");
        network.calm(|network| network.over.is_some());
        prop_assert_eq!(network.over, Some(Ok(())));
        prop_assert!(network.upstream.closed && network.downstream.closed);
    }
}

#[test]
fn xep0206_5_the_client_restarts_its_stream_in_a_request_of_its_own() {
    let mut network = Network::open(1);
    network.write("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AA==</auth>");
    network.calm(|network| network.upstream.ids == ["auth"]);
    network.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    network.calm(|network| network.downstream.ids == ["features", "success"]);
    network.downstream.scanner.restart();
    network.upstream.scanner.restart();
    network.write(OPEN);
    network.pass(Duration::from_millis(100));
    let restart =
        network.exchanges.iter().find(|exchange| exchange.request.windows(12).any(|at| at == b"xmpp:restart"));
    let restart = String::from_utf8(restart.unwrap().request.to_vec()).unwrap();
    assert!(restart.contains(" to='example.com'") && restart.ends_with("/>"), "{restart}");
    network.calm(|network| network.exchanges.iter().all(|exchange| exchange.server.is_some()));
    network.say(&format!("{OPEN}<stream:features/>"));
    network.calm(|network| network.downstream.ids == ["features", "success", "features"]);
}

#[test]
fn xep0124_17_2_the_end_of_a_session_is_told_in_the_stream() {
    let mut network = Network::open(1);
    network
        .say("<message id='1'/><stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>");
    network.calm(|network| network.over.is_some());
    assert_eq!(network.downstream.ids, ["features", "1", "error"]);
    assert!(network.downstream.closed);
    let condition = Some(BoshCondition::RemoteStreamError);
    assert_eq!(network.over, Some(Err(BoshError::Terminated { condition, uri: None })));

    let mut network = Network::new(1);
    network.write(OPEN);
    let answer = b"<body type='terminate' condition='see-other-uri' xmlns='http://jabber.org/protocol/httpbind'>\
        <uri>https://secure.example.org/cm</uri></body>";
    let errands = network.client.answered(0, 200, answer, network.now);
    network.errands(errands);
    assert_eq!(network.downstream.ids, ["error"]);
    let uri = Some("https://secure.example.org/cm".to_owned());
    let condition = Some(BoshCondition::SeeOtherUri);
    assert_eq!(network.over, Some(Err(BoshError::Terminated { condition, uri })));
}

#[test]
fn a_service_that_breaks_the_protocol_is_left() {
    for (status, answer) in
        [(200, "<html/>"), (200, ""), (404, ""), (200, "<body xmlns='http://jabber.org/protocol/httpbind'/>")]
    {
        let mut network = Network::new(1);
        network.write(OPEN);
        let errands = network.client.answered(0, status, answer.as_bytes(), network.now);
        network.errands(errands);
        assert!(
            matches!(network.over, Some(Err(BoshError::Protocol(_) | BoshError::Status(404)))),
            "{:?}",
            network.over
        );
        assert!(network.downstream.closed);
    }
}

#[test]
fn a_service_that_is_gone_is_given_up() {
    let mut network = Network::new(1);
    network.write(OPEN);
    network.break_off(0, false);
    assert_eq!(network.over, Some(Err(BoshError::Unreachable)));
    let mut network = Network::open(1);
    while network.over.is_none() {
        if !network.exchanges.is_empty() {
            network.break_off(0, false);
        }
        network.pass(Duration::from_secs(1));
    }
    assert_eq!(network.over, Some(Err(BoshError::Unreachable)));
    // The server has promised to wait for an hour; we don't.
    assert!(network.now > Duration::from_secs(30) && network.now < Duration::from_secs(40), "{:?}", network.now);
}

#[test]
fn xep0124_13_a_session_that_was_to_end_has_ended_whatever_the_other_request_is_told() {
    let mut network = Network::open(1);
    network.write("</stream:stream>");
    let answer = b"<body type='terminate' condition='other-request' xmlns='http://jabber.org/protocol/httpbind'/>";
    let ticket = network.exchanges[0].client;
    let errands = network.client.answered(ticket, 200, answer, network.now);
    network.errands(errands);
    assert_eq!(network.over, Some(Ok(())));
    assert_eq!((network.downstream.ids.len(), network.downstream.closed), (1, true));
}

#[test]
fn no_request_follows_another_before_that_has_had_a_start() {
    let mut network = Network::open(1);
    // The answer wants a reaction: no empty request goes before it.
    assert!(network.exchanges.is_empty());
    network.write("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AA==</auth>");
    assert_eq!(network.exchanges.len(), 1);
    network.arrive(0);
    network.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>");
    network.come_back(0);
    // There is none: somebody has to be there for what the server may say.
    assert!(network.exchanges.is_empty());
    network.pass(Duration::from_millis(250));
    assert_eq!(network.exchanges.len(), 1);
    network.write("<message id='1'/>");
    network.pass(Duration::from_millis(99));
    assert_eq!(network.exchanges.len(), 1);
    network.write("<message id='2'/>");
    network.pass(Duration::from_millis(1));
    assert_eq!(network.exchanges.len(), 2);
    network.arrive(0);
    network.arrive(1);
    assert_eq!(network.upstream.ids, ["auth", "1", "2"]);
    // The first was let go for the second, which therefore has arrived: the next need not wait.
    network.write("<message id='3'/>");
    assert_eq!(network.exchanges.len(), 2);
    network.come_back(0);
    assert_eq!(network.exchanges.len(), 2);
    network.arrive(1);
    assert_eq!(network.upstream.ids, ["auth", "1", "2", "3"]);
}

#[test]
fn nothing_follows_a_request_that_is_to_be_sent_again() {
    let mut network = Network::open(1);
    network.write("<message id='1'/>");
    network.break_off(0, false);
    // The first attempt to repeat it is made at once, the second one later.
    network.break_off(0, false);
    assert!(network.exchanges.is_empty());
    network.write("<message id='2'/>");
    assert!(network.exchanges.is_empty());
    network.calm(|network| network.upstream.ids == ["1", "2"]);
}

#[test]
fn xep0124_13_who_was_available_says_that_it_is_not_any_more() {
    for (presence, says) in [
        ("<presence/>", true),
        ("<presence to='juliet@example.com'/>", true),
        ("<presence/><presence type='unavailable'/>", false),
        ("<presence type='subscribe' to='juliet@example.com'/>", false),
    ] {
        let mut network = Network::open(1);
        network.write(presence);
        network.calm(|network| !network.upstream.ids.is_empty());
        network.write("</stream:stream>");
        network.pass(Duration::from_millis(100));
        let last = String::from_utf8(network.exchanges.last().unwrap().request.to_vec()).unwrap();
        let goodbye = last.contains(" type='terminate'") && last.ends_with(" type='unavailable'/></body>");
        assert_eq!(goodbye, says, "{last}");
    }
}

#[test]
fn xep0198_5_a_stream_that_can_be_resumed_is_left_without_a_word() {
    for (enabled, left) in [("<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>", true), ("<message/>", false)] {
        let mut network = Network::open(1);
        network.say(enabled);
        network.calm(|network| network.downstream.ids.len() == 2);
        let errands = network.client.hung_up(network.now);
        network.errands(errands);
        network.pass(Duration::from_millis(100));
        assert_eq!(network.over, left.then_some(Ok(())), "{enabled}");
        let ends = |exchange: &Exchange| String::from_utf8_lossy(&exchange.request).contains("terminate");
        assert_ne!(network.exchanges.iter().any(ends), left, "{enabled}");
    }
}

#[test]
fn abuse_a023_a_service_that_holds_nothing_is_not_asked_without_end() {
    let mut network = Network::open(1);
    let mut requests = 0;
    for _ in 0..1000 {
        network.pass(Duration::from_millis(10));
        while let Some(exchange) = network.exchanges.pop() {
            requests += 1;
            let empty = b"<body xmlns='http://jabber.org/protocol/httpbind'/>";
            let errands = network.client.answered(exchange.client, 200, empty, network.now);
            network.errands(errands);
        }
    }
    assert!((5..=11).contains(&requests), "{requests}");
}
