//! Accounts that are added, removed and changed (§4.1, §4.2, §4.6).

use super::{
    Administration,
    fields::{account, accounts, form, password, read_account, read_accounts, read_password},
    outcome, with_form,
};
use crate::command::{Command, Step, bad_payload};
use std::sync::Arc;
use xmpp_core::{payload::form::DataForm, stanza::StanzaError};

pub(super) fn commands(here: &Arc<Administration>) -> Vec<Command> {
    let adding = || {
        let verify = password("password-verify", "The password again");
        form("Add an account", [account(), password("password", "The password"), verify])
    };
    let removing = || form("Delete accounts", [accounts()]);
    let changing = || form("Change a password", [account(), password("password", "The new password")]);
    vec![
        with_form(here, ("add-user", "Add User"), adding, add),
        with_form(here, ("delete-user", "Delete User"), removing, delete),
        with_form(here, ("change-user-password", "Change User Password"), changing, change_password),
    ]
}

async fn add(here: Arc<Administration>, form: DataForm) -> Result<Step, StanzaError> {
    let (user, password) = (read_account(&here, &form)?, read_password(&form, "password")?);
    if form.value("password-verify").is_some_and(|again| again != password) {
        return Err(bad_payload("the two passwords differ"));
    }
    outcome(here.accounts.create(&user, password).await, "The account is added.")
}

async fn delete(here: Arc<Administration>, form: DataForm) -> Result<Step, StanzaError> {
    let (server, users) = (here.server()?, read_accounts(&here, &form)?);
    for user in users {
        let user = user.to_bare();
        let deleted = here.accounts.delete(&user).await;
        if deleted.is_err() {
            return outcome(deleted, "");
        }
        server.account_removed(&user).await;
    }
    Ok(Step::done().info("The accounts are deleted."))
}

async fn change_password(here: Arc<Administration>, form: DataForm) -> Result<Step, StanzaError> {
    let (user, password) = (read_account(&here, &form)?, read_password(&form, "password")?);
    outcome(here.accounts.set_password(&user, password).await, "The password is changed.")
}
