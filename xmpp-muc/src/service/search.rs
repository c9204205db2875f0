//! Searching for rooms of the service (XEP-0433).

use super::{
    disco::PAGE,
    list::{self, Row},
    rooms::Rooms,
    shown::Shown,
};
use crate::{
    Fields, Stretch, Terms,
    config::Whois,
    payload::{ChannelItem, ChannelResult, ChannelSearch, ConflictingFields, IsOpen, RateLimit, channel_search},
};
use std::{cmp::Reverse, sync::Arc};
use xmpp_core::{
    extension::{Registrar, Reply, Target},
    jid::BareJid,
    payload::{
        TextValue,
        form::{DataForm, Field, FieldType, FormKind},
        rsm::{First, ResultSet},
    },
    stanza::{ErrorType, StanzaError},
};

/// After how many seconds it may be asked again where others are searching.
const RETRY_AFTER: u32 = 5;

pub(super) fn register(r: &mut Registrar, rooms: &Arc<Rooms>) {
    if rooms.settings.searches == 0 {
        return;
    }
    let own = Arc::clone(rooms);
    r.iq_get_async::<ChannelSearch, _, _>(Target::Server, move |_, query| {
        let rooms = Arc::clone(&own);
        async move { answer(&rooms, query).await }
    });
}

/// What is searched for.
#[derive(Debug)]
struct Wish {
    /// The words; all rooms if there are none.
    terms: Option<Terms>,
    by_users: bool,
    /// Rooms with fewer occupants are passed over.
    users: usize,
    /// Whether rooms are among the kinds of channels that are wanted.
    rooms: bool,
}

pub(super) async fn answer(rooms: &Rooms, query: ChannelSearch) -> Result<Reply, StanzaError> {
    let Some(submitted) = query.form else {
        return Ok(Reply::payload(ChannelSearch { rsm: None, form: Some(form()) }));
    };
    let wish = Wish::read(&submitted)?;
    let asked = query.rsm.unwrap_or_default();
    if asked.index.is_some() || asked.max == Some(0) {
        // Nobody knows how many there are, who has not looked at all of them.
        return Err(StanzaError::feature_not_implemented().with_text("results are not counted"));
    }
    let max = asked.max.map_or(PAGE, |max| usize::try_from(max).unwrap_or(PAGE)).min(PAGE);
    let Ok(_turn) = rooms.searching.try_acquire() else {
        let error = StanzaError::resource_constraint().with_type(ErrorType::Wait);
        let error = error.with_text("others are searching; ask again later");
        return Err(error.with_application(&RateLimit { retry_after: Some(RETRY_AFTER) }));
    };
    let found = match (wish.rooms, wish.by_users) {
        (false, _) => Vec::new(),
        (true, false) => {
            let mut stretch = list::bounds(asked.after.as_deref(), asked.before.as_deref(), max)?;
            stretch.terms = wish.terms;
            let rows = by_address(rooms, &stretch, wish.users).await?;
            rows.into_iter().map(|row| (row.listed.jid.to_string(), row)).collect()
        }
        (true, true) => by_users(rooms, &wish, &asked, max).await?,
    };
    let first = found.first().map(|(id, _)| First { index: None, id: id.clone() });
    let rsm = ResultSet {
        first,
        last: found.last().map(|(id, _)| id.clone()),
        max: u32::try_from(max).ok(),
        ..ResultSet::default()
    };
    let items = found.into_iter().map(|(_, row)| item(row)).collect();
    Ok(Reply::payload(ChannelResult { items, rsm: Some(rsm) }))
}

fn item(row: Row) -> ChannelItem {
    let Row { listed, users } = row;
    ChannelItem {
        address: listed.jid.to_string(),
        name: Some(listed.name).filter(|name| !name.is_empty()),
        description: listed.description,
        language: listed.lang,
        users: users.map(|users| users.to_string()),
        service_type: Some(channel_search::ROOMS.to_owned()),
        is_open: listed.is_open.filter(|is| *is).map(|_| IsOpen::default()),
        anonymity: listed.whois.map(|whois| {
            let mode = match whois {
                Whois::Anyone => channel_search::NON_ANONYMOUS,
                Whois::Moderators => channel_search::SEMI_ANONYMOUS,
            };
            mode.to_owned()
        }),
    }
}

