//! What is known of uploads (XEP-0363).

use crate::{Database, SqlError};
use sqlx::{Executor, Row as _, Sqlite, sqlite::SqliteRow};
use xmpp_core::jid::BareJid;
use xmpp_filetransfer::upload::store::{
    Bucket, Due, Quota, Reserved, StorageError, Stored, Upload, UploadStore, Usage,
};

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

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

fn read(row: &SqliteRow) -> Result<Upload, SqlError> {
    let owner: String = row.try_get("owner")?;
    let (token, bucket): (Vec<u8>, String) = (row.try_get("token")?, row.try_get("bucket")?);
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
        created: unsigned(row.try_get("created_at")?),
        bucket: Bucket::read(&bucket).ok_or_else(|| broken("bucket"))?,
    })
}

fn usage((bytes, files): (i64, i64)) -> Usage {
    Usage { bytes: unsigned(bytes), files: unsigned(files) }
}

async fn used(reading: impl Executor<'_, Database = Sqlite>, address: &str) -> Result<Usage, SqlError> {
    let row: Option<(i64, i64)> = sqlx::query_as("SELECT bytes, files FROM upload_usage WHERE address = $1")
        .bind(address)
        .fetch_optional(reading)
        .await?;
    Ok(row.map(usage).unwrap_or_default())
}

async fn used_in(
    reading: impl Executor<'_, Database = Sqlite>,
    owner: &BareJid,
    bucket: Bucket,
) -> Result<Usage, SqlError> {
    let row: (i64, i64) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT), COUNT(*) FROM upload WHERE owner = $1 AND bucket = $2",
    )
    .bind(owner.as_str())
    .bind(bucket.as_str())
    .fetch_one(reading)
    .await?;
    Ok(usage(row))
}

impl SqlUploads {
    pub(crate) fn new(database: Database) -> SqlUploads {
        SqlUploads { database }
    }

    async fn insert(&self, slot: &Upload, quota: &Quota) -> Result<Reserved, SqlError> {
        let mut writing = self.database.write().await?;
        let own = used(&mut *writing, slot.owner.as_str()).await?;
        let all = used(&mut *writing, ALL).await?;
        // Where buckets have no quota nobody counts what is in them.
        let counts = quota.bucket_bytes.is_some() || quota.bucket_files.is_some();
        let bucket = if counts { used_in(&mut *writing, &slot.owner, slot.bucket).await? } else { Usage::default() };
        let reserved = own.admits(bucket, all, slot.size, quota);
        if reserved != Reserved::Kept {
            return Ok(reserved);
        }
        sqlx::query(
            "INSERT INTO upload (id, owner, name, content_type, size, token, expires_at, expire_before, published, \
             created_at, bucket) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
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
        .bind(number(slot.created))
        .bind(slot.bucket.as_str())
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
                "SELECT id, owner, name, content_type, size, token, expires_at, expire_before, published, created_at, \
                 bucket FROM upload WHERE id = $1",
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

    fn release<'a>(&'a self, user: &'a BareJid) -> Stored<'a, u64> {
        Box::pin(async move {
            let releasing = sqlx::query(FORGET).bind(user.as_str());
            Ok(releasing.execute(self.database.pool()).await.map_err(failed)?.rows_affected())
        })
    }

    fn expired<'a>(
        &'a self,
        user: Option<&'a BareJid>,
        now: u64,
        after: Option<&'a Due>,
        most: usize,
    ) -> Stored<'a, Vec<Due>> {
        Box::pin(async move {
            let those = match user {
                Some(user) => sqlx::query_as(
                    "SELECT expires_at, id FROM upload WHERE owner = $1 AND expires_at <= $2 \
                     AND (expires_at, id) > ($3, $4) ORDER BY expires_at, id LIMIT $5",
                )
                .bind(user.as_str()),
                None => sqlx::query_as(
                    "SELECT expires_at, id FROM upload WHERE expires_at <= $1 AND (expires_at, id) > ($2, $3) \
                     ORDER BY expires_at, id LIMIT $4",
                ),
            };
            let rows: Vec<(i64, String)> = those
                .bind(number(now))
                .bind(after.map_or(-1, |after| number(after.expires)))
                .bind(after.map_or("", |after| &after.id))
                .bind(limit(most))
                .fetch_all(self.database.pool())
                .await
                .map_err(failed)?;
            Ok(rows.into_iter().map(|(expires, id)| Due { expires: unsigned(expires), id }).collect())
        })
    }

