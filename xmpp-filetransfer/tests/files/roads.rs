//! Files by each road, from one to the next, and by a later offer.

use super::*;

#[tokio::test]
async fn xep0234_a_file_takes_each_road() {
    let roads: [Going; 3] =
        [(any, None, Road::Direct), (relayed, Some(u64::MAX), Road::Proxy), (in_band, None, Road::InBand)];
    for (change, relay, road) in roads {
        let house = house(relay).await;
        let (romeo, mut juliet) = house.two(change, change).await;
        let (path, bytes) = house.file("letter.txt", 300_000);
        let sending = send(&romeo, &juliet, &path).await;
        assert_eq!((sending.name(), sending.size()), ("letter.txt", Some(300_000)));
        let offer = offer(&mut juliet).await;
        assert_eq!((offer.name(), offer.from(), offer.file().size), ("letter.txt", &romeo.jid, Some(300_000)));
        assert!(offer.file().modified().is_some());
        let receiving = offer.accept_to(house.path("got")).await.unwrap();
        let watching = receiving.progress();
        let (sent, received) = both(sending, receiving).await;
        let (sent, received) = (sent.unwrap(), received.unwrap());
        assert_eq!((sent.road, received.road), (road, road));
        assert_eq!((sent.bytes, received.bytes, sent.moved, received.moved), (300_000, 300_000, 300_000, 300_000));
        assert_eq!((sent.verified.as_deref(), received.verified.as_deref()), (Some("sha-256"), Some("sha-256")));
        assert_eq!(received.path, Some(house.path("got")));
        assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
        assert_eq!(house.others(&path), ["got"]);
        assert_eq!((watching.now().bytes, watching.now().phase), (300_000, Phase::Ended));
    }
}

#[tokio::test]
async fn xep0234_empty_files_are_files() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, _) = house.file("empty", 0);
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert_eq!((sent.unwrap().moved, received.unwrap().verified.as_deref()), (0, Some("sha-256")));
    assert_eq!(std::fs::read(house.path("got")).unwrap(), b"");
}

#[tokio::test]
async fn xep0260_3_without_a_connection_it_goes_in_band() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(hidden, hidden).await;
    let (path, bytes) = house.file("letter.txt", 100_000);
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert_eq!((sent.unwrap().road, received.unwrap().road), (Road::InBand, Road::InBand));
    assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
    // Where that is not wanted there is no road.
    let only_sockets = |settings: &mut FilesSettings| {
        hidden(settings);
        settings.ways.in_band = false;
    };
    let (romeo, mut juliet) = house.two(only_sockets, hidden).await;
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("other")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert!(
        matches!((&sent, &received), (Err(TransferError::NoRoad), Err(TransferError::NoRoad))),
        "{sent:?} {received:?}"
    );
}

#[tokio::test]
async fn a_connection_that_breaks_is_not_the_end_of_the_file() {
    let house = house(Some(150_000)).await;
    let (romeo, mut juliet) = house.two(relayed, relayed).await;
    let (path, bytes) = house.file("letter.txt", 500_000);
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!((sent.road, received.road), (Road::InBand, Road::InBand));
    assert_eq!(received.verified.as_deref(), Some("sha-256"));
    assert_eq!(received.moved, 500_000, "nothing comes twice");
    assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
    assert_eq!(house.others(&path), ["got"]);
}

#[tokio::test]
async fn xep0234_6_4_a_later_offer_goes_on_from_what_is_there() {
    let house = breaking().await;
    let only_relayed = |settings: &mut FilesSettings| {
        relayed(settings);
        settings.ways.in_band = false;
    };
    let (romeo, mut juliet) = house.two(only_relayed, only_relayed).await;
    // Who is known.
    romeo.client.send(Presence::available().to(juliet.jid.clone())).await.unwrap();
    let (path, bytes) = house.file("letter.txt", 500_000);
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = broken(&house, sending, receiving).await;
    assert!(sent.is_err() && received.is_err(), "{sent:?} {received:?}");
    let left = house.others(&path);
    assert!(left.len() == 1 && left[0].ends_with(".part"), "{left:?}");
    let there = std::fs::metadata(house.path(&left[0])).unwrap().len();
    assert!(there > 0 && there < 150_000, "{there}");
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!((sent.moved, received.moved, received.bytes), (500_000 - there, 500_000 - there, 500_000));
    assert_eq!((received.verified.as_deref(), sent.verified.as_deref()), (Some("sha-256"), Some("sha-256")));
    assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
    assert_eq!(house.others(&path), ["got"]);
}
