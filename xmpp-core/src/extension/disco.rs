//! Service discovery (XEP-0030): answers computed from what was registered.

use super::{DiscoNode, IqContext, Registrar, Target};
use crate::{
    payload::disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery, Feature, INFO, ITEMS, Identity, Item},
    stanza::StanzaError,
};
use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

/// Says what a node of service discovery is; `None` is left to the next.
pub(super) type NodeSource = Box<dyn Fn(&IqContext, &str) -> Option<DiscoNode> + Send + Sync>;

struct Nodes {
    server: DiscoNode,
    account: DiscoNode,
    client: DiscoNode,
    named: Vec<(Target, NodeSource)>,
}

impl Nodes {
    fn of(&self, target: Target) -> &DiscoNode {
        match target {
            Target::Server => &self.server,
            Target::Client => &self.client,
            _ => &self.account,
        }
    }

    /// Nodes are names within an address; those that no extension knows are `item-not-found` (XEP-0030 §3.2).
    fn find(&self, cx: &IqContext, node: Option<&str>) -> Result<Cow<'_, DiscoNode>, StanzaError> {
        let Some(name) = node.filter(|node| !node.is_empty()) else { return Ok(Cow::Borrowed(self.of(cx.target))) };
        let mut sources = self.named.iter().filter(|(target, _)| target.contains(cx.target));
        sources.find_map(|(_, source)| source(cx, name)).map(Cow::Owned).ok_or_else(StanzaError::item_not_found)
    }
}

/// What an entity says of itself, once everything is registered: for extensions that tell it elsewhere, as entity
/// capabilities do (XEP-0115). Made by [`Registrar::disco`].
#[derive(Clone, Default)]
pub struct DiscoCell(Arc<OnceLock<Arc<Nodes>>>);

impl std::fmt::Debug for DiscoCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiscoCell").finish_non_exhaustive()
    }
}

impl DiscoCell {
    /// What the target's address answers; `None` before the entity is built.
    pub fn get(&self, target: Target) -> Option<&DiscoNode> {
        self.0.get().map(|nodes| nodes.of(target))
    }
}

/// Registers disco#info and disco#items. To be called when everything else is registered: it answers what it finds
/// then.
pub(crate) fn register(r: &mut Registrar) {
    // Of an account only its owner may learn; whoever asks about another gets what a user who does not exist would
    // give (XEP-0030 §8).
    let targets = Target::Server | Target::OwnAccount | Target::Client;
    r.feature(targets, INFO);
    r.feature(targets, ITEMS);
    r.account.identities.insert(0, Identity::new("account", "registered", None));
    let nodes = Arc::new(Nodes {
        server: r.server.clone(),
        account: r.account.clone(),
        client: r.client.clone(),
        named: std::mem::take(&mut r.disco_nodes),
    });
    let _ = r.disco.0.set(Arc::clone(&nodes));
    let items = Arc::clone(&nodes);
    r.iq_get::<DiscoInfoQuery, _>(targets, move |cx, query| {
        let node = nodes.find(&cx, query.node.as_deref())?;
        Ok(DiscoInfo {
            node: query.node.clone(),
            identities: node.identities.clone(),
            features: node.features.iter().map(|var| Feature { var: var.clone() }).collect(),
            forms: node.forms.clone(),
            ..DiscoInfo::default()
        })
    });
    r.iq_get::<DiscoItemsQuery, _>(targets, move |cx, query| {
        let node = items.find(&cx, query.node.as_deref())?;
        // The address asked is no item of its own; nodes of it are.
        let itself = |item: &Item| item.node.is_none() && cx.to.as_ref() == Some(&item.jid);
        let items = node.items.iter().filter(|item| !itself(item)).cloned().collect();
        Ok(DiscoItems { node: query.node.clone(), items, ..DiscoItems::default() })
    });
}
