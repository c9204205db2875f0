//! A client's part.

use super::{Service, Services};
use xmpp_core::{
    client::{Client, RequestError},
    jid::Jid,
    stanza::Iq,
};

/// The services that a server names, all or those of one type, with credentials where they need some. Cancel-safe.
pub async fn list(client: &Client, server: &Jid, type_: Option<&str>) -> Result<Vec<Service>, RequestError> {
    let query = Services { type_: type_.map(str::to_owned), services: Vec::new() };
    Ok(client.query::<Services>(Iq::get(server.clone()).payload(&query)).await?.services)
}
