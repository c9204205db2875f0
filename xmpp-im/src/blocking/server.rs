//! The list's requests: what it is, who is added and removed, and what others learn of it.

use super::{
    Block, BlockListAnswer, BlockListQuery, BlockingStore, Item, NS, REPORTING, Report, Unblock, cache::Lists, stations,
};
use crate::{StorageError, Stored, roster::RosterStore, turns::Turns};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard},
};
use xmpp_core::{
    extension::{IqContext, Reply, Target},
    jid::{BareJid, Jid},
    payload::Payload,
    server::{Resource, Server, ServerCell, ServerRegistrar, SessionFlag},
    stanza::{Iq, Presence, StanzaError},
    xml::ns,
};

/// The longest text of a report that is handed on, in characters; what is beyond is cut.
const REPORT_TEXT: usize = 2_000;
/// As many messages of a report are handed on.
const REPORT_MESSAGES: usize = 100;

/// Who is entitled to a user's presence: the subscribers of its roster.
pub trait Subscribers: Send + Sync + 'static {
    /// The contacts with a subscription `from` or `both`.
    fn subscribers<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<BareJid>>;
}

impl Subscribers for Arc<dyn RosterStore> {
    fn subscribers<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<BareJid>> {
        Box::pin(async move {
            let relations = self.relations(user).await?;
            Ok(relations.into_iter().filter(|one| one.subscription.is_from()).map(|one| one.contact).collect())
        })
    }
}

/// Somebody has been reported.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reported {
    /// By this user.
    pub reporter: BareJid,
    /// Who was blocked with it.
    pub reported: Jid,
    /// Why. Long texts are cut, and at most 100 messages are named.
    pub report: Report,
}

type OnReport = Box<dyn Fn(Reported) + Send + Sync>;

/// Block lists of the users of a server.
pub struct Blocking {
    store: Box<dyn BlockingStore>,
    entries: usize,
    cached: usize,
    subscribers: Option<Box<dyn Subscribers>>,
    on_report: Option<OnReport>,
}

impl std::fmt::Debug for Blocking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocking").field("entries", &self.entries).field("cached", &self.cached).finish_non_exhaustive()
    }
}

impl Blocking {
    /// Lists in this store, of 1,000 addresses at most; 20,000 lists are held in memory.
    pub fn new(store: impl BlockingStore) -> Blocking {
        Blocking { store: Box::new(store), entries: 1_000, cached: 20_000, subscribers: None, on_report: None }
    }

    /// How many addresses one user may block. With more, `resource-constraint`.
    #[must_use]
    pub fn entries(mut self, most: usize) -> Blocking {
        self.entries = most;
        self
    }

    /// How many lists are held in memory; those that are asked for are read again otherwise, before the next stanza to
    /// or from their user is routed. An account that blocks nobody takes some 100 bytes.
    #[must_use]
    pub fn cached_lists(mut self, most: usize) -> Blocking {
        self.cached = most;
        self
    }

    /// Whom a user's presence is for: who is blocked sees it go, and who no longer is sees it again (XEP-0191 §3.3,
    /// §3.4). Without this nobody does.
    #[must_use]
    pub fn subscribers(mut self, subscribers: impl Subscribers) -> Blocking {
        self.subscribers = Some(Box::new(subscribers));
        self
    }

    /// Calls `f` with each report (XEP-0377). It must not block. Without this they are not offered.
    #[must_use]
    pub fn on_report(mut self, f: impl Fn(Reported) + Send + Sync + 'static) -> Blocking {
        self.on_report = Some(Box::new(f));
        self
    }

    /// The extension.
    pub fn server(self) -> impl FnOnce(&mut ServerRegistrar) {
        move |r| {
            let flag = r.session_flag();
            let Blocking { store, entries, cached, subscribers, on_report } = self;
            let lists = Lists::new(store, cached);
            let (farewells, turns) = (Mutex::default(), Turns::default());
            let server = r.server();
            register(r, &Arc::new(Blocker { lists, entries, subscribers, on_report, flag, farewells, turns, server }));
        }
    }
}

pub(super) struct Blocker {
    pub(super) lists: Lists,
    entries: usize,
    subscribers: Option<Box<dyn Subscribers>>,
    on_report: Option<OnReport>,
    /// Sessions that have asked for the list.
    flag: SessionFlag,
    /// Resources' last presence to those who have just been blocked: it goes through.
    farewells: Mutex<HashSet<(Jid, Jid)>>,
    /// So that resources are told of changes in the order in which they were made.
    turns: Turns,
    server: ServerCell,
}

