//! What a session tells, and why it does not do something.

use crate::jingle::{Content, ContentId, Reason, Senders, error};
use xmpp_core::{jid::Jid, stanza::StanzaError, xml::Stanza};

/// What the peer has done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// It has accepted the session (§6.5).
    Accepted {
        /// The contents that it has accepted, as it wants them.
        contents: Vec<Content>,
        /// Those that it has not, and that are no longer there.
        dropped: Vec<ContentId>,
        /// What else it said, such as how contents belong together.
        others: Vec<Stanza>,
    },
    /// It offers further contents (§7.2.2): each is to be accepted or rejected.
    ContentAdded {
        /// The contents.
        contents: Vec<Content>,
        /// What else it said.
        others: Vec<Stanza>,
    },
    /// It has accepted contents that we had added (§7.2.1), as it wants them.
    ContentAccepted(Vec<Content>),
    /// It has rejected contents that we had offered (§7.2.4).
    ContentRejected {
        /// The contents; they are no longer there.
        contents: Vec<ContentId>,
        /// Why.
        reason: Option<Reason>,
    },
    /// It has taken contents away (§7.2.5).
    ContentRemoved {
        /// The contents; nothing more is to be sent for them.
        contents: Vec<ContentId>,
        /// Why.
        reason: Option<Reason>,
    },
    /// It wants others to send (§7.2.3).
    ContentModified(Vec<(ContentId, Senders)>),
    /// It proposes other transports (§7.2.15): each is to be accepted or rejected.
    TransportProposed {
        /// The contents, with the transports.
        contents: Vec<Content>,
        /// Why.
        reason: Option<Reason>,
    },
    /// It has accepted the transports that we had proposed (§7.2.12), as it wants them.
    TransportAccepted(Vec<Content>),
    /// It has rejected the transports that we had proposed (§7.2.14). Those before them stay.
    TransportRejected {
        /// The contents.
        contents: Vec<ContentId>,
        /// Why.
        reason: Option<Reason>,
    },
    /// News of transports, such as candidates (§7.2.13).
    TransportInfo(Vec<Content>),
    /// News of applications (§7.2.6).
    DescriptionInfo(Vec<Content>),
    /// News of security preconditions (§7.2.7).
    SecurityInfo(Vec<Content>),
    /// News of the session, in a namespace that it [understands](super::Session::understand) (§7.2.9).
    Info(Stanza),
    /// No content is left, and the session is to be terminated (§7.2.4, §7.2.5).
    Void {
        /// Why the last one has gone, if that was said.
        reason: Option<Reason>,
    },
    /// The session is over.
    Ended(Ending),
}

/// How a session ended that we have not ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ending {
    /// The peer has terminated it (§6.7).
    Terminated(Option<Reason>),
    /// The peer has refused what begins it: our request for it, or that we accept it (§6.3.2).
    Refused(StanzaError),
    /// The peer has asked for the same at the same time, and its request counts (§7.2.16).
    TieBreak,
    /// The peer does not know it (any more).
    Unknown,
    /// The peer cannot be reached.
    Unreachable(StanzaError),
    /// The peer has gone offline (§6.7). Told by the driver.
    Absent,
    /// Another session goes on with it (XEP-0353 §4.2). Told by the driver.
    Migrated {
        /// Its id.
        to: String,
    },
    /// One end did not accept the session in good time. Told by the driver.
    Unanswered,
    /// Our own session with the server is lost. Told by the driver.
    Lost,
}

impl Ending {
    /// Whom to ask instead, where the peer has said so (§6.3.2). Not to be followed unasked, unless it is another resource of
    /// the same account (§13.5).
    pub fn redirect(&self) -> Option<Jid> {
        match self {
            Ending::Refused(error) => error::redirect(error),
            _ => None,
        }
    }
}

/// Why a session cannot do what it is asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// It is over.
    #[error("the session is over")]
    Ended,
    /// It is not for this end, or not now: such as accepting a session twice.
    #[error("not at this point of the session")]
    NotNow,
    /// There is no such content.
    #[error("there is no such content")]
    NoContent,
    /// No content is named; or one lacks its application, its transport or its senders, is named twice, or has the wrong creator.
    #[error("the contents are not complete")]
    Incomplete,
    /// A content has this name, or had it and the peer may not know that it is gone.
    #[error("the content's name is in use")]
    NameTaken,
    /// Something else that was done to the content is not answered yet.
    #[error("an answer of the peer has to be awaited first")]
    Waiting,
    /// A session has a content; the last one goes with it.
    #[error("the last content cannot be taken away: terminate the session")]
    LastContent,
    /// Too many contents or bytes, or too many unanswered messages.
    #[error("too many contents, or too much unanswered")]
    TooMany,
}