/// How many are in a room, as far as it counts here.
fn users(shown: &Shown) -> usize {
    shown.users().unwrap_or(0)
}

/// Whoever wants rooms with somebody in them finds them in memory.
async fn by_address(rooms: &Rooms, stretch: &Stretch, least: usize) -> Result<Vec<Row>, StanzaError> {
    if least == 0 {
        return list::rows(rooms, stretch, &|_| true).await;
    }
    let near: Vec<Arc<Shown>> = rooms.shown(|shown| shown.values().filter(|one| one.visible).cloned().collect());
    let rows = near.iter().filter(|one| users(one) >= least && stretch.has(&one.listed)).map(|one| Row::of(one));
    let mut rows: Vec<Row> = rows.collect();
    if stretch.last {
        rows.drain(..rows.len().saturating_sub(stretch.max));
    }
    rows.truncate(stretch.max);
    Ok(rows)
}

/// Where a room is in the list by users: how many there are, and the address.
type Place = (Reverse<usize>, BareJid);

/// The most frequented rooms first; behind them those with nobody in them, by address. What happens meanwhile may bring a
/// room twice, or not at all.
async fn by_users(
    rooms: &Rooms,
    wish: &Wish,
    asked: &ResultSet,
    max: usize,
) -> Result<Vec<(String, Row)>, StanzaError> {
    let place = |id: &String| read_place(id).ok_or_else(StanzaError::item_not_found);
    let after = asked.after.as_ref().map(place).transpose()?;
    let before = asked.before.as_ref().filter(|id| !id.is_empty() && after.is_none()).map(place).transpose()?;
    let last = asked.before.is_some() && after.is_none();
    let stretch = Stretch { terms: wish.terms.clone(), max, last, ..Stretch::default() };
    let near: Vec<Arc<Shown>> = rooms.shown(|shown| shown.values().filter(|one| one.visible).cloned().collect());
    let counted = near.iter().map(|one| (users(one), one));
    let counted = counted.filter(|(users, one)| *users >= wish.users.max(1) && stretch.has(&one.listed));
    let mut seated: Vec<(Place, Row)> =
        counted.map(|(users, one)| ((Reverse(users), one.listed.jid.clone()), Row::of(one))).collect();
    seated.sort_by(|(one, _), (other, _)| one.cmp(other));
    seated.retain(|(place, _)| {
        after.as_ref().is_none_or(|after| place > after) && before.as_ref().is_none_or(|before| place < before)
    });
    let id = |(Reverse(users), jid): &Place| format!("{users}:{jid}");
    let nobody = |end: &Option<Place>| end.clone().filter(|(users, _)| users.0 == 0).map(|(_, jid)| jid);
    // The end of the list is wanted unless what is wanted is before a room with somebody in it.
    let (mut rest, mut deserted) = (Stretch { after: nobody(&after), before: nobody(&before), ..stretch }, Vec::new());
    let reaches = wish.users == 0 && before.as_ref().is_none_or(|(users, _)| users.0 == 0);
    if !last {
        seated.truncate(max);
        rest.max = max - seated.len();
    }
    if reaches && rest.max > 0 {
        deserted = list::rows(rooms, &rest, &|shown| users(shown) == 0).await?;
    }
    if last {
        let wanted = max.saturating_sub(deserted.len());
        seated.drain(..seated.len().saturating_sub(wanted));
    }
    let deserted = deserted.into_iter().map(|row| ((Reverse(0), row.listed.jid.clone()), row));
    Ok(seated.into_iter().chain(deserted).map(|(place, row)| (id(&place), row)).collect())
}

fn read_place(id: &str) -> Option<Place> {
    let (users, jid) = id.split_once(':')?;
    Some((Reverse(users.parse().ok()?), BareJid::new(jid).ok()?))
}

