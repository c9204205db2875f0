//! Entering a room (§7.2, §10.1).

use super::{Entry, JoinError, Muc, Part, Room, RoomEvents, Seat, configure, keep, state::Standing};
use crate::{
    RoomConfig,
    payload::{HistoryRequest, Join},
};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};
use xmpp_core::{
    client::Client,
    jid::BareJid,
    payload::{DateTime, archive, stanza_id},
    stanza::{Presence, PresenceBuilder, Show, generate_id},
};

/// How often entering begins anew because a session was lost meanwhile.
const INTERRUPTIONS: u32 = 3;
/// So long before the last message history begins that is asked for when entering again, in seconds: what comes twice is
/// known by its id, where there are ids.
const OVERLAP: (u64, u64) = (30, 1);

/// How much of what was said before is wanted (§7.2.14).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// As much as the room sends.
    #[default]
    Usual,
    /// Nothing.
    None,
    /// The last messages, so many at most.
    Messages(u32),
    /// What was said in the last seconds, so many.
    Seconds(u32),
    /// What was said since then.
    Since(DateTime),
}

impl History {
    fn request(&self) -> Option<HistoryRequest> {
        let none = HistoryRequest::default();
        match self {
            History::Usual => None,
            History::None => Some(HistoryRequest { maxstanzas: Some(0), ..HistoryRequest::none() }),
            History::Messages(most) => Some(HistoryRequest { maxstanzas: Some(*most), ..none }),
            History::Seconds(seconds) => Some(HistoryRequest { seconds: Some(*seconds), ..none }),
            History::Since(since) => Some(HistoryRequest { since: Some(*since), ..none }),
        }
    }
}

/// What becomes of a room that is made by entering it.
#[derive(Clone, Debug, Default)]
enum NewRoom {
    /// It is open at once, as the service thinks fit (§10.1.2).
    #[default]
    Instant,
    /// It is configured like this.
    Configured(Box<RoomConfig>),
    /// It stays locked until the application configures it (§10.1.3).
    Reserved,
    /// It is given up: only a room that is there was wanted.
    Unwanted,
}

/// How a room is entered, and entered again.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    nick: String,
    password: Option<String>,
    history: History,
    new_room: NewRoom,
    numbered: u32,
}

/// Entering a room: await it.
///
/// ```no_run
/// # async fn run(client: xmpp_core::client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use xmpp_muc::{RoomConfig, client::{History, JoinError, MucClient}};
///
/// let config = RoomConfig { name: "Coven".into(), persistent: true, members_only: true, ..RoomConfig::default() };
/// let joining = client.muc()?.join("coven@chat.shakespeare.lit".parse()?, "thirdwitch");
/// match joining.password("cauldronburn").history(History::Messages(50)).configured(config).await {
///     Ok((room, _events)) => println!("{} are here", room.occupants().len()),
///     Err(JoinError::Banned) => println!("never again"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing happens unless it is awaited"]
pub struct Joining {
    muc: Muc,
    room: BareJid,
    plan: Plan,
}

impl Joining {
    pub(super) fn new(muc: Muc, room: BareJid, nick: String) -> Joining {
        let (password, history, new_room) = (None, History::Usual, NewRoom::Instant);
        Joining { muc, room, plan: Plan { nick, password, history, new_room, numbered: 0 } }
    }

    /// With the room's password.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.plan.password = Some(password.into());
        self
    }

    /// With so much of what was said before.
    pub fn history(mut self, history: History) -> Self {
        self.plan.history = history;
        self
    }

    /// If somebody else has the nickname, with a number from 2 up to `last` behind it.
    pub fn or_numbered(mut self, last: u32) -> Self {
        self.plan.numbered = last.min(99);
        self
    }

    /// If the room is made by this, it is configured like this before others may enter.
    pub fn configured(mut self, config: RoomConfig) -> Self {
        self.plan.new_room = NewRoom::Configured(Box::new(config));
        self
    }

    /// If the room is made by this, it stays closed to others until it is [configured](Room::configure).
    pub fn reserved(mut self) -> Self {
        self.plan.new_room = NewRoom::Reserved;
        self
    }

    /// Only a room that is there already: if there is none, [`JoinError::NoSuchRoom`].
    pub fn existing(mut self) -> Self {
        self.plan.new_room = NewRoom::Unwanted;
        self
    }

    async fn enter(self) -> Result<(Room, RoomEvents), JoinError> {
        let Joining { muc: Muc { client, part }, room, plan } = self;
        room.with_resource(&plan.nick)?;
        let seat = part.sit(&room).ok_or(JoinError::AlreadyThere)?;
        let own = Mutex::default();
        let inner = Arc::new(Inner { client, part, seat, room, plan, own });
        let reader = inner.seat.state().subscribe();
        inner.client.online().await.ok_or(JoinError::Closed)?;
        inner.learn().await;
        let mut interruptions = 0;
        loop {
            let turn = inner.seat.turn.lock().await;
            match inner.enter().await {
                Ok(_) => break,
                Err(JoinError::Interrupted) if interruptions < INTERRUPTIONS => interruptions += 1,
                Err(error) => return Err(error),
            }
            drop(turn);
            inner.client.online().await.ok_or(JoinError::Closed)?;
        }
        tokio::spawn(keep::keep(Arc::clone(&inner.seat), Arc::downgrade(&inner)));
        let room = Room { inner };
        Ok((room.clone(), RoomEvents { reader, room }))
    }
}

impl IntoFuture for Joining {
    type Output = Result<(Room, RoomEvents), JoinError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Enters. The first event is [`Joined`](super::RoomEvent::Joined). Dropped early, the room is left again.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.enter())
    }
}

