//! What a client knows of a room: what comes in changes it, and yields events. No sockets, no clock.

use super::{
    Entry, JoinError, Loss, MucClientSettings, RoomEvent, RoomMessage, SayError,
    feed::{Feed, Reader},
    occupant::Table,
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, SystemTime},
};
use tokio::{sync::oneshot, time::Instant};
use xmpp_core::jid::BareJid;

/// How we are in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not at all: not yet, or removed.
    Outside,
    /// On our way.
    Entering,
    /// In it.
    Inside,
    /// To be entered again, at this time.
    Lost {
        /// How often that was tried.
        attempts: u32,
        at: Instant,
    },
    /// Left for good.
    Left,
}

/// What has to be done for a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// Nothing before this time, or before something happens.
    Wait(Option<Instant>),
    /// Ask whether we are still there.
    Ping,
    /// Ask what the room is like now.
    Learn,
    /// Enter again.
    Enter,
}

pub(super) type Answer<T, E> = oneshot::Sender<Result<T, E>>;

/// A presence of ours that waits for the room's answer.
#[derive(Debug)]
pub(super) struct Asked<T> {
    pub(super) id: String,
    pub(super) nick: String,
    pub(super) answer: Answer<T, JoinError>,
}

/// A message of ours that waits for being sent back.
#[derive(Debug)]
pub(super) struct Said {
    /// A subject is known again by its text too: rooms may give it another id.
    pub(super) subject: Option<String>,
    pub(super) answer: Answer<RoomMessage, SayError>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) room: BareJid,
    pub(super) nick: String,
    pub(super) standing: Standing,
    pub(super) occupants: Table,
    pub(super) subject: Option<String>,
    /// What the room can do, as it has said (disco#info); nothing is believed that it has not.
    pub(super) features: HashSet<String>,
    /// The hash of its photo.
    pub(super) avatar: Option<String>,
    /// When to ask what it is like now, since it has said that that has changed.
    pub(super) learn_at: Option<Instant>,
    pub(super) entering: Option<Asked<Entry>>,
    /// Whether we are entering again by ourselves.
    pub(super) returns: bool,
    pub(super) renaming: Option<Asked<String>>,
    pub(super) leaving: Option<oneshot::Sender<()>>,
    pub(super) said: HashMap<String, Said>,
    pub(super) seen: Seen,
    /// The room's last id for a message, to go on from in its archive.
    pub(super) position: Option<String>,
    /// Where that was when the room was lost, if the archive has not been read since.
    pub(super) missed_from: Option<String>,
    /// When we came in last, and how often we were soon out again by no will of ours.
    pub(super) inside_since: Option<Instant>,
    pub(super) short_stays: u32,
    /// When we first came in.
    pub(super) entered_at: Option<SystemTime>,
    /// When the room was heard last, and when something was said last.
    pub(super) heard: Instant,
    pub(super) spoken: Option<Instant>,
    /// When to ask whether we are still there.
    pub(super) ping_at: Instant,
    /// How often that had no clear answer since the room was heard.
    pub(super) doubts: u32,
    pub(super) trusts_occupant_ids: bool,
    pub(super) settings: MucClientSettings,
    pub(super) events: Option<Feed<RoomEvent>>,
}

impl State {
    pub(super) fn new(room: BareJid, settings: MucClientSettings, now: Instant) -> State {
        let events = Feed::new(settings.events, settings.event_bytes);
        State {
            room,
            nick: String::new(),
            standing: Standing::Outside,
            occupants: Table::new(settings.occupants, settings.occupant_bytes),
            subject: None,
            features: HashSet::new(),
            avatar: None,
            learn_at: None,
            entering: None,
            returns: false,
            renaming: None,
            leaving: None,
            said: HashMap::new(),
            seen: Seen::new(settings.remembered),
            position: None,
            missed_from: None,
            inside_since: None,
            short_stays: 0,
            entered_at: None,
            heard: now,
            spoken: None,
            ping_at: now + settings.ping_after,
            doubts: 0,
            trusts_occupant_ids: false,
            settings,
            events: Some(events),
        }
    }

    pub(super) fn subscribe(&self) -> Option<Reader<RoomEvent>> {
        self.events.as_ref().map(Feed::subscribe)
    }

    pub(super) fn tell(&self, event: RoomEvent) {
        if let Some(events) = &self.events {
            events.send(event);
        }
    }

    pub(super) fn is_inside(&self) -> bool {
        self.standing == Standing::Inside
    }

    /// We are about to enter under this nickname, again by ourselves or because somebody wants it.
    pub(super) fn enter(&mut self, id: &str, nick: &str, answer: Answer<Entry, JoinError>) {
        self.returns = matches!(self.standing, Standing::Lost { .. });
        self.forget();
        self.standing = Standing::Entering;
        self.entering = Some(Asked { id: id.to_owned(), nick: nick.to_owned(), answer });
    }

