//! Sessions that are proposed to all devices of an account (XEP-0353), over an embedded server with copies.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{future::Future, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use xmpp_core::{
    client::{Client, Event as ClientEvent},
    jid::{BareJid, FullJid, Jid},
    net::Transport,
    payload::{
        Payload,
        disco::{DiscoInfo, DiscoInfoQuery},
    },
    server::{MemoryAccounts, Server},
    stanza::{Iq, Message, Presence},
    xml::{Stanza, XmlLimits},
};
use xmpp_filetransfer::client::{self as files, FilesClient, FilesSettings, Offers, Road, TransferError};
use xmpp_filetransfer::jingle::{
    Content, Ending, Event, JingleError, Misuse, Reason, ReasonCondition, Senders,
    client::{
        Admission, Application, Invitation, JingleClient, JingleSettings, NotTaken, Opening, ProceedError,
        ProposalAnswer, Proposed, Proposing, SessionError, SessionEvents, Withdrawal, application, client_with,
    },
    propose::{self, JingleMessage},
};

const PATIENCE: Duration = Duration::from_secs(20);
const TEA: &str = "urn:example:tea";

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap()
}

fn server() -> Server {
    let accounts = MemoryAccounts::new();
    for name in ["alice@localhost", "hatter@localhost", "queen@localhost"] {
        accounts.set_password(name.parse().unwrap(), "secret");
    }
    let builder = Server::builder("localhost").accounts(accounts).with(xmpp_im::presence::server);
    builder.with(xmpp_im::delivery::server).with(xmpp_im::carbons::server).build().unwrap()
}

struct Device {
    client: Client,
    jid: FullJid,
    rings: mpsc::Receiver<Proposed>,
    invited: mpsc::Receiver<Invitation>,
    hears: mpsc::UnboundedReceiver<ClientEvent>,
}

/// A device that takes tea, and says what of proposals.
async fn device(
    server: &Server,
    name: &str,
    admission: Admission,
    change: impl FnOnce(&mut JingleSettings),
    also: impl FnOnce(Application) -> Application,
) -> Device {
    let mut settings = JingleSettings::default();
    settings.settling = Duration::from_millis(50);
    change(&mut settings);
    let (ring, rings) = mpsc::channel(64);
    let (invite, invited) = mpsc::channel(64);
    let tea = Application::new(TEA, move |invitation| drop(invite.try_send(invitation)))
        .exclusive()
        .proposals(move |proposed| drop(ring.try_send(proposed)))
        .admit_proposals(move |_, _| admission);
    let tea = also(tea);
    let pipe = server.clone();
    let builder = Client::builder(format!("{}@localhost/{name}", owner(name)).parse().unwrap(), "secret");
    let builder = builder.with(client_with(settings)).with(|r: &mut _| application(r, tea));
    let connect = move || {
        let (near, mut far) = Transport::pair(64 * 1024);
        let mut server = pipe.connect_memory();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut far, &mut server).await });
        near
    };
    let (client, mut events) = builder.pipe(connect).connect().unwrap();
    let (told, hears) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let _ = told.send(event);
        }
    });
    let jid = soon(client.online()).await.unwrap();
    client.send(Presence::available()).await.unwrap();
    let device = Device { client, jid, rings, invited, hears };
    device.settle().await;
    device
}

/// The account that a device is of.
fn owner(device: &str) -> &str {
    match device {
        "mirror" | "tablet" => "alice",
        "table" | "phone" => "hatter",
        other => other,
    }
}

async fn simple(server: &Server, name: &str) -> Device {
    device(server, name, Admission::Ring, |_| {}, |it| it).await
}

impl Device {
    /// The server has done what was asked before; copies are on.
    async fn settle(&self) {
        let copies = Stanza::parse("<enable xmlns='urn:xmpp:carbons:2'/>", "", &XmlLimits::authenticated()).unwrap();
        soon(self.client.request(Iq::set_own().element(copies.root()))).await.unwrap();
    }

    async fn ring(&mut self) -> Proposed {
        soon(self.rings.recv()).await.unwrap()
    }

