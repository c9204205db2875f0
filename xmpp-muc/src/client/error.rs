//! Why something did not work.

use xmpp_core::{
    client::{RequestError, SendError},
    jid::JidError,
    stanza::{Condition, StanzaError},
};

/// The client was built without [`client`](super::client()).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client was built without rooms: ClientBuilder::with(xmpp_muc::client)")]
pub struct WithoutRooms;

/// Why a room was not entered (§7.2), or a nickname not changed (§7.6).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The client has ended, or the room was left meanwhile.
    #[error("the client is closed, or the room was left")]
    Closed,
    /// The nickname cannot be one.
    #[error("this cannot be a nickname: {0}")]
    BadNick(#[from] JidError),
    /// A password is needed, or another one (§7.2.5).
    #[error("the room needs a password, or another one")]
    Password,
    /// We are banned (§7.2.7).
    #[error("we are banned from the room")]
    Banned,
    /// The room is for members, and we are none (§7.2.6).
    #[error("the room is for members only")]
    MembersOnly,
    /// Somebody else has the nickname, or has reserved it (§7.2.8).
    #[error("the nickname is somebody else's")]
    NickConflict,
    /// As many are in the room as there may be (§7.2.9), or the service takes no more.
    #[error("the room is full")]
    Full,
    /// There is no such room, or it is not open yet (§7.2.10).
    #[error("there is no such room, or it is not open yet")]
    NoSuchRoom,
    /// There is no such room, and we may not make it (§10.1.1).
    #[error("there is no such room, and we may not make it")]
    NotAllowed,
    /// Only our reserved nickname is accepted (§7.2.3), or the service does not like this one.
    #[error("the room does not accept the nickname")]
    NickRefused,
    /// The room is at another address, as an IRI.
    #[error("the room has moved")]
    Moved(Option<String>),
    /// The service cannot be reached.
    #[error("the service of the room cannot be reached")]
    Unreachable,
    /// No answer came in time.
    #[error("the room did not answer in time")]
    TimedOut,
    /// The session was lost before an answer came.
    #[error("the session was lost before the room answered")]
    Interrupted,
    /// The room is ours and new, and could not be configured; it was left, and is no more.
    #[error("the new room could not be configured: {0}")]
    NotConfigured(String),
    /// We are not in the room, whose nickname was to be changed.
    #[error("we are not in the room")]
    NotInRoom,
    /// This client is in the room already: use that handle.
    #[error("the client is in the room already")]
    AlreadyThere,
    /// Another error.
    #[error("the room refused: {0}")]
    Refused(StanzaError),
}

impl JoinError {
    pub(super) fn refused(error: StanzaError) -> JoinError {
        match error.condition {
            Condition::NotAuthorized => JoinError::Password,
            Condition::Forbidden => JoinError::Banned,
            Condition::RegistrationRequired => JoinError::MembersOnly,
            Condition::Conflict => JoinError::NickConflict,
            Condition::ServiceUnavailable | Condition::ResourceConstraint => JoinError::Full,
            Condition::ItemNotFound => JoinError::NoSuchRoom,
            Condition::NotAllowed => JoinError::NotAllowed,
            Condition::NotAcceptable | Condition::JidMalformed => JoinError::NickRefused,
            Condition::RemoteServerNotFound | Condition::RemoteServerTimeout => JoinError::Unreachable,
            Condition::Gone(to) | Condition::Redirect(to) => JoinError::Moved(to),
            _ => JoinError::Refused(error),
        }
    }

    /// Whether the same may work later.
    pub fn is_passing(&self) -> bool {
        match self {
            JoinError::Full
            | JoinError::NickConflict
            | JoinError::Unreachable
            | JoinError::TimedOut
            | JoinError::Interrupted => true,
            JoinError::Refused(error) => error.type_ == xmpp_core::stanza::ErrorType::Wait,
            _ => false,
        }
    }
}

impl From<SendError> for JoinError {
    fn from(error: SendError) -> JoinError {
        match error {
            SendError::Closed => JoinError::Closed,
            other => JoinError::Refused(StanzaError::undefined_condition().with_text(other.to_string())),
        }
    }
}

/// Why something was not said (§7.4, §8.1).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SayError {
    /// We are not in the room, or not any more.
    #[error("we are not in the room")]
    NotInRoom,
    /// We have no voice, or may not change the subject.
    #[error("we have no voice, or may not change the subject")]
    NotPermitted,
    /// Whoever it was for is not in the room.
    #[error("nobody in the room has this nickname")]
    NobodyThere,
    /// The room has not sent it back in time: it may have been said or not.
    #[error("the room has not sent the message back in time")]
    TimedOut,
    /// We left the room, or lost it, before it was sent back: it may have been said or not.
    #[error("the room was lost before it had sent the message back")]
    Interrupted,
    /// Too much is on its way already.
    #[error("too many messages are on their way")]
    TooMany,
    /// Not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Another error.
    #[error("the room refused: {0}")]
    Refused(StanzaError),
}

impl SayError {
    pub(super) fn refused(error: StanzaError) -> SayError {
        match error.condition {
            Condition::Forbidden => SayError::NotPermitted,
            _ => SayError::Refused(error),
        }
    }
}

/// Why a room was not configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigureError {
    /// The room does not know this setting: none was changed.
    #[error("the room has no setting {0}")]
    NotOffered(String),
    /// The room has sent no form.
    #[error("the room has sent no form")]
    NoForm,
    /// The room refused, or could not be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
}
