//! What is delivered has been archived, whatever the disk does and however messages of several users cross.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
};
use tokio::sync::oneshot;
use xmpp_core::{
    client::{Client, Event},
    jid::{BareJid, Jid},
    payload::{DateTime, archive::ArchiveDefault, ping::Ping},
    server::{MemoryAccounts, Server},
    stanza::{Iq, Message, MessageType, Presence},
};
use xmpp_im::{
    StorageError, Stored,
    archive::{self, ArchiveId, ArchiveSettings, ArchiveStore, MemoryArchive, NewEntry, Page, Preferences, Selection},
};

type Order = (BareJid, NewEntry, oneshot::Sender<Result<ArchiveId, StorageError>>);

/// Commits what was ordered in groups, some of which fail as a whole.
#[derive(Default)]
struct Disk {
    kept: MemoryArchive,
    ordered: Mutex<VecDeque<Order>>,
}

impl Disk {
    /// Writes the first `most` of what was ordered, or fails to.
    async fn commit(&self, most: usize, fails: bool) {
        let group: Vec<Order> = {
            let mut ordered = self.ordered.lock().unwrap();
            let most = most.min(ordered.len());
            ordered.drain(..most).collect()
        };
        for (owner, entry, answer) in group {
            let done = match fails {
                true => Err(StorageError("the disk is full".into())),
                false => self.kept.append(&owner, entry).await,
            };
            let _ = answer.send(done);
        }
    }
}

impl ArchiveStore for Disk {
    fn append<'a>(&'a self, owner: &'a BareJid, entry: NewEntry) -> Stored<'a, ArchiveId> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.ordered.lock().unwrap().push_back((owner.clone(), entry, answer));
            answered.await.unwrap()
        })
    }
    fn query<'a>(&'a self, owner: &'a BareJid, selection: &'a Selection) -> Stored<'a, Option<Page>> {
        self.kept.query(owner, selection)
    }
    fn replace<'a>(&'a self, owner: &'a BareJid, id: ArchiveId, text: Arc<str>) -> Stored<'a, bool> {
        self.kept.replace(owner, id, text)
    }
    fn ends<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<(ArchiveId, ArchiveId)>> {
        self.kept.ends(owner)
    }
    fn preferences<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<Preferences>> {
        Box::pin(async move {
            // Others overtake who asks for the first time.
            tokio::task::yield_now().await;
            self.kept.preferences(owner).await
        })
    }
    fn set_preferences<'a>(&'a self, owner: &'a BareJid, preferences: &'a Preferences) -> Stored<'a, ()> {
        self.kept.set_preferences(owner, preferences)
    }
    fn expire(&self, before: DateTime) -> Stored<'_, ()> {
        self.kept.expire(before)
    }
    fn trim<'a>(&'a self, owner: &'a BareJid, keep: u64) -> Stored<'a, ()> {
        self.kept.trim(owner, keep)
    }
    fn forget<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, ()> {
        self.kept.forget(owner)
    }
}

/// Juliet has two clients, Romeo one, the nurse archives nothing, and Tybalt is not there.
const USERS: [&str; 4] = ["juliet@localhost", "romeo@localhost", "nurse@localhost", "tybalt@localhost"];
const DEVICES: [&str; 4] =
    ["juliet@localhost/balcony", "juliet@localhost/phone", "romeo@localhost/orchard", "nurse@localhost/kitchen"];

#[derive(Clone, Debug)]
struct Plan {
    /// Who sends (a device) to whom (a user).
    messages: Vec<(usize, usize)>,
    /// Sizes of the commits, over and over, and which of them fail.
    commits: Vec<(usize, bool)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let messages = prop::collection::vec((0..DEVICES.len(), 0..USERS.len()), 1..150);
    let commits = prop::collection::vec((1..12usize, prop::bool::weighted(0.25)), 1..8);
    (messages, commits).prop_map(|(messages, commits)| Plan { messages, commits })
}

fn bare(user: &str) -> BareJid {
    user.parse().unwrap()
}

/// What a device has got: bodies, and ids of what came back.
#[derive(Default)]
struct Got {
    bodies: Vec<String>,
    bounced: Vec<String>,
}

