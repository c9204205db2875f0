//! Stateless file sharing (XEP-0447): a message says what a file is and where it can be had, now or later.
//!
//! ```
//! use xmpp_core::{jid::Jid, stanza::Message};
//! use xmpp_filetransfer::share::{Disposition, FileMetadata, FileSharing, shared};
//!
//! let file = FileMetadata::new("summit.jpg", 3_032_449).media_type("image/jpeg");
//! let sharing = FileSharing::new(file).disposition(Disposition::Inline).url("https://files.example.org/1/summit.jpg");
//! assert_eq!(sharing.urls().next(), Some("https://files.example.org/1/summit.jpg"));
//!
//! // With a link for who knows nothing of this.
//! let message = sharing.tell(Message::chat("juliet@example.org".parse::<Jid>()?)).build();
//! assert_eq!(message.body().as_deref(), Some("https://files.example.org/1/summit.jpg"));
//! // Who reads it sees one file, whichever ways it is told in.
//! let files = shared(&message);
//! assert_eq!((files.len(), files[0].name().as_str(), files[0].file.size), (1, "summit.jpg", Some(3_032_449)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{OutOfBand, metadata::FileMetadata};
use xmpp_core::{
    jid::Jid,
    payload::{Payload, TextValue, fallback::Fallback, hints::Hint},
    stanza::{Message, MessageBuilder},
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

impl Sources {
    /// The addresses among them.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().filter_map(Source::url)
    }

    /// Tells of them in a message that has no text yet, later than of the file itself (§3.3): the file was told of in the message with
    /// this id.
    pub fn attach(&self, message: MessageBuilder, to: &str) -> MessageBuilder {
        let message = message.payload(&AttachTo { id: to.to_owned() }).payload(self);
        with_fallback(message, self.urls().next())
    }

    /// Reads what a message attaches, and the id of the message that it belongs to. What is so attached counts where
    /// [`SharedFile::attach`](super::SharedFile::attach) says so.
    pub fn attached(message: &Message) -> Option<(String, Sources)> {
        let to = message.payload::<AttachTo>()?.ok()?;
        Some((to.id, message.payload::<Sources>()?.ok()?))
    }
}

fn with_fallback(message: MessageBuilder, url: Option<&str>) -> MessageBuilder {
    match url {
        Some(url) => message.payload(&Fallback::body(NS)).body(url).payload(&OutOfBand::new(url)),
        None => message.payload(&Hint::Store),
    }
}

/// Says to which message a message belongs (XEP-0367).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "attach-to", ns = "urn:xmpp:message-attaching:1")]
pub struct AttachTo {
    /// Its id.
    #[xml(attr)]
    pub id: String,
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

impl Source {
    /// An address to fetch.
    pub fn at(url: impl Into<String>) -> Source {
        Source::Url { target: url.into(), others: Vec::new() }
    }

    /// The address, if it is one.
    pub fn url(&self) -> Option<&str> {
        match self {
            Source::Url { target, .. } => Some(target),
            _ => None,
        }
    }
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
        self.sources.get_or_insert_default().sources.push(Source::at(url));
        self
    }

    /// The addresses where it can be had.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().flat_map(Sources::urls)
    }

    /// Tells of the file in a message that has no text yet: with the first address as a text for clients that know nothing of this,
    /// marked as such (§3.1); without an address, with the wish that it be stored.
    pub fn tell(&self, message: MessageBuilder) -> MessageBuilder {
        with_fallback(message.payload(self), self.urls().next())
    }

    /// Whether it may be fetched before the user has said so (§3.2).
    pub fn may_be_fetched_unasked(&self) -> bool {
        self.disposition != Some(Disposition::Attachment)
    }
}
