//! Message archives (XEP-0313) and their preferences (XEP-0441).

use super::form::DataForm;
use super::forward::Forwarded;
use super::rsm::ResultSet;
use super::{DateTime, Payload, TextValue};
use crate::jid::Jid;
use crate::xml::Stanza;

/// `urn:xmpp:mam:2`.
pub const NS: &str = "urn:xmpp:mam:2";
/// The feature of archives with queries by id, flipped pages and metadata.
pub const EXTENDED: &str = "urn:xmpp:mam:2#extended";
/// The feature of archives that understand the field `include-groupchat`.
pub const GROUPCHAT_FIELD: &str = "urn:xmpp:mam:2#groupchat-field";

/// Asks for messages, in an iq set (§4); for the form with the fields that can be asked by, in an iq get (§4.1.5), and
/// answers that.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "query", ns = NS)]
pub struct ArchiveQuery {
    /// What the results are marked with.
    #[xml(attr)]
    pub queryid: Option<String>,
    /// The node of a publish-subscribe archive (XEP-0442).
    #[xml(attr)]
    pub node: Option<String>,
    /// The filter.
    #[xml(child)]
    pub form: Option<DataForm>,
    /// Which page.
    #[xml(child)]
    pub rsm: Option<ResultSet>,
    /// Whether the page comes with its newest message first (§4.3.4).
    #[xml(flag = "flip-page")]
    pub flip_page: bool,
    /// What extends the question (XEP-0413).
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

/// One message of an archive, in a message (§4.2). It counts only from the archive that was asked.
#[derive(Clone, Debug, Payload)]
#[xml(name = "result", ns = NS)]
pub struct ArchiveResult {
    /// The query that it answers.
    #[xml(attr)]
    pub queryid: Option<String>,
    /// Its identifier in the archive.
    #[xml(attr)]
    pub id: String,
    /// The message, with the time when it came; without a message where that has been taken out of the archive.
    #[xml(child)]
    pub forwarded: Forwarded,
}

/// Ends a page, in the iq result (§4.3).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "fin", ns = NS)]
pub struct ArchiveFin {
    /// Whether there is nothing more in the direction of paging.
    #[xml(attr, default)]
    pub complete: bool,
    /// Whether the same question will get the same answer.
    #[xml(attr, default = true)]
    pub stable: bool,
    /// Which page this is.
    #[xml(child)]
    pub rsm: ResultSet,
}

/// Asks about the extent of an archive, and answers (§5). It has both ends, or neither if the archive is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "metadata", ns = NS)]
pub struct ArchiveMetadata {
    /// The oldest message.
    #[xml(child)]
    pub start: Option<ArchiveStart>,
    /// The newest message.
    #[xml(child)]
    pub end: Option<ArchiveEnd>,
}

/// The oldest message of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "start", ns = NS)]
pub struct ArchiveStart {
    /// Its identifier.
    #[xml(attr)]
    pub id: String,
    /// When it came.
    #[xml(attr)]
    pub timestamp: DateTime,
}

/// The newest message of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "end", ns = NS)]
pub struct ArchiveEnd {
    /// Its identifier.
    #[xml(attr)]
    pub id: String,
    /// When it came.
    #[xml(attr)]
    pub timestamp: DateTime,
}

/// What an account wants archived (XEP-0441 §2). Empty in an iq get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "prefs", ns = NS)]
pub struct ArchivePrefs {
    /// What is done with messages of whom neither list names. Absent only when the preferences are asked for.
    #[xml(attr)]
    pub default: Option<ArchiveDefault>,
    /// Whose messages are archived.
    #[xml(child)]
    pub always: Option<ArchiveAlways>,
    /// Whose messages are not.
    #[xml(child)]
    pub never: Option<ArchiveNever>,
}

/// Addresses whose messages are archived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "always", ns = NS)]
pub struct ArchiveAlways {
    /// A bare address stands for all of its resources.
    #[xml(child_text = "jid")]
    pub jids: Vec<Jid>,
}

/// Addresses whose messages are not archived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "never", ns = NS)]
pub struct ArchiveNever {
    /// A bare address stands for all of its resources.
    #[xml(child_text = "jid")]
    pub jids: Vec<Jid>,
}

/// What is done with messages of whom no list names (XEP-0441 §2.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TextValue)]
pub enum ArchiveDefault {
    /// They are archived.
    #[default]
    #[xml(value = "always")]
    Always,
    /// They are not.
    #[xml(value = "never")]
    Never,
    /// They are if the other is in the roster.
    #[xml(value = "roster")]
    Roster,
}
