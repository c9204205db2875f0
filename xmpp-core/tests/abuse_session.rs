//! Hostile clients that are logged in: what they send, and what must come of it, to them and to others.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use support::{FOREVER, HEADER, PATIENCE, Raw, builder, server};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use xmpp_core::{
    extension::{Reply, Target},
    payload::{last::LastQuery, ping::Ping, version::VersionQuery},
    server::{Decision, Envelope, Kinds, Limits, Resource, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::StanzaError,
};

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    limits.closing = Duration::from_millis(500);
    change(&mut limits);
    limits
}

#[tokio::test]
async fn abuse_a043_from_is_the_servers_to_say() {
    let server = builder().limits(limits(|_| {})).build().unwrap();
    let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    let own = ["", " from='romeo@localhost/y'", " from='romeo@localhost'", " from='ROMEO@localhost/y'"];
    for from in own {
        romeo.send(&format!("<message to='juliet@localhost/x'{from} id='m'><body>hi</body></message>")).await;
        let text = juliet.until("</message>").await;
        assert!(text.contains("from='romeo@localhost/y'"), "{text}");
        assert_eq!(text.matches("from=").count(), 1, "{text}");
    }
    for foreign in ["juliet@localhost", "romeo@localhost/z", "localhost", "", "@", "romeo@localhost.evil/y"] {
        let mut mallory = Raw::session(&server, "romeo@localhost/m").await;
        mallory.send(&format!("<message to='juliet@localhost/x' from='{foreign}'><body>no</body></message>")).await;
        mallory.ends_with("invalid-from").await;
    }
    juliet.sync().await;
    assert!(juliet.is_quiet().await);
}

#[tokio::test]
async fn abuse_a044_a048_addresses_meet_whom_they_mean() {
    let server = server();
    let mut juliet = Raw::session(&server, "juliet@localhost/Cafe\u{301}").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    for to in ["JULIET@LocalHost/Caf\u{e9}", "juliet@localhost./Cafe\u{301}", "\u{ff4a}uliet@localhost/Caf\u{e9}"] {
        romeo.send(&format!("<message to='{to}'><body>{to}</body></message>")).await;
        assert!(juliet.until("</message>").await.contains("romeo@localhost/y"), "{to}");
    }
    for other in ["juliet@localhost/cafe\u{301}", "juliet@localhost/Cafe"] {
        romeo.send(&format!("<message to='{other}' id='m'><body>x</body></message>")).await;
        let text = romeo.until("</message>").await;
        assert!(text.contains("type='error'") && text.contains("<service-unavailable "), "{text}");
    }
    assert!(juliet.is_quiet().await);
}

#[tokio::test]
async fn abuse_a044_nobody_is_called_by_a_name_it_would_be_closed_for() {
    let server = server();
    let mut juliet = Raw::session(&server, "juliet@localhost/K 9").await;
    let mut mallory = Raw::session(&server, "mallory@localhost/m").await;
    // KELVIN SIGN and NO-BREAK SPACE: prepared, they are what Juliet bound.
    let called = "JULIET@localhost/\u{212a}\u{a0}9";
    mallory.send(&format!("<iq type='get' id='q' to='{called}'><ping xmlns='urn:xmpp:ping'/></iq>")).await;
    let text = juliet.until("</iq>").await;
    assert!(text.contains("to='juliet@localhost/K 9'") && !text.contains(called), "{text}");
    juliet.send(&format!("<iq type='result' id='q' to='mallory@localhost/m' from='{called}'/>")).await;
    assert!(mallory.until("/>").await.contains("from='juliet@localhost/K 9'"));
    juliet.sync().await;
}

#[tokio::test]
async fn abuse_a045_malformed_addresses_are_bounced_once_and_the_stream_lives() {
    let server = server();
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    for to in ["@", "/", "@localhost", "a@b@c", "a@", "localhost/", ""] {
        for name in ["message", "presence", "iq"] {
            romeo.send(&format!("<{name} type='get' id='m' to='{to}'><x xmlns='urn:y'/></{name}>")).await;
            let text = romeo.until(&format!("</{name}>")).await;
            assert!(text.contains("type='error'") && text.contains("<jid-malformed "), "{to}: {text}");
        }
        // Answers and errors to nowhere vanish.
        romeo.send(&format!("<iq type='result' id='m' to='{to}'/><message type='error' to='{to}'/>")).await;
        romeo.sync().await;
    }
    assert!(romeo.is_quiet().await);
}

