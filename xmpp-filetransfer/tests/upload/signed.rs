//! Addresses are signed: what was guessed, was changed or has expired costs no look-up.

use super::{House, store::Held};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use xmpp_filetransfer::upload::{
    server::SlotKeys,
    store::{Bucket, Quota, Upload, UploadStore as _},
};

fn finds(house: &House) -> usize {
    house.store.finds.load(Ordering::SeqCst)
}

/// Waits until all files were looked through once.
async fn looked_through(house: &House) {
    while house.store.rounds.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_guessed_changed_or_has_expired_costs_no_look_up() {
    let house = House::new(|_| {}).await;
    looked_through(&house).await;
    let (slot, authorization) = house.slot("a.txt", 4, Some("text/plain")).await;
    let (put, get) = (house.path(&slot.put.url), house.path(&slot.get.url));
    let own = [("Authorization", authorization.as_str())];
    let before = finds(&house);
    for (one, other) in [
        ("size=4", "size=5"),
        ("size=4", "size=4&size=4"),
        ("type=text%2Fplain", "type=text%2Fhtml"),
        ("until=1", "until=2"),
        ("sign=", "sign=a"),
        ("a.txt", "b.txt"),
        ("/upload/", "/upload/a"),
    ] {
        let changed = put.replace(one, other);
        assert_ne!(changed, put);
        let answer = house.ask("PUT", &changed, &own, b"hark").await;
        assert!(matches!(answer.status, 403 | 404), "{changed}: {answer:?}");
    }
    // Neither a link nor a token is enough.
    assert_eq!(house.ask("PUT", get, &own, b"hark").await.status, 403);
    for headers in [vec![], vec![("Authorization", "Bearer x")], vec![own[0], own[0]]] {
        assert_eq!(house.ask("PUT", put, &headers, b"hark").await.status, 403);
    }
    for guess in ["a".repeat(42), "a".repeat(32), "a".repeat(26), get[8..50].replace(&get[49..50], "a") + "a"] {
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            let answer = house.ask(method, &format!("/upload/{guess}/a.txt"), &own, b"").await;
            assert!(matches!(answer.status, 403 | 404), "{method} {guess}: {answer:?}");
        }
    }
    assert_eq!(house.ask("DELETE", get, &[], b"").await.status, 403);
    house.later.store(301, Ordering::Relaxed);
    assert_eq!(house.ask("PUT", put, &own, b"hark").await.status, 410);
    assert_eq!(finds(&house), before, "nothing of that was looked for");
    assert_eq!(house.files(), (0, 0));
    house.later.store(0, Ordering::Relaxed);
    assert_eq!(house.ask("PUT", put, &own, b"hark").await.status, 201);
    assert!(finds(&house) > before);
}

#[tokio::test]
async fn links_outlive_a_restart_and_a_change_of_the_key() {
    let house = House::new(|settings| settings.keep = None).await;
    let (path, _) = house.file("a.txt", b"hark", None).await;
    let House { folder, store, .. } = house;
    // The folder has its key.
    let house = House::moved_in(folder, store, false, |_| {}, |uploads| uploads).await;
    assert_eq!(house.ask("GET", &path, &[], b"").await.body, b"hark");
    let key = std::fs::read(house.folder.path().join("key")).unwrap();
    // A new one signs, and the old one is still good.
    let House { folder, store, .. } = house;
    let keys = SlotKeys::new([9; 32]).previous(&key);
    let house = House::moved_in(folder, store, false, |_| {}, |uploads| uploads.keys(keys)).await;
    assert_eq!(house.ask("GET", &path, &[], b"").await.body, b"hark");
    let (newer, _) = house.file("b.txt", b"hear", None).await;
    // It is not any more.
    let House { folder, store, .. } = house;
    let house = House::moved_in(folder, store, false, |_| {}, |uploads| uploads.keys(SlotKeys::new([9; 32]))).await;
    assert_eq!(house.ask("GET", &path, &[], b"").await.status, 404);
    assert_eq!(house.ask("GET", &newer, &[], b"").await.body, b"hear");
}

#[tokio::test]
async fn links_of_the_time_before_stay_good_and_then_cost_nothing() {
    let (store, folder, id) = (Arc::new(Held::default()), tempfile::tempdir().unwrap(), "a".repeat(32));
    let token = [5; 32];
    let file = Upload {
        id: id.clone(),
        owner: "juliet@localhost".parse().unwrap(),
        name: "old.txt".to_owned(),
        content_type: None,
        size: 4,
        token,
        expires: None,
        expire_before: None,
        published: true,
        created: 0,
        bucket: Bucket::Message,
    };
    store.reserve(&file, &Quota::default()).await.unwrap();
    let shelf = folder.path().join("files").join("aa");
    std::fs::create_dir_all(&shelf).unwrap();
    std::fs::write(shelf.join(&id), b"hark").unwrap();
    let house = House::moved_in(folder, store, false, |_| {}, |uploads| uploads).await;
    looked_through(&house).await;
    let path = format!("/upload/{id}/old.txt");
    assert_eq!(house.ask("GET", &path, &[], b"").await.body, b"hark");
    assert_eq!(house.ask("GET", &path.replace("old", "new"), &[], b"").await.status, 404);
    // Nothing is put there any more: slots were good for minutes.
    assert_eq!(house.ask("PUT", &path, &[("Authorization", "Bearer x")], b"mark").await.status, 403);
    assert_eq!(house.ask("DELETE", &path, &[("Authorization", "Bearer x")], b"").await.status, 403);
    // When the last of them has gone, nobody looks for such any more.
    house.store.remove(&id).await.unwrap();
    tokio::time::pause();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    tokio::time::resume();
    let before = finds(&house);
    assert_eq!(house.ask("GET", &path, &[], b"").await.status, 404);
    assert_eq!(finds(&house), before);
}