    /// Everything that was sent to this device before has come, and nobody rings.
    async fn is_quiet(&mut self, other: &Device) {
        other.client.send(Message::chat(Jid::from(self.jid.clone())).body("now?")).await.unwrap();
        loop {
            if let Some(ClientEvent::Message(message)) = soon(self.hears.recv()).await
                && message.body().as_deref() == Some("now?")
            {
                break;
            }
        }
        assert!(self.rings.try_recv().is_err());
    }

    /// The next message about a proposal, of this name.
    async fn hears(&mut self, name: &str) -> Message {
        loop {
            if let Some(ClientEvent::Message(message)) = soon(self.hears.recv()).await
                && message.payloads().any(|el| el.is(name, propose::NS))
            {
                return message;
            }
        }
    }

    async fn says(&self, to: impl Into<Jid>, said: &JingleMessage) {
        self.client.send(said.to_message(to)).await.unwrap();
    }

    async fn proposes(&self, to: &str) -> Proposing {
        self.client.jingle().unwrap().propose(&bare(to), vec![description()]).await.unwrap()
    }
}

fn bare(text: &str) -> BareJid {
    text.parse().unwrap()
}

fn element(xml: &str) -> Stanza {
    Stanza::parse(xml, "", &XmlLimits::authenticated()).unwrap()
}

fn description() -> Stanza {
    element("<description xmlns='urn:example:tea'/>")
}

fn cup() -> Vec<Content> {
    let content = Content::initial("cup").with_description(description());
    vec![content.with_transport(element("<transport xmlns='urn:example:pot'/>"))]
}

async fn ending(events: &mut SessionEvents) -> Ending {
    loop {
        match soon(events.next()).await {
            Some(Event::Ended(ending)) => return ending,
            Some(_) => {}
            None => panic!("it ended without a word"),
        }
    }
}

#[tokio::test]
async fn xep0353_3_a_session_goes_to_the_device_that_takes_it() {
    let server = server();
    let (mut mirror, mut table) = (simple(&server, "mirror").await, simple(&server, "table").await);
    let mut phone = simple(&server, "phone").await;
    let mut proposing = mirror.proposes("hatter@localhost").await;
    let ringing = [phone.ring().await, table.ring().await];
    for proposed in &ringing {
        assert_eq!((proposed.id(), proposed.from()), (proposing.id(), &Jid::from(mirror.jid.clone())));
        assert_eq!(proposed.descriptions()[0].root().ns(), TEA);
    }
    let mut rang = Vec::new();
    for _ in 0..2 {
        let Some(ProposalAnswer::Ringing { device }) = soon(proposing.next()).await else { panic!() };
        rang.push(device.to_string());
    }
    rang.sort();
    assert_eq!(rang, ["hatter@localhost/phone", "hatter@localhost/table"]);

    let [on_phone, mut on_table] = ringing;
    let taking = tokio::spawn(on_phone.proceed());
    assert!(matches!(soon(on_table.withdrawn()).await, Withdrawal::TakenElsewhere));
    assert_eq!(soon(proposing.taken()).await.unwrap(), phone.jid);
    let id = proposing.id().to_owned();
    let (session, mut events) = soon(proposing.initiate(cup())).await.unwrap();
    let Invitation { session: his, events: mut heard, .. } = soon(taking).await.unwrap().unwrap();
    assert_eq!((session.sid(), his.sid(), session.peer()), (&id[..], &id[..], &phone.jid));
    soon(his.accept(his.offered())).await.unwrap();
    assert!(matches!(soon(events.next()).await, Some(Event::Accepted { .. })));
    soon(session.terminate(Reason::success())).await.unwrap();
    ending(&mut heard).await;
    // Both say that it is over.
    for end in [&mut mirror, &mut phone] {
        let finish = end.hears("finish").await;
        let Some(Ok(JingleMessage::Finish { id: finished, reason, .. })) = finish.payload::<JingleMessage>() else {
            panic!()
        };
        assert_eq!((finished, reason), (id.clone(), Some(Reason::success())));
    }
    assert!(phone.invited.try_recv().is_err(), "who has taken it has it");
    table.is_quiet(&mirror).await;
}

