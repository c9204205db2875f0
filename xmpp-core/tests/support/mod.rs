//! What the tests of streams share: a client that is nothing but text, and a server to be rude to.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

pub mod managed;

use std::{net::SocketAddr, sync::OnceLock, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use xmpp_core::{
    jid::{BareJid, Jid},
    net::Transport,
    sasl::{ClientPolicy, Credentials, Hash, Nonce, ScramCredentials},
    server::{Accounts, AccountsError, Server, ServerBuilder},
    stream::{Initiator, InitiatorConfig, Step, TlsPolicy},
    xml::{Event, Scanner, Stanza, XmlLimits},
};

pub const PASSWORD: &str = "r0m30myr0m30";
pub const HEADER: &str = "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' \
    xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
pub const END: &str = "</stream:stream>";
/// Longer than anything takes here; only a hang gets there.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than [`PATIENCE`]: whatever waits for it is found to hang.
pub const FOREVER: Duration = Duration::from_secs(3600);

/// The stored keys of [`PASSWORD`], derived once.
pub fn stored(hash: Hash) -> ScramCredentials {
    static KEYS: OnceLock<Vec<ScramCredentials>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        Hash::ALL.iter().map(|&hash| ScramCredentials::derive(hash, PASSWORD, b"0123456789abcdef", 4096)).collect()
    });
    keys.iter().find(|one| one.hash == hash).unwrap().clone()
}

/// Everybody whose name begins with a letter from a to z has an account; `faulty` breaks the store, and
/// `hanging` gets no answer.
pub struct Table;

impl Accounts for Table {
    async fn credentials(&self, user: &BareJid, hash: Hash) -> Result<Option<ScramCredentials>, AccountsError> {
        if user.as_str().starts_with("faulty") {
            return Err(AccountsError("disk on fire".into()));
        }
        if user.as_str().starts_with("hanging") {
            std::future::pending::<()>().await;
        }
        Ok(known(user.as_str()).then(|| stored(hash)))
    }
    async fn exists(&self, user: &BareJid) -> Result<bool, AccountsError> {
        Ok(known(user.as_str()))
    }
    fn iterations(&self) -> u32 {
        4096
    }
}

fn known(user: &str) -> bool {
    user.starts_with(|c: char| c.is_ascii_lowercase()) && !user.starts_with("nobody")
}

pub fn builder() -> ServerBuilder {
    Server::builder("localhost").accounts(Table)
}

pub fn server() -> Server {
    builder().build().unwrap()
}

pub fn initiator(jid: &str, tls: TlsPolicy) -> Initiator {
    Initiator::new(initiator_config(jid, tls))
}

fn initiator_config(jid: &str, tls: TlsPolicy) -> InitiatorConfig {
    let account: Jid = jid.parse().unwrap();
    InitiatorConfig {
        resource: account.resource().map(str::to_owned),
        credentials: Credentials::password(account.local().unwrap(), PASSWORD),
        policy: ClientPolicy::default(),
        tls,
        lang: None,
        nonce: Nonce::new("fyko+d2lbbFgONRv9qkxdawL").unwrap(),
        management: false,
        resume: None,
        sasl2: Default::default(),
        account,
    }
}

/// A connection spoken by hand.
pub struct Raw {
    pub transport: Transport,
    seen: Vec<u8>,
}

impl Raw {
    pub fn over(transport: impl Into<Transport>) -> Raw {
        Raw { transport: transport.into(), seen: Vec::new() }
    }

    pub fn memory(server: &Server) -> Raw {
        Raw::over(server.connect_memory())
    }

    pub async fn tcp(address: SocketAddr) -> Raw {
        Raw::over(TcpStream::connect(address).await.unwrap())
    }

    /// A bound session.
    pub async fn session(server: &Server, jid: &str) -> Raw {
        let mut raw = Raw::memory(server);
        raw.login(jid).await;
        raw
    }

    /// Negotiates up to the bound resource.
    pub async fn login(&mut self, jid: &str) {
        self.negotiate(jid, false).await;
    }

    /// Negotiates up to where a resource would be bound.
    pub async fn authenticate(&mut self, jid: &str) {
        self.negotiate(jid, true).await;
    }

