//! Explicit message encryption (XEP-0380).

use xmpp_core::payload::Payload;

/// `urn:xmpp:eme:0`.
pub const NS: &str = "urn:xmpp:eme:0";

/// The message is encrypted, whatever its body says.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "encryption", ns = NS)]
pub struct Encryption {
    /// The method.
    #[xml(attr)]
    pub namespace: String,
    /// Its name, for people whose client doesn't know it.
    #[xml(attr)]
    pub name: Option<String>,
}

impl Encryption {
    /// A name of the method for people: ours for those that are well known, else the one that the sender gives, cut
    /// short, else the namespace.
    pub fn display_name(&self) -> String {
        let known = match self.namespace.as_str() {
            "urn:xmpp:otr:0" => "OTR",
            "jabber:x:encrypted" => "Legacy OpenPGP",
            "urn:xmpp:openpgp:0" => "OpenPGP for XMPP",
            "eu.siacs.conversations.axolotl" | "urn:xmpp:omemo:1" | "urn:xmpp:omemo:2" => "OMEMO",
            _ => return self.name.as_deref().unwrap_or(&self.namespace).chars().take(64).collect(),
        };
        known.to_owned()
    }
}