#[tokio::test]
async fn xep0353_6_nobody_learns_that_we_are_there_unless_the_user_wants_that() {
    let server = server();
    let mirror =
        device(&server, "mirror", Admission::Quiet, |it| it.ringing = Duration::from_millis(300), |it| it).await;
    let mut table = device(&server, "table", Admission::Quiet, |_| {}, |it| it).await;
    let mut phone = device(&server, "phone", Admission::Ignore, |_| {}, |it| it).await;
    let mut proposing = mirror.proposes("hatter@localhost").await;
    let mut proposed = table.ring().await;
    assert_eq!(proposed.admission(), Admission::Quiet);
    assert!(matches!(soon(proposing.next()).await, Some(ProposalAnswer::TimedOut)), "nobody has said anything");
    assert!(soon(proposing.next()).await.is_none());
    let Withdrawal::Retracted(Some(reason)) = soon(proposed.withdrawn()).await else { panic!() };
    assert_eq!(reason.condition, ReasonCondition::Cancel);
    let late = soon(proposed.proceed()).await.unwrap_err();
    assert!(matches!(late, ProceedError::Withdrawn(Withdrawal::Retracted(_))), "{late:?}");
    phone.is_quiet(&mirror).await;

    let mut proposing = mirror.proposes("hatter@localhost").await;
    drop(table.ring().await);
    assert!(matches!(soon(proposing.taken()).await, Err(NotTaken::TimedOut)), "who does not want to is not there");
    let mut proposing = mirror.proposes("hatter@localhost").await;
    soon(table.ring().await.ring()).await.unwrap();
    assert!(matches!(soon(proposing.next()).await, Some(ProposalAnswer::Ringing { .. })));
}

#[tokio::test]
async fn xep0353_3_5_one_device_rejects_for_all() {
    let server = server();
    let (mirror, mut table) = (simple(&server, "mirror").await, simple(&server, "table").await);
    let mut phone = simple(&server, "phone").await;
    let mut proposing = mirror.proposes("hatter@localhost").await;
    let (on_phone, mut on_table) = (phone.ring().await, table.ring().await);
    soon(on_phone.reject(Reason::busy())).await.unwrap();
    assert!(matches!(soon(on_table.withdrawn()).await, Withdrawal::RejectedElsewhere));
    let Err(NotTaken::Rejected { reason: Some(reason) }) = soon(proposing.taken()).await else { panic!() };
    assert_eq!(reason.condition, ReasonCondition::Busy);
    let begun = proposing.initiate(cup()).await;
    assert!(matches!(begun, Err(SessionError::Misuse(Misuse::NotNow))));
}

#[tokio::test]
async fn xep0353_3_3_a_proposal_that_is_dropped_is_taken_back() {
    let server = server();
    let (mirror, mut table) = (simple(&server, "mirror").await, simple(&server, "table").await);
    drop(mirror.proposes("hatter@localhost").await);
    assert!(matches!(soon(table.ring().await.withdrawn()).await, Withdrawal::Retracted(Some(_))));
    mirror.proposes("hatter@localhost").await.retract(Reason::cancel());
    assert!(matches!(soon(table.ring().await.withdrawn()).await, Withdrawal::Retracted(Some(_))));
    // Also when somebody has taken it.
    let mut proposing = mirror.proposes("hatter@localhost").await;
    let taking = tokio::spawn(table.ring().await.proceed());
    soon(proposing.taken()).await.unwrap();
    drop(proposing);
    let gone = soon(taking).await.unwrap().unwrap_err();
    assert!(matches!(gone, ProceedError::Withdrawn(Withdrawal::Finished(_))), "{gone:?}");
}

#[tokio::test]
async fn what_is_taken_and_does_not_begin_is_finished() {
    let server = server();
    let mut mirror = simple(&server, "mirror").await;
    let patience = |it: &mut JingleSettings| it.patience = Duration::from_millis(30);
    let mut table = device(&server, "table", Admission::Ring, patience, |it| it).await;
    let mut proposing = mirror.proposes("hatter@localhost").await;
    let taken = soon(table.ring().await.proceed()).await.unwrap_err();
    assert!(matches!(taken, ProceedError::TimedOut), "{taken:?}");
    mirror.hears("finish").await;
    while let Some(answer) = soon(proposing.next()).await {
        if matches!(answer, ProposalAnswer::Finished { .. }) {
            return;
        }
    }
    panic!("nobody has said that it is over");
}

