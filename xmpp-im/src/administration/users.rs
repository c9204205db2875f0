//! What is known of one user (§4.7 to §4.9).

use super::{
    Asked, Here,
    fields::{account, accounts, form, read_account, read_one, result},
    with_form,
};
use crate::{
    command::{Command, Step},
    login::LoginStore,
    roster::{RosterQuery, RosterStore},
};
use std::sync::Arc;
use xmpp_core::{
    jid::BareJid,
    payload::{
        DateTime, Payload as _,
        form::{Field, FieldType},
    },
    stanza::StanzaError,
    xml::{Writer, ns},
};

pub(super) fn commands(here: &Arc<Here>) -> Vec<Command> {
    let mut commands = Vec::new();
    if let Some(rosters) = &here.rosters {
        let rosters = Arc::clone(rosters);
        let asking = || form("Get the roster of a user", [accounts()]);
        commands.push(with_form(here, ("get-user-roster", "Get User Roster"), asking, move |here, asked| {
            roster(here, asked, Arc::clone(&rosters))
        }));
    }
    if let Some(logins) = &here.logins {
        let logins = Arc::clone(logins);
        let asking = || form("Get the time of a user's last login", [accounts()]);
        let name = ("get-user-lastlogin", "Get User Last Login Time");
        commands.push(with_form(here, name, asking, move |here, asked| last_login(here, asked, Arc::clone(&logins))));
    }
    let asking = || form("Get statistics of a user", [account()]);
    commands.push(with_form(here, ("user-stats", "Get User Statistics"), asking, statistics));
    commands
}

fn named(user: &BareJid) -> Field {
    Field::new("accountjids").typed(FieldType::JidMulti).value(user.to_string())
}

/// The roster stands beside the fields, as a client would get it.
async fn roster(here: Arc<Here>, asked: Asked, rosters: Arc<dyn RosterStore>) -> Result<Step, StanzaError> {
    let user = read_one(&here, &asked.form).await?;
    let items = rosters.roster(&user).await?.items;
    let mut out = Writer::new(ns::CLIENT);
    RosterQuery { ver: None, items }.write(&mut out);
    let mut answer = result([named(&user)]);
    answer.others.push(out.into_stanza());
    Ok(Step::done().result(answer))
}

async fn last_login(here: Arc<Here>, asked: Asked, logins: Arc<dyn LoginStore>) -> Result<Step, StanzaError> {
    let user = read_one(&here, &asked.form).await?;
    let at = logins.last(&user).await?.and_then(|at| DateTime::from_unix(i64::try_from(at).ok()?, 0));
    let mut field = Field::new("lastlogin").typed(FieldType::TextSingle);
    match at {
        Some(at) => {
            field = field.typed_value(&at);
            Ok(Step::done().result(result([named(&user), field])))
        }
        None => Ok(Step::done().result(result([named(&user)])).info("No login is known.")),
    }
}

/// What is measured of a user: no more than this is.
async fn statistics(here: Arc<Here>, asked: Asked) -> Result<Step, StanzaError> {
    let (server, user) = (here.server()?, read_account(&here, &asked.form)?);
    here.must_exist(&user).await?;
    let online = Field::new("onlineresources").typed(FieldType::TextMulti);
    let resources = server.resources(user.as_str());
    let online = resources.iter().filter_map(|resource| resource.jid.resource()).fold(online, Field::value);
    let mut fields = vec![Field::new("accountjid").typed(FieldType::JidSingle).value(user.to_string())];
    if let Some(rosters) = &here.rosters {
        let size = rosters.roster(&user).await?.items.len();
        fields.push(Field::new("rostersize").typed(FieldType::TextSingle).value(size.to_string()));
    }
    fields.push(online);
    Ok(Step::done().result(result(fields)))
}
