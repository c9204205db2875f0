//! The tokens of clients (XEP-0484). They are stored as they are: each is the key of an HMAC.

use crate::{Database, SqlError};
use sqlx::{FromRow as _, Row as _, Sqlite, Transaction, sqlite::SqliteRow};
use xmpp_core::{
    jid::BareJid,
    sasl::Mechanism,
    server::{TOKEN_CLIENTS, Tokens, TokensError},
    stream::{ClientRecord, ClientTokens, Token},
};

/// Tokens in a [`Database`]. They go with their account, and with its password when that is changed.
#[derive(Clone, Debug)]
pub struct SqlTokens {
    database: Database,
}

impl SqlTokens {
    pub(crate) fn new(database: Database) -> SqlTokens {
        SqlTokens { database }
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> TokensError {
    TokensError(Box::new(error))
}

/// A number that the tables cannot hold is as good as the greatest that they can.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The columns of one slot.
struct Slot(Option<Token>);

impl Slot {
    fn read(row: &SqliteRow, slot: &str) -> Result<Slot, sqlx::Error> {
        let column = |name: &str| format!("{slot}_{name}");
        let secret: Option<String> = row.try_get(column("secret").as_str())?;
        let Some(secret) = secret else { return Ok(Slot(None)) };
        let mechanism: String = row.try_get(column("mechanism").as_str())?;
        // One that this version does not know is none.
        let Some(mechanism) = Mechanism::from_name(&mechanism) else { return Ok(Slot(None)) };
        let positive = |name: &str| -> Result<u64, sqlx::Error> {
            Ok(row.try_get::<i64, _>(column(name).as_str())?.try_into().unwrap_or_default())
        };
        let (issued, expiry) = (positive("issued")?, positive("expiry")?);
        let count = u32::try_from(positive("count")?).unwrap_or(u32::MAX);
        Ok(Slot(Some(Token { secret, mechanism, issued, expiry, count })))
    }
}

struct Stored(ClientTokens);

impl<'r> sqlx::FromRow<'r, SqliteRow> for Stored {
    fn from_row(row: &'r SqliteRow) -> Result<Stored, sqlx::Error> {
        // Of an account without this client there is the generation alone.
        let revision: Option<i64> = row.try_get("revision")?;
        let generation: i64 = row.try_get("generation")?;
        let generation = generation.try_into().unwrap_or_default();
        let Some(revision) = revision else {
            return Ok(Stored(ClientTokens { generation, ..ClientTokens::default() }));
        };
        Ok(Stored(ClientTokens {
            current: Slot::read(row, "current")?.0,
            fresh: Slot::read(row, "fresh")?.0,
            revision: revision.try_into().unwrap_or_default(),
            generation,
            record: record(row)?,
        }))
    }
}

fn record(row: &SqliteRow) -> Result<Option<ClientRecord>, sqlx::Error> {
    let (first, last): (Option<i64>, Option<i64>) = (row.try_get("first_seen")?, row.try_get("last_seen")?);
    let Some((first, last)) = first.zip(last) else { return Ok(None) };
    Ok(Some(ClientRecord {
        first_seen: first.try_into().unwrap_or_default(),
        last_seen: last.try_into().unwrap_or_default(),
        software: row.try_get("software")?,
        device: row.try_get("device")?,
        password: row.try_get("password")?,
        certificate: row.try_get("certificate")?,
    }))
}

/// Ends all that rests on the account's password, in the transaction that changes it.
pub(crate) async fn forget_all(writing: &mut Transaction<'static, Sqlite>, user: &BareJid) -> Result<(), SqlError> {
    sqlx::query("DELETE FROM token WHERE address = $1").bind(user.as_str()).execute(&mut **writing).await?;
    // After the greatest number comes the least.
    sqlx::query("UPDATE account SET generation = (generation + 1) & 9223372036854775807 WHERE address = $1")
        .bind(user.as_str())
        .execute(&mut **writing)
        .await?;
    Ok(())
}

impl Tokens for SqlTokens {
    async fn load(&self, user: &BareJid, client: &str) -> Result<ClientTokens, TokensError> {
        let row = sqlx::query(
            "SELECT token.*, account.generation FROM account \
             LEFT JOIN token ON token.address = account.address AND token.client = $2 WHERE account.address = $1",
        )
        .bind(user.as_str())
        .bind(client)
        .fetch_optional(self.database.pool())
        .await
        .map_err(failed)?;
        let stored = row.as_ref().map(Stored::from_row).transpose().map_err(failed)?;
        Ok(stored.map(|stored| stored.0).unwrap_or_default())
    }

    async fn store(&self, user: &BareJid, client: &str, tokens: &ClientTokens) -> Result<bool, TokensError> {
        self.write(user, client, tokens).await.map_err(failed)
    }

    async fn forget(&self, user: &BareJid, client: Option<&str>) -> Result<(), TokensError> {
        let forgetting = async {
            let mut writing = self.database.write().await?;
            match client {
                None => forget_all(&mut writing, user).await?,
                Some(client) => {
                    let query = sqlx::query("DELETE FROM token WHERE address = $1 AND client = $2");
                    query.bind(user.as_str()).bind(client).execute(&mut *writing).await?;
                }
            }
            Ok::<(), SqlError>(writing.commit().await?)
        };
        forgetting.await.map_err(failed)
    }

    async fn clients(&self, user: &BareJid) -> Result<Vec<(String, ClientTokens)>, TokensError> {
        let query = "SELECT token.*, account.generation FROM token JOIN account USING (address) WHERE address = $1";
        let rows = sqlx::query(query).bind(user.as_str()).fetch_all(self.database.pool()).await.map_err(failed)?;
        let read = |row: &SqliteRow| Ok((row.try_get("client")?, Stored::from_row(row)?.0));
        rows.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(failed)
    }
}

impl SqlTokens {
    async fn write(&self, user: &BareJid, client: &str, tokens: &ClientTokens) -> Result<bool, SqlError> {
        let mut writing = self.database.write().await?;
        let found: Option<i64> = sqlx::query_scalar("SELECT revision FROM token WHERE address = $1 AND client = $2")
            .bind(user.as_str())
            .bind(client)
            .fetch_optional(&mut *writing)
            .await?;
        let generation: Option<i64> = sqlx::query_scalar("SELECT generation FROM account WHERE address = $1")
            .bind(user.as_str())
            .fetch_optional(&mut *writing)
            .await?;
        // Nobody's tokens are refused by the table.
        if generation.is_some_and(|generation| generation != number(tokens.generation)) {
            return Ok(false);
        }
        if found.unwrap_or_default() != number(tokens.revision) {
            return Ok(false);
        }
        if found.is_none() && !tokens.is_empty() {
            // Room for one more.
            sqlx::query(
                "DELETE FROM token WHERE address = $1 AND client NOT IN \
                 (SELECT client FROM token WHERE address = $1 ORDER BY expiry DESC LIMIT $2)",
            )
            .bind(user.as_str())
            .bind(number(TOKEN_CLIENTS as u64) - 1)
            .execute(&mut *writing)
            .await?;
        }
        sqlx::query("DELETE FROM token WHERE address = $1 AND client = $2")
            .bind(user.as_str())
            .bind(client)
            .execute(&mut *writing)
            .await?;
        if !tokens.is_empty() {
            let slots = [&tokens.current, &tokens.fresh];
            let mut insert = sqlx::query(
                "INSERT INTO token (address, client, revision, expiry, current_secret, current_mechanism, \
                 current_issued, current_expiry, current_count, fresh_secret, fresh_mechanism, fresh_issued, \
                 fresh_expiry, fresh_count, first_seen, last_seen, software, device, password, certificate) VALUES \
                 ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
            )
            .bind(user.as_str())
            .bind(client)
            .bind(number(tokens.revision.saturating_add(1)))
            .bind(number(tokens.ends()));
            for slot in slots {
                let slot = slot.as_ref();
                insert = insert
                    .bind(slot.map(|token| token.secret.as_str()))
                    .bind(slot.map(|token| token.mechanism.name()))
                    .bind(slot.map(|token| number(token.issued)))
                    .bind(slot.map(|token| number(token.expiry)))
                    .bind(slot.map(|token| i64::from(token.count)));
            }
            let record = tokens.record.as_ref();
            insert = insert
                .bind(record.map(|record| number(record.first_seen)))
                .bind(record.map(|record| number(record.last_seen)))
                .bind(record.and_then(|record| record.software.as_deref()))
                .bind(record.and_then(|record| record.device.as_deref()))
                .bind(record.is_some_and(|record| record.password))
                .bind(record.is_some_and(|record| record.certificate));
            insert.execute(&mut *writing).await?;
        }
        writing.commit().await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use xmpp_core::server::tokens_conformance;

    async fn fresh() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        for user in ["juliet@example.org", "romeo@example.org"] {
            database.accounts().create(&user.parse().unwrap(), "x").await.unwrap();
        }
        (folder, database)
    }

    fn juliet() -> BareJid {
        "juliet@example.org".parse().unwrap()
    }

    fn one() -> ClientTokens {
        let mechanism = Mechanism::HtSha256Exporter;
        let token = Token { secret: "s".into(), mechanism, issued: 1, expiry: 2, count: 3 };
        ClientTokens { fresh: Some(token), ..ClientTokens::default() }
    }

    #[tokio::test]
    async fn it_does_what_every_store_of_tokens_must() {
        let (_folder, database) = fresh().await;
        tokens_conformance(&database.tokens(), &juliet(), &"romeo@example.org".parse().unwrap()).await;
    }

    /// One more, of the account as it is now.
    async fn current(tokens: &SqlTokens) -> ClientTokens {
        ClientTokens { generation: tokens.generation(&juliet()).await.unwrap(), ..one() }
    }

    #[tokio::test]
    async fn tokens_end_with_the_password_and_with_the_account() {
        let (_folder, database) = fresh().await;
        let (accounts, tokens) = (database.accounts(), database.tokens());
        let before = current(&tokens).await;
        assert!(tokens.store(&juliet(), "laptop", &before).await.unwrap());
        accounts.set_password(&juliet(), "new").await.unwrap();
        assert!(tokens.load(&juliet(), "laptop").await.unwrap().is_empty());
        // A login by the old password that ends now.
        assert!(!tokens.store(&juliet(), "laptop", &before).await.unwrap());
        assert!(tokens.store(&juliet(), "laptop", &current(&tokens).await).await.unwrap());
        let before = current(&tokens).await;
        accounts.delete(&juliet()).await.unwrap();
        assert!(tokens.load(&juliet(), "laptop").await.unwrap().is_empty());
        assert!(tokens.store(&juliet(), "laptop", &before).await.is_err(), "nobody's tokens");
        accounts.create(&juliet(), "x").await.unwrap();
        assert!(!tokens.store(&juliet(), "laptop", &before).await.unwrap(), "another's of the same name");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn abuse_a041_of_many_who_use_one_revision_one_wins() {
        let (folder, database) = fresh().await;
        let first = current(&database.tokens()).await;
        assert!(database.tokens().store(&juliet(), "laptop", &first).await.unwrap());
        let mut found = database.tokens().load(&juliet(), "laptop").await.unwrap();
        found.fresh.as_mut().unwrap().count += 1;
        let mut storing = Vec::new();
        for _ in 0..6 {
            // Pools of their own, as other processes have.
            let tokens = Database::open(folder.path().join("test.sqlite")).await.unwrap().tokens();
            let found = found.clone();
            storing.push(tokio::spawn(async move { tokens.store(&juliet(), "laptop", &found).await.unwrap() }));
        }
        let mut winners = 0;
        for one in storing {
            winners += usize::from(one.await.unwrap());
        }
        assert_eq!(winners, 1);
    }
}
