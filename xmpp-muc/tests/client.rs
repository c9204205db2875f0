//! A client's rooms, over an embedded service.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{task::AbortHandle, time::timeout};
use xmpp_core::{
    client::{Backoff, Client, ClientBuilder, ClientRegistrar, Event, Flow, RequestError},
    jid::{BareJid, Jid},
    net::Transport,
    server::{MemoryAccounts, Server},
    stanza::{AnyStanza, Condition, PresenceType, Show},
    xml::{Stanza, XmlLimits, ns},
};
use xmpp_im::{
    archive::{MemoryArchive, Since},
    avatar::AvatarError,
    vcard::VCard,
};
use xmpp_muc::{
    Affiliation, MemoryRooms, Role, RoomConfig,
    client::{
        ConfigureError, Departure, History, JoinError, Loss, Muc, MucClient, MucClientSettings, Occupant, Room,
        RoomEvent, RoomEvents, RoomRegistration, SayError, client_with,
    },
    config::Whois,
    payload::{Hat, StatusCode},
    service::{Muc as Service, MucSettings},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn server() -> Server {
    server_with(MucSettings::default())
}

fn server_with(settings: MucSettings) -> Server {
    let accounts = MemoryAccounts::new();
    for name in ["juliet@localhost", "romeo@localhost", "nurse@localhost"] {
        accounts.set_password(bare(name), "secret");
    }
    let rooms = Service::new("rooms.localhost", Arc::new(MemoryRooms::new())).settings(settings);
    let rooms = rooms.archive(Arc::new(MemoryArchive::default()));
    let builder = Server::builder("localhost").accounts(accounts).with(xmpp_im::presence::server);
    builder.with(xmpp_im::delivery::server).with(rooms).build().unwrap()
}

fn bare(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

fn balcony() -> BareJid {
    bare("balcony@rooms.localhost")
}

fn settings() -> MucClientSettings {
    let mut settings = MucClientSettings::default();
    settings.patience = Duration::from_secs(10);
    settings.retry = Duration::from_millis(10);
    settings.shutdown_wait = Duration::from_millis(10);
    settings
}

/// A client over a pipe that can be cut.
fn connect(server: &Server, name: &str, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> (Client, Cutter) {
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

fn login(server: &Server, name: &str) -> Muc {
    connect(server, name, |builder| builder.with(client_with(settings()))).0.muc().unwrap()
}

#[derive(Clone, Default)]
struct Cutter(Arc<Mutex<Option<AbortHandle>>>);

impl Cutter {
    fn cut(&self) {
        self.0.lock().unwrap().take().unwrap().abort();
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.unwrap()
}

/// The first event that is meant.
async fn until<T>(events: &mut RoomEvents, mut meant: impl FnMut(RoomEvent) -> Option<T>) -> T {
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

async fn text(events: &mut RoomEvents) -> String {
    until(events, |event| match event {
        RoomEvent::Message(message) => Some(message.body().unwrap().into_owned()),
        _ => None,
    })
    .await
}

async fn arrived(events: &mut RoomEvents) -> Arc<Occupant> {
    until(events, |event| if let RoomEvent::Arrived(who) = event { Some(who) } else { None }).await
}

/// Juliet in a room of hers, and Romeo in it.
async fn two(server: &Server) -> (Room, RoomEvents, Room, RoomEvents) {
    let (hers, mut her_events) = within(login(server, "juliet").join(balcony(), "Juliet").into_future()).await.unwrap();
    let (his, his_events) = within(login(server, "romeo").join(balcony(), "Romeo").into_future()).await.unwrap();
    assert_eq!(arrived(&mut her_events).await.nick, "Romeo");
    (hers, her_events, his, his_events)
}

#[tokio::test]
async fn xep0045_7_what_is_said_comes_back_and_comes_to_all() {
    let server = server();
    let (hers, mut her_events) =
        within(login(&server, "juliet").join(balcony(), "Juliet").into_future()).await.unwrap();
    let entry = until(&mut her_events, |event| match event {
        RoomEvent::Joined(entry) => Some(entry),
        _ => None,
    })
    .await;
    assert!(entry.created && !entry.is_non_anonymous, "{entry:?}");
    let me = hers.me().unwrap();
    assert_eq!((me.role, me.affiliation, me.nick.as_str()), (Role::Moderator, Affiliation::Owner, "Juliet"));
    assert!(me.id.is_some() && me.jid.is_some());
    let said = within(hers.send("O Romeo, Romeo!")).await.unwrap();
    assert!(said.is_mine && said.stanza_id.is_some() && !said.is_history());
    assert_eq!(text(&mut her_events).await, "O Romeo, Romeo!");
    within(hers.set_subject("Wherefore?")).await.unwrap();

    let (his, mut his_events) = within(login(&server, "romeo").join(balcony(), "Romeo").into_future()).await.unwrap();
    let first = his_events.next().await.unwrap();
    assert!(matches!(first, RoomEvent::Joined(_)), "{first:?}");
    let history = until(&mut his_events, |event| match event {
        RoomEvent::Message(message) => Some(message),
        _ => None,
    })
    .await;
    assert!(history.is_history() && !history.is_mine && history.stanza_id == said.stanza_id, "{history:?}");
    let subject = until(&mut his_events, |event| match event {
        RoomEvent::Subject { nick, text, time } => Some((nick, text, time.is_some())),
        _ => None,
    })
    .await;
    assert_eq!(subject, (Some("Juliet".to_owned()), "Wherefore?".to_owned(), true));
    assert_eq!(his.subject().as_deref(), Some("Wherefore?"));
    assert_eq!(his.occupants().iter().map(|one| one.nick.as_str()).collect::<Vec<_>>(), ["Juliet", "Romeo"]);
    assert_eq!(his.occupant("Juliet").unwrap().jid, None, "he does not see who she is");
    let romeo = arrived(&mut her_events).await;
    assert_eq!(romeo.jid.as_ref().map(Jid::as_str), Some("romeo@localhost/romeo"), "she does");

    let id = within(his.whisper("Juliet", "psst")).await.unwrap();
    let (nick, got, body) = until(&mut her_events, |event| match event {
        RoomEvent::Private(message) => {
            Some((message.nick.clone(), message.id.clone(), message.body().unwrap().into_owned()))
        }
        _ => None,
    })
    .await;
    assert_eq!((nick.as_deref(), got, body.as_str()), (Some("Romeo"), Some(id), "psst"));
    assert!(matches!(his.whisper("Nurse", "you?").await, Err(SayError::NobodyThere)));

    his.set_presence(Some(Show::Away), Some("climbing")).await.unwrap();
    let seen =
        until(&mut her_events, |event| if let RoomEvent::Presence(who) = event { Some(who) } else { None }).await;
    assert_eq!((seen.show, seen.status.as_deref()), (Some(Show::Away), Some("climbing")));

    assert_eq!(within(his.change_nick("Montague")).await.unwrap(), "Montague");
    let (was, nick, mine) = until(&mut her_events, |event| match event {
        RoomEvent::Nick { was, occupant, is_mine } => Some((was, occupant.nick.clone(), is_mine)),
        _ => None,
    })
    .await;
    assert_eq!((was.as_str(), nick.as_str(), mine), ("Romeo", "Montague", false));
    assert_eq!(his.me().unwrap().status.as_deref(), Some("climbing"));
    assert!(matches!(within(his.change_nick("Juliet")).await, Err(JoinError::NickConflict)));
    assert_eq!(his.nick(), "Montague");
    within(his.send("still here")).await.unwrap();
    assert_eq!(text(&mut her_events).await, "still here");

    within(his.leave(Some("banished"))).await.unwrap();
    let (who, why, reason) = until(&mut her_events, |event| match event {
        RoomEvent::Departed { occupant, why, reason, .. } => Some((occupant.nick.clone(), why, reason)),
        _ => None,
    })
    .await;
    assert_eq!((who.as_str(), why, reason.as_deref()), ("Montague", Departure::Left, Some("banished")));
    while his_events.next().await.is_some() {}
    assert!(matches!(his.send("anybody?").await, Err(SayError::NotInRoom)));
    assert!(matches!(his.rejoin().await, Err(JoinError::Closed)));
    assert_eq!(hers.occupants().len(), 1);
}

#[tokio::test]
async fn xep0045_7_2_17_each_refusal_has_its_name() {
    let mut settings = MucSettings::default();
    settings.may_create = Some(Arc::new(|who: &Jid| who.local() != Some("nurse")));
    let server = server_with(settings);
    let (juliet, romeo, nurse) = (login(&server, "juliet"), login(&server, "romeo"), login(&server, "nurse"));
    let (hers, _events) = within(juliet.join(balcony(), "Juliet").into_future()).await.unwrap();
    let refused =
        async |muc: &Muc, room: &str, nick: &str| within(muc.join(bare(room), nick).into_future()).await.unwrap_err();
    let there = "balcony@rooms.localhost";
    assert!(matches!(refused(&juliet, there, "J").await, JoinError::AlreadyThere));
    assert!(matches!(refused(&romeo, there, "Juliet").await, JoinError::NickConflict));
    assert!(matches!(refused(&romeo, there, "").await, JoinError::BadNick(_)));
    assert!(matches!(refused(&nurse, "cell@rooms.localhost", "Nurse").await, JoinError::NotAllowed));
    let nothing = within(romeo.join(bare("cell@rooms.localhost"), "Romeo").existing().into_future()).await;
    assert!(matches!(nothing.unwrap_err(), JoinError::NoSuchRoom));
    assert!(within(romeo.info(&bare("cell@rooms.localhost"))).await.is_err(), "and none is left behind");
    assert!(matches!(
        refused(&romeo, "a@nowhere.localhost", "Romeo").await,
        JoinError::Unreachable | JoinError::NoSuchRoom
    ));
    let (second, _) = within(romeo.join(balcony(), "Juliet").or_numbered(3).into_future()).await.unwrap();
    assert_eq!(second.nick(), "Juliet2");
    within(second.leave(None)).await.unwrap();

    let mut form = within(hers.configuration()).await.unwrap();
    form.config.password = Some("hush".to_owned());
    within(hers.configure(&form)).await.unwrap();
    assert!(matches!(refused(&romeo, there, "Romeo").await, JoinError::Password));
    let wrong = within(romeo.join(balcony(), "Romeo").password("hash").into_future()).await;
    assert!(matches!(wrong.unwrap_err(), JoinError::Password));
    let (inside, _) = within(romeo.join(balcony(), "Romeo").password("hush").into_future()).await.unwrap();
    within(inside.leave(None)).await.unwrap();

    let mut form = within(hers.configuration()).await.unwrap();
    (form.config.password, form.config.members_only) = (None, true);
    within(hers.configure(&form)).await.unwrap();
    assert!(matches!(refused(&romeo, there, "Romeo").await, JoinError::MembersOnly));
    within(hers.ban(&bare("romeo@localhost"), Some("a Montague"))).await.unwrap();
    assert!(matches!(refused(&romeo, there, "Romeo").await, JoinError::Banned));
    let mut form = within(hers.configuration()).await.unwrap();
    (form.config.max_users, form.config.members_only) = (Some(1), false);
    within(hers.configure(&form)).await.unwrap();
    assert!(matches!(refused(&nurse, there, "Nurse").await, JoinError::Full));
}

#[tokio::test]
async fn xep0045_8_2_who_is_kicked_learns_by_whom_and_may_come_back() {
    let server = server();
    let (hers, mut her_events, his, mut his_events) = two(&server).await;
    within(hers.kick("Romeo", Some("too loud"))).await.unwrap();
    let removed = async |events: &mut RoomEvents| {
        until(events, |event| if let RoomEvent::Removed(removal) = event { Some(removal) } else { None }).await
    };
    let removal = removed(&mut his_events).await;
    assert_eq!((removal.why, removal.by.as_deref()), (Departure::Kicked, Some("Juliet")));
    assert!(removal.reason.as_deref() == Some("too loud") && removal.may_return());
    assert!(!his.is_inside() && his.occupants().is_empty() && his.me().is_none());
    assert!(matches!(his.send("oh").await, Err(SayError::NotInRoom)));
    let gone = until(&mut her_events, |event| match event {
        RoomEvent::Departed { occupant, why, by, .. } => Some((occupant.nick.clone(), why, by)),
        _ => None,
    });
    assert_eq!(gone.await, ("Romeo".to_owned(), Departure::Kicked, Some("Juliet".to_owned())));
    assert_eq!(within(his.rejoin()).await.unwrap().nick, "Romeo");
    until(&mut his_events, |event| matches!(event, RoomEvent::Joined(_)).then_some(())).await;
    assert_eq!(arrived(&mut her_events).await.nick, "Romeo");

    let mut form = within(hers.configuration()).await.unwrap();
    form.config.members_only = true;
    within(hers.configure(&form)).await.unwrap();
    assert_eq!(removed(&mut his_events).await.why, Departure::MembersOnly);
    assert!(matches!(within(his.rejoin()).await, Err(JoinError::MembersOnly)));
    within(hers.set_affiliation(&bare("romeo@localhost"), Affiliation::Member, None)).await.unwrap();
    within(his.rejoin()).await.unwrap();
    within(hers.disaffiliate(&bare("romeo@localhost"))).await.unwrap();
    assert_eq!(removed(&mut his_events).await.why, Departure::AffiliationLost);
    within(hers.set_affiliation(&bare("romeo@localhost"), Affiliation::Member, None)).await.unwrap();
    within(his.rejoin()).await.unwrap();
    within(hers.ban(&bare("romeo@localhost"), Some("banished"))).await.unwrap();
    let removal = removed(&mut his_events).await;
    assert!(removal.why == Departure::Banned && !removal.may_return(), "{removal:?}");
    assert!(matches!(within(his.rejoin()).await, Err(JoinError::Banned)));

    within(hers.destroy(Some(&bare("tomb@rooms.localhost")), Some("all are gone"))).await.unwrap();
    let destroyed = until(&mut her_events, |event| match event {
        RoomEvent::Destroyed(destroyed) => Some(destroyed),
        _ => None,
    });
    let destroyed = destroyed.await;
    assert_eq!(destroyed.jid.unwrap().as_str(), "tomb@rooms.localhost");
    assert_eq!(destroyed.reason.as_deref(), Some("all are gone"));
    assert!(!hers.is_inside());
}

#[tokio::test]
async fn xep0045_8_roles_affiliations_and_voice_are_told_and_changed() {
    let server = server();
    let (hers, mut her_events, his, mut his_events) = two(&server).await;
    within(hers.revoke_voice("Romeo", Some("hush"))).await.unwrap();
    let role = async |events: &mut RoomEvents| {
        until(events, |event| match event {
            RoomEvent::Role { occupant, was, by, reason } => {
                Some((occupant.nick.clone(), was, occupant.role, by, reason))
            }
            _ => None,
        })
        .await
    };
    let (nick, was, is, by, reason) = role(&mut his_events).await;
    assert_eq!((nick.as_str(), was, is), ("Romeo", Role::Participant, Role::Visitor));
    assert_eq!((by.as_deref(), reason.as_deref()), (Some("Juliet"), Some("hush")));
    assert_eq!(his.me().unwrap().role, Role::Visitor);
    assert!(matches!(within(his.send("but")).await, Err(SayError::NotPermitted)));
    assert!(matches!(within(his.set_subject("but")).await, Err(SayError::NotPermitted)));
    his.request_voice().await.unwrap();
    let request = until(&mut her_events, |event| match event {
        RoomEvent::VoiceRequest(request) => Some(request),
        _ => None,
    })
    .await;
    assert_eq!(
        (request.nick.as_str(), request.jid.as_ref().map(Jid::as_str)),
        ("Romeo", Some("romeo@localhost/romeo"))
    );
    hers.answer_voice(&request, true).await.unwrap();
    assert_eq!(role(&mut his_events).await.2, Role::Participant);
    within(his.send("soft!")).await.unwrap();

    within(hers.make_moderator("Romeo")).await.unwrap();
    assert_eq!(role(&mut his_events).await.2, Role::Moderator);
    within(hers.set_affiliation(&bare("romeo@localhost"), Affiliation::Admin, None)).await.unwrap();
    let (was, is) = until(&mut his_events, |event| match event {
        RoomEvent::Affiliation { occupant, was, .. } => Some((was, occupant.affiliation)),
        _ => None,
    })
    .await;
    assert_eq!((was, is), (Affiliation::None, Affiliation::Admin));
    // §10.8: in a semi-anonymous room the list of admins is for owners.
    let refused = within(his.affiliated(Affiliation::Admin)).await;
    assert!(matches!(refused, Err(RequestError::Refused(error)) if error.condition == Condition::Forbidden));
    assert_eq!(within(hers.affiliated(Affiliation::Admin)).await.unwrap().len(), 1);
    within(his.ban(&bare("tybalt@localhost"), Some("rude"))).await.unwrap();
    let outcasts = within(his.affiliated(Affiliation::Outcast)).await.unwrap();
    assert_eq!(outcasts[0].jid.as_ref().map(Jid::as_str), Some("tybalt@localhost"));
    assert_eq!(outcasts[0].reason.as_deref(), Some("rude"));
    assert_eq!(within(hers.acting_as(Role::Moderator)).await.unwrap().len(), 2);
    let refused = within(his.destroy(None, None)).await;
    assert!(matches!(refused, Err(RequestError::Refused(error)) if error.condition == Condition::Forbidden));

    // XEP-0425.
    let said = within(his.send("a rude word")).await.unwrap();
    within(hers.moderate(said.stanza_id.as_deref().unwrap(), Some("language"))).await.unwrap();
    let retracted = until(&mut his_events, |event| match event {
        RoomEvent::Retracted { id, by, reason } => Some((Some(id), by, reason)),
        _ => None,
    });
    assert_eq!(retracted.await, (said.stanza_id, Some("Juliet".to_owned()), Some("language".to_owned())));
}

#[tokio::test]
async fn xep0045_10_a_room_is_configured_by_a_typed_form() {
    let server = server();
    let juliet = login(&server, "juliet");
    let config = RoomConfig {
        name: "Balcony".to_owned(),
        description: "by night".to_owned(),
        persistent: true,
        moderated: true,
        whois: Whois::Anyone,
        password: Some("hush".to_owned()),
        max_users: Some(30),
        ..RoomConfig::default()
    };
    let (hers, mut events) =
        within(juliet.join(balcony(), "Juliet").configured(config.clone()).into_future()).await.unwrap();
    let mut form = within(hers.configuration()).await.unwrap();
    assert_eq!(form.config, config);
    let info = within(juliet.info(&balcony())).await.unwrap();
    assert!(info.has("muc_passwordprotected") && info.has("muc_moderated") && info.has("muc_nonanonymous"));
    assert_eq!(
        (info.name.as_deref(), info.description(), info.occupants()),
        (Some("Balcony"), Some("by night"), Some(1))
    );

    (form.config.logging, form.config.whois, form.config.name) = (true, Whois::Moderators, "Garden".to_owned());
    within(hers.configure(&form)).await.unwrap();
    let codes =
        until(&mut events, |event| if let RoomEvent::Configured(codes) = event { Some(codes) } else { None }).await;
    for code in [StatusCode::LOGGED, StatusCode::NOW_SEMI_ANONYMOUS, StatusCode::CONFIGURATION_CHANGED] {
        assert!(codes.contains(&code), "{codes:?}");
    }
    assert_eq!(within(hers.configuration()).await.unwrap().config, form.config);
    form.form.fields.retain(|field| field.var.as_deref() != Some("muc#roomconfig_lang"));
    form.config.lang = "it".to_owned();
    let missing = within(hers.configure(&form)).await;
    assert!(matches!(missing, Err(ConfigureError::NotOffered(var)) if var == "muc#roomconfig_lang"));

    let hidden = within(juliet.join(bare("tomb@rooms.localhost"), "Juliet").reserved().into_future()).await.unwrap();
    let romeo = login(&server, "romeo");
    let locked = within(romeo.join(bare("tomb@rooms.localhost"), "Romeo").into_future()).await;
    assert!(matches!(locked.unwrap_err(), JoinError::NoSuchRoom));
    let form = within(hidden.0.configuration()).await.unwrap();
    within(hidden.0.configure(&form)).await.unwrap();
    within(romeo.join(bare("tomb@rooms.localhost"), "Romeo").into_future()).await.unwrap();

    for number in 0..5 {
        let room = bare(&format!("room{number}@rooms.localhost"));
        std::mem::forget(within(juliet.join(room, "Juliet").into_future()).await.unwrap());
    }
    let service = Jid::new("rooms.localhost").unwrap();
    let mut list = romeo.rooms(service.clone()).page(3);
    assert_eq!(within(list.next()).await.unwrap().unwrap().len(), 3);
    let all = within(romeo.rooms(service.clone()).page(2).all()).await.unwrap();
    assert_eq!(all.len(), 7, "{all:?}");
    assert!(all.iter().any(|room| room.jid == balcony() && room.name.as_deref() == Some("Garden")));
    assert_eq!(within(romeo.services()).await.unwrap(), [service]);
}

#[tokio::test]
async fn xep0045_7_8_invitations_go_both_ways_and_nicknames_are_reserved() {
    let server = server();
    let (juliet, romeo) = (login(&server, "juliet"), login(&server, "romeo"));
    let mut invitations = romeo.invitations();
    let (hers, mut events) = within(juliet.join(balcony(), "Juliet").into_future()).await.unwrap();
    within(romeo.info(&balcony())).await.unwrap();
    hers.invite(Jid::new("romeo@localhost/romeo").unwrap(), Some("come up")).await.unwrap();
    let invitation = within(invitations.next()).await.unwrap();
    assert_eq!((&invitation.room, invitation.reason.as_deref()), (&balcony(), Some("come up")));
    assert!(invitation.is_mediated && invitation.from.is_some());
    romeo.decline(&invitation, Some("the nurse")).await.unwrap();
    let (from, reason) = until(&mut events, |event| match event {
        RoomEvent::Declined { from, reason } => Some((from, reason)),
        _ => None,
    })
    .await;
    assert_eq!((from.unwrap().bare_str(), reason.as_deref()), ("romeo@localhost", Some("the nurse")));
    hers.invite_directly(Jid::new("romeo@localhost/romeo").unwrap(), None).await.unwrap();
    let invitation = within(invitations.next()).await.unwrap();
    assert!(!invitation.is_mediated && invitation.from.unwrap().as_str() == "juliet@localhost/juliet");

    let (his, _events) = within(romeo.join(balcony(), "Romeo").into_future()).await.unwrap();
    assert!(matches!(within(his.registration()).await.unwrap(), RoomRegistration::Form(_)));
    within(his.register("Rosaline's")).await.unwrap();
    assert_eq!(within(romeo.reserved_nick(&balcony())).await.unwrap().as_deref(), Some("Rosaline's"));
    let registered = within(his.registration()).await.unwrap();
    assert!(matches!(registered, RoomRegistration::Registered(Some(nick)) if nick == "Rosaline's"));
    assert!(matches!(within(hers.change_nick("Rosaline's")).await, Err(JoinError::NickConflict)));
    within(his.unregister()).await.unwrap();
    assert_eq!(within(romeo.reserved_nick(&balcony())).await.unwrap(), None);
}

#[tokio::test]
async fn a_room_is_entered_again_in_a_new_session_and_nothing_is_told_twice() {
    let server = server();
    let juliet = login(&server, "juliet");
    let (hers, _her_events) = within(juliet.join(balcony(), "Juliet").into_future()).await.unwrap();
    let build = |builder: ClientBuilder| builder.no_stream_management().with(client_with(settings()));
    let (romeo, cutter) = connect(&server, "romeo", build);
    let (his, mut his_events) = within(romeo.muc().unwrap().join(balcony(), "Romeo").into_future()).await.unwrap();
    within(his.send("before")).await.unwrap();
    assert_eq!(text(&mut his_events).await, "before");
    cutter.cut();
    let loss = until(&mut his_events, |event| if let RoomEvent::Lost(loss) = event { Some(loss) } else { None }).await;
    assert_eq!(loss, Loss::Session);
    within(his.inside()).await;
    let mut told = Vec::new();
    within(hers.send("after")).await.unwrap();
    until(&mut his_events, |event| match event {
        RoomEvent::Message(message) => {
            told.push(message.body().unwrap().into_owned());
            (told.last().unwrap() == "after").then_some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(told, ["after"]);
    assert!(within(his.missed().next()).await.is_none(), "all of it was told");
    let mut all = his.since(Since::Beginning);
    assert!(within(all.next()).await.is_none());
    within(his.send("and I am there")).await.unwrap();
}

async fn rooms_alone_are_no_chats(server: &Server) -> bool {
    use xmpp_im::chat::ChatClient;
    let nurse = connect(server, "nurse", |builder| builder.with(client_with(settings()))).0;
    nurse.chats().is_err() && nurse.archive().is_ok()
}

#[tokio::test]
async fn xep0313_what_was_missed_is_read_from_the_archive_once() {
    let server = server();
    let juliet = login(&server, "juliet");
    let (hers, mut her_events) = within(juliet.join(balcony(), "Juliet").into_future()).await.unwrap();
    // Chats, which read archives too, may come before or after.
    let chats = xmpp_im::chat::client(xmpp_im::chat::ChatSettings::default());
    let build = |builder: ClientBuilder| builder.with(client_with(settings())).with(chats);
    assert!(rooms_alone_are_no_chats(&server).await);
    let (romeo, _) = connect(&server, "romeo", build);
    let joining = romeo.muc().unwrap().join(balcony(), "Romeo").history(History::None);
    let (his, mut his_events) = within(joining.into_future()).await.unwrap();
    within(hers.send("one")).await.unwrap();
    assert_eq!(text(&mut his_events).await, "one");
    within(hers.kick("Romeo", None)).await.unwrap();
    until(&mut his_events, |event| matches!(event, RoomEvent::Removed(_)).then_some(())).await;
    for said in ["two", "three"] {
        within(hers.send(said)).await.unwrap();
    }
    let mut missed = his.missed();
    for said in ["two", "three"] {
        let message = within(missed.next()).await.unwrap().unwrap();
        assert_eq!((message.body().unwrap().as_ref(), message.nick.as_deref()), (said, Some("Juliet")));
        assert!(message.stanza_id.is_some() && message.is_history());
    }
    assert!(within(missed.next()).await.is_none());
    within(his.rejoin()).await.unwrap();
    within(hers.send("four")).await.unwrap();
    assert_eq!(text(&mut his_events).await, "four", "the history of the room was known");
    assert_eq!(text(&mut her_events).await, "one");
}

#[tokio::test]
async fn xep0198_a_session_that_goes_on_is_still_in_the_room() {
    let server = server();
    let juliet = login(&server, "juliet");
    let (hers, mut her_events) = within(juliet.join(balcony(), "Juliet").into_future()).await.unwrap();
    let (romeo, cutter) = connect(&server, "romeo", |builder| builder.with(client_with(settings())));
    let (his, mut his_events) = within(romeo.muc().unwrap().join(balcony(), "Romeo").into_future()).await.unwrap();
    assert_eq!(arrived(&mut her_events).await.nick, "Romeo");
    cutter.cut();
    within(hers.send("are you there?")).await.unwrap();
    let mut lost = false;
    until(&mut his_events, |event| {
        lost |= matches!(event, RoomEvent::Lost(_));
        matches!(event, RoomEvent::Message(_)).then_some(())
    })
    .await;
    assert!(!lost && his.is_inside());
    within(his.send("I am")).await.unwrap();
    let mut left = false;
    until(&mut her_events, |event| {
        left |= matches!(event, RoomEvent::Departed { .. });
        matches!(event, RoomEvent::Message(message) if message.nick.as_deref() == Some("Romeo")).then_some(())
    })
    .await;
    assert!(!left);
}

#[tokio::test]
async fn xep0410_a_silent_loss_is_noticed() {
    let server = server();
    let juliet = login(&server, "juliet");
    let (hers, _her_events) = within(juliet.join(balcony(), "Juliet").into_future()).await.unwrap();
    let deaf = Arc::new(AtomicBool::new(false));
    let ear = Arc::clone(&deaf);
    let hearing = move |r: &mut ClientRegistrar| {
        r.incoming(move |stanza, _| match stanza {
            AnyStanza::Presence(presence)
                if presence.type_() == PresenceType::Unavailable && ear.load(Ordering::Relaxed) =>
            {
                Flow::Handled
            }
            _ => Flow::Continue,
        });
    };
    let mut settings = settings();
    settings.ping_after = Duration::from_millis(50);
    let build = |builder: ClientBuilder| builder.with(hearing).with(client_with(settings));
    let (romeo, _cutter) = connect(&server, "romeo", build);
    let (his, mut his_events) = within(romeo.muc().unwrap().join(balcony(), "Romeo").into_future()).await.unwrap();
    deaf.store(true, Ordering::Relaxed);
    within(hers.kick("Romeo", None)).await.unwrap();
    let loss = until(&mut his_events, |event| if let RoomEvent::Lost(loss) = event { Some(loss) } else { None }).await;
    assert_eq!(loss, Loss::Silent);
    until(&mut his_events, |event| matches!(event, RoomEvent::Rejoined(_)).then_some(())).await;
    within(his.send("back")).await.unwrap();
    // And when there is no hope, it is said.
    within(hers.ban(&bare("romeo@localhost"), None)).await.unwrap();
    let error =
        until(&mut his_events, |event| if let RoomEvent::GaveUp(error) = event { Some(error) } else { None }).await;
    assert!(matches!(error, JoinError::Banned));
}

#[tokio::test]
async fn the_last_handle_leaves_the_room_and_the_client_ends_the_events() {
    let server = server();
    let (hers, mut her_events, his, his_events) = two(&server).await;
    drop(his);
    assert_eq!(his_events.room().nick(), "Romeo");
    drop(his_events);
    let gone = until(&mut her_events, |event| match event {
        RoomEvent::Departed { occupant, .. } => Some(occupant.nick.clone()),
        _ => None,
    });
    assert_eq!(gone.await, "Romeo");
    let juliet = connect(&server, "nurse", |builder| builder.with(client_with(settings()))).0;
    let (nurse, mut events) = within(juliet.muc().unwrap().join(balcony(), "Nurse").into_future()).await.unwrap();
    juliet.close().await;
    within(async { while events.next().await.is_some() {} }).await;
    assert!(matches!(within(nurse.send("gone")).await, Err(SayError::NotInRoom)));
    assert!(!hers.nick().is_empty());
}

fn stanza(xml: &str) -> Stanza {
    Stanza::parse(xml, ns::CLIENT, &XmlLimits::default()).unwrap()
}

#[tokio::test]
async fn abuse_a073_presence_and_words_of_rooms_that_were_not_entered_change_nothing() {
    let server = server();
    let (hers, mut her_events, _his, _his_events) = two(&server).await;
    let me = Jid::new("juliet@localhost/juliet").unwrap();
    let x = "<x xmlns='http://jabber.org/protocol/muc#user'>";
    let hand = |from: &str, xml: &str| assert!(server.hand(Jid::new(from).unwrap(), &me, stanza(xml)));
    // Another room, and a user whose address looks like one.
    for from in ["balcony@evil.localhost/Tybalt", "romeo@localhost/romeo", "rooms.localhost/Tybalt"] {
        let item = "<item affiliation='owner' role='moderator'/><status code='110'/></x>";
        hand(from, &format!("<presence from='{from}'>{x}{item}</presence>"));
        hand(from, &format!("<message from='{from}' type='groupchat'><body>forged</body></message>"));
        hand(from, &format!("<message from='{from}' type='groupchat'><subject>forged</subject></message>"));
        hand(from, &format!("<message from='{from}'>{x}<status code='104'/></x></message>"));
    }
    // An occupant is not the room.
    let romeo = "balcony@rooms.localhost/Romeo";
    hand(
        romeo,
        &format!("<message from='{romeo}' type='groupchat'><body>real</body>{x}<status code='172'/></x></message>"),
    );
    let mut before = Vec::new();
    until(&mut her_events, |event| {
        before.push(format!("{event:?}"));
        matches!(event, RoomEvent::Message(_)).then_some(())
    })
    .await;
    assert!(before.iter().all(|event| !event.contains("forged") && !event.contains("Configured")), "{before:#?}");
    assert_eq!((hers.occupants().len(), hers.nick()), (2, "Juliet".to_owned()));
}

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
