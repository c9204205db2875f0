//! Result set management (XEP-0059).

use super::Payload;

/// `http://jabber.org/protocol/rsm`.
pub const NS: &str = "http://jabber.org/protocol/rsm";

/// Which page is asked for, or which page this is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "set", ns = NS)]
pub struct ResultSet {
    /// The page that follows this item.
    #[xml(child_text = "after")]
    pub after: Option<String>,
    /// The page that precedes this item; the last page if empty (§2.5).
    #[xml(child_text = "before")]
    pub before: Option<String>,
    /// The first item of this page, in an answer.
    #[xml(child)]
    pub first: Option<First>,
    /// The page that starts at this position (§2.6).
    #[xml(child_text = "index")]
    pub index: Option<u32>,
    /// The last item of this page, in an answer.
    #[xml(child_text = "last")]
    pub last: Option<String>,
    /// At most so many items; 0 asks only for the count (§2.7).
    #[xml(child_text = "max")]
    pub max: Option<u32>,
    /// How many items there are in all, roughly perhaps.
    #[xml(child_text = "count")]
    pub count: Option<u32>,
}

/// The first item of a page.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "first", ns = NS)]
pub struct First {
    /// Its position in the whole, from 0.
    #[xml(attr)]
    pub index: Option<u32>,
    /// Its identifier.
    #[xml(text)]
    pub id: String,
}

impl ResultSet {
    /// Asks for the first `max` items.
    pub fn first_page(max: u32) -> Self {
        ResultSet { max: Some(max), ..Self::default() }
    }
    /// Asks for the last `max` items (§2.5).
    pub fn last_page(max: u32) -> Self {
        ResultSet { max: Some(max), before: Some(String::new()), ..Self::default() }
    }
    /// Asks for `max` items after `id`.
    pub fn after(id: impl Into<String>, max: u32) -> Self {
        ResultSet { max: Some(max), after: Some(id.into()), ..Self::default() }
    }
    /// Asks for `max` items before `id`.
    pub fn before(id: impl Into<String>, max: u32) -> Self {
        ResultSet { max: Some(max), before: Some(id.into()), ..Self::default() }
    }
    /// Describes a page from `first` to `last`.
    pub fn page(first: impl Into<String>, last: impl Into<String>) -> Self {
        let first = First { index: None, id: first.into() };
        ResultSet { first: Some(first), last: Some(last.into()), ..Self::default() }
    }
    /// With the number of items in all.
    pub fn with_count(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }
}
