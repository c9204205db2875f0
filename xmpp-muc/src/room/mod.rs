//! A room as a pure state machine: no sockets, no clock, no store.
//!
//! Everything happens in two steps. What somebody wants is judged against the room as it is, which yields a [`Plan`] or the
//! error that the document names; nothing has happened yet. Whoever drives the room stores what the plan says is to be
//! [kept](Plan::kept), and then [carries it out](Room::apply), which cannot fail and says what is to be sent.

mod administer;
mod affiliations;
mod announce;
mod audience;
mod card;
mod enter;
mod forward;
mod ghost;
mod hats;
mod history;
mod invite;
mod limits;
mod occupants;
mod own;
mod pace;
mod portrait;
mod speak;
#[cfg(test)]
mod tests;
mod tombstone;
mod voices;

#[cfg(feature = "server")]
pub(crate) use self::tombstone::{retracted_id, tombstone};
pub use self::{
    affiliations::{Affiliated, Affiliations},
    audience::Recipients,
    card::Card,
    forward::Whisper,
    hats::{HatCommand, Wardrobe},
    history::{History, Past},
    invite::{REGISTER, Registration, VOICE},
    limits::RoomLimits,
    occupants::{Nick, Number, Occupant, Occupants, Visit},
    own::Ending,
    speak::Publication,
};
use crate::{Affiliation, Role, RoomConfig, payload::Actor, payload::Join, payload::StatusCode};
use hmac::{Hmac, Mac};
use pace::{Pace, Paces};
use sha2::Sha256;
use std::{collections::VecDeque, fmt::Write, sync::Arc};
use voices::Voices;
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::DateTime,
    stanza::StanzaError,
    xml::Stanza,
};

/// Something that came to a room.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Who sent it, with the resource.
    pub from: &'a Jid,
    /// The room, or an occupant.
    pub to: &'a Jid,
    /// The stanza.
    pub stanza: &'a Stanza,
    /// When it came.
    pub now: DateTime,
}

/// The subject of a room (§8.1).
#[derive(Clone, Debug)]
pub struct Subject {
    /// The message that set it: from the occupant, without `to`.
    pub stanza: Stanza,
    /// When that was.
    pub at: DateTime,
}

/// What of a room outlives the process.
#[derive(Clone, Debug)]
pub struct RoomRecord {
    /// The configuration.
    pub config: RoomConfig,
    /// Whether it still has to be configured by whoever made it.
    pub locked: bool,
    /// The secret behind the ids of its occupants.
    pub key: [u8; 32],
    /// Who made it, whom it counts for; nobody if that is not known.
    pub maker: Option<BareJid>,
    /// The subject.
    pub subject: Option<Subject>,
    /// Who is affiliated.
    pub affiliated: Vec<(BareJid, Affiliated)>,
    /// The vCard.
    pub card: Option<Card>,
    /// The hats.
    pub hats: Wardrobe,
}

impl RoomRecord {
    /// Makes a change that was planned.
    pub fn change(&mut self, kept: &Kept) {
        match kept {
            Kept::Config(config) => {
                self.config = config.clone();
                self.locked = false;
            }
            Kept::Affiliation(user, entry) => {
                self.affiliated.retain(|(other, _)| other != user);
                if entry.affiliation != Affiliation::None {
                    self.affiliated.push((user.clone(), entry.clone()));
                }
            }
            Kept::Subject(subject) => self.subject = Some(subject.clone()),
            Kept::Card(card) => self.card.clone_from(card),
            Kept::Hats(hats) => self.hats = Wardrobe::clone(hats),
            Kept::Ended => {}
        }
    }

    /// Whether others may learn that there is such a room.
    pub fn is_listed(&self) -> bool {
        self.config.public && !self.locked
    }
}

/// A part of a room that is to be stored before a plan is carried out.
#[derive(Clone, Debug)]
pub enum Kept {
    /// The configuration, and that the room is open.
    Config(RoomConfig),
    /// How a user is affiliated now.
    Affiliation(BareJid, Affiliated),
    /// The subject.
    Subject(Subject),
    /// The vCard, or that there is none.
    Card(Option<Card>),
    /// The hats.
    Hats(Box<Wardrobe>),
    /// The room has ended.
    Ended,
}

