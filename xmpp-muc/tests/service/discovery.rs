//! What rooms say of themselves.

use super::setup::*;

#[tokio::test]
async fn xep0059_the_list_of_rooms_comes_in_pages() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    for room in ["b", "a", "d", "c"] {
        juliet.makes(room, &[]).await;
    }
    juliet.joins("locked").await;
    juliet.makes("hidden", &[("muc#roomconfig_publicroom", "0")]).await;
    let at = |room: &str| Some(format!("{room}@{SERVICE}"));
    let set = |max, after: Option<String>, before: Option<String>, index| ResultSet {
        max,
        after,
        before,
        index,
        ..ResultSet::default()
    };
    let last = || Some(String::new());
    for (page, expected, first) in [
        (set(None, None, None, None), "abcd", Some(0)),
        (set(Some(0), None, None, None), "", None),
        (set(Some(2), None, None, None), "ab", Some(0)),
        (set(Some(2), at("b"), None, None), "cd", Some(2)),
        (set(Some(2), at("c"), None, None), "d", Some(3)),
        (set(Some(2), at("d"), None, None), "", None),
        (set(Some(2), None, last(), None), "cd", Some(2)),
        (set(Some(2), None, at("b"), None), "a", Some(0)),
        (set(Some(2), None, at("a"), None), "", None),
        (set(Some(9), None, at("d"), None), "abc", Some(0)),
        (set(Some(1), None, None, Some(3)), "d", Some(3)),
        (set(Some(1), None, None, Some(4)), "", None),
        (set(Some(u32::MAX), None, None, Some(u32::MAX)), "", None),
    ] {
        let found = juliet.items(page.clone()).await.unwrap();
        let names: String = found.items.iter().map(|item| item.jid.local().unwrap()).collect();
        let rsm = found.rsm.unwrap();
        assert_eq!((names.as_str(), rsm.count), (expected, Some(4)), "{page:?}");
        assert_eq!(rsm.first.and_then(|first| first.index), first, "{page:?}");
        assert_eq!(rsm.last.is_some(), first.is_some());
    }
    // §2.4: the address of a room that is gone, or not to be seen, tells where it was.
    for (page, expected) in [
        (set(Some(1), at("bb"), None, None), "c"),
        (set(Some(1), at("e"), None, None), ""),
        (set(Some(2), None, at("hidden"), None), "cd"),
    ] {
        let found = juliet.items(page).await.unwrap();
        assert_eq!(found.items.iter().map(|item| item.jid.local().unwrap()).collect::<String>(), expected);
    }
    assert_eq!(refused(juliet.items(set(None, Some("@".into()), None, None)).await), Condition::ItemNotFound);
}

#[tokio::test]
async fn what_nobody_knows_is_refused_and_what_is_an_error_is_not_answered() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("cave", &[]).await;
    #[derive(Clone, Debug, Payload)]
    #[xml(name = "query", ns = "urn:example:unknown")]
    struct Unknown;
    let ask = |to: Jid| romeo.client.request(Iq::get(to).payload(&Unknown));
    assert_eq!(refused(ask(Person::address("cave")).await), Condition::ServiceUnavailable);
    assert_eq!(refused(ask(jid(SERVICE)).await), Condition::ServiceUnavailable);
    assert_eq!(refused(ask(jid("cave@rooms.localhost/juliet")).await), Condition::NotAcceptable, "he is not in it");
    let ping = romeo.client.request(Iq::get(Person::address("nowhere")).payload(&Ping)).await;
    assert_eq!(refused(ping), Condition::ItemNotFound);
    romeo.client.send(Message::chat(jid(SERVICE)).body("hello")).await.unwrap();
    let bounced = romeo.message().await;
    assert_eq!(
        (bounced.type_(), bounced.error().unwrap().condition),
        (MessageType::Error, Condition::ServiceUnavailable)
    );
}

