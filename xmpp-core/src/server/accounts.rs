//! Who may log in: the trait a server asks, and a table in memory.

use crate::{
    BoxFuture,
    jid::BareJid,
    sasl::{Hash, ScramCredentials},
};
use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// Why an account store could not answer. The client is told `temporary-auth-failure` and nothing else.
#[derive(Debug, thiserror::Error)]
#[error("the account store failed: {0}")]
pub struct AccountsError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// A user table. Bring your own: [`credentials`](Self::credentials) and [`exists`](Self::exists), which never see a
/// password, and [`hashes`](Self::hashes) if you don't store keys for all of them.
///
/// An implementation stores [`ScramCredentials`] (one for each hash it wants to offer), made with
/// [`hash_password`] when the password is set. One table serves all domains of a server:
/// the address says which.
pub trait Accounts: Send + Sync + 'static {
    /// The stored credentials of `user` for `hash`; `None` when there is no such user or none for this hash.
    fn credentials(
        &self,
        user: &BareJid,
        hash: Hash,
    ) -> impl Future<Output = Result<Option<ScramCredentials>, AccountsError>> + Send;

    /// Whether `user` exists (and may receive messages).
    fn exists(&self, user: &BareJid) -> impl Future<Output = Result<bool, AccountsError>> + Send;

    /// Whether `user` exists and may not log in for the time being (XEP-0133 §4.3). It is asked once a login by whatever
    /// mechanism has been authenticated; a client that is refused is told `account-disabled` (RFC 6120 §6.5.1). Whoever
    /// disables an account calls [`Server::account_disabled`](super::Server::account_disabled) afterwards. Nobody is by
    /// default.
    fn is_disabled(&self, user: &BareJid) -> impl Future<Output = Result<bool, AccountsError>> + Send {
        let _ = user;
        async { Ok(false) }
    }

    /// Whether `password` is `user`'s: for the mechanism PLAIN. The default derives the keys from the password and
    /// compares them with the stored ones; override it where passwords are checked elsewhere (LDAP, PAM, HTTP).
    fn check_password(
        &self,
        user: &BareJid,
        password: &str,
    ) -> impl Future<Output = Result<bool, AccountsError>> + Send {
        check_stored(self, user, password)
    }

    /// Stores credentials for one more hash, derived by a client that has just logged in (XEP-0480). Others that the
    /// account has stay, and so do those for this hash, if there are some by now: the password may have been changed since
    /// the login. The default refuses.
    fn store_credentials(
        &self,
        user: &BareJid,
        credentials: ScramCredentials,
    ) -> impl Future<Output = Result<(), AccountsError>> + Send {
        let _ = (user, credentials);
        async { Err(AccountsError("this store takes no credentials from clients".into())) }
    }

    /// The hashes for which [`store_credentials`](Self::store_credentials) stores something. A client that logs in is
    /// asked for those that its account lacks. None by default.
    fn upgrades(&self) -> &[Hash] {
        &[]
    }

    /// The hashes for which credentials are stored: the SCRAM mechanisms to offer.
    fn hashes(&self) -> &[Hash] {
        &[Hash::Sha1, Hash::Sha256, Hash::Sha512]
    }

    /// The PBKDF2 rounds of most stored credentials. A challenge to a user who does not exist names them, so that it
    /// looks like any other (RFC 5802 §9).
    fn iterations(&self) -> u32 {
        DEFAULT_ITERATIONS
    }
}

async fn check_stored<A: Accounts + ?Sized>(
    accounts: &A,
    user: &BareJid,
    password: &str,
) -> Result<bool, AccountsError> {
    let mut stored = None;
    for &hash in accounts.hashes() {
        stored = accounts.credentials(user, hash).await?;
        if stored.is_some() {
            break;
        }
    }
    // A user who does not exist costs the same work as one who does (ABUSE A033).
    let known = stored.is_some();
    let hash = accounts.hashes().first().copied().unwrap_or(Hash::Sha256);
    let stored = stored.unwrap_or_else(|| ScramCredentials::fake(b"", user.as_str(), hash, accounts.iterations()));
    let password = password.to_owned();
    let matches = tokio::task::spawn_blocking(move || stored.verify_password(&password)).await;
    let matches = matches.map_err(|error| AccountsError(Box::new(error)))?;
    Ok(matches && known)
}

/// PBKDF2 rounds of newly stored credentials.
pub const DEFAULT_ITERATIONS: u32 = 10_000;

