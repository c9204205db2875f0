//! Searching for people in a directory (XEP-0055): payload types, and the two questions of a client.

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
pub use client::{fields, search};

use xmpp_core::{
    jid::Jid,
    payload::{Payload, form::DataForm},
};

/// `jabber:iq:search`.
pub const NS: &str = "jabber:iq:search";

/// The fields of a search, the words to look for in them, or what was found: all at once (§2).
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "query", ns = NS)]
pub struct Search {
    /// What to do, for people.
    #[xml(child_text = "instructions")]
    pub instructions: Option<String>,
    /// Given name. Empty in a list of fields, which says that it can be searched.
    #[xml(child_text = "first")]
    pub first: Option<String>,
    /// Family name.
    #[xml(child_text = "last")]
    pub last: Option<String>,
    /// Nickname.
    #[xml(child_text = "nick")]
    pub nick: Option<String>,
    /// E-mail address.
    #[xml(child_text = "email")]
    pub email: Option<String>,
    /// The same as a form, with more fields where the directory has them (§3).
    #[xml(child)]
    pub form: Option<DataForm>,
    /// Who was found.
    #[xml(children)]
    pub items: Vec<Found>,
}

/// Somebody who was found.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "item", ns = NS)]
pub struct Found {
    /// Who.
    #[xml(attr)]
    pub jid: Jid,
    /// Given name.
    #[xml(child_text = "first")]
    pub first: Option<String>,
    /// Family name.
    #[xml(child_text = "last")]
    pub last: Option<String>,
    /// Nickname.
    #[xml(child_text = "nick")]
    pub nick: Option<String>,
    /// E-mail address.
    #[xml(child_text = "email")]
    pub email: Option<String>,
}
