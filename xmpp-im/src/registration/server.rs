//! The server's part: whom a request is about is who has sent it, whatever it says.

use super::{NS, RegistrationQuery};
use std::sync::Arc;
use xmpp_core::{
    extension::{IqContext, Reply, Target},
    jid::BareJid,
    payload::form::FormKind,
    server::{AccountError, ManageAccounts, Server, ServerCell, ServerRegistrar},
    stanza::StanzaError,
};

/// The longest password that is taken, in bytes.
pub const MAX_PASSWORD: usize = 1024;

/// What users may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// Whether they may change their passwords.
    pub change_password: bool,
    /// Whether they may remove their accounts.
    pub remove: bool,
}

impl Default for Registration {
    /// All of it.
    fn default() -> Registration {
        Registration { change_password: true, remove: true }
    }
}

/// Answers users who are logged in; nobody can register.
pub fn server(accounts: impl ManageAccounts, settings: Registration) -> impl FnOnce(&mut ServerRegistrar) {
    let accounts: Arc<dyn ManageAccounts> = Arc::new(accounts);
    move |r| {
        let (asked, told) = (r.server(), r.server());
        r.iq_get::<RegistrationQuery, _>(Target::Server | Target::OwnAccount, move |cx, _| {
            let (_, user) = subject(&cx, &asked)?;
            let (username, password) = (user.local().map(str::to_owned), Some(String::new()));
            Ok(RegistrationQuery { registered: true, username, password, ..RegistrationQuery::default() })
        });
        r.iq_set_async::<RegistrationQuery, _, _>(Target::Server | Target::OwnAccount, move |cx, query| {
            let subject = subject(&cx, &told);
            let accounts = Arc::clone(&accounts);
            // §3.2: nothing may stand beside it.
            let alone = cx.payload().is_some_and(|query| query.children().count() == 1);
            async move {
                let (server, user) = subject?;
                match query.remove {
                    true if !settings.remove => Err(StanzaError::not_allowed()),
                    true if !alone => Err(StanzaError::bad_request().with_text("remove stands alone")),
                    true => remove(&*accounts, server, user).await,
                    false if !settings.change_password => Err(StanzaError::not_allowed()),
                    false => change_password(&*accounts, &user, &query).await,
                }
            }
        });
    }
}

/// The account that the request is about: that of the session it came from.
fn subject(cx: &IqContext, server: &ServerCell) -> Result<(Server, BareJid), StanzaError> {
    let server = server.get().ok_or_else(StanzaError::service_unavailable)?;
    let from = cx.from.as_ref().ok_or_else(StanzaError::unexpected_request)?;
    let session = server.resources(from.bare_str()).iter().any(|resource| resource.jid == *from);
    if !session || !server.hosts(from.domain()) {
        // Users of other servers have no account here, and get none (§3.1.1).
        return Err(StanzaError::service_unavailable());
    }
    if server.admits_anonymous(from.domain()) {
        return Err(StanzaError::not_allowed().with_text("you have no account"));
    }
    let elsewhere = cx.target == Target::Server && cx.to.as_ref().is_some_and(|to| to.domain() != from.domain());
    if elsewhere {
        return Err(StanzaError::registration_required());
    }
    Ok((server, from.to_bare()))
}

/// The answer goes out before the session ends.
async fn remove(accounts: &dyn ManageAccounts, server: Server, user: BareJid) -> Result<Reply, StanzaError> {
    accounts.delete(&user).await.map_err(refusal)?;
    tracing::info!(%user, "the account was removed by its user");
    Ok(Reply::empty().then(move || {
        let ending = server.clone();
        server.spawn(async move { ending.account_removed(&user).await });
    }))
}

/// By fields or by a form (§3.3).
async fn change_password(
    accounts: &dyn ManageAccounts,
    user: &BareJid,
    query: &RegistrationQuery,
) -> Result<Reply, StanzaError> {
    let form = query.form.as_ref().filter(|form| form.type_ == FormKind::Submit);
    let known = form.is_none_or(|form| form.form_type().is_none_or(|kind| kind == NS || kind == CHANGE_PASSWORD));
    let (username, password) = match form {
        Some(form) => (form.value("username"), form.value("password")),
        None => (query.username.as_deref(), query.password.as_deref()),
    };
    let (Some(username), Some(password), true) = (username, password.filter(|text| !text.is_empty()), known) else {
        return Err(StanzaError::bad_request().with_text("a password change has a username and a password"));
    };
    let own = user.local() == Some(username)
        || BareJid::new(&format!("{username}@{}", user.domain())).is_ok_and(|named| named == *user);
    if !own {
        return Err(StanzaError::not_allowed().with_text("this is not your account"));
    }
    if password.len() > MAX_PASSWORD {
        return Err(StanzaError::not_acceptable().with_text("the password is too long"));
    }
    accounts.set_password(user, password).await.map_err(refusal)?;
    tracing::info!(%user, "the password was changed by its user");
    Ok(Reply::empty())
}

/// The type of the form that changes a password (§11.2).
const CHANGE_PASSWORD: &str = "jabber:iq:register:changepassword";

pub(super) fn refusal(error: AccountError) -> StanzaError {
    match error {
        AccountError::Exists => StanzaError::conflict(),
        AccountError::Unknown => StanzaError::registration_required(),
        AccountError::Incomplete => StanzaError::not_acceptable(),
        other => {
            tracing::error!(error = %other, "an account was not changed");
            StanzaError::internal_server_error()
        }
    }
}
