//! What proposals tell.

use super::JingleMessage;
use crate::jingle::Reason;
use xmpp_core::{
    jid::{FullJid, Jid},
    xml::Stanza,
};

/// What has become of a proposal.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ProposalEvent {
    /// A contact wants a session, and this device may ring.
    Proposed {
        /// The session's id.
        id: String,
        /// Who.
        from: Jid,
        /// What for.
        descriptions: Vec<Stanza>,
        /// A session with the same contact that this one goes on with: it is to be ended, and this one taken without asking
        /// (§4.2). Both messages are among the [replies](Reaction::replies).
        resumes: Option<String>,
    },
    /// A device of the contact rings.
    Ringing {
        /// The session's id.
        id: String,
        /// Which.
        device: Jid,
    },
    /// A device of the contact takes it: the session is to be asked for there, under this id.
    Proceed {
        /// The session's id.
        id: String,
        /// Which.
        device: FullJid,
    },
    /// The contact does not want it; or both have proposed, and theirs counts.
    Rejected {
        /// The session's id.
        id: String,
        /// Why.
        reason: Option<Reason>,
        /// Both have proposed at the same time.
        tie_break: bool,
    },
    /// The contact does not want it any more; or it has rung for so long, with so many others, that this device gives it up.
    Retracted {
        /// The session's id.
        id: String,
        /// Why.
        reason: Option<Reason>,
    },
    /// Another device of our account has taken it: this one stops ringing.
    TakenElsewhere {
        /// The session's id.
        id: String,
    },
    /// Another device of our account has rejected it: this one stops ringing.
    RejectedElsewhere {
        /// The session's id.
        id: String,
    },
    /// The contact says that it is over.
    Finished {
        /// The session's id.
        id: String,
        /// Why.
        reason: Option<Reason>,
        /// Which session goes on with it.
        migrated: Option<String>,
    },
}

/// What follows from a message.
#[derive(Clone, Debug, Default)]
pub struct Reaction {
    /// What the application is to know.
    pub events: Vec<ProposalEvent>,
    /// What is to be sent, and to whom.
    pub replies: Vec<(Jid, JingleMessage)>,
}
