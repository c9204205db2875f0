//! Service discovery of the service and of its rooms (§6).

use super::{
    iq::{TOMBSTONES, ask},
    list,
    rooms::Rooms,
};
use crate::{
    Affiliation, Listed,
    config::Whois,
    room::{HatCommand, Number, Occupant, REGISTER, Room, VOICE},
};
use std::sync::Arc;
use xmpp_core::{
    extension::{DiscoCell, IqContext, Registrar, Target},
    jid::Jid,
    payload::{
        disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery, Feature, Identity, Item},
        form::{self, DataForm, Field, FieldType, FormKind},
        rsm::{First, ResultSet},
    },
    stanza::StanzaError,
};
use xmpp_im::command;

/// The type of the form with what is to be known of a room.
pub(super) const ROOM_INFO: &str = "http://jabber.org/protocol/muc#roominfo";
/// The node that tells whose nickname is reserved (§7.12).
const RESERVED_NICK: &str = "x-roomuser-item";
/// The node that would tell what rooms pass on, if they kept something back (§18.1.1).
const TRAFFIC: &str = "http://jabber.org/protocol/muc#traffic";
/// Rooms on a page of the list, at most.
pub(super) const PAGE: usize = 100;

pub(super) fn register(r: &mut Registrar, rooms: &Arc<Rooms>) {
    let (own, cell) = (Arc::clone(rooms), r.disco());
    r.iq_get_async::<DiscoInfoQuery, _, _>(Target::Account, move |cx, query| {
        let (rooms, cell) = (Arc::clone(&own), cell.clone());
        async move { info(&rooms, &cell, &cx, query).await }
    });
    let own = Arc::clone(rooms);
    r.iq_get_async::<DiscoItemsQuery, _, _>(Target::Account, move |cx, query| {
        let rooms = Arc::clone(&own);
        async move { ask(&rooms, &cx, |room, from| items(room, from, query)).await }
    });
    let own = Arc::clone(rooms);
    r.iq_get_async::<DiscoItemsQuery, _, _>(Target::Server, move |_, query| {
        let rooms = Arc::clone(&own);
        async move { list(&rooms, query).await }
    });
}

async fn info(
    rooms: &Arc<Rooms>,
    cell: &DiscoCell,
    cx: &IqContext,
    query: DiscoInfoQuery,
) -> Result<DiscoInfo, StanzaError> {
    let registered = cell.get(Target::Account);
    ask(rooms, cx, |room, from| match query.node.as_deref() {
        None | Some("") => {
            let inside = is_inside(room, from)?;
            Ok(of_room(room, registered.into_iter().flat_map(|node| &node.features), inside))
        }
        Some(RESERVED_NICK) => {
            let nick = room.affiliations().nick(&from.to_bare()).map(str::to_owned);
            let identities = nick.map(|nick| Identity::new("conference", "text", Some(nick))).into_iter().collect();
            Ok(DiscoInfo { node: query.node.clone(), identities, ..DiscoInfo::default() })
        }
        // §18.1.1: nothing is kept back.
        Some(TRAFFIC) => Err(StanzaError::service_unavailable()),
        Some(node) => {
            is_inside(room, from)?;
            of_commands(room, from, node)
        }
    })
    .await
}

/// The commands that somebody may use (XEP-0050 §2.2).
fn commands<'a>(room: &'a Room, from: &'a Jid) -> impl Iterator<Item = HatCommand> + 'a {
    HatCommand::ALL.into_iter().filter(|command| room.may_use(from, *command))
}

fn of_commands(room: &Room, from: &Jid, node: &str) -> Result<DiscoInfo, StanzaError> {
    let (identity, features) = match commands(room, from).find(|command| command.node() == node) {
        None if node == command::NS => (Identity::new("automation", "command-list", None), vec![command::NS]),
        None => return Err(StanzaError::item_not_found()),
        Some(command) => {
            let name = Some(command.name().to_owned());
            (Identity::new("automation", "command-node", name), vec![command::NS, form::NS])
        }
    };
    let features = features.into_iter().map(|var| Feature { var: var.to_owned() }).collect();
    Ok(DiscoInfo { node: Some(node.to_owned()), identities: vec![identity], features, ..DiscoInfo::default() })
}

