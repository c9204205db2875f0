//! Entering, leaving, presence and nicknames (§7.2, §7.6, §7.7, §7.14).

use super::{
    Change, Delivery, Effects, Incoming, Nick, Number, Occupant, Plan, Recipients, Room, Visit,
    announce::{self, News},
    pace::{DEAR, Pace, VISIT},
};
use crate::{
    Affiliation, NS, Role,
    config::Whois,
    initial_role,
    payload::{Destroyed, HistoryRequest, Item, Join, OccupantId, StatusCode, UserInfo},
};
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::{DateTime, Payload, TextValue, delay::Delay},
    stanza::StanzaError,
    xml::{ElementRef, Stanza, Writer, ns},
};

impl Room {
    /// Judges a presence.
    ///
    /// # Errors
    /// Those of §7.2.17 for who wants to come in, those of §7.6 for who wants another nickname.
    pub fn presence(&self, input: Incoming<'_>) -> Result<Plan, StanzaError> {
        match input.stanza.root().attr("type").as_deref() {
            None => self.available(input),
            Some("unavailable") => Ok(self.unavailable(input)),
            Some("error") => Ok(self.bounced(input)),
            // §16.3: neither a way in nor a way out.
            Some(_) => Ok(Plan::default()),
        }
    }

    /// Who has made the room comes in (§10.1.1).
    ///
    /// # Errors
    /// As [`presence`](Self::presence).
    pub fn create(&self, input: Incoming<'_>) -> Result<Plan, StanzaError> {
        let mut plan = self.available(input)?;
        for change in &mut plan.changes {
            if let Change::Enter { created, .. } = change {
                *created = true;
            }
        }
        Ok(plan)
    }

    fn available(&self, input: Incoming<'_>) -> Result<Plan, StanzaError> {
        self.check_open_to(input.from)?;
        let root = input.stanza.root();
        let join = root.child("x", NS).map(wish);
        if input.to.resource().is_none() {
            return Err(StanzaError::jid_malformed().with_text("a nickname is missing"));
        }
        let there = self.sender(input.from);
        if there.is_none() && join.is_none() {
            return Ok(Plan::of(Change::Send(self.out_of_sync(input))));
        }
        let Some((nick, renamed)) = Nick::of(input.to) else {
            return Err(StanzaError::not_acceptable().with_text("this cannot be a nickname"));
        };
        let presence = announce::plain(input.stanza);
        if presence.as_str().len() > self.limits.presence_bytes {
            return Err(StanzaError::not_acceptable().with_text("the presence is too large for a room"));
        }
        let id = root.attr("id").map(|id| id.into_owned());
        let (client, join) = (input.from.clone(), join);
        let Some((number, occupant)) = there else {
            let plan = self.admit(client, nick, renamed, presence, join.unwrap_or_default(), id)?;
            self.check_pace(&input.from.to_bare(), Pace::Presence, VISIT, input.now)?;
            return Ok(plan);
        };
        if occupant.nick.key != nick.key || occupant.nick.jid != nick.jid {
            let visit = Visit::new(client, presence);
            self.check_pace(&occupant.user, Pace::Presence, DEAR, input.now)?;
            return self.admit_nick(number, occupant, nick, renamed, visit, join.map(|join| (join, id)));
        }
        let cost = if join.is_some() { DEAR } else { 1 };
        self.check_pace(&occupant.user, Pace::Presence, cost, input.now)?;
        Ok(Plan::of(match join {
            Some(join) => Change::Resync { client, presence, join, id },
            None => Change::Present { client, presence, id },
        }))
    }

    fn admit(
        &self,
        client: Jid,
        nick: Nick,
        renamed: bool,
        presence: Stanza,
        join: Join,
        id: Option<String>,
    ) -> Result<Plan, StanzaError> {
        let user = client.to_bare();
        let affiliation = self.affiliations.of(&user);
        let Some(role) = initial_role(affiliation, self.config.moderated, self.config.members_only) else {
            return Err(match affiliation {
                Affiliation::Outcast => StanzaError::forbidden().with_text("you are banned from this room"),
                _ => StanzaError::registration_required().with_text("this room is for members only"),
            });
        };
        if self.config.password.is_some() && join.password != self.config.password {
            return Err(StanzaError::not_authorized().with_text("the room has a password"));
        }
        let same = self.free(&nick, &user)?;
        if let Some((_, occupant)) = same {
            if occupant.visits.len() >= self.limits.visits {
                return Err(StanzaError::resource_constraint().with_text("too many clients of yours are in the room"));
            }
        } else {
            self.has_place(affiliation)?;
        }
        self.check_shown(same.map(|(_, occupant)| occupant), &nick, &client, affiliation)?;
        let remembered = self.voices.of(&user).filter(|_| self.config.moderated && affiliation < Affiliation::Admin);
        // Who has lost voice by one nickname has none by another.
        let least = self.occupants.of_user(&user).map(|(_, occupant)| occupant.role).min();
        let role = remembered.unwrap_or(role).min(least.unwrap_or(Role::Moderator));
        let role = same.map_or(role, |(_, occupant)| occupant.role);
        let renamed = renamed || same.is_some_and(|(_, occupant)| occupant.nick.jid != nick.jid);
        let id_of = self.occupant_id(&user);
        let visits = vec![Visit::new(client, presence)];
        let hats = self.wardrobe.of(&user);
        let occupant = Occupant { nick, user, role, affiliation, id: id_of.into(), hats, visits };
        Ok(Plan::of(Change::Enter { occupant, join, renamed, created: false, id }))
    }