fn register(r: &mut ServerRegistrar, blocker: &Arc<Blocker>) {
    r.feature(Target::Server, NS);
    if blocker.on_report.is_some() {
        r.feature(Target::Server | Target::OwnAccount, REPORTING);
    }
    let (get, block, unblock) = (Arc::clone(blocker), Arc::clone(blocker), Arc::clone(blocker));
    r.iq_get_async::<BlockListQuery, _, _>(Target::OwnAccount, move |cx, _| Arc::clone(&get).list(cx));
    r.iq_set_async::<Block, _, _>(Target::OwnAccount, move |cx, wish| Arc::clone(&block).block(cx, wish));
    r.iq_set_async::<Unblock, _, _>(Target::OwnAccount, move |cx, wish| Arc::clone(&unblock).unblock(cx, wish));
    stations::register(r, blocker);
    let judging = Arc::clone(blocker);
    r.unwanted(move |account, sender| Box::pin(Arc::clone(&judging).is_blocked(account.clone(), sender.clone())));
    let (removed, ended) = (Arc::clone(blocker), Arc::clone(blocker));
    r.on_account_removed(move |_, account| Box::pin(Arc::clone(&removed).forget(account)));
    r.on_session_end(move |server, resource| {
        let account = resource.jid.to_bare();
        // Nobody is that anonymous user again.
        if server.admits_anonymous(account.domain()) && server.resources(account.as_str()).is_empty() {
            tokio::spawn(Arc::clone(&ended).forget(account));
        }
    });
}

impl Blocker {
    fn farewells(&self) -> MutexGuard<'_, HashSet<(Jid, Jid)>> {
        self.farewells.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether this presence is such a farewell, which goes through once.
    pub(super) fn is_farewell(&self, from: &Jid, to: &Jid) -> bool {
        let mut farewells = self.farewells();
        !farewells.is_empty() && farewells.remove(&(from.clone(), to.clone()))
    }

    async fn forget(self: Arc<Self>, account: BareJid) {
        if let Err(error) = self.lists.store.forget(&account).await {
            tracing::error!(%account, "{error}");
        }
        self.lists.changed(account.as_str());
    }

    /// Who asks.
    fn asker(&self, cx: &IqContext) -> Result<(Server, BareJid), StanzaError> {
        match (self.server.get(), &cx.from) {
            (Some(server), Some(from)) => Ok((server, from.to_bare())),
            _ => Err(StanzaError::service_unavailable()),
        }
    }

    async fn is_blocked(self: Arc<Self>, account: BareJid, sender: Jid) -> Result<bool, StanzaError> {
        Ok(!stations::is_exempt(&account.clone().into(), &sender) && self.lists.load(&account).await?.blocks(&sender))
    }

    /// XEP-0191 §3.2. The turn ends when the answer is queued, so that later changes come behind it.
    async fn list(self: Arc<Self>, cx: IqContext) -> Result<Reply, StanzaError> {
        let (server, account) = self.asker(&cx)?;
        let turn = self.turns.of(&account).await;
        server.set_flag(&cx, self.flag, true);
        let jids = self.lists.store.list(&account).await?;
        let list = BlockListAnswer { items: jids.iter().map(|jid| Item::new(jid.as_str())).collect() };
        Ok(Reply::payload(list).then(move || drop(turn)))
    }

    /// XEP-0191 §3.3.
    async fn block(self: Arc<Self>, cx: IqContext, wish: Block) -> Result<(), StanzaError> {
        let (server, account) = self.asker(&cx)?;
        if wish.items.is_empty() {
            return Err(StanzaError::bad_request().with_text("whom to block?"));
        }
        let jids = addresses(&wish.items)?;
        if jids.iter().any(|jid| jid.bare_str() == account.as_str()) {
            return Err(StanzaError::not_allowed().with_text("nobody can be blocked from oneself"));
        }
        let turn = self.turns.of(&account).await;
        let Some(new) = self.lists.store.block(&account, &jids, self.entries).await? else {
            return Err(StanzaError::resource_constraint().with_text("the block list is full"));
        };
        self.lists.changed(account.as_str());
        self.push(&server, &account, &Block { items: bare_items(&jids) });
        drop(turn);
        self.report(&account, &wish.items, &jids);
        // It is done, whatever becomes of this.
        for target in self.entitled(&account, &new).await.unwrap_or_else(untold) {
            for resource in available(&server, &account) {
                self.farewells().insert((resource.jid.clone(), target.clone()));
                let gone = Presence::unavailable().from(resource.jid.clone()).to(target.clone());
                server.send(resource.jid, target.clone(), gone.build().into_stanza());
            }
        }
        Ok(())
    }

