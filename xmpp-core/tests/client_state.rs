//! Client state indication over whole connections (XEP-0352).
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::sync::{Arc, Mutex};
use support::{END, PATIENCE, Raw, builder};
use tokio::time::timeout;
use xmpp_core::server::{Envelope, Idle, Kinds, Limits, Server, ServerRegistrar, Stage, Station, Verdict};

const ACTIVE: &str = "<active xmlns='urn:xmpp:csi:0'/>";
const INACTIVE: &str = "<inactive xmlns='urn:xmpp:csi:0'/>";
const STATES: &str = "xmlns='http://jabber.org/protocol/chatstates'";
const TO: &str = "to='juliet@localhost/x'";

/// What each element of `text` says of itself: the text of its first child, or the child's name, or its type.
fn gist(text: &str) -> Vec<String> {
    let elements = text.split_inclusive("</presence>").flat_map(|part| part.split_inclusive("</message>"));
    elements
        .filter(|one| one.contains("</"))
        .map(|one| {
            let (_, inner) = one.split_once('>').unwrap();
            let name = inner.trim_start_matches('<').split([' ', '/', '>']).next().unwrap();
            match inner.split_once("</").unwrap().0.rsplit_once('>').unwrap().1 {
                "" => name.to_owned(),
                text => text.to_owned(),
            }
        })
        .collect()
}

struct Scene {
    juliet: Raw,
    romeo: Raw,
    paris: Raw,
}

impl Scene {
    /// Juliet does not look.
    async fn new(server: &Server) -> Scene {
        let mut juliet = Raw::session(server, "juliet@localhost/x").await;
        juliet.send(INACTIVE).await;
        juliet.sync().await;
        let romeo = Raw::session(server, "romeo@localhost/y").await;
        let paris = Raw::session(server, "paris@localhost/z").await;
        Scene { juliet, romeo, paris }
    }

    async fn romeo(&mut self, stanzas: &str) {
        self.romeo.send(stanzas).await;
        self.romeo.sync().await;
    }

    async fn paris(&mut self, stanzas: &str) {
        self.paris.send(stanzas).await;
        self.paris.sync().await;
    }
}

fn show(show: &str) -> String {
    format!("<presence {TO}><show>{show}</show></presence>")
}

fn typing(state: &str) -> String {
    format!(
        "<message {TO} type='chat'><{state} {STATES}/><thread>t</thread><no-store xmlns='urn:xmpp:hints'/></message>"
    )
}

fn body(text: &str) -> String {
    format!("<message {TO}><body>{text}</body></message>")
}

#[tokio::test]
async fn xep0352_3_2_only_the_latest_presence_of_each_comes_when_she_looks() {
    let mut scene = Scene::new(&builder().build().unwrap()).await;
    scene.romeo(&[show("chat"), typing("composing"), show("away"), typing("paused")].concat()).await;
    scene.paris(&show("xa")).await;
    scene.romeo(&show("dnd")).await;
    assert!(scene.juliet.is_quiet().await);
    // §5.1: before what is asked after it.
    scene.juliet.send(ACTIVE).await;
    let text = scene.juliet.sync_whole().await;
    assert_eq!(gist(&text), ["t", "xa", "dnd"]);
    assert!(text.contains("<paused ") && !text.contains("<composing "), "{text}");
    // And so it is again.
    scene.romeo(&show("chat")).await;
    assert_eq!(gist(&scene.juliet.until("</presence>").await), ["chat"]);
}

#[tokio::test]
async fn xep0352_3_2_what_matters_comes_at_once_behind_what_was_held() {
    for urgent in [
        body("urgent"),
        format!("<message {TO} type='chat'><active {STATES}/><body>urgent</body></message>"),
        format!("<message {TO} type='groupchat'><subject>urgent</subject></message>"),
        format!(
            "<message {TO} type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'>urgent</event></message>"
        ),
        format!("<message {TO} type='error'><composing {STATES}>urgent</composing></message>"),
        format!("<presence {TO} type='subscribe'><status>urgent</status></presence>"),
        format!("<presence {TO} type='error'><status>urgent</status></presence>"),
        format!(
            "<presence {TO} type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'><item role='none'/>\
             <status code='307'/><status code='110'/></x><status>urgent</status></presence>"
        ),
    ] {
        let mut scene = Scene::new(&builder().build().unwrap()).await;
        scene.romeo(&show("away")).await;
        assert!(scene.juliet.is_quiet().await);
        scene.paris(&urgent).await;
        let text = scene.juliet.until("urgent").await;
        assert!(text.contains("<show>away</show>"), "{text}");
        // She still does not look.
        scene.romeo(&show("dnd")).await;
        assert!(!scene.juliet.hear().await.contains("dnd"));
        assert!(scene.juliet.is_quiet().await, "{urgent}");
    }
}

