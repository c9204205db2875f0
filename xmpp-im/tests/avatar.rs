//! Photos in vCards, told in presence (XEP-0153): two people and their devices at the embedded server.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../../xmpp-core/tests/support/people.rs"]
mod people;

use people::{SECRET, accounts, bare, jid};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, Event},
    server::{Envelope, Kinds, Server, ServerRegistrar, Stage, Station, Verdict},
};
use xmpp_im::{
    ClientExt as _,
    account_xml::MemoryAccountXml,
    avatar::{self, Avatar, AvatarError, AvatarEvent, AvatarEvents},
    presence::{self, OwnPresence},
    roster::{self, Before, Item, MemoryRosters, Record, RosterLimits, RosterStore, Subscription},
    vcard::{self, VCard},
};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\na balcony";
const GIF: &[u8] = b"GIF89a a rose";

/// Where juliet and romeo see each other's presence; counts the questions for vCards.
async fn verona() -> (Server, Arc<AtomicUsize>) {
    let rosters = Arc::new(MemoryRosters::new());
    for (user, contact) in [("juliet", "romeo"), ("romeo", "juliet")] {
        let (user, contact) = (bare(&format!("{user}@localhost")), bare(&format!("{contact}@localhost")));
        let mut item = Item::new(jid(contact.as_str()));
        item.subscription = Subscription::Both;
        let keep = |_: &Before| Some(Record { item: Some(item), request: None });
        rosters.change(&user, &contact, &RosterLimits::default(), Box::new(keep)).await.unwrap();
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let counting = move |r: &mut ServerRegistrar| {
        r.station(Station::new(
            "test:count",
            Stage::FromClient,
            Kinds::IQ,
            move |envelope: &mut Envelope, _: &Server| {
                let root = envelope.stanza().root();
                if envelope.to().is_some() && root.child("vCard", vcard::NS).is_some() {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                Verdict::Continue
            },
        ));
    };
    let rosters: Arc<dyn RosterStore> = rosters;
    let server = Server::builder("localhost")
        .accounts(accounts(&["juliet@localhost", "romeo@localhost"]))
        .with(roster::server_with(rosters, RosterLimits::default()))
        .with(vcard::server(MemoryAccountXml::new(), vcard::MAX_BYTES))
        .with(counting);
    (server.build().unwrap(), asked)
}

/// A client that is available and has looked at its own vCard.
async fn login(server: &Server, address: &str) -> (Client, AvatarEvents) {
    let pipe = server.clone();
    let builder = Client::builder(jid(address), SECRET).no_reconnect().with(presence::client).with(avatar::client);
    let (client, mut events) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
    let mut news = client.avatars().unwrap().watch();
    assert!(matches!(people::next(&mut events).await, Some(Event::Online { .. })));
    client.presence().unwrap().set(OwnPresence::default()).await.unwrap();
    tokio::spawn(async move { while events.next().await.is_some() {} });
    assert!(matches!(heard(&mut news).await, AvatarEvent::Own(_)));
    (client, news)
}

async fn heard(news: &mut AvatarEvents) -> AvatarEvent {
    timeout(Duration::from_secs(60), news.next()).await.unwrap().unwrap()
}

/// What is heard of our own photo next.
async fn own(news: &mut AvatarEvents) -> Option<String> {
    loop {
        if let AvatarEvent::Own(hash) = heard(news).await {
            return hash;
        }
    }
}

/// What is heard of juliet's photo next.
async fn hers(news: &mut AvatarEvents) -> Option<String> {
    loop {
        if let AvatarEvent::Changed(who, hash) = heard(news).await {
            assert_eq!(who, bare("juliet@localhost"));
            return hash;
        }
    }
}

fn hash(image: &[u8]) -> String {
    Avatar::new(image.to_vec()).hash
}

#[tokio::test]
async fn xep0153_3_a_photo_is_published_told_fetched_once_and_removed() {
    let (server, asked) = verona().await;
    let (romeo, mut his) = login(&server, "romeo@localhost/garden").await;
    let (juliet, mut news) = login(&server, "juliet@localhost/balcony").await;
    assert_eq!(hers(&mut his).await, None, "there is none, and that is known");
    let (avatars, seen) = (juliet.avatars().unwrap(), romeo.avatars().unwrap());
    vcard::set(&juliet, &VCard::write_with(|out| out.text_element("FN", vcard::NS, "Juliet"))).await.unwrap();
    avatars.publish(PNG.to_vec()).await.unwrap();
    assert_eq!((own(&mut news).await, avatars.own()), (Some(hash(PNG)), Some(hash(PNG))));
    assert_eq!(hers(&mut his).await, Some(hash(PNG)));
    let her = bare("juliet@localhost");
    let (one, two) = tokio::join!(seen.of(&her), seen.of(&her));
    let photo = one.unwrap().unwrap();
    assert_eq!((photo.data.as_slice(), photo.media_type()), (PNG, Some("image/png")));
    assert!(Arc::ptr_eq(&photo, &two.unwrap().unwrap()));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "two who want it, one question");
    assert_eq!(vcard::get(&juliet, None).await.unwrap().text("FN").as_deref(), Some("Juliet"), "the rest stays");
    avatars.publish(GIF.to_vec()).await.unwrap();
    assert_eq!(hers(&mut his).await, Some(hash(GIF)));
    assert_eq!(seen.of(&her).await.unwrap().unwrap().data, GIF);
    avatars.remove().await.unwrap();
    assert_eq!(hers(&mut his).await, None);
    assert!(seen.of(&her).await.unwrap().is_none());
    // The first one again: it is still there.
    avatars.publish(PNG.to_vec()).await.unwrap();
    assert_eq!(hers(&mut his).await, Some(hash(PNG)));
    assert!(Arc::ptr_eq(&photo, &seen.of(&her).await.unwrap().unwrap()));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn xep0153_4_3_what_is_too_large_or_no_image_is_not_published() {
    let (server, _) = verona().await;
    let (juliet, _) = login(&server, "juliet@localhost").await;
    let avatars = juliet.avatars().unwrap();
    let large = [PNG, &vec![0; avatar::MAX_BYTES]].concat();
    assert!(matches!(avatars.publish(large).await, Err(AvatarError::TooLarge(_))));
    assert!(matches!(avatars.publish(b"a poem".to_vec()).await, Err(AvatarError::UnknownType)));
    assert!(vcard::get(&juliet, None).await.is_err(), "nothing is stored");
}

#[tokio::test]
async fn xep0153_4_2_two_devices_agree_on_what_the_vcard_has() {
    let (server, _) = verona().await;
    let (phone, mut phones) = login(&server, "juliet@localhost/phone").await;
    let (laptop, mut laptops) = login(&server, "juliet@localhost/laptop").await;
    phone.avatars().unwrap().publish(PNG.to_vec()).await.unwrap();
    assert_eq!(own(&mut phones).await, Some(hash(PNG)));
    // The laptop said that there is none: it says that it does not know, and then what it has found.
    loop {
        if own(&mut laptops).await == Some(hash(PNG)) {
            break;
        }
    }
    laptop.avatars().unwrap().publish(GIF.to_vec()).await.unwrap();
    let mut said = Vec::new();
    while said.last() != Some(&Some(hash(GIF))) {
        said.push(own(&mut phones).await);
    }
    assert_eq!(said, [None, Some(hash(GIF))], "reset, then what the vCard has");
    assert_eq!(laptop.avatars().unwrap().own(), Some(hash(GIF)), "who published is not moved");
}

#[tokio::test]
async fn xep0153_4_2_a_device_that_knows_nothing_of_photos_silences_the_others() {
    let (server, _) = verona().await;
    let (juliet, mut news) = login(&server, "juliet@localhost/balcony").await;
    juliet.avatars().unwrap().publish(PNG.to_vec()).await.unwrap();
    assert_eq!(own(&mut news).await, Some(hash(PNG)));
    let (old, _events) = people::login(&server, "juliet@localhost/old").await;
    old.send(xmpp_core::stanza::Presence::available()).await.unwrap();
    assert_eq!(own(&mut news).await, None, "it may change the vCard");
    let other = VCard::write_with(|out| {
        out.open("PHOTO", vcard::NS);
        out.text_element("BINVAL", vcard::NS, "R0lGODlhIGEgcm9zZQ==");
        out.close();
    });
    vcard::set(&old, &other).await.unwrap();
    old.close().await;
    assert_eq!(own(&mut news).await, Some(hash(GIF)), "it is gone, and has");
}

#[tokio::test]
async fn xep0153_3_a_photo_with_another_hash_is_not_shown() {
    let (server, _) = verona().await;
    let (romeo, mut his) = login(&server, "romeo@localhost").await;
    let pipe = server.clone();
    let builder = Client::builder(jid("juliet@localhost/x"), SECRET).no_reconnect();
    let builder = builder.with(|r: &mut xmpp_core::client::ClientRegistrar| {
        r.with_presence(|out| {
            out.open("x", avatar::NS);
            out.text_element("photo", avatar::NS, &hash(PNG));
            out.close();
        });
    });
    let (juliet, mut events) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
    assert!(matches!(people::next(&mut events).await, Some(Event::Online { .. })));
    juliet.send(xmpp_core::stanza::Presence::available()).await.unwrap();
    assert_eq!(hers(&mut his).await, Some(hash(PNG)));
    let (avatars, her) = (romeo.avatars().unwrap(), bare("juliet@localhost"));
    assert!(matches!(avatars.of(&her).await, Err(AvatarError::Request(_))), "there is no vCard");
    let other = VCard::write_with(|out| {
        out.open("PHOTO", vcard::NS);
        out.text_element("BINVAL", vcard::NS, "R0lGODlhIGEgcm9zZQ==");
        out.close();
    });
    vcard::set(&juliet, &other).await.unwrap();
    assert!(matches!(avatars.of(&her).await, Err(AvatarError::Mismatch)));
}
