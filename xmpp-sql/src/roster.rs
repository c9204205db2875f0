//! Rosters: items with the versions of their last change, and requests that wait.

use crate::{Database, SqlError};
use sqlx::{Row as _, Sqlite, Transaction, sqlite::SqliteRow};
use xmpp_core::{
    jid::BareJid,
    xml::{Stanza, XmlLimits, ns},
};
use xmpp_im::{
    StorageError, Stored,
    roster::{
        Before, Decide, Item, Record, Relation, Request, Roster, RosterLimits, RosterStore, Subscription, Versioned,
        next_version,
    },
};

/// Rosters in a [`Database`].
#[derive(Clone, Debug)]
pub struct SqlRosters {
    database: Database,
}

/// Between the names of groups.
const END_OF_GROUP: char = '\u{1f}';

/// What has been removed is there no more but for versions.
const PRESENT: &str = "subscription <> 'remove'";

impl SqlRosters {
    pub(crate) fn new(database: Database) -> SqlRosters {
        SqlRosters { database }
    }
}

fn number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

fn version(row: &SqliteRow) -> Result<u64, sqlx::Error> {
    Ok(row.try_get::<i64, _>("version")?.try_into().unwrap_or_default())
}

fn address(row: &SqliteRow, column: &str) -> Result<BareJid, SqlError> {
    let text: String = row.try_get(column)?;
    BareJid::new(&text).map_err(|error| SqlError::Engine(Box::new(error)))
}

fn item(row: &SqliteRow) -> Result<Item, SqlError> {
    let subscription: String = row.try_get("subscription")?;
    let groups: String = row.try_get("groups")?;
    Ok(Item {
        name: row.try_get("name")?,
        subscription: Subscription::read(&subscription),
        ask: row.try_get("ask")?,
        approved: row.try_get("approved")?,
        groups: groups.split_terminator(END_OF_GROUP).map(str::to_owned).collect(),
        ..Item::new(address(row, "contact")?)
    })
}

fn versioned(row: &SqliteRow) -> Result<Versioned, SqlError> {
    Ok(Versioned { version: version(row)?, item: item(row)? })
}

fn request(row: &SqliteRow) -> Result<Stanza, SqlError> {
    let text: String = row.try_get("stanza")?;
    Stanza::parse(&text, ns::CLIENT, &XmlLimits::default()).map_err(|error| SqlError::Engine(Box::new(error)))
}

/// The versions of a roster: its own, and that before which removed items are forgotten.
#[derive(Clone, Copy, Default)]
struct Versions {
    now: u64,
    horizon: u64,
}

impl Versions {
    fn read(row: &SqliteRow) -> Result<Versions, SqlError> {
        let horizon: i64 = row.try_get("horizon")?;
        Ok(Versions { now: version(row)?, horizon: horizon.try_into().unwrap_or_default() })
    }
}

