//! Every cell of RFC 6121 §8.5.4, Table 1, and of §8.5 for presence and iq.

use super::*;
use xmpp_core::payload::disco::DiscoInfoQuery;
use xmpp_im::offline::{self, MemoryOffline, OfflineLimits, OfflineStore as _};

/// What comes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// These devices of the account have it, by their places.
    To(&'static [usize]),
    /// Its sender is told `service-unavailable`.
    Error,
    /// It is kept; without a store its sender is told.
    Kept,
    /// Nobody hears of it. Where there is a store it is as if it were kept, and else its sender is told.
    LikeKept,
    /// Nobody hears of it.
    Silence,
}
use Fate::*;

const BARE: &str = "@localhost";
const NO_MATCH: &str = "@localhost/nowhere";
const KINDS: [MessageType; 4] = [MessageType::Normal, MessageType::Chat, MessageType::Groupchat, MessageType::Headline];

/// Sends every kind of message to `to` and compares with what is expected, in the order of `KINDS`.
async fn check(
    romeo: &mut Device,
    devices: &mut [Device],
    kept: Option<&MemoryOffline>,
    to: &str,
    expected: [Fate; 4],
) {
    let account = jid(to).to_bare();
    for (kind, fate) in KINDS.into_iter().zip(expected) {
        let body = format!("{} to {to}", kind.as_str());
        romeo.send(xmpp_core::stanza::MessageBuilder::new(Some(jid(to)), kind).body(&body)).await;
        romeo.sync().await;
        let bounced = romeo.messages().await;
        let is_error = |one: &Message| {
            one.type_() == MessageType::Error
                && one.error().unwrap().condition == Condition::ServiceUnavailable
                && one.from() == Some(&jid(to))
        };
        assert!(bounced.iter().all(is_error), "{body}: {bounced:?}");
        let mut got = Vec::new();
        for (place, device) in devices.iter_mut().enumerate() {
            for message in device.messages().await {
                assert_eq!(text(&message), body);
                // §8.5: the address stays as it was written.
                assert_eq!(message.to(), Some(&jid(to)));
                got.push(place);
            }
        }
        let mut stored = Vec::new();
        if let Some(store) = kept {
            stored = store.first(&account, 9).await.unwrap();
            store.forget(&account).await.unwrap();
        }
        let outcome = (bounced.len(), got.as_slice(), stored.len());
        let expected = match (fate, kept.is_some()) {
            (To(places), _) => (0, places, 0),
            (Error, _) | (Kept | LikeKept, false) => (1, [].as_slice(), 0),
            (Kept, true) => (0, [].as_slice(), 1),
            (Silence, _) | (LikeKept, true) => (0, [].as_slice(), 0),
        };
        assert_eq!(outcome, expected, "{body}, expected {fate:?}, kept: {}", kept.is_some());
    }
}

async fn every_cell(offline: bool) {
    let kept = Arc::new(MemoryOffline::new());
    let mut builder = builder();
    if offline {
        builder = builder.with(offline::server(Arc::clone(&kept), OfflineLimits::default()));
    }
    let server = builder.build().unwrap();
    let kept = offline.then_some(&*kept);
    let mut romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;

    // The account does not exist: it looks like one where nobody is.
    for to in [BARE, NO_MATCH] {
        let fates = if to == BARE { [LikeKept, LikeKept, Error, Silence] } else { [Error, LikeKept, Error, Silence] };
        check(&mut romeo, &mut [], kept, &format!("nobody{to}"), fates).await;
    }
    // No active resource: none at all, or one that is merely connected.
    let mut devices = Vec::new();
    for _ in 0..2 {
        check(&mut romeo, &mut devices, kept, "juliet@localhost", [Kept, Kept, Error, Silence]).await;
        check(&mut romeo, &mut devices, kept, "juliet@localhost/nowhere", [Error, Kept, Error, Silence]).await;
        if devices.is_empty() {
            devices.push(Device::new(&server, "juliet@localhost/0").await);
        }
    }
    // §8.5.3.1: who is connected gets what is sent to its full address.
    check(&mut romeo, &mut devices, kept, "juliet@localhost/0", [To(&[0]); 4]).await;
    // Only negative ones.
    devices.push(Device::available(&server, "juliet@localhost/1", -1).await);
    check(&mut romeo, &mut devices, kept, "juliet@localhost", [Kept, Kept, Error, Silence]).await;
    check(&mut romeo, &mut devices, kept, "juliet@localhost/1", [To(&[1]); 4]).await;
    check(&mut romeo, &mut devices, kept, "juliet@localhost/nowhere", [Error, Kept, Error, Silence]).await;
    // One that is not negative.
    devices.push(Device::available(&server, "juliet@localhost/2", 0).await);
    check(&mut romeo, &mut devices, kept, "juliet@localhost", [To(&[2]), To(&[2]), Error, To(&[2])]).await;
    check(&mut romeo, &mut devices, kept, "juliet@localhost/2", [To(&[2]); 4]).await;
    check(&mut romeo, &mut devices, kept, "juliet@localhost/1", [To(&[1]); 4]).await;
    check(&mut romeo, &mut devices, kept, "juliet@localhost/nowhere", [Error, To(&[2]), Error, Silence]).await;
    // Several: the most available; headlines to all.
    devices.push(Device::available(&server, "juliet@localhost/3", 5).await);
    devices.push(Device::available(&server, "juliet@localhost/4", 5).await);
    let most: Fate = To(&[3, 4]);
    check(&mut romeo, &mut devices, kept, "juliet@localhost", [most, most, Error, To(&[2, 3, 4])]).await;
    check(&mut romeo, &mut devices, kept, "juliet@localhost/2", [To(&[2]); 4]).await;
    check(&mut romeo, &mut devices, kept, "juliet@localhost/nowhere", [Error, most, Error, Silence]).await;
}