    /// Whether a user may have a nickname (§7.2.8): nobody else has it, and it is not reserved for somebody else. Answers
    /// the occupant that the user is already under it.
    fn free(&self, nick: &Nick, user: &BareJid) -> Result<Option<(Number, &Occupant)>, StanzaError> {
        if self.affiliations.reserved(&nick.key).is_some_and(|owner| owner != user) {
            return Err(StanzaError::conflict().with_text("the nickname is somebody else's"));
        }
        let there = self.occupants.of_nick(&nick.key);
        if there.is_some_and(|(_, occupant)| occupant.user != *user) {
            return Err(StanzaError::conflict().with_text("somebody else has the nickname"));
        }
        if there.is_none() && !self.limits.look_alikes && self.looks_like_others(nick, user) {
            return Err(StanzaError::conflict().with_text("the nickname looks like somebody else's"));
        }
        Ok(there)
    }

    /// §13.6: whether a nickname would pass for one that somebody else has, or that is reserved for somebody else. Who has
    /// reserved it passes for nobody.
    pub(super) fn looks_like_others(&self, nick: &Nick, user: &BareJid) -> bool {
        if self.affiliations.reserved(&nick.key).is_some_and(|owner| owner == user) {
            return false;
        }
        self.affiliations.reserved_alike(&nick.looks).iter().any(|owner| owner != user)
            || self.occupants.of_looks(&nick.looks).any(|occupant| occupant.user != *user)
    }

    /// §7.2.9: owners and admins find place a little longer.
    fn has_place(&self, affiliation: Affiliation) -> Result<(), StanzaError> {
        let configured = self.config.max_users.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let mut places = configured.min(self.limits.occupants);
        if affiliation >= Affiliation::Admin {
            places = places.saturating_add(self.limits.reserve);
        }
        if self.occupants.len() >= places {
            return Err(StanzaError::service_unavailable().with_text("the room is full"));
        }
        Ok(())
    }

    fn admit_nick(
        &self,
        number: Number,
        occupant: &Occupant,
        nick: Nick,
        renamed: bool,
        visit: Visit,
        join: Option<(Join, Option<String>)>,
    ) -> Result<Plan, StanzaError> {
        let there = self.free(&nick, &occupant.user)?;
        if there.is_some_and(|(other, _)| other != number) {
            return Err(StanzaError::conflict().with_text("another client of yours has the nickname"));
        }
        self.check_shown(Some(occupant), &nick, &visit.jid, occupant.affiliation)?;
        let (client, presence) = (visit.jid.clone(), visit.presence.clone());
        let mut plan = Plan::of(Change::Rename { number, nick, renamed, visit });
        if let Some((join, id)) = join {
            // §7.2.1: it has lost its place, and will want to hear everything.
            plan.changes.push(Change::Resync { client, presence, join, id });
        }
        Ok(plan)
    }

    /// Whether there is such a room for somebody. §7.2.10: before it is configured there is none, but for its owner.
    ///
    /// # Errors
    /// `item-not-found` if there is none.
    pub fn check_open_to(&self, from: &Jid) -> Result<(), StanzaError> {
        match self.locked && self.affiliations.of(&from.to_bare()) != Affiliation::Owner {
            true => Err(StanzaError::item_not_found().with_text("the room is not open yet")),
            false => Ok(()),
        }
    }

