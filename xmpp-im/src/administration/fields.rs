//! The fields of its forms.

use super::{Here, NS};
use crate::command::bad_payload;
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::form::{DataForm, Field, FieldType, FormKind},
    stanza::StanzaError,
};

/// A form to fill in.
pub(super) fn form(title: &str, fields: impl IntoIterator<Item = Field>) -> DataForm {
    let mut form = DataForm::typed(FormKind::Form, NS);
    form.title = Some(title.to_owned());
    fields.into_iter().fold(form, DataForm::with)
}

/// A form of results.
pub(super) fn result(fields: impl IntoIterator<Item = Field>) -> DataForm {
    fields.into_iter().fold(DataForm::typed(FormKind::Result, NS), DataForm::with)
}

/// Whether a form is filled in, and is one of ours. Not all clients say so (XEP-0068 §4.1).
pub(super) fn check(form: &DataForm) -> Result<(), StanzaError> {
    match (form.type_, form.form_type()) {
        (FormKind::Submit, None | Some(NS)) => Ok(()),
        (FormKind::Submit, Some(_)) => Err(bad_payload("this is another form")),
        _ => Err(bad_payload("the form is not filled in")),
    }
}

pub(super) fn account() -> Field {
    Field::new("accountjid").typed(FieldType::JidSingle).label("The account").required()
}

pub(super) fn accounts() -> Field {
    Field::new("accountjids").typed(FieldType::JidMulti).label("The accounts").required()
}

pub(super) fn password(var: &str, label: &str) -> Field {
    Field::new(var).typed(FieldType::TextPrivate).label(label).required()
}

/// Some lines, which are `text` to begin with.
pub(super) fn lines(var: &str, label: &str, text: Option<&str>) -> Field {
    let field = Field::new(var).typed(FieldType::TextMulti).label(label);
    text.into_iter().flat_map(str::lines).fold(field, Field::value)
}

/// The lines that were filled in; `None` where there is nothing but white space.
pub(super) fn read_lines(form: &DataForm, var: &str) -> Option<String> {
    let text = form.values(var).join("\n");
    (!text.trim().is_empty()).then_some(text)
}

/// An address that was filled in, of an account of this server.
fn own(here: &Here, text: &str) -> Result<Jid, StanzaError> {
    let jid = Jid::new(text).map_err(|_| bad_payload("this is no address"))?;
    if jid.local().is_some() && here.server()?.hosts(jid.domain()) {
        Ok(jid)
    } else {
        Err(bad_payload("this is no address of an account of this server"))
    }
}

/// The account that was filled in.
pub(super) fn read_account(here: &Here, form: &DataForm) -> Result<BareJid, StanzaError> {
    Ok(own(here, form.value("accountjid").unwrap_or_default())?.to_bare())
}

/// The accounts or sessions that were filled in; one at least.
pub(super) fn read_accounts(here: &Here, form: &DataForm) -> Result<Vec<Jid>, StanzaError> {
    let values = form.values("accountjids");
    if values.is_empty() {
        return Err(bad_payload("name an account"));
    }
    values.iter().map(|text| own(here, text)).collect()
}

/// The accounts that were filled in, all of which exist: what is done to some is done to all of them.
pub(super) async fn read_existing(here: &Here, form: &DataForm) -> Result<Vec<BareJid>, StanzaError> {
    let users: Vec<BareJid> = read_accounts(here, form)?.iter().map(Jid::to_bare).collect();
    for user in &users {
        here.must_exist(user).await?;
    }
    Ok(users)
}

/// The only account that was filled in, which exists: results have no place for more than one.
pub(super) async fn read_one(here: &Here, form: &DataForm) -> Result<BareJid, StanzaError> {
    let mut users = read_existing(here, form).await?;
    match users.pop() {
        Some(user) if users.is_empty() => Ok(user),
        _ => Err(bad_payload("name one account at a time")),
    }
}

/// The password that was filled in.
pub(super) fn read_password<'a>(form: &'a DataForm, var: &str) -> Result<&'a str, StanzaError> {
    form.value(var).filter(|text| !text.is_empty()).ok_or_else(|| bad_payload("name a password"))
}
