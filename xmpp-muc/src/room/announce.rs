//! Presence as a room shows it: who, with which role and affiliation, and to whom what.

use super::{Delivery, Effects, Occupant, Recipients, Room, audience::Row, portrait};
use crate::{
    ADMIN, NS, OWNER, Role, USER,
    config::Whois,
    payload::{Destroyed, Item, OccupantId, RetractedBy, StatusCode, UserInfo},
};
use xmpp_core::{
    jid::Jid,
    payload::{Payload, stanza_id},
    xml::{ElementRef, Stanza, Writer, ns},
};

const HATS: &str = "urn:xmpp:hats:0";

/// What only a room may say (§16.3, XEP-0421 §4, XEP-0317).
pub(super) fn is_for_rooms(child: ElementRef<'_>) -> bool {
    matches!(child.ns(), NS | USER | ADMIN | OWNER | OccupantId::NAMESPACE | HATS)
}

/// What a presence cannot have in a room: what only the room may say, and what tells of an address or of another time.
fn is_not_shown(child: ElementRef<'_>) -> bool {
    is_for_rooms(child)
        || matches!(child.ns(), stanza_id::NS | "urn:xmpp:delay" | "jabber:x:delay" | RetractedBy::NAMESPACE)
}

/// A presence without addresses, and without what only the room may say.
pub(super) fn plain(presence: &Stanza) -> Stanza {
    presence.rewrite(ns::CLIENT).from(None).to(None).id(None).type_(None).without(&is_not_shown).to_stanza()
}

/// A presence that says nothing.
pub(super) fn blank() -> Stanza {
    let mut out = Writer::new(ns::CLIENT);
    out.open("presence", ns::CLIENT);
    out.close();
    out.into_stanza()
}

/// What is to be known of an occupant.
#[derive(Clone, Debug, Default)]
pub(super) struct News {
    /// Its presence; a blank one if absent.
    pub(super) presence: Option<Stanza>,
    /// Whether it is no longer there.
    pub(super) gone: bool,
    /// Whether its hats are left out.
    pub(super) bare_headed: bool,
    /// Who and what it is, but for the address.
    pub(super) item: Item,
    /// What the presence means, to all.
    pub(super) codes: Vec<StatusCode>,
    /// What it means to the occupant, besides that it is its own.
    pub(super) own_codes: Vec<StatusCode>,
    /// The id of the presence that is answered.
    pub(super) id: Option<String>,
    /// The room has ended.
    pub(super) destroy: Option<Destroyed>,
}

impl News {
    /// What the presence of somebody who is there says.
    pub(super) fn of(occupant: &Occupant) -> News {
        News { presence: occupant.presence().cloned(), item: item(occupant), ..News::default() }
    }
    /// As much of that as everybody who comes is shown at least.
    pub(super) fn brief(occupant: &Occupant) -> News {
        let presence = occupant.presence().map(portrait::brief);
        News { presence, item: item(occupant), bare_headed: true, ..News::default() }
    }
    /// What is said of somebody who is no longer there (§7.14).
    pub(super) fn gone(occupant: &Occupant, presence: Option<Stanza>, code: Option<StatusCode>) -> News {
        let item = Item { role: Some(Role::None), ..item(occupant) };
        News { presence, gone: true, item, codes: code.into_iter().collect(), ..News::default() }
    }
}

/// The role and the affiliation, without the address.
pub(super) fn item(occupant: &Occupant) -> Item {
    Item { affiliation: Some(occupant.affiliation), role: Some(occupant.role), ..Item::default() }
}

/// Who gets something: those who may see addresses, and those who may not.
#[derive(Debug, Default)]
pub(super) struct Audience {
    seeing: Recipients,
    veiled: Recipients,
}

impl Room {
    /// Whether an occupant of this role sees the addresses of others (§7.2.4).
    pub(super) fn sees_addresses(&self, role: Role) -> bool {
        self.config.whois == Whois::Anyone || role == Role::Moderator
    }

