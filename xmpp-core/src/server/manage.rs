//! Changing the user table while the server runs: what registration and administration in the stream need.

use super::{Accounts, MemoryAccounts, hash_password};
use crate::{BoxFuture, jid::BareJid, sasl::Hash};
use std::sync::Arc;

/// Why an account was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// There is such an account already.
    #[error("the account exists already")]
    Exists,
    /// There is no such account.
    #[error("there is no such account")]
    Unknown,
    /// An account needs a name before the `@`, and a password that is not empty.
    #[error("an account needs a name and a password")]
    Incomplete,
    /// The store has no way to do it.
    #[error("the account store has no such thing")]
    Unsupported,
    /// The store could not do it. The client is told `internal-server-error` and nothing else.
    #[error("the account store failed: {0}")]
    Failed(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// A user table that can be changed. Mostly the same type is the [`Accounts`] of the server.
pub trait ManageAccounts: Send + Sync + 'static {
    /// Adds an account; of several who add the same one, one succeeds, and the others get [`AccountError::Exists`].
    fn create<'a>(&'a self, user: &'a BareJid, password: &'a str) -> BoxFuture<'a, Result<(), AccountError>>;

    /// Replaces the password of an account.
    fn set_password<'a>(&'a self, user: &'a BareJid, password: &'a str) -> BoxFuture<'a, Result<(), AccountError>>;

    /// Removes an account. Who calls it calls [`Server::account_removed`](super::Server::account_removed) afterwards.
    fn delete<'a>(&'a self, user: &'a BareJid) -> BoxFuture<'a, Result<(), AccountError>>;

    /// The accounts of a domain, in order: at most `limit`, beginning behind `after`.
    fn list<'a>(
        &'a self,
        domain: &'a str,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, AccountError>>;

    /// Disables an account, or lets its owner log in again ([`Accounts::is_disabled`]). It keeps all that it has. Who
    /// disables one calls [`Server::account_disabled`](super::Server::account_disabled) afterwards. The default refuses.
    fn set_disabled<'a>(&'a self, user: &'a BareJid, disabled: bool) -> BoxFuture<'a, Result<(), AccountError>> {
        let _ = (user, disabled);
        Box::pin(async { Err(AccountError::Unsupported) })
    }

    /// As [`list`](Self::list), of those accounts that are disabled. None by default.
    fn list_disabled<'a>(
        &'a self,
        domain: &'a str,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, AccountError>> {
        let _ = (domain, after, limit);
        Box::pin(async { Ok(Vec::new()) })
    }

    /// How many accounts a domain has, or how many of them are disabled. The default goes through the lists.
    fn count<'a>(&'a self, domain: &'a str, disabled: bool) -> BoxFuture<'a, Result<usize, AccountError>> {
        Box::pin(async move {
            let (mut count, mut after) = (0, None);
            loop {
                let page = match disabled {
                    true => self.list_disabled(domain, after.as_ref(), COUNTED).await?,
                    false => self.list(domain, after.as_ref(), COUNTED).await?,
                };
                count += page.len();
                if page.len() < COUNTED {
                    return Ok(count);
                }
                after = page.into_iter().next_back();
            }
        })
    }
}

/// So many are counted in one go.
const COUNTED: usize = 1_000;

impl<T: ManageAccounts + ?Sized> ManageAccounts for Arc<T> {
    fn create<'a>(&'a self, user: &'a BareJid, password: &'a str) -> BoxFuture<'a, Result<(), AccountError>> {
        (**self).create(user, password)
    }
    fn set_password<'a>(&'a self, user: &'a BareJid, password: &'a str) -> BoxFuture<'a, Result<(), AccountError>> {
        (**self).set_password(user, password)
    }
    fn delete<'a>(&'a self, user: &'a BareJid) -> BoxFuture<'a, Result<(), AccountError>> {
        (**self).delete(user)
    }
    fn list<'a>(
        &'a self,
        domain: &'a str,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, AccountError>> {
        (**self).list(domain, after, limit)
    }
    fn set_disabled<'a>(&'a self, user: &'a BareJid, disabled: bool) -> BoxFuture<'a, Result<(), AccountError>> {
        (**self).set_disabled(user, disabled)
    }
    fn list_disabled<'a>(
        &'a self,
        domain: &'a str,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, AccountError>> {
        (**self).list_disabled(domain, after, limit)
    }
    fn count<'a>(&'a self, domain: &'a str, disabled: bool) -> BoxFuture<'a, Result<usize, AccountError>> {
        (**self).count(domain, disabled)
    }
}

