//! The service ends, or begins anew (§4.29, §4.30).

use super::{
    Asked, End, Here,
    fields::{form, lines, read_lines},
    notices, with_form,
};
use crate::command::{Command, Step, bad_payload};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use xmpp_core::{
    payload::form::{DataForm, Field, FieldType},
    stanza::StanzaError,
};

/// Nobody announces an end further ahead, in seconds.
const FURTHEST: u64 = 3_600;

pub(super) fn commands(here: &Arc<Here>) -> Vec<Command> {
    let offers = [
        (&here.restart, "restart", "Restart Service", "Time delay before restarting"),
        (&here.shutdown, "shutdown", "Shut Down Service", "Time delay before shutting down"),
    ];
    let mut commands = Vec::new();
    for (end, node, name, label) in offers {
        let Some(end) = end.clone() else { continue };
        let asking = move || form(name, [delay(label), lines("announcement", "Announcement", None)]);
        commands.push(with_form(here, (node, name), asking, move |here, asked| finish(here, asked, Arc::clone(&end))));
    }
    commands
}

fn delay(label: &str) -> Field {
    let field = Field::new("delay").typed(FieldType::ListSingle).label(label).required();
    let delays = [
        ("30 seconds", "30"),
        ("60 seconds", "60"),
        ("90 seconds", "90"),
        ("2 minutes", "120"),
        ("3 minutes", "180"),
        ("4 minutes", "240"),
        ("5 minutes", "300"),
    ];
    delays.iter().fold(field, |field, (label, value)| field.option(Some(label), *value))
}

fn read_delay(form: &DataForm) -> Result<Duration, StanzaError> {
    let seconds = form.value("delay").and_then(|text| text.parse().ok()).filter(|seconds| *seconds <= FURTHEST);
    seconds.map(Duration::from_secs).ok_or_else(|| bad_payload("name a delay, an hour at most, in seconds"))
}

/// The first who ends it decides when.
async fn finish(here: Arc<Here>, asked: Asked, end: End) -> Result<Step, StanzaError> {
    let (server, delay) = (here.server()?, read_delay(&asked.form)?);
    if here.ending.swap(true, Ordering::SeqCst) {
        return Err(StanzaError::conflict().with_text("the service is about to end already"));
    }
    tracing::warn!(by = %asked.by, seconds = delay.as_secs(), "an administrator ends the service");
    if let Some(text) = read_lines(&asked.form, "announcement") {
        notices::tell(&server, None, &text);
    }
    let weak = server.downgrade();
    // Not a task of the server's, which waits for those when it stops.
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        if let Some(server) = weak.upgrade() {
            end(server);
        }
    });
    Ok(Step::done().info("So it will be."))
}
