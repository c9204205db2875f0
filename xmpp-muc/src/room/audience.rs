//! Who gets what is told: lists that many deliveries share.

use super::{Delivery, Effects, Number, Occupant};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    iter::Chain,
    slice::Iter,
    sync::{Arc, OnceLock},
};
use xmpp_core::jid::Jid;

/// Who gets a delivery: a list that other deliveries may share, but for some who are next to each other in it. What many
/// are told of many so takes as much memory as there are of them, not the square of that.
#[derive(Clone, Default)]
pub struct Recipients {
    row: Arc<[Jid]>,
    /// The first who is left out, and the next who is not.
    start: usize,
    end: usize,
}

impl Recipients {
    /// All of them, in their order.
    pub fn iter(&self) -> Chain<Iter<'_, Jid>, Iter<'_, Jid>> {
        let [before, behind] = [self.row.get(..self.start), self.row.get(self.end..)].map(Option::unwrap_or_default);
        before.iter().chain(behind)
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.row.len().saturating_sub(self.end.saturating_sub(self.start))
    }
    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether both are parts of one list, which is in memory once.
    pub fn shares_with(&self, other: &Recipients) -> bool {
        Arc::ptr_eq(&self.row, &other.row)
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a Recipients {
    type Item = &'a Jid;
    type IntoIter = Chain<Iter<'a, Jid>, Iter<'a, Jid>>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Jid> for Recipients {
    fn from_iter<T: IntoIterator<Item = Jid>>(all: T) -> Recipients {
        Recipients { row: all.into_iter().collect(), start: 0, end: 0 }
    }
}

impl From<Vec<Jid>> for Recipients {
    fn from(all: Vec<Jid>) -> Recipients {
        Recipients { row: all.into(), start: 0, end: 0 }
    }
}

impl From<Jid> for Recipients {
    fn from(one: Jid) -> Recipients {
        Recipients { row: Arc::new([one]), start: 0, end: 0 }
    }
}

/// The clients of some occupants.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    all: Recipients,
    /// Where whose clients are, by number.
    places: Vec<(Number, usize, usize)>,
}

impl Row {
    pub(super) fn of<'a>(occupants: impl Iterator<Item = (Number, &'a Occupant)>) -> Row {
        let (mut all, mut places) = (Vec::new(), Vec::new());
        for (number, occupant) in occupants {
            let start = all.len();
            all.extend(occupant.visits.iter().map(|visit| visit.jid.clone()));
            places.push((number, start, all.len()));
        }
        Row { all: all.into(), places }
    }
    pub(super) fn all(&self) -> Recipients {
        self.all.clone()
    }
    /// Everybody but the clients of an occupant, who need not be among them.
    pub(super) fn but(&self, number: Option<Number>) -> Recipients {
        let mut others = self.all.clone();
        let place = number.and_then(|number| self.places.binary_search_by_key(&number, |(other, ..)| *other).ok());
        if let Some((_, start, end)) = place.and_then(|at| self.places.get(at)) {
            (others.start, others.end) = (*start, *end);
        }
        others
    }
}

/// The clients of a room, as long as nobody comes, goes, becomes a moderator or ceases to be one.
#[derive(Clone, Default)]
pub(super) struct Rows {
    pub(super) everybody: OnceLock<Row>,
    pub(super) moderators: OnceLock<Row>,
    pub(super) rest: OnceLock<Row>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It says nothing that the occupants do not.
        f.write_str("Rows")
    }
}

impl Effects {
    /// Whoever hears first that it is out hears nothing after that, of what had happened before.
    pub(super) fn spare_the_gone(&mut self) {
        if self.first.is_empty() || self.then.is_empty() {
            return;
        }
        let gone: HashSet<&Jid> = self.first.iter().flat_map(|delivery| &delivery.to).collect();
        let mut sieve = Sieve { gone, rows: HashMap::new() };
        self.then.retain_mut(|delivery: &mut Delivery| {
            sieve.pass(&mut delivery.to);
            !delivery.to.is_empty()
        });
    }
}

/// Leaves out who is gone, once a list.
struct Sieve<'a> {
    gone: HashSet<&'a Jid>,
    /// By where a list is: the list itself, so that no other is there, and what is left of it if it is less.
    rows: HashMap<*const Jid, (Arc<[Jid]>, Option<Sieved>)>,
}

/// What is left of a list, and how many there are before each place.
struct Sieved(Arc<[Jid]>, Vec<usize>);

impl Sieve<'_> {
    fn pass(&mut self, to: &mut Recipients) {
        if let [one] = &*to.row {
            if self.gone.contains(one) {
                *to = Recipients::default();
            }
            return;
        }
        let Sieve { gone, rows } = self;
        let (_, sieved) = rows.entry(to.row.as_ptr()).or_insert_with(|| {
            let row = Arc::clone(&to.row);
            let is_whole = !row.iter().any(|jid| gone.contains(jid));
            let sieved = (!is_whole).then(|| {
                let (mut left, mut before) = (Vec::new(), Vec::with_capacity(row.len().saturating_add(1)));
                for jid in row.iter() {
                    before.push(left.len());
                    if !gone.contains(jid) {
                        left.push(jid.clone());
                    }
                }
                before.push(left.len());
                Sieved(left.into(), before)
            });
            (row, sieved)
        });
        if let Some(Sieved(left, before)) = sieved {
            let at = |place: usize| before.get(place).copied().unwrap_or(left.len());
            *to = Recipients { row: Arc::clone(left), start: at(to.start), end: at(to.end) };
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use xmpp_core::xml::{Stanza, XmlLimits, ns};

    fn jids(names: &str) -> Vec<Jid> {
        names.chars().map(|name| Jid::new(&format!("{name}@lit/x")).unwrap()).collect()
    }
    fn names(to: &Recipients) -> String {
        to.iter().filter_map(|jid| jid.local()).collect()
    }

    #[test]
    fn who_is_gone_is_left_out_of_lists_that_stay_shared() {
        let stanza = Stanza::parse("<presence/>", ns::CLIENT, &XmlLimits::authenticated()).unwrap();
        let delivery = |to: Recipients| Delivery { from: jids("r")[0].clone(), to, stanza: stanza.clone() };
        let (row, other) = (Recipients::from(jids("abcde")), Recipients::from(jids("xyz")));
        let without = |start, end| Recipients { start, end, ..row.clone() };
        let mut effects = Effects { first: vec![delivery(jids("bd").into())], ..Effects::default() };
        let then = [row.clone(), without(0, 1), without(1, 3), without(4, 5), other.clone(), jids("b").into()];
        effects.then = then.into_iter().map(delivery).collect();
        effects.spare_the_gone();
        let left: Vec<String> = effects.then.iter().map(|delivery| names(&delivery.to)).collect();
        assert_eq!(left, ["ace", "ce", "ae", "ac", "xyz"]);
        assert!(effects.then[1..4].iter().all(|delivery| delivery.to.shares_with(&effects.then[0].to)));
        assert!(effects.then[4].to.shares_with(&other));
        assert_eq!(effects.then[2].to.len(), 2);
    }
}
