//! What of all who are in a room is shown to who comes, and how much that may be.

use super::{
    Nick, Number, Occupant, Room,
    announce::{self, News},
};
use crate::Affiliation;
use xmpp_core::{
    jid::Jid,
    stanza::StanzaError,
    xml::{Stanza, Writer, ns},
};

/// Bytes of a presence as a room shows it, without addresses and whatever the occupant says.
const FRAME: usize = 360;

/// What an occupant may add to that and is not asked to be brief for before others.
const SMALL: usize = 1_024;

/// The bytes of an address in an attribute.
fn written(jid: &Jid) -> usize {
    let bytes = jid.as_str().bytes();
    bytes.map(|byte| if matches!(byte, b'&' | b'<' | b'>' | b'\'' | b'"') { 6 } else { 1 }).sum()
}

/// The least that has to be said of an occupant: who it is.
fn least(nick: &Nick, visits: impl Iterator<Item = usize>) -> usize {
    FRAME.saturating_add(written(&nick.jid)).saturating_add(visits.max().unwrap_or(0))
}

fn least_of(occupant: &Occupant) -> usize {
    least(&occupant.nick, occupant.visits.iter().map(|visit| written(&visit.jid)))
}

/// What the occupant adds: its presence and its hats.
fn more_of(occupant: &Occupant) -> usize {
    let hats = occupant.hats.iter().flat_map(|hats| &hats.hats);
    let hats = hats.map(|hat| hat.title.len().saturating_add(hat.uri.len()).saturating_mul(6).saturating_add(96));
    occupant.presence().map_or(0, |presence| presence.as_str().len()).saturating_add(hats.sum())
}

/// A presence without all but whether somebody is there, away or busy.
pub(super) fn brief(presence: &Stanza) -> Stanza {
    let show = presence.root().child("show", ns::CLIENT).map(|show| show.text().into_owned());
    let Some(show) = show.filter(|show| matches!(show.as_str(), "away" | "chat" | "dnd" | "xa")) else {
        return announce::blank();
    };
    let mut out = Writer::new(ns::CLIENT);
    out.open("presence", ns::CLIENT);
    out.text_element("show", ns::CLIENT, &show);
    out.close();
    out.into_stanza()
}

impl Room {
    /// Those whose presence is shown, and what of it: all, as long as all of them together are no more than one who comes
    /// can take; beyond that who they are, and whether they are there or away. Large presences become brief first.
    pub(super) fn portraits(&self) -> impl Iterator<Item = (Number, &Occupant, News)> {
        let shown = || self.occupants.iter().filter(|(_, one)| self.config.broadcast.has(one.role));
        let (mut needed, mut small) = (0_usize, 0_usize);
        for (_, one) in shown() {
            needed = needed.saturating_add(least_of(one));
            small = small.saturating_add(Some(more_of(one)).filter(|more| *more <= SMALL).unwrap_or(0));
        }
        let left = self.limits.shown_bytes.saturating_sub(needed);
        let (mut for_small, mut for_large) = (left, left.saturating_sub(small));
        shown().map(move |(number, one)| {
            let more = more_of(one);
            let budget = if more <= SMALL { &mut for_small } else { &mut for_large };
            let news = match budget.checked_sub(more) {
                Some(rest) => {
                    *budget = rest;
                    News::of(one)
                }
                None => News::brief(one),
            };
            (number, one, news)
        })
    }

    /// Whether so many presences, told to everybody at once, are more than each of those can take.
    pub(super) fn is_too_much<'a>(&self, of: impl Iterator<Item = &'a Occupant>) -> bool {
        let bytes = of.map(|one| least_of(one).saturating_add(more_of(one)));
        bytes.fold(0, usize::saturating_add) > self.limits.shown_bytes
    }

    /// Whether it can still be shown who is in the room when there is one more, or one by another nickname.
    pub(super) fn check_shown(
        &self,
        was: Option<&Occupant>,
        nick: &Nick,
        client: &Jid,
        affiliation: Affiliation,
    ) -> Result<(), StanzaError> {
        let (had, jids) = was.map_or((0, 0), |was| {
            (least_of(was), was.visits.iter().map(|visit| written(&visit.jid)).max().unwrap_or(0))
        });
        let is = least(nick, [jids, written(client)].into_iter());
        if is <= had || affiliation >= Affiliation::Admin {
            return Ok(());
        }
        let all = self.occupants.iter().map(|(_, one)| least_of(one)).fold(0, usize::saturating_add);
        match all.saturating_sub(had).saturating_add(is) > self.limits.shown_bytes {
            true => Err(StanzaError::service_unavailable().with_text("the room is full")),
            false => Ok(()),
        }
    }

    /// Whether so many can be shown to all who are in the room in one go.
    pub(super) fn check_crowd(&self, shown: usize) -> Result<(), StanzaError> {
        match shown.saturating_mul(self.occupants.clients()) > self.limits.shown_at_once {
            true => Err(StanzaError::resource_constraint().with_text("too many are in the room for that")),
            false => Ok(()),
        }
    }
}
