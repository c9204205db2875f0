//! Rooms inside a server, over stores that fail, hang, and are found again.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::field_reassign_with_default, missing_docs)]

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, Event, Events, RequestError},
    jid::{BareJid, Jid},
    payload::{
        DateTime, Payload,
        archive::{ArchiveFin, ArchiveQuery, ArchiveResult},
        disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery},
        form::{DataForm, Field, FormKind},
        ping::Ping,
        rsm::ResultSet,
    },
    server::{
        Decision, Envelope, Kinds, Limits, MemoryAccounts, Server, ServerBuilder, ServerRegistrar, Stage, Station,
        Verdict,
    },
    stanza::{Condition, Iq, Message, MessageType, Presence},
    xml::{Stanza, XmlLimits, ns},
};
use xmpp_im::{
    StorageError, Stored,
    archive::{ArchiveId, ArchiveStore, MemoryArchive, NewEntry, Page, Preferences, Selection},
};
use xmpp_muc::{
    Affiliation, Listed, MemoryRooms, Role, RoomStore, Stretch,
    payload::{AdminQuery, Destroy, Join, Moderate, OccupantId, OwnerQuery, StatusCode, UserInfo},
    room::{Kept, RoomRecord},
    service::{Muc, MucSettings},
};

const PATIENCE: Duration = Duration::from_secs(30);
const SERVICE: &str = "rooms.localhost";

fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

/// What is the matter with a store.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It says that it failed.
    Fails,
    /// It says that it failed, and has done it.
    Lies,
    /// It never answers.
    Hangs,
}

/// Stores that work until they are told not to.
#[derive(Default)]
struct Disk {
    rooms: MemoryRooms,
    archive: MemoryArchive,
    /// Operations by name, and what is the matter with them.
    faults: Mutex<Vec<(&'static str, Fault)>>,
    loads: AtomicUsize,
    queries: AtomicUsize,
    appending: AtomicUsize,
    /// While it is locked, appending waits.
    gate: tokio::sync::Mutex<()>,
}

impl Disk {
    fn breaks(&self, operation: &'static str, fault: Fault) {
        self.faults.lock().unwrap().push((operation, fault));
    }
    fn heals(&self) {
        self.faults.lock().unwrap().clear();
    }
    async fn run<T>(
        &self,
        name: &'static str,
        done: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let fault = self.faults.lock().unwrap().iter().find(|(which, _)| *which == name).map(|(_, fault)| *fault);
        let full = || StorageError("the disk is full".into());
        match fault {
            None => done.await,
            Some(Fault::Fails) => Err(full()),
            Some(Fault::Lies) => done.await.and(Err(full())),
            Some(Fault::Hangs) => pending().await,
        }
    }
}

impl RoomStore for Disk {
    fn load<'a>(&'a self, room: &'a BareJid) -> Stored<'a, Option<RoomRecord>> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        Box::pin(self.run("load", self.rooms.load(room)))
    }
    fn save<'a>(&'a self, room: &'a BareJid, record: &'a RoomRecord) -> Stored<'a, ()> {
        Box::pin(self.run("save", self.rooms.save(room, record)))
    }
    fn change<'a>(&'a self, room: &'a BareJid, kept: &'a [Kept]) -> Stored<'a, ()> {
        Box::pin(self.run("change", self.rooms.change(room, kept)))
    }
    fn remove<'a>(&'a self, room: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(self.run("remove", self.rooms.remove(room)))
    }
    fn add<'a>(&'a self, room: &'a BareJid, record: &'a RoomRecord, most: u64) -> Stored<'a, bool> {
        Box::pin(self.run("save", self.rooms.add(room, record, most)))
    }
    fn listed<'a>(&'a self, domain: &'a str, stretch: &'a Stretch) -> Stored<'a, Vec<Listed>> {
        Box::pin(self.run("listed", self.rooms.listed(domain, stretch)))
    }
    fn count_listed<'a>(&'a self, domain: &'a str, before: Option<&'a BareJid>) -> Stored<'a, u64> {
        Box::pin(self.run("listed", self.rooms.count_listed(domain, before)))
    }
}

impl ArchiveStore for Disk {
    fn append<'a>(&'a self, owner: &'a BareJid, entry: NewEntry) -> Stored<'a, ArchiveId> {
        Box::pin(self.run("append", async move {
            self.appending.fetch_add(1, Ordering::SeqCst);
            let _open = self.gate.lock().await;
            self.archive.append(owner, entry).await
        }))
    }
    fn query<'a>(&'a self, owner: &'a BareJid, selection: &'a Selection) -> Stored<'a, Option<Page>> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        Box::pin(self.run("query", self.archive.query(owner, selection)))
    }
    fn replace<'a>(&'a self, owner: &'a BareJid, id: ArchiveId, text: Arc<str>) -> Stored<'a, bool> {
        Box::pin(self.run("replace", async move { self.archive.replace(owner, id, text).await }))
    }
    fn ends<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<(ArchiveId, ArchiveId)>> {
        self.archive.ends(owner)
    }
    fn preferences<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<Preferences>> {
        self.archive.preferences(owner)
    }
    fn set_preferences<'a>(&'a self, owner: &'a BareJid, preferences: &'a Preferences) -> Stored<'a, ()> {
        self.archive.set_preferences(owner, preferences)
    }
    fn expire(&self, before: DateTime) -> Stored<'_, ()> {
        self.archive.expire(before)
    }
    fn trim<'a>(&'a self, owner: &'a BareJid, keep: u64) -> Stored<'a, ()> {
        self.archive.trim(owner, keep)
    }
    fn forget<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(self.run("forget", async move { self.archive.forget(owner).await }))
    }
}

