//! SQL back ends for what an XMPP server stores.
//!
//! ```no_run
//! use xmpp_core::{net::ServerTls, server::Server};
//! use xmpp_sql::Database;
//!
//! # async fn run(tls: ServerTls) -> Result<(), Box<dyn std::error::Error>> {
//! let database = Database::open("xmpp.sqlite").await?;
//! let accounts = database.accounts();
//! accounts.create(&"juliet@localhost".parse()?, "r0m30").await?;
//! let server = Server::builder("localhost")
//!     .secret(database.secret("scram").await?)
//!     .accounts(accounts)
//!     .tokens(database.tokens())
//!     .with(xmpp_im::roster::server(database.rosters()))
//!     .tls(tls)
//!     .build()?;
//! # Ok(()) }
//! ```
//!
//! One [`Database`] is one SQLite file. Several processes may have it open and write to it at the same time: what one
//! has committed, the others see with their next question. The statements keep to what SQLite and PostgreSQL share;
//! only the migrations and the opening are of one engine.

mod account_xml;
mod accounts;
mod archive;
mod blocking;
mod database;
mod group_commit;
mod invitations;
mod last_activity;
mod login;
mod offline;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod plans;
mod rooms;
mod roster;
mod tokens;
mod uploads;

pub use account_xml::SqlAccountXml;
pub use accounts::SqlAccounts;
pub use archive::SqlArchive;
pub use blocking::SqlBlocking;
pub use database::Database;
pub use invitations::SqlInvitations;
pub use last_activity::SqlLastActivity;
pub use login::SqlLogins;
pub use offline::SqlOffline;
pub use rooms::SqlRooms;
pub use roster::SqlRosters;
pub use tokens::SqlTokens;
pub use uploads::SqlUploads;

use xmpp_core::jid::BareJid;
use xmpp_im::StorageError;

/// What the engine said. Its type is not part of this crate's promise.
pub type EngineError = Box<dyn std::error::Error + Send + Sync>;

/// Why something was not stored or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The file cannot be opened or created.
    #[error("cannot open the database {path}: {error}")]
    Open {
        /// Which file.
        path: String,
        /// Why.
        error: EngineError,
    },
    /// A newer version of this crate has changed the tables.
    #[error("the database has tables of version {found}, this program knows versions up to {known}: use a newer one")]
    TooNew {
        /// The version of the tables.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// There is such an account already.
    #[error("the account {0} exists already")]
    Exists(BareJid),
    /// There is no such account.
    #[error("there is no account {0}")]
    Unknown(BareJid),
    /// An account needs a name before the `@`.
    #[error("{0} cannot be an account: it has no name before an @")]
    NoName(BareJid),
    /// Anybody could log in.
    #[error("an account needs a password that is not empty")]
    EmptyPassword,
    /// The engine failed: disk full, file broken, locked for too long.
    #[error("the database failed: {0}")]
    Engine(#[source] EngineError),
}

impl From<sqlx::Error> for SqlError {
    fn from(error: sqlx::Error) -> SqlError {
        SqlError::Engine(Box::new(error))
    }
}

/// What the stores of `xmpp_im` say when the engine failed.
fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StorageError {
    StorageError(Box::new(error))
}

/// The programs of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
struct Guide;
