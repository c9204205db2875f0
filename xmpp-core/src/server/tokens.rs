//! Where a server keeps the tokens of its users' clients (XEP-0484): the trait, and a table in memory.

use crate::{
    BoxFuture,
    jid::BareJid,
    sasl::Mechanism,
    stream::{ClientRecord, ClientTokens, Token},
};
use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
};

/// Why a store of tokens could not answer. Clients that have a password use that.
#[derive(Debug, thiserror::Error)]
#[error("the store of tokens failed: {0}")]
pub struct TokensError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// So many clients of one account are stored at most; of more, the one whose tokens end first is left out, those without
/// tokens before it.
pub const TOKEN_CLIENTS: usize = 64;

/// The tokens of all accounts, by account and by the id of the client installation.
///
/// They are kept as they are, not hashed: each is the key of an HMAC. Whoever has changed a password or removed an account
/// calls [`forget`](Self::forget) then. A store that does so itself, as one with its accounts, does it in the same
/// transaction.
pub trait Tokens: Send + Sync + 'static {
    /// The tokens of one client, and what else is known of it; the default value if there is nothing, but for the
    /// generation.
    fn load(&self, user: &BareJid, client: &str) -> impl Future<Output = Result<ClientTokens, TokensError>> + Send;

    /// Stores them if what is stored has still the revision that `tokens` has, and makes that one more; whether it
    /// did. Of two who load the same and change it, one succeeds: that is what a token's count rests on. Nothing is stored
    /// if the account has another generation than `tokens` by now. Empty ones are removed. Of an account's clients at most [`TOKEN_CLIENTS`] are kept.
    fn store(
        &self,
        user: &BareJid,
        client: &str,
        tokens: &ClientTokens,
    ) -> impl Future<Output = Result<bool, TokensError>> + Send;

    /// Forgets those of one client, or of all clients of the account; then the account also gets another generation,
    /// one that it never had.
    fn forget(&self, user: &BareJid, client: Option<&str>) -> impl Future<Output = Result<(), TokensError>> + Send;

    /// All clients of the account for which something is stored, by id.
    fn clients(&self, user: &BareJid) -> impl Future<Output = Result<Vec<(String, ClientTokens)>, TokensError>> + Send;

    /// The account's generation: it changes with the password. It is asked before a password is checked, so that what
    /// the login leads to is not stored when the password was changed meanwhile. The default loads a client that has no
    /// name.
    fn generation(&self, user: &BareJid) -> impl Future<Output = Result<u64, TokensError>> + Send {
        async { Ok(self.load(user, "").await?.generation) }
    }
}

/// [`Tokens`] as an object.
pub(crate) trait DynTokens: Send + Sync {
    fn load<'a>(&'a self, user: &'a BareJid, client: &'a str) -> BoxFuture<'a, Result<ClientTokens, TokensError>>;
    fn store<'a>(
        &'a self,
        user: &'a BareJid,
        client: &'a str,
        tokens: &'a ClientTokens,
    ) -> BoxFuture<'a, Result<bool, TokensError>>;
    fn forget<'a>(&'a self, user: &'a BareJid, client: Option<&'a str>) -> BoxFuture<'a, Result<(), TokensError>>;
    fn clients<'a>(&'a self, user: &'a BareJid) -> BoxFuture<'a, Result<Vec<(String, ClientTokens)>, TokensError>>;
    fn generation<'a>(&'a self, user: &'a BareJid) -> BoxFuture<'a, Result<u64, TokensError>>;
}

impl<T: Tokens> DynTokens for T {
    fn load<'a>(&'a self, user: &'a BareJid, client: &'a str) -> BoxFuture<'a, Result<ClientTokens, TokensError>> {
        Box::pin(Tokens::load(self, user, client))
    }
    fn store<'a>(
        &'a self,
        user: &'a BareJid,
        client: &'a str,
        tokens: &'a ClientTokens,
    ) -> BoxFuture<'a, Result<bool, TokensError>> {
        Box::pin(Tokens::store(self, user, client, tokens))
    }
    fn forget<'a>(&'a self, user: &'a BareJid, client: Option<&'a str>) -> BoxFuture<'a, Result<(), TokensError>> {
        Box::pin(Tokens::forget(self, user, client))
    }
    fn clients<'a>(&'a self, user: &'a BareJid) -> BoxFuture<'a, Result<Vec<(String, ClientTokens)>, TokensError>> {
        Box::pin(Tokens::clients(self, user))
    }
    fn generation<'a>(&'a self, user: &'a BareJid) -> BoxFuture<'a, Result<u64, TokensError>> {
        Box::pin(Tokens::generation(self, user))
    }
}

