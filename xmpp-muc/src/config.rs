//! The configuration of a room, and its form (§10.1.3, §15.5.3).

use crate::Role;
use xmpp_core::{
    jid::BareJid,
    payload::{
        Payload, TextValue,
        form::{DataForm, Field, FieldType, FormKind},
    },
    stanza::StanzaError,
    xml::{Stanza, Writer, XmlLimits},
};

/// The type of the form.
pub const FORM: &str = "http://jabber.org/protocol/muc#roomconfig";
/// The longest name, password or description, in bytes.
pub const MAX_TEXT: usize = 4 * 1024;

/// What a room is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomConfig {
    /// Its name for people.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// The language that is spoken in it (BCP 47).
    pub lang: String,
    /// Whether it stays when the last occupant leaves.
    pub persistent: bool,
    /// Whether it is listed.
    pub public: bool,
    /// Whether only members may enter.
    pub members_only: bool,
    /// Whether members may invite others into a room for members; that makes them members.
    pub members_invite: bool,
    /// Whether one has to be given voice.
    pub moderated: bool,
    /// The password, if one is needed.
    pub password: Option<String>,
    /// Who sees occupants' addresses.
    pub whois: Whois,
    /// Who may send private messages.
    pub private_messages: PrivateMessages,
    /// Whether everybody with voice may change the subject, not moderators alone.
    pub change_subject: bool,
    /// Whether what is said is logged for the public (status 170).
    pub logging: bool,
    /// Whether messages are kept in the room's archive (XEP-0313).
    pub archived: bool,
    /// How many occupants there may be; owners and admins find place beyond that. `None` is as many as the service allows.
    pub max_users: Option<u32>,
    /// How many messages of history are sent to who enters.
    pub history: u32,
    /// Whose presence is shown to others.
    pub broadcast: Broadcast,
    /// Who may see the list of members.
    pub member_list: Broadcast,
    /// Whether people may register with the room by themselves, which makes them members.
    pub registration: bool,
    /// Whether who is in the room is told to those who are not, and might enter (§6.5).
    pub list_occupants: bool,
}

impl Default for RoomConfig {
    /// Temporary, public, open, unmoderated, semi-anonymous, archived; with 20 messages of history.
    fn default() -> RoomConfig {
        RoomConfig {
            name: String::new(),
            description: String::new(),
            lang: String::new(),
            persistent: false,
            public: true,
            members_only: false,
            members_invite: false,
            moderated: false,
            password: None,
            whois: Whois::Moderators,
            private_messages: PrivateMessages::Anyone,
            change_subject: false,
            logging: false,
            archived: true,
            max_users: None,
            history: 20,
            broadcast: Broadcast::ALL,
            member_list: Broadcast::ALL,
            registration: true,
            list_occupants: false,
        }
    }
}

/// Who sees the addresses of occupants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TextValue)]
pub enum Whois {
    /// All: the room is non-anonymous.
    #[xml(value = "anyone")]
    Anyone,
    /// Moderators: the room is semi-anonymous.
    #[default]
    #[xml(value = "moderators")]
    Moderators,
}

/// Who may send private messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TextValue)]
pub enum PrivateMessages {
    /// All occupants.
    #[default]
    #[xml(value = "anyone")]
    Anyone,
    /// Who has voice.
    #[xml(value = "participants")]
    Participants,
    /// Moderators.
    #[xml(value = "moderators")]
    Moderators,
    /// Nobody.
    #[xml(value = "none")]
    Nobody,
}

/// A set of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// Moderators.
    pub moderator: bool,
    /// Participants.
    pub participant: bool,
    /// Visitors.
    pub visitor: bool,
}

impl Broadcast {
    /// All of them.
    pub const ALL: Broadcast = Broadcast { moderator: true, participant: true, visitor: true };

    /// Whether this role is among them.
    pub fn has(self, role: Role) -> bool {
        match role {
            Role::Moderator => self.moderator,
            Role::Participant => self.participant,
            Role::Visitor => self.visitor,
            Role::None => false,
        }
    }

