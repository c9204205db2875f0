//! Archives of messages, with preferences.

use crate::{
    Database, SqlError,
    group_commit::{Batch, GroupCommit},
};
use futures_util::TryStreamExt as _;
use sqlx::{FromRow as _, QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};
use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};
use xmpp_core::{
    BoxFuture,
    jid::{BareJid, Jid},
    payload::{DateTime, TextValue, archive::ArchiveDefault},
};
use xmpp_im::{
    StorageError, Stored,
    archive::{ArchiveId, ArchiveStore, Archived, NewEntry, Page, Preferences, Selection},
};

/// Messages that are committed together at most.
const TOGETHER: usize = 512;

/// Rows that are deleted in one transaction, so that nobody waits long.
const DELETED: i64 = 1000;

/// Archives in a [`Database`]. Messages of many sessions are committed together.
#[derive(Clone)]
pub struct SqlArchive {
    database: Database,
    writer: GroupCommit<Append>,
}

impl std::fmt::Debug for SqlArchive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlArchive").field("database", &self.database).finish_non_exhaustive()
    }
}

impl SqlArchive {
    pub(crate) fn new(database: Database) -> SqlArchive {
        SqlArchive::committing(database, TOGETHER)
    }

    /// Commits at most `most` messages in one transaction; with 1, each alone.
    pub(crate) fn committing(database: Database, most: usize) -> SqlArchive {
        let writer = GroupCommit::start(database.clone(), Append, most);
        SqlArchive { database, writer }
    }
}

/// The way messages get into the table.
struct Append;

/// A message and whose archive it is for.
struct Entry {
    owner: String,
    entry: NewEntry,
}

/// How many rows one statement inserts. Few sizes, so that all of them stay prepared.
const ROWS: [usize; 4] = [64, 16, 4, 1];

static INSERT: LazyLock<[String; 4]> = LazyLock::new(|| {
    ROWS.map(|rows| {
        let row = "(?, ?, ?, ?, ?, ?)";
        let rows = vec![row; rows].join(", ");
        format!("INSERT INTO archive (seq, nonce, owner, peer, resource, message) VALUES {rows}")
    })
});

impl Batch for Append {
    type Item = Entry;
    type Done = ArchiveId;

    fn write<'a>(
        &'a self,
        transaction: &'a mut SqliteConnection,
        items: &'a [Entry],
    ) -> BoxFuture<'a, Result<Vec<ArchiveId>, SqlError>> {
        Box::pin(async move {
            // Asked under the lock: another process may have written too.
            let last: Option<i64> =
                sqlx::query_scalar("SELECT max(seq) FROM archive").fetch_one(&mut *transaction).await?;
            let mut last = last.unwrap_or(0);
            let next = |entry: &Entry| {
                last = entry.entry.at.unix_micros().max(last.saturating_add(1));
                ArchiveId::new(last)
            };
            let ids: Vec<ArchiveId> = items.iter().map(next).collect();
            let (mut items, mut rest) = (items, ids.as_slice());
            for (rows, sql) in ROWS.into_iter().zip(INSERT.iter()) {
                while let (Some((some, others)), Some((their, after))) =
                    (items.split_at_checked(rows), rest.split_at_checked(rows))
                {
                    insert(transaction, sql, some, their).await?;
                    (items, rest) = (others, after);
                }
            }
            Ok(ids)
        })
    }
}

async fn insert(
    transaction: &mut SqliteConnection,
    sql: &'static str,
    items: &[Entry],
    ids: &[ArchiveId],
) -> Result<(), SqlError> {
    let mut insert = sqlx::query(sql);
    for (item, id) in items.iter().zip(ids) {
        insert = insert
            .bind(id.micros())
            .bind(id.nonce().cast_signed())
            .bind(item.owner.as_str())
            .bind(item.entry.with.bare_str())
            .bind(item.entry.with.resource())
            .bind(&*item.entry.text);
    }
    insert.execute(transaction).await?;
    Ok(())
}

/// A row of the table.
struct Found(Archived);