impl<T: Tokens> Tokens for Arc<T> {
    fn load(&self, user: &BareJid, client: &str) -> impl Future<Output = Result<ClientTokens, TokensError>> + Send {
        T::load(self, user, client)
    }
    fn store(
        &self,
        user: &BareJid,
        client: &str,
        tokens: &ClientTokens,
    ) -> impl Future<Output = Result<bool, TokensError>> + Send {
        T::store(self, user, client, tokens)
    }
    fn forget(&self, user: &BareJid, client: Option<&str>) -> impl Future<Output = Result<(), TokensError>> + Send {
        T::forget(self, user, client)
    }
    fn clients(&self, user: &BareJid) -> impl Future<Output = Result<Vec<(String, ClientTokens)>, TokensError>> + Send {
        T::clients(self, user)
    }
    fn generation(&self, user: &BareJid) -> impl Future<Output = Result<u64, TokensError>> + Send {
        T::generation(self, user)
    }
}

/// Tokens in memory, gone with the process. Whoever changes a password calls [`forget`](Tokens::forget).
#[derive(Debug, Default)]
pub struct MemoryTokens {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    users: HashMap<BareJid, HashMap<String, ClientTokens>>,
    /// Of the accounts that were forgotten once.
    generations: HashMap<BareJid, u64>,
    /// How often any was.
    count: u64,
}

impl Table {
    fn generation(&self, user: &BareJid) -> u64 {
        self.generations.get(user).copied().unwrap_or_default()
    }
}

