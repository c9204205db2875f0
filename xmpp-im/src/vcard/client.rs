//! A client's part.

use super::VCard;
use xmpp_core::{
    client::{Client, RequestError},
    jid::BareJid,
    stanza::Iq,
};

/// Somebody's vCard, or one's own (`None`). Cancel-safe: nothing is changed by asking.
///
/// # Errors
/// [`RequestError::Refused`] with `item-not-found` or `service-unavailable` where there is none.
pub async fn get(client: &Client, whose: Option<&BareJid>) -> Result<VCard, RequestError> {
    let request = match whose {
        Some(whose) => Iq::get(whose),
        None => Iq::get_own(),
    };
    client.query(request.payload(&VCard::empty())).await
}

/// Puts a vCard in place of one's own, whole: there is no way to change a part of it.
///
/// # Errors
/// [`RequestError::Refused`] with `not-acceptable` where it is too large.
pub async fn set(client: &Client, card: &VCard) -> Result<(), RequestError> {
    client.request(Iq::set_own().payload(card)).await.map(|_| ())
}