#[tokio::test]
async fn xep0045_6_what_the_service_its_rooms_and_those_in_them_say_of_themselves() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    let nurse = Person::new(&server, "nurse").await;
    juliet.makes("cave", &[("muc#roomconfig_membersonly", "1"), ("muc#roomconfig_roomname", "Cave")]).await;
    juliet.makes("den", &[("muc#roomconfig_publicroom", "0")]).await;
    let items = async |of: &str| -> DiscoItems {
        nurse.client.query(Iq::get(jid(of)).payload(&DiscoItemsQuery::default())).await.unwrap()
    };
    // §6.1, §6.2.
    let service: DiscoInfo =
        nurse.client.query(Iq::get(jid(SERVICE)).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(service.has_identity("conference", "text") && service.has_feature(xmpp_muc::NS));
    assert!(items("localhost").await.items.iter().any(|item| item.jid == jid(SERVICE)));
    // §6.3: of the rooms the public one; §6.4: what it is like; §6.5: not who is in it.
    let rooms = items(SERVICE).await.items;
    assert_eq!(rooms.iter().map(|item| item.name.as_deref().unwrap()).collect::<Vec<_>>(), ["Cave"]);
    let cave = nurse.info("cave").await.unwrap();
    for feature in
        [xmpp_muc::NS, "muc_public", "muc_membersonly", "muc_semianonymous", "muc_temporary", "muc_unsecured"]
    {
        assert!(cave.has_feature(feature), "{feature}");
    }
    assert!(nurse.info("den").await.unwrap().has_feature("muc_hidden"), "who knows of it may know");
    assert!(items(&format!("cave@{SERVICE}")).await.items.is_empty());
    // §6.6: from outside nobody is asked; from inside the client is, and does not learn by whom.
    let occupant = jid(&format!("den@{SERVICE}/juliet"));
    let ask = || Iq::get(occupant.clone()).payload(&DiscoInfoQuery::default());
    assert_eq!(refused(nurse.client.request(ask()).await), Condition::BadRequest);
    romeo.joins("den").await;
    let answer = romeo.client.request(ask()).await.unwrap();
    assert_eq!(answer.from(), Some(&occupant));
    assert!(!answer.stanza().as_str().contains("juliet@localhost"), "{answer:?}");
}

#[tokio::test]
async fn xep0045_7_12_a_user_learns_its_own_reserved_nickname_and_nobody_elses() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let romeo = Person::new(&server, "romeo").await;
    juliet.joins("cave").await;
    let ask = async |who: &Person| -> Result<DiscoInfo, RequestError> {
        let query = DiscoInfoQuery { node: Some("x-roomuser-item".to_owned()), ..DiscoInfoQuery::default() };
        who.client.query(Iq::get(Person::address("cave")).payload(&query)).await
    };
    assert_eq!(refused(ask(&romeo).await), Condition::ItemNotFound, "it is not open yet");
    juliet.configures("cave", &[]).await.unwrap();
    assert!(ask(&romeo).await.unwrap().identities.is_empty());
    let item = xmpp_muc::payload::AdminItem {
        nick: Some("Montague".to_owned()),
        ..AdminQuery::affiliation(jid("romeo@localhost"), Affiliation::Member, None).items.remove(0)
    };
    juliet.sets("cave", &AdminQuery { items: vec![item] }).await;
    let known = ask(&romeo).await.unwrap();
    assert_eq!(known.node.as_deref(), Some("x-roomuser-item"));
    assert_eq!(known.identities.len(), 1);
    assert_eq!(known.identities[0].name.as_deref(), Some("Montague"));
    assert!(ask(&juliet).await.unwrap().identities.is_empty());
}

#[tokio::test]
async fn abuse_a074_a_room_that_is_not_open_answers_as_one_that_is_not_there() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.joins("cave").await;
    for room in ["cave", "nowhere"] {
        let (to, inside) = (Person::address(room), jid(&format!("{room}@{SERVICE}/juliet")));
        let mut answers = Vec::new();
        for iq in [
            Iq::get(to.clone()).payload(&Ping),
            Iq::get(inside.clone()).payload(&Ping),
            Iq::get(to.clone()).payload(&DiscoInfoQuery::default()),
            Iq::get(to.clone()).payload(&DiscoItemsQuery::default()),
            Iq::get(to.clone()).payload(&AdminQuery::who_is(Affiliation::Owner)),
            Iq::set(to.clone()).payload(&AdminQuery::role("juliet", Role::None, None)),
            Iq::get(to.clone()).payload(&OwnerQuery::default()),
            Iq::get(to.clone()).payload(&ArchiveQuery::default()),
            Iq::set(to.clone()).payload(&ArchiveQuery::default()),
        ] {
            answers.push(refused(romeo.client.request(iq).await));
        }
        assert!(answers.iter().all(|answer| *answer == Condition::ItemNotFound), "{room}: {answers:?}");
        romeo.says(room, "hello?").await;
        assert_eq!(romeo.message().await.error().unwrap().condition, Condition::ItemNotFound);
    }
}