#[tokio::test]
async fn abuse_a050_broken_requests_are_answered_once_and_answers_never() {
    let server = server();
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    let cases = [
        (format!("<iq type='get' to='localhost'>{ping}</iq>"), Some("bad-request")),
        (format!("<iq type='get' id='' to='localhost'>{ping}</iq>"), Some("bad-request")),
        (format!("<iq type='foo' id='1' to='localhost'>{ping}</iq>"), Some("bad-request")),
        (format!("<iq id='1' to='localhost'>{ping}</iq>"), Some("bad-request")),
        ("<iq type='get' id='1' to='localhost'/>".to_owned(), Some("bad-request")),
        (format!("<iq type='set' id='1' to='localhost'>{ping}{ping}</iq>"), Some("bad-request")),
        (format!("<iq type='set' id='1' to='localhost'>{ping}</iq>"), Some("feature-not-implemented")),
        ("<iq type='get' id='1' to='localhost'><x xmlns='urn:y'/></iq>".to_owned(), Some("service-unavailable")),
        ("<iq type='get' id='1'><x xmlns='urn:y'/></iq>".to_owned(), Some("service-unavailable")),
        (format!("<iq type='get' id='1' to='elsewhere'>{ping}</iq>"), Some("remote-server-not-found")),
        (format!("<iq type='get' id='1' to='nobody@localhost/x'>{ping}</iq>"), Some("service-unavailable")),
        ("<iq type='result' id='1' to='nobody@localhost/x'/>".to_owned(), None),
        ("<iq type='result' id='1' to='localhost'/>".to_owned(), None),
        ("<iq type='result' id='1'/>".to_owned(), None),
        ("<iq type='error' id='1' to='elsewhere'><error/></iq>".to_owned(), None),
        ("<iq type='error' to='nobody@localhost'/>".to_owned(), None),
        ("<message type='error' to='nobody@localhost/x'/>".to_owned(), None),
        ("<message type='error' to='localhost'/>".to_owned(), None),
        ("<presence type='error' to='elsewhere'/>".to_owned(), None),
        ("<presence to='localhost'/>".to_owned(), None),
        ("<presence/>".to_owned(), None),
    ];
    for (sent, expected) in cases {
        romeo.send(&sent).await;
        if let Some(condition) = expected {
            let text = romeo.until("</iq>").await;
            let wanted = format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'");
            assert!(text.contains("type='error'") && text.contains(&wanted), "{sent}: {text}");
        }
        let after = romeo.sync_whole().await;
        assert_eq!(after.matches("<iq").count(), 1, "{sent}: {after}");
        assert_eq!(after.matches("<message").count() + after.matches("<presence").count(), 0, "{sent}: {after}");
    }
}

#[tokio::test]
async fn abuse_a056_strangers_learn_nothing_of_who_exists() {
    let server = server();
    let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
    let mut mallory = Raw::session(&server, "mallory@localhost/m").await;
    for payload in [
        "<query xmlns='http://jabber.org/protocol/disco#info'/>",
        "<query xmlns='http://jabber.org/protocol/disco#items'/>",
        "<query xmlns='jabber:iq:last'/>",
        "<query xmlns='jabber:iq:version'/>",
        "<time xmlns='urn:xmpp:time'/>",
        "<vCard xmlns='vcard-temp'/>",
        "<ping xmlns='urn:xmpp:ping'/>",
    ] {
        let mut answers = Vec::new();
        for to in ["juliet@localhost", "nobody@localhost", "juliet@localhost/absent", "nobody@localhost/absent"] {
            mallory.send(&format!("<iq type='get' id='q' to='{to}'>{payload}</iq>")).await;
            answers.push(mallory.until("</iq>").await.replace(to, "TO"));
        }
        assert!(answers[0].contains("<service-unavailable "), "{payload}: {answers:?}");
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{payload}: {answers:?}");
    }
    assert!(juliet.is_quiet().await);
    let _ = (LastQuery, VersionQuery, Ping);
    juliet.sync().await;
}

