//! Peers that say what is not so.

use super::{villain::*, *};
use xmpp_filetransfer::{
    file::Function,
    ibb,
    jingle::{Content, Senders},
};

const LETTER: &[u8] = b"Wilt thou be gone? it is not yet near day";

fn letter(more: &str) -> String {
    format!("<name>letter.txt</name><size>{}</size>{more}", LETTER.len())
}

#[tokio::test]
async fn abuse_what_a_collision_can_forge_is_not_verified() {
    let house = house(None).await;
    let (villain, mut juliet) = (house.villain("romeo").await, house.person("juliet", in_band).await);
    let place = house.path("got");
    for (function, verified, compared) in [
        (Some(Function::Sha256), Some("sha-256"), None),
        (Some(Function::Sha1), None, Some("sha-1")),
        (None, None, None),
    ] {
        let said = letter(&function.map(|function| hash(function, LETTER)).unwrap_or_default());
        let report = villain.says(&mut juliet, &place, &said, LETTER, &[]).await.unwrap();
        assert_eq!((report.verified.as_deref(), report.compared.as_deref()), (verified, compared));
        std::fs::remove_file(&place).unwrap();
    }
    // It still tells what was changed by accident.
    let said = letter(&hash(Function::Sha1, b"another"));
    let report = villain.says(&mut juliet, &place, &said, LETTER, &[]).await;
    assert!(matches!(report, Err(TransferError::HashMismatch { algo }) if algo == "sha-1"));
    assert_eq!(house.others(&place), [""; 0]);
}

#[tokio::test]
async fn abuse_checksums_that_are_told_later() {
    let house = house(None).await;
    let (villain, mut juliet) = (
        house.villain("romeo").await,
        house
            .person("juliet", |settings| {
                in_band(settings);
                settings.checksum = Duration::from_millis(300);
            })
            .await,
    );
    let place = house.path("got");
    let used = letter("<hash-used xmlns='urn:xmpp:hashes:2' algo='sha-256'/>");
    let (right, wrong) = (hash(Function::Sha256, LETTER), hash(Function::Sha256, b"another"));
    let weak = hash(Function::Sha1, LETTER);
    let ours = " name='file'";
    // One that is there is heeded, also where a stronger one is announced that does not come.
    let announced = "<hash-used xmlns='urn:xmpp:hashes:2' algo='sha-512'/>";
    let report = villain.says(&mut juliet, &place, &letter(&format!("{right}{announced}")), LETTER, &[]).await;
    assert_eq!(report.unwrap().verified.as_deref(), Some("sha-256"));
    std::fs::remove_file(&place).unwrap();
    let report = villain.says(&mut juliet, &place, &letter(&format!("{wrong}{announced}")), LETTER, &[]).await;
    assert!(matches!(report, Err(TransferError::HashMismatch { .. })), "{report:?}");
    for (told, verified) in [
        (vec![checksum(ours, &right)], Ok(Some("sha-256"))),
        (vec![checksum("", &right)], Ok(Some("sha-256"))),
        (vec![], Ok(None)),
        (vec![checksum(ours, &wrong)], Err(())),
        // Twice; the first of another function, or of nothing.
        (vec![checksum(ours, &weak), checksum(ours, &right)], Ok(Some("sha-256"))),
        (vec![checksum(ours, ""), checksum(ours, &right)], Ok(Some("sha-256"))),
        (vec![checksum(ours, &right), checksum(ours, "")], Ok(Some("sha-256"))),
        // Two that are not the same.
        (vec![checksum(ours, &format!("{right}{wrong}"))], Err(())),
        (vec![checksum(ours, &wrong), checksum(ours, &right)], Err(())),
        (vec![checksum(ours, &right), checksum(ours, &wrong)], Err(())),
        // Of another file.
        (vec![checksum(" name='other'", &wrong)], Ok(None)),
        (vec![checksum(" name='other'", &right)], Ok(None)),
    ] {
        let report = villain.says(&mut juliet, &place, &used, LETTER, &told).await;
        match verified {
            Ok(function) => {
                assert_eq!(report.unwrap().verified.as_deref(), function, "{told:?}");
                std::fs::remove_file(&place).unwrap();
            }
            Err(()) => assert!(matches!(report, Err(TransferError::HashMismatch { .. })), "{told:?} {report:?}"),
        }
        assert_eq!(house.others(&place), [""; 0]);
    }
}