    fn words(self) -> impl Iterator<Item = &'static str> {
        [(self.moderator, "moderator"), (self.participant, "participant"), (self.visitor, "visitor")]
            .into_iter()
            .filter_map(|(is, word)| is.then_some(word))
    }

    fn read(words: &[String]) -> Result<Broadcast, StanzaError> {
        let mut set = Broadcast { moderator: false, participant: false, visitor: false };
        for word in words {
            match word.as_str() {
                "moderator" => set.moderator = true,
                "participant" => set.participant = true,
                "visitor" => set.visitor = true,
                // The list of members is asked for by affiliation too; whoever has one of these is not refused.
                "none" | "member" | "admin" | "owner" => {}
                other => return Err(unacceptable(format!("{other} is no role"))),
            }
        }
        Ok(set)
    }
}

/// What a form asks to be changed: the configuration, and the full lists of who owns and administers the room.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The configuration as it will be.
    pub config: RoomConfig,
    /// All owners, if the form says.
    pub owners: Option<Vec<BareJid>>,
    /// All admins, if the form says.
    pub admins: Option<Vec<BareJid>>,
}

impl PrivateMessages {
    /// Whether an occupant of this role may send one.
    pub fn admits(self, role: Role) -> bool {
        match self {
            PrivateMessages::Anyone => role >= Role::Visitor,
            PrivateMessages::Participants => role >= Role::Participant,
            PrivateMessages::Moderators => role >= Role::Moderator,
            PrivateMessages::Nobody => false,
        }
    }
}

fn text(var: &str, label: &str, value: &str) -> Field {
    Field::new(var).typed(FieldType::TextSingle).label(label).value(value)
}
fn flag(var: &str, label: &str, value: bool) -> Field {
    Field::new(var).typed(FieldType::Boolean).label(label).typed_value(&value)
}
fn roles(var: &str, label: &str, set: Broadcast) -> Field {
    let field = Field::new(var).typed(FieldType::ListMulti).label(label);
    let field = field.option(Some("Moderator"), "moderator").option(Some("Participant"), "participant");
    set.words().fold(field.option(Some("Visitor"), "visitor"), |field, word| field.value(word))
}
fn addresses(var: &str, label: &str, all: &[BareJid]) -> Field {
    let field = Field::new(var).typed(FieldType::JidMulti).label(label);
    all.iter().fold(field, |field, jid| field.value(jid.as_str()))
}

const SIZES: [u32; 7] = [10, 20, 30, 50, 100, 500, 1000];

impl RoomConfig {
    /// Whether everybody may come in without a password.
    pub fn is_open(&self) -> bool {
        !self.members_only && self.password.is_none()
    }

    /// The form as it stands, for an owner to change.
    pub fn form(&self, owners: &[BareJid], admins: &[BareJid]) -> DataForm {
        let mut sizes = Field::new("muc#roomconfig_maxusers").typed(FieldType::ListSingle).label("Most occupants");
        sizes = sizes.value(self.max_users.map_or_else(|| "none".to_owned(), |max| max.to_string()));
        for size in SIZES.into_iter().chain(self.max_users.filter(|max| !SIZES.contains(max))) {
            sizes = sizes.option(None, size.to_string());
        }
        let password = self.password.as_deref().unwrap_or_default();
        let mut form = DataForm::typed(FormKind::Form, FORM);
        form.title = Some("Configuration of the room".to_owned());
        form.with(text("muc#roomconfig_roomname", "Name", &self.name))
            .with(text("muc#roomconfig_roomdesc", "Description", &self.description))
            .with(text("muc#roomconfig_lang", "Language", &self.lang))
            .with(flag("muc#roomconfig_persistentroom", "Stays when nobody is in it", self.persistent))
            .with(flag("muc#roomconfig_publicroom", "Listed", self.public))
            .with(flag("muc#roomconfig_passwordprotectedroom", "Needs a password", self.password.is_some()))
            .with(
                Field::new("muc#roomconfig_roomsecret").typed(FieldType::TextPrivate).label("Password").value(password),
            )
            .with(flag("muc#roomconfig_membersonly", "For members only", self.members_only))
            .with(flag("muc#roomconfig_allowinvites", "Members may invite", self.members_invite))
            .with(flag("muc#roomconfig_moderatedroom", "Moderated", self.moderated))
            .with(
                Field::new("muc#roomconfig_whois")
                    .typed(FieldType::ListSingle)
                    .label("Who sees the addresses of occupants")
                    .typed_value(&self.whois)
                    .option(Some("Moderators"), "moderators")
                    .option(Some("Anyone"), "anyone"),
            )
            .with(
                Field::new("muc#roomconfig_allowpm")
                    .typed(FieldType::ListSingle)
                    .label("Who may send private messages")
                    .typed_value(&self.private_messages)
                    .option(Some("Anyone"), "anyone")
                    .option(Some("Who has voice"), "participants")
                    .option(Some("Moderators"), "moderators")
                    .option(Some("Nobody"), "none"),
            )
            .with(flag("muc#roomconfig_changesubject", "Occupants may change the subject", self.change_subject))
            .with(flag("muc#roomconfig_enablelogging", "Logged publicly", self.logging))
            .with(flag("muc#roomconfig_enablearchiving", "Archived", self.archived))
            .with(sizes.option(Some("As many as there may be"), "none"))
            .with(text("muc#maxhistoryfetch", "Messages of history", &self.history.to_string()))
            .with(roles("muc#roomconfig_presencebroadcast", "Whose presence is shown", self.broadcast))
            .with(roles("muc#roomconfig_getmemberlist", "Who may see the members", self.member_list))
            .with(flag("{urn:xmpp:muc-registration}allow", "People may register as members", self.registration))
            .with(flag("public_list", "Who is here is told to those outside", self.list_occupants))
            .with(addresses("muc#roomconfig_roomadmins", "Admins", admins))
            .with(addresses("muc#roomconfig_roomowners", "Owners", owners))
    }