impl<'r> sqlx::FromRow<'r, SqliteRow> for Found {
    fn from_row(row: &'r SqliteRow) -> Result<Found, sqlx::Error> {
        let (peer, resource): (&str, Option<&str>) = (row.try_get("peer")?, row.try_get("resource")?);
        let with = match resource {
            Some(resource) => Jid::lenient(&format!("{peer}/{resource}")),
            None => Jid::lenient(peer),
        };
        let with = with.map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let text: &str = row.try_get("message")?;
        Ok(Found(Archived { id: id(row)?, with, text: text.into() }))
    }
}

fn id(row: &SqliteRow) -> Result<ArchiveId, sqlx::Error> {
    let nonce: i64 = row.try_get("nonce")?;
    Ok(ArchiveId::from_parts(row.try_get("seq")?, nonce.cast_unsigned()))
}

/// The condition of a selection.
fn condition(sql: &mut QueryBuilder<Sqlite>, owner: &BareJid, selection: &Selection) {
    let (from, to) = selection.span();
    sql.push(" FROM archive WHERE owner = ").push_bind(owner.as_str().to_owned());
    sql.push(" AND seq >= ").push_bind(from).push(" AND seq <= ").push_bind(to);
    if let Some(with) = &selection.with {
        sql.push(" AND peer = ").push_bind(with.bare_str().to_owned());
        if let Some(resource) = with.resource() {
            sql.push(" AND resource = ").push_bind(resource.to_owned());
        }
    }
    if !selection.ids.is_empty() {
        listed(sql, selection.ids.iter().copied());
    }
}

fn listed(sql: &mut QueryBuilder<Sqlite>, ids: impl Iterator<Item = ArchiveId>) {
    sql.push(" AND seq IN (");
    let mut list = sql.separated(", ");
    for id in ids {
        list.push_bind(id.micros());
    }
    sql.push(")");
}

impl SqlArchive {
    async fn page(&self, owner: &BareJid, selection: &Selection) -> Result<Option<Page>, SqlError> {
        // One transaction, so that all that is read is of one moment.
        let mut reading = self.database.pool().begin().await?;
        if !has(&mut reading, owner, selection.named().collect()).await? {
            return Ok(None);
        }
        let mut sql = QueryBuilder::new("SELECT seq, nonce, peer, resource, message");
        condition(&mut sql, owner, selection);
        let more = i64::try_from(selection.max.saturating_add(1)).unwrap_or(i64::MAX);
        sql.push(if selection.last { " ORDER BY seq DESC LIMIT " } else { " ORDER BY seq LIMIT " }).push_bind(more);
        sql.push(" OFFSET ").push_bind(i64::try_from(selection.skip).unwrap_or(i64::MAX));
        let mut found = Vec::new();
        {
            let mut rows = sql.build().fetch(&mut *reading);
            let mut bytes = 0;
            // One beyond the bound tells that there is more.
            while let Some(row) = rows.try_next().await? {
                let Found(entry) = Found::from_row(&row)?;
                bytes += entry.text.len();
                found.push(Ok(entry));
                if bytes > selection.max_bytes && found.len() > 1 {
                    break;
                }
            }
        }
        let mut count = None;
        if selection.count {
            let mut sql = QueryBuilder::new("SELECT count(*)");
            condition(&mut sql, owner, selection);
            let counted: i64 = sql.build_query_scalar().fetch_one(&mut *reading).await?;
            count = u64::try_from(counted).ok();
        }
        Page::gather(selection, found, count).map(Some)
    }

