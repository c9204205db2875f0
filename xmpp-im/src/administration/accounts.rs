//! Accounts that are added, removed, disabled and changed (§4.1 to §4.6).

use super::{
    Asked, Here,
    fields::{account, accounts, form, password, read_account, read_accounts, read_existing, read_password},
    refusal, with_form,
};
use crate::command::{Command, Step, bad_payload};
use std::sync::Arc;
use xmpp_core::{
    jid::BareJid,
    stanza::StanzaError,
    stream::{StreamCondition, StreamError},
};

pub(super) fn commands(here: &Arc<Here>) -> Vec<Command> {
    let adding = || {
        let verify = password("password-verify", "The password again");
        form("Add an account", [account(), password("password", "The password"), verify])
    };
    let changing = || form("Change a password", [account(), password("password", "The new password")]);
    let naming = |title: &'static str| move || form(title, [accounts()]);
    vec![
        with_form(here, ("add-user", "Add User"), adding, add),
        with_form(here, ("delete-user", "Delete User"), naming("Delete accounts"), delete),
        with_form(here, ("disable-user", "Disable User"), naming("Disable accounts"), disable),
        with_form(here, ("reenable-user", "Re-Enable User"), naming("Enable accounts again"), enable),
        with_form(here, ("end-user-session", "End User Session"), naming("End sessions"), end),
        with_form(here, ("change-user-password", "Change User Password"), changing, change_password),
    ]
}

async fn add(here: Arc<Here>, asked: Asked) -> Result<Step, StanzaError> {
    let (user, password) = (read_account(&here, &asked.form)?, read_password(&asked.form, "password")?);
    if asked.form.value("password-verify").is_some_and(|again| again != password) {
        return Err(bad_payload("the two passwords differ"));
    }
    here.accounts.create(&user, password).await.map_err(refusal)?;
    Ok(Step::done().info("The account is added."))
}

async fn delete(here: Arc<Here>, asked: Asked) -> Result<Step, StanzaError> {
    let (server, users) = (here.server()?, read_existing(&here, &asked.form).await?);
    for user in users {
        here.accounts.delete(&user).await.map_err(refusal)?;
        server.account_removed(&user).await;
    }
    Ok(Step::done().info("The accounts are deleted."))
}

async fn disable(here: Arc<Here>, asked: Asked) -> Result<Step, StanzaError> {
    let (server, users) = (here.server()?, read_existing(&here, &asked.form).await?);
    // Who could undo it?
    if users.contains(&asked.by) {
        return Err(StanzaError::not_allowed().with_text("this is your own account"));
    }
    for user in users {
        here.accounts.set_disabled(&user, true).await.map_err(refusal)?;
        server.account_disabled(&user);
    }
    Ok(Step::done().info("The accounts are disabled."))
}

async fn enable(here: Arc<Here>, asked: Asked) -> Result<Step, StanzaError> {
    let users: Vec<BareJid> = read_existing(&here, &asked.form).await?;
    for user in users {
        here.accounts.set_disabled(&user, false).await.map_err(refusal)?;
    }
    Ok(Step::done().info("The accounts are enabled again."))
}

/// Sessions by their full address, or all of an account.
async fn end(here: Arc<Here>, asked: Asked) -> Result<Step, StanzaError> {
    let (server, users) = (here.server()?, read_accounts(&here, &asked.form)?);
    let error = StreamError::new(StreamCondition::PolicyViolation).with_text("an administrator has ended the session");
    for user in users {
        let sessions = server.resources(user.bare_str()).into_iter().map(|resource| resource.jid);
        for session in sessions.filter(|jid| user.resource().is_none() || *jid == user) {
            server.disconnect(&session, &error);
        }
    }
    Ok(Step::done().info("The sessions are ended."))
}

async fn change_password(here: Arc<Here>, asked: Asked) -> Result<Step, StanzaError> {
    let (user, password) = (read_account(&here, &asked.form)?, read_password(&asked.form, "password")?);
    here.accounts.set_password(&user, password).await.map_err(refusal)?;
    Ok(Step::done().info("The password is changed."))
}
