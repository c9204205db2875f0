//! Peers that say nothing, or stay away, at each stage.

use super::{villain::*, *};
use std::sync::Mutex;
use tokio::task::AbortHandle;
use xmpp_core::{client::Backoff, net::Transport};
use xmpp_filetransfer::jingle::client::JingleSettings;

fn restless(settings: &mut FilesSettings) {
    settings.patience = Duration::from_millis(100);
    settings.standstill = Duration::from_millis(600);
    settings.connecting = Duration::from_secs(2);
    settings.socks5.patience = Duration::from_secs(2);
}

const SAID: &str = "<name>letter.txt</name><size>100000</size>";

#[tokio::test]
async fn abuse_a_socket_that_says_nothing_has_an_end() {
    let house = house(None).await;
    let only_sockets = |settings: &mut FilesSettings| {
        restless(settings);
        settings.ways.in_band = false;
    };
    let (villain, mut juliet) = (house.villain("romeo").await, house.person("juliet", only_sockets).await);
    // It answers in its session, but no byte comes; or half of them, and then none.
    for bytes in [0, 50_000] {
        let (receiving, mut socket, _session) = villain.socket(&mut juliet, &house.path("got"), SAID).await;
        socket.write_all(&vec![7; bytes]).await.unwrap();
        let report = soon(receiving.finish()).await;
        assert!(
            matches!(&report, Err(TransferError::Stream(error)) if error.kind() == io::ErrorKind::TimedOut),
            "{report:?}"
        );
        assert!(!house.path("got").exists());
    }
    // Its session is gone, and the socket stays open.
    for bytes in [0, 50_000] {
        let villain = house.villain("romeo").await;
        let (receiving, mut socket, _session) = villain.socket(&mut juliet, &house.path("got"), SAID).await;
        socket.write_all(&vec![7; bytes]).await.unwrap();
        villain.client.close().await;
        let report = soon(receiving.finish()).await;
        assert!(matches!(report, Err(TransferError::PeerGone)), "{report:?}");
        assert!(!house.path("got").exists());
    }
}

#[tokio::test]
async fn a_connection_that_stands_still_is_replaced() {
    let house = house(Some(u64::MAX)).await;
    let change = |settings: &mut FilesSettings| (relayed(settings), restless(settings)).0;
    let (romeo, mut juliet) = house.two(change, change).await;
    let (path, bytes) = house.file("letter.txt", 3_000_000);
    let gate = house.gate.as_ref().unwrap();
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    across(&receiving, 1).await;
    gate.open.send_replace(false);
    let (sent, received) = both(sending, receiving).await;
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!((sent.road, received.road), (Road::InBand, Road::InBand));
    assert!(std::fs::read(house.path("got")).unwrap() == bytes);
}

#[tokio::test]
async fn abuse_offers_that_are_accepted_and_come_to_nothing() {
    let house = house(None).await;
    let (villain, mut juliet) = (
        house.villain("romeo").await,
        house.person("juliet", |settings| (in_band(settings), restless(settings)).0).await,
    );
    // Nobody opens the stream.
    let (_session, mut events) = villain.offer(&juliet.jid, SAID).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    accepted(&mut events).await;
    let report = soon(receiving.finish()).await;
    assert!(matches!(report, Err(TransferError::NoRoad)), "{report:?}");
    // It is open, and nothing comes.
    for bytes in [0, 50_000] {
        let (_session, mut events) = villain.offer(&juliet.jid, SAID).await;
        let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
        let mut stream = villain.stream(&juliet.jid, &mut events).await;
        stream.write_all(&vec![7; bytes]).await.unwrap();
        stream.flush().await.unwrap();
        let report = soon(receiving.finish()).await;
        assert!(matches!(report, Err(TransferError::Stream(_))), "{report:?}");
        assert!(!house.path("got").exists());
    }
}

