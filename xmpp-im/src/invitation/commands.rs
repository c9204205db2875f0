//! The commands by which users and admins invite (XEP-0401 §5).

use super::{CREATE_ACCOUNT, FORM, INVITE, Invitations, InviteError, Issued};
use crate::command::{Call, Command, Step, bad_payload};
use std::sync::Arc;
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::{
        TextValue as _,
        form::{DataForm, Field, FieldType, FormKind},
    },
    server::ServerCell,
    stanza::StanzaError,
};

/// Whether an address is a session of an account here.
fn is_user(server: &ServerCell, asker: &Jid) -> bool {
    server.get().is_some_and(|server| server.hosts(asker.domain()) && !server.admits_anonymous(asker.domain()))
}

impl Invitations {
    /// The commands, to be offered at [`Target::Server`](xmpp_core::extension::Target::Server): one by which users invite
    /// contacts, if the settings let them, and one to offer accounts, for those whom `may_offer` names among the users.
    pub fn commands(
        &self,
        server: ServerCell,
        may_offer: impl Fn(&Jid) -> bool + Send + Sync + 'static,
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.settings().users {
            let (invitations, users) = (self.clone(), server.clone());
            let invite = Command::new(INVITE, "Invite somebody", move |call: Call| {
                let invitations = invitations.clone();
                async move {
                    domain(&call)?;
                    told(&invitations.invite_contact(&call.from.to_bare()).await?)
                }
            });
            commands.push(invite.only_for(move |asker| is_user(&users, asker)));
        }
        let (invitations, cell) = (self.clone(), server.clone());
        let offer = Command::new(CREATE_ACCOUNT, "Offer an account", move |call: Call| {
            let (invitations, server) = (invitations.clone(), cell.clone());
            async move { invitations.offer(call, &server).await }
        });
        let may_offer = Arc::new(may_offer);
        commands.push(offer.only_for(move |asker| is_user(&server, asker) && may_offer(asker)));
        commands
    }

    async fn offer(&self, call: Call, server: &ServerCell) -> Result<Step, StanzaError> {
        let domain = domain(&call)?;
        let Some(form) = call.form() else {
            let form = DataForm::new(FormKind::Form)
                .with(Field::new("username").label("The name of the account; any if it is empty"))
                .with(Field::new("roster-subscription").typed(FieldType::Boolean).label("Become contacts"));
            return Ok(Step::ask_last(form));
        };
        let name = form.value("username").filter(|name| !name.is_empty());
        let account = name.map(|name| account(name, domain)).transpose()?;
        let contact = match form.value("roster-subscription") {
            Some(value) => bool::from_text(value).map_err(|_| bad_payload("yes or no?"))?,
            None => false,
        };
        let server = server.get().ok_or_else(StanzaError::internal_server_error)?;
        if let Some(account) = &account {
            let exists = server.account_exists(account).await;
            if exists.map_err(|error| failed(&error))? {
                return Err(InviteError::Taken.into());
            }
        }
        let inviter = call.from.to_bare();
        told(&self.invite_account(domain, account.as_ref(), Some(&inviter), contact).await?)
    }
}

fn failed(error: &dyn std::error::Error) -> StanzaError {
    tracing::error!(%error, "accounts");
    StanzaError::internal_server_error()
}

/// The domain that is asked, which is the asker's own.
fn domain(call: &Call) -> Result<&str, StanzaError> {
    let domain = call.from.domain();
    match call.to.as_ref().is_none_or(|to| to.domain() == domain) {
        true => Ok(domain),
        false => Err(StanzaError::forbidden().with_text("this is for the users of the domain")),
    }
}

fn account(name: &str, domain: &str) -> Result<BareJid, StanzaError> {
    let jid = Jid::from_parts(Some(name), domain, None).ok();
    jid.and_then(|jid| BareJid::new(jid.as_str()).ok())
        .filter(|jid| jid.domain() == domain)
        .ok_or_else(|| bad_payload("this is no name of an account"))
}

fn told(issued: &Issued) -> Result<Step, StanzaError> {
    let mut form = DataForm::typed(FormKind::Result, FORM).with(Field::new("uri").value(issued.uri.to_string()));
    if let Some(landing) = &issued.landing {
        form = form.with(Field::new("landing-url").value(landing));
    }
    Ok(Step::done().result(form.with(Field::new("expire").value(issued.expires.to_string()))))
}
