//! What a file is, to who is asked to take it (XEP-0234).
//!
//! ```
//! use xmpp_core::{payload::Payload, xml::{Stanza, XmlLimits}};
//! use xmpp_filetransfer::file::{Description, Function, name};
//!
//! let said = "<description xmlns='urn:xmpp:jingle:apps:file-transfer:5'><file><name>../letter.txt</name>\
//!     <size>6144</size><hash-used xmlns='urn:xmpp:hashes:2' algo='sha-256'/></file></description>";
//! let description = Description::read(Stanza::parse(said, "", &XmlLimits::authenticated())?.root())?;
//! let file = description.file;
//! assert_eq!(file.size, Some(6_144));
//! assert_eq!(Function::strongest(file.functions()), Some(Function::Sha256));
//! // What a peer calls its file is no path.
//! assert_eq!(file.name.as_deref().and_then(name::safe).as_deref(), Some("letter.txt"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod hash;
pub mod name;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

pub use hash::{Function, Hasher, Verdict};

use crate::{
    jingle::{Content, ContentId, Creator, Reason, Senders},
    share::Thumbnail,
};
use xmpp_core::{
    payload::{
        DateTime, Payload, TextValue,
        hash::{Hash, HashUsed},
    },
    xml::{Stanza, Writer},
};

/// `urn:xmpp:jingle:apps:file-transfer:5`.
pub const NS: &str = "urn:xmpp:jingle:apps:file-transfer:5";
/// `urn:xmpp:jingle:apps:file-transfer:errors:0`.
pub const ERRORS: &str = "urn:xmpp:jingle:apps:file-transfer:errors:0";

/// The application of a content that is a file (§5).
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "description", ns = NS)]
pub struct Description {
    /// The file.
    #[xml(child)]
    pub file: File,
}

/// A file, as its sender describes it, or as who asks for it wants it (§5). Nothing of it is proved.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "file", ns = NS)]
pub struct File {
    /// When it was changed last, as it was said; see [`modified`](Self::modified).
    #[xml(child_text = "date")]
    pub date: Option<String>,
    /// What people say of it, in several languages maybe.
    #[xml(children)]
    pub descriptions: Vec<Words>,
    /// Its media type (RFC 6838); `application/octet-stream` unless said.
    #[xml(child_text = "media-type")]
    pub media_type: Option<String>,
    /// Its name. A peer's is for [`name::safe`] before anything else sees it.
    #[xml(child_text = "name")]
    pub name: Option<String>,
    /// Its length, in bytes.
    #[xml(child_text = "size")]
    pub size: Option<u64>,
    /// The part of it that is meant. In an offer, that parts can be asked for.
    #[xml(child)]
    pub range: Option<Range>,
    /// Hashes of the whole of it. One without a value names the function alone.
    #[xml(children)]
    pub hashes: Vec<Hash>,
    /// Functions of hashes to come.
    #[xml(children)]
    pub hashes_used: Vec<HashUsed>,
    /// What else is said of it, such as thumbnails (XEP-0264).
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

impl File {
    /// When it was changed last, if that can be read.
    pub fn modified(&self) -> Option<DateTime> {
        self.date.as_deref().and_then(|date| DateTime::from_text(date).ok())
    }

    /// With when it was changed last.
    #[must_use]
    pub fn with_modified(mut self, modified: DateTime) -> File {
        self.date = Some(modified.to_text().into_owned());
        self
    }

    /// With words about it, in no particular language.
    #[must_use]
    pub fn with_description(mut self, words: impl Into<String>) -> File {
        self.descriptions.push(Words { lang: None, text: words.into() });
        self
    }

    /// With a small picture of it (XEP-0264).
    #[must_use]
    pub fn with_thumbnail(mut self, thumbnail: &Thumbnail) -> File {
        let mut w = Writer::new("");
        thumbnail.write(&mut w);
        self.others.push(w.into_stanza());
        self
    }

    /// Small pictures of it (XEP-0264), 16 at most.
    pub fn thumbnails(&self) -> impl Iterator<Item = Thumbnail> {
        let pictures = self.others.iter().map(Stanza::root).filter(|element| Thumbnail::matches(*element));
        pictures.filter_map(|element| Thumbnail::read(element).ok()).take(16)
    }

    /// The names of the hash functions that it speaks of.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        let said = self.hashes.iter().map(|hash| hash.algo.as_str());
        said.chain(self.hashes_used.iter().map(|used| used.algo.as_str()))
    }

