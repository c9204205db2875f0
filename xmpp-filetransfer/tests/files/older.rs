//! Files to and from older clients (XEP-0096).

use super::*;

/// As older clients do it.
fn older(settings: &mut FilesSettings) {
    settings.ways.jingle = false;
}

#[tokio::test]
async fn xep0096_files_go_to_and_from_older_clients() {
    let roads: [Going; 3] =
        [(any, None, Road::Direct), (relayed, Some(u64::MAX), Road::Proxy), (in_band, None, Road::InBand)];
    for (change, relay, road) in roads {
        for oldest in [true, false] {
            let house = house(relay).await;
            let old = |settings: &mut FilesSettings| (change(settings), older(settings)).0;
            let (romeo, mut juliet) = match oldest {
                true => house.two(old, change).await,
                false => house.two(change, old).await,
            };
            let (path, bytes) = house.file("letter.txt", 200_000);
            let sending = soon(async {
                let files = romeo.client.files().unwrap();
                files.send(juliet.jid.clone().into(), &path).media_type("text/plain").description("of love").await
            });
            let sending = sending.await.unwrap();
            let offer = offer(&mut juliet).await;
            assert_eq!((offer.name(), offer.from(), offer.file().size), ("letter.txt", &romeo.jid, Some(200_000)));
            assert_eq!(offer.file().media_type.as_deref(), Some("text/plain"));
            assert_eq!(offer.file().descriptions[0].text, "of love");
            assert!(offer.file().modified().is_some() && offer.file().hashes_used.is_empty());
            let receiving = offer.accept_to(house.path("got")).await.unwrap();
            let (sent, received) = both(sending, receiving).await;
            let (sent, received) = (sent.unwrap(), received.unwrap());
            assert_eq!((sent.road, received.road, sent.moved, received.moved), (road, road, 200_000, 200_000));
            assert_eq!((sent.verified, received.verified), (None, None), "there is no hash worth the name");
            assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
            assert_eq!(house.others(&path), ["got"]);
        }
    }
}

#[tokio::test]
async fn xep0096_offers_are_declined_and_cancelled() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(older, any).await;
    let (path, _) = house.file("letter.txt", 10);
    let sending = send(&romeo, &juliet, &path).await;
    drop(offer(&mut juliet).await);
    let declined = soon(sending.finish()).await;
    assert!(matches!(declined, Err(TransferError::Declined { .. })), "{declined:?}");
    let sending = send(&romeo, &juliet, &path).await;
    offer(&mut juliet).await.reject(Some("not now")).await;
    let rejected = soon(sending.finish()).await;
    assert!(
        matches!(&rejected, Err(TransferError::Declined { text: Some(text) }) if text == "not now"),
        "{rejected:?}"
    );
    // While bytes flow, by whichever side.
    for sender in [true, false] {
        let (path, _) = house.file("long.txt", 8 << 20);
        let sending = send(&romeo, &juliet, &path).await;
        let offer = offer(&mut juliet).await;
        let receiving = held(&sending, offer, &house.path("got"), sender).await;
        let held = if sender { &sending } else { &receiving };
        held.cancel();
        let (sent, received) = both(sending, receiving).await;
        let (canceller, other) = if sender { (sent, received) } else { (received, sent) };
        assert!(matches!(canceller, Err(TransferError::Cancelled)), "{canceller:?}");
        assert!(matches!(other, Err(TransferError::Stream(_))), "{other:?}");
        assert!(!house.path("got").exists());
    }
    // Nobody listens.
    drop(juliet.offers);
    juliet.offers = romeo.client.files().unwrap().offers();
    let sending = send(&romeo, &juliet, &path).await;
    assert!(matches!(soon(sending.finish()).await, Err(TransferError::Declined { .. })));
}

#[tokio::test]
async fn xep0096_3_2_a_later_offer_goes_on_from_what_is_there() {
    let house = breaking().await;
    let change = |settings: &mut FilesSettings| (relayed(settings), older(settings)).0;
    let (romeo, mut juliet) = house.two(change, change).await;
    romeo.client.send(Presence::available().to(juliet.jid.clone())).await.unwrap();
    let (path, bytes) = house.file("letter.txt", 500_000);
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (_, received) = broken(&house, sending, receiving).await;
    assert!(matches!(received, Err(TransferError::Stream(_))), "{received:?}");
    let left = house.others(&path);
    let there = std::fs::metadata(house.path(&left[0])).unwrap().len();
    assert!(there > 0 && there < 150_000, "{there}");
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert_eq!((sent.unwrap().moved, received.unwrap().moved), (500_000 - there, 500_000 - there));
    assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
    assert_eq!(house.others(&path), ["got"]);
}
