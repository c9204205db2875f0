//! Fallback indication (XEP-0428): which parts of a text are there only for those who don't understand the rest.

use super::Payload;

/// `urn:xmpp:fallback:0`.
pub const NS: &str = "urn:xmpp:fallback:0";

/// The body, the subject, or parts of them are a fallback. Without children, all of both is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "fallback", ns = NS)]
pub struct Fallback {
    /// The namespace of what it stands in for.
    #[xml(attr = "for")]
    pub for_: Option<String>,
    /// Parts of the body.
    #[xml(children)]
    pub bodies: Vec<FallbackBody>,
    /// Parts of the subject.
    #[xml(children)]
    pub subjects: Vec<FallbackSubject>,
}

/// A part of the body, in characters (XEP-0426); without bounds all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "body", ns = NS)]
pub struct FallbackBody {
    /// Its first character.
    #[xml(attr)]
    pub start: Option<u32>,
    /// The one behind its last.
    #[xml(attr)]
    pub end: Option<u32>,
}

/// A part of the subject, in characters; without bounds all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "subject", ns = NS)]
pub struct FallbackSubject {
    /// Its first character.
    #[xml(attr)]
    pub start: Option<u32>,
    /// The one behind its last.
    #[xml(attr)]
    pub end: Option<u32>,
}

impl Fallback {
    /// All of the text stands in for what is in this namespace.
    pub fn whole(ns: &str) -> Fallback {
        Fallback { for_: Some(ns.to_owned()), ..Fallback::default() }
    }

    /// All of the body stands in for what is in this namespace.
    pub fn body(ns: &str) -> Fallback {
        Fallback { bodies: vec![FallbackBody::default()], ..Fallback::whole(ns) }
    }
}
