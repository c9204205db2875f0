//! Chats of two clients over an embedded server.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, Event},
    jid::{BareJid, Jid},
    payload::{chat_state::ChatState, ping::Ping},
    server::{MemoryAccounts, Server},
    stanza::{Iq, Presence},
    xml::{Stanza, XmlLimits, ns},
};
use xmpp_im::{
    archive::{self, ArchiveSettings, MemoryArchive, Since},
    carbons,
    chat::{self, Chat, ChatClient, ChatEvent, ChatEventKind, ChatEvents, ChatSettings, Progress, Sent, Source},
    delivery, presence,
};

fn server() -> Server {
    let accounts = MemoryAccounts::new();
    for name in ["juliet@localhost", "romeo@localhost"] {
        accounts.set_password(BareJid::new(name).unwrap(), "secret");
    }
    let archive = archive::server(Arc::new(MemoryArchive::default()), ArchiveSettings::default());
    let builder = Server::builder("localhost").accounts(accounts);
    builder.with(presence::server).with(delivery::server).with(carbons::server).with(archive).build().unwrap()
}

fn bare(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

/// A client that is there, and what happens in its chats.
async fn login(server: &Server, address: &str, settings: ChatSettings) -> (Client, ChatEvents) {
    let pipe = server.clone();
    let jid: Jid = address.parse().unwrap();
    let builder = Client::builder(jid, "secret").no_reconnect().with(chat::client(settings));
    let (client, mut events) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
    let chats = client.chats().unwrap();
    assert!(matches!(events.next().await, Some(Event::Online { .. })));
    tokio::spawn(async move { while events.next().await.is_some() {} });
    client.send(Presence::available()).await.unwrap();
    client.request(Iq::get_own().payload(&Ping)).await.unwrap();
    (client, chats)
}

async fn next(chats: &mut ChatEvents) -> ChatEvent {
    timeout(Duration::from_secs(20), chats.next()).await.unwrap().unwrap()
}

/// The next that is no chat state.
async fn told(chats: &mut ChatEvents) -> ChatEvent {
    loop {
        let event = next(chats).await;
        if !matches!(event.kind, ChatEventKind::State(_)) {
            return event;
        }
    }
}

fn text(event: &ChatEvent) -> &str {
    match &event.kind {
        ChatEventKind::New(content) | ChatEventKind::Corrected { content, .. } => &content.body,
        other => panic!("{other:?}"),
    }
}

fn stanza(xml: &str) -> Stanza {
    Stanza::parse(xml, ns::CLIENT, &XmlLimits::default()).unwrap()
}

fn with(client: &Client, address: &str) -> Chat {
    client.chat(bare(address)).unwrap()
}

/// It may have been acknowledged before.
async fn becomes(sent: &mut Sent, progress: Progress) {
    let mut now = timeout(Duration::from_secs(20), sent.changed()).await.unwrap();
    if now == Some(Progress::Accepted) && progress != Progress::Accepted {
        now = timeout(Duration::from_secs(20), sent.changed()).await.unwrap();
    }
    assert_eq!(now, Some(progress.clone()));
    assert_eq!(sent.progress(), progress);
}

#[tokio::test]
async fn a_message_is_followed_until_it_is_displayed_and_can_be_changed() {
    let server = server();
    let (juliet, mut hers) = login(&server, "juliet@localhost/balcony", ChatSettings::default()).await;
    let to_her = ChatSettings::default().confirm_to(|contact| contact.as_str() == "juliet@localhost");
    let (romeo, mut his) = login(&server, "romeo@localhost/orchard", to_her).await;
    let (to_him, to_her) = (with(&juliet, "romeo@localhost"), with(&romeo, "juliet@localhost"));

    let mut sent = to_him.send("Art thou not Romeo?").await.unwrap();
    let event = told(&mut his).await;
    assert_eq!((text(&event), event.id.as_deref(), event.is_mine), ("Art thou not Romeo?", Some(sent.id()), false));
    becomes(&mut sent, Progress::Delivered).await;
    assert!(to_her.mark_displayed(&event).await.unwrap());
    becomes(&mut sent, Progress::Displayed).await;
    assert!(matches!(told(&mut hers).await.kind, ChatEventKind::Delivered { id } if id == sent.id()));
    assert!(matches!(told(&mut hers).await.kind, ChatEventKind::Displayed { id } if id == sent.id()));

    to_him.correct(sent.id(), "Art thou not Romeo, and a Montague?").await.unwrap();
    let corrected = told(&mut his).await;
    assert!(matches!(&corrected.kind, ChatEventKind::Corrected { id, .. } if id == sent.id()));
    to_her.react(sent.id(), ["👋", "👋", "🐢"]).await.unwrap();
    // His confirmation of the correction comes before.
    assert!(matches!(told(&mut hers).await.kind, ChatEventKind::Delivered { .. }));
    match told(&mut hers).await.kind {
        ChatEventKind::Reacted { id, reactions } => assert_eq!((id.as_str(), reactions.len()), (sent.id(), 2)),
        other => panic!("{other:?}"),
    }
    to_her.message("Neither, fair saint").reply_to(&event).send().await.unwrap();
    let reply = told(&mut hers).await;
    assert_eq!(text(&reply), "Neither, fair saint");
    assert!(reply.message.body().unwrap().starts_with("> Art thou not Romeo?\n"));
    to_him.retract(sent.id()).await.unwrap();
    assert!(matches!(told(&mut his).await.kind, ChatEventKind::Retracted { id } if id == sent.id()));
}

#[tokio::test]
async fn xep0184_nobody_learns_that_we_are_there_unless_the_application_says_so() {
    let server = server();
    let (juliet, mut hers) = login(&server, "juliet@localhost/balcony", ChatSettings::default()).await;
    let (romeo, mut his) = login(&server, "romeo@localhost/orchard", ChatSettings::default()).await;
    let sent = with(&romeo, "juliet@localhost").send("Are you there?").await.unwrap();
    assert_eq!(text(&told(&mut hers).await), "Are you there?");
    with(&juliet, "romeo@localhost").send("first").await.unwrap();
    assert_eq!(text(&told(&mut his).await), "first", "and no confirmation before it");
    assert!(matches!(sent.progress(), Progress::Sent | Progress::Accepted));
}

#[tokio::test]
async fn xep0198_a_message_that_the_server_has_is_accepted_and_one_that_was_lost_is_doubtful() {
    let server = server();
    let (juliet, _events) = login(&server, "juliet@localhost/balcony", ChatSettings::default()).await;
    // He is not there, and will say nothing.
    let mut sent = with(&juliet, "romeo@localhost").send("Art thou there?").await.unwrap();
    becomes(&mut sent, Progress::Accepted).await;

    // A line that swallows what is sent.
    let (end, mut peer) = xmpp_core::net::Transport::pair(64 * 1024);
    let (mut end, mut up) = (Some(end), server.connect_memory());
    let (swallows, cut) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (told, cutting) = (Arc::clone(&swallows), Arc::clone(&cut));
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut peer, &mut up) => {}
            () = told.notified() => {}
        }
        cutting.notified().await;
        drop((peer, up));
    });
    let builder = Client::builder("juliet@localhost/tomb".parse().unwrap(), "secret").no_reconnect();
    let builder = builder.with(chat::client(ChatSettings::default()));
    let (lost, mut events) = builder.pipe(move || end.take().unwrap()).connect().unwrap();
    assert!(matches!(events.next().await, Some(Event::Online { .. })));
    lost.request(Iq::get_own().payload(&Ping)).await.unwrap();
    swallows.notify_one();
    tokio::task::yield_now().await;
    let mut sent = with(&lost, "romeo@localhost").send("Where is my lord?").await.unwrap();
    lost.session().await.unwrap();
    assert_eq!(sent.progress(), Progress::Sent);
    cut.notify_one();
    becomes(&mut sent, Progress::Doubtful).await;
    while events.next().await.is_some() {}
    assert_eq!(timeout(Duration::from_secs(20), sent.changed()).await.unwrap(), None);
}

