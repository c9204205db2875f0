//! What the stores of all features have in common. Each feature defines the trait that it needs.

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
