//! What users are told (§4.22 to §4.27).

use super::{
    Asked, Here,
    fields::{form, lines, read_lines},
    with_form, without_form,
};
use crate::{
    command::{Command, Step, bad_payload},
    login::{self, LoginStore, Notice},
};
use std::sync::Arc;
use xmpp_core::{
    jid::Jid,
    payload::form::Field,
    server::Server,
    stanza::{Message, StanzaError},
};

pub(super) fn commands(here: &Arc<Here>) -> Vec<Command> {
    let announcing = || {
        let fields =
            [Field::new("subject").label("The subject"), lines("announcement", "Announcement", None).required()];
        form("Announce something to all who are online", fields)
    };
    let mut commands = vec![with_form(here, ("announce", "Send Announcement to Online Users"), announcing, announce)];
    let Some(logins) = &here.logins else { return commands };
    let day = Notice::MessageOfTheDay;
    for (node, name, notice, how) in [
        ("set-motd", "Set Message of the Day", day, How::Set),
        ("edit-motd", "Edit Message of the Day", day, How::Edit),
        ("delete-motd", "Delete Message of the Day", day, How::Delete),
        ("set-welcome", "Set Welcome Message", Notice::Welcome, How::Edit),
        ("delete-welcome", "Delete Welcome Message", Notice::Welcome, How::Delete),
    ] {
        let logins = Arc::clone(logins);
        commands.push(without_form(here, (node, name), move |here, asked| {
            change(here, asked, Arc::clone(&logins), (name, notice, how))
        }));
    }
    commands
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    /// With a new one, which begins empty.
    Set,
    /// With what is there, corrected.
    Edit,
    Delete,
}

async fn announce(here: Arc<Here>, asked: Asked) -> Result<Step, StanzaError> {
    let text = read_lines(&asked.form, "announcement").ok_or_else(|| bad_payload("there is nothing to announce"))?;
    tell(&here.server()?, asked.form.value("subject").filter(|subject| !subject.is_empty()), &text);
    Ok(Step::done().info("It is announced."))
}

/// In a headline to every resource that is available: nobody wants it later.
pub(super) fn tell(server: &Server, subject: Option<&str>, text: &str) {
    let mut available = Vec::new();
    server.each_resource(|resource| available.extend(resource.priority.map(|_| resource.jid)));
    for jid in available {
        let Ok(from) = Jid::new(jid.domain()) else { continue };
        let mut message = Message::headline(jid.clone()).from(from.clone()).body(text);
        if let Some(subject) = subject {
            message = message.subject(subject);
        }
        server.send(from, jid, message.build().into_stanza());
    }
}

/// The form has what is there now, so it is made when it is asked for.
async fn change(
    here: Arc<Here>,
    asked: Asked,
    logins: Arc<dyn LoginStore>,
    (title, notice, how): (&str, Notice, How),
) -> Result<Step, StanzaError> {
    let (var, label) = match notice {
        Notice::MessageOfTheDay => ("motd", "Message of the Day"),
        Notice::Welcome => ("welcome", "Welcome Message"),
    };
    if how == How::Delete {
        logins.set_notice(notice, None, false).await?;
        return Ok(Step::done().info("It is deleted."));
    }
    if asked.is_first {
        let now = if how == How::Edit { logins.notice(notice).await? } else { None };
        return Ok(Step::ask_last(form(title, [lines(var, label, now.as_deref()).required()])));
    }
    let text = read_lines(&asked.form, var).ok_or_else(|| bad_payload("there is nothing to tell"))?;
    logins.set_notice(notice, Some(text), how == How::Edit).await?;
    if notice == Notice::MessageOfTheDay {
        let server = here.server()?;
        server.spawn(login::tell_everybody(logins, server.clone()));
    }
    Ok(Step::done().info("It is set."))
}
