//! Who makes rooms, and how many.

use super::setup::*;

#[tokio::test]
async fn abuse_a077_rooms_of_a_user_are_counted_from_their_making_to_their_end_however_that_comes() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |settings| settings.rooms_of_user = 2);
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("one", &[]).await;
    juliet.makes("two", &[]).await;
    assert_eq!(juliet.is_refused("three").await, Condition::ResourceConstraint);
    romeo.makes("his", &[]).await;
    juliet.joins("his").await;
    // The last leaves; it is destroyed; it is never opened; its configuration is cancelled; it becomes temporary, unseen.
    juliet.leaves("one").await;
    juliet.makes("one", &[]).await;
    assert_eq!(juliet.is_refused("three").await, Condition::ResourceConstraint);
    juliet.destroys("one").await.unwrap();
    juliet.presence().await;
    juliet.joins("three").await;
    assert_eq!(juliet.is_refused("four").await, Condition::ResourceConstraint);
    juliet.leaves("three").await;
    juliet.joins("four").await;
    let cancel = OwnerQuery { form: Some(DataForm::new(FormKind::Cancel)), destroy: None };
    juliet.client.request(Iq::set(Person::address("four")).payload(&cancel)).await.unwrap();
    juliet.presence().await;
    juliet.makes("five", PERSISTENT).await;
    juliet.leaves("five").await;
    juliet.configures("five", &[("muc#roomconfig_persistentroom", "0")]).await.unwrap();
    assert_eq!(refused(juliet.info("five").await), Condition::ItemNotFound);
    juliet.makes("five", &[]).await;
    assert_eq!(juliet.is_refused("six").await, Condition::ResourceConstraint);
}

#[tokio::test]
async fn abuse_a077_nobody_may_make_rooms_where_each_may_have_none() {
    let server = serve(&Arc::new(Disk::default()), |settings| settings.rooms_of_user = 0);
    let mut juliet = Person::new(&server, "juliet").await;
    assert_eq!(juliet.is_refused("one").await, Condition::ResourceConstraint);
}

#[tokio::test]
async fn abuse_a077_rooms_that_are_not_there_take_no_place_and_cost_one_look() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |settings| {
        settings.rooms = 2;
        settings.room_name_bytes = 20;
    });
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.makes("one", &[]).await;
    let before = disk.loads.load(Ordering::SeqCst);
    for n in 0..100 {
        assert_eq!(refused(juliet.info(&format!("no{n}")).await), Condition::ItemNotFound);
        juliet.says(&format!("no{n}"), "hello").await;
        assert_eq!(juliet.message().await.error().unwrap().condition, Condition::ItemNotFound);
        let gone = Presence::unavailable().to(jid(&format!("no{n}@{SERVICE}/x")));
        juliet.client.send(gone).await.unwrap();
    }
    assert_eq!(refused(juliet.info("last").await), Condition::ItemNotFound);
    assert_eq!(disk.loads.load(Ordering::SeqCst) - before, 301);
    assert_eq!(disk.queries.load(Ordering::SeqCst), 0);
    assert_eq!(juliet.is_refused(&"x".repeat(21)).await, Condition::NotAcceptable);
    juliet.makes(&"x".repeat(20), &[]).await;
    assert_eq!(juliet.is_refused("three").await, Condition::ResourceConstraint);
    juliet.leaves("one").await;
    juliet.makes("three", &[]).await;
}

#[tokio::test]
async fn of_two_who_come_at_once_one_makes_the_room() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    for n in 0..20 {
        let room = format!("r{n}");
        tokio::join!(juliet.asks(&room), romeo.asks(&room));
        let (hers, his) = (juliet.presence().await, romeo.presence().await);
        let made = [&hers, &his].map(|(_, info)| info.has(StatusCode::CREATED));
        let refused = [&hers, &his].map(|(presence, _)| presence.error().map(|error| error.condition));
        assert!(made[0] != made[1], "{made:?}");
        assert_eq!(refused[usize::from(made[0])], Some(Condition::ItemNotFound), "it is not open yet");
    }
}
