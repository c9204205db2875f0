//! Offline messages (XEP-0160).

use crate::{Database, SqlError};
use xmpp_core::{jid::BareJid, payload::DateTime};
use xmpp_im::{
    Stored,
    offline::{OfflineLimits, OfflineMessage, OfflineStore},
};

/// Offline messages in a [`Database`]. They go with their account.
#[derive(Clone, Debug)]
pub struct SqlOffline {
    database: Database,
}

impl SqlOffline {
    pub(crate) fn new(database: Database) -> SqlOffline {
        SqlOffline { database }
    }

    async fn insert(
        &self,
        user: &BareJid,
        message: OfflineMessage,
        again: bool,
        limits: &OfflineLimits,
    ) -> Result<bool, SqlError> {
        let mut writing = self.database.write().await?;
        let (count, of_sender, bytes, last): (i64, i64, i64, Option<i64>) = sqlx::query_as(
            "SELECT COUNT(*), COALESCE(SUM(CASE WHEN sender = $2 THEN 1 ELSE 0 END), 0), COALESCE(SUM(bytes), 0), \
             MAX(stamp) FROM offline WHERE address = $1",
        )
        .bind(user.as_str())
        .bind(message.sender.as_str())
        .fetch_one(&mut *writing)
        .await?;
        let size = number(message.stanza.len());
        if count >= number(limits.messages)
            || of_sender >= number(limits.messages_per_sender)
            || bytes.saturating_add(size) > number(limits.bytes)
        {
            return Ok(false);
        }
        let behind = last.filter(|_| !again).map_or(i64::MIN, |last| last.saturating_add(1));
        sqlx::query("INSERT INTO offline (address, sender, stamp, bytes, stanza) VALUES ($1, $2, $3, $4, $5)")
            .bind(user.as_str())
            .bind(message.sender.as_str())
            .bind(message.at.unix_millis().max(behind))
            .bind(size)
            .bind(message.stanza.as_str())
            .execute(&mut *writing)
            .await?;
        writing.commit().await?;
        Ok(true)
    }

    async fn select(&self, user: &BareJid, most: usize) -> Result<Vec<OfflineMessage>, SqlError> {
        let rows: Vec<(i64, i64, String, String)> = sqlx::query_as(
            "SELECT number, stamp, sender, stanza FROM offline WHERE address = $1 ORDER BY stamp, number LIMIT $2",
        )
        .bind(user.as_str())
        .bind(number(most))
        .fetch_all(self.database.pool())
        .await?;
        rows.into_iter()
            .map(|(number, stamp, sender, stanza)| {
                let sender = BareJid::new(&sender).map_err(|error| SqlError::Engine(Box::new(error)))?;
                let at = moment(stamp).ok_or_else(|| SqlError::Engine("a time outside all years".into()))?;
                Ok(OfflineMessage { number, at, sender, stanza })
            })
            .collect()
    }

    async fn delete(&self, user: &BareJid, numbers: &[i64]) -> Result<(), SqlError> {
        let mut writing = self.database.write().await?;
        for number in numbers {
            sqlx::query("DELETE FROM offline WHERE address = $1 AND number = $2")
                .bind(user.as_str())
                .bind(number)
                .execute(&mut *writing)
                .await?;
        }
        Ok(writing.commit().await?)
    }

    async fn clear(&self, user: &BareJid) -> Result<(), SqlError> {
        let clear = sqlx::query("DELETE FROM offline WHERE address = $1").bind(user.as_str());
        clear.execute(self.database.pool()).await?;
        Ok(())
    }
}

/// A number that the tables cannot hold is as good as the greatest that they can.
fn number(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn moment(millis: i64) -> Option<DateTime> {
    let nanos = u32::try_from(millis.rem_euclid(1_000)).ok()?.checked_mul(1_000_000)?;
    DateTime::from_unix(millis.div_euclid(1_000), nanos)
}

impl OfflineStore for SqlOffline {
    fn keep<'a>(
        &'a self,
        user: &'a BareJid,
        message: OfflineMessage,
        again: bool,
        limits: &'a OfflineLimits,
    ) -> Stored<'a, bool> {
        Box::pin(async move { Ok(self.insert(user, message, again, limits).await.map_err(Box::from)?) })
    }

    fn first<'a>(&'a self, user: &'a BareJid, most: usize) -> Stored<'a, Vec<OfflineMessage>> {
        Box::pin(async move { Ok(self.select(user, most).await.map_err(Box::from)?) })
    }

    fn remove<'a>(&'a self, user: &'a BareJid, numbers: &'a [i64]) -> Stored<'a, ()> {
        Box::pin(async move {
            if !numbers.is_empty() {
                self.delete(user, numbers).await.map_err(Box::from)?;
            }
            Ok(())
        })
    }

    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(async move { Ok(self.clear(user).await.map_err(Box::from)?) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use xmpp_im::offline::conformance;

    fn jid(text: &str) -> BareJid {
        text.parse().unwrap()
    }

    async fn fresh() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        (folder, database)
    }

    #[tokio::test]
    async fn it_does_what_every_store_of_offline_messages_must() {
        let (_folder, database) = fresh().await;
        conformance(&database.offline(), &jid("juliet@example.org"), &jid("romeo@example.org")).await;
    }

    #[tokio::test]
    async fn messages_outlive_the_process_and_go_with_the_account() {
        let (folder, database) = fresh().await;
        let juliet = jid("juliet@example.org");
        database.accounts().create(&juliet, "x").await.unwrap();
        let limits = OfflineLimits::default();
        let message = OfflineMessage {
            number: 0,
            at: DateTime::from_unix(1_000_000_000, 123_000_000).unwrap(),
            sender: jid("romeo@example.org"),
            stanza: "<message from='romeo@example.org/x'/>".into(),
        };
        assert!(database.offline().keep(&juliet, message.clone(), false, &limits).await.unwrap());
        database.close().await;
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        let mut kept = database.offline().first(&juliet, 9).await.unwrap();
        assert_ne!(kept[0].number, 0);
        kept[0].number = 0;
        assert_eq!(kept, [message]);
        database.accounts().delete(&juliet).await.unwrap();
        assert!(database.offline().first(&juliet, 9).await.unwrap().is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn abuse_a068_the_quota_holds_for_many_who_write_at_once() {
        let (folder, _database) = fresh().await;
        let mut limits = OfflineLimits::default();
        limits.messages = 10;
        let mut keeping = Vec::new();
        for sender in 0..4 {
            // Pools of their own, as other processes have.
            let store = Database::open(folder.path().join("test.sqlite")).await.unwrap().offline();
            let limits = limits.clone();
            keeping.push(tokio::spawn(async move {
                let mut kept = 0;
                for n in 0..5 {
                    let message = OfflineMessage {
                        number: 0,
                        at: DateTime::from_unix(n, 0).unwrap(),
                        sender: jid(&format!("sender{sender}@example.org")),
                        stanza: "<message/>".into(),
                    };
                    kept += usize::from(store.keep(&jid("a@example.org"), message, false, &limits).await.unwrap());
                }
                kept
            }));
        }
        let mut kept = 0;
        for one in keeping {
            kept += one.await.unwrap();
        }
        assert_eq!(kept, 10);
    }
}
