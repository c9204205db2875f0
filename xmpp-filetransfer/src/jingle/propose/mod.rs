//! Which of its devices an account takes a session on (XEP-0353): asked by messages, before the session is asked for.
//!
//! [`Proposals`] is what one device knows of all proposals, as a pure machine. Who takes a call on another device is told by
//! the copies that the own server makes (XEP-0280).

use super::Reason;
use xmpp_core::{
    jid::Jid,
    payload::Payload,
    stanza::{Message, MessageBuilder},
    xml::Stanza,
};

mod event;
mod proposals;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

pub use event::{ProposalEvent, Reaction};
#[cfg(feature = "client")]
pub(in crate::jingle) use proposals::DESCRIPTIONS;
pub use proposals::Proposals;
#[cfg(any(feature = "client", test))]
pub(in crate::jingle) use proposals::usual;

/// `urn:xmpp:jingle-message:0`.
pub const NS: &str = "urn:xmpp:jingle-message:0";

/// What stands in a message about a session to come. Each has the id that the session will have.
#[derive(Clone, Debug, Payload)]
#[xml(ns = NS)]
#[non_exhaustive]
pub enum JingleMessage {
    /// Somebody wants a session (§3.1).
    #[xml(name = "propose")]
    Propose {
        /// The id of the session.
        #[xml(attr)]
        id: String,
        /// What for: one `description` for each medium.
        #[xml(unknown)]
        descriptions: Vec<Stanza>,
    },
    /// A device rings (§3.2).
    #[xml(name = "ringing")]
    Ringing {
        /// The id of the session.
        #[xml(attr)]
        id: String,
    },
    /// Who has proposed does not want it any more (§3.3).
    #[xml(name = "retract")]
    Retract {
        /// The id of the session.
        #[xml(attr)]
        id: String,
        /// Why.
        #[xml(child)]
        reason: Option<Reason>,
        /// Because both have proposed at the same time (§4.1).
        #[xml(flag = "tie-break")]
        tie_break: bool,
    },
    /// A device takes it (§3.4): the session can be asked for there.
    #[xml(name = "proceed")]
    Proceed {
        /// The id of the session.
        #[xml(attr)]
        id: String,
    },
    /// A device takes it, as earlier versions tell the other devices of the account.
    #[xml(name = "accept")]
    Accept {
        /// The id of the session.
        #[xml(attr)]
        id: String,
    },
    /// It is not wanted (§3.5).
    #[xml(name = "reject")]
    Reject {
        /// The id of the session.
        #[xml(attr)]
        id: String,
        /// Why.
        #[xml(child)]
        reason: Option<Reason>,
        /// Because both have proposed at the same time (§4.1).
        #[xml(flag = "tie-break")]
        tie_break: bool,
    },
    /// It is over (§3.7).
    #[xml(name = "finish")]
    Finish {
        /// The id of the session.
        #[xml(attr)]
        id: String,
        /// Why.
        #[xml(child)]
        reason: Option<Reason>,
        /// Another session goes on with it (§4.2).
        #[xml(child)]
        migrated: Option<Migrated>,
    },
}

/// Which session goes on with one that is over (§4.2).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "migrated", ns = NS)]
pub struct Migrated {
    /// Its id.
    #[xml(attr)]
    pub to: String,
}

impl JingleMessage {
    /// The id of the session that it is about.
    pub fn id(&self) -> &str {
        match self {
            JingleMessage::Propose { id, .. }
            | JingleMessage::Ringing { id }
            | JingleMessage::Retract { id, .. }
            | JingleMessage::Proceed { id }
            | JingleMessage::Accept { id }
            | JingleMessage::Reject { id, .. }
            | JingleMessage::Finish { id, .. } => id,
        }
    }

    /// The message that carries it: a chat message that is to be archived (§3), so that it reaches all devices.
    pub fn to_message(&self, to: impl Into<Jid>) -> MessageBuilder {
        Message::chat(to).payload(self).payload(&xmpp_core::payload::hints::Hint::Store)
    }
}
