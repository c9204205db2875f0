//! How many users there are of some kind, and which (§4.12 to §4.21).

use super::{
    Asked, Here, MOST,
    fields::{form, result},
    refusal, with_form, without_form,
};
use crate::command::{Command, Step, bad_payload};
use std::{collections::HashMap, sync::Arc};
use xmpp_core::{
    jid::BareJid,
    payload::form::{DataForm, Field, FieldType},
    server::{Resource, Server},
    stanza::{Presence, Show, StanzaError},
};

/// The field of our own that says behind which user a list is to begin.
const AFTER: &str = "x-after";

/// Whom to count or list.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Registered,
    Disabled,
    /// With a session, whatever it has said of its presence.
    Online,
    /// Online, and one of the sessions is used: its client is connected, has not said that it is inactive (XEP-0352), nor
    /// that its user is away.
    Active,
    /// Online and not active.
    Idle,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Registered, Kind::Disabled, Kind::Online, Kind::Active, Kind::Idle];

    /// As in the names of commands and fields.
    fn word(self) -> &'static str {
        match self {
            Kind::Registered => "registered",
            Kind::Disabled => "disabled",
            Kind::Online => "online",
            Kind::Active => "active",
            Kind::Idle => "idle",
        }
    }

    /// For people.
    fn name(self) -> &'static str {
        match self {
            Kind::Registered => "Registered",
            Kind::Disabled => "Disabled",
            Kind::Online => "Online",
            Kind::Active => "Active",
            Kind::Idle => "Idle",
        }
    }

    /// The node of its list, and the field with it. Two nodes are irregular, and for idle users the document has no field.
    fn list(self) -> (&'static str, &'static str) {
        match self {
            Kind::Registered => ("get-registered-users-list", "registereduserjids"),
            Kind::Disabled => ("get-disabled-users-list", "disableduserjids"),
            Kind::Online => ("get-online-users-list", "onlineuserjids"),
            Kind::Active => ("get-active-users", "activeuserjids"),
            Kind::Idle => ("get-idle-users", "activeuserjids"),
        }
    }
}

pub(super) fn commands(here: &Arc<Here>) -> Vec<Command> {
    let mut commands = Vec::new();
    for kind in Kind::ALL {
        let word = kind.word();
        let name = kind.name();
        let (node, counted) = (format!("get-{word}-users-num"), format!("Get Number of {name} Users"));
        commands.push(without_form(here, (&node, &counted), move |here, _| count(here, kind)));
        let (node, listed) = (kind.list().0, format!("Get List of {name} Users"));
        let title = listed.clone();
        let asking = move || form(&title, [max_items(), Field::new(AFTER).label("Begin behind this user")]);
        commands.push(with_form(here, (node, &listed), asking, move |here, asked| list(here, asked, kind)));
    }
    commands
}

fn max_items() -> Field {
    let field = Field::new("max_items").typed(FieldType::ListSingle).label("Maximum number of items to show");
    let numbers = ["25", "50", "75", "100", "150", "200"];
    let field = numbers.iter().fold(field, |field, number| field.option(Some(number), *number));
    field.option(Some("None"), "none").value("25")
}

async fn count(here: Arc<Here>, kind: Kind) -> Result<Step, StanzaError> {
    let server = here.server()?;
    let number = match kind {
        Kind::Registered | Kind::Disabled => {
            let mut number = 0;
            for domain in server.domains() {
                number += here.accounts.count(domain, kind == Kind::Disabled).await.map_err(refusal)?;
            }
            number
        }
        _ => online(&server, kind).count(),
    };
    let field = Field::new(format!("{}usersnum", kind.word())).typed(FieldType::TextSingle).value(number.to_string());
    Ok(Step::done().result(result([field])))
}

async fn list(here: Arc<Here>, asked: Asked, kind: Kind) -> Result<Step, StanzaError> {
    let most = read_max_items(&asked.form)?;
    let after = match asked.form.value(AFTER).filter(|after| !after.is_empty()) {
        Some(after) => Some(BareJid::new(after).map_err(|_| bad_payload("this is no address to begin behind"))?),
        None => None,
    };
    let server = here.server()?;
    let domains: Vec<&str> = server.domains().collect();
    let begin = after.as_ref().and_then(|after| domains.iter().position(|domain| *domain == after.domain()));
    if after.is_some() && begin.is_none() {
        return Err(bad_payload("this is no address of this server to begin behind"));
    }
    // One more tells whether there are more.
    let mut users = match kind {
        Kind::Registered | Kind::Disabled => {
            kept(&here, domains.get(begin.unwrap_or(0)..).unwrap_or_default(), after, most + 1, kind).await?
        }
        _ => {
            let place = |user: &BareJid| domains.iter().position(|domain| *domain == user.domain());
            let key = |user: &BareJid| (place(user), user.to_string());
            let after = after.as_ref().map(key);
            let mut users: Vec<_> = online(&server, kind).map(|user| (key(&user), user)).collect();
            users.retain(|(key, _)| after.as_ref().is_none_or(|after| key > after));
            users.sort_by(|(one, _), (other, _)| one.cmp(other));
            users.into_iter().map(|(_, user)| user).take(most + 1).collect()
        }
    };
    let more = users.len() > most;
    users.truncate(most);
    let values = users.iter().map(BareJid::to_string);
    let field = values.fold(Field::new(kind.list().1).typed(FieldType::JidMulti), Field::value);
    let step = Step::done().result(result([field]));
    Ok(match users.last().filter(|_| more) {
        Some(last) => step.info(format!("There are more behind {last}.")),
        None => step,
    })
}

fn read_max_items(form: &DataForm) -> Result<usize, StanzaError> {
    match form.value("max_items") {
        None | Some("" | "none") => Ok(MOST),
        Some(text) => match text.parse() {
            Ok(most) if (1..=MOST).contains(&most) => Ok(most),
            _ => Err(bad_payload(&format!("show between 1 and {MOST}"))),
        },
    }
}

/// Accounts as they are stored, domain after domain.
async fn kept(
    here: &Here,
    domains: &[&str],
    mut after: Option<BareJid>,
    most: usize,
    kind: Kind,
) -> Result<Vec<BareJid>, StanzaError> {
    let mut users = Vec::new();
    for domain in domains {
        let (after, left) = (after.take(), most - users.len());
        let page = match kind {
            Kind::Disabled => here.accounts.list_disabled(domain, after.as_ref(), left).await,
            _ => here.accounts.list(domain, after.as_ref(), left).await,
        };
        users.extend(page.map_err(refusal)?.into_iter().take(left));
        if users.len() >= most {
            break;
        }
    }
    Ok(users)
}

/// The users with an account who are online, all or those who are active or not.
fn online(server: &Server, kind: Kind) -> impl Iterator<Item = BareJid> {
    let mut active: HashMap<BareJid, bool> = HashMap::new();
    server.each_resource(|resource| {
        if !server.admits_anonymous(resource.jid.domain()) {
            let one = active.entry(resource.jid.to_bare()).or_default();
            *one = *one || is_used(server, &resource);
        }
    });
    let wanted = move |active: bool| match kind {
        Kind::Active => active,
        Kind::Idle => !active,
        _ => true,
    };
    active.into_iter().filter(move |(_, active)| wanted(*active)).map(|(user, _)| user)
}

fn is_used(server: &Server, resource: &Resource) -> bool {
    let presence = resource.presence.clone().and_then(|presence| Presence::from_stanza(presence).ok());
    let away = matches!(presence.and_then(|presence| presence.show()), Some(Show::Away | Show::Xa));
    !away && server.is_active(&resource.jid)
}