#[tokio::test]
async fn abuse_more_and_less_than_was_announced() {
    let house = house(None).await;
    let (villain, mut juliet) = (house.villain("romeo").await, house.person("juliet", in_band).await);
    let place = house.path("got");
    let more = [LETTER, b"!"].concat();
    let report = villain.says(&mut juliet, &place, &letter(""), &more, &[]).await;
    assert!(matches!(report, Err(TransferError::WrongSize { offered: 41, received: 42 })), "{report:?}");
    let report = villain.says(&mut juliet, &place, &letter(""), &LETTER[..40], &[]).await;
    assert!(matches!(report, Err(TransferError::Stream(_) | TransferError::NoRoad)), "{report:?}");
    assert!(!place.exists());
}

#[tokio::test]
async fn abuse_a_file_without_a_length_does_not_fill_the_disk() {
    let house = house(None).await;
    let bounded = |settings: &mut FilesSettings| {
        in_band(settings);
        settings.unannounced = 10_000;
    };
    let (mut villain, mut juliet) = (house.villain("romeo").await, house.person("juliet", bounded).await);
    let place = house.path("got");
    let said = "<name>letter.txt</name>";
    let report = villain.says(&mut juliet, &place, said, &[7; 10_000], &[]).await.unwrap();
    assert_eq!((report.bytes, report.verified), (10_000, None));
    std::fs::remove_file(&place).unwrap();
    let report = villain.says(&mut juliet, &place, said, &[7; 10_001], &[]).await;
    assert!(matches!(report, Err(TransferError::TooLarge { limit: Some(10_000) })), "{report:?}");
    assert_eq!(house.others(&place), [""; 0]);
    // Nor does one that is fetched, whatever is said of its length then.
    for size in ["", "<size>18446744073709551615</size>"] {
        let fetched = juliet.client.files().unwrap().fetch(villain.jid.clone(), wanted());
        let fetching = fetched.to(&place).await.unwrap();
        let serving = async {
            let mut stream = host(&mut villain, &juliet.jid, size).await;
            let _ = stream.write_all(&[7; 20_000]).await;
            std::future::pending::<()>().await
        };
        let report = soon(async {
            tokio::select! {
                report = fetching.finish() => report,
                () = serving => panic!("it has an end"),
            }
        });
        let report = report.await;
        assert!(matches!(report, Err(TransferError::TooLarge { limit: Some(10_000) })), "{report:?}");
        assert_eq!(house.others(&place), [""; 0]);
    }
}

fn wanted() -> xmpp_core::payload::hash::Hash {
    let mut hasher = xmpp_filetransfer::file::Hasher::new(Function::Sha256);
    hasher.update(LETTER);
    hasher.finish()
}

/// Lets somebody fetch a file of which this is said.
async fn host(villain: &mut Villain, to: &FullJid, said: &str) -> ibb::IbbStream {
    let invitation = soon(villain.invited.recv()).await.unwrap();
    let offered = invitation.session.offered().remove(0);
    let sid = sid_of(&offered);
    let expected = ibb::expect(&villain.client, to.clone(), &sid, 4096).unwrap();
    invitation.session.accept(vec![offered.with_description(described(said))]).await.unwrap();
    let (session, mut events) = (invitation.session, invitation.events);
    tokio::spawn(async move {
        while events.next().await.is_some() {}
        drop(session);
    });
    soon(expected.stream()).await.unwrap()
}

#[tokio::test]
async fn abuse_a_part_that_is_longer_than_the_file_does_not_stay_for_ever() {
    let house = house(None).await;
    let juliet = house.person("juliet", in_band).await;
    let place = house.path("got");
    let mut villain = house.villain("romeo").await;
    let fetching = juliet.client.files().unwrap().fetch(villain.jid.clone(), wanted()).to(&place).await.unwrap();
    let serving = async {
        let mut stream = host(&mut villain, &juliet.jid, "").await;
        stream.write_all(&[7; 5_000]).await.unwrap();
        stream.flush().await.unwrap();
        across(&fetching, 5_000).await;
        stream
    };
    let stream = soon(serving).await;
    villain.client.close().await;
    assert!(soon(fetching.finish()).await.is_err());
    drop(stream);
    assert_eq!(house.others(&place).len(), 1, "the part");
    // An honest host of the same account.
    let romeo = house.person("romeo", in_band).await;
    let path = house.folder.path().join("letter.txt");
    std::fs::write(&path, LETTER).unwrap();
    let hosted = romeo.client.files().unwrap().host(&path, |_| true).await.unwrap();
    let fetch = || juliet.client.files().unwrap().fetch(romeo.jid.clone(), hosted.hash().clone());
    let first = soon(fetch().to(&place).await.unwrap().finish()).await;
    if first.is_err() {
        soon(fetch().to(&place).await.unwrap().finish()).await.unwrap();
    }
    assert_eq!(std::fs::read(&place).unwrap(), LETTER);
}