/// What to store for a password, with a fresh salt. Blocks for some milliseconds.
pub fn hash_password(hash: Hash, password: &str) -> ScramCredentials {
    ScramCredentials::derive(hash, password, &crate::random::bytes::<16>(), DEFAULT_ITERATIONS)
}

/// [`Accounts`] as an object.
pub(crate) trait DynAccounts: Send + Sync {
    fn credentials<'a>(
        &'a self,
        user: &'a BareJid,
        hash: Hash,
    ) -> BoxFuture<'a, Result<Option<ScramCredentials>, AccountsError>>;
    fn exists<'a>(&'a self, user: &'a BareJid) -> BoxFuture<'a, Result<bool, AccountsError>>;
    fn is_disabled<'a>(&'a self, user: &'a BareJid) -> BoxFuture<'a, Result<bool, AccountsError>>;
    fn check_password<'a>(&'a self, user: &'a BareJid, password: &'a str)
    -> BoxFuture<'a, Result<bool, AccountsError>>;
    fn store_credentials<'a>(
        &'a self,
        user: &'a BareJid,
        credentials: ScramCredentials,
    ) -> BoxFuture<'a, Result<(), AccountsError>>;
    fn upgrades(&self) -> &[Hash];
    fn hashes(&self) -> &[Hash];
    fn iterations(&self) -> u32;
}

impl<A: Accounts> DynAccounts for A {
    fn credentials<'a>(
        &'a self,
        user: &'a BareJid,
        hash: Hash,
    ) -> BoxFuture<'a, Result<Option<ScramCredentials>, AccountsError>> {
        Box::pin(Accounts::credentials(self, user, hash))
    }
    fn exists<'a>(&'a self, user: &'a BareJid) -> BoxFuture<'a, Result<bool, AccountsError>> {
        Box::pin(Accounts::exists(self, user))
    }
    fn is_disabled<'a>(&'a self, user: &'a BareJid) -> BoxFuture<'a, Result<bool, AccountsError>> {
        Box::pin(Accounts::is_disabled(self, user))
    }
    fn check_password<'a>(
        &'a self,
        user: &'a BareJid,
        password: &'a str,
    ) -> BoxFuture<'a, Result<bool, AccountsError>> {
        Box::pin(Accounts::check_password(self, user, password))
    }
    fn store_credentials<'a>(
        &'a self,
        user: &'a BareJid,
        credentials: ScramCredentials,
    ) -> BoxFuture<'a, Result<(), AccountsError>> {
        Box::pin(Accounts::store_credentials(self, user, credentials))
    }
    fn upgrades(&self) -> &[Hash] {
        Accounts::upgrades(self)
    }
    fn hashes(&self) -> &[Hash] {
        Accounts::hashes(self)
    }
    fn iterations(&self) -> u32 {
        Accounts::iterations(self)
    }
}

impl<A: Accounts> Accounts for Arc<A> {
    fn credentials(
        &self,
        user: &BareJid,
        hash: Hash,
    ) -> impl Future<Output = Result<Option<ScramCredentials>, AccountsError>> + Send {
        A::credentials(self, user, hash)
    }
    fn exists(&self, user: &BareJid) -> impl Future<Output = Result<bool, AccountsError>> + Send {
        A::exists(self, user)
    }
    fn is_disabled(&self, user: &BareJid) -> impl Future<Output = Result<bool, AccountsError>> + Send {
        A::is_disabled(self, user)
    }
    fn check_password(
        &self,
        user: &BareJid,
        password: &str,
    ) -> impl Future<Output = Result<bool, AccountsError>> + Send {
        A::check_password(self, user, password)
    }
    fn store_credentials(
        &self,
        user: &BareJid,
        credentials: ScramCredentials,
    ) -> impl Future<Output = Result<(), AccountsError>> + Send {
        A::store_credentials(self, user, credentials)
    }
    fn upgrades(&self) -> &[Hash] {
        A::upgrades(self)
    }
    fn hashes(&self) -> &[Hash] {
        A::hashes(self)
    }
    fn iterations(&self) -> u32 {
        A::iterations(self)
    }
}

/// Accounts in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryAccounts {
    users: RwLock<HashMap<BareJid, Account>>,
}

#[derive(Debug, Default)]
struct Account {
    credentials: Vec<ScramCredentials>,
    disabled: bool,
}