fn serve(disk: &Arc<Disk>, change: impl FnOnce(&mut MucSettings)) -> Server {
    serve_with(disk, PATIENCE, change, |muc| muc)
}

/// A server that waits for no store.
fn impatient(disk: &Arc<Disk>, change: impl FnOnce(&mut MucSettings)) -> Server {
    serve_with(disk, Duration::from_millis(300), change, |muc| muc)
}

fn serve_with(
    disk: &Arc<Disk>,
    handler: Duration,
    change: impl FnOnce(&mut MucSettings),
    more: impl FnOnce(Muc) -> Muc,
) -> Server {
    builder(disk, handler, change, more).build().unwrap()
}

fn builder(
    disk: &Arc<Disk>,
    handler: Duration,
    change: impl FnOnce(&mut MucSettings),
    more: impl FnOnce(Muc) -> Muc,
) -> ServerBuilder {
    let accounts = MemoryAccounts::new();
    for name in ["juliet", "romeo", "nurse", "tybalt"] {
        accounts.set_password(format!("{name}@localhost").parse().unwrap(), "secret");
    }
    let mut settings = MucSettings::default();
    change(&mut settings);
    let rooms = Muc::new(SERVICE, disk.clone()).archive(disk.clone()).settings(settings);
    let mut limits = Limits::default();
    limits.handler = handler;
    let builder = Server::builder("localhost").accounts(accounts).allow_plaintext().limits(limits);
    builder.with(xmpp_im::presence::server).with(xmpp_im::delivery::server).with(more(rooms))
}

struct Person {
    client: Client,
    events: Events,
    name: &'static str,
}