#[tokio::test]
async fn xep0353_4_1_of_two_proposals_one_counts() {
    let server = server();
    let (mut mirror, mut table) = (simple(&server, "mirror").await, simple(&server, "table").await);
    for _ in 0..8 {
        let (hers, his) = tokio::join!(mirror.proposes("hatter@localhost"), table.proposes("alice@localhost"));
        let hers_counts = hers.id() < his.id();
        let (mut ours, mut theirs, other) = match hers_counts {
            true => (hers, his, &mut table),
            false => (his, hers, &mut mirror),
        };
        assert!(matches!(soon(theirs.taken()).await, Err(NotTaken::TieBreak)));
        // The lower one rings, on whichever side it was not made.
        let proposed = loop {
            let proposed = other.ring().await;
            if proposed.id() == ours.id() {
                break proposed;
            }
        };
        let taking = tokio::spawn(proposed.proceed());
        soon(ours.taken()).await.unwrap();
        let (session, _events) = soon(ours.initiate(cup())).await.unwrap();
        let mut invitation = soon(taking).await.unwrap().unwrap();
        soon(session.terminate(Reason::success())).await.unwrap();
        ending(&mut invitation.events).await;
        while mirror.rings.try_recv().is_ok() || table.rings.try_recv().is_ok() {}
    }
}

#[tokio::test]
async fn xep0353_4_2_a_session_moves_to_another_device() {
    let server = server();
    let (mirror, mut table) = (simple(&server, "mirror").await, simple(&server, "table").await);
    let tablet = simple(&server, "tablet").await;
    let mut proposing = mirror.proposes("hatter@localhost").await;
    let taking = tokio::spawn(table.ring().await.proceed());
    soon(proposing.taken()).await.unwrap();
    let old = proposing.id().to_owned();
    let (_session, mut hers) = soon(proposing.initiate(cup())).await.unwrap();
    let mut invitation = soon(taking).await.unwrap().unwrap();
    soon(invitation.session.accept(invitation.session.offered())).await.unwrap();
    assert!(matches!(soon(hers.next()).await, Some(Event::Accepted { .. })));

    let mut proposing = tablet.proposes("hatter@localhost").await;
    let new = proposing.id().to_owned();
    assert_eq!(soon(proposing.taken()).await.unwrap(), table.jid, "he is not asked again");
    assert!(matches!(ending(&mut invitation.events).await, Ending::Migrated { to } if to == new));
    let ended = ending(&mut hers).await;
    assert!(matches!(ended, Ending::Migrated { .. } | Ending::Terminated(_)), "{ended:?}");
    let (_session, _events) = soon(proposing.initiate(cup())).await.unwrap();
    let again = soon(table.invited.recv()).await.unwrap();
    assert_eq!((again.session.sid(), again.resumes), (&new[..], Some(old)));
    assert!(table.rings.try_recv().is_err());
}

#[tokio::test]
async fn xep0353_5_what_comes_late_rings_if_it_is_not_over() {
    let server = server();
    let (mirror, mut table) = (simple(&server, "mirror").await, simple(&server, "table").await);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let propose = |id: &str, age: u64| {
        let said = JingleMessage::Propose { id: id.to_owned(), descriptions: vec![description()] };
        let stamp = xmpp_core::payload::DateTime::from_unix((now - age) as i64, 0).unwrap();
        let delay = xmpp_core::payload::delay::Delay { from: None, stamp, reason: None };
        mirror.client.send(said.to_message(bare("hatter@localhost")).payload(&delay))
    };
    propose("old", 1_000).await.unwrap();
    propose("over", 5).await.unwrap();
    propose("recent", 5).await.unwrap();
    let over = JingleMessage::Retract { id: "over".into(), reason: None, tie_break: false };
    mirror.says(bare("hatter@localhost"), &over).await;
    assert_eq!(table.ring().await.id(), "recent");
    table.is_quiet(&mirror).await;
}

