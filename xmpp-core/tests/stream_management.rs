//! Stream management over whole connections (XEP-0198): acknowledgements, lost connections, resumption.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use support::{END, HEADER, PASSWORD, PATIENCE, Raw, builder};
use tokio::{sync::Notify, time::timeout};
use xmpp_core::{
    sasl::{
        ChannelBindings, ClientPolicy, ClientSasl, ClientStep, Credentials, Nonce, Offer, decode_payload,
        encode_payload,
    },
    server::{Decision, Envelope, Kinds, Limits, Resource, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::StanzaKind,
};

const SM: &str = "xmlns='urn:xmpp:sm:3'";
const R: &str = "<r xmlns='urn:xmpp:sm:3'/>";

fn server_with(change: impl FnOnce(&mut Limits)) -> Server {
    let mut limits = Limits::default();
    limits.closing = Duration::from_millis(500);
    change(&mut limits);
    builder().limits(limits).build().unwrap()
}

fn a(h: u32) -> String {
    format!("<a {SM} h='{h}'/>")
}

fn attribute<'a>(text: &'a str, name: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!(" {name}='")).unwrap_or_else(|| panic!("no {name} in {text}"));
    rest.split_once('\'').unwrap().0
}

/// A session with stream management, and the id to resume it by.
async fn managed(server: &Server, jid: &str) -> (Raw, String) {
    let mut raw = Raw::session(server, jid).await;
    raw.send(&format!("<enable {SM} resume='true'/>")).await;
    let enabled = raw.until("/>").await;
    (raw, attribute(&enabled, "id").to_owned())
}

/// A connection that asks to resume, up to the answer.
async fn resume(server: &Server, account: &str, id: &str, h: u32) -> (Raw, String) {
    let mut raw = Raw::memory(server);
    raw.authenticate(account).await;
    raw.send(&format!("<resume {SM} previd='{id}' h='{h}'/>")).await;
    let mut answer = raw.until(">").await;
    if answer.starts_with("<failed") {
        answer += &raw.until("</failed>").await;
    }
    (raw, answer)
}

async fn message(from: &mut Raw, to: &str, body: &str) {
    from.send(&format!("<message to='{to}' type='chat' id='{body}'><body>{body}</body></message>")).await;
}

/// The bodies of the messages in `text`, in order.
fn bodies(text: &str) -> Vec<&str> {
    text.split("<body>").skip(1).map(|rest| rest.split_once("</body>").unwrap().0).collect()
}

/// The ids of the messages that came back, in order.
fn bounced(text: &str) -> Vec<&str> {
    let errors = text.split("<message ").skip(1).filter(|one| one.contains("type='error'"));
    errors.map(|one| attribute(one, "id")).collect()
}

async fn hibernating(server: &Server, count: usize) {
    settled(server, |server| server.hibernating() == count).await;
}

/// Waits until it is so.
async fn settled(server: &Server, so: impl Fn(&Server) -> bool) {
    let waited = async {
        while !so(server) {
            tokio::task::yield_now().await;
        }
    };
    let waited = timeout(PATIENCE, waited).await;
    waited.unwrap_or_else(|_| panic!("{} sessions, {} hibernate", server.sessions(), server.hibernating()));
}

#[tokio::test]
async fn xep0198_3_enabled_says_whether_and_how_long() {
    let server = server_with(|_| {});
    for (wish, resumable, max) in [
        ("", false, ""),
        ("resume='false'", false, ""),
        ("resume='true'", true, "300"),
        ("resume='1' max='60'", true, "60"),
        ("resume='true' max='100000000000000'", true, "300"),
    ] {
        let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
        juliet.send(&format!("<enable {SM} {wish}/>")).await;
        let enabled = juliet.until("/>").await;
        assert!(enabled.starts_with(&format!("<enabled {SM}")), "{enabled}");
        assert_eq!(enabled.contains(" resume='true'"), resumable, "{enabled}");
        if resumable {
            assert_eq!(attribute(&enabled, "max"), max);
            assert!(attribute(&enabled, "id").len() >= 26);
        }
        juliet.send(END).await;
        juliet.rest().await;
    }
    let server = server_with(|limits| limits.resume_time = Duration::ZERO);
    let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
    juliet.send(&format!("<enable {SM} resume='true'/>")).await;
    assert_eq!(juliet.until("/>").await, format!("<enabled {SM}/>"));
}

