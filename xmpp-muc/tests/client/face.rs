//! What a room shows of itself: photo, hats, who is in it.

use super::setup::*;
use xmpp_im::{avatar::AvatarError, vcard::VCard};
use xmpp_muc::payload::Hat;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nnot much of a picture";

async fn photo(events: &mut RoomEvents) -> Option<String> {
    until(events, |event| if let RoomEvent::Avatar(hash) = event { Some(hash) } else { None }).await
}

#[tokio::test]
async fn xep0486_the_photo_of_a_room_is_set_told_and_found_from_outside() {
    let server = server();
    let (hers, mut her_events, his, mut his_events) = two(&server).await;
    assert_eq!((within(his.vcard()).await.unwrap().is_none(), his.avatar_hash()), (true, None));
    assert!(his.supports("vcard-temp") && his.supports("urn:xmpp:hats:0"));
    assert!(matches!(within(hers.set_avatar(Some(b"<svg/>".to_vec()))).await, Err(AvatarError::UnknownType)));
    assert!(matches!(within(hers.set_avatar(Some(vec![0; 65_537]))).await, Err(AvatarError::TooLarge(65_537))));
    match within(his.set_avatar(Some(PNG.to_vec()))).await {
        Err(AvatarError::Request(RequestError::Refused(error))) => assert_eq!(error.condition, Condition::Forbidden),
        other => panic!("{other:?}"),
    }
    let card = VCard::write_with(|out| out.text_element("FN", "vcard-temp", "The balcony"));
    within(hers.set_vcard(&card)).await.unwrap();
    within(hers.set_avatar(Some(PNG.to_vec()))).await.unwrap();
    let hash = photo(&mut his_events).await;
    assert_eq!((photo(&mut her_events).await, his.avatar_hash()), (hash.clone(), hash.clone()));
    let found = within(his.avatar()).await.unwrap().unwrap();
    assert_eq!((found.data.as_slice(), Some(found.hash)), (PNG, hash.clone()));

    // From outside, before entering; and then there is nothing new.
    let muc = login(&server, "nurse");
    let info = within(muc.info(&balcony())).await.unwrap();
    assert_eq!(info.avatar_hashes().first(), hash.as_ref());
    assert_eq!(within(muc.avatar(&balcony())).await.unwrap().map(|photo| photo.data).as_deref(), Some(PNG));
    let (nurses, mut nurse_events) = within(muc.join(balcony(), "Nurse").into_future()).await.unwrap();
    assert_eq!(nurses.avatar_hash(), hash);

    within(hers.set_avatar(None)).await.unwrap();
    assert_eq!((photo(&mut his_events).await, photo(&mut nurse_events).await), (None, None));
    assert_eq!(within(nurses.vcard()).await.unwrap().unwrap().text("FN").as_deref(), Some("The balcony"));
    within(hers.set_vcard(&VCard::empty())).await.unwrap();
    assert!(within(nurses.vcard()).await.unwrap().is_none());
}

#[tokio::test]
async fn xep0486_a_room_that_does_not_say_its_photo_in_presence_is_asked() {
    // What such a room does: it says that it has changed, and no more.
    let server = server();
    let deaf = |r: &mut ClientRegistrar| {
        r.incoming(|stanza, _| match stanza {
            AnyStanza::Presence(presence) if presence.from().is_some_and(|from| from.resource().is_none()) => {
                Flow::Handled
            }
            _ => Flow::Continue,
        });
    };
    let (hers, _events) = within(login(&server, "juliet").join(balcony(), "Juliet").into_future()).await.unwrap();
    let (client, _cutter) = connect(&server, "romeo", |builder| builder.with(deaf).with(client_with(settings())));
    let joining = client.muc().unwrap().join(balcony(), "Romeo");
    let (his, mut his_events) = within(joining.into_future()).await.unwrap();
    within(hers.set_avatar(Some(PNG.to_vec()))).await.unwrap();
    let hash = photo(&mut his_events).await;
    assert!(hash.is_some() && hash == his.avatar_hash());
}