    async fn put_instead(&self, owner: &BareJid, id: ArchiveId, text: &str) -> Result<bool, SqlError> {
        let mut writing = self.database.write().await?;
        let done = sqlx::query("UPDATE archive SET message = $1 WHERE seq = $2 AND nonce = $3 AND owner = $4")
            .bind(text)
            .bind(id.micros())
            .bind(id.nonce().cast_signed())
            .bind(owner.as_str())
            .execute(&mut *writing)
            .await?;
        writing.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn end(&self, owner: &BareJid, sql: &'static str) -> Result<Option<ArchiveId>, SqlError> {
        let row = sqlx::query(sql).bind(owner.as_str()).fetch_optional(self.database.pool()).await?;
        Ok(row.as_ref().map(id).transpose()?)
    }

    async fn both_ends(&self, owner: &BareJid) -> Result<Option<(ArchiveId, ArchiveId)>, SqlError> {
        let oldest = "SELECT seq, nonce FROM archive WHERE owner = $1 ORDER BY seq LIMIT 1";
        let newest = "SELECT seq, nonce FROM archive WHERE owner = $1 ORDER BY seq DESC LIMIT 1";
        Ok(self.end(owner, oldest).await?.zip(self.end(owner, newest).await?))
    }

    async fn read_preferences(&self, owner: &BareJid) -> Result<Option<Preferences>, SqlError> {
        let sql = "SELECT policy, always, never FROM archive_preferences WHERE owner = $1";
        let row: Option<(String, String, String)> =
            sqlx::query_as(sql).bind(owner.as_str()).fetch_optional(self.database.pool()).await?;
        let Some((policy, always, never)) = row else { return Ok(None) };
        let read = |text: &str| text.lines().map(Jid::lenient).collect::<Result<Vec<_>, _>>();
        let broken = |error: xmpp_core::jid::JidError| SqlError::Engine(Box::new(error));
        let default = ArchiveDefault::from_text(&policy).map_err(|error| SqlError::Engine(Box::new(error)))?;
        Ok(Some(Preferences { default, always: read(&always).map_err(broken)?, never: read(&never).map_err(broken)? }))
    }

    async fn write_preferences(&self, owner: &BareJid, said: &Preferences) -> Result<(), SqlError> {
        let lines = |list: &[Jid]| list.iter().map(Jid::as_str).collect::<Vec<_>>().join("\n");
        sqlx::query(
            "INSERT INTO archive_preferences (owner, policy, always, never) VALUES ($1, $2, $3, $4) ON CONFLICT (owner) \
             DO UPDATE SET policy = excluded.policy, always = excluded.always, never = excluded.never",
        )
        .bind(owner.as_str())
        .bind(said.default.to_text())
        .bind(lines(&said.always))
        .bind(lines(&said.never))
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    async fn delete_before(&self, before: i64) -> Result<(), SqlError> {
        loop {
            let mut writing = self.database.write().await?;
            let deleted = sqlx::query(
                "DELETE FROM archive WHERE seq IN (SELECT seq FROM archive WHERE seq < $1 ORDER BY seq LIMIT $2)",
            )
            .bind(before)
            .bind(DELETED)
            .execute(&mut *writing)
            .await?;
            writing.commit().await?;
            if deleted.rows_affected() < DELETED.unsigned_abs() {
                return Ok(());
            }
        }
    }

    async fn keep_newest(&self, owner: &BareJid, keep: u64) -> Result<(), SqlError> {
        let sql = "SELECT seq FROM archive WHERE owner = $1 ORDER BY seq DESC LIMIT 1 OFFSET $2";
        let newest: Option<i64> = sqlx::query_scalar(sql)
            .bind(owner.as_str())
            .bind(i64::try_from(keep).unwrap_or(i64::MAX))
            .fetch_optional(self.database.pool())
            .await?;
        match newest {
            Some(newest) => self.delete_until(owner, newest).await,
            None => Ok(()),
        }
    }

    /// Deletes an owner's messages up to this one.
    async fn delete_until(&self, owner: &BareJid, newest: i64) -> Result<(), SqlError> {
        loop {
            let mut writing = self.database.write().await?;
            let deleted = sqlx::query(
                "DELETE FROM archive WHERE seq IN \
                 (SELECT seq FROM archive WHERE owner = $1 AND seq <= $2 ORDER BY seq LIMIT $3)",
            )
            .bind(owner.as_str())
            .bind(newest)
            .bind(DELETED)
            .execute(&mut *writing)
            .await?;
            writing.commit().await?;
            if deleted.rows_affected() < DELETED.unsigned_abs() {
                return Ok(());
            }
        }
    }

    async fn delete_all(&self, owner: &BareJid) -> Result<(), SqlError> {
        self.delete_until(owner, i64::MAX).await?;
        let sql = "DELETE FROM archive_preferences WHERE owner = $1";
        sqlx::query(sql).bind(owner.as_str()).execute(self.database.pool()).await?;
        Ok(())
    }
}

/// Whether all of these are in the owner's archive.
async fn has(reading: &mut SqliteConnection, owner: &BareJid, ids: HashSet<ArchiveId>) -> Result<bool, SqlError> {
    if ids.is_empty() {
        return Ok(true);
    }
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT seq, nonce FROM archive WHERE owner = ");
    sql.push_bind(owner.as_str().to_owned());
    listed(&mut sql, ids.iter().copied());
    let rows = sql.build().fetch_all(reading).await?;
    let found = rows.iter().map(id).collect::<Result<HashSet<_>, _>>()?;
    Ok(found.is_superset(&ids))
}

/// What a caller of the trait gets.
async fn stored<T>(answer: impl Future<Output = Result<T, SqlError>>) -> Result<T, StorageError> {
    answer.await.map_err(|error| StorageError(Box::new(error)))
}

impl ArchiveStore for SqlArchive {
    fn append<'a>(&'a self, owner: &'a BareJid, entry: NewEntry) -> Stored<'a, ArchiveId> {
        Box::pin(stored(self.writer.write(Entry { owner: owner.as_str().to_owned(), entry })))
    }

    fn query<'a>(&'a self, owner: &'a BareJid, selection: &'a Selection) -> Stored<'a, Option<Page>> {
        Box::pin(stored(self.page(owner, selection)))
    }

