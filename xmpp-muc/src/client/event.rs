//! What happens in a room.

use super::{
    JoinError, Occupant, Room,
    feed::{Read, Reader, Weigh},
    invite::VoiceRequest,
};
use crate::{
    Affiliation, Role,
    payload::{Destroyed, Item, StatusCode, UserInfo},
};
use std::{borrow::Cow, sync::Arc};
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::{DateTime, Payload, form::DataForm},
    stanza::{Message, StanzaError},
    xml::Writer,
};

/// Something happened in a room, or to our being there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RoomEvent {
    /// We are in the room: for the first time, or again because the application asked for it.
    Joined(Entry),
    /// We are in the room again after [`Lost`](RoomEvent::Lost). What was said meanwhile, as far as the room sends it as
    /// history, comes next; [`Room::missed`] has all of it. Who came and went meanwhile is not told: [`Room::occupants`] are
    /// those of now.
    Rejoined(Entry),
    /// Something was said to all.
    Message(RoomMessage),
    /// Something was said to us alone (§7.5).
    Private(RoomMessage),
    /// The subject is this (§8.1). It also comes once at the end of the history, blank if there is none.
    Subject {
        /// Who has set it; `None` is the room.
        nick: Option<String>,
        /// The subject.
        text: String,
        /// When that was; `None` is now.
        time: Option<DateTime>,
    },
    /// Somebody came. Those who were there before us are in [`Room::occupants`].
    Arrived(Arc<Occupant>),
    /// Somebody says something else of their availability.
    Presence(Arc<Occupant>),
    /// Somebody is gone.
    Departed {
        /// Who, as last known.
        occupant: Arc<Occupant>,
        /// What happened to them.
        why: Departure,
        /// Who did it, if that is told.
        by: Option<String>,
        /// Why, or what they said when leaving.
        reason: Option<String>,
    },
    /// Somebody, perhaps we, has another nickname (§7.6).
    Nick {
        /// The former one.
        was: String,
        /// With the new one.
        occupant: Arc<Occupant>,
        /// It is ours.
        is_mine: bool,
    },
    /// Somebody, perhaps we, may do other things than before (§8).
    Role {
        /// With the new role.
        occupant: Arc<Occupant>,
        /// The former one.
        was: Role,
        /// Who did it.
        by: Option<String>,
        /// Why.
        reason: Option<String>,
    },
    /// The affiliation of somebody in the room has changed (§9, §10).
    Affiliation {
        /// With the new affiliation.
        occupant: Arc<Occupant>,
        /// The former one.
        was: Affiliation,
        /// Who did it.
        by: Option<String>,
        /// Why.
        reason: Option<String>,
    },
    /// The affiliation of somebody who is not in the room has changed (§9.3 and the like).
    Affiliated {
        /// Who.
        jid: Jid,
        /// To what.
        affiliation: Affiliation,
    },
    /// We were removed. The application decides whether to come back ([`Room::rejoin`]).
    Removed(Removal),
    /// The room is no more (§10.9); perhaps another takes its place.
    Destroyed(Destroyed),
    /// The room is configured otherwise (§10.2.1): what these codes say, of 104 and 170 to 173.
    Configured(Vec<StatusCode>),
    /// The room has another photo (XEP-0486), with this hash, or none any more. [`Room::avatar`] gets it.
    Avatar(Option<String>),
    /// A moderator took a message back (XEP-0425).
    Retracted {
        /// The message, by the room's id for it.
        id: String,
        /// The moderator's nickname, if that is told.
        by: Option<String>,
        /// Why.
        reason: Option<String>,
    },
    /// A visitor asks for voice (§8.6); to moderators. See [`Room::answer_voice`].
    VoiceRequest(VoiceRequest),
    /// Somebody asks to become a member (§9.9), or the room has another form to be filled in.
    Form(DataForm),
    /// Somebody does not come whom we had invited (§7.8.2).
    Declined {
        /// Who.
        from: Option<Jid>,
        /// Why.
        reason: Option<String>,
    },
    /// A message of ours was not delivered that nobody waits for.
    NotDelivered {
        /// Its id.
        id: String,
        /// Why.
        error: StanzaError,
    },
    /// We are not in the room any more, though nobody wanted that; it is entered again by itself.
    Lost(Loss),
    /// The room is not entered again after all.
    GaveUp(JoinError),
    /// So many events were lost because they were not taken in time, and too many, or too large, came after them. The view of occupants is right all the same, and the
    /// room's archive has what was said.
    Missed(u64),
}

/// How we came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Our nickname, which the room may have chosen (status 210).
    pub nick: String,
    /// Whether the room is new (status 201).
    pub created: bool,
    /// Whether all may see our address (status 100).
    pub is_non_anonymous: bool,
    /// Whether what is said is logged publicly (status 170).
    pub is_logged: bool,
    /// Whether the room has chosen the nickname (status 210).
    pub nick_assigned: bool,
}

impl Entry {
    pub(super) fn read(nick: &str, info: &UserInfo) -> Entry {
        Entry {
            nick: nick.to_owned(),
            created: info.has(StatusCode::CREATED),
            is_non_anonymous: info.has(StatusCode::NON_ANONYMOUS),
            is_logged: info.has(StatusCode::LOGGED),
            nick_assigned: info.has(StatusCode::NICK_ASSIGNED),
        }
    }
}

/// Why somebody is no longer in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Departure {
    /// Left.
    Left,
    /// Kicked (status 307).
    Kicked,
    /// Banned (status 301).
    Banned,
    /// No longer affiliated, in a room for members (status 321).
    AffiliationLost,
    /// The room is for members only now (status 322).
    MembersOnly,
    /// The service stops (status 332).
    Shutdown,
    /// For technical reasons (status 333).
    Technical,
}

