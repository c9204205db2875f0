//! Service discovery (XEP-0030).

use super::Payload;
use super::form::DataForm;
use super::rsm::ResultSet;
use crate::jid::Jid;
use crate::xml::Stanza;

/// `http://jabber.org/protocol/disco#info`.
pub const INFO: &str = "http://jabber.org/protocol/disco#info";
/// `http://jabber.org/protocol/disco#items`.
pub const ITEMS: &str = "http://jabber.org/protocol/disco#items";

/// Asks what an entity is and can do, in an iq get (§3.1).
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "query", ns = INFO)]
pub struct DiscoInfoQuery {
    /// A part of the entity (§3.2).
    #[xml(attr)]
    pub node: Option<String>,
    /// What extends the question (XEP-0499).
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

/// What an entity is and can do, in an iq result.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "query", ns = INFO)]
pub struct DiscoInfo {
    /// The node asked about.
    #[xml(attr)]
    pub node: Option<String>,
    /// What it is; at least one.
    #[xml(children)]
    pub identities: Vec<Identity>,
    /// What it can do.
    #[xml(children)]
    pub features: Vec<Feature>,
    /// More about it (XEP-0128).
    #[xml(children)]
    pub forms: Vec<DataForm>,
    /// What extends the answer.
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

/// What an entity is, from the registry of categories and types.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Payload)]
#[xml(name = "identity", ns = INFO)]
pub struct Identity {
    /// `client`, `server`, `conference`, …
    #[xml(attr)]
    pub category: String,
    /// `bot`, `im`, `text`, …
    #[xml(attr = "type")]
    pub type_: String,
    /// The language of the name.
    #[xml(lang)]
    pub lang: Option<String>,
    /// A name for people.
    #[xml(attr)]
    pub name: Option<String>,
}

/// Something that an entity can do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Payload)]
#[xml(name = "feature", ns = INFO)]
pub struct Feature {
    /// Its name: mostly a namespace.
    #[xml(attr)]
    pub var: String,
}

/// Asks for the items that belong to an entity, in an iq get (§4.1).
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "query", ns = ITEMS)]
pub struct DiscoItemsQuery {
    /// A part of the entity (§4.2).
    #[xml(attr)]
    pub node: Option<String>,
    /// Which page.
    #[xml(child)]
    pub rsm: Option<ResultSet>,
    /// What extends the question (XEP-0462, XEP-0499).
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

/// The items that belong to an entity, in an iq result.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "query", ns = ITEMS)]
pub struct DiscoItems {
    /// The node asked about.
    #[xml(attr)]
    pub node: Option<String>,
    /// The items.
    #[xml(children)]
    pub items: Vec<Item>,
    /// Which page this is.
    #[xml(child)]
    pub rsm: Option<ResultSet>,
    /// What extends the answer.
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

/// An item of an entity.
#[derive(Clone, Debug, Payload)]
#[xml(name = "item", ns = ITEMS)]
pub struct Item {
    /// Where it is.
    #[xml(attr)]
    pub jid: Jid,
    /// Which node there.
    #[xml(attr)]
    pub node: Option<String>,
    /// A name for people.
    #[xml(attr)]
    pub name: Option<String>,
    /// What extends the item (XEP-0499).
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

impl DiscoInfo {
    /// Whether the feature is there.
    pub fn has_feature(&self, var: &str) -> bool {
        self.features.iter().any(|f| f.var == var)
    }
    /// Whether an identity of that category and type is there.
    pub fn has_identity(&self, category: &str, type_: &str) -> bool {
        self.identities.iter().any(|i| i.category == category && i.type_ == type_)
    }
    /// The form of that type (XEP-0128).
    pub fn form(&self, form_type: &str) -> Option<&DataForm> {
        self.forms.iter().find(|f| f.form_type() == Some(form_type))
    }
}

impl Identity {
    /// Without a language.
    pub fn new(category: impl Into<String>, type_: impl Into<String>, name: Option<String>) -> Self {
        Identity { category: category.into(), type_: type_.into(), lang: None, name }
    }
}

impl From<&str> for Feature {
    fn from(var: &str) -> Self {
        Feature { var: var.to_owned() }
    }
}

impl Item {
    /// An address to look at.
    pub fn new(jid: impl Into<Jid>) -> Self {
        Item { jid: jid.into(), node: None, name: None, others: Vec::new() }
    }
}