impl SqlRosters {
    /// Reads what belongs together: nobody writes in between.
    async fn reading(&self) -> Result<Transaction<'static, Sqlite>, SqlError> {
        Ok(self.database.pool().begin().await?)
    }

    async fn versions(reading: &mut Transaction<'static, Sqlite>, user: &BareJid) -> Result<Versions, SqlError> {
        let row = sqlx::query("SELECT version, horizon FROM roster WHERE address = $1")
            .bind(user.as_str())
            .fetch_optional(&mut **reading)
            .await?;
        row.as_ref().map(Versions::read).transpose().map(Option::unwrap_or_default)
    }

    async fn read_roster(&self, user: &BareJid) -> Result<Roster, SqlError> {
        let mut reading = self.reading().await?;
        let version = Self::versions(&mut reading, user).await?.now;
        let query = format!("SELECT * FROM roster_item WHERE address = $1 AND {PRESENT} ORDER BY contact");
        let rows = sqlx::query(sqlx::AssertSqlSafe(query)).bind(user.as_str()).fetch_all(&mut *reading).await?;
        Ok(Roster { version, items: rows.iter().map(item).collect::<Result<_, _>>()? })
    }

    async fn read_since(&self, user: &BareJid, since: u64) -> Result<Option<Vec<Versioned>>, SqlError> {
        let mut reading = self.reading().await?;
        let versions = Self::versions(&mut reading, user).await?;
        if !(versions.horizon..=versions.now).contains(&since) {
            return Ok(None);
        }
        let rows = sqlx::query("SELECT * FROM roster_item WHERE address = $1 AND version > $2 ORDER BY version")
            .bind(user.as_str())
            .bind(number(since))
            .fetch_all(&mut *reading)
            .await?;
        rows.iter().map(versioned).collect::<Result<_, _>>().map(Some)
    }

    async fn read_record(
        reading: &mut Transaction<'static, Sqlite>,
        user: &BareJid,
        contact: &BareJid,
    ) -> Result<Record, SqlError> {
        let query = format!("SELECT * FROM roster_item WHERE address = $1 AND contact = $2 AND {PRESENT}");
        let row = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(user.as_str())
            .bind(contact.as_str())
            .fetch_optional(&mut **reading)
            .await?;
        let item = row.as_ref().map(item).transpose()?;
        let row = sqlx::query("SELECT stanza FROM roster_request WHERE address = $1 AND contact = $2")
            .bind(user.as_str())
            .bind(contact.as_str())
            .fetch_optional(&mut **reading)
            .await?;
        Ok(Record { item, request: row.as_ref().map(request).transpose()? })
    }

    async fn read_relations(&self, user: &BareJid) -> Result<Vec<Relation>, SqlError> {
        let rows = sqlx::query(
            "SELECT contact, subscription, ask FROM roster_item \
             WHERE address = $1 AND (subscription IN ('to', 'from', 'both') OR (subscription = 'none' AND ask = 1))",
        )
        .bind(user.as_str())
        .fetch_all(self.database.pool())
        .await?;
        let relation = |row: &SqliteRow| -> Result<Relation, SqlError> {
            let subscription: String = row.try_get("subscription")?;
            let subscription = Subscription::read(&subscription);
            Ok(Relation { contact: address(row, "contact")?, subscription, ask: row.try_get("ask")? })
        };
        rows.iter().map(relation).collect()
    }

    async fn read_grants(&self, contact: &BareJid) -> Result<Vec<BareJid>, SqlError> {
        let rows =
            sqlx::query("SELECT address FROM roster_item WHERE contact = $1 AND subscription IN ('from', 'both')")
                .bind(contact.as_str())
                .fetch_all(self.database.pool())
                .await?;
        rows.iter().map(|row| address(row, "address")).collect()
    }

    async fn read_requests(&self, user: &BareJid) -> Result<Vec<Request>, SqlError> {
        let rows = sqlx::query("SELECT contact, stanza FROM roster_request WHERE address = $1 ORDER BY number")
            .bind(user.as_str())
            .fetch_all(self.database.pool())
            .await?;
        rows.iter().map(|row| Ok(Request { contact: address(row, "contact")?, stanza: request(row)? })).collect()
    }

    async fn write(
        &self,
        user: &BareJid,
        contact: &BareJid,
        limits: &RosterLimits,
        decide: Decide<'_>,
    ) -> Result<Option<Versioned>, SqlError> {
        let mut writing = self.database.write().await?;
        let record = Self::read_record(&mut writing, user, contact).await?;
        let query = format!("SELECT count(*) FROM roster_item WHERE address = $1 AND {PRESENT}");
        let items: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(query)).bind(user.as_str()).fetch_one(&mut *writing).await?;
        let before = Before { record, items: usize::try_from(items).unwrap_or(usize::MAX) };
        let Some(after) = decide(&before) else { return Ok(None) };
        let before = before.record;
        match &after.request {
            Some(stanza) if before.request.is_none() => {
                keep_request(&mut writing, user, contact, stanza, limits.requests).await?;
            }
            None if before.request.is_some() => {
                sqlx::query("DELETE FROM roster_request WHERE address = $1 AND contact = $2")
                    .bind(user.as_str())
                    .bind(contact.as_str())
                    .execute(&mut *writing)
                    .await?;
            }
            _ => {}
        }
        let change = if after.item == before.item {
            None
        } else {
            let item = after.item.unwrap_or_else(|| Item::removed(contact.clone()));
            Some(keep_item(&mut writing, user, contact, limits, item).await?)
        };
        writing.commit().await?;
        Ok(change)
    }

    async fn delete(&self, user: &BareJid) -> Result<(), SqlError> {
        let mut writing = self.database.write().await?;
        forget(&mut writing, user).await?;
        Ok(writing.commit().await?)
    }
}

