//! A client's questions to a directory.

use super::Search;
use xmpp_core::{
    client::{Client, RequestError},
    jid::Jid,
    stanza::Iq,
};

/// What can be searched for in this directory (XEP-0055 §2.1). Cancel-safe.
///
/// # Errors
/// As [`Client::query`].
pub async fn fields(client: &Client, directory: &Jid) -> Result<Search, RequestError> {
    client.query::<Search>(Iq::get(directory.clone()).payload(&Search::default())).await
}

/// Looks for people (XEP-0055 §2.1): in the fields that have words in them, or with a form filled in. An answer holds
/// [`items`](Search::items), or a form with the same in rows. Cancel-safe.
///
/// ```no_run
/// use xmpp_im::search::{Search, search};
///
/// # async fn run(client: xmpp_core::client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let directory = "characters.example.org".parse()?;
/// let wanted = Search { last: Some("Capulet".into()), ..Search::default() };
/// for found in search(&client, &directory, &wanted).await?.items {
///     println!("{}", found.jid);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`Client::query`].
pub async fn search(client: &Client, directory: &Jid, wanted: &Search) -> Result<Search, RequestError> {
    client.query::<Search>(Iq::set(directory.clone()).payload(wanted)).await
}