#[tokio::test]
async fn abuse_who_trickles_can_be_stopped() {
    let house = house(None).await;
    let (villain, mut juliet) = (house.villain("romeo").await, house.person("juliet", restless).await);
    let (receiving, mut socket, _session) = villain.socket(&mut juliet, &house.path("got"), SAID).await;
    let progress = receiving.progress();
    for n in 1..30 {
        socket.write_all(b"x").await.unwrap();
        let there = async {
            while progress.now().bytes < n {
                tokio::task::yield_now().await;
            }
        };
        soon(there).await;
    }
    receiving.cancel();
    assert!(matches!(soon(receiving.finish()).await, Err(TransferError::Cancelled)));
    assert_eq!(house.others(Path::new("")), [""; 0]);
}

/// A pause is no failure, however long, where the peer's requests have to be answered meanwhile.
#[tokio::test(start_paused = true)]
async fn a_pause_of_hours_within_stanzas() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(in_band, in_band).await;
    for sender in [true, false] {
        let (path, bytes) = house.file("letter.txt", 16 << 20);
        let place = house.path(&format!("got-{sender}"));
        let sending = romeo.client.files().unwrap().send(juliet.jid.clone().into(), &path).await.unwrap();
        let receiving = juliet.offers.next().await.unwrap().accept_to(&place).await.unwrap();
        let mut progress = receiving.progress();
        while progress.next().await.unwrap().bytes == 0 {}
        let held = if sender { &sending } else { &receiving };
        held.pause();
        tokio::time::sleep(Duration::from_secs(30 * 60)).await;
        let paused = held.progress().now().phase == Phase::Paused;
        held.resume();
        let (sent, received) = tokio::join!(sending.finish(), receiving.finish());
        assert!(paused && sent.is_ok() && received.is_ok(), "{sender} {sent:?} {received:?}");
        assert!(std::fs::read(&place).unwrap() == bytes);
    }
}

#[tokio::test]
async fn who_pauses_still_hears_of_another_way() {
    for sender in [true, false] {
        let house = house(Some(200_000)).await;
        let (romeo, mut juliet) = house.two(relayed, relayed).await;
        let (path, bytes) = house.file("letter.txt", 5_000_000);
        let sending = send(&romeo, &juliet, &path).await;
        let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
        across(&receiving, 1).await;
        // The connection breaks behind the next bytes, or has broken.
        let held = if sender { &sending } else { &receiving };
        held.pause();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        held.resume();
        let (sent, received) = both(sending, receiving).await;
        let (sent, received) = (sent.unwrap(), received.unwrap());
        assert_eq!((sent.road, received.road), (Road::InBand, Road::InBand));
        assert!(std::fs::read(house.path("got")).unwrap() == bytes);
    }
}

