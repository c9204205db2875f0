//! The rooms that are listed: those in memory and those that are stored, as one list by address.

use super::{rooms::Rooms, shown::Shown};
use crate::{Listed, Stretch};
use std::{collections::BTreeMap, ops::Bound, sync::Arc};
use xmpp_core::{jid::BareJid, stanza::StanzaError};

/// A room in a list.
pub(super) struct Row {
    /// What is told of it.
    pub(super) listed: Listed,
    /// How many are in it, if that may be told.
    pub(super) users: Option<usize>,
}

impl Row {
    pub(super) fn of(shown: &Shown) -> Row {
        Row { listed: shown.listed.clone(), users: shown.users() }
    }

    fn empty(listed: Listed) -> Row {
        let users = (listed.is_open == Some(true)).then_some(0);
        Row { listed, users }
    }
}

/// What comes after one room, or before another (XEP-0059). These need not be there any more: their addresses tell where
/// they were (§2.4).
///
/// # Errors
/// `item-not-found` if what is named is no room.
pub(super) fn bounds(after: Option<&str>, before: Option<&str>, max: usize) -> Result<Stretch, StanzaError> {
    let address = |text: &str| {
        let jid = BareJid::new(text).ok().filter(|jid| jid.local().is_some());
        jid.ok_or_else(StanzaError::item_not_found)
    };
    Ok(match (after, before) {
        (Some(after), _) => Stretch { after: Some(address(after)?), max, ..Stretch::default() },
        (None, Some("")) => Stretch { last: true, max, ..Stretch::default() },
        (None, Some(before)) => Stretch { before: Some(address(before)?), last: true, max, ..Stretch::default() },
        (None, None) => Stretch { max, ..Stretch::default() },
    })
}

/// What is in memory of a stretch.
fn resident<'a>(
    shown: &'a BTreeMap<BareJid, Arc<Shown>>,
    stretch: &Stretch,
) -> impl DoubleEndedIterator<Item = &'a Arc<Shown>> {
    let ends = match (&stretch.after, &stretch.before) {
        (Some(after), Some(before)) if after >= before => None,
        (after, before) => Some((
            after.as_ref().map_or(Bound::Unbounded, Bound::Excluded),
            before.as_ref().map_or(Bound::Unbounded, Bound::Excluded),
        )),
    };
    ends.into_iter().flat_map(|ends| shown.range::<BareJid, _>(ends)).map(|(_, shown)| shown).filter(|it| it.visible)
}

/// The rooms of a stretch, by address, of those in memory only those that are `wanted`. What is in memory counts, not what is
/// stored of it.
pub(super) async fn rows(
    rooms: &Rooms,
    stretch: &Stretch,
    wanted: &(dyn Fn(&Shown) -> bool + Sync),
) -> Result<Vec<Row>, StanzaError> {
    if stretch.max == 0 {
        return Ok(Vec::new());
    }
    // With words all of them have to be looked through, which is not done while others wait.
    let most = if stretch.terms.is_some() { usize::MAX } else { stretch.max };
    let near: Vec<Arc<Shown>> = rooms.shown(|shown| {
        let near = resident(shown, stretch).filter(|shown| wanted(shown)).cloned();
        if stretch.last { near.rev().take(most).collect() } else { near.take(most).collect() }
    });
    let near = near.into_iter().filter(|shown| stretch.has(&shown.listed));
    let mut found: BTreeMap<BareJid, Row> = near.map(|shown| (shown.listed.jid.clone(), Row::of(&shown))).collect();
    let mut rest = stretch.clone();
    loop {
        let batch = rooms.store.listed(&rooms.domain, &rest).await?;
        let (full, end) = (batch.len() >= rest.max, batch.last().map(|listed| listed.jid.clone()));
        let batch = rooms.shown(|shown| {
            let row = |listed: Listed| match shown.get(&listed.jid) {
                None => Some(Row::empty(listed)),
                // What came into memory only now is told as it is there.
                Some(shown) => (shown.visible && wanted(shown) && stretch.has(&shown.listed)).then(|| Row::of(shown)),
            };
            batch.into_iter().filter_map(row).collect::<Vec<Row>>()
        });
        found.extend(batch.into_iter().map(|row| (row.listed.jid.clone(), row)));
        let Some(end) = end.filter(|_| full) else { break };
        // Behind the end of the batch there may be more that is stored, before it there is not.
        let known = found.keys().filter(|jid| if stretch.last { **jid >= end } else { **jid <= end }).count();
        if known >= stretch.max {
            break;
        }
        if stretch.last { rest.before = Some(end) } else { rest.after = Some(end) }
    }
    let beyond = if stretch.last { found.len().saturating_sub(stretch.max) } else { 0 };
    Ok(found.into_values().skip(beyond).take(stretch.max).collect())
}

/// How many rooms there are, in all or before an address. Of a room whose store has failed that is not certain.
pub(super) async fn count(rooms: &Rooms, before: Option<&BareJid>) -> Result<u64, StanzaError> {
    let stretch = Stretch { before: before.cloned(), ..Stretch::default() };
    let passing = rooms.shown(|shown| resident(shown, &stretch).filter(|shown| !shown.lasting).count());
    let stored = rooms.store.count_listed(&rooms.domain, before).await?;
    Ok(stored.saturating_add(u64::try_from(passing).unwrap_or(u64::MAX)))
}

/// The room at a position, from 0.
pub(super) async fn place(rooms: &Rooms, position: u64) -> Result<Option<BareJid>, StanzaError> {
    let whole = Stretch::default();
    let passing: Vec<BareJid> = rooms.shown(|shown| {
        let passing = resident(shown, &whole).filter(|shown| !shown.lasting);
        passing.map(|shown| shown.listed.jid.clone()).collect()
    });
    // How many of the rooms that are not stored are before it: their positions rise.
    let (mut low, mut high) = (0, passing.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(jid) = passing.get(middle) else { break };
        let stored = rooms.store.count_listed(&rooms.domain, Some(jid)).await?;
        match stored.saturating_add(u64::try_from(middle).unwrap_or(u64::MAX)).cmp(&position) {
            std::cmp::Ordering::Equal => return Ok(Some(jid.clone())),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    let skip = position.saturating_sub(u64::try_from(low).unwrap_or(u64::MAX));
    let stretch = Stretch { skip, max: 1, ..Stretch::default() };
    Ok(rooms.store.listed(&rooms.domain, &stretch).await?.pop().map(|listed| listed.jid))
}
