//! What a room costs inside the server: instructions and allocations a delivery, a join by those who are there, bytes a
//! seat. Sessions are pipes in this process, so that the kernel's part is not in it, nor the noise of the machine.
//!
//! `cargo run --release -p xmpp-bench --bin rooms [OCCUPANTS]...` prints the table, for 100 and 1,000 by default.
//! Instructions are counted by running this program under `valgrind --tool=callgrind`, in [`measured`] alone; without
//! valgrind that column is empty. `rooms CASE OCCUPANTS` runs one case, for a profile.
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::{
    alloc::System,
    pin::Pin,
    process::Command,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    runtime::{Builder, Runtime},
    task::yield_now,
};
use xmpp_core::{
    net::Transport,
    server::{Limits, MemoryAccounts, Server},
};
use xmpp_im::{
    blocking::{Blocking, MemoryBlocking},
    carbons, delivery,
    offline::{self, MemoryOffline, OfflineLimits},
    presence,
};
use xmpp_muc::{
    MemoryRooms,
    service::{Muc, MucSettings},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Failure = Box<dyn std::error::Error>;

/// Times that something is done while it is measured.
const ROUNDS: usize = 10;

const STREAM: &str = "<?xml version='1.0'?><stream:stream to='guests.localhost' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";
const ROOM: &str = "coven@rooms.localhost";
const JOIN: &str = "<x xmlns='http://jabber.org/protocol/muc'><history maxchars='0'/></x>";
const MESSAGE: &str = "<message to='coven@rooms.localhost' type='groupchat' id='00000000-0000-4000-8000-000000000000' \
                       xml:lang='en'><body>The meeting moved to half past three, same room as last week. Please bring \
                       the figures for the second quarter &amp; the open questions; I will print the agenda for \
                       everybody.</body><active xmlns='http://jabber.org/protocol/chatstates'/><origin-id \
                       xmlns='urn:xmpp:sid:0' id='00000000-0000-4000-8000-000000000000'/></message>";

/// A case: whether somebody comes in or says something, and whether occupants have stream management.
#[derive(Clone, Copy, PartialEq)]
struct Case {
    name: &'static str,
    is_managed: bool,
    joins: bool,
}

const CASES: &[Case] = &[
    Case { name: "said", is_managed: false, joins: false },
    Case { name: "said-managed", is_managed: true, joins: false },
    Case { name: "join", is_managed: false, joins: true },
];

/// The stations of xmppd that messages and presence pass, without an archive.
fn server() -> Result<Server, Failure> {
    let mut settings = MucSettings::default();
    settings.limits.occupants = 100_000;
    settings.limits.shown_bytes = 64 << 20;
    // Nobody waits here.
    (settings.limits.message_every, settings.limits.presence_every) = (Duration::ZERO, Duration::ZERO);
    settings.config.archived = false;
    let mut limits = Limits::default();
    limits.outbox_bytes = 64 << 20;
    limits.unauthenticated_per_ip = 100_000;
    (limits.bytes_per_second, limits.burst_bytes) = (1 << 30, 1 << 30);
    Ok(Server::builder("localhost")
        .accounts(MemoryAccounts::new())
        .anonymous_domain("guests.localhost")
        .limits(limits)
        .with(delivery::server)
        .with(presence::server)
        .with(offline::server(Arc::new(MemoryOffline::new()), OfflineLimits::default()))
        .with(carbons::server)
        .with(Blocking::new(MemoryBlocking::new()).server())
        .with(Muc::new("rooms.localhost", Arc::new(MemoryRooms::new())).settings(settings))
        .build()?)
}

/// A client's end.
struct Client {
    pipe: Transport,
    number: usize,
}

impl Client {
    async fn say(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.pipe.write_all(text.as_bytes()).await?)
    }

    async fn until(&mut self, end: &str) -> Result<(), Failure> {
        let mut text = String::new();
        let mut chunk = [0; 4096];
        while !text.contains(end) {
            let count = self.pipe.read(&mut chunk).await?;
            text.push_str(std::str::from_utf8(chunk.get(..count).unwrap_or_default())?);
            if count == 0 || text.contains("</failure>") || text.contains("type='error'") {
                return Err(format!("no {end} but {text}").into());
            }
        }
        Ok(())
    }

    async fn log_in(server: &Server, number: usize, is_managed: bool) -> Result<Client, Failure> {
        let mut client = Client { pipe: server.connect_memory(), number };
        client.say(STREAM).await?;
        client.until("</stream:features>").await?;
        client.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'>=</auth>").await?;
        client.until("<success").await?;
        client.say(STREAM).await?;
        client.until("</stream:features>").await?;
        client
            .say("<iq id='b' type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>phone</resource></bind></iq>")
            .await?;
        client.until("</iq>").await?;
        if is_managed {
            client.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await?;
            client.until("<enabled").await?;
        }
        client.say("<presence/>").await?;
        client.until("<presence").await?;
        Ok(client)
    }

    async fn join(&mut self) -> Result<(), Failure> {
        self.say(&format!("<presence to='{ROOM}/u{}'>{JOIN}</presence>", self.number)).await
    }

    /// Throws away what has come; how many times `what` begins in it.
    fn drain(&mut self, what: &str) -> Result<usize, Failure> {
        let (mut cx, mut all) = (Context::from_waker(Waker::noop()), String::new());
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut chunk);
            match Pin::new(&mut self.pipe).poll_read(&mut cx, &mut buffer) {
                Poll::Ready(read) => {
                    read?;
                    if buffer.filled().is_empty() {
                        return Err("a session has ended".into());
                    }
                    all.push_str(&String::from_utf8_lossy(buffer.filled()));
                }
                Poll::Pending => return Ok(all.matches(what).count()),
            }
        }
    }
}

