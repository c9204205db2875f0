//! The user table: SCRAM credentials, never passwords.

use crate::{Database, SqlError};
use sqlx::{Sqlite, Transaction};
use xmpp_core::{
    BoxFuture,
    jid::BareJid,
    sasl::{Hash, ScramCredentials},
    server::{AccountError, Accounts, AccountsError, ManageAccounts, hash_password},
};

/// Accounts in a [`Database`]. A server sees at once what was changed, by whatever process.
#[derive(Clone, Debug)]
pub struct SqlAccounts {
    database: Database,
}

impl SqlAccounts {
    pub(crate) fn new(database: Database) -> SqlAccounts {
        SqlAccounts { database }
    }

    /// Adds an account, which begins with nothing: what a former one of that name may have left is removed.
    ///
    /// # Errors
    /// [`SqlError::Exists`], [`SqlError::NoName`], [`SqlError::EmptyPassword`], [`SqlError::Engine`].
    pub async fn create(&self, user: &BareJid, password: &str) -> Result<(), SqlError> {
        if user.local().is_none() {
            return Err(SqlError::NoName(user.clone()));
        }
        let credentials = derive(password).await?;
        let mut writing = self.database.write().await?;
        // A generation that no account of this name ever had.
        sqlx::query(
            "INSERT INTO account (address, domain, generation) VALUES ($1, $2, random() & 9223372036854775807)",
        )
        .bind(user.as_str())
        .bind(user.domain())
        .execute(&mut *writing)
        .await
        .map_err(|error| match &error {
            sqlx::Error::Database(cause) if cause.is_unique_violation() => SqlError::Exists(user.clone()),
            _ => error.into(),
        })?;
        insert(&mut writing, user, &credentials).await?;
        forget(&mut writing, user).await?;
        crate::roster::forget(&mut writing, user).await?;
        Ok(writing.commit().await?)
    }

    /// Replaces the password, and forgets the tokens of the account's clients. Sessions that are logged in stay so.
    ///
    /// # Errors
    /// [`SqlError::Unknown`], [`SqlError::EmptyPassword`], [`SqlError::Engine`].
    pub async fn set_password(&self, user: &BareJid, password: &str) -> Result<(), SqlError> {
        let credentials = derive(password).await?;
        let mut writing = self.database.write().await?;
        let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM account WHERE address = $1")
            .bind(user.as_str())
            .fetch_optional(&mut *writing)
            .await?;
        if known.is_none() {
            return Err(SqlError::Unknown(user.clone()));
        }
        sqlx::query("DELETE FROM credential WHERE address = $1").bind(user.as_str()).execute(&mut *writing).await?;
        crate::tokens::forget_all(&mut writing, user).await?;
        insert(&mut writing, user, &credentials).await?;
        Ok(writing.commit().await?)
    }

    /// Removes an account with all that is stored for it, but for its roster: a running server tells the contacts first
    /// ([`Server::account_removed`](xmpp_core::server::Server::account_removed)), and whoever has none calls
    /// [`RosterStore::forget`](xmpp_im::roster::RosterStore::forget). Sessions that are logged in stay so.
    ///
    /// # Errors
    /// [`SqlError::Unknown`], [`SqlError::Engine`].
    pub async fn delete(&self, user: &BareJid) -> Result<(), SqlError> {
        let mut writing = self.database.write().await?;
        let deleted =
            sqlx::query("DELETE FROM account WHERE address = $1").bind(user.as_str()).execute(&mut *writing).await?;
        if deleted.rows_affected() == 0 {
            return Err(SqlError::Unknown(user.clone()));
        }
        forget(&mut writing, user).await?;
        Ok(writing.commit().await?)
    }

    /// Removes all that is stored for users of a domain who have no account: those whom a server has admitted without one
    /// and could not forget, because it crashed. To be called before it runs again. `domain` as in [`list`](Self::list).
    ///
    /// # Errors
    /// [`SqlError::Engine`].
    pub async fn forget_strangers(&self, domain: &str) -> Result<(), SqlError> {
        let mut writing = self.database.write().await?;
        for sql in STRANGERS {
            sqlx::query(*sql).bind(domain).execute(&mut *writing).await?;
        }
        Ok(writing.commit().await?)
    }

