//! A server with all that xmpp-im does for its users, and sessions that say anything: it never panics, what it says is
//! well-formed, every request is answered once, and rosters are as the chart of subscriptions allows.
//!
//! Each line of the input is a stanza of the session that its first character names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xmpp_core::{
    jid::{BareJid, Jid},
    net::Transport,
    sasl::{ClientPolicy, Credentials, Hash, Nonce, ScramCredentials, ScramKeys},
    server::{Accounts, AccountsError, Server},
    stream::{Initiator, InitiatorConfig, Step, TlsPolicy},
    xml::{Event, Scanner, Stanza, XmlLimits, ns},
};
use xmpp_im::{
    account_xml::MemoryAccountXml,
    archive::{self, ArchiveSettings, MemoryArchive},
    blocking::{Blocking, MemoryBlocking},
    carbons, delivery,
    last_activity::{self, MemoryLastActivity},
    offline::{self, MemoryOffline, OfflineLimits},
    private,
    roster::{self, Item, MemoryRosters, RosterLimits, RosterStore},
    vcard,
};

const DEVICES: [(&str, &str); 3] = [("a", "1"), ("a", "2"), ("b", "1")];
/// The password's keys: deriving them costs more than all else here.
static KEYS: LazyLock<ScramKeys> = LazyLock::new(|| ScramKeys::derive(Hash::Sha1, "x", b"0123456789abcdef", 4096));

/// `a`, `b` and `c`.
struct Anybody;

impl Accounts for Anybody {
    async fn credentials(&self, user: &BareJid, hash: Hash) -> Result<Option<ScramCredentials>, AccountsError> {
        Ok(self.exists(user).await?.then(|| KEYS.credentials()).filter(|keys| keys.hash == hash))
    }
    async fn exists(&self, user: &BareJid) -> Result<bool, AccountsError> {
        Ok(["a@s", "b@s", "c@s"].contains(&user.as_str()))
    }
    fn hashes(&self) -> &[Hash] {
        &[Hash::Sha1]
    }
    fn iterations(&self) -> u32 {
        4096
    }
}

struct Device {
    transport: Transport,
    scanner: Scanner,
    seen: Vec<u8>,
    open: bool,
    /// By id: how many requests were made, and how many answers came. `None` where nothing can be said.
    asked: HashMap<String, Option<usize>>,
    answered: HashMap<String, usize>,
    pings: usize,
}

impl Device {
    async fn login(server: &Server, (user, resource): (&str, &str)) -> Device {
        let mut device = Device {
            transport: server.connect_memory(),
            scanner: Scanner::new(XmlLimits::authenticated()),
            seen: Vec::new(),
            open: true,
            asked: HashMap::new(),
            answered: HashMap::new(),
            pings: 0,
        };
        let mut initiator = Initiator::new(InitiatorConfig {
            account: format!("{user}@s").parse().expect("an address"),
            resource: Some(resource.to_owned()),
            credentials: Credentials::Keys { username: user.to_owned(), keys: KEYS.clone() },
            policy: ClientPolicy::default(),
            tls: TlsPolicy::None,
            lang: None,
            nonce: Nonce::new("fyko+d2lbbFgONRv9qkxdawL").expect("a nonce"),
            management: false,
            resume: None,
            sasl2: Default::default(),
        });
        let mut steps = initiator.start();
        loop {
            for step in steps {
                match step {
                    Step::Send(bytes) => device.write(&String::from_utf8(bytes.to_vec()).expect("text")).await,
                    Step::Restart => device.scanner.restart(),
                    Step::Established(_) => return device,
                    other => panic!("{other:?}"),
                }
            }
            let event = device.event().await.expect("no end of the login");
            steps = initiator.event(event).expect("a login");
        }
    }

    async fn write(&mut self, text: &str) {
        self.open &= self.transport.write_all(text.as_bytes()).await.is_ok();
    }

    /// The next thing said; `None` when the session is over.
    async fn event(&mut self) -> Option<Event> {
        loop {
            let mut rest = self.seen.as_slice();
            let event = self.scanner.scan(&mut rest).expect("what a server says is well-formed");
            let left = rest.len();
            self.seen.drain(..self.seen.len() - left);
            if let Some(event) = event {
                return Some(event);
            }
            let mut buffer = [0; 4096];
            match self.transport.read(&mut buffer).await {
                Ok(count) if count > 0 => self.seen.extend_from_slice(&buffer[..count]),
                _ => {
                    self.open = false;
                    return None;
                }
            }
        }
    }

    /// Says something, if it is a stanza that a client may send.
    async fn say(&mut self, text: &str) {
        let Ok(stanza) = Stanza::parse(text, ns::CLIENT, &XmlLimits::authenticated()) else { return };
        let root = stanza.root();
        if root.ns() != ns::CLIENT || !self.open {
            return;
        }
        let (id, type_) = (root.attr("id").unwrap_or_default(), root.attr("type").unwrap_or_default());
        match root.name() {
            "message" | "presence" => {}
            "iq" if matches!(&*type_, "result" | "error") || id.starts_with("ping") => return,
            "iq" => {
                let count = self.asked.entry(id.clone().into_owned()).or_insert(Some(0));
                *count = count.filter(|_| matches!(&*type_, "get" | "set") && !id.is_empty()).map(|count| count + 1);
            }
            _ => return,
        }
        self.write(stanza.as_str()).await;
    }

