//! What the configuration says of accounts: what is kept for them, who administers them, what they are told.

use crate::{Outcome, config::Config, registration::OpenTo, signals};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use xmpp_core::{
    extension::Target,
    jid::{BareJid, Jid},
    server::{Server, ServerBuilder, ServerRegistrar},
};
use xmpp_im::{
    Stored,
    account_xml::{AccountXmlStore, MemoryAccountXml, Quota},
    administration::Administration,
    command::{Command, Commands, ping},
    contact::{ContactAddresses, contact_addresses},
    external_services::{self, ExternalService},
    invitation::Invitations,
    last_activity::{self, LastActivityStore, MemoryLastActivity},
    login::{self, LoginStore},
    private, registration,
    roster::{RosterStore, Subscription},
    vcard,
};
use xmpp_sql::Database;

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Account {
    vcard_bytes: usize,
    private_elements: usize,
    private_bytes: usize,
    last_activity: bool,
    change_password: bool,
    remove: bool,
}

impl Default for Account {
    fn default() -> Account {
        let Quota { elements: private_elements, bytes: private_bytes } = private::QUOTA;
        let (change_password, remove) = (false, false);
        let (vcard_bytes, last_activity) = (vcard::MAX_BYTES, true);
        Account { vcard_bytes, private_elements, private_bytes, last_activity, change_password, remove }
    }
}

/// An external service.
#[derive(Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    r#type: String,
    host: String,
    port: Option<u16>,
    transport: Option<String>,
    secret: Option<String>,
    #[serde(default = "day")]
    secret_seconds: u32,
}