impl MemoryTokens {
    /// No tokens.
    pub fn new() -> Self {
        Self::default()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Tokens for MemoryTokens {
    async fn load(&self, user: &BareJid, client: &str) -> Result<ClientTokens, TokensError> {
        let table = self.table();
        let found = table.users.get(user).and_then(|clients| clients.get(client)).cloned().unwrap_or_default();
        Ok(ClientTokens { generation: table.generation(user), ..found })
    }

    async fn store(&self, user: &BareJid, client: &str, tokens: &ClientTokens) -> Result<bool, TokensError> {
        let mut table = self.table();
        if table.generation(user) != tokens.generation {
            return Ok(false);
        }
        let clients = table.users.entry(user.clone()).or_default();
        let revision = clients.get(client).map_or(0, |stored| stored.revision);
        let agreed = revision == tokens.revision;
        if agreed && tokens.is_empty() {
            clients.remove(client);
        } else if agreed {
            if revision == 0 && clients.len() >= TOKEN_CLIENTS {
                let first = clients.iter().min_by_key(|(_, stored)| stored.ends()).map(|(client, _)| client.clone());
                first.and_then(|first| clients.remove(&first));
            }
            clients.insert(client.to_owned(), ClientTokens { revision: revision.saturating_add(1), ..tokens.clone() });
        }
        if clients.is_empty() {
            table.users.remove(user);
        }
        Ok(agreed)
    }

    async fn forget(&self, user: &BareJid, client: Option<&str>) -> Result<(), TokensError> {
        let mut table = self.table();
        match client {
            None => {
                table.users.remove(user);
                table.count += 1;
                let count = table.count;
                table.generations.insert(user.clone(), count);
            }
            Some(client) => {
                table.users.get_mut(user).and_then(|clients| clients.remove(client));
            }
        }
        Ok(())
    }

    async fn clients(&self, user: &BareJid) -> Result<Vec<(String, ClientTokens)>, TokensError> {
        let table = self.table();
        let generation = table.generation(user);
        let clients = table.users.get(user).into_iter().flatten();
        Ok(clients.map(|(id, stored)| (id.clone(), ClientTokens { generation, ..stored.clone() })).collect())
    }
}

/// What every [`Tokens`] must do, to be called from an implementation's own tests. The accounts `one` and `other` are
/// known to it, if it has to know them, and have no tokens.
///
/// # Panics
/// When the implementation breaks the contract; the message says which part.
#[allow(clippy::panic)] // It is an assertion.
pub async fn tokens_conformance<T: Tokens>(tokens: &T, one: &BareJid, other: &BareJid) {
    let fail = |what: String| -> ! { panic!("Tokens conformance: {what}") };
    let token = |secret: &str, expiry: u64| Token {
        secret: secret.to_owned(),
        mechanism: Mechanism::HtSha256Exporter,
        issued: 1,
        expiry,
        count: u32::MAX,
    };
    let load = async |user: &BareJid, client: &str| match tokens.load(user, client).await {
        Ok(found) => found,
        Err(error) => fail(format!("load: {error}")),
    };
    let store = async |user: &BareJid, client: &str, what: &ClientTokens| match tokens.store(user, client, what).await {
        Ok(stored) => stored,
        Err(error) => fail(format!("store: {error}")),
    };
    let nothing = load(one, "laptop").await;
    if !nothing.is_empty() || nothing.revision != 0 {
        fail(format!("nothing was stored, and {nothing:?} found"));
    }
    let generation = nothing.generation;
    let others = load(other, "laptop").await.generation;
    let first = ClientTokens {
        current: Some(token("a<&'", 10)),
        fresh: Some(token("b", u64::from(u32::MAX) * 2)),
        record: Some(ClientRecord {
            first_seen: 3,
            last_seen: u64::from(u32::MAX) + 4,
            software: Some("So & <so>".into()),
            device: None,
            password: true,
            certificate: false,
        }),
        revision: 0,
        generation,
    };
    if !store(one, "laptop", &first).await {
        fail("the first is not stored".into());
    }
    let found = load(one, "laptop").await;
    let same = |one: &ClientTokens, other: &ClientTokens| {
        (&one.current, &one.fresh, &one.record) == (&other.current, &other.fresh, &other.record)
    };
    if !same(&found, &first) || found.revision == 0 {
        fail(format!("stored {first:?}, found {found:?}"));
    }
    if !load(one, "phone").await.is_empty() || !load(other, "laptop").await.is_empty() {
        fail("another client's tokens were found".into());
    }
    let next = ClientTokens { fresh: None, ..found.clone() };
    if !store(one, "laptop", &next).await {
        fail("a change is not stored".into());
    }
    if store(one, "laptop", &next).await || store(one, "laptop", &first).await {
        fail("a change of an old revision was stored".into());
    }
    let found = load(one, "laptop").await;
    if found.fresh.is_some() || found.current != next.current {
        fail(format!("changed to {next:?}, found {found:?}"));
    }
    let recorded = ClientTokens { current: None, ..found };
    if !store(one, "laptop", &recorded).await || !same(&load(one, "laptop").await, &recorded) {
        fail("a client without tokens is not kept".into());
    }
    let found = load(one, "laptop").await;
    if !store(one, "laptop", &ClientTokens { record: None, ..found }).await || !load(one, "laptop").await.is_empty() {
        fail("empty ones are not removed".into());
    }
    for number in 0..=TOKEN_CLIENTS as u64 {
        let many = ClientTokens { fresh: Some(token("x", 100 + number)), generation, ..ClientTokens::default() };
        if !store(one, &format!("client{number}"), &many).await {
            fail("one of many is not stored".into());
        }
    }
    if !load(one, "client0").await.is_empty() || load(one, "client1").await.is_empty() {
        fail("of too many clients, not the one that ends first was left out".into());
    }
    match tokens.clients(one).await {
        Ok(clients)
            if clients.len() == TOKEN_CLIENTS
                && clients.iter().all(|(id, one)| id != "client0" && one.has_tokens()) => {}
        clients => fail(format!("the list of clients: {clients:?}")),
    }
    let kept = ClientTokens { fresh: Some(token("y", 100)), generation: others, ..ClientTokens::default() };
    store(other, "laptop", &kept).await;
    let forgotten = (tokens.forget(one, Some("client1")).await, load(one, "client1").await.is_empty());
    if !matches!(forgotten, (Ok(()), true)) || load(one, "client2").await.is_empty() {
        fail("forgetting one client".into());
    }
    let forgotten = (tokens.forget(one, None).await, load(one, "client2").await.is_empty());
    if !matches!(forgotten, (Ok(()), true)) || load(other, "laptop").await.is_empty() {
        fail("forgetting an account".into());
    }
    // A login that began before the password was changed ends after that.
    let generation = async || tokens.generation(one).await.unwrap_or_else(|error| fail(format!("generation: {error}")));
    let before = generation().await;
    let late = ClientTokens { generation: before, ..first.clone() };
    let changed = tokens.forget(one, None).await;
    if changed.is_err() || generation().await == before || generation().await != load(one, "laptop").await.generation {
        fail("the generation does not change when an account is forgotten".into());
    }
    if store(one, "laptop", &late).await || !load(one, "laptop").await.is_empty() {
        fail("what belongs to a password before the last was stored".into());
    }
    let timely = ClientTokens { generation: generation().await, ..first };
    if !store(one, "laptop", &timely).await || !same(&load(one, "laptop").await, &timely) {
        fail("what belongs to the last password is not stored".into());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_table_in_memory_does_what_every_store_must() {
        let tokens = MemoryTokens::new();
        tokens_conformance(&tokens, &"a@localhost".parse().unwrap(), &"b@localhost".parse().unwrap()).await;
    }
}
