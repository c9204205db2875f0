//! A client's capabilities in its presence, and what it learns of others'.

use super::{
    CapsHashes, NS, NS_2,
    cache::{Cache, Key, Told},
    own::Own,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use xmpp_core::{
    client::{Client, ClientRegistrar, Flow, RequestError},
    extension::Target,
    jid::Jid,
    payload::{
        Payload,
        caps::Caps,
        disco::{DiscoInfo, DiscoInfoQuery},
    },
    stanza::{AnyStanza, Condition, Iq, Presence, PresenceType},
};

/// So long one waits for the answer to another's question before one asks somebody else: who was asked first may be the
/// one who never answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the handles share.
#[derive(Debug, Default)]
pub(crate) struct Part {
    cache: Mutex<Cache>,
    /// Questions under way.
    asking: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells in presence what the client can do, and learns what others can. `software` names the software, as a URI.
/// [`ClientExt::caps`](crate::ClientExt::caps) gives the handle.
pub fn client(software: impl Into<String>) -> impl FnOnce(&mut ClientRegistrar) {
    let software = software.into();
    move |r| {
        let own = Arc::new(Own::new(software, Target::Client, r.disco()));
        r.feature(Target::Client, NS);
        r.feature(Target::Client, NS_2);
        let told = Arc::clone(&own);
        r.with_presence(move |out| {
            told.write(out);
            told.write_hashes(out);
        });
        r.disco_node(Target::Client, move |_, node| own.node(node));
        let part = Arc::new(Part::default());
        r.provide(Arc::clone(&part));
        let heard = Arc::clone(&part);
        r.incoming(move |stanza, _| {
            if let AnyStanza::Presence(presence) = stanza {
                heard.hear(presence);
            }
            Flow::Continue
        });
        r.on_session(move |start, _| {
            if !start.resumed {
                lock(&part.cache).begin();
            }
        });
    }
}

impl Part {
    fn hear(&self, presence: &Presence) {
        let Some(from) = presence.from() else { return };
        let told = match presence.type_() {
            PresenceType::Available => read(presence),
            PresenceType::Unavailable | PresenceType::Error => None,
            _ => return,
        };
        lock(&self.cache).heard(from, told);
    }
}

fn read(presence: &Presence) -> Option<Told> {
    let root = presence.stanza().root();
    let hashes = root.child(CapsHashes::NAME, NS_2).and_then(|c| CapsHashes::read(c).ok()).unwrap_or_default();
    let caps = root.child(Caps::NAME, NS).and_then(|c| Caps::read(c).ok());
    Told::choose(&hashes.hashes, caps.as_ref())
}

/// What others can do. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Capabilities {
    client: Client,
    part: Arc<Part>,
}

impl Capabilities {
    pub(crate) fn handle(client: &Client) -> Option<Capabilities> {
        Some(Capabilities { client: client.clone(), part: client.part::<Part>()? })
    }

    /// What is known of the address without asking.
    pub fn known(&self, jid: &Jid) -> Option<Arc<DiscoInfo>> {
        lock(&self.part.cache).get(jid)
    }

    /// What the entity at this address can do. It is asked once for all who tell the same hash in their presence, and the
    /// answer counts for them if it has that hash; of an address that tells none, once until its next presence, or the
    /// next session. Questions at the same time wait for one answer.
    ///
    /// Cancel-safe: those who wait then ask themselves.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn of(&self, jid: &Jid) -> Result<Arc<DiscoInfo>, RequestError> {
        if let Some(known) = self.known(jid) {
            return Ok(known);
        }
        let told = lock(&self.part.cache).told(jid);
        let key = told.as_ref().map_or_else(|| Key::Address(jid.clone()), |told| told.key.clone());
        let turn = Arc::clone(lock(&self.part.asking).entry(key.clone()).or_default());
        let answer = {
            let _turn = tokio::time::timeout(PATIENCE, turn.lock()).await;
            match self.known(jid) {
                Some(known) => Ok(known),
                None => self.ask(jid, told.as_ref()).await,
            }
        };
        drop(turn);
        // Nobody waits whose turn is held by the table alone.
        lock(&self.part.asking).retain(|_, turn| Arc::strong_count(turn) > 1);
        answer
    }

    async fn ask(&self, jid: &Jid, told: Option<&Told>) -> Result<Arc<DiscoInfo>, RequestError> {
        let asked = self.query(jid, told.map(|told| told.node.clone())).await;
        let answer = match asked {
            // Not all who tell a hash know its node.
            Err(RequestError::Refused(error)) if told.is_some() && error.condition == Condition::ItemNotFound => {
                self.query(jid, None).await?
            }
            asked => asked?,
        };
        let answer = Arc::new(answer);
        lock(&self.part.cache).answered(jid, told, &answer);
        Ok(answer)
    }

    async fn query(&self, jid: &Jid, node: Option<String>) -> Result<DiscoInfo, RequestError> {
        let query = DiscoInfoQuery { node, ..DiscoInfoQuery::default() };
        self.client.query::<DiscoInfo>(Iq::get(jid.clone()).payload(&query)).await
    }
}