#[tokio::test]
async fn xep0317_hats_are_given_and_seen() {
    let server = server();
    let (hers, _her_events, his, mut his_events) = two(&server).await;
    let hat = |title: &str| Hat { uri: "urn:x:lover".into(), title: title.into(), hue: Some("12.5".into()) };
    let romeo = bare("romeo@localhost");
    assert!(within(his.hats()).await.unwrap().is_empty());
    for refused in [
        within(his.create_hat(&hat("Lover"))).await,
        within(his.assign_hat(&romeo, "urn:x:lover")).await,
        within(his.assigned_hats()).await.map(drop),
    ] {
        assert!(matches!(refused, Err(RequestError::Refused(error)) if error.condition == Condition::Forbidden));
    }
    match within(hers.assign_hat(&romeo, "urn:x:lover")).await {
        Err(RequestError::Refused(error)) => assert_eq!(error.condition, Condition::ItemNotFound),
        other => panic!("{other:?}"),
    }
    within(hers.create_hat(&hat("Lover"))).await.unwrap();
    within(hers.assign_hat(&romeo, "urn:x:lover")).await.unwrap();
    let worn = |event| match event {
        RoomEvent::Presence(who) if who.nick == "Romeo" => Some(who.hats.clone()),
        _ => None,
    };
    assert_eq!(until(&mut his_events, worn).await, [hat("Lover")]);
    assert_eq!((his.me().unwrap().hats.clone(), his.occupant("Juliet").unwrap().hats.len()), (vec![hat("Lover")], 0));
    assert_eq!(within(his.hats()).await.unwrap(), [hat("Lover")]);
    assert_eq!(within(hers.assigned_hats()).await.unwrap(), [(romeo.clone(), hat("Lover"))]);
    let muc = login(&server, "nurse");
    let (nurses, _events) = within(muc.join(balcony(), "Nurse").into_future()).await.unwrap();
    assert_eq!(nurses.occupant("Romeo").unwrap().hats, [hat("Lover")]);

    within(hers.create_hat(&hat("Banished"))).await.unwrap();
    assert_eq!(until(&mut his_events, worn).await, [hat("Banished")]);
    within(hers.unassign_hat(&romeo, "urn:x:lover")).await.unwrap();
    assert_eq!(until(&mut his_events, worn).await, []);
    within(hers.assign_hat(&romeo, "urn:x:lover")).await.unwrap();
    assert_eq!(until(&mut his_events, worn).await.len(), 1);
    let before = within(muc.info(&balcony())).await.unwrap();
    assert!(before.hats_hash().is_some());
    within(hers.destroy_hat("urn:x:lover")).await.unwrap();
    assert_eq!(until(&mut his_events, worn).await, []);
    assert!(within(hers.hats()).await.unwrap().is_empty());
}

#[tokio::test]
async fn xep0045_6_5_who_is_in_a_room_is_told_outside_where_its_owner_wants_that() {
    let server = server();
    let (hers, _her_events, _his, _his_events) = two(&server).await;
    let muc = login(&server, "nurse");
    assert!(within(muc.occupants_of(&balcony())).await.unwrap().is_empty());
    let mut form = within(hers.configuration()).await.unwrap();
    form.config.list_occupants = true;
    within(hers.configure(&form)).await.unwrap();
    assert_eq!(within(muc.occupants_of(&balcony())).await.unwrap(), ["Juliet", "Romeo"]);
    form.config.members_only = true;
    within(hers.set_affiliation(&bare("romeo@localhost"), Affiliation::Member, None)).await.unwrap();
    within(hers.configure(&form)).await.unwrap();
    assert!(within(muc.occupants_of(&balcony())).await.unwrap().is_empty(), "who may not enter is not told");
}
