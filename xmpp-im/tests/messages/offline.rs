//! Offline messages (XEP-0160).

use super::*;
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;
use xmpp_core::payload::{
    DateTime,
    delay::Delay,
    disco::{DiscoInfo, DiscoInfoQuery},
};
use xmpp_core::stream::{StreamCondition, StreamError};
use xmpp_im::{
    Stored,
    offline::{self, MemoryOffline, OfflineLimits, OfflineMessage, OfflineStore},
};

fn server(limits: OfflineLimits) -> (Server, Arc<MemoryOffline>) {
    let store = Arc::new(MemoryOffline::new());
    (builder().with(offline::server(Arc::clone(&store), limits)).build().unwrap(), store)
}

async fn kept(store: &MemoryOffline, account: &str) -> usize {
    store.first(&BareJid::new(account).unwrap(), 10_000).await.unwrap().len()
}

async fn tell(device: &Device, to: &str, bodies: &[&str]) {
    for body in bodies {
        device.send(Message::chat(jid(to)).body(body)).await;
    }
    device.sync().await;
}

#[tokio::test]
async fn xep0160_2_messages_wait_for_a_resource_that_is_not_negative() {
    let (server, store) = server(OfflineLimits::default());
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let before = DateTime::from_unix(1_700_000_000, 0).unwrap();
    romeo
        .send(xml("<message to='juliet@localhost' id='a' type='chat' xml:lang='it'><body>1 &lt; 2</body></message>"))
        .await;
    tell(&romeo, "juliet@localhost/gone", &["2"]).await;
    romeo.send(Message::normal(jid("juliet@localhost")).body("3")).await;
    romeo.sync().await;
    assert_eq!(kept(&store, "juliet@localhost").await, 3);

    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    juliet.become_available(-1).await;
    assert!(juliet.messages().await.is_empty(), "a negative priority");
    juliet.become_available(0).await;
    let messages = juliet.messages().await;
    assert_eq!(messages.iter().map(text).collect::<Vec<_>>(), ["1 < 2", "2", "3"]);
    for message in &messages {
        let delay = message.payload::<Delay>().unwrap().unwrap();
        assert_eq!(delay.from, Some(jid("localhost")));
        assert_eq!(delay.reason.as_deref(), Some("Offline Storage"));
        assert!(delay.stamp > before);
        assert_eq!(message.from(), Some(&romeo.jid));
    }
    assert_eq!(messages[0].id().as_deref(), Some("a"));
    assert_eq!(messages[0].lang().as_deref(), Some("it"));
    assert_eq!(messages[1].to(), Some(&jid("juliet@localhost/gone")));
    assert_eq!(kept(&store, "juliet@localhost").await, 0);
    // Once: not again when it says something new of itself, nor to another.
    juliet.become_available(1).await;
    let mut other = Device::available(&server, "juliet@localhost/chamber", 0).await;
    assert!(juliet.messages().await.is_empty() && other.messages().await.is_empty());
    assert!(romeo.messages().await.is_empty());
}

#[tokio::test]
async fn xep0160_3_what_is_not_kept() {
    let (server, store) = server(OfflineLimits::default());
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let composing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    romeo.send(xml(&format!("<message to='juliet@localhost' type='chat'>{composing}</message>"))).await;
    romeo.send(xml("<message to='juliet@localhost' type='headline'><body>news</body></message>")).await;
    assert!(romeo.messages().await.is_empty(), "nobody has to know");
    let secret = "<body>burn this</body><no-store xmlns='urn:xmpp:hints'/>";
    for (to, kind, content) in [
        ("juliet@localhost", "chat", secret),
        ("nobody@localhost", "chat", secret),
        ("juliet@localhost", "groupchat", "<body>all</body>"),
    ] {
        romeo.send(xml(&format!("<message to='{to}' type='{kind}' id='x'>{content}</message>"))).await;
        let bounced = romeo.messages().await;
        assert_eq!(bounced.len(), 1, "{to} {kind}");
        assert_eq!(bounced[0].error().unwrap().condition, Condition::ServiceUnavailable);
    }
    assert_eq!(kept(&store, "juliet@localhost").await + kept(&store, "nobody@localhost").await, 0);
}

