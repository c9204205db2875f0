//! The commands that manage accounts. They work on the database, so they need no running server, and one that runs
//! sees the change at once.

use crate::{
    Outcome,
    cli::{User, WithPassword},
    config::Config,
    daemon, password, print,
};
use xmpp_core::jid::BareJid;
use xmpp_im::roster::RosterStore as _;

pub(crate) async fn run(config: &Config, command: User) -> Outcome<()> {
    let database = daemon::open_database(config).await?;
    let accounts = database.accounts();
    match command {
        User::Add(WithPassword { account, password_stdin }) => {
            check_domain(config, &account)?;
            if daemon::exists(&accounts, &account).await? {
                return Err(xmpp_sql::SqlError::Exists(account).into());
            }
            accounts.create(&account, &password::read(&account, password_stdin)?).await?;
            print(&format!("{account} is added.\n"))?;
        }
        User::Passwd(WithPassword { account, password_stdin }) => {
            if !daemon::exists(&accounts, &account).await? {
                return Err(xmpp_sql::SqlError::Unknown(account).into());
            }
            accounts.set_password(&account, &password::read(&account, password_stdin)?).await?;
            print(&format!("{account} has a new password.\n"))?;
        }
        User::Del { account } => {
            accounts.delete(&account).await?;
            // No server tells the contacts.
            database.rosters().forget(&account).await.map_err(|error| error.to_string())?;
            print(&format!("{account} is deleted.\n"))?;
        }
        User::Disable { account } => {
            accounts.set_disabled(&account, true).await?;
            print(&format!("{account} is disabled.\n"))?;
        }
        User::Enable { account } => {
            accounts.set_disabled(&account, false).await?;
            print(&format!("{account} is enabled.\n"))?;
        }
        User::List { domain } => {
            let domains = match &domain {
                Some(domain) if domain.local().is_some() => {
                    return Err(format!("{domain} is not a domain: it has an @").into());
                }
                Some(domain) => vec![domain.as_str()],
                None => config.domains.iter().map(String::as_str).collect(),
            };
            let mut text = String::new();
            for domain in domains {
                text.extend(accounts.list(domain).await?.iter().map(|account| format!("{account}\n")));
            }
            print(&text)?;
        }
    }
    database.close().await;
    Ok(())
}

/// An account of a domain that is not served could never log in.
fn check_domain(config: &Config, account: &BareJid) -> Outcome<()> {
    if account.local().is_none() {
        return Err(xmpp_sql::SqlError::NoName(account.clone()).into());
    }
    if config.domains.iter().any(|domain| domain == account.domain()) {
        return Ok(());
    }
    let domains = config.domains.join(", ");
    Err(format!("the domain {} is not served here; the configuration has: {domains}", account.domain()).into())
}
