//! What becomes of an offer: taken, held, taken back, not wanted.

use super::*;

#[tokio::test]
async fn a_bare_address_is_that_of_a_client_which_takes_files() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, _) = house.file("letter.txt", 10);
    let files = romeo.client.files().unwrap();
    let nobody = soon(async { files.send("juliet@localhost".parse().unwrap(), &path).await }).await;
    assert!(matches!(nobody, Err(TransferError::NobodyThere)), "{nobody:?}");
    // A client that takes none comes first.
    let server = house.server.clone();
    let builder = Client::builder("juliet@localhost/plain".parse().unwrap(), "secret");
    let (plain, _events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
    soon(plain.online()).await.unwrap();
    let here = |priority| Presence::available().to(romeo.jid.clone()).priority(priority);
    plain.send(here(5)).await.unwrap();
    juliet.client.send(here(-1)).await.unwrap();
    let sending = loop {
        match soon(async { files.send("juliet@localhost".parse().unwrap(), &path).await }).await {
            // Presence may be on its way.
            Err(TransferError::NobodyThere) => tokio::task::yield_now().await,
            other => break other.unwrap(),
        }
    };
    assert_eq!(sending.peer().as_str(), juliet.jid.as_str());
    assert_eq!(offer(&mut juliet).await.name(), "letter.txt");
    // Who has gone is not asked.
    juliet.client.send(Presence::unavailable().to(romeo.jid.clone())).await.unwrap();
    loop {
        match soon(async { files.send("juliet@localhost".parse().unwrap(), &path).await }).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break assert!(matches!(error, TransferError::NobodyThere), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn offers_are_declined_rejected_and_bounded() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, |settings| settings.offers = 1).await;
    let (path, _) = house.file("letter.txt", 10);
    let declined = |result: Result<Report, TransferError>| match result {
        Err(TransferError::Declined { text }) => text,
        other => panic!("{other:?}"),
    };
    let sending = send(&romeo, &juliet, &path).await;
    drop(offer(&mut juliet).await);
    assert_eq!(declined(soon(sending.finish()).await), None);
    let sending = send(&romeo, &juliet, &path).await;
    offer(&mut juliet).await.reject(Some("not now")).await;
    assert_eq!(declined(soon(sending.finish()).await).as_deref(), Some("not now"));
    // One waits, another is too many.
    let first = send(&romeo, &juliet, &path).await;
    let waits = offer(&mut juliet).await;
    let _second = send(&romeo, &juliet, &path).await;
    let third = send(&romeo, &juliet, &path).await;
    let fourth = send(&romeo, &juliet, &path).await;
    let (third, fourth) = tokio::join!(timeout(Duration::from_millis(300), third.finish()), fourth.finish());
    assert!([third.ok(), Some(fourth)].into_iter().flatten().any(|it| declined(it).as_deref() == Some("busy")));
    drop(waits);
    assert_eq!(declined(soon(first.finish()).await), None);
    // Nobody listens.
    drop(juliet.offers);
    juliet.offers = romeo.client.files().unwrap().offers();
    let sending = send(&romeo, &juliet, &path).await;
    assert_eq!(declined(soon(sending.finish()).await), None);
    assert_eq!(house.others(&path), [""; 0]);
}

#[tokio::test]
async fn either_side_pauses_and_cancels() {
    for change in [any as fn(&mut FilesSettings), in_band] {
        for sender in [true, false] {
            let house = house(None).await;
            let (romeo, mut juliet) = house.two(change, change).await;
            let (path, bytes) = house.file("letter.txt", 400_000);
            for cancels in [false, true] {
                let sending = send(&romeo, &juliet, &path).await;
                let offer = offer(&mut juliet).await;
                let receiving = held(&sending, offer, &house.path("got"), sender).await;
                let held = if sender { &sending } else { &receiving };
                assert!(!house.path("got").exists());
                if cancels {
                    held.cancel();
                } else {
                    held.resume();
                }
                let (sent, received) = both(sending, receiving).await;
                if cancels {
                    let (canceller, other) = if sender { (sent, received) } else { (received, sent) };
                    assert!(matches!(canceller, Err(TransferError::Cancelled)), "{canceller:?}");
                    assert!(matches!(&other, Err(TransferError::EndedByPeer(why)) if why == "cancel"), "{other:?}");
                    assert!(!house.path("got").exists());
                } else {
                    assert!(sent.is_ok() && received.is_ok());
                    assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
                    std::fs::remove_file(house.path("got")).unwrap();
                }
            }
        }
    }
}

#[tokio::test]
async fn cancelled_before_it_is_accepted() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, _) = house.file("letter.txt", 10);
    let sending = send(&romeo, &juliet, &path).await;
    let offer = offer(&mut juliet).await;
    sending.cancel();
    assert!(matches!(soon(sending.finish()).await, Err(TransferError::Cancelled)));
    let receiving = offer.accept_to(house.path("got")).await.unwrap();
    let received = soon(receiving.finish()).await;
    assert!(matches!(received, Err(TransferError::EndedByPeer(_))), "{received:?}");
    assert_eq!(house.others(&path), [""; 0]);
}

#[tokio::test]
async fn a_peer_that_is_gone_is_gone() {
    let house = house(None).await;
    let restless = |settings: &mut FilesSettings| {
        in_band(settings);
        settings.patience = Duration::from_millis(100);
    };
    for sender in [true, false] {
        let (romeo, mut juliet) = house.two(restless, restless).await;
        let (path, _) = house.file("letter.txt", 16 << 20);
        let sending = send(&romeo, &juliet, &path).await;
        let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
        across(&receiving, 1).await;
        let gone = if sender { &romeo } else { &juliet };
        gone.client.close().await;
        let left = if sender { receiving } else { sending };
        let error = soon(left.finish()).await.unwrap_err();
        assert!(matches!(error, TransferError::PeerGone | TransferError::Stream(_)), "{error:?}");
        assert!(!house.path("got").exists());
    }
}

#[tokio::test]
async fn abuse_a087_what_the_peer_calls_a_file_is_no_path() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, _) = house.file("letter.txt", 10);
    for (said, name) in [("../../etc/passwd", "passwd"), ("..", "file"), ("", "file"), ("a\u{202e}b", "ab")] {
        let files = romeo.client.files().unwrap();
        let sending = soon(async { files.send(juliet.jid.clone().into(), &path).name(said).await }).await.unwrap();
        let offer = offer(&mut juliet).await;
        assert_eq!((offer.name(), offer.file().name.as_deref()), (name, Some(said)));
        drop((offer, sending));
    }
}