fn day() -> u32 {
    86_400
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Service {
    fn to_im(&self) -> ExternalService {
        let mut service = ExternalService::new(&self.r#type, &self.host);
        if let Some(port) = self.port {
            service = service.port(port);
        }
        if let Some(transport) = &self.transport {
            service = service.transport(transport);
        }
        if let Some(secret) = &self.secret {
            service = service.secret(secret).lifetime(Duration::from_secs(self.secret_seconds.into()));
        }
        service
    }
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Contact {
    abuse: Vec<String>,
    admin: Vec<String>,
    feedback: Vec<String>,
    sales: Vec<String>,
    security: Vec<String>,
    status: Vec<String>,
    support: Vec<String>,
}

impl Contact {
    fn to_im(&self) -> ContactAddresses {
        let mut addresses = ContactAddresses::default();
        addresses.abuse.clone_from(&self.abuse);
        addresses.admin.clone_from(&self.admin);
        addresses.feedback.clone_from(&self.feedback);
        addresses.sales.clone_from(&self.sales);
        addresses.security.clone_from(&self.security);
        addresses.status.clone_from(&self.status);
        addresses.support.clone_from(&self.support);
        addresses
    }
}

/// Admins are accounts here, and a shared secret is not empty: anybody could make credentials with that.
pub(crate) fn check(config: &Config) -> Outcome<()> {
    for admin in &config.admins {
        let address = BareJid::new(admin).map_err(|error| format!("the admin {admin:?} is not an address: {error}"))?;
        if address.local().is_none() || !config.domains.iter().any(|domain| domain == address.domain()) {
            return Err(format!("the admin {admin} is no account of a domain that is served here").into());
        }
    }
    match config.service.iter().find(|service| service.secret.as_deref() == Some("")) {
        Some(open) => Err(format!("the secret of the service {} is empty", open.host).into()),
        None => Ok(()),
    }
}

/// Adds it all. Without a database nothing is stored, and nobody administers.
pub(crate) fn compose(
    mut builder: ServerBuilder,
    config: &Config,
    database: Option<&Database>,
    rosters: Arc<dyn RosterStore>,
    invitations: Option<&Invitations>,
) -> ServerBuilder {
    let shown = Arc::clone(&rosters);
    builder = match database {
        Some(database) => keep(builder, &config.account, database.account_xml(), database.last_activity(), shown),
        None => keep(builder, &config.account, MemoryAccountXml::new(), MemoryLastActivity::new(), shown),
    };
    // The accounts of measurements are not in the database.
    let managed = database.filter(|_| config.any_user_password.is_none()).map(Database::accounts);
    let account = &config.account;
    builder = config.registration.compose(builder, managed.clone(), invitations);
    let open = config.registration.open_to != OpenTo::Nobody;
    if let Some(accounts) = managed.clone().filter(|_| account.change_password || account.remove || open) {
        let mut settings = registration::Registration::default();
        (settings.change_password, settings.remove) = (account.change_password, account.remove);
        builder = builder.with(registration::server(accounts, settings));
    }
    let admins: Vec<BareJid> = config.admins.iter().filter_map(|admin| BareJid::new(admin).ok()).collect();
    let inviting = invitations.cloned().filter(|_| managed.is_some());
    let offering = admins.clone();
    let mut administration = None;
    if let (Some(accounts), Some(database), false) = (managed, database, admins.is_empty()) {
        // Without admins nobody sets a notice or asks for a login.
        let logins: Arc<dyn LoginStore> = Arc::new(database.logins());
        builder = builder.with(login::server(Arc::clone(&logins)));
        let stop = |_: Server| signals::ASKED_TO_STOP.notify_one();
        administration = Some(Administration::new(accounts, admins).rosters(rosters).logins(logins).shutdown(stop));
    }
    builder = builder.with(move |r: &mut ServerRegistrar| {
        let may_offer = move |asker: &Jid| open && offering.contains(&asker.to_bare());
        let inviting = inviting.map(|invitations| invitations.commands(r.server(), may_offer)).unwrap_or_default();
        let commands: Vec<Command> = administration.map(|all| all.commands(r.server())).unwrap_or_default();
        commands.into_iter().chain(inviting).fold(Commands::new().with(ping()), Commands::with).at(Target::Server)(r);
    });
    if !config.service.is_empty() {
        builder = builder.with(external_services::server(config.service.iter().map(Service::to_im).collect()));
    }
    builder.with(contact_addresses(config.contact.to_im()))
}

fn keep(
    mut builder: ServerBuilder,
    account: &Account,
    xml: impl AccountXmlStore,
    last: impl LastActivityStore,
    rosters: Arc<dyn RosterStore>,
) -> ServerBuilder {
    let xml = Arc::new(xml);
    let quota = Quota { elements: account.private_elements, bytes: account.private_bytes };
    builder = builder.with(vcard::server(Arc::clone(&xml), account.vcard_bytes)).with(private::server(xml, quota));
    if account.last_activity {
        // To whom the user shows presence (RFC 6121 §2.1.2.5).
        let entitled = move |user: BareJid, asker: BareJid| -> Stored<'static, bool> {
            let rosters = Arc::clone(&rosters);
            Box::pin(async move {
                let subscription = rosters.record(&user, &asker).await?.state().subscription();
                Ok(matches!(subscription, Subscription::From | Subscription::Both))
            })
        };
        builder = builder.with(last_activity::server(last, entitled));
    }
    builder
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn admins_are_accounts_here() {
        assert!(Config::parse("admins = ['queen@localhost']").is_ok());
        for (text, why) in
            [("['localhost']", "no account"), ("['a@elsewhere.example']", "no account"), ("['@']", "not an address")]
        {
            let error = Config::parse(&format!("admins = {text}")).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn services_keep_their_secret_and_have_one() {
        let text = "[[service]]\ntype = 'turn'\nhost = 'turn.localhost'\nport = 3478\nsecret = ";
        let config = Config::parse(&format!("{text}'xyzzy'")).unwrap();
        assert!(!format!("{config:?}").contains("xyzzy"), "no secret in logs");
        assert!(Config::parse(&format!("{text}''")).is_err());
    }

    #[tokio::test]
    async fn what_is_configured_can_be_composed() {
        let text = "admins = ['queen@localhost']\naccount.remove = true\ncontact.abuse = ['mailto:abuse@localhost']\n\
                    [[service]]\ntype = 'stun'\nhost = 'stun.localhost'";
        let config = Config::parse(text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("x.sqlite")).await.unwrap();
        let builder = Server::builder("localhost").accounts(database.accounts());
        let server = compose(builder, &config, Some(&database), Arc::new(database.rosters()), None).build().unwrap();
        assert!(server.route_names().iter().any(|name| name.contains("im:last-activity")));
    }
}
