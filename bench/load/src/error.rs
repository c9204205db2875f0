//! What can go wrong while measuring.

/// The outcome of a step of the tool.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a measurement could not be made. There are no partial results: a wrong answer ends the run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Process(String),
    #[error("the server: {0}")]
    Server(String),
    #[error("no {0} in time")]
    Timeout(&'static str),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("a load task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}
