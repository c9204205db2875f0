//! What others send must neither be lost, nor come to whom it is not for, nor stand in the way of what comes after.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod stage;

use stage::{
    Device, settle,
    support::{Raw, builder},
};
use std::{future::Future, sync::Arc};
use xmpp_core::{
    client::{Client, Event},
    jid::BareJid,
    payload::ping::Ping,
    server::Server,
    stanza::{Iq, Presence},
};
use xmpp_im::Stored;
use xmpp_im::{
    account_xml::MemoryAccountXml,
    archive::{self, ArchiveSettings, ArchiveStore as _, MemoryArchive, Since},
    carbons,
    chat::{self, ChatClient, ChatSettings},
    delivery,
    last_activity::{self, LastActivityStore as _, MemoryLastActivity},
    offline::{self, MemoryOffline, OfflineLimits, OfflineStore as _},
    presence, private,
};

const JULIET: &str = "juliet@localhost";

struct Stores {
    archive: Arc<MemoryArchive>,
    offline: Arc<MemoryOffline>,
}

fn server() -> (Server, Stores) {
    let stores = Stores { archive: Arc::default(), offline: Arc::default() };
    let builder = builder().with(presence::server).with(delivery::server).with(carbons::server);
    let builder = builder.with(archive::server(stores.archive.clone(), ArchiveSettings::default()));
    let builder = builder.with(offline::server(stores.offline.clone(), OfflineLimits::default()));
    (builder.with(private::server(MemoryAccountXml::new(), private::QUOTA)).build().unwrap(), stores)
}