    /// Takes what has come, and answers requests. Whether there were any.
    async fn settle(&mut self) -> bool {
        for _ in 0..60 {
            tokio::task::yield_now().await;
        }
        self.pings += 1;
        let ping = format!("ping{}", self.pings);
        self.write(&format!("<iq type='get' id='{ping}' to='s'><ping xmlns='urn:xmpp:ping'/></iq>")).await;
        let mut busy = false;
        while self.open {
            let Some(Event::Stanza(stanza)) = self.event().await else {
                self.open = false;
                break;
            };
            let root = stanza.root();
            let id = root.attr("id").unwrap_or_default().into_owned();
            match root.attr("type").as_deref() {
                _ if root.name() != "iq" => {}
                Some("result" | "error") if id == ping => break,
                Some("result" | "error") => *self.answered.entry(id).or_default() += 1,
                _ => {
                    busy = true;
                    self.answer(&stanza).await;
                }
            }
        }
        busy
    }

    async fn answer(&mut self, request: &Stanza) {
        let mut out = xmpp_core::xml::Writer::new(ns::CLIENT);
        out.open("iq", ns::CLIENT);
        out.attr("type", "result");
        out.attr("id", &request.root().attr("id").unwrap_or_default());
        if let Some(from) = request.root().attr("from") {
            out.attr("to", &from);
        }
        out.close();
        self.write(out.into_stanza().as_str()).await;
    }
}

fuzz_target!(|text: &str| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(run(text));
});

async fn run(text: &str) {
    let rosters: Arc<dyn RosterStore> = Arc::new(MemoryRosters::new());
    let blocking = Blocking::new(MemoryBlocking::new()).subscribers(Arc::clone(&rosters));
    let entitled = |_: BareJid, _: BareJid| -> xmpp_im::Stored<'static, bool> { Box::pin(async { Ok(true) }) };
    let server = Server::builder("s")
        .accounts(Anybody)
        .with(roster::server_with(Arc::clone(&rosters), RosterLimits::default()))
        .with(delivery::server)
        .with(carbons::server)
        .with(blocking.server())
        .with(offline::server(MemoryOffline::new(), OfflineLimits::default()))
        .with(archive::server(Arc::new(MemoryArchive::default()), ArchiveSettings::default()))
        .with(vcard::server(MemoryAccountXml::new(), vcard::MAX_BYTES))
        .with(private::server(MemoryAccountXml::new(), private::QUOTA))
        .with(last_activity::server(MemoryLastActivity::new(), entitled))
        .build()
        .expect("a server");
    let mut devices = Vec::new();
    for device in DEVICES {
        devices.push(Device::login(&server, device).await);
    }
    for line in text.lines().take(40) {
        let Some(first) = line.chars().next() else { continue };
        let who = first as usize % DEVICES.len();
        devices[who].say(&line[first.len_utf8()..]).await;
        while settle(&mut devices).await {}
    }
    for (device, who) in devices.iter().zip(DEVICES).filter(|(device, _)| device.open) {
        for (id, asked) in &device.asked {
            let answered = device.answered.get(id).copied().unwrap_or_default();
            assert!(
                asked.is_none_or(|asked| asked == answered),
                "{who:?} asked {asked:?} times and got {answered}: {id:?}"
            );
        }
    }
    judge(&*rosters, text).await;
}

async fn settle(devices: &mut [Device]) -> bool {
    let mut busy = false;
    for device in devices.iter_mut().filter(|device| device.open) {
        busy |= device.settle().await;
    }
    busy
}

/// What the rosters say is a state of the chart, and both ends of a subscription say the same, unless blocking came
/// between.
async fn judge(rosters: &dyn RosterStore, text: &str) {
    let [a, b] = ["a@s", "b@s"].map(|user| BareJid::new(user).expect("an address"));
    for (user, other) in [(&a, &b), (&b, &a)] {
        for item in rosters.roster(user).await.expect("a roster").items {
            let contact: BareJid = Jid::to_bare(&item.jid);
            let record = rosters.record(user, &contact).await.expect("a record");
            let state = record.state();
            assert_eq!(state.subscription(), item.subscription, "{item:?}");
            assert_eq!(state.is_pending_out(), item.ask, "{item:?}");
            assert_eq!(state.is_pending_in(), record.request.is_some(), "{item:?} {:?}", record.request);
        }
        if text.contains("block") {
            continue;
        }
        let sees = |item: Option<Item>| item.is_some_and(|item| item.subscription.is_to());
        let shows = |item: Option<Item>| item.is_some_and(|item| item.subscription.is_from());
        let own = rosters.record(user, other).await.expect("a record").item;
        let others = rosters.record(other, user).await.expect("a record").item;
        assert_eq!(sees(own.clone()), shows(others.clone()), "{user}: {own:?}, {other}: {others:?}");
    }
}
