//! Configuration, and the end of a room (§10.1, §10.2, §10.9).

use super::{
    Affiliated, Change, Delivery, Effects, Incoming, Kept, Occupant, Plan, Room,
    announce::{News, clients},
};
use crate::{
    Affiliation, Broadcast, Role, RoomConfig,
    config::{Submitted, Whois},
    initial_role,
    payload::{Destroy, Destroyed, Item, OwnerQuery, StatusCode},
};
use std::collections::{BTreeMap, HashSet};
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::form::FormKind,
    stanza::StanzaError,
};

/// How a room ends.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// The room that takes its place.
    pub alternate: Option<Jid>,
    /// The password of that.
    pub password: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Whether the service stops (status 332), and the room goes on when it is back.
    pub shutdown: bool,
}

impl Room {
    /// The form with the configuration (§10.2).
    ///
    /// # Errors
    /// `forbidden` for who does not own the room.
    pub fn configuration(&self, from: &Jid) -> Result<OwnerQuery, StanzaError> {
        self.check_owner(from)?;
        let list = |affiliation| self.affiliations.with(affiliation).cloned().collect::<Vec<_>>();
        let form = self.config.form(&list(Affiliation::Owner), &list(Affiliation::Admin));
        Ok(OwnerQuery { form: Some(form), destroy: None })
    }

    pub(super) fn check_owner(&self, from: &Jid) -> Result<(), StanzaError> {
        self.check_open_to(from)?;
        match self.standing(from).1 {
            Affiliation::Owner => Ok(()),
            _ => Err(StanzaError::forbidden().with_text("only owners may do that")),
        }
    }

    /// Judges a submitted or cancelled form, or the wish that the room end.
    ///
    /// # Errors
    /// `forbidden` for who does not own the room, `not-acceptable` for what makes no sense (§10.1.3), `conflict` if the
    /// room would have no owner (§10.2).
    pub fn own(&self, input: Incoming<'_>, query: &OwnerQuery) -> Result<Plan, StanzaError> {
        self.check_owner(input.from)?;
        match (&query.form, &query.destroy) {
            (None, Some(destroy)) => self.judge_end(destroy),
            (Some(form), None) => match form.type_ {
                // §10.1.2: an empty form accepts what is.
                FormKind::Submit => self.judge_form(input, &self.config.submitted(form)?),
                FormKind::Cancel if self.locked => self.judge_end(&Destroy::default()),
                FormKind::Cancel => Ok(Plan::default()),
                FormKind::Form | FormKind::Result => Err(StanzaError::bad_request().with_text("no form was submitted")),
            },
            _ => Err(StanzaError::bad_request().with_text("a form or an end is needed")),
        }
    }

    fn judge_end(&self, destroy: &Destroy) -> Result<Plan, StanzaError> {
        self.check_reason(destroy.reason.as_deref())?;
        self.check_reason(destroy.password.as_deref())?;
        let ending = Ending {
            alternate: destroy.jid.clone(),
            password: destroy.password.clone(),
            reason: destroy.reason.clone(),
            shutdown: false,
        };
        Ok(Plan { changes: vec![Change::End(ending)], kept: vec![Kept::Ended] })
    }

    fn judge_form(&self, input: Incoming<'_>, submitted: &Submitted) -> Result<Plan, StanzaError> {
        let mut plan = Plan::default();
        let mut changes = BTreeMap::new();
        // The lists are whole. §10.2: an owner who is no longer one is an admin, an admin a member.
        let lists = [(Affiliation::Admin, &submitted.admins), (Affiliation::Owner, &submitted.owners)];
        for ((affiliation, list), less) in lists.into_iter().zip([Affiliation::Member, Affiliation::Admin]) {
            let Some(list) = list else { continue };
            let listed: HashSet<&BareJid> = list.iter().collect();
            for user in self.affiliations.with(affiliation).filter(|user| !listed.contains(user)) {
                changes.insert(user.clone(), self.affiliated_as(user, less));
            }
        }
        for (affiliation, list) in lists {
            for user in list.iter().flat_map(|list| list.iter()) {
                if user.local().is_none() {
                    return Err(StanzaError::not_acceptable().with_text("a domain cannot own or administer a room"));
                }
                changes.insert(user.clone(), self.affiliated_as(user, affiliation));
            }
        }
        self.plan_affiliations(changes, self.actor(input.from), &mut plan)?;
        self.check_change(&submitted.config)?;
        // Afterwards: whom the form makes an admin is no stranger to a room that it makes one for members.
        plan.kept.push(Kept::Config(submitted.config.clone()));
        plan.changes.push(Change::Configure(Box::new(submitted.config.clone())));
        Ok(plan)
    }

    fn affiliated_as(&self, user: &BareJid, affiliation: Affiliation) -> Affiliated {
        let entry = self.affiliations.entry(user).cloned().unwrap_or_default();
        let reason = entry.reason.filter(|_| entry.affiliation == affiliation);
        Affiliated { affiliation, reason, ..entry }
    }