fn bare(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

async fn offline(stores: &Stores) -> Vec<String> {
    let kept = stores.offline.first(&bare(JULIET), 1000).await.unwrap();
    kept.into_iter().map(|message| message.stanza).collect()
}

/// Gives what runs in tasks the time that it needs.
async fn eventually<F: Future<Output = bool>>(what: &str, f: impl Fn() -> F) {
    for _ in 0..200 {
        if f().await {
            return;
        }
        settle().await;
    }
    panic!("{what}");
}

/// As many elements as a client may send, one of them the body.
fn elements(text: &str) -> String {
    format!(
        "<message to='{JULIET}' type='chat'><body>{text}</body><m xmlns='urn:example'>{}</m></message>",
        "<n/>".repeat(8189)
    )
}

/// As deep as a client may send.
fn depth(text: &str) -> String {
    let (open, close) = ("<n>".repeat(126), "</n>".repeat(126));
    format!("<message to='{JULIET}' type='chat'><body>{text}</body><m xmlns='urn:example'>{open}{close}</m></message>")
}

/// As many attributes as a client may send, and namespaces that are declared outside.
fn attributes(text: &str) -> String {
    let attributes: String = (0..63).map(|n| format!(" a{n}=''")).collect();
    format!(
        "<message to='{JULIET}' type='chat'><body>{text}</body><o:m xmlns:o='urn:example'><o:n o:x=''{attributes}/></o:m>\
         </message>"
    )
}

/// The same in its first tag, to which the server adds addresses.
fn tag(text: &str) -> String {
    let attributes: String = (0..62).map(|n| format!(" a{n}=''")).collect();
    format!("<message to='{JULIET}' type='chat'{attributes}><body>{text}</body></message>")
}

/// As long as a client may send.
fn bytes(text: &str) -> String {
    let empty = format!("<message to='{JULIET}' type='chat'><body>{text}</body></message>");
    empty.replace("</body>", &format!("{}</body>", "x".repeat(262_144 - empty.len())))
}

fn bodies(stanzas: &[xmpp_core::xml::Stanza]) -> Vec<String> {
    let own = stanzas
        .iter()
        .filter(|one| one.root().name() == "message")
        .filter_map(|one| Some(one.root().child("body", "jabber:client")?.text().chars().take(9).collect()));
    own.collect()
}

#[tokio::test]
async fn what_is_as_large_as_it_may_be_is_kept_until_it_is_delivered() {
    for largest in [elements, depth, attributes, tag, bytes] {
        let (server, stores) = server();
        let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
        romeo.send(&largest("first")).await;
        romeo.send(&format!("<message to='{JULIET}' type='chat'><body>second</body></message>")).await;
        assert_eq!(romeo.seen().await, [""; 0]);
        assert_eq!(offline(&stores).await.len(), 2);
        let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
        juliet.send("<presence/>").await;
        let text = juliet.until("<body>second").await;
        assert!(text.contains("<body>first"), "{}", text.len());
    }
}

#[tokio::test]
async fn what_a_session_did_not_get_is_not_lost_behind_what_is_as_large_as_it_may_be() {
    for largest in [elements, depth, attributes, tag, bytes] {
        let (server, stores) = server();
        let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
        let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
        juliet.send("<presence/>").await;
        juliet.sync_whole().await;
        // More than what lies in the pipe.
        for text in ["first", "next"] {
            romeo.send(&largest(text)).await;
            romeo.send(&bytes(text)).await;
        }
        romeo.send(&format!("<message to='{JULIET}' type='chat'><body>last</body></message>")).await;
        assert_eq!(romeo.seen().await, [""; 0]);
        drop(juliet);
        eventually("the last is lost", || async {
            offline(&stores).await.iter().any(|text| text.contains("<body>last"))
        })
        .await;
    }
}

#[tokio::test]
async fn clients_read_what_is_as_large_as_it_may_be_with_what_servers_add() {
    for largest in [elements, depth, attributes, tag, bytes] {
        let (server, _) = server();
        let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
        let pipe = server.clone();
        let builder = Client::builder("juliet@localhost/balcony".parse().unwrap(), stage::support::PASSWORD);
        let builder = builder.no_reconnect().with(chat::client(ChatSettings::default()));
        let (client, mut events) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
        assert!(matches!(events.next().await, Some(Event::Online { .. })));
        client.send(Presence::available()).await.unwrap();
        client.request(Iq::get_own().payload(&Ping)).await.unwrap();
        tokio::spawn(async move { while events.next().await.is_some() {} });
        romeo.send(&largest("first")).await;
        assert_eq!(romeo.seen().await, [""; 0]);
        client.request(Iq::get_own().payload(&Ping)).await.unwrap();
        let archive = client.archive().unwrap();
        let mut sync = archive.sync(Since::Beginning);
        // It has come live.
        assert!(sync.next().await.is_none());
        let mut with = archive.with("romeo@localhost".parse::<xmpp_core::jid::Jid>().unwrap()).sync(Since::Beginning);
        assert!(with.next().await.is_none());
    }
}

#[tokio::test]
async fn pages_of_an_archive_that_a_session_did_not_get_are_for_nobody_else() {
    let (server, stores) = server();
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut other = Device::new(&server, "juliet@localhost/chamber").await;
    let body = "x".repeat(10_000);
    for _ in 0..30 {
        romeo.send(&format!("<message to='{JULIET}' type='chat'><body>{body}</body></message>")).await;
    }
    assert_eq!(other.seen().await.len(), 30);
    let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
    juliet.send("<presence/>").await;
    juliet.sync_whole().await;
    juliet.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    settle().await;
    drop(juliet);
    other.seen().await;
    let seen = other.seen().await;
    assert!(!seen.iter().any(|one| one.starts_with("message")), "{seen:?}");
    drop(other);
    settle().await;
    assert_eq!(offline(&stores).await, [""; 0]);

    // Nor are they kept where there is no other.
    let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
    juliet.send("<presence/>").await;
    juliet.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    settle().await;
    drop(juliet);
    settle().await;
    assert_eq!(offline(&stores).await.len(), 0);
}

#[tokio::test]
async fn private_xml_that_was_taken_can_be_read() {
    let (server, _) = server();
    let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
    let attributes: String = (0..61).map(|n| format!(" o{n}:a=''")).collect();
    let spaces: String = (0..61).map(|n| format!(" xmlns:o{n}='urn:{n}'")).collect();
    let set = format!(
        "<iq type='set' id='s'{spaces}><query xmlns='jabber:iq:private'><m xmlns='urn:example'{attributes}/></query></iq>"
    );
    juliet.send(&set).await;
    juliet.until("type='result'").await;
    juliet.send("<iq type='get' id='g'><query xmlns='jabber:iq:private'><m xmlns='urn:example'/></query></iq>").await;
    let text = juliet.until("</iq>").await;
    assert!(text.contains("type='result'"), "{text}");
}

#[tokio::test]
async fn abuse_a063_ids_in_the_name_of_the_server_itself_are_removed() {
    let (server, _) = server();
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    let forged = "<stanza-id xmlns='urn:xmpp:sid:0' by='localhost' id='1'/>";
    for to in [JULIET, "juliet@localhost/balcony", "romeo@localhost/orchard"] {
        romeo.send(&format!("<message to='{to}' type='chat'><body>x</body>{forged}</message>")).await;
    }
    for (device, count) in [(&mut juliet, 2), (&mut romeo, 1)] {
        let stanzas = device.stanzas().await;
        assert_eq!(stanzas.len(), count);
        assert!(stanzas.iter().all(|one| !one.as_str().contains("by='localhost'")), "{stanzas:?}");
    }
}

#[tokio::test]
async fn a_removed_account_leaves_nothing_behind_when_its_sessions_end() {
    let store = Arc::new(MemoryLastActivity::default());
    let accounts = Arc::new(xmpp_core::server::MemoryAccounts::new());
    accounts.set_password(bare(JULIET), stage::support::PASSWORD);
    let entitled = |_, _| -> Stored<'static, bool> { Box::pin(async { Ok(true) }) };
    let builder = Server::builder("localhost").accounts(accounts.clone()).with(presence::server);
    let server = builder.with(last_activity::server(store.clone(), entitled)).build().unwrap();
    let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
    juliet.send("<presence/>").await;
    juliet.sync_whole().await;
    accounts.remove(&bare(JULIET));
    server.account_removed(&bare(JULIET)).await;
    juliet.rest().await;
    drop(juliet);
    settle().await;
    assert_eq!(store.get(&bare(JULIET)).await.unwrap(), None);
}

#[tokio::test]
async fn copies_by_every_road_have_the_id_that_the_archive_has() {
    let (server, stores) = server();
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let forged = format!("<stanza-id xmlns='urn:xmpp:sid:0' by='{JULIET}' id='forged'/>");
    let message =
        |to: &str, body: &str| format!("<message to='{to}' type='chat'><body>{body}</body>{forged}</message>");
    romeo.send(&message(JULIET, "away")).await;
    assert_eq!(romeo.seen().await, [""; 0]);
    let mut one = Device::connect(&server, "juliet@localhost/one").await;
    one.send("<presence/>").await;
    let mut two = Device::new(&server, "juliet@localhost/two").await;
    let away = one.stanzas().await;
    for device in [&mut two, &mut one] {
        device.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        device.stanzas().await;
    }
    romeo.send(&message(JULIET, "both")).await;
    romeo.send(&message("juliet@localhost/one", "one")).await;
    romeo.stanzas().await;
    let (one, two) = (one.stanzas().await, two.stanzas().await);
    let (owner, all) = (bare(JULIET), archive::Selection { max: 9, max_bytes: 1 << 20, ..Default::default() });
    let page = stores.archive.query(&owner, &all).await.unwrap().unwrap();
    let archive: Vec<String> = page.entries.iter().map(|entry| entry.id.to_string()).collect();
    assert_eq!(archive.len(), 3);
    let has = |stanzas: &[xmpp_core::xml::Stanza], id: &str| {
        let of_it: Vec<_> = stanzas.iter().filter(|one| one.as_str().contains(id)).collect();
        assert_eq!(of_it.len(), 1, "{id} in {stanzas:?}");
        assert_eq!(of_it[0].as_str().matches("urn:xmpp:sid:0").count(), 1, "{stanzas:?}");
    };
    has(&away, &archive[0]);
    for copies in [&one, &two] {
        assert_eq!(copies.len(), 2);
        has(copies, &archive[1]);
        has(copies, &archive[2]);
    }
    assert_eq!(bodies(&away), ["away"]);
}

/// Reads preferences at once, and says so when it is allowed to.
#[derive(Default)]
struct Late {
    inner: MemoryArchive,
    gate: tokio::sync::Mutex<()>,
}

impl archive::ArchiveStore for Late {
    fn append<'a>(&'a self, owner: &'a BareJid, entry: archive::NewEntry) -> Stored<'a, archive::ArchiveId> {
        self.inner.append(owner, entry)
    }
    fn query<'a>(&'a self, owner: &'a BareJid, selection: &'a archive::Selection) -> Stored<'a, Option<archive::Page>> {
        self.inner.query(owner, selection)
    }
    fn replace<'a>(&'a self, owner: &'a BareJid, id: archive::ArchiveId, text: Arc<str>) -> Stored<'a, bool> {
        self.inner.replace(owner, id, text)
    }
    fn ends<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<(archive::ArchiveId, archive::ArchiveId)>> {
        self.inner.ends(owner)
    }
    fn preferences<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<archive::Preferences>> {
        Box::pin(async move {
            let said = self.inner.preferences(owner).await;
            drop(self.gate.lock().await);
            said
        })
    }
    fn set_preferences<'a>(&'a self, owner: &'a BareJid, said: &'a archive::Preferences) -> Stored<'a, ()> {
        self.inner.set_preferences(owner, said)
    }
    fn expire(&self, before: xmpp_core::payload::DateTime) -> Stored<'_, ()> {
        self.inner.expire(before)
    }
    fn trim<'a>(&'a self, owner: &'a BareJid, keep: u64) -> Stored<'a, ()> {
        self.inner.trim(owner, keep)
    }
    fn forget<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, ()> {
        self.inner.forget(owner)
    }
}