impl Departure {
    pub(super) fn read(info: &UserInfo) -> Departure {
        // A kick for technical reasons says both.
        let codes = [
            (StatusCode::BANNED, Departure::Banned),
            (StatusCode::TECHNICAL, Departure::Technical),
            (StatusCode::SHUTDOWN, Departure::Shutdown),
            (StatusCode::KICKED, Departure::Kicked),
            (StatusCode::AFFILIATION_LOST, Departure::AffiliationLost),
            (StatusCode::MEMBERS_ONLY, Departure::MembersOnly),
        ];
        codes.into_iter().find(|(code, _)| info.has(*code)).map_or(Departure::Left, |(_, why)| why)
    }

    /// Whether it is nobody's will.
    pub(super) fn is_accident(self) -> bool {
        matches!(self, Departure::Shutdown | Departure::Technical)
    }
}

/// How we were removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// What happened.
    pub why: Departure,
    /// Who did it, if that is told.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl Removal {
    /// Whether the room would let us in again, as far as is known.
    pub fn may_return(&self) -> bool {
        matches!(self.why, Departure::Kicked | Departure::Left)
    }
}

/// How we lost a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// With the session.
    Session,
    /// The room, when asked, does not know us (XEP-0410).
    Silent,
    /// The service has stopped (status 332).
    Shutdown,
    /// For technical reasons (status 333).
    Technical,
}

/// Who did it and why.
pub(super) fn cause(item: &Item) -> (Option<String>, Option<String>) {
    let actor = item.actor.as_ref();
    let by = actor.and_then(|actor| actor.nick.clone().or_else(|| actor.jid.as_ref().map(ToString::to_string)));
    (by, item.reason.clone())
}

/// Something that was said in a room.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RoomMessage {
    /// The room.
    pub room: BareJid,
    /// Who said it; `None` is the room itself.
    pub nick: Option<String>,
    /// Who is behind the nickname (XEP-0421), where the room vouches for it.
    pub occupant_id: Option<String>,
    /// The id that its sender gave it, by which it is corrected.
    pub id: Option<String>,
    /// The id that the room gave it (XEP-0359), by which it is found in the archive, retracted and replied to; where the
    /// room vouches for it.
    pub stanza_id: Option<String>,
    /// When it was said before we came; `None` is now.
    pub time: Option<DateTime>,
    /// It was said under our nickname. In the history that is the nickname of now.
    pub is_mine: bool,
    /// The message.
    pub message: Message,
}

impl RoomMessage {
    /// The text.
    pub fn body(&self) -> Option<Cow<'_, str>> {
        self.message.body()
    }
    fn weight(&self) -> usize {
        let texts = [&self.nick, &self.occupant_id, &self.id, &self.stanza_id];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        texts.saturating_add(self.message.stanza().as_str().len())
    }
    /// Whether it was said before we came.
    pub fn is_history(&self) -> bool {
        self.time.is_some()
    }
}

/// What an event takes beside its texts.
const EACH: usize = 256;

impl Weigh for RoomEvent {
    fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let jid = |jid: &Option<Jid>| jid.as_ref().map_or(0, |jid| jid.as_str().len());
        let more = match self {
            RoomEvent::Message(said) | RoomEvent::Private(said) => said.weight(),
            RoomEvent::Joined(entry) | RoomEvent::Rejoined(entry) => entry.nick.len(),
            RoomEvent::Subject { nick, text: subject, .. } => text(nick) + subject.len(),
            RoomEvent::Arrived(who) | RoomEvent::Presence(who) => who.weight(),
            RoomEvent::Nick { was, occupant, .. } => was.len() + occupant.weight(),
            RoomEvent::Avatar(hash) => text(hash),
            RoomEvent::Departed { occupant, by, reason, .. }
            | RoomEvent::Role { occupant, by, reason, .. }
            | RoomEvent::Affiliation { occupant, by, reason, .. } => occupant.weight() + text(by) + text(reason),
            RoomEvent::Affiliated { jid, .. } => jid.as_str().len(),
            RoomEvent::Removed(removal) => text(&removal.by) + text(&removal.reason),
            RoomEvent::Destroyed(destroyed) => written(destroyed),
            RoomEvent::Configured(codes) => size_of_val(codes.as_slice()),
            RoomEvent::Retracted { id, by, reason } => id.len() + text(by) + text(reason),
            RoomEvent::VoiceRequest(request) => request.nick.len() + jid(&request.jid),
            // Each of its many small parts takes more than its text.
            RoomEvent::Form(form) => written(form).saturating_mul(4),
            RoomEvent::Declined { from, reason } => jid(from) + text(reason),
            RoomEvent::NotDelivered { id, error } => id.len() + error.to_string().len(),
            RoomEvent::GaveUp(error) => error.to_string().len(),
            RoomEvent::Lost(_) | RoomEvent::Missed(_) => 0,
        };
        EACH.saturating_add(more)
    }
}

fn written(payload: &impl Payload) -> usize {
    let mut out = Writer::new("");
    payload.write(&mut out);
    out.finish().len()
}

/// What happens in a room, in order. It keeps us in the room, as [`Room`] does.
#[derive(Debug)]
pub struct RoomEvents {
    pub(super) reader: Option<Reader<RoomEvent>>,
    pub(super) room: Room,
}

impl RoomEvents {
    /// The next event; `None` when the room was left by [`Room::leave`], or the client has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<RoomEvent> {
        Some(match self.reader.as_mut()?.next().await? {
            Read::One(event) => event,
            Read::Lost(missed) => RoomEvent::Missed(missed),
        })
    }

    /// The room.
    pub fn room(&self) -> &Room {
        &self.room
    }
}
