//! Service discovery (XEP-0030): answers computed from what was registered.

use super::{DiscoNode, IqContext, Registrar, Target};
use crate::{
    jid::Jid,
    payload::disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery, Feature, INFO, ITEMS, Identity},
    stanza::StanzaError,
};
use std::sync::Arc;

struct Nodes {
    server: DiscoNode,
    account: DiscoNode,
    client: DiscoNode,
}

impl Nodes {
    /// Nodes are names within an address; core knows none (XEP-0030 §3.2: `item-not-found`).
    fn find(&self, cx: &IqContext, node: Option<&str>) -> Result<&DiscoNode, StanzaError> {
        if node.is_some_and(|node| !node.is_empty()) {
            return Err(StanzaError::item_not_found());
        }
        Ok(match cx.target {
            Target::Server => &self.server,
            Target::Client => &self.client,
            _ => &self.account,
        })
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
    let nodes = Arc::new(Nodes { server: r.server.clone(), account: r.account.clone(), client: r.client.clone() });
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
        let own = |jid: &Jid| cx.to.as_ref() != Some(jid);
        let items = node.items.iter().filter(|item| own(&item.jid)).cloned().collect();
        Ok(DiscoItems { node: query.node.clone(), items, ..DiscoItems::default() })
    });
}