/// A server with a handler for every way to fail.
fn faulty() -> Server {
    let extension = |r: &mut ServerRegistrar| {
        r.iq_get::<LastQuery, ()>(Target::OwnAccount, |_, _| panic!("in a handler"));
        r.iq_get_async::<VersionQuery, (), _>(Target::OwnAccount, |_, _| async { panic!("while waiting") });
        r.iq_set::<LastQuery, _>(Target::OwnAccount, |_, _| Ok(Reply::write(|_| panic!("in a payload"))));
        r.iq_set_async::<Ping, (), _>(Target::OwnAccount, |_, _| std::future::pending());
        r.station(Station::new("panics", Stage::Outgoing, Kinds::MESSAGE, |envelope: &mut Envelope, _: &Server| {
            if envelope.type_str() == "headline" {
                panic!("in an interceptor");
            }
            Verdict::Continue
        }));
        r.on_session_end(|_: &Server, resource: &Resource| {
            if resource.jid.as_str().starts_with("panic") {
                panic!("at a session's end");
            }
        });
    };
    let limits = limits(|limits| limits.handler = Duration::from_millis(200));
    builder().limits(limits).with(extension).build().unwrap()
}

#[tokio::test]
async fn abuse_a105_a_fault_in_a_handler_is_that_stanzas_error() {
    let server = faulty();
    let mut other = Raw::session(&server, "other@localhost/o").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    for sent in [
        "<iq type='get' id='1'><query xmlns='jabber:iq:last'/></iq>",
        "<iq type='get' id='1'><query xmlns='jabber:iq:version'/></iq>",
        "<iq type='set' id='1'><query xmlns='jabber:iq:last'/></iq>",
        "<iq type='set' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
        "<message type='headline' id='1' to='other@localhost/o'/>",
    ] {
        romeo.send(sent).await;
        let text = romeo.until("</error>").await + &romeo.until(">").await;
        assert!(text.contains("id='1'") && text.contains("<internal-server-error "), "{sent}: {text}");
        romeo.sync().await;
    }
    assert!(other.is_quiet().await);
    other.sync().await;
}

#[tokio::test]
async fn abuse_a105_a_fault_at_a_sessions_end_leaves_no_ghost() {
    let server = faulty();
    let mut old = Raw::session(&server, "panic@localhost/x").await;
    let mut new = Raw::session(&server, "panic@localhost/x").await;
    old.ends_with("conflict").await;
    new.send("</stream:stream>").await;
    assert_eq!(new.rest().await, "</stream:stream>");
    gone(&server, 0).await;
    Raw::session(&server, "panic@localhost/x").await.sync().await;
}

async fn gone(server: &Server, sessions: usize) {
    let start = Instant::now();
    while server.sessions() != sessions {
        assert!(start.elapsed() < PATIENCE, "{} sessions are left", server.sessions());
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_slow_reader_is_closed_with_policy_violation_and_its_messages_bounce() {
    let limits = limits(|limits| {
        limits.outbox_bytes = 100_000;
        // It reads at last.
        limits.closing = PATIENCE;
    });
    let server = builder().limits(limits).build().unwrap();
    let mut slow = Raw::session(&server, "slow@localhost/s").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    let body = "x".repeat(1000);
    let mut bounced = 0;
    for number in 0..1000 {
        romeo.send(&format!("<message to='slow@localhost/s' id='{number}'><body>{body}</body></message>")).await;
        let text = romeo.sync_whole().await;
        bounced += text.matches("type='error'").count();
    }
    // The pipe holds 64 KiB, the driver one outbox, the outbox one more: the rest came back.
    assert!(bounced > 600, "{bounced}");
    let text = slow.rest().await;
    assert!(text.contains("<policy-violation ") && text.ends_with("</stream:stream>"), "{}", &text[text.len() - 300..]);
    let arrived = text.matches("</message>").count();
    assert_eq!(arrived + bounced, 1000, "each is delivered or bounced");
    drop(slow);
    gone(&server, 1).await;
}

#[tokio::test]
async fn a_reader_that_never_reads_is_cut_off_though_it_keeps_sending() {
    let server = builder().limits(limits(|limits| limits.outbox_bytes = 10_000)).build().unwrap();
    let mut stuck = Raw::session(&server, "stuck@localhost/s").await;
    let start = Instant::now();
    // It asks and never reads the answers.
    while stuck.try_send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>").await {
        assert!(start.elapsed() < PATIENCE);
    }
    gone(&server, 0).await;
}

#[tokio::test]
async fn abuse_a099_shutdown_tells_everybody_and_does_not_wait_for_the_stuck() {
    let server = builder().limits(limits(|limits| limits.outbox_bytes = 1_000_000)).build().unwrap();
    let mut bound = Raw::session(&server, "juliet@localhost/x").await;
    let mut early = Raw::memory(&server);
    early.send(HEADER).await;
    early.until("</stream:features>").await;
    let mut silent = Raw::memory(&server);
    let stuck = Raw::session(&server, "stuck@localhost/s").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    for _ in 0..200 {
        let body = "x".repeat(1000);
        romeo.send(&format!("<message to='stuck@localhost/s'><body>{body}</body></message>")).await;
    }
    romeo.sync().await;
    let stopping = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(FOREVER).await }
    });
    bound.ends_with("system-shutdown").await;
    early.ends_with("system-shutdown").await;
    assert!(silent.ends_with("system-shutdown").await.starts_with("<?xml"));
    romeo.ends_with("system-shutdown").await;
    drop((bound, early, silent, romeo));
    timeout(PATIENCE, stopping).await.unwrap().unwrap();
    assert_eq!(server.sessions(), 0);
    drop(stuck);
}

