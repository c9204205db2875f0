//! The server's side of rosters: what its parts share, and the answers to clients (RFC 6121 §2).

use super::{
    Decide, Item, PRE_APPROVAL, Record, RosterLimits, RosterQuery, RosterStore, Subscription, VERSIONS, Versioned,
    chart::{Act, State},
    subscriptions,
};
use crate::{
    StorageError,
    invitation::Invitations,
    presence::{self, Directed},
    turns::Turns,
};
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;
use xmpp_core::{
    extension::{IqContext, Reply, Target},
    jid::{BareJid, Jid},
    server::{Resource, Server, ServerRegistrar, SessionFlag},
    stanza::{Iq, Presence, PresenceBuilder, StanzaError, generate_id},
};

/// How many changes a client is told one by one; for more it gets the roster anew (§2.6.3).
const PUSHES: usize = 64;

/// Rosters, subscriptions and presence (RFC 6121 §2 to §4), with the default limits.
pub fn server(store: impl RosterStore) -> impl FnOnce(&mut ServerRegistrar) {
    server_with(Arc::new(store), RosterLimits::default())
}

/// As [`server`], with a store that others use too, and other limits.
pub fn server_with(store: Arc<dyn RosterStore>, limits: RosterLimits) -> impl FnOnce(&mut ServerRegistrar) {
    with(store, limits, None)
}

/// As [`server_with`], where requests by an [invitation](crate::invitation) of the user's are approved, and answered with
/// a request (XEP-0379 §3.5), and who registers by one finds who has invited in the roster (XEP-0401 §5.5).
pub fn server_inviting(
    store: Arc<dyn RosterStore>,
    limits: RosterLimits,
    invitations: &Invitations,
) -> impl FnOnce(&mut ServerRegistrar) + use<> {
    with(store, limits, Some(invitations.clone()))
}

fn with(
    store: Arc<dyn RosterStore>,
    limits: RosterLimits,
    invitations: Option<Invitations>,
) -> impl FnOnce(&mut ServerRegistrar) {
    move |r| {
        let interested = r.session_flag();
        let rosters = Arc::new(Rosters::new(store, limits, interested, invitations));
        if let Some(invitations) = &rosters.invitations {
            invitations.join(&rosters);
        }
        for (name, feature) in [("ver", VERSIONS), ("sub", PRE_APPROVAL)] {
            r.stream_feature(false, |out| {
                out.open(name, feature);
                out.close();
            });
        }
        answer(r, &rosters);
        subscriptions::register(r, &rosters);
        presence::register(r, &rosters);
        r.on_account_removed(move |server, account| {
            let rosters = Arc::clone(&rosters);
            Box::pin(async move { rosters.forget(&server, &account).await })
        });
    }
}

fn answer(r: &mut ServerRegistrar, rosters: &Arc<Rosters>) {
    let (cell, getting) = (r.server(), Arc::clone(rosters));
    r.iq_get_async::<RosterQuery, Reply, _>(Target::OwnAccount, move |cx, query| {
        let (server, rosters) = (cell.get(), Arc::clone(&getting));
        async move {
            let Some(server) = server else { return Err(StanzaError::service_unavailable()) };
            rosters.get(server, cx, &query).await
        }
    });
    let (cell, setting) = (r.server(), Arc::clone(rosters));
    r.iq_set_async::<RosterQuery, Reply, _>(Target::OwnAccount, move |cx, query| {
        let (server, rosters) = (cell.get(), Arc::clone(&setting));
        async move {
            let (Some(server), Some(from)) = (server, cx.from) else { return Err(StanzaError::service_unavailable()) };
            rosters.set(server, &from, query).await
        }
    });
    // §2.3.3: whether there is such an account or not.
    r.iq_set::<RosterQuery, ()>(Target::Account, |_, _| Err(StanzaError::forbidden()));
    r.iq_get::<RosterQuery, ()>(Target::Account, |_, _| Err(StanzaError::forbidden()));
}

/// What rosters, subscriptions and presence share.
pub(crate) struct Rosters {
    pub(crate) store: Arc<dyn RosterStore>,
    pub(super) limits: RosterLimits,
    /// Sessions that have asked for the roster (§2.2).
    interested: SessionFlag,
    /// By which requests are approved.
    pub(super) invitations: Option<Invitations>,
    /// Whom each resource has directed presence to.
    pub(crate) directed: Directed,
    turns: Turns,
}

impl Rosters {
    fn new(
        store: Arc<dyn RosterStore>,
        limits: RosterLimits,
        interested: SessionFlag,
        invitations: Option<Invitations>,
    ) -> Rosters {
        let (directed, turns) = (Directed::default(), Turns::default());
        Rosters { store, limits, interested, invitations, directed, turns }
    }