#[tokio::test]
async fn abuse_who_sends_bytes_is_not_gone_whatever_its_presence_says() {
    let house = house(None).await;
    let server = house.server.clone();
    let mut sessions = JingleSettings::default();
    sessions.absence = Duration::from_secs(2);
    let builder = Client::builder("juliet@localhost/juliet".parse().unwrap(), "secret")
        .with(xmpp_filetransfer::jingle::client::client_with(sessions))
        .with(client_with(settings(any)));
    let (client, events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
    let jid = soon(client.online()).await.unwrap();
    let offers = client.files().unwrap().offers();
    let mut juliet = Person { client, jid, offers, _events: events };
    let villain = house.villain("romeo").await;
    let (receiving, mut socket, session) = villain.socket(&mut juliet, &house.path("got"), SAID).await;
    villain.client.send(Presence::unavailable().to(juliet.jid.clone())).await.unwrap();
    // For longer than it may be away in silence.
    for _ in 0..150 {
        socket.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    socket.write_all(&[7; 100_000 - 150]).await.unwrap();
    let report = soon(receiving.finish()).await;
    assert!(report.is_ok(), "{report:?}");
    drop(session);
}

/// Cuts a client's connection to its server.
#[derive(Clone, Default)]
struct Cutter(Arc<Mutex<Option<AbortHandle>>>);

#[tokio::test]
async fn a_session_that_is_resumed_meanwhile_is_no_interruption() {
    let house = house(Some(u64::MAX)).await;
    let (server, cutter) = (house.server.clone(), Cutter::default());
    let relay = cutter.clone();
    let connect = move || {
        let (near, mut far) = Transport::pair(64 * 1024);
        let mut server = server.connect_memory();
        let task = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut far, &mut server).await });
        *relay.0.lock().unwrap() = Some(task.abort_handle());
        near
    };
    let builder = Client::builder("romeo@localhost/romeo".parse().unwrap(), "secret")
        .backoff(Backoff { first: Duration::from_millis(1), max: Duration::from_millis(50) })
        .with(client_with(settings(relayed)));
    let (client, events) = builder.pipe(connect).connect().unwrap();
    let jid = soon(client.online()).await.unwrap();
    let offers = client.files().unwrap().offers();
    let romeo = Person { client, jid, offers, _events: events };
    let mut juliet = house.person("juliet", relayed).await;
    let (path, bytes) = house.file("letter.txt", 20 << 20);
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    across(&receiving, 1).await;
    cutter.0.lock().unwrap().take().unwrap().abort();
    let (sent, received) = both(sending, receiving).await;
    assert_eq!((sent.unwrap().road, received.unwrap().road), (Road::Proxy, Road::Proxy));
    assert!(std::fs::read(house.path("got")).unwrap() == bytes);
}

#[tokio::test]
async fn who_closes_its_client_is_told_so() {
    for change in [any as fn(&mut FilesSettings), in_band] {
        for sender in [true, false] {
            let house = house(None).await;
            let (romeo, mut juliet) = house.two(change, change).await;
            let (path, _) = house.file("letter.txt", 64 << 20);
            let sending = send(&romeo, &juliet, &path).await;
            let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
            across(&receiving, 1).await;
            if sender { &sending } else { &receiving }.pause();
            let leaves = if sender { &romeo } else { &juliet };
            leaves.client.close().await;
            let (ours, watching) = if sender { (sending, receiving) } else { (receiving, sending) };
            let mut progress = ours.progress();
            let ended = soon(ours.finish()).await;
            assert!(matches!(ended, Err(TransferError::Offline)), "{ended:?}");
            while let Some(now) = soon(progress.next()).await {
                assert!(now.total.is_some());
            }
            assert_eq!(progress.now().phase, Phase::Ended);
            assert!(!house.path("got").exists());
            drop(watching);
        }
    }
}

#[tokio::test]
async fn dropped_or_cancelled_at_any_moment() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(in_band, in_band).await;
    let (path, bytes) = house.file("letter.txt", 20_000);
    for moment in 0..30 {
        for (sender, drops) in [(true, false), (true, true), (false, false), (false, true)] {
            let sending = send(&romeo, &juliet, &path).await;
            let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
            for _ in 0..moment * 6 {
                tokio::task::yield_now().await;
            }
            let (ours, others) = if sender { (sending, receiving) } else { (receiving, sending) };
            let others = match drops {
                true => {
                    drop(ours);
                    soon(others.finish()).await
                }
                false => {
                    ours.cancel();
                    let (ours, others) = both(ours, others).await;
                    assert!(matches!(ours, Ok(_) | Err(TransferError::Cancelled)), "{ours:?}");
                    others
                }
            };
            assert!(
                matches!(others, Ok(_) | Err(TransferError::EndedByPeer(_) | TransferError::Declined { .. })),
                "{others:?}"
            );
            // Whole or not there. Who is dropped has its own time.
            for name in house.others(&path) {
                let there = house.path(&name);
                if name == "got" {
                    assert!(std::fs::read(&there).unwrap() == bytes);
                }
                let _ = std::fs::remove_file(there);
            }
        }
    }
}
