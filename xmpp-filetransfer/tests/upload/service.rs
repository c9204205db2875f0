//! What the service answers in the stream.

use super::House;
use std::sync::atomic::Ordering;
use xmpp_core::{
    client::{Client, RequestError},
    jid::BareJid,
    payload::{
        Payload as _,
        disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery},
    },
    stanza::{Condition, ErrorType, Iq, StanzaError},
};
use xmpp_filetransfer::upload::{self, FileTooLarge, Purpose, Retry, Slot, SlotRequest};

pub(super) fn jid(text: &str) -> BareJid {
    text.parse().unwrap()
}

pub(super) async fn asked(client: &Client, request: &SlotRequest) -> Result<Slot, StanzaError> {
    match client.query(Iq::get(jid("upload.localhost")).payload(request)).await {
        Ok(slot) => Ok(slot),
        Err(RequestError::Refused(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn xep0363_3_the_service_is_an_item_and_tells_how_much_it_takes() {
    let house = House::new(|settings| settings.max_file_size = 5_242_880).await;
    let (juliet, _events) = house.client("juliet").await;
    let items: DiscoItems = juliet.query(Iq::get(jid("localhost")).payload(&DiscoItemsQuery::default())).await.unwrap();
    assert!(items.items.iter().any(|item| item.jid.as_str() == "upload.localhost"));
    let info: DiscoInfo =
        juliet.query(Iq::get(jid("upload.localhost")).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(info.has_identity("store", "file") && info.has_feature(upload::NS));
    assert!(info.has_feature("urn:xmpp:http:upload:purpose:0#ephemeral"));
    assert!(!info.has_feature("urn:xmpp:http:upload:purpose:0#permanent"));
    assert_eq!(upload::max_file_size(&info), Some(5_242_880));
}

#[tokio::test]
async fn xep0363_3_it_may_be_at_the_servers_own_domain() {
    let house = House::made(false, |_| {}, |uploads| uploads.at_server()).await;
    let (juliet, _events) = house.client("juliet").await;
    let info: DiscoInfo = juliet.query(Iq::get(jid("localhost")).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(info.has_feature(upload::NS) && upload::max_file_size(&info).is_some());
    let request = Iq::get(jid("localhost")).payload(&SlotRequest::new("a.txt", 5));
    assert!(juliet.query::<Slot>(request).await.unwrap().get.url.ends_with("/a.txt"));
}

#[tokio::test]
async fn xep0363_4_a_slot_keeps_the_name_and_has_an_address_that_nobody_guesses() {
    let house = House::new(|_| {}).await;
    let (slot, authorization) = house.slot("très cool.jpg", 23456, Some("image/jpeg")).await;
    let path = house.path(&slot.get.url).strip_prefix("/upload/").unwrap();
    let (label, name) = path.split_once('/').unwrap();
    assert_eq!((label.len(), name), (42, "tr%C3%A8s%20cool.jpg"));
    // It is put where it will be, with what was granted behind that.
    assert!(slot.put.url.starts_with(&format!("{}?size=23456&type=image%2Fjpeg&until=", slot.get.url)), "{slot:?}");
    assert!(authorization.len() > 40 && !slot.get.url.contains(authorization.split_once(' ').unwrap().1));
    let (other, _) = house.slot("très cool.jpg", 23456, Some("image/jpeg")).await;
    assert_ne!(other.put.url, slot.put.url);
}

#[tokio::test]
async fn xep0363_6_what_is_too_large_is_told_the_limit() {
    let house = House::new(|settings| settings.max_file_size = 20_000).await;
    let (juliet, _events) = house.client("juliet").await;
    let error = asked(&juliet, &SlotRequest::new("a", 20_001)).await.unwrap_err();
    assert_eq!((error.condition.clone(), error.type_), (Condition::NotAcceptable, ErrorType::Modify));
    let limit = FileTooLarge::read(error.application.unwrap().root()).unwrap();
    assert_eq!(limit.max_file_size, Some(20_000));
    assert!(asked(&juliet, &SlotRequest::new("a", 20_000)).await.is_ok());
    for (name, size) in [("a", 0), ("", 5)] {
        let error = asked(&juliet, &SlotRequest::new(name, size)).await.unwrap_err();
        assert_eq!(error.condition, Condition::BadRequest);
    }
    for content_type in ["a\u{7f}", "image/\u{e9}", &"x".repeat(300)] {
        let request = SlotRequest { content_type: Some(content_type.to_owned()), ..SlotRequest::new("a", 1) };
        assert_eq!(asked(&juliet, &request).await.unwrap_err().condition, Condition::BadRequest);
    }
}

#[tokio::test]
async fn xep0363_6_a_quota_says_when_to_come_again() {
    let house = House::new(|settings| {
        settings.quota.user_bytes = Some(100);
        settings.quota.all_bytes = Some(150);
    })
    .await;
    let (juliet, _events) = house.client("juliet").await;
    let (romeo, _others) = house.client("romeo").await;
    asked(&juliet, &SlotRequest::new("a", 60)).await.unwrap();
    let error = asked(&juliet, &SlotRequest::new("b", 60)).await.unwrap_err();
    assert_eq!((error.condition.clone(), error.type_), (Condition::ResourceConstraint, ErrorType::Wait));
    let retry = Retry::read(error.application.unwrap().root()).unwrap();
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    assert!(retry.stamp.unix_seconds() > now && retry.stamp.unix_seconds() <= now + 300, "when the slot expires");
    assert_eq!(asked(&juliet, &SlotRequest::new("c", 101)).await.unwrap_err().condition, Condition::NotAcceptable);
    let error = asked(&romeo, &SlotRequest::new("d", 95)).await.unwrap_err();
    assert_eq!(error.condition, Condition::ResourceConstraint, "there is no more room for all");
    // Slots that were never used make room when their time is over.
    house.later.store(301, Ordering::Relaxed);
    asked(&juliet, &SlotRequest::new("b", 60)).await.unwrap();
    assert_eq!(house.bytes_kept().await, 60);
}

#[tokio::test]
async fn abuse_a101_slots_a_minute_are_bounded() {
    let house = House::new(|settings| settings.slots_per_minute = 3).await;
    let (juliet, _events) = house.client("juliet").await;
    let mut refused = 0;
    // A minute may end on the way.
    for _ in 0..8 {
        refused += usize::from(asked(&juliet, &SlotRequest::new("a", 1)).await.is_err());
    }
    assert!(refused >= 2, "{refused}");
}

#[tokio::test]
async fn xep0363_6_only_who_may_gets_slots() {
    let house = House::new(|settings| {
        settings.may_upload = Some(std::sync::Arc::new(|jid| jid.local() == Some("romeo")));
    })
    .await;
    let (juliet, _events) = house.client("juliet").await;
    let (romeo, _others) = house.client("romeo").await;
    let error = asked(&juliet, &SlotRequest::new("a", 1)).await.unwrap_err();
    assert_eq!((error.condition, error.type_), (Condition::Forbidden, ErrorType::Auth));
    asked(&romeo, &SlotRequest::new("a", 1)).await.unwrap();
}

#[tokio::test]
async fn xep0363_5_what_is_ephemeral_is_gone_when_it_has_to_be_and_other_purposes_are_not_offered() {
    let house = House::new(|_| {}).await;
    let (juliet, _events) = house.client("juliet").await;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let before = |seconds: i64| xmpp_core::payload::DateTime::from_unix(now + seconds, 0).unwrap();
    let of = |purpose| SlotRequest { purpose: Some(purpose), ..SlotRequest::new("a", 4) };
    let refused = asked(&juliet, &of(Purpose::Permanent)).await.unwrap_err();
    assert_eq!(refused.condition, Condition::FeatureNotImplemented);
    let past = of(Purpose::Ephemeral { expire_before: before(-1) });
    assert_eq!(asked(&juliet, &past).await.unwrap_err().condition, Condition::NotAcceptable);
    let slot = asked(&juliet, &of(Purpose::Ephemeral { expire_before: before(600) })).await.unwrap();
    let (put, path) = (house.path(&slot.put.url), house.path(&slot.get.url));
    let authorization = slot.put.headers[0].value.as_str();
    assert_eq!(house.ask("PUT", put, &[("Authorization", authorization)], b"hark").await.status, 201);
    assert_eq!(house.ask("GET", path, &[], b"").await.status, 200);
    house.later.store(601, Ordering::Relaxed);
    assert_eq!(house.ask("GET", path, &[], b"").await.status, 404);
}

#[tokio::test]
async fn what_an_account_had_goes_with_it() {
    let house = House::new(|_| {}).await;
    let (path, _) = house.file("a.txt", b"hark", None).await;
    house.slot("b.txt", 10, None).await;
    assert_eq!((house.files(), house.bytes_kept().await), ((1, 0), 14));
    house.server.account_removed(&jid("juliet@localhost")).await;
    assert_eq!((house.files(), house.bytes_kept().await), ((0, 0), 0));
    assert_eq!(house.ask("GET", &path, &[], b"").await.status, 404);
}