#[tokio::test]
async fn abuse_a100_newcomers_of_one_address_are_bounded_and_others_are_served() {
    let limits = limits(|limits| {
        limits.unauthenticated_per_ip = 3;
        limits.phase = FOREVER;
    });
    let server = builder().limits(limits).allow_plaintext().build().unwrap();
    let address = server.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut bound = Raw::tcp(address).await;
    bound.login("juliet@localhost/x").await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::tcp(address).await;
        raw.send(HEADER).await;
        raw.until("</stream:features>").await;
        silent.push(raw);
    }
    let mut refused = Raw::tcp(address).await;
    refused.try_send(HEADER).await;
    assert_eq!(refused.rest().await, "");
    bound.sync().await;
    for raw in &mut silent {
        assert!(raw.is_quiet().await);
    }
    // When one leaves, there is a place; the server notices as soon as it looks.
    silent.pop();
    let start = Instant::now();
    while !greeted(Raw::tcp(address).await).await {
        assert!(start.elapsed() < PATIENCE, "the place is not free");
    }
}

/// Whether a stream is answered with one.
async fn greeted(mut raw: Raw) -> bool {
    raw.try_send(&format!("{HEADER}</stream:stream>")).await && !raw.rest().await.is_empty()
}

#[tokio::test]
async fn abuse_a100_a_full_house_lets_the_next_in_when_one_leaves() {
    let server = builder().limits(limits(|limits| limits.connections = 2)).allow_plaintext().build().unwrap();
    let address = server.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut one = Raw::tcp(address).await;
    one.login("juliet@localhost/1").await;
    let mut two = Raw::tcp(address).await;
    two.login("juliet@localhost/2").await;
    let mut three = Raw::tcp(address).await;
    three.send(HEADER).await;
    assert!(three.is_quiet().await);
    one.send("</stream:stream>").await;
    one.rest().await;
    drop(one);
    three.until("</stream:features>").await;
}

#[tokio::test]
async fn abuse_a101_a_flood_slows_its_own_sender_alone() {
    let limits = limits(|limits| {
        limits.bytes_per_second = 1_000;
        limits.burst_bytes = 20_000;
    });
    let server = builder().limits(limits).build().unwrap();
    let mut flood = Raw::session(&server, "flood@localhost/f").await;
    let mut calm = Raw::session(&server, "calm@localhost/c").await;
    // The pipe takes 64 KiB beyond what the server has read; the rest would take two minutes.
    let mut sending = tokio::spawn(async move { flood.try_send(&"<presence/>".repeat(20_000)).await });
    for _ in 0..20 {
        calm.sync().await;
    }
    assert!(timeout(Duration::from_millis(500), &mut sending).await.is_err(), "the flood was not slowed");
    calm.sync().await;
    sending.abort();
}

#[tokio::test]
async fn abuse_a096_names_of_strangers_do_not_break_out_of_what_is_logged() {
    let server = server();
    let mut raw = Raw::memory(&server);
    let first = xmpp_core::sasl::encode_payload(Some("n,,n=x\r\nINFO forged\u{1b}[2J,r=abcdefghijklm".as_bytes()));
    raw.send(&format!("{HEADER}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>{first}</auth>"))
        .await;
    // A name with control characters is none, so nothing is looked up or logged under it.
    raw.until("</stream:features>").await;
    let text = raw.until("</").await;
    assert!(text.contains("<failure") || text.contains("<challenge"), "{text}");
}

