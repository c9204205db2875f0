//! When users logged in, and what they are told then.

use crate::{Database, SqlError, failed};
use sqlx::{Sqlite, Transaction};
use xmpp_core::jid::BareJid;
use xmpp_im::{
    Stored,
    login::{Kept, LoginStore, Notice},
};

/// What removes all of a user.
pub(crate) const FORGET: &str = "DELETE FROM login WHERE address = $1";

/// Logins and notices, in a [`Database`].
#[derive(Clone, Debug)]
pub struct SqlLogins {
    database: Database,
}

/// Numbers are kept as SQL has them.
fn number(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or_default()
}

fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl SqlLogins {
    pub(crate) fn new(database: Database) -> SqlLogins {
        SqlLogins { database }
    }

    async fn note(&self, user: &BareJid, at: u64) -> Result<Vec<String>, SqlError> {
        let mut writing = self.database.write().await?;
        let told = told(&mut writing, user).await?;
        let motd = kept(&mut writing, Notice::MessageOfTheDay).await?;
        let mut notices = Vec::new();
        if told.is_none() {
            notices.extend(kept(&mut writing, Notice::Welcome).await?.text);
        }
        notices.extend(motd.news(told.unwrap_or_default()).map(str::to_owned));
        sqlx::query(
            "INSERT INTO login (address, last_login, motd) VALUES ($1, $2, $3) \
             ON CONFLICT (address) DO UPDATE SET last_login = excluded.last_login, motd = excluded.motd",
        )
        .bind(user.as_str())
        .bind(stored(at))
        .bind(stored(motd.number))
        .execute(&mut *writing)
        .await?;
        writing.commit().await?;
        Ok(notices)
    }

    async fn tell(&self, user: &BareJid) -> Result<Option<String>, SqlError> {
        let mut writing = self.database.write().await?;
        let Some(told) = told(&mut writing, user).await? else { return Ok(None) };
        let motd = kept(&mut writing, Notice::MessageOfTheDay).await?;
        let Some(text) = motd.news(told) else { return Ok(None) };
        sqlx::query("UPDATE login SET motd = $2 WHERE address = $1")
            .bind(user.as_str())
            .bind(stored(motd.number))
            .execute(&mut *writing)
            .await?;
        writing.commit().await?;
        Ok(Some(text.to_owned()))
    }

    async fn put(&self, notice: Notice, text: Option<String>, corrects: bool) -> Result<(), SqlError> {
        let mut writing = self.database.write().await?;
        let changed = kept(&mut writing, notice).await?.changed(text, corrects);
        sqlx::query(
            "INSERT INTO notice (kind, number, text) VALUES ($1, $2, $3) \
             ON CONFLICT (kind) DO UPDATE SET number = excluded.number, text = excluded.text",
        )
        .bind(notice.as_str())
        .bind(stored(changed.number))
        .bind(changed.text)
        .execute(&mut *writing)
        .await?;
        Ok(writing.commit().await?)
    }
}

/// The last message of the day that a user was told, if the user was ever here.
async fn told(writing: &mut Transaction<'static, Sqlite>, user: &BareJid) -> Result<Option<u64>, SqlError> {
    let told: Option<i64> = sqlx::query_scalar("SELECT motd FROM login WHERE address = $1")
        .bind(user.as_str())
        .fetch_optional(&mut **writing)
        .await?;
    Ok(told.map(number))
}

async fn kept(writing: &mut Transaction<'static, Sqlite>, notice: Notice) -> Result<Kept, SqlError> {
    let row: Option<(i64, Option<String>)> = sqlx::query_as("SELECT number, text FROM notice WHERE kind = $1")
        .bind(notice.as_str())
        .fetch_optional(&mut **writing)
        .await?;
    Ok(row.map(|(count, text)| Kept { number: number(count), text }).unwrap_or_default())
}

impl LoginStore for SqlLogins {
    fn login<'a>(&'a self, user: &'a BareJid, at: u64) -> Stored<'a, Vec<String>> {
        Box::pin(async move { self.note(user, at).await.map_err(failed) })
    }

    fn news<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<String>> {
        Box::pin(async move { self.tell(user).await.map_err(failed) })
    }

    fn last<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<u64>> {
        Box::pin(async move {
            let row: Option<Option<i64>> = sqlx::query_scalar("SELECT last_login FROM login WHERE address = $1")
                .bind(user.as_str())
                .fetch_optional(self.database.pool())
                .await
                .map_err(failed)?;
            Ok(row.flatten().map(number))
        })
    }

    fn notice(&self, notice: Notice) -> Stored<'_, Option<String>> {
        Box::pin(async move {
            let row: Option<Option<String>> = sqlx::query_scalar("SELECT text FROM notice WHERE kind = $1")
                .bind(notice.as_str())
                .fetch_optional(self.database.pool())
                .await
                .map_err(failed)?;
            Ok(row.flatten())
        })
    }

    fn set_notice(&self, notice: Notice, text: Option<String>, corrects: bool) -> Stored<'_, ()> {
        Box::pin(async move { self.put(notice, text, corrects).await.map_err(failed) })
    }

    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        self.database.forget(FORGET, user)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn it_does_what_every_store_must() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        let (one, other) = ("a@example.org".parse().unwrap(), "b@example.org".parse().unwrap());
        xmpp_im::login::conformance(&database.logins(), &one, &other).await;
    }

    #[tokio::test]
    async fn who_was_here_before_it_was_noted_is_not_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.sqlite");
        let old: BareJid = "old@example.org".parse().unwrap();
        let database = crate::database::tests::of_version(&path, 10).await;
        let account = "INSERT INTO account (address, domain, generation) VALUES ('old@example.org', 'example.org', 1)";
        sqlx::raw_sql(account).execute(database.pool()).await.unwrap();
        database.close().await;
        let database = Database::open(&path).await.unwrap();
        let logins = database.logins();
        logins.set_notice(Notice::Welcome, Some("Hello".into()), false).await.unwrap();
        assert_eq!(logins.last(&old).await.unwrap(), None);
        assert!(logins.login(&old, 1).await.unwrap().is_empty());
        assert_eq!(logins.login(&"new@example.org".parse().unwrap(), 1).await.unwrap(), ["Hello"]);
    }
}
