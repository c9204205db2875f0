//! A client's part: the list, its changes, and what other clients of the account change in it.

use super::{Block, BlockListAnswer, BlockListQuery, Item, Unblock};
use std::sync::{Arc, Mutex, PoisonError};
use xmpp_core::{
    client::{Client, ClientRegistrar, RequestError},
    extension::{IqContext, Target},
    jid::{BareJid, Jid},
    stanza::{Iq, StanzaError},
};

/// What another client of the account has changed, or this one (§3.3, §3.5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockChange {
    /// These are blocked.
    Blocked(Vec<Jid>),
    /// These are blocked no more.
    Unblocked(Vec<Jid>),
    /// Nobody is blocked any more.
    Nobody,
}

/// Tells the application what changes in the list. The server tells it to clients that have asked for the
/// [`list`] in this session; only the own account is believed.
///
/// ```no_run
/// use xmpp_core::client::Client;
/// use xmpp_im::blocking::{self, BlockChange};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let builder = Client::builder("juliet@example.org".parse()?, "secret");
/// let builder = builder.with(blocking::client(|change: BlockChange| println!("{change:?}")));
/// let (client, events) = builder.connect()?;
/// println!("{:?}", blocking::list(&client).await?);
/// blocking::block(&client, ["tybalt@example.net".parse()?]).await?;
/// # drop(events);
/// # Ok(()) }
/// ```
pub fn client(told: impl Fn(BlockChange) + Send + Sync + 'static) -> impl FnOnce(&mut ClientRegistrar) {
    move |r| {
        let own: Arc<Mutex<Option<BareJid>>> = Arc::default();
        let begins = Arc::clone(&own);
        r.on_session(move |start, _| {
            *begins.lock().unwrap_or_else(PoisonError::into_inner) = Some(start.jid.to_bare());
        });
        let told = Arc::new(told);
        let is_ours = Arc::new(move |cx: &IqContext| {
            let own = own.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let is_own = |from: &Jid| own.as_ref().is_some_and(|own| own == from);
            match cx.from.as_ref().is_none_or(is_own) {
                true => Ok(()),
                false => Err(StanzaError::service_unavailable()),
            }
        });
        let (tell, judge) = (Arc::clone(&told), Arc::clone(&is_ours));
        r.iq_set::<Block, _>(Target::Client, move |cx, push| {
            judge(&cx)?;
            tell(BlockChange::Blocked(addresses(&push.items)));
            Ok(())
        });
        r.iq_set::<Unblock, _>(Target::Client, move |cx, push| {
            is_ours(&cx)?;
            told(if push.items.is_empty() {
                BlockChange::Nobody
            } else {
                BlockChange::Unblocked(addresses(&push.items))
            });
            Ok(())
        });
    }
}

fn addresses(items: &[Item]) -> Vec<Jid> {
    items.iter().filter_map(|item| item.jid.parse().ok()).collect()
}

fn items(whom: impl IntoIterator<Item = Jid>) -> Vec<Item> {
    whom.into_iter().map(|jid| Item::new(jid.as_str())).collect()
}

/// Who is blocked (§3.2). Cancel-safe.
///
/// # Errors
/// As [`Client::query`].
pub async fn list(client: &Client) -> Result<Vec<Jid>, RequestError> {
    let answer: BlockListAnswer = client.query(Iq::get_own().payload(&BlockListQuery)).await?;
    Ok(addresses(&answer.items))
}

/// Blocks these: accounts, domains, or single resources (§3.3). With nobody to block nothing is asked.
///
/// # Errors
/// As [`Client::request`].
pub async fn block(client: &Client, whom: impl IntoIterator<Item = Jid>) -> Result<(), RequestError> {
    set(client, Block { items: items(whom) }).await
}

/// Blocks these, and reports them to those who run the server (XEP-0377): the item says whom and why.
///
/// # Errors
/// As [`Client::request`].
pub async fn report(client: &Client, whom: &Jid, report: &super::Report) -> Result<(), RequestError> {
    let mut out = xmpp_core::xml::Writer::new("");
    xmpp_core::payload::Payload::write(report, &mut out);
    set(client, Block { items: vec![Item { others: vec![out.into_stanza()], ..Item::new(whom.as_str()) }] }).await
}

async fn set(client: &Client, block: Block) -> Result<(), RequestError> {
    if block.items.is_empty() {
        return Ok(());
    }
    client.request(Iq::set_own().payload(&block)).await.map(|_| ())
}

/// Blocks these no more (§3.4). With nobody to unblock nothing is asked: that would unblock all.
///
/// # Errors
/// As [`Client::request`].
pub async fn unblock(client: &Client, whom: impl IntoIterator<Item = Jid>) -> Result<(), RequestError> {
    let items = items(whom);
    if items.is_empty() {
        return Ok(());
    }
    client.request(Iq::set_own().payload(&Unblock { items })).await.map(|_| ())
}

/// Blocks nobody any more (§3.5).
///
/// # Errors
/// As [`Client::request`].
pub async fn unblock_all(client: &Client) -> Result<(), RequestError> {
    client.request(Iq::set_own().payload(&Unblock::default())).await.map(|_| ())
}