/// Deletes all that is a user's.
pub(crate) async fn forget(writing: &mut Transaction<'static, Sqlite>, user: &BareJid) -> Result<(), SqlError> {
    for statement in [
        "DELETE FROM roster WHERE address = $1",
        "DELETE FROM roster_item WHERE address = $1",
        "DELETE FROM roster_request WHERE address = $1",
    ] {
        sqlx::query(statement).bind(user.as_str()).execute(&mut **writing).await?;
    }
    Ok(())
}

async fn keep_request(
    writing: &mut Transaction<'static, Sqlite>,
    user: &BareJid,
    contact: &BareJid,
    stanza: &Stanza,
    limit: usize,
) -> Result<(), SqlError> {
    sqlx::query("INSERT INTO roster_request (address, contact, stanza) VALUES ($1, $2, $3)")
        .bind(user.as_str())
        .bind(contact.as_str())
        .bind(stanza.as_str())
        .execute(&mut **writing)
        .await?;
    sqlx::query(
        "DELETE FROM roster_request WHERE address = $1 AND number NOT IN \
         (SELECT number FROM roster_request WHERE address = $1 ORDER BY number DESC LIMIT $2)",
    )
    .bind(user.as_str())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .execute(&mut **writing)
    .await?;
    Ok(())
}

/// Writes an item, or that it is removed, as a new version of the roster.
async fn keep_item(
    writing: &mut Transaction<'static, Sqlite>,
    user: &BareJid,
    contact: &BareJid,
    limits: &RosterLimits,
    item: Item,
) -> Result<Versioned, SqlError> {
    let versions = SqlRosters::versions(writing, user).await?;
    let version = next_version(versions.now);
    let groups: String = item.groups.iter().flat_map(|group| [group.as_str(), "\u{1f}"]).collect();
    sqlx::query(
        "INSERT INTO roster_item (address, contact, version, subscription, ask, approved, name, groups) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (address, contact) DO UPDATE SET version = $3, \
         subscription = $4, ask = $5, approved = $6, name = $7, groups = $8",
    )
    .bind(user.as_str())
    .bind(contact.as_str())
    .bind(number(version))
    .bind(item.subscription.as_str())
    .bind(item.ask)
    .bind(item.approved)
    .bind(item.name.as_deref())
    .bind(groups)
    .execute(&mut **writing)
    .await?;
    let horizon = forget_removed(writing, user, limits.removed).await?.unwrap_or_default().max(versions.horizon);
    sqlx::query(
        "INSERT INTO roster (address, version, horizon) VALUES ($1, $2, $3) \
         ON CONFLICT (address) DO UPDATE SET version = $2, horizon = $3",
    )
    .bind(user.as_str())
    .bind(number(version))
    .bind(number(horizon))
    .execute(&mut **writing)
    .await?;
    Ok(Versioned { version, item })
}

