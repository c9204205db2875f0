//! Out-of-band data (XEP-0066): where something can be fetched.

use super::Payload;

/// `jabber:x:oob`, in messages.
pub const NS: &str = "jabber:x:oob";
/// `jabber:iq:oob`, in requests.
pub const NS_IQ: &str = "jabber:iq:oob";

/// In a message: there is something at this address (§3).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "x", ns = NS)]
pub struct OutOfBand {
    /// The address.
    #[xml(child_text = "url")]
    pub url: String,
    /// What it is, for people.
    #[xml(child_text = "desc")]
    pub desc: Option<String>,
}

impl OutOfBand {
    /// An address, without a word on it.
    pub fn new(url: impl Into<String>) -> OutOfBand {
        OutOfBand { url: url.into(), desc: None }
    }
}

/// In an iq set: the recipient is to fetch it, and to answer when it has, or with `item-not-found` or `not-acceptable`
/// (§2).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "query", ns = NS_IQ)]
pub struct OutOfBandQuery {
    /// The stream initiation that it belongs to (§4).
    #[xml(attr)]
    pub sid: Option<String>,
    /// The address.
    #[xml(child_text = "url")]
    pub url: String,
    /// What it is, for people.
    #[xml(child_text = "desc")]
    pub desc: Option<String>,
}
