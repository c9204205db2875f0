//! A room that we are in, and what is said there.

use super::{
    Entry, JoinError, Occupant, RoomMessage, SayError,
    join::Inner,
    state::{Asked, Said, Standing},
};
use crate::payload::UserInfo;
use std::sync::{Arc, PoisonError};
use tokio::{sync::oneshot, time::timeout};
use xmpp_core::{
    client::{Client, SendError},
    jid::{BareJid, FullJid},
    payload::{Payload, stanza_id::OriginId},
    stanza::{Message, MessageBuilder, Presence, PresenceBuilder, Show, generate_id},
};

/// A room that we are in. Cheap to clone; when the last handle is dropped, and the events with it, the room is left.
#[derive(Clone, Debug)]
pub struct Room {
    pub(super) inner: Arc<Inner>,
}

impl Room {
    /// Its address.
    pub fn jid(&self) -> &BareJid {
        &self.inner.room
    }

    pub(super) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(super) fn password(&self) -> Option<String> {
        self.inner.password()
    }

    /// Whether we are in it, as far as is known.
    pub fn is_inside(&self) -> bool {
        self.inner.seat.state().is_inside()
    }

    /// Our nickname, or the last that we had.
    pub fn nick(&self) -> String {
        self.inner.seat.state().nick.clone()
    }

    /// Ourselves; `None` while we are not in the room.
    pub fn me(&self) -> Option<Arc<Occupant>> {
        let state = self.inner.seat.state();
        state.occupants.get(&state.nick).cloned()
    }

    /// Who is in the room now, as far as we are told, by nickname. Empty while we are not in it.
    pub fn occupants(&self) -> Vec<Arc<Occupant>> {
        self.inner.seat.state().occupants.all()
    }

    /// Who has this nickname now.
    pub fn occupant(&self, nick: &str) -> Option<Arc<Occupant>> {
        self.inner.seat.state().occupants.get(nick).cloned()
    }

    /// The address of an occupant, for private messages and requests.
    ///
    /// # Errors
    /// If this cannot be a nickname.
    pub fn occupant_jid(&self, nick: &str) -> Result<FullJid, xmpp_core::jid::JidError> {
        self.inner.room.with_resource(nick)
    }

    /// The subject; `None` before the room has told it.
    pub fn subject(&self) -> Option<String> {
        self.inner.seat.state().subject.clone()
    }

    /// Whether the room has announced that it can do this (XEP-0030).
    pub fn supports(&self, feature: &str) -> bool {
        self.inner.seat.state().features.contains(feature)
    }

    /// The events from now on, besides those that came with the room.
    pub fn events(&self) -> super::RoomEvents {
        super::RoomEvents { reader: self.inner.seat.state().subscribe(), room: self.clone() }
    }

    /// Says something to all, and waits until the room has sent it to all. Dropped early, it may be said all the same;
    /// so after a lost connection.
    ///
    /// # Errors
    /// See [`SayError`].
    pub async fn send(&self, body: impl AsRef<str>) -> Result<RoomMessage, SayError> {
        self.message(body).send().await
    }

    /// A text to which more is to be added.
    pub fn message(&self, body: impl AsRef<str>) -> Saying {
        let id = generate_id();
        let message = Message::groupchat(self.inner.room.clone()).id(id.clone()).body(body);
        Saying { room: self.clone(), id, message, subject: None }
    }

    /// Changes the subject (§8.1), and waits as [`send`](Self::send) does.
    ///
    /// # Errors
    /// See [`SayError`]; [`SayError::NotPermitted`] where only moderators may.
    pub async fn set_subject(&self, subject: &str) -> Result<RoomMessage, SayError> {
        let id = generate_id();
        let message = Message::groupchat(self.inner.room.clone()).id(id.clone()).subject(subject);
        Saying { room: self.clone(), id, message, subject: Some(subject.to_owned()) }.send().await
    }

    /// Says something to one occupant (§7.5); its id. A room does not say that it has passed a message on, only that it
    /// has not: [`RoomEvent::NotDelivered`](super::RoomEvent::NotDelivered).
    ///
    /// # Errors
    /// [`SayError::NotInRoom`], [`SayError::NobodyThere`], [`SayError::Send`].
    pub async fn whisper(&self, nick: &str, body: impl AsRef<str>) -> Result<String, SayError> {
        if !self.is_inside() {
            return Err(SayError::NotInRoom);
        }
        let to = self.occupant_jid(nick).map_err(|_| SayError::NobodyThere)?;
        if self.occupant(to.resource()).is_none() {
            return Err(SayError::NobodyThere);
        }
        let id = generate_id();
        let message = Message::chat(to).id(id.clone()).body(body).payload(&UserInfo::default());
        self.inner.client.send(message).await?;
        Ok(id)
    }