/// Forgets the oldest removals; answers the version of the last of them.
async fn forget_removed(
    writing: &mut Transaction<'static, Sqlite>,
    user: &BareJid,
    limit: usize,
) -> Result<Option<u64>, SqlError> {
    let newest: Option<i64> = sqlx::query_scalar(
        "SELECT version FROM roster_item WHERE address = $1 AND subscription = 'remove' \
         ORDER BY version DESC LIMIT 1 OFFSET $2",
    )
    .bind(user.as_str())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_optional(&mut **writing)
    .await?;
    if let Some(newest) = newest {
        sqlx::query("DELETE FROM roster_item WHERE address = $1 AND subscription = 'remove' AND version <= $2")
            .bind(user.as_str())
            .bind(newest)
            .execute(&mut **writing)
            .await?;
    }
    Ok(newest.and_then(|newest| newest.try_into().ok()))
}

fn failed(error: SqlError) -> StorageError {
    StorageError(Box::new(error))
}

impl RosterStore for SqlRosters {
    fn roster<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Roster> {
        Box::pin(async move { self.read_roster(user).await.map_err(failed) })
    }

    fn since<'a>(&'a self, user: &'a BareJid, version: u64) -> Stored<'a, Option<Vec<Versioned>>> {
        Box::pin(async move { self.read_since(user, version).await.map_err(failed) })
    }

