//! Roles and affiliations: lists, and changes (§8, §9, §10.3 to §10.8).

use super::{
    Affiliated, Affiliations, Change, Delivery, Effects, Incoming, Kept, Nick, Number, Occupant, Plan, Recipients,
    Room,
    announce::{News, clients},
    occupants::looks_of,
};
use crate::{
    Affiliation, Role,
    config::Whois,
    initial_role, may_change_affiliation, may_change_role,
    payload::{Actor, AdminItem, AdminQuery, Invite, Item, StatusCode, UserInfo},
};
use std::collections::{BTreeMap, HashSet};
use xmpp_core::{
    jid::{BareJid, Jid, nickname},
    payload::Payload,
    stanza::{StanzaError, generate_id},
    xml::{Writer, ns},
};

impl Room {
    /// A list: of those with a role, or with an affiliation.
    ///
    /// # Errors
    /// `forbidden` for who may not see it, `bad-request` unless exactly one list is asked for.
    pub fn list(&self, from: &Jid, query: &AdminQuery) -> Result<AdminQuery, StanzaError> {
        self.check_open_to(from)?;
        let [item] = query.items.as_slice() else {
            return Err(StanzaError::bad_request().with_text("one list can be asked for at a time"));
        };
        let items = match (item.role, item.affiliation) {
            (Some(role), None) => self.list_of_role(from, role)?,
            (None, Some(affiliation)) => self.list_of_affiliation(from, affiliation)?,
            _ => return Err(StanzaError::bad_request().with_text("a list is of a role or of an affiliation")),
        };
        Ok(AdminQuery { items })
    }

    fn list_of_role(&self, from: &Jid, role: Role) -> Result<Vec<AdminItem>, StanzaError> {
        let (own, affiliation) = self.standing(from);
        // §9.8: the list of moderators is for admins; §8.5: that of those with voice for moderators.
        let may = affiliation >= Affiliation::Admin || (own == Role::Moderator && role < Role::Moderator);
        if !may || role == Role::None {
            return Err(StanzaError::forbidden());
        }
        let with = self.occupants.iter().filter(|(_, occupant)| occupant.role == role);
        let item = |(_, occupant): (Number, &Occupant)| AdminItem {
            affiliation: Some(occupant.affiliation),
            role: Some(role),
            nick: Some(occupant.nick.as_str().to_owned()),
            jid: occupant.visits.last().map(|visit| visit.jid.clone()),
            ..AdminItem::default()
        };
        Ok(with.map(item).collect())
    }

    /// Whether somebody of this role and affiliation may see a list.
    fn may_see(&self, (role, own): (Role, Affiliation), affiliation: Affiliation) -> bool {
        let open = self.config.whois == Whois::Anyone;
        let may = own >= Affiliation::Admin
            || match affiliation {
                // §9.5: members may see who they are where all see all; A074: nobody else may.
                Affiliation::Member => {
                    let knows = own == Affiliation::Member || (self.config.members_only && role > Role::None);
                    open && knows && self.config.member_list.has(role.max(Role::Participant))
                }
                Affiliation::Admin | Affiliation::Owner => open && own >= Affiliation::Member,
                Affiliation::Outcast | Affiliation::None => false,
            };
        // §10.5, §10.8: where not all see addresses, owners alone see who owns and administers the room.
        may && (open || own == Affiliation::Owner || affiliation < Affiliation::Admin)
    }

    fn list_of_affiliation(&self, from: &Jid, affiliation: Affiliation) -> Result<Vec<AdminItem>, StanzaError> {
        let (role, own) = self.standing(from);
        if affiliation == Affiliation::None || !self.may_see((role, own), affiliation) {
            return Err(StanzaError::forbidden());
        }
        let entries = self.affiliations.iter().filter(|(_, entry)| entry.affiliation == affiliation);
        let item = |(user, entry): (&BareJid, &Affiliated)| AdminItem {
            affiliation: Some(affiliation),
            jid: Some(user.clone().into()),
            nick: entry.nick.clone(),
            reason: entry.reason.clone().filter(|_| own >= Affiliation::Admin),
            ..AdminItem::default()
        };
        Ok(entries.map(item).collect())
    }

