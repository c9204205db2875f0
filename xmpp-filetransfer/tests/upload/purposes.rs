//! What files are for decides for how long they are kept (§5).

use super::{
    House,
    service::{asked, jid},
};
use std::{sync::atomic::Ordering, time::Duration};
use xmpp_core::payload::Payload as _;
use xmpp_core::{
    client::Client,
    payload::disco::DiscoInfo,
    payload::disco::DiscoInfoQuery,
    stanza::{Condition, Iq},
};
use xmpp_filetransfer::upload::{FileTooLarge, Purpose, Slot, SlotRequest, server::PurposeSettings};

fn of(purpose: Purpose, size: u64) -> SlotRequest {
    SlotRequest { purpose: Some(purpose), ..SlotRequest::new("a", size) }
}

async fn put(house: &House, slot: &Slot, content: &[u8]) -> String {
    let headers = [("Authorization", slot.put.headers[0].value.as_str())];
    assert_eq!(house.ask("PUT", house.path(&slot.put.url), &headers, content).await.status, 201);
    house.path(&slot.get.url).to_owned()
}

async fn info(client: &Client) -> DiscoInfo {
    client.query(Iq::get(jid("upload.localhost")).payload(&DiscoInfoQuery::default())).await.unwrap()
}

#[tokio::test]
async fn xep0363_5_2_files_of_profiles_are_kept_longer_and_are_fewer() {
    let house = House::new(|settings| {
        settings.keep = Some(Duration::from_secs(1_000));
        settings.quota.user_bytes = Some(100);
        settings.profile = Some(PurposeSettings::new(20, Some(30), Some(2), Some(Duration::from_secs(5_000))));
    })
    .await;
    let (juliet, _events) = house.client("juliet").await;
    assert!(info(&juliet).await.has_feature("urn:xmpp:http:upload:purpose:0#profile"));
    let error = asked(&juliet, &of(Purpose::Profile, 21)).await.unwrap_err();
    assert_eq!(error.condition, Condition::NotAcceptable);
    let limit = FileTooLarge::read(error.application.unwrap().root()).unwrap();
    assert_eq!(limit.max_file_size, Some(20), "that of the purpose");
    let message = put(&house, &asked(&juliet, &of(Purpose::Message, 96)).await.unwrap(), &[b'x'; 96]).await;
    // What there is of other files is no matter.
    let face = put(&house, &asked(&juliet, &of(Purpose::Profile, 20)).await.unwrap(), &[b'x'; 20]).await;
    let error = asked(&juliet, &of(Purpose::Profile, 11)).await.unwrap_err();
    assert_eq!(error.condition, Condition::ResourceConstraint);
    let cover = put(&house, &asked(&juliet, &of(Purpose::Profile, 1)).await.unwrap(), b"x").await;
    let error = asked(&juliet, &of(Purpose::Profile, 1)).await.unwrap_err();
    assert_eq!(error.condition, Condition::ResourceConstraint);
    house.later.store(1_001, Ordering::Relaxed);
    assert_eq!(house.ask("GET", &message, &[], b"").await.status, 404);
    // The document knows of no replacing: one may still show what an older one is for.
    for path in [&face, &cover] {
        assert_eq!(house.ask("GET", path, &[], b"").await.status, 200);
    }
    house.later.store(5_001, Ordering::Relaxed);
    assert_eq!(house.ask("GET", &face, &[], b"").await.status, 404);
}

#[tokio::test]
async fn xep0363_5_4_permanent_files_are_taken_where_they_are_offered() {
    let house = House::new(|settings| {
        settings.profile = None;
        settings.permanent = Some(PurposeSettings::new(1 << 20, None, None, None));
    })
    .await;
    let (juliet, _events) = house.client("juliet").await;
    let info = info(&juliet).await;
    assert!(info.has_feature("urn:xmpp:http:upload:purpose:0#permanent"));
    assert!(!info.has_feature("urn:xmpp:http:upload:purpose:0#profile"));
    let refused = asked(&juliet, &of(Purpose::Profile, 4)).await.unwrap_err();
    assert_eq!(refused.condition, Condition::FeatureNotImplemented);
    let path = put(&house, &asked(&juliet, &of(Purpose::Permanent, 4)).await.unwrap(), b"hark").await;
    house.later.store(50 * 365 * 24 * 60 * 60, Ordering::Relaxed);
    assert_eq!(house.ask("GET", &path, &[], b"").await.body, b"hark");
}