    fn files_of<'a>(&'a self, user: &'a BareJid, after: Option<&'a Upload>, most: usize) -> Stored<'a, Vec<Upload>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT id, owner, name, content_type, size, token, expires_at, expire_before, published, created_at, \
                 bucket FROM upload WHERE owner = $1 AND published AND (created_at, id) < ($2, $3) \
                 ORDER BY created_at DESC, id DESC LIMIT $4",
            )
            .bind(user.as_str())
            .bind(after.map_or(i64::MAX, |after| number(after.created)))
            .bind(after.map_or("", |after| &after.id))
            .bind(limit(most))
            .fetch_all(self.database.pool())
            .await
            .map_err(failed)?;
            rows.iter().map(read).collect::<Result<_, _>>().map_err(failed)
        })
    }

    fn files<'a>(&'a self, after: Option<&'a str>, most: usize) -> Stored<'a, Vec<(String, u64)>> {
        Box::pin(async move {
            let rows: Vec<(String, i64)> =
                sqlx::query_as("SELECT id, size FROM upload WHERE id > $1 AND published ORDER BY id LIMIT $2")
                    .bind(after.unwrap_or_default())
                    .bind(limit(most))
                    .fetch_all(self.database.pool())
                    .await
                    .map_err(failed)?;
            Ok(rows.into_iter().map(|(id, size)| (id, unsigned(size))).collect())
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
        Box::pin(
            async move { used(self.database.pool(), user.map_or(ALL, |user| user.as_str())).await.map_err(failed) },
        )
    }

    fn usage_in<'a>(&'a self, user: &'a BareJid, bucket: Bucket) -> Stored<'a, Usage> {
        Box::pin(async move { used_in(self.database.pool(), user, bucket).await.map_err(failed) })
    }

    fn usages(&self, most: usize) -> Stored<'_, Vec<(BareJid, Usage)>> {
        Box::pin(async move {
            let rows: Vec<(String, i64, i64)> = sqlx::query_as(
                "SELECT address, bytes, files FROM upload_usage WHERE bytes >= 0 AND address <> '' \
                 ORDER BY bytes DESC, address LIMIT $1",
            )
            .bind(limit(most))
            .fetch_all(self.database.pool())
            .await
            .map_err(failed)?;
            let known = rows
                .into_iter()
                .filter_map(|(address, bytes, files)| Some((BareJid::new(&address).ok()?, usage((bytes, files)))));
            Ok(known.collect())
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
            created: 0,
            bucket: Bucket::Message,
        }
    }

    fn ids(due: Vec<Due>) -> Vec<String> {
        due.into_iter().map(|due| due.id).collect()
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
        assert!(uploads.expired(None, 10, None, 10).await.unwrap().is_empty());
        accounts.delete(&user).await.unwrap();
        assert_eq!(ids(uploads.expired(None, 10, None, 10).await.unwrap()), ["one", "two"]);
        assert!(!uploads.publish("two", None).await.unwrap());
    }

    #[tokio::test]
    async fn files_from_before_buckets_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.sqlite");
        let database = crate::database::tests::of_version(&path, 15).await;
        let row = "INSERT INTO upload (id, owner, name, size, token, expires_at, published) \
                   VALUES ('one', 'a@example.org', 'a.txt', 10, zeroblob(32), NULL, TRUE)";
        sqlx::raw_sql(row).execute(database.pool()).await.unwrap();
        database.close().await;
        let uploads = Database::open(&path).await.unwrap().uploads();
        let found = uploads.find("one").await.unwrap().unwrap();
        assert_eq!((found.created, found.bucket, found.published), (0, Bucket::Message, true));
        let user = "a@example.org".parse().unwrap();
        assert_eq!(uploads.files_of(&user, None, 10).await.unwrap(), [found]);
    }
}
