//! Bits of binary (XEP-0231): small data by the hash of its content, within a stanza or on request.
//!
//! Here is the element; `client` offers, asks and keeps.
//!
//! ```
//! use xmpp_filetransfer::share::{Bits, ContentId};
//!
//! let bits = Bits::new("image/png", b"a small picture".to_vec());
//! assert!(bits.is_genuine());
//! let cid: ContentId = bits.cid.parse()?;
//! assert_eq!(cid.uri(), format!("cid:{}", bits.cid));
//! # Ok::<(), xmpp_filetransfer::share::bob::NotAContentId>(())
//! ```

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
mod shelf;

use crate::file::{Function, Hasher};
use std::{fmt::Write as _, str::FromStr};
use subtle::ConstantTimeEq;
use xmpp_core::payload::{Base64, Payload};

/// `urn:xmpp:bob`.
pub const NS: &str = "urn:xmpp:bob";

/// As much as belongs into a stanza (§2.1), in bytes.
pub const MAX_BYTES: usize = 8 * 1024;

const HOST: &str = "@bob.xmpp.org";

/// Small data; without content, a request for it.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "data", ns = NS)]
pub struct Bits {
    /// What it is known by; see [`ContentId`].
    #[xml(attr)]
    pub cid: String,
    /// For how many seconds it is worth keeping.
    #[xml(attr = "max-age")]
    pub max_age: Option<u64>,
    /// What kind of content.
    #[xml(attr = "type")]
    pub type_: Option<String>,
    /// The content.
    #[xml(text)]
    pub content: Base64,
}

impl Bits {
    /// Data, named by the hash of its content.
    pub fn new(media_type: &str, content: Vec<u8>) -> Bits {
        let cid = ContentId::of(&content).to_string();
        Bits { cid, max_age: None, type_: Some(media_type.to_owned()), content: Base64(content) }
    }

    /// Asks for data.
    pub fn request(cid: &ContentId) -> Bits {
        Bits { cid: cid.to_string(), max_age: None, type_: None, content: Base64(Vec::new()) }
    }

    /// Whether the content is what its name says. What has no name of that form, or a hash by a function that is not known
    /// here, is nobody's proof: it may be used for who sent it alone (§2.4).
    pub fn is_genuine(&self) -> bool {
        self.cid.parse::<ContentId>().is_ok_and(|cid| cid.names(&self.content.0))
    }
}

/// The name of a bit of binary: a hash function, and the hash of the content in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentId {
    algo: String,
    hash: String,
}

/// This is not the name of a bit of binary (§2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a content id looks like sha1+8f35…@bob.xmpp.org")]
pub struct NotAContentId;

impl ContentId {
    /// The name of this content, by SHA-1, which everybody knows here.
    pub fn of(content: &[u8]) -> ContentId {
        ContentId { algo: "sha1".to_owned(), hash: hex(&hash(Function::Sha1, content)) }
    }

    /// The hash function, if it is one that is known here.
    fn function(&self) -> Option<Function> {
        // Its name is another one here (§2.6).
        if self.algo == "sha1" { Some(Function::Sha1) } else { Function::from_name(&self.algo) }
    }

    /// Whether the hash function is known here, so that the name can prove something.
    pub fn is_known(&self) -> bool {
        self.function().is_some()
    }

    /// The hash function.
    pub fn algo(&self) -> &str {
        &self.algo
    }

    /// As thumbnails and images refer to it.
    pub fn uri(&self) -> String {
        format!("cid:{self}")
    }

    /// Reads `cid:…`.
    ///
    /// # Errors
    /// [`NotAContentId`].
    pub fn from_uri(uri: &str) -> Result<ContentId, NotAContentId> {
        uri.strip_prefix("cid:").ok_or(NotAContentId)?.parse()
    }

    /// Whether this is the name of that content.
    pub fn names(&self, content: &[u8]) -> bool {
        let Some(function) = self.function() else { return false };
        let hash = hex(&hash(function, content));
        hash.as_bytes().ct_eq(self.hash.as_bytes()).into()
    }
}

impl std::fmt::Display for ContentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}{HOST}", self.algo, self.hash)
    }
}

impl FromStr for ContentId {
    type Err = NotAContentId;

    fn from_str(text: &str) -> Result<ContentId, NotAContentId> {
        let (algo, hash) = text.strip_suffix(HOST).and_then(|name| name.split_once('+')).ok_or(NotAContentId)?;
        let word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let fits = (1..=32).contains(&algo.len()) && word(algo) && (8..=128).contains(&hash.len());
        if !fits || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAContentId);
        }
        Ok(ContentId { algo: algo.to_ascii_lowercase(), hash: hash.to_ascii_lowercase() })
    }
}

fn hash(function: Function, content: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(function);
    hasher.update(content);
    hasher.finish().value.0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