#[tokio::test]
async fn abuse_nobody_speaks_for_another() {
    let server = server();
    let (mut mirror, mut table) = (simple(&server, "mirror").await, simple(&server, "table").await);
    let (queen, tablet) = (simple(&server, "queen").await, simple(&server, "tablet").await);
    let mut proposing = mirror.proposes("hatter@localhost").await;
    let id = proposing.id().to_owned();
    let mut proposed = table.ring().await;
    let said = |text: &str| {
        JingleMessage::read(element(&format!("<{text} xmlns='{}' id='{id}'/>", propose::NS)).root()).unwrap()
    };
    for word in ["proceed", "reject", "retract", "finish", "accept", "ringing"] {
        queen.says(mirror.jid.clone(), &said(word)).await;
        queen.says(table.jid.clone(), &said(word)).await;
        // A copy that she makes herself.
        let inner = format!(
            "<message xmlns='jabber:client' type='chat' from='hatter@localhost/phone' to='{}'><{word} xmlns='{}' id='{id}'/></message>",
            mirror.jid,
            propose::NS
        );
        let copy = element(&format!(
            "<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></sent>"
        ));
        for to in [&mirror.jid, &table.jid] {
            queen.client.send(Message::chat(Jid::from(to.clone())).element(copy.root())).await.unwrap();
        }
    }
    mirror.is_quiet(&queen).await;
    table.is_quiet(&queen).await;
    let first = soon(proposing.next()).await;
    assert!(matches!(first, Some(ProposalAnswer::Ringing { device }) if device == table.jid), "his own");
    let waiting = tokio::time::timeout(Duration::from_millis(1), proposed.withdrawn()).await;
    assert!(waiting.is_err(), "it still rings: {waiting:?}");

    // The session comes from who has proposed it, and from nobody else.
    let taking = tokio::spawn(proposed.proceed());
    soon(proposing.taken()).await.unwrap();
    for other in [&queen, &tablet] {
        let opening = Opening { sid: Some(id.clone()), contents: cup(), others: Vec::new() };
        let (session, _events) =
            soon(other.client.jingle().unwrap().initiate(table.jid.clone(), opening)).await.unwrap();
        let stray = soon(table.invited.recv()).await.unwrap();
        assert_eq!(stray.session.peer(), &other.jid);
        drop((session, stray));
    }
    assert!(!taking.is_finished());
    let (_session, _events) = soon(proposing.initiate(cup())).await.unwrap();
    assert_eq!(soon(taking).await.unwrap().unwrap().session.peer(), &mirror.jid);
}

#[tokio::test]
async fn abuse_a101_floods_of_proposals_are_bounded() {
    let server = server();
    let mut table = device(&server, "table", Admission::Quiet, |_| {}, |it| it).await;
    let (mirror, queen) = (simple(&server, "mirror").await, simple(&server, "queen").await);
    for n in 0..300 {
        let said = JingleMessage::Propose { id: n.to_string(), descriptions: vec![description()] };
        queen.says(bare("hatter@localhost"), &said).await;
    }
    let many = JingleMessage::Propose { id: "many".into(), descriptions: vec![description(); 1_000] };
    queen.says(bare("hatter@localhost"), &many).await;
    let other =
        JingleMessage::Propose { id: "other".into(), descriptions: vec![element("<description xmlns='urn:x'/>")] };
    queen.says(bare("hatter@localhost"), &other).await;
    let _proposing = mirror.proposes("hatter@localhost").await;
    let mut rung = Vec::new();
    loop {
        let proposed = table.ring().await;
        if proposed.from().local() == Some("alice") {
            break;
        }
        rung.push(proposed);
    }
    assert_eq!(rung.len(), 8);
}

#[tokio::test]
async fn abuse_a105_a_panic_of_an_application_is_not_the_connections_end() {
    let server = server();
    let broken = |it: Application| it.proposals(|_| panic!("the teapot is full"));
    let table = device(&server, "table", Admission::Ring, |_| {}, broken).await;
    let odd = |it: Application| it.admit_proposals(|_, _| panic!("who is there?"));
    let mut phone = device(&server, "phone", Admission::Ring, |_| {}, odd).await;
    let mirror = simple(&server, "mirror").await;
    let mut proposing = mirror.proposes("hatter@localhost").await;
    let rung = soon(proposing.next()).await;
    assert!(matches!(rung, Some(ProposalAnswer::Ringing { device }) if device == table.jid));
    phone.is_quiet(&mirror).await;
    table.settle().await;
}

#[tokio::test]
async fn a_proposal_to_nobody_comes_back() {
    let server = server();
    let mirror = simple(&server, "mirror").await;
    let mut proposing = mirror.proposes("dormouse@localhost").await;
    let Err(NotTaken::Undelivered(error)) = soon(proposing.taken()).await else { panic!() };
    assert_eq!(error.condition.as_str(), "service-unavailable");
    let none = mirror.client.jingle().unwrap().propose(&bare("hatter@localhost"), Vec::new()).await;
    assert!(matches!(none, Err(SessionError::Misuse(Misuse::Incomplete))));
}