    /// All accounts of a domain, by name. `domain` is in the form that addresses have, lower case and without
    /// Punycode.
    pub async fn list(&self, domain: &str) -> Result<Vec<BareJid>, SqlError> {
        let rows: Vec<String> = sqlx::query_scalar("SELECT address FROM account WHERE domain = $1 ORDER BY address")
            .bind(domain)
            .fetch_all(self.database.pool())
            .await?;
        let addresses = rows.iter().map(|address| BareJid::new(address));
        addresses.collect::<Result<_, _>>().map_err(|error| SqlError::Engine(Box::new(error)))
    }

    /// Disables an account, or lets its owner log in again. It keeps all that is stored for it. Sessions that are logged
    /// in stay so.
    ///
    /// # Errors
    /// [`SqlError::Unknown`], [`SqlError::Engine`].
    pub async fn set_disabled(&self, user: &BareJid, disabled: bool) -> Result<(), SqlError> {
        let updated = sqlx::query("UPDATE account SET disabled = $2 WHERE address = $1")
            .bind(user.as_str())
            .bind(i64::from(disabled))
            .execute(self.database.pool())
            .await?;
        if updated.rows_affected() == 0 { Err(SqlError::Unknown(user.clone())) } else { Ok(()) }
    }

    /// A page of a domain's accounts, or of those of them that are disabled.
    async fn page(
        &self,
        domain: &str,
        after: Option<&BareJid>,
        limit: usize,
        disabled: bool,
    ) -> Result<Vec<BareJid>, AccountError> {
        let rows: Vec<String> = sqlx::query_scalar(match disabled {
            true => {
                "SELECT address FROM account WHERE domain = $1 AND ($2 IS NULL OR address > $2) AND disabled = 1 \
                 ORDER BY address LIMIT $3"
            }
            false => {
                "SELECT address FROM account WHERE domain = $1 AND ($2 IS NULL OR address > $2) \
                 ORDER BY address LIMIT $3"
            }
        })
        .bind(domain)
        .bind(after.map(|after| after.as_str()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.database.pool())
        .await
        .map_err(SqlError::from)?;
        let addresses = rows.iter().map(|address| BareJid::new(address));
        addresses.collect::<Result<_, _>>().map_err(|error| AccountError::Failed(Box::new(error)))
    }

    /// Whether there is no account at all.
    pub async fn is_empty(&self) -> Result<bool, SqlError> {
        let some: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM account LIMIT 1").fetch_optional(self.database.pool()).await?;
        Ok(some.is_none())
    }
}

async fn forget(writing: &mut Transaction<'static, Sqlite>, user: &BareJid) -> Result<(), SqlError> {
    for sql in OWNED {
        sqlx::query(*sql).bind(user.as_str()).execute(&mut **writing).await?;
    }
    Ok(())
}

/// What goes with an account, besides what refers to it.
static OWNED: &[&str] = &[
    "DELETE FROM offline WHERE address = $1",
    "DELETE FROM archive WHERE owner = $1",
    "DELETE FROM archive_preferences WHERE owner = $1",
    "DELETE FROM blocked WHERE address = $1",
    crate::account_xml::FORGET,
    crate::last_activity::FORGET,
    crate::login::FORGET,
    "DELETE FROM invitation WHERE address = $1",
    crate::uploads::FORGET,
];

/// The same of those who never had an account.
static STRANGERS: &[&str] = &[
    "DELETE FROM roster WHERE substr(address, -length($1) - 1) = '@' || $1 \
     AND address NOT IN (SELECT address FROM account)",
    "DELETE FROM roster_item WHERE substr(address, -length($1) - 1) = '@' || $1 \
     AND address NOT IN (SELECT address FROM account)",
    "DELETE FROM roster_request WHERE substr(address, -length($1) - 1) = '@' || $1 \
     AND address NOT IN (SELECT address FROM account)",
    "DELETE FROM offline WHERE substr(address, -length($1) - 1) = '@' || $1 \
     AND address NOT IN (SELECT address FROM account)",
    "DELETE FROM archive WHERE substr(owner, -length($1) - 1) = '@' || $1 \
     AND owner NOT IN (SELECT address FROM account)",
    "DELETE FROM archive_preferences WHERE substr(owner, -length($1) - 1) = '@' || $1 \
     AND owner NOT IN (SELECT address FROM account)",
    "DELETE FROM blocked WHERE substr(address, -length($1) - 1) = '@' || $1 \
     AND address NOT IN (SELECT address FROM account)",
    "DELETE FROM account_xml WHERE substr(address, -length($1) - 1) = '@' || $1 \
     AND address NOT IN (SELECT address FROM account)",
    "DELETE FROM last_activity WHERE substr(address, -length($1) - 1) = '@' || $1 \
     AND address NOT IN (SELECT address FROM account)",
    "DELETE FROM login WHERE substr(address, -length($1) - 1) = '@' || $1 \
     AND address NOT IN (SELECT address FROM account)",
    "UPDATE upload SET expires_at = 0 WHERE substr(owner, -length($1) - 1) = '@' || $1 \
     AND owner NOT IN (SELECT address FROM account)",
];

impl From<SqlError> for AccountError {
    fn from(error: SqlError) -> AccountError {
        match error {
            SqlError::Exists(_) => AccountError::Exists,
            SqlError::Unknown(_) => AccountError::Unknown,
            SqlError::NoName(_) | SqlError::EmptyPassword => AccountError::Incomplete,
            other => AccountError::Failed(Box::new(other)),
        }
    }
}

impl ManageAccounts for SqlAccounts {
    fn create<'a>(&'a self, user: &'a BareJid, password: &'a str) -> BoxFuture<'a, Result<(), AccountError>> {
        Box::pin(async move { Ok(SqlAccounts::create(self, user, password).await?) })
    }

    fn set_password<'a>(&'a self, user: &'a BareJid, password: &'a str) -> BoxFuture<'a, Result<(), AccountError>> {
        Box::pin(async move { Ok(SqlAccounts::set_password(self, user, password).await?) })
    }

    fn delete<'a>(&'a self, user: &'a BareJid) -> BoxFuture<'a, Result<(), AccountError>> {
        Box::pin(async move { Ok(SqlAccounts::delete(self, user).await?) })
    }

    fn list<'a>(
        &'a self,
        domain: &'a str,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, AccountError>> {
        Box::pin(self.page(domain, after, limit, false))
    }

    fn set_disabled<'a>(&'a self, user: &'a BareJid, disabled: bool) -> BoxFuture<'a, Result<(), AccountError>> {
        Box::pin(async move { Ok(SqlAccounts::set_disabled(self, user, disabled).await?) })
    }

    fn list_disabled<'a>(
        &'a self,
        domain: &'a str,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, AccountError>> {
        Box::pin(self.page(domain, after, limit, true))
    }

    fn count<'a>(&'a self, domain: &'a str, disabled: bool) -> BoxFuture<'a, Result<usize, AccountError>> {
        Box::pin(async move {
            let counting = sqlx::query_scalar(match disabled {
                true => "SELECT COUNT(*) FROM account WHERE domain = $1 AND disabled = 1",
                false => "SELECT COUNT(*) FROM account WHERE domain = $1",
            });
            let count: i64 = counting.bind(domain).fetch_one(self.database.pool()).await.map_err(SqlError::from)?;
            Ok(usize::try_from(count).unwrap_or_default())
        })
    }
}

