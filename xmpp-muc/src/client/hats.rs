//! Hats, for who may give them (XEP-0317 §4.2 to §4.7).

use super::Room;
use crate::payload::{Hat, Hats};
use xmpp_core::{
    client::RequestError,
    jid::{BareJid, Jid},
    payload::form::{DataForm, Field, FormKind, Row},
};
use xmpp_im::command;

/// The type of the forms, and what the commands' nodes begin with.
const FORM: &str = "urn:xmpp:hats:commands";
/// The most hats of an occupant that are looked at, and the most bytes of a title or URI.
const MOST: (usize, usize) = (32, 1_024);

/// The hats of an occupant, if they are within reason.
pub(super) fn worn(hats: Option<Result<Hats, xmpp_core::payload::PayloadError>>) -> Vec<Hat> {
    let Some(Ok(Hats { hats })) = hats else { return Vec::new() };
    let is_short = |hat: &Hat| {
        let hue = hat.hue.as_deref().unwrap_or_default();
        [&*hat.uri, &*hat.title, hue].iter().all(|text| text.len() <= MOST.1)
    };
    hats.into_iter().filter(is_short).take(MOST.0).collect()
}

/// Where a room has hats ([`Room::supports`] `urn:xmpp:hats:0`). Who wears which is in
/// [`Occupant::hats`](super::Occupant::hats); the rest is for admins. All of these fail with [`RequestError::Refused`]:
/// `forbidden` for others, `item-not-found` where there is no such hat.
impl Room {
    /// The hats that there are.
    pub async fn hats(&self) -> Result<Vec<Hat>, RequestError> {
        Ok(self.hat_rows("list").await?.iter().filter_map(hat).collect())
    }

    /// Who has which hat, whether they are here or not.
    pub async fn assigned_hats(&self) -> Result<Vec<(BareJid, Hat)>, RequestError> {
        let rows = self.hat_rows("list-assigned").await?;
        let read = |row: &Row| Some((Jid::new(value(row, "hats#jid")?).ok()?.to_bare(), hat(row)?));
        Ok(rows.iter().filter_map(read).collect())
    }

    /// Makes a hat, or gives one that there is another title and hue.
    pub async fn create_hat(&self, hat: &Hat) -> Result<(), RequestError> {
        let hue = hat.hue.as_deref().unwrap_or_default();
        let fields = [("hats#title", hat.title.as_str()), ("hats#uri", &hat.uri), ("hats#hue", hue)];
        self.hat_command("create", &fields).await
    }

    /// A hat is no more, and nobody wears it.
    pub async fn destroy_hat(&self, uri: &str) -> Result<(), RequestError> {
        self.hat_command("destroy", &[("hats#uri", uri)]).await
    }

    /// Gives somebody a hat.
    pub async fn assign_hat(&self, who: &BareJid, uri: &str) -> Result<(), RequestError> {
        self.hat_command("assign", &[("hats#jid", who.as_str()), ("hats#uri", uri)]).await
    }

    /// Takes a hat from somebody.
    pub async fn unassign_hat(&self, who: &BareJid, uri: &str) -> Result<(), RequestError> {
        self.hat_command("unassign", &[("hats#jid", who.as_str()), ("hats#uri", uri)]).await
    }

    async fn hat_rows(&self, what: &str) -> Result<Vec<Row>, RequestError> {
        let done = command::execute(self.client(), &self.jid().clone().into(), &format!("{FORM}:{what}")).await?;
        Ok(done.answer().form.as_ref().map(|form| form.items.clone()).unwrap_or_default())
    }

    /// Fills in the command's form; what is empty is left out.
    async fn hat_command(&self, what: &str, fields: &[(&str, &str)]) -> Result<(), RequestError> {
        let to: Jid = self.jid().clone().into();
        let mut execution = command::execute(self.client(), &to, &format!("{FORM}:{what}")).await?;
        if execution.is_over() {
            return Err(RequestError::Unexpected);
        }
        let fields = fields.iter().filter(|(_, value)| !value.is_empty());
        let form = fields.fold(DataForm::typed(FormKind::Submit, FORM), |form, (var, value)| {
            form.with(Field::new(*var).value(*value))
        });
        execution.submit(form).await?;
        match execution.is_over() {
            true => Ok(()),
            false => Err(RequestError::Unexpected),
        }
    }
}

fn value<'a>(row: &'a Row, var: &str) -> Option<&'a str> {
    row.fields.iter().find(|field| field.var.as_deref() == Some(var))?.first()
}

fn hat(row: &Row) -> Option<Hat> {
    let text = |var| value(row, var).map(str::to_owned);
    Some(Hat { uri: text("hats#uri")?, title: text("hats#title")?, hue: text("hats#hue") })
}