#[tokio::test]
async fn xep0085_5_states_are_told_to_who_has_shown_to_care_and_each_once() {
    let server = server();
    let (juliet, mut hers) = login(&server, "juliet@localhost/balcony", ChatSettings::default()).await;
    let (romeo, mut his) = login(&server, "romeo@localhost/orchard", ChatSettings::default()).await;
    let to_him = with(&juliet, "romeo@localhost");
    assert!(!to_him.set_state(ChatState::Composing).await.unwrap(), "nothing is known of him");
    to_him.send("one").await.unwrap();
    assert!(matches!(next(&mut his).await.kind, ChatEventKind::State(ChatState::Active)));
    assert_eq!(text(&next(&mut his).await), "one");
    with(&romeo, "juliet@localhost").send("two").await.unwrap();
    assert_eq!(text(&told(&mut hers).await), "two");
    assert!(to_him.set_state(ChatState::Composing).await.unwrap());
    assert!(!to_him.set_state(ChatState::Composing).await.unwrap());
    assert!(matches!(next(&mut his).await.kind, ChatEventKind::State(ChatState::Composing)));
    romeo.send(xmpp_core::stanza::Message::chat(bare("juliet@localhost")).body("three")).await.unwrap();
    assert_eq!(text(&told(&mut hers).await), "three");
    assert!(!to_him.set_state(ChatState::Paused).await.unwrap(), "he does not care");
}

