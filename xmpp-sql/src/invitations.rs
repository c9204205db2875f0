//! Invitations (XEP-0401, XEP-0445, XEP-0379).

use crate::{Database, SqlError};
use xmpp_core::jid::BareJid;
use xmpp_im::{
    Stored,
    invitation::{Added, CLAIM_SECONDS, Claim, GRACE_SECONDS, Invitation, InvitationKey, InvitationStore},
};

/// Invitations in a [`Database`]. They go with the account of their inviter.
#[derive(Clone, Debug)]
pub struct SqlInvitations {
    database: Database,
}

/// A number that the tables cannot hold is as good as the greatest that they can.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

type Row = (Option<String>, String, Option<String>, bool, bool, i64);

fn read((inviter, domain, account, register, contact, expires): Row) -> Result<Invitation, SqlError> {
    let jid = |text: Option<String>| {
        text.map(|text| BareJid::new(&text)).transpose().map_err(|error| SqlError::Engine(Box::new(error)))
    };
    let (inviter, account) = (jid(inviter)?, jid(account)?);
    let expires = u64::try_from(expires).unwrap_or_default();
    Ok(Invitation { inviter, domain, account, register, contact, expires })
}

impl SqlInvitations {
    pub(crate) fn new(database: Database) -> SqlInvitations {
        SqlInvitations { database }
    }

    async fn insert(
        &self,
        key: &InvitationKey,
        invitation: &Invitation,
        now: u64,
        most: usize,
    ) -> Result<Added, SqlError> {
        let mut writing = self.database.write().await?;
        sqlx::query("DELETE FROM invitation WHERE expires_at <= $1")
            .bind(number(now.saturating_sub(GRACE_SECONDS)))
            .execute(&mut *writing)
            .await?;
        let inviter = invitation.inviter.as_ref().map(|inviter| inviter.as_str());
        let good: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM invitation WHERE address IS NOT DISTINCT FROM $1 AND (address IS NOT NULL OR domain = $2) \
             AND expires_at > $3",
        )
        .bind(inviter)
        .bind(&invitation.domain)
        .bind(number(now))
        .fetch_one(&mut *writing)
        .await?;
        let added = if good >= i64::try_from(most).unwrap_or(i64::MAX) {
            Added::TooMany
        } else if let Some(account) = &invitation.account
            && reserved(&mut writing, account, now).await?
        {
            Added::Reserved
        } else {
            sqlx::query(
                "INSERT INTO invitation (digest, address, domain, account, register, contact, expires_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(key.0.as_slice())
            .bind(inviter)
            .bind(&invitation.domain)
            .bind(invitation.account.as_ref().map(|account| account.as_str()))
            .bind(invitation.register)
            .bind(invitation.contact)
            .bind(number(invitation.expires))
            .execute(&mut *writing)
            .await?;
            Added::Kept
        };
        writing.commit().await?;
        Ok(added)
    }

    async fn select(&self, key: &InvitationKey, now: u64) -> Result<Option<Invitation>, SqlError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT address, domain, account, register, contact, expires_at FROM invitation \
             WHERE digest = $1 AND expires_at > $2 AND claimed_until <= $2",
        )
        .bind(key.0.as_slice())
        .bind(number(now))
        .fetch_optional(self.database.pool())
        .await?;
        row.map(read).transpose()
    }

    /// One statement looks and claims: of many who do, SQLite lets one write first, and the others find it claimed.
    async fn take(&self, key: &InvitationKey, now: u64) -> Result<Option<Claim>, SqlError> {
        let until = now.saturating_add(CLAIM_SECONDS);
        let row: Option<Row> = sqlx::query_as(
            "UPDATE invitation SET claimed_until = $2 WHERE digest = $1 AND claimed_until <= $3 AND expires_at > $4 \
             RETURNING address, domain, account, register, contact, expires_at",
        )
        .bind(key.0.as_slice())
        .bind(number(until))
        .bind(number(now))
        .bind(number(now.saturating_sub(GRACE_SECONDS)))
        .fetch_optional(self.database.pool())
        .await?;
        let invitation = row.map(read).transpose()?;
        Ok(invitation.map(|invitation| Claim { invitation, until }))
    }

    async fn give_back(&self, key: &InvitationKey, until: u64) -> Result<(), SqlError> {
        sqlx::query("UPDATE invitation SET claimed_until = 0 WHERE digest = $1 AND claimed_until = $2")
            .bind(key.0.as_slice())
            .bind(number(until))
            .execute(self.database.pool())
            .await?;
        Ok(())
    }

    async fn delete(&self, key: &InvitationKey) -> Result<(), SqlError> {
        let used = sqlx::query("DELETE FROM invitation WHERE digest = $1").bind(key.0.as_slice());
        used.execute(self.database.pool()).await?;
        Ok(())
    }

    async fn is_reserved(&self, account: &BareJid, now: u64) -> Result<bool, SqlError> {
        let mut connection = self.database.pool().acquire().await?;
        reserved(&mut connection, account, now).await
    }

    async fn clear(&self, user: &BareJid) -> Result<(), SqlError> {
        let clear = sqlx::query("DELETE FROM invitation WHERE address = $1").bind(user.as_str());
        clear.execute(self.database.pool()).await?;
        Ok(())
    }
}

