//! The relays of our server (XEP-0065 §4).

use super::{Part, Socks5Error};
use crate::socks5::{Query, Streamhost};
use std::time::Duration;
use tokio::task::JoinSet;
use xmpp_core::{
    client::Client,
    jid::Jid,
    payload::disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery},
    stanza::Iq,
};

/// Items of the server that are asked what they are.
const ITEMS: usize = 32;
/// Relays that are used.
const RELAYS: usize = 4;
/// The time for all that.
const LIMIT: Duration = Duration::from_secs(8);

/// The relays that our server offers, and those of the settings. The server is asked once in a session.
///
/// # Errors
/// [`Socks5Error::Without`]. Where the server does not answer there are none.
pub async fn proxies(client: &Client) -> Result<Vec<Streamhost>, Socks5Error> {
    let part = Part::of(client)?;
    let mut all = part.settings.proxies.clone();
    if part.settings.discover {
        let known = part.table().proxies.clone();
        match known {
            Some(known) => all.extend(known),
            None => {
                if let Ok(found) = tokio::time::timeout(LIMIT, discover(client)).await {
                    part.table().proxies = Some(found.clone());
                    all.extend(found);
                }
            }
        }
    }
    all.truncate(RELAYS);
    Ok(all)
}

async fn discover(client: &Client) -> Vec<Streamhost> {
    let Ok(server) = Jid::from_parts(None, client.account().domain(), None) else { return Vec::new() };
    let query = Iq::get(server).payload(&DiscoItemsQuery::default());
    let Ok(items) = client.query::<DiscoItems>(query).await else { return Vec::new() };
    let mut asking = JoinSet::new();
    for item in items.items.into_iter().filter(|item| item.node.is_none()).take(ITEMS) {
        let client = client.clone();
        asking.spawn(async move { relay(&client, item.jid).await });
    }
    let mut found: Vec<Streamhost> = asking.join_all().await.into_iter().flatten().collect();
    found.sort_by(|one, other| one.jid.cmp(&other.jid));
    found
}

/// Where this relay is, if it is one.
async fn relay(client: &Client, jid: Jid) -> Option<Streamhost> {
    let query = Iq::get(jid.clone()).payload(&DiscoInfoQuery::default());
    let info: DiscoInfo = client.query(query).await.ok()?;
    if !info.has_identity("proxy", "bytestreams") {
        return None;
    }
    let answer: Query = client.query(Iq::get(jid.clone()).payload(&Query::default())).await.ok()?;
    // It speaks for itself alone.
    answer.hosts.into_iter().find(|host| host.jid == jid)
}
