//! Who makes rooms, and how many.

use super::setup::*;
use xmpp_core::xml::{Stanza, XmlLimits, ns};

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

#[tokio::test]
async fn abuse_a077_persistent_rooms_of_a_user_are_bounded_whether_somebody_is_in_them_or_not() {
    let disk = Arc::new(Disk::default());
    let two = |settings: &mut MucSettings| settings.persistent_rooms_of_user = 2;
    let server = serve(&disk, two);
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    for room in ["one", "two"] {
        juliet.makes(room, PERSISTENT).await;
        juliet.leaves(room).await;
    }
    // The third waits for a configuration that can be.
    juliet.joins("three").await;
    assert_eq!(refused(juliet.configures("three", PERSISTENT).await), Condition::ResourceConstraint);
    assert_eq!(romeo.is_refused("three").await, Condition::ItemNotFound, "it is not open");
    juliet.configures("three", &[]).await.unwrap();
    assert_eq!(refused(juliet.configures("three", PERSISTENT).await), Condition::ResourceConstraint);
    assert!(!juliet.info("three").await.unwrap().has_feature("muc_persistent"));
    // Another owner does not help: the room counts for who has made it.
    let owner = AdminQuery::affiliation(jid("romeo@localhost"), Affiliation::Owner, None);
    juliet.sets("three", &owner).await;
    assert_eq!(refused(romeo.configures("three", PERSISTENT).await), Condition::ResourceConstraint);
    // What is persistent can be configured, and others have theirs.
    juliet.configures("one", &[("muc#roomconfig_roomname", "Other")]).await.unwrap();
    romeo.makes("his", PERSISTENT).await;
    romeo.makes("his2", PERSISTENT).await;
    // After a restart too.
    drop(server);
    let server = serve(&disk, two);
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.joins("three").await;
    assert_eq!(refused(juliet.configures("three", PERSISTENT).await), Condition::ResourceConstraint);
    // What ends, or becomes temporary, makes place; so does no store that fails.
    juliet.destroys("one").await.unwrap();
    disk.breaks("save", Fault::Fails);
    assert_eq!(refused(juliet.configures("three", PERSISTENT).await), Condition::InternalServerError);
    disk.heals();
    juliet.configures("three", PERSISTENT).await.unwrap();
    juliet.joins("four").await;
    assert_eq!(refused(juliet.configures("four", PERSISTENT).await), Condition::ResourceConstraint);
    juliet.configures("three", &[("muc#roomconfig_persistentroom", "0")]).await.unwrap();
    disk.breaks("save", Fault::Lies);
    assert_eq!(refused(juliet.configures("four", PERSISTENT).await), Condition::InternalServerError);
    disk.heals();
    juliet.configures("four", PERSISTENT).await.unwrap();
    assert_eq!(refused(juliet.configures("three", PERSISTENT).await), Condition::ResourceConstraint);
}

#[tokio::test]
async fn abuse_a077_of_many_rooms_that_become_persistent_at_once_no_more_do_than_may() {
    let server = serve(&Arc::new(Disk::default()), |settings| settings.persistent_rooms_of_user = 3);
    let mut juliet = Person::new(&server, "juliet").await;
    let rooms: Vec<String> = (0..12).map(|n| format!("r{n}")).collect();
    for room in &rooms {
        juliet.joins(room).await;
    }
    let mut asked = tokio::task::JoinSet::new();
    for room in &rooms {
        let (client, to) = (juliet.client.clone(), Person::address(room));
        asked.spawn(async move {
            let form = DataForm::typed(FormKind::Submit, "http://jabber.org/protocol/muc#roomconfig");
            let form = form.with(Field::new("muc#roomconfig_persistentroom").value("1"));
            client.request(Iq::set(to).payload(&OwnerQuery { form: Some(form), destroy: None })).await
        });
    }
    let answers = asked.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    let refused = answers.into_iter().filter(Result::is_err).map(refused);
    assert!(refused.into_iter().all(|condition| condition == Condition::ResourceConstraint));
}

#[tokio::test]
async fn abuse_a077_what_cannot_be_the_name_of_a_room_is_refused_and_odd_forms_are_one_room() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let asks = async |juliet: &mut Person, name: &str| {
        let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
        let xml = format!("<presence to='{name}@{SERVICE}/juliet'>{x}</presence>");
        let stanza = Stanza::parse(&xml, ns::CLIENT, &XmlLimits::default()).unwrap();
        juliet.client.send(stanza).await.unwrap();
        let (presence, info) = juliet.presence().await;
        match presence.error() {
            Some(error) => Err(error.condition),
            None => Ok((presence.from().unwrap().to_bare().to_string(), info.has(StatusCode::CREATED))),
        }
    };
    // What is no address the server itself refuses, with jid-malformed.
    for name in [
        &"x".repeat(1024),
        &"\u{e9}".repeat(512),
        "a b",
        "a\u{a0}b",
        "\u{200b}",
        "a\u{202e}b",
        "a\u{ad}b",
        "a\u{7f}b",
        "\u{fffd}",
        "\u{e000}",
        "\u{1f480}",
        "a\"b",
        "a<b",
    ] {
        assert!(Jid::new(&format!("{name}@{SERVICE}/juliet")).is_err(), "{name:?}");
    }
    for name in ["x".repeat(1023), "x".repeat(256), "\u{e9}".repeat(128)] {
        assert_eq!(asks(&mut juliet, &name).await, Err(Condition::NotAcceptable), "{name:?}");
    }
    let mut made = 0;
    for name in ["coven", "COVEN", "\u{ff43}oven", "c\u{ff2f}ven"] {
        let (room, created) = asks(&mut juliet, name).await.unwrap();
        assert_eq!(room, format!("coven@{SERVICE}"), "{name}");
        made += u32::from(created);
    }
    assert_eq!(made, 1);
    asks(&mut juliet, &"y".repeat(255)).await.unwrap();
}
