//! Stream features as the initiating entity reads them (RFC 6120 §4.3.2).

use super::limits::{self, StreamLimits};
use crate::xml::{Stanza, ns};

/// Namespace of the channel binding types a server names (XEP-0440).
pub(crate) const SASL_CB: &str = "urn:xmpp:sasl-cb:0";

/// Namespace of client state indication (XEP-0352).
pub(crate) const CSI: &str = "urn:xmpp:csi:0";

/// The features of one `<stream:features/>`.
#[derive(Clone, Debug)]
pub struct Features {
    element: Stanza,
}

impl Features {
    /// Reads `<stream:features/>`; `None` for any other element.
    pub fn from_stanza(element: Stanza) -> Option<Features> {
        element.root().is("features", ns::STREAMS).then_some(Features { element })
    }

    /// Whether a feature of this name and namespace is offered.
    pub fn has(&self, name: &str, namespace: &str) -> bool {
        self.element.root().child(name, namespace).is_some()
    }

    /// STARTTLS (RFC 6120 §5.4.1): `None` when not offered, else whether it is required.
    pub fn starttls(&self) -> Option<bool> {
        let tls = self.element.root().child("starttls", ns::TLS)?;
        Some(tls.child("required", ns::TLS).is_some())
    }

    /// The names of the SASL mechanisms on offer, in the server's order (RFC 6120 §6.4.1).
    pub fn mechanisms(&self) -> Vec<String> {
        let Some(list) = self.element.root().child("mechanisms", ns::SASL) else { return Vec::new() };
        let named = list.children().filter(|child| child.is("mechanism", ns::SASL));
        named.map(|child| child.text().trim().to_owned()).collect()
    }

    /// The channel binding types the server supports, by name (XEP-0440); empty when it does not say.
    pub fn channel_bindings(&self) -> Vec<String> {
        let Some(list) = self.element.root().child("sasl-channel-binding", SASL_CB) else { return Vec::new() };
        let named = list.children().filter(|child| child.is("channel-binding", SASL_CB));
        named.filter_map(|child| child.attr("type").map(|name| name.into_owned())).collect()
    }

    /// What the server accepts on the stream (XEP-0478); no limits where it does not say.
    pub fn limits(&self) -> StreamLimits {
        self.element.root().child("limits", limits::NS).map(StreamLimits::read).unwrap_or_default()
    }

    /// Whether resource binding is offered (RFC 6120 §7).
    pub fn bind(&self) -> bool {
        self.has("bind", ns::BIND)
    }

    /// Whether the old session element is offered and not marked optional (RFC 3921 §3).
    pub fn session_required(&self) -> bool {
        let session = self.element.root().child("session", ns::SESSION);
        session.is_some_and(|session| session.child("optional", ns::SESSION).is_none())
    }

    /// The element itself.
    pub fn element(&self) -> &Stanza {
        &self.element
    }
}