#[tokio::test]
async fn xep0441_2_what_an_account_does_not_want_kept_is_not_kept_though_a_message_asked_just_before() {
    let store = Arc::new(Late::default());
    let builder = builder().with(presence::server).with(delivery::server);
    let server = builder.with(archive::server(store.clone(), ArchiveSettings::default())).build().unwrap();
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut juliet = Device::connect(&server, "juliet@localhost/balcony").await;
    let message = format!("<message to='{JULIET}/balcony' type='chat'><body>x</body></message>");
    // What he wants himself is known from now on.
    romeo.send("<message to='romeo@localhost/orchard' type='chat'><body>x</body></message>").await;
    romeo.seen().await;
    let held = store.gate.lock().await;
    romeo.send(&message).await;
    settle().await;
    let never = "<prefs xmlns='urn:xmpp:mam:2' default='never'/>";
    juliet.send(&format!("<iq type='set' id='p'>{never}</iq>")).await;
    settle().await;
    drop(held);
    let answer = juliet.stanzas().await;
    assert!(answer.iter().any(|one| one.as_str().contains("default='never'")), "{answer:?}");
    let before = store.ends(&bare(JULIET)).await.unwrap();
    romeo.send(&message).await;
    romeo.seen().await;
    assert_eq!(store.ends(&bare(JULIET)).await.unwrap(), before);
}

