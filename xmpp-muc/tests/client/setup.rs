//! Clients with rooms, and a server that has some.

pub(crate) use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
pub(crate) use tokio::{task::AbortHandle, time::timeout};
pub(crate) use xmpp_core::{
    client::{Backoff, Client, ClientBuilder, ClientRegistrar, Event, Flow, RequestError},
    jid::{BareJid, Jid},
    net::Transport,
    server::{MemoryAccounts, Server},
    stanza::{AnyStanza, Condition, PresenceType, Show},
    xml::{Stanza, XmlLimits, ns},
};
pub(crate) use xmpp_im::archive::{MemoryArchive, Since};
pub(crate) use xmpp_muc::{
    Affiliation, MemoryRooms, Role, RoomConfig,
    client::{
        ConfigureError, Departure, History, JoinError, Loss, Muc, MucClient, MucClientSettings, Occupant, Room,
        RoomEvent, RoomEvents, RoomRegistration, SayError, client_with,
    },
    config::Whois,
    payload::StatusCode,
    service::{Muc as Service, MucSettings},
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn server() -> Server {
    server_with(MucSettings::default())
}

pub(crate) fn server_with(mut settings: MucSettings) -> Server {
    // Nobody waits here.
    (settings.limits.message_every, settings.limits.presence_every) = (Duration::ZERO, Duration::ZERO);
    let accounts = MemoryAccounts::new();
    for name in ["juliet@localhost", "romeo@localhost", "nurse@localhost"] {
        accounts.set_password(bare(name), "secret");
    }
    let rooms = Service::new("rooms.localhost", Arc::new(MemoryRooms::new())).settings(settings);
    let rooms = rooms.archive(Arc::new(MemoryArchive::default()));
    let builder = Server::builder("localhost").accounts(accounts).with(xmpp_im::presence::server);
    builder.with(xmpp_im::delivery::server).with(rooms).build().unwrap()
}

pub(crate) fn bare(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

pub(crate) fn balcony() -> BareJid {
    bare("balcony@rooms.localhost")
}

pub(crate) fn settings() -> MucClientSettings {
    let mut settings = MucClientSettings::default();
    settings.patience = Duration::from_secs(10);
    settings.retry = Duration::from_millis(10);
    settings.shutdown_wait = Duration::from_millis(10);
    settings
}

/// A client over a pipe that can be cut.
pub(crate) fn connect(
    server: &Server,
    name: &str,
    change: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> (Client, Cutter) {
    let pipe = server.clone();
    let cutter = Cutter::default();
    let relay = cutter.clone();
    let builder = Client::builder(format!("{name}@localhost/{name}").parse().unwrap(), "secret");
    let builder = change(builder.backoff(Backoff { first: Duration::from_millis(1), max: Duration::from_millis(50) }));
    let connect = move || {
        let (near, mut far) = Transport::pair(64 * 1024);
        let mut server = pipe.connect_memory();
        let task = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut far, &mut server).await });
        *relay.0.lock().unwrap() = Some(task.abort_handle());
        near
    };
    let (client, mut events) = builder.pipe(connect).connect().unwrap();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Offline { retry: None, error } = event {
                eprintln!("{error}");
            }
        }
    });
    (client, cutter)
}

pub(crate) fn login(server: &Server, name: &str) -> Muc {
    connect(server, name, |builder| builder.with(client_with(settings()))).0.muc().unwrap()
}

#[derive(Clone, Default)]
pub(crate) struct Cutter(Arc<Mutex<Option<AbortHandle>>>);

impl Cutter {
    pub(crate) fn cut(&self) {
        self.0.lock().unwrap().take().unwrap().abort();
    }
}

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.unwrap()
}

/// The first event that is meant.
pub(crate) async fn until<T>(events: &mut RoomEvents, mut meant: impl FnMut(RoomEvent) -> Option<T>) -> T {
    let mut before = Vec::new();
    let wait = async {
        loop {
            let event = events.next().await.unwrap();
            before.push(format!("{event:?}"));
            if let Some(found) = meant(event) {
                return found;
            }
        }
    };
    let found = timeout(PATIENCE, wait).await;
    found.unwrap_or_else(|_| panic!("it has not come, only {before:#?}"))
}

pub(crate) async fn text(events: &mut RoomEvents) -> String {
    until(events, |event| match event {
        RoomEvent::Message(message) => Some(message.body().unwrap().into_owned()),
        _ => None,
    })
    .await
}

pub(crate) async fn arrived(events: &mut RoomEvents) -> Arc<Occupant> {
    until(events, |event| if let RoomEvent::Arrived(who) = event { Some(who) } else { None }).await
}

/// Juliet in a room of hers, and Romeo in it.
pub(crate) async fn two(server: &Server) -> (Room, RoomEvents, Room, RoomEvents) {
    let (hers, mut her_events) = within(login(server, "juliet").join(balcony(), "Juliet").into_future()).await.unwrap();
    let (his, his_events) = within(login(server, "romeo").join(balcony(), "Romeo").into_future()).await.unwrap();
    assert_eq!(arrived(&mut her_events).await.nick, "Romeo");
    (hers, her_events, his, his_events)
}