#[tokio::test]
async fn rfc6120_4_4_streams_close_in_good_order_from_either_side() {
    let server = server();
    let mut raw = Raw::session(&server, "juliet@localhost/x").await;
    raw.send("<message to='juliet@localhost/x'><body>last</body></message></stream:stream>").await;
    let text = raw.rest().await;
    assert!(text.ends_with("<body>last</body></message></stream:stream>"), "{text}");
    gone(&server, 0).await;

    let mut raw = Raw::memory(&server);
    raw.send(&format!("{HEADER}</stream:stream>")).await;
    let text = raw.rest().await;
    assert!(text.ends_with("</stream:features></stream:stream>"), "{text}");
}

#[tokio::test]
async fn rfc6120_4_9_1_1_a_clients_stream_error_ends_the_stream_and_is_not_answered_with_another() {
    let server = builder().limits(limits(|_| {})).build().unwrap();
    let mut raw = Raw::session(&server, "juliet@localhost/x").await;
    raw.send(
        "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\
         </stream:stream>",
    )
    .await;
    assert_eq!(raw.rest().await, "</stream:stream>");
}

#[tokio::test]
async fn rfc6121_8_5_a_message_nobody_takes_is_bounced_with_its_id() {
    let server = server();
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    for to in ["nobody@localhost", "nobody@localhost/x", "localhost", "localhost/x"] {
        romeo.send(&format!("<message to='{to}' id='m1' type='chat'><body>?</body></message>")).await;
        let text = romeo.until("</message>").await;
        assert!(text.contains(&format!("from='{to}'")) && text.contains("id='m1'"), "{text}");
        assert!(text.contains("to='romeo@localhost/y'") && text.contains("<service-unavailable "), "{text}");
    }
    romeo.send("<message to='nobody@localhost' type='headline'><body>?</body></message>").await;
    romeo.sync().await;
    assert!(romeo.is_quiet().await);
}

#[tokio::test]
async fn a_slow_interceptor_holds_up_its_sender_alone_and_in_order() {
    let (seen, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (count, gate) = (Arc::clone(&seen), Arc::clone(&open));
    let server = builder()
        .with(move |r: &mut ServerRegistrar| {
            r.station(Station::new("slow", Stage::Outgoing, Kinds::MESSAGE, move |_: &mut Envelope, _: &Server| {
                count.fetch_add(1, Ordering::Relaxed);
                let gate = Arc::clone(&gate);
                Decision::Wait(Box::pin(async move {
                    gate.acquire().await.unwrap().forget();
                    Verdict::Continue
                }))
            }));
            r.station(Station::new("no", Stage::Incoming, Kinds::MESSAGE, |envelope: &mut Envelope, _: &Server| {
                match envelope.type_str().as_ref() {
                    "normal" => Verdict::Reject(StanzaError::policy_violation()),
                    _ => Verdict::Continue,
                }
            }));
        })
        .build()
        .unwrap();
    let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    for number in 0..20 {
        romeo.send(&format!("<message to='juliet@localhost/x' id='{number}'/>")).await;
    }
    romeo.send("<message to='juliet@localhost/x' type='normal' id='no'/>").await;
    juliet.sync().await;
    assert!(seen.load(Ordering::Relaxed) <= 1, "the second waits for the first");
    open.add_permits(21);
    for number in 0..20 {
        assert!(juliet.until("/>").await.contains(&format!("id='{number}'")));
    }
    assert!(romeo.until("</message>").await.contains("<policy-violation "));
    assert_eq!(seen.load(Ordering::Relaxed), 21);
}

#[tokio::test]
async fn rfc6120_4_6_1_a_silent_client_is_sent_white_space() {
    let limits = limits(|limits| limits.keepalive = Duration::from_secs(1));
    let server = builder().limits(limits).build().unwrap();
    let mut silent = Raw::session(&server, "silent@localhost/s").await;
    let heard = timeout(PATIENCE, silent.hear()).await.unwrap();
    assert!(!heard.is_empty() && heard.bytes().all(|byte| byte == b' '), "{heard:?}");
    // It is no stanza, and ends nothing.
    silent.sync().await;
}
