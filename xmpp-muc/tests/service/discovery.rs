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
    assert_eq!(refused(juliet.items(set(None, at("e"), None, None)).await), Condition::ItemNotFound);
    assert_eq!(refused(juliet.items(set(None, None, at("hidden"), None)).await), Condition::ItemNotFound);
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
