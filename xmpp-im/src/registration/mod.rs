//! In-band registration (XEP-0077) for users who are logged in: they change their password, and remove their account.
//!
//! ```no_run
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! use std::sync::Arc;
//! use xmpp_core::server::MemoryAccounts;
//! use xmpp_im::registration::{self, Registration};
//!
//! let accounts = Arc::new(MemoryAccounts::new());
//! builder.accounts(Arc::clone(&accounts)).with(registration::server(accounts, Registration::default()))
//! # }
//! ```

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "client")]
pub use client::{change_password, remove_account};
#[cfg(feature = "server")]
pub use server::{MAX_PASSWORD, Registration, server};

use xmpp_core::payload::{Payload, form::DataForm};

/// `jabber:iq:register`.
pub const NS: &str = "jabber:iq:register";

/// What is asked for, filled in, or on file. Of the fields of the schema those that a server of accounts uses; a form
/// goes before them.
#[derive(Clone, Default, Payload)]
#[xml(name = "query", ns = NS)]
pub struct RegistrationQuery {
    /// Whether who asks is registered.
    #[xml(flag = "registered")]
    pub registered: bool,
    /// How to fill it in.
    #[xml(child_text = "instructions")]
    pub instructions: Option<String>,
    /// The name of the account, without domain.
    #[xml(child_text = "username")]
    pub username: Option<String>,
    /// The password.
    #[xml(child_text = "password")]
    pub password: Option<String>,
    /// Removes the account (§3.2).
    #[xml(flag = "remove")]
    pub remove: bool,
    /// The form.
    #[xml(child)]
    pub form: Option<DataForm>,
}

impl std::fmt::Debug for RegistrationQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistrationQuery")
            .field("username", &self.username)
            .field("remove", &self.remove)
            .finish_non_exhaustive()
    }
}