impl Person {
    async fn new(server: &Server, name: &'static str) -> Person {
        let server = server.clone();
        let builder = Client::builder(jid(&format!("{name}@localhost/here")), "secret").allow_plaintext();
        let (client, events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
        assert!(timeout(PATIENCE, client.online()).await.unwrap().is_some());
        Person { client, events, name }
    }

    async fn presence(&mut self) -> (Presence, UserInfo) {
        loop {
            if let Event::Presence(presence) = timeout(PATIENCE, self.events.next()).await.unwrap().unwrap() {
                let info = presence.payload::<UserInfo>().map(Result::unwrap).unwrap_or_default();
                return (presence, info);
            }
        }
    }

    async fn message(&mut self) -> Message {
        loop {
            if let Event::Message(message) = timeout(PATIENCE, self.events.next()).await.unwrap().unwrap() {
                return message;
            }
        }
    }

    fn address(room: &str) -> Jid {
        jid(&format!("{room}@{SERVICE}"))
    }

    async fn asks(&self, room: &str) {
        let join = Presence::available().to(jid(&format!("{room}@{SERVICE}/{}", self.name))).payload(&Join::default());
        self.client.send(join).await.unwrap();
    }

    /// Goes into a room, up to its subject; with what was said before.
    async fn joins(&mut self, room: &str) -> (UserInfo, Vec<Message>) {
        self.asks(room).await;
        let info = loop {
            let (presence, info) = self.presence().await;
            assert!(presence.error().is_none(), "{:?}", presence.error());
            if info.has(StatusCode::SELF) {
                break info;
            }
        };
        let mut history = Vec::new();
        loop {
            let message = self.message().await;
            if message.subject().is_some() && message.body().is_none() {
                return (info, history);
            }
            history.push(message);
        }
    }

    async fn is_refused(&mut self, room: &str) -> Condition {
        self.asks(room).await;
        self.presence().await.0.error().unwrap().condition
    }

    async fn leaves(&mut self, room: &str) {
        let leave = Presence::unavailable().to(jid(&format!("{room}@{SERVICE}/{}", self.name)));
        self.client.send(leave).await.unwrap();
        while self.presence().await.0.type_str().as_deref() != Some("unavailable") {}
    }

    async fn configures(&self, room: &str, fields: &[(&str, &str)]) -> Result<Iq, RequestError> {
        let form = DataForm::typed(FormKind::Submit, "http://jabber.org/protocol/muc#roomconfig");
        let form = fields.iter().fold(form, |form, (var, value)| form.with(Field::new(*var).value(*value)));
        self.client.request(Iq::set(Self::address(room)).payload(&OwnerQuery { form: Some(form), destroy: None })).await
    }

    async fn makes(&mut self, room: &str, fields: &[(&str, &str)]) {
        assert!(self.joins(room).await.0.has(StatusCode::CREATED));
        self.configures(room, fields).await.unwrap();
    }

    async fn destroys(&self, room: &str) -> Result<Iq, RequestError> {
        let query = OwnerQuery { form: None, destroy: Some(Destroy::default()) };
        self.client.request(Iq::set(Self::address(room)).payload(&query)).await
    }

    async fn says(&self, room: &str, body: &str) {
        self.client.send(Message::groupchat(Self::address(room)).body(body)).await.unwrap();
    }

    async fn hears(&mut self, body: &str) -> Message {
        let message = self.message().await;
        assert!(message.error().is_none(), "{:?}", message.error());
        assert_eq!(message.body().as_deref(), Some(body));
        message
    }

    async fn sets(&self, room: &str, query: &AdminQuery) {
        self.client.request(Iq::set(Self::address(room)).payload(query)).await.unwrap();
    }

    async fn info(&self, room: &str) -> Result<DiscoInfo, RequestError> {
        self.client.query(Iq::get(Self::address(room)).payload(&DiscoInfoQuery::default())).await
    }

    async fn items(&self, rsm: ResultSet) -> Result<DiscoItems, RequestError> {
        let query = DiscoItemsQuery { rsm: Some(rsm), ..DiscoItemsQuery::default() };
        self.client.query(Iq::get(jid(SERVICE)).payload(&query)).await
    }

    /// What is in a room's archive, as text.
    async fn reads(&mut self, room: &str) -> Result<Vec<String>, RequestError> {
        let query = Iq::set(Self::address(room)).payload(&ArchiveQuery::default());
        self.client.query::<ArchiveFin>(query).await?;
        let own = jid(&format!("{}@localhost/here", self.name));
        self.client.send(Message::chat(own).body("that is all")).await.unwrap();
        let mut found = Vec::new();
        loop {
            let message = self.message().await;
            match message.payload::<ArchiveResult>() {
                Some(result) => found.push(result.unwrap().forwarded.stanza.unwrap().as_str().to_owned()),
                None => break assert_eq!(message.body().as_deref(), Some("that is all")),
            }
        }
        Ok(found)
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, RequestError>) -> Condition {
    match answer {
        Err(RequestError::Refused(error)) => error.condition,
        other => panic!("{other:?}"),
    }
}

const PERSISTENT: &[(&str, &str)] = &[("muc#roomconfig_persistentroom", "1"), ("muc#roomconfig_roomname", "Cave")];

#[tokio::test]
async fn abuse_a077_rooms_of_a_user_are_counted_from_their_making_to_their_end_however_that_comes() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |settings| settings.rooms_of_user = 2);
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("one", &[]).await;
    juliet.makes("two", &[]).await;
    assert_eq!(juliet.is_refused("three").await, Condition::ResourceConstraint);
    romeo.makes("his", &[]).await;
    juliet.joins("his").await;
    // The last leaves; it is destroyed; it is never opened; its configuration is cancelled; it becomes temporary, unseen.
    juliet.leaves("one").await;
    juliet.makes("one", &[]).await;
    assert_eq!(juliet.is_refused("three").await, Condition::ResourceConstraint);
    juliet.destroys("one").await.unwrap();
    juliet.presence().await;
    juliet.joins("three").await;
    assert_eq!(juliet.is_refused("four").await, Condition::ResourceConstraint);
    juliet.leaves("three").await;
    juliet.joins("four").await;
    let cancel = OwnerQuery { form: Some(DataForm::new(FormKind::Cancel)), destroy: None };
    juliet.client.request(Iq::set(Person::address("four")).payload(&cancel)).await.unwrap();
    juliet.presence().await;
    juliet.makes("five", PERSISTENT).await;
    juliet.leaves("five").await;
    juliet.configures("five", &[("muc#roomconfig_persistentroom", "0")]).await.unwrap();
    assert_eq!(refused(juliet.info("five").await), Condition::ItemNotFound);
    juliet.makes("five", &[]).await;
    assert_eq!(juliet.is_refused("six").await, Condition::ResourceConstraint);
}