#[tokio::test]
async fn xep0160_4_the_feature_is_advertised() {
    let (server, _) = server(OfflineLimits::default());
    let romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let info: DiscoInfo =
        romeo.client.query(Iq::get(jid("localhost")).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(info.features.iter().any(|feature| feature.var == "msgoffline"));
}

#[tokio::test]
async fn two_resources_that_come_at_once_get_each_message_once() {
    let (server, store) = server(OfflineLimits::default());
    let romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let bodies: Vec<String> = (0..250).map(|n| n.to_string()).collect();
    tell(&romeo, "juliet@localhost", &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut one = Device::new(&server, "juliet@localhost/one").await;
    let mut two = Device::new(&server, "juliet@localhost/two").await;
    tokio::join!(one.become_available(0), two.become_available(0));
    let (first, second) = (one.bodies().await, two.bodies().await);
    assert!(first.is_empty() || second.is_empty(), "all to one");
    assert_eq!([first, second].concat(), bodies);
    assert_eq!(kept(&store, "juliet@localhost").await, 0);
}

#[tokio::test]
async fn what_a_lost_session_never_got_comes_again_in_order_with_its_first_stamp() {
    let (server, store) = server(OfflineLimits::default());
    let romeo = Device::new(&server, "romeo@localhost/orchard").await;
    tell(&romeo, "juliet@localhost", &["1", "2", "3"]).await;
    let stamps: Vec<DateTime> = {
        let user = BareJid::new("juliet@localhost").unwrap();
        store.first(&user, 9).await.unwrap().iter().map(|message| message.at).collect()
    };
    // It reads, and acknowledges nothing.
    let deaf = Device::with(&server, "juliet@localhost/deaf", |builder| builder.manual_acks()).await;
    deaf.become_available(0).await;
    assert_eq!(kept(&store, "juliet@localhost").await, 0, "its session has them");
    let mut negative = Device::available(&server, "juliet@localhost/negative", -1).await;
    assert!(server.disconnect(&deaf.jid, &StreamError::new(StreamCondition::Reset)));
    while kept(&store, "juliet@localhost").await < 3 {
        tokio::task::yield_now().await;
    }
    tell(&romeo, "juliet@localhost", &["4"]).await;
    let mut juliet = Device::available(&server, "juliet@localhost/balcony", 0).await;
    let messages = juliet.messages().await;
    assert_eq!(messages.iter().map(text).collect::<Vec<_>>(), ["1", "2", "3", "4"]);
    for (message, stamp) in messages.iter().zip(stamps) {
        let delays: Vec<_> = message.root().children().filter(|child| child.name() == "delay").collect();
        assert_eq!(delays.len(), 1, "one stamp");
        assert_eq!(message.payload::<Delay>().unwrap().unwrap().stamp, stamp);
    }
    assert!(negative.messages().await.is_empty());

    // When another is there to take them, they need not wait.
    let deaf = Device::with(&server, "juliet@localhost/deaf", |builder| builder.manual_acks()).await;
    deaf.become_available(5).await;
    tell(&romeo, "juliet@localhost", &["5", "6"]).await;
    assert!(juliet.messages().await.is_empty());
    assert!(server.disconnect(&deaf.jid, &StreamError::new(StreamCondition::Reset)));
    assert_eq!([text(&juliet.message().await), text(&juliet.message().await)], ["5", "6"]);
}

#[tokio::test]
async fn abuse_a063_a_forged_stamp_of_the_server_is_removed() {
    let (server, _) = server(OfflineLimits::default());
    let romeo = Device::new(&server, "romeo@localhost/orchard").await;
    tell(&romeo, "juliet@localhost", &["first"]).await;
    let forged = "<delay xmlns='urn:xmpp:delay' from='localhost' stamp='9999-12-31T00:00:00Z'/>";
    let of_others = "<delay xmlns='urn:xmpp:delay' from='room@muc.example' stamp='2002-09-10T23:08:25Z'/>";
    let message = |to: &str| {
        xml(&format!("<message to='{to}' type='chat'><body>forged</body>{forged}{of_others}{forged}</message>"))
    };
    romeo.send(message("juliet@localhost")).await;
    tell(&romeo, "juliet@localhost", &["last"]).await;
    let mut juliet = Device::available(&server, "juliet@localhost/balcony", 0).await;
    let messages = juliet.messages().await;
    assert_eq!(messages.iter().map(text).collect::<Vec<_>>(), ["first", "forged", "last"]);
    let stamps = |message: &Message| -> Vec<(String, bool)> {
        let delays = message.root().children().filter(|child| child.name() == "delay");
        let read = delays
            .map(|delay| (delay.attr("from").unwrap().into_owned(), delay.attr("stamp").unwrap().starts_with('2')));
        read.collect()
    };
    assert_eq!(stamps(&messages[1]), [("room@muc.example".to_owned(), true), ("localhost".to_owned(), true)]);
    romeo.send(message("juliet@localhost/balcony")).await;
    romeo.sync().await;
    assert_eq!(stamps(&juliet.messages().await[0]), [("room@muc.example".to_owned(), true)], "at once too");
}

#[tokio::test]
async fn abuse_a068_a_stranger_cannot_fill_the_store() {
    let mut limits = OfflineLimits::default();
    (limits.messages, limits.messages_per_sender, limits.bytes) = (5, 3, 2_000);
    let (server, store) = server(limits);
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut tybalt = Device::new(&server, "tybalt@localhost/street").await;
    let refused = async |device: &mut Device, count: usize| {
        let bounced = device.messages().await;
        assert_eq!(bounced.len(), count);
        for one in bounced {
            assert_eq!(one.error().unwrap().condition, Condition::ServiceUnavailable);
        }
    };
    tell(&tybalt, "juliet@localhost", &["1", "2", "3"]).await;
    refused(&mut tybalt, 0).await;
    tell(&tybalt, "juliet@localhost", &["of one sender"]).await;
    refused(&mut tybalt, 1).await;
    tell(&romeo, "juliet@localhost", &["x".repeat(2_000).as_str(), "4", "5", "of the account"]).await;
    refused(&mut romeo, 2).await;
    assert_eq!(kept(&store, "juliet@localhost").await, 5);
    let mut juliet = Device::available(&server, "juliet@localhost/balcony", 0).await;
    assert_eq!(juliet.bodies().await, ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn an_account_that_is_removed_leaves_no_messages() {
    let (server, store) = server(OfflineLimits::default());
    let romeo = Device::new(&server, "romeo@localhost/orchard").await;
    tell(&romeo, "juliet@localhost", &["1"]).await;
    server.account_removed(&BareJid::new("juliet@localhost").unwrap()).await;
    assert_eq!(kept(&store, "juliet@localhost").await, 0);
}

/// A store that panics when it is read, as often as it is told to, and then is slow once.
#[derive(Default)]
struct Bad {
    messages: MemoryOffline,
    panics: AtomicUsize,
    slow: Mutex<Option<Arc<Notify>>>,
}

impl OfflineStore for Bad {
    fn keep<'a>(
        &'a self,
        user: &'a BareJid,
        message: OfflineMessage,
        again: bool,
        limits: &'a OfflineLimits,
    ) -> Stored<'a, bool> {
        let slow = self.slow.lock().unwrap().take();
        Box::pin(async move {
            if let Some(bell) = slow {
                bell.notified().await;
            }
            self.messages.keep(user, message, again, limits).await
        })
    }
    fn first<'a>(&'a self, user: &'a BareJid, most: usize) -> Stored<'a, Vec<OfflineMessage>> {
        let panics = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let first = self.messages.first(user, most);
        Box::pin(async move {
            if panics {
                std::panic::resume_unwind(Box::new("a fault in the store"));
            }
            first.await
        })
    }
    fn remove<'a>(&'a self, user: &'a BareJid, numbers: &'a [i64]) -> Stored<'a, ()> {
        self.messages.remove(user, numbers)
    }
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        self.messages.forget(user)
    }
}

