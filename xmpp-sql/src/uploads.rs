//! What is known of uploads (XEP-0363).

use crate::{Database, SqlError};
use sqlx::{Row as _, Sqlite, Transaction, sqlite::SqliteRow};
use xmpp_core::jid::BareJid;
use xmpp_filetransfer::upload::store::{Quota, Reserved, StorageError, Stored, Upload, UploadStore, Usage};

/// Uploads in a [`Database`]. Those of an account that is deleted expire with it.
#[derive(Clone, Debug)]
pub struct SqlUploads {
    database: Database,
}

/// Lets all expire that a user has: whoever has the files removes them, and then their rows.
pub(crate) const FORGET: &str = "UPDATE upload SET expires_at = 0 WHERE owner = $1";

/// What counts the uploads of all.
const ALL: &str = "";

fn failed(error: impl Into<SqlError>) -> StorageError {
    StorageError(Box::new(error.into()))
}

/// A number that the tables cannot hold is as good as the greatest that they can.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn read(row: &SqliteRow) -> Result<Upload, SqlError> {
    let owner: String = row.try_get("owner")?;
    let token: Vec<u8> = row.try_get("token")?;
    let broken = |what: &str| SqlError::Engine(format!("the {what} of an upload cannot be read").into());
    Ok(Upload {
        id: row.try_get("id")?,
        owner: BareJid::new(&owner).map_err(|_| broken("owner"))?,
        name: row.try_get("name")?,
        content_type: row.try_get("content_type")?,
        size: unsigned(row.try_get("size")?),
        token: token.try_into().map_err(|_| broken("token"))?,
        expires: row.try_get::<Option<i64>, _>("expires_at")?.map(unsigned),
        expire_before: row.try_get::<Option<i64>, _>("expire_before")?.map(unsigned),
        published: row.try_get("published")?,
    })
}

async fn used(writing: &mut Transaction<'static, Sqlite>, address: &str) -> Result<Usage, SqlError> {
    let row: Option<(i64, i64)> = sqlx::query_as("SELECT bytes, files FROM upload_usage WHERE address = $1")
        .bind(address)
        .fetch_optional(&mut **writing)
        .await?;
    Ok(row.map(|(bytes, files)| Usage { bytes: unsigned(bytes), files: unsigned(files) }).unwrap_or_default())
}

impl SqlUploads {
    pub(crate) fn new(database: Database) -> SqlUploads {
        SqlUploads { database }
    }