/// A room and who is in it, and some who are not yet.
struct Scene {
    runtime: Runtime,
    inside: Vec<Client>,
    outside: Vec<Client>,
    /// Bytes that live for each who is in the room, and did not before.
    seat: f64,
}

async fn settle(sessions: usize) {
    // A turn of the scheduler runs some sixty tasks before it comes back here.
    for _ in 0..sessions / 16 + 20 {
        yield_now().await;
    }
}

/// What a room is like: who hears of whom.
fn configured(broadcast: &str) -> String {
    let shown = broadcast.split(' ').map(|role| format!("<value>{role}</value>")).collect::<String>();
    format!(
        "<iq type='set' id='open' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#owner'><x \
         xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig\
         </value></field><field var='muc#roomconfig_presencebroadcast'>{shown}</field></x></query></iq>"
    )
}

impl Scene {
    fn new(case: Case, occupants: usize) -> Result<Scene, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        let seat = runtime.block_on(async {
            let server = server()?;
            for number in 0..occupants {
                inside.push(Client::log_in(&server, number, case.is_managed).await?);
            }
            for number in 0..if case.joins { ROUNDS + 1 } else { 0 } {
                outside.push(Client::log_in(&server, occupants + number, case.is_managed).await?);
            }
            settle(occupants).await;
            let region = Region::new(ALLOCATOR);
            for at in 0..inside.len() {
                if let Some(client) = inside.get_mut(at) {
                    client.join().await?;
                    client.until("<subject").await?;
                    if at == 0 {
                        // Where it is what people say that is measured, nobody is told who is there.
                        let shown = if case.joins { "moderator participant visitor" } else { "moderator" };
                        client.say(&configured(shown)).await?;
                        client.until("<iq").await?;
                    }
                }
                if case.joins && at % 32 == 31 {
                    settle(at).await;
                    inside.iter_mut().try_for_each(|client| client.drain("").map(drop))?;
                }
            }
            settle(occupants).await;
            let change = region.change();
            let seat = change.bytes_allocated.saturating_sub(change.bytes_deallocated) as f64 / occupants as f64;
            Ok::<f64, Failure>(seat)
        })?;
        for client in inside.iter_mut().chain(&mut outside) {
            client.drain("")?;
        }
        Ok(Scene { runtime, inside, outside, seat })
    }

    /// Does it once, and waits until all of it is written.
    fn act(&mut self, case: Case) -> Result<(), Failure> {
        let sessions = self.inside.len();
        self.runtime.block_on(async {
            match case.joins {
                true => self.outside.last_mut().ok_or("nobody is left")?.join().await?,
                false => self.inside.first_mut().ok_or("nobody is there")?.say(MESSAGE).await?,
            }
            settle(sessions).await;
            Ok::<(), Failure>(())
        })
    }

    /// Everybody has heard it, once.
    fn check(&mut self, case: Case) -> Result<(), Failure> {
        let what = if case.joins { "<presence" } else { "</message>" };
        for client in &mut self.inside {
            let heard = client.drain(what)?;
            if heard != 1 {
                return Err(format!("an occupant has heard {heard} instead of one").into());
            }
        }
        if case.joins {
            let mut newcomer = self.outside.pop().ok_or("nobody is left")?;
            // More than the pipe holds at a time.
            let (mut heard, mut more) = (0, 1);
            while more > 0 {
                more = newcomer.drain(what)?;
                heard += more;
                self.runtime.block_on(settle(0));
            }
            if heard != self.inside.len() + 1 {
                return Err(format!("the newcomer has heard {heard} presences").into());
            }
            self.inside.push(newcomer);
        }
        Ok(())
    }
}

/// What callgrind looks at.
#[inline(never)]
fn measured(scene: &mut Scene, case: Case) -> Result<(), Failure> {
    scene.act(case)
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [name, occupants] = args.as_slice()
        && let Some(case) = CASES.iter().find(|case| case.name == name)
    {
        let mut scene = Scene::new(*case, occupants.parse()?)?;
        scene.act(*case)?;
        scene.check(*case)?;
        for _ in 0..ROUNDS {
            measured(&mut scene, *case)?;
            scene.check(*case)?;
        }
        return Ok(());
    }
    let counts = match args.is_empty() {
        true => vec![100, 1_000],
        false => args.iter().map(|count| count.parse()).collect::<Result<Vec<usize>, _>>()?,
    };
    println!(
        "{:<14} {:>10} {:>13} {:>12} {:>12}",
        "an occupant", "occupants", "instructions", "allocations", "seat, bytes"
    );
    for case in CASES {
        for &count in &counts {
            let mut scene = Scene::new(*case, count)?;
            scene.act(*case)?;
            scene.check(*case)?;
            let mut allocations = 0;
            for _ in 0..ROUNDS {
                let region = Region::new(ALLOCATOR);
                scene.act(*case)?;
                allocations += region.change().allocations;
                scene.check(*case)?;
            }
            let each = (ROUNDS * count) as f64;
            let counted = instructions(case, count).map_or("-".into(), |n| format!("{:.0}", n as f64 / each));
            println!(
                "{:<14} {count:>10} {counted:>13} {:>12.2} {:>12.0}",
                case.name,
                allocations as f64 / each,
                scene.seat
            );
        }
    }
    Ok(())
}

/// Instructions of all rounds, or `None` without valgrind.
fn instructions(case: &Case, occupants: usize) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured*"])
        .arg(std::env::current_exe().ok()?)
        .args([case.name, &occupants.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|l| l.contains("Collected"))?;
    line.rsplit(' ').next()?.parse().ok()
}