/// Credentials for every hash, each with a salt of its own. PBKDF2 takes tens of milliseconds.
async fn derive(password: &str) -> Result<Vec<ScramCredentials>, SqlError> {
    if password.is_empty() {
        return Err(SqlError::EmptyPassword);
    }
    let password = password.to_owned();
    let deriving = tokio::task::spawn_blocking(move || Hash::ALL.map(|hash| hash_password(hash, &password)).into());
    deriving.await.map_err(|error| SqlError::Engine(Box::new(error)))
}

async fn insert(
    writing: &mut Transaction<'static, Sqlite>,
    user: &BareJid,
    credentials: &[ScramCredentials],
) -> Result<(), SqlError> {
    for one in credentials {
        sqlx::query(
            "INSERT INTO credential (address, hash, salt, iterations, stored_key, server_key) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(user.as_str())
        .bind(name(one.hash))
        .bind(one.salt.as_slice())
        .bind(i64::from(one.iterations))
        .bind(one.stored_key.as_slice())
        .bind(one.server_key.as_slice())
        .execute(&mut **writing)
        .await?;
    }
    Ok(())
}

/// How a hash is called in the table: as in the names of the mechanisms.
fn name(hash: Hash) -> &'static str {
    match hash {
        Hash::Sha1 => "SHA-1",
        Hash::Sha256 => "SHA-256",
        Hash::Sha512 => "SHA-512",
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> AccountsError {
    AccountsError(Box::new(error))
}

impl Accounts for SqlAccounts {
    async fn credentials(&self, user: &BareJid, hash: Hash) -> Result<Option<ScramCredentials>, AccountsError> {
        type Row = (Vec<u8>, i64, Vec<u8>, Vec<u8>);
        let row: Option<Row> = sqlx::query_as(
            "SELECT salt, iterations, stored_key, server_key FROM credential WHERE address = $1 AND hash = $2",
        )
        .bind(user.as_str())
        .bind(name(hash))
        .fetch_optional(self.database.pool())
        .await
        .map_err(failed)?;
        let Some((salt, iterations, stored_key, server_key)) = row else { return Ok(None) };
        let iterations = u32::try_from(iterations).map_err(failed)?;
        Ok(Some(ScramCredentials { hash, salt, iterations, stored_key, server_key }))
    }

    async fn exists(&self, user: &BareJid) -> Result<bool, AccountsError> {
        let row: Option<i64> = sqlx::query_scalar("SELECT 1 FROM account WHERE address = $1")
            .bind(user.as_str())
            .fetch_optional(self.database.pool())
            .await
            .map_err(failed)?;
        Ok(row.is_some())
    }

    async fn is_disabled(&self, user: &BareJid) -> Result<bool, AccountsError> {
        let disabled: Option<i64> = sqlx::query_scalar("SELECT disabled FROM account WHERE address = $1")
            .bind(user.as_str())
            .fetch_optional(self.database.pool())
            .await
            .map_err(failed)?;
        Ok(disabled.is_some_and(|disabled| disabled != 0))
    }

    async fn store_credentials(&self, user: &BareJid, credentials: ScramCredentials) -> Result<(), AccountsError> {
        let storing = async {
            let mut writing = self.database.write().await?;
            let known: bool =
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM credential WHERE address = $1 AND hash = $2)")
                    .bind(user.as_str())
                    .bind(name(credentials.hash))
                    .fetch_one(&mut *writing)
                    .await?;
            // The password may have been changed since the login: what that stored is newer.
            if known {
                return Ok(());
            }
            insert(&mut writing, user, std::slice::from_ref(&credentials)).await?;
            Ok::<(), SqlError>(writing.commit().await?)
        };
        storing.await.map_err(failed)
    }

    fn upgrades(&self) -> &[Hash] {
        &[Hash::Sha512, Hash::Sha256]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use xmpp_core::server::conformance;

    fn jid(text: &str) -> BareJid {
        text.parse().unwrap()
    }

    async fn fresh() -> (tempfile::TempDir, Database, SqlAccounts) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        let accounts = database.accounts();
        (folder, database, accounts)
    }

    #[tokio::test]
    async fn it_does_what_every_account_store_must() {
        let (_folder, _, accounts) = fresh().await;
        accounts.create(&jid("juliet@example.org"), "r0m30").await.unwrap();
        conformance(&accounts, &jid("juliet@example.org"), "r0m30", &jid("nurse@example.org")).await;
        accounts.set_password(&jid("juliet@example.org"), "t1b4lt").await.unwrap();
        conformance(&accounts, &jid("juliet@example.org"), "t1b4lt", &jid("juliet@example.com")).await;
    }

    #[tokio::test]
    async fn it_does_what_every_user_table_that_can_be_changed_must() {
        let (_folder, _, accounts) = fresh().await;
        xmpp_core::server::manage_conformance(&accounts).await;
    }

    #[tokio::test]
    async fn abuse_a094_a_deleted_account_leaves_nothing_of_what_was_kept_for_it() {
        use xmpp_im::{
            account_xml::{AccountXmlStore as _, Quota, Shelf, XmlName},
            last_activity::LastActivityStore as _,
        };
        let (_folder, database, accounts) = fresh().await;
        let user = jid("juliet@example.org");
        accounts.create(&user, "x").await.unwrap();
        let name = XmlName { shelf: Shelf::VCard, ns: "vcard-temp".into(), name: "vCard".into() };
        let quota = Quota { elements: 1, bytes: 1000 };
        database.account_xml().set(&user, &name, "<vCard xmlns='vcard-temp'/>", quota).await.unwrap();
        database.last_activity().set(&user, Default::default()).await.unwrap();
        accounts.delete(&user).await.unwrap();
        assert_eq!(database.account_xml().get(&user, &name).await.unwrap(), None);
        assert_eq!(database.last_activity().get(&user).await.unwrap(), None);
    }

    #[tokio::test]
    async fn errors_say_which_account() {
        let (_folder, _, accounts) = fresh().await;
        let user = jid("juliet@example.org");
        assert!(matches!(accounts.set_password(&user, "x").await, Err(SqlError::Unknown(whom)) if whom == user));
        assert!(matches!(accounts.delete(&user).await, Err(SqlError::Unknown(whom)) if whom == user));
        accounts.create(&user, "x").await.unwrap();
        assert!(matches!(accounts.create(&user, "y").await, Err(SqlError::Exists(whom)) if whom == user));
        assert!(accounts.check_password(&user, "x").await.unwrap(), "the refused one changed nothing");
        assert!(matches!(accounts.create(&jid("example.org"), "x").await, Err(SqlError::NoName(_))));
        assert!(matches!(accounts.create(&jid("a@b"), "").await, Err(SqlError::EmptyPassword)));
        assert!(matches!(accounts.set_password(&user, "").await, Err(SqlError::EmptyPassword)));
    }

    #[tokio::test]
    async fn rfc5802_3_salts_are_of_one_user_and_hash_and_the_password_is_not_stored() {
        let (folder, database, accounts) = fresh().await;
        for user in ["one@example.org", "two@example.org"] {
            accounts.create(&jid(user), "the-same-password").await.unwrap();
        }
        let salts: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT DISTINCT salt FROM credential").fetch_all(database.pool()).await.unwrap();
        assert_eq!(salts.len(), 2 * Hash::ALL.len());
        database.close().await;
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(17).any(|window| window == b"the-same-password"));
        }
    }

    #[tokio::test]
    async fn xep0480_credentials_that_a_client_brings_are_stored_beside_the_others() {
        let (_folder, database, accounts) = fresh().await;
        let user = jid("juliet@example.org");
        accounts.create(&user, "x").await.unwrap();
        sqlx::raw_sql("DELETE FROM credential WHERE hash <> 'SHA-1'").execute(database.pool()).await.unwrap();
        assert!(accounts.credentials(&user, Hash::Sha256).await.unwrap().is_none());
        accounts.store_credentials(&user, hash_password(Hash::Sha256, "x")).await.unwrap();
        accounts.store_credentials(&user, hash_password(Hash::Sha256, "x")).await.unwrap();
        assert!(accounts.credentials(&user, Hash::Sha256).await.unwrap().unwrap().verify_password("x"));
        assert!(accounts.credentials(&user, Hash::Sha1).await.unwrap().is_some());
        accounts.store_credentials(&user, hash_password(Hash::Sha256, "an older password")).await.unwrap();
        assert!(
            accounts.credentials(&user, Hash::Sha256).await.unwrap().unwrap().verify_password("x"),
            "the newer stays"
        );
        assert!(accounts.store_credentials(&jid("b@example.org"), hash_password(Hash::Sha256, "x")).await.is_err());
    }

    #[tokio::test]
    async fn a_deleted_account_leaves_no_row() {
        let (_folder, database, accounts) = fresh().await;
        accounts.create(&jid("juliet@example.org"), "x").await.unwrap();
        accounts.create(&jid("romeo@example.org"), "x").await.unwrap();
        accounts.delete(&jid("juliet@example.org")).await.unwrap();
        let left: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT address FROM credential").fetch_all(database.pool()).await.unwrap();
        assert_eq!(left, ["romeo@example.org"]);
        assert!(!accounts.exists(&jid("juliet@example.org")).await.unwrap());
        accounts.create(&jid("juliet@example.org"), "again").await.unwrap();
    }

    #[tokio::test]
    async fn lists_hold_one_domain_in_order() {
        let (_folder, _, accounts) = fresh().await;
        assert!(accounts.is_empty().await.unwrap());
        for user in ["b@example.org", "a@example.org", "c@example.com"] {
            accounts.create(&jid(user), "x").await.unwrap();
        }
        assert!(!accounts.is_empty().await.unwrap());
        assert_eq!(accounts.list("example.org").await.unwrap(), [jid("a@example.org"), jid("b@example.org")]);
        assert!(accounts.list("example.net").await.unwrap().is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_of_many_who_create_the_same_account_wins() {
        let (folder, _, accounts) = fresh().await;
        // Pools of their own, as other processes have.
        let mut creating = Vec::new();
        for number in 0..6 {
            let other = Database::open(folder.path().join("test.sqlite")).await.unwrap();
            let create = async move { other.accounts().create(&jid("x@example.org"), &format!("pw{number}")).await };
            creating.push(tokio::spawn(create));
        }
        let mut winners = Vec::new();
        for (number, one) in creating.into_iter().enumerate() {
            match one.await.unwrap() {
                Ok(()) => winners.push(number),
                Err(error) => assert!(matches!(error, SqlError::Exists(_)), "{error}"),
            }
        }
        assert_eq!(winners.len(), 1);
        let password = format!("pw{}", winners[0]);
        conformance(&accounts, &jid("x@example.org"), &password, &jid("y@example.org")).await;
    }
}