/// What is going to happen.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What happens, in this order.
    pub changes: Vec<Change>,
    /// What is to be stored before, if the room is persistent.
    pub kept: Vec<Kept>,
}

impl Plan {
    fn of(change: Change) -> Plan {
        Plan { changes: vec![change], kept: Vec::new() }
    }
    /// A message that is to be archived before the plan is carried out, with the id by which the archive knows it.
    pub fn publication(&mut self) -> Option<&mut Publication> {
        self.changes.iter_mut().find_map(|change| match change {
            Change::Publish(publication) => Some(publication),
            _ => None,
        })
    }
}

/// Something that happens in a room.
#[derive(Clone, Debug)]
pub enum Change {
    /// A client comes in.
    Enter {
        /// Its user, as an occupant with this one client.
        occupant: Occupant,
        /// What it asked for.
        join: Join,
        /// Whether the room has changed the nickname.
        renamed: bool,
        /// Whether the room is new.
        created: bool,
        /// The id of the presence by which it came.
        id: Option<String>,
    },
    /// A client that is in the room wants to hear everything again (§7.2.1).
    Resync {
        /// The client.
        client: Jid,
        /// Its presence.
        presence: Stanza,
        /// What it asked for.
        join: Join,
        /// The id of the presence.
        id: Option<String>,
    },
    /// A client's presence changes (§7.7).
    Present {
        /// The client.
        client: Jid,
        /// Its presence.
        presence: Stanza,
        /// The id of the presence.
        id: Option<String>,
    },
    /// An occupant takes another nickname (§7.6).
    Rename {
        /// Who.
        number: Number,
        /// The new nickname.
        nick: Nick,
        /// Whether the room has changed it.
        renamed: bool,
        /// The client that asked, and its presence.
        visit: Visit,
    },
    /// A client leaves (§7.14), or is gone.
    Leave {
        /// The client.
        client: Jid,
        /// Its last presence, if it said something.
        presence: Option<Stanza>,
        /// Why, if not by its own will.
        code: Option<StatusCode>,
    },
    /// A role changes (§8); `none` is a kick.
    Role {
        /// Whose.
        number: Number,
        /// To what.
        role: Role,
        /// By whom.
        actor: Option<Actor>,
        /// Why.
        reason: Option<String>,
    },
    /// An affiliation changes (§9).
    Affiliation {
        /// Whose.
        user: BareJid,
        /// To what.
        entry: Affiliated,
        /// By whom.
        actor: Option<Actor>,
        /// Whether whoever becomes a member of a room for members is invited.
        invite: bool,
    },
    /// The room has another configuration, and is open (§10).
    Configure(Box<RoomConfig>),
    /// The room has another vCard (XEP-0486), or none any more.
    Card(Option<Card>),
    /// There are other hats, or others wear them (XEP-0317).
    Hats(Box<Wardrobe>),
    /// Something is said to all.
    Publish(Publication),
    /// Somebody is invited by an occupant, and may decline (§7.8.2).
    Invite {
        /// Who.
        invited: BareJid,
        /// By whom.
        by: BareJid,
        /// The invitation.
        delivery: Delivery,
    },
    /// An invitation is declined.
    Decline {
        /// By whom.
        invited: BareJid,
        /// Who had invited.
        by: BareJid,
        /// What that one is told.
        delivery: Delivery,
    },
    /// Somebody asks moderators for voice, or admins for membership.
    Petition {
        /// Who.
        user: BareJid,
        /// What those are told.
        delivery: Delivery,
    },
    /// A private message (§7.5).
    Whisper {
        /// To whom what goes when it comes back.
        whisper: Option<Whisper>,
        /// The message.
        delivery: Delivery,
    },
    /// A private message has come back.
    Undelivered {
        /// Which.
        whisper: Whisper,
        /// The error.
        delivery: Delivery,
    },
    /// A client is asked whether it is there (§18.1.2).
    Ask {
        /// The client.
        client: Jid,
        /// The question.
        delivery: Delivery,
    },
    /// A client has answered that it is there.
    Alive {
        /// The client.
        client: Jid,
    },
    /// Something is sent, and nothing else happens.
    Send(Delivery),
    /// The room ends (§10.9).
    End(Ending),
}

/// A stanza to be sent, the same for all recipients but for its `to`, which it lacks.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The room, or an occupant.
    pub from: Jid,
    /// Who gets it.
    pub to: Recipients,
    /// The stanza, with its `from`.
    pub stanza: Stanza,
}

