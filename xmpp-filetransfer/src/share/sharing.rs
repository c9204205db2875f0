//! Stateless file sharing (XEP-0447): a message says what a file is and where it can be had, now or later.
//!
//! ```
//! use xmpp_core::stanza::MessageBuilder;
//! use xmpp_filetransfer::share::{Disposition, FileMetadata, FileSharing};
//!
//! let file = FileMetadata::new("summit.jpg", 3_032_449).media_type("image/jpeg");
//! let sharing = FileSharing::new(file).disposition(Disposition::Inline).url("https://files.example.org/1/summit.jpg");
//! assert_eq!(sharing.urls().next(), Some("https://files.example.org/1/summit.jpg"));
//! ```

use super::metadata::FileMetadata;
use xmpp_core::{
    jid::Jid,
    payload::{Payload, TextValue},
    xml::Stanza,
};

/// `urn:xmpp:sfs:0`.
pub const NS: &str = "urn:xmpp:sfs:0";

/// A file that is shared.
#[derive(Clone, Debug, Payload)]
#[xml(name = "file-sharing", ns = NS)]
pub struct FileSharing {
    /// What it is known by within its message, for sources that follow.
    #[xml(attr)]
    pub id: Option<String>,
    /// How it is meant to be shown.
    #[xml(attr)]
    pub disposition: Option<Disposition>,
    /// What it is.
    #[xml(child)]
    pub file: FileMetadata,
    /// Where it can be had; `None` while the sender is still uploading it (§3.2).
    #[xml(child)]
    pub sources: Option<Sources>,
}

/// How a file is meant to be shown (§3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, TextValue)]
pub enum Disposition {
    /// To be saved; not fetched before the user says so.
    #[xml(value = "attachment")]
    Attachment,
    /// Within the conversation.
    #[xml(value = "inline")]
    Inline,
}

/// Where a file can be had: in a [`FileSharing`], or in a later message that is attached to it (§3.3).
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "sources", ns = NS)]
pub struct Sources {
    /// The id of the sharing, where it has one.
    #[xml(attr)]
    pub id: Option<String>,
    /// The places.
    #[xml(children)]
    pub sources: Vec<Source>,
}

/// A place where a file can be had.
#[derive(Clone, Debug, Payload)]
pub enum Source {
    /// An address to fetch (XEP-0103).
    #[xml(name = "url-data", ns = "http://jabber.org/protocol/url-data")]
    Url {
        /// The address.
        #[xml(attr)]
        target: String,
        /// What the request needs beside it (XEP-0104), and what else is said.
        #[xml(unknown)]
        others: Vec<Stanza>,
    },
    /// A client that sends it when asked (XEP-0358).
    #[xml(name = "jinglepub", ns = "urn:xmpp:jinglepub:1")]
    Jingle {
        /// Whom to ask.
        #[xml(attr)]
        from: Jid,
        /// What to ask for.
        #[xml(attr)]
        id: String,
        /// What kind of session it will be.
        #[xml(unknown)]
        others: Vec<Stanza>,
    },
    /// Something else.
    #[xml(unknown)]
    Other(Stanza),
}

impl FileSharing {
    /// Shares a file that has no source yet.
    pub fn new(file: FileMetadata) -> FileSharing {
        FileSharing { id: None, disposition: None, file, sources: None }
    }

    /// To be shown so.
    #[must_use]
    pub fn disposition(mut self, disposition: Disposition) -> FileSharing {
        self.disposition = Some(disposition);
        self
    }

    /// To be had there.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> FileSharing {
        let source = Source::Url { target: url.into(), others: Vec::new() };
        self.sources.get_or_insert_default().sources.push(source);
        self
    }

    /// The addresses where it can be had.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        let sources = self.sources.iter().flat_map(|sources| &sources.sources);
        sources.filter_map(|source| match source {
            Source::Url { target, .. } => Some(target.as_str()),
            _ => None,
        })
    }

    /// Whether it may be fetched before the user has said so (§3.2).
    pub fn may_be_fetched_unasked(&self) -> bool {
        self.disposition != Some(Disposition::Attachment)
    }
}
