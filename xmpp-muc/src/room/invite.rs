//! What is asked of a room by message, and registration: invitations, voice, membership (§7.8, §7.10, §7.13, §8.6, §9.9).

use super::{Affiliated, Change, Delivery, Effects, Incoming, Kept, Nick, Plan, Recipients, Room};
use crate::{
    Affiliation, Role, USER,
    payload::{Decline, Invite, UserInfo},
};
use std::collections::BTreeMap;
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::{
        DateTime, Payload,
        form::{DataForm, Field, FieldType, FormKind},
    },
    stanza::{StanzaError, generate_id},
    xml::{Stanza, Writer, ns},
};

/// The type of the form by which voice is asked for and given.
pub const VOICE: &str = "http://jabber.org/protocol/muc#request";
/// The type of the form by which people register with a room.
pub const REGISTER: &str = "http://jabber.org/protocol/muc#register";

/// How long whoever has asked for voice or membership waits until it may ask again, in seconds.
const PETITION_SECONDS: i64 = 60;
/// How many who have asked are remembered.
const PETITIONS: usize = 100;

/// What a room answers who wants to register.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Registration {
    /// That it is so already, under this nickname.
    Registered(String),
    /// The form to be filled in.
    Form(DataForm),
}

impl Room {
    /// Judges a message to the room that is not said to all.
    pub(super) fn asked(&self, input: Incoming<'_>) -> Result<Plan, StanzaError> {
        let root = input.stanza.root();
        let bad = |error: xmpp_core::payload::PayloadError| StanzaError::bad_request().with_text(error.to_string());
        if let Some(info) = root.child("x", USER) {
            let info = UserInfo::read(info).map_err(bad)?;
            if let Some(decline) = &info.decline {
                return self.declined(input, decline);
            }
            if !info.invites.is_empty() {
                return self.invited(input, &info);
            }
        }
        if let Some(form) = root.children().find(|child| DataForm::matches(*child)) {
            let form = DataForm::read(form).map_err(bad)?;
            match form.form_type() {
                Some(VOICE) => return self.voice(input, &form),
                Some(REGISTER) => return self.approved(input, &form),
                _ => {}
            }
        }
        self.speaker(input.from)?;
        Err(StanzaError::bad_request().with_text("what is said to all is of type groupchat"))
    }

    /// §7.8.2. Into a room for members only admins may invite, or members if it is so configured; that makes members.
    fn invited(&self, input: Incoming<'_>, info: &UserInfo) -> Result<Plan, StanzaError> {
        let absent = || StanzaError::not_acceptable().with_text("you are not in the room");
        let (_, occupant) = self.sender(input.from).ok_or_else(absent)?;
        let closed = self.config.members_only;
        let may_add = occupant.affiliation >= Affiliation::Admin
            || (self.config.members_invite && occupant.affiliation >= Affiliation::Member);
        if (closed && !may_add) || occupant.role < Role::Visitor {
            return Err(StanzaError::forbidden().with_text("you may not invite people into this room"));
        }
        if info.invites.len() > self.limits.invitations {
            return Err(StanzaError::resource_constraint().with_text("too many invitations at once"));
        }
        let mut plan = Plan::default();
        let mut members = BTreeMap::new();
        for invite in &info.invites {
            let to = invite.to.as_ref().ok_or_else(|| StanzaError::bad_request().with_text("who is invited?"))?;
            self.check_reason(invite.reason.as_deref())?;
            let user = to.to_bare();
            // Occupants and rooms are not invited: the one have no address here, the other do not come.
            if user.local().is_none() || user.domain() == self.jid.domain() {
                return Err(StanzaError::item_not_found().with_text("only users are invited"));
            }
            if self.affiliations.of(&user) == Affiliation::Outcast {
                return Err(StanzaError::not_allowed().with_text("who is banned is not invited"));
            }
            if closed && self.affiliations.of(&user) == Affiliation::None {
                let affiliation = Affiliation::Member;
                members.insert(user.clone(), Affiliated { affiliation, ..Affiliated::default() });
            }
            let shown = Invite {
                // As those in the room know the inviter.
                from: Some(match self.config.whois {
                    crate::config::Whois::Anyone => input.from.to_bare().into(),
                    crate::config::Whois::Moderators => occupant.nick.jid.clone(),
                }),
                to: None,
                reason: invite.reason.clone(),
                continues: invite.continues.clone(),
            };
            let info = UserInfo { invites: vec![shown], password: self.config.password.clone(), ..UserInfo::default() };
            let stanza = self.letter(None, |out| info.write(out));
            let delivery = Delivery { from: self.jid.clone().into(), to: to.clone().into(), stanza };
            plan.changes.push(Change::Invite { invited: user, by: occupant.user.clone(), delivery });
        }
        let mut added = Plan::default();
        self.plan_affiliations(members, self.actor(input.from), &mut added)?;
        for change in &mut added.changes {
            if let Change::Affiliation { invite, .. } = change {
                // They are invited as it is.
                *invite = false;
            }
        }
        added.changes.append(&mut plan.changes);
        Ok(added)
    }

