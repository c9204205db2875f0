//! Who is there (§4.5, §4.18 to §4.24).

use super::{
    Administration, PAGE,
    fields::{accounts, form, read_accounts, result},
    outcome, with_form,
};
use crate::command::{Command, Step, bad_payload};
use std::sync::Arc;
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::form::{DataForm, Field, FieldType},
    server::Server,
    stanza::{Message, StanzaError},
    stream::{StreamCondition, StreamError},
};

pub(super) fn commands(here: &Arc<Administration>) -> Vec<Command> {
    let ending = || form("End sessions", [accounts()]);
    let announcing = || {
        let text = Field::new("announcement").typed(FieldType::TextMulti).label("The announcement").required();
        form("Announce something to all who are online", [Field::new("subject").label("The subject"), text])
    };
    vec![
        with_form(here, ("end-user-session", "End User Session"), ending, end),
        with_form(here, ("announce", "Send Announcement to Online Users"), announcing, announce),
        list(here, ("get-registered-users-list", "Get List of Registered Users"), "registereduserjids", false),
        list(here, ("get-online-users-list", "Get List of Online Users"), "onlineuserjids", true),
    ]
}

/// Sessions by their full address, or all of an account.
async fn end(here: Arc<Administration>, form: DataForm) -> Result<Step, StanzaError> {
    let (server, users) = (here.server()?, read_accounts(&here, &form)?);
    let error = StreamError::new(StreamCondition::PolicyViolation).with_text("an administrator has ended the session");
    for user in users {
        let sessions = server.resources(user.bare_str()).into_iter().map(|resource| resource.jid);
        for session in sessions.filter(|jid| user.resource().is_none() || *jid == user) {
            server.disconnect(&session, &error);
        }
    }
    Ok(Step::done().info("The sessions are ended."))
}

async fn announce(here: Arc<Administration>, form: DataForm) -> Result<Step, StanzaError> {
    let text = form.values("announcement").join("\n");
    if text.trim().is_empty() {
        return Err(bad_payload("there is nothing to announce"));
    }
    let server = here.server()?;
    let subject = form.value("subject").filter(|subject| !subject.is_empty());
    let told = every_account(&here, &server, |server, domain, user| {
        for resource in server.resources(user.as_str()).into_iter().filter(|resource| resource.priority.is_some()) {
            let mut message = Message::headline(resource.jid.clone()).from(domain.clone()).body(&text);
            if let Some(subject) = subject {
                message = message.subject(subject);
            }
            server.send(domain.clone(), resource.jid, message.build().into_stanza());
        }
        true
    });
    outcome(told.await, "It is announced.")
}

/// A command without form: the first accounts of all domains, or those of them that are online.
fn list(here: &Arc<Administration>, (node, name): (&str, &str), var: &'static str, online: bool) -> Command {
    let here = Arc::clone(here);
    Command::new(format!("{}#{node}", super::NS), name, move |_| {
        let here = Arc::clone(&here);
        async move {
            let server = here.server()?;
            let mut field = Field::new(var).typed(FieldType::JidMulti);
            let listed = every_account(&here, &server, |server, _, user| {
                if !online || !server.resources(user.as_str()).is_empty() {
                    field.values.push(user.to_string());
                }
                field.values.len() < PAGE
            });
            outcome(listed.await, "").map(|step| match step {
                _ if field.values.len() < PAGE => Step::done().result(result(field)),
                _ => Step::done().result(result(field)).info(format!("These are the first {PAGE}.")),
            })
        }
    })
}

/// Calls `f` with all accounts, by domain, until it says that it is enough.
async fn every_account(
    here: &Administration,
    server: &Server,
    mut f: impl FnMut(&Server, &Jid, &BareJid) -> bool + Send,
) -> Result<(), xmpp_core::server::AccountError> {
    let domains: Vec<Jid> = server.domains().filter_map(|domain| Jid::new(domain).ok()).collect();
    for domain in domains {
        let mut after = None;
        loop {
            let page = here.accounts.list(domain.domain(), after.as_ref(), PAGE).await?;
            for user in &page {
                if !f(server, &domain, user) {
                    return Ok(());
                }
            }
            let full = page.len() >= PAGE;
            after = page.into_iter().next_back();
            if !full {
                break;
            }
        }
    }
    Ok(())
}