#[tokio::test]
async fn rfc6121_8_5_4_every_cell_without_offline_storage() {
    every_cell(false).await;
}

#[tokio::test]
async fn rfc6121_8_5_4_every_cell_with_offline_storage() {
    every_cell(true).await;
}

#[tokio::test]
async fn rfc6121_8_5_errors_are_never_answered() {
    let kept = Arc::new(MemoryOffline::new());
    let server = builder().with(offline::server(Arc::clone(&kept), OfflineLimits::default())).build().unwrap();
    let mut romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
    let mut juliet = Device::available(&server, "juliet@localhost/balcony", 0).await;
    for to in ["juliet@localhost", "juliet@localhost/nowhere", "nobody@localhost", "nobody@localhost/x"] {
        let error = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
        romeo.send(xml(&format!("<message type='error' to='{to}' id='1'>{error}</message>"))).await;
    }
    romeo.sync().await;
    assert!(romeo.messages().await.is_empty());
    assert!(juliet.messages().await.is_empty());
}

#[tokio::test]
async fn rfc6121_8_5_presence() {
    let server = builder().build().unwrap();
    let mut romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
    let mut devices = Vec::new();
    devices.push(Device::new(&server, "juliet@localhost/0").await);
    for (place, priority) in [(1, -1), (2, 0), (3, 5)] {
        devices.push(Device::available(&server, &format!("juliet@localhost/{place}"), priority).await);
    }
    for device in &mut devices {
        device.stanzas().await;
    }
    // §8.5.2.1.2: by the bare address, to all that are available; by the full one to that one (§8.5.3.1); else to nobody.
    let cells: [(&str, &[usize]); 6] = [
        ("juliet@localhost", &[1, 2, 3]),
        ("juliet@localhost/0", &[0]),
        ("juliet@localhost/1", &[1]),
        ("juliet@localhost/nowhere", &[]),
        ("nobody@localhost", &[]),
        ("nobody@localhost/x", &[]),
    ];
    for (to, expected) in cells {
        for kind in [None, Some("unavailable")] {
            let kind_text = kind.map(|kind| format!(" type='{kind}'")).unwrap_or_default();
            romeo.send(xml(&format!("<presence to='{to}'{kind_text}/>"))).await;
            romeo.sync().await;
            let mut got = Vec::new();
            for (place, device) in devices.iter_mut().enumerate() {
                got.extend(device.presence().await.into_iter().map(|_| place));
            }
            assert_eq!(got, expected, "{to} {kind:?}");
        }
    }
    let (messages, presence) = romeo.stanzas().await;
    assert!(messages.is_empty() && presence.iter().all(|one| one.from() == Some(&romeo.jid)), "{presence:?}");
}

#[tokio::test]
async fn rfc6121_8_5_iqs() {
    let server = builder().build().unwrap();
    let romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
    let juliet = Device::available(&server, "juliet@localhost/balcony", 0).await;
    let unknown = |to: &str| {
        Iq::get(jid(to)).content(|w| {
            w.open("query", "urn:example:unknown");
            w.close();
        })
    };
    // §8.5.1, §8.5.2.1.3, §8.5.2.2.3, §8.5.3.2.3: an account that is there, one that is not, and resources that are not.
    for to in ["juliet@localhost", "tybalt@localhost", "nobody@localhost", "juliet@localhost/x", "nobody@localhost/x"] {
        assert_eq!(romeo.request(unknown(to)).await.unwrap_err(), Condition::ServiceUnavailable, "{to}");
        let info = Iq::get(jid(to)).payload(&DiscoInfoQuery::default());
        assert_eq!(romeo.request(info).await.unwrap_err(), Condition::ServiceUnavailable, "{to}");
    }
    // §8.5.3.1: to a resource that is there; it answers.
    romeo.request(Iq::get(juliet.jid.clone()).payload(&Ping)).await.unwrap();
}
