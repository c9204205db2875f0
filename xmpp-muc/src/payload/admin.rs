use super::ADMIN;
use crate::{Affiliation, Role};
use xmpp_core::{jid::Jid, payload::Payload};

/// Asks for a list of a room, or changes roles and affiliations (§8, §9).
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "query", ns = ADMIN)]
pub struct AdminQuery {
    /// Whose, or which list.
    #[xml(children)]
    pub items: Vec<AdminItem>,
}

/// A role or an affiliation, and of whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "item", ns = ADMIN)]
pub struct AdminItem {
    /// The affiliation.
    #[xml(attr)]
    pub affiliation: Option<Affiliation>,
    /// Whose affiliation it is.
    #[xml(attr)]
    pub jid: Option<Jid>,
    /// Whose role it is; with an affiliation, the nickname that is reserved.
    #[xml(attr)]
    pub nick: Option<String>,
    /// The role.
    #[xml(attr)]
    pub role: Option<Role>,
    /// Why.
    #[xml(child_text = "reason")]
    pub reason: Option<String>,
}

impl AdminQuery {
    /// Changes somebody's role.
    pub fn role(nick: impl Into<String>, role: Role, reason: Option<String>) -> AdminQuery {
        let item = AdminItem { nick: Some(nick.into()), role: Some(role), reason, ..AdminItem::default() };
        AdminQuery { items: vec![item] }
    }
    /// Changes somebody's affiliation.
    pub fn affiliation(jid: impl Into<Jid>, affiliation: Affiliation, reason: Option<String>) -> AdminQuery {
        let (jid, affiliation) = (Some(jid.into()), Some(affiliation));
        AdminQuery { items: vec![AdminItem { jid, affiliation, reason, ..AdminItem::default() }] }
    }
    /// Asks who has an affiliation.
    pub fn who_is(affiliation: Affiliation) -> AdminQuery {
        AdminQuery { items: vec![AdminItem { affiliation: Some(affiliation), ..AdminItem::default() }] }
    }
    /// Asks who has a role.
    pub fn who_acts_as(role: Role) -> AdminQuery {
        AdminQuery { items: vec![AdminItem { role: Some(role), ..AdminItem::default() }] }
    }
}
