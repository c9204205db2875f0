//! In-band registration (XEP-0077): users who are logged in change their password, and remove their account; where that is
//! [open](sign_up()), newcomers register one before they log in, everybody or by [invitation](crate::invitation) alone.
//!
//! ```no_run
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! use std::sync::Arc;
//! use xmpp_core::server::MemoryAccounts;
//! use xmpp_im::registration::{self, Registration, SignUp};
//!
//! let accounts = Arc::new(MemoryAccounts::new());
//! let builder = builder.accounts(Arc::clone(&accounts));
//! let builder = builder.with(registration::server(Arc::clone(&accounts), Registration::default()));
//! builder.with(registration::sign_up(accounts, SignUp::open()))
//! # }
//! ```
//!
//! A client registers, and then is one:
//!
//! ```no_run
//! # #[cfg(feature = "client")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use xmpp_core::{client::Client, jid::Jid};
//! use xmpp_im::registration::{RegisterError, register};
//!
//! let account: Jid = "mercutio@example.org".parse()?;
//! match register(Client::builder(account.clone(), ""), "queen mab", None).await {
//!     Err(RegisterError::Conflict) => println!("the name is taken"),
//!     other => other?,
//! }
//! let (client, events) = Client::builder(account, "queen mab").connect()?;
//! # drop((client, events)); Ok(()) }
//! ```

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
mod names;
#[cfg(feature = "server")]
mod rates;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod sign_up;

#[cfg(feature = "client")]
pub use client::{RegisterError, change_password, register, remove_account};
#[cfg(feature = "server")]
pub use server::{MAX_PASSWORD, Registration, server};
#[cfg(feature = "server")]
pub use sign_up::{SignUp, sign_up};

use xmpp_core::{
    payload::{Payload, form::DataForm},
    xml::Stanza,
};

/// `jabber:iq:register`.
pub const NS: &str = "jabber:iq:register";

/// The stream feature of servers where newcomers register (§6).
pub const FEATURE: &str = "http://jabber.org/features/iq-register";

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
    /// Other fields, and a place in the web (XEP-0066).
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

impl std::fmt::Debug for RegistrationQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistrationQuery")
            .field("username", &self.username)
            .field("remove", &self.remove)
            .finish_non_exhaustive()
    }
}
