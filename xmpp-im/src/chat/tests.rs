//! What counts and what does not, without a connection.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::{reading::Reading, recent::Recent, state::Known, *};
use xmpp_core::{
    payload::archive::ArchiveResult,
    stanza::Message,
    xml::{Stanza, XmlLimits, ns},
};

fn message(xml: &str) -> Message {
    Message::from_stanza(Stanza::parse(xml, ns::CLIENT, &XmlLimits::default()).unwrap()).unwrap()
}

fn own() -> BareJid {
    BareJid::new("juliet@capulet.lit").unwrap()
}

/// What a message from this address is read as.
fn read(reading: &mut Reading, from: &str, id: &str, content: &str) -> Vec<String> {
    let to = if from.starts_with("juliet@") { "romeo@montague.lit" } else { "juliet@capulet.lit" };
    let xml = format!("<message type='chat' from='{from}' to='{to}' id='{id}'>{content}</message>");
    let events = reading.read(&own(), &message(&xml), Source::Live, None).unwrap_or_default();
    let name = |kind: ChatEventKind| match kind {
        ChatEventKind::New(content) => format!("new {}", content.body),
        ChatEventKind::Corrected { id, content } => format!("corrected {id} {}", content.body),
        ChatEventKind::Retracted { id } => format!("retracted {id}"),
        ChatEventKind::Reacted { id, reactions } => format!("reacted {id} {}", reactions.len()),
        other => format!("{other:?}"),
    };
    events.into_iter().map(|event| name(event.kind)).collect()
}

const REPLACE: &str = "<body>b</body><replace xmlns='urn:xmpp:message-correct:0' id='m1'/>";
const RETRACT: &str = "<body>gone</body><retract xmlns='urn:xmpp:message-retract:1' id='m1'/>";

#[test]
fn xep0308_4_only_the_author_corrects_from_whichever_client() {
    let mut reading = Reading::new(16);
    assert_eq!(read(&mut reading, "romeo@montague.lit/one", "m1", "<body>a</body>"), ["new a"]);
    assert_eq!(read(&mut reading, "romeo@montague.lit/two", "m2", REPLACE), ["corrected m1 b"]);
    assert_eq!(read(&mut reading, "juliet@capulet.lit/other", "m3", REPLACE), ["new b"], "ours does not correct his");
    assert_eq!(read(&mut reading, "juliet@capulet.lit/other", "m4", RETRACT), [""; 0]);
    assert_eq!(read(&mut reading, "nurse@capulet.lit/x", "m5", REPLACE), ["corrected m1 b"], "of a chat of her own");
    assert_eq!(read(&mut reading, "romeo@montague.lit/two", "m6", RETRACT), ["retracted m1"]);
}

#[test]
fn xep0308_4_who_takes_an_id_again_does_not_become_the_author() {
    let mut reading = Reading::new(16);
    assert_eq!(read(&mut reading, "juliet@capulet.lit/a", "m1", "<body>mine</body>"), ["new mine"]);
    assert_eq!(read(&mut reading, "romeo@montague.lit/a", "m1", "<body>his</body>"), ["new his"]);
    assert_eq!(read(&mut reading, "romeo@montague.lit/a", "m2", REPLACE), ["new b"]);
}

#[test]
fn xep0424_5_occupants_of_a_room_are_told_apart() {
    let mut reading = Reading::new(16);
    let private = "<x xmlns='http://jabber.org/protocol/muc#user'/>";
    let first = format!("<body>a</body>{private}");
    assert_eq!(read(&mut reading, "room@chat.lit/nurse", "m1", &first), ["new a"]);
    let forged = format!("{RETRACT}{private}");
    assert_eq!(read(&mut reading, "room@chat.lit/paris", "m2", &forged), [""; 0]);
    assert_eq!(read(&mut reading, "room@chat.lit/paris", "m2", RETRACT), [""; 0], "nor by leaving out the mark");
    assert_eq!(read(&mut reading, "room@chat.lit/nurse", "m3", &forged), ["retracted m1"]);
}

#[test]
fn xep0424_4_only_an_archive_has_tombstones_and_only_in_the_authors_place() {
    let mut reading = Reading::new(16);
    let tombstone = "<retracted xmlns='urn:xmpp:message-retract:1' id='m2' stamp='2019-09-20T23:09:32Z'/>";
    assert_eq!(read(&mut reading, "juliet@capulet.lit/a", "m1", "<body>mine</body>"), ["new mine"]);
    assert_eq!(read(&mut reading, "romeo@montague.lit/a", "m1", tombstone), [""; 0], "live, it is one of nobody's");
    let mut archived = |from: &str, to: &str, id: &str| {
        let xml = format!("<message type='chat' from='{from}' to='{to}' id='m1'>{tombstone}</message>");
        reading.read(&own(), &message(&xml), Source::Archive, Some(id.into())).unwrap().len()
    };
    assert_eq!(
        archived("romeo@montague.lit/a", "juliet@capulet.lit", "1"),
        0,
        "what was sent as one is no better there"
    );
    assert_eq!(archived("juliet@capulet.lit/a", "romeo@montague.lit", "2"), 1);
}

