//! Service administration (XEP-0133): ad-hoc commands for those who run a server.
//!
//! ```no_run
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! use std::{sync::Arc, time::Duration};
//! use xmpp_core::{extension::Target, jid::BareJid, server::{MemoryAccounts, Server, ServerRegistrar}};
//! use xmpp_im::{administration::Administration, command::{Commands, ping}, login::{self, MemoryLogins}};
//!
//! let accounts = Arc::new(MemoryAccounts::new());
//! let logins = Arc::new(MemoryLogins::new());
//! let stop = |server: Server| drop(tokio::spawn(async move { server.shutdown(Duration::from_secs(10)).await }));
//! let administration = Administration::new(Arc::clone(&accounts), [BareJid::new("queen@example.org").unwrap()])
//!     .logins(logins.clone())
//!     .shutdown(stop);
//! builder.accounts(accounts).with(login::server(logins)).with(move |r: &mut ServerRegistrar| {
//!     let commands = administration.commands(r.server());
//!     commands.into_iter().fold(Commands::new().with(ping()), Commands::with).at(Target::Server)(r);
//! })
//! # }
//! ```

mod accounts;
mod fields;
mod lists;
mod notices;
mod service;
mod users;

use crate::{
    command::{Call, Command, Step, bad_payload},
    login::LoginStore,
    roster::RosterStore,
};
use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, atomic::AtomicBool},
};
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::form::{DataForm, FormKind},
    server::{AccountError, ManageAccounts, Server, ServerCell},
    stanza::StanzaError,
};

/// `http://jabber.org/protocol/admin`: the type of its forms, and what its nodes begin with.
pub const NS: &str = "http://jabber.org/protocol/admin";

/// Users that a list shows at most.
const MOST: usize = 500;

/// How the service ends.
type End = Arc<dyn Fn(Server) + Send + Sync>;

/// What the commands are made of: there are those for which there is something to work on.
pub struct Administration {
    accounts: Box<dyn ManageAccounts>,
    admins: HashSet<BareJid>,
    rosters: Option<Arc<dyn RosterStore>>,
    logins: Option<Arc<dyn LoginStore>>,
    restart: Option<End>,
    shutdown: Option<End>,
}

impl std::fmt::Debug for Administration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Administration").field("admins", &self.admins).finish_non_exhaustive()
    }
}

impl Administration {
    /// For these admins and nobody else: they have to be users of this server, for another one could be lied to about who
    /// asks. With the accounts alone there are the commands that add, delete, disable and change them, end sessions, count
    /// and list users, and announce.
    pub fn new(accounts: impl ManageAccounts, admins: impl IntoIterator<Item = BareJid>) -> Administration {
        Administration {
            accounts: Box::new(accounts),
            admins: admins.into_iter().collect(),
            rosters: None,
            logins: None,
            restart: None,
            shutdown: None,
        }
    }

    /// With the rosters of users.
    #[must_use]
    pub fn rosters(mut self, rosters: Arc<dyn RosterStore>) -> Administration {
        self.rosters = Some(rosters);
        self
    }

    /// With the times of logins, the message of the day and the welcome; [`login::server`](crate::login::server) is to
    /// work on the same store.
    #[must_use]
    pub fn logins(mut self, logins: Arc<dyn LoginStore>) -> Administration {
        self.logins = Some(logins);
        self
    }

    /// With a way to restart the service: called when the time has come. It must not block.
    #[must_use]
    pub fn restart(mut self, restart: impl Fn(Server) + Send + Sync + 'static) -> Administration {
        self.restart = Some(Arc::new(restart));
        self
    }

    /// With a way to shut the service down: called when the time has come. It must not block; as a rule it spawns
    /// [`Server::shutdown`].
    #[must_use]
    pub fn shutdown(mut self, shutdown: impl Fn(Server) + Send + Sync + 'static) -> Administration {
        self.shutdown = Some(Arc::new(shutdown));
        self
    }

