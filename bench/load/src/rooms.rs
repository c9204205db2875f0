//! What a groupchat message costs a server for each occupant that it is delivered to.
//!
//! In each room one occupant speaks: the next message when all have heard the last. The relay's part is a program that
//! writes what it reads to all connections of a group.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf, split};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};

use crate::args::{Kind, Options, Target};
use crate::error::{Error, Result};
use crate::login::Door;
use crate::rows::{Rounds, Row, Span};
use crate::wire::{Conn, Count, PATIENCE, Stream};

/// Connections that the relay has in a group.
pub(crate) const GROUP: usize = 100;

/// Rooms, and the occupants of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) rooms: usize,
    pub(crate) occupants: usize,
}

/// How many messages the occupants of a room have heard.
#[derive(Default)]
struct Heard {
    count: AtomicUsize,
    more: Notify,
}

struct Room {
    speaker: WriteHalf<Stream>,
    message: String,
    occupants: usize,
    heard: Arc<Heard>,
    readers: Vec<AbortHandle>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.readers.iter().for_each(AbortHandle::abort);
    }
}

impl Room {
    /// The first of the connections speaks, all listen.
    fn new(conns: Vec<Conn>, message: String) -> Result<Room> {
        let (heard, occupants) = (Arc::new(Heard::default()), conns.len());
        let (mut speaker, mut readers) = (None, Vec::new());
        for mut conn in conns {
            conn.forget_unread();
            let (mut read, write) = split(conn.stream);
            // The others' halves are kept by their readers, or their connections would end.
            let kept = if speaker.is_none() { speaker.replace(write) } else { Some(write) };
            let heard = Arc::clone(&heard);
            let reader = tokio::spawn(async move {
                let (mut input, mut messages, _kept) = (vec![0; 16 * 1024], Count::of("</message>"), kept);
                while let Ok(n @ 1..) = read.read(&mut input).await {
                    let came = messages.feed(input.get(..n).unwrap_or_default());
                    if came > 0 {
                        heard.count.fetch_add(came, Ordering::Relaxed);
                        heard.more.notify_one();
                    }
                }
            });
            readers.push(reader.abort_handle());
        }
        let speaker = speaker.ok_or_else(|| Error::Usage("a room needs an occupant".to_owned()))?;
        Ok(Room { speaker, message, occupants, heard, readers })
    }

    /// Speaks until `end`; how many deliveries that came to.
    async fn speak(mut self, end: Instant) -> Result<(Room, usize)> {
        let mut deliveries = 0;
        self.heard.count.store(0, Ordering::Relaxed);
        while Instant::now() < end {
            self.speaker.write_all(self.message.as_bytes()).await?;
            self.speaker.flush().await?;
            deliveries += self.occupants;
            while self.heard.count.load(Ordering::Relaxed) < deliveries {
                self.heard.more.notified().await;
            }
        }
        if self.heard.count.load(Ordering::Relaxed) > deliveries {
            return Err(Error::Server("delivers more than was said".to_owned()));
        }
        Ok((self, deliveries))
    }
}

fn message(to: &str) -> String {
    format!(
        "<message to='{to}' type='groupchat' id='00000000-0000-4000-8000-000000000000' xml:lang='en'>\
         <body>The meeting moved to half past three, same room as last week. Please bring the figures for the \
         second quarter &amp; the open questions; I will print the agenda for everybody.</body>\
         <active xmlns='http://jabber.org/protocol/chatstates'/>\
         <origin-id xmlns='urn:xmpp:sid:0' id='00000000-0000-4000-8000-000000000000'/></message>"
    )
}

/// Opens a room by its first occupant, who has to say what it is like, and lets the others in.
async fn fill(conns: &mut [Conn], room: &str) -> Result<()> {
    const JOIN: &str = "<x xmlns='http://jabber.org/protocol/muc'><history maxchars='0'/></x>";
    for (number, conn) in conns.iter_mut().enumerate() {
        conn.send(&format!("<presence to='{room}/u{number}'>{JOIN}</presence>")).await?;
        conn.until("subject of a room", &["</subject>", "<subject/>", "type='error'"]).await?;
        if number == 0 {
            // Presence of the others would be heard by all of them, and is not what is measured.
            conn.send(&format!(
                "<iq type='set' id='open' to='{room}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
                 <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
                 <value>http://jabber.org/protocol/muc#roomconfig</value></field>\
                 <field var='muc#roomconfig_presencebroadcast'><value>moderator</value></field>\
                 <field var='muc#roomconfig_enablearchiving'><value>0</value></field></x></query></iq>"
            ))
            .await?;
            let answer = conn.until("open room", &["</iq>", "id='open'/>", "id=\"open\"/>", "type='result'"]).await?;
            if answer.contains("error") {
                return Err(Error::Server(format!("opens no room: {answer}")));
            }
        }
    }
    Ok(())
}

async fn rooms(target: &Target, shape: Shape, options: &Options) -> Result<Vec<Room>> {
    let mut all = Vec::new();
    match target.kind {
        Kind::Relay => {
            for _ in 0..shape.rooms {
                let mut conns = Vec::new();
                for number in 0..GROUP {
                    conns.push(Conn::open(target, target.fan, number).await?);
                }
                all.push(Room::new(conns, message("coven@rooms.localhost"))?);
            }
        }
        Kind::Xmpp => {
            let door = Door::new(target, false)?;
            let sessions = door.many(0..shape.rooms * shape.occupants, options.concurrency).await?;
            let mut conns = sessions.into_iter().map(|session| session.conn);
            for number in 0..shape.rooms {
                let room = format!("r{number}@rooms.{}", target.domain);
                let mut these: Vec<Conn> = conns.by_ref().take(shape.occupants).collect();
                fill(&mut these, &room).await?;
                all.push(Room::new(these, message(&room))?);
            }
        }
    }
    // What servers say of themselves after a join is not part of the first round.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(all)
}

async fn round(rooms: &mut Vec<Room>, target: &Target, time: Duration, rounds: &mut Rounds) -> Result<()> {
    let mut running = JoinSet::new();
    let span = Span::start(target.pid)?;
    let end = Instant::now() + time;
    for room in rooms.drain(..) {
        running.spawn(timeout(time + PATIENCE, room.speak(end)));
    }
    let mut total = 0;
    while let Some(ended) = running.join_next().await {
        let (room, deliveries) = ended?.map_err(|_| Error::Timeout("delivery to all occupants"))??;
        rooms.push(room);
        total += deliveries;
    }
    rounds.add(total, span.end()?)
}

pub(crate) async fn run(options: &Options) -> Result<Vec<Row>> {
    let time = Duration::from_secs_f64(options.seconds);
    let mut rows = Vec::new();
    for &shape in &options.shapes {
        let mut at = Vec::new();
        for target in &options.targets {
            let mut rooms = rooms(target, shape, options).await?;
            round(&mut rooms, target, time / 5, &mut Rounds::default()).await?;
            at.push((target, rooms, Rounds::default()));
        }
        for _ in 0..options.rounds {
            for (target, rooms, rounds) in &mut at {
                round(rooms, target, time, rounds).await?;
            }
        }
        let metric = format!("rooms.{}x{}", shape.rooms, shape.occupants);
        for (target, _, rounds) in at {
            rows.extend(rounds.rows(&metric, &target.name));
        }
    }
    Ok(rows)
}
