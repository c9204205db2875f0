//! Roles and affiliations, registration, and messages of others (§7.10, §8, §9, §10, XEP-0425).

use super::Room;
use crate::{
    Affiliation, Role,
    payload::{AdminItem, AdminQuery, Destroy, Moderate, OwnerQuery},
};
use xmpp_core::{
    client::RequestError,
    jid::{BareJid, Jid},
    payload::form::{DataForm, Field, FormKind},
    stanza::Iq,
};
use xmpp_im::registration::RegistrationQuery;

/// The type of the form by which somebody registers with a room.
const REGISTER: &str = "http://jabber.org/protocol/muc#register";

/// How we are registered with a room (§7.10).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RoomRegistration {
    /// Under this nickname, where the room tells it.
    Registered(Option<String>),
    /// Not yet: this is to be filled in.
    Form(DataForm),
}

/// All of these fail with [`RequestError::Refused`]: `forbidden` or `not-allowed` for who may not do that, `conflict` where
/// the room would have no owner.
impl Room {
    async fn administer(&self, query: AdminQuery) -> Result<(), RequestError> {
        self.client().request(Iq::set(self.jid().clone()).payload(&query)).await.map(|_| ())
    }

    /// Who has an affiliation, with nicknames and reasons as far as they are told (§9.4, §9.7, §10.5, §10.8).
    pub async fn affiliated(&self, affiliation: Affiliation) -> Result<Vec<AdminItem>, RequestError> {
        let query = AdminQuery::who_is(affiliation);
        let list: AdminQuery = self.client().query(Iq::get(self.jid().clone()).payload(&query)).await?;
        Ok(list.items)
    }

    /// Who has a role (§8.5, §9.8).
    pub async fn acting_as(&self, role: Role) -> Result<Vec<AdminItem>, RequestError> {
        let query = AdminQuery::who_acts_as(role);
        let list: AdminQuery = self.client().query(Iq::get(self.jid().clone()).payload(&query)).await?;
        Ok(list.items)
    }

    /// Changes somebody's affiliation (§9, §10). A domain can be banned.
    pub async fn set_affiliation(
        &self,
        who: &BareJid,
        affiliation: Affiliation,
        reason: Option<&str>,
    ) -> Result<(), RequestError> {
        let query = AdminQuery::affiliation(who.clone(), affiliation, reason.map(str::to_owned));
        self.administer(query).await
    }

    /// Changes several affiliations or roles at once (§9.2): all of them, or none.
    pub async fn set_all(&self, items: Vec<AdminItem>) -> Result<(), RequestError> {
        self.administer(AdminQuery { items }).await
    }

    /// Changes an occupant's role (§8, §9.6).
    pub async fn set_role(&self, nick: &str, role: Role, reason: Option<&str>) -> Result<(), RequestError> {
        self.administer(AdminQuery::role(nick, role, reason.map(str::to_owned))).await
    }

    /// Removes an occupant (§8.2), who may come back.
    pub async fn kick(&self, nick: &str, reason: Option<&str>) -> Result<(), RequestError> {
        self.set_role(nick, Role::None, reason).await
    }

    /// Bans a user, or a domain (§9.1).
    pub async fn ban(&self, who: &BareJid, reason: Option<&str>) -> Result<(), RequestError> {
        self.set_affiliation(who, Affiliation::Outcast, reason).await
    }

    /// Ends a ban (§9.2), or a membership (§9.4).
    pub async fn disaffiliate(&self, who: &BareJid) -> Result<(), RequestError> {
        self.set_affiliation(who, Affiliation::None, None).await
    }

    /// Gives an occupant voice (§8.3).
    pub async fn grant_voice(&self, nick: &str) -> Result<(), RequestError> {
        self.set_role(nick, Role::Participant, None).await
    }

    /// Takes voice from an occupant (§8.4).
    pub async fn revoke_voice(&self, nick: &str, reason: Option<&str>) -> Result<(), RequestError> {
        self.set_role(nick, Role::Visitor, reason).await
    }

    /// Makes an occupant a moderator (§9.6).
    pub async fn make_moderator(&self, nick: &str) -> Result<(), RequestError> {
        self.set_role(nick, Role::Moderator, None).await
    }

    /// Ends the room (§10.9); another may take its place.
    pub async fn destroy(&self, alternate: Option<&BareJid>, reason: Option<&str>) -> Result<(), RequestError> {
        let jid = alternate.map(|jid| Jid::from(jid.clone()));
        let destroy = Destroy { jid, password: None, reason: reason.map(str::to_owned) };
        let query = OwnerQuery { form: None, destroy: Some(destroy) };
        self.client().request(Iq::set(self.jid().clone()).payload(&query)).await.map(|_| ())
    }

    /// Takes a message of somebody back, by the room's id for it (XEP-0425 §5).
    pub async fn moderate(&self, stanza_id: &str, reason: Option<&str>) -> Result<(), RequestError> {
        let request = Moderate { id: stanza_id.to_owned(), retract: true, reason: reason.map(str::to_owned) };
        self.client().request(Iq::set(self.jid().clone()).payload(&request)).await.map(|_| ())
    }

    /// How we are registered with the room.
    pub async fn registration(&self) -> Result<RoomRegistration, RequestError> {
        let query = RegistrationQuery::default();
        let known: RegistrationQuery = self.client().query(Iq::get(self.jid().clone()).payload(&query)).await?;
        match known.form {
            Some(form) if !known.registered => Ok(RoomRegistration::Form(form)),
            _ if known.registered => Ok(RoomRegistration::Registered(known.username)),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Registers with the room under a nickname, which is ours from then on (§7.10). In a room for members an admin may
    /// have to agree first.
    pub async fn register(&self, nick: &str) -> Result<(), RequestError> {
        let form = DataForm::typed(FormKind::Submit, REGISTER);
        self.register_with(form.with(Field::new("muc#register_roomnick").value(nick))).await
    }

    /// As [`register`](Self::register), with a form that was filled in.
    pub async fn register_with(&self, form: DataForm) -> Result<(), RequestError> {
        let query = RegistrationQuery { form: Some(form), ..RegistrationQuery::default() };
        self.client().request(Iq::set(self.jid().clone()).payload(&query)).await.map(|_| ())
    }

    /// Ends our registration with the room.
    pub async fn unregister(&self) -> Result<(), RequestError> {
        let query = RegistrationQuery { remove: true, ..RegistrationQuery::default() };
        self.client().request(Iq::set(self.jid().clone()).payload(&query)).await.map(|_| ())
    }
}
