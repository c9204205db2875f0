//! What extensions register with.

use super::{
    disco::{DiscoCell, NodeSource},
    iq::{IqContext, IqOutcome, IqTable, Reply, Target, async_handler, outcome_handler, sync_handler},
};
use crate::{
    payload::{
        Payload,
        disco::{Identity, Item},
        form::DataForm,
    },
    stanza::StanzaError,
};
use std::{collections::BTreeSet, future::Future};

/// What one address of the entity says of itself in service discovery (XEP-0030 §3).
#[derive(Clone, Debug, Default)]
pub struct DiscoNode {
    /// Who it is.
    pub identities: Vec<Identity>,
    /// What it can do, sorted.
    pub features: BTreeSet<String>,
    /// Further information as forms (XEP-0128).
    pub forms: Vec<DataForm>,
    /// What belongs to it: addresses with names.
    pub items: Vec<Item>,
}

/// Where an extension registers what it handles and advertises, on a client or on a server.
#[derive(Default)]
pub struct Registrar {
    pub(crate) iqs: IqTable,
    /// The server's own domain.
    pub(crate) server: DiscoNode,
    /// An account's bare address.
    pub(crate) account: DiscoNode,
    /// A client.
    pub(crate) client: DiscoNode,
    pub(super) disco_nodes: Vec<(Target, NodeSource)>,
    pub(super) disco: DiscoCell,
}

impl std::fmt::Debug for Registrar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registrar").field("server", &self.server).field("client", &self.client).finish_non_exhaustive()
    }
}

impl Registrar {
    /// Answers iq requests of type `get` whose payload is a `T`, and advertises its namespace. A payload that
    /// cannot be read is answered `bad-request`.
    pub fn iq_get<T, R>(
        &mut self,
        target: Target,
        handler: impl Fn(IqContext, T) -> Result<R, StanzaError> + Send + Sync + 'static,
    ) where
        T: Payload + 'static,
        R: Into<Reply>,
    {
        self.iqs.add(T::NS, T::NAME, false, target, sync_handler(handler));
        self.feature(target, T::NS);
    }

    /// As [`iq_get`](Self::iq_get), for requests of type `set`.
    pub fn iq_set<T, R>(
        &mut self,
        target: Target,
        handler: impl Fn(IqContext, T) -> Result<R, StanzaError> + Send + Sync + 'static,
    ) where
        T: Payload + 'static,
        R: Into<Reply>,
    {
        self.iqs.add(T::NS, T::NAME, true, target, sync_handler(handler));
        self.feature(target, T::NS);
    }

    /// As [`iq_get`](Self::iq_get), with an answer that takes time.
    pub fn iq_get_async<T, R, Fut>(
        &mut self,
        target: Target,
        handler: impl Fn(IqContext, T) -> Fut + Send + Sync + 'static,
    ) where
        T: Payload + 'static,
        R: Into<Reply>,
        Fut: Future<Output = Result<R, StanzaError>> + Send + 'static,
    {
        self.iqs.add(T::NS, T::NAME, false, target, async_handler(handler));
        self.feature(target, T::NS);
    }

    /// As [`iq_set`](Self::iq_set), with an answer that takes time.
    pub fn iq_set_async<T, R, Fut>(
        &mut self,
        target: Target,
        handler: impl Fn(IqContext, T) -> Fut + Send + Sync + 'static,
    ) where
        T: Payload + 'static,
        R: Into<Reply>,
        Fut: Future<Output = Result<R, StanzaError>> + Send + 'static,
    {
        self.iqs.add(T::NS, T::NAME, true, target, async_handler(handler));
        self.feature(target, T::NS);
    }

    /// As [`iq_set`](Self::iq_set), with an answer that takes time only where the handler says so: it is called in the order
    /// in which requests come, and what it answers at once takes no place among those that wait.
    pub fn iq_set_outcome<T: Payload + 'static>(
        &mut self,
        target: Target,
        handler: impl Fn(IqContext, T) -> IqOutcome + Send + Sync + 'static,
    ) {
        self.iqs.add(T::NS, T::NAME, true, target, outcome_handler(handler));
        self.feature(target, T::NS);
    }

    /// Advertises a feature at the targets' addresses.
    pub fn feature(&mut self, target: Target, feature: &str) {
        for node in self.nodes(target) {
            if !node.features.contains(feature) {
                node.features.insert(feature.to_owned());
            }
        }
    }

    /// Advertises an identity at the targets' addresses.
    pub fn identity(&mut self, target: Target, identity: Identity) {
        for node in self.nodes(target) {
            node.identities.push(identity.clone());
        }
    }

    /// Adds a form to what disco#info says of the targets' addresses (XEP-0128).
    pub fn disco_form(&mut self, target: Target, form: DataForm) {
        for node in self.nodes(target) {
            node.forms.push(form.clone());
        }
    }

    /// Adds an item to what disco#items says of the targets' addresses.
    pub fn disco_item(&mut self, target: Target, item: Item) {
        for node in self.nodes(target) {
            node.items.push(item.clone());
        }
    }

    /// Asks `source` what a named node at the targets' addresses is (XEP-0030 §3.2). What it does not know is left to
    /// the next, at last refused with `item-not-found`.
    pub fn disco_node(
        &mut self,
        target: Target,
        source: impl Fn(&IqContext, &str) -> Option<DiscoNode> + Send + Sync + 'static,
    ) {
        self.disco_nodes.push((target, Box::new(source)));
    }

    /// What will have been registered for service discovery when the entity is built.
    pub fn disco(&self) -> DiscoCell {
        self.disco.clone()
    }

    fn nodes(&mut self, target: Target) -> impl Iterator<Item = &mut DiscoNode> {
        let all = [
            (Target::Server, &mut self.server),
            (Target::OwnAccount | Target::Account, &mut self.account),
            (Target::Client, &mut self.client),
        ];
        all.into_iter().filter(move |(kind, _)| target.contains(*kind)).map(|(_, node)| node)
    }
}
