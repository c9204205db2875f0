//! What every archive must do.

use super::{ArchiveId, ArchiveStore, NewEntry, Preferences, Selection};
use std::collections::HashSet;
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::{DateTime, archive::ArchiveDefault},
};

const ROMEO: &str = "romeo@montague.example";

/// Checks a store with empty archives of two owners. Panics where it does not do what the trait says, for use in tests.
#[allow(clippy::unwrap_used)] // A test.
pub async fn conformance(store: &dyn ArchiveStore, owner: &BareJid, other: &BareJid) {
    assert_eq!(store.ends(owner).await.unwrap(), None);
    assert!(selected(store, owner, &all()).await.unwrap().is_empty());
    let ids = fill(store, owner, other).await;
    order(store, owner, &ids).await;
    filters(store, owner, &ids).await;
    pages(store, owner, &ids).await;
    unknown(store, owner, other, &ids).await;
    tombstones(store, owner, other, &ids).await;
    preferences(store, owner, other).await;
    retention(store, owner, other, &ids).await;
}

fn all() -> Selection {
    Selection { max: 1000, max_bytes: usize::MAX, ..Selection::default() }
}

fn at(seconds: i64) -> DateTime {
    DateTime::from_unix(1_000_000_000 + seconds, 500_000_000).unwrap_or(DateTime::from(std::time::UNIX_EPOCH))
}

/// Ten messages, two in each of five seconds: from and to Romeo's desk and phone, and the fifth from a nurse.
#[allow(clippy::unwrap_used)]
async fn fill(store: &dyn ArchiveStore, owner: &BareJid, other: &BareJid) -> Vec<ArchiveId> {
    let mut ids = Vec::new();
    for n in 0..10 {
        let with = match n {
            4 => "nurse@capulet.example/x".to_owned(),
            n if n % 2 == 0 => format!("{ROMEO}/desk"),
            _ => format!("{ROMEO}/phone"),
        };
        let text = format!("<message from='{with}'><body>{n} &lt; é \u{1F469}</body></message>");
        let entry = NewEntry { with: with.parse().unwrap(), text: text.into(), at: at(n / 2) };
        ids.push(store.append(owner, entry.clone()).await.unwrap());
        if n == 0 {
            store.append(other, entry).await.unwrap();
        }
    }
    ids
}

#[allow(clippy::unwrap_used)]
async fn selected(store: &dyn ArchiveStore, owner: &BareJid, selection: &Selection) -> Option<Vec<ArchiveId>> {
    let page = store.query(owner, selection).await.unwrap()?;
    Some(page.entries.iter().map(|entry| entry.id).collect())
}

#[allow(clippy::unwrap_used)]
async fn order(store: &dyn ArchiveStore, owner: &BareJid, ids: &[ArchiveId]) {
    let page = store.query(owner, &all()).await.unwrap().unwrap();
    let found: Vec<_> = page.entries.iter().map(|entry| entry.id).collect();
    assert_eq!(found, ids, "in the order of arrival");
    assert!(page.complete);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 10);
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    let last = page.entries.last().unwrap();
    assert_eq!(&*last.text, format!("<message from='{ROMEO}/phone'><body>9 &lt; é \u{1F469}</body></message>"));
    assert_eq!(last.with.as_str(), format!("{ROMEO}/phone"));
    assert_eq!(ids[0].time(), at(0).to_millis(), "the time is that of arrival");
    assert_eq!(store.ends(owner).await.unwrap(), Some((ids[0], ids[9])));
}