    /// Makes contacts of two users of this server who have both agreed to it: each sees the other's presence. Sessions
    /// of either that ask for rosters hear of it, and the presence of the other.
    pub(crate) async fn befriend(&self, server: &Server, one: &BareJid, other: &BareJid) -> Result<(), StanzaError> {
        for (user, contact) in [(one, other), (other, one)] {
            let _turn = self.turn(user).await;
            let (mut full, limit) = (false, self.limits.items);
            let decide: Decide<'_> = Box::new(|before| {
                let item = before.record.item.clone();
                full = item.is_none() && before.items >= limit;
                let item = item.unwrap_or_else(|| Item::new(contact.clone()));
                let item = Item { subscription: Subscription::Both, ask: false, ..item };
                (!full).then_some(Record { item: Some(item), request: None })
            });
            let change = self.change(user, contact, decide).await?;
            if full {
                return Err(too_many());
            }
            self.push(server, user, change.as_ref());
        }
        for (user, contact) in [(one, other), (other, one)] {
            let _turn = self.turn(user).await;
            presence::send_current(server, user, contact);
        }
        Ok(())
    }

    /// Waits until nobody else changes this user's roster or tells others of the user: what is pushed and sent meanwhile
    /// comes in the order of the changes. Nothing that takes another turn may be waited for.
    pub(crate) async fn turn(&self, user: &BareJid) -> OwnedMutexGuard<()> {
        self.turns.of(user).await
    }

    /// Changes what is kept about a contact.
    pub(super) async fn change(
        &self,
        user: &BareJid,
        contact: &BareJid,
        decide: Decide<'_>,
    ) -> Result<Option<Versioned>, StorageError> {
        self.store.change(user, contact, &self.limits, decide).await
    }

    /// The sessions that get roster pushes.
    pub(super) fn interested(&self, server: &Server, user: &BareJid) -> impl Iterator<Item = Resource> {
        let flag = self.interested;
        server.resources(user.as_str()).into_iter().filter(move |resource| resource.has(flag))
    }

    /// Tells the user's clients of a change (§2.1.6).
    pub(super) fn push(&self, server: &Server, user: &BareJid, change: Option<&Versioned>) {
        let Some(change) = change else { return };
        for resource in self.interested(server, user) {
            push_to(server, user, &resource.jid, change);
        }
    }

    /// A roster get (§2.1.3). The turn ends when the answer is queued, so that later changes come behind it.
    async fn get(self: Arc<Self>, server: Server, cx: IqContext, query: &RosterQuery) -> Result<Reply, StanzaError> {
        let from = cx.from.clone().ok_or_else(StanzaError::service_unavailable)?;
        if !query.items.is_empty() {
            return Err(StanzaError::bad_request().with_text("a question for the roster has no items"));
        }
        let user = from.to_bare();
        let turn = self.turn(&user).await;
        if !server.set_flag(&cx, self.interested, true) {
            return Err(StanzaError::service_unavailable());
        }
        let known = query.ver.as_deref().and_then(|ver| ver.parse().ok());
        let changes = match known {
            Some(version) => self.store.since(&user, version).await?,
            None => None,
        };
        if let Some(changes) = changes.filter(|changes| changes.len() <= PUSHES) {
            return Ok(Reply::empty().then(move || {
                changes.iter().for_each(|change| push_to(&server, &user, &from, change));
                drop(turn);
            }));
        }
        let roster = self.store.roster(&user).await?;
        let query = RosterQuery { ver: Some(roster.version.to_string()), items: roster.items };
        Ok(Reply::payload(query).then(move || drop(turn)))
    }

    /// A roster set (§2.3 to §2.5).
    async fn set(self: Arc<Self>, server: Server, from: &Jid, query: RosterQuery) -> Result<Reply, StanzaError> {
        let Ok([item]) = <[Item; 1]>::try_from(query.items) else {
            return Err(StanzaError::bad_request().with_text("one item is changed at a time"));
        };
        let user = from.to_bare();
        let Ok(contact) = BareJid::try_from(item.jid.clone()) else {
            return Err(StanzaError::bad_request().with_text("a contact has a bare address"));
        };
        if contact == user {
            return Err(StanzaError::not_allowed().with_text("nobody is their own contact"));
        }
        let turn = self.turn(&user).await;
        self.check_account(&server, &user).await?;
        let change = match item.subscription {
            Subscription::Remove => self.remove(&server, &user, &contact).await?,
            _ => self.put(&user, &contact, item).await?,
        };
        Ok(Reply::empty().then(move || {
            self.push(&server, &user, change.as_ref());
            drop(turn);
        }))
    }

    /// Nothing is kept for who has been removed: it would be the next one's of that name.
    pub(super) async fn check_account(&self, server: &Server, user: &BareJid) -> Result<(), StanzaError> {
        match subscriptions::exists(server, user).await? {
            true => Ok(()),
            false => Err(StanzaError::service_unavailable()),
        }
    }

    /// Adds an item, or changes name and groups of it; the rest is not for the client to set (§2.1.5).
    async fn put(&self, user: &BareJid, contact: &BareJid, item: Item) -> Result<Option<Versioned>, StanzaError> {
        self.check(&item)?;
        let (mut full, limit) = (false, self.limits.items);
        let decide: Decide<'_> = Box::new(|before| {
            let found = before.record.item.clone();
            full = found.is_none() && before.items >= limit;
            let kept = found.unwrap_or_else(|| Item::new(contact.clone()));
            let item = Item { name: item.name, groups: item.groups, ..kept };
            (!full).then(|| Record { item: Some(item), request: before.record.request.clone() })
        });
        let change = self.change(user, contact, decide).await?;
        if full { Err(too_many()) } else { Ok(change) }
    }

    /// §2.3.3.
    fn check(&self, item: &Item) -> Result<(), StanzaError> {
        let limits = &self.limits;
        if item.groups.iter().enumerate().any(|(at, group)| item.groups.iter().take(at).any(|one| one == group)) {
            return Err(StanzaError::bad_request().with_text("a group is named twice"));
        }
        let refused = if item.name.as_ref().is_some_and(|name| name.len() > limits.name) {
            "the name is too long"
        } else if item.groups.len() > limits.groups {
            "these are too many groups"
        } else if item.groups.iter().any(String::is_empty) {
            "a group has no name"
        } else if item.groups.iter().any(|group| group.len() > limits.group) {
            "the name of a group is too long"
        } else {
            return Ok(());
        };
        Err(StanzaError::not_acceptable().with_text(refused))
    }

    /// Removes an item, and with it the subscriptions and requests between the two (§2.5).
    async fn remove(
        &self,
        server: &Server,
        user: &BareJid,
        contact: &BareJid,
    ) -> Result<Option<Versioned>, StanzaError> {
        let mut state = None;
        let decide: Decide<'_> = Box::new(|before| {
            before.record.item.as_ref()?;
            state = Some(before.record.state());
            Some(Record::default())
        });
        let change = self.change(user, contact, decide).await?;
        let Some(state) = state else { return Err(StanzaError::item_not_found()) };
        if state.subscription().is_from() {
            presence::send_unavailable(server, user, contact);
        }
        part(server, user, contact, state);
        Ok(change)
    }

    /// Ends what the user of a removed account had with others, and forgets it.
    pub(crate) async fn forget(&self, server: &Server, user: &BareJid) {
        let _turn = self.turn(user).await;
        let ended = async {
            for relation in self.store.relations(user).await? {
                let state = State::new(relation.subscription, relation.ask, false);
                if relation.subscription.is_from() {
                    let gone = Presence::unavailable().from(user.clone()).to(relation.contact.clone());
                    server.send(user.into(), relation.contact.clone().into(), gone.build().into_stanza());
                }
                part(server, user, &relation.contact, state);
            }
            for request in self.store.requests(user).await? {
                send(server, user, &request.contact, Act::Unsubscribed);
            }
            self.store.forget(user).await
        };
        if let Err(error) = ended.await {
            tracing::error!(%user, "a roster was not forgotten: {error}");
        }
    }
}

/// Ends what is between the two, as the contact has to be told (§2.5.2).
fn part(server: &Server, user: &BareJid, contact: &BareJid, state: State) {
    if state.subscription().is_to() || state.is_pending_out() {
        send(server, user, contact, Act::Unsubscribe);
    }
    if state.subscription().is_from() || state.is_pending_in() {
        send(server, user, contact, Act::Unsubscribed);
    }
}

/// Sends a subscription stanza in the name of the user, with an id of its own.
pub(super) fn send(server: &Server, user: &BareJid, contact: &BareJid, act: Act) {
    let presence = PresenceBuilder::new(Some(contact.clone().into()), act.presence_type());
    let presence = presence.from(user.clone()).id(generate_id()).build().into_stanza();
    server.send(user.into(), contact.into(), presence);
}

pub(super) fn too_many() -> StanzaError {
    StanzaError::resource_constraint().with_text("the roster is full")
}

fn push_to(server: &Server, user: &BareJid, to: &Jid, change: &Versioned) {
    let query = RosterQuery { ver: Some(change.version.to_string()), items: vec![change.item.clone()] };
    let push = Iq::set(to.clone()).payload(&query).build().into_stanza();
    server.hand(user.into(), to, push);
}
