//! Where archives are kept.

use super::{ArchiveId, Preferences};
use crate::Stored;
use std::sync::Arc;
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::DateTime,
    xml::{Stanza, XmlLimits, ns},
};

/// A message to be archived.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The other: who it is from, or to, as the owner sees it. In a room's archive, who published it.
    pub with: Jid,
    /// The message in the content namespace of clients, self-contained.
    pub text: Arc<str>,
    /// When it came. If the archive has one that is as late, it counts as just after that.
    pub at: DateTime,
}

/// A message of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// What it is called there, and when it came.
    pub id: ArchiveId,
    /// The other.
    pub with: Jid,
    /// The message, as it was given.
    pub text: Arc<str>,
}

impl Archived {
    /// The message, parsed. `None` if it is none, by whatever fault.
    pub fn stanza(&self) -> Option<Stanza> {
        Stanza::parse(&self.text, ns::CLIENT, &XmlLimits::unbounded()).ok()
    }
}

/// Which messages of an archive, and how many of them at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// To or from this address; a bare one stands for all of its resources (§4.1.1).
    pub with: Option<Jid>,
    /// Not before this time (§4.1.2).
    pub start: Option<DateTime>,
    /// Not after this time.
    pub end: Option<DateTime>,
    /// After all of these (§4.1.3).
    pub after: Vec<ArchiveId>,
    /// Before all of these.
    pub before: Vec<ArchiveId>,
    /// None but these; empty does not restrict.
    pub ids: Vec<ArchiveId>,
    /// Whether the page is the last of what is selected (§4.3.3), not the first.
    pub last: bool,
    /// How many of the selected are before the page, from the side that it is taken from.
    pub skip: u64,
    /// The largest page.
    pub max: usize,
    /// A page ends before it has more bytes than this, but has one message if there is any.
    pub max_bytes: usize,
    /// Whether to count all that are selected.
    pub count: bool,
}

impl Selection {
    /// The ids that must be in the archive, each as often as it is given.
    pub fn named(&self) -> impl Iterator<Item = ArchiveId> + '_ {
        self.after.iter().chain(&self.before).chain(&self.ids).copied()
    }

    /// The first and the last microsecond since 1970 of what is selected; nothing is if the first is later.
    ///
    /// Times are compared by whole milliseconds, as they are shown.
    pub fn span(&self) -> (i64, i64) {
        let start = self.start.map_or(0, |start| {
            let millis = start.unix_millis();
            millis.saturating_add(i64::from(start.nanos() % 1_000_000 != 0)).saturating_mul(1000)
        });
        let end = self.end.map_or(i64::MAX, |end| end.unix_millis().saturating_mul(1000).saturating_add(999));
        let after = self.after.iter().map(|id| id.micros().saturating_add(1)).max().unwrap_or(0);
        let before = self.before.iter().map(|id| id.micros().saturating_sub(1)).min().unwrap_or(i64::MAX);
        (start.max(after), end.min(before))
    }
}

/// A page of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The messages, oldest first.
    pub entries: Vec<Archived>,
    /// Whether nothing that is selected lies beyond the page, on the side to which paging goes.
    pub complete: bool,
    /// How many messages are selected, if that was asked or was known anyway.
    pub count: Option<u64>,
}

impl Page {
    /// Makes a page of what a store found, in the order of paging: one more than the page may have, if there is one.
    pub fn gather<E>(
        selection: &Selection,
        found: impl IntoIterator<Item = Result<Archived, E>>,
        count: Option<u64>,
    ) -> Result<Page, E> {
        let mut page = Page { complete: true, count, ..Page::default() };
        let mut bytes = 0usize;
        for entry in found {
            let entry = entry?;
            bytes = bytes.saturating_add(entry.text.len());
            let full = page.entries.len() >= selection.max;
            if full || (bytes > selection.max_bytes && !page.entries.is_empty()) {
                page.complete = false;
                break;
            }
            page.entries.push(entry);
        }
        if page.complete && selection.skip == 0 {
            page.count = Some(page.entries.len() as u64);
        }
        if selection.last {
            page.entries.reverse();
        }
        Ok(page)
    }
}

/// Keeps archives, of accounts or of rooms; an owner is known by the bare address. [`conformance`](super::conformance)
/// says what a store must do.
pub trait ArchiveStore: Send + Sync + 'static {
    /// Adds a message at the end of the owner's archive. When this resolves, the message is as safe as the store can make it.
    ///
    /// Many of these are under way at a time. Those of an owner that succeed are in the order in which their futures were
    /// first polled: a session's messages are not waited for one by one.
    fn append<'a>(&'a self, owner: &'a BareJid, entry: NewEntry) -> Stored<'a, ArchiveId>;

    /// A page of the owner's archive; `None` if one of the ids that the selection names is not in it, whether selected
    /// otherwise or not.
    fn query<'a>(&'a self, owner: &'a BareJid, selection: &'a Selection) -> Stored<'a, Option<Page>>;

    /// Puts another text in the place of a message, which keeps its id and its `with`: a tombstone (XEP-0424 §5). Whether
    /// there was such a message.
    fn replace<'a>(&'a self, owner: &'a BareJid, id: ArchiveId, text: Arc<str>) -> Stored<'a, bool>;

    /// The oldest and the newest message; `None` if there is none.
    fn ends<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<(ArchiveId, ArchiveId)>>;

    /// What the owner wants archived, if that was ever said.
    fn preferences<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<Preferences>>;

    /// Remembers what the owner wants archived.
    fn set_preferences<'a>(&'a self, owner: &'a BareJid, preferences: &'a Preferences) -> Stored<'a, ()>;

    /// Drops what is older than `before` from all archives.
    fn expire(&self, before: DateTime) -> Stored<'_, ()>;

    /// Drops the oldest messages of the owner's archive, so that `keep` remain.
    fn trim<'a>(&'a self, owner: &'a BareJid, keep: u64) -> Stored<'a, ()>;

    /// Drops all that is stored for the owner.
    fn forget<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, ()>;
}