/// The commands of a room, or who is in it (§6.5). Who is in it is told to those who are; and where its owner wants that, to
/// whoever may know what goes on in it.
fn items(room: &Room, from: &Jid, query: DiscoItemsQuery) -> Result<DiscoItems, StanzaError> {
    let inside = is_inside(room, from)?;
    let jid = Jid::from(room.jid().clone());
    match query.node.as_deref() {
        None | Some("") => {}
        Some(command::NS) => {
            let item = |command: HatCommand| Item {
                node: Some(command.node().to_owned()),
                name: Some(command.name().to_owned()),
                ..Item::new(jid.clone())
            };
            let items = commands(room, from).map(item).collect();
            return Ok(DiscoItems { node: query.node, items, ..DiscoItems::default() });
        }
        Some(_) => return Ok(DiscoItems { node: query.node, ..DiscoItems::default() }),
    }
    let is_there = room.occupants().of_client(from).is_some();
    if !(is_there || (inside && room.config().list_occupants)) {
        return Ok(DiscoItems::default());
    }
    occupants(room, query.rsm.as_ref())
}

/// A page of those whose presence is shown, in the order in which they came.
fn occupants(room: &Room, rsm: Option<&ResultSet>) -> Result<DiscoItems, StanzaError> {
    let shown = || room.occupants().iter().filter(|(_, one)| room.config().broadcast.has(one.role));
    let asked = rsm.cloned().unwrap_or_default();
    let max = asked.max.map_or(PAGE, |max| usize::try_from(max).unwrap_or(PAGE)).min(PAGE);
    let number = |id: &str| id.parse::<Number>().map_err(|_| StanzaError::item_not_found());
    let page: Vec<(Number, &Occupant)> = match (&asked.after, &asked.before) {
        (Some(after), _) => {
            let after = number(after)?;
            shown().filter(|(one, _)| *one > after).take(max).collect()
        }
        (None, Some(before)) => {
            let before = if before.is_empty() { Number::MAX } else { number(before)? };
            let those: Vec<_> = shown().filter(|(one, _)| *one < before).collect();
            those.get(those.len().saturating_sub(max)..).unwrap_or_default().to_vec()
        }
        (None, None) => shown().skip(asked.index.map_or(0, |index| index as usize)).take(max).collect(),
    };
    let count = shown().count();
    let index = page.first().and_then(|(first, _)| shown().position(|(one, _)| one == *first));
    let rsm = (rsm.is_some() || page.len() < count).then(|| ResultSet {
        first: page.first().map(|(number, _)| First {
            index: index.and_then(|index| u32::try_from(index).ok()),
            id: number.to_string(),
        }),
        last: page.last().map(|(number, _)| number.to_string()),
        count: u32::try_from(count).ok(),
        ..ResultSet::default()
    });
    let items = page.into_iter().map(|(_, one)| Item::new(one.nick.jid.clone())).collect();
    Ok(DiscoItems { items, rsm, ..DiscoItems::default() })
}

/// Whether somebody may know what goes on in a room, not only that there is one (§13.4): whoever is in it, or belongs to it,
/// and everybody if it is open to all.
///
/// # Errors
/// `item-not-found` if it has not been configured yet (§7.2.10).
fn is_inside(room: &Room, from: &Jid) -> Result<bool, StanzaError> {
    let affiliation = room.affiliations().of(&from.to_bare());
    if room.is_locked() && affiliation != Affiliation::Owner {
        return Err(StanzaError::item_not_found().with_text("there is no such room"));
    }
    let config = room.config();
    let is_open = config.public && !config.members_only && config.password.is_none();
    let is_open = is_open && affiliation != Affiliation::Outcast;
    Ok(is_open || affiliation >= Affiliation::Member || room.occupants().of_client(from).is_some())
}