/// Keys for every hash; deriving them takes tens of milliseconds, off the threads that serve connections.
async fn derive(password: &str) -> Result<Vec<crate::sasl::ScramCredentials>, AccountError> {
    if password.is_empty() {
        return Err(AccountError::Incomplete);
    }
    let password = password.to_owned();
    let deriving = tokio::task::spawn_blocking(move || Hash::ALL.map(|hash| hash_password(hash, &password)).into());
    deriving.await.map_err(|error| AccountError::Failed(Box::new(error)))
}

impl ManageAccounts for MemoryAccounts {
    fn create<'a>(&'a self, user: &'a BareJid, password: &'a str) -> BoxFuture<'a, Result<(), AccountError>> {
        Box::pin(async move {
            if user.local().is_none() {
                return Err(AccountError::Incomplete);
            }
            let credentials = derive(password).await?;
            if self.change(user, |known| (!known).then_some(credentials)) { Ok(()) } else { Err(AccountError::Exists) }
        })
    }

    fn set_password<'a>(&'a self, user: &'a BareJid, password: &'a str) -> BoxFuture<'a, Result<(), AccountError>> {
        Box::pin(async move {
            let credentials = derive(password).await?;
            if self.change(user, |known| known.then_some(credentials)) { Ok(()) } else { Err(AccountError::Unknown) }
        })
    }

    fn delete<'a>(&'a self, user: &'a BareJid) -> BoxFuture<'a, Result<(), AccountError>> {
        Box::pin(async move { if self.remove(user) { Ok(()) } else { Err(AccountError::Unknown) } })
    }

    fn list<'a>(
        &'a self,
        domain: &'a str,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, AccountError>> {
        Box::pin(async move { Ok(page(self.of_domain(domain, false), after, limit)) })
    }

    fn set_disabled<'a>(&'a self, user: &'a BareJid, disabled: bool) -> BoxFuture<'a, Result<(), AccountError>> {
        Box::pin(async move { if self.disable(user, disabled) { Ok(()) } else { Err(AccountError::Unknown) } })
    }

    fn list_disabled<'a>(
        &'a self,
        domain: &'a str,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, AccountError>> {
        Box::pin(async move { Ok(page(self.of_domain(domain, true), after, limit)) })
    }

    fn count<'a>(&'a self, domain: &'a str, disabled: bool) -> BoxFuture<'a, Result<usize, AccountError>> {
        Box::pin(async move { Ok(self.of_domain(domain, disabled).len()) })
    }
}

fn page(mut found: Vec<BareJid>, after: Option<&BareJid>, limit: usize) -> Vec<BareJid> {
    found.retain(|one| after.is_none_or(|after| one.as_str() > after.as_str()));
    found.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    found.truncate(limit);
    found
}

