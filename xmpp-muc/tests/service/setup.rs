//! A server with rooms, over stores that can be made to fail, and people in them.

pub(crate) use std::{
    future::pending,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
pub(crate) use tokio::time::timeout;
pub(crate) use xmpp_core::{
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
    sasl::{Hash, ScramCredentials},
    server::{
        Accounts, Decision, Envelope, Kinds, Limits, MemoryAccounts, Server, ServerBuilder, ServerRegistrar, Stage,
        Station, Verdict,
    },
    stanza::{Condition, Iq, Message, MessageType, Presence},
};
pub(crate) use xmpp_im::{
    StorageError, Stored,
    archive::{ArchiveId, ArchiveStore, MemoryArchive, NewEntry, Page, Preferences, Selection},
};
pub(crate) use xmpp_muc::{
    Affiliation, Listed, MemoryRooms, Role, RoomStore, Stretch,
    payload::{AdminQuery, Destroy, Join, Moderate, OccupantId, OwnerQuery, StatusCode, UserInfo},
    room::{Kept, RoomRecord},
    service::{Muc, MucSettings},
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const SERVICE: &str = "rooms.localhost";

pub(crate) fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

/// What is the matter with a store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// It says that it failed.
    Fails,
    /// It says that it failed, and has done it.
    Lies,
    /// It never answers.
    Hangs,
}

/// Stores that work until they are told not to.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) rooms: MemoryRooms,
    pub(crate) archive: MemoryArchive,
    /// Operations by name, and what is the matter with them.
    pub(crate) faults: Mutex<Vec<(&'static str, Fault)>>,
    pub(crate) loads: AtomicUsize,
    pub(crate) queries: AtomicUsize,
    pub(crate) appending: AtomicUsize,
    /// While it is locked, appending waits.
    pub(crate) gate: tokio::sync::Mutex<()>,
}

impl Disk {
    pub(crate) fn breaks(&self, operation: &'static str, fault: Fault) {
        self.faults.lock().unwrap().push((operation, fault));
    }
    pub(crate) fn heals(&self) {
        self.faults.lock().unwrap().clear();
    }
    pub(crate) async fn run<T>(
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

pub(crate) fn serve(disk: &Arc<Disk>, change: impl FnOnce(&mut MucSettings)) -> Server {
    serve_with(disk, PATIENCE, change, |muc| muc)
}

/// A server that waits for no store.
pub(crate) fn impatient(disk: &Arc<Disk>, change: impl FnOnce(&mut MucSettings)) -> Server {
    serve_with(disk, Duration::from_millis(300), change, |muc| muc)
}

pub(crate) fn serve_with(
    disk: &Arc<Disk>,
    handler: Duration,
    change: impl FnOnce(&mut MucSettings),
    more: impl FnOnce(Muc) -> Muc,
) -> Server {
    builder(disk, handler, change, more).build().unwrap()
}

pub(crate) fn builder(
    disk: &Arc<Disk>,
    handler: Duration,
    change: impl FnOnce(&mut MucSettings),
    more: impl FnOnce(Muc) -> Muc,
) -> ServerBuilder {
    // All have the same password, and one key is made of it.
    static KEYS: OnceLock<Vec<ScramCredentials>> = OnceLock::new();
    let accounts = MemoryAccounts::new();
    let derive = |hash: &Hash| ScramCredentials::derive(*hash, "secret", b"the same salt", 4_096);
    let keys = KEYS.get_or_init(|| accounts.hashes().iter().map(derive).collect());
    let names = ["juliet", "romeo", "nurse", "tybalt"].map(str::to_owned).into_iter();
    for name in names.chain((0..200).map(|number| format!("p{number}"))) {
        accounts.set_credentials(format!("{name}@localhost").parse().unwrap(), keys.clone());
    }
    let mut settings = MucSettings::default();
    // Nobody waits here.
    (settings.limits.message_every, settings.limits.presence_every) = (Duration::ZERO, Duration::ZERO);
    change(&mut settings);
    let rooms = Muc::new(SERVICE, disk.clone()).archive(disk.clone()).settings(settings);
    let mut limits = Limits::default();
    limits.handler = handler;
    let builder = Server::builder("localhost").accounts(accounts).allow_plaintext().limits(limits);
    builder.with(xmpp_im::presence::server).with(xmpp_im::delivery::server).with(more(rooms))
}

pub(crate) struct Person {
    pub(crate) client: Client,
    pub(crate) events: Events,
    pub(crate) name: &'static str,
}

impl Person {
    pub(crate) async fn new(server: &Server, name: &'static str) -> Person {
        let server = server.clone();
        let builder = Client::builder(jid(&format!("{name}@localhost/here")), "secret").allow_plaintext();
        let (client, events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
        assert!(timeout(PATIENCE, client.online()).await.unwrap().is_some());
        Person { client, events, name }
    }

    pub(crate) async fn presence(&mut self) -> (Presence, UserInfo) {
        loop {
            if let Event::Presence(presence) = timeout(PATIENCE, self.events.next()).await.unwrap().unwrap() {
                let info = presence.payload::<UserInfo>().map(Result::unwrap).unwrap_or_default();
                return (presence, info);
            }
        }
    }

    pub(crate) async fn message(&mut self) -> Message {
        loop {
            if let Event::Message(message) = timeout(PATIENCE, self.events.next()).await.unwrap().unwrap() {
                return message;
            }
        }
    }

    pub(crate) fn address(room: &str) -> Jid {
        jid(&format!("{room}@{SERVICE}"))
    }

    pub(crate) async fn asks(&self, room: &str) {
        let join = Presence::available().to(jid(&format!("{room}@{SERVICE}/{}", self.name))).payload(&Join::default());
        self.client.send(join).await.unwrap();
    }

    /// Goes into a room, up to its subject; with what was said before.
    pub(crate) async fn joins(&mut self, room: &str) -> (UserInfo, Vec<Message>) {
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

    pub(crate) async fn is_refused(&mut self, room: &str) -> Condition {
        self.asks(room).await;
        self.presence().await.0.error().unwrap().condition
    }

    pub(crate) async fn leaves(&mut self, room: &str) {
        let leave = Presence::unavailable().to(jid(&format!("{room}@{SERVICE}/{}", self.name)));
        self.client.send(leave).await.unwrap();
        while self.presence().await.0.type_str().as_deref() != Some("unavailable") {}
    }

    pub(crate) async fn configures(&self, room: &str, fields: &[(&str, &str)]) -> Result<Iq, RequestError> {
        let form = DataForm::typed(FormKind::Submit, "http://jabber.org/protocol/muc#roomconfig");
        let form = fields.iter().fold(form, |form, (var, value)| form.with(Field::new(*var).value(*value)));
        self.client.request(Iq::set(Self::address(room)).payload(&OwnerQuery { form: Some(form), destroy: None })).await
    }

    pub(crate) async fn makes(&mut self, room: &str, fields: &[(&str, &str)]) {
        assert!(self.joins(room).await.0.has(StatusCode::CREATED));
        self.configures(room, fields).await.unwrap();
    }

    pub(crate) async fn destroys(&self, room: &str) -> Result<Iq, RequestError> {
        let query = OwnerQuery { form: None, destroy: Some(Destroy::default()) };
        self.client.request(Iq::set(Self::address(room)).payload(&query)).await
    }

    pub(crate) async fn says(&self, room: &str, body: &str) {
        self.client.send(Message::groupchat(Self::address(room)).body(body)).await.unwrap();
    }

    pub(crate) async fn hears(&mut self, body: &str) -> Message {
        let message = self.message().await;
        assert!(message.error().is_none(), "{:?}", message.error());
        assert_eq!(message.body().as_deref(), Some(body));
        message
    }

    pub(crate) async fn sets(&self, room: &str, query: &AdminQuery) {
        self.client.request(Iq::set(Self::address(room)).payload(query)).await.unwrap();
    }

    pub(crate) async fn info(&self, room: &str) -> Result<DiscoInfo, RequestError> {
        self.client.query(Iq::get(Self::address(room)).payload(&DiscoInfoQuery::default())).await
    }

    pub(crate) async fn items(&self, rsm: ResultSet) -> Result<DiscoItems, RequestError> {
        let query = DiscoItemsQuery { rsm: Some(rsm), ..DiscoItemsQuery::default() };
        self.client.query(Iq::get(jid(SERVICE)).payload(&query)).await
    }

    /// What is in a room's archive, as text.
    pub(crate) async fn reads(&mut self, room: &str) -> Result<Vec<String>, RequestError> {
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
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, RequestError>) -> Condition {
    match answer {
        Err(RequestError::Refused(error)) => error.condition,
        other => panic!("{other:?}"),
    }
}

pub(crate) const PERSISTENT: &[(&str, &str)] =
    &[("muc#roomconfig_persistentroom", "1"), ("muc#roomconfig_roomname", "Cave")];