    /// The commands.
    pub fn commands(self, server: ServerCell) -> Vec<Command> {
        let Administration { accounts, admins, rosters, logins, restart, shutdown } = self;
        let here = Here { accounts, server, rosters, logins, restart, shutdown, ending: AtomicBool::new(false) };
        let (admins, here) = (Arc::new(admins), Arc::new(here));
        let parts = [accounts::commands, users::commands, lists::commands, notices::commands, service::commands];
        let only_admins = |command: Command| {
            let (admins, here) = (Arc::clone(&admins), Arc::clone(&here));
            command.only_for(move |asker: &Jid| {
                let own = here.server.get().is_some_and(|server| server.hosts(asker.domain()));
                own && admins.contains(&asker.to_bare())
            })
        };
        parts.iter().flat_map(|part| part(&here)).map(only_admins).collect()
    }
}

/// What the commands work on.
struct Here {
    accounts: Box<dyn ManageAccounts>,
    server: ServerCell,
    rosters: Option<Arc<dyn RosterStore>>,
    logins: Option<Arc<dyn LoginStore>>,
    restart: Option<End>,
    shutdown: Option<End>,
    /// An end has been announced.
    ending: AtomicBool,
}

impl Here {
    fn server(&self) -> Result<Server, StanzaError> {
        self.server.get().ok_or_else(StanzaError::internal_server_error)
    }

    async fn must_exist(&self, user: &BareJid) -> Result<(), StanzaError> {
        match self.server()?.account_exists(user).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(StanzaError::item_not_found().with_text(format!("there is no account {user}"))),
            Err(error) => Err(refusal(AccountError::Failed(Box::new(error)))),
        }
    }
}

/// A stage of a command: who asks for it, and what was filled in.
struct Asked {
    by: BareJid,
    /// Nothing was filled in yet.
    is_first: bool,
    form: DataForm,
}

/// A command with one form: `ask` makes it, `run` gets it filled in.
fn with_form<F>(
    here: &Arc<Here>,
    name: (&str, &str),
    ask: impl Fn() -> DataForm + Send + Sync + 'static,
    run: impl Fn(Arc<Here>, Asked) -> F + Send + Sync + 'static,
) -> Command
where
    F: Future<Output = Result<Step, StanzaError>> + Send + 'static,
{
    let run = Arc::new(run);
    without_form(here, name, move |here, asked| {
        let run = Arc::clone(&run);
        let form = asked.is_first.then(&ask);
        async move {
            match form {
                Some(form) => Ok(Step::ask_last(form)),
                None => run(here, asked).await,
            }
        }
    })
}

/// A command that does at once what it does, or makes its form by itself.
fn without_form<F>(
    here: &Arc<Here>,
    (node, name): (&str, &str),
    run: impl Fn(Arc<Here>, Asked) -> F + Send + Sync + 'static,
) -> Command
where
    F: Future<Output = Result<Step, StanzaError>> + Send + 'static,
{
    let (here, run) = (Arc::clone(here), Arc::new(run));
    Command::new(format!("{NS}#{node}"), name, move |call: Call| {
        let (here, run) = (Arc::clone(&here), Arc::clone(&run));
        async move {
            let mut submitted = call.submitted;
            let (is_first, filled) = (submitted.is_empty(), submitted.pop());
            if let Some(form) = &filled {
                fields::check(form)?;
            }
            let form = filled.unwrap_or_else(|| DataForm::new(FormKind::Submit));
            run(here, Asked { by: call.from.to_bare(), is_first, form }).await
        }
    })
}

/// Why an account was not changed, as §5 has it.
fn refusal(error: AccountError) -> StanzaError {
    match error {
        AccountError::Exists => StanzaError::conflict().with_text(error.to_string()),
        AccountError::Unknown => StanzaError::item_not_found().with_text(error.to_string()),
        AccountError::Incomplete => bad_payload(&error.to_string()),
        AccountError::Unsupported => StanzaError::feature_not_implemented().with_text(error.to_string()),
        error => {
            tracing::error!(%error, "an account was not changed");
            StanzaError::internal_server_error()
        }
    }
}
