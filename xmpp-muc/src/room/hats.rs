//! Hats: what occupants are in a room besides role and affiliation (XEP-0317).

use super::{Change, Delivery, Effects, Kept, Number, Occupant, Plan, Room, announce::News};
use crate::{
    Affiliation,
    payload::{Hat, Hats, StatusCode},
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::{
        Payload,
        form::{DataForm, Field, FieldType, FormKind, Reported, Row},
    },
    stanza::StanzaError,
    xml::{Stanza, Writer, XmlLimits},
};
use xmpp_im::command::bad_payload;

/// The type of the forms, and what the commands' nodes begin with.
const FORM: &str = "urn:xmpp:hats:commands";
const NS: &str = Hats::NAMESPACE;

/// The hats that there are in a room, and who has which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wardrobe {
    hats: Vec<Hat>,
    worn: BTreeMap<BareJid, Vec<String>>,
}

impl Wardrobe {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hats.is_empty()
    }
    /// All of them, in the order in which they were made.
    pub fn hats(&self) -> &[Hat] {
        &self.hats
    }
    /// Who has which.
    pub fn worn(&self) -> impl Iterator<Item = (&BareJid, &Hat)> {
        self.worn.iter().flat_map(move |(user, uris)| uris.iter().filter_map(move |uri| Some((user, self.get(uri)?))))
    }
    /// Those of a user; `None` for none.
    pub fn of(&self, user: &BareJid) -> Option<Arc<Hats>> {
        let hats: Vec<Hat> = self.worn.get(user)?.iter().filter_map(|uri| self.get(uri).cloned()).collect();
        (!hats.is_empty()).then(|| Arc::new(Hats { hats }))
    }

    fn get(&self, uri: &str) -> Option<&Hat> {
        self.hats.iter().find(|hat| hat.uri == uri)
    }

    /// By which clients know whether the list is the one that they have.
    pub fn hash(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let mut hash = Sha256::new();
        for hat in &self.hats {
            for part in [&hat.uri, &hat.title, hat.hue.as_ref().unwrap_or(&String::new())] {
                hash.update(part.as_bytes());
                hash.update(b"\0");
            }
        }
        Some(hash.finalize().iter().take(20).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }

    /// As text, for stores; empty if there is nothing.
    pub fn to_text(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let mut out = Writer::new("");
        out.open("hats", NS);
        self.hats.iter().for_each(|hat| hat.write(&mut out));
        for (user, uris) in &self.worn {
            out.open("worn", NS);
            out.attr("by", user.as_str());
            uris.iter().for_each(|uri| out.text_element("uri", NS, uri));
            out.close();
        }
        out.close();
        String::from_utf8(out.finish()).unwrap_or_default()
    }

    /// From such a text; `None` if it is none.
    pub fn from_text(text: &str) -> Option<Wardrobe> {
        let mut all = Wardrobe::default();
        if text.is_empty() {
            return Some(all);
        }
        let stanza = Stanza::document(text, &XmlLimits::unbounded()).ok()?;
        for child in stanza.root().children() {
            if Hat::matches(child) {
                all.hats.push(Hat::read(child).ok()?);
            } else {
                let user = BareJid::new(&child.attr("by")?).ok()?;
                all.worn.insert(user, child.children().map(|uri| uri.text().into_owned()).collect());
            }
        }
        Some(all)
    }
}

/// What can be done with hats, by ad-hoc commands (§4.2 to §4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HatCommand {
    /// A new hat, or another title for one.
    Create,
    /// A hat is no more.
    Destroy,
    /// Which there are.
    List,
    /// Somebody gets one.
    Assign,
    /// Somebody loses one.
    Unassign,
    /// Who has which.
    ListAssigned,
}

impl HatCommand {
    /// All of them.
    pub const ALL: [HatCommand; 6] = [
        HatCommand::Create,
        HatCommand::Destroy,
        HatCommand::List,
        HatCommand::Assign,
        HatCommand::Unassign,
        HatCommand::ListAssigned,
    ];

    /// Its node.
    pub fn node(self) -> &'static str {
        match self {
            HatCommand::Create => "urn:xmpp:hats:commands:create",
            HatCommand::Destroy => "urn:xmpp:hats:commands:destroy",
            HatCommand::List => "urn:xmpp:hats:commands:list",
            HatCommand::Assign => "urn:xmpp:hats:commands:assign",
            HatCommand::Unassign => "urn:xmpp:hats:commands:unassign",
            HatCommand::ListAssigned => "urn:xmpp:hats:commands:list-assigned",
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            HatCommand::Create => "Create or change a hat",
            HatCommand::Destroy => "Destroy a hat",
            HatCommand::List => "List hats",
            HatCommand::Assign => "Give somebody a hat",
            HatCommand::Unassign => "Take a hat from somebody",
            HatCommand::ListAssigned => "List who has which hat",
        }
    }
}