async fn device(server: &Server, jid: &str) -> (Client, Arc<Mutex<Got>>, oneshot::Receiver<()>) {
    let server = server.clone();
    let builder = Client::builder(jid.parse().unwrap(), "secret").no_reconnect();
    let (client, mut events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
    assert!(matches!(events.next().await, Some(Event::Online { .. })));
    client.send(Presence::available()).await.unwrap();
    client.request(Iq::get("localhost".parse::<Jid>().unwrap()).payload(&Ping)).await.unwrap();
    let got = Arc::new(Mutex::new(Got::default()));
    let (mark, marked) = oneshot::channel();
    let mine = Arc::clone(&got);
    tokio::spawn(async move {
        let mut mark = Some(mark);
        while let Some(event) = events.next().await {
            let Event::Message(message) = event else { continue };
            let body = message.body().map(|body| body.into_owned()).unwrap_or_default();
            let mut got = mine.lock().unwrap();
            match message.type_() {
                MessageType::Error => got.bounced.push(message.id().unwrap().into_owned()),
                MessageType::Headline => drop(mark.take().unwrap().send(())),
                _ => got.bodies.push(body),
            }
        }
    });
    (client, got, marked)
}

async fn archived(disk: &Disk, user: &str) -> Vec<String> {
    let all = Selection { max: 1000, max_bytes: usize::MAX, ..Selection::default() };
    let page = disk.query(&bare(user), &all).await.unwrap().unwrap();
    let message = |entry: &archive::Archived| Message::from_stanza(entry.stanza().unwrap()).unwrap();
    page.entries.iter().map(|entry| message(entry).id().unwrap().into_owned()).collect()
}

async fn run(plan: Plan) {
    let disk = Arc::new(Disk::default());
    let nothing = Preferences { default: ArchiveDefault::Never, ..Preferences::default() };
    disk.set_preferences(&bare(USERS[2]), &nothing).await.unwrap();
    let accounts = MemoryAccounts::new();
    USERS.iter().for_each(|user| accounts.set_password(bare(user), "secret"));
    let builder = Server::builder("localhost").accounts(accounts);
    let builder = builder.with(xmpp_im::presence::server).with(xmpp_im::delivery::server);
    let server = builder.with(archive::server(disk.clone(), ArchiveSettings::default())).build().unwrap();
    let mut devices = Vec::new();
    for jid in DEVICES {
        devices.push(device(&server, jid).await);
    }
    let (writer, commits) = (Arc::clone(&disk), plan.commits.clone());
    let writing = tokio::spawn(async move {
        for (most, fails) in commits.into_iter().cycle() {
            writer.commit(most, fails).await;
            tokio::task::yield_now().await;
        }
    });
    for (number, (from, to)) in plan.messages.iter().enumerate() {
        let message = Message::chat(USERS[*to].parse::<Jid>().unwrap()).id(number.to_string()).body(number.to_string());
        devices[*from].0.send(message).await.unwrap();
    }
    // An answer comes when all before it has been dealt with.
    for (client, _, _) in &devices {
        client.request(Iq::get("localhost".parse::<Jid>().unwrap()).payload(&Ping)).await.unwrap();
    }
    let mut got = BTreeMap::new();
    for (client, seen, marked) in devices {
        client.send(Message::headline(client.jid().unwrap()).body("mark")).await.unwrap();
        marked.await.unwrap();
        got.insert(client.jid().unwrap().to_string(), std::mem::take(&mut *seen.lock().unwrap()));
    }
    writing.abort();
    let mut archives = BTreeMap::new();
    for user in USERS {
        archives.insert(user, archived(&disk, user).await);
    }
    assert!(archives[USERS[2]].is_empty());

    for (number, (from, to)) in plan.messages.iter().enumerate() {
        let (id, sender, recipient) = (number.to_string(), DEVICES[*from].split('/').next().unwrap(), USERS[*to]);
        let times = |list: &[String]| list.iter().filter(|one| **one == id).count();
        let bounced = times(&got[DEVICES[*from]].bounced);
        let shown: BTreeSet<usize> = DEVICES
            .iter()
            .filter(|device| device.starts_with(recipient))
            .map(|device| times(&got[*device].bodies))
            .collect();
        let (sent, received) = (times(&archives[sender]), times(&archives[recipient]));
        let what = format!("{id}: {sender} to {recipient}: {bounced} bounced, shown {shown:?}, {sent} and {received}");
        let (keeps, takes) = (sender != USERS[2], recipient != USERS[2]);
        assert!(bounced <= 1 && shown.iter().all(|times| *times <= 1) && sent <= 1 && received <= 1, "{what}");
        assert!(shown.len() <= 1, "all clients or none: {what}");
        if bounced == 0 {
            assert!(!keeps || sent == 1, "not certain on its way out: {what}");
            assert!(!takes || received == 1, "not certain on its way in: {what}");
            assert!(recipient == USERS[3] || shown.contains(&1), "accepted and lost: {what}");
        } else {
            assert!(!shown.contains(&1), "delivered, and told otherwise: {what}");
        }
    }
    in_order(&plan, &got, &archives);
}

/// What one device sent to one user is in that order, wherever it is seen.
fn in_order(plan: &Plan, got: &BTreeMap<String, Got>, archives: &BTreeMap<&str, Vec<String>>) {
    let lists = got.values().map(|got| &got.bodies).chain(archives.values());
    for list in lists {
        for (from, device) in DEVICES.iter().enumerate() {
            for (to, user) in USERS.iter().enumerate() {
                let pair = |id: &&String| plan.messages[id.parse::<usize>().unwrap()] == (from, to);
                let numbers: Vec<usize> = list.iter().filter(pair).map(|id| id.parse().unwrap()).collect();
                assert!(numbers.is_sorted(), "{device} to {user}: {list:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn what_is_delivered_is_archived_and_what_is_not_archived_comes_back(plan in plan()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(plan));
    }
}
