//! What the tests of rosters and presence share: devices that speak XML, and what they are sent in a few words.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

#[path = "../../../xmpp-core/tests/support/mod.rs"]
pub mod support;

use std::sync::Arc;
use support::{HEADER, PATIENCE, Raw, builder};
use tokio::time::timeout;
use xmpp_core::{
    server::{Server, ServerBuilder},
    xml::{ElementRef, Scanner, Stanza, XmlLimits, ns},
};
use xmpp_im::roster::{self, MemoryRosters, RosterLimits, RosterStore};

pub const ROSTER: &str = "jabber:iq:roster";

pub fn compose(builder: ServerBuilder, store: impl RosterStore, limits: RosterLimits) -> ServerBuilder {
    builder.with(roster::server_with(Arc::new(store), limits)).with(xmpp_im::delivery::server)
}

/// Where everybody with a name from a to z has an account, but `nobody`.
pub fn server() -> Server {
    compose(builder(), MemoryRosters::new(), RosterLimits::default()).build().unwrap()
}

/// A session.
pub struct Device {
    raw: Raw,
    scanner: Scanner,
    pings: usize,
    pub jid: String,
}

impl Device {
    /// Connected, and nothing else.
    pub async fn connect(server: &Server, jid: &str) -> Device {
        let mut scanner = Scanner::new(XmlLimits::authenticated());
        let mut header = HEADER.as_bytes();
        while !header.is_empty() {
            scanner.scan(&mut header).unwrap();
        }
        Device { raw: Raw::session(server, jid).await, scanner, pings: 0, jid: jid.to_owned() }
    }

    /// Interested in the roster, and available.
    pub async fn new(server: &Server, jid: &str) -> Device {
        let mut device = Device::connect(server, jid).await;
        device.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>").await;
        device.seen().await;
        device
    }

    pub async fn send(&mut self, xml: &str) {
        self.raw.send(xml).await;
    }

    /// A presence of a type to somebody.
    pub async fn presence(&mut self, type_: &str, to: &str) {
        self.send(&format!("<presence type='{type_}' to='{to}'/>")).await;
    }

    pub async fn next(&mut self) -> Stanza {
        loop {
            if let Some(stanza) = self.raw.scan(&mut self.scanner).await {
                return stanza;
            }
        }
    }

    /// What it is sent, up to this.
    pub async fn until(&mut self, wanted: &str) -> Vec<String> {
        let mut before = Vec::new();
        let waiting = async {
            loop {
                let stanza = brief(&self.next().await);
                if stanza == wanted {
                    return;
                }
                before.push(stanza);
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{wanted} has not come"));
        before
    }

    /// All that it has been sent when nothing more happens by itself: in one thread, without sockets, that is soon.
    pub async fn stanzas(&mut self) -> Vec<Stanza> {
        settle().await;
        self.pings += 1;
        let id = format!("ping{}", self.pings);
        self.send(&format!("<iq type='get' id='{id}' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")).await;
        let mut seen = Vec::new();
        loop {
            let stanza = self.next().await;
            if stanza.root().attr("id").as_deref() == Some(&id) {
                return seen;
            }
            seen.push(stanza);
        }
    }

    /// The same in a few words.
    pub async fn seen(&mut self) -> Vec<String> {
        self.stanzas().await.iter().map(brief).collect()
    }

    /// The answer to a roster set of this item, in a few words.
    pub async fn set(&mut self, item: &str) -> String {
        self.send(&format!("<iq type='set' id='s'><query xmlns='{ROSTER}'>{item}</query></iq>")).await;
        loop {
            let stanza = self.next().await;
            if stanza.root().attr("id").as_deref() == Some("s") {
                return brief(&stanza);
            }
        }
    }

    /// Its roster, in a few words, and the version.
    pub async fn roster(&mut self) -> (Vec<String>, String) {
        self.send(&format!("<iq type='get' id='get'><query xmlns='{ROSTER}'/></iq>")).await;
        loop {
            let stanza = self.next().await;
            if stanza.root().attr("id").as_deref() == Some("get") {
                let query = stanza.root().child("query", ROSTER).unwrap();
                return (query.children().map(item).collect(), query.attr("ver").unwrap().into_owned());
            }
        }
    }
}

/// Lets everything that can go on go on.
pub async fn settle() {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}

fn item(item: ElementRef<'_>) -> String {
    let mut words = vec![item.attr("jid").unwrap().into_owned(), item.attr("subscription").unwrap().into_owned()];
    words.extend(item.attr("name").map(|name| format!("'{name}'")));
    words.extend(item.children().map(|group| format!("[{}]", group.text())));
    words.extend(item.attr("ask").map(|_| "ask".to_owned()));
    words.extend(item.attr("approved").map(|_| "approved".to_owned()));
    words.join(" ")
}

/// A stanza in a few words.
pub fn brief(stanza: &Stanza) -> String {
    let root = stanza.root();
    let from = root.attr("from").unwrap_or_default().into_owned();
    let kind = root.attr("type").unwrap_or_default().into_owned();
    let condition = || {
        let error = root.child("error", ns::CLIENT).unwrap();
        error.children().find(|one| one.ns() == ns::STANZA_ERRORS).unwrap().name().to_owned()
    };
    match (root.name(), kind.as_str()) {
        ("presence", "") => {
            let status = root.child("status", ns::CLIENT).map(|status| format!(" '{}'", status.text()));
            format!("available {from}{}", status.unwrap_or_default())
        }
        (_, "error") => format!("error {} {from}", condition()),
        ("presence", kind) => format!("{kind} {from}"),
        ("iq", "set") => {
            assert!(root.attr("from").is_none_or(|from| !from.contains('/')), "{}", stanza.as_str());
            let query = root.child("query", ROSTER).unwrap();
            assert!(query.attr("ver").is_some());
            format!("push {}", query.children().map(item).collect::<Vec<_>>().join(", "))
        }
        (name, kind) => format!("{name} {kind}"),
    }
}