    /// §7.8.2: back to whoever invited, an occupant or not.
    fn declined(&self, input: Incoming<'_>, decline: &Decline) -> Result<Plan, StanzaError> {
        let to = decline.to.as_ref().ok_or_else(|| StanzaError::bad_request().with_text("who had invited?"))?;
        self.check_reason(decline.reason.as_deref())?;
        let nobody = || StanzaError::item_not_found().with_text("nobody here has invited you");
        let by = match to.bare_str() == self.jid.as_str() {
            true => self.addressee(to).map_err(|_| nobody())?.user.clone(),
            false => to.to_bare(),
        };
        // Not a way to write to somebody in the name of the room, nor to learn who is in it.
        let invited = input.from.to_bare();
        if !self.invitations.iter().any(|(other, inviter)| *other == invited && *inviter == by) {
            return Err(nobody());
        }
        let there = self.occupants.of_user(&by).flat_map(|(_, occupant)| &occupant.visits);
        let to: Recipients = there.map(|visit| visit.jid.clone()).collect();
        if to.is_empty() {
            return Err(nobody());
        }
        let from = Some(input.from.to_bare().into());
        let info = UserInfo {
            decline: Some(Decline { from, to: None, reason: decline.reason.clone() }),
            ..UserInfo::default()
        };
        let stanza = self.letter(None, |out| info.write(out));
        let delivery = Delivery { from: self.jid.clone().into(), to, stanza };
        Ok(Plan::of(Change::Decline { invited, by, delivery }))
    }

    pub(super) fn invite(&mut self, invited: BareJid, by: BareJid, delivery: Delivery, effects: &mut Effects) {
        self.invitations.retain(|(other, inviter)| (other, inviter) != (&invited, &by));
        self.invitations.push_back((invited, by));
        while self.invitations.len() > self.limits.invitations.saturating_mul(10) {
            self.invitations.pop_front();
        }
        effects.then.push(delivery);
    }

    /// §7.13 and §8.6: a visitor asks for voice, a moderator gives it.
    fn voice(&self, input: Incoming<'_>, form: &DataForm) -> Result<Plan, StanzaError> {
        let absent = || StanzaError::not_acceptable().with_text("you are not in the room");
        let (_, occupant) = self.sender(input.from).ok_or_else(absent)?;
        if form.type_ != FormKind::Submit {
            return Err(StanzaError::bad_request().with_text("no form was submitted"));
        }
        if let Some(allow) = form.get::<bool>("muc#request_allow") {
            if occupant.role < Role::Moderator {
                return Err(StanzaError::forbidden());
            }
            if !allow.map_err(|error| StanzaError::bad_request().with_text(error.to_string()))? {
                return Ok(Plan::default());
            }
            let nick = form.value("muc#roomnick").ok_or_else(StanzaError::bad_request)?;
            let nobody = || StanzaError::item_not_found().with_text("nobody here has this nickname");
            let to = self.jid.with_resource(nick).map_err(|_| nobody())?.into();
            let (nick, _) = Nick::of(&to).ok_or_else(nobody)?;
            let (number, target) = self.occupants.of_nick(&nick.key).ok_or_else(nobody)?;
            // Who has the nickname by now may be somebody else than who had asked.
            if form.value("muc#jid").is_some_and(|jid| {
                BareJid::new(jid.split('/').next().unwrap_or(jid)).ok().as_ref() != Some(&target.user)
            }) {
                return Err(nobody());
            }
            if target.role >= Role::Participant {
                return Ok(Plan::default());
            }
            let role = Role::Participant;
            return Ok(Plan::of(Change::Role { number, role, actor: self.actor(input.from), reason: None }));
        }
        if form.value("muc#role") != Some("participant") {
            return Err(StanzaError::bad_request().with_text("voice is asked for by the role of a participant"));
        }
        if occupant.role >= Role::Participant {
            return Ok(Plan::default());
        }
        let moderators = self.occupants.iter().filter(|(_, other)| other.role == Role::Moderator);
        let to: Recipients = moderators.flat_map(|(_, other)| &other.visits).map(|visit| visit.jid.clone()).collect();
        if to.is_empty() {
            return Err(StanzaError::recipient_unavailable().with_text("no moderator is in the room"));
        }
        let mut request = DataForm::typed(FormKind::Form, VOICE);
        request.title = Some("Somebody asks for voice".to_owned());
        let request = request
            .with(Field::new("muc#role").typed(FieldType::ListSingle).label("Role").value("participant"))
            .with(Field::new("muc#jid").typed(FieldType::JidSingle).label("Address").value(input.from.as_str()))
            .with(
                Field::new("muc#roomnick").typed(FieldType::TextSingle).label("Nickname").value(occupant.nick.as_str()),
            )
            .with(Field::new("muc#request_allow").typed(FieldType::Boolean).label("Give voice").value("false"));
        let stanza = self.letter(None, |out| request.write(out));
        Ok(self.petitioned(&occupant.user, Delivery { from: self.jid.clone().into(), to, stanza }, input.now))
    }