#[tokio::test]
async fn abuse_a077_persistent_rooms_of_a_user_are_bounded_whether_somebody_is_in_them_or_not() {
    let disk = Arc::new(Disk::default());
    let two = |settings: &mut MucSettings| settings.persistent_rooms_of_user = 2;
    let server = serve(&disk, two);
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    for room in ["one", "two"] {
        juliet.makes(room, PERSISTENT).await;
        juliet.leaves(room).await;
    }
    // The third waits for a configuration that can be.
    juliet.joins("three").await;
    assert_eq!(refused(juliet.configures("three", PERSISTENT).await), Condition::ResourceConstraint);
    assert_eq!(romeo.is_refused("three").await, Condition::ItemNotFound, "it is not open");
    juliet.configures("three", &[]).await.unwrap();
    assert_eq!(refused(juliet.configures("three", PERSISTENT).await), Condition::ResourceConstraint);
    assert!(!juliet.info("three").await.unwrap().has_feature("muc_persistent"));
    // Another owner does not help: the room counts for who has made it.
    let owner = AdminQuery::affiliation(jid("romeo@localhost"), Affiliation::Owner, None);
    juliet.sets("three", &owner).await;
    assert_eq!(refused(romeo.configures("three", PERSISTENT).await), Condition::ResourceConstraint);
    // What is persistent can be configured, and others have theirs.
    juliet.configures("one", &[("muc#roomconfig_roomname", "Other")]).await.unwrap();
    romeo.makes("his", PERSISTENT).await;
    romeo.makes("his2", PERSISTENT).await;
    // After a restart too.
    drop(server);
    let server = serve(&disk, two);
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.joins("three").await;
    assert_eq!(refused(juliet.configures("three", PERSISTENT).await), Condition::ResourceConstraint);
    // What ends, or becomes temporary, makes place; so does no store that fails.
    juliet.destroys("one").await.unwrap();
    disk.breaks("save", Fault::Fails);
    assert_eq!(refused(juliet.configures("three", PERSISTENT).await), Condition::InternalServerError);
    disk.heals();
    juliet.configures("three", PERSISTENT).await.unwrap();
    juliet.joins("four").await;
    assert_eq!(refused(juliet.configures("four", PERSISTENT).await), Condition::ResourceConstraint);
    juliet.configures("three", &[("muc#roomconfig_persistentroom", "0")]).await.unwrap();
    disk.breaks("save", Fault::Lies);
    assert_eq!(refused(juliet.configures("four", PERSISTENT).await), Condition::InternalServerError);
    disk.heals();
    juliet.configures("four", PERSISTENT).await.unwrap();
    assert_eq!(refused(juliet.configures("three", PERSISTENT).await), Condition::ResourceConstraint);
}

#[tokio::test]
async fn abuse_a077_of_many_rooms_that_become_persistent_at_once_no_more_do_than_may() {
    let server = serve(&Arc::new(Disk::default()), |settings| settings.persistent_rooms_of_user = 3);
    let mut juliet = Person::new(&server, "juliet").await;
    let rooms: Vec<String> = (0..12).map(|n| format!("r{n}")).collect();
    for room in &rooms {
        juliet.joins(room).await;
    }
    let mut asked = tokio::task::JoinSet::new();
    for room in &rooms {
        let (client, to) = (juliet.client.clone(), Person::address(room));
        asked.spawn(async move {
            let form = DataForm::typed(FormKind::Submit, "http://jabber.org/protocol/muc#roomconfig");
            let form = form.with(Field::new("muc#roomconfig_persistentroom").value("1"));
            client.request(Iq::set(to).payload(&OwnerQuery { form: Some(form), destroy: None })).await
        });
    }
    let answers = asked.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    let refused = answers.into_iter().filter(Result::is_err).map(refused);
    assert!(refused.into_iter().all(|condition| condition == Condition::ResourceConstraint));
}

#[tokio::test]
async fn abuse_a077_what_cannot_be_the_name_of_a_room_is_refused_and_odd_forms_are_one_room() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let asks = async |juliet: &mut Person, name: &str| {
        let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
        let xml = format!("<presence to='{name}@{SERVICE}/juliet'>{x}</presence>");
        let stanza = Stanza::parse(&xml, ns::CLIENT, &XmlLimits::default()).unwrap();
        juliet.client.send(stanza).await.unwrap();
        let (presence, info) = juliet.presence().await;
        match presence.error() {
            Some(error) => Err(error.condition),
            None => Ok((presence.from().unwrap().to_bare().to_string(), info.has(StatusCode::CREATED))),
        }
    };
    // What is no address the server itself refuses, with jid-malformed.
    for name in [
        &"x".repeat(1024),
        &"\u{e9}".repeat(512),
        "a b",
        "a\u{a0}b",
        "\u{200b}",
        "a\u{202e}b",
        "a\u{ad}b",
        "a\u{7f}b",
        "\u{fffd}",
        "\u{e000}",
        "\u{1f480}",
        "a\"b",
        "a<b",
    ] {
        assert!(Jid::new(&format!("{name}@{SERVICE}/juliet")).is_err(), "{name:?}");
    }
    for name in ["x".repeat(1023), "x".repeat(256), "\u{e9}".repeat(128)] {
        assert_eq!(asks(&mut juliet, &name).await, Err(Condition::NotAcceptable), "{name:?}");
    }
    let mut made = 0;
    for name in ["coven", "COVEN", "\u{ff43}oven", "c\u{ff2f}ven"] {
        let (room, created) = asks(&mut juliet, name).await.unwrap();
        assert_eq!(room, format!("coven@{SERVICE}"), "{name}");
        made += u32::from(created);
    }
    assert_eq!(made, 1);
    asks(&mut juliet, &"y".repeat(255)).await.unwrap();
}

#[tokio::test]
async fn abuse_a077_nobody_may_make_rooms_where_each_may_have_none() {
    let server = serve(&Arc::new(Disk::default()), |settings| settings.rooms_of_user = 0);
    let mut juliet = Person::new(&server, "juliet").await;
    assert_eq!(juliet.is_refused("one").await, Condition::ResourceConstraint);
}

