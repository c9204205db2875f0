//! The fields of its forms.

use super::{Administration, NS};
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
pub(super) fn result(field: Field) -> DataForm {
    DataForm::typed(FormKind::Result, NS).with(field)
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

/// An address that was filled in, of an account of this server.
fn own(here: &Administration, text: &str) -> Result<Jid, StanzaError> {
    let jid = Jid::new(text).map_err(|_| bad_payload("this is no address"))?;
    if jid.local().is_some() && here.server()?.hosts(jid.domain()) {
        Ok(jid)
    } else {
        Err(bad_payload("this is no address of an account of this server"))
    }
}

/// The account that was filled in.
pub(super) fn read_account(here: &Administration, form: &DataForm) -> Result<BareJid, StanzaError> {
    Ok(own(here, form.value("accountjid").unwrap_or_default())?.to_bare())
}

/// The accounts or sessions that were filled in; one at least.
pub(super) fn read_accounts(here: &Administration, form: &DataForm) -> Result<Vec<Jid>, StanzaError> {
    let values = form.values("accountjids");
    if values.is_empty() {
        return Err(bad_payload("name an account"));
    }
    values.iter().map(|text| own(here, text)).collect()
}

/// The password that was filled in.
pub(super) fn read_password<'a>(form: &'a DataForm, var: &str) -> Result<&'a str, StanzaError> {
    form.value(var).filter(|text| !text.is_empty()).ok_or_else(|| bad_payload("name a password"))
}