#[tokio::test]
async fn xep0352_3_2_others_in_a_room_may_wait() {
    let mut scene = Scene::new(&builder().build().unwrap()).await;
    let kicked = "<x xmlns='http://jabber.org/protocol/muc#user'><item role='none'/><status code='307'/></x>";
    scene.romeo(&format!("<presence {TO} type='unavailable'>{kicked}</presence>")).await;
    assert!(scene.juliet.is_quiet().await);
}

#[tokio::test]
async fn abuse_a067_what_is_held_is_bounded() {
    for change in [|limits: &mut Limits| limits.held_stanzas = 3, |limits: &mut Limits| limits.held_bytes = 500] {
        let mut limits = Limits::default();
        change(&mut limits);
        let mut scene = Scene::new(&builder().limits(limits).build().unwrap()).await;
        for _ in 0..1000 {
            scene.romeo.send(&show("away")).await;
        }
        scene.romeo(&typing("composing")).await;
        scene.paris(&typing("composing")).await;
        assert!(scene.juliet.is_quiet().await);
        // The fourth is too much, whatever it is.
        scene.paris(&format!("<presence {TO}><show>xa</show><status>{}</status></presence>", "x".repeat(50))).await;
        let text = scene.juliet.until("</status></presence>").await;
        assert_eq!(text.matches("<show>").count() + text.matches("<composing ").count(), 4, "{text}");
        scene.romeo(&show("dnd")).await;
        assert!(scene.juliet.is_quiet().await);
    }
}

#[tokio::test]
async fn xep0352_5_2_who_resumes_is_active_and_gets_what_was_held() {
    let server = builder().build().unwrap();
    let mut scene = Scene::new(&server).await;
    scene.juliet.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let enabled = scene.juliet.until("/>").await;
    let id = enabled.split_once(" id='").unwrap().1.split_once('\'').unwrap().0.to_owned();
    scene.romeo(&[show("chat"), typing("composing"), show("away")].concat()).await;
    // What is held was not sent: nothing is asked for.
    assert!(scene.juliet.is_quiet().await);
    let Scene { juliet, mut romeo, .. } = scene;
    drop(juliet);
    let hibernates = async {
        while server.hibernating() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, hibernates).await.unwrap();
    romeo.send(&body("1")).await;
    romeo.sync().await;
    let mut juliet = Raw::memory(&server);
    juliet.authenticate("juliet@localhost").await;
    juliet.send(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>")).await;
    juliet.until("<resumed ").await;
    let text = juliet.until("<r ").await;
    assert_eq!(gist(text.split_once("/>").unwrap().1), ["t", "away", "1"]);
    juliet.send("<a xmlns='urn:xmpp:sm:3' h='3'/>").await;
    romeo.send(&show("dnd")).await;
    juliet.until("<show>dnd</show>").await;
}

#[tokio::test]
async fn what_is_held_when_a_session_ends_is_handed_on() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let lost = Arc::clone(&log);
    let extension = move |r: &mut ServerRegistrar| {
        r.station(Station::new(
            "test:log",
            Stage::Undelivered,
            Kinds::ALL,
            move |envelope: &mut Envelope, _: &Server| {
                lost.lock().unwrap().push(envelope.stanza().as_str().to_owned());
                Verdict::Handled
            },
        ));
    };
    let mut scene = Scene::new(&builder().with(extension).build().unwrap()).await;
    scene.romeo(&[show("chat"), typing("composing"), show("away")].concat()).await;
    scene.juliet.send(END).await;
    assert_eq!(scene.juliet.rest().await, END);
    scene.romeo.sync().await;
    assert_eq!(gist(&log.lock().unwrap().concat()), ["t", "away"]);
}

#[tokio::test]
async fn an_extension_may_have_another_rule() {
    let extension = |r: &mut ServerRegistrar| {
        r.idle_rule(|envelope: &Envelope| match envelope.stanza().as_str() {
            dull if dull.contains("dull") => Some(Some(Idle::Presence)),
            vital if vital.contains("vital") => Some(None),
            _ => None,
        });
    };
    let mut scene = Scene::new(&builder().with(extension).build().unwrap()).await;
    scene.romeo(&[body("dull"), show("xa")].concat()).await;
    assert!(scene.juliet.is_quiet().await);
    scene.romeo(&show("vital")).await;
    // By what the rule says, the second took the first one's place.
    assert_eq!(gist(&scene.juliet.until("vital</show></presence>").await), ["xa", "vital"]);
}
