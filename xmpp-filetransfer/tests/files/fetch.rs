//! Files that others fetch (XEP-0234 §6.2).

use super::*;

#[tokio::test]
async fn xep0234_6_2_files_are_fetched_by_who_may() {
    let roads: [Going; 3] = [(any, None, Road::Direct), (hidden, None, Road::InBand), (in_band, None, Road::InBand)];
    for (change, relay, road) in roads {
        let house = house(relay).await;
        let (romeo, juliet) = house.two(change, change).await;
        let (path, bytes) = house.file("letter.txt", 300_000);
        let reader = juliet.jid.clone();
        let hosted = romeo.client.files().unwrap().host(&path, move |peer| *peer == reader).await.unwrap();
        assert_eq!((hosted.file().size, hosted.hash().algo.as_str()), (Some(300_000), "sha-256"));
        let again = romeo.client.files().unwrap().host(&path, |_| true).await;
        assert!(matches!(again, Err(TransferError::Exists(_))));
        let files = juliet.client.files().unwrap();
        let fetching = files.fetch(romeo.jid.clone(), hosted.hash().clone()).to(house.path("got")).await.unwrap();
        let watching = fetching.progress();
        let report = soon(fetching.finish()).await.unwrap();
        assert_eq!((report.road, report.bytes, report.verified.as_deref()), (road, 300_000, Some("sha-256")));
        assert_eq!(watching.now().total, Some(300_000));
        assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
        // Until it is taken away.
        let hash = hosted.hash().clone();
        drop(hosted);
        let fetching = files.fetch(romeo.jid.clone(), hash).to(house.path("other")).await.unwrap();
        let gone = soon(fetching.finish()).await;
        assert!(matches!(gone, Err(TransferError::NotAvailable)), "{gone:?}");
        assert_eq!(house.others(&path), ["got"]);
    }
}

#[tokio::test]
async fn xep0234_6_2_what_is_not_for_one_is_not_there() {
    let house = house(None).await;
    let (romeo, juliet) = house.two(any, any).await;
    let (path, bytes) = house.file("letter.txt", 100);
    let hosted = romeo.client.files().unwrap().host(&path, |_| false).await.unwrap();
    let fetch = || juliet.client.files().unwrap().fetch(romeo.jid.clone(), hosted.hash().clone());
    let refused = soon(fetch().to(house.path("got")).await.unwrap().finish()).await;
    assert!(matches!(refused, Err(TransferError::NotAvailable)), "{refused:?}");
    drop(hosted);
    // Another file of the same length has come to the place meanwhile.
    let hosted = romeo.client.files().unwrap().host(&path, |_| true).await.unwrap();
    std::fs::write(&path, vec![0; bytes.len()]).unwrap();
    let files = juliet.client.files().unwrap();
    let other = files.fetch(romeo.jid.clone(), hosted.hash().clone()).to(house.path("got")).await.unwrap();
    let other = soon(other.finish()).await;
    assert!(matches!(other, Err(TransferError::HashMismatch { .. })), "{other:?}");
    assert_eq!(house.others(&path), [""; 0]);
}

#[tokio::test]
async fn xep0234_6_4_a_fetch_goes_on_when_its_connection_breaks() {
    let house = house(Some(150_000)).await;
    let (romeo, juliet) = house.two(relayed, relayed).await;
    let (path, bytes) = house.file("letter.txt", 500_000);
    let hosted = romeo.client.files().unwrap().host(&path, |_| true).await.unwrap();
    let files = juliet.client.files().unwrap();
    let fetching = files.fetch(romeo.jid.clone(), hosted.hash().clone()).to(house.path("got")).await.unwrap();
    let report = soon(fetching.finish()).await.unwrap();
    assert_eq!((report.road, report.moved), (Road::InBand, 500_000));
    assert_eq!(std::fs::read(house.path("got")).unwrap(), bytes);
}