#[tokio::test]
async fn abuse_a105_an_account_is_not_busy_for_ever_when_a_delivery_panics() {
    let store = Arc::new(Bad::default());
    let server = builder().with(offline::server(Arc::clone(&store), OfflineLimits::default())).build().unwrap();
    let romeo = Device::new(&server, "romeo@localhost/orchard").await;
    tell(&romeo, "juliet@localhost", &["1", "2"]).await;
    // Before the presence, and behind it.
    store.panics.store(2, Ordering::SeqCst);
    let mut juliet = Device::available(&server, "juliet@localhost/balcony", 0).await;
    assert!(juliet.bodies().await.is_empty());
    store.panics.store(0, Ordering::SeqCst);
    juliet.become_available(-1).await;
    juliet.become_available(0).await;
    assert_eq!(juliet.bodies().await, ["1", "2"]);
}

#[tokio::test]
async fn an_account_that_is_removed_while_a_message_is_kept_leaves_none() {
    let accounts = Arc::new(MemoryAccounts::new());
    for name in ["juliet", "romeo"] {
        accounts.set_password(BareJid::new(&format!("{name}@localhost")).unwrap(), "secret");
    }
    let (store, bell) = (Arc::new(Bad::default()), Arc::new(Notify::new()));
    *store.slow.lock().unwrap() = Some(Arc::clone(&bell));
    let builder = Server::builder("localhost").accounts(Arc::clone(&accounts)).with(xmpp_im::delivery::server);
    let server = builder.with(offline::server(Arc::clone(&store), OfflineLimits::default())).build().unwrap();
    let romeo = Device::new(&server, "romeo@localhost/orchard").await;
    romeo.send(Message::chat(jid("juliet@localhost")).body("1")).await;
    while store.slow.lock().unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    let juliet = BareJid::new("juliet@localhost").unwrap();
    assert!(accounts.remove(&juliet));
    server.account_removed(&juliet).await;
    bell.notify_one();
    romeo.sync().await;
    assert_eq!(kept(&store.messages, "juliet@localhost").await, 0);
}