/// What is to be sent.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Before whoever asked is told that it is done: to those who are no longer in the room (§8.2).
    pub first: Vec<Delivery>,
    /// After that.
    pub then: Vec<Delivery>,
    /// Those who have become moderators, and see from now on who the others are.
    promoted: Vec<Number>,
}

/// A room.
#[derive(Clone, Debug)]
pub struct Room {
    jid: BareJid,
    config: RoomConfig,
    locked: bool,
    ended: bool,
    key: [u8; 32],
    maker: Option<BareJid>,
    affiliations: Affiliations,
    occupants: Occupants,
    subject: Option<Subject>,
    history: History,
    voices: Voices,
    /// Who was invited by whom, and has not declined; the last ones.
    invitations: VecDeque<(BareJid, BareJid)>,
    /// Who has asked for voice or membership, and when; the last ones.
    petitions: VecDeque<(BareJid, DateTime)>,
    /// Private messages that may come back; the last ones.
    whispers: VecDeque<Whisper>,
    paces: Paces,
    card: Option<Card>,
    wardrobe: Wardrobe,
    limits: Arc<RoomLimits>,
}

impl Room {
    /// A new room, which its owner has to configure before others may enter (§10.1). `key` is random.
    pub fn new(jid: BareJid, owner: BareJid, config: RoomConfig, key: [u8; 32], limits: Arc<RoomLimits>) -> Room {
        let maker = Some(owner.clone());
        let owner = (owner, Affiliated { affiliation: Affiliation::Owner, ..Affiliated::default() });
        let hats = Wardrobe::default();
        let (subject, card) = (None, None);
        let record = RoomRecord { config, locked: true, key, maker, subject, affiliated: vec![owner], card, hats };
        Room::restore(jid, record, limits)
    }

    /// A room as it was stored.
    pub fn restore(jid: BareJid, record: RoomRecord, limits: Arc<RoomLimits>) -> Room {
        let mut affiliations = Affiliations::default();
        for (user, entry) in record.affiliated {
            affiliations.set(user, entry);
        }
        Room {
            jid,
            config: record.config,
            locked: record.locked,
            ended: false,
            key: record.key,
            maker: record.maker,
            affiliations,
            occupants: Occupants::default(),
            subject: record.subject,
            history: History::default(),
            voices: Voices::default(),
            invitations: VecDeque::new(),
            petitions: VecDeque::new(),
            whispers: VecDeque::new(),
            paces: Paces::default(),
            card: record.card,
            wardrobe: record.hats,
            limits,
        }
    }

    /// What is to be stored of it.
    pub fn record(&self) -> RoomRecord {
        RoomRecord {
            config: self.config.clone(),
            locked: self.locked,
            key: self.key,
            maker: self.maker.clone(),
            subject: self.subject.clone(),
            affiliated: self.affiliations.iter().map(|(user, entry)| (user.clone(), entry.clone())).collect(),
            card: self.card.clone(),
            hats: self.wardrobe.clone(),
        }
    }