#[tokio::test]
async fn abuse_a066_enabling_twice_ends_the_stream() {
    let server = server_with(|_| {});
    let (mut juliet, _) = managed(&server, "juliet@localhost/x").await;
    juliet.send(&format!("<enable {SM}/>")).await;
    juliet.until("<failed xmlns='urn:xmpp:sm:3'><unexpected-request ").await;
    juliet.ends_with("policy-violation").await;
    drop(juliet);
    settled(&server, |server| server.sessions() == 0 && server.hibernating() == 0).await;
}

#[tokio::test]
async fn abuse_a066_who_only_asks_and_never_reads_is_bounded() {
    let server = server_with(|limits| limits.outbox_bytes = 10_000);
    let (mut juliet, _) = managed(&server, "juliet@localhost/x").await;
    juliet.try_send(&R.repeat(10_000)).await;
    let text = juliet.ends_with("policy-violation").await;
    assert!(text.matches("<a ").count() < 10_000);
}

#[tokio::test]
async fn xep0198_6_what_is_malformed_or_out_of_place_fails() {
    let server = server_with(|_| {});
    let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
    juliet.send(&format!("<enable {SM} resume='perhaps'/>")).await;
    assert!(juliet.until("</failed>").await.contains("<bad-request "));
    juliet.send(&format!("<resume {SM} previd='x' h='0'/>")).await;
    assert!(juliet.until("</failed>").await.contains("<unexpected-request "));
    juliet.sync().await;
    juliet.send(&format!("<enable {SM}/>")).await;
    juliet.until("/>").await;
    juliet.send(&format!("<a {SM} h='one'/>")).await;
    juliet.ends_with("bad-format").await;
    for early in [R.to_owned(), a(0)] {
        let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
        juliet.send(&early).await;
        juliet.ends_with("unsupported-stanza-type").await;
    }
}

#[tokio::test]
async fn xep0198_4_handled_stanzas_are_counted_and_nothing_else() {
    let server = server_with(|_| {});
    let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
    juliet.send("<message to='localhost'/><presence/>").await;
    juliet.send(&format!("<enable {SM}/>{R}")).await;
    juliet.until("<enabled xmlns='urn:xmpp:sm:3'/>").await;
    assert_eq!(juliet.until(&a(0)).await, a(0));
    // A stanza that is refused is handled too; requests and white space are no stanzas.
    juliet.send(&format!("<presence/> \n<iq type='get' to='@' id='q'><x xmlns='y'/></iq>{R}{R}")).await;
    let answers = juliet.until(&format!("{0}{0}", a(2))).await;
    assert!(answers.contains("<jid-malformed "), "{answers}");
    juliet.send(&format!("<presence/>{R}")).await;
    juliet.until(&a(3)).await;
}

