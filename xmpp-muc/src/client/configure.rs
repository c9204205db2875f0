//! The configuration of a room, read and changed by its owner (§10.1, §10.2).

use super::{ConfigureError, Room};
use crate::{RoomConfig, config::FORM, payload::OwnerQuery};
use xmpp_core::{
    client::{Client, RequestError},
    jid::BareJid,
    payload::form::{DataForm, Field, FieldType, FormKind},
    stanza::Iq,
};

/// The configuration of a room: typed, as far as it is known here, and the form as the room has sent it. Change
/// [`config`](Self::config), and hand it to [`Room::configure`]; what was not changed stays as it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RoomForm {
    /// What is known of it. What the room has no setting for is as it is by default.
    pub config: RoomConfig,
    /// The form. A value that is changed here is sent, unless `config` says another.
    pub form: DataForm,
    was: RoomConfig,
}

/// The fields that make sense together.
const PASSWORD: [&str; 2] = ["muc#roomconfig_passwordprotectedroom", "muc#roomconfig_roomsecret"];

impl RoomForm {
    /// Reads a form; values that are not known here are passed over.
    pub fn read(form: DataForm) -> RoomForm {
        let usual = RoomConfig::default();
        let only = |fields: Vec<Field>| {
            let form = DataForm::typed(FormKind::Submit, FORM);
            fields.into_iter().fold(form, DataForm::with)
        };
        let is_password = |field: &Field| field.var.as_deref().is_some_and(|var| PASSWORD.contains(&var));
        let own = |field: &&Field| field.type_ != Some(FieldType::Hidden) && field.type_ != Some(FieldType::Fixed);
        let secret = form.value(PASSWORD[1]).is_some_and(|secret| !secret.is_empty());
        let (mut password, others): (Vec<Field>, Vec<Field>) =
            form.fields.iter().filter(own).cloned().partition(is_password);
        // Some services know the word alone.
        if secret && form.field(PASSWORD[0]).is_none() {
            password.push(Field::new(PASSWORD[0]).value("true"));
        }
        let mut sound: Vec<Field> = others;
        sound.retain(|field| usual.submitted(&only(vec![field.clone()])).is_ok());
        if usual.submitted(&only(password.clone())).is_ok() {
            sound.extend(password);
        }
        let config = usual.submitted(&only(sound)).map_or(usual, |submitted| submitted.config);
        RoomForm { was: config.clone(), config, form }
    }

    /// The form as it is to be submitted: the room's own values, and what was changed.
    ///
    /// # Errors
    /// [`ConfigureError::NotOffered`] for a change of what the room has no setting for.
    pub fn filled(&self) -> Result<DataForm, ConfigureError> {
        let (was, is) = (self.was.form(&[], &[]), self.config.form(&[], &[]));
        let changed: Vec<&Field> = is
            .fields
            .iter()
            .filter(|field| field.var.as_deref().is_some_and(|var| was.values(var) != field.values.as_slice()))
            .collect();
        let mut filled = DataForm::new(FormKind::Submit);
        for field in &self.form.fields {
            let Some(var) = field.var.as_deref() else { continue };
            if field.type_ == Some(FieldType::Fixed) {
                continue;
            }
            let instead = changed.iter().find(|other| other.var.as_deref() == Some(var));
            let values = instead.map_or(&field.values, |other| &other.values);
            filled = filled.with(values.iter().fold(Field::new(var), |field, value| field.value(value)));
        }
        let missing = changed.iter().filter_map(|field| field.var.as_deref());
        // A room without this setting has a password if there is one.
        let mut missing = missing.filter(|var| self.form.field(var).is_none() && *var != PASSWORD[0]);
        match missing.next() {
            Some(var) => Err(ConfigureError::NotOffered(var.to_owned())),
            None => Ok(filled),
        }
    }
}

impl Room {
    /// The configuration of the room, for its owners (§10.2).
    ///
    /// # Errors
    /// `forbidden` for others.
    pub async fn configuration(&self) -> Result<RoomForm, ConfigureError> {
        fetch(self.client(), self.jid()).await
    }

    /// Configures the room; a locked one is open then.
    ///
    /// # Errors
    /// See [`ConfigureError`]; the room refuses values that make no sense with `not-acceptable`.
    pub async fn configure(&self, form: &RoomForm) -> Result<(), ConfigureError> {
        Ok(submit(self.client(), self.jid(), form.filled()?).await?)
    }

    /// Submits a form as it is, in the application's own responsibility.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn submit(&self, form: DataForm) -> Result<(), RequestError> {
        submit(self.client(), self.jid(), form).await
    }
}

async fn fetch(client: &Client, room: &BareJid) -> Result<RoomForm, ConfigureError> {
    let query: OwnerQuery = client.query(Iq::get(room.clone()).payload(&OwnerQuery::default())).await?;
    query.form.map(RoomForm::read).ok_or(ConfigureError::NoForm)
}

async fn submit(client: &Client, room: &BareJid, form: DataForm) -> Result<(), RequestError> {
    let query = OwnerQuery { form: Some(form), destroy: None };
    client.request(Iq::set(room.clone()).payload(&query)).await.map(|_| ())
}

/// §10.1.2: as the service thinks fit.
pub(super) async fn accept(client: &Client, room: &BareJid) -> Result<(), RequestError> {
    submit(client, room, DataForm::new(FormKind::Submit)).await
}

/// §10.1.3: a room that is not wanted is no more.
pub(super) async fn cancel(client: &Client, room: &BareJid) -> Result<(), RequestError> {
    submit(client, room, DataForm::new(FormKind::Cancel)).await
}

/// As the application thinks fit, in what the service has settings for.
pub(super) async fn set(client: &Client, room: &BareJid, config: &RoomConfig) -> Result<(), ConfigureError> {
    let mut form = fetch(client, room).await?;
    form.config = config.clone();
    submit(client, room, form.filled()?).await?;
    Ok(())
}