#[tokio::test]
async fn abuse_a059_a_copy_counts_from_the_own_bare_address_alone() {
    let server = server();
    let (juliet, mut hers) = login(&server, "juliet@localhost/balcony", ChatSettings::default()).await;
    let me: Jid = juliet.jid().unwrap().into();
    let copy = |kind: &str, from: &str, to: &str, body: &str| {
        stanza(&format!(
            "<message type='chat'><{kind} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client' type='chat' from='{from}' to='{to}'><body>{body}</body></message>\
             </forwarded></{kind}></message>"
        ))
    };
    let hand = |from: &str, stanza: Stanza| assert!(server.hand(from.parse().unwrap(), &me, stanza));
    let her_phone = "juliet@localhost/phone";
    hand("romeo@localhost/orchard", copy("received", "nurse@localhost", her_phone, "forged"));
    hand("romeo@localhost", copy("sent", her_phone, "nurse@localhost", "forged"));
    hand("juliet@localhost/phone", copy("sent", her_phone, "nurse@localhost", "not of the account"));
    hand("juliet@localhost", copy("sent", "romeo@localhost", "nurse@localhost", "not sent by her"));
    hand("juliet@localhost", copy("received", "romeo@localhost", "nurse@localhost", "not sent to her"));
    hand("juliet@localhost", copy("sent", her_phone, "romeo@localhost", "genuine"));
    let event = told(&mut hers).await;
    assert_eq!((text(&event), event.is_mine, event.source), ("genuine", true, Source::Carbon));
    assert_eq!(event.chat, Jid::from(bare("romeo@localhost")));
    hand("juliet@localhost", copy("received", "romeo@localhost/orchard", her_phone, "answer"));
    let event = told(&mut hers).await;
    assert_eq!((text(&event), event.is_mine), ("answer", false));
}

#[tokio::test]
async fn xep0280_what_another_client_sends_and_receives_is_seen() {
    let server = server();
    let (juliet, mut hers) = login(&server, "juliet@localhost/balcony", ChatSettings::default()).await;
    let (phone, mut there) = login(&server, "juliet@localhost/phone", ChatSettings::default()).await;
    let (romeo, mut his) = login(&server, "romeo@localhost/orchard", ChatSettings::default()).await;
    let sent = with(&phone, "romeo@localhost").send("from the phone").await.unwrap();
    let event = told(&mut hers).await;
    assert_eq!((text(&event), event.is_mine, event.source), ("from the phone", true, Source::Carbon));
    assert_eq!(event.id.as_deref(), Some(sent.id()));
    assert_eq!(text(&told(&mut his).await), "from the phone");
    let to_phone = xmpp_core::stanza::Message::chat(phone.jid().unwrap()).body("to the phone");
    romeo.send(to_phone).await.unwrap();
    assert_eq!(text(&told(&mut there).await), "to the phone");
    let event = told(&mut hers).await;
    assert_eq!((text(&event), event.is_mine, event.source), ("to the phone", false, Source::Carbon));
    assert_eq!(synced(&juliet, Since::Beginning).await, [""; 0], "copies are known by their identifiers");
}

async fn synced(client: &Client, since: Since) -> Vec<String> {
    let mut sync = client.archive().unwrap().page(2).sync(since);
    let mut bodies = Vec::new();
    while let Some(message) = timeout(Duration::from_secs(20), sync.next()).await.unwrap() {
        let events = message.unwrap().events;
        assert!(events.iter().all(|event| event.time.is_some() && event.source == Source::Archive));
        bodies.extend(events.iter().map(|event| text(event).to_owned()));
    }
    bodies
}