/// What every [`ManageAccounts`] must do, to be called from an implementation's own tests with one that has no account
/// in `example.org`.
///
/// # Panics
/// When the implementation breaks the contract; the message says which part.
#[allow(clippy::panic, clippy::expect_used)] // It is an assertion.
pub async fn manage_conformance<A: ManageAccounts + Accounts>(accounts: &A) {
    let jid = |text: &str| BareJid::new(text).expect("an address");
    let (one, other) = (jid("a@example.org"), jid("b@example.org"));
    let create = async |user: &BareJid, password: &str| ManageAccounts::create(accounts, user, password).await;
    assert!(matches!(create(&one, "").await, Err(AccountError::Incomplete)), "a password is needed");
    assert!(matches!(create(&jid("example.org"), "x").await, Err(AccountError::Incomplete)), "a name is needed");
    assert!(create(&one, "first").await.is_ok(), "the first");
    assert!(matches!(create(&one, "second").await, Err(AccountError::Exists)), "the same again");
    assert!(accounts.check_password(&one, "first").await.expect("check"), "which changes nothing");
    let unknown = ManageAccounts::set_password(accounts, &other, "x").await;
    assert!(matches!(unknown, Err(AccountError::Unknown)), "a password of nobody");
    let empty = ManageAccounts::set_password(accounts, &one, "").await;
    assert!(matches!(empty, Err(AccountError::Incomplete)), "an empty password");
    assert!(ManageAccounts::set_password(accounts, &one, "third").await.is_ok(), "a new password");
    assert!(accounts.check_password(&one, "third").await.expect("check"), "the new one counts");
    assert!(!accounts.check_password(&one, "first").await.expect("check"), "the old one does not");
    assert!(create(&other, "x").await.is_ok() && create(&jid("c@example.com"), "x").await.is_ok(), "others");
    let list = async |after, limit| accounts.list("example.org", after, limit).await.expect("list");
    assert_eq!(list(None, 9).await, [one.clone(), other.clone()], "those of the domain");
    assert_eq!(list(None, 1).await, std::slice::from_ref(&one), "the first");
    assert_eq!(list(Some(&one), 9).await, std::slice::from_ref(&other), "those behind it");
    disabling(accounts, &one, &other).await;
    assert!(ManageAccounts::delete(accounts, &one).await.is_ok(), "deleted");
    assert!(matches!(ManageAccounts::delete(accounts, &one).await, Err(AccountError::Unknown)), "once");
    assert!(!accounts.exists(&one).await.expect("exists"), "gone");
    assert!(!accounts.is_disabled(&one).await.expect("is_disabled"), "and not disabled");
    assert!(create(&one, "again").await.is_ok(), "made anew");
    assert!(!accounts.is_disabled(&one).await.expect("is_disabled"), "a new one is not disabled");
}

/// Both exist; the first is disabled in the end.
#[allow(clippy::panic, clippy::expect_used)] // It is an assertion.
async fn disabling<A: ManageAccounts + Accounts>(accounts: &A, one: &BareJid, other: &BareJid) {
    let nobody = BareJid::new("nobody@example.org").expect("an address");
    assert!(matches!(accounts.set_disabled(&nobody, true).await, Err(AccountError::Unknown)), "nobody is disabled");
    assert!(!accounts.is_disabled(&nobody).await.expect("is_disabled"), "nobody");
    for user in [other, one] {
        assert!(accounts.set_disabled(user, true).await.is_ok(), "disabled");
        assert!(accounts.set_disabled(user, true).await.is_ok(), "twice");
        assert!(accounts.is_disabled(user).await.expect("is_disabled"), "so it is");
    }
    assert!(accounts.exists(one).await.expect("exists"), "it is still there");
    assert!(accounts.check_password(one, "third").await.expect("check"), "with its password");
    assert!(ManageAccounts::set_password(accounts, one, "fourth").await.is_ok(), "or a new one");
    assert!(accounts.is_disabled(one).await.expect("is_disabled"), "which enables nobody");
    let list = async |after, limit| accounts.list_disabled("example.org", after, limit).await.expect("list");
    assert_eq!(list(None, 9).await, [one.clone(), other.clone()], "those that are disabled");
    assert_eq!(list(None, 1).await, std::slice::from_ref(one), "the first of them");
    assert_eq!(list(Some(one), 9).await, std::slice::from_ref(other), "those behind it");
    assert!(accounts.set_disabled(other, false).await.is_ok(), "enabled");
    assert_eq!(list(None, 9).await, std::slice::from_ref(one), "no more than that");
    let count = async |disabled| accounts.count("example.org", disabled).await.expect("count");
    assert_eq!((count(false).await, count(true).await), (2, 1), "counted");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_table_in_memory_does_what_every_user_table_must() {
        manage_conformance(&MemoryAccounts::new()).await;
    }
}
