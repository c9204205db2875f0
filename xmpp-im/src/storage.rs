//! What the stores of all features have in common. Each feature defines the trait that it needs.

#[cfg(feature = "server")]
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};
#[cfg(feature = "server")]
use xmpp_core::jid::BareJid;

/// Why a store could not answer. The client is told `internal-server-error` and nothing else.
#[derive(Debug, thiserror::Error)]
#[error("the store failed: {0}")]
pub struct StorageError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

impl From<StorageError> for xmpp_core::stanza::StanzaError {
    fn from(error: StorageError) -> Self {
        tracing::error!("{error}");
        xmpp_core::stanza::StanzaError::internal_server_error()
    }
}

/// What a store answers, later.
pub type Stored<'a, T> = xmpp_core::BoxFuture<'a, Result<T, StorageError>>;

/// Calls `forget` when an account is gone. What a store does not forget then stays, and is told in the log.
#[cfg(feature = "server")]
pub(crate) fn forget_removed(
    r: &mut xmpp_core::server::ServerRegistrar,
    forget: impl Fn(BareJid) -> Stored<'static, ()> + Send + Sync + 'static,
) {
    r.on_account_removed(move |_, user| {
        let forgetting = forget(user.clone());
        Box::pin(async move {
            if let Err(error) = forgetting.await {
                tracing::error!(%error, %user, "what is kept of a removed account stays");
            }
        })
    });
}

/// What a store in memory has of each user, gone with the process.
#[cfg(feature = "server")]
#[derive(Debug)]
pub(crate) struct PerUser<T>(Mutex<HashMap<BareJid, T>>);

#[cfg(feature = "server")]
impl<T> Default for PerUser<T> {
    fn default() -> PerUser<T> {
        PerUser(Mutex::default())
    }
}

#[cfg(feature = "server")]
impl<T: Send> PerUser<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<BareJid, T>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(async move {
            self.lock().remove(user);
            Ok(())
        })
    }
}