    /// XEP-0191 §3.4 and §3.5.
    async fn unblock(self: Arc<Self>, cx: IqContext, wish: Unblock) -> Result<(), StanzaError> {
        let (server, account) = self.asker(&cx)?;
        let jids = addresses(&wish.items)?;
        let turn = self.turns.of(&account).await;
        let some = (!jids.is_empty()).then_some(jids.as_slice());
        let freed = self.lists.store.unblock(&account, some).await?;
        self.lists.changed(account.as_str());
        self.push(&server, &account, &Unblock { items: bare_items(&jids) });
        drop(turn);
        // It is done, whatever becomes of this.
        let entitled = self.entitled(&account, &freed).await.unwrap_or_else(untold);
        let Ok(still) = self.lists.load(&account).await else { return Ok(()) };
        for target in entitled.into_iter().filter(|target| !still.blocks(target)) {
            for resource in available(&server, &account) {
                if let Some(presence) = &resource.presence {
                    let here = presence.rewrite(ns::CLIENT).to(Some(target.as_str())).to_stanza();
                    server.send(resource.jid, target.clone(), here);
                }
            }
        }
        Ok(())
    }

    /// Tells the resources that know the list of a change.
    fn push(&self, server: &Server, account: &BareJid, change: &impl Payload) {
        for resource in server.resources(account.as_str()) {
            if resource.has(self.flag) {
                let push = Iq::set(resource.jid.clone()).from(account.clone()).payload(change).build();
                server.hand(account.into(), &resource.jid, push.into_stanza());
            }
        }
    }

    fn report(&self, account: &BareJid, items: &[Item], jids: &[Jid]) {
        let Some(on_report) = &self.on_report else { return };
        for (item, jid) in items.iter().zip(jids) {
            if let Some(mut report) = item.report() {
                report.messages.truncate(REPORT_MESSAGES);
                report.texts.truncate(1);
                for text in &mut report.texts {
                    *text = text.chars().take(REPORT_TEXT).collect();
                }
                on_report(Reported { reporter: account.clone(), reported: jid.clone(), report });
            }
        }
    }

    /// Whom among these addresses the user's presence is for.
    async fn entitled(&self, account: &BareJid, jids: &[Jid]) -> Result<Vec<Jid>, StorageError> {
        let Some(subscribers) = self.subscribers.as_ref().filter(|_| !jids.is_empty()) else { return Ok(Vec::new()) };
        let subscribers = subscribers.subscribers(account).await?;
        let mut entitled = HashSet::new();
        for jid in jids {
            let domain = jid.local().is_none() && jid.resource().is_none();
            for subscriber in &subscribers {
                if subscriber.as_str() == jid.bare_str() {
                    entitled.insert(jid.clone());
                } else if domain && subscriber.domain() == jid.domain() {
                    entitled.insert(subscriber.into());
                }
            }
        }
        Ok(entitled.into_iter().collect())
    }
}

fn untold(error: StorageError) -> Vec<Jid> {
    tracing::error!("a block list has changed, and nobody is told of the user's presence: {error}");
    Vec::new()
}

fn available(server: &Server, account: &BareJid) -> impl Iterator<Item = Resource> {
    server.resources(account.as_str()).into_iter().filter(|resource| resource.priority.is_some())
}

fn addresses(items: &[Item]) -> Result<Vec<Jid>, StanzaError> {
    let address = |item: &Item| {
        Jid::new(&item.jid).or_else(|_| Jid::lenient(&item.jid)).map_err(|_| StanzaError::jid_malformed())
    };
    items.iter().map(address).collect()
}

/// Without reports, which are nobody else's business.
fn bare_items(jids: &[Jid]) -> Vec<Item> {
    jids.iter().map(|jid| Item::new(jid.as_str())).collect()
}