#[tokio::test]
async fn abuse_a071_a_message_that_was_kept_is_not_delivered_once_its_sender_is_blocked() {
    use xmpp_im::blocking::{Block, Blocking, Item, MemoryBlocking};
    let store = Arc::new(MemoryOffline::new());
    let builder = builder().with(offline::server(Arc::clone(&store), OfflineLimits::default()));
    let server = builder.with(Blocking::new(MemoryBlocking::new()).server()).build().unwrap();
    let romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let tybalt = Device::new(&server, "tybalt@localhost/x").await;
    let other = Device::new(&server, "tybalt@localhost/y").await;
    tell(&romeo, "juliet@localhost", &["1"]).await;
    tell(&tybalt, "juliet@localhost", &["2"]).await;
    tell(&other, "juliet@localhost", &["3"]).await;
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    let block = Block { items: vec![Item::new("tybalt@localhost/x")] };
    juliet.request(Iq::set_own().payload(&block)).await.unwrap();
    juliet.become_available(0).await;
    assert_eq!(juliet.bodies().await, ["1", "3"]);
    assert_eq!(kept(&store, "juliet@localhost").await, 0);
}

#[tokio::test]
async fn abuse_a068_each_limit_is_met_exactly() {
    let body = "x".repeat(100);
    let of = |change: fn(&mut OfflineLimits)| {
        let mut limits = OfflineLimits::default();
        change(&mut limits);
        limits
    };
    let count = |messages: &[Message]| messages.iter().filter(|one| one.type_() == MessageType::Error).count();
    // (limits, from Romeo, from Tybalt, kept)
    let cases = [
        (of(|limits| limits.messages = 3), 2, 1, 3),
        (of(|limits| limits.messages = 3), 2, 2, 3),
        (of(|limits| limits.messages_per_sender = 2), 2, 2, 4),
        (of(|limits| limits.messages_per_sender = 2), 3, 3, 4),
    ];
    for (limits, his, theirs, expected) in cases {
        let (server, store) = server(limits.clone());
        let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
        let mut tybalt = Device::new(&server, "tybalt@localhost/x").await;
        tell(&romeo, "juliet@localhost", &vec![body.as_str(); his]).await;
        tell(&tybalt, "juliet@localhost", &vec![body.as_str(); theirs]).await;
        let bounced = count(&romeo.messages().await) + count(&tybalt.messages().await);
        assert_eq!(kept(&store, "juliet@localhost").await, expected, "{limits:?}");
        assert_eq!(bounced, his + theirs - expected, "what is not kept comes back: {limits:?}");
    }
    // To the byte.
    let (roomy, store) = server(OfflineLimits::default());
    let romeo = Device::new(&roomy, "romeo@localhost/orchard").await;
    tell(&romeo, "juliet@localhost", &[&body]).await;
    let first = store.first(&BareJid::new("juliet@localhost").unwrap(), 1).await.unwrap();
    let size = first[0].stanza.len();
    for (bytes, expected) in [(2 * size - 1, 1), (2 * size, 2)] {
        let mut limits = OfflineLimits::default();
        limits.bytes = bytes;
        let (server, store) = server(limits);
        let romeo = Device::new(&server, "romeo@localhost/orchard").await;
        tell(&romeo, "juliet@localhost", &[&body, &body]).await;
        assert_eq!(kept(&store, "juliet@localhost").await, expected, "{bytes} of {size}");
    }
}