#[tokio::test]
async fn abuse_a077_rooms_that_are_not_there_take_no_place_and_cost_one_look() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |settings| {
        settings.rooms = 2;
        settings.room_name_bytes = 20;
    });
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.makes("one", &[]).await;
    let before = disk.loads.load(Ordering::SeqCst);
    for n in 0..100 {
        assert_eq!(refused(juliet.info(&format!("no{n}")).await), Condition::ItemNotFound);
        juliet.says(&format!("no{n}"), "hello").await;
        assert_eq!(juliet.message().await.error().unwrap().condition, Condition::ItemNotFound);
        let gone = Presence::unavailable().to(jid(&format!("no{n}@{SERVICE}/x")));
        juliet.client.send(gone).await.unwrap();
    }
    assert_eq!(refused(juliet.info("last").await), Condition::ItemNotFound);
    assert_eq!(disk.loads.load(Ordering::SeqCst) - before, 301);
    assert_eq!(disk.queries.load(Ordering::SeqCst), 0);
    assert_eq!(juliet.is_refused(&"x".repeat(21)).await, Condition::NotAcceptable);
    juliet.makes(&"x".repeat(20), &[]).await;
    assert_eq!(juliet.is_refused("three").await, Condition::ResourceConstraint);
    juliet.leaves("one").await;
    juliet.makes("three", &[]).await;
}

#[tokio::test]
async fn of_two_who_come_at_once_one_makes_the_room() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    for n in 0..20 {
        let room = format!("r{n}");
        tokio::join!(juliet.asks(&room), romeo.asks(&room));
        let (hers, his) = (juliet.presence().await, romeo.presence().await);
        let made = [&hers, &his].map(|(_, info)| info.has(StatusCode::CREATED));
        let refused = [&hers, &his].map(|(presence, _)| presence.error().map(|error| error.condition));
        assert!(made[0] != made[1], "{made:?}");
        assert_eq!(refused[usize::from(made[0])], Some(Condition::ItemNotFound), "it is not open yet");
    }
}

#[tokio::test]
async fn a_store_that_hangs_or_fails_keeps_no_room_and_no_place() {
    let disk = Arc::new(Disk::default());
    let server = impatient(&disk, |settings| settings.rooms = 1);
    let mut juliet = Person::new(&server, "juliet").await;
    for fault in [Fault::Hangs, Fault::Fails] {
        disk.breaks("load", fault);
        for n in 0..3 {
            refused(juliet.info(&format!("r{n}")).await);
            juliet.asks(&format!("r{n}")).await;
            assert!(juliet.presence().await.0.error().is_some(), "{fault:?}");
        }
        disk.heals();
        juliet.makes("r9", &[]).await;
        juliet.leaves("r9").await;
    }
}