/// The answer to a request to the own account, in a word: the condition of an error, or how many messages came before.
async fn asked(device: &mut Device, payload: &str) -> String {
    device.send(&format!("<iq type='set' id='asked'>{payload}</iq>")).await;
    let mut messages = 0;
    loop {
        let stanza = device.next().await;
        match stanza.root().attr("id").as_deref() {
            Some("asked") if stanza.root().attr("type").as_deref() == Some("error") => return stage::brief(&stanza),
            Some("asked") => return messages.to_string(),
            _ => messages += 1,
        }
    }
}

fn query(fields: &str, rsm: &str) -> String {
    let form = "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>";
    format!(
        "<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'>{form}{fields}</x>\
         <set xmlns='http://jabber.org/protocol/rsm'>{rsm}</set></query>"
    )
}

#[tokio::test]
async fn abuse_a062_queries_and_preferences_at_their_bounds_and_beyond() {
    let (server, _) = server();
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut juliet = Device::connect(&server, "juliet@localhost/balcony").await;
    for n in 0..251 {
        romeo.send(&format!("<message to='{JULIET}' type='chat'><body>{n}</body></message>")).await;
    }
    romeo.seen().await;
    for (max, messages) in
        [("0", "0"), ("1", "1"), ("249", "249"), ("250", "250"), ("251", "250"), ("4294967295", "250")]
    {
        assert_eq!(asked(&mut juliet, &query("", &format!("<max>{max}</max>"))).await, messages, "{max}");
    }
    for max in ["-1", "4294967296", "1e3", "", "x"] {
        let answer = asked(&mut juliet, &query("", &format!("<max>{max}</max>"))).await;
        assert!(answer.starts_with("error bad-request"), "{max}: {answer}");
    }
    let ids = |count: usize| {
        let ids: String = (0..count).map(|n| format!("<value>{n:030x}</value>")).collect();
        query(&format!("<field var='ids'>{ids}</field>"), "")
    };
    assert!(asked(&mut juliet, &ids(1000)).await.starts_with("error item-not-found"));
    for count in [1001, 5000] {
        assert!(asked(&mut juliet, &ids(count)).await.starts_with("error not-acceptable"));
    }
    let prefs = |count: usize| {
        let jids: String = (0..count).map(|n| format!("<jid>u{n}@a.example</jid>")).collect();
        format!("<prefs xmlns='urn:xmpp:mam:2' default='always'><always/><never>{jids}</never></prefs>")
    };
    assert_eq!(asked(&mut juliet, &prefs(500)).await, "0");
    assert!(asked(&mut juliet, &prefs(501)).await.starts_with("error resource-constraint"));
}