#[tokio::test]
async fn what_the_user_has_taken_is_not_judged_again() {
    let server = server();
    let mirror = simple(&server, "mirror").await;
    let strict = |it: Application| it.admit(|_, _| Err(JingleError::Unavailable));
    let mut table = device(&server, "table", Admission::Ring, |_| {}, strict).await;
    let sessions = mirror.client.jingle().unwrap();
    assert!(soon(sessions.initiate(table.jid.clone(), cup())).await.is_err());
    let mut proposing = mirror.proposes("hatter@localhost").await;
    let taking = tokio::spawn(table.ring().await.proceed());
    soon(proposing.taken()).await.unwrap();
    let (_session, _events) = soon(proposing.initiate(cup())).await.unwrap();
    soon(taking).await.unwrap().unwrap();
}

#[tokio::test]
async fn xep0353_proposals_are_advertised_where_somebody_hears_them() {
    let server = server();
    let table = simple(&server, "table").await;
    let pipe = server.clone();
    let deaf = Application::new(TEA, |_| {});
    let builder =
        Client::builder("queen@localhost/q".parse().unwrap(), "secret").with(|r: &mut _| application(r, deaf));
    let (queen, _events) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
    let there = soon(queen.online()).await.unwrap();
    for (who, has) in [(table.jid.clone(), true), (there, false)] {
        let info: DiscoInfo = queen.query(Iq::get(who).payload(&DiscoInfoQuery::default())).await.unwrap();
        assert!(info.has_feature(TEA));
        assert_eq!(info.has_feature(propose::NS), has);
    }
}

/// A client that takes files.
async fn filer(server: &Server, name: &str, change: impl FnOnce(&mut FilesSettings)) -> (Client, FullJid, Offers) {
    let mut settings = FilesSettings::default();
    settings.ways.proposals = true;
    settings.socks5.loopback = true;
    change(&mut settings);
    let pipe = server.clone();
    let builder = Client::builder(format!("{name}@localhost/{name}").parse().unwrap(), "secret");
    let builder = builder.with(files::client_with(settings)).pipe(move || pipe.connect_memory());
    let (client, mut events) = builder.connect().unwrap();
    tokio::spawn(async move { while events.next().await.is_some() {} });
    let jid = soon(client.online()).await.unwrap();
    client.send(Presence::available()).await.unwrap();
    let _: DiscoInfo =
        soon(client.query(Iq::get(bare("localhost")).payload(&DiscoInfoQuery::default()))).await.unwrap();
    let offers = client.files().unwrap().offers();
    (client, jid, offers)
}

fn letter(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let path = folder.path().join("letter.txt");
    std::fs::write(&path, "Wilt thou be gone?").unwrap();
    path
}

#[tokio::test]
async fn xep0353_a_file_goes_to_who_is_not_seen() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let (alice, here, _) = filer(&server, "alice", |_| {}).await;
    let (_hatter, there, mut offers) = filer(&server, "hatter", |_| {}).await;
    for in_band in [false, true] {
        let sending = alice.files().unwrap().send(bare("hatter@localhost").into(), letter(&folder));
        let mut ways = FilesSettings::default().ways;
        (ways.proposals, ways.sockets) = (true, !in_band);
        let sending = soon(async { sending.ways(ways).await }).await.unwrap();
        let offer = soon(offers.next()).await.unwrap();
        assert_eq!((offer.name(), offer.from(), offer.file().size), ("letter.txt", &here, Some(18)));
        let place = folder.path().join(format!("received{in_band}"));
        let receiving = soon(offer.accept_to(&place)).await.unwrap();
        let (sent, received) = soon(async { tokio::join!(sending.finish(), receiving.finish()) }).await;
        let road = if in_band { Road::InBand } else { Road::Direct };
        assert_eq!((sent.unwrap().road, received.unwrap().verified.as_deref()), (road, Some("sha-256")));
        assert_eq!(std::fs::read(place).unwrap(), b"Wilt thou be gone?");
    }
    let info: DiscoInfo = alice.query(Iq::get(there).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(info.has_feature(propose::NS));
}