impl Room {
    /// The room's hats.
    pub fn wardrobe(&self) -> &Wardrobe {
        &self.wardrobe
    }

    /// Whether somebody may use a command: admins all of them, occupants and members may see which hats there are.
    pub fn may_use(&self, from: &Jid, command: HatCommand) -> bool {
        let (role, affiliation) = self.standing(from);
        match command {
            HatCommand::List => role > crate::Role::None || affiliation >= Affiliation::Member,
            _ => affiliation >= Affiliation::Admin,
        }
    }

    /// The form of a command: to be filled in, or with what was asked for.
    ///
    /// # Errors
    /// `forbidden` for who may not use it.
    pub fn hat_form(&self, from: &Jid, command: HatCommand) -> Result<DataForm, StanzaError> {
        self.check_hats(from, command)?;
        let text = |var: &str, label: &str| Field::new(var).typed(FieldType::TextSingle).label(label);
        let which = || {
            let field = Field::new("hats#uri").typed(FieldType::ListSingle).label("Hat").required();
            self.wardrobe.hats.iter().fold(field, |field, hat| field.option(Some(&hat.title), hat.uri.as_str()))
        };
        let who = || Field::new("hats#jid").typed(FieldType::JidSingle).label("User").required();
        let fields = match command {
            HatCommand::List => return Ok(listing(self.wardrobe.hats.iter().map(|hat| (None, hat)), false)),
            HatCommand::ListAssigned => {
                return Ok(listing(self.wardrobe.worn().map(|(user, hat)| (Some(user), hat)), true));
            }
            HatCommand::Create => {
                let (title, uri) = (text("hats#title", "Title").required(), text("hats#uri", "URI").required());
                vec![title, uri, text("hats#hue", "Hue, in degrees")]
            }
            HatCommand::Destroy => vec![which()],
            HatCommand::Assign | HatCommand::Unassign => vec![who(), which()],
        };
        let mut form = fields.into_iter().fold(DataForm::typed(FormKind::Form, FORM), DataForm::with);
        form.title = Some(command.name().to_owned());
        Ok(form)
    }

    /// Judges what was filled in.
    ///
    /// # Errors
    /// `forbidden` for who may not use the command, `bad-request` for what makes no sense, `item-not-found` for a hat that
    /// there is not, `resource-constraint` where there would be too many.
    pub fn change_hats(&self, from: &Jid, command: HatCommand, form: &DataForm) -> Result<Plan, StanzaError> {
        self.check_hats(from, command)?;
        let value = |var: &str, missing: &str| match form.value(var).map(str::trim) {
            None | Some("") => Err(bad_payload(missing)),
            Some(value) => Ok(value.to_owned()),
        };
        let mut all = self.wardrobe.clone();
        let uri = value("hats#uri", "which hat?")?;
        let known = all.get(&uri).is_some();
        if !known && command != HatCommand::Create {
            return Err(StanzaError::item_not_found().with_text("there is no such hat"));
        }
        let user = || {
            let user = Jid::new(&value("hats#jid", "whose hat?")?).map_err(|_| bad_payload("this is no address"))?;
            match user.local() {
                Some(_) => Ok(user.to_bare()),
                None => Err(bad_payload("a domain wears no hat")),
            }
        };
        match command {
            HatCommand::Create => self.create_hat(&mut all, uri, form)?,
            HatCommand::Destroy => {
                all.hats.retain(|hat| hat.uri != uri);
                all.worn.values_mut().for_each(|uris| uris.retain(|other| *other != uri));
            }
            HatCommand::Assign => {
                let (user, limits) = (user()?, &self.limits);
                let full = !all.worn.contains_key(&user) && all.worn.len() >= limits.hat_wearers;
                let uris = all.worn.entry(user).or_default();
                if !uris.contains(&uri) {
                    if full || uris.len() >= limits.hats_of_user {
                        return Err(StanzaError::resource_constraint().with_text("too many hats are worn"));
                    }
                    uris.push(uri);
                }
            }
            HatCommand::Unassign => {
                let user = user()?;
                let uris = all.worn.get_mut(&user).filter(|uris| uris.contains(&uri));
                let uris = uris.ok_or_else(|| StanzaError::item_not_found().with_text("they have no such hat"))?;
                uris.retain(|other| *other != uri);
            }
            HatCommand::List | HatCommand::ListAssigned => {}
        }
        all.worn.retain(|_, uris| !uris.is_empty());
        if all == self.wardrobe {
            return Ok(Plan::default());
        }
        let all = Box::new(all);
        let changes = |one: &Occupant| one.hats != all.of(&one.user);
        self.check_crowd(self.occupants.iter().filter(|(_, one)| changes(one)).count())?;
        Ok(Plan { changes: vec![Change::Hats(all.clone())], kept: vec![Kept::Hats(all)] })
    }

