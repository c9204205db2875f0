//! Entity capabilities (XEP-0115): the element that presence carries.

use super::Payload;

/// What the sender's software can do, as a hash over its disco#info.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Payload)]
#[xml(name = "c", ns = "http://jabber.org/protocol/caps")]
pub struct Caps {
    /// The hash function, `sha-1` by most; absent in the form before version 1.4, whose `ver` is no hash.
    #[xml(attr)]
    pub hash: Option<String>,
    /// The software, as a URI.
    #[xml(attr)]
    pub node: String,
    /// The verification string, base64.
    #[xml(attr)]
    pub ver: String,
    /// Feature bundles of the form before version 1.4.
    #[xml(attr)]
    pub ext: Option<String>,
}

impl Caps {
    /// With a verification string made with SHA-1.
    pub fn sha1(node: impl Into<String>, ver: impl Into<String>) -> Self {
        Caps { hash: Some("sha-1".to_owned()), node: node.into(), ver: ver.into(), ext: None }
    }
    /// The disco node to ask for what the hash stands for (XEP-0115 §6.2).
    pub fn disco_node(&self) -> String {
        format!("{}#{}", self.node, self.ver)
    }
}
