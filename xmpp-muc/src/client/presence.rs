//! Presence of a room's occupants, and our own (§7.1, §7.6, §8, §9).

use super::{
    Entry, JoinError, Loss, Occupant, Removal, RoomEvent,
    event::{Departure, cause},
    hats::worn,
    occupant::{occupant_id, within},
    state::{Standing, State},
};
use crate::payload::{Hats, Item, OccupantId, StatusCode, UserInfo};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use xmpp_core::{
    client::Flow,
    stanza::{Presence, PresenceType},
};

/// After it was removed for technical reasons a client waits a little.
const TECHNICAL: Duration = Duration::from_secs(2);

impl State {
    /// A presence from the room or an occupant. `wait` is a random part of a time of waiting, from 0 to 1.
    pub(super) fn presence(&mut self, presence: &Presence, now: Instant, wait: f64) -> Flow {
        let Some(nick) = presence.from().and_then(|from| from.resource()) else {
            let is_heard = matches!(self.standing, Standing::Entering | Standing::Inside)
                && presence.type_() == PresenceType::Available
                && self.of_the_photo(presence);
            return if is_heard { Flow::Handled } else { Flow::Continue };
        };
        let nick = nick.to_owned();
        match presence.type_() {
            PresenceType::Error => self.refused(presence, &nick),
            PresenceType::Available | PresenceType::Unavailable => {
                let info = match presence.payload::<UserInfo>() {
                    Some(Ok(info)) => info,
                    // §7.2.2: what says nothing of an occupant is not about one.
                    None => return Flow::Continue,
                    Some(Err(error)) => {
                        tracing::debug!(%error, room = %self.room, "a presence that cannot be read");
                        return Flow::Handled;
                    }
                };
                if !matches!(self.standing, Standing::Entering | Standing::Inside) {
                    return Flow::Handled;
                }
                self.hear(now);
                if presence.type_() == PresenceType::Available {
                    self.available(presence, &nick, &info, now);
                } else {
                    self.unavailable(presence, &nick, &info, now, wait);
                }
            }
            _ => return Flow::Continue,
        }
        Flow::Handled
    }

    fn refused(&mut self, presence: &Presence, nick: &str) {
        let error = presence.error().unwrap_or_else(xmpp_core::stanza::StanzaError::undefined_condition);
        let id = presence.id();
        let meant = |asked: (&str, &str)| id.as_ref().map_or(asked.1 == nick, |id| id == asked.0);
        if self.entering.as_ref().is_some_and(|asked| meant((&asked.id, &asked.nick))) {
            if let Some(asked) = self.entering.take() {
                let _ = asked.answer.send(Err(JoinError::refused(error)));
            }
        } else if self.renaming.as_ref().is_some_and(|asked| meant((&asked.id, &asked.nick)))
            && let Some(asked) = self.renaming.take()
        {
            let _ = asked.answer.send(Err(JoinError::refused(error)));
        }
    }

    fn available(&mut self, presence: &Presence, nick: &str, info: &UserInfo, now: Instant) {
        let Some(item) = info.item() else { return };
        let is_self = info.has(StatusCode::SELF);
        if is_self {
            // We have not sent it, so that the room adds it; and then takes away what others forge (XEP-0421 §4).
            self.trusts_occupant_ids = presence.payload::<OccupantId>().is_some();
        }
        let had = if is_self { std::mem::replace(&mut self.nick, nick.to_owned()) } else { String::new() };
        // Under another nickname we are the same: a room that says so over and over does not multiply us.
        let former = if is_self && had != nick && self.is_inside() { self.occupants.remove(&had) } else { None };
        let mut occupant = Occupant::read(nick, presence, item);
        occupant.id = occupant_id(presence.payload()).filter(|_| self.trusts_occupant_ids || !self.is_inside());
        if self.features.contains(Hats::NAMESPACE) {
            occupant.hats = worn(presence.payload());
        }
        let (was, occupant) = self.occupants.set(occupant, is_self);
        if self.standing == Standing::Entering {
            if is_self {
                self.entered(nick, info, now);
            }
            return;
        }
        if is_self && let Some(asked) = self.renaming.take() {
            if asked.nick == nick || info.has(StatusCode::NICK_ASSIGNED) {
                let _ = asked.answer.send(Ok(nick.to_owned()));
            } else {
                self.renaming = Some(asked);
            }
        }
        let Some(occupant) = occupant else { return };
        if former.is_some() {
            return self.tell(RoomEvent::Nick { was: had, occupant, is_mine: true });
        }
        match was {
            None if !is_self => self.tell(RoomEvent::Arrived(occupant)),
            Some(was) => self.tell_change(&was, occupant, item),
            None => {}
        }
    }