#[tokio::test]
async fn what_is_not_archived_is_not_told_and_the_room_goes_on() {
    let disk = Arc::new(Disk::default());
    let server = impatient(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("cave", &[]).await;
    romeo.joins("cave").await;
    for fault in [Fault::Fails, Fault::Hangs] {
        disk.breaks("append", fault);
        romeo.says("cave", "lost").await;
        assert!(romeo.message().await.error().is_some(), "{fault:?}");
        disk.heals();
        romeo.says("cave", "found").await;
        romeo.hears("found").await;
        juliet.hears("found").await;
    }
    assert_eq!(juliet.reads("cave").await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_slow_archive_changes_no_order() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("cave", &[]).await;
    romeo.joins("cave").await;
    juliet.presence().await;
    let shut = disk.gate.lock().await;
    juliet.says("cave", "one").await;
    while disk.appending.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    romeo.says("cave", "two").await;
    drop(shut);
    let mut both = Vec::new();
    for person in [&mut juliet, &mut romeo] {
        both.push([person.message().await, person.message().await].map(|message| message.body().unwrap().into_owned()));
    }
    assert_eq!(both[0], both[1], "all hear the same");
    let archived = juliet.reads("cave").await.unwrap();
    assert!(archived[0].contains(&both[0][0]) && archived[1].contains(&both[0][1]), "and so it is archived");
}

#[tokio::test]
async fn a_room_whose_change_may_or_may_not_be_stored_is_stored_as_it_is_told() {
    for fault in [Fault::Fails, Fault::Lies, Fault::Hangs] {
        let disk = Arc::new(Disk::default());
        let server = impatient(&disk, |_| {});
        let mut juliet = Person::new(&server, "juliet").await;
        let room: BareJid = format!("cave@{SERVICE}").parse().unwrap();
        juliet.makes("cave", PERSISTENT).await;
        disk.breaks("change", fault);
        disk.breaks("save", fault);
        refused(juliet.configures("cave", &[("muc#roomconfig_roomname", "Hell")]).await);
        let ban = AdminQuery::affiliation(jid("romeo@localhost"), Affiliation::Outcast, None);
        refused(juliet.client.request(Iq::set(Person::address("cave")).payload(&ban)).await);
        assert_eq!(juliet.info("cave").await.unwrap().identities[0].name.as_deref(), Some("Cave"));
        disk.heals();
        // The next change, and else the end of the visit, makes it certain.
        if fault != Fault::Hangs {
            let member = AdminQuery::affiliation(jid("nurse@localhost"), Affiliation::Member, None);
            juliet.sets("cave", &member).await;
        } else {
            juliet.leaves("cave").await;
            juliet.info("cave").await.unwrap();
        }
        let stored = disk.rooms.load(&room).await.unwrap().unwrap();
        assert_eq!(stored.config.name, "Cave", "{fault:?}");
        let known: Vec<_> = stored.affiliated.iter().map(|(user, _)| user.local().unwrap()).collect();
        let expected: &[&str] = if fault == Fault::Hangs { &["juliet"] } else { &["juliet", "nurse"] };
        assert_eq!(known, expected, "{fault:?}");
    }
}

#[tokio::test]
async fn a_room_that_was_not_made_persistent_after_all_is_not_there_when_it_is_left() {
    for fault in [Fault::Lies, Fault::Hangs] {
        let disk = Arc::new(Disk::default());
        let server = impatient(&disk, |_| {});
        let mut juliet = Person::new(&server, "juliet").await;
        juliet.makes("cave", &[]).await;
        disk.breaks("save", fault);
        refused(juliet.configures("cave", PERSISTENT).await);
        disk.heals();
        juliet.leaves("cave").await;
        assert_eq!(refused(juliet.info("cave").await), Condition::ItemNotFound);
        assert!(juliet.joins("cave").await.0.has(StatusCode::CREATED));
    }
}

#[tokio::test]
async fn abuse_a074_what_was_said_in_a_room_that_is_no_more_is_not_the_next_ones() {
    for fault in [None, Some(Fault::Fails), Some(Fault::Hangs)] {
        let disk = Arc::new(Disk::default());
        let server = impatient(&disk, |_| {});
        let mut juliet = Person::new(&server, "juliet").await;
        let mut romeo = Person::new(&server, "romeo").await;
        juliet.makes("cave", PERSISTENT).await;
        romeo.joins("cave").await;
        juliet.says("cave", "secret").await;
        romeo.hears("secret").await;
        juliet.hears("secret").await;
        if let Some(fault) = fault {
            disk.breaks("forget", fault);
        }
        // Who hears of the end hears it once, whatever becomes of the archive.
        let answer = juliet.destroys("cave").await;
        assert_eq!(answer.is_ok(), fault != Some(Fault::Hangs));
        for person in [&mut juliet, &mut romeo] {
            while person.presence().await.1.destroy.is_none() {}
        }
        assert_eq!(refused(romeo.reads("cave").await), Condition::ItemNotFound);
        if fault.is_some() {
            romeo.asks("cave").await;
            assert!(romeo.presence().await.0.error().is_some(), "not before it is forgotten");
        }
        disk.heals();
        romeo.makes("cave", &[]).await;
        assert_eq!(romeo.reads("cave").await.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_log_that_panics_is_nobody_elses_trouble() {
    let server = serve_with(&Arc::new(Disk::default()), PATIENCE, |_| {}, |muc| muc.log(|_| panic!("on purpose")));
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.makes("cave", &[]).await;
    for text in ["one", "two"] {
        juliet.says("cave", text).await;
        juliet.hears(text).await;
    }
}

#[tokio::test]
async fn a_room_is_the_same_after_a_restart_and_a_temporary_one_is_gone() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.makes("cave", PERSISTENT).await;
    juliet.makes("tent", &[]).await;
    juliet.client.send(Message::groupchat(Person::address("cave")).subject("Fire burn")).await.unwrap();
    assert_eq!(juliet.message().await.subject().as_deref(), Some("Fire burn"));
    juliet.says("cave", "double").await;
    let said = juliet.hears("double").await;
    let id = said.payload::<OccupantId>().unwrap().unwrap();
    juliet.says("tent", "trouble").await;
    juliet.hears("trouble").await;
    // The process dies: nobody says farewell.
    drop(server);
    let server = serve(&disk, |_| {});
    let mut romeo = Person::new(&server, "romeo").await;
    let loads = disk.queries.load(Ordering::SeqCst);
    assert_eq!(romeo.info("cave").await.unwrap().identities[0].name.as_deref(), Some("Cave"));
    assert_eq!(disk.queries.load(Ordering::SeqCst), loads, "history is for who comes in");
    let (_, history) = romeo.joins("cave").await;
    assert_eq!(history.iter().map(|message| message.body().unwrap().into_owned()).collect::<Vec<_>>(), ["double"]);
    assert_eq!(history[0].payload::<OccupantId>().unwrap().unwrap().id, id.id);
    assert!(history[0].stanza().as_str().contains("urn:xmpp:delay"));
    let mut juliet = Person::new(&server, "juliet").await;
    assert_eq!(juliet.joins("cave").await.0.item().unwrap().affiliation, Some(Affiliation::Owner));
    juliet.says("cave", "again").await;
    let said = juliet.hears("again").await;
    assert_eq!(said.payload::<OccupantId>().unwrap().unwrap().id, id.id, "who it is, it stays");
    assert_eq!(refused(romeo.reads("tent").await), Condition::ItemNotFound);
    while romeo.message().await.body().as_deref() != Some("again") {}
    romeo.makes("tent", &[]).await;
    assert_eq!(romeo.reads("tent").await.unwrap(), Vec::<String>::new(), "a tent that blew away leaves nothing");
}

#[tokio::test]
async fn xep0425_5_what_a_moderator_retracts_is_gone_from_archive_and_history() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("cave", PERSISTENT).await;
    romeo.joins("cave").await;
    romeo.says("cave", "cheap gold").await;
    romeo.hears("cheap gold").await;
    let heard = juliet.hears("cheap gold").await;
    let id = heard.stanza().root().child("stanza-id", "urn:xmpp:sid:0").unwrap().attr("id").unwrap().into_owned();
    let retract = |id: &str| {
        let request = Moderate { id: id.to_owned(), retract: true, reason: Some("spam".to_owned()) };
        Iq::set(Person::address("cave")).payload(&request)
    };
    for unknown in ["never", "zzzzzzzzzzzzzzzz"] {
        assert_eq!(refused(juliet.client.request(retract(unknown)).await), Condition::ItemNotFound);
    }
    assert_eq!(refused(romeo.client.request(retract(&id)).await), Condition::Forbidden);
    juliet.client.request(retract(&id)).await.unwrap();
    assert!(romeo.message().await.stanza().as_str().contains("<retract"));
    assert!(juliet.message().await.stanza().as_str().contains("<retract"));
    let archived = romeo.reads("cave").await.unwrap();
    assert_eq!(archived.len(), 2);
    assert!(archived[0].contains("<retracted") && archived[0].contains("<occupant-id"), "{}", archived[0]);
    assert!(!archived.iter().any(|text| text.contains("gold")));
    // History from memory, and from the archive.
    for _ in 0..2 {
        let mut nurse = Person::new(&server, "nurse").await;
        let (_, history) = nurse.joins("cave").await;
        assert!(history[0].stanza().as_str().contains("<retracted"), "{:?}", history[0]);
        assert!(!history.iter().any(|message| message.stanza().as_str().contains("gold")));
        for person in [&mut nurse, &mut juliet, &mut romeo] {
            person.leaves("cave").await;
        }
        juliet.joins("cave").await;
        romeo.joins("cave").await;
    }
}

#[tokio::test]
async fn xep0424_5_who_has_said_something_can_take_it_back_and_nobody_else() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("cave", &[]).await;
    romeo.joins("cave").await;
    romeo.says("cave", "i hate thee").await;
    romeo.hears("i hate thee").await;
    let heard = juliet.hears("i hate thee").await;
    let id = heard.stanza().root().child("stanza-id", "urn:xmpp:sid:0").unwrap().attr("id").unwrap().into_owned();
    let retract = xmpp_im::message::retraction::Retract { id };
    for (person, others) in [(&juliet, true), (&romeo, false)] {
        person.client.send(Message::groupchat(Person::address("cave")).payload(&retract)).await.unwrap();
        let text = loop {
            let page = Selection { max: 9, max_bytes: 9999, ..Selection::default() };
            let page = disk.archive.query(&format!("cave@{SERVICE}").parse().unwrap(), &page).await.unwrap().unwrap();
            if page.entries.len() == if others { 2 } else { 3 } {
                break page.entries[0].text.to_string();
            }
            tokio::task::yield_now().await;
        };
        if others {
            assert!(text.contains("i hate thee"), "it is not hers");
        }
    }
    romeo.message().await;
    romeo.message().await;
    assert!(!romeo.reads("cave").await.unwrap().concat().contains("i hate thee"));
}

#[tokio::test]
async fn xep0045_11_2_who_is_in_a_room_is_told_that_the_service_stops() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.makes("cave", PERSISTENT).await;
    juliet.says("cave", "stay").await;
    juliet.hears("stay").await;
    let stopping = server.clone();
    let stopped = tokio::spawn(async move { stopping.shutdown(Duration::from_secs(20)).await });
    let (presence, info) = juliet.presence().await;
    assert_eq!(presence.type_str().as_deref(), Some("unavailable"));
    assert!(info.has(StatusCode::SHUTDOWN) && info.has(StatusCode::SELF) && info.destroy.is_none(), "{info:?}");
    timeout(PATIENCE, stopped).await.unwrap().unwrap();
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    assert_eq!(juliet.joins("cave").await.1.len(), 1, "and finds it again");
}

#[tokio::test]
async fn an_archive_holds_as_much_as_it_may() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |settings| settings.archive.keep_messages = Some(4));
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.makes("cave", &[]).await;
    for n in 0..12 {
        juliet.says("cave", &n.to_string()).await;
        juliet.hears(&n.to_string()).await;
    }
    let room = format!("cave@{SERVICE}").parse().unwrap();
    let all = Selection { max: 99, max_bytes: 99_999, ..Selection::default() };
    let kept = async {
        while disk.archive.query(&room, &all).await.unwrap().unwrap().entries.len() > 4 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, kept).await.unwrap();
}