    /// Everybody but an occupant.
    pub(super) fn others(&self, than: &Occupant) -> Audience {
        let number = self.occupants.of_nick(&than.nick.key).map(|(number, _)| number);
        match self.config.whois {
            Whois::Anyone => Audience { seeing: self.occupants.everybody().but(number), veiled: Recipients::default() },
            Whois::Moderators => {
                Audience { seeing: self.occupants.moderators().but(number), veiled: self.occupants.rest().but(number) }
            }
        }
    }

    /// All clients that are in the room.
    pub(super) fn all(&self) -> Recipients {
        self.occupants.everybody().all()
    }

    /// Tells an audience of an occupant.
    pub(super) fn tell(&self, of: &Occupant, news: &News, audience: Audience, out: &mut Vec<Delivery>) {
        let address = of.visits.last().map(|visit| visit.jid.clone());
        for (to, jid) in [(audience.seeing, address), (audience.veiled, None)] {
            if !to.is_empty() {
                out.push(Delivery { from: of.nick.jid.clone(), stanza: show(of, news, jid, &[]), to });
            }
        }
    }

    /// Tells clients of an occupant that the presence is their own (status 110).
    pub(super) fn tell_own(&self, of: &Occupant, news: &News, to: Recipients, out: &mut Vec<Delivery>) {
        if to.is_empty() {
            return;
        }
        let mut own = news.own_codes.clone();
        own.push(StatusCode::SELF);
        let address = to.iter().next().cloned();
        out.push(Delivery { from: of.nick.jid.clone(), stanza: show(of, news, address, &own), to });
    }

    /// Tells everybody: others if the room shows those of that role, and the occupant itself.
    pub(super) fn tell_all(&self, of: &Occupant, news: &News, out: &mut Vec<Delivery>) {
        if self.config.broadcast.has(of.role) {
            self.tell(of, news, self.others(of), out);
        }
        self.tell_own(of, news, clients(of), out);
    }

    /// What is known of an occupant, to who has not known it.
    pub(super) fn introduce(&self, of: &Occupant, news: &News, to: Recipients, sees: bool) -> Delivery {
        let address = of.visits.last().filter(|_| sees).map(|visit| visit.jid.clone());
        Delivery { from: of.nick.jid.clone(), to, stanza: show(of, news, address, &[]) }
    }

    /// New moderators may see from now on who the others are, each of whom is shown once to all of them.
    pub(super) fn introduce_to_promoted(&self, effects: &mut Effects) {
        let mut promoted = std::mem::take(&mut effects.promoted);
        if promoted.is_empty() {
            return;
        }
        promoted.sort_unstable();
        promoted.dedup();
        let there = promoted.iter().filter_map(|number| Some((*number, self.occupants.get(*number)?)));
        let row = Row::of(there.filter(|(_, occupant)| occupant.role == Role::Moderator));
        for (number, of, news) in self.portraits() {
            let to = row.but(Some(number));
            if !to.is_empty() {
                effects.then.push(self.introduce(of, &news, to, true));
            }
        }
    }
}

/// All clients of an occupant.
pub(super) fn clients(of: &Occupant) -> Recipients {
    of.visits.iter().map(|visit| visit.jid.clone()).collect()
}

/// The presence as it is sent.
fn show(of: &Occupant, news: &News, jid: Option<Jid>, own: &[StatusCode]) -> Stanza {
    let nothing;
    let presence = match &news.presence {
        Some(presence) => presence,
        None => {
            nothing = blank();
            &nothing
        }
    };
    let info = UserInfo {
        items: vec![Item { jid, ..news.item.clone() }],
        statuses: news.codes.iter().chain(own).copied().map(Into::into).collect(),
        destroy: news.destroy.clone(),
        ..UserInfo::default()
    };
    let id = OccupantId { id: of.id.to_string() };
    let mut rewrite = presence.rewrite(ns::CLIENT).from(Some(of.nick.jid.as_str())).to(None);
    rewrite = rewrite.type_(news.gone.then_some("unavailable"));
    rewrite = rewrite.id(if own.is_empty() { None } else { news.id.as_deref() });
    rewrite
        .append(&|out| {
            id.write(out);
            info.write(out);
            if let Some(hats) = of.hats.as_deref().filter(|_| !news.gone && !news.bare_headed) {
                hats.write(out);
            }
        })
        .to_stanza()
}
