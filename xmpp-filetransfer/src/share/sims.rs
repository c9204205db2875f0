//! Stateless inline media sharing (XEP-0385): the way before [`sharing`](super::sharing), by a reference within the text.

use super::Source;
use crate::file::File;
use xmpp_core::payload::{Payload, TextValue};

/// `urn:xmpp:sims:1`.
pub const NS: &str = "urn:xmpp:sims:1";
/// `urn:xmpp:reference:0`.
pub const REFERENCE: &str = "urn:xmpp:reference:0";

/// A part of a message's text that stands for a file: a reference (XEP-0372) with what it refers to inside.
#[derive(Clone, Debug, Payload)]
#[xml(name = "reference", ns = REFERENCE)]
pub struct MediaReference {
    /// The first character that stands for it, from 0, in Unicode code points.
    #[xml(attr)]
    pub begin: Option<u32>,
    /// The character behind the last one.
    #[xml(attr)]
    pub end: Option<u32>,
    /// What kind of thing.
    #[xml(attr = "type")]
    pub type_: ReferenceType,
    /// Where it is.
    #[xml(attr)]
    pub uri: Option<String>,
    /// A file.
    #[xml(child)]
    pub media: Option<MediaSharing>,
}

/// What a reference is to.
#[derive(Clone, Debug, PartialEq, Eq, TextValue)]
pub enum ReferenceType {
    /// Data.
    #[xml(value = "data")]
    Data,
    /// A person.
    #[xml(value = "mention")]
    Mention,
    /// Something else.
    #[xml(other)]
    Other(String),
}

/// A file that is shared.
#[derive(Clone, Debug, Payload)]
#[xml(name = "media-sharing", ns = NS)]
pub struct MediaSharing {
    /// What it is.
    #[xml(child)]
    pub file: File,
    /// Where it can be had.
    #[xml(child)]
    pub sources: MediaSources,
}

/// Where a shared file can be had.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "sources", ns = NS)]
pub struct MediaSources {
    /// References whose addresses are the places.
    #[xml(children)]
    pub references: Vec<SourceReference>,
}

/// A place where a shared file can be had: `https:`, or `xmpp:` for a client that sends it.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "reference", ns = REFERENCE)]
pub struct SourceReference {
    /// What kind of thing.
    #[xml(attr = "type")]
    pub type_: ReferenceType,
    /// Where it is.
    #[xml(attr)]
    pub uri: String,
}

impl SourceReference {
    /// The place in the words of [`sharing`](super::sharing), if it is one that they have: an address of HTTP, or a client that is
    /// asked for a session (XEP-0358 §6).
    pub fn source(self) -> Option<Source> {
        let Some(place) = self.uri.strip_prefix("xmpp:") else { return Some(Source::at(self.uri)) };
        let (from, query) = place.split_once('?')?;
        let id = query.strip_prefix("jingle;")?.split(';').find_map(|pair| pair.strip_prefix("id="))?;
        Some(Source::Jingle { from: from.parse().ok()?, id: id.to_owned(), others: Vec::new() })
    }
}

impl MediaReference {
    /// A file that can be had at these addresses.
    pub fn to_file(file: File, uris: impl IntoIterator<Item = impl Into<String>>) -> MediaReference {
        let references =
            uris.into_iter().map(|uri| SourceReference { type_: ReferenceType::Data, uri: uri.into() }).collect();
        let media = MediaSharing { file, sources: MediaSources { references } };
        MediaReference { begin: None, end: None, type_: ReferenceType::Data, uri: None, media: Some(media) }
    }
}