#[tokio::test]
async fn abuse_a074_archives_are_for_who_could_come_in_and_tell_no_addresses() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    let mut nurse = Person::new(&server, "nurse").await;
    juliet.makes("cave", &[]).await;
    romeo.joins("cave").await;
    romeo.says("cave", "here").await;
    romeo.hears("here").await;
    juliet.hears("here").await;
    let open = nurse.reads("cave").await.unwrap();
    assert!(open.len() == 1 && !open[0].contains("romeo@localhost"), "{open:?}");
    assert_eq!(refused(nurse.reads("nowhere").await), Condition::ItemNotFound);
    let set = |affiliation| AdminQuery::affiliation(jid("nurse@localhost"), affiliation, None);
    juliet.sets("cave", &set(Affiliation::Outcast)).await;
    assert_eq!(refused(nurse.reads("cave").await), Condition::Forbidden, "banned");
    juliet.sets("cave", &set(Affiliation::None)).await;
    let secret = [("muc#roomconfig_passwordprotectedroom", "1"), ("muc#roomconfig_roomsecret", "x")];
    juliet.configures("cave", &secret).await.unwrap();
    assert_eq!(refused(nurse.reads("cave").await), Condition::Forbidden, "has no password");
    juliet.configures("cave", &[("muc#roomconfig_passwordprotectedroom", "0")]).await.unwrap();
    juliet.configures("cave", &[("muc#roomconfig_membersonly", "1")]).await.unwrap();
    assert_eq!(refused(nurse.reads("cave").await), Condition::Forbidden, "no member");
    assert_eq!(refused(romeo.reads("cave").await), Condition::Forbidden, "and no more");
    juliet.sets("cave", &set(Affiliation::Member)).await;
    assert_eq!(nurse.reads("cave").await.unwrap().len(), 1);
}

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
async fn a_client_that_is_gone_is_gone_from_its_rooms() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("cave", &[]).await;
    romeo.joins("cave").await;
    juliet.presence().await;
    romeo.client.close().await;
    let (presence, _) = juliet.presence().await;
    assert_eq!(presence.type_str().as_deref(), Some("unavailable"));
    assert_eq!(presence.from().unwrap().resource(), Some("romeo"));
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
async fn xep0045_8_2_a_change_is_answered_before_all_hear_of_it_and_nothing_comes_between() {
    let server = serve(&Arc::new(Disk::default()), |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    let mut nurse = Person::new(&server, "nurse").await;
    juliet.makes("cave", &[]).await;
    romeo.joins("cave").await;
    nurse.joins("cave").await;
    for _ in 0..30 {
        romeo.leaves("cave").await;
        romeo.joins("cave").await;
        // He leaves while his role changes: what is said of him last is that he is gone.
        let silence = AdminQuery::role("romeo", Role::Visitor, None);
        let silence = juliet.client.request(Iq::set(Person::address("cave")).payload(&silence));
        let leave = romeo.client.send(Presence::unavailable().to(jid("cave@rooms.localhost/romeo")));
        let (_, left) = tokio::join!(silence, leave);
        left.unwrap();
        while romeo.presence().await.0.type_str().as_deref() != Some("unavailable") {}
        juliet.says("cave", "is he there?").await;
        let mut there = false;
        loop {
            match timeout(PATIENCE, nurse.events.next()).await.unwrap().unwrap() {
                Event::Presence(presence) if presence.from().unwrap().resource() == Some("romeo") => {
                    there = presence.type_str().is_none();
                }
                Event::Message(message) if message.body().is_some() => break,
                _ => {}
            }
        }
        assert!(!there, "a ghost");
        romeo.joins("cave").await;
    }
}

#[tokio::test]
async fn xep0313_4_3_a_page_of_a_rooms_archive_is_there_before_it_is_said_to_end() {
    // Messages have to wait on their way to their recipient while the gate is shut, as where a block list has to be looked
    // up.
    let (gate, open) = tokio::sync::watch::channel(true);
    let slow = move |r: &mut ServerRegistrar| {
        let wait = move |_: &mut Envelope, _: &Server| {
            let mut open = open.clone();
            Decision::Wait(Box::pin(async move {
                let _ = open.wait_for(|open| *open).await;
                Verdict::Continue
            }))
        };
        r.station(Station::new("test:slow", Stage::Incoming, Kinds::MESSAGE, wait));
    };
    let disk = Arc::new(Disk::default());
    let server = builder(&disk, PATIENCE, |_| {}, |muc| muc).with(slow).build().unwrap();
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.makes("cave", &[]).await;
    for number in 0..5 {
        juliet.says("cave", &number.to_string()).await;
        juliet.hears(&number.to_string()).await;
    }
    gate.send(false).unwrap();
    let query = Iq::set(Person::address("cave")).payload(&ArchiveQuery::default());
    juliet.client.query::<ArchiveFin>(query).await.unwrap();
    // What has come by now came before the answer.
    juliet.client.request(Iq::get(jid("localhost")).payload(&Ping)).await.unwrap();
    let mut came = 0;
    while let Ok(Some(event)) = timeout(Duration::ZERO, juliet.events.next()).await {
        came += usize::from(matches!(&event, Event::Message(message) if message.payload::<ArchiveResult>().is_some()));
    }
    assert_eq!(came, 5);
}
