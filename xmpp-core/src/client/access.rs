//! Which clients have access to the own account (XEP-0494).

use super::{Client, RequestError};
use crate::{
    payload::Payload as _,
    payload::clients::{ClientAccess, Clients, ClientsQuery, NS, PasswordResetRequired, Revoke},
    stanza::Iq,
};

impl RequestError {
    /// Whether access could not be revoked because that client has the password: it has to be changed first (XEP-0494
    /// §3.2).
    pub fn needs_new_password(&self) -> bool {
        matches!(self, RequestError::Refused(error) if error.has_application(PasswordResetRequired::NAME, NS))
    }
}

impl Client {
    /// The clients that have access to the account (XEP-0494 §3.1), this one among them. Servers that can do this
    /// advertise [`NS`] at the account's address.
    ///
    /// ```no_run
    /// # async fn run(client: xmpp_core::client::Client) -> Result<(), xmpp_core::client::RequestError> {
    /// for other in client.access_list().await?.iter().filter(|other| !other.connected) {
    ///     match client.revoke_access(&other.id).await {
    ///         Err(error) if error.needs_new_password() => println!("{:?} knows the password", other.user_agent),
    ///         done => done?,
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// Cancel-safe, as [`request`](Self::request), with the same errors.
    pub async fn access_list(&self) -> Result<Vec<ClientAccess>, RequestError> {
        let clients: Clients = self.query(Iq::get_own().payload(&ClientsQuery)).await?;
        Ok(clients.clients)
    }

    /// Takes the access of a client away (XEP-0494 §3.2), by its [`id`](ClientAccess::id): the server forgets its tokens
    /// and ends its sessions. One's own may be among them.
    ///
    /// # Errors
    /// As [`request`](Self::request); [`RequestError::needs_new_password`] says whether only a new password helps.
    pub async fn revoke_access(&self, id: &str) -> Result<(), RequestError> {
        self.request(Iq::set_own().payload(&Revoke { id: id.to_owned() })).await.map(drop)
    }
}