    pub(super) fn configure(&mut self, config: RoomConfig, effects: &mut Effects) {
        let was = std::mem::replace(&mut self.config, config);
        let opened = std::mem::take(&mut self.locked);
        self.show_others(was.broadcast, effects);
        if was.moderated != self.config.moderated {
            self.voices.clear();
            self.give_voice(effects);
        }
        self.expel_strangers(effects);
        let changed = |was: bool, is: bool, on, off| match (was, is) {
            (false, true) => Some(on),
            (true, false) => Some(off),
            _ => None,
        };
        let logging = changed(was.logging, self.config.logging, StatusCode::LOGGED, StatusCode::NOT_LOGGED);
        let open = |whois| whois == Whois::Anyone;
        let (on, off) = (StatusCode::NOW_NON_ANONYMOUS, StatusCode::NOW_SEMI_ANONYMOUS);
        let anonymity = changed(open(was.whois), open(self.config.whois), on, off);
        let mut codes: Vec<StatusCode> = logging.into_iter().chain(anonymity).collect();
        let (logging, whois) = (self.config.logging, self.config.whois);
        if (RoomConfig { logging, whois, ..was }) != self.config {
            codes.push(StatusCode::CONFIGURATION_CHANGED);
        }
        let unseen = opened && self.occupants.len() <= 1;
        if !codes.is_empty() && !unseen {
            effects.then.push(Delivery { from: self.jid.clone().into(), to: self.all(), stanza: self.notice(&codes) });
        }
        self.end_if_deserted();
    }

    /// Those whose presence is shown from now on come, and those whose is not go, as far as others can see.
    fn show_others(&self, was: Broadcast, effects: &mut Effects) {
        for (_, occupant, news) in self.portraits().filter(|(_, one, _)| !was.has(one.role)) {
            self.tell(occupant, &news, self.others(occupant), &mut effects.then);
        }
        let hidden = |one: &Occupant| was.has(one.role) && !self.config.broadcast.has(one.role);
        for (_, occupant) in self.occupants.iter().filter(|(_, one)| hidden(one)) {
            self.tell(occupant, &News::gone(occupant, None, None), self.others(occupant), &mut effects.then);
        }
    }

    /// Whether what a configuration makes of roles and of who is shown can be told to everybody.
    fn check_change(&self, config: &RoomConfig) -> Result<(), StanzaError> {
        let (was, is) = (self.config.broadcast, config.broadcast);
        let moderated = self.config.moderated != config.moderated;
        let changes = |one: &Occupant| {
            let heard = moderated && !config.moderated && one.role == Role::Visitor;
            heard || was.has(one.role) != is.has(one.role)
        };
        self.check_crowd(self.occupants.iter().filter(|(_, one)| changes(one)).count())
    }

    /// In a room that is no longer moderated all may speak (§5.1.2).
    fn give_voice(&mut self, effects: &mut Effects) {
        let visitors = self.occupants.iter().filter(|(_, occupant)| occupant.role == Role::Visitor);
        let mute: Vec<_> = visitors
            .filter(|(_, occupant)| {
                initial_role(occupant.affiliation, self.config.moderated, false) > Some(Role::Visitor)
            })
            .map(|(number, _)| number)
            .collect();
        self.set_roles(&mute, Role::Participant, effects);
    }

    /// Everybody is told that the room is no more, and nothing else (§10.9).
    pub(super) fn end(&mut self, ending: &Ending, effects: &mut Effects) {
        let destroy = Destroyed {
            jid: ending.alternate.clone(),
            password: ending.password.clone(),
            reason: ending.reason.clone(),
        };
        let numbers: Vec<_> = self.occupants.iter().map(|(number, _)| number).collect();
        for number in numbers {
            let Some(was) = self.occupants.remove(number) else { continue };
            let item = Item { affiliation: Some(Affiliation::None), role: Some(Role::None), ..Item::default() };
            let mut news = News { gone: true, item, ..News::default() };
            if ending.shutdown {
                news.codes.push(StatusCode::SHUTDOWN);
                news.item.affiliation = Some(was.affiliation);
            } else {
                news.destroy = Some(destroy.clone());
            }
            self.tell_own(&was, &news, clients(&was), &mut effects.first);
        }
        self.ended = true;
    }

    /// Whoever made the room has not configured it in time, which is as if that had been cancelled (§10.1.1).
    pub fn give_up(&self) -> Plan {
        if !self.locked {
            return Plan::default();
        }
        let reason = Some("the room was not configured in time".to_owned());
        let ending = Ending { reason, ..Ending::default() };
        Plan { changes: vec![Change::End(ending)], kept: vec![Kept::Ended] }
    }

    /// The service stops (§11.2).
    pub fn shut_down(&self) -> Plan {
        Plan::of(Change::End(Ending { shutdown: true, ..Ending::default() }))
    }
}