    fn check_hats(&self, from: &Jid, command: HatCommand) -> Result<(), StanzaError> {
        self.check_open_to(from)?;
        match self.may_use(from, command) {
            true => Ok(()),
            false => Err(StanzaError::forbidden()),
        }
    }

    fn create_hat(&self, all: &mut Wardrobe, uri: String, form: &DataForm) -> Result<(), StanzaError> {
        let most = self.limits.hat_bytes;
        let title = form.value("hats#title").map(str::trim).unwrap_or_default();
        let hue = form.value("hats#hue").map(str::trim).filter(|hue| !hue.is_empty());
        if title.is_empty() || title.len() > most || title.chars().any(char::is_control) {
            return Err(bad_payload("a hat needs a title, which is not too long"));
        }
        let is_uri = uri.split_once(':').is_some_and(|(scheme, rest)| {
            let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
            is_scheme && !rest.is_empty()
        });
        if !is_uri || uri.len() > most || uri.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(bad_payload("a hat is known by a URI, which is not too long"));
        }
        let is_angle = |hue: &str| hue.len() <= 32 && hue.parse().is_ok_and(|hue| (0.0..=360.0_f64).contains(&hue));
        if hue.is_some_and(|hue| !is_angle(hue)) {
            return Err(bad_payload("a hue is an angle from 0 to 360"));
        }
        let hat = Hat { uri, title: title.to_owned(), hue: hue.map(str::to_owned) };
        if let Some(known) = all.hats.iter_mut().find(|other| other.uri == hat.uri) {
            *known = hat;
        } else if all.hats.len() < self.limits.hats {
            all.hats.push(hat);
        } else {
            return Err(StanzaError::resource_constraint().with_text("the room has too many hats"));
        }
        Ok(())
    }

    /// The hats are others: whoever is here and wears others than before is shown with them.
    pub(super) fn put_on(&mut self, wardrobe: Wardrobe, effects: &mut Effects) {
        let was = std::mem::replace(&mut self.wardrobe, wardrobe);
        if was.hats != self.wardrobe.hats {
            let stanza = self.notice(&[StatusCode::CONFIGURATION_CHANGED]);
            effects.then.push(Delivery { from: self.jid.clone().into(), to: self.all(), stanza });
        }
        let users: BTreeSet<&BareJid> = was.worn.keys().chain(self.wardrobe.worn.keys()).collect();
        let affected: Vec<Number> = self
            .occupants
            .iter()
            .filter(|(_, occupant)| users.contains(&occupant.user) && occupant.hats != self.wardrobe.of(&occupant.user))
            .map(|(number, _)| number)
            .collect();
        let brief = self.is_too_much(affected.iter().filter_map(|number| self.occupants.get(*number)));
        for number in affected {
            let Some(occupant) = self.occupants.get_mut(number) else { continue };
            occupant.hats = self.wardrobe.of(&occupant.user);
            let Some(occupant) = self.occupants.get(number) else { continue };
            let mut news = if brief { News::brief(occupant) } else { News::of(occupant) };
            // The hats are what is new.
            news.bare_headed = false;
            self.tell_all(occupant, &news, &mut effects.then);
        }
    }
}

/// A list, as a form.
fn listing<'a>(all: impl Iterator<Item = (Option<&'a BareJid>, &'a Hat)>, with_users: bool) -> DataForm {
    let mut form = DataForm::typed(FormKind::Result, FORM);
    let vars =
        ["hats#jid", "hats#uri", "hats#title", "hats#hue"].into_iter().filter(|var| with_users || *var != "hats#jid");
    form.reported = Some(Reported { fields: vars.map(Field::new).collect() });
    form.items = all
        .map(|(user, hat)| {
            let user = user.map(|user| Field::new("hats#jid").value(user.as_str()));
            let hue = hat.hue.as_deref().map(|hue| Field::new("hats#hue").value(hue));
            let own = [Field::new("hats#uri").value(&*hat.uri), Field::new("hats#title").value(&*hat.title)];
            Row { fields: user.into_iter().chain(own).chain(hue).collect() }
        })
        .collect();
    form
}