    async fn negotiate(&mut self, jid: &str, unbound: bool) {
        let mut config = initiator_config(jid, TlsPolicy::None);
        // SASL2 binds while it logs in.
        config.sasl2.enabled = !unbound;
        let mut initiator = Initiator::new(config);
        let mut scanner = Scanner::new(XmlLimits::authenticated());
        let mut steps = initiator.start();
        loop {
            let mut next = Vec::new();
            for step in steps {
                match step {
                    Step::Send(bytes) if unbound && bytes.starts_with(b"<iq") => return,
                    Step::Send(bytes) => self.write(&bytes).await,
                    Step::Restart => scanner.restart(),
                    Step::Derive(job) => next = initiator.derived(job.run()).unwrap(),
                    Step::Established(_) => return,
                    other => panic!("{other:?}"),
                }
            }
            while next.is_empty() {
                let mut rest = self.seen.as_slice();
                let event = scanner.scan(&mut rest).unwrap();
                let left = rest.len();
                self.seen.drain(..self.seen.len() - left);
                match event {
                    Some(event) => next = initiator.event(event).unwrap(),
                    None => assert!(self.read().await, "closed"),
                }
            }
            steps = next;
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.transport.write_all(bytes)).await.unwrap().unwrap();
    }

    pub async fn send(&mut self, text: &str) {
        self.write(text.as_bytes()).await;
    }

    /// Sends what the peer may no longer want to read.
    pub async fn try_send(&mut self, text: &str) -> bool {
        matches!(timeout(PATIENCE, self.transport.write_all(text.as_bytes())).await, Ok(Ok(())))
    }

    /// Whether something came before the end.
    async fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let read = timeout(PATIENCE, self.transport.read(&mut buffer)).await;
        let count = read.unwrap_or_else(|_| panic!("nothing more after {:?}", self.text())).unwrap_or(0);
        self.seen.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// The next element, or `None` if it takes more than has come; panics at the end of the connection.
    pub async fn scan(&mut self, scanner: &mut Scanner) -> Option<Stanza> {
        let mut rest = self.seen.as_slice();
        let event = scanner.scan(&mut rest).unwrap();
        let left = rest.len();
        self.seen.drain(..self.seen.len() - left);
        match event {
            Some(Event::Stanza(stanza)) => return Some(stanza),
            Some(other) => panic!("{other:?}"),
            None => assert!(self.read().await, "closed"),
        }
        None
    }

    /// What has come since, something at least unless it is the end.
    pub async fn hear(&mut self) -> String {
        if self.seen.is_empty() {
            self.read().await;
        }
        let text = self.text();
        self.seen.clear();
        text
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// What comes up to `needle`, with it.
    pub async fn until(&mut self, needle: &str) -> String {
        loop {
            let text = self.text();
            if let Some(at) = text.find(needle) {
                self.seen.drain(..at + needle.len());
                return text[..at + needle.len()].to_owned();
            }
            assert!(self.read().await, "closed before {needle:?}: {text}");
        }
    }

    /// All that comes until the peer closes the connection.
    pub async fn rest(&mut self) -> String {
        while self.read().await {}
        let text = self.text();
        self.seen.clear();
        text
    }

    /// Whether nothing comes for a moment.
    pub async fn is_quiet(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match timeout(Duration::from_millis(100), self.transport.read(&mut buffer)).await {
            Err(_) => self.seen.is_empty(),
            Ok(read) => {
                self.seen.extend_from_slice(&buffer[..read.unwrap_or(0)]);
                false
            }
        }
    }

    /// A round trip: what was sent before has been handled. Panics if anything else has come.
    pub async fn sync(&mut self) {
        let text = self.sync_whole().await;
        assert_eq!(text.matches('<').count(), 1, "{text}");
    }

    /// A round trip, with all that has come before its end.
    pub async fn sync_whole(&mut self) -> String {
        self.send("<iq type='get' id='sync!'><ping xmlns='urn:xmpp:ping'/></iq>").await;
        self.until("id='sync!'").await + &self.until("/>").await
    }

    /// Expects a stream error, well-formed in its stream, and the end of the connection.
    pub async fn ends_with(&mut self, condition: &str) -> String {
        let text = self.rest().await;
        let error = format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'");
        assert!(text.contains("<stream:error>") && text.contains(&error), "no {condition} in {text}");
        assert!(text.ends_with("</stream:error></stream:stream>"), "{text}");
        text
    }
}

/// Feeds `text` to a scanner that has seen a stream header, and returns its stanzas.
pub fn stanzas(text: &str) -> Vec<xmpp_core::xml::Stanza> {
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    let _ = scanner.scan(&mut HEADER.as_bytes()).unwrap();
    let mut rest = text.as_bytes();
    let mut found = Vec::new();
    while let Ok(Some(xmpp_core::xml::Event::Stanza(stanza))) = scanner.scan(&mut rest) {
        found.push(stanza);
    }
    found
}
