//! A client's part.

use super::PrivateXml;
use xmpp_core::{
    client::{Client, RequestError},
    payload::Payload,
    stanza::Iq,
    xml::Writer,
};

/// What was stored as a `T`, or an error where nothing was and an empty one cannot be read. Cancel-safe.
pub async fn get<T: Payload>(client: &Client) -> Result<T, RequestError> {
    let mut empty = Writer::new("");
    empty.open(T::NAME, T::NS);
    empty.close();
    let answer: PrivateXml =
        client.query(Iq::get_own().payload(&PrivateXml { elements: vec![empty.into_stanza()] })).await?;
    let element = answer.elements.iter().map(|element| element.root()).find(|element| T::matches(*element));
    Ok(T::read(element.ok_or(RequestError::Unexpected)?)?)
}

/// Stores it in place of what was stored by its name.
///
/// # Errors
/// [`RequestError::Refused`] with `not-acceptable` or `resource-constraint` where it is too much.
pub async fn set<T: Payload>(client: &Client, what: &T) -> Result<(), RequestError> {
    let mut out = Writer::new("");
    what.write(&mut out);
    let query = PrivateXml { elements: vec![out.into_stanza()] };
    client.request(Iq::set_own().payload(&query)).await.map(|_| ())
}