    /// The form by which somebody registers, or the nickname under which somebody has (§7.10).
    ///
    /// # Errors
    /// `not-allowed` where people do not register by themselves, and for who is banned.
    pub fn registration(&self, from: &Jid) -> Result<Registration, StanzaError> {
        let user = from.to_bare();
        self.check_open_to(from)?;
        match self.affiliations.of(&user) {
            Affiliation::Outcast => Err(StanzaError::not_allowed()),
            Affiliation::None if !self.config.registration => Err(StanzaError::not_allowed()),
            Affiliation::None => Ok(Registration::Form(registration_form())),
            _ => match self.affiliations.nick(&user) {
                Some(nick) => Ok(Registration::Registered(nick.to_owned())),
                None => Ok(Registration::Form(registration_form())),
            },
        }
    }

    /// Judges a submitted registration. In a room for members, and in a moderated one, admins are asked (§9.9).
    ///
    /// # Errors
    /// `conflict` for a nickname that is somebody else's, `bad-request` without the form, `not-allowed` as above.
    pub fn register(&self, input: Incoming<'_>, form: &DataForm) -> Result<Plan, StanzaError> {
        let _ = self.registration(input.from)?;
        if form.type_ != FormKind::Submit || form.form_type().is_some_and(|kind| kind != REGISTER) {
            return Err(StanzaError::bad_request().with_text("another form was asked for"));
        }
        let user = input.from.to_bare();
        let nick = form.value("muc#register_roomnick").filter(|nick| !nick.is_empty());
        let nick = nick.ok_or_else(|| StanzaError::not_acceptable().with_text("a nickname is missing"))?;
        let affiliation = self.affiliations.of(&user);
        // In a moderated room membership is voice, which one does not take for oneself; in one with a password it opens
        // the archive to who may not know the password.
        let knows = self.config.password.is_none() || self.sender(input.from).is_some();
        let decided = self.config.members_only || self.config.moderated || !knows;
        let is_stranger = affiliation == Affiliation::None;
        if is_stranger && (self.config.members_only || !knows) && self.sender(input.from).is_none() {
            // Who may not see who is in the room does not learn it by asking for one nickname after another.
            return self.ask_admins(input, &user, &self.as_nick(nick)?.1);
        }
        let nick = self.reservable(nick, &user)?;
        if decided && is_stranger {
            return self.ask_admins(input, &user, &nick);
        }
        // Whoever registers does not take the place of whom admins have to ban.
        let places = self.limits.affiliated.saturating_sub(self.limits.affiliated / 4);
        if affiliation == Affiliation::None && self.affiliations.len() >= places {
            return Err(StanzaError::resource_constraint().with_text("too many are registered with the room"));
        }
        let entry = Affiliated { affiliation: affiliation.max(Affiliation::Member), nick: Some(nick), reason: None };
        let mut plan = Plan::default();
        self.plan_affiliations(BTreeMap::from([(user, entry)]), None, &mut plan)?;
        Ok(plan)
    }

    /// Judges the end of a registration: the nickname is free again, and a member is none any more.
    ///
    /// # Errors
    /// `registration-required` for who has none.
    pub fn unregister(&self, input: Incoming<'_>) -> Result<Plan, StanzaError> {
        self.check_open_to(input.from)?;
        let user = input.from.to_bare();
        let affiliation = self.affiliations.of(&user);
        if affiliation <= Affiliation::None {
            return Err(StanzaError::registration_required());
        }
        let affiliation = if affiliation == Affiliation::Member { Affiliation::None } else { affiliation };
        let entry = Affiliated { affiliation, ..Affiliated::default() };
        let mut plan = Plan::default();
        self.plan_affiliations(BTreeMap::from([(user, entry)]), None, &mut plan)?;
        Ok(plan)
    }

