//! An acceptor with a scanner and a table of accounts: text in, text out. What is asked of the driver shows in brackets.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use xmpp_core::{
    jid::{BareJid, FullJid},
    sasl::{ChannelBindings, Hash, Mechanism, ScramCredentials},
    stanza::StanzaError,
    stream::{
        Acceptor, AcceptorConfig, Bound, ClientTokens, ResumeError, Resumed, StreamError, Task,
        management::HandledCountTooHigh,
    },
    xml::{Scanner, XmlLimits},
};

/// A payload as RFC 6120 §6.4 wants it.
pub fn payload(message: Option<&[u8]>) -> String {
    xmpp_core::sasl::encode_payload(message)
}

pub struct Server {
    pub acceptor: Acceptor,
    pub is_secured: bool,
    /// The hashes of which the accounts have credentials.
    pub hashes: Vec<Hash>,
    /// Credentials that clients have brought.
    pub stored: Vec<(BareJid, ScramCredentials)>,
    pub tokens: HashMap<(BareJid, String), ClientTokens>,
    /// How often passwords were changed, and whether one is as soon as that was asked.
    pub generation: u64,
    pub changing: bool,
    /// Seconds since 1970.
    pub now: u64,
    /// What a store of tokens answers instead of storing.
    pub race: Option<Result<bool, ()>>,
    /// What every binding is answered with.
    pub refuse: Option<StanzaError>,
    scanner: Scanner,
    closed: bool,
}

impl Server {
    /// Without TLS, for SCRAM.
    pub fn new() -> Server {
        Server::with(|config| config.plaintext = true)
    }

    /// Under TLS already.
    pub fn secured() -> Server {
        let mut server = Server::with(|config| config.tls = true);
        server.secure(ChannelBindings::default());
        server
    }

    pub fn with(change: impl FnOnce(&mut AcceptorConfig)) -> Server {
        let scram = Hash::ALL.iter().flat_map(|&hash| [Mechanism::scram(hash, true), Mechanism::scram(hash, false)]);
        let mechanisms: Vec<_> = scram.chain([Mechanism::Plain]).collect();
        let domains = ["localhost", "other.localhost"].map(|name| (name.to_owned(), mechanisms.clone()));
        let mut config = AcceptorConfig::new(domains.to_vec(), Arc::from(*b"a secret of the server's own...."));
        config.iterations = 4096;
        change(&mut config);
        thread_local! {
            // Each test has a thread; no two of its servers make the same tokens.
            static COUNT: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
        }
        let entropy = || {
            let count = COUNT.get() + 1;
            COUNT.set(count);
            format!("token{count}")
        };
        Server {
            acceptor: Acceptor::new(config, entropy),
            is_secured: false,
            hashes: Hash::ALL.to_vec(),
            stored: Vec::new(),
            tokens: HashMap::new(),
            generation: 0,
            changing: false,
            now: 1_000_000,
            race: None,
            refuse: None,
            scanner: Scanner::new(XmlLimits::unauthenticated()),
            closed: false,
        }
    }

    pub fn secure(&mut self, bindings: ChannelBindings) {
        self.is_secured = true;
        let tasks = self.acceptor.secured(bindings);
        self.perform(tasks);
    }

    pub fn hear(&mut self, text: &str) -> String {
        self.hear_bytes(text.as_bytes())
    }

    pub fn hear_bytes(&mut self, mut bytes: &[u8]) -> String {
        let mut said = String::new();
        while !self.closed {
            let tasks = match self.scanner.scan(&mut bytes) {
                Ok(Some(event)) => self.acceptor.event(event),
                Ok(None) => break,
                Err(error) => self.acceptor.fail(&StreamError::from(error)),
            };
            let answer = self.perform(tasks);
            said.push_str(&answer);
            // As the driver does: nothing behind <starttls/> survives.
            if answer.ends_with("[tls]") {
                break;
            }
        }
        said
    }

