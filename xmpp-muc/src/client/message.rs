//! Messages of a room and of its occupants (§7.4, §7.5, §8.1, §8.6, §10.2.1).

use super::{RoomEvent, RoomMessage, SayError, invite::VoiceRequest, occupant::occupant_id, state::State};
use crate::payload::{Moderated, RetractedBy, UserInfo};
use tokio::time::Instant;
use xmpp_core::{
    payload::{
        DateTime, Payload,
        delay::Delay,
        form::DataForm,
        stanza_id::{self, OriginId, StanzaId},
    },
    stanza::{Condition, Message, MessageType, StanzaError},
};

impl State {
    /// A message from the room or an occupant.
    pub(super) fn message(&mut self, message: &Message, now: Instant) {
        if message.type_() == MessageType::Error {
            return self.not_delivered(message, now);
        }
        if !self.is_inside() {
            return;
        }
        self.hear(now);
        let nick = message.from().and_then(|from| from.resource()).map(str::to_owned);
        let root = message.root();
        if nick.is_none() && self.of_the_room(message) {
            return;
        }
        if message.type_() != MessageType::Groupchat {
            if nick.is_some() {
                let read = self.read(message, nick);
                self.tell(RoomEvent::Private(read));
            }
            return;
        }
        self.spoken = Some(now);
        let is_subject = message.subject().is_some()
            && root.child("body", root.ns()).is_none()
            && root.child("thread", root.ns()).is_none();
        if is_subject {
            return self.subject_is(message, nick);
        }
        let read = self.read(message, nick);
        if let Some(id) = &read.stanza_id {
            if self.is_repeated(id) {
                self.reflected(&read);
                return;
            }
            self.position = Some(id.clone());
        }
        self.reflected(&read);
        self.tell(RoomEvent::Message(read));
    }

    /// What the room itself says, if it is that (§4.3: it counts only from its bare address).
    fn of_the_room(&mut self, message: &Message) -> bool {
        if let Some(Ok(retraction)) = message.payload::<RetractedBy>() {
            return self.retracted(message, retraction);
        }
        if let Some(Ok(form)) = message.payload::<DataForm>() {
            self.tell(match VoiceRequest::read(&form) {
                Some(request) => RoomEvent::VoiceRequest(request),
                None => RoomEvent::Form(form),
            });
            return true;
        }
        let Some(Ok(info)) = message.payload::<UserInfo>() else { return false };
        if let Some(decline) = info.decline {
            self.tell(RoomEvent::Declined { from: decline.from, reason: decline.reason });
            return true;
        }
        for item in &info.items {
            if let (Some(jid), Some(affiliation)) = (&item.jid, item.affiliation) {
                self.tell(RoomEvent::Affiliated { jid: jid.clone(), affiliation });
            }
        }
        let codes: Vec<_> = info.statuses.iter().map(|status| status.code).collect();
        let configured = codes.iter().any(|code| matches!(code.0, 104 | 170..=173));
        if configured {
            self.is_stale();
            self.tell(RoomEvent::Configured(codes));
        }
        configured || !info.items.is_empty()
    }

    /// XEP-0425 §5: once, whether it comes live or again as history.
    fn retracted(&mut self, message: &Message, retraction: RetractedBy) -> bool {
        if let Some(id) = self.stanza_id(message) {
            if self.is_repeated(&id) {
                return true;
            }
            self.position = Some(id);
        }
        let Moderated { by, .. } = retraction.moderated;
        let by = by.filter(|by| by.bare_str() == self.room.as_str());
        let by = by.and_then(|by| by.resource().map(str::to_owned));
        self.tell(RoomEvent::Retracted { id: retraction.id, by, reason: retraction.reason });
        true
    }