    /// §7.2.18: whoever speaks as if it were in the room is told that it is not.
    fn out_of_sync(&self, input: Incoming<'_>) -> Delivery {
        let codes = [StatusCode::SELF, StatusCode::KICKED, StatusCode::TECHNICAL];
        let affiliation = self.affiliations.of(&input.from.to_bare());
        let item = Item { affiliation: Some(affiliation), role: Some(Role::None), ..Item::default() };
        let statuses = codes.map(Into::into).to_vec();
        let info = UserInfo { items: vec![item], statuses, ..UserInfo::default() };
        let stanza = announce::blank();
        let stanza = stanza.rewrite(ns::CLIENT).from(Some(input.to.as_str())).type_(Some("unavailable"));
        let stanza = stanza.append(&|out| info.write(out)).to_stanza();
        Delivery { from: input.to.clone(), to: input.from.clone().into(), stanza }
    }

    fn unavailable(&self, input: Incoming<'_>) -> Plan {
        // §16.3: who is not there cannot leave. To whatever nickname it goes, it means what it can only mean.
        if self.sender(input.from).is_none() {
            return Plan::default();
        }
        let presence = announce::plain(input.stanza);
        let presence = (presence.as_str().len() <= self.limits.presence_bytes).then_some(presence);
        Plan::of(Change::Leave { client: input.from.clone(), presence, code: None })
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn enter(
        &mut self,
        occupant: Occupant,
        join: &Join,
        renamed: bool,
        created: bool,
        id: Option<String>,
        now: DateTime,
        effects: &mut Effects,
    ) {
        let Some(client) = occupant.visits.first().map(|visit| visit.jid.clone()) else { return };
        let number = self.occupants.enter(occupant);
        let codes = [(renamed, StatusCode::NICK_ASSIGNED), (created, StatusCode::CREATED)];
        self.welcome(number, &client, codes, id, true, effects);
        self.catch_up(&client, join, now, effects);
    }

    pub(super) fn resync(
        &mut self,
        client: &Jid,
        presence: Stanza,
        join: &Join,
        id: Option<String>,
        now: DateTime,
        effects: &mut Effects,
    ) {
        let Some((number, differs)) = self.remember(client, presence) else { return };
        self.welcome(number, client, [(false, StatusCode::SELF); 2], id, differs, effects);
        self.catch_up(client, join, now, effects);
    }

    /// §7.1: first all others, then the client itself.
    fn welcome(
        &self,
        number: Number,
        client: &Jid,
        codes: [(bool, StatusCode); 2],
        id: Option<String>,
        tell_others: bool,
        effects: &mut Effects,
    ) {
        let Some(occupant) = self.occupants.get(number) else { return };
        let sees = self.sees_addresses(occupant.role);
        let itself = Recipients::from(client.clone());
        let others = self.portraits().filter(|(other, ..)| *other != number);
        effects.then.extend(others.map(|(_, of, news)| self.introduce(of, &news, itself.clone(), sees)));
        let mut news = News::of(occupant);
        let shown_to_others = tell_others && self.config.broadcast.has(occupant.role);
        if shown_to_others {
            self.tell(occupant, &news, self.others(occupant), &mut effects.then);
        }
        if tell_others {
            let rest = occupant.visits.iter().map(|visit| visit.jid.clone()).filter(|jid| jid != client);
            self.tell_own(occupant, &news, rest.collect(), &mut effects.then);
        }
        if self.config.whois == Whois::Anyone {
            news.own_codes.push(StatusCode::NON_ANONYMOUS);
        }
        if self.config.logging {
            news.own_codes.push(StatusCode::LOGGED);
        }
        news.own_codes.extend(codes.into_iter().filter_map(|(is, code)| is.then_some(code)));
        news.id = id;
        self.tell_own(occupant, &news, itself.clone(), &mut effects.then);
        if !self.avatar_hashes().is_empty() {
            effects.then.push(self.show_avatar(itself));
        }
    }

    /// History, then the subject (§7.2.13, §7.2.15).
    fn catch_up(&self, client: &Jid, join: &Join, now: DateTime, effects: &mut Effects) {
        for past in self.history.wanted(join.history.as_ref(), self.config.history, now) {
            let Some(from) = past.stanza.root().attr("from").and_then(|from| Jid::lenient(&from).ok()) else {
                continue;
            };
            effects.then.push(Delivery { from, to: client.clone().into(), stanza: past.stanza.clone() });
        }
        let room = Jid::from(self.jid.clone());
        let delivery = match &self.subject {
            Some(subject) => {
                let delay = Delay { from: Some(room.clone()), stamp: subject.at, reason: None };
                let stanza = subject.stanza.rewrite(ns::CLIENT).append(&|out| delay.write(out)).to_stanza();
                let from = subject.stanza.root().attr("from").and_then(|from| Jid::lenient(&from).ok());
                Delivery { from: from.unwrap_or(room), to: client.clone().into(), stanza }
            }
            None => {
                let mut out = Writer::new(ns::CLIENT);
                out.open("message", ns::CLIENT);
                out.attr("from", room.as_str());
                out.attr("type", "groupchat");
                out.text_element("subject", ns::CLIENT, "");
                out.close();
                Delivery { from: room, to: client.clone().into(), stanza: out.into_stanza() }
            }
        };
        effects.then.push(delivery);
    }

    /// Notes a client's presence, which is then the one that is shown; whether it is another than before.
    fn remember(&mut self, client: &Jid, presence: Stanza) -> Option<(Number, bool)> {
        let (number, _) = self.occupants.of_client(client)?;
        let differs = self.occupants.get(number)?.presence().map(Stanza::as_str) != Some(presence.as_str());
        self.occupants.show(number, Visit::new(client.clone(), presence));
        Some((number, differs))
    }

    pub(super) fn present(&mut self, client: &Jid, presence: Stanza, id: Option<String>, effects: &mut Effects) {
        let Some((number, _)) = self.remember(client, presence) else { return };
        let Some(occupant) = self.occupants.get(number) else { return };
        let news = News { id, ..News::of(occupant) };
        self.tell_all(occupant, &news, &mut effects.then);
    }

    /// §7.6: the old nickname goes, the new one comes.
    pub(super) fn rename(&mut self, number: Number, nick: Nick, renamed: bool, visit: Visit, effects: &mut Effects) {
        let Some(was) = self.occupants.get(number).cloned() else { return };
        let mut news = News::of(&was);
        news.presence = None;
        news.gone = true;
        news.item.nick = Some(nick.as_str().to_owned());
        news.codes.push(StatusCode::NICK_CHANGED);
        if renamed {
            news.own_codes.push(StatusCode::NICK_ASSIGNED);
        }
        self.tell_all(&was, &news, &mut effects.then);
        self.occupants.rename(number, nick);
        self.remember(&visit.jid.clone(), visit.presence);
        let Some(occupant) = self.occupants.get(number) else { return };
        let mut news = News::of(occupant);
        if renamed {
            news.own_codes.push(StatusCode::NICK_ASSIGNED);
        }
        self.tell_all(occupant, &news, &mut effects.then);
    }

    pub(super) fn leave(
        &mut self,
        client: &Jid,
        presence: Option<Stanza>,
        code: Option<StatusCode>,
        effects: &mut Effects,
    ) {
        let Some((number, was, last)) = self.occupants.leave(client) else { return };
        if last {
            self.remember_voice(&was);
        }
        let mut news = News::gone(&was, presence, code);
        if self.locked && self.occupants.is_empty() {
            // §10.1.3: nobody has configured it, and nobody will.
            news.destroy = Some(Destroyed::default());
        }
        self.tell_own(&was, &news, client.clone().into(), &mut effects.then);
        if last {
            if self.config.broadcast.has(was.role) {
                self.tell(&was, &news, self.others(&was), &mut effects.then);
            }
        } else if was.visits.last().is_some_and(|visit| visit.jid == *client) {
            // Another client's presence is the one to be seen now.
            if let Some(occupant) = self.occupants.get(number) {
                self.tell_all(occupant, &News::of(occupant), &mut effects.then);
            }
        }
        self.end_if_deserted();
    }

    /// §7.14: a room in which nobody is left ends unless it is to stay; one that was not configured ends in any case.
    pub(super) fn end_if_deserted(&mut self) {
        if self.occupants.is_empty() && (self.locked || !self.config.persistent) {
            self.ended = true;
        }
    }

    /// What an occupant's messages are marked with.
    pub(super) fn mark(&self, occupant: &Occupant) -> OccupantId {
        OccupantId { id: occupant.id.to_string() }
    }
}

/// What somebody who enters asks for. A number of messages that is too large is only large, and what makes no sense is as
/// if it were not there: nobody is kept out by that.
fn wish(x: ElementRef<'_>) -> Join {
    if let Ok(join) = Join::read(x) {
        return join;
    }
    let password = x.child("password", NS).map(|password| password.text().into_owned());
    let history = x.child("history", NS).map(|history| {
        let number = |name| {
            let text = history.attr(name)?;
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse().unwrap_or(u32::MAX))
        };
        HistoryRequest {
            maxchars: number("maxchars"),
            maxstanzas: number("maxstanzas"),
            seconds: number("seconds"),
            since: history.attr("since").and_then(|since| DateTime::from_text(&since).ok()),
        }
    });
    Join { history, password }
}