#[tokio::test]
async fn a_file_that_nobody_takes_is_not_waited_for() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let (alice, ..) = filer(&server, "alice", |it| it.ringing = Duration::from_millis(200)).await;
    let (_hatter, there, mut offers) = filer(&server, "hatter", |_| {}).await;
    let send = || async {
        let sending = alice.files().unwrap().send(bare("hatter@localhost").into(), letter(&folder));
        soon(async { sending.await.unwrap().finish().await }).await
    };
    // Nobody has said that nobody wants it, and the other side learns that it is too late.
    assert!(matches!(send().await, Err(TransferError::NobodyThere)));
    let late = soon(offers.next()).await.unwrap();
    let place = folder.path().join("late");
    let late = soon(late.accept_to(&place)).await.unwrap();
    assert!(matches!(soon(late.finish()).await, Err(TransferError::EndedByPeer(_))));
    assert!(std::fs::read_dir(folder.path()).unwrap().count() == 1, "nothing is left of it");

    let (queen, _, mut hers) = filer(&server, "queen", |it| it.ways.proposals = false).await;
    let to_queen = alice.files().unwrap().send(bare("queen@localhost").into(), letter(&folder));
    assert!(matches!(soon(async { to_queen.await.unwrap().finish().await }).await, Err(TransferError::NobodyThere)));
    let off = queen.files().unwrap().send(bare("hatter@localhost").into(), letter(&folder));
    assert!(matches!(soon(async { off.await }).await, Err(TransferError::NobodyThere)), "unless it is set");
    assert!(timeout(Duration::from_millis(1), hers.next()).await.is_err());
    let info: DiscoInfo = queen.query(Iq::get(there).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(info.has_feature(propose::NS));
}

#[tokio::test]
async fn a_file_that_is_not_wanted_is_declined() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let (alice, ..) = filer(&server, "alice", |_| {}).await;
    let (_hatter, _, mut offers) = filer(&server, "hatter", |_| {}).await;
    let sending = alice.files().unwrap().send(bare("hatter@localhost").into(), letter(&folder)).await.unwrap();
    soon(async { offers.next().await.unwrap().reject(Some("not now")).await }).await;
    let declined = soon(sending.finish()).await.unwrap_err();
    assert!(matches!(&declined, TransferError::Declined { text: Some(text) } if text == "not now"), "{declined:?}");
    // Who sends may think better of it.
    let sending = alice.files().unwrap().send(bare("hatter@localhost").into(), letter(&folder)).await.unwrap();
    let offer = soon(offers.next()).await.unwrap();
    sending.cancel();
    assert!(matches!(soon(sending.finish()).await, Err(TransferError::Cancelled)));
    let receiving = soon(offer.accept(tokio::io::sink())).await.unwrap();
    assert!(soon(receiving.finish()).await.is_err());
}

#[tokio::test]
async fn abuse_what_comes_is_the_file_that_was_proposed() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let mirror = simple(&server, "mirror").await;
    let (_hatter, _, mut offers) = filer(&server, "hatter", |_| {}).await;
    let file = |name: &str, size: u64| {
        element(&format!(
            "<description xmlns='urn:xmpp:jingle:apps:file-transfer:5'><file><name>{name}</name><size>{size}</size></file></description>"
        ))
    };
    for (name, size) in [("letter.txt", 19), ("letter.exe", 18)] {
        let sessions = mirror.client.jingle().unwrap();
        let mut proposing = sessions.propose(&bare("hatter@localhost"), vec![file("letter.txt", 18)]).await.unwrap();
        let offer = soon(offers.next()).await.unwrap();
        let receiving = soon(offer.accept_to(folder.path().join("received"))).await.unwrap();
        soon(proposing.taken()).await.unwrap();
        let content = Content::initial("file").with_senders(Senders::Initiator).with_description(file(name, size));
        let transport = "<transport xmlns='urn:xmpp:jingle:transports:ibb:1' block-size='4096' sid='a'/>";
        let (_session, mut events) =
            soon(proposing.initiate(vec![content.with_transport(element(transport))])).await.unwrap();
        let Ending::Terminated(Some(reason)) = ending(&mut events).await else { panic!() };
        assert_eq!(reason.condition, ReasonCondition::IncompatibleParameters);
        assert!(matches!(soon(receiving.finish()).await, Err(TransferError::EndedByPeer(_))));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