fn form() -> DataForm {
    let flag =
        |var: &str, label: &str, is: bool| Field::new(var).typed(FieldType::Boolean).label(label).typed_value(&is);
    DataForm::typed(FormKind::Form, channel_search::PARAMS)
        .with(Field::new("q").typed(FieldType::TextSingle).label("Search for"))
        .with(flag("all", "All rooms, whatever is searched for", false))
        .with(flag("sinname", "Search in names", true))
        .with(flag("sindescription", "Search in descriptions", true))
        .with(flag("sinaddr", "Search in addresses", true))
        .with(Field::new("min_users").typed(FieldType::TextSingle).label("Fewest occupants").value("0"))
        .with(
            Field::new("types")
                .typed(FieldType::ListMulti)
                .label("Kinds")
                .value(channel_search::ROOMS)
                .option(Some("Rooms (XEP-0045)"), channel_search::ROOMS),
        )
        .with(
            Field::new("key")
                .typed(FieldType::ListSingle)
                .label("Order")
                .value(channel_search::BY_USERS)
                .option(Some("Number of occupants"), channel_search::BY_USERS)
                .option(Some("Address"), channel_search::BY_ADDRESS),
        )
}

fn conflict(vars: &[&str], text: &str) -> StanzaError {
    let fields = ConflictingFields { vars: vars.iter().map(|&var| var.to_owned()).collect() };
    StanzaError::bad_request().with_type(ErrorType::Modify).with_text(text).with_application(&fields)
}

impl Wish {
    /// Reads a form. Fields that are not in it are as in the form that is offered; fields that are not known are passed over.
    fn read(form: &DataForm) -> Result<Wish, StanzaError> {
        if form.type_ != FormKind::Submit || form.form_type() != Some(channel_search::PARAMS) {
            return Err(StanzaError::bad_request().with_text("another form was asked for"));
        }
        let by_users = match form.value("key") {
            None | Some(channel_search::BY_USERS) => true,
            Some(channel_search::BY_ADDRESS) => false,
            Some(_) => {
                let error = StanzaError::feature_not_implemented().with_type(ErrorType::Modify);
                return Err(error.with_application_element("invalid-sort-key", channel_search::ERROR));
            }
        };
        let all = value(form, "all")?.unwrap_or(false);
        let text = form.value("q").filter(|text| !text.is_empty());
        let terms = match (text, all) {
            (Some(_), true) => {
                return Err(conflict(&["all", "q"], "rooms cannot be searched for if all of them are wanted"));
            }
            (None, false) => {
                let error = StanzaError::bad_request().with_type(ErrorType::Cancel);
                return Err(error.with_application_element("no-search-conditions", channel_search::ERROR));
            }
            (None, true) => None,
            (Some(text), false) => Some(terms(form, text)?),
        };
        let users = value::<u32>(form, "min_users")?.map_or(0, |users| usize::try_from(users).unwrap_or(usize::MAX));
        let types = form.field("types").map(|field| &field.values);
        let rooms = types.is_none_or(|types| types.iter().any(|one| one == channel_search::ROOMS));
        Ok(Wish { terms, by_users, users, rooms })
    }
}

fn terms(form: &DataForm, text: &str) -> Result<Terms, StanzaError> {
    let is = |var: &str| Ok::<_, StanzaError>(value(form, var)?.unwrap_or(true));
    // The document has both names for the same field.
    let address = is("sinaddr")? && is("sinaddress")?;
    let fields = Fields { address, name: is("sinname")?, description: is("sindescription")? };
    if fields == (Fields { address: false, name: false, description: false }) {
        let vars = ["q", "sinname", "sindescription", "sinaddr"];
        return Err(conflict(&vars, "words have to be searched for somewhere"));
    }
    Terms::new(text, fields).ok_or_else(|| {
        let error = StanzaError::bad_request().with_type(ErrorType::Modify);
        let (words, bytes) = (Terms::MOST, Terms::BYTES);
        let error = error.with_text(format!("search for 1 to {words} words, of {bytes} bytes at most together"));
        error.with_application_element("invalid-search-terms", channel_search::ERROR)
    })
}

fn value<T: TextValue>(form: &DataForm, var: &str) -> Result<Option<T>, StanzaError> {
    match form.get(var) {
        None => Ok(None),
        Some(read) => read.map(Some).map_err(|error| {
            StanzaError::bad_request().with_type(ErrorType::Modify).with_text(format!("{var} should be {error}"))
        }),
    }
}
