//! Sessions with stream management, spoken by hand (XEP-0198), and what is left of them.

use super::{PATIENCE, Raw, builder};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::timeout;
use xmpp_core::{
    server::{Envelope, Kinds, Limits, Resource, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::StanzaKind,
};

pub const SM: &str = "xmlns='urn:xmpp:sm:3'";
pub const R: &str = "<r xmlns='urn:xmpp:sm:3'/>";

pub fn server_with(change: impl FnOnce(&mut Limits)) -> Server {
    let mut limits = Limits::default();
    limits.closing = Duration::from_millis(500);
    change(&mut limits);
    builder().limits(limits).build().unwrap()
}

pub fn a(h: u32) -> String {
    format!("<a {SM} h='{h}'/>")
}

pub fn attribute<'a>(text: &'a str, name: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!(" {name}='")).unwrap_or_else(|| panic!("no {name} in {text}"));
    rest.split_once('\'').unwrap().0
}

/// A session with stream management, and the id to resume it by.
pub async fn managed(server: &Server, jid: &str) -> (Raw, String) {
    let mut raw = Raw::session(server, jid).await;
    raw.send(&format!("<enable {SM} resume='true'/>")).await;
    let enabled = raw.until("/>").await;
    (raw, attribute(&enabled, "id").to_owned())
}

/// A connection that asks to resume, up to the answer.
pub async fn resume(server: &Server, account: &str, id: &str, h: u32) -> (Raw, String) {
    let mut raw = Raw::memory(server);
    raw.authenticate(account).await;
    raw.send(&format!("<resume {SM} previd='{id}' h='{h}'/>")).await;
    let mut answer = raw.until(">").await;
    if answer.starts_with("<failed") {
        answer += &raw.until("</failed>").await;
    }
    (raw, answer)
}

pub async fn message(from: &mut Raw, to: &str, body: &str) {
    from.send(&format!("<message to='{to}' type='chat' id='{body}'><body>{body}</body></message>")).await;
}

/// The bodies of the messages in `text`, in order.
pub fn bodies(text: &str) -> Vec<&str> {
    text.split("<body>").skip(1).map(|rest| rest.split_once("</body>").unwrap().0).collect()
}

/// The ids of the messages that came back, in order.
pub fn bounced(text: &str) -> Vec<&str> {
    let errors = text.split("<message ").skip(1).filter(|one| one.contains("type='error'"));
    errors.map(|one| attribute(one, "id")).collect()
}

pub async fn hibernating(server: &Server, count: usize) {
    settled(server, |server| server.hibernating() == count).await;
}

/// Waits until it is so.
pub async fn settled(server: &Server, so: impl Fn(&Server) -> bool) {
    let waited = async {
        while !so(server) {
            tokio::task::yield_now().await;
        }
    };
    let waited = timeout(PATIENCE, waited).await;
    waited.unwrap_or_else(|_| panic!("{} sessions, {} hibernate", server.sessions(), server.hibernating()));
}

/// What ends, and what nobody took, in order.
#[derive(Default)]
pub struct Log(Mutex<Vec<String>>);

impl Log {
    pub fn extension(log: &Arc<Log>) -> impl FnOnce(&mut ServerRegistrar) + use<> {
        let (ended, lost) = (Arc::clone(log), Arc::clone(log));
        move |r: &mut ServerRegistrar| {
            r.on_session_end(move |_: &Server, resource: &Resource| ended.add(format!("end {}", resource.jid)));
            r.station(Station::new(
                "test:log",
                Stage::Undelivered,
                Kinds::ALL,
                move |envelope: &mut Envelope, _: &Server| {
                    match envelope.kind() {
                        StanzaKind::Message => lost.add(envelope.stanza().as_str().to_owned()),
                        _ => return Verdict::Continue,
                    }
                    Verdict::Handled
                },
            ));
        }
    }

    pub fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    pub async fn lines(&self, count: usize) -> Vec<String> {
        let all = async {
            while self.0.lock().unwrap().len() < count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("{:?}", self.0.lock().unwrap()));
        self.0.lock().unwrap().clone()
    }
}

/// Juliet has not acknowledged the second of two messages and has lost her connection; a third follows.
pub async fn left_behind(server: &Server) -> (Raw, String) {
    let (mut juliet, id) = managed(server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(server, "romeo@localhost/y").await;
    for body in ["1", "2"] {
        message(&mut romeo, "juliet@localhost/x", body).await;
    }
    juliet.until("<body>2</body></message>").await;
    juliet.send(&a(1)).await;
    juliet.sync_whole().await;
    drop(juliet);
    hibernating(server, 1).await;
    message(&mut romeo, "juliet@localhost/x", "3").await;
    romeo.sync().await;
    (romeo, id)
}

pub fn logged(change: impl FnOnce(&mut Limits)) -> (Server, Arc<Log>) {
    let log = Arc::new(Log::default());
    let mut limits = Limits::default();
    change(&mut limits);
    (builder().limits(limits).with(Log::extension(&log)).build().unwrap(), log)
}

pub fn handed_on(lines: &[String]) {
    assert_eq!(lines[0], "end juliet@localhost/x");
    assert_eq!(bodies(&lines[1..].concat()), ["2", "3"]);
    // XEP-0198 §4: with the time of the delivery that failed.
    assert!(lines[1..].iter().all(|line| line.contains("<delay xmlns='urn:xmpp:delay' from='localhost' stamp='20")));
}