async fn reserved(connection: &mut sqlx::SqliteConnection, account: &BareJid, now: u64) -> Result<bool, SqlError> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM invitation WHERE account = $1 AND (expires_at > $2 OR claimed_until > $2) LIMIT 1",
    )
    .bind(account.as_str())
    .bind(number(now))
    .fetch_optional(connection)
    .await?;
    Ok(found.is_some())
}

impl InvitationStore for SqlInvitations {
    fn add<'a>(
        &'a self,
        key: &'a InvitationKey,
        invitation: &'a Invitation,
        now: u64,
        most: usize,
    ) -> Stored<'a, Added> {
        Box::pin(async move { Ok(self.insert(key, invitation, now, most).await.map_err(Box::from)?) })
    }

    fn find<'a>(&'a self, key: &'a InvitationKey, now: u64) -> Stored<'a, Option<Invitation>> {
        Box::pin(async move { Ok(self.select(key, now).await.map_err(Box::from)?) })
    }

    fn claim<'a>(&'a self, key: &'a InvitationKey, now: u64) -> Stored<'a, Option<Claim>> {
        Box::pin(async move { Ok(self.take(key, now).await.map_err(Box::from)?) })
    }

    fn release<'a>(&'a self, key: &'a InvitationKey, until: u64) -> Stored<'a, ()> {
        Box::pin(async move { Ok(self.give_back(key, until).await.map_err(Box::from)?) })
    }

    fn finish<'a>(&'a self, key: &'a InvitationKey) -> Stored<'a, ()> {
        Box::pin(async move { Ok(self.delete(key).await.map_err(Box::from)?) })
    }

    fn reserved<'a>(&'a self, account: &'a BareJid, now: u64) -> Stored<'a, bool> {
        Box::pin(async move { Ok(self.is_reserved(account, now).await.map_err(Box::from)?) })
    }

    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(async move { Ok(self.clear(user).await.map_err(Box::from)?) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use xmpp_im::invitation::conformance;

    fn jid(text: &str) -> BareJid {
        text.parse().unwrap()
    }

    fn invitation() -> Invitation {
        Invitation {
            inviter: Some(jid("juliet@example.org")),
            domain: "example.org".into(),
            account: None,
            register: true,
            contact: true,
            expires: 2_000,
        }
    }

    async fn fresh() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        (folder, database)
    }

    #[tokio::test]
    async fn it_does_what_every_store_of_invitations_must() {
        let (_folder, database) = fresh().await;
        conformance(&database.invitations(), &jid("juliet@example.org"), &jid("romeo@example.org")).await;
    }

    #[tokio::test]
    async fn they_outlive_the_process_go_with_the_account_and_show_no_token() {
        let (folder, database) = fresh().await;
        let (juliet, key) = (jid("juliet@example.org"), InvitationKey::of("qvxzyqvxzy"));
        database.accounts().create(&juliet, "x").await.unwrap();
        assert_eq!(database.invitations().add(&key, &invitation(), 1_000, 9).await.unwrap(), Added::Kept);
        database.close().await;
        let file = std::fs::read(folder.path().join("test.sqlite")).unwrap();
        assert!(!file.windows(10).any(|bytes| bytes == b"qvxzyqvxzy"));
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        assert_eq!(database.invitations().find(&key, 1_000).await.unwrap(), Some(invitation()));
        database.accounts().delete(&juliet).await.unwrap();
        assert_eq!(database.invitations().find(&key, 1_000).await.unwrap(), None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn abuse_a093_of_many_processes_that_claim_one_invitation_at_once_one_succeeds() {
        let (folder, database) = fresh().await;
        let key = InvitationKey::of("one");
        database.invitations().add(&key, &invitation(), 1_000, 9).await.unwrap();
        let mut claiming = Vec::new();
        for _ in 0..6 {
            // Pools of their own, as other processes have.
            let store = Database::open(folder.path().join("test.sqlite")).await.unwrap().invitations();
            claiming.push(tokio::spawn(async move { store.claim(&key, 1_000).await.unwrap().is_some() }));
        }
        let mut won = 0;
        for one in claiming {
            won += usize::from(one.await.unwrap());
        }
        assert_eq!(won, 1);
    }
}
