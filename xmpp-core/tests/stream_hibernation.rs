//! Sessions that wait for their client, and what becomes of what they hold (XEP-0198 §4, §5).
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;
use support::{
    Raw,
    managed::{
        a, attribute, bodies, handed_on, hibernating, left_behind, logged, managed, message, resume, server_with,
        settled,
    },
};

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

/// What a sleeper is told when it comes back, as one letter for each sender with the number of the stanza.
fn gist(text: &str) -> Vec<String> {
    let stanzas = text.split_inclusive("</presence>").flat_map(|part| part.split_inclusive("</message>"));
    let stanzas = stanzas.filter(|one| one.ends_with("</presence>") || one.ends_with("</message>"));
    stanzas.map(|one| format!("{}{}", &attribute(one, "from")[..1], attribute(one, "id"))).collect()
}

async fn long_message(from: &mut Raw, to: &str) {
    from.send(&format!("<message to='{to}'><body>{}</body></message>", "x".repeat(10_000))).await;
}

#[tokio::test]
async fn abuse_a064_a_flood_of_presence_at_a_sleeper_is_one_presence() {
    let (server, log) = logged(|limits| limits.unacked_stanzas = 6);
    let (mut juliet, id) = managed(&server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    let mut mercutio = Raw::session(&server, "mercutio@localhost/z").await;
    let show = |id: u32| format!("<presence to='juliet@localhost/x' id='{id}'><show>away</show></presence>");
    // This one was sent: it has its number and stays.
    romeo.send(&show(0)).await;
    juliet.until("</presence>").await;
    drop(juliet);
    hibernating(&server, 1).await;
    mercutio.send(&show(1)).await;
    mercutio.sync().await;
    for number in 1..100 {
        romeo.send(&show(number)).await;
    }
    message(&mut romeo, "juliet@localhost/x", "100").await;
    for number in 101..200 {
        romeo.send(&show(number)).await;
    }
    romeo.sync().await;
    mercutio.send(&show(2)).await;
    mercutio.sync().await;
    assert_eq!((server.sessions(), server.hibernating()), (3, 1));
    let (mut juliet, answer) = resume(&server, "juliet@localhost", &id, 0).await;
    assert!(answer.starts_with("<resumed "), "{answer}");
    let text = juliet.sync_whole().await;
    // Each message stands between what its sender was before and after it.
    assert_eq!(gist(&text), ["r0", "r99", "r100", "r199", "m2"]);
    juliet.send(&a(5)).await;
    juliet.sync_whole().await;
    assert_eq!(log.lines(0).await.len(), 0);
}

#[tokio::test]
async fn xep0198_4_requests_to_subscribe_are_no_passing_presence() {
    let (server, log) = logged(|_| {});
    let (juliet, id) = managed(&server, "juliet@localhost/x").await;
    drop(juliet);
    hibernating(&server, 1).await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    for (number, kind) in ["subscribe", "unavailable", "subscribed", "unavailable", "unavailable"].iter().enumerate() {
        let presence = format!("<presence to='juliet@localhost/x' id='{number}' type='{kind}'><show/></presence>");
        romeo.send(&presence).await;
    }
    romeo.sync().await;
    let (mut juliet, _) = resume(&server, "juliet@localhost", &id, 0).await;
    let text = juliet.sync_whole().await;
    assert_eq!(gist(&text), ["r0", "r1", "r2", "r4"]);
    assert_eq!(log.lines(0).await.len(), 0);
}

#[tokio::test]
async fn abuse_a064_all_sleepers_together_hold_only_so_much() {
    let (server, log) = logged(|limits| limits.hibernated_bytes = 80_000);
    let mut ids = Vec::new();
    for jid in ["juliet@localhost/x", "mercutio@localhost/x"] {
        let (raw, id) = managed(&server, jid).await;
        drop(raw);
        ids.push(id);
        hibernating(&server, ids.len()).await;
    }
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    message(&mut romeo, "mercutio@localhost/x", "one").await;
    for _ in 0..7 {
        long_message(&mut romeo, "juliet@localhost/x").await;
    }
    // Hers end early, and none of it is lost; his stay.
    let lines = log.lines(2).await;
    assert_eq!(lines[0], "end juliet@localhost/x");
    hibernating(&server, 1).await;
    romeo.sync().await;
    let (mut mercutio, answer) = resume(&server, "mercutio@localhost", &ids[1], 0).await;
    assert!(answer.starts_with("<resumed "), "{answer}");
    assert_eq!(bodies(&mercutio.until("</message>").await), ["one"]);
    let (_, answer) = resume(&server, "juliet@localhost", &ids[0], 0).await;
    assert!(answer.contains("<item-not-found "), "{answer}");
    assert_eq!(bodies(&log.lines(8).await.concat()).len(), 7);
}

#[tokio::test]
async fn abuse_a064_what_a_session_falls_asleep_with_counts() {
    let (server, log) = logged(|limits| limits.hibernated_bytes = 30_000);
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    for jid in ["juliet@localhost/1", "juliet@localhost/2", "juliet@localhost/3"] {
        let (mut raw, _) = managed(&server, jid).await;
        long_message(&mut romeo, jid).await;
        raw.until("</message>").await;
        drop(raw);
        settled(&server, |server| server.hibernating() > 0 && server.sessions() == server.hibernating() + 1).await;
    }
    // Three hold too much together, and one has ended.
    let lines = log.lines(2).await;
    assert!(lines[0].starts_with("end juliet@localhost/"), "{}", lines[0]);
    assert_eq!(bodies(&lines[1]).len(), 1);
    hibernating(&server, 2).await;
}

#[tokio::test]
async fn a_sleeper_that_comes_back_or_ends_is_no_burden() {
    let server = server_with(|limits| limits.hibernated_bytes = 80_000);
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    for _ in 0..10 {
        // It ends the one before, which is away.
        let (juliet, id) = managed(&server, "juliet@localhost/x").await;
        drop(juliet);
        for h in 0..2 {
            hibernating(&server, 1).await;
            long_message(&mut romeo, "juliet@localhost/x").await;
            // What she never got has come back.
            romeo.sync_whole().await;
            if h == 0 {
                let (mut juliet, answer) = resume(&server, "juliet@localhost", &id, 0).await;
                assert!(answer.starts_with("<resumed "), "{answer}");
                juliet.until("</message>").await;
            }
        }
    }
}
