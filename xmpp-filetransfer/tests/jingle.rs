//! Sessions of two clients, over an embedded server.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::timeout,
};
use xmpp_core::{
    client::{Backoff, Client, ClientBuilder, ClientRegistrar, Event as ClientEvent, RequestError},
    extension::Target,
    jid::FullJid,
    net::Transport,
    payload::disco::{DiscoInfo, DiscoInfoQuery},
    server::{MemoryAccounts, Server},
    stanza::{Iq, Presence, StanzaError},
    xml::{Stanza, XmlLimits},
};
use xmpp_filetransfer::jingle::{
    Action, Content, Creator, Ending, Event, Jingle, JingleCondition, JingleError, Misuse, Phase, Reason,
    ReasonCondition,
    client::{
        Application, Invitation, JingleClient, JingleSession, JingleSettings, Opening, SessionError, SessionEvents,
        application, client, client_with,
    },
};

const PATIENCE: Duration = Duration::from_secs(20);
const TEA: &str = "urn:example:tea";

fn server() -> Server {
    let accounts = MemoryAccounts::new();
    for name in ["alice@localhost", "hatter@localhost", "queen@localhost"] {
        accounts.set_password(name.parse().unwrap(), "secret");
    }
    Server::builder("localhost").accounts(accounts).build().unwrap()
}

/// Cuts a client's connection.
#[derive(Clone, Default)]
struct Cutter(Arc<Mutex<Option<AbortHandle>>>);

impl Cutter {
    fn cut(&self) {
        self.0.lock().unwrap().take().unwrap().abort();
    }
}

async fn connect(
    server: &Server,
    name: &str,
    change: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> (Client, FullJid, Cutter, mpsc::UnboundedReceiver<ClientEvent>) {
    let (pipe, cutter) = (server.clone(), Cutter::default());
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
    let (told, hears) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let _ = told.send(event);
        }
    });
    let jid = timeout(PATIENCE, client.online()).await.unwrap().unwrap();
    (client, jid, cutter, hears)
}

fn tea(change: impl FnOnce(Application) -> Application) -> (impl FnOnce(&mut ClientRegistrar), Guests) {
    let (invitations, guests) = mpsc::channel(64);
    let tea = change(Application::new(TEA, move |invitation| drop(invitations.try_send(invitation))));
    (move |r: &mut ClientRegistrar| application(r, tea), Guests(guests))
}

struct Guests(mpsc::Receiver<Invitation>);

impl Guests {
    async fn next(&mut self) -> Invitation {
        timeout(PATIENCE, self.0.recv()).await.unwrap().unwrap()
    }
}

fn element(xml: &str) -> Stanza {
    Stanza::parse(xml, "", &XmlLimits::authenticated()).unwrap()
}

fn cup() -> Content {
    let content = Content::initial("cup").with_description(element("<description xmlns='urn:example:tea'/>"));
    content.with_transport(element("<transport xmlns='urn:example:pot'/>"))
}

fn number(n: usize) -> Stanza {
    element(&format!("<transport xmlns='urn:example:pot' n='{n}'/>"))
}

async fn next(events: &mut SessionEvents) -> Option<Event> {
    timeout(PATIENCE, events.next()).await.unwrap()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, SessionError>) -> StanzaError {
    match result {
        Err(SessionError::Request(RequestError::Refused(error))) => error,
        other => panic!("{other:?}"),
    }
}

/// What ended a session, as its last event.
async fn ending(events: &mut SessionEvents) -> Ending {
    loop {
        match next(events).await {
            Some(Event::Ended(ending)) => {
                assert!(next(events).await.is_none());
                return ending;
            }
            Some(_) => {}
            None => panic!("it ended without a word"),
        }
    }
}

fn condition(ending: &Ending) -> ReasonCondition {
    match ending {
        Ending::Terminated(Some(reason)) => reason.condition.clone(),
        other => panic!("{other:?}"),
    }
}