/// §6.4.
fn of_room<'a>(room: &Room, registered: impl Iterator<Item = &'a String>, inside: bool) -> DiscoInfo {
    let config = room.config();
    let either = |is, yes: &'static str, no: &'static str| if is { yes } else { no };
    let of_config = [
        either(config.public, "muc_public", "muc_hidden"),
        either(config.members_only, "muc_membersonly", "muc_open"),
        either(config.moderated, "muc_moderated", "muc_unmoderated"),
        either(config.whois == Whois::Anyone, "muc_nonanonymous", "muc_semianonymous"),
        either(config.password.is_some(), "muc_passwordprotected", "muc_unsecured"),
        either(config.persistent, "muc_persistent", "muc_temporary"),
    ];
    let archive = |feature: &str| feature.starts_with("urn:xmpp:mam:2") || feature == TOMBSTONES;
    let mut features: Vec<Feature> = registered
        .filter(|feature| config.archived || !archive(feature))
        .map(|var| var.as_str())
        .chain(of_config)
        .chain(config.registration.then_some(REGISTER))
        .chain([VOICE, crate::config::FORM, command::NS])
        .map(|var| Feature { var: var.to_owned() })
        .collect();
    features.sort();
    features.dedup();
    let local = room.jid().local().unwrap_or_default();
    let name = if config.name.is_empty() { local } else { &config.name };
    DiscoInfo {
        identities: vec![Identity::new("conference", "text", Some(name.to_owned()))],
        features,
        forms: vec![details(room, inside)],
        ..DiscoInfo::default()
    }
}

fn details(room: &Room, inside: bool) -> DataForm {
    let config = room.config();
    let subject = room.subject().and_then(|subject| {
        subject.stanza.root().child("subject", xmpp_core::xml::ns::CLIENT).map(|subject| subject.text().into_owned())
    });
    let mut form = DataForm::typed(FormKind::Result, ROOM_INFO)
        .with(Field::new("muc#roominfo_description").value(config.description.as_str()))
        .with(Field::new("muc#roominfo_subjectmod").typed_value(&config.change_subject))
        .with(Field::new("muc#roomconfig_changesubject").typed_value(&config.change_subject))
        .with(Field::new("muc#maxhistoryfetch").value(config.history.to_string()))
        .with(Field::new("muc#roomconfig_roomname").value(config.name.as_str()));
    if !room.avatar_hashes().is_empty() {
        let field = Field::new("muc#roominfo_avatarhash").typed(FieldType::TextMulti);
        form = form.with(room.avatar_hashes().iter().fold(field, |field, hash| field.value(hash.as_str())));
    }
    if let Some(hash) = room.wardrobe().hash() {
        form = form.with(Field::new("hats#hash").value(hash));
    }
    if !config.lang.is_empty() {
        form = form.with(Field::new("muc#roominfo_lang").value(config.lang.as_str()));
    }
    if inside {
        form = form.with(Field::new("muc#roominfo_occupants").value(room.occupants().len().to_string()));
    }
    match subject.filter(|_| inside) {
        Some(subject) => form.with(Field::new("muc#roominfo_subject").value(subject)),
        None => form,
    }
}

