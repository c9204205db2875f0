//! A client's part.

use super::RegistrationQuery;
use xmpp_core::{
    client::{Client, RequestError},
    jid::BareJid,
    stanza::Iq,
};

/// Gives one's account another password (§3.3). To be called only where the stream is encrypted: the password is sent
/// as it is. If the future is dropped, or the session lost, whether it was changed is not known.
pub async fn change_password(client: &Client, new: &str) -> Result<(), RequestError> {
    let account = client.account();
    let (username, password) = (account.local().map(str::to_owned), Some(new.to_owned()));
    let query = RegistrationQuery { username, password, ..RegistrationQuery::default() };
    let request = match BareJid::new(account.domain()) {
        Ok(server) => Iq::set(server),
        Err(_) => Iq::set_own(),
    };
    client.request(request.payload(&query)).await.map(|_| ())
}

/// Removes one's account with all that the server keeps for it (§3.2); the session ends.
pub async fn remove_account(client: &Client) -> Result<(), RequestError> {
    let query = RegistrationQuery { remove: true, ..RegistrationQuery::default() };
    client.request(Iq::set_own().payload(&query)).await.map(|_| ())
}