#[tokio::test]
async fn xep0198_4_the_server_asks_once_for_many_and_goes_on_asking() {
    let server = server_with(|_| {});
    let (mut juliet, _) = managed(&server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    message(&mut romeo, "juliet@localhost/x", "1").await;
    juliet.until(&format!("</message>{R}")).await;
    for body in ["2", "3"] {
        message(&mut romeo, "juliet@localhost/x", body).await;
    }
    assert!(!juliet.until("<body>3</body></message>").await.contains(R));
    assert!(juliet.is_quiet().await);
    juliet.send(&a(1)).await;
    assert_eq!(juliet.until(R).await, R);
    // One that does not get on is not asked at once again.
    juliet.send(&a(1)).await;
    juliet.sync_whole().await;
    juliet.until(R).await;
    juliet.send(&a(4)).await;
    assert!(juliet.is_quiet().await);
    message(&mut romeo, "juliet@localhost/x", "4").await;
    juliet.until(&format!("<body>4</body></message>{R}")).await;
}

#[tokio::test]
async fn abuse_a065_counts_that_cannot_be_end_the_stream() {
    let server = server_with(|_| {});
    for (first, second) in [(2, None), (1, Some(0))] {
        let (mut juliet, _) = managed(&server, "juliet@localhost/x").await;
        let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
        message(&mut romeo, "juliet@localhost/x", "1").await;
        juliet.until(R).await;
        juliet.send(&a(first)).await;
        if let Some(second) = second {
            juliet.send(&a(second)).await;
        }
        let text = juliet.ends_with("undefined-condition").await;
        let h = second.unwrap_or(first);
        assert!(text.contains(&format!("<handled-count-too-high {SM} h='{h}' send-count='1'/>")), "{text}");
    }
}

#[tokio::test]
async fn abuse_a064_who_never_acknowledges_is_bounded() {
    let server = server_with(|limits| limits.unacked_stanzas = 10);
    let (mut juliet, _) = managed(&server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    let sent: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    for body in &sent {
        message(&mut romeo, "juliet@localhost/x", body).await;
    }
    let text = juliet.ends_with("policy-violation").await;
    assert_eq!(bodies(&text), sent[..10]);
    // The last two found no room and came back first, then those of which nobody knows whether they arrived.
    let mut back = String::new();
    while bounced(&back).len() < 12 {
        back += &romeo.until("</message>").await;
    }
    assert_eq!(bounced(&back)[..2], sent[10..]);
    assert_eq!(bounced(&back)[2..], sent[..10]);
    romeo.sync().await;
}

#[tokio::test]
async fn xep0198_5_a_lost_connection_goes_on_where_it_was() {
    let server = server_with(|_| {});
    let (mut juliet, id) = managed(&server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    message(&mut juliet, "romeo@localhost/y", "from juliet").await;
    for body in ["1", "2"] {
        message(&mut romeo, "juliet@localhost/x", body).await;
    }
    juliet.until("<body>2</body></message>").await;
    romeo.until("</message>").await;
    drop(juliet);
    hibernating(&server, 1).await;
    assert_eq!(server.sessions(), 2);
    for body in ["3", "4"] {
        message(&mut romeo, "juliet@localhost/x", body).await;
    }
    romeo.sync().await;
    let (mut juliet, resumed) = resume(&server, "juliet@localhost", &id, 1).await;
    assert_eq!(resumed, format!("<resumed {SM} previd='{id}' h='1'/>"));
    assert_eq!((server.sessions(), server.hibernating(), server.stats().resumed), (2, 0, 1));
    message(&mut romeo, "juliet@localhost/x", "5").await;
    let text = juliet.until("<body>5</body></message>").await;
    assert_eq!(bodies(&text), ["2", "3", "4", "5"]);
    // The counts go on.
    juliet.send(&format!("{}{}", a(5), "<message to='romeo@localhost/y' id='x'><body>6</body></message>")).await;
    juliet.send(R).await;
    juliet.until(&a(2)).await;
    assert_eq!(bodies(&romeo.until("</message>").await), ["6"]);
    // And so does the id.
    drop(juliet);
    hibernating(&server, 1).await;
    let (mut juliet, resumed) = resume(&server, "juliet@localhost", &id, 5).await;
    assert_eq!(resumed, format!("<resumed {SM} previd='{id}' h='2'/>"));
    juliet.sync_whole().await;
    romeo.sync().await;
}

#[tokio::test]
async fn xep0198_5_the_id_is_worth_nothing_to_others() {
    let server = server_with(|_| {});
    let (juliet, id) = managed(&server, "juliet@localhost/x").await;
    drop(juliet);
    hibernating(&server, 1).await;
    let refused = |answer: &str| {
        assert!(answer.contains("<item-not-found ") && !answer.contains(" h='"), "{answer}");
    };
    let (mut mallory, answer) = resume(&server, "mallory@localhost", &id, 0).await;
    refused(&answer);
    mallory.send(&format!("<resume {SM} previd='nonsense' h='0'/>")).await;
    assert_eq!(mallory.until("</failed>").await, answer);
    mallory.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>").await;
    mallory.until("</iq>").await;
    assert_eq!(server.hibernating(), 1);
    let (_juliet, answer) = resume(&server, "juliet@localhost", &id, 0).await;
    assert!(answer.starts_with("<resumed "), "{answer}");
}

#[tokio::test]
async fn abuse_a065_too_high_a_count_does_not_resume() {
    let server = server_with(|_| {});
    let (juliet, id) = managed(&server, "juliet@localhost/x").await;
    drop(juliet);
    hibernating(&server, 1).await;
    let mut raw = Raw::memory(&server);
    raw.authenticate("juliet@localhost").await;
    raw.send(&format!("<resume {SM} previd='{id}' h='1'/>")).await;
    let text = raw.ends_with("undefined-condition").await;
    assert!(text.contains(&format!("<handled-count-too-high {SM} h='1' send-count='0'/>")), "{text}");
    assert_eq!(server.hibernating(), 1);
}

#[tokio::test]
async fn xep0198_5_a_connection_that_is_still_there_gives_way() {
    let server = server_with(|_| {});
    let (mut old, id) = managed(&server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    message(&mut romeo, "juliet@localhost/x", "1").await;
    old.until(R).await;
    let (mut new, answer) = resume(&server, "juliet@localhost", &id, 0).await;
    assert!(answer.starts_with("<resumed "), "{answer}");
    assert!(old.rest().await.contains("<conflict "));
    assert_eq!(bodies(&new.until("</message>").await), ["1"]);
    // What the old one says is not heard any more.
    assert!(!old.try_send("<message to='romeo@localhost/y'><body>ghost</body></message>").await);
    message(&mut new, "romeo@localhost/y", "2").await;
    assert_eq!(bodies(&romeo.until("</message>").await), ["2"]);
    assert_eq!((server.sessions(), server.hibernating()), (2, 0));
}

#[tokio::test]
async fn xep0198_5_of_two_that_resume_at_once_one_stays() {
    let server = server_with(|_| {});
    for round in 0..10 {
        let (juliet, id) = managed(&server, "juliet@localhost/x").await;
        if round % 2 == 0 {
            drop(juliet);
            hibernating(&server, 1).await;
        }
        let both = tokio::join!(
            resume(&server, "juliet@localhost", &id, 0),
            resume(&server, "juliet@localhost", &id, 0),
            resume(&server, "juliet@localhost", &id, 0),
        );
        let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
        message(&mut romeo, "juliet@localhost/x", "1").await;
        let mut got = 0;
        for (mut raw, answer) in [both.0, both.1, both.2] {
            assert!(answer.starts_with("<resumed "), "{answer}");
            // Who was displaced finds the end.
            let mut text = String::new();
            while !text.contains("<conflict ") && !text.contains("</message>") {
                text += &raw.hear().await;
            }
            got += bodies(&text).len();
            drop(raw);
        }
        assert_eq!(got, 1);
        hibernating(&server, 1).await;
        // The next round takes its resource.
        romeo.send(END).await;
        romeo.rest().await;
    }
}

/// Messages to `slow` wait for the bell.
fn slow(bell: Arc<Notify>) -> impl FnOnce(&mut ServerRegistrar) {
    move |r: &mut ServerRegistrar| {
        r.station(Station::new(
            "test:slow",
            Stage::Incoming,
            Kinds::MESSAGE,
            move |envelope: &mut Envelope, _: &Server| {
                let body = envelope.stanza().as_str().contains("slow");
                let bell = Arc::clone(&bell);
                match body {
                    true => Decision::Wait(Box::pin(async move {
                        bell.notified().await;
                        Verdict::Continue
                    })),
                    false => Verdict::Continue.into(),
                }
            },
        ));
    }
}

#[tokio::test]
async fn xep0198_4_a_stanza_on_its_way_is_waited_for() {
    for cut in [true, false] {
        let bell = Arc::new(Notify::new());
        let server = builder().with(slow(Arc::clone(&bell))).build().unwrap();
        let (mut juliet, id) = managed(&server, "juliet@localhost/x").await;
        let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
        message(&mut juliet, "romeo@localhost/y", "slow").await;
        juliet.send(&format!("<message to='romeo@localhost/y'><body>behind</body></message>{R}")).await;
        assert!(juliet.is_quiet().await);
        let old = (!cut).then_some(juliet);
        let again = {
            let server = server.clone();
            tokio::spawn(async move { resume(&server, "juliet@localhost", &id, 0).await })
        };
        assert!(romeo.is_quiet().await);
        assert!(!again.is_finished());
        bell.notify_one();
        let (mut juliet, answer) = timeout(PATIENCE, again).await.unwrap().unwrap();
        // What stood behind it was not routed any more, if the new connection came first: it is not counted then.
        let h: u32 = attribute(&answer, "h").parse().unwrap();
        assert!(h == 1 || (cut && h == 2), "{answer}");
        let text = romeo.until("</message>").await;
        assert_eq!(bodies(&text), ["slow"]);
        if h == 1 {
            message(&mut juliet, "romeo@localhost/y", "behind").await;
        }
        assert_eq!(bodies(&romeo.until("</message>").await), ["behind"]);
        juliet.sync_whole().await;
        romeo.sync().await;
        drop(old);
    }
}

/// What ends, and what nobody took, in order.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn extension(log: &Arc<Log>) -> impl FnOnce(&mut ServerRegistrar) + use<> {
        let (ended, lost) = (Arc::clone(log), Arc::clone(log));
        move |r: &mut ServerRegistrar| {
            r.on_session_end(move |_: &Server, resource: &Resource| ended.add(format!("end {}", resource.jid)));
            r.station(Station::new(
                "test:log",
                Stage::Undelivered,
                Kinds::ALL,
                move |envelope: &mut Envelope, _: &Server| {
                    match envelope.kind() {
                        StanzaKind::Message => lost.add(envelope.stanza().as_str().to_owned()),
                        _ => return Verdict::Continue,
                    }
                    Verdict::Handled
                },
            ));
        }
    }

    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    async fn lines(&self, count: usize) -> Vec<String> {
        let all = async {
            while self.0.lock().unwrap().len() < count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("{:?}", self.0.lock().unwrap()));
        self.0.lock().unwrap().clone()
    }
}

/// Juliet has not acknowledged the second of two messages and has lost her connection; a third follows.
async fn left_behind(server: &Server) -> (Raw, String) {
    let (mut juliet, id) = managed(server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(server, "romeo@localhost/y").await;
    for body in ["1", "2"] {
        message(&mut romeo, "juliet@localhost/x", body).await;
    }
    juliet.until("<body>2</body></message>").await;
    juliet.send(&a(1)).await;
    juliet.sync_whole().await;
    drop(juliet);
    hibernating(server, 1).await;
    message(&mut romeo, "juliet@localhost/x", "3").await;
    romeo.sync().await;
    (romeo, id)
}

fn logged(change: impl FnOnce(&mut Limits)) -> (Server, Arc<Log>) {
    let log = Arc::new(Log::default());
    let mut limits = Limits::default();
    change(&mut limits);
    (builder().limits(limits).with(Log::extension(&log)).build().unwrap(), log)
}

fn handed_on(lines: &[String]) {
    assert_eq!(lines[0], "end juliet@localhost/x");
    assert_eq!(bodies(&lines[1..].concat()), ["2", "3"]);
    // XEP-0198 §4: with the time of the delivery that failed.
    assert!(lines[1..].iter().all(|line| line.contains("<delay xmlns='urn:xmpp:delay' from='localhost' stamp='20")));
}

#[tokio::test]
async fn xep0198_4_who_does_not_come_back_in_time_is_gone() {
    let (server, log) = logged(|limits| limits.resume_time = Duration::from_secs(1));
    let (_romeo, id) = left_behind(&server).await;
    handed_on(&log.lines(3).await);
    assert_eq!((server.sessions(), server.hibernating()), (1, 0));
    let (_, answer) = resume(&server, "juliet@localhost", &id, 1).await;
    assert!(answer.contains("<item-not-found "), "{answer}");
    assert_eq!(log.lines(3).await.len(), 3);
}

#[tokio::test]
async fn xep0198_5_a_new_session_with_the_same_resource_replaces_it() {
    let (server, log) = logged(|_| {});
    let (_romeo, id) = left_behind(&server).await;
    let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
    handed_on(&log.lines(3).await);
    juliet.sync().await;
    assert_eq!((server.sessions(), server.hibernating()), (2, 0));
    let (_, answer) = resume(&server, "juliet@localhost", &id, 1).await;
    assert!(answer.contains("<item-not-found "), "{answer}");
}

#[tokio::test]
async fn rfc6120_4_9_3_20_a_shutdown_hands_on_what_hibernates() {
    let (server, log) = logged(|_| {});
    let (_romeo, _) = left_behind(&server).await;
    server.shutdown(Duration::from_millis(200)).await;
    let lines = log.lines(4).await;
    assert!(lines.iter().any(|line| line == "end romeo@localhost/y"));
    handed_on(&lines.into_iter().filter(|line| !line.contains("end romeo")).collect::<Vec<_>>());
    assert_eq!(server.hibernating(), 0);
}

#[tokio::test]
async fn rfc6120_4_9_3_20_no_sleeper_is_left_when_there_is_no_grace() {
    let (server, log) = logged(|limits| limits.hibernated_per_account = 100);
    // More than are told in one go.
    for account in ["juliet", "romeo", "mercutio"] {
        for number in 0..25 {
            drop(managed(&server, &format!("{account}@localhost/{number}")).await);
        }
    }
    hibernating(&server, 75).await;
    server.shutdown(Duration::ZERO).await;
    assert_eq!((server.sessions(), server.hibernating()), (0, 0));
    assert_eq!(log.lines(75).await.len(), 75);
}

#[tokio::test]
async fn abuse_a064_a_sleeper_holds_only_so_much() {
    let (server, log) = logged(|limits| limits.unacked_stanzas = 3);
    let (mut romeo, _) = left_behind(&server).await;
    message(&mut romeo, "juliet@localhost/x", "4").await;
    let lines = log.lines(4).await;
    assert_eq!(bodies(&lines.concat()), ["4", "2", "3"]);
    assert_eq!((server.sessions(), server.hibernating()), (1, 0));
    romeo.sync().await;
}

#[tokio::test]
async fn abuse_a064_sleepers_are_bounded_for_an_account_and_in_all() {
    let (server, log) = logged(|limits| {
        limits.hibernated_per_account = 2;
        limits.hibernated = 3;
    });
    let mut ids = Vec::new();
    for jid in ["juliet@localhost/1", "juliet@localhost/2", "juliet@localhost/3"] {
        let (raw, id) = managed(&server, jid).await;
        drop(raw);
        hibernating(&server, (ids.len() + 1).min(2)).await;
        ids.push(id);
    }
    assert_eq!(log.lines(1).await.len(), 1);
    let (romeo, _) = managed(&server, "romeo@localhost/1").await;
    drop(romeo);
    hibernating(&server, 3).await;
    let (mercutio, _) = managed(&server, "mercutio@localhost/1").await;
    drop(mercutio);
    assert_eq!(log.lines(2).await[1], "end mercutio@localhost/1");
    assert_eq!((server.sessions(), server.hibernating()), (3, 3));
}

#[tokio::test]
async fn xep0198_9_a_stream_that_is_closed_is_over() {
    let (server, log) = logged(|_| {});
    let (mut juliet, id) = managed(&server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    for body in ["1", "2"] {
        message(&mut romeo, "juliet@localhost/x", body).await;
    }
    juliet.until("<body>2</body></message>").await;
    juliet.send(&format!("{}{END}", a(1))).await;
    assert!(juliet.rest().await.ends_with(END));
    let lines = log.lines(2).await;
    assert_eq!(lines[0], "end juliet@localhost/x");
    assert_eq!(bodies(&lines[1]), ["2"]);
    let (_, answer) = resume(&server, "juliet@localhost", &id, 1).await;
    assert!(answer.contains("<item-not-found "), "{answer}");
}

#[tokio::test]
async fn xep0198_3_what_was_sent_before_does_not_count() {
    let (server, log) = logged(|_| {});
    let (mut juliet, mut romeo) =
        (Raw::session(&server, "juliet@localhost/x").await, Raw::session(&server, "romeo@localhost/y").await);
    message(&mut romeo, "juliet@localhost/x", "0").await;
    romeo.sync().await;
    juliet.send(&format!("<enable {SM} resume='true'/>")).await;
    juliet.until("<enabled ").await;
    message(&mut romeo, "juliet@localhost/x", "1").await;
    juliet.until(R).await;
    juliet.send(&a(1)).await;
    juliet.send(END).await;
    juliet.rest().await;
    assert_eq!(log.lines(1).await, ["end juliet@localhost/x"]);
    romeo.sync().await;
}

#[tokio::test]
async fn the_server_finds_out_who_is_gone() {
    let server = server_with(|limits| {
        limits.keepalive = Duration::from_secs(1);
        limits.keepalive_answer = Duration::from_secs(1);
    });
    let (mut juliet, id) = managed(&server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    // Both are there and say nothing: one is asked for an acknowledgement, the other pinged.
    let (asked, pinged) = tokio::join!(juliet.rest(), romeo.rest());
    assert_eq!(asked, R);
    assert!(pinged.contains("type='get'") && pinged.contains("<ping xmlns='urn:xmpp:ping'/>"), "{pinged}");
    assert!(pinged.contains("<connection-timeout "), "{pinged}");
    settled(&server, |server| server.sessions() == 1 && server.hibernating() == 1).await;
    let (_, answer) = resume(&server, "juliet@localhost", &id, 0).await;
    assert!(answer.starts_with("<resumed "), "{answer}");
}

#[tokio::test]
async fn xep0198_5_who_breaks_the_rules_is_not_waited_for() {
    let server = server_with(|_| {});
    let (juliet, id) = managed(&server, "juliet@localhost/x").await;
    drop(juliet);
    hibernating(&server, 1).await;
    let (mut juliet, _) = resume(&server, "juliet@localhost", &id, 0).await;
    juliet.send(HEADER.split_once("?>").unwrap().1).await;
    juliet.ends_with("not-well-formed").await;
    drop(juliet);
    settled(&server, |server| server.sessions() == 0 && server.hibernating() == 0).await;
}

/// Logs in by SASL2 (XEP-0388), with this along; everything up to `</success>`.
async fn authenticate2(raw: &mut Raw, user: &str, along: &str) -> String {
    raw.send(HEADER).await;
    let features = raw.until("</stream:features>").await;
    let (_, offered) = features.split_once("<authentication ").unwrap();
    let (offered, _) = offered.split_once("</authentication>").unwrap();
    assert!(offered.contains(&format!("<sm {SM}/>")), "{offered}");
    assert!(offered.contains("<feature var='urn:xmpp:sm:3'/>"), "{offered}");
    let mechanisms = offered.split("<mechanism>").skip(1).map(|rest| rest.split_once('<').unwrap().0.to_owned());
    let offer = Offer { mechanisms: mechanisms.collect(), bindings: None, sasl2: true };
    let (credentials, policy) = (Credentials::password(user, PASSWORD), ClientPolicy::default());
    let bindings = ChannelBindings::default();
    let mut sasl = ClientSasl::choose(&offer, credentials, &bindings, false, &policy).unwrap();
    let (mechanism, initial) = sasl.start(Nonce::new("fyko+d2lbbFgONRv9qkxdawL").unwrap()).unwrap();
    let initial = encode_payload(initial.as_deref());
    raw.send(&format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'><initial-response>{initial}</initial-response>\
         {along}</authenticate>"
    ))
    .await;
    let challenge = raw.until("</challenge>").await;
    let challenge = challenge.trim_end_matches("</challenge>").rsplit_once('>').unwrap().1.to_owned();
    let mut step = sasl.challenge(&decode_payload(&challenge).unwrap().unwrap()).unwrap();
    let response = loop {
        step = match step {
            ClientStep::Send(response) => break response,
            ClientStep::Derive(job) => ClientStep::Send(sasl.derived(job.run()).unwrap()),
        };
    };
    let response = encode_payload(Some(&response));
    raw.send(&format!("<response xmlns='urn:xmpp:sasl:2'>{response}</response>")).await;
    raw.until("</success>").await
}

#[tokio::test]
async fn xep0198_9_enabled_and_resumed_while_logging_in() {
    let server = server_with(|_| {});
    let bind = format!("<bind xmlns='urn:xmpp:bind:0'><tag>t</tag><enable {SM} resume='true' max='60'/></bind>");
    let mut juliet = Raw::memory(&server);
    let success = authenticate2(&mut juliet, "juliet", &bind).await;
    let (_, enabled) = success.split_once("<enabled ").unwrap();
    let (id, max) = (attribute(&format!(" {enabled}"), "id").to_owned(), attribute(enabled, "max").to_owned());
    assert_eq!(max, "60");
    let jid = success.split_once("<authorization-identifier>").unwrap().1.split_once('<').unwrap().0.to_owned();
    juliet.until("</stream:features>").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    message(&mut romeo, &jid, "1").await;
    juliet.until(R).await;
    drop(juliet);
    hibernating(&server, 1).await;
    message(&mut romeo, &jid, "2").await;
    // §9.2: who resumes is not bound, whatever it says.
    let mut juliet = Raw::memory(&server);
    let resume = |id: &str| format!("<resume {SM} previd='{id}' h='1'/>{bind}");
    let success = authenticate2(&mut juliet, "juliet", &resume(&id)).await;
    assert!(success.contains(&format!("<resumed {SM} previd='{id}' h='0'/>")), "{success}");
    assert!(!success.contains("<bound "), "{success}");
    assert_eq!(bodies(&juliet.until("</message>").await), ["2"]);
    // §9.2.1: who cannot resume is bound.
    let mut juliet = Raw::memory(&server);
    let success = authenticate2(&mut juliet, "juliet", &resume("nonsense")).await;
    assert!(success.contains("<item-not-found ") && success.contains("<enabled "), "{success}");
    juliet.until("</stream:features>").await;
    juliet.sync().await;
    assert_eq!((server.sessions(), server.hibernating()), (3, 0));
}