    fn entered(&mut self, nick: &str, info: &UserInfo, now: Instant) {
        self.standing = Standing::Inside;
        self.inside_since = Some(now);
        self.entered_at.get_or_insert_with(std::time::SystemTime::now);
        if !self.trusts_occupant_ids {
            self.occupants.forget_ids();
        }
        let entry = Entry::read(nick, info);
        if self.returns {
            self.is_stale();
        }
        let event = if self.returns { RoomEvent::Rejoined } else { RoomEvent::Joined };
        self.tell(event(entry.clone()));
        if let Some(asked) = self.entering.take() {
            let _ = asked.answer.send(Ok(entry));
        }
    }

    fn tell_change(&self, was: &Occupant, occupant: Arc<Occupant>, item: &Item) {
        let (by, reason) = cause(item);
        let role = was.role != occupant.role;
        let affiliation = was.affiliation != occupant.affiliation;
        if affiliation {
            let (by, reason, occupant) = (by.clone(), reason.clone(), Arc::clone(&occupant));
            self.tell(RoomEvent::Affiliation { occupant, was: was.affiliation, by, reason });
        }
        if role {
            self.tell(RoomEvent::Role { occupant, was: was.role, by, reason });
        } else if !affiliation && *was != *occupant {
            self.tell(RoomEvent::Presence(occupant));
        }
    }

    fn unavailable(&mut self, presence: &Presence, nick: &str, info: &UserInfo, now: Instant, wait: f64) {
        let item = info.item().cloned().unwrap_or_default();
        if info.has(StatusCode::NICK_CHANGED)
            && let Some(new) = &item.nick
        {
            return self.renamed(nick, new, &item);
        }
        if self.standing == Standing::Entering {
            // What is left of an earlier visit.
            self.occupants.remove(nick);
            return;
        }
        if info.has(StatusCode::SELF) || nick == self.nick {
            return self.removed(info, &item, now, wait);
        }
        let Some(occupant) = self.occupants.remove(nick) else { return };
        let (by, reason) = cause(&item);
        let reason = reason.or_else(|| presence.status().map(|text| within(&text, 1_024).to_owned()));
        self.tell(RoomEvent::Departed { occupant, why: Departure::read(info), by, reason });
    }

    /// §7.6: the presence under the new nickname follows.
    fn renamed(&mut self, was: &str, new: &str, item: &Item) {
        let is_mine = was == self.nick && self.standing == Standing::Inside;
        // A name that can be none would never be heard of again.
        let Ok(jid) = self.room.with_resource(new) else { return };
        let new = jid.resource();
        let Some(former) = self.occupants.remove(was) else { return };
        let occupant = Occupant {
            nick: new.to_owned(),
            role: item.role.unwrap_or(former.role),
            affiliation: item.affiliation.unwrap_or(former.affiliation),
            ..Occupant::clone(&former)
        };
        let (_, known) = self.occupants.set(occupant, is_mine);
        if is_mine {
            new.clone_into(&mut self.nick);
        }
        if let (Standing::Inside, Some(occupant)) = (self.standing, known) {
            self.tell(RoomEvent::Nick { was: was.to_owned(), occupant, is_mine });
        }
    }

    /// We are in the room no more.
    fn removed(&mut self, info: &UserInfo, item: &Item, now: Instant, wait: f64) {
        if let Some(leaving) = self.leaving.take() {
            self.standing = Standing::Outside;
            self.forget();
            let _ = leaving.send(());
            return;
        }
        let why = Departure::read(info);
        if info.destroy.is_none() && why.is_accident() {
            let loss = if why == Departure::Shutdown { Loss::Shutdown } else { Loss::Technical };
            // A service that stops is not back at once, and many wait for it.
            let least = if why == Departure::Shutdown { self.settings.shutdown_wait } else { TECHNICAL };
            return self.lose(loss, now, least.mul_f64(1.0 + wait));
        }
        self.standing = Standing::Outside;
        self.forget();
        self.misses();
        match &info.destroy {
            Some(destroyed) => self.tell(RoomEvent::Destroyed(destroyed.clone())),
            None => {
                let (by, reason) = cause(item);
                self.tell(RoomEvent::Removed(Removal { why, by, reason }));
            }
        }
    }
}