    fn replace<'a>(&'a self, owner: &'a BareJid, id: ArchiveId, text: Arc<str>) -> Stored<'a, bool> {
        Box::pin(stored(async move { self.put_instead(owner, id, &text).await }))
    }

    fn ends<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<(ArchiveId, ArchiveId)>> {
        Box::pin(stored(self.both_ends(owner)))
    }

    fn preferences<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<Preferences>> {
        Box::pin(stored(self.read_preferences(owner)))
    }

    fn set_preferences<'a>(&'a self, owner: &'a BareJid, preferences: &'a Preferences) -> Stored<'a, ()> {
        Box::pin(stored(self.write_preferences(owner, preferences)))
    }

    fn expire(&self, before: DateTime) -> Stored<'_, ()> {
        Box::pin(stored(self.delete_before(before.unix_micros())))
    }

    fn trim<'a>(&'a self, owner: &'a BareJid, keep: u64) -> Stored<'a, ()> {
        Box::pin(stored(self.keep_newest(owner, keep)))
    }

    fn forget<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(stored(self.delete_all(owner)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;
    use xmpp_im::archive::conformance;

    async fn fresh() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        (folder, database)
    }

    fn jid(text: &str) -> BareJid {
        text.parse().unwrap()
    }

    fn entry(with: &str, text: &str) -> NewEntry {
        NewEntry { with: with.parse().unwrap(), text: text.into(), at: DateTime::from_unix(1_000_000_000, 0).unwrap() }
    }

    #[tokio::test]
    async fn it_does_what_every_archive_must() {
        let (juliet, romeo) = (jid("juliet@capulet.example"), jid("romeo@montague.example"));
        for together in [256, 1] {
            let (_folder, database) = fresh().await;
            conformance(&database.archive_committing(together), &juliet, &romeo).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn xep0313_3_many_who_write_at_once_each_get_an_id_of_their_own_in_order() {
        let (folder, database) = fresh().await;
        let mut writing = tokio::task::JoinSet::new();
        for n in 0..4 {
            // Pools of their own, as other processes have.
            let other = Database::open(folder.path().join("test.sqlite")).await.unwrap().archive();
            for m in 0..25 {
                let other = other.clone();
                let owner = jid(&format!("user{}@a.example", m % 3));
                writing.spawn(async move { other.append(&owner, entry("b@b", &format!("{n} {m}"))).await.unwrap() });
            }
        }
        let ids: BTreeSet<ArchiveId> = writing.join_all().await.into_iter().collect();
        assert_eq!(ids.len(), 100);
        let mut found = 0;
        for n in 0..3 {
            let all = Selection { max: 1000, max_bytes: usize::MAX, ..Selection::default() };
            let page = database.archive().query(&jid(&format!("user{n}@a.example")), &all).await.unwrap().unwrap();
            assert!(page.entries.windows(2).all(|pair| pair[0].id < pair[1].id));
            found += page.entries.iter().filter(|entry| ids.contains(&entry.id)).count();
        }
        assert_eq!(found, 100);
    }

    #[tokio::test]
    async fn messages_outlive_the_process_and_go_with_the_account() {
        let (folder, database) = fresh().await;
        let juliet = jid("juliet@capulet.example");
        database.accounts().create(&juliet, "x").await.unwrap();
        let id = database.archive().append(&juliet, entry("b@b/c d", "<message/>")).await.unwrap();
        database.archive().set_preferences(&juliet, &Preferences::default()).await.unwrap();
        database.close().await;
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        let archive = database.archive();
        assert_eq!(archive.ends(&juliet).await.unwrap(), Some((id, id)));
        database.accounts().delete(&juliet).await.unwrap();
        assert_eq!(archive.ends(&juliet).await.unwrap(), None);
        assert_eq!(archive.preferences(&juliet).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_question_about_one_peer_reads_the_index_of_the_owner() {
        let (_folder, database) = fresh().await;
        let selection = Selection { with: Some("b@b".parse().unwrap()), last: true, ..Selection::default() };
        for (what, covering) in [("SELECT seq, message", false), ("SELECT count(*)", true)] {
            let mut sql = QueryBuilder::new(format!("EXPLAIN QUERY PLAN {what}"));
            condition(&mut sql, &jid("juliet@capulet.example"), &selection);
            sql.push(if covering { "" } else { " ORDER BY seq DESC" });
            let rows = sql.build().fetch_all(database.pool()).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            let index = if covering { "COVERING INDEX" } else { "INDEX" };
            let expected = format!("SEARCH archive USING {index} archive_owner (owner=? AND seq>? AND seq<?)");
            assert_eq!(plan, [expected], "and nothing is sorted");
        }
    }

    #[tokio::test]
    async fn abuse_a062_what_is_bound_is_no_sql() {
        let (_folder, database) = fresh().await;
        let (archive, owner) = (database.archive(), jid("juliet@capulet.example"));
        let text = "<message><body>'); DROP TABLE archive; --</body></message>";
        archive.append(&owner, entry("b@b/'; DROP TABLE archive; --", text)).await.unwrap();
        let with = Some("b@b/'; DROP TABLE archive; --".parse().unwrap());
        let selection = Selection { with, max: 9, max_bytes: 999, ..Selection::default() };
        let page = archive.query(&owner, &selection).await.unwrap().unwrap();
        assert_eq!(&*page.entries[0].text, text);
    }

    #[tokio::test]
    async fn a_large_archive_is_trimmed_bit_by_bit_and_only_it() {
        let (_folder, database) = fresh().await;
        let (archive, juliet, romeo) = (database.archive(), jid("juliet@capulet.example"), jid("romeo@b.example"));
        for chunk in 0..20 {
            let appending = (0..130).map(|n| archive.append(&juliet, entry("b@b", &format!("{chunk} {n}"))));
            futures_util::future::try_join_all(appending).await.unwrap();
        }
        archive.append(&romeo, entry("b@b", "his")).await.unwrap();
        let count = async |owner: &BareJid| {
            let sql = "SELECT count(*) FROM archive WHERE owner = $1";
            let count: i64 = sqlx::query_scalar(sql).bind(owner.as_str()).fetch_one(database.pool()).await.unwrap();
            count
        };
        assert_eq!(count(&juliet).await, 2600);
        let (_, newest) = archive.ends(&juliet).await.unwrap().unwrap();
        archive.trim(&juliet, 2600).await.unwrap();
        assert_eq!(count(&juliet).await, 2600);
        archive.trim(&juliet, 3).await.unwrap();
        assert_eq!((count(&juliet).await, archive.ends(&juliet).await.unwrap().unwrap().1), (3, newest));
        archive.forget(&juliet).await.unwrap();
        assert_eq!((count(&juliet).await, count(&romeo).await), (0, 1));
    }
}