    fn record<'a>(&'a self, user: &'a BareJid, contact: &'a BareJid) -> Stored<'a, Record> {
        Box::pin(async move {
            let mut reading = self.reading().await.map_err(failed)?;
            Self::read_record(&mut reading, user, contact).await.map_err(failed)
        })
    }

    fn relations<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Relation>> {
        Box::pin(async move { self.read_relations(user).await.map_err(failed) })
    }

    fn grants<'a>(&'a self, contact: &'a BareJid) -> Stored<'a, Vec<BareJid>> {
        Box::pin(async move { self.read_grants(contact).await.map_err(failed) })
    }

    fn requests<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Request>> {
        Box::pin(async move { self.read_requests(user).await.map_err(failed) })
    }

    fn change<'a>(
        &'a self,
        user: &'a BareJid,
        contact: &'a BareJid,
        limits: &'a RosterLimits,
        decide: Decide<'a>,
    ) -> Stored<'a, Option<Versioned>> {
        Box::pin(async move { self.write(user, contact, limits, decide).await.map_err(failed) })
    }

    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(async move { self.delete(user).await.map_err(failed) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use xmpp_im::roster::conformance;

    fn jid(text: &str) -> BareJid {
        text.parse().unwrap()
    }

    async fn fresh() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        (folder, database)
    }

    fn put(item: Item) -> Decide<'static> {
        Box::new(|before| Some(Record { item: Some(item), ..before.record.clone() }))
    }

    #[tokio::test]
    async fn it_does_what_every_store_of_rosters_must() {
        let (_folder, database) = fresh().await;
        conformance(&database.rosters(), &jid("juliet@example.org"), &jid("romeo@example.org")).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn those_who_change_one_roster_at_once_lose_nothing_and_share_no_version() {
        let (folder, database) = fresh().await;
        let mut changing = Vec::new();
        for writer in 0..4 {
            // Pools of their own, as other processes have.
            let rosters = Database::open(folder.path().join("test.sqlite")).await.unwrap().rosters();
            changing.push(tokio::spawn(async move {
                let (user, limits) = (jid("juliet@example.org"), RosterLimits::default());
                let mut versions = Vec::new();
                for round in 0..10 {
                    let own = jid(&format!("contact{writer}-{round}@example.net"));
                    let change = rosters.change(&user, &own, &limits, put(Item::new(own.clone()))).await.unwrap();
                    versions.push(change.unwrap().version);
                    // All write to this one, each one group more.
                    let common = jid("common@example.net");
                    let group = format!("{writer}-{round}");
                    let add: Decide<'_> = Box::new(|before| {
                        let mut record = before.record.clone();
                        record.item.get_or_insert_with(|| Item::new(jid("common@example.net"))).groups.push(group);
                        Some(record)
                    });
                    let change = rosters.change(&user, &common, &limits, add).await.unwrap();
                    versions.push(change.unwrap().version);
                }
                versions
            }));
        }
        let mut versions = Vec::new();
        for one in changing {
            versions.extend(one.await.unwrap());
        }
        versions.sort_unstable();
        versions.dedup();
        assert_eq!(versions.len(), 80, "each change has a version of its own");
        let roster = database.rosters().roster(&jid("juliet@example.org")).await.unwrap();
        assert_eq!((roster.items.len(), roster.version), (41, versions[79]));
        let common = roster.items.iter().find(|item| item.jid == jid("common@example.net")).unwrap();
        assert_eq!(common.groups.len(), 40);
    }

    #[tokio::test]
    async fn a_deleted_account_leaves_no_roster() {
        let (_folder, database) = fresh().await;
        let (rosters, limits) = (database.rosters(), RosterLimits::default());
        let users = [jid("juliet@example.org"), jid("romeo@example.org")];
        for user in &users {
            database.accounts().create(user, "x").await.unwrap();
            let contact = jid("nurse@example.net");
            rosters.change(user, &contact, &limits, put(Item::new(contact.clone()))).await.unwrap();
        }
        database.accounts().delete(&users[0]).await.unwrap();
        assert_eq!(rosters.roster(&users[0]).await.unwrap().items.len(), 1, "for the server, to tell the contacts");
        rosters.forget(&users[0]).await.unwrap();
        assert_eq!(rosters.roster(&users[0]).await.unwrap(), Roster::default());
        assert_eq!(rosters.roster(&users[1]).await.unwrap().items.len(), 1);
        // What is written behind that is not for the next one of that name.
        let contact = jid("nurse@example.net");
        rosters.change(&users[0], &contact, &limits, put(Item::new(contact.clone()))).await.unwrap();
        database.accounts().create(&users[0], "x").await.unwrap();
        assert_eq!(rosters.roster(&users[0]).await.unwrap(), Roster::default());
    }

    #[tokio::test]
    async fn who_had_no_account_is_forgotten_at_the_start() {
        let (_folder, database) = fresh().await;
        let (rosters, limits) = (database.rosters(), RosterLimits::default());
        let users = ["a1@anon.example", "b2@anon.example", "c3@other.example", "d4@xanon.example"].map(jid);
        for user in &users {
            let contact = jid("nurse@example.net");
            rosters.change(user, &contact, &limits, put(Item::new(contact.clone()))).await.unwrap();
        }
        database.accounts().create(&users[1], "x").await.unwrap();
        let contact = jid("nurse@example.net");
        rosters.change(&users[1], &contact, &limits, put(Item::new(contact.clone()))).await.unwrap();
        database.accounts().forget_strangers("anon.example").await.unwrap();
        let mut left = Vec::new();
        for user in &users {
            left.push(rosters.roster(user).await.unwrap().items.len());
        }
        assert_eq!(left, [0, 1, 1, 1], "accounts and other domains stay");
    }

    #[tokio::test]
    async fn contacts_of_a_deleted_account_are_told() {
        use xmpp_core::server::Server;
        let (_folder, database) = fresh().await;
        let (accounts, rosters, limits) = (database.accounts(), database.rosters(), RosterLimits::default());
        let (juliet, romeo) = (jid("juliet@example.org"), jid("romeo@example.org"));
        for (user, contact) in [(&juliet, &romeo), (&romeo, &juliet)] {
            accounts.create(user, "x").await.unwrap();
            let friend = Item { subscription: Subscription::Both, ..Item::new(contact.clone()) };
            rosters.change(user, contact, &limits, put(friend)).await.unwrap();
        }
        let builder = Server::builder("example.org").accounts(accounts.clone());
        let server = builder.with(xmpp_im::roster::server(database.rosters())).build().unwrap();
        accounts.delete(&juliet).await.unwrap();
        server.account_removed(&juliet).await;
        assert_eq!(rosters.roster(&juliet).await.unwrap(), Roster::default());
        // They learn of it beside.
        let his = async {
            loop {
                let left = rosters.relations(&romeo).await.unwrap();
                if left.is_empty() {
                    return;
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), his).await.unwrap();
    }
}
