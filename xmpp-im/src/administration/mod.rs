//! Service administration (XEP-0133): ad-hoc commands for those who run a server.
//!
//! ```no_run
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! use std::sync::Arc;
//! use xmpp_core::{extension::Target, jid::BareJid, server::{MemoryAccounts, ServerRegistrar}};
//! use xmpp_im::{administration, command::{Commands, ping}};
//!
//! let accounts = Arc::new(MemoryAccounts::new());
//! let admins = [BareJid::new("queen@example.org").unwrap()];
//! builder.accounts(Arc::clone(&accounts)).with(move |r: &mut ServerRegistrar| {
//!     let commands = administration::commands(accounts, admins, r.server());
//!     commands.into_iter().fold(Commands::new().with(ping()), Commands::with).at(Target::Server)(r);
//! })
//! # }
//! ```

mod accounts;
mod fields;
mod users;

use crate::command::{Command, Step};
use std::{collections::HashSet, future::Future, sync::Arc};
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::form::DataForm,
    server::{AccountError, ManageAccounts, Server, ServerCell},
    stanza::StanzaError,
};

/// `http://jabber.org/protocol/admin`: the type of its forms, and what its nodes begin with.
pub const NS: &str = "http://jabber.org/protocol/admin";

/// Accounts that a list shows at most, and that are looked at in one go.
const PAGE: usize = 500;

/// What the commands work on.
struct Administration {
    accounts: Box<dyn ManageAccounts>,
    server: ServerCell,
}

impl Administration {
    fn server(&self) -> Result<Server, StanzaError> {
        self.server.get().ok_or_else(StanzaError::internal_server_error)
    }
}

/// The commands, for these admins and nobody else: they have to be users of this server, for another one could be lied
/// to about who asks.
pub fn commands(
    accounts: impl ManageAccounts,
    admins: impl IntoIterator<Item = BareJid>,
    server: ServerCell,
) -> Vec<Command> {
    let admins: Arc<HashSet<BareJid>> = Arc::new(admins.into_iter().collect());
    let here = Arc::new(Administration { accounts: Box::new(accounts), server });
    let all = accounts::commands(&here).into_iter().chain(users::commands(&here));
    let only_admins = |command: Command| {
        let (admins, here) = (Arc::clone(&admins), Arc::clone(&here));
        command.only_for(move |asker: &Jid| {
            let own = here.server.get().is_some_and(|server| server.hosts(asker.domain()));
            own && admins.contains(&asker.to_bare())
        })
    };
    all.map(only_admins).collect()
}

/// A command with one form: `ask` makes it, `run` gets it filled in.
fn with_form<F>(
    here: &Arc<Administration>,
    (node, name): (&str, &str),
    ask: impl Fn() -> DataForm + Send + Sync + 'static,
    run: impl Fn(Arc<Administration>, DataForm) -> F + Send + Sync + 'static,
) -> Command
where
    F: Future<Output = Result<Step, StanzaError>> + Send + 'static,
{
    let here = Arc::clone(here);
    let run = Arc::new(run);
    Command::new(format!("{NS}#{node}"), name, move |mut call| {
        let (here, run, form) = (Arc::clone(&here), Arc::clone(&run), ask());
        async move {
            match call.submitted.pop() {
                None => Ok(Step::ask_last(form)),
                Some(filled) => run(here, filled).await,
            }
        }
    })
}

/// What has become of a change.
fn outcome(result: Result<(), AccountError>, done: &str) -> Result<Step, StanzaError> {
    match result {
        Ok(()) => Ok(Step::done().info(done)),
        Err(AccountError::Failed(error)) => {
            tracing::error!(%error, "an account was not changed");
            Err(StanzaError::internal_server_error())
        }
        Err(error) => Ok(Step::done().error(error.to_string())),
    }
}