    async fn insert(&self, slot: &Upload, quota: &Quota) -> Result<Reserved, SqlError> {
        let mut writing = self.database.write().await?;
        let own = used(&mut writing, slot.owner.as_str()).await?;
        let all = used(&mut writing, ALL).await?;
        let reserved = own.admits(all, slot.size, quota);
        if reserved != Reserved::Kept {
            return Ok(reserved);
        }
        sqlx::query(
            "INSERT INTO upload (id, owner, name, content_type, size, token, expires_at, expire_before, published) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(&slot.id)
        .bind(slot.owner.as_str())
        .bind(&slot.name)
        .bind(&slot.content_type)
        .bind(number(slot.size))
        .bind(slot.token.as_slice())
        .bind(slot.expires.map(number))
        .bind(slot.expire_before.map(number))
        .bind(slot.published)
        .execute(&mut *writing)
        .await?;
        for address in [slot.owner.as_str(), ALL] {
            sqlx::query(
                "INSERT INTO upload_usage (address, bytes, files) VALUES ($1, $2, 1) ON CONFLICT (address) \
                 DO UPDATE SET bytes = upload_usage.bytes + excluded.bytes, files = upload_usage.files + 1",
            )
            .bind(address)
            .bind(number(slot.size))
            .execute(&mut *writing)
            .await?;
        }
        writing.commit().await?;
        Ok(Reserved::Kept)
    }

    async fn delete(&self, id: &str) -> Result<bool, SqlError> {
        let mut writing = self.database.write().await?;
        let gone: Option<(String, i64)> = sqlx::query_as("DELETE FROM upload WHERE id = $1 RETURNING owner, size")
            .bind(id)
            .fetch_optional(&mut *writing)
            .await?;
        let Some((owner, size)) = gone else { return Ok(false) };
        for address in [owner.as_str(), ALL] {
            sqlx::query("UPDATE upload_usage SET bytes = bytes - $2, files = files - 1 WHERE address = $1")
                .bind(address)
                .bind(size)
                .execute(&mut *writing)
                .await?;
        }
        sqlx::query("DELETE FROM upload_usage WHERE address = $1 AND files <= 0")
            .bind(&owner)
            .execute(&mut *writing)
            .await?;
        writing.commit().await?;
        Ok(true)
    }
}

impl UploadStore for SqlUploads {
    fn reserve<'a>(&'a self, slot: &'a Upload, quota: &'a Quota) -> Stored<'a, Reserved> {
        Box::pin(async move { self.insert(slot, quota).await.map_err(failed) })
    }

    fn find<'a>(&'a self, id: &'a str) -> Stored<'a, Option<Upload>> {
        Box::pin(async move {
            let row = sqlx::query(
                "SELECT id, owner, name, content_type, size, token, expires_at, expire_before, published FROM upload \
                 WHERE id = $1",
            )
            .bind(id)
            .fetch_optional(self.database.pool())
            .await
            .map_err(failed)?;
            row.map(|row| read(&row)).transpose().map_err(failed)
        })
    }

    fn publish<'a>(&'a self, id: &'a str, expires: Option<u64>) -> Stored<'a, bool> {
        Box::pin(async move {
            // What belongs to nobody any more does not come back.
            let published = sqlx::query(
                "UPDATE upload SET published = TRUE, expires_at = $2 \
                 WHERE id = $1 AND NOT published AND (expires_at IS NULL OR expires_at > 0)",
            )
            .bind(id)
            .bind(expires.map(number))
            .execute(self.database.pool())
            .await
            .map_err(failed)?;
            Ok(published.rows_affected() > 0)
        })
    }

    fn remove<'a>(&'a self, id: &'a str) -> Stored<'a, bool> {
        Box::pin(async move { self.delete(id).await.map_err(failed) })
    }

    fn expired<'a>(&'a self, now: u64, most: usize) -> Stored<'a, Vec<String>> {
        Box::pin(async move {
            sqlx::query_scalar("SELECT id FROM upload WHERE expires_at <= $1 ORDER BY expires_at, id LIMIT $2")
                .bind(number(now))
                .bind(i64::try_from(most).unwrap_or(i64::MAX))
                .fetch_all(self.database.pool())
                .await
                .map_err(failed)
        })
    }

    fn of_user<'a>(&'a self, user: &'a BareJid, most: usize) -> Stored<'a, Vec<String>> {
        Box::pin(async move {
            sqlx::query_scalar("SELECT id FROM upload WHERE owner = $1 ORDER BY id LIMIT $2")
                .bind(user.as_str())
                .bind(i64::try_from(most).unwrap_or(i64::MAX))
                .fetch_all(self.database.pool())
                .await
                .map_err(failed)
        })
    }

    fn next_expiry<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<u64>> {
        Box::pin(async move {
            let next: Option<i64> = sqlx::query_scalar(
                "SELECT expires_at FROM upload WHERE owner = $1 AND expires_at IS NOT NULL ORDER BY expires_at LIMIT 1",
            )
            .bind(user.as_str())
            .fetch_optional(self.database.pool())
            .await
            .map_err(failed)?;
            Ok(next.map(unsigned))
        })
    }

    fn usage<'a>(&'a self, user: Option<&'a BareJid>) -> Stored<'a, Usage> {
        Box::pin(async move {
            let row: Option<(i64, i64)> = sqlx::query_as("SELECT bytes, files FROM upload_usage WHERE address = $1")
                .bind(user.map_or(ALL, |user| user.as_str()))
                .fetch_optional(self.database.pool())
                .await
                .map_err(failed)?;
            Ok(row.map(|(bytes, files)| Usage { bytes: unsigned(bytes), files: unsigned(files) }).unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use xmpp_filetransfer::upload::store::conformance;

    fn slot(id: &str, owner: &str) -> Upload {
        Upload {
            id: id.to_owned(),
            owner: owner.parse().unwrap(),
            name: "a.txt".to_owned(),
            content_type: None,
            size: 10,
            token: [1; 32],
            expires: Some(1_000),
            expire_before: None,
            published: false,
        }
    }

    #[tokio::test]
    async fn it_does_what_every_store_must() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        conformance(&database.uploads()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn abuse_a069_many_who_ask_at_once_do_not_exceed_the_quota() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        let quota = Quota { user_bytes: Some(50), ..Quota::default() };
        let asking = (0..20).map(|number| {
            let uploads = database.uploads();
            tokio::spawn(async move { uploads.reserve(&slot(&format!("id{number}"), "a@example.org"), &quota).await })
        });
        let mut kept = 0;
        for asked in asking.collect::<Vec<_>>() {
            kept += usize::from(asked.await.unwrap().unwrap() == Reserved::Kept);
        }
        assert_eq!(kept, 5);
        let user = "a@example.org".parse().unwrap();
        assert_eq!(database.uploads().usage(Some(&user)).await.unwrap(), Usage { bytes: 50, files: 5 });
    }

    #[tokio::test]
    async fn what_a_deleted_account_had_expires_and_does_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        let (accounts, uploads) = (database.accounts(), database.uploads());
        let user = "a@example.org".parse().unwrap();
        accounts.create(&user, "secret").await.unwrap();
        for id in ["one", "two"] {
            uploads.reserve(&slot(id, "a@example.org"), &Quota::default()).await.unwrap();
        }
        assert!(uploads.publish("one", None).await.unwrap());
        assert!(uploads.expired(10, 10).await.unwrap().is_empty());
        accounts.delete(&user).await.unwrap();
        assert_eq!(uploads.expired(10, 10).await.unwrap(), ["one", "two"]);
        assert!(!uploads.publish("two", None).await.unwrap());
    }
}
