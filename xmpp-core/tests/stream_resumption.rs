//! Lost connections and resumed sessions (XEP-0198 §5).
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::{sync::Arc, time::Duration};
use support::{
    END, HEADER, PATIENCE, Raw, builder,
    managed::{R, SM, a, attribute, bodies, hibernating, managed, message, resume, server_with, settled},
};
use tokio::{sync::Notify, time::timeout};
use xmpp_core::server::{Decision, Envelope, Kinds, Server, ServerRegistrar, Stage, Station, Verdict};

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
async fn abuse_a065_too_high_a_count_does_not_displace_a_connection() {
    let server = server_with(|_| {});
    let (mut old, id) = managed(&server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    for body in ["1", "2"] {
        message(&mut romeo, "juliet@localhost/x", body).await;
    }
    old.until("<body>2</body></message>").await;
    old.send(&a(1)).await;
    old.sync_whole().await;
    // More than was sent, and less than was acknowledged.
    for h in [4, 0] {
        let mut raw = Raw::memory(&server);
        raw.authenticate("juliet@localhost").await;
        raw.send(&format!("<resume {SM} previd='{id}' h='{h}'/>")).await;
        let text = raw.ends_with("undefined-condition").await;
        assert!(text.contains(&format!("<handled-count-too-high {SM} h='{h}' send-count='3'/>")), "{text}");
    }
    message(&mut romeo, "juliet@localhost/x", "3").await;
    assert_eq!(bodies(&old.until("<body>3</body></message>").await), ["3"]);
    old.sync_whole().await;
    assert_eq!((server.sessions(), server.hibernating()), (2, 0));
}

#[tokio::test]
async fn abuse_a065_what_came_while_nobody_was_there_was_not_handled() {
    let server = server_with(|_| {});
    let (juliet, id) = managed(&server, "juliet@localhost/x").await;
    drop(juliet);
    hibernating(&server, 1).await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    message(&mut romeo, "juliet@localhost/x", "1").await;
    romeo.sync().await;
    let mut raw = Raw::memory(&server);
    raw.authenticate("juliet@localhost").await;
    raw.send(&format!("<resume {SM} previd='{id}' h='1'/>")).await;
    let text = raw.ends_with("undefined-condition").await;
    assert!(text.contains(&format!("<handled-count-too-high {SM} h='1' send-count='0'/>")), "{text}");
    let (mut juliet, answer) = resume(&server, "juliet@localhost", &id, 0).await;
    assert!(answer.starts_with("<resumed "), "{answer}");
    assert_eq!(bodies(&juliet.until("</message>").await), ["1"]);
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