    /// The strongest function by which it is proved what the file is, of those whose hash is told here.
    pub fn proof(&self) -> Option<Function> {
        let told = self.hashes.iter().filter(|hash| !hash.value.0.is_empty());
        Function::strongest(told.map(|hash| hash.algo.as_str())).filter(|function| function.is_proof())
    }

    /// How many bytes are to be transferred, if that is known: the part that is meant, or all (§5).
    pub fn length(&self) -> Option<u64> {
        let Range { offset, length, .. } = self.range.clone().unwrap_or_default();
        let rest = self.size.map(|size| size.saturating_sub(offset));
        match (length, rest) {
            (Some(length), Some(rest)) => Some(length.min(rest)),
            (one, other) => one.or(other),
        }
    }
}

/// Words for people.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "desc", ns = NS)]
pub struct Words {
    /// Their language (BCP 47).
    #[xml(lang)]
    pub lang: Option<String>,
    /// The words.
    #[xml(text)]
    pub text: String,
}

/// A part of a file (§5); all of it where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "range", ns = NS)]
pub struct Range {
    /// Where it begins, in bytes.
    #[xml(attr, default)]
    pub offset: u64,
    /// How long it is, in bytes; to the end unless said.
    #[xml(attr)]
    pub length: Option<u64>,
    /// Hashes of this part (§8.2).
    #[xml(children)]
    pub hashes: Vec<Hash>,
}

/// Says that a file has arrived, in a `session-info` (§8.1).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "received", ns = NS)]
pub struct Received {
    /// Who made the content that the file was.
    #[xml(attr, default)]
    pub creator: Creator,
    /// The content's name; a session of one file may do without.
    #[xml(attr)]
    pub name: Option<String>,
}

/// Tells hashes of a file, in a `session-info` (§8.2).
#[derive(Clone, Debug, Payload)]
#[xml(name = "checksum", ns = NS)]
pub struct Checksum {
    /// Who made the content that the file is.
    #[xml(attr, default)]
    pub creator: Creator,
    /// The content's name; a session of one file may do without.
    #[xml(attr)]
    pub name: Option<String>,
    /// The hashes, of the whole or of a part.
    #[xml(child)]
    pub file: File,
}

impl Received {
    /// The file of this content has arrived.
    pub fn of(id: &ContentId) -> Received {
        Received { creator: id.creator, name: Some(id.name.clone()) }
    }

    /// Whether it is about this content.
    pub fn is_about(&self, id: &ContentId) -> bool {
        is_about(self.creator, self.name.as_deref(), id)
    }
}

impl Checksum {
    /// Hashes of the whole file of this content.
    pub fn of(id: &ContentId, hashes: Vec<Hash>) -> Checksum {
        let file = File { hashes, ..File::default() };
        Checksum { creator: id.creator, name: Some(id.name.clone()), file }
    }

    /// Whether it is about this content.
    pub fn is_about(&self, id: &ContentId) -> bool {
        is_about(self.creator, self.name.as_deref(), id)
    }
}

fn is_about(creator: Creator, name: Option<&str>, id: &ContentId) -> bool {
    name.is_none_or(|name| name == id.name && creator == id.creator)
}

/// Whether a content that `by` has made offers a file, or asks for one (§4.1). `None` where who sends is not one of the two ends.
pub fn is_offer(by: Creator, content: &Content) -> Option<bool> {
    match content.senders? {
        Senders::Initiator => Some(by == Creator::Initiator),
        Senders::Responder => Some(by == Creator::Responder),
        Senders::Both | Senders::None => None,
    }
}

/// What a client that transfers files says of it in service discovery: the application (§11), and the hash functions (XEP-0300
/// §5).
pub fn features() -> impl Iterator<Item = String> {
    let functions = Function::ALL.iter().map(|function| function.feature());
    [NS, xmpp_core::payload::hash::NS].into_iter().map(str::to_owned).chain(functions)
}

/// The reason where a file that was asked for is not to be had, or not for who asks (§9.1).
pub fn not_available() -> Reason {
    Reason::failed_application().with_application_element("file-not-available", ERRORS)
}

/// The reason where a file is larger than can be taken, or than was said (§9.2).
pub fn too_large() -> Reason {
    Reason::media_error().with_application_element("file-too-large", ERRORS)
}