    /// Its address.
    pub fn jid(&self) -> &BareJid {
        &self.jid
    }
    /// Its configuration.
    pub fn config(&self) -> &RoomConfig {
        &self.config
    }
    /// Whether it waits for its owner to configure it.
    pub fn is_locked(&self) -> bool {
        self.locked
    }
    /// Whether it has ended, and is to be dropped.
    pub fn has_ended(&self) -> bool {
        self.ended
    }
    /// Who made it, if that is known.
    pub fn maker(&self) -> Option<&BareJid> {
        self.maker.as_ref()
    }
    /// Whether it is the room with this secret, not only of the same name.
    #[cfg(feature = "server")]
    pub(crate) fn has_key(&self, key: &[u8; 32]) -> bool {
        self.key == *key
    }
    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.occupants.is_empty()
    }
    /// Who is in it.
    pub fn occupants(&self) -> &Occupants {
        &self.occupants
    }
    /// Who is affiliated with it.
    pub fn affiliations(&self) -> &Affiliations {
        &self.affiliations
    }
    /// Its subject.
    pub fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }
    /// Its last messages, for whoever fills them in from an archive.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }
    /// Its last messages.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// XEP-0421 §4.1: an HMAC of the user's address with the room's secret.
    pub fn occupant_id(&self, user: &BareJid) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return String::new() };
        mac.update(user.as_str().as_bytes());
        let mut id = String::with_capacity(64);
        for byte in mac.finalize().into_bytes() {
            let _ = write!(id, "{byte:02x}");
        }
        id
    }

    /// Carries a plan out, which was made for the room as it is now.
    pub fn apply(&mut self, plan: Plan, now: DateTime) -> Effects {
        let mut effects = Effects::default();
        for change in plan.changes {
            match change {
                Change::Enter { occupant, join, renamed, created, id } => {
                    self.pace_on(&occupant.user, Pace::Presence, pace::VISIT, now);
                    self.enter(occupant, &join, renamed, created, id, now, &mut effects);
                }
                Change::Resync { client, presence, join, id } => {
                    self.pace_on(&client.to_bare(), Pace::Presence, pace::DEAR, now);
                    self.resync(&client, presence, &join, id, now, &mut effects);
                }
                Change::Present { client, presence, id } => {
                    self.pace_on(&client.to_bare(), Pace::Presence, 1, now);
                    self.present(&client, presence, id, &mut effects);
                }
                Change::Rename { number, nick, renamed, visit } => {
                    self.pace_on(&visit.jid.to_bare(), Pace::Presence, pace::DEAR, now);
                    self.rename(number, nick, renamed, visit, &mut effects);
                }
                Change::Leave { client, presence, code } => self.leave(&client, presence, code, &mut effects),
                Change::Role { number, role, actor, reason } => {
                    self.set_role(number, role, actor, reason, &mut effects);
                }
                Change::Affiliation { user, entry, actor, invite } => {
                    self.set_affiliation(user, entry, actor, invite, &mut effects);
                }
                Change::Configure(config) => self.configure(*config, &mut effects),
                Change::Card(card) => self.show_card(card, &mut effects),
                Change::Hats(hats) => self.put_on(*hats, &mut effects),
                Change::Publish(publication) => {
                    self.pace_on(&publication.sender.to_bare(), Pace::Message, 1, now);
                    self.publish(publication, &mut effects);
                }
                Change::Invite { invited, by, delivery } => self.invite(invited, by, delivery, &mut effects),
                Change::Decline { invited, by, delivery } => {
                    self.invitations.retain(|(other, inviter)| (other, inviter) != (&invited, &by));
                    effects.then.push(delivery);
                }
                Change::Petition { user, delivery } => self.petition(user, delivery, now, &mut effects),
                Change::Whisper { whisper, delivery } => {
                    self.whispered(whisper);
                    effects.then.push(delivery);
                }
                Change::Undelivered { whisper, delivery } => {
                    self.forget_whisper(&whisper);
                    effects.then.push(delivery);
                }
                Change::Ask { client, delivery } => {
                    self.asked_of(&client, Some(now));
                    effects.then.push(delivery);
                }
                Change::Alive { client } => self.asked_of(&client, None),
                Change::Send(delivery) => effects.then.push(delivery),
                Change::End(ending) => self.end(&ending, &mut effects),
            }
        }
        self.introduce_to_promoted(&mut effects);
        effects.spare_the_gone();
        effects
    }

    /// Who sends something, if that is an occupant.
    fn sender(&self, from: &Jid) -> Option<(Number, &Occupant)> {
        self.occupants.of_client(from)
    }

    /// The role and the affiliation with which somebody asks, who need not be in the room.
    fn standing(&self, from: &Jid) -> (Role, Affiliation) {
        let affiliation = self.affiliations.of(&from.to_bare());
        (self.sender(from).map_or(Role::None, |(_, occupant)| occupant.role), affiliation)
    }

    /// Who did something, as others may know it: by nickname.
    fn actor(&self, from: &Jid) -> Option<Actor> {
        let (_, occupant) = self.sender(from)?;
        Some(Actor { jid: None, nick: Some(occupant.nick.as_str().to_owned()) })
    }

    fn check_reason(&self, reason: Option<&str>) -> Result<(), StanzaError> {
        if reason.is_some_and(|reason| reason.len() > self.limits.reason_bytes) {
            return Err(StanzaError::not_acceptable().with_text("the reason is too long"));
        }
        Ok(())
    }
}