    /// What a submitted form makes of it. Fields that are not in the form stay as they are; fields that are not known are
    /// passed over.
    ///
    /// # Errors
    /// `bad-request` for a form of another type, `not-acceptable` for values that make no sense (§10.1.3).
    pub fn submitted(&self, form: &DataForm) -> Result<Submitted, StanzaError> {
        if form.form_type().is_some_and(|kind| kind != FORM) {
            return Err(StanzaError::bad_request().with_text("another form was asked for"));
        }
        let mut config = self.clone();
        set_text(form, "muc#roomconfig_roomname", &mut config.name)?;
        set_text(form, "muc#roomconfig_roomdesc", &mut config.description)?;
        set_text(form, "muc#roomconfig_lang", &mut config.lang)?;
        set(form, "muc#roomconfig_persistentroom", &mut config.persistent)?;
        set(form, "muc#roomconfig_publicroom", &mut config.public)?;
        set(form, "muc#roomconfig_membersonly", &mut config.members_only)?;
        set(form, "muc#roomconfig_allowinvites", &mut config.members_invite)?;
        set(form, "muc#roomconfig_moderatedroom", &mut config.moderated)?;
        set(form, "muc#roomconfig_whois", &mut config.whois)?;
        set(form, "muc#roomconfig_allowpm", &mut config.private_messages)?;
        set(form, "muc#roomconfig_changesubject", &mut config.change_subject)?;
        set(form, "muc#roomconfig_enablelogging", &mut config.logging)?;
        set(form, "muc#roomconfig_enablearchiving", &mut config.archived)?;
        set(form, "muc#maxhistoryfetch", &mut config.history)?;
        set(form, "{urn:xmpp:muc-registration}allow", &mut config.registration)?;
        set(form, "public_list", &mut config.list_occupants)?;
        match form.value("muc#roomconfig_maxusers") {
            None => {}
            Some("" | "none" | "0") => config.max_users = None,
            Some(_) => {
                let mut max = 0;
                set(form, "muc#roomconfig_maxusers", &mut max)?;
                config.max_users = Some(max);
            }
        }
        if let Some(field) = form.field("muc#roomconfig_presencebroadcast") {
            config.broadcast = Broadcast::read(&field.values)?;
        }
        if let Some(field) = form.field("muc#roomconfig_getmemberlist") {
            config.member_list = Broadcast::read(&field.values)?;
        }
        config.password = self.submitted_password(form)?;
        let owners = list(form, "muc#roomconfig_roomowners")?;
        if owners.as_ref().is_some_and(Vec::is_empty) {
            return Err(StanzaError::conflict().with_text("a room has to have an owner"));
        }
        Ok(Submitted { config, owners, admins: list(form, "muc#roomconfig_roomadmins")? })
    }