/// What all handles of a room hold; when the last is dropped, the room is left.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) client: Client,
    pub(super) part: Arc<Part>,
    pub(super) seat: Arc<Seat>,
    pub(super) room: BareJid,
    plan: Plan,
    /// What we say of our availability.
    pub(super) own: Mutex<(Option<Show>, Option<String>)>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut state = self.seat.state();
        let nick = match state.standing {
            Standing::Entering => state.entering.as_ref().map_or_else(|| state.nick.clone(), |it| it.nick.clone()),
            Standing::Inside => state.nick.clone(),
            _ => String::new(),
        };
        state.end();
        drop(state);
        self.part.rise(&self.room, &self.seat);
        self.seat.wake.notify_one();
        if let (Ok(runtime), Ok(to)) = (tokio::runtime::Handle::try_current(), self.room.with_resource(&nick)) {
            let client = self.client.clone();
            runtime.spawn(async move { client.send(Presence::unavailable().to(to)).await });
        }
    }
}

/// If entering ends before it has come to an end, we are where we were.
struct Unfinished<'a> {
    seat: &'a Seat,
    before: Standing,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.seat.state().not_entered(self.before);
    }
}

impl Inner {
    pub(super) fn patience(&self) -> Duration {
        self.part.settings.patience
    }

    pub(super) fn password(&self) -> Option<String> {
        self.plan.password.clone()
    }

    /// What the room can do. What cannot be learned is not there.
    pub(super) async fn learn(&self) {
        if let Ok(Ok(info)) = timeout(self.patience(), self.muc().info(&self.room)).await {
            let mut state = self.seat.state();
            state.avatar = info.avatar_hashes().first().cloned();
            state.features = info.features.into_iter().collect();
        }
    }

    pub(super) fn muc(&self) -> Muc {
        Muc { client: self.client.clone(), part: Arc::clone(&self.part) }
    }

    /// Our presence, as the room is to show it.
    pub(super) fn presence(&self) -> PresenceBuilder {
        let (show, status) = self.own.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let presence = show.into_iter().fold(Presence::available(), PresenceBuilder::show);
        status.into_iter().fold(presence, PresenceBuilder::status)
    }

    /// Enters, if need be under another nickname, and opens a room that is new. Whoever calls it has the turn.
    pub(super) async fn enter(&self) -> Result<Entry, JoinError> {
        let had = self.seat.state().nick.clone();
        let first = if had.is_empty() { self.plan.nick.clone() } else { had };
        let numbered = (2..=self.plan.numbered).map(|number| format!("{}{number}", self.plan.nick));
        let mut entered = Err(JoinError::NickConflict);
        for nick in std::iter::once(first).chain(numbered) {
            entered = self.enter_as(&nick).await;
            if !matches!(entered, Err(JoinError::NickConflict)) {
                break;
            }
        }
        let entry = entered?;
        if entry.created {
            self.open().await?;
            self.learn().await;
        }
        Ok(entry)
    }

    async fn enter_as(&self, nick: &str) -> Result<Entry, JoinError> {
        let to = self.room.with_resource(nick)?;
        let id = generate_id();
        let (sender, answer) = oneshot::channel();
        let join = Join { history: self.history(), password: self.plan.password.clone() };
        let _unfinished = {
            let mut state = self.seat.state();
            if state.standing == Standing::Left {
                return Err(JoinError::Closed);
            }
            let before = if state.is_inside() { Standing::Outside } else { state.standing };
            state.enter(&id, to.resource(), sender);
            Unfinished { seat: &self.seat, before }
        };
        let presence = self.presence().id(id).to(to.clone()).payload(&join);
        self.client.send(presence).await?;
        match timeout(self.patience(), answer).await {
            Ok(answer) => answer.unwrap_or(Err(JoinError::Closed)),
            Err(_) => {
                // It may let us in yet.
                self.client.send(Presence::unavailable().to(to)).await?;
                Err(JoinError::TimedOut)
            }
        }
    }

    /// What is asked for when entering: again, what was said meanwhile.
    fn history(&self) -> Option<HistoryRequest> {
        let state = self.seat.state();
        if state.entered_at.is_none() {
            return self.plan.history.request();
        }
        if self.plan.history == History::None && state.spoken.is_none() {
            return self.plan.history.request();
        }
        let since = state.spoken.unwrap_or(state.heard);
        let has_ids = [stanza_id::NS, archive::NS].into_iter().any(|feature| state.features.contains(feature));
        let overlap = if has_ids { OVERLAP.0 } else { OVERLAP.1 };
        let seconds = since.elapsed().as_secs().saturating_add(overlap);
        let seconds = Some(u32::try_from(seconds).unwrap_or(u32::MAX));
        Some(HistoryRequest { seconds, ..HistoryRequest::default() })
    }

    /// A room that we have made is opened, or given up.
    async fn open(&self) -> Result<(), JoinError> {
        let opened = match &self.plan.new_room {
            NewRoom::Reserved => return Ok(()),
            NewRoom::Unwanted => {
                let _ = configure::cancel(&self.client, &self.room).await;
                self.seat.state().standing = Standing::Outside;
                return Err(JoinError::NoSuchRoom);
            }
            NewRoom::Instant => configure::accept(&self.client, &self.room).await.map_err(Into::into),
            NewRoom::Configured(config) => configure::set(&self.client, &self.room, config).await,
        };
        if let Err(error) = opened {
            let _ = configure::cancel(&self.client, &self.room).await;
            self.seat.state().standing = Standing::Outside;
            return Err(JoinError::NotConfigured(error.to_string()));
        }
        Ok(())
    }
}