    fn subject_is(&mut self, message: &Message, nick: Option<String>) {
        let text = message.subject().unwrap_or_default().into_owned();
        let read = self.read(message, nick.clone());
        if read.is_mine && !read.is_history() {
            let key = self.said.iter().find(|(id, said)| {
                read.id.as_deref() == Some(id.as_str()) || said.subject.as_deref() == Some(text.as_str())
            });
            let key = key.filter(|(_, said)| said.subject.is_some()).map(|(id, _)| id.clone());
            if let Some(said) = key.and_then(|key| self.said.remove(&key)) {
                let _ = said.answer.send(Ok(read.clone()));
            }
        }
        self.subject = Some(text.clone());
        self.tell(RoomEvent::Subject { nick, text, time: read.time });
    }

    /// A message of ours has come back: by its id, or by that which no room changes (§7.4, XEP-0359).
    fn reflected(&mut self, read: &RoomMessage) {
        if !read.is_mine {
            return;
        }
        let origin = read.message.payload::<OriginId>().and_then(Result::ok).map(|origin| origin.id);
        let ids = [read.id.clone(), origin];
        if let Some(said) = ids.iter().flatten().find_map(|id| self.said.remove(id)) {
            let _ = said.answer.send(Ok(read.clone()));
        }
    }

    /// The room's id for a message, if the room vouches for such (XEP-0359 §6).
    fn stanza_id(&self, message: &Message) -> Option<String> {
        if !self.features.contains(stanza_id::NS) && !self.features.contains(xmpp_core::payload::archive::NS) {
            return None;
        }
        let all = message.payloads().filter(|child| StanzaId::matches(*child));
        let mut ids = all.filter_map(|child| StanzaId::read(child).ok());
        ids.find(|id| id.by.as_str() == self.room.as_str()).map(|id| id.id).filter(|id| id.len() <= 1_023)
    }

    /// When a message was said, as the room says.
    fn time(&self, message: &Message) -> Option<DateTime> {
        let delays = message.payloads().filter(|child| Delay::matches(*child));
        let mut delays = delays.filter_map(|child| Delay::read(child).ok());
        let ours = |delay: &Delay| delay.from.as_ref().is_none_or(|from| from.bare_str() == self.room.as_str());
        delays.find(ours).map(|delay| delay.stamp)
    }

    pub(super) fn read(&self, message: &Message, nick: Option<String>) -> RoomMessage {
        RoomMessage {
            room: self.room.clone(),
            is_mine: nick.as_ref() == Some(&self.nick),
            nick,
            occupant_id: occupant_id(message.payload()).filter(|_| self.trusts_occupant_ids),
            id: message.id().map(|id| id.into_owned()),
            stanza_id: self.stanza_id(message),
            time: self.time(message),
            message: message.clone(),
        }
    }

    fn not_delivered(&mut self, message: &Message, now: Instant) {
        let error = message.error().unwrap_or_else(StanzaError::undefined_condition);
        let Some(id) = message.id() else { return };
        // What is said to all comes back from the room itself; all know its id, and one of them is not to say that it failed.
        let of_the_room = message.from().is_some_and(|from| from.resource().is_none());
        if error.condition == Condition::NotAcceptable && self.is_inside() {
            // It may mean that we are not there.
            self.ping_at = now;
        }
        match of_the_room.then(|| self.said.remove(&*id)).flatten() {
            Some(said) => _ = said.answer.send(Err(SayError::refused(error))),
            None => self.tell(RoomEvent::NotDelivered { id: id.into_owned(), error }),
        }
    }

    /// A message of the room's archive: `None` if it was told before.
    pub(super) fn archived(&mut self, id: &str, message: &Message, time: Option<DateTime>) -> Option<RoomMessage> {
        // What an archive holds of a room is the room's own or an occupant's.
        let from = message.from().filter(|from| from.bare_str() == self.room.as_str())?;
        let nick = from.resource().map(str::to_owned);
        if self.is_repeated(id) {
            return None;
        }
        let mut read = self.read(message, nick);
        read.stanza_id = Some(id.to_owned());
        read.time = time.or(read.time);
        Some(read)
    }
}