    /// Takes another nickname (§7.6), which the room may change; it is also the one for entering again. What it is.
    ///
    /// # Errors
    /// [`JoinError::NickConflict`] and the like.
    pub async fn change_nick(&self, nick: &str) -> Result<String, JoinError> {
        let to = self.inner.room.with_resource(nick)?;
        let _turn = self.inner.seat.turn.lock().await;
        let id = generate_id();
        let (answer, renamed) = oneshot::channel();
        {
            let mut state = self.inner.seat.state();
            if !state.is_inside() {
                return Err(JoinError::NotInRoom);
            }
            state.renaming = Some(Asked { id: id.clone(), nick: to.resource().to_owned(), answer });
        }
        let sent = self.inner.client.send(self.inner.presence().id(id).to(to)).await;
        let result = match sent {
            Ok(()) => timeout(self.inner.patience(), renamed).await,
            Err(error) => return Err(error.into()),
        };
        self.inner.seat.state().renaming = None;
        result.map_or(Err(JoinError::TimedOut), |answer| answer.unwrap_or(Err(JoinError::Interrupted)))
    }

    /// Says something of our availability to the room (§7.7), now and whenever it is entered again. What is said to
    /// others does not reach rooms.
    ///
    /// # Errors
    /// Those of [`Client::send`].
    pub async fn set_presence(&self, show: Option<Show>, status: Option<&str>) -> Result<(), SendError> {
        *self.inner.own.lock().unwrap_or_else(PoisonError::into_inner) = (show, status.map(str::to_owned));
        match self.inner.room.with_resource(&self.nick()) {
            Ok(to) if self.is_inside() => self.inner.client.send(self.inner.presence().to(to)).await,
            _ => Ok(()),
        }
    }

    /// Enters again: after a [removal](super::RoomEvent::Removed), or after it was [given
    /// up](super::RoomEvent::GaveUp). In a room that we are in it asks for everything anew.
    ///
    /// # Errors
    /// See [`JoinError`]; [`JoinError::Closed`] after [`leave`](Self::leave).
    pub async fn rejoin(&self) -> Result<Entry, JoinError> {
        let _turn = self.inner.seat.turn.lock().await;
        self.inner.enter().await
    }

    /// Leaves for good (§7.14), with a word to it. The events end. Returns when the room has confirmed it, or has been
    /// silent for long.
    ///
    /// # Errors
    /// Those of [`Client::send`].
    pub async fn leave(&self, reason: Option<&str>) -> Result<(), SendError> {
        let _turn = self.inner.seat.turn.lock().await;
        let (left, done) = oneshot::channel();
        let (inside, nick) = {
            let mut state = self.inner.seat.state();
            let inside = state.is_inside();
            state.leaving = inside.then_some(left);
            (inside, state.nick.clone())
        };
        let mut sent = Ok(());
        if let (true, Ok(to)) = (inside, self.inner.room.with_resource(&nick)) {
            let presence = reason.into_iter().fold(Presence::unavailable().to(to), PresenceBuilder::status);
            sent = self.inner.client.send(presence).await;
            if sent.is_ok() {
                let _ = timeout(self.inner.patience(), done).await;
            }
        }
        self.inner.seat.state().end();
        self.inner.part.rise(&self.inner.room, &self.inner.seat);
        self.inner.seat.wake.notify_one();
        sent
    }

    /// Resolves when we are in the room, and `false` when we will not be by ourselves. Cancel-safe.
    pub async fn inside(&self) -> bool {
        let mut events = self.events();
        loop {
            match self.inner.seat.state().standing {
                Standing::Inside => return true,
                Standing::Left | Standing::Outside => return false,
                Standing::Entering | Standing::Lost { .. } => {}
            }
            if events.next().await.is_none() {
                return false;
            }
        }
    }
}

/// A message to all in the making.
#[derive(Debug)]
#[must_use = "it is said when sent"]
pub struct Saying {
    room: Room,
    id: String,
    message: MessageBuilder,
    subject: Option<String>,
}

/// Nobody waits for the message any more.
struct Waiting<'a>(&'a Inner, &'a str);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.seat.state().said.remove(self.1);
    }
}

impl Saying {
    /// Adds a payload: that it corrects another, that it replies to one, and so on.
    pub fn with(mut self, payload: &impl Payload) -> Self {
        self.message = self.message.payload(payload);
        self
    }

    /// The id that it will have.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Says it, and waits until the room has sent it to all (§7.4): then it is known how the room has numbered it.
    ///
    /// # Errors
    /// See [`SayError`].
    pub async fn send(self) -> Result<RoomMessage, SayError> {
        let Saying { room, id, message, subject } = self;
        let inner = &*room.inner;
        let (answer, reflection) = oneshot::channel();
        {
            let mut state = inner.seat.state();
            if !state.is_inside() {
                return Err(SayError::NotInRoom);
            }
            if state.said.len() >= inner.part.settings.sending {
                return Err(SayError::TooMany);
            }
            state.said.insert(id.clone(), Said { subject, answer });
        }
        let _waiting = Waiting(inner, &id);
        inner.client.send(message.payload(&OriginId { id: id.clone() })).await?;
        match timeout(inner.patience(), reflection).await {
            Ok(Ok(said)) => said,
            Ok(Err(_)) => Err(SayError::Interrupted),
            Err(_) => Err(SayError::TimedOut),
        }
    }
}
