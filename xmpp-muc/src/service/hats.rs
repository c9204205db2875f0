//! Hats by ad-hoc commands, which each room has (XEP-0317 §4.2 to §4.7).

use super::rooms::Rooms;
use crate::room::HatCommand;
use std::sync::Arc;
use xmpp_core::{
    extension::{Registrar, Target},
    jid::BareJid,
    stanza::StanzaError,
};
use xmpp_im::command::{Call, Command, Commands, Step};

pub(super) fn register(r: &mut Registrar, rooms: &Arc<Rooms>) {
    let commands = HatCommand::ALL.into_iter().fold(Commands::new(), |commands, command| {
        let rooms = Arc::clone(rooms);
        let run = move |call| {
            let rooms = Arc::clone(&rooms);
            async move { run(&rooms, command, &call).await }
        };
        commands.with(Command::new(command.node(), command.name(), run).at_once())
    });
    commands.at(Target::Account)(r);
}

async fn run(rooms: &Arc<Rooms>, command: HatCommand, call: &Call) -> Result<Step, StanzaError> {
    let jid: BareJid = call.to.as_ref().ok_or_else(StanzaError::bad_request)?.to_bare();
    let mut visit = rooms.visit(&jid).await?;
    let room = visit.room()?;
    if matches!(command, HatCommand::List | HatCommand::ListAssigned) {
        return Ok(Step::done().result(room.hat_form(&call.from, command)?));
    }
    let Some(form) = call.form() else { return Ok(Step::ask_last(room.hat_form(&call.from, command)?)) };
    let plan = room.change_hats(&call.from, command, form)?;
    let effects = rooms.carry_out(&mut visit, plan).await?;
    rooms.send(&effects.first).await;
    rooms.send(&effects.then).await;
    rooms.settle(&mut visit).await;
    Ok(Step::done())
}