    fn perform(&mut self, tasks: Vec<Task>) -> String {
        let mut said = String::new();
        let mut tasks = VecDeque::from(tasks);
        while let Some(task) = tasks.pop_front() {
            let more = match task {
                Task::Send(bytes) => {
                    said.push_str(std::str::from_utf8(&bytes).unwrap());
                    Vec::new()
                }
                Task::Restart => {
                    self.scanner.restart();
                    if said.contains("<success") {
                        said.push_str("[restart]");
                    }
                    Vec::new()
                }
                Task::StartTls => {
                    said.push_str("[tls]");
                    Vec::new()
                }
                Task::Generation(user) => {
                    let faulty = user.local() == Some("faulty");
                    let found = if faulty { Err(()) } else { Ok(self.generation) };
                    self.generation += u64::from(self.changing);
                    self.acceptor.generation(found)
                }
                Task::Admit(user) => {
                    let disabled = user.local() == Some("banned");
                    self.acceptor.admitted(if user.local() == Some("lost") { Err(()) } else { Ok(!disabled) })
                }
                Task::Credentials(user, hash) => {
                    let known = self.hashes.contains(&hash);
                    self.acceptor.credentials(find(&user, hash).map(|found| found.filter(|_| known)))
                }
                Task::Bind2(request) => {
                    let resource = request.tag.as_ref().map_or("made".to_owned(), |tag| format!("{tag}/made"));
                    let bound = request.user.with_resource(&resource).map_err(|_| StanzaError::bad_request());
                    let mut out = xmpp_core::xml::Writer::new("urn:xmpp:bind:0");
                    for feature in request.features().filter(|feature| feature.ns() == "urn:xmpp:sm:3") {
                        out.open("enabled", feature.ns());
                        out.attr("id", "sm-id");
                        out.attr("resume", "true");
                        out.close();
                    }
                    let bound = self.refuse.clone().map_or(bound, Err);
                    let features = out.finish();
                    self.acceptor.bound2(bound.map(|jid| {
                        let mut bound = Bound::new(jid, features);
                        bound.managed = !bound.features.is_empty();
                        bound
                    }))
                }
                Task::Tokens(user, client) => {
                    let found = self.tokens.get(&(user.clone(), client)).cloned().unwrap_or_default();
                    let found = ClientTokens { generation: self.generation, ..found };
                    let faulty = user.local() == Some("faulty");
                    self.acceptor.tokens(if faulty { Err(()) } else { Ok(found) }, self.now)
                }
                Task::StoreTokens { user, client, tokens } => {
                    let key = (user, client);
                    let revision = self.tokens.get(&key).map_or(0, |stored| stored.revision);
                    let stored = self.race.unwrap_or(Ok(revision == tokens.revision));
                    if stored == Ok(true) {
                        self.tokens.insert(key, ClientTokens { revision: revision + 1, ..tokens });
                    }
                    self.acceptor.tokens_stored(stored)
                }
                Task::StoreCredentials(user, credentials) => {
                    let faulty = user.local() == Some("romeo");
                    self.stored.push((user, *credentials));
                    self.acceptor.credentials_stored(if faulty { Err(()) } else { Ok(()) })
                }
                Task::CheckPassword(user, password) => {
                    let stored = find(&user, Hash::Sha1);
                    self.acceptor.password(stored.map(|stored| stored.is_some() && *password == "secret"))
                }
                Task::Bind(user, resource) => {
                    let jid = user.with_resource(resource.as_deref().unwrap_or("made"));
                    let jid = jid.map_err(|_| StanzaError::bad_request());
                    self.acceptor.bound(self.refuse.clone().map_or(jid, Err))
                }
                // juliet has left a session behind.
                Task::Resume { user, previous, handled } => {
                    self.acceptor.resumed(match (user.as_str(), previous.as_str()) {
                        ("juliet@localhost", "her-id") if handled > 7 => {
                            Err(ResumeError::TooHigh(HandledCountTooHigh { h: handled, send_count: 7 }))
                        }
                        ("juliet@localhost", "her-id") => {
                            Ok(Resumed { jid: FullJid::new("juliet@localhost/left").unwrap(), handled: 3 })
                        }
                        ("juliet@localhost", "too-late") => Err(ResumeError::NotFound(Some(3))),
                        _ => Err(ResumeError::NotFound(None)),
                    })
                }
                Task::Accepted(session) => {
                    said.push_str(&format!("[{} {} {}", session.jid, session.mechanism.name(), session.secured));
                    said.push_str(if session.resumed { " resumed]" } else { "]" });
                    self.closed = true;
                    Vec::new()
                }
                Task::Close => {
                    said.push_str("[close]");
                    self.closed = true;
                    Vec::new()
                }
                Task::Newcomer { domain, request } => {
                    said.push_str(&format!("[{domain} is asked]"));
                    let id = request.root().attr("id").unwrap_or_default().into_owned();
                    self.acceptor.newcomer_answered(format!("<iq type='result' id='{id}'/>").into_bytes())
                }
                _ => Vec::new(),
            };
            tasks.extend(more);
        }
        said
    }
}

fn find(user: &BareJid, hash: Hash) -> Result<Option<ScramCredentials>, ()> {
    match user.local() {
        Some("faulty") => Err(()),
        Some("juliet" | "romeo" | "banned" | "lost") => {
            static KEYS: std::sync::OnceLock<Vec<ScramCredentials>> = std::sync::OnceLock::new();
            let all = KEYS.get_or_init(|| {
                let derive = |&hash| ScramCredentials::derive(hash, "secret", b"0123456789abcdef", 4096);
                Hash::ALL.iter().map(derive).collect()
            });
            Ok(all.iter().find(|one| one.hash == hash).cloned())
        }
        _ => Ok(None),
    }
}
