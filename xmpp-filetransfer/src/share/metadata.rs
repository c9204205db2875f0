//! What a file is (XEP-0446), and a small picture of it (XEP-0264).

use xmpp_core::payload::{DateTime, Payload, hash::Hash};

/// `urn:xmpp:file:metadata:0`.
pub const NS: &str = "urn:xmpp:file:metadata:0";

/// What a file is. Who shares it says so; nothing of it is proven before the hash of its content is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "file", ns = NS)]
pub struct FileMetadata {
    /// The kind of content; `application/octet-stream` if absent.
    #[xml(child_text = "media-type")]
    pub media_type: Option<String>,
    /// What it is called. It is no path: [`safe_name`](crate::file::name) makes one component of it.
    #[xml(child_text = "name")]
    pub name: Option<String>,
    /// When it was changed last.
    #[xml(child_text = "date")]
    pub date: Option<DateTime>,
    /// Its length in bytes.
    #[xml(child_text = "size")]
    pub size: Option<u64>,
    /// Hashes of its content.
    #[xml(children)]
    pub hashes: Vec<Hash>,
    /// What it is about, in several languages maybe.
    #[xml(child_text = "desc")]
    pub descriptions: Vec<String>,
    /// The width of a picture or film, in pixels.
    #[xml(child_text = "width")]
    pub width: Option<u32>,
    /// The height of a picture or film, in pixels.
    #[xml(child_text = "height")]
    pub height: Option<u32>,
    /// The length of a film or sound, in milliseconds.
    #[xml(child_text = "length")]
    pub length: Option<u64>,
    /// Small pictures of it.
    #[xml(children)]
    pub thumbnails: Vec<Thumbnail>,
}

impl FileMetadata {
    /// A file of that name and length.
    pub fn new(name: impl Into<String>, size: u64) -> FileMetadata {
        FileMetadata { name: Some(name.into()), size: Some(size), ..FileMetadata::default() }
    }

    /// Of that kind.
    #[must_use]
    pub fn media_type(mut self, media_type: impl Into<String>) -> FileMetadata {
        self.media_type = Some(media_type.into());
        self
    }

    /// With a hash of its content.
    #[must_use]
    pub fn hash(mut self, hash: Hash) -> FileMetadata {
        self.hashes.push(hash);
        self
    }

    /// With a small picture.
    #[must_use]
    pub fn thumbnail(mut self, thumbnail: Thumbnail) -> FileMetadata {
        self.thumbnails.push(thumbnail);
        self
    }
}

/// A small picture of what is offered (XEP-0264).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "thumbnail", ns = "urn:xmpp:thumbs:1")]
pub struct Thumbnail {
    /// Where it is: `https:`, or `cid:` for [bits of binary](super::bob).
    #[xml(attr)]
    pub uri: String,
    /// What kind of picture.
    #[xml(attr = "media-type")]
    pub media_type: Option<String>,
    /// The width at which it is meant to be shown, in pixels. Never the size of a buffer (§5): see [`shown`](Self::shown).
    #[xml(attr)]
    pub width: Option<u16>,
    /// The height at which it is meant to be shown, in pixels.
    #[xml(attr)]
    pub height: Option<u16>,
}

/// Pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimensions {
    /// From left to right.
    pub width: u16,
    /// From top to bottom.
    pub height: u16,
}

impl Thumbnail {
    /// How large to show it where no side may be longer than `most` pixels (§5): scaled down as it is said to be, square if
    /// nothing is said.
    pub fn shown(&self, most: u16) -> Dimensions {
        let (width, height) = match (self.width, self.height) {
            (Some(width), Some(height)) if width > 0 && height > 0 => (width, height),
            _ => (most, most),
        };
        let longest = width.max(height);
        if longest <= most {
            return Dimensions { width, height };
        }
        let scaled = |side: u16| {
            let side = u32::from(side) * u32::from(most) / u32::from(longest);
            u16::try_from(side).unwrap_or(most).clamp(1.min(most), most)
        };
        Dimensions { width: scaled(width), height: scaled(height) }
    }
}