#[test]
fn what_waits_as_an_event_has_not_been_handed_over() {
    let state = std::sync::Arc::new(State::new(ChatSettings::default()));
    state.session_begins(own());
    let xml = |id: &str| {
        let stamp = format!("<stanza-id xmlns='urn:xmpp:sid:0' by='juliet@capulet.lit' id='{id}'/>");
        message(&format!("<message type='chat' from='romeo@montague.lit/a'><body>{id}</body>{stamp}</message>"))
    };
    state.known().live(&own(), &xml("2"));
    assert!(state.read_archived(&xml("1"), "1").is_some() && state.synchronised("1"));
    assert!(state.read_archived(&xml("2"), "2").is_none() && !state.synchronised("2"), "nobody has taken it");
    assert_eq!(state.position().as_deref(), Some("1"));
    let mut events = state.events();
    let mut next = std::pin::pin!(events.next());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(next.as_mut().poll(&mut cx).is_ready());
    assert!(state.synchronised("2"));
    // What says nothing has no event that could be taken.
    let silent = "<message from='romeo@montague.lit/a'><stanza-id xmlns='urn:xmpp:sid:0' by='juliet@capulet.lit' \
        id='3'/></message>";
    state.known().live(&own(), &message(silent));
    assert!(state.synchronised("3"));
}

#[test]
fn xep0444_huge_lists_of_reactions_are_cut() {
    let list: String = (0..2000).map(|n| format!("<reaction>{n}</reaction>")).collect();
    let content = format!("<reactions xmlns='urn:xmpp:reactions:0' id='m1'>{list}</reactions>");
    let mut reading = Reading::new(16);
    assert_eq!(read(&mut reading, "romeo@montague.lit/a", "m2", &content), ["reacted m1 32"]);
}

#[test]
fn what_has_been_in_the_archive_is_told_once_by_our_own_identifiers_alone() {
    let mut reading = Reading::new(16);
    let from = "romeo@montague.lit/a";
    let by_us = "<body>a</body><stanza-id xmlns='urn:xmpp:sid:0' by='juliet@capulet.lit' id='1'/>";
    let by_him = "<body>b</body><stanza-id xmlns='urn:xmpp:sid:0' by='romeo@montague.lit' id='1'/>";
    assert_eq!(read(&mut reading, from, "m1", by_us), ["new a"]);
    assert_eq!(read(&mut reading, from, "m1", by_us), [""; 0]);
    assert_eq!(read(&mut reading, from, "m2", by_him), ["new b"]);
    assert_eq!(read(&mut reading, from, "m3", by_him), ["new b"]);
}

#[test]
fn xep0461_what_is_quoted_for_others_is_not_in_the_body() {
    let mut reading = Reading::new(16);
    let content = "<body>&gt; a\nyes</body><reply xmlns='urn:xmpp:reply:0' id='m1'/>\
        <fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='4'/></fallback>";
    assert_eq!(read(&mut reading, "romeo@montague.lit/a", "m2", content), ["new yes"]);
}

#[test]
fn tables_are_bounded() {
    let mut recent = Recent::new(3);
    for key in 0..1000 {
        assert!(recent.add(key, key));
    }
    assert!(!recent.add(999, 0));
    assert_eq!((0..1000).filter(|key| recent.get(*key).is_some()).count(), 3);
    let mut reading = Reading::new(4);
    let long = "x".repeat(10_000);
    assert_eq!(reading.key("a", &long), None);
    assert_eq!(read(&mut reading, "romeo@montague.lit/a", &long, "<body>a</body>"), ["new a"]);
}

fn archived(known: &mut Known, from: &str, queryid: &str) {
    let from = if from.is_empty() { String::new() } else { format!(" from='{from}'") };
    let message = message(&format!(
        "<message{from}><result xmlns='urn:xmpp:mam:2' queryid='{queryid}' id='1'><forwarded xmlns='urn:xmpp:forward:0'/>\
         </result></message>"
    ));
    let result = message.payload::<ArchiveResult>().unwrap().unwrap();
    known.archived(&own(), &message, result);
}

#[test]
fn abuse_a061_results_count_from_the_archive_that_was_asked_with_the_id_of_the_query() {
    let state = State::new(ChatSettings::default());
    let page = |archive: Option<&str>| Page {
        archive: archive.map(|jid| jid.parse().unwrap()),
        most: 2,
        results: Vec::new(),
        overflowed: false,
    };
    state.expect_page("q1", page(None));
    state.expect_page("q2", page(Some("room@chat.lit")));
    for (from, queryid) in [
        ("romeo@montague.lit/a", "q1"),
        ("juliet@capulet.lit/other", "q1"),
        ("capulet.lit", "q1"),
        ("room@chat.lit/nurse", "q2"),
        ("juliet@capulet.lit", "q2"),
        ("", "q2"),
        ("juliet@capulet.lit", "q3"),
    ] {
        archived(&mut state.known(), from, queryid);
    }
    assert!(state.known().pages.values().all(|page| page.results.is_empty() && !page.overflowed));
    archived(&mut state.known(), "juliet@capulet.lit", "q1");
    archived(&mut state.known(), "", "q1");
    archived(&mut state.known(), "room@chat.lit", "q2");
    assert_eq!(state.take_page("q2").unwrap().results.len(), 1);
    archived(&mut state.known(), "", "q1");
    let page = state.take_page("q1").unwrap();
    assert_eq!((page.results.len(), page.overflowed), (2, true), "an archive cannot send without end");
}