    fn ask_admins(&self, input: Incoming<'_>, user: &BareJid, nick: &str) -> Result<Plan, StanzaError> {
        let admins = self.occupants.iter().filter(|(_, other)| other.affiliation >= Affiliation::Admin);
        let to: Recipients = admins.flat_map(|(_, other)| &other.visits).map(|visit| visit.jid.clone()).collect();
        if to.is_empty() {
            return Err(StanzaError::recipient_unavailable().with_text("nobody is in the room who could decide"));
        }
        let mut request = DataForm::typed(FormKind::Form, REGISTER);
        request.title = Some("Somebody asks to become a member".to_owned());
        let request = request
            .with(Field::new("muc#register_jid").typed(FieldType::JidSingle).label("Address").value(user.as_str()))
            .with(Field::new("muc#register_roomnick").typed(FieldType::TextSingle).label("Nickname").value(nick))
            .with(Field::new("muc#register_allow").typed(FieldType::Boolean).label("Accept").value("false"));
        let stanza = self.letter(None, |out| request.write(out));
        Ok(self.petitioned(user, Delivery { from: self.jid.clone().into(), to, stanza }, input.now))
    }

    /// Whoever has asked a moment ago need not ask again: those who are to decide are not to be worn down.
    fn petitioned(&self, user: &BareJid, delivery: Delivery, now: DateTime) -> Plan {
        let since = |at: &DateTime| now.unix_seconds().saturating_sub(at.unix_seconds());
        match self.petitions.iter().any(|(other, at)| other == user && since(at) < PETITION_SECONDS) {
            true => Plan::default(),
            false => Plan::of(Change::Petition { user: user.clone(), delivery }),
        }
    }

    pub(super) fn petition(&mut self, user: BareJid, delivery: Delivery, now: DateTime, effects: &mut Effects) {
        self.petitions.retain(|(other, _)| *other != user);
        self.petitions.push_back((user, now));
        while self.petitions.len() > PETITIONS {
            self.petitions.pop_front();
        }
        effects.then.push(delivery);
    }

    /// §9.9: an admin has decided about a registration.
    fn approved(&self, input: Incoming<'_>, form: &DataForm) -> Result<Plan, StanzaError> {
        if self.standing(input.from).1 < Affiliation::Admin {
            return Err(StanzaError::forbidden());
        }
        let bad = |text: &str| StanzaError::bad_request().with_text(text);
        if form.type_ != FormKind::Submit {
            return Err(bad("no form was submitted"));
        }
        let allow =
            form.get::<bool>("muc#register_allow").and_then(Result::ok).ok_or_else(|| bad("accepted or not?"))?;
        let user = form.value("muc#register_jid").and_then(|jid| BareJid::new(jid).ok()).ok_or_else(|| bad("who?"))?;
        if !allow || user.local().is_none() || self.affiliations.of(&user) != Affiliation::None {
            return Ok(Plan::default());
        }
        let nick = form.value("muc#register_roomnick").filter(|nick| !nick.is_empty());
        let nick = nick.map(|nick| self.reservable(nick, &user)).transpose()?;
        let entry = Affiliated { affiliation: Affiliation::Member, nick, reason: None };
        let mut plan = Plan::default();
        self.plan_affiliations(BTreeMap::from([(user, entry)]), self.actor(input.from), &mut plan)?;
        debug_assert!(plan.kept.iter().all(|kept| matches!(kept, Kept::Affiliation(..))));
        Ok(plan)
    }

    /// A message from the room.
    fn letter(&self, type_: Option<&str>, content: impl FnOnce(&mut Writer)) -> Stanza {
        let mut out = Writer::new(ns::CLIENT);
        out.open("message", ns::CLIENT);
        out.attr("from", self.jid.as_str());
        out.attr_opt("type", type_);
        out.attr("id", &generate_id());
        content(&mut out);
        out.close();
        out.into_stanza()
    }
}

fn registration_form() -> DataForm {
    let mut form = DataForm::typed(FormKind::Form, REGISTER);
    form.title = Some("Registration with the room".to_owned());
    let nick = Field::new("muc#register_roomnick").typed(FieldType::TextSingle).label("Nickname").required();
    form.with(nick)
}
