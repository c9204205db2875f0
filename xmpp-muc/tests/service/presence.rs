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

#[tokio::test]
async fn who_comes_while_a_room_ends_is_in_that_one_to_its_end_or_makes_the_next() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    for round in 0..30 {
        let room = format!("r{round}");
        juliet.makes(&room, PERSISTENT).await;
        if round % 2 == 0 {
            let (ended, ()) = tokio::join!(juliet.destroys(&room), romeo.asks(&room));
            ended.unwrap();
        } else {
            let ((), ended) = tokio::join!(romeo.asks(&room), juliet.destroys(&room));
            ended.unwrap();
        }
        while juliet.presence().await.1.destroy.is_none() {}
        let own = loop {
            let (presence, info) = romeo.presence().await;
            assert!(presence.error().is_none(), "{:?}", presence.error());
            if info.has(StatusCode::SELF) {
                break info;
            }
        };
        if own.has(StatusCode::CREATED) {
            assert_eq!(own.item().unwrap().affiliation, Some(Affiliation::Owner));
            romeo.configures(&room, &[]).await.unwrap();
            assert_eq!(refused(juliet.configures(&room, &[]).await), Condition::Forbidden, "it is not hers");
        } else {
            assert!(own.destroy.is_some() || romeo.presence().await.1.destroy.is_some());
            assert_eq!(refused(romeo.info(&room).await), Condition::ItemNotFound);
        }
    }
}

#[tokio::test]
async fn abuse_a074_who_is_removed_hears_nothing_of_what_comes_after_and_reads_nothing() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("cave", &[]).await;
    let none = || AdminQuery::affiliation(jid("romeo@localhost"), Affiliation::None, None);
    let outcast = || AdminQuery::affiliation(jid("romeo@localhost"), Affiliation::Outcast, None);
    let closed = |is: &'static str| [("muc#roomconfig_membersonly", is)];
    for (code, banned) in [(StatusCode::BANNED, true), (StatusCode::MEMBERS_ONLY, false)] {
        romeo.joins("cave").await;
        match banned {
            true => juliet.sets("cave", &outcast()).await,
            false => _ = juliet.configures("cave", &closed("1")).await.unwrap(),
        }
        juliet.says("cave", "he is gone").await;
        while juliet.message().await.body().as_deref() != Some("he is gone") {}
        let (_, info) = loop {
            let (presence, info) = romeo.presence().await;
            if presence.type_str().as_deref() == Some("unavailable") {
                break (presence, info);
            }
        };
        assert!(info.has(code) && info.has(StatusCode::SELF), "{info:?}");
        // What he has got by the time of an answer is all that he gets.
        assert_eq!(refused(romeo.reads("cave").await), Condition::Forbidden);
        let metadata =
            Iq::get(Person::address("cave")).payload(&xmpp_core::payload::archive::ArchiveMetadata::default());
        assert_eq!(refused(romeo.client.request(metadata).await), Condition::Forbidden);
        while let Ok(Some(event)) = timeout(Duration::ZERO, romeo.events.next()).await {
            assert!(!matches!(&event, Event::Message(message) if message.body().is_some()), "{event:?}");
        }
        let condition = if banned { Condition::Forbidden } else { Condition::RegistrationRequired };
        assert_eq!(romeo.is_refused("cave").await, condition);
        juliet.sets("cave", &none()).await;
        juliet.configures("cave", &closed("0")).await.unwrap();
    }
}

#[tokio::test]
async fn xep0045_7_2_11_a_room_that_is_not_there_is_made_by_who_enters_it() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let (info, history) = juliet.joins("cave").await;
    assert!(info.has(StatusCode::CREATED) && info.has(StatusCode::SELF) && history.is_empty(), "{info:?}");
    assert_eq!(info.item().unwrap().affiliation, Some(Affiliation::Owner));
}
