//! Paging through an archive covers every message once, whatever the pages and the direction.
#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};
use xmpp_core::{jid::BareJid, payload::DateTime};
use xmpp_im::archive::{ArchiveId, ArchiveStore, MemoryArchive, NewEntry, Page, Selection};

/// The store in memory answers at once.
fn wait<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!(),
    }
}

fn page(store: &MemoryArchive, owner: &BareJid, selection: &Selection) -> Page {
    wait(store.query(owner, selection)).unwrap().unwrap()
}

/// All the ids, taken page by page: forwards from the oldest, or backwards from the newest.
fn walk(
    store: &MemoryArchive,
    owner: &BareJid,
    whole: &Selection,
    sizes: &[(usize, usize)],
    last: bool,
) -> Vec<ArchiveId> {
    let mut found: Vec<ArchiveId> = Vec::new();
    for (max, max_bytes) in sizes.iter().cycle().copied() {
        let mut selection = Selection { max, max_bytes, last, ..whole.clone() };
        match (last, found.first(), found.last()) {
            (false, _, Some(newest)) => selection.after.push(*newest),
            (true, Some(oldest), _) => selection.before.push(*oldest),
            _ => {}
        }
        let page = page(store, owner, &selection);
        let ids: Vec<ArchiveId> = page.entries.iter().map(|entry| entry.id).collect();
        assert!(page.complete || !ids.is_empty(), "a page brings on");
        if last {
            found.splice(0..0, ids);
        } else {
            found.extend(ids);
        }
        if page.complete {
            break;
        }
    }
    found
}

proptest! {
    #[test]
    fn xep0313_4_3_pages_cover_every_message_once(
        messages in prop::collection::vec((0i64..5, 0usize..3, 0usize..40), 0..60),
        sizes in prop::collection::vec((1usize..9, 1usize..120), 1..5),
        with in 0usize..4,
        cut in prop::option::of((0usize..60, 0usize..60)),
        last: bool,
    ) {
        let (store, owner) = (MemoryArchive::default(), BareJid::new("juliet@capulet.example").unwrap());
        let people = ["romeo@a", "romeo@a/x", "nurse@a"];
        let mut ids = Vec::new();
        for (late, who, length) in &messages {
            let at = DateTime::from_unix(1_000_000_000 + late, 0).unwrap();
            let entry = NewEntry { with: people[*who].parse().unwrap(), text: "x".repeat(*length).into(), at };
            ids.push((wait(store.append(&owner, entry)).unwrap(), *who));
        }
        prop_assert!(ids.windows(2).all(|pair| pair[0].0 < pair[1].0), "time that goes back does not disturb the order");
        let with_whom = people.get(with).map(|who| who.parse().unwrap());
        let mut whole = Selection { with: with_whom, ..Selection::default() };
        let mut range = 0..ids.len();
        if let Some((from, to)) = cut.filter(|_| !ids.is_empty()) {
            let (from, to) = (from % ids.len(), to % ids.len());
            whole.after.push(ids[from].0);
            whole.before.push(ids[to].0);
            range = from + 1..to.max(from + 1);
        }
        let matches = |who: usize| match with {
            0 => who < 2,
            1 | 2 => who == with,
            _ => true,
        };
        let expected: Vec<ArchiveId> =
            ids[range].iter().filter(|(_, who)| matches(*who)).map(|(id, _)| *id).collect();
        prop_assert_eq!(walk(&store, &owner, &whole, &sizes, last), expected.clone());
        let all = Selection { max: 1000, max_bytes: usize::MAX, count: true, last, ..whole };
        prop_assert_eq!(page(&store, &owner, &all).count, Some(expected.len() as u64));
    }
}