    /// Entering has come to nothing; `standing` is how it was before.
    pub(super) fn not_entered(&mut self, standing: Standing) {
        if self.standing == Standing::Entering {
            self.standing = standing;
        }
        self.entering = None;
    }

    /// We are not in the room any more: whoever waits for something from it waits no more.
    pub(super) fn forget(&mut self) {
        self.occupants.clear();
        self.renaming = None;
        self.learn_at = None;
        // The senders are dropped, which says it.
        self.said.clear();
        self.doubts = 0;
    }

    /// The room is lost without anybody's will, and is to be entered again.
    pub(super) fn lose(&mut self, loss: Loss, now: Instant, wait: Duration) {
        if !self.is_inside() {
            return;
        }
        self.forget();
        self.misses();
        // A room that puts us out as often as we come in is left alone ever longer.
        let is_short = self.inside_since.is_some_and(|since| now.saturating_duration_since(since) < SHORT_STAY);
        self.short_stays = if is_short { self.short_stays.saturating_add(1) } else { 0 };
        let wait = wait.saturating_mul(1 << self.short_stays.saturating_sub(1).min(6));
        self.standing = Standing::Lost { attempts: 0, at: now + wait };
        self.tell(RoomEvent::Lost(loss));
    }

    /// What is said from now on is missed.
    pub(super) fn misses(&mut self) {
        if self.missed_from.is_none() {
            self.missed_from.clone_from(&self.position);
        }
    }

    /// A new session has begun, in which we are nowhere.
    pub(super) fn session_begins(&mut self, now: Instant) {
        self.lose(Loss::Session, now, Duration::ZERO);
        if let Standing::Lost { attempts, .. } = self.standing {
            self.standing = Standing::Lost { attempts, at: now };
        }
        if let Some(asked) = self.entering.take() {
            let _ = asked.answer.send(Err(JoinError::Interrupted));
        }
        if let Some(leaving) = self.leaving.take() {
            let _ = leaving.send(());
        }
    }

    /// The session goes on over another connection: is the room still there?
    pub(super) fn session_resumes(&mut self, now: Instant) {
        self.ping_at = now;
    }

    /// The room was left, or the client has ended.
    pub(super) fn end(&mut self) {
        self.standing = Standing::Left;
        self.forget();
        self.entering = None;
        self.leaving = None;
        self.events = None;
    }

    /// What has to be done now.
    pub(super) fn duty(&self, now: Instant) -> Duty {
        let due = |at: Instant, duty: Duty| if at <= now { duty } else { Duty::Wait(Some(at)) };
        match self.standing {
            Standing::Inside if self.renaming.is_some() => Duty::Wait(Some(self.ping_at.max(now + RENAMING))),
            Standing::Inside => match self.learn_at.filter(|at| *at < self.ping_at) {
                Some(at) => due(at, Duty::Learn),
                None => due(self.ping_at, Duty::Ping),
            },
            Standing::Lost { at, .. } => due(at, Duty::Enter),
            _ => Duty::Wait(None),
        }
    }

    /// The room was heard: the next question is far.
    pub(super) fn hear(&mut self, now: Instant) {
        (self.heard, self.doubts) = (now, 0);
        self.ping_at = now + self.settings.ping_after;
    }

    /// The room is configured otherwise: it is to be asked how (§10.2.1). Many have heard that: not all ask at the same time,
    /// but within a millisecond for each who is there.
    pub(super) fn is_stale(&mut self) {
        // The time of silence has chance in it.
        let part = f64::from(self.settings.ping_after.subsec_millis()) / 1_000.0;
        let wide = u32::try_from(self.occupants.len()).unwrap_or(u32::MAX);
        self.learn_at.get_or_insert(self.heard + Duration::from_millis(wide.into()).mul_f64(part));
    }

    /// Whether something has come by its id before; notes it.
    pub(super) fn is_repeated(&mut self, id: &str) -> bool {
        !self.seen.add(id)
    }
}

/// Who is out before this has not come back for good.
const SHORT_STAY: Duration = Duration::from_secs(60);
/// XEP-0410 §5: while a nickname is being changed nobody asks by it.
const RENAMING: Duration = Duration::from_secs(10);

/// The latest ids, and no more than so many.
#[derive(Debug)]
pub(super) struct Seen {
    order: VecDeque<u64>,
    ids: HashSet<u64>,
    most: usize,
    keys: std::hash::RandomState,
}

impl Seen {
    fn new(most: usize) -> Seen {
        Seen { order: VecDeque::new(), ids: HashSet::new(), most: most.max(1), keys: std::hash::RandomState::new() }
    }

    /// Whether it was new.
    pub(super) fn add(&mut self, id: &str) -> bool {
        let key = std::hash::BuildHasher::hash_one(&self.keys, id);
        if !self.ids.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}