    /// Judges changes of roles or affiliations: all of them, or none (§9.2).
    ///
    /// # Errors
    /// Those of §8.2 to §10.8.
    pub fn administer(&self, input: Incoming<'_>, query: &AdminQuery) -> Result<Plan, StanzaError> {
        self.check_open_to(input.from)?;
        if query.items.is_empty() {
            return Err(StanzaError::bad_request().with_text("nothing is to be changed"));
        }
        if query.items.len() > self.limits.items {
            return Err(StanzaError::resource_constraint().with_text("too many changes at once"));
        }
        let mut plan = Plan::default();
        let mut affiliations = BTreeMap::new();
        for item in &query.items {
            self.check_reason(item.reason.as_deref())?;
            match (item.role, item.affiliation) {
                (Some(role), None) => {
                    let (whose, change) = self.judge_role(input.from, item, role)?;
                    // Of several the last counts: nobody is a moderator for a moment, and sees who all are.
                    plan.changes.retain(|change| !matches!(change, Change::Role { number, .. } if *number == whose));
                    plan.changes.push(change);
                }
                (None, Some(affiliation)) => {
                    let (user, entry) = self.judge_affiliation(input.from, item, affiliation)?;
                    affiliations.insert(user, entry);
                }
                // §16.4.
                _ => return Err(StanzaError::bad_request().with_text("either a role or an affiliation changes")),
            }
        }
        self.plan_affiliations(affiliations, self.actor(input.from), &mut plan)?;
        Ok(plan)
    }

    fn judge_role(&self, from: &Jid, item: &AdminItem, role: Role) -> Result<(Number, Change), StanzaError> {
        let actor = self.standing(from);
        if actor.0 < Role::Moderator && actor.1 < Affiliation::Admin {
            return Err(StanzaError::forbidden());
        }
        let nobody = || StanzaError::item_not_found().with_text("nobody here has this nickname");
        let nick = item.nick.as_deref().ok_or_else(|| StanzaError::bad_request().with_text("whose role?"))?;
        let key = nickname::comparison_key(nick).ok_or_else(nobody)?;
        let (number, target) = self.occupants.of_nick(&key).ok_or_else(nobody)?;
        // §8.2: whoever kicks themselves has left.
        if role != Role::None || target.visit(from).is_none() {
            may_change_role(actor, (target.role, target.affiliation), role)?;
        }
        Ok((number, Change::Role { number, role, actor: self.actor(from), reason: item.reason.clone() }))
    }

    /// Whose affiliation an item is about: by address, or by the nickname of an occupant.
    fn meant(&self, item: &AdminItem) -> Result<BareJid, StanzaError> {
        if let Some(jid) = &item.jid {
            return Ok(jid.to_bare());
        }
        let nick = item.nick.as_deref().ok_or_else(|| StanzaError::bad_request().with_text("whose affiliation?"))?;
        let there = nickname::comparison_key(nick).and_then(|key| self.occupants.of_nick(&key));
        let nobody = || StanzaError::item_not_found().with_text("nobody here has this nickname");
        Ok(there.ok_or_else(nobody)?.1.user.clone())
    }

    fn judge_affiliation(
        &self,
        from: &Jid,
        item: &AdminItem,
        affiliation: Affiliation,
    ) -> Result<(BareJid, Affiliated), StanzaError> {
        let (_, own) = self.standing(from);
        if own < Affiliation::Admin {
            return Err(StanzaError::forbidden());
        }
        let user = self.meant(item)?;
        let is_self = user.as_str() == from.bare_str();
        // §9.1: nobody bans themselves, nor their own domain.
        if affiliation == Affiliation::Outcast && Affiliations::covers(&user, from) {
            return Err(StanzaError::conflict().with_text("you cannot ban yourself"));
        }
        if user.local().is_none() && affiliation > Affiliation::None {
            return Err(StanzaError::not_acceptable().with_text("a domain can be banned and nothing else"));
        }
        let entry = self.affiliations.entry(&user);
        let had = entry.map_or(Affiliation::None, |entry| entry.affiliation);
        // Everybody may step down.
        if !(is_self && affiliation <= had && affiliation >= Affiliation::None) {
            may_change_affiliation(own, had, affiliation)?;
        }
        let kept = entry.and_then(|entry| entry.nick.clone());
        let nick = match item.nick.as_deref().filter(|_| item.jid.is_some()) {
            None => kept,
            Some("") => None,
            Some(nick) => Some(self.reservable(nick, &user)?),
        };
        // §9.1: who is banned, or not affiliated, has no nickname.
        let nick = nick.filter(|_| affiliation > Affiliation::None);
        Ok((user, Affiliated { affiliation, nick, reason: item.reason.clone() }))
    }