impl MemoryAccounts {
    /// No users.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a user or sets the password anew. Blocks while the keys are derived (some tens of milliseconds).
    pub fn set_password(&self, user: BareJid, password: &str) {
        let derived = Accounts::hashes(self).iter().map(|&hash| hash_password(hash, password)).collect();
        self.set_credentials(user, derived);
    }

    /// Adds a user, or replaces what is stored, by credentials that were derived elsewhere.
    pub fn set_credentials(&self, user: BareJid, credentials: Vec<ScramCredentials>) {
        self.write().entry(user).or_default().credentials = credentials;
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<BareJid, Account>> {
        self.users.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<BareJid, Account>> {
        self.users.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Replaces what is stored for a user by what `decide` says, who is told whether there is one; whether it did.
    pub(super) fn change(&self, user: &BareJid, decide: impl FnOnce(bool) -> Option<Vec<ScramCredentials>>) -> bool {
        let mut users = self.write();
        let decided = decide(users.contains_key(user));
        let changed = decided.is_some();
        if let Some(credentials) = decided {
            users.entry(user.clone()).or_default().credentials = credentials;
        }
        changed
    }

    /// Whether there is such a user, who is disabled from now on, or is not.
    pub(super) fn disable(&self, user: &BareJid, disabled: bool) -> bool {
        self.write().get_mut(user).map(|account| account.disabled = disabled).is_some()
    }

    /// The users of a domain, or those of them that are disabled.
    pub(super) fn of_domain(&self, domain: &str, disabled: bool) -> Vec<BareJid> {
        let users = self.read();
        let found = users.iter().filter(|(user, account)| user.domain() == domain && (account.disabled || !disabled));
        found.map(|(user, _)| user.clone()).collect()
    }

    /// Removes a user; whether there was one.
    pub fn remove(&self, user: &BareJid) -> bool {
        self.write().remove(user).is_some()
    }
}

impl Accounts for MemoryAccounts {
    async fn credentials(&self, user: &BareJid, hash: Hash) -> Result<Option<ScramCredentials>, AccountsError> {
        let users = self.read();
        Ok(users.get(user).and_then(|account| account.credentials.iter().find(|one| one.hash == hash)).cloned())
    }

    async fn exists(&self, user: &BareJid) -> Result<bool, AccountsError> {
        Ok(self.read().contains_key(user))
    }

    async fn is_disabled(&self, user: &BareJid) -> Result<bool, AccountsError> {
        Ok(self.read().get(user).is_some_and(|account| account.disabled))
    }

    async fn store_credentials(&self, user: &BareJid, credentials: ScramCredentials) -> Result<(), AccountsError> {
        let mut users = self.write();
        let Some(account) = users.get_mut(user) else { return Err(AccountsError("there is no such account".into())) };
        let stored = &mut account.credentials;
        // The password may have been changed since the login: what that stored is newer.
        if !stored.iter().any(|one| one.hash == credentials.hash) {
            stored.push(credentials);
        }
        Ok(())
    }

    fn upgrades(&self) -> &[Hash] {
        &[Hash::Sha512, Hash::Sha256]
    }
}

/// What every [`Accounts`] must do, to be called from an implementation's own tests. `present` exists with the
/// password `password`; `absent` does not exist.
///
/// # Panics
/// When the implementation breaks the contract; the message says which part.
#[allow(clippy::panic)] // It is an assertion.
pub async fn conformance<A: Accounts>(accounts: &A, present: &BareJid, password: &str, absent: &BareJid) {
    let fail = |what: &str| -> ! { panic!("Accounts conformance: {what}") };
    if accounts.hashes().is_empty() {
        fail("no hash is offered");
    }
    match (accounts.exists(present).await, accounts.exists(absent).await) {
        (Ok(true), Ok(false)) => {}
        other => fail(&format!("exists: {other:?}")),
    }
    for &hash in accounts.hashes() {
        match accounts.credentials(present, hash).await {
            Ok(Some(stored)) if stored.hash == hash && stored.verify_password(password) => {}
            other => fail(&format!("credentials for {hash:?}: {other:?}")),
        }
        match accounts.credentials(absent, hash).await {
            Ok(None) => {}
            other => fail(&format!("credentials of nobody: {other:?}")),
        }
    }
    let wrong = format!("{password}x");
    for (user, password, expected) in [(present, password, true), (present, &wrong, false), (absent, password, false)] {
        match accounts.check_password(user, password).await {
            Ok(answer) if answer == expected => {}
            other => fail(&format!("check_password: {other:?}")),
        }
    }
}
