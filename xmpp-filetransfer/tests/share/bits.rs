//! Small data from client to client (XEP-0231).

use super::House;
use std::time::Duration;
use xmpp_core::{
    client::{Client, ClientRegistrar, Events},
    extension::Target,
    jid::Jid,
    payload::{
        Base64,
        disco::{DiscoInfo, DiscoInfoQuery},
    },
    stanza::{Iq, Message},
};
use xmpp_filetransfer::share::{
    Bits, ContentId, Dimensions, Thumbnail,
    bob::client::{BitsClient as _, BitsError, BitsSettings, WithoutBits, client_with},
};

/// A peer that answers whatever it likes.
async fn peer(house: &House, answer: impl Fn(Bits) -> Bits + Send + Sync + 'static) -> (Client, Events) {
    let answers = move |r: &mut ClientRegistrar| r.iq_get::<Bits, _>(Target::Client, move |_, asked| Ok(answer(asked)));
    House::connect(house.builder("romeo").with(answers)).await
}

fn address(client: &Client) -> Jid {
    client.jid().unwrap().into()
}

#[tokio::test]
async fn xep0231_2_3_data_are_offered_asked_for_and_kept() {
    let house = House::new();
    let ((juliet, _events), (romeo, _others)) = (house.client("juliet").await, house.client("romeo").await);
    let (ours, theirs) = (juliet.bits().unwrap(), romeo.bits().unwrap());
    let info: DiscoInfo = juliet.query(Iq::get(address(&romeo)).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(info.has_feature("urn:xmpp:bob"));
    let cid = theirs.offer("image/png", b"spot".to_vec()).unwrap();
    let got = ours.get(address(&romeo), &cid).await.unwrap();
    assert_eq!((got.content.0.as_slice(), got.max_age), (b"spot".as_slice(), Some(86_400)));
    // Now it is here, whoever is asked.
    assert!(theirs.withdraw(&cid));
    assert_eq!(ours.get(address(&romeo), &cid).await.unwrap(), got);
    let other = ContentId::of(b"other");
    assert!(matches!(ours.get(address(&romeo), &other).await, Err(BitsError::NotFound)));
    // Names of another form are not found either.
    let odd = Bits { cid: "spot.png".to_owned(), ..Bits::request(&cid) };
    let refused = juliet.query::<Bits>(Iq::get(address(&romeo)).payload(&odd)).await.unwrap_err();
    assert!(refused.to_string().contains("item-not-found"), "{refused}");
    for (type_, size) in [("image/png", 8 * 1024 + 1), ("picture", 1), ("image/", 1), ("a b/c", 1)] {
        assert!(theirs.offer(type_, vec![0; size]).is_err(), "{type_}");
    }
    let (nobody, _) = House::connect(house.builder("juliet")).await;
    assert_eq!(nobody.bits().unwrap_err(), WithoutBits);
}

#[tokio::test]
async fn abuse_a_peer_that_answers_something_else_is_not_believed() {
    let house = House::new();
    let asked = ContentId::of(b"asked");
    let genuine = || Bits::new("image/png", b"asked".to_vec());
    type Case = (&'static str, fn(Bits) -> Bits, fn(&BitsError) -> bool);
    let cases: [Case; 6] = [
        (
            "other bytes",
            |asked| Bits { cid: asked.cid, ..Bits::new("image/png", b"other".to_vec()) },
            |error| matches!(error, BitsError::Forged),
        ),
        ("another name", |_| Bits::new("image/png", b"other".to_vec()), |error| matches!(error, BitsError::Forged)),
        ("nothing", |asked| asked, |error| matches!(error, BitsError::Forged)),
        (
            "huge",
            |asked| Bits { cid: asked.cid, ..Bits::new("image/png", vec![0; 100_000]) },
            |error| matches!(error, BitsError::TooLarge { limit: 65_536 }),
        ),
        (
            "no type",
            |_| Bits { type_: None, ..Bits::new("", b"asked".to_vec()) },
            |error| matches!(error, BitsError::Type(_)),
        ),
        (
            "no picture",
            |_| Bits::new("text/html", b"asked".to_vec()),
            |error| matches!(error, BitsError::Type(type_) if type_ == "text/html"),
        ),
    ];
    for (what, answer, is_right) in cases {
        let (juliet, _events) = house.client("juliet").await;
        let (romeo, _others) = peer(&house, answer).await;
        let thumbnail = Thumbnail { uri: asked.uri(), media_type: None, width: None, height: None };
        let error = juliet.bits().unwrap().picture(address(&romeo), &thumbnail).await.unwrap_err();
        assert!(is_right(&error), "{what}: {error:?}");
        romeo.close().await;
        // Nothing of it is kept but what is genuine.
        if what != "no picture" {
            let (romeo, _others) = peer(&house, move |_| genuine()).await;
            assert_eq!(juliet.bits().unwrap().get(address(&romeo), &asked).await.unwrap().content.0, b"asked");
            romeo.close().await;
        }
        juliet.close().await;
    }
    let (juliet, _events) = house.client("juliet").await;
    let unknown: ContentId = "md2+00112233445566778899@bob.xmpp.org".parse().unwrap();
    let error = juliet.bits().unwrap().get("romeo@localhost/x".parse().unwrap(), &unknown).await.unwrap_err();
    assert!(matches!(&error, BitsError::UnknownFunction(name) if name == "md2"), "{error:?}");
    let thumbnail = Thumbnail { uri: "https://x.example/".to_owned(), media_type: None, width: None, height: None };
    let error = juliet.bits().unwrap().picture("romeo@localhost/x".parse().unwrap(), &thumbnail).await.unwrap_err();
    assert!(matches!(error, BitsError::Name(_)), "{error:?}");
}

#[tokio::test]
async fn xep0231_2_4_what_is_of_the_moment_is_asked_for_again() {
    let house = House::new();
    let (juliet, _events) = house.client("juliet").await;
    let (romeo, _others) = peer(&house, |_| Bits { max_age: Some(0), ..Bits::new("image/png", b"now".to_vec()) }).await;
    let there = address(&romeo);
    let now = ContentId::of(b"now");
    let bits = juliet.bits().unwrap();
    assert_eq!(bits.get(there.clone(), &now).await.unwrap().max_age, Some(0));
    romeo.close().await;
    assert!(bits.get(there, &now).await.is_err(), "it was not kept");
}

#[tokio::test]
async fn xep0231_2_1_what_a_message_brings_along_is_kept_if_it_is_genuine() {
    let house = House::new();
    let mut settings = BitsSettings::default();
    (settings.kept, settings.max_bytes, settings.kept_for) = (4, 100, Duration::from_secs(60));
    let (juliet, _events) = House::connect(house.builder("juliet").with(client_with(settings))).await;
    let bits = juliet.bits().unwrap();
    let nobody: Jid = "romeo@localhost/gone".parse().unwrap();
    let data = |n: u8| Bits::new("image/png", vec![n; 10]);
    let told = |what: &[Bits]| {
        let message = what.iter().fold(Message::chat(nobody.clone()), |message, bits| message.payload(bits));
        bits.keep(&message.build())
    };
    let forged = Bits { content: Base64(vec![9; 10]), ..data(1) };
    assert_eq!(told(&[forged, Bits::new("image/png", vec![1; 101]), Bits { type_: None, ..data(2) }]), 0);
    assert_eq!(told(&[data(1), data(2)]), 2);
    assert_eq!(bits.get(nobody.clone(), &ContentId::of(&[1; 10])).await.unwrap(), data(1));
    // However many come, what is looked at is there, and not much else.
    for n in 3..50 {
        told(&[data(n)]);
        assert!(bits.get(nobody.clone(), &ContentId::of(&[1; 10])).await.is_ok());
    }
    assert!(bits.get(nobody.clone(), &ContentId::of(&[2; 10])).await.is_err());
    let size = Dimensions { width: 1, height: 1 };
    assert!(bits.thumbnail("image/png", vec![0; 10], size).unwrap().uri.starts_with("cid:sha1+"));
}
