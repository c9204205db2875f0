//! Stores that fail, hang and are found again.

use super::setup::*;

#[tokio::test]
async fn a_store_that_hangs_or_fails_keeps_no_room_and_no_place() {
    let disk = Arc::new(Disk::default());
    let server = impatient(&disk, |settings| settings.rooms = 1);
    let mut juliet = Person::new(&server, "juliet").await;
    for fault in [Fault::Hangs, Fault::Fails] {
        disk.breaks("load", fault);
        for n in 0..3 {
            refused(juliet.info(&format!("r{n}")).await);
            juliet.asks(&format!("r{n}")).await;
            assert!(juliet.presence().await.0.error().is_some(), "{fault:?}");
        }
        disk.heals();
        juliet.makes("r9", &[]).await;
        juliet.leaves("r9").await;
    }
}

#[tokio::test]
async fn what_is_not_archived_is_not_told_and_the_room_goes_on() {
    let disk = Arc::new(Disk::default());
    let server = impatient(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("cave", &[]).await;
    romeo.joins("cave").await;
    for fault in [Fault::Fails, Fault::Hangs] {
        disk.breaks("append", fault);
        romeo.says("cave", "lost").await;
        assert!(romeo.message().await.error().is_some(), "{fault:?}");
        disk.heals();
        romeo.says("cave", "found").await;
        romeo.hears("found").await;
        juliet.hears("found").await;
    }
    assert_eq!(juliet.reads("cave").await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_slow_archive_changes_no_order() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("cave", &[]).await;
    romeo.joins("cave").await;
    juliet.presence().await;
    let shut = disk.gate.lock().await;
    juliet.says("cave", "one").await;
    while disk.appending.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    romeo.says("cave", "two").await;
    drop(shut);
    let mut both = Vec::new();
    for person in [&mut juliet, &mut romeo] {
        both.push([person.message().await, person.message().await].map(|message| message.body().unwrap().into_owned()));
    }
    assert_eq!(both[0], both[1], "all hear the same");
    let archived = juliet.reads("cave").await.unwrap();
    assert!(archived[0].contains(&both[0][0]) && archived[1].contains(&both[0][1]), "and so it is archived");
}

#[tokio::test]
async fn a_room_whose_change_may_or_may_not_be_stored_is_stored_as_it_is_told() {
    for fault in [Fault::Fails, Fault::Lies, Fault::Hangs] {
        let disk = Arc::new(Disk::default());
        let server = impatient(&disk, |_| {});
        let mut juliet = Person::new(&server, "juliet").await;
        let room: BareJid = format!("cave@{SERVICE}").parse().unwrap();
        juliet.makes("cave", PERSISTENT).await;
        disk.breaks("change", fault);
        disk.breaks("save", fault);
        refused(juliet.configures("cave", &[("muc#roomconfig_roomname", "Hell")]).await);
        let ban = AdminQuery::affiliation(jid("romeo@localhost"), Affiliation::Outcast, None);
        refused(juliet.client.request(Iq::set(Person::address("cave")).payload(&ban)).await);
        assert_eq!(juliet.info("cave").await.unwrap().identities[0].name.as_deref(), Some("Cave"));
        disk.heals();
        // The next change, and else the end of the visit, makes it certain.
        if fault != Fault::Hangs {
            let member = AdminQuery::affiliation(jid("nurse@localhost"), Affiliation::Member, None);
            juliet.sets("cave", &member).await;
        } else {
            juliet.leaves("cave").await;
            juliet.info("cave").await.unwrap();
        }
        let stored = disk.rooms.load(&room).await.unwrap().unwrap();
        assert_eq!(stored.config.name, "Cave", "{fault:?}");
        let known: Vec<_> = stored.affiliated.iter().map(|(user, _)| user.local().unwrap()).collect();
        let expected: &[&str] = if fault == Fault::Hangs { &["juliet"] } else { &["juliet", "nurse"] };
        assert_eq!(known, expected, "{fault:?}");
    }
}

#[tokio::test]
async fn a_room_that_was_not_made_persistent_after_all_is_not_there_when_it_is_left() {
    for fault in [Fault::Lies, Fault::Hangs] {
        let disk = Arc::new(Disk::default());
        let server = impatient(&disk, |_| {});
        let mut juliet = Person::new(&server, "juliet").await;
        juliet.makes("cave", &[]).await;
        disk.breaks("save", fault);
        refused(juliet.configures("cave", PERSISTENT).await);
        disk.heals();
        juliet.leaves("cave").await;
        assert_eq!(refused(juliet.info("cave").await), Condition::ItemNotFound);
        assert!(juliet.joins("cave").await.0.has(StatusCode::CREATED));
    }
}

#[tokio::test]
async fn a_log_that_panics_is_nobody_elses_trouble() {
    let server = serve_with(&Arc::new(Disk::default()), PATIENCE, |_| {}, |muc| muc.log(|_| panic!("on purpose")));
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.makes("cave", &[]).await;
    for text in ["one", "two"] {
        juliet.says("cave", text).await;
        juliet.hears(text).await;
    }
}

#[tokio::test]
async fn a_room_is_the_same_after_a_restart_and_a_temporary_one_is_gone() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.makes("cave", PERSISTENT).await;
    juliet.makes("tent", &[]).await;
    juliet.client.send(Message::groupchat(Person::address("cave")).subject("Fire burn")).await.unwrap();
    assert_eq!(juliet.message().await.subject().as_deref(), Some("Fire burn"));
    juliet.says("cave", "double").await;
    let said = juliet.hears("double").await;
    let id = said.payload::<OccupantId>().unwrap().unwrap();
    juliet.says("tent", "trouble").await;
    juliet.hears("trouble").await;
    // The process dies: nobody says farewell.
    drop(server);
    let server = serve(&disk, |_| {});
    let mut romeo = Person::new(&server, "romeo").await;
    let loads = disk.queries.load(Ordering::SeqCst);
    assert_eq!(romeo.info("cave").await.unwrap().identities[0].name.as_deref(), Some("Cave"));
    assert_eq!(disk.queries.load(Ordering::SeqCst), loads, "history is for who comes in");
    let (_, history) = romeo.joins("cave").await;
    assert_eq!(history.iter().map(|message| message.body().unwrap().into_owned()).collect::<Vec<_>>(), ["double"]);
    assert_eq!(history[0].payload::<OccupantId>().unwrap().unwrap().id, id.id);
    assert!(history[0].stanza().as_str().contains("urn:xmpp:delay"));
    let mut juliet = Person::new(&server, "juliet").await;
    assert_eq!(juliet.joins("cave").await.0.item().unwrap().affiliation, Some(Affiliation::Owner));
    juliet.says("cave", "again").await;
    let said = juliet.hears("again").await;
    assert_eq!(said.payload::<OccupantId>().unwrap().unwrap().id, id.id, "who it is, it stays");
    assert_eq!(refused(romeo.reads("tent").await), Condition::ItemNotFound);
    while romeo.message().await.body().as_deref() != Some("again") {}
    romeo.makes("tent", &[]).await;
    assert_eq!(romeo.reads("tent").await.unwrap(), Vec::<String>::new(), "a tent that blew away leaves nothing");
}