    /// What can be a nickname, whoever has it, and as it is shown.
    pub(super) fn as_nick(&self, nick: &str) -> Result<(Nick, String), StanzaError> {
        let bad = || StanzaError::not_acceptable().with_text("this cannot be a nickname");
        let shown = nickname::enforce(nick).ok_or_else(bad)?;
        let address = self.jid.with_resource(&shown).map_err(|_| bad())?;
        let (nick, _) = Nick::of(&address.into()).ok_or_else(bad)?;
        Ok((nick, shown))
    }

    /// A nickname that can be reserved for a user (§9.5, §7.10).
    pub(super) fn reservable(&self, nick: &str, user: &BareJid) -> Result<String, StanzaError> {
        let (nick, shown) = self.as_nick(nick)?;
        let taken = self.affiliations.reserved(&nick.key).is_some_and(|owner| owner != user)
            || self.occupants.of_nick(&nick.key).is_some_and(|(_, occupant)| occupant.user != *user);
        if taken {
            return Err(StanzaError::conflict().with_text("the nickname is somebody else's"));
        }
        if !self.limits.look_alikes && self.looks_like_others(&nick, user) {
            return Err(StanzaError::conflict().with_text("the nickname looks like somebody else's"));
        }
        Ok(shown)
    }

    /// Adds changes of affiliation to a plan, if the room has an owner afterwards and is not too full.
    pub(super) fn plan_affiliations(
        &self,
        changes: BTreeMap<BareJid, Affiliated>,
        actor: Option<Actor>,
        plan: &mut Plan,
    ) -> Result<(), StanzaError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut keys = HashSet::new();
        let same = |key: String| if self.limits.look_alikes { key.into() } else { looks_of(&key.into()) };
        let nicks = changes.values().filter_map(|entry| nickname::comparison_key(entry.nick.as_deref()?).map(same));
        if !nicks.into_iter().all(|key| keys.insert(key)) {
            return Err(StanzaError::conflict().with_text("a nickname is for one"));
        }
        let stays = |user: &&BareJid| changes.get(*user).is_none_or(|entry| entry.affiliation == Affiliation::Owner);
        let has_owner = self.affiliations.with(Affiliation::Owner).any(|user| stays(&user))
            || changes.values().any(|entry| entry.affiliation == Affiliation::Owner);
        if !has_owner {
            return Err(StanzaError::conflict().with_text("the room would have no owner"));
        }
        let more = changes
            .iter()
            .filter(|(user, entry)| entry.affiliation != Affiliation::None && self.affiliations.entry(user).is_none());
        if self.affiliations.len().saturating_add(more.count()) > self.limits.affiliated {
            return Err(StanzaError::resource_constraint().with_text("too many are affiliated with the room"));
        }
        let nothing = Affiliated::default();
        let differs =
            |(user, entry): &(BareJid, Affiliated)| self.affiliations.entry(user).unwrap_or(&nothing) != entry;
        let changes: Vec<_> = changes.into_iter().filter(differs).collect();
        if changes.len() > self.limits.items {
            return Err(StanzaError::resource_constraint().with_text("too many changes at once"));
        }
        for (user, entry) in changes {
            plan.kept.push(Kept::Affiliation(user.clone(), entry.clone()));
            plan.changes.push(Change::Affiliation { user, entry, actor: actor.clone(), invite: true });
        }
        Ok(())
    }

    pub(super) fn set_role(
        &mut self,
        number: Number,
        role: Role,
        actor: Option<Actor>,
        reason: Option<String>,
        effects: &mut Effects,
    ) {
        if role == Role::None {
            self.remove(&[number], StatusCode::KICKED, actor, reason, effects);
            return;
        }
        let Some(was) = self.occupants.set_role(number, role) else { return };
        self.tell_change(number, was, News::of, actor, reason, effects);
    }

    /// Gives all of these a role at once.
    pub(super) fn set_roles(&mut self, numbers: &[Number], role: Role, effects: &mut Effects) {
        let brief = self.is_too_much(numbers.iter().filter_map(|number| self.occupants.get(*number)));
        let news = if brief { News::brief } else { News::of };
        for number in numbers {
            if let Some(was) = self.occupants.set_role(*number, role) {
                self.tell_change(*number, was, news, None, None, effects);
            }
        }
    }

    /// What has changed about an occupant. Whose presence is no longer shown is gone, as far as others can see.
    fn tell_change(
        &self,
        number: Number,
        was: Role,
        news: fn(&Occupant) -> News,
        actor: Option<Actor>,
        reason: Option<String>,
        effects: &mut Effects,
    ) {
        let Some(occupant) = self.occupants.get(number) else { return };
        let mut news = news(occupant);
        (news.item.actor, news.item.reason) = (actor, reason);
        let (shown, shows) = (self.config.broadcast.has(was), self.config.broadcast.has(occupant.role));
        if shown && !shows {
            self.tell(occupant, &News::gone(occupant, None, None), self.others(occupant), &mut effects.then);
        }
        self.tell_all(occupant, &news, &mut effects.then);
        if self.config.whois == Whois::Moderators && was < Role::Moderator && occupant.role == Role::Moderator {
            effects.promoted.push(number);
        }
    }

    /// Takes occupants out of the room, who are told first (§8.2, §9.1). Those who stay are told when all are out.
    pub(super) fn remove(
        &mut self,
        numbers: &[Number],
        code: StatusCode,
        actor: Option<Actor>,
        reason: Option<String>,
        effects: &mut Effects,
    ) {
        if numbers.is_empty() {
            return;
        }
        let gone: Vec<Occupant> = numbers.iter().filter_map(|number| self.occupants.remove(*number)).collect();
        for was in &gone {
            match code == StatusCode::KICKED && was.role > Role::Visitor {
                // What was given by role is gone.
                true => self.voices.forget(&was.user),
                false => self.remember_voice(was),
            }
            let mut news = News::gone(was, None, Some(code));
            (news.item.actor, news.item.reason) = (actor.clone(), reason.clone());
            self.tell_own(was, &news, clients(was), &mut effects.first);
            if self.config.broadcast.has(was.role) {
                self.tell(was, &news, self.others(was), &mut effects.then);
            }
        }
        self.end_if_deserted();
    }

    pub(super) fn set_affiliation(
        &mut self,
        user: BareJid,
        entry: Affiliated,
        actor: Option<Actor>,
        invite: bool,
        effects: &mut Effects,
    ) {
        let was = self.affiliations.of(&user);
        let (affiliation, reason) = (entry.affiliation, entry.reason.clone());
        self.affiliations.set(user.clone(), entry);
        if affiliation != was {
            // What was given by role is given anew.
            self.voices.forget(&user);
        }
        let affected: Vec<Number> = self
            .occupants
            .iter()
            .filter(|(_, occupant)| {
                occupant.user == user || (user.local().is_none() && occupant.user.domain() == user.domain())
            })
            .map(|(number, _)| number)
            .collect();
        if affected.is_empty() && affiliation != was && affiliation.max(was) >= Affiliation::Admin {
            effects.then.extend(self.absent(&user, was, affiliation));
        }
        if affected.is_empty() && invite && self.config.members_only && was == Affiliation::None {
            if affiliation >= Affiliation::Member {
                effects.then.push(self.invitation(&user, reason));
            }
            return;
        }
        let mut out = Vec::new();
        for number in affected {
            if !self.reclassify(number, actor.as_ref(), reason.as_ref(), effects) {
                out.push(number);
            }
        }
        // Who is struck off the list may be banned with a domain.
        let code = match self.affiliations.of(&user) {
            Affiliation::Outcast => StatusCode::BANNED,
            _ => StatusCode::AFFILIATION_LOST,
        };
        self.remove(&out, code, actor, reason, effects);
    }

    /// What is said of somebody who is not in the room, and now or until now owns or administers it (§10.3, §10.6, §10.7): to
    /// those who may see the lists that it changes.
    fn absent(&self, user: &BareJid, was: Affiliation, is: Affiliation) -> Option<Delivery> {
        let sees = |affiliation, one: &Occupant| {
            affiliation == Affiliation::None || self.may_see((one.role, one.affiliation), affiliation)
        };
        let audience = self.occupants.iter().filter(|(_, one)| sees(was, one) && sees(is, one));
        let to: Recipients = audience.flat_map(|(_, one)| &one.visits).map(|visit| visit.jid.clone()).collect();
        if to.is_empty() {
            return None;
        }
        let item =
            Item { affiliation: Some(is), jid: Some(user.clone().into()), role: Some(Role::None), ..Item::default() };
        let info = UserInfo { items: vec![item], ..UserInfo::default() };
        let mut out = Writer::new(ns::CLIENT);
        out.open("message", ns::CLIENT);
        out.attr("from", self.jid.as_str());
        out.attr("id", &generate_id());
        info.write(&mut out);
        out.close();
        Some(Delivery { from: self.jid.clone().into(), to, stanza: out.into_stanza() })
    }

    /// Makes role and presence of an occupant those of its affiliation; whether it may stay.
    fn reclassify(
        &mut self,
        number: Number,
        actor: Option<&Actor>,
        reason: Option<&String>,
        effects: &mut Effects,
    ) -> bool {
        let Some(occupant) = self.occupants.get(number) else { return true };
        let (was, had) = (occupant.role, occupant.affiliation);
        let now = self.affiliations.of(&occupant.user);
        if now == had {
            return true;
        }
        let initial = initial_role(now, self.config.moderated, self.config.members_only);
        // §5.1.3: what is gained with an affiliation is; whoever loses one keeps no more than the new one gives.
        let role = initial.map_or(was, |initial| if now > had { was.max(initial) } else { was.min(initial) });
        if let Some(occupant) = self.occupants.get_mut(number) {
            occupant.affiliation = now;
        }
        self.occupants.set_role(number, role);
        if initial.is_some() {
            self.tell_change(number, was, News::of, actor.cloned(), reason.cloned(), effects);
        }
        initial.is_some()
    }

    /// After the configuration has changed: whoever may no longer be here goes (status 322).
    pub(super) fn expel_strangers(&mut self, effects: &mut Effects) {
        if !self.config.members_only {
            return;
        }
        let strangers = self.occupants.iter().filter(|(_, occupant)| occupant.affiliation < Affiliation::Member);
        let strangers: Vec<Number> = strangers.map(|(number, _)| number).collect();
        self.remove(&strangers, StatusCode::MEMBERS_ONLY, None, None, effects);
    }

    /// An invitation by the room itself, to who has become a member (§9.5).
    fn invitation(&self, user: &BareJid, reason: Option<String>) -> Delivery {
        let invite = Invite { from: Some(self.jid.clone().into()), reason, ..Invite::default() };
        let info = UserInfo { invites: vec![invite], password: self.config.password.clone(), ..UserInfo::default() };
        let mut out = Writer::new(ns::CLIENT);
        out.open("message", ns::CLIENT);
        out.attr("from", self.jid.as_str());
        out.attr("id", &generate_id());
        info.write(&mut out);
        out.close();
        Delivery { from: self.jid.clone().into(), to: Jid::from(user.clone()).into(), stanza: out.into_stanza() }
    }
}