#[allow(clippy::unwrap_used)]
async fn filters(store: &dyn ArchiveStore, owner: &BareJid, ids: &[ArchiveId]) {
    let with = |jid: &str| Selection { with: Some(jid.parse::<Jid>().unwrap()), ..all() };
    let some = |places: &[usize]| Some(places.iter().map(|at| ids[*at]).collect::<Vec<_>>());
    let from_to = |start, end| Selection { start, end, ..all() };
    let between = |after: &[usize], before: &[usize]| Selection {
        after: after.iter().map(|at| ids[*at]).collect(),
        before: before.iter().map(|at| ids[*at]).collect(),
        ..all()
    };
    let only = |places: &[usize]| Selection { ids: places.iter().map(|at| ids[*at]).collect(), ..all() };
    for (selection, expected) in [
        (with(ROMEO), some(&[0, 1, 2, 3, 5, 6, 7, 8, 9])),
        (with(&format!("{ROMEO}/desk")), some(&[0, 2, 6, 8])),
        (with("nurse@capulet.example"), some(&[4])),
        (with("nurse@capulet.example/y"), some(&[])),
        (with("omeo@montague.example"), some(&[])),
        (from_to(Some(at(1)), None), some(&[2, 3, 4, 5, 6, 7, 8, 9])),
        (from_to(None, Some(at(1))), some(&[0, 1, 2, 3])),
        (from_to(Some(at(1)), Some(at(2))), some(&[2, 3, 4, 5])),
        (from_to(Some(at(3)), Some(at(2))), some(&[])),
        (
            from_to(DateTime::from_unix(-1, 0), DateTime::from_unix(253_402_300_799, 0)),
            some(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ),
        (between(&[2], &[]), some(&[3, 4, 5, 6, 7, 8, 9])),
        (between(&[], &[2]), some(&[0, 1])),
        (between(&[2, 5], &[9, 7]), some(&[6])),
        (between(&[7], &[2]), some(&[])),
        (only(&[8, 1]), some(&[1, 8])),
        (Selection { with: Some(ROMEO.parse().unwrap()), ..only(&[4, 5]) }, some(&[5])),
    ] {
        assert_eq!(selected(store, owner, &selection).await, expected, "{selection:?}");
    }
}

#[allow(clippy::unwrap_used)]
async fn pages(store: &dyn ArchiveStore, owner: &BareJid, ids: &[ArchiveId]) {
    let page = |last, max, skip| Selection { last, max, skip, count: true, ..all() };
    for (selection, expected, complete) in [
        (page(false, 3, 0), &ids[0..3], false),
        (page(true, 3, 0), &ids[7..10], false),
        (page(false, 10, 0), ids, true),
        (page(true, 10, 0), ids, true),
        (page(false, 3, 8), &ids[8..10], true),
        (page(false, 3, 99), &[], true),
        (page(false, 0, 0), &[], false),
        (Selection { max_bytes: 1, ..page(false, 5, 0) }, &ids[0..1], false),
        (Selection { max_bytes: 1, ..page(true, 5, 0) }, &ids[9..10], false),
    ] {
        let found = store.query(owner, &selection).await.unwrap().unwrap();
        let entries: Vec<_> = found.entries.iter().map(|entry| entry.id).collect();
        assert_eq!((entries.as_slice(), found.complete), (expected, complete), "{selection:?}");
        assert_eq!(found.count, Some(10), "{selection:?}");
    }
}

#[allow(clippy::unwrap_used)]
async fn unknown(store: &dyn ArchiveStore, owner: &BareJid, other: &BareJid, ids: &[ArchiveId]) {
    let never = ArchiveId::from_parts(ids[3].micros(), ids[3].nonce() ^ 1);
    for id in [never, ArchiveId::from_parts(7, 7)] {
        for selection in [
            Selection { after: vec![id], ..all() },
            Selection { before: vec![id], ..all() },
            Selection { ids: vec![ids[1], id], ..all() },
        ] {
            assert_eq!(selected(store, owner, &selection).await, None, "{selection:?}");
        }
    }
    assert_eq!(selected(store, other, &Selection { after: vec![ids[3]], ..all() }).await, None, "of another archive");
    let filtered = Selection { after: vec![ids[4]], with: Some(ROMEO.parse().unwrap()), ..all() };
    assert_eq!(selected(store, owner, &filtered).await.unwrap(), &ids[5..], "it need not match the filter");
}

#[allow(clippy::unwrap_used)]
async fn tombstones(store: &dyn ArchiveStore, owner: &BareJid, other: &BareJid, ids: &[ArchiveId]) {
    let before = store.query(owner, &all()).await.unwrap().unwrap().entries;
    let text = "<message><retracted xmlns='urn:xmpp:message-retract:1'/></message>";
    assert!(store.replace(owner, ids[3], text.into()).await.unwrap());
    let after = store.query(owner, &all()).await.unwrap().unwrap().entries;
    assert_eq!(&*after[3].text, text);
    for (number, (was, is)) in before.iter().zip(&after).enumerate() {
        assert_eq!((was.id, &was.with), (is.id, &is.with), "its place is the same");
        assert!(number == 3 || was.text == is.text, "and nothing else is touched");
    }
    let never = ArchiveId::from_parts(ids[3].micros(), ids[3].nonce() ^ 1);
    assert!(!store.replace(owner, never, text.into()).await.unwrap());
    assert!(!store.replace(other, ids[3], text.into()).await.unwrap(), "of another archive");
    assert_eq!(store.query(owner, &all()).await.unwrap().unwrap().entries, after);
}

#[allow(clippy::unwrap_used)]
async fn preferences(store: &dyn ArchiveStore, owner: &BareJid, other: &BareJid) {
    assert_eq!(store.preferences(owner).await.unwrap(), None);
    let (romeo, nurse): (Jid, Jid) = (format!("{ROMEO}/a b").parse().unwrap(), "nurse@a".parse().unwrap());
    let some =
        Preferences { default: ArchiveDefault::Roster, always: vec![romeo.clone(), nurse.clone()], never: vec![nurse] };
    for said in [Preferences::default(), some, Preferences { never: vec![romeo], ..Preferences::default() }] {
        store.set_preferences(owner, &said).await.unwrap();
        assert_eq!(store.preferences(owner).await.unwrap(), Some(said));
    }
    assert_eq!(store.preferences(other).await.unwrap(), None);
}

#[allow(clippy::unwrap_used)]
async fn retention(store: &dyn ArchiveStore, owner: &BareJid, other: &BareJid, ids: &[ArchiveId]) {
    store.trim(owner, 20).await.unwrap();
    store.trim(owner, 8).await.unwrap();
    assert_eq!(selected(store, owner, &all()).await.unwrap(), &ids[2..], "the oldest go");
    store.expire(at(2)).await.unwrap();
    assert_eq!(selected(store, owner, &all()).await.unwrap(), &ids[4..]);
    assert_eq!(selected(store, other, &all()).await.unwrap().len(), 0, "in all archives");
    assert_eq!(selected(store, owner, &Selection { after: vec![ids[0]], ..all() }).await, None);

    let entry = |text: &str| NewEntry { with: "a@b".parse().unwrap(), text: text.into(), at: at(9) };
    store.append(other, entry("<message/>")).await.unwrap();
    store.forget(owner).await.unwrap();
    assert_eq!(selected(store, owner, &all()).await.unwrap(), []);
    assert_eq!((store.ends(owner).await.unwrap(), store.preferences(owner).await.unwrap()), (None, None));
    assert_eq!(selected(store, other, &all()).await.unwrap().len(), 1, "and nobody else's");
    let again = store.append(owner, entry("<message/>")).await.unwrap();
    assert!(!ids.contains(&again));
    store.forget(owner).await.unwrap();
}