/// Alice and the hatter at one table, each end with its events.
struct Table {
    alice: Client,
    hatter: Client,
    hers: (JingleSession, SessionEvents),
    his: (JingleSession, SessionEvents),
    cutter: Cutter,
    hears: mpsc::UnboundedReceiver<ClientEvent>,
    _guests: Guests,
}

async fn table(
    server: &Server,
    change: impl FnOnce(Application) -> Application,
    builder: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Table {
    let (takes, mut guests) = tea(|it| change(it).info("urn:example:gossip"));
    let (hatter, there, ..) = connect(server, "hatter", |it| it.with(takes)).await;
    let (takes, _none) = tea(|it| it.info("urn:example:gossip"));
    let (alice, _, cutter, hears) = connect(server, "alice", |it| builder(it).with(takes)).await;
    let hers = alice.jingle().unwrap().initiate(there, vec![cup()]).await.unwrap();
    let Invitation { session, events, .. } = guests.next().await;
    Table { alice, hatter, hers, his: (session, events), cutter, hears, _guests: guests }
}

async fn accepted(server: &Server, builder: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Table {
    let mut table = table(server, |it| it, builder).await;
    table.his.0.accept(table.his.0.offered()).await.unwrap();
    assert!(matches!(next(&mut table.hers.1).await, Some(Event::Accepted { .. })));
    table
}

#[tokio::test]
async fn xep0166_6_a_session_from_its_beginning_to_its_end() {
    let server = server();
    let mut table = accepted(&server, |it| it).await;
    let (his, hers) = (&table.his.0, &table.hers.0);
    assert_eq!((his.sid(), his.end(), hers.end()), (hers.sid(), Creator::Responder, Creator::Initiator));
    assert_eq!((his.peer(), hers.peer()), (&hers.me(), &his.me()));
    assert_eq!((his.phase(), hers.phase()), (Phase::Active, Phase::Active));
    hers.session_info(None).await.unwrap();
    hers.terminate(Reason::success()).await.unwrap();
    assert_eq!(condition(&ending(&mut table.his.1).await), ReasonCondition::Success);
    assert!(next(&mut table.hers.1).await.is_none());
    assert!(matches!(hers.terminate(Reason::success()).await, Err(SessionError::Misuse(Misuse::Ended))));
    assert_eq!(his.phase(), Phase::Ended);
    assert!(table.alice.jingle().unwrap().is_empty() && table.hatter.jingle().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_done_arrives_in_order() {
    let server = server();
    let mut table = accepted(&server, |it| it).await;
    let id = cup().id;
    let session = table.hers.0.clone();
    let tasks: Vec<_> = {
        // All are in line before any is answered.
        let mut waiting = tokio::task::JoinSet::new();
        for n in 0..40 {
            let (session, id) = (session.clone(), id.clone());
            let mut doing = Box::pin(async move { session.transport_info(id, number(n)).await });
            let first = std::future::poll_fn(|cx| std::task::Poll::Ready(doing.as_mut().poll(cx))).await;
            assert!(first.is_pending());
            waiting.spawn(doing);
        }
        waiting.join_all().await
    };
    assert!(tasks.iter().all(Result::is_ok));
    for n in 0..40 {
        let Some(Event::TransportInfo(contents)) = next(&mut table.his.1).await else { panic!() };
        let info = contents[0].transport.clone().unwrap();
        assert_eq!(info.root().attr("n").as_deref(), Some(n.to_string().as_str()));
    }
}

#[tokio::test]
async fn xep0166_6_3_1_what_nobody_takes_is_terminated() {
    let server = server();
    let (takes, _guests) = tea(|it| it.transport("urn:example:spout"));
    let (_hatter, there, ..) = connect(&server, "hatter", |it| it.with(takes)).await;
    let (alice, ..) = connect(&server, "alice", |it| it.with(client)).await;
    let sessions = alice.jingle().unwrap();
    let (_session, mut events) = sessions.initiate(there.clone(), vec![cup()]).await.unwrap();
    assert_eq!(condition(&ending(&mut events).await), ReasonCondition::UnsupportedTransports);
    let other = cup().with_description(element("<description xmlns='urn:example:coffee'/>"));
    let (_session, mut events) = sessions.initiate(there.clone(), vec![other]).await.unwrap();
    assert_eq!(condition(&ending(&mut events).await), ReasonCondition::UnsupportedApplications);
    let info: DiscoInfo = alice.query(Iq::get(there).payload(&DiscoInfoQuery::default())).await.unwrap();
    for feature in ["urn:xmpp:jingle:1", TEA, "urn:example:spout"] {
        assert!(info.features.iter().any(|it| it.var == feature), "{feature}");
    }
}

#[tokio::test]
async fn xep0166_6_3_2_who_is_not_there_or_does_not_want() {
    let server = server();
    let admit = |peer: &FullJid, _: &[Content]| match peer.local() {
        Some("alice") => Err(JingleError::Redirect("dormouse@localhost/pot".parse().unwrap())),
        _ => Err(JingleError::Unavailable),
    };
    let (takes, _guests) = tea(|it| it.admit(admit));
    let (_hatter, there, ..) = connect(&server, "hatter", |it| it.with(takes)).await;
    let (alice, ..) = connect(&server, "alice", |it| it.with(client)).await;
    let (queen, plain, ..) = connect(&server, "queen", |it| it.with(client)).await;
    let refused = alice.jingle().unwrap().initiate(there.clone(), vec![cup()]).await.unwrap_err();
    assert_eq!(refused.redirect().unwrap().as_str(), "dormouse@localhost/pot");
    let refused = refusal(queen.jingle().unwrap().initiate(there, vec![cup()]).await);
    assert_eq!(refused.condition.as_str(), "service-unavailable");
    let nowhere = plain.with_resource("nowhere").unwrap();
    let refused = refusal(alice.jingle().unwrap().initiate(nowhere, vec![cup()]).await);
    assert_eq!(refused.condition.as_str(), "service-unavailable");
    assert!(alice.jingle().unwrap().is_empty());
}

#[tokio::test]
async fn abuse_a_session_is_between_two_addresses() {
    let server = server();
    let mut table = accepted(&server, |it| it).await;
    let (queen, ..) = connect(&server, "queen", |it| it.with(client)).await;
    for action in [Action::SessionTerminate, Action::SessionInfo, Action::ContentRemove] {
        for victim in [table.hers.0.me(), table.his.0.me()] {
            let mut jingle = Jingle::new(action, table.hers.0.sid());
            jingle.contents.push(Content::of(cup().id));
            let answer = queen.request(Iq::set(victim).payload(&jingle)).await;
            let Err(RequestError::Refused(error)) = answer else { panic!("{answer:?}") };
            assert_eq!(JingleCondition::of(&error), Some(JingleCondition::UnknownSession));
        }
    }
    table.hers.0.session_info(None).await.unwrap();
    table.his.0.terminate(Reason::success()).await.unwrap();
    ending(&mut table.hers.1).await;
}

#[tokio::test]
async fn abuse_a101_sessions_are_bounded_by_peer_and_in_all() {
    let server = server();
    let mut settings = JingleSettings::default();
    (settings.sessions_per_peer, settings.sessions) = (2, 3);
    let (takes, mut guests) = tea(|it| it);
    let hatter = |it: ClientBuilder| it.with(client_with(settings)).with(takes);
    let (_hatter, there, ..) = connect(&server, "hatter", hatter).await;
    let (alice, ..) = connect(&server, "alice", |it| it.with(client)).await;
    let (queen, ..) = connect(&server, "queen", |it| it.with(client)).await;
    let mut held = Vec::new();
    for (who, fits) in [(&alice, true), (&alice, true), (&alice, false), (&queen, true), (&queen, false)] {
        let asked = who.jingle().unwrap().initiate(there.clone(), vec![cup()]).await;
        if fits {
            held.push((asked.unwrap(), guests.next().await));
        } else {
            assert_eq!(refusal(asked).condition.as_str(), "resource-constraint");
        }
    }
    let ((session, _), mut invitation) = held.remove(0);
    session.terminate(Reason::cancel()).await.unwrap();
    ending(&mut invitation.events).await;
    alice.jingle().unwrap().initiate(there, vec![cup()]).await.unwrap();
}

#[tokio::test]
async fn abuse_a101_events_that_nobody_takes_are_bounded() {
    let server = server();
    let mut settings = JingleSettings::default();
    settings.events = 3;
    let (takes, mut guests) = tea(|it| it.info("urn:example:gossip"));
    let hatter = |it: ClientBuilder| it.with(client_with(settings)).with(takes);
    let (_hatter, there, ..) = connect(&server, "hatter", hatter).await;
    let (alice, ..) = connect(&server, "alice", |it| it.with(client)).await;
    let (session, _events) = alice.jingle().unwrap().initiate(there, vec![cup()]).await.unwrap();
    let mut invitation = guests.next().await;
    let gossip = || Some(element("<gossip xmlns='urn:example:gossip'/>"));
    for _ in 0..3 {
        session.session_info(gossip()).await.unwrap();
    }
    assert_eq!(refusal(session.session_info(gossip()).await).condition.as_str(), "resource-constraint");
    assert!(matches!(next(&mut invitation.events).await, Some(Event::Info(_))));
    session.session_info(gossip()).await.unwrap();
    let (other, _events) = alice.jingle().unwrap().initiate(invitation.session.me(), vec![cup()]).await.unwrap();
    session.terminate(Reason::success()).await.unwrap();
    assert_eq!(condition(&ending(&mut invitation.events).await), ReasonCondition::Success, "the end always comes");
    // Who does not want to know is not asked to take anything.
    let Invitation { session: _kept, events, .. } = guests.next().await;
    drop(events);
    for _ in 0..5 {
        other.session_info(gossip()).await.unwrap();
    }
}

#[tokio::test]
async fn abuse_a101_few_large_events_are_bounded_as_well() {
    let server = server();
    let mut settings = JingleSettings::default();
    settings.event_bytes = 10_000;
    let (takes, mut guests) = tea(|it| it.info("urn:example:gossip"));
    let hatter = |it: ClientBuilder| it.with(client_with(settings)).with(takes);
    let (_hatter, there, ..) = connect(&server, "hatter", hatter).await;
    let (alice, ..) = connect(&server, "alice", |it| it.with(client)).await;
    let (session, _events) = alice.jingle().unwrap().initiate(there, vec![cup()]).await.unwrap();
    let mut invitation = guests.next().await;
    let gossip = |bytes| Some(element(&format!("<gossip xmlns='urn:example:gossip'>{}</gossip>", "x".repeat(bytes))));
    session.session_info(gossip(20_000)).await.unwrap();
    assert_eq!(refusal(session.session_info(gossip(1)).await).condition.as_str(), "resource-constraint");
    for _ in 0..3 {
        assert!(matches!(next(&mut invitation.events).await, Some(Event::Info(_))));
        session.session_info(gossip(4_000)).await.unwrap();
        session.session_info(gossip(4_000)).await.unwrap();
        assert_eq!(refusal(session.session_info(gossip(4_000)).await).condition.as_str(), "resource-constraint");
        assert!(matches!(next(&mut invitation.events).await, Some(Event::Info(_))));
    }
    session.terminate(Reason::success()).await.unwrap();
    assert_eq!(condition(&ending(&mut invitation.events).await), ReasonCondition::Success);
}

#[tokio::test]
async fn a_session_that_is_dropped_is_terminated() {
    let server = server();
    let mut declined = table(&server, |it| it, |it| it).await;
    drop(declined.his);
    assert_eq!(condition(&ending(&mut declined.hers.1).await), ReasonCondition::Decline);
    drop((declined.alice, declined.hatter));
    let mut table = accepted(&server, |it| it).await;
    let clone = table.hers.0.clone();
    drop(table.hers);
    clone.session_info(None).await.unwrap();
    drop(clone);
    assert_eq!(condition(&ending(&mut table.his.1).await), ReasonCondition::Cancel);
}

#[tokio::test]
async fn a_request_that_is_not_awaited_is_taken_back() {
    let server = server();
    let (takes, mut guests) = tea(|it| it);
    let (_hatter, there, ..) = connect(&server, "hatter", |it| it.with(takes)).await;
    let (alice, ..) = connect(&server, "alice", |it| it.with(client)).await;
    let sessions = alice.jingle().unwrap();
    {
        let mut asking = Box::pin(sessions.initiate(there, vec![cup()]));
        let first = std::future::poll_fn(|cx| std::task::Poll::Ready(asking.as_mut().poll(cx))).await;
        assert!(first.is_pending());
    }
    let mut invitation = guests.next().await;
    assert_eq!(condition(&ending(&mut invitation.events).await), ReasonCondition::Cancel);
    assert!(sessions.is_empty());
}

#[tokio::test]
async fn xep0166_6_7_a_peer_that_goes_offline_ends_the_session() {
    let server = server();
    let mut settings = JingleSettings::default();
    settings.absence = Duration::from_millis(20);
    let mut table = accepted(&server, |it| it.with(client_with(settings))).await;
    table.hatter.send(Presence::unavailable().to(table.hers.0.me())).await.unwrap();
    assert!(matches!(ending(&mut table.hers.1).await, Ending::Absent));
    assert_eq!(condition(&ending(&mut table.his.1).await), ReasonCondition::Gone);
}

#[tokio::test]
async fn a_session_that_nobody_accepts_ends() {
    let server = server();
    let mut settings = JingleSettings::default();
    settings.patience = Duration::from_millis(20);
    let mut table = table(&server, |it| it, |it| it.with(client_with(settings))).await;
    assert!(matches!(ending(&mut table.hers.1).await, Ending::Unanswered));
    assert_eq!(condition(&ending(&mut table.his.1).await), ReasonCondition::Timeout);
}

#[tokio::test]
async fn xep0198_5_a_session_survives_a_lost_connection() {
    let server = server();
    let mut table = accepted(&server, |it| it).await;
    table.cutter.cut();
    table.hers.0.session_info(None).await.unwrap();
    while !matches!(timeout(PATIENCE, table.hears.recv()).await.unwrap(), Some(ClientEvent::Resumed { .. })) {}
    table.his.0.session_info(None).await.unwrap();
    table.hers.0.terminate(Reason::success()).await.unwrap();
    assert_eq!(condition(&ending(&mut table.his.1).await), ReasonCondition::Success);
}

#[tokio::test]
async fn a_session_is_lost_with_that_to_the_server() {
    let server = server();
    let mut table = accepted(&server, ClientBuilder::no_stream_management).await;
    table.cutter.cut();
    assert!(matches!(ending(&mut table.hers.1).await, Ending::Lost));
    let answer = table.his.0.session_info(None).await;
    assert!(answer.is_err());
    assert!(matches!(ending(&mut table.his.1).await, Ending::Unknown | Ending::Unreachable(_)));
    // The next one is as good.
    let there = table.his.0.me();
    while table.alice.jid().is_none() {
        table.alice.online().await;
    }
    let (session, _events) = table.alice.jingle().unwrap().initiate(there, vec![cup()]).await.unwrap();
    session.terminate(Reason::success()).await.unwrap();
}

#[tokio::test]
async fn a_client_that_ends_ends_its_sessions() {
    let server = server();
    let mut table = accepted(&server, |it| it).await;
    table.alice.close().await;
    assert!(matches!(ending(&mut table.hers.1).await, Ending::Lost));
    assert!(matches!(table.hers.0.session_info(None).await, Err(SessionError::Misuse(_) | SessionError::Request(_))));
}

#[tokio::test]
async fn xep0166_7_2_16_of_two_calls_at_a_time_one_counts() {
    let server = server();
    let (takes, mut guests) = tea(Application::exclusive);
    let (alice, here, ..) = connect(&server, "alice", |it| it.with(takes)).await;
    // A peer that is slow to answer.
    let (asked, mut asks) = mpsc::channel::<(Jingle, oneshot::Sender<Result<(), StanzaError>>)>(4);
    let slow = move |r: &mut ClientRegistrar| {
        r.iq_set_async(Target::Client, move |_, jingle: Jingle| {
            let asked = asked.clone();
            async move {
                let (answer, answered) = oneshot::channel();
                asked.send((jingle, answer)).await.unwrap();
                answered.await.unwrap()
            }
        });
    };
    let (hatter, there, ..) = connect(&server, "hatter", |it| it.with(slow)).await;
    let sessions = alice.jingle().unwrap();
    let opening = Opening { sid: Some("m".into()), contents: vec![cup()], others: Vec::new() };
    let asking = tokio::spawn(async move { sessions.initiate(there, opening).await });
    let (_, answer) = timeout(PATIENCE, asks.recv()).await.unwrap().unwrap();
    let ask = |sid: &str| {
        let mut jingle = Jingle::new(Action::SessionInitiate, sid);
        jingle.contents.push(cup());
        hatter.request(Iq::set(here.clone()).payload(&jingle))
    };
    // A higher id, and the same from a higher address.
    for sid in ["n", "m"] {
        let Err(RequestError::Refused(error)) = ask(sid).await else { panic!() };
        assert_eq!(JingleCondition::of(&error), Some(JingleCondition::TieBreak), "{sid}");
        assert_eq!(error.condition.as_str(), "conflict");
    }
    ask("k").await.unwrap();
    let invitation = guests.next().await;
    assert_eq!(invitation.session.sid(), "k");
    answer.send(Err(JingleError::TieBreak.into())).unwrap();
    assert!(asking.await.unwrap().unwrap_err().is_tie_break());
    // What was asked for is no longer under way, and the id of a session is in use.
    let Err(RequestError::Refused(error)) = ask("k").await else { panic!() };
    assert_eq!(JingleCondition::of(&error), Some(JingleCondition::OutOfOrder));
    ask("z").await.unwrap();
}

#[tokio::test]
async fn abuse_a105_a_panic_of_an_application_declines() {
    let server = server();
    let bad = Application::new(TEA, |_| panic!("the teapot is full"));
    let (hatter, there, ..) =
        connect(&server, "hatter", |it| it.with(|r: &mut ClientRegistrar| application(r, bad))).await;
    let (alice, ..) = connect(&server, "alice", |it| it.with(client)).await;
    let (_session, mut events) = alice.jingle().unwrap().initiate(there.clone(), vec![cup()]).await.unwrap();
    assert_eq!(condition(&ending(&mut events).await), ReasonCondition::Decline);
    assert_eq!(hatter.jid(), Some(there));
}

#[tokio::test]
async fn xep0166_7_2_what_is_no_action_or_nobodys_session_is_refused() {
    let server = server();
    let table = accepted(&server, |it| it).await;
    let (there, sid) = (table.his.0.me(), table.his.0.sid().to_owned());
    let cases = [
        ("session-sing", sid.as_str(), "bad-request", None),
        ("session-accept", sid.as_str(), "unexpected-request", Some(JingleCondition::OutOfOrder)),
        ("session-info", "hare", "item-not-found", Some(JingleCondition::UnknownSession)),
        ("session-terminate", "hare", "item-not-found", Some(JingleCondition::UnknownSession)),
        ("session-info", "", "bad-request", None),
    ];
    for (action, sid, condition, jingle) in cases {
        let said = format!("<jingle xmlns='urn:xmpp:jingle:1' action='{action}' sid='{sid}'/>");
        let answer = table.alice.request(Iq::set(there.clone()).element(element(&said).root())).await;
        let Err(RequestError::Refused(error)) = answer else { panic!("{action}: {answer:?}") };
        assert_eq!((error.condition.as_str(), JingleCondition::of(&error)), (condition, jingle), "{action} {sid}");
    }
    table.hers.0.session_info(None).await.unwrap();
}