    /// A password that is needed and blank makes no sense (§10.1.3).
    fn submitted_password(&self, form: &DataForm) -> Result<Option<String>, StanzaError> {
        let mut needed = self.password.is_some();
        set(form, "muc#roomconfig_passwordprotectedroom", &mut needed)?;
        let mut secret = self.password.clone().unwrap_or_default();
        set_text(form, "muc#roomconfig_roomsecret", &mut secret)?;
        match (needed, secret.is_empty()) {
            (false, _) => Ok(None),
            (true, true) => Err(unacceptable("a password is needed, and blank")),
            (true, false) => Ok(Some(secret)),
        }
    }
}

impl RoomConfig {
    /// As text, for stores: the form as it would be submitted, so that fields may come and go.
    pub fn to_text(&self) -> String {
        let mut form = self.form(&[], &[]);
        form.type_ = FormKind::Submit;
        form.title = None;
        // Whose room it is is kept apart.
        form.fields.retain(|field| field.kind() != &FieldType::JidMulti);
        for field in &mut form.fields {
            (field.type_, field.label) = (None, None);
            field.options.clear();
        }
        let mut out = Writer::new("");
        form.write(&mut out);
        String::from_utf8(out.finish()).unwrap_or_default()
    }

    /// From such a text; `None` if it is none.
    pub fn from_text(text: &str) -> Option<RoomConfig> {
        let stanza = Stanza::document(text, &XmlLimits::authenticated()).ok()?;
        let form = DataForm::read(stanza.root()).ok()?;
        Some(RoomConfig::default().submitted(&form).ok()?.config)
    }
}

fn unacceptable(text: impl Into<String>) -> StanzaError {
    StanzaError::not_acceptable().with_text(text)
}

fn set<T: TextValue>(form: &DataForm, var: &str, value: &mut T) -> Result<(), StanzaError> {
    if let Some(read) = form.get(var) {
        *value = read.map_err(|error| unacceptable(format!("{var} should be {error}")))?;
    }
    Ok(())
}

fn set_text(form: &DataForm, var: &str, value: &mut String) -> Result<(), StanzaError> {
    let Some(field) = form.field(var) else { return Ok(()) };
    let text = field.values.join("\n");
    if text.len() > MAX_TEXT {
        return Err(unacceptable(format!("{var} is too long")));
    }
    *value = text;
    Ok(())
}

fn list(form: &DataForm, var: &str) -> Result<Option<Vec<BareJid>>, StanzaError> {
    let Some(field) = form.field(var) else { return Ok(None) };
    let mut all = Vec::new();
    for value in field.values.iter().flat_map(|value| value.lines()).map(str::trim).filter(|value| !value.is_empty()) {
        let jid = xmpp_core::jid::Jid::new(value)
            .map_err(|error| StanzaError::jid_malformed().with_text(format!("{var}: {error}")))?;
        all.push(jid.to_bare());
    }
    all.sort();
    all.dedup();
    Ok(Some(all))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_configuration_is_the_same_after_it_was_stored() {
        let config = RoomConfig {
            name: "A <dark> cave & more".to_owned(),
            description: "two\nlines".to_owned(),
            lang: "en".to_owned(),
            persistent: true,
            public: false,
            members_only: true,
            members_invite: true,
            moderated: true,
            password: Some("cauldronburn".to_owned()),
            whois: Whois::Anyone,
            private_messages: PrivateMessages::Participants,
            change_subject: true,
            logging: true,
            archived: false,
            max_users: Some(77),
            history: 3,
            broadcast: Broadcast { moderator: true, participant: false, visitor: false },
            member_list: Broadcast { moderator: false, participant: false, visitor: false },
            registration: false,
            list_occupants: true,
        };
        assert_eq!(RoomConfig::from_text(&config.to_text()), Some(config));
        let default = RoomConfig::default();
        assert_eq!(RoomConfig::from_text(&default.to_text()), Some(default));
        assert_eq!(RoomConfig::from_text("<x"), None);
    }
}