#[tokio::test]
async fn abuse_an_end_for_each_reason_at_each_moment() {
    let house = house(None).await;
    let (villain, mut juliet) = (house.villain("romeo").await, house.person("juliet", in_band).await);
    let place = house.path("got");
    for reason in reasons() {
        for moment in 0..4 {
            let (session, mut events) = villain.offer(&juliet.jid, &letter("")).await;
            let offered = offer(&mut juliet).await;
            if moment == 0 {
                session.terminate(reason.clone()).await.unwrap();
            }
            let receiving = offered.accept_to(&place).await.unwrap();
            let mut stream = None;
            if moment > 0 {
                accepted(&mut events).await;
            }
            if moment > 1 {
                let how = ibb::Opening::default().exactly(4096);
                let mut opened = soon(ibb::open(&villain.client, juliet.jid.clone(), "v1", how)).await.unwrap();
                if moment > 2 {
                    opened.write_all(&LETTER[..20]).await.unwrap();
                    opened.flush().await.unwrap();
                }
                stream = Some(opened);
            }
            if moment > 0 {
                session.terminate(reason.clone()).await.unwrap();
            }
            drop(stream);
            let progress = receiving.progress();
            let report = soon(receiving.finish()).await;
            assert!(report.is_err(), "{reason:?} {moment} {report:?}");
            assert!(!place.exists());
            assert_eq!(progress.now().phase, Phase::Ended);
        }
    }
    assert!(juliet.client.jingle_sessions() <= 1, "sessions are gone");
}

trait Count {
    fn jingle_sessions(&self) -> usize;
}

impl Count for Client {
    fn jingle_sessions(&self) -> usize {
        use xmpp_filetransfer::jingle::client::JingleClient;
        self.jingle().unwrap().len()
    }
}

#[tokio::test]
async fn abuse_proposals_of_other_transports_without_end() {
    let house = house(None).await;
    let (villain, mut juliet) = (house.villain("romeo").await, house.person("juliet", any).await);
    let place = house.path("got");
    let (receiving, mut socket, session) = villain.socket(&mut juliet, &place, &letter("")).await;
    socket.write_all(&LETTER[..10]).await.unwrap();
    across(&receiving, 10).await;
    let id = Content::initial("file").id;
    for n in 0..200 {
        let proposed = session.replace_transport(id.clone(), blocks(&format!("w{n}"))).await;
        let _ = session.transport_info(id.clone(), blocks("w")).await;
        if proposed.is_err() && session.phase() == xmpp_filetransfer::jingle::Phase::Ended {
            break;
        }
    }
    let _ = session.terminate(xmpp_filetransfer::jingle::Reason::cancel()).await;
    assert!(soon(receiving.finish()).await.is_err());
    assert!(!place.exists());
}

#[tokio::test]
async fn abuse_who_sends_is_not_guessed() {
    let house = house(None).await;
    let (villain, mut juliet) = (house.villain("romeo").await, house.person("juliet", any).await);
    use xmpp_filetransfer::jingle::client::JingleClient;
    for senders in [Senders::Both, Senders::None] {
        let content = Content::initial("file")
            .with_senders(senders)
            .with_description(described(&letter("")))
            .with_transport(blocks("v1"));
        let (_session, mut events) =
            villain.client.jingle().unwrap().initiate(juliet.jid.clone(), vec![content]).await.unwrap();
        while soon(events.next()).await.is_some() {}
    }
    // A stream of datagrams is none.
    let by = xml("<transport xmlns='urn:xmpp:jingle:transports:s5b:1' sid='v1' mode='udp'/>");
    let (_session, mut events) = villain.offer_by(&juliet.jid, described(&letter("")), by).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let ended = async {
        let mut accepted = false;
        while let Some(event) = events.next().await {
            accepted |= matches!(event, xmpp_filetransfer::jingle::Event::Accepted { .. });
        }
        accepted
    };
    let (report, accepted) = soon(async { tokio::join!(receiving.finish(), ended) }).await;
    assert!(matches!(report, Err(TransferError::NoRoad)) && !accepted, "{report:?}");
}