#[tokio::test]
async fn xep0313_4_1_2_dates_at_the_ends_of_time() {
    let (server, _) = server();
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    let mut juliet = Device::connect(&server, "juliet@localhost/balcony").await;
    romeo.send(&format!("<message to='{JULIET}' type='chat'><body>x</body></message>")).await;
    romeo.seen().await;
    for (var, value, found) in [
        ("start", "0001-01-01T00:00:00Z", "1"),
        ("start", "1969-12-31T23:59:59.999999Z", "1"),
        ("start", "9999-12-31T23:59:59.999999999Z", "0"),
        ("end", "0001-01-01T00:00:00Z", "0"),
        ("end", "1970-01-01T00:00:00-12:00", "0"),
        ("end", "9999-12-31T23:59:59.999999999Z", "1"),
        ("start", "2020-02-29T12:00:00.123456789+14:00", "1"),
        ("end", "2020-02-29T12:00:00-14:00", "0"),
        ("start", "2021-02-29T12:00:00Z", "error"),
        ("start", "2020-01-01", "error"),
        ("start", "2020-01-01T25:00:00Z", "error"),
        ("start", "2020-01-01T00:00:00", "error"),
        ("end", "10000-01-01T00:00:00Z", "error"),
        ("end", "-0001-01-01T00:00:00Z", "error"),
        ("end", "2020-01-01T00:00:00Z; DROP TABLE archive", "error"),
        ("end", "２０２０-01-01T00:00:00Z", "error"),
    ] {
        let field = format!("<field var='{var}'><value>{value}</value></field>");
        let answer = asked(&mut juliet, &query(&field, "")).await;
        assert!(answer.starts_with(found), "{var} {value}: {answer}");
        assert!(found != "error" || answer.starts_with("error bad-request"), "{answer}");
    }
}