#[tokio::test]
async fn xep0313_what_was_missed_comes_from_the_archive_once() {
    let server = server();
    let (romeo, _his) = login(&server, "romeo@localhost/orchard", ChatSettings::default()).await;
    let to_her = with(&romeo, "juliet@localhost");
    let (juliet, mut hers) = login(&server, "juliet@localhost/balcony", ChatSettings::default()).await;
    assert_eq!(juliet.archive().unwrap().position(), None);
    for text in ["a", "b", "c"] {
        to_her.send(text).await.unwrap();
    }
    for expected in ["a", "b", "c"] {
        assert_eq!(text(&told(&mut hers).await), expected);
    }
    assert_eq!(synced(&juliet, Since::Beginning).await, [""; 0], "all was told as it came");
    to_her.send("d").await.unwrap();
    assert_eq!(text(&told(&mut hers).await), "d");
    let saved = juliet.archive().unwrap().position().unwrap();
    juliet.close().await;
    assert!(hers.next().await.is_none());

    // She is at another client meanwhile, so that nothing is kept for this one but in the archive.
    let (other, mut there) = login(&server, "juliet@localhost/other", ChatSettings::default()).await;
    for text in ["e", "f", "g"] {
        to_her.send(text).await.unwrap();
    }
    for expected in ["e", "f", "g"] {
        assert_eq!(text(&told(&mut there).await), expected);
    }
    with(&other, "romeo@localhost").send("mine").await.unwrap();
    other.request(Iq::get_own().payload(&Ping)).await.unwrap();

    let (again, mut hers) = login(&server, "juliet@localhost/balcony", ChatSettings::default()).await;
    to_her.send("h").await.unwrap();
    assert_eq!(text(&told(&mut hers).await), "h");
    assert_eq!(synced(&again, Since::After(saved.clone())).await, ["e", "f", "g", "mine"]);
    assert_eq!(synced(&again, Since::After(saved)).await, [""; 0], "once");
    let sent = with(&again, "romeo@localhost").send("i").await.unwrap();
    again.request(Iq::get_own().payload(&Ping)).await.unwrap();
    let position = again.archive().unwrap().position().unwrap();
    assert_eq!(synced(&again, Since::After(position)).await, [""; 0], "what was sent here is known: {}", sent.id());
}

#[tokio::test]
async fn xep0313_an_archive_that_has_forgotten_says_so_and_filters_work() {
    let server = server();
    let (romeo, _his) = login(&server, "romeo@localhost/orchard", ChatSettings::default()).await;
    for text in ["a", "b", "c"] {
        with(&romeo, "juliet@localhost").send(text).await.unwrap();
    }
    romeo.request(Iq::get_own().payload(&Ping)).await.unwrap();
    let (juliet, _hers) = login(&server, "juliet@localhost/balcony", ChatSettings::default()).await;
    let archive = juliet.archive().unwrap();
    let mut sync = archive.sync(Since::After("18446744073709551615".into()));
    assert!(matches!(sync.next().await, Some(Err(archive::SyncError::Forgotten))));
    assert!(sync.next().await.is_none());
    let mut sync = archive.clone().with(bare("nurse@localhost")).sync(Since::Beginning);
    assert!(sync.next().await.is_none());
    assert_eq!(archive.position(), None, "a part of the archive says nothing of the whole");
    let mut sync = archive.with(bare("romeo@localhost")).page(1).sync(Since::Beginning);
    let mut count = 0;
    while let Some(message) = sync.next().await {
        assert!(message.unwrap().time.is_some());
        count += 1;
    }
    assert_eq!(count, 3);
}

#[tokio::test]
async fn what_was_not_taken_in_time_is_lost_to_the_events_and_comes_from_the_archive() {
    let server = server();
    let (romeo, _his) = login(&server, "romeo@localhost/orchard", ChatSettings::default()).await;
    let settings = ChatSettings::default().events(4).without_states();
    let (juliet, mut hers) = login(&server, "juliet@localhost/balcony", settings).await;
    let (_other, mut there) = login(&server, "juliet@localhost/other", ChatSettings::default()).await;
    for n in 0..20 {
        with(&romeo, "juliet@localhost").send(n.to_string()).await.unwrap();
    }
    // They go to both clients at once; what her session was given before the answer is there before it.
    for n in 0..20 {
        assert_eq!(text(&told(&mut there).await), n.to_string());
    }
    juliet.request(Iq::get_own().payload(&Ping)).await.unwrap();
    next(&mut hers).await;
    assert!(hers.missed() > 0);
    let all: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(synced(&juliet, Since::Beginning).await, all);
}

/// Six messages of Romeo's: from 0 to 3, but that the last is said in a word first, and corrected.
async fn filled(server: &Server) -> Client {
    let (juliet, mut chats) = login(server, "juliet@localhost/balcony", ChatSettings::default()).await;
    let (romeo, _events) = login(server, "romeo@localhost/orchard", ChatSettings::default()).await;
    let chat = with(&romeo, "juliet@localhost");
    for n in 0..3 {
        chat.send(format!("{n}")).await.unwrap();
        told(&mut chats).await;
    }
    let last = chat.send("three").await.unwrap();
    told(&mut chats).await;
    for _ in 0..2 {
        chat.correct(last.id(), "3").await.unwrap();
        told(&mut chats).await;
    }
    juliet
}

