//! What we say of our own capabilities: computed once, from what was registered.

use super::{CapsHashes, NODE_2, digest, hash_input, hash_node, ver};
use std::sync::OnceLock;
use xmpp_core::{
    extension::{DiscoCell, DiscoNode, Target},
    payload::{
        Base64, Payload as _,
        caps::Caps,
        disco::{DiscoInfo, Feature},
        hash::Hash,
    },
    xml::Writer,
};

/// The elements, and the nodes that stand for them.
struct Computed {
    caps: Option<Caps>,
    hashes: CapsHashes,
}

/// Our own capabilities.
pub(super) struct Own {
    software: String,
    target: Target,
    disco: DiscoCell,
    computed: OnceLock<Computed>,
}

impl Own {
    pub(super) fn new(software: String, target: Target, disco: DiscoCell) -> Own {
        Own { software, target, disco, computed: OnceLock::new() }
    }

    fn computed(&self) -> Option<&Computed> {
        let node = self.disco.get(self.target)?;
        Some(self.computed.get_or_init(|| {
            let info = DiscoInfo {
                identities: node.identities.clone(),
                features: node.features.iter().map(|var| Feature { var: var.clone() }).collect(),
                forms: node.forms.clone(),
                ..DiscoInfo::default()
            };
            let caps = ver(&info, "sha-1").ok().flatten().map(|ver| Caps::sha1(self.software.clone(), ver));
            let input = hash_input(&info).ok();
            let hash = |function: &str| {
                let value = digest(function, input.as_ref()?)?;
                Some(Hash { algo: function.to_owned(), value: Base64(value) })
            };
            Computed { caps, hashes: CapsHashes { hashes: hash("sha-256").into_iter().collect() } }
        }))
    }

    /// Writes the element of XEP-0115.
    pub(super) fn write(&self, out: &mut Writer) {
        if let Some(caps) = self.computed().and_then(|computed| computed.caps.as_ref()) {
            caps.write(out);
        }
    }

    /// Writes the element of XEP-0390.
    pub(super) fn write_hashes(&self, out: &mut Writer) {
        if let Some(computed) = self.computed().filter(|computed| !computed.hashes.hashes.is_empty()) {
            computed.hashes.write(out);
        }
    }

    /// What stands behind a node that we have named.
    pub(super) fn node(&self, node: &str) -> Option<DiscoNode> {
        let computed = self.computed()?;
        let is_ours = if node.starts_with(NODE_2) {
            computed.hashes.hashes.iter().any(|hash| hash_node(hash) == node)
        } else {
            computed.caps.as_ref().is_some_and(|caps| caps.disco_node() == node)
        };
        is_ours
            .then(|| self.disco.get(self.target).cloned())
            .flatten()
            .map(|own| DiscoNode { items: Vec::new(), ..own })
    }
}
