//! Block lists (XEP-0191).

use crate::{Database, SqlError};
use xmpp_core::jid::{BareJid, Jid};
use xmpp_im::{Stored, blocking::BlockingStore};

/// Block lists in a [`Database`]. They go with their account.
#[derive(Clone, Debug)]
pub struct SqlBlocking {
    database: Database,
}

impl SqlBlocking {
    pub(crate) fn new(database: Database) -> SqlBlocking {
        SqlBlocking { database }
    }

    async fn select(&self, user: &BareJid) -> Result<Vec<Jid>, SqlError> {
        let rows: Vec<String> = sqlx::query_scalar("SELECT jid FROM blocked WHERE address = $1 ORDER BY jid")
            .bind(user.as_str())
            .fetch_all(self.database.pool())
            .await?;
        let jids = rows.iter().map(|jid| Jid::lenient(jid));
        jids.collect::<Result<_, _>>().map_err(|error| SqlError::Engine(Box::new(error)))
    }

    async fn insert(&self, user: &BareJid, jids: &[Jid], limit: usize) -> Result<Option<Vec<Jid>>, SqlError> {
        let mut writing = self.database.write().await?;
        let mut new = Vec::new();
        for jid in jids {
            let inserted = sqlx::query("INSERT INTO blocked (address, jid) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(user.as_str())
                .bind(jid.as_str())
                .execute(&mut *writing)
                .await?;
            if inserted.rows_affected() > 0 {
                new.push(jid.clone());
            }
        }
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM blocked WHERE address = $1")
            .bind(user.as_str())
            .fetch_one(&mut *writing)
            .await?;
        if usize::try_from(count).unwrap_or(usize::MAX) > limit {
            // The transaction goes back to where it began.
            return Ok(None);
        }
        writing.commit().await?;
        Ok(Some(new))
    }

    async fn delete(&self, user: &BareJid, jids: Option<&[Jid]>) -> Result<Vec<Jid>, SqlError> {
        let all;
        let jids = match jids {
            Some(jids) => jids,
            None => {
                all = self.select(user).await?;
                all.as_slice()
            }
        };
        let mut writing = self.database.write().await?;
        let mut gone = Vec::new();
        for jid in jids {
            let deleted = sqlx::query("DELETE FROM blocked WHERE address = $1 AND jid = $2")
                .bind(user.as_str())
                .bind(jid.as_str())
                .execute(&mut *writing)
                .await?;
            if deleted.rows_affected() > 0 {
                gone.push(jid.clone());
            }
        }
        writing.commit().await?;
        Ok(gone)
    }

    async fn clear(&self, user: &BareJid) -> Result<(), SqlError> {
        let clear = sqlx::query("DELETE FROM blocked WHERE address = $1").bind(user.as_str());
        clear.execute(self.database.pool()).await?;
        Ok(())
    }
}

impl BlockingStore for SqlBlocking {
    fn list<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Jid>> {
        Box::pin(async move { Ok(self.select(user).await.map_err(Box::from)?) })
    }

    fn block<'a>(&'a self, user: &'a BareJid, jids: &'a [Jid], limit: usize) -> Stored<'a, Option<Vec<Jid>>> {
        Box::pin(async move { Ok(self.insert(user, jids, limit).await.map_err(Box::from)?) })
    }

    fn unblock<'a>(&'a self, user: &'a BareJid, jids: Option<&'a [Jid]>) -> Stored<'a, Vec<Jid>> {
        Box::pin(async move { Ok(self.delete(user, jids).await.map_err(Box::from)?) })
    }

    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(async move { Ok(self.clear(user).await.map_err(Box::from)?) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use xmpp_im::blocking::conformance;

    fn jid(text: &str) -> BareJid {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn it_does_what_every_store_of_block_lists_must() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        conformance(&database.blocking(), &jid("juliet@example.org"), &jid("romeo@example.org")).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn abuse_a071_the_limit_holds_for_many_who_write_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        let user = jid("juliet@example.org");
        database.accounts().create(&user, "x").await.unwrap();
        let mut blocking = Vec::new();
        for writer in 0..4 {
            let store = Database::open(folder.path().join("test.sqlite")).await.unwrap().blocking();
            let user = user.clone();
            blocking.push(tokio::spawn(async move {
                for n in 0..5 {
                    let jid = Jid::new(&format!("{writer}-{n}@example.net")).unwrap();
                    store.block(&user, &[jid], 7).await.unwrap();
                }
            }));
        }
        for one in blocking {
            one.await.unwrap();
        }
        assert_eq!(database.blocking().list(&user).await.unwrap().len(), 7);
        database.accounts().delete(&user).await.unwrap();
        assert!(database.blocking().list(&user).await.unwrap().is_empty());
    }
}