/// §6.3: the rooms that are not hidden, by address, in pages (XEP-0059).
async fn list(rooms: &Rooms, query: DiscoItemsQuery) -> Result<DiscoItems, StanzaError> {
    if query.node.as_deref().is_some_and(|node| !node.is_empty()) {
        return Err(StanzaError::item_not_found());
    }
    let in_pages = query.rsm.is_some();
    let asked = query.rsm.unwrap_or_default();
    let max = asked.max.map_or(PAGE, |max| usize::try_from(max).unwrap_or(PAGE)).min(PAGE);
    let mut stretch = list::bounds(asked.after.as_deref(), asked.before.as_deref(), max)?;
    let mut beyond = false;
    if let (None, false, Some(index @ 1..)) = (&stretch.after, stretch.last, asked.index) {
        stretch.after = list::place(rooms, u64::from(index) - 1).await?;
        beyond = stretch.after.is_none();
    }
    let shown = if beyond { Vec::new() } else { list::rows(rooms, &stretch, &|_| true).await? };
    let count = list::count(rooms, None).await?;
    let index = match shown.first() {
        Some(first) => u32::try_from(list::count(rooms, Some(&first.listed.jid)).await?).ok(),
        None => None,
    };
    let items = shown.iter().map(|row| {
        let Listed { jid, name, .. } = &row.listed;
        let name = if name.is_empty() { jid.local().unwrap_or_default() } else { name };
        Item { name: Some(name.to_owned()), ..Item::new(jid.clone()) }
    });
    let is_part = u64::try_from(shown.len()).is_ok_and(|shown| shown < count);
    let rsm = (in_pages || is_part).then(|| ResultSet {
        first: shown.first().map(|row| First { index, id: row.listed.jid.to_string() }),
        last: shown.last().map(|row| row.listed.jid.to_string()),
        count: u32::try_from(count).ok(),
        ..ResultSet::default()
    });
    Ok(DiscoItems { items: items.collect(), rsm, ..DiscoItems::default() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        RoomConfig,
        room::{Affiliated, RoomLimits, RoomRecord, Wardrobe},
    };
    use xmpp_core::jid::BareJid;

    fn room(config: RoomConfig, locked: bool) -> Room {
        let as_ = |affiliation| Affiliated { affiliation, ..Affiliated::default() };
        let affiliated =
            [("crone", Affiliation::Owner), ("hag", Affiliation::Member), ("mallory", Affiliation::Outcast)];
        let affiliated = affiliated.map(|(user, what)| (BareJid::new(&format!("{user}@lit")).unwrap(), as_(what)));
        let record = RoomRecord {
            config,
            locked,
            key: [7; 32],
            maker: None,
            subject: None,
            affiliated: affiliated.to_vec(),
            card: None,
            hats: Wardrobe::default(),
        };
        Room::restore(BareJid::new("coven@chat").unwrap(), record, Arc::new(RoomLimits::default()))
    }

    fn knows(room: &Room, user: &str) -> Option<bool> {
        is_inside(room, &Jid::new(&format!("{user}@lit/a")).unwrap()).ok()
    }

    #[test]
    fn xep0045_13_4_what_goes_on_in_a_closed_room_is_for_those_who_belong_to_it() {
        let open = RoomConfig::default();
        for (config, stranger) in [
            (open.clone(), true),
            (RoomConfig { members_only: true, ..open.clone() }, false),
            (RoomConfig { public: false, ..open.clone() }, false),
            (RoomConfig { password: Some("pw".to_owned()), ..open.clone() }, false),
        ] {
            let room = room(config, false);
            assert_eq!(knows(&room, "stranger"), Some(stranger));
            assert_eq!((knows(&room, "crone"), knows(&room, "hag")), (Some(true), Some(true)));
            assert_eq!(knows(&room, "mallory"), Some(false));
            for inside in [false, true] {
                let info = of_room(&room, std::iter::empty(), inside);
                assert_eq!(info.forms.iter().any(|form| form.field("muc#roominfo_occupants").is_some()), inside);
            }
        }
    }

    #[test]
    fn xep0045_7_2_10_a_locked_room_is_not_there_for_others() {
        let room = room(RoomConfig::default(), true);
        assert_eq!((knows(&room, "stranger"), knows(&room, "hag"), knows(&room, "crone")), (None, None, Some(true)));
    }
}