fn ids(messages: &[archive::ArchivedMessage]) -> Vec<String> {
    messages.iter().map(|message| message.id.clone()).collect()
}

#[tokio::test]
async fn xep0313_4_3_3_an_archive_is_read_backwards_page_by_page() {
    let server = server();
    let juliet = filled(&server).await;
    let archive = juliet.archive().unwrap().with(bare("romeo@localhost"));
    let whole = archive.history().next_page().await.unwrap().unwrap();
    assert!(whole.complete);
    let said: Vec<_> = whole.messages.iter().map(|message| text(&message.events[0]).to_owned()).collect();
    assert_eq!(said, ["3", "3", "three", "2", "1", "0"], "newest first, and what live events have told too");
    assert!(matches!(whole.messages[0].events[0].kind, ChatEventKind::Corrected { .. }));
    let all = ids(&whole.messages);
    for flips in [false, true] {
        let mut history = archive.clone().page(4).history();
        if flips {
            history = history.flipped();
        }
        let newest = history.next_page().await.unwrap().unwrap();
        assert_eq!((ids(&newest.messages), newest.complete), (all[..4].to_vec(), false));
        // One at a time, the rest as a page.
        assert_eq!(history.next().await.unwrap().unwrap().id, all[4]);
        let rest = history.next_page().await.unwrap().unwrap();
        assert_eq!((ids(&rest.messages), rest.complete), (all[5..].to_vec(), true));
        assert!(history.next_page().await.is_none() && history.next().await.is_none());
    }
    let older = archive.history_before(all[3].clone()).next_page().await.unwrap().unwrap();
    assert_eq!(ids(&older.messages), all[4..]);
    let mut lost = archive.history_before("18446744073709551615");
    assert!(matches!(lost.next_page().await, Some(Err(archive::SyncError::Forgotten))));
    assert!(lost.next_page().await.is_none());
}

#[tokio::test]
async fn xep0313_4_1_and_5_an_archive_tells_its_extent_and_is_asked_by_time_and_ids() {
    let server = server();
    let (empty, _events) = login(&server, "romeo@localhost/early", ChatSettings::default()).await;
    let archive = empty.archive().unwrap();
    let extent = archive.extent().await.unwrap();
    assert!(extent.start.is_none() && extent.end.is_none());
    assert!(archive.history().next_page().await.unwrap().unwrap().messages.is_empty());

    let juliet = filled(&server).await;
    let archive = juliet.archive().unwrap();
    let all = archive.history().next_page().await.unwrap().unwrap().messages;
    let extent = archive.extent().await.unwrap();
    let (start, end) = (extent.start.unwrap(), extent.end.unwrap());
    assert_eq!((&start.id, &end.id), (&all[5].id, &all[0].id));
    assert_eq!(Some(end.timestamp), all[0].time);
    let some = archive.clone().only([all[1].id.clone(), all[4].id.clone()]);
    assert_eq!(
        ids(&some.history().next_page().await.unwrap().unwrap().messages),
        [all[1].id.clone(), all[4].id.clone()]
    );
    let span = archive.clone().from(start.timestamp).until(end.timestamp);
    assert_eq!(span.history().next_page().await.unwrap().unwrap().messages.len(), 6);
    let later = xmpp_core::payload::DateTime::from_unix(4_000_000_000, 0).unwrap();
    assert!(archive.clone().from(later).history().next_page().await.unwrap().unwrap().messages.is_empty());
    let mut forwards = archive.clone().until(later).sync(Since::After(all[1].id.clone()));
    // It has been told live: nothing is left to tell, and that a part was read says nothing of the whole.
    assert!(forwards.next().await.is_none() && archive.position().is_none());
}

#[tokio::test]
async fn xep0441_2_a_client_says_what_is_archived() {
    let server = server();
    let (juliet, _events) = login(&server, "juliet@localhost/balcony", ChatSettings::default()).await;
    let archive = juliet.archive().unwrap();
    let mut preferences = archive.preferences().await.unwrap();
    assert_eq!(preferences, archive::Preferences::default());
    preferences.never = vec!["romeo@localhost".parse().unwrap()];
    assert_eq!(archive.set_preferences(preferences.clone()).await.unwrap(), preferences);
    assert_eq!(archive.preferences().await.unwrap(), preferences);
    with(&juliet, "romeo@localhost").send("secretly").await.unwrap();
    juliet.request(Iq::get_own().payload(&Ping)).await.unwrap();
    assert!(archive.extent().await.unwrap().start.is_none());
}
