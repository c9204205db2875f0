//! Who comes and goes, and in which order that is told.

use super::setup::*;

#[tokio::test]
async fn xep0045_11_2_who_is_in_a_room_is_told_that_the_service_stops() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.makes("cave", PERSISTENT).await;
    juliet.says("cave", "stay").await;
    juliet.hears("stay").await;
    let stopping = server.clone();
    let stopped = tokio::spawn(async move { stopping.shutdown(Duration::from_secs(20)).await });
    let (presence, info) = juliet.presence().await;
    assert_eq!(presence.type_str().as_deref(), Some("unavailable"));
    assert!(info.has(StatusCode::SHUTDOWN) && info.has(StatusCode::SELF) && info.destroy.is_none(), "{info:?}");
    timeout(PATIENCE, stopped).await.unwrap().unwrap();
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    assert_eq!(juliet.joins("cave").await.1.len(), 1, "and finds it again");
}

#[tokio::test]
async fn a_client_that_is_gone_is_gone_from_its_rooms() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("cave", &[]).await;
    romeo.joins("cave").await;
    juliet.presence().await;
    romeo.client.close().await;
    let (presence, _) = juliet.presence().await;
    assert_eq!(presence.type_str().as_deref(), Some("unavailable"));
    assert_eq!(presence.from().unwrap().resource(), Some("romeo"));
}

#[tokio::test]
async fn xep0045_8_2_a_change_is_answered_before_all_hear_of_it_and_nothing_comes_between() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    let mut nurse = Person::new(&server, "nurse").await;
    juliet.makes("cave", &[]).await;
    romeo.joins("cave").await;
    nurse.joins("cave").await;
    for _ in 0..30 {
        romeo.leaves("cave").await;
        romeo.joins("cave").await;
        // He leaves while his role changes: what is said of him last is that he is gone.
        let silence = AdminQuery::role("romeo", Role::Visitor, None);
        let silence = juliet.client.request(Iq::set(Person::address("cave")).payload(&silence));
        let leave = romeo.client.send(Presence::unavailable().to(jid("cave@rooms.localhost/romeo")));
        let (_, left) = tokio::join!(silence, leave);
        left.unwrap();
        while romeo.presence().await.0.type_str().as_deref() != Some("unavailable") {}
        juliet.says("cave", "is he there?").await;
        let mut there = false;
        loop {
            match timeout(PATIENCE, nurse.events.next()).await.unwrap().unwrap() {
                Event::Presence(presence) if presence.from().unwrap().resource() == Some("romeo") => {
                    there = presence.type_str().is_none();
                }
                Event::Message(message) if message.body().is_some() => break,
                _ => {}
            }
        }
        assert!(!there, "a ghost");
        romeo.joins("cave").await;
    }
}
