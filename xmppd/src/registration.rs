//! `[registration]` and `[invitations]`: who gets an account by a client, and who invites; `xmppd invite`.

use crate::{
    Outcome,
    config::Config,
    daemon::{self, open_database},
    print,
};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use xmpp_core::{jid::BareJid, server::ServerBuilder};
use xmpp_im::{
    invitation::{InvitationSettings, InvitationStore, Invitations as Issuing, MemoryInvitations},
    registration::{self, SignUp},
};
use xmpp_sql::{Database, SqlAccounts};

/// Who may register.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OpenTo {
    #[default]
    Nobody,
    Invited,
    Everybody,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Registration {
    pub(crate) open_to: OpenTo,
    instructions: String,
    one_script: bool,
    reserved: Vec<String>,
    min_password: usize,
    attempts_per_address: u32,
    accounts: u32,
    window_seconds: u32,
}

impl Default for Registration {
    fn default() -> Registration {
        let SignUp { instructions, one_script, reserved, min_password, window, attempts_per_address, accounts, .. } =
            SignUp::open();
        let window_seconds = u32::try_from(window.as_secs()).unwrap_or(u32::MAX);
        let open_to = OpenTo::Nobody;
        Registration {
            open_to,
            instructions,
            one_script,
            reserved,
            min_password,
            attempts_per_address,
            accounts,
            window_seconds,
        }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Invitations {
    users: bool,
    days: u32,
    per_user: usize,
    landing_page: Option<String>,
}

impl Default for Invitations {
    fn default() -> Invitations {
        let InvitationSettings { life, per_user, .. } = InvitationSettings::default();
        let days = u32::try_from(life.as_secs() / DAY).unwrap_or(u32::MAX);
        Invitations { users: false, days, per_user, landing_page: None }
    }
}

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// What cannot work gets a sentence.
pub(crate) fn check(config: &Config) -> Outcome<()> {
    let (registration, invitations) = (&config.registration, &config.invitations);
    let numbers = [
        ("registration.attempts_per_address", registration.attempts_per_address),
        ("registration.window_seconds", registration.window_seconds),
        ("invitations.days", invitations.days),
    ];
    if let Some((name, _)) = numbers.iter().find(|(_, value)| *value == 0) {
        return Err(format!("{name} must be more than 0").into());
    }
    if registration.open_to != OpenTo::Nobody && !config.tls.enabled && !config.http.has_proxies() {
        return Err("registration needs TLS, and tls.enabled is false".into());
    }
    match &invitations.landing_page {
        Some(page) if !page.starts_with("https://") && !page.starts_with("http://") => {
            Err(format!("invitations.landing_page is no address of the web: {page}").into())
        }
        _ => Ok(()),
    }
}

/// The invitations of the server, if there are any to be made or used.
pub(crate) fn invitations(config: &Config, database: Option<&Database>) -> Option<Issuing> {
    let open = config.registration.open_to != OpenTo::Nobody;
    if !open && !config.invitations.users {
        return None;
    }
    let store: Arc<dyn InvitationStore> = match database {
        Some(database) => Arc::new(database.invitations()),
        None => Arc::new(MemoryInvitations::new()),
    };
    let mut settings = InvitationSettings::default();
    (settings.users, settings.register) = (config.invitations.users, open);
    settings.life = Duration::from_secs(u64::from(config.invitations.days) * DAY);
    settings.per_user = config.invitations.per_user;
    settings.landing.clone_from(&config.invitations.landing_page);
    Some(Issuing::new(store, settings))
}

impl Registration {
    /// Lets newcomers in, into the accounts of the database.
    pub(crate) fn compose(
        &self,
        builder: ServerBuilder,
        accounts: Option<SqlAccounts>,
        invitations: Option<&Issuing>,
    ) -> ServerBuilder {
        let Some(accounts) = accounts.filter(|_| self.open_to != OpenTo::Nobody) else { return builder };
        let mut settings = SignUp::open();
        settings.everybody = self.open_to == OpenTo::Everybody;
        settings.invitations = invitations.cloned();
        settings.instructions.clone_from(&self.instructions);
        settings.one_script = self.one_script;
        settings.reserved.clone_from(&self.reserved);
        settings.min_password = self.min_password;
        settings.window = Duration::from_secs(self.window_seconds.into());
        (settings.attempts_per_address, settings.accounts) = (self.attempts_per_address, self.accounts);
        builder.with(registration::sign_up(accounts, settings))
    }
}

/// `xmppd invite`: prints a link by which an account can be registered.
pub(crate) async fn invite(config: &Config, to: Option<&BareJid>) -> Outcome<()> {
    if config.registration.open_to == OpenTo::Nobody {
        return Err("nobody could use an invitation: registration.open_to is \"nobody\"".into());
    }
    let domain = match to {
        Some(to) => to.domain(),
        None => config.domains.first().map(String::as_str).unwrap_or_default(),
    };
    if !config.domains.iter().any(|served| served == domain) {
        return Err(format!("the domain {domain} is not served here").into());
    }
    let database = open_database(config).await?;
    let account = to.filter(|to| to.local().is_some());
    if let Some(account) = account
        && daemon::exists(&database.accounts(), account).await?
    {
        return Err(format!("{account} exists already").into());
    }
    let issuing = invitations(config, Some(&database)).ok_or("there are no invitations")?;
    let issued = issuing.invite_account(domain, account, None, false).await?;
    let page = issued.landing.map(|page| format!("{page}\n")).unwrap_or_default();
    print(&format!("{}\n{page}It is good until {}, for one account.\n", issued.uri, issued.expires))?;
    database.close().await;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn registration_is_closed_unless_it_is_opened() {
        let config = Config::default();
        assert_eq!(config.registration.open_to, OpenTo::Nobody);
        assert!(invitations(&config, None).is_none());
        let config = Config::parse("registration.open_to = 'invited'").unwrap();
        assert!(invitations(&config, None).is_some());
        let config = Config::parse("invitations.users = true").unwrap();
        assert!(invitations(&config, None).is_some(), "of contacts");
    }

    #[test]
    fn mistakes_get_a_sentence() {
        for (text, says) in [
            ("registration.open_to = 'all'", "unknown variant `all`"),
            ("registration.open = true", "unknown field `open`"),
            ("registration.window_seconds = 0", "must be more than 0"),
            ("invitations.days = 0", "must be more than 0"),
            ("invitations.landing_page = 'invite'", "no address of the web"),
            ("plaintext = true\ntls.enabled = false\nregistration.open_to = 'everybody'", "needs TLS"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let behind = "plaintext = true\ntls.enabled = false\nregistration.open_to = 'everybody'\n\
                      http.trusted_proxies = ['127.0.0.1']";
        assert!(Config::parse(behind).is_ok());
    }
}
