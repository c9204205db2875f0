//! Invitations: links with a token for one use. By it somebody registers an account before any login (XEP-0445), becomes a
//! contact of who has invited (XEP-0379), or both; users and admins make them by commands (XEP-0401).
//!
//! A server that lets in who is invited, and nobody else:
//!
//! ```no_run
//! # #[cfg(feature = "server")]
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! use std::sync::Arc;
//! use xmpp_core::{extension::Target, server::{MemoryAccounts, ServerRegistrar}};
//! use xmpp_im::{
//!     command::Commands,
//!     invitation::{InvitationSettings, Invitations, MemoryInvitations},
//!     registration::{self, SignUp},
//!     roster::{self, MemoryRosters, RosterLimits},
//! };
//!
//! let accounts = Arc::new(MemoryAccounts::new());
//! let invitations = Invitations::new(Arc::new(MemoryInvitations::new()), InvitationSettings::default());
//! let (inviting, commands) = (invitations.clone(), invitations.clone());
//! builder
//!     .accounts(Arc::clone(&accounts))
//!     .with(roster::server_inviting(Arc::new(MemoryRosters::new()), RosterLimits::default(), &invitations))
//!     .with(registration::sign_up(accounts, SignUp::by_invitation(inviting)))
//!     .with(invitations.server())
//!     .with(move |r: &mut ServerRegistrar| {
//!         let all = commands.commands(r.server(), |asker| asker.bare_str() == "queen@example.org");
//!         all.into_iter().fold(Commands::new(), Commands::with).at(Target::Server)(r);
//!     })
//! # }
//! ```

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
mod commands;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod store;
mod uri;

#[cfg(feature = "client")]
pub use client::{Made, accept, invite};
#[cfg(feature = "server")]
pub(crate) use server::now;
#[cfg(feature = "server")]
pub use server::{InvitationSettings, Invitations, InviteError, Issued};
#[cfg(feature = "server")]
pub use store::{
    Added, CLAIM_SECONDS, Claim, GRACE_SECONDS, Invitation, InvitationKey, InvitationStore, MemoryInvitations,
    conformance,
};
pub use uri::{InvitationAction, InvitationUri, UriError};

use xmpp_core::payload::Payload;

/// `urn:xmpp:pars:0`.
pub const NS: &str = "urn:xmpp:pars:0";

/// The stream feature of servers where invited people register (XEP-0445 §3).
pub const TOKEN_FEATURE: &str = "urn:xmpp:ibr-token:0";

/// The node of the command by which users invite (XEP-0401 §3).
pub const INVITE: &str = "urn:xmpp:invite#invite";

/// The node of the command by which accounts are offered (XEP-0401 §3).
pub const CREATE_ACCOUNT: &str = "urn:xmpp:invite#create-account";

/// The type of the form that tells of an invitation (XEP-0401 §11.1).
pub const FORM: &str = "urn:xmpp:invite#invitation";

/// The token, in a request before a registration (XEP-0445 §4), or a subscription request (XEP-0379 §3.4).
#[derive(Clone, PartialEq, Eq, Payload)]
#[xml(name = "preauth", ns = NS)]
pub struct Preauth {
    /// It lets in whoever has it.
    #[xml(attr)]
    pub token: String,
}

impl std::fmt::Debug for Preauth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Preauth")
    }
}
