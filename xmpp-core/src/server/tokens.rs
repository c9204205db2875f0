//! Where a server keeps the tokens of its users' clients (XEP-0484): the trait, and a table in memory.

use crate::{
    BoxFuture,
    jid::BareJid,
    sasl::Mechanism,
    stream::{ClientTokens, Token},
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

/// So many clients of one account have tokens at most; of more, the one whose tokens end first loses them.
pub const TOKEN_CLIENTS: usize = 64;

/// The tokens of all accounts, by account and by the id of the client installation.
///
/// They are kept as they are, not hashed: each is the key of an HMAC. Whoever changes a password or removes an account
/// calls [`forget`](Self::forget).
pub trait Tokens: Send + Sync + 'static {
    /// The tokens of one client; the default value if there are none.
    fn load(&self, user: &BareJid, client: &str) -> impl Future<Output = Result<ClientTokens, TokensError>> + Send;

    /// Stores them if what is stored has still the revision that `tokens` has, and makes that one more; whether it
    /// did. Of two who load the same and change it, one succeeds: that is what a token's count rests on. Empty ones are
    /// removed. Of an account's clients at most [`TOKEN_CLIENTS`] are kept.
    fn store(
        &self,
        user: &BareJid,
        client: &str,
        tokens: &ClientTokens,
    ) -> impl Future<Output = Result<bool, TokensError>> + Send;

    /// Forgets those of one client, or of all clients of the account.
    fn forget(&self, user: &BareJid, client: Option<&str>) -> impl Future<Output = Result<(), TokensError>> + Send;
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
}

/// Tokens in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryTokens {
    users: Mutex<HashMap<BareJid, HashMap<String, ClientTokens>>>,
}

impl MemoryTokens {
    /// No tokens.
    pub fn new() -> Self {
        Self::default()
    }

    fn users(&self) -> MutexGuard<'_, HashMap<BareJid, HashMap<String, ClientTokens>>> {
        self.users.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// When the last of a client's tokens ends.
fn last_expiry(tokens: &ClientTokens) -> u64 {
    let slots = [&tokens.current, &tokens.fresh];
    slots.into_iter().flatten().map(|token| token.expiry).max().unwrap_or_default()
}

impl Tokens for MemoryTokens {
    async fn load(&self, user: &BareJid, client: &str) -> Result<ClientTokens, TokensError> {
        Ok(self.users().get(user).and_then(|clients| clients.get(client)).cloned().unwrap_or_default())
    }

    async fn store(&self, user: &BareJid, client: &str, tokens: &ClientTokens) -> Result<bool, TokensError> {
        let mut users = self.users();
        let clients = users.entry(user.clone()).or_default();
        let revision = clients.get(client).map_or(0, |stored| stored.revision);
        let agreed = revision == tokens.revision;
        if agreed && tokens.is_empty() {
            clients.remove(client);
        } else if agreed {
            if revision == 0 && clients.len() >= TOKEN_CLIENTS {
                let first =
                    clients.iter().min_by_key(|(_, stored)| last_expiry(stored)).map(|(client, _)| client.clone());
                first.and_then(|first| clients.remove(&first));
            }
            clients.insert(client.to_owned(), ClientTokens { revision: revision.saturating_add(1), ..tokens.clone() });
        }
        if clients.is_empty() {
            users.remove(user);
        }
        Ok(agreed)
    }

    async fn forget(&self, user: &BareJid, client: Option<&str>) -> Result<(), TokensError> {
        let mut users = self.users();
        match client {
            None => drop(users.remove(user)),
            Some(client) => {
                users.get_mut(user).and_then(|clients| clients.remove(client));
            }
        }
        Ok(())
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
    if nothing != ClientTokens::default() {
        fail(format!("nothing was stored, and {nothing:?} found"));
    }
    let first = ClientTokens {
        current: Some(token("a<&'", 10)),
        fresh: Some(token("b", u64::from(u32::MAX) * 2)),
        revision: 0,
    };
    if !store(one, "laptop", &first).await {
        fail("the first is not stored".into());
    }
    let found = load(one, "laptop").await;
    if (&found.current, &found.fresh) != (&first.current, &first.fresh) || found.revision == 0 {
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
    if !store(one, "laptop", &ClientTokens { current: None, ..found }).await || !load(one, "laptop").await.is_empty() {
        fail("empty ones are not removed".into());
    }
    for number in 0..=TOKEN_CLIENTS as u64 {
        let many = ClientTokens { fresh: Some(token("x", 100 + number)), ..ClientTokens::default() };
        if !store(one, &format!("client{number}"), &many).await {
            fail("one of many is not stored".into());
        }
    }
    if !load(one, "client0").await.is_empty() || load(one, "client1").await.is_empty() {
        fail("of too many clients, not the one that ends first was left out".into());
    }
    let kept = ClientTokens { fresh: Some(token("y", 100)), ..ClientTokens::default() };
    store(other, "laptop", &kept).await;
    let forgotten = (tokens.forget(one, Some("client1")).await, load(one, "client1").await.is_empty());
    if !matches!(forgotten, (Ok(()), true)) || load(one, "client2").await.is_empty() {
        fail("forgetting one client".into());
    }
    let forgotten = (tokens.forget(one, None).await, load(one, "client2").await.is_empty());
    if !matches!(forgotten, (Ok(()), true)) || load(other, "laptop").await.is_empty() {
        fail("forgetting an account".into());
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
